"""Samples with heavy tails: a multivariate t distribution, and when it is likelier than a Gaussian.

A bump that one sequence has and the other has not leaves large residuals over a stretch. Under a
Gaussian they bend the warps around it; under a t with few degrees of freedom they weigh little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from mmalign_cli.align.correlation import Samples, covariance
from mmalign_cli.model import Float64Array

_DEGREES = 3.0
_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Tails:
    """A multivariate t with 3 degrees of freedom, fitted to samples.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        ``w = (nu + D) / (nu + z' S^-1 z)``, S the scatter that they weigh; scaled to sum 1.
    gain : float
        By how much the mean log-likelihood is above that of a Gaussian, in nats.
    shared : float
        Mean log-likelihood above that of a t for each set by itself, in nats: what the total
        correlation is for a Gaussian.
    """

    weights: Float64Array
    gain: float
    shared: float


def fitted(samples: Samples, ridge: float) -> Tails:
    """Fit a t distribution by EM (Lange, Little and Taylor, 1989), `ridge` added to its scatter."""
    base = samples.weights
    cov, centred = covariance(samples, ridge)
    gaussian = _log_gaussian(base, cov, centred)
    weights = base
    for _ in range(_ROUNDS):
        weights = base * (_DEGREES + len(cov)) / (_DEGREES + _distances(cov, centred))
        weights = weights / weights.sum()
        cov, centred = covariance(replace(samples, weights=weights), ridge)
    together = _log_t(base, cov, centred)
    apart = sum(_log_t(base, cov[block, block], centred[:, block]) for block in samples.blocks)
    return Tails(weights, together - gaussian, together - apart)


def without_tails(samples: Samples, ridge: float) -> Samples:
    """Return the samples with the weights of a t distribution where that is the likelier one."""
    tails = fitted(samples, ridge)
    return replace(samples, weights=tails.weights) if tails.gain > 0 else samples


def _distances(cov: Float64Array, centred: Float64Array) -> Float64Array:
    return np.asarray((centred * np.linalg.solve(cov, centred.T).T).sum(axis=1))


def _log_gaussian(weights: Float64Array, cov: Float64Array, centred: Float64Array) -> float:
    """Return the mean log-density of centred samples, but for the power of pi."""
    square = float(weights @ _distances(cov, centred))
    return -0.5 * (float(np.linalg.slogdet(cov)[1]) + len(cov) * float(np.log(2.0)) + square)


def _log_t(weights: Float64Array, cov: Float64Array, centred: Float64Array) -> float:
    """Return the mean log-density of centred samples, but for the power of pi."""
    half = (_DEGREES + len(cov)) / 2.0
    size = float(np.linalg.slogdet(cov)[1]) + len(cov) * float(np.log(_DEGREES))
    tails = float(weights @ np.log1p(_distances(cov, centred) / _DEGREES))
    return float(gammaln(half) - gammaln(_DEGREES / 2.0)) - size / 2.0 - half * tails
