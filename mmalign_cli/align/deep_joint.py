"""The joint aligner with learned maps: weights and warps together, from many starts.

Random weights are cheap to begin from and most of them lead astray: so many begin, coarsely, and
after each part of the way the better ones go on. Which is best is told by the objective itself;
what it is worth, by networks that are fitted anew to part of the alignment and tried on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import warps
from mmalign_cli.align.climb import MOST_ITERATIONS
from mmalign_cli.align.deep_climb import Deep, DeepClimb, Stage, climb, latents_along
from mmalign_cli.align.deep_correlation import RIDGE, Damping
from mmalign_cli.align.held_out import HeldOut, held_out
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress

STAGES = (
    (Stage(4, Damping(0.5, 0.02), 0.5), Stage(8, Damping(0.7, 0.015), 0.5)),
    (Stage(8, Damping(0.9, 0.01), 0.36), Stage(16, Damping(0.97, 0.004), 0.18, 60)),
    (Stage(24, Damping(0.999), 0.06, 120, 1e-5),),
)
"""Coarse to fine; after each part but the last half of the starts go on, at least two."""
FITTING = (Stage(24, Damping(0.9), 0.36), Stage(24, Damping(0.999), 0.06, 100))
"""How networks are fitted to warps that are known."""
STARTS_OF_ONE, STARTS_OF_MANY = 24, 12
_FITS = 2


@dataclass(frozen=True)
class Told:
    """What of the stages a caller may change.

    Parameters
    ----------
    decay : float
        Weight decay, in units of the usual one.
    iterations : int
        Of L-BFGS a stage, at most.
    ridge : float
        Added to the variances of latents.
    """

    decay: float = 1.0
    iterations: int = MOST_ITERATIONS
    ridge: float = RIDGE

    def changed(self, stage: Stage) -> Stage:
        """Return a stage as it is wanted."""
        return replace(
            stage,
            decay=stage.decay * self.decay,
            iterations=min(stage.iterations, self.iterations),
            damping=replace(stage.damping, ridge=self.ridge),
        )


AS_USUAL = Told()


def starts_for(n_takes: int) -> int:
    """Return how many starts it takes: what one take leaves open, several tell."""
    return STARTS_OF_ONE if n_takes == 1 else STARTS_OF_MANY


def begin(deep: Deep, count: int, seed: int, also: Sequence[Float64Array] = ()) -> list[DeepClimb]:
    """Return random weights, each with warps to begin from.

    Parameters
    ----------
    deep : Deep
    count : int
    seed : int
    also : sequence of ndarray, shape (n_takes, m, K + 1)
        Warps of which every other start has one, in turn; the rest begin from the straight line.
    """
    rng = np.random.default_rng(seed)
    m, pieces = len(deep.shapes), STAGES[0][0].pieces
    straight = np.tile(warps.straight(m, pieces), (deep.n_takes, 1, 1))
    pool = []
    for number in range(count):
        weights = np.concatenate([shape.random(rng) for shape in deep.shapes])
        turn, is_other = divmod(number, 2)
        knots = also[turn % len(also)] if also and is_other else straight
        pool.append(DeepClimb(weights, knots, number))
    return pool


def search(
    deep: Deep,
    pool: Sequence[DeepClimb],
    told: Told = AS_USUAL,
    progress: Progress = runtime.silent,
) -> DeepClimb:
    """Return the best of a pool of starts.

    Parameters
    ----------
    deep : Deep
    pool : sequence of DeepClimb
    told : Told
    progress : Progress
        Told the starts done; may raise to stop.
    """
    for number, stages in enumerate(STAGES, 1):
        climbed = []
        for done, one in enumerate(pool):
            progress(f"climbing, part {number} of {len(STAGES)}", done, len(pool))
            climbed.append(reduce(partial(_through, deep, told), stages, one))
        pool = sorted(climbed, key=_by_value, reverse=True)[: max(2, (len(climbed) + 1) // 2)]
    return pool[0]


def _through(deep: Deep, told: Told, one: DeepClimb, stage: Stage) -> DeepClimb:
    return climb(deep, one, told.changed(stage))


def _by_value(one: DeepClimb) -> float:
    return one.value


def fit(deep: Deep, knots: Float64Array, count: int, seed: int, told: Told = AS_USUAL) -> DeepClimb:
    """Return the best networks along given warps, from `count` random weights."""
    fitted = []
    for one in begin(deep, count, seed):
        along = replace(one, knots=knots)
        for stage in FITTING:
            along = climb(deep, along, told.changed(stage), is_free=False)
        fitted.append(along)
    return max(fitted, key=_by_value)


def support(deep: Deep, knots: Float64Array, seed: int, told: Told = AS_USUAL) -> HeldOut:
    """Return how the latents of networks correlate along warps where they were not fitted.

    Parameters
    ----------
    deep : Deep
    knots : ndarray, shape (n_takes, m, K + 1)
    seed : int
        Of the networks' first weights.
    told : Told
    """
    m = len(deep.shapes)

    def latents_of(weights: Float64Array) -> Float64Array:
        part = replace(deep, weights=weights)
        return latents_along(part, fit(part, knots, _FITS, seed, told)).values[
            :, : sum(deep.dims[:m])
        ]

    return held_out(latents_of, deep.weights, deep.dims[:m])
