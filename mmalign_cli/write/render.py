"""The samples of a recording on another clock, block after block."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from mmalign_cli.model import Float64Array, TimeMap
from mmalign_cli.streams.sound import Sound
from mmalign_cli.write.pieces import Piece, pieces

_BLOCK = 1 << 16  # samples of the output at once
_FADE_S = 0.0025  # on both sides of a cut

_REACH = 40  # samples on either side; with this window errors are below -90 dB up to .9 Nyquist
_BETA = 10.0  # of Kaiser's window
_PHASES = 1024
_WHOLE = 1e-6  # of a sample: so near to one, it is that sample
_WIDEST = 4.0
_NO_FOLD = 1.01  # faster than this, the top of the band would fold back

_HALF_FRAME_S = 0.016
_DEVIATION_S = 0.0045


def rendered(
    sound: Sound, backward: TimeMap, start_s: float, length: int, stretch: bool
) -> Iterator[Float64Array]:
    """Yield `length` samples of a recording on another clock, (n_channels, n) a block.

    Parameters
    ----------
    sound : Sound
        The recording.
    backward : TimeMap
        From the other clock to the recording's.
    start_s : float
        Time of the first sample on the other clock.
    length : int
        Samples to give.
    stretch : bool
        Keep the pitch where the speed changes.
    """
    at = 0
    for piece in pieces(backward):
        begin, end = (
            int(np.clip(np.ceil((time_s - start_s) * sound.rate), at, length))
            for time_s in (piece.begin_s, piece.end_s)
        )
        yield from _silence(sound.n_channels, begin - at)
        played = _stretched if stretch else _resampled
        for block in played(sound, piece.backward, start_s, begin, end):
            yield _faded(block, piece, start_s + (begin + np.arange(block.shape[1])) / sound.rate)
            begin += block.shape[1]
        at = max(begin, end)
    yield from _silence(sound.n_channels, length - at)


def _silence(n_channels: int, n: int) -> Iterator[Float64Array]:
    for first in range(0, n, _BLOCK):
        yield np.zeros((n_channels, min(_BLOCK, n - first)))


def _faded(block: Float64Array, piece: Piece, times_s: Float64Array) -> Float64Array:
    """Fade at the ends of a piece: a cut in the middle of a wave would click."""
    inside_s = np.minimum(times_s - piece.begin_s, piece.end_s - times_s)
    if inside_s.min() >= _FADE_S:
        return block
    return block * np.clip(inside_s / _FADE_S, 0, 1)


@functools.cache
def _table() -> Float64Array:
    """Return the weights of a windowed sinc by phase, (phases + 1, 2 reach)."""
    behind = np.arange(_PHASES + 1)[:, np.newaxis] / _PHASES
    u = np.arange(1 - _REACH, _REACH + 1) - behind
    window = np.i0(_BETA * np.sqrt(np.maximum(0, 1 - (u / _REACH) ** 2))) / np.i0(_BETA)
    table = np.sinc(u) * window
    table[0] = u[0] == 0
    table[-1] = u[-1] == 0
    return table


def _resampled(
    sound: Sound, backward: TimeMap, start_s: float, begin: int, end: int
) -> Iterator[Float64Array]:
    """Yield samples `begin` up to `end` of the output, at the map's own speed and pitch."""
    from mmalign_cli.kernels.sinc import interpolate, squeeze

    for first in range(begin, end, _BLOCK):
        last = min(first + _BLOCK, end)
        positions = backward(start_s + np.arange(first, last + 1) / sound.rate) * sound.rate
        scales = np.clip(np.diff(positions), 1, _WIDEST)
        positions = positions[:-1]
        widest = float(scales.max())
        margin = int(np.ceil(_REACH * widest)) + 2
        low, high = int(positions[0]) - margin, int(positions[-1]) + margin
        out = np.zeros((sound.n_channels, last - first))
        if low < sound.n_samples and high > 0:
            samples = sound.read(low, high)
            if widest > _NO_FOLD:
                squeeze(samples, positions - low, scales, _table(), out)
            else:
                interpolate(samples, positions - low, _table(), _WHOLE, out)
        yield out


def _stretched(
    sound: Sound, backward: TimeMap, start_s: float, begin: int, end: int
) -> Iterator[Float64Array]:
    """Yield samples `begin` up to `end` of the output, with the recording's pitch kept."""
    from mmalign_cli.kernels.stretch import follow, overlap

    half = max(int(_HALF_FRAME_S * sound.rate), 8)
    reach = int(_DEVIATION_S * sound.rate)
    window = np.sin(np.pi * (np.arange(2 * half) + 0.5) / (2 * half)) ** 2
    n_frames, before = _BLOCK // half, -1
    tail = np.zeros((sound.n_channels, half))
    for first in range(begin - half, end, n_frames * half):
        middles = first + half * (1 + np.arange(n_frames))
        wanted = np.rint(backward(start_s + middles / sound.rate) * sound.rate).astype(np.int64)
        low = min(wanted[0], before if before >= 0 else wanted[0]) - 2 * half - reach
        high = max(wanted[-1], before + half) + 4 * half + reach
        samples = sound.read(low, high)
        chosen = np.empty(n_frames, dtype=np.int64)
        known = before - low if before >= 0 else -1
        follow(samples.mean(axis=0), wanted - low, known, reach, half, chosen)
        out = np.zeros((sound.n_channels, (n_frames + 1) * half))
        overlap(samples, chosen, window, out)
        out[:, :half] += tail
        tail, before = out[:, -half:].copy(), int(chosen[-1]) + low
        ready = out[:, max(begin - first, 0) : max(min(end - first, n_frames * half), 0)]
        if ready.shape[1]:
            yield ready
