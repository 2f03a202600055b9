"""What maps are worth on samples that they were not fitted to.

Maps that are rich enough correlate along any warp. So they are fitted to four fifths of the
samples, and their latents correlated on the rest: whole takes, or where there are few, stretches
of them. A correlation r is worth ``-1/2 log(1 - r^2)`` nats a sample, what two normal variables of
that correlation share, and as much less than nothing where its sign is wrong. This bounds what a
few samples far off can do, which the likelihood of the fitted correlation does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmalign_cli.align.cca import FOLDS, cca, of_samples
from mmalign_cli.align.correlation import Samples, blocks_of
from mmalign_cli.model import BoolArray, Float64Array

_STRETCHES = 20
_LARGEST = 0.9999
_RIDGE = 1e-3

LatentsOf = Callable[[Float64Array], Float64Array]
"""Weights (n_takes, n_samples) to the latents (n, D) of maps fitted to the samples they weigh."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Correlations on samples that were held out.

    Parameters
    ----------
    correlations : ndarray, shape (k,)
        Of each canonical dimension: the mean over folds, by Fisher's z, and over pairs of streams.
    of_takes : ndarray, shape (n_takes, k), or None
        The same within each take, where takes were held out whole.
    """

    correlations: Float64Array
    of_takes: Float64Array | None

    @property
    def gains(self) -> Float64Array:
        """Nats a sample, by dimension, (k,)."""
        return information(self.correlations)

    @property
    def evidence(self) -> float:
        """Nats a sample, of the best number of dimensions."""
        return self.evidence_in(len(self.correlations))

    @property
    def best_dims(self) -> int:
        """That number of dimensions."""
        return int(np.argmax(np.cumsum(self.gains))) + 1

    def evidence_in(self, dims: int) -> float:
        """Return the nats a sample of the best number of dimensions, of the first `dims`."""
        return float(np.cumsum(self.gains[:dims]).max(initial=0.0))

    @property
    def take_evidence(self) -> Float64Array | None:
        """Nats a sample of each take, in that number of dimensions; None where unknown."""
        if self.of_takes is None:
            return None
        return np.asarray(information(self.of_takes[:, : self.best_dims]).sum(axis=1))


def information(correlations: Float64Array) -> Float64Array:
    """Return ``-1/2 log(1 - r^2)`` with the sign of r."""
    bounded = np.clip(correlations, -_LARGEST, _LARGEST)
    return np.asarray(-0.5 * np.sign(bounded) * np.log1p(-(bounded**2)))


def folds(weights: Float64Array) -> list[BoolArray]:
    """Return which samples (n_takes, n_samples) each fold holds out.

    Takes in turn; of fewer takes than folds, every fifth of twenty stretches of each.
    """
    n_takes, n_samples = weights.shape
    of = np.repeat(np.arange(n_takes)[:, np.newaxis], n_samples, axis=1)
    if n_takes < FOLDS:
        of = np.tile(np.arange(n_samples) * _STRETCHES // n_samples, (n_takes, 1))
    return [of % FOLDS == k for k in range(FOLDS)]


def held_out(latents_of: LatentsOf, weights: Float64Array, dims: tuple[int, ...]) -> HeldOut:
    """Return how latents correlate on held-out samples.

    Parameters
    ----------
    latents_of : callable
        Fits maps.
    weights : ndarray, shape (n_takes, n_samples)
        Of the samples, with sum 1.
    dims : tuple of int
        Columns of each stream's latents.
    """
    by_take = len(weights) >= FOLDS
    found, of_takes = [], [np.zeros(0)] * len(weights)
    for fold in folds(weights):
        rest, held = np.where(fold, 0.0, weights), np.where(fold, weights, 0.0)
        rest /= rest.sum()
        values = latents_of(rest)
        common = cca(of_samples(Samples(values, dims, rest.ravel()), 0.0), _RIDGE)
        variates = [
            f(values[:, block]) for f, block in zip(common.maps, blocks_of(dims), strict=True)
        ]
        found.append(_correlations(variates, held.ravel()))
        for take in np.flatnonzero(held.sum(axis=1)) if by_take else ():
            rows = slice(take * weights.shape[1], (take + 1) * weights.shape[1])
            of_takes[take] = _correlations([v[rows] for v in variates], held[take])
    kept = min(map(len, found))
    mean = np.tanh(np.arctanh(np.array([r[:kept] for r in found])).mean(axis=0))
    return HeldOut(mean, np.array([r[:kept] for r in of_takes]) if by_take else None)


def _correlations(variates: list[Float64Array], weights: Float64Array) -> Float64Array:
    """Return the weighted correlations of m variates (n, k), the mean over pairs, (k,)."""
    share = (weights / weights.sum())[:, np.newaxis]
    centred = [v - (share * v).sum(axis=0) for v in variates]
    sizes = [np.sqrt((share * v**2).sum(axis=0)) for v in centred]
    found = [
        (share * centred[i] * centred[j]).sum(axis=0)
        / np.maximum(sizes[i] * sizes[j], np.finfo(np.float64).tiny)
        for i, j in combinations(range(len(variates)), 2)
    ]
    return np.asarray(np.clip(np.mean(found, axis=0), -_LARGEST, _LARGEST))
