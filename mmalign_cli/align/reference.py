"""The family as the papers' programs have it, for comparing with them.

They differ from `mmalign_cli.align.algorithms.ALGORITHMS` in this: one start, the straight line; a
loop that goes on round a cycle until its rounds run out; of `pimw` penalties in the units of the
frames, on the transposed differences; of `pctw` and `gtw` a ridge in the units of the frames, and
dimensions by their share of correlation in the first round; of `gtw` one full Gauss-Newton step a
round, at fixed maps, always from the straight line: the weights of the round before are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from scipy.sparse import csr_array

from mmalign_cli import runtime
from mmalign_cli.align import bases
from mmalign_cli.align.alternate import Alternation, moved_at_most
from mmalign_cli.align.cca import Canonical, Moments, along, cca, dims_of_energy
from mmalign_cli.align.family import (
    LONGER,
    Aligner,
    Found,
    Settings,
    checked,
    comparable,
    rounded,
    same,
    spread,
    straight_path,
)
from mmalign_cli.align.gauss_newton import Model, minimiser, moves_of
from mmalign_cli.align.gtw_objective import read
from mmalign_cli.align.imw import correction, differences
from mmalign_cli.align.pctw import variates
from mmalign_cli.align.procrustes import Project, follow, plain
from mmalign_cli.align.sets import Sets, side_by_side
from mmalign_cli.align.warps import CLOSED_ENDS
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_FULL_ROUNDS, _HALF_AS_MANY = 100, 25
_START = "uniform"

TOYS = Settings(
    dims=0.95, ridge=0.0, length=300, tolerance_frames=0.0, basis="pow:3:0.4,tanh:3:0.6:1"
)
"""The programs' own for made sequences; `ridge` is their lambda."""
RECORDINGS = Settings(dims=3, ridge=0.1, tolerance_frames=0.0, basis="pow:5:0.5,tanh:5:1:1")
"""Theirs for silhouettes; `length` is then 1.1 times the longest sequence's frames."""


def _to_mean(
    sequences: Sequence[Float64Array],
    project: Project,
    settings: Settings,
    most_rounds: int,
    progress: Progress,
) -> Found:
    """Alternate from the straight path, for as many rounds as there are or until nothing moves."""
    path = _straight(sequences, settings)
    rounds = settings.rounds or most_rounds
    alternation = Alternation(project, follow, moved_at_most, rounds, settings.tolerance_frames)
    descent = alternation.descend(path, None, lambda done: progress(_START, done, rounds))
    last = descent.after(rounds)
    return Found(
        path=last.path.astype(np.float64),
        projections=last.maps.projections,
        correlations=last.maps.correlations,
        objective=tuple(r.objective for r in descent.rounds),
        ending=descent.ending,
        start=_START,
        starts=1,
    )


def _length(sequences: Sequence[Float64Array], settings: Settings) -> int:
    return settings.length or int(LONGER * max(map(len, sequences)) + 0.5)


def _straight(sequences: Sequence[Float64Array], settings: Settings) -> IntArray:
    path = straight_path([len(x) for x in sequences], _length(sequences, settings))
    return rounded(path).astype(np.int64)


def pdtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align by Procrustes DTW."""
    parts = comparable(sequences, "pdtw")
    return _to_mean(parts, plain(parts), settings, _FULL_ROUNDS, progress)


def pddtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align by Procrustes DTW of derivatives."""
    slopes = [np.gradient(x, axis=0) for x in comparable(sequences, "pddtw")]
    return _to_mean(slopes, plain(slopes), settings, _FULL_ROUNDS, progress)


def _transposed(column: Float64Array) -> tuple[csr_array, csr_array]:
    """Return ``D D'`` twice, where `mmalign_cli.align.imw.smooth` has ``D'D``."""
    d = differences(len(column))
    square = csr_array(d @ d.T)
    return square, square


