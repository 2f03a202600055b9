"""All warping paths at once, each with the weight exp(-cost / gamma), in a band, in logarithms.

A band is `lo` (n,) and a cost table (n, w): row i holds the columns lo[i] <= j < lo[i] + w, and a
cell that may not be used costs infinity. Paths take the steps (1, 1), (1, 0), (0, 1) from (0, 0)
to (n - 1, m - 1). With c the costs divided by gamma,

    before[i, j] = log of the sum, over paths from (0, 0) to (i, j), of exp(-cost), cell included
    after[i, j]  = the same over paths from (i, j) to the end, cell left out

so ``before[n-1, m-1]`` is the log partition and ``exp(before + after - log partition)`` is the
probability that a path passes a cell (the gradient of soft-DTW: Cuturi and Blondel, 2017).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import ENTRY

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

# No fast-math: -inf is the logarithm of every cell that no path reaches.


@njit(**ENTRY)
def log_sum(a: float, b: float, c: float) -> float:
    """Return log(e^a + e^b + e^c); -inf where all are."""
    top: float = max(a, b, c)
    if top == -np.inf:
        return top
    total: float = top + np.log(np.exp(a - top) + np.exp(b - top) + np.exp(c - top))
    return total


@njit(**ENTRY)
def at(table: Floats, lo: Ints, i: int, j: int) -> float:
    """Return the logarithm at a cell, -inf outside the table."""
    if i < 0 or i >= len(lo):
        return -np.inf
    k = j - lo[i]
    if k < 0 or k >= table.shape[1]:
        return -np.inf
    return float(table[i, k])


@njit(**ENTRY)
def distances(x: Floats, y: Floats, lo: Ints, out: Floats) -> None:
    """Write the squared distances of frames x (n, d) and y (m, d) to a band; infinity beyond m."""
    for i in range(len(x)):
        for k in range(out.shape[1]):
            j = lo[i] + k
            total = 0.0 if 0 <= j < len(y) else np.inf
            if total == 0.0:
                for c in range(x.shape[1]):
                    total += (x[i, c] - y[j, c]) ** 2
            out[i, k] = total


@njit(**ENTRY)
def forward(first: int, last: int, cost: Floats, gamma: float, lo: Ints, before: Floats) -> None:
    """Fill rows first <= i < last of `before` (n, w); row first - 1 must be there."""
    for i in range(first, last):
        for k in range(cost.shape[1]):
            j = lo[i] + k
            if i == 0 and j == 0:
                reached = 0.0
            else:
                reached = log_sum(
                    at(before, lo, i - 1, j - 1),
                    at(before, lo, i - 1, j),
                    before[i, k - 1] if k > 0 else -np.inf,
                )
            before[i, k] = reached - cost[i, k] / gamma


@njit(**ENTRY)
def backward(
    first: int, last: int, cost: Floats, gamma: float, m: int, lo: Ints, after: Floats
) -> None:
    """Fill rows first <= i < last of `after` (n, w), from the last one; row `last` is there."""
    n = len(cost)
    for i in range(last - 1, first - 1, -1):
        for k in range(cost.shape[1] - 1, -1, -1):
            j = lo[i] + k
            if i == n - 1 and j == m - 1:
                after[i, k] = 0.0
                continue
            diagonal, down, right = -np.inf, -np.inf, -np.inf
            if i + 1 < n:
                at_k = j - lo[i + 1]
                if 0 <= at_k < cost.shape[1]:
                    down = after[i + 1, at_k] - cost[i + 1, at_k] / gamma
                if 0 <= at_k + 1 < cost.shape[1]:
                    diagonal = after[i + 1, at_k + 1] - cost[i + 1, at_k + 1] / gamma
            if k + 1 < cost.shape[1]:
                right = after[i, k + 1] - cost[i, k + 1] / gamma
            after[i, k] = log_sum(diagonal, down, right)


@njit(**ENTRY)
def couple(before: Floats, after: Floats, log_partition: float) -> None:
    """Turn `after` (n, w) into the probability that a path passes each cell."""
    for i in range(len(after)):
        for k in range(after.shape[1]):
            after[i, k] = np.exp(min(before[i, k] + after[i, k] - log_partition, 0.0))


@njit(**ENTRY)
def sample(before: Floats, lo: Ints, m: int, draws: Floats, path: Ints) -> int:
    """Draw a path backwards; return the row of `path` (n + m, 2) where it starts.

    `draws` (n + m,) are uniform in [0, 1), one a step. -1 where no path reaches the end.
    """
    i, j, row = len(lo) - 1, m - 1, len(path) - 1
    if at(before, lo, i, j) == -np.inf:
        return -1
    path[row, 0], path[row, 1] = i, j
    while i > 0 or j > 0:
        diagonal = at(before, lo, i - 1, j - 1)
        up = at(before, lo, i - 1, j)
        total = log_sum(diagonal, up, at(before, lo, i, j - 1))
        draw, share = draws[row], np.exp(diagonal - total)
        if draw < share:
            i, j = i - 1, j - 1
        elif draw < share + np.exp(up - total):
            i -= 1
        else:
            j -= 1
        row -= 1
        path[row, 0], path[row, 1] = i, j
    return row


@njit(**ENTRY)
def times(coupling: Floats, lo: Ints, y: Floats, out: Floats, columns: Floats) -> None:
    """Write coupling @ y to `out` (n, d), and the sums of the coupling's columns to `columns`."""
    out[:] = 0.0
    columns[:] = 0.0
    for i in range(len(lo)):
        for k in range(coupling.shape[1]):
            weight, j = coupling[i, k], lo[i] + k
            if weight > 0.0:
                columns[j] += weight
                for c in range(y.shape[1]):
                    out[i, c] += weight * y[j, c]


@njit(**ENTRY)
def quantiles(coupling: Floats, lo: Ints, columns: Floats, q: float, out: Floats) -> None:
    """Write the q-quantile of each column's distribution over the rows to `out` (m,).

    Row i stands for i - 1/2 ... i + 1/2, within which its probability is spread evenly.
    """
    passed = np.zeros_like(columns)
    out[:] = np.nan
    for i in range(len(lo)):
        for k in range(coupling.shape[1]):
            weight, j = coupling[i, k], lo[i] + k
            if weight > 0.0:
                goal = q * columns[j]
                if passed[j] < goal <= passed[j] + weight:
                    out[j] = i - 0.5 + (goal - passed[j]) / weight
                passed[j] += weight


@njit(**ENTRY)
def entropies(coupling: Floats, lo: Ints, columns: Floats, out: Floats) -> None:
    """Write the entropy of each column's distribution, in nats, to `out` (m,)."""
    out[:] = 0.0
    for i in range(len(lo)):
        for k in range(coupling.shape[1]):
            share = coupling[i, k] / columns[lo[i] + k] if coupling[i, k] > 0.0 else 0.0
            if share > 0.0:  # the quotient of the smallest number there is may be 0
                out[lo[i] + k] -= share * np.log(share)
