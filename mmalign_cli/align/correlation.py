"""Total correlation of several sets of samples, its gradient, and the canonical variates.

Under a Gaussian model, samples z = (z_1, ..., z_m) of m sets with joint covariance S share

    J = 1/2 (sum_i log det S_ii - log det S)

nats (Watanabe, 1960). For two sets it is the mutual information of canonical correlation
analysis, ``-1/2 sum_k log(1 - rho_k^2)``. It does not change under invertible linear maps of a set,
and asks for no number of dimensions: a direction without correlation adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmalign_cli.model import Float64Array

LARGEST_CORRELATION = 0.9999
_FRAMES_AT_ONCE = 1024  # differences that stay in the cache: memory anew takes five times as long
_RANK_TOLERANCE = 1e-5  # of singular values: float32 input leaves 1e-7 where there is nothing


@dataclass(frozen=True, eq=False)
class Linear:
    """An affine map of frames, ``(x - mean) @ weights``.

    Parameters
    ----------
    mean : ndarray, shape (d,)
    weights : ndarray, shape (d, d_out)
    """

    mean: Float64Array
    weights: Float64Array

    def __call__(self, frames: Float64Array) -> Float64Array:
        """Map frames (n, d) to (n, d_out)."""
        mapped = np.empty((len(frames), self.weights.shape[1]))
        for first in range(0, len(frames), _FRAMES_AT_ONCE):
            part = slice(first, first + _FRAMES_AT_ONCE)
            np.matmul(frames[part] - self.mean, self.weights, out=mapped[part])
        return mapped

    def after(self, first: Linear) -> Linear:
        """Return the map that applies `first`, then this one."""
        back = np.linalg.pinv(first.weights)
        return Linear(first.mean + self.mean @ back, first.weights @ self.weights)


def whitening(frames: Float64Array) -> Linear:
    """Return the map under which frames (n, d) have mean 0 and covariance I.

    Each column is first scaled to unit variance, so that units do not matter; then directions
    whose singular value is below 1e-5 of the largest are dropped, being combinations of others.
    The result has no columns where no column of `frames` varies.
    """
    mean, scale = frames.mean(axis=0), frames.std(axis=0)
    varies = scale > _RANK_TOLERANCE**2 * np.abs(frames).max(axis=0)
    by_scale = np.where(varies, 1.0 / np.where(varies, scale, 1.0), 0.0)
    _, size, axes = np.linalg.svd((frames - mean) * by_scale, full_matrices=False)
    kept = size > _RANK_TOLERANCE * max(size.max(), 1.0)
    return Linear(
        mean, by_scale[:, np.newaxis] * axes[kept].T * (np.sqrt(len(frames)) / size[kept])
    )


def blocks_of(dims: Sequence[int]) -> list[slice]:
    """Return the columns of each of several sets that lie side by side."""
    ends = np.cumsum(dims)
    return [slice(int(end) - d, int(end)) for end, d in zip(ends, dims, strict=True)]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of m sets side by side, with weights.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The sets' columns, one set after the other.
    dims : tuple of int
        Columns of each set.
    weights : ndarray, shape (n,)
        Positive with sum 1.
    """

    values: Float64Array
    dims: tuple[int, ...]
    weights: Float64Array

    @property
    def blocks(self) -> list[slice]:
        """The columns of each set."""
        return blocks_of(self.dims)

    def centred(self) -> Float64Array:
        """Return the values less their weighted mean."""
        return np.asarray(self.values - self.weights @ self.values)


def covariance(samples: Samples, ridge: float) -> tuple[Float64Array, Float64Array]:
    """Return the weighted covariance (D, D) plus `ridge` I, and the centred samples (n, D)."""
    centred = samples.centred()
    cov = centred.T @ (centred * samples.weights[:, np.newaxis])
    cov.flat[:: len(cov) + 1] += ridge
    return cov, centred


def _inverse(matrix: Float64Array) -> tuple[float, Float64Array]:
    """Return log det and inverse of a small positive definite matrix, by one factorisation.

    LAPACK at first hand: the checks of `numpy.linalg` take longer than the work.
    """
    from scipy.linalg import lapack

    factor, _ = lapack.dpotrf(matrix, lower=1)
    half, _ = lapack.dpotri(factor, lower=1)
    both = half + half.T
    both.flat[:: len(both) + 1] /= 2.0
    return 2.0 * float(np.log(factor.diagonal()).sum()), both


