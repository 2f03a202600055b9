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
from typing import NamedTuple

import daqp
import numpy as np

from mmalign_cli.model import Float64Array

_VARIABLES = 96
"""At most, of one quadratic programme: of more than one sequence."""
_SWEEPS = 2
_DAMPINGS = (1e-12, 1e-9, 1e-6, 1e-3)
"""Of the mean curvature. Where a model is as flat as rounding, DAQP may go round in a circle."""
_FLATTEST = 1e-6
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
    m, k = weights.shape
    count = max(_VARIABLES // k, 1)
    groups = [_group(model, slice(first, first + count)) for first in range(0, m, count)]
    new = weights.copy()
    total = np.zeros(len(model.moves[0]))
    for _ in range(_SWEEPS if len(groups) > 1 else 1):
        for group in groups:
            start = weights[group.part].ravel()
            others = total - group.moves @ (new[group.part].ravel() - start)
            slope = group.slope - group.moves.T @ others - group.hessian @ start
            found = on_simplexes(group.hessian, slope, len(start) // k)
            total = others + group.moves @ (found - start)
            new[group.part] = found.reshape(-1, k)
    return new


class _Group(NamedTuple):
    """Some of the sequences: their G side by side, and the model of their weights alone."""

    part: slice
    moves: Float64Array
    hessian: Float64Array
    slope: Float64Array


def _group(model: Model, part: slice) -> _Group:
    m, k = model.gradients.shape
    moves = np.hstack(model.moves[part])
    gram = moves.T @ moves
    hessian = -gram
    for first in range(0, len(gram), k):
        block = slice(first, first + k)
        hessian[block, block] += m * gram[block, block] + model.stiffness / model.scale
    return _Group(part, moves, hessian, model.gradients[part].ravel() / model.scale)


def on_simplexes(hessian: Float64Array, slope: Float64Array, count: int) -> Float64Array:
    """Return the x of least ``1/2 x'Hx + f'x`` whose `count` equal parts lie on a simplex each.

    By the dual active-set method of DAQP (Arnstroem, Bemporad and Axehill, 2022). Where it gives
    up, the corner of each simplex where ``f'x`` is least: downhill too (Frank and Wolfe, 1956).
    """
    size = len(slope)
    scale = max(float(np.trace(hessian)) / size, _FLATTEST * float(np.abs(slope).max())) or 1.0
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
    corners = slope.reshape(count, -1).argmin(axis=1)
    return np.asarray(np.eye(size // count)[corners].ravel())