def pimw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align by iterative motion warping."""
    parts = comparable(sequences, "pimw")
    return _to_mean(parts, correction(parts, _transposed), settings, _HALF_AS_MANY, progress)


def _fit(moments: Moments, settings: Settings) -> Canonical:
    """Return maps with ``V' ((1 - lambda) S + lambda I) V = I``, S not divided by the steps."""
    mixed = settings.ridge or 0.0
    added = mixed / (1.0 - mixed) / moments.weight
    return cca(moments, np.full(len(moments.dims), added))


def _dims(first: Canonical, settings: Settings) -> int:
    dims = settings.dims or 1.0
    return dims_of_energy(first.correlations, dims) if dims < 1 else int(dims)


def pctw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align by canonical time warping to the mean."""
    parts = checked(sequences, "pctw")
    sets = Sets(parts, tuple(same(x.shape[1]) for x in parts), 0.0, "pctw")
    dims = _dims(_fit(along(parts, _straight(parts, settings)), settings), settings)
    project = variates(sets, lambda moments: _fit(moments, settings), dims)
    return _to_mean(parts, project, settings, _HALF_AS_MANY, progress)


def gtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align by Generalized Time Warping: the last of its steps from the straight line."""
    parts = checked(sequences, "gtw")
    n_steps, last = _length(parts, settings), np.array([len(x) - 1.0 for x in parts])
    basis = bases.parse(settings.basis).columns(n_steps, CLOSED_ENDS)
    weights = np.tile(bases.nearest(basis, np.linspace(0.0, 1.0, n_steps)), (len(parts), 1))
    rounds = settings.rounds or _HALF_AS_MANY

    def fit(now: Float64Array) -> Canonical:
        path = (basis @ now.T * last).T
        samples = [read(x, at) for x, at in zip(parts, path, strict=True)]
        return _fit(side_by_side(samples), settings)

    dims = _dims(fit(weights), settings)

    def warp(maps: Canonical, _: Float64Array) -> tuple[Float64Array, float]:
        latents = [f(x) for f, x in zip(maps.maps, parts, strict=True)]
        new = minimiser(_at_fixed_maps(latents, basis, weights), weights)
        path = (basis @ new.T * last).T
        return new, spread([read(z, at) for z, at in zip(latents, path, strict=True)])

    alternation = Alternation(
        lambda now: fit(now).leading(dims),
        warp,
        lambda a, b, _: bool((a == b).all()),
        rounds,
        settings.tolerance_frames,
    )
    descent = alternation.descend(weights, None, lambda done: progress(_START, done, rounds))
    end = descent.after(rounds)
    return Found(
        path=basis @ end.path.T * last,
        projections=end.maps.maps,
        correlations=end.maps.correlations,
        objective=tuple(r.objective for r in descent.rounds),
        ending=descent.ending,
        start=_START,
        starts=1,
        weights=end.path,
        basis=basis,
    )


def _at_fixed_maps(
    latents: Sequence[Float64Array], basis: Float64Array, weights: Float64Array
) -> Model:
    """Return the model of ``sum_{i<j} |z_i - z_j|^2`` of latents (n_i, d) for fixed maps."""
    m = len(latents)
    path = [(len(z) - 1.0) * (basis @ w) for z, w in zip(latents, weights, strict=True)]
    there = [read(z, at) for z, at in zip(latents, path, strict=True)]
    total = reduce(np.add, there)
    slopes = [
        read(np.gradient(z, axis=0), at) * (len(z) - 1.0)
        for z, at in zip(latents, path, strict=True)
    ]
    moves = [moves_of(s, basis) for s in slopes]
    gradients = [g.T @ (m * z - total).T.ravel() for g, z in zip(moves, there, strict=True)]
    none = np.zeros((basis.shape[1],) * 2)
    return Model(moves, np.stack(gradients), 1.0, none)


REFERENCE: Mapping[str, Aligner] = {
    "gtw": gtw,
    "pdtw": pdtw,
    "pddtw": pddtw,
    "pimw": pimw,
    "pctw": pctw,
}
"""As `mmalign_cli.align.algorithms.ALGORITHMS`."""