def total_correlation(samples: Samples, ridge: float) -> tuple[float, Float64Array]:
    """Return J in nats and its gradient by the samples, (n, D).

    ``dJ/dZ = w Zc (blockdiag(S_ii^-1) - S^-1)``; the mean needs no term of its own, as the
    weighted centred samples sum to 0.
    """
    cov, centred = covariance(samples, ridge)
    log_det, inverse = _inverse(cov)
    value, slope = -log_det, -inverse
    for block in samples.blocks:
        log_det, inverse = _inverse(cov[block, block])
        value += log_det
        slope[block, block] += inverse
    return value / 2.0, (centred @ slope) * samples.weights[:, np.newaxis]


def leading_correlation(samples: Samples, ridge: float, leading: int) -> tuple[float, Float64Array]:
    """Return J of the first `leading` canonical correlations alone, and its gradient (n, D).

    ``-1/2 sum_{k <= leading} log(1 - rho_k^2)``, summed over the pairs of sets. With many noisy
    dimensions the others are chance. ``d rho = u' dS_xy v - rho / 2 (u' dS_xx u + v' dS_yy v)``.
    """
    cov, centred = covariance(samples, ridge)
    value, gradient = 0.0, np.zeros_like(centred)
    for a, b in combinations(samples.blocks, 2):
        u, rho, v = canonical(cov, a, b)
        u, rho, v = u[:, :leading], rho[:leading], v[:, :leading]
        value -= 0.5 * float(np.log1p(-(rho**2)).sum())
        pull = rho / (1.0 - rho**2)
        latent_a, latent_b = centred[:, a] @ u, centred[:, b] @ v
        gradient[:, a] += ((latent_b - rho * latent_a) * pull) @ u.T
        gradient[:, b] += ((latent_a - rho * latent_b) * pull) @ v.T
    return value, gradient * samples.weights[:, np.newaxis]


def canonical(
    cov: Float64Array, a: slice, b: slice
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the canonical directions and correlations of two sets whose covariances are regular.

    The same as `mmalign_cli.align.cca.cca` of them, without its care for rank; this one stands in
    the objective, where it is called thousands of times.

    Parameters
    ----------
    cov : ndarray, shape (D, D)
        Joint covariance.
    a, b : slice
        The columns of the two sets.

    Returns
    -------
    u, rho, v : ndarray, shape (d_a, k), (k,) and (d_b, k)
        ``u' S_aa u = v' S_bb v = I`` and ``u' S_ab v = diag(rho)``, rho decreasing and at most
        0.9999; k is the smaller number of dimensions. The largest weight of each u is positive.
    """
    white_a = np.linalg.inv(np.linalg.cholesky(cov[a, a]))
    white_b = np.linalg.inv(np.linalg.cholesky(cov[b, b]))
    left, rho, right = np.linalg.svd(white_a @ cov[a, b] @ white_b.T, full_matrices=False)
    u, v = white_a.T @ left, white_b.T @ right.T
    sign = np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    return u * sign, np.minimum(rho, LARGEST_CORRELATION), v * sign


def matching_maps(samples: Samples, ridge: float) -> tuple[Linear, Linear, Float64Array]:
    """Return maps of two sets to latents whose squared distance says how well frames match.

    The latents are the canonical variates times ``sqrt(rho / (1 - rho^2))``: minus half the
    squared distance is the log-likelihood of a match, but for terms of each frame alone.

    Returns
    -------
    first, second : Linear
    rho : ndarray, shape (k,)
        Canonical correlations.
    """
    cov, _ = covariance(samples, ridge)
    a, b = samples.blocks
    u, rho, v = canonical(cov, a, b)
    scale = np.sqrt(rho / (1.0 - rho**2))
    mean = samples.weights @ samples.values
    return Linear(mean[a], u * scale), Linear(mean[b], v * scale), rho


def evidence(rho: Float64Array) -> float:
    """Return ``-1/2 sum log(1 - rho^2)`` in nats."""
    return -0.5 * float(np.log1p(-(rho**2)).sum())
