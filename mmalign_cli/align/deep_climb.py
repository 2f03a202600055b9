"""Climbing what networks find in common, in their weights and in the warps together.

The objective is `mmalign_cli.align.deep_correlation` of the latents along the warps, less the
networks' weight decay and the warps' departure from even speed. One gradient holds both: by the
latents it goes back through each network to its weights and to the frames it was given, and from
these through the interpolation to the warp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmalign_cli.align import warps
from mmalign_cli.align.climb import COVERAGE_POWER, inner
from mmalign_cli.align.correlation import Samples, blocks_of
from mmalign_cli.align.deep_correlation import Damping, damped_correlation
from mmalign_cli.align.network import FRAMES_AT_ONCE, KEPT_BYTES, Network, Shape
from mmalign_cli.align.takes import Track
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.model import Float64Array, IntArray

SMOOTHNESS = 0.03
"""Nats that a mean squared log slope of 1 costs."""
_MEMORY = 15
_LATE, _SETTLED = 15, 0.01


@dataclass(frozen=True, eq=False)
class Deep:
    """Takes of several sequences, and the networks that are to see them.

    Parameters
    ----------
    tracks : tuple of Track
        One a network, and beyond these labels: sets that are taken as they are.
    shapes : tuple of m Shape
    warp_of : tuple of int
        Which warp a track follows: a network its own, labels that of their sequence.
    n_samples : int
        Points of each take's time line.
    weights : ndarray, shape (n_takes, n_samples)
        Of each sample, with sum 1.
    ends : OpenEnds
    """

    tracks: tuple[Track, ...]
    shapes: tuple[Shape, ...]
    warp_of: tuple[int, ...]
    n_samples: int
    weights: Float64Array
    ends: OpenEnds = CLOSED_ENDS

    @property
    def n_takes(self) -> int:
        """Number of takes."""
        return len(self.weights)

    @property
    def n_weights(self) -> int:
        """Weights of all networks."""
        return sum(shape.size for shape in self.shapes)

    @property
    def dims(self) -> tuple[int, ...]:
        """Columns of the latents of each network, and of the labels."""
        own = [shape.widths[-1] for shape in self.shapes]
        return (*own, *(t.frames.shape[1] for t in self.tracks[len(own) :]))

    def lengths(self, take: int) -> IntArray:
        """Return the frames of each sequence of a take, (m,)."""
        return np.array([track.lengths[take] for track in self.tracks[: len(self.shapes)]])

    def networks(self, weights: Float64Array) -> list[Network]:
        """Return the networks of flat weights (n_weights,)."""
        cuts = np.cumsum([shape.size for shape in self.shapes])[:-1]
        parts = np.split(weights, cuts)
        return [Network(shape, part) for shape, part in zip(self.shapes, parts, strict=True)]

    def groups(self) -> Iterator[tuple[slice, slice]]:
        """Return takes whose samples are worked on together, and the rows of these."""
        step = max(1, FRAMES_AT_ONCE // self.n_samples)
        for first in range(0, self.n_takes, step):
            end = min(first + step, self.n_takes)
            yield slice(first, end), slice(first * self.n_samples, end * self.n_samples)


@dataclass(frozen=True)
class Stage:
    """One resolution at which the objective is climbed.

    Parameters
    ----------
    pieces : int
        Of each warp.
    damping : Damping
    decay : float
        Nats that weights of mean square 1 cost, times the samples: as a prior, it fades with
        their number.
    iterations : int
        L-BFGS iterations, at most.
    tolerance : float
        Relative gain of an iteration below which the stage ends.
    """

    pieces: int
    damping: Damping
    decay: float
    iterations: int = 40
    tolerance: float = 1e-4


@dataclass(frozen=True, eq=False)
class DeepClimb:
    """How far one start has come.

    Parameters
    ----------
    weights : ndarray, shape (n_weights,)
    knots : ndarray, shape (n_takes, m, K + 1)
    start : int
        Which start it came from.
    value : float
        The objective, in nats.
    iterations : int
        Of L-BFGS so far.
    converged : bool
        Whether the last stage stopped by itself, or its last 15 evaluations gained 1 % at most.
    history : tuple of float
        `value` after each stage.
    """

    weights: Float64Array
    knots: Float64Array
    start: int = 0
    value: float = -np.inf
    iterations: int = 0
    converged: bool = False
    history: tuple[float, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class _Seen:
    """What networks made of some samples: what the way back needs."""

    values: list[Float64Array]
    slopes: list[Float64Array]
    hidden: list[list[Float64Array]]
    latents: list[Float64Array]

    @property
    def n_bytes(self) -> int:
        layers = [layer for network in self.hidden for layer in network]
        return sum(part.nbytes for part in (*self.values, *self.slopes, *layers))


def _see(deep: Deep, networks: Sequence[Network], shares: Float64Array, takes: slice) -> _Seen:
    """Sample some takes at shares (n_takes, m, n_samples), and send them through the networks."""
    pairs = [
        track.part(takes.start, takes.stop).at(shares[takes, own])
        for track, own in zip(deep.tracks, deep.warp_of, strict=True)
    ]
    seen = [net.forward(values) for net, (values, _) in zip(networks, pairs, strict=False)]
    labels = [values for values, _ in pairs[len(networks) :]]
    return _Seen(
        [values for values, _ in pairs],
        [slopes for _, slopes in pairs],
        [hidden for _, hidden in seen],
        [*(latents for latents, _ in seen), *labels],
    )


def objective(
    deep: Deep, weights: Float64Array, theta: Float64Array, stage: Stage
) -> tuple[float, Float64Array, Float64Array]:
    """Return the objective and its derivatives.

    Takes are worked on in groups. What the way back needs of a group is kept while it is little,
    and made again where all of it would be much: memory does not grow with the number of takes
    but by the latents.

    Parameters
    ----------
    weights : ndarray, shape (n_weights,)
    theta : ndarray, shape (n_takes, m, K)
        Log-slopes of the warps.
    stage : Stage

    Returns
    -------
    value : float
    by_weights : ndarray, shape (n_weights,)
    by_theta : ndarray, shape (n_takes, m, K)
    """
    networks = deep.networks(weights)
    basis = warps.ramps(deep.n_samples, stage.pieces, deep.ends)
    increments = warps.softmax(theta)
    shares = np.minimum(increments @ basis.T, 1.0)
    latents = np.empty((deep.weights.size, sum(deep.dims)))
    kept: dict[int, _Seen] = {}
    room = KEPT_BYTES
    for takes, rows in deep.groups():
        seen = _see(deep, networks, shares, takes)
        np.concatenate(seen.latents, axis=1, out=latents[rows])
        room -= seen.n_bytes
        if room >= 0:
            kept[takes.start] = seen
    samples = Samples(latents, deep.dims, deep.weights.ravel())
    value, slope = damped_correlation(samples, deep.n_takes, stage.damping)
    by_weights, by_shares = np.zeros(len(weights)), np.zeros_like(shares)
    for takes, rows in deep.groups():
        is_kept = takes.start in kept
        seen = kept.pop(takes.start) if is_kept else _see(deep, networks, shares, takes)
        by_weights += _back(deep, networks, seen, slope[rows], by_shares[takes])
    by_increments = by_shares @ basis
    if deep.ends != CLOSED_ENDS:
        value, by_weights, by_increments = covered(
            increments, deep.ends, value, by_weights, by_increments
        )
    by_theta = warps.softmax_gradient(increments, by_increments)
    decay = stage.decay / deep.weights.size
    cost, pull = _unevenness(inner(theta, deep.ends))
    inner(by_theta, deep.ends)[...] -= pull
    value -= 0.5 * decay * float(weights @ weights) + cost
    return value, by_weights - decay * weights, by_theta


def covered(
    increments: Float64Array,
    ends: OpenEnds,
    value: float,
    by_weights: Float64Array,
    by_increments: Float64Array,
) -> tuple[float, Float64Array, Float64Array]:
    """Return the objective and its derivatives times the power of the coverage.

    The coverage is the mean share of a sequence that is matched: without it, the best of a
    sequence would be a little of it.
    """
    share = inner(increments, ends).sum(axis=-1)
    factor = float(share.mean()) ** COVERAGE_POWER
    by_increments = by_increments * factor
    inner(by_increments, ends)[...] += value * COVERAGE_POWER * factor / float(share.sum())
    return value * factor, by_weights * factor, by_increments


def _back(
    deep: Deep,
    networks: Sequence[Network],
    seen: _Seen,
    slope: Float64Array,
    by_shares: Float64Array,
) -> Float64Array:
    """Return the derivative by all weights; that by the shares is added to `by_shares`.

    Parameters
    ----------
    slope : ndarray, shape (n, sum of dims)
        By the latents and labels of the group.
    by_shares : ndarray, shape (n_takes of the group, m, n_samples)
    """
    found = []
    for number, block in enumerate(blocks_of(deep.dims)):
        by_values = slope[:, block]
        if number < len(networks):
            network, values = networks[number], seen.values[number]
            by_network, by_values = network.back(values, seen.hidden[number], by_values)
            found.append(by_network)
        along = np.einsum("ij,ij->i", by_values, seen.slopes[number])
        by_shares[:, deep.warp_of[number]] += along.reshape(len(by_shares), -1)
    return np.concatenate(found)


def _unevenness(theta: Float64Array) -> tuple[float, Float64Array]:
    """Return the cost of warps that are not straight, and its derivative by theta (..., K)."""
    increments = warps.softmax(theta)
    slope = np.log(np.maximum(increments * increments.shape[-1], np.finfo(np.float64).tiny))
    scale = SMOOTHNESS / increments.size
    pull = slope - increments * slope.sum(axis=-1, keepdims=True)
    return scale * float((slope**2).sum()), 2.0 * scale * pull


def climb(deep: Deep, start: DeepClimb, stage: Stage, *, is_free: bool = True) -> DeepClimb:
    """Maximise the objective at one resolution, by L-BFGS.

    Parameters
    ----------
    deep : Deep
    start : DeepClimb
        Its warps are brought to the stage's number of pieces first.
    stage : Stage
    is_free : bool
        Whether the warps move too, not the networks' weights alone.
    """
    from scipy.optimize import minimize

    knots = start.knots
    if is_free:
        knots = np.stack([warps.resampled(take, stage.pieces) for take in knots])
    theta = warps.theta_of(knots, deep.ends)
    stage = replace(stage, pieces=knots.shape[-1] - 1)
    n_weights = deep.n_weights
    values: list[float] = []

    def downhill(flat: Float64Array) -> tuple[float, Float64Array]:
        bent = flat[n_weights:].reshape(theta.shape) if is_free else theta
        value, by_weights, by_theta = objective(deep, flat[:n_weights], bent, stage)
        values.append(value)
        parts = [by_weights, by_theta.ravel()] if is_free else [by_weights]
        return -value, -np.concatenate(parts)

    begin = np.concatenate([start.weights, theta.ravel()]) if is_free else start.weights
    options = {"maxiter": stage.iterations, "maxcor": _MEMORY, "ftol": stage.tolerance}
    found = minimize(downhill, begin, jac=True, method="L-BFGS-B", options=options)
    value = -float(found.fun)
    late = value - max(values[:-_LATE], default=-np.inf)
    return DeepClimb(
        np.array(found.x[:n_weights]),
        warps.knots_of(found.x[n_weights:].reshape(theta.shape), deep.ends) if is_free else knots,
        start.start,
        value,
        start.iterations + int(found.nit),
        bool(found.success) or late <= _SETTLED * abs(value),
        (*start.history, value),
    )


def latents_along(deep: Deep, found: DeepClimb) -> Samples:
    """Return the latents of all samples along the warps, and the labels beside them."""
    u = np.linspace(0.0, 1.0, deep.n_samples)
    shares = np.array([[warps.positions(row, u) for row in take] for take in found.knots])
    networks = deep.networks(found.weights)
    latents = np.empty((deep.weights.size, sum(deep.dims)))
    for takes, rows in deep.groups():
        np.concatenate(_see(deep, networks, shares, takes).latents, axis=1, out=latents[rows])
    return Samples(latents, deep.dims, deep.weights.ravel())
