"""Iterative motion warping of many sequences: frames scaled and shifted towards their mean.

Each column x (n,) of a sequence is corrected to ``a x + b``, with a and b that vary smoothly along
time, so that it comes near the template's column M along the path. With W the 0/1 matrix that
replicates frames along it,

    min over a, b of  |W (x a + b) - M|^2 + p_a |D a|^2 + p_b |D b|^2

where D takes central differences (after Hsu, Pulli and Popovic, 2005). The corrected sequences are
then warped to the template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array, diags_array

from mmalign_cli import runtime
from mmalign_cli.align.family import Found, Settings, comparable, same
from mmalign_cli.align.procrustes import Project, Template, align_to_mean, mean_along
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_BANDS = 5
_LEAST_PENALTY = 1e-9

Penalties = Callable[[Float64Array], tuple[csr_array, csr_array]]
"""From a column to the penalty matrices of its scale and its shift, each (n, n), five bands."""


def differences(n: int) -> csr_array:
    """Return D (n, n): central differences, one-sided at both ends."""
    above, below = np.full(n - 1, 0.5), np.full(n - 1, -0.5)
    middle = np.zeros(n)
    middle[0], above[0] = -1.0, 1.0
    middle[-1], below[-1] = 1.0, -1.0
    return csr_array(diags_array([below, middle, above], offsets=[-1, 0, 1]))


def smooth(column: Float64Array) -> tuple[csr_array, csr_array]:
    """Return ``var(x) D'D`` and ``D'D``: units of a column then do not matter."""
    d = differences(len(column))
    square = csr_array(d.T @ d)
    return csr_array(float(column.var()) * square), square


def corrected(
    column: Float64Array, counts: Float64Array, sums: Float64Array, penalties: Penalties
) -> Float64Array:
    """Return ``a x + b`` of one column.

    The normal equations couple a and b of a frame, and either with its own next but one: with
    unknowns a_1, b_1, a_2, b_2, ... nine bands.

    Parameters
    ----------
    column : ndarray, shape (n,)
    counts : ndarray, shape (n,)
        Steps of the path at each frame, the diagonal of ``W'W``; at least 1.
    sums : ndarray, shape (n,)
        Sum of the template's column over these steps, ``W'M``.
    penalties : callable
    """
    n = len(column)
    bands = np.zeros((_BANDS, 2 * n))
    squares = (counts * column**2, counts)
    for first, (square, penalty) in enumerate(zip(squares, penalties(column), strict=True)):
        for apart in range(3):
            bands[2 * apart, first : 2 * (n - apart) : 2] = penalty.diagonal(apart)
        bands[0, first::2] += square + _LEAST_PENALTY * square.mean()
    bands[1, 0::2] = counts * column
    right = np.column_stack([column * sums, sums]).ravel()
    scale, shift = solveh_banded(bands, right, lower=True).reshape(n, 2).T
    return np.asarray(scale * column + shift)


def correction(sequences: Sequence[Float64Array], penalties: Penalties) -> Project:
    """Return the comparison of sequences corrected towards the mean of the given ones."""
    projections = tuple(same(x.shape[1]) for x in sequences)

    def towards(x: Float64Array, frames: IntArray, target: Float64Array) -> Float64Array:
        counts = np.bincount(frames, minlength=len(x)).astype(np.float64)
        sums = np.zeros_like(x)
        np.add.at(sums, frames, target)
        columns = zip(x.T, sums.T, strict=True)
        return np.stack([corrected(c, counts, s, penalties) for c, s in columns], axis=1)

    def project(path: IntArray) -> Template:
        target = mean_along(sequences, path)
        pairs = zip(sequences, path.T, strict=True)
        return Template(target, [towards(x, f, target) for x, f in pairs], projections)

    return project


def pimw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align sequences of one number of columns by iterative motion warping to their mean.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d)
    settings : Settings
    progress : Progress
        Told the rounds done; may raise to stop.

    Raises
    ------
    InputError
        If the columns differ in number, or a sequence is too short or constant.
    AlignmentError
        If the common time line is too short.
    """
    parts = comparable(sequences, "pimw")
    return align_to_mean(parts, correction(parts, smooth), settings, progress, "pimw")
