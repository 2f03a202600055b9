"""Costs between streams that share no feature, from how similar each is to itself.

A frame is described by its distances to all frames of its own stream. Frame i of X and frame j
of Y match well if these two series, row i of X's distance matrix and row j of Y's, can be warped
onto each other so that i meets j (isometry-blind time warping: Tralie, 2017). Isometries of either
stream change nothing, and units do not matter: each matrix is scaled by its mean.
"""

from __future__ import annotations

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.model import Float64Array, FloatArray

COARSE_FRAMES = 96
"""Frames of which rows are warped: their cost grows with the fourth power."""


def selfsim_costs(x: FloatArray, y: FloatArray) -> Float64Array:
    """Return the cost of every pair of frames, (n, m).

    Streams longer than 96 frames are cut into that many stretches of equal length, whose means
    are compared; costs between the middles of stretches are interpolated linearly.

    Parameters
    ----------
    x : ndarray, shape (n, d_x)
    y : ndarray, shape (m, d_y)
        The dimensions may differ.
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels import selfsim as kernel

    coarse = [coarsened(np.asarray(v, dtype=np.float64), COARSE_FRAMES) for v in (x, y)]
    rows = [self_distances(v) for v in coarse]
    costs = np.empty((len(rows[0]), len(rows[1])))
    for i in range(len(costs)):  # by the row: each is some milliseconds, for the sake of Ctrl-C
        kernel.row_costs(i, rows[0], rows[1], costs[i])
    across = _between(len(y), costs.shape[1])
    down = _between(len(x), costs.shape[0])
    return np.asarray(down @ costs @ across.T)


def coarsened(frames: Float64Array, most: int) -> Float64Array:
    """Return the means of at most `most` stretches of equal length, (k, d)."""
    if len(frames) <= most:
        return frames
    starts = np.linspace(0, len(frames), most + 1)[:-1].astype(np.int64)
    lengths = np.diff(np.append(starts, len(frames)))
    return np.asarray(np.add.reduceat(frames, starts, axis=0) / lengths[:, np.newaxis])


def self_distances(frames: Float64Array) -> Float64Array:
    """Return the Euclidean distances between all frames, (k, k), in units of their mean."""
    from scipy.spatial.distance import cdist

    table = np.asarray(cdist(frames, frames), dtype=np.float64)
    mean = float(table.mean())
    return table / mean if mean > 0 else table


def _between(n: int, k: int) -> Float64Array:
    """Return the matrix (n, k) that interpolates values of k stretches at n frames."""
    middles = (np.arange(n) + 0.5) * k / n - 0.5
    at = np.clip(middles, 0.0, k - 1.0)
    left = np.minimum(at.astype(np.int64), max(k - 2, 0))
    weights = np.zeros((n, k))
    weights[np.arange(n), left] = 1.0 - (at - left)
    if k > 1:
        weights[np.arange(n), left + 1] = at - left
    return weights
