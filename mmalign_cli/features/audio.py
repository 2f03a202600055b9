"""Features of audio: row k describes the window centred on second k * hop of the stream.

Spectra are computed in chunks of frames, so that a long recording needs little memory; the
result does not depend on the size of the chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from scipy.ndimage import correlate1d

from mmalign_cli.errors import InputError
from mmalign_cli.features import filters
from mmalign_cli.features.computed import Computed
from mmalign_cli.features.pitch_classes import COLUMNS, above_median, chroma_and_onsets, unit_rows
from mmalign_cli.model import Float64Array, FloatArray, Stream, frame_times

SPEECH_WINDOW_S = 0.025
SLOPE_S = 0.02  # reach of the slopes to each side
N_BANDS = 40
LOWEST_HZ = 60.0
SILENCE = 1e-6  # of the recording's mean band power: -60 dB
LEVEL_SHARE = 0.7  # how much the overall level counts, against the shape of the spectrum
N_COEFFICIENTS = 13
ONSET_WINDOW_S = 0.046  # a longer one blurs onsets forward, and biases them
PITCH_WINDOW_S = 0.093  # tells semitones apart down to middle C; a longer one blurs time
COMPRESSION = 500.0  # of magnitudes relative to the loudest sample, inside log(1 + x)
QUIETEST_DB = -60.0
_SAMPLES_A_CHUNK = 2**19
_TINY = float(np.finfo(np.float64).tiny)


def logmel(stream: Stream, hop: Fraction) -> Computed:
    """Return log-mel bands and their slopes, (n_frames, 80).

    The logarithm has a floor 60 dB below the recording's mean power, which frees the result from
    the recording's gain; 0.3 of each frame's level and each band's mean over time (voice,
    microphone) are taken out; bands and slopes are each scaled as one block, because scaling
    every band by itself would raise those that hold noise alone.
    """
    bands = _log_bands(stream, hop)
    bands -= (1 - LEVEL_SHARE) * bands.mean(axis=1, keepdims=True)
    return _frames(stream, hop, _with_slopes(bands, hop), "mel")


def mfcc(stream: Stream, hop: Fraction) -> Computed:
    """Return mel cepstra 0 to 12 of the same bands and their slopes, (n_frames, 26)."""
    import scipy.fft

    cepstra = scipy.fft.dct(_log_bands(stream, hop), axis=1, norm="ortho")[:, :N_COEFFICIENTS]
    cepstra[:, 0] *= LEVEL_SHARE
    return _frames(stream, hop, _with_slopes(cepstra, hop), "mfcc")


def chroma(stream: Stream, hop: Fraction) -> Computed:
    """Return 12 pitch classes of unit norm, (n_frames, 12); silence is uniform."""
    classes = unit_rows(above_median(_pitch_classes(stream, hop, PITCH_WINDOW_S)))
    return _frames(stream, hop, classes, "chroma", COLUMNS[:12])


def chroma_onset(stream: Stream, hop: Fraction) -> Computed:
    """Return pitch classes beside their onsets, (n_frames, 24), comparable with a piano roll's.

    Onsets are the rise of the compressed pitch classes, less what rises in all of them at once.
    """
    classes = _pitch_classes(stream, hop, ONSET_WINDOW_S)
    onsets = above_median(_rise(classes))
    values = chroma_and_onsets(above_median(classes), onsets, 1 / hop)
    return _frames(stream, hop, values, "chroma", COLUMNS)


def onset(stream: Stream, hop: Fraction) -> Computed:
    """Return onset strength, (n_frames, 1): the mean rise of 40 compressed mel bands."""
    rate, n_fft = float(_rate(stream)), _music_fft(stream, ONSET_WINDOW_S)
    mel = filters.mel(rate, n_fft, N_BANDS, 0.0)
    mel = mel / np.maximum(mel.sum(axis=1, keepdims=True), _TINY)
    rise = _rise(_compressed(stream, hop, mel, ONSET_WINDOW_S)).mean(axis=1, keepdims=True)
    return _frames(stream, hop, rise, "onset")


def rms(stream: Stream, hop: Fraction) -> Computed:
    """Return the level in dB below the loudest frame, down to -60 dB, (n_frames, 1)."""
    import librosa

    n_fft = round(ONSET_WINDOW_S * float(_rate(stream)) / 2) * 2
    chunks = [
        librosa.feature.rms(S=s, frame_length=n_fft)[0]
        for _, s in _spectra(stream, hop, ONSET_WINDOW_S, n_fft)
    ]
    level = np.concatenate(chunks).astype(np.float64)
    relative = np.maximum(level / max(float(level.max()), _TINY), 10 ** (QUIETEST_DB / 20))
    return _frames(stream, hop, 20 * np.log10(relative)[:, np.newaxis], "rms")


def _frames(
    stream: Stream,
    hop: Fraction,
    values: FloatArray,
    name: str,
    columns: tuple[str, ...] | None = None,
) -> Computed:
    """Give rows their times: row k is centred k hops after the first sample."""
    times = frame_times(len(values), 1 / hop, stream.start_s)
    columns = columns or tuple(f"{name}_{k}" for k in range(values.shape[1]))
    return Computed(values, times, 1 / hop, columns)


def _rate(stream: Stream) -> Fraction:
    """Return the samples per second that the stream was decoded at."""
    if stream.rate is None:
        raise InputError(stream.source, "audio has no even sample rate")
    return stream.rate


def _spectra(
    stream: Stream, hop: Fraction, window_s: float, n_fft: int
) -> Iterator[tuple[slice, Float64Array]]:
    """Yield magnitudes of windowed spectra in chunks: the frames, and (n_bins, n_chunk).

    Parameters
    ----------
    stream : Stream
        Samples, at a rate with a whole number of samples per hop.
    hop : Fraction
        Seconds between frames.
    window_s : float
        Length of the Hann window, centred on the frame.
    n_fft : int
        Samples of the transform, at least the window's.
    """
    rate = _rate(stream)
    step, length = int(rate * hop), round(window_s * float(rate))
    samples = stream.values[:, 0]
    if len(samples) < length:
        seconds = len(samples) / float(rate)
        what = f"{seconds:.3g} s is shorter than one frame ({length / float(rate):.3g} s)"
        raise InputError(stream.source, what)
    n_frames = 1 + len(samples) // step
    frames_a_chunk = max(1, _SAMPLES_A_CHUNK // n_fft)
    window = _hann(length, n_fft)
    for first in range(0, n_frames, frames_a_chunk):
        last = min(first + frames_a_chunk, n_frames)
        part = _zero_padded(samples, first * step - n_fft // 2, (last - 1) * step + n_fft // 2)
        windows = np.lib.stride_tricks.sliding_window_view(part, n_fft)[::step]
        yield slice(first, last), np.abs(np.fft.rfft(windows * window, axis=1)).T


def _hann(length: int, n_fft: int) -> Float64Array:
    """Return a periodic Hann window in the middle of a transform's samples."""
    window = np.zeros(n_fft)
    first = (n_fft - length) // 2
    angles = np.linspace(-np.pi, np.pi, length + 1)[:-1]
    window[first : first + length] = 0.5 + 0.5 * np.cos(angles)
    return window


