"""What two sensors of one movement share before any map is known: how much is going on.

The envelope of a stream is how fast it moves (positions, angles) or how far it is from rest
(accelerations, turning rates); DTW of two envelopes comes within a few percent of the alignment of
sensors that have no column in common, which is near enough for the joint aligner to climb from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from mmalign_cli.align import warps
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.windows import slanted
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import Float64Array, FloatArray, IntArray

PENALTIES = (1.0, 0.3, 3.0, 0.1)
WINDOWS = (0.25, 0.1)
_PIECES = 32


def speed(frames: Float64Array) -> Float64Array:
    """Return the root of the rms speed over the columns of frames (n, d), (n,).

    Columns are not scaled: a marker at rest is to weigh less than one that moves.
    """
    return np.asarray((np.gradient(frames, axis=0) ** 2).mean(axis=1) ** 0.25)


def level(frames: Float64Array) -> Float64Array:
    """Return the root of the rms distance from the columns' medians of frames (n, d), (n,)."""
    away = frames - np.median(frames, axis=0)
    return np.asarray((away**2).mean(axis=1) ** 0.25)


KINDS = (speed, level)


def standardized(envelope: Float64Array) -> Float64Array:
    """Return an envelope (n,) with mean 0 and variance 1, as a column (n, 1)."""
    deviation = float(envelope.std())
    return np.asarray(((envelope - envelope.mean()) / (deviation or 1.0))[:, np.newaxis])


def envelope_path(
    x: Float64Array, y: Float64Array, penalty: float, window: float
) -> IntArray | None:
    """Return the DTW path of two envelopes (n, 1) and (m, 1), (n_steps, 2).

    Parameters
    ----------
    penalty : float
        Of each step that is not diagonal.
    window : float
        Half width of the band round the straight line, as a share of the longer envelope. None is
        returned where it holds no path.
    """
    n, m = len(x), len(y)
    band = slanted(n, m, int(np.ceil(window * max(n, m))))
    try:
        return dtw(x, y, penalty=penalty, window=band).frames
    except AlignmentError:
        return None


def envelope_starts(takes: Sequence[Sequence[FloatArray]]) -> Iterator[Float64Array]:
    """Yield warps (n_takes, 2, K + 1) of two sensors: both kinds of each, penalties and windows.

    Parameters
    ----------
    takes : sequence of pairs of ndarray, shape (n, d_i)
        Frames in their own units.
    """
    frames = [[np.asarray(part, dtype=np.float64) for part in take] for take in takes]
    columns = [[[standardized(kind(part)) for kind in KINDS] for part in take] for take in frames]
    for first, second in product(range(len(KINDS)), repeat=2):
        for penalty, window in product(PENALTIES, WINDOWS):
            paths = [envelope_path(x[first], y[second], penalty, window) for x, y in columns]
            yield np.stack([_warp(p, t) for p, t in zip(paths, frames, strict=True)])


def _warp(path: IntArray | None, take: Sequence[Float64Array]) -> Float64Array:
    if path is None:
        return warps.straight(len(take), _PIECES)
    lengths = np.array([len(part) for part in take])
    return warps.from_path(path.astype(np.float64), lengths, _PIECES)
