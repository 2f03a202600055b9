"""Many sequences that can be compared frame by frame: what all pairs agree on, then their mean.

A DTW of two recordings now and then takes a wrong turn, and a mean that is laid on wrong turns
keeps them. So every sequence is first aligned to several others, and its place on the common time
line is the median of what these say, directly and by way of one another. From there a round of
DTW barycentre averaging (Petitjean, Ketterlin and Gancarski, 2011) aligns each sequence to the
mean, and takes for the new mean at a frame the mean of all frames that are matched to it.

A step that is not diagonal costs extra. Without that, recordings of one score that differ in all
but their outline are warped onto each other's details. How much follows from the data: as much as
a step of mean cost, `RESIDUE`, which is little where the sequences agree but for their timing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.dtw import dtw, local_costs
from mmalign_cli.align.gtw_objective import read
from mmalign_cli.align.time_maps import knots_of
from mmalign_cli.errors import InternalError
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

PENALTY = 0.4
"""Of a step of a pair that is not diagonal, in units of the mean cost of frames at random."""
RESIDUE = 1.0
"""Of such a step against the mean, in units of the mean cost of a step of the last round."""

MOST_ROUNDS = 15
_CENTRES = 12
_SAMPLED = 256
_SETTLED = 1e-3
_LEAST_SPEED = 1e-6  # of the straight line's: a warp has to rise to be inverted


@dataclass(frozen=True, eq=False)
class Consensus:
    """Warps of m sequences to their mean.

    Parameters
    ----------
    knots : ndarray, shape (m, t)
        Shares of each sequence at even points of the common time line, strictly increasing.
    paths : tuple of m ndarray, shape (n_steps, 2)
        Of the mean and each sequence, the latter resampled to t frames.
    objective : tuple of float
        Mean cost of a step, extras included, round by round.
    converged : bool
        Whether the mean cost of a step had settled.
    """

    knots: Float64Array
    paths: tuple[IntArray, ...]
    objective: tuple[float, ...]
    converged: bool

    def average(self, sequences: Sequence[Float64Array]) -> Float64Array:
        """Return the mean (t, d) of the frames (n_i, d) matched at each point of the time line."""
        return _matched_mean(self.knots.shape[1], brought_even(sequences), self.paths)


def agree(
    sequences: Sequence[Float64Array],
    metric: str,
    *,
    rounds: int = MOST_ROUNDS,
    progress: Progress = runtime.silent,
) -> Consensus:
    """Align m >= 2 sequences of the same columns to what they have in common.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d)
    metric : str
    rounds : int
        Against the mean, at most.
    progress : Progress
        Told the sequences aligned; may raise to stop.
    """
    even = brought_even(sequences)
    penalty = PENALTY * _mean_cost(even, metric)
    positions = _median_of_stars(even, metric, penalty, progress)
    mean = np.mean([read(x, p) for x, p in zip(even, positions, strict=True)], axis=0)
    return _around(even, mean, metric, (penalty, RESIDUE), rounds, progress)


def averaged(
    sequences: Sequence[Float64Array],
    begun: Consensus,
    metric: str,
    *,
    rounds: int = MOST_ROUNDS,
    progress: Progress = runtime.silent,
) -> Consensus:
    """Return DTW barycentre averaging, no step costing extra, from warps found before.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d)
    begun : Consensus
        Of the same sequences.
    metric, rounds, progress
        As in `agree`.
    """
    even = brought_even(sequences)
    return _around(even, begun.average(sequences), metric, (0.0, 0.0), rounds, progress)


def _around(
    even: Sequence[Float64Array],
    mean: Float64Array,
    metric: str,
    extras: tuple[float, float],
    rounds: int,
    progress: Progress,
) -> Consensus:
    """Align sequences (t, d) to a mean (t, d), and it to them, until the mean cost settles.

    The extras are what a step that is not diagonal costs in the first round, and in later ones in
    units of the mean cost of a step.
    """
    penalty, residue = extras
    objective: list[float] = []
    last, converged = 0.0, False
    for done in range(rounds):
        progress("rounds", done, rounds)
        found = [dtw(mean, x, metric=metric, penalty=penalty) for x in even]
        paths = tuple(w.frames for w in found)
        steps = sum(map(len, paths))
        cost = sum(w.cost.total for w in found) / steps
        objective.append(cost + sum(w.cost.penalty for w in found) / steps)
        if not math.isfinite(objective[-1]):
            state = {"mean": mean, "objectives": objective}
            raise InternalError(f"round {done + 1}: the objective is {objective[-1]!r}", state)
        converged = abs(cost - last) <= _SETTLED * cost
        if converged:
            break
        mean = _matched_mean(len(mean), even, paths)
        last, penalty = cost, residue * cost
    positions = np.stack([_map(path, len(mean)) for path in paths])
    return Consensus(_knots(positions), paths, tuple(objective), converged)


def shape_of(frames: Float64Array) -> Float64Array:
    """Return columns and their derivatives (n, 2 d), each with mean 0 and variance 1.

    What two recordings of one thing share beyond level and gain is how their curves bend.
    """
    both = np.hstack([frames, np.gradient(frames, axis=0)])
    deviation = both.std(axis=0)
    return np.asarray((both - both.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def brought_even(sequences: Sequence[Float64Array]) -> list[Float64Array]:
    """Return sequences resampled to the frames of the longest one."""
    longest = max(len(x) for x in sequences)
    return [read(x, np.linspace(0.0, len(x) - 1.0, longest)) for x in sequences]


def _mean_cost(even: Sequence[Float64Array], metric: str) -> float:
    """Return the mean cost of a frame of a sequence and any of the one before, picked evenly."""
    picks = np.unique(np.linspace(0, len(even[0]) - 1, _SAMPLED).astype(np.int64))
    pairs = [(even[k - 1], even[k]) for k in range(min(len(even), _CENTRES))]
    return float(np.mean([local_costs(x[picks], y[picks], metric).mean() for x, y in pairs]))


def _map(path: IntArray, length: int) -> Float64Array:
    """Return the frame of the query at every frame of the reference, along a path."""
    knots = knots_of(path[:, 0].astype(np.float64), path[:, 1].astype(np.float64))
    return np.interp(np.arange(length), knots[:, 0], knots[:, 1])


def _matched_mean(
    length: int, even: Sequence[Float64Array], paths: Sequence[IntArray]
) -> Float64Array:
    """Return at each of `length` frames the mean of all frames that paths match to it."""
    sums, counts = np.zeros((length, even[0].shape[1])), np.zeros((length, 1))
    for x, (at, own) in zip(even, (path.T for path in paths), strict=True):
        starts = np.flatnonzero(np.diff(at, prepend=-1))
        sums += np.add.reduceat(x[own], starts, axis=0)
        counts[:, 0] += np.diff(starts, append=len(at))
    return np.asarray(sums / counts)


def _knots(positions: Float64Array) -> Float64Array:
    """Return frames (m, t), none falling, as shares that rise everywhere."""
    length = positions.shape[1]
    lifted = positions / (length - 1) * (1.0 - _LEAST_SPEED)
    return np.asarray(lifted + np.linspace(0.0, _LEAST_SPEED, length))


def _median_of_stars(
    even: Sequence[Float64Array], metric: str, penalty: float, progress: Progress
) -> Float64Array:
    """Return the frames (m, t) of all sequences at each frame of one that agrees best.

    The place of sequence j at a frame of centre c is the median over the centres k of what the
    path from c to k and that from k to j say.
    """
    m, length = len(even), len(even[0])
    centres = np.unique(np.linspace(0, m - 1, min(m, _CENTRES)).astype(np.int64)).tolist()
    maps = {(c, c): np.arange(length, dtype=np.float64) for c in centres}
    for done, c in enumerate(centres):
        progress("comparing pairs", done, len(centres))
        for j in (j for j in range(m) if (c, j) not in maps):
            path = dtw(even[c], even[j], metric=metric, penalty=penalty).frames
            maps[c, j], maps[j, c] = _map(path, length), _map(path[:, ::-1], length)

    def star(c: int) -> Float64Array:
        steps = np.arange(length)
        ways = [[np.interp(maps[c, k], steps, maps[k, j]) for k in centres] for j in range(m)]
        return np.asarray(np.median(ways, axis=1))

    def doubt(c: int) -> float:
        direct = np.stack([maps[c, j] for j in range(m)])
        return float(np.abs(stars[c] - direct).mean())

    stars = {c: star(c) for c in centres}
    return stars[min(centres, key=doubt)]
