"""Generalised cross-correlation (GCC) of two recordings: where a stretch of one lies in the other.

The cross-spectrum of two stretches X, Y is divided by |X Y|^.85 before it is transformed back
(Knapp and Carter, 1976, call the exponent 1 the phase transform): every frequency then speaks with
about the same voice, and the peak is sharp whatever the spectrum, the level and the room. Below
100 Hz there is hum and handling noise: left out. A microphone may be wired upside down: the peak of
the absolute value counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.fft

from mmalign_cli.model import Array, Float64Array, FloatArray

RATE = 8000
"""Samples per second that everything here works on: 100 Hz to 4 kHz."""
COARSE_RATE = 4000
CHUNK_S = 6.0
WHITENING = 0.85
LOWEST_HZ = 100.0
_FRAME = 4096  # samples at RATE of a frame that is whitened by itself for the coarse search
_FLOOR = 1e-4  # of the rms magnitude: below, a frequency holds nothing but rounding
_CANDIDATES = 4
_APART_S = 0.005
_TAPS, _FINER = 16, 16


@dataclass(frozen=True)
class Candidates:
    """Places where chunks of a recording may lie in the reference.

    Parameters
    ----------
    recording_s, reference_s : ndarray, shape (k,)
        Middle of the chunk on either clock, by seconds from the first sample.
    height : ndarray, shape (k,)
        Of the peak, in standard deviations of the correlation over all lags.
    """

    recording_s: Float64Array
    reference_s: Float64Array
    height: Float64Array

    def __len__(self) -> int:
        return len(self.height)


def whitened(spectrum: Array, hz_a_bin: float) -> Array:
    """Return a spectrum (..., n_bins) divided by its magnitude to the power .85, above 100 Hz."""
    power = spectrum.real**2 + spectrum.imag**2
    floor = _FLOOR**2 * power.mean(axis=-1, keepdims=True) + np.finfo(np.float32).tiny
    white = spectrum * (power + floor) ** (-WHITENING / 2)
    white[..., : int(np.ceil(LOWEST_HZ / hz_a_bin))] = 0
    return np.asarray(white)


def coarse(samples: FloatArray) -> FloatArray:
    """Return samples (n,) at `RATE` whitened frame by frame, at `COARSE_RATE`, float32.

    Frames of half a second overlap by half; a square root of a Hann window before and after makes
    their sum seamless. A shout then weighs hardly more than a whisper.
    """
    factor, hop = RATE // COARSE_RATE, _FRAME // 2
    window = np.sin(np.pi / _FRAME * np.arange(_FRAME)).astype(np.float32)
    padded = np.concatenate([np.zeros(hop, np.float32), samples, np.zeros(_FRAME, np.float32)])
    n_frames = (len(padded) - _FRAME) // hop + 1
    out = np.zeros(((n_frames + 1) * hop) // factor, dtype=np.float32)
    size = _FRAME // factor
    for k in range(n_frames):
        spectrum = scipy.fft.rfft(padded[k * hop : k * hop + _FRAME] * window)
        white = whitened(spectrum[: size // 2 + 1], RATE / _FRAME)
        at = k * hop // factor
        out[at : at + size] += scipy.fft.irfft(white, size) * window[::factor]
    begin = hop // factor
    return out[begin : begin + -(-len(samples) // factor)]


def chunk_starts(n: int, width: int, most: int) -> Array:
    """Return first samples of chunks that cover n samples, half overlapping while few enough."""
    count = 1 if n <= width else min(most, 1 + -(-2 * (n - width) // width))
    return np.linspace(0, max(n - width, 0), count).round().astype(np.int64)


def candidates(
    reference: FloatArray,
    recording: FloatArray,
    most_chunks: int,
    stretch_ppm: float = 0.0,
    max_offset_s: float | None = None,
) -> Candidates:
    """Look for chunks of the shorter of two signals all over the longer one.

    Parameters
    ----------
    reference, recording : ndarray, shape (n,)
        From `coarse`.
    most_chunks : int
        How many chunks of 6 s at most.
    stretch_ppm : float
        By how much a second of the recording is longer on the reference's clock: the chunk is
        stretched so, to the sample (42 ppm).
    max_offset_s : float or None
        The largest difference of the two clocks to look at.

    Returns
    -------
    Candidates
        The four highest peaks of each chunk that lie 5 ms apart.
    """
    swapped = len(recording) > len(reference)
    long, short = (recording, reference) if swapped else (reference, recording)
    width = min(len(short), int(CHUNK_S * COARSE_RATE))
    size = scipy.fft.next_fast_len(len(long) + 2 * width, real=True)
    spectrum = scipy.fft.rfft(long, size)
    stretch = (-stretch_ppm if swapped else stretch_ppm) * 1e-6
    rows = []
    for start in chunk_starts(len(short), width, most_chunks):
        chunk = _stretched(short[start : start + width], stretch)
        lags = scipy.fft.irfft(spectrum * np.conj(scipy.fft.rfft(chunk, size)), size)
        lags = np.abs(np.concatenate([lags[-width:], lags[: len(long)]]))
        spread = float(np.sqrt(np.mean(lags**2)))
        if max_offset_s is not None:
            _close(lags, start + width, math.ceil(max_offset_s * COARSE_RATE))
        middle = (start + width / 2) / COARSE_RATE
        for peak in _highest(lags):
            there = (peak - width + len(chunk) / 2) / COARSE_RATE
            rows.append((middle, there, lags[peak] / (spread or 1.0)))
    found = np.array(rows, dtype=np.float64).reshape(-1, 3)
    here, there, height = found[np.argsort(found[:, 0], kind="stable")].T
    return Candidates(there, here, height) if swapped else Candidates(here, there, height)


def _close(lags: FloatArray, zero: int, reach: int) -> None:
    """Set to nothing the lags (n,) further than `reach` samples from the one at `zero`."""
    lags[: max(zero - reach, 0)] = 0
    lags[zero + reach + 1 :] = 0


def _highest(lags: FloatArray) -> list[int]:
    """Return where the highest peaks of (n,) are, none within 5 ms of a higher one."""
    lags, apart, peaks = lags.copy(), int(_APART_S * COARSE_RATE), []
    for _ in range(_CANDIDATES):
        peak = int(lags.argmax())
        if lags[peak] <= 0:
            break
        peaks.append(peak)
        lags[max(peak - apart, 0) : peak + apart + 1] = 0
    return peaks


def _stretched(samples: FloatArray, stretch: float) -> FloatArray:
    """Return samples (n,) made longer by a share `stretch` of n, to the nearest sample.

    By their spectrum, as `scipy.signal.resample` does, which takes half a second to load.
    """
    before, after = len(samples), round(len(samples) * (1 + stretch))
    if before == after:
        return samples
    spectrum = scipy.fft.rfft(samples)
    fewer = min(before, after)
    spectrum = spectrum[: fewer // 2 + 1]
    if fewer % 2 == 0:  # the last one stands for two frequencies, or for one
        spectrum[-1] *= 2 if after < before else 0.5
    return np.asarray(scipy.fft.irfft(spectrum, after) * (after / before))


@dataclass(frozen=True)
class Lag:
    """The best match of a window: by how much the reference's clock is ahead, and how clear.

    Parameters
    ----------
    offset_s : float
        Seconds of the reference less seconds of the recording, at the middle of the window.
    height : float
        Of the peak, in standard deviations of the correlation over the lags that were tried.
    """

    offset_s: float
    height: float


def window_lag(
    reference: FloatArray,
    recording: FloatArray,
    middle_s: float,
    offset_s: float,
    stretch: float,
    width_s: float,
    reach_s: float,
) -> Lag | None:
    """Correlate a window of a recording with the reference, some lags round a guess.

    Parameters
    ----------
    reference, recording : ndarray, shape (n,)
        Samples at `RATE`.
    middle_s : float
        Middle of the window in the recording.
    offset_s, stretch : float
        The guess: reference seconds less recording seconds, and by what share a second of the
        recording is longer on the reference's clock.
    width_s, reach_s : float
        Width of the window, and the lags to try on either side.

    Returns
    -------
    Lag or None
        None where the window is outside of either, or one of them is silent.
    """
    width, reach = round(width_s * RATE), round(reach_s * RATE)
    first = round(middle_s * RATE) - width // 2
    here = recording[max(first, 0) : max(first + width, 0)]
    if len(here) < width:
        return None
    here = _stretched(here, stretch)
    # The middle of both: where the window's middle is expected to lie in the reference.
    guess = round(first + width / 2 + offset_s * RATE - len(here) / 2)
    begin, end = guess - reach, guess + len(here) + reach
    there = reference[max(begin, 0) : max(end, 0)]
    if guess < 0 or guess + len(here) > len(reference) or not (here.any() and there.any()):
        return None
    there = np.pad(there, (max(-begin, 0), max(end - len(reference), 0)))
    lags = _correlation(there, here, 2 * reach + 1)
    peak = int(np.abs(lags).argmax())
    spread = float(np.sqrt(np.mean(lags**2)))
    if spread == 0:
        return None
    shift = guess + (peak + _vertex(lags, peak) - reach) + len(here) / 2 - (first + width / 2)
    return Lag(float(shift) / RATE, float(abs(lags[peak])) / spread)


def _correlation(there: FloatArray, here: FloatArray, n_lags: int) -> Float64Array:
    """Return the GCC of a window at the first `n_lags` places of a longer stretch."""
    size = scipy.fft.next_fast_len(len(there), real=True)
    spectra = [
        whitened(scipy.fft.rfft(_tapered(part), size), RATE / size) for part in (there, here)
    ]
    return np.asarray(scipy.fft.irfft(spectra[0] * np.conj(spectra[1]), size)[:n_lags])


def _tapered(part: FloatArray) -> FloatArray:
    """Return samples (n,) without their mean, faded in and out: a cut is a click."""
    fade = min(RATE // 40, len(part) // 4)
    out = part - part.mean()
    ramp = np.linspace(0, 1, fade, dtype=out.dtype)
    out[:fade] *= ramp
    out[len(out) - fade :] *= ramp[::-1]
    return np.asarray(out)


def _vertex(lags: Float64Array, peak: int) -> float:
    """Return where the band-limited curve through samples has its peak, +-.5 of a sample.

    Whitened correlations are as sharp as samples can show: a parabola through three of them is a
    fifth of a sample off. It is laid through points a sixteenth of a sample apart instead.
    """
    if not 0 < peak < len(lags) - 1:
        return 0.0
    near = np.zeros(2 * _TAPS + 1)
    first, last = max(peak - _TAPS, 0), min(peak + _TAPS + 1, len(lags))
    near[first - peak + _TAPS : last - peak + _TAPS] = lags[first:last]
    fine = _between() @ near * np.sign(lags[peak])
    best = int(fine[1:-1].argmax()) + 1
    before, at, after = fine[best - 1 : best + 2]
    bend = before - 2 * at + after
    vertex = float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
    return (best - len(fine) // 2 + vertex) / _FINER


@cache
def _between() -> Float64Array:
    """Return the weights of samples -16 ... 16 at -.5 ... .5 by sixteenths (windowed sinc)."""
    at = np.arange(-_FINER // 2 - 1, _FINER // 2 + 2)[:, np.newaxis] / _FINER
    away = at - np.arange(-_TAPS, _TAPS + 1)
    return np.asarray(np.sinc(away) * np.cos(np.pi / 2 * away / (_TAPS + 1)) ** 2)
