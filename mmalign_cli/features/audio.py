"""Features of audio: row k describes the window centred on second k * hop of the stream.

Spectra are computed in chunks of frames, so that a long recording needs little memory; the
result does not depend on the size of the chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import librosa
import numpy as np
import scipy.fft

from mmalign_cli.errors import InputError
from mmalign_cli.features.computed import Computed
from mmalign_cli.model import Float64Array, FloatArray, Stream, frame_times

SPEECH_WINDOW_S = 0.025
SLOPE_S = 0.02  # reach of the slopes to each side
N_BANDS = 40
LOWEST_HZ = 60.0
SILENCE = 1e-6  # of the recording's mean band power: -60 dB
LEVEL_SHARE = 0.7  # how much the overall level counts, against the shape of the spectrum
N_COEFFICIENTS = 13
_FRAMES_A_CHUNK = 4096
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
    cepstra = scipy.fft.dct(_log_bands(stream, hop), axis=1, norm="ortho")[:, :N_COEFFICIENTS]
    cepstra[:, 0] *= LEVEL_SHARE
    return _frames(stream, hop, _with_slopes(cepstra, hop), "mfcc")


def _frames(stream: Stream, hop: Fraction, values: FloatArray, name: str) -> Computed:
    """Give rows their times: row k is centred k hops after the first sample."""
    times = frame_times(len(values), 1 / hop, float(stream.times[0]))
    columns = tuple(f"{name}_{k}" for k in range(values.shape[1]))
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
    padded = np.pad(samples, n_fft // 2)
    n_frames = 1 + len(samples) // step
    for first in range(0, n_frames, _FRAMES_A_CHUNK):
        last = min(first + _FRAMES_A_CHUNK, n_frames)
        part = padded[first * step : (last - 1) * step + n_fft].astype(np.float64)
        spectrum = librosa.stft(part, n_fft=n_fft, hop_length=step, win_length=length, center=False)
        yield slice(first, last), np.abs(spectrum)


def _log_bands(stream: Stream, hop: Fraction) -> Float64Array:
    """Return log(1 + power / floor) of mel bands, (n_frames, N_BANDS)."""
    rate = float(_rate(stream))
    n_fft = 1 << (round(SPEECH_WINDOW_S * rate) - 1).bit_length()
    mel = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=N_BANDS, fmin=LOWEST_HZ, dtype=np.float64
    )
    chunks = [(mel @ s**2).T for _, s in _spectra(stream, hop, SPEECH_WINDOW_S, n_fft)]
    power = np.concatenate(chunks)
    power /= max(SILENCE * float(power.mean()), _TINY)
    return np.log1p(power, out=power)


def _with_slopes(block: Float64Array, hop: Fraction) -> FloatArray:
    """Return a block without its mean over time beside its slopes, each scaled as a whole."""
    block -= block.mean(axis=0)
    reach = max(1, round(SLOPE_S / float(hop)))
    slopes = librosa.feature.delta(block, width=2 * reach + 1, mode="nearest", axis=0)
    return np.hstack([_scaled(block), _scaled(slopes)])


def _scaled(block: Float64Array) -> FloatArray:
    """Return a block with rows of mean squared length 1, as float32."""
    length = np.linalg.norm(block) / np.sqrt(len(block))
    return (block / length if length > 0 else block).astype(np.float32)
