"""Gauss-Newton steps of warps that are combinations of bases.

Sequence i is read at frames ``p_i = (n_i - 1) B w_i`` of common time, its weights w_i being
shares: none negative, their sum 1. For latents z_i(t) there, moving the weights by d changes them
by ``G_i d``, which stacks the latents' slopes times the bases over time and dimensions. How far
the sequences spread, ``sum_{i<j} |z_i - z_j|^2``, is then to second order

    g' d + 1/2 d' H d,    H = m blkdiag(G_i' G_i) - [G_1 ... G_m]' [G_1 ... G_m]

and H is positive semidefinite. H of many sequences is never formed: all of them together ask for
``(m k)^2`` numbers. A few at a time are moved as a quadratic programme of their own, the others
standing where the last ones left them; as the spread is m times that around the mean, all that
they need of the others is the sum of their moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import daqp
import numpy as np

from mmalign_cli.model import Float64Array

TOGETHER = 8
"""Sequences that one quadratic programme moves."""
_SWEEPS = 2
_DAMPINGS = (1e-12, 1e-9, 1e-6, 1e-3)
"""Of the mean curvature. Where a model is as flat as rounding, DAQP may go round in a circle."""
_EQUALITY = 5


@dataclass(frozen=True, eq=False)
class Model:
    """The second-order model of an objective round the weights of m warps.

    Parameters
    ----------
    moves : sequence of m ndarray, shape (q, k)
        G_i.
    gradients : ndarray, shape (m, k)
        Of the objective by the weights.
    scale : float
        By which H is multiplied.
    stiffness : ndarray, shape (k, k)
        Added to H for each sequence.
    """

    moves: Sequence[Float64Array]
    gradients: Float64Array
    scale: float
    stiffness: Float64Array


def moves_of(slopes: Float64Array, basis: Float64Array) -> Float64Array:
    """Return G (l d, k) of the slopes (l, d) of latents by their weights' shares, and bases (l, k).

    Row ``k l + t`` is that of dimension k at step t.
    """
    return np.asarray((slopes.T[:, :, np.newaxis] * basis).reshape(-1, basis.shape[1]))


def without(moves: Float64Array, samples: Float64Array) -> Float64Array:
    """Return G (l d, k) less what linear maps of samples (l, d_i) can do in place of the warp.

    Maps and means are fitted anew after every step: a move of latents that they can undo moves
    nothing. Without these, steps are as long as they should be: the variable projection of Golub
    and Pereyra (1973), as Kaufman (1975) simplified it.
    """
    axes, _ = np.linalg.qr(np.hstack([np.ones((len(samples), 1)), samples]))
    stacked = moves.reshape(-1, len(samples), moves.shape[1])
    return np.asarray((stacked - axes @ (axes.T @ stacked)).reshape(moves.shape))


def minimiser(model: Model, weights: Float64Array) -> Float64Array:
    """Return weights (m, k) that make the model smaller, the least there is for few sequences.

    Parameters
    ----------
    model : Model
    weights : ndarray, shape (m, k)
        Where it was made.
    """
    m = len(weights)
    new = weights.copy()
    if m <= TOGETHER:
        return _moved(model, weights, new, slice(0, m), np.zeros(len(model.moves[0])))
    total = np.zeros(len(model.moves[0]))
    for _ in range(_SWEEPS):
        for first in range(0, m, TOGETHER):
            part = slice(first, first + TOGETHER)
            before = _sum_of_moves(model, new - weights, part)
            new = _moved(model, weights, new, part, total - before)
            total += _sum_of_moves(model, new - weights, part) - before
    return new


def _sum_of_moves(model: Model, steps: Float64Array, part: slice) -> Float64Array:
    total = np.zeros(len(model.moves[0]))
    for g, d in zip(model.moves[part], steps[part], strict=True):
        total += g @ d
    return total


def _moved(
    model: Model, weights: Float64Array, new: Float64Array, part: slice, others: Float64Array
) -> Float64Array:
    """Return `new` with the weights of a part of the sequences at their best."""
    m, k = weights.shape
    side = np.hstack(model.moves[part])
    count = side.shape[1] // k
    gram = side.T @ side
    hessian = -gram
    for i in range(count):
        block = slice(i * k, (i + 1) * k)
        hessian[block, block] += m * gram[block, block]
        hessian[block, block] += model.stiffness / model.scale
    slope = model.gradients[part].ravel() / model.scale - side.T @ others
    start = weights[part].ravel()
    out = new.copy()
    out[part] = on_simplexes(hessian, slope - hessian @ start, count).reshape(count, k)
    return out


def on_simplexes(hessian: Float64Array, slope: Float64Array, count: int) -> Float64Array:
    """Return the x of least ``1/2 x'Hx + f'x`` whose `count` equal parts lie on a simplex each.

    By the dual active-set method of DAQP (Arnstroem, Bemporad and Axehill, 2022).

    Raises
    ------
    ArithmeticError
        If it finds none; what there is to minimise is then not finite.
    """
    size = len(slope)
    scale = float(np.trace(hessian)) / size or 1.0
    sums = np.kron(np.eye(count), np.ones((1, size // count)))
    upper = np.ones(size + count)
    lower = np.concatenate([np.zeros(size), np.ones(count)])
    sense = np.concatenate([np.zeros(size), np.full(count, _EQUALITY)]).astype(np.int32)
    for damping in _DAMPINGS:
        damped = hessian / scale + damping * np.eye(size)
        found, _, flag, _ = daqp.solve(damped, slope / scale, sums, upper, lower, sense)
        if flag > 0:
            parts = np.maximum(found.reshape(count, -1), 0.0)
            return np.asarray((parts / parts.sum(axis=1, keepdims=True)).ravel())
    raise ArithmeticError(f"no minimum of the quadratic model: DAQP ends with {flag}")
