"""Deep canonical correlation analysis: the trace norm of two sets of latents, and its gradient.

With H_1 (n, k) and H_2 (m, k) the latents of two networks and W >= 0 the coupling of their frames,
normalised to sum 1, a = W 1 and b = W' 1,

    S_11 = H_1' diag(a) H_1 + r I,    S_12 = H_1' W H_2,    K = S_11^(-1/2) S_12 S_22^(-1/2)

on centred latents; the objective is the sum of the singular values of K, the canonical
correlations (Andrew et al., 2013). A warping path is a coupling too: how often frames meet on it.
The ridge r is added to the diagonal, with which no correlation can be above 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmalign_cli.model import Float64Array

RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Couple:
    """The coupling of the frames of two streams, with what is often asked of it.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, m)
        Sum 1.
    transposed : scipy.sparse.csr_array, shape (m, n)
    first, second : ndarray, shape (n,) and (m,)
        Its sums along either axis.
    """

    matrix: Any
    transposed: Any
    first: Float64Array
    second: Float64Array


def couple(matrix: Any) -> Couple:
    """Return a sparse coupling (n, m) of any sum as `Couple`."""
    whole = (matrix / matrix.sum()).tocsr()
    first, second = (np.asarray(whole.sum(axis=k), dtype=np.float64).ravel() for k in (1, 0))
    return Couple(whole, whole.T.tocsr(), first, second)


def trace_norm(
    first: Float64Array, second: Float64Array, by: Couple
) -> tuple[float, Float64Array, Float64Array]:
    """Return the sum of the canonical correlations and its derivatives by the latents.

    With ``K = U R V'``: ``D_12 = S_11^(-1/2) U V' S_22^(-1/2)``,
    ``D_11 = -1/2 S_11^(-1/2) U R U' S_11^(-1/2)`` and
    ``d/dH_1 = 2 diag(a) H_1 D_11 + W H_2 D_12'``.

    Parameters
    ----------
    first, second : ndarray, shape (n, k_1) and (m, k_2)
    by : Couple

    Returns
    -------
    value : float
        At most min(k_1, k_2).
    by_first, by_second : ndarray, of the shapes of the latents
    """
    a, b = by.first[:, np.newaxis], by.second[:, np.newaxis]
    x, y = first - by.first @ first, second - by.second @ second
    coupled = by.matrix @ y
    half_x, half_y = _root(x.T @ (a * x)), _root(y.T @ (b * y))
    left, rho, right = np.linalg.svd(half_x @ (x.T @ coupled) @ half_y, full_matrices=False)
    left, right = half_x @ left, half_y @ right.T
    cross = left @ right.T
    by_first = coupled @ cross.T - a * (x @ ((left * rho) @ left.T))
    by_second = (by.transposed @ x) @ cross - b * (y @ ((right * rho) @ right.T))
    return float(rho.sum()), by_first, by_second


def _root(covariance: Float64Array) -> Float64Array:
    """Return the inverse square root of a covariance (k, k) with its ridge."""
    size, axes = np.linalg.eigh(covariance)
    return np.asarray((axes / np.sqrt(np.maximum(size, 0.0) + RIDGE)) @ axes.T)
