"""Many takes of any number of sequences: one map a sequence for all takes, a warp for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import warps
from mmalign_cli.align.cca import Canonical, along, fold_gains
from mmalign_cli.align.consensus import agree
from mmalign_cli.align.correlation import LARGEST_CORRELATION
from mmalign_cli.align.joint import Joint, align_jointly
from mmalign_cli.align.learned import Learned, StreamMap
from mmalign_cli.align.together import (
    CONSENSUS,
    RIDGE,
    Ask,
    Together,
    ending_of,
    maps_of_joint,
    of_joint,
)
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_FEW_TAKES = 3
_LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Pooled:
    """The alignments of takes, and what was learned from them.

    Parameters
    ----------
    takes : tuple of Together
        One a take, with the same maps.
    learned : Learned
    take_gains : tuple of float, or None
        Nats a step that maps fitted to the other takes gain on each one; None of few takes.
    """

    takes: tuple[Together, ...]
    learned: Learned
    take_gains: tuple[float, ...] | None


def align_pooled(
    takes: Sequence[Sequence[Float64Array]], ask: Ask, progress: Progress = runtime.silent
) -> Pooled:
    """Align takes, each with the same m >= 2 sequences, under maps that they share.

    Parameters
    ----------
    takes : sequence of sequences of m ndarray, shape (n, d_i)
    ask : Ask
        With closed ends.
    progress : Progress

    Raises
    ------
    InputError
        If a sequence is too short, or does not vary.
    """
    found = align_jointly(
        takes, robust=ask.robust, iterations=ask.iterations, seed=ask.seed, progress=progress
    )
    parts = [np.concatenate(sequence) for sequence in zip(*takes, strict=True)]
    path = _end_to_end(found)
    maps, gains = maps_of_joint(found, parts, path, ask.dims)
    return Pooled(
        tuple(of_joint(found, k, maps, gains) for k in range(len(takes))),
        _learned(found, maps),
        _gains_of_each(takes, found, len(maps.correlations)),
    )


def _end_to_end(found: Joint) -> IntArray:
    """Return the path through the frames of all takes."""
    firsts = np.cumsum(found.lengths, axis=0) - found.lengths
    return np.concatenate([p + first for p, first in zip(found.paths, firsts, strict=True)])


def _learned(found: Joint, maps: Canonical) -> Learned:
    """Return the maps to keep: of noisy sensors those of what was computed of their frames."""
    if found.views is None or not found.leading:
        return Learned(tuple(StreamMap(f) for f in maps.maps), maps.correlations)
    kept = tuple(
        StreamMap(replace(f, weights=f.weights[:, : found.leading]), view)
        for f, view in zip(found.projections, found.views, strict=True)
    )
    return Learned(kept, found.correlations[: found.leading])


def _gains_of_each(
    takes: Sequence[Sequence[Float64Array]], found: Joint, dims: int
) -> tuple[float, ...] | None:
    if len(takes) < _FEW_TAKES:
        return None
    folds = [along(take, path) for take, path in zip(takes, found.paths, strict=True)]
    return tuple(float(g) for g in fold_gains(folds, RIDGE)[:, :dims].sum(axis=1))


def align_learned(
    sequences: Sequence[Float64Array], learned: Learned, progress: Progress = runtime.silent
) -> Together:
    """Align one take under maps that were learned before: its images agree on their mean."""
    latents = learned.latents(sequences)
    found = agree(latents, "sqeuclidean", progress=progress)
    lengths = np.array([len(x) for x in latents])
    path = warps.to_path(found.knots, lengths)
    return Together(
        CONSENSUS,
        warps.in_frames(found.knots, lengths),
        path,
        tuple(f.linear for f in learned.scaled()),
        learned.correlations,
        _agreement([z[p] for z, p in zip(latents, path.T, strict=True)]),
        found.objective,
        1,
        "consensus of pairs",
        ending_of(found.converged),
    )


def _agreement(latents: Sequence[Float64Array]) -> Float64Array:
    """Return ``-1/2 log(1 - rho^2)`` of each coordinate, rho the mean correlation of two latents.

    The maps were not fitted to these frames: it is what they are worth on them.
    """
    centred = [(z - z.mean(axis=0)) / np.maximum(z.std(axis=0), _LEAST) for z in latents]
    m, total = len(centred), reduce(np.add, centred)
    rho = ((total**2).mean(axis=0) - m) / (m * (m - 1))
    return np.asarray(-0.5 * np.log1p(-(np.clip(rho, 0.0, LARGEST_CORRELATION) ** 2)))
