"""Many sequences whose maps have to be learned: each climbs by itself against what the others share.

The total correlation of all sequences costs the square of their number, and among some hundred
dimensions chance correlations outweigh the true ones. Here every sequence is correlated with the
common curve of the others alone: the objective is the sum over the sequences i of the total
correlation of ``X_i`` along its warp with ``G_-i``, the mean of the others' canonical variates
(the first variates of Carroll's and Kettenring's analyses of many sets, but for the one left out).
A round costs as much as there are sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import warps
from mmalign_cli.align.climb import Climb, Settings, Stage, climb, objective
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.takes import Takes, Track
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress

_POWER_ROUNDS = 30
_SETTLED = 1e-6


@dataclass(frozen=True, eq=False)
class Shared:
    """The curve that sequences have in common along their warps.

    Parameters
    ----------
    variates : ndarray, shape (m, t, k)
        Of each sequence; of mean 0, each coordinate of mean square 1 over all sequences.
    maps : tuple of m Linear
        From whitened frames to the variates.
    correlations : ndarray, shape (k,)
        Mean correlation of a sequence's variate with those of the others, decreasing.
    """

    variates: Float64Array
    maps: tuple[Linear, ...]
    correlations: Float64Array


def shared_curve(parts: list[Float64Array], dims: int, start: Float64Array | None = None) -> Shared:
    """Return the curve that correlates most with all sequences.

    The first `dims` eigenvectors G of ``sum_i P_i / m``, P_i the projection onto the columns of
    sequence i, by subspace iteration: no matrix of all columns is ever formed.

    Parameters
    ----------
    parts : list of m ndarray, shape (t, d_i)
        Samples of each sequence at the same times.
    dims : int
        At most the smallest d_i.
    start : ndarray, shape (t, dims), optional
        A curve near it.
    """
    means = [z.mean(axis=0) for z in parts]
    white = [_orthonormal(z - mean) for z, mean in zip(parts, means, strict=True)]
    curve = parts[0][:, :dims] - means[0][:dims] if start is None else start
    values = np.zeros(dims)
    for _ in range(_POWER_ROUNDS):
        curve, _ = np.linalg.qr(curve)
        pulled = sum(q @ (q.T @ curve) for q, _ in white) / len(white)
        before, values = values, np.linalg.norm(pulled, axis=0)
        curve = pulled
        if np.abs(values - before).max() < _SETTLED:
            break
    basis, _ = np.linalg.qr(curve)
    inner = sum((basis.T @ q) @ (q.T @ basis) for q, _ in white) / len(white)
    size, turn = np.linalg.eigh(inner)
    curve = basis @ turn[:, ::-1]
    size = size[::-1]
    scale = np.sqrt(len(curve) / np.maximum(size, _SETTLED))
    variates = np.stack([q @ (q.T @ curve) * scale for q, _ in white])
    maps = tuple(
        Linear(mean, back @ (q.T @ curve) * scale)
        for (q, back), mean in zip(white, means, strict=True)
    )
    m = len(parts)
    return Shared(variates, maps, np.clip((m * size - 1.0) / (m - 1.0), 0.0, 1.0))


def _orthonormal(z: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return Q (t, r) with orthonormal columns that span those of z, and B with Q = z B."""
    u, size, axes = np.linalg.svd(z, full_matrices=False)
    kept = size > 1e-8 * max(float(size[0]), 1e-300)
    return u[:, kept], axes[kept].T / size[kept]


def refine(
    takes: Takes,
    knots: Float64Array,
    stage: Stage,
    settings: Settings,
    rounds: int,
    progress: Progress = runtime.silent,
) -> tuple[Float64Array, float, Shared]:
    """Climb each sequence against the others in turn, for some rounds.

    Parameters
    ----------
    takes : Takes
        One take of m sequences.
    knots : ndarray, shape (m, K + 1)
    stage : Stage
    settings : Settings
    rounds : int
    progress : Progress

    Returns
    -------
    knots : ndarray, shape (m, stage.pieces + 1)
        In gauge.
    value : float
        Mean penalised J of a sequence with the others, in nats.
    shared : Shared
    """
    m = len(takes.tracks)
    dims = min(takes.dims)
    knots = warps.resampled(knots, stage.pieces)
    curve = None
    value = -np.inf
    for number in range(rounds):
        parts = _parts(takes, knots)
        shared = shared_curve(parts, dims, curve)
        total = shared.variates.sum(axis=0)
        curve = total
        found = []
        values = []
        for i, track in enumerate(takes.tracks):
            progress("climbing", number * m + i, rounds * m)
            others = _track_of((total - shared.variates[i]) / (m - 1))
            pair = Takes((others, track), takes.n_samples, takes.weights)
            start = np.stack([np.linspace(0.0, 1.0, stage.pieces + 1), knots[i]])[np.newaxis]
            one = climb(pair, Climb(start), stage, settings)
            values.append(one.penalized)
            mean, own = one.knots[0]
            u = np.linspace(0.0, 1.0, stage.pieces + 1)
            found.append(warps.positions(own, warps.inverse(mean, u)))
        value = float(np.mean(values))
        knots = warps.resampled(np.stack(found), stage.pieces)
    shared = shared_curve(_parts(takes, knots), dims, curve)
    return knots, value, shared


def _parts(takes: Takes, knots: Float64Array) -> list[Float64Array]:
    u = np.linspace(0.0, 1.0, takes.n_samples)
    return [
        track.at(warps.positions(row, u)[np.newaxis])[0]
        for track, row in zip(takes.tracks, knots, strict=True)
    ]


def _track_of(curve: Float64Array) -> Track:
    """Return a curve (t, k) as a sequence that needs no whitening."""
    deviation = curve.std(axis=0)
    values = (curve - curve.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    slopes = np.vstack([np.diff(values, axis=0), np.zeros_like(values[:1])]) * (len(values) - 1)
    identity = Linear(np.zeros(values.shape[1]), np.eye(values.shape[1]))
    zero = np.zeros(1, dtype=np.int64)
    return Track(values, slopes, zero, np.array([len(values)]), identity)
