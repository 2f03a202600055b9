"""Climbing the total correlation over continuous warps: objective, gradient, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from mmalign_cli.align import warps
from mmalign_cli.align.correlation import Samples, leading_correlation, total_correlation
from mmalign_cli.align.tails import fitted
from mmalign_cli.align.takes import Takes
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.errors import InternalError
from mmalign_cli.model import Float64Array

MOST_ITERATIONS = 1000
_ROUNDS = 3
_SETTLED = 0.01
COVERAGE_POWER = 0.125
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Stage:
    """One resolution at which the objective is climbed.

    Parameters
    ----------
    pieces : int
        Of each warp.
    ridge : float
        Added to the covariance of whitened samples: the annealing.
    leading : int or None
        How many canonical correlations count; None: all.
    tolerance : float
        Relative gain of an iteration below which the stage ends.
    iterations : int
        L-BFGS iterations, at most.
    """

    pieces: int
    ridge: float
    leading: int | None = None
    tolerance: float = 1e-4
    iterations: int = MOST_ITERATIONS


@dataclass(frozen=True)
class Settings:
    """What is maximised.

    Parameters
    ----------
    smoothness : float
        Nats that a mean squared log slope of 1 costs; with `smooth_speed` a mean squared
        difference of the log slopes of neighbouring pieces, per squared step of time.
    smooth_speed : bool
        Penalise changes of speed in place of speeds other than 1.
    robust : bool
        Weigh samples by a multivariate t distribution even where a Gaussian is likelier.
    ends : OpenEnds
    iterations : int
        L-BFGS iterations a stage, at most.
    """

    smoothness: float = 0.03
    smooth_speed: bool = False
    robust: bool = False
    ends: OpenEnds = CLOSED_ENDS
    iterations: int = MOST_ITERATIONS


@dataclass(frozen=True, eq=False)
class Climb:
    """How far one start has come.

    Parameters
    ----------
    knots : ndarray, shape (n_takes, m, K + 1)
    start : int
        Which start it came from.
    penalized : float
        J less the penalty, in nats; with open ends J is times the eighth root of the coverage.
        Where a t distribution is likelier than a Gaussian, J is that of the t.
    iterations : int
        Of L-BFGS so far.
    converged : bool
        Whether the last stage stopped by itself.
    history : tuple of float
        `penalized` after each stage.
    """

    knots: Float64Array
    start: int = 0
    penalized: float = -np.inf
    iterations: int = 0
    converged: bool = False
    history: tuple[float, ...] = field(default=())


def objective(
    takes: Takes, theta: Float64Array, stage: Stage, settings: Settings
) -> tuple[float, Float64Array]:
    """Return the penalised objective of log-slopes and its gradient.

    Parameters
    ----------
    theta : ndarray, shape (n_takes, m, n_bins)

    Returns
    -------
    value : float
        ``coverage^(1/8) J - penalty`` in nats, the coverage being the mean share of a sequence
        that is matched: 1 where the ends are closed.
    gradient : ndarray, shape (n_takes, m, n_bins)
    """
    basis = warps.ramps(takes.n_samples, stage.pieces, settings.ends)
    shares = warps.softmax(theta)
    samples, slopes = takes.samples(np.minimum(shares @ basis.T, 1.0))
    value, by_samples = _correlation(samples, stage)
    by_shares = _back(takes, by_samples * slopes, basis)
    moving = inner(theta, settings.ends)
    if settings.ends != CLOSED_ENDS:
        covered = inner(shares, settings.ends).sum(axis=-1)
        factor = float(covered.mean()) ** COVERAGE_POWER
        by_share = COVERAGE_POWER * factor / float(covered.sum())
        by_shares *= factor
        inner(by_shares, settings.ends)[...] += value * by_share
        value *= factor
    gradient = warps.softmax_gradient(shares, by_shares)
    cost, by_theta = _penalty(moving, settings)
    inner(gradient, settings.ends)[...] -= by_theta
    return value - cost, gradient


def _correlation(samples: Samples, stage: Stage) -> tuple[float, Float64Array]:
    if stage.leading is None:
        return total_correlation(samples, stage.ridge)
    return leading_correlation(samples, stage.ridge, stage.leading)


def _back(takes: Takes, by_position: Float64Array, basis: Float64Array) -> Float64Array:
    """Carry a gradient from the positions of all samples back to the increments."""
    firsts = np.concatenate([[0], np.cumsum(takes.dims)[:-1]]).astype(np.int64)
    sums = np.add.reduceat(by_position, firsts, axis=1)
    return np.asarray(sums.reshape(takes.n_takes, takes.n_samples, -1).transpose(0, 2, 1) @ basis)


def inner(bins: Float64Array, ends: OpenEnds) -> Float64Array:
    """Return the view of the bins that are pieces, not skipped ends."""
    return bins[..., int(ends.begin) : bins.shape[-1] - int(ends.end)]


def _penalty(theta: Float64Array, settings: Settings) -> tuple[float, Float64Array]:
    """Return the cost of log-slopes (..., K), skipped ends left out, and its gradient."""
    n_pieces = theta.shape[-1]
    n_warps = theta.size // n_pieces
    if settings.smooth_speed:
        change = np.diff(theta, axis=-1)
        scale = settings.smoothness / (n_warps * max(n_pieces - 1, 1))
        pull = np.zeros_like(theta)
        pull[..., 1:] += change
        pull[..., :-1] -= change
        return scale * float((change**2).sum()), 2.0 * scale * pull
    shares = warps.softmax(theta)
    slope = np.log(np.maximum(shares * n_pieces, _TINY))
    scale = settings.smoothness / theta.size
    pull = slope - shares * slope.sum(axis=-1, keepdims=True)
    return scale * float((slope**2).sum()), 2.0 * scale * pull


def climb(takes: Takes, start: Climb, stage: Stage, settings: Settings) -> Climb:
    """Maximise the objective at one resolution, by L-BFGS.

    Between rounds of it the samples are weighed anew, where they are weighed at all. It has
    converged where the last round was worth no more than a hundredth, too, if that many
    iterations were all that is meant for it.

    Parameters
    ----------
    start : Climb
        Its warps are brought to the stage's number of pieces first.
    """
    from scipy.optimize import minimize

    knots = np.stack([warps.resampled(take, stage.pieces) for take in start.knots])
    theta = warps.theta_of(knots, settings.ends)
    shape = theta.shape
    iterations = start.iterations
    for done in range(_ROUNDS):
        weighed = _weighed(takes, theta, stage, settings)
        if done and weighed is takes:
            break

        def downhill(flat: Float64Array, by: Takes = weighed) -> tuple[float, Float64Array]:
            value, gradient = objective(by, flat.reshape(shape), stage, settings)
            return -value, -gradient.ravel()

        before = _worth(takes, theta, stage, settings)
        most = min(settings.iterations, stage.iterations) // (1 if weighed is takes else _ROUNDS)
        options = {"maxiter": most, "maxcor": 12, "ftol": stage.tolerance}
        found = minimize(downhill, theta.ravel(), jac=True, method="L-BFGS-B", options=options)
        theta = found.x.reshape(shape)
        iterations += int(found.nit)
    value = -float(found.fun) if weighed is takes else _worth(takes, theta, stage, settings)
    if not math.isfinite(value):
        state = {"theta": theta, "knots": start.knots, "objectives": start.history}
        raise InternalError(f"iteration {iterations}: the objective is {value!r}", state)
    is_done = settings.iterations >= stage.iterations and value - before <= _SETTLED * abs(value)
    return Climb(
        warps.knots_of(theta, settings.ends),
        start.start,
        value,
        iterations,
        bool(found.success) or is_done,
        (*start.history, value),
    )


def _weighed(takes: Takes, theta: Float64Array, stage: Stage, settings: Settings) -> Takes:
    """Return the takes, with the weights of a t distribution where that is asked for or likelier.

    A leading part of the correlations is no likelihood, and asks for no distribution. Of several
    takes, one that is astray would pass for an outlier as a whole, and stay where it is.
    """
    if not (_may_have_tails(takes, stage) or settings.robust):
        return takes
    tails = fitted(_samples(takes, theta, stage, settings), stage.ridge)
    if tails.gain <= 0 and not settings.robust:
        return takes
    return replace(takes, weights=tails.weights.reshape(takes.weights.shape))


def _may_have_tails(takes: Takes, stage: Stage) -> bool:
    return stage.leading is None and takes.n_takes == 1


def _worth(takes: Takes, theta: Float64Array, stage: Stage, settings: Settings) -> float:
    """Return the penalised objective by which climbs on weighed samples are compared.

    J of weighed samples would count what is weighed down as if it were not there. What the
    sequences share under the t distribution counts every sample, and takes the place of J where
    it is likelier than the Gaussian.
    """
    plain, _ = objective(takes, theta, stage, settings)
    if not _may_have_tails(takes, stage):
        return plain
    samples = _samples(takes, theta, stage, settings)
    tails = fitted(samples, stage.ridge)
    if tails.gain <= 0:
        return plain
    return plain + tails.shared - total_correlation(samples, stage.ridge)[0]


def _samples(takes: Takes, theta: Float64Array, stage: Stage, settings: Settings) -> Samples:
    basis = warps.ramps(takes.n_samples, stage.pieces, settings.ends)
    return takes.samples(np.minimum(warps.softmax(theta) @ basis.T, 1.0))[0]
