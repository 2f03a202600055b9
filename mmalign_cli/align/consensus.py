"""Many sequences that can be compared frame by frame: agreement of all pairs, then their mean.

A DTW of two recordings now and then takes a wrong turn, and a mean that is laid on wrong turns
keeps them. So every sequence is first aligned to several others, and its place on the common time
line is the median of what these say, directly and by way of one another. From there the warps are
refined against the mean of all, as DTW barycentre averaging does (Petitjean, Ketterlin and
Gancarski, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import warps
from mmalign_cli.align.dtw import dtw, local_costs
from mmalign_cli.align.time_maps import knots_of
from mmalign_cli.model import Float64Array, FloatArray, IntArray
from mmalign_cli.runtime import Progress

PENALTY = 0.5
"""Of a step that is not diagonal, in units of the mean cost of two frames picked at random."""

_CENTRES = 12
_ROUNDS = 10
_SAMPLED = 256


@dataclass(frozen=True, eq=False)
class Consensus:
    """Warps of m sequences that agree.

    Parameters
    ----------
    knots : ndarray, shape (m, t)
        Shares of each sequence at even points of the common time line, never falling.
    objective : tuple of float
        Mean cost of a step between the sequences and their mean, round by round.
    """

    knots: Float64Array
    objective: tuple[float, ...]


def agree(
    sequences: Sequence[FloatArray],
    metric: str,
    *,
    rounds: int = _ROUNDS,
    penalty: float = PENALTY,
    progress: Progress = runtime.silent,
) -> Consensus:
    """Align sequences of the same columns.

    Parameters
    ----------
    sequences : sequence of m >= 2 ndarray, shape (n_i, d)
    metric : str
    rounds : int
        Against the mean, at most; it ends where these no longer come nearer to it.
    penalty : float
    progress : Progress
        Told the sequences aligned; may raise to stop.
    """
    length = max(len(x) for x in sequences)
    even = [_resampled(np.asarray(x, dtype=np.float64), length) for x in sequences]
    extra = penalty * _mean_cost(even, metric)
    positions = _median_of_stars(even, metric, extra, progress)
    best, history = positions, []
    for _ in range(rounds):
        mean = np.mean([_at(x, p) for x, p in zip(even, positions, strict=True)], axis=0)
        found = [dtw(mean, x, metric=metric, penalty=extra) for x in even]
        cost = sum(w.cost.total + w.cost.penalty for w in found) / sum(len(w.frames) for w in found)
        if history and cost >= history[-1] * (1 - 1e-4):
            break
        history.append(cost)
        positions = _in_gauge(np.stack([_map(w.frames, length) for w in found]))
        best = positions
    return Consensus(best / (length - 1), tuple(history))


def _resampled(x: Float64Array, length: int) -> Float64Array:
    return _at(x, np.linspace(0.0, len(x) - 1.0, length))


def _at(x: Float64Array, positions: Float64Array) -> Float64Array:
    """Return frames (n, d) at fractional positions (t,)."""
    before = np.minimum(positions.astype(np.int64), len(x) - 2)
    rest = (positions - before)[:, np.newaxis]
    return np.asarray(x[before] * (1.0 - rest) + x[before + 1] * rest)


def _mean_cost(even: Sequence[Float64Array], metric: str) -> float:
    """Return the mean cost of frames of neighbours, picked evenly."""
    picks = np.unique(np.linspace(0, len(even[0]) - 1, _SAMPLED).astype(np.int64))
    pairs = [(even[k - 1], even[k]) for k in range(min(len(even), _CENTRES))]
    return float(np.mean([local_costs(x[picks], y[picks], metric).mean() for x, y in pairs]))


def _map(path: IntArray, length: int) -> Float64Array:
    """Return the frame of the query at every frame of the reference, along a path."""
    knots = knots_of(path[:, 0].astype(np.float64), path[:, 1].astype(np.float64))
    return np.interp(np.arange(length), knots[:, 0], knots[:, 1])


def _median_of_stars(
    even: Sequence[Float64Array], metric: str, penalty: float, progress: Progress
) -> Float64Array:
    """Return frames (m, t) of each sequence, on the time line of the best centre, in gauge."""
    m, length = len(even), len(even[0])
    centres = np.unique(np.linspace(0, m - 1, min(m, _CENTRES)).astype(np.int64))
    maps: dict[tuple[int, int], Float64Array] = {}
    for done, c in enumerate(centres):
        progress("comparing pairs", done, len(centres))
        maps[c, c] = np.arange(length, dtype=np.float64)
        for j in range(m):
            if (c, j) not in maps:
                path = dtw(even[c], even[j], metric=metric, penalty=penalty).frames
                maps[c, j] = _map(path, length)
                if j in centres:
                    maps[j, c] = _map(path[:, ::-1], length)

    def by_way_of(c: int, k: int, j: int) -> Float64Array:
        return np.interp(maps[c, k], np.arange(length), maps[k, j])

    stars = [
        np.stack(
            [np.median([by_way_of(c, k, j) for k in centres], axis=0) for j in range(m)]
        )
        for c in centres
    ]
    apart = [
        np.mean([np.abs(star[j] - maps[c, j]).mean() for j in range(m)])
        for c, star in zip(centres, stars, strict=True)
    ]
    return _in_gauge(stars[int(np.argmin(apart))])


def _in_gauge(positions: Float64Array) -> Float64Array:
    """Return the warps (m, t) with a common time line on which their mean is straight."""
    length = positions.shape[1]
    rising = positions.mean(axis=0) + 1e-9 * np.arange(length)
    return warps.resampled(
        np.stack([p + 1e-9 * np.arange(length) for p in positions]), length - 1
    ) if rising[-1] > 0 else positions
