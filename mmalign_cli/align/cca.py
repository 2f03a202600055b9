"""Canonical correlation analysis of two and more sets, as one generalised eigenproblem.

With C_D the block diagonal of the joint covariance and C_O what is left of it,

    C_O v = rho C_D v,    V' C_D V = m I

gives for two sets Hotelling's canonical correlations, ``U' S_xx U = V' S_yy V = I``, and for m
sets those of the sum of correlations (Kettenring, 1971), as Canonical and Generalized Time Warping
use them (Zhou and De la Torre, 2009, 2012). Everything is a function of `Moments`: means and
covariances along a warping path, or under a soft coupling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mmalign_cli.align.correlation import Linear, Samples, blocks_of, covariance
from mmalign_cli.align.coupling import Coupling
from mmalign_cli.model import Float64Array, IntArray

_RANK_TOLERANCE = 1e-10
"""Of the variances of columns scaled alike: float32 input leaves 1e-14 where there is nothing."""
_LARGEST = 1.0 - 1e-9
_VARIANCE = 0.999
_EXTREME = 200
FOLDS = 5
_BLOCKS = 20
_STEPS_AT_ONCE = 1024  # what stays in the second cache


@dataclass(frozen=True, eq=False)
class Moments:
    """Weight, mean and covariance of sets side by side.

    Parameters
    ----------
    weight : float
        Number of samples, or the sum of their weights.
    mean : ndarray, shape (D,)
    covariance : ndarray, shape (D, D)
        Divided by `weight`.
    dims : tuple of int
        Columns of each set; their sum is D.
    """

    weight: float
    mean: Float64Array
    covariance: Float64Array
    dims: tuple[int, ...]

    @property
    def blocks(self) -> list[slice]:
        """The columns of each set."""
        return blocks_of(self.dims)

    def __add__(self, other: Moments) -> Moments:
        weight = self.weight + other.weight
        share = other.weight / weight
        apart = other.mean - self.mean
        covariance = (1 - share) * self.covariance + share * other.covariance
        covariance += share * (1 - share) * np.outer(apart, apart)
        return Moments(weight, self.mean + share * apart, covariance, self.dims)


def along(
    sets: Sequence[Float64Array], path: IntArray, weights: Float64Array | None = None
) -> Moments:
    """Return the moments of frames that a warping path lays side by side.

    Parameters
    ----------
    sets : sequence of m ndarray, shape (n_i, d_i)
    path : ndarray, shape (n_steps, m)
    weights : ndarray, shape (n_steps,), optional
        Of the steps; all 1 by default.
    """
    dims = tuple(x.shape[1] for x in sets)
    shift = np.concatenate([x.mean(axis=0) for x in sets])
    steps = np.ones(len(path)) if weights is None else weights
    total = float(steps.sum())
    sums, squares = np.zeros(sum(dims)), np.zeros((sum(dims), sum(dims)))
    for first in range(0, len(path), _STEPS_AT_ONCE):
        part = slice(first, first + _STEPS_AT_ONCE)
        values = np.concatenate(
            [x.take(p, axis=0) for x, p in zip(sets, path[part].T, strict=True)], axis=1
        )
        values -= shift
        sums += steps[part] @ values
        weighed = values if weights is None else values * weights[part, np.newaxis]
        squares += values.T @ weighed
    beyond = sums / total
    return Moments(total, shift + beyond, squares / total - np.outer(beyond, beyond), dims)


def of_samples(samples: Samples, ridge: float) -> Moments:
    """Return the moments of weighted samples, `ridge` I added to their covariance."""
    mean = np.asarray(samples.weights @ samples.values)
    return Moments(1.0, mean, covariance(samples, ridge)[0], samples.dims)


def under(x: Float64Array, y: Float64Array, coupling: Coupling) -> Moments:
    """Return the moments of two sets under a soft coupling.

    ``S_xx = Xc' diag(W1) Xc``, ``S_yy = Yc' diag(W'1) Yc``, ``S_xy = Xc' W Yc`` for the coupling W
    divided by its sum, with weighted means.

    Parameters
    ----------
    x, y : ndarray, shape (n, d_x) and (m, d_y)
    coupling : Coupling
        The weight with which two frames match.
    """
    shift = y.mean(axis=0)  # before the product, which would cancel digits far from 0
    y = y - shift
    a, b, coupled = coupling.times(y)
    total = float(a.sum())
    a, b = a / total, b / total
    mean_x, mean_y = a @ x, b @ y
    xc, yc = x - mean_x, y - mean_y
    cross = xc.T @ (coupled / total - a[:, np.newaxis] * mean_y)
    covariance = np.block(
        [[xc.T @ (xc * a[:, np.newaxis]), cross], [cross.T, yc.T @ (yc * b[:, np.newaxis])]]
    )
    dims = (x.shape[1], y.shape[1])
    return Moments(total, np.concatenate([mean_x, mean_y + shift]), covariance, dims)


@dataclass(frozen=True, eq=False)
class Canonical:
    """What canonical correlation analysis found.

    Parameters
    ----------
    maps : tuple of m Linear
        To the canonical variates, all of the same number of dimensions.
    correlations : ndarray, shape (d,)
        Decreasing. For two sets the canonical correlations; for m sets the mean, over the pairs,
        of the correlations of the variates: rho / (m - 1).
    """

    maps: tuple[Linear, ...]
    correlations: Float64Array

    def after(self, bases: Sequence[Linear]) -> Canonical:
        """Return the maps of frames that were first mapped by `bases`, one a set."""
        maps = tuple(f.after(b) for b, f in zip(bases, self.maps, strict=True))
        return Canonical(maps, self.correlations)

    def leading(self, dims: int) -> Canonical:
        """Return the first `dims` dimensions alone."""
        maps = tuple(Linear(f.mean, f.weights[:, :dims]) for f in self.maps)
        return Canonical(maps, self.correlations[:dims])


def cca(moments: Moments, ridge: float | Float64Array = 0.0) -> Canonical:
    """Find the maps under which the sets correlate most.

    Parameters
    ----------
    moments : Moments
        Of two or more sets.
    ridge : float or ndarray, shape (m,)
        Added to the variances: then ``V_i' (S_ii + ridge_i I) V_i = I``. A number is relative to
        the mean variance of each set (``trace / d_i``), an array holds the ridges as they are.

    Returns
    -------
    Canonical
        With as many dimensions as the set of the lowest rank. Each variate is turned so that the
        largest of its weights, in units of each column's deviation, is positive.
    """
    blocks = moments.blocks
    covariance = moments.covariance
    own = [covariance[b, b] for b in blocks]
    added = ridge
    if not isinstance(ridge, np.ndarray):
        added = np.array([ridge * float(c.diagonal().mean()) for c in own])
    white = [whitening(c, float(r)) for c, r in zip(own, np.asarray(added), strict=True)]
    ranks = [w.shape[1] for w in white]
    half = np.vstack([w.T @ covariance[b] for w, b in zip(white, blocks, strict=True)])
    cross = np.hstack([half[:, b] @ w for w, b in zip(white, blocks, strict=True)])
    for block in blocks_of(ranks):
        cross[block, block] = 0.0
    rho, vectors = np.linalg.eigh(cross)
    dims = min(ranks)
    best = vectors[:, ::-1][:, :dims] * np.sqrt(len(blocks))
    parts = np.split(best, np.cumsum(ranks)[:-1])
    weights = [w @ part for w, part in zip(white, parts, strict=True)]
    sign = _signs(weights[0], covariance[blocks[0], blocks[0]])
    maps = (Linear(moments.mean[b], w * sign) for b, w in zip(blocks, weights, strict=True))
    correlations = np.clip(rho[::-1][:dims] / (len(blocks) - 1), 0.0, 1.0)
    return Canonical(tuple(maps), correlations)


def principal(frames: Float64Array, most: int) -> Linear:
    """Return the map of frames (n, d) to at most `most` principal components, (d, k).

    Those that hold 99.9 % of the variance; all of the streams' own columns where these are no
    more than `most`, for then nothing need be lost. Values whose squares overflow or vanish are
    brought near 1, by a power of two.
    """
    exponent = math.frexp(float(np.abs(frames).max()))[1]
    scale = math.ldexp(1.0, -exponent if abs(exponent) > _EXTREME else 0)
    if frames.shape[1] <= most:
        return Linear(np.zeros(frames.shape[1]), scale * np.eye(frames.shape[1]))
    mean = frames.mean(axis=0)
    _, size, axes = np.linalg.svd((frames - mean) * scale, full_matrices=False)
    held = np.cumsum(size**2) / (size**2).sum()
    k = min(most, int(np.searchsorted(held, _VARIANCE)) + 1)
    return Linear(mean, scale * axes[:k].T)


def whitening(covariance: Float64Array, ridge: float = 0.0) -> Float64Array:
    """Return T (d, rank) with ``T' (S + ridge I) T = I``.

    Directions of S that are combinations of others, by a tolerance relative to the largest once
    every column is scaled to variance 1, are left out: data of rank 2 in five columns has two.
    """
    variance = covariance.diagonal()
    varies = variance > 0
    scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    size, axes = np.linalg.eigh(covariance * scale * scale[:, np.newaxis])
    kept = size > _RANK_TOLERANCE * max(float(size[-1]), 1.0)
    basis = scale[:, np.newaxis] * axes[:, kept]
    if ridge == 0.0:
        return np.asarray(basis / np.sqrt(size[kept]))
    inner = np.diag(size[kept]) + ridge * basis.T @ basis
    size, axes = np.linalg.eigh(inner)
    return np.asarray(basis @ (axes / np.sqrt(size)))


def _signs(weights: Float64Array, covariance: Float64Array) -> Float64Array:
    """Return the sign of the largest weight of each column, in units of the deviations."""
    by_scale = weights * np.sqrt(np.maximum(covariance.diagonal(), 0.0))[:, np.newaxis]
    largest = np.abs(by_scale).argmax(axis=0)
    return np.where(by_scale[largest, np.arange(weights.shape[1])] < 0, -1.0, 1.0)


def folds_of(sets: Sequence[Float64Array], path: IntArray) -> list[Moments]:
    """Return the moments of each fold of a path: every fifth of twenty stretches.

    Stretches, not single steps: neighbours on a path are nearly the same samples.
    """
    count = max(2, min(_BLOCKS, len(path) // 4))
    stretches = [along(sets, part) for part in np.array_split(path, count)]
    folds = min(FOLDS, count)
    return [reduce(Moments.__add__, stretches[k::folds]) for k in range(folds)]


def held_out_gains(folds: Sequence[Moments], ridge: float = 0.0) -> Float64Array:
    """Return what each canonical dimension is worth on frames that it was not fitted to.

    The maps are fitted to all folds but one; on that one, the gain of dimension k is the mean
    log-likelihood ratio, in nats a step, of a pair of unit normals with correlation rho_k to a
    pair without:

        -1/2 log(1 - rho^2) - (rho^2 (E a^2 + E b^2) - 2 rho E ab) / (2 (1 - rho^2))

    Its expectation is the mutual information where maps and rho are true, and negative where they
    are chance. More than two sets: the mean over their pairs.

    Returns
    -------
    ndarray, shape (d,)
        Mean over the folds.
    """
    return np.asarray(fold_gains(folds, ridge).mean(axis=0))


def fold_gains(folds: Sequence[Moments], ridge: float = 0.0) -> Float64Array:
    """Return the gains of `held_out_gains` fold by fold, (n_folds, d)."""
    gains = []
    for k, held in enumerate(folds):
        rest = reduce(Moments.__add__, [f for i, f in enumerate(folds) if i != k])
        gains.append(_gains(cca(rest, ridge), rest, held))
    dims = min(len(g) for g in gains)
    return np.array([g[:dims] for g in gains])


def _gains(fit: Canonical, rest: Moments, held: Moments) -> Float64Array:
    """Return the gain of each dimension of `fit` on other samples."""
    apart = held.mean - rest.mean
    fitted, seen = (
        _between(fit, rest.blocks, c)
        for c in (rest.covariance, held.covariance + np.outer(apart, apart))
    )
    size = np.sqrt(np.maximum(np.einsum("kii->ki", fitted), np.finfo(np.float64).tiny))
    units = size[:, :, np.newaxis] * size[:, np.newaxis, :]
    first, second = np.triu_indices(len(rest.blocks), 1)
    rho = np.minimum(fitted / units, _LARGEST)[:, first, second]
    both = (seen / units)[:, first, second]
    alone = np.einsum("kii->ki", seen / units)
    left = 1.0 - rho**2
    squares = alone[:, first] + alone[:, second]
    gains = -0.5 * np.log(left) - (rho**2 * squares - 2 * rho * both) / (2 * left)
    return np.asarray(gains.mean(axis=1))


def _between(fit: Canonical, blocks: Sequence[slice], covariance: Float64Array) -> Float64Array:
    """Return the covariances of the variates of m sets, dimension by dimension, (d, m, m)."""
    d, m = len(fit.correlations), len(blocks)
    weights = np.zeros((len(covariance), m, d))
    for i, (f, block) in enumerate(zip(fit.maps, blocks, strict=True)):
        weights[block, i] = f.weights
    flat = weights.reshape(len(covariance), m * d)
    return np.asarray(np.einsum("ikjk->kij", (flat.T @ covariance @ flat).reshape(m, d, m, d)))


def dims_of_energy(correlations: Float64Array, share: float) -> int:
    """Return the least number of dimensions with that share of the sum of correlations."""
    total = np.cumsum(correlations)
    return int(np.searchsorted(total, share * total[-1] * (1 - 1e-12)) + 1)
