"""What two sensors of one movement share before any map is known: how much is going on.

The envelope of a stream is how fast it moves (positions, angles) or how far it is from rest
(accelerations, turning rates); DTW of two envelopes comes within a few percent of the alignment of
sensors that have no column in common, which is near enough for the joint aligner to climb from.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_LEAN = 0.1


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


def envelope_starts(takes: Sequence[Sequence[FloatArray]]) -> list[Float64Array]:
    """Return warps (n_takes, 2, K + 1) of two sensors for several penalties and windows.

    Of each sensor that kind of envelope is taken with which the two correlate most along their
    path at penalty 1 within a quarter of the length, over all takes; that start is the first. On a
    few frames chance decides between kinds that do about as well. So a tenth of a correlation is
    added where the rougher sensor is seen by its level and the smoother one by its speed, times
    the logarithm of how much rougher it is: rates are derivatives, and those are rougher.

    Parameters
    ----------
    takes : sequence of pairs of ndarray, shape (n, d_i)
        Frames in their own units.
    """
    frames = [[np.asarray(part, dtype=np.float64) for part in take] for take in takes]
    rougher = np.mean([_roughness(y) - _roughness(x) for x, y in frames])
    trials = []
    for kinds in product(KINDS, repeat=2):
        pairs = [
            [standardized(kind(part)) for kind, part in zip(kinds, take, strict=True)]
            for take in frames
        ]
        lean = _LEAN * rougher * (KINDS.index(kinds[1]) - KINDS.index(kinds[0]))
        trials.append((_agreement(pairs) + lean, pairs))
    pairs = max(trials, key=lambda trial: trial[0])[1]
    return [
        np.stack([_warp(envelope_path(x, y, penalty, window), x, y) for x, y in pairs])
        for penalty, window in product(PENALTIES, WINDOWS)
    ]


def _roughness(frames: Float64Array) -> float:
    """Return the logarithm of the rms speed of frames (n, d) over their rms distance from rest.

    A second is a share of the take here: sensors of one take may have different rates.
    """
    away = float(((frames - np.median(frames, axis=0)) ** 2).mean())
    moved = float((np.diff(frames, axis=0) ** 2).mean()) * (len(frames) - 1) ** 2
    return 0.5 * float(np.log(moved / away)) if moved > 0 and away > 0 else 0.0


def _agreement(pairs: Sequence[Sequence[Float64Array]]) -> float:
    """Return the mean correlation of envelopes along their paths."""
    found = []
    for x, y in pairs:
        path = envelope_path(x, y, PENALTIES[0], WINDOWS[0])
        if path is not None:
            along = np.hstack([x[path[:, 0]], y[path[:, 1]]])
            along = along - along.mean(axis=0)
            size = np.sqrt((along**2).sum(axis=0).prod())
            found.append(float(along.prod(axis=1).sum() / (size or 1.0)))
    return float(np.mean(found)) if found else 0.0


def _warp(path: IntArray | None, x: Float64Array, y: Float64Array) -> Float64Array:
    if path is None:
        return warps.straight(2, _PIECES)
    return warps.from_path(path.astype(np.float64), np.array([len(x), len(y)]), _PIECES)
