"""Generalized Time Warping: continuous warps of many sequences, from bases, by Gauss-Newton.

The papers minimise ``sum_{i<j} |V_i' X_i(p_i) - V_j' X_j(p_j)|^2`` by turns over the maps V, with
``V' C_D V = I`` along the warps, and over the weights of the bases (Zhou and De la Torre, 2012,
2016). The constraint moves with the warps: what a step gains for the last maps is lost when they
are fitted anew, wherever it merely brings all latents closer to their mean. So here the maps are
no variable. For given warps the best ones are known, and leave

    F(w) = 2 sum_k (1 - rho_k / (m - 1)),

rho the leading eigenvalues of canonical correlation analysis: the mean squared distance of two
canonical variates. Its slope is that of the spread at fixed maps, with rho_k in place of m - 1:

    dF/dz_i = 4 / (l m (m - 1)) (rho z_i - sum_{j != i} z_j)

A round takes a Gauss-Newton step of it under the constraints of the warps, and goes as far as F
falls: F never rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mmalign_cli.align.alternate import Alternation
from mmalign_cli.align.cca import Canonical, cca
from mmalign_cli.align.gauss_newton import Model, minimiser, moves_of
from mmalign_cli.align.sets import side_by_side
from mmalign_cli.model import Float64Array

_ENOUGH = 1e-4
_HALVINGS = 12


def read(frames: Float64Array, at: Float64Array) -> Float64Array:
    """Return frames (n, d) at fractional frames (l,), between frames by straight lines."""
    before = np.minimum(at.astype(np.int64), len(frames) - 2)
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
    """

    found: Canonical
    latents: list[Float64Array]
    objective: float


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

    @property
    def last_frames(self) -> Float64Array:
        """The last frame of each sequence, (m,)."""
        return np.array([len(x) - 1.0 for x in self.values])

    def path(self, weights: Float64Array) -> Float64Array:
        """Return the frames (l, m) that weights (m, k) lead to."""
        return np.asarray(self.basis @ weights.T * self.last_frames)

    def pose(self, weights: Float64Array) -> Pose:
        """Return maps and objective along the warps of some weights."""
        samples = [read(x, p) for x, p in zip(self.values, self.path(weights).T, strict=True)]
        found = cca(side_by_side(samples), self.ridges).leading(self.dims)
        latents = [f(x) for f, x in zip(found.maps, samples, strict=True)]
        objective = 2.0 * float((1.0 - found.correlations).sum())
        rough = float(np.einsum("ik,kl,il->", weights, self._stiffness, weights))
        return Pose(found, latents, objective + rough / 2.0)

    @property
    def _stiffness(self) -> Float64Array:
        """The second derivative of the smoothness term by the weights of a sequence, (k, k)."""
        speed = np.gradient(self.basis, 1.0 / (len(self.basis) - 1), axis=0)
        return np.asarray(2.0 * self.smoothness / len(self.values) * speed.T @ speed / len(speed))

    def model(self, pose: Pose, weights: Float64Array) -> Model:
        """Return the second-order model of the objective round some weights."""
        m, l = len(self.values), len(self.basis)
        scale = 4.0 / (l * m * (m - 1))
        total = reduce(np.add, pose.latents)
        pull = (m - 1) * pose.found.correlations + 1.0
        moves, gradients = [], []
        for x, f, z, at in zip(
            self.values, pose.found.maps, pose.latents, self.path(weights).T, strict=True
        ):
            slopes = read(np.gradient(x, axis=0), at) @ f.weights * (len(x) - 1.0)
            moves.append(moves_of(slopes, self.basis))
            gradients.append(scale * moves[-1].T @ (pull * z - total).T.ravel())
        stiffness = self._stiffness
        return Model(moves, np.stack(gradients) + weights @ stiffness, scale, stiffness)

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
        return Alternation(self.pose, self.step, self.moved_at_most, rounds, tolerance_frames)
