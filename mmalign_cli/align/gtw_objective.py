"""The objective of Generalized Time Warping as a function of the warps alone, and its descent.

The papers minimise ``sum_{i<j} |V_i' X_i(p_i) - V_j' X_j(p_j)|^2`` by turns over the maps V, with
``V' C_D V = I`` along the warps, and over the weights of the bases (Zhou and De la Torre, 2012,
2016). The constraint moves with the warps: what a step gains for the last maps is lost when they
are fitted anew, wherever it merely brings all latents closer to their mean. So here the maps are
no variable. For given warps the best ones are known, and leave of dimension k of the common space

    s_k = 2 (1 - rho_k / (m - 1)),

the mean squared distance of two canonical variates, rho_k being the k-th eigenvalue of canonical
correlation analysis. What is minimised is

    F(w) = c sum_k log((s_k + e) / (2 + e)),

the likelihood of normal residuals whose variance in each dimension is not known, so that a
dimension in which nothing agrees weighs little; c, the share of the sequences that is matched, is
1 with closed ends. The slope of s_k is that of the papers' spread at fixed maps, but with rho_k in
place of m - 1:

    ds_k / dz_ik = 4 / (l m (m - 1)) (rho_k z_ik - sum_{j != i} z_jk)

A round takes a Gauss-Newton step under the constraints of the warps, and goes as far as F falls:
F never rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from mmalign_cli.align.alternate import Alternation
from mmalign_cli.align.bases import nearest
from mmalign_cli.align.cca import Canonical, cca
from mmalign_cli.align.gauss_newton import Model, minimiser, moves_of, without
from mmalign_cli.align.sets import side_by_side
from mmalign_cli.model import Float64Array

_FLOOR = 1e-5
_ENOUGH = 1e-4
_HALVINGS = 12


def read(frames: Float64Array, at: Float64Array) -> Float64Array:
    """Return frames (n, d) at fractional frames (l,), between frames by straight lines."""
    before = np.clip(at.astype(np.int64), 0, len(frames) - 2)
    share = (at - before)[:, np.newaxis]
    return np.asarray(frames[before] * (1.0 - share) + frames[before + 1] * share)


@dataclass(frozen=True, eq=False)
class Pose:
    """Warps as the objective sees them.

    Parameters
    ----------
    found : Canonical
        Maps along the warps.
    latents : list of m ndarray, shape (l, d)
        The mapped sequences along the warps.
    objective : float
    by_distance : ndarray, shape (d,)
        Derivative of the objective by the mean squared distance in each dimension.
    by_coverage : float
        Derivative of the objective by the share that is matched.
    """

    found: Canonical
    latents: list[Float64Array]
    objective: float
    by_distance: Float64Array
    by_coverage: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Sequences, bases, and the objective of their weights.

    Parameters
    ----------
    values : sequence of m ndarray, shape (n_i, d_i)
    basis : ndarray, shape (l, k)
        Of the warps in shares.
    dims : int
        Of the common space.
    ridges : ndarray, shape (m,)
        Added to the variances of each sequence.
    smoothness : float
        Weight of the mean squared deviation of the warps' speed from that of a straight line.
    """

    values: Sequence[Float64Array]
    basis: Float64Array
    dims: int
    ridges: Float64Array
    smoothness: float

    @cached_property
    def _last_frames(self) -> Float64Array:
        return np.array([len(x) - 1.0 for x in self.values])

    @cached_property
    def _slopes(self) -> list[Float64Array]:
        return [np.gradient(x, axis=0) for x in self.values]

    @cached_property
    def _stiffness(self) -> Float64Array:
        """The second derivative of the smoothness term by the weights of a sequence, (k, k)."""
        speed = np.gradient(self.basis, 1.0 / (len(self.basis) - 1), axis=0)
        return np.asarray(2.0 * self.smoothness / len(self.values) * speed.T @ speed / len(speed))

    def path(self, weights: Float64Array) -> Float64Array:
        """Return the frames (l, m) that weights (m, k) lead to."""
        return np.asarray(self.basis @ weights.T * self._last_frames)

    def shares(self, weights: Float64Array) -> Float64Array:
        """Return the warps (l, m) of weights (m, k), in shares of the sequences."""
        return np.asarray(self.basis @ weights.T)

    def nearest(self, shares: Float64Array) -> Float64Array:
        """Return the weights (m, k) that come nearest to warps (l, m)."""
        return np.stack([nearest(self.basis, column) for column in shares.T])

    def coverage(self, weights: Float64Array) -> float:
        """Return the mean share of the sequences between the ends of their warps."""
        return float(((self.basis[-1] - self.basis[0]) @ weights.T).mean())

    def samples(self, weights: Float64Array) -> list[Float64Array]:
        """Return the sequences along the warps, (l, d_i) each."""
        return [read(x, at) for x, at in zip(self.values, self.path(weights).T, strict=True)]

    def pose(self, weights: Float64Array) -> Pose:
        """Return maps and objective along the warps of some weights."""
        samples = self.samples(weights)
        found = cca(side_by_side(samples), self.ridges).leading(self.dims)
        latents = [f(x) for f, x in zip(found.maps, samples, strict=True)]
        left = 2.0 * (1.0 - found.correlations) + _FLOOR
        closeness = float(np.log(left / (2.0 + _FLOOR)).sum())
        covered = self.coverage(weights)
        rough = float(((weights @ self._stiffness) * weights).sum()) / 2.0 - self.smoothness
        return Pose(found, latents, covered * closeness + rough, covered / left, closeness)

    def model(self, pose: Pose, weights: Float64Array) -> Model:
        """Return the second-order model of the objective round some weights."""
        m, n_steps = len(self.values), len(self.basis)
        scale = 4.0 / (n_steps * m * (m - 1))
        total = reduce(np.add, pose.latents)
        own = (m - 1) * pose.found.correlations + 1.0
        by_dimension = np.sqrt(pose.by_distance)
        moves, gradients = [], []
        for k, at in enumerate(self.path(weights).T):
            f, last = pose.found.maps[k], self._last_frames[k]
            slopes = read(self._slopes[k], at) @ (f.weights * by_dimension) * last
            free = moves_of(slopes, self.basis)
            residual = (own * pose.latents[k] - total) * by_dimension
            gradients.append(scale * free.T @ residual.T.ravel())
            moves.append(without(free, read(self.values[k], at)))
        gradient = np.stack(gradients) + weights @ self._stiffness
        gradient += pose.by_coverage / m * (self.basis[-1] - self.basis[0])
        return Model(moves, gradient, scale, self._stiffness)

    def step(self, pose: Pose, weights: Float64Array) -> tuple[Float64Array, float]:
        """Return weights of a lower objective, and it: a Gauss-Newton step as far as it falls."""
        model = self.model(pose, weights)
        direction = minimiser(model, weights) - weights
        slope = float((model.gradients * direction).sum())
        share = 1.0
        for _ in range(_HALVINGS):
            new = weights + share * direction
            objective = self.pose(new).objective
            if objective < pose.objective + _ENOUGH * share * min(slope, 0.0):
                return new, objective
            share /= 2.0
        return weights, pose.objective

    def moved_at_most(self, before: Float64Array, after: Float64Array, frames: float) -> bool:
        """Tell whether warps differ by no more than so many frames, in the mean over steps."""
        apart = self.path(after - before)
        return float(np.sqrt((apart**2).sum(axis=1)).mean()) <= frames

    def alternation(self, rounds: int, tolerance_frames: float) -> Alternation[Pose, Float64Array]:
        """Return the loop of maps and weights."""
        return Alternation(
            self.pose, self.step, self.moved_at_most, rounds, tolerance_frames, never_rises=True
        )
