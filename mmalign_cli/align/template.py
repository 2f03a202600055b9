"""Many sequences whose maps have to be learned: each climbs against what the others share.

The total correlation of all sequences costs the square of their number, and among some hundred
dimensions chance correlations outweigh the true ones. Here each sequence is correlated with the
common curve of the others alone: the objective is the mean over the sequences i of the total
correlation of ``X_i`` along its warp with ``G_-i``, the mean of the others' canonical variates. The
variates are those under which each is nearest to one curve for all: the leading eigenvectors of
the mean projection onto the columns of the sequences (Carroll, 1968). A round costs in proportion
to their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import warps
from mmalign_cli.align.climb import Climb, Settings, Stage, climb
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.takes import Takes, Track
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress

_MOST_ITERATIONS = 30
_SETTLED = 1e-7
_RANK_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Shared:
    """The curve that sequences have in common along their warps.

    Parameters
    ----------
    variates : ndarray, shape (m, t, k)
        Of each sequence, with mean 0.
    maps : tuple of m Linear
        From the frames of each sequence to them.
    correlations : ndarray, shape (k,)
        Mean correlation of two sequences' variates, decreasing.
    """

    variates: Float64Array
    maps: tuple[Linear, ...]
    correlations: Float64Array

    def without(self, i: int) -> Float64Array:
        """Return the mean of the variates of all sequences but one, (t, k)."""
        others = len(self.variates) - 1
        return np.asarray((self.variates.sum(axis=0) - self.variates[i]) / others)


def shared_curve(parts: Sequence[Float64Array]) -> Shared:
    """Return the curve that correlates most with all sequences.

    The eigenvectors G of ``sum_i P_i / m`` for the projections P_i onto the columns of each
    sequence, by subspace iteration: no matrix of all columns is ever formed. With eigenvalue
    lambda the mean correlation of two variates is ``(m lambda - 1) / (m - 1)``.

    Parameters
    ----------
    parts : sequence of m ndarray, shape (t, d_i)
        Samples of each sequence at the same times; as many coordinates as the narrowest has.
    """
    m = len(parts)
    means = [z.mean(axis=0) for z in parts]
    spans = [_orthonormal(z - mean) for z, mean in zip(parts, means, strict=True)]
    curve = min((q for q, _ in spans), key=lambda q: q.shape[1])
    size = np.zeros(curve.shape[1])
    for _ in range(_MOST_ITERATIONS):
        pulled = reduce(np.add, (q @ (q.T @ curve) for q, _ in spans)) / m
        inner, turn = np.linalg.eigh(curve.T @ pulled)
        before, size = size, inner[::-1]
        if np.abs(size - before).max() < _SETTLED:
            break
        curve, _ = np.linalg.qr(pulled @ turn[:, ::-1])
    scale = np.sqrt(len(curve) / np.maximum(size, 1.0 / m))
    found = [(q.T @ curve) * scale for q, _ in spans]
    return Shared(
        np.stack([q @ part for (q, _), part in zip(spans, found, strict=True)]),
        tuple(
            Linear(mean, back @ part)
            for mean, (_, back), part in zip(means, spans, found, strict=True)
        ),
        np.clip((m * size - 1.0) / (m - 1), 0.0, 1.0),
    )


def _orthonormal(z: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return Q (t, r) with orthonormal columns that span those of z (t, d), and B with Q = z B."""
    q, size, axes = np.linalg.svd(z, full_matrices=False)
    kept = size > _RANK_TOLERANCE * size[0]
    return q[:, kept], axes[kept].T / size[kept]


@dataclass(frozen=True, eq=False)
class Refined:
    """Warps that have climbed.

    Parameters
    ----------
    knots : ndarray, shape (m, K + 1)
        In gauge.
    values : ndarray, shape (m,)
        Penalised J of each sequence with the others along the warps of the round before, in nats.
    """

    knots: Float64Array
    values: Float64Array


def shared_along(takes: Takes, knots: Float64Array) -> Shared:
    """Return what the sequences of one take share along warps (m, K + 1)."""
    u = np.linspace(0.0, 1.0, takes.n_samples)
    shares = [warps.positions(row, u)[np.newaxis] for row in knots]
    return shared_curve([t.at(s)[0] for t, s in zip(takes.tracks, shares, strict=True)])


def against(takes: Takes, shared: Shared, i: int) -> Takes:
    """Return the curve of the others and sequence i as a pair."""
    return Takes((_track(shared.without(i)), takes.tracks[i]), takes.n_samples, takes.weights)


def relative(knots: Float64Array) -> Float64Array:
    """Return the warp (K + 1,) of the second of a pair (2, K + 1) on the time line of the first."""
    u = np.linspace(0.0, 1.0, knots.shape[-1])
    return warps.positions(knots[1], warps.inverse(knots[0], u))


def refine(
    takes: Takes,
    knots: Float64Array,
    stage: Stage,
    settings: Settings,
    progress: Progress = runtime.silent,
) -> Refined:
    """Climb each sequence against the others, all from the same warps.

    Parameters
    ----------
    takes : Takes
        One take of m sequences.
    knots : ndarray, shape (m, any)
        Warps to begin from.
    stage : Stage
    settings : Settings
    progress : Progress
        Told the sequences done; may raise to stop.
    """
    knots = warps.resampled(knots, stage.pieces)
    shared = shared_along(takes, knots)
    line = np.linspace(0.0, 1.0, stage.pieces + 1)
    found = []
    for i, row in enumerate(knots):
        progress("climbing", i, len(knots))
        start = Climb(np.stack([line, row])[np.newaxis])
        found.append(climb(against(takes, shared, i), start, stage, settings))
    return Refined(
        warps.resampled(np.stack([relative(one.knots[0]) for one in found]), stage.pieces),
        np.array([one.penalized for one in found]),
    )


def _track(curve: Float64Array) -> Track:
    """Return a curve (t, k) as a sequence in units of its own deviations."""
    deviation = curve.std(axis=0)
    values = curve / np.where(deviation > 0, deviation, 1.0)
    slopes = np.vstack([np.diff(values, axis=0), np.zeros_like(values[:1])]) * (len(values) - 1)
    identity = Linear(np.zeros(values.shape[1]), np.eye(values.shape[1]))
    return Track(values, slopes, np.zeros(1, np.int64), np.array([len(values)]), identity)