def _zero_padded(samples: FloatArray, first: int, last: int) -> Float64Array:
    """Return samples `first` to `last`, exclusive, with zeros for those that are not there."""
    inside = samples[max(first, 0) : max(last, 0)]
    before = max(-first, 0)
    return np.pad(inside.astype(np.float64), (before, last - first - before - len(inside)))


def _log_bands(stream: Stream, hop: Fraction) -> Float64Array:
    """Return log(1 + power / floor) of mel bands, (n_frames, N_BANDS)."""
    rate = float(_rate(stream))
    n_fft = 1 << (round(SPEECH_WINDOW_S * rate) - 1).bit_length()
    mel = filters.mel(rate, n_fft, N_BANDS, LOWEST_HZ)
    power = np.empty((1 + stream.n_frames // int(_rate(stream) * hop), N_BANDS))
    for frames, spectrum in _spectra(stream, hop, SPEECH_WINDOW_S, n_fft):
        power[frames] = (mel @ spectrum**2).T
    power /= max(SILENCE * float(power.mean()), _TINY)
    np.log1p(power, out=power)
    return power


def _music_fft(stream: Stream, window_s: float) -> int:
    """Return the transform length for music: the window, padded to at least twice its length."""
    return 1 << (2 * round(window_s * float(_rate(stream))) - 1).bit_length()


def _pitch_classes(stream: Stream, hop: Fraction, window_s: float) -> Float64Array:
    """Return compressed magnitudes summed by pitch class, (n_frames, 12), C first."""
    n_fft = _music_fft(stream, window_s)
    weights = filters.chroma(float(_rate(stream)), n_fft)
    return _compressed(stream, hop, weights, window_s)


def _compressed(
    stream: Stream, hop: Fraction, weights: FloatArray, window_s: float
) -> Float64Array:
    """Return weighted sums of log(1 + 500 magnitude / peak), (n_frames, n_weights).

    Magnitudes are scaled so that a sinusoid shows its amplitude, relative to the loudest sample:
    the recording's gain does not matter.
    """
    length = round(window_s * float(_rate(stream)))
    peak = float(np.abs(stream.values).max()) or 1.0
    scale = COMPRESSION * 4 / (length * peak)  # a Hann window passes half the amplitude
    chunks = [
        (weights @ np.log1p(scale * s)).T
        for _, s in _spectra(stream, hop, window_s, _music_fft(stream, window_s))
    ]
    return np.concatenate(chunks)


def _rise(rows: Float64Array) -> Float64Array:
    """Return the increase from the row before, 0 where it falls."""
    return np.maximum(np.diff(rows, axis=0, prepend=rows[:1]), 0.0)


def _with_slopes(block: Float64Array, hop: Fraction) -> FloatArray:
    """Return a block without its mean over time beside its slopes, each scaled as a whole.

    The block itself is overwritten, so that slopes take no more memory. They are those of straight
    lines through each value and its neighbours, as of `librosa.feature.delta`:
    ``sum_k k x[t + k] / sum_k k**2``.
    """
    block -= block.mean(axis=0)
    reach = max(1, round(SLOPE_S / float(hop)))
    n_frames, n_dims = block.shape
    both = np.empty((n_frames, 2 * n_dims), dtype=np.float32)
    _put_scaled(block, both[:, :n_dims])
    places = np.arange(-reach, reach + 1.0)
    correlate1d(block, places / (places @ places), axis=0, mode="nearest", output=block)
    _put_scaled(block, both[:, n_dims:])
    return both


def _put_scaled(block: Float64Array, out: FloatArray) -> None:
    """Write a block, scaled to rows of mean squared length 1, as float32."""
    length = np.linalg.norm(block) / np.sqrt(len(block))
    np.divide(block, length or 1.0, out=out, casting="same_kind")
