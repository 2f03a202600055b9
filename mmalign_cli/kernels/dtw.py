"""Dynamic programming over a windowed cost table, row by row, in float64.

The table has a row for each reference frame i and a column for each query frame j. Only the
cells of the window exist: row i holds the columns lo[i] <= j < hi[i], less those that a mask
leaves out. With step s = (di, dj), its weight w and its penalty p, the accumulated cost is

    D[0, 0] = c[0, 0]
    D[i, j] = min over s of  D[i - di, j - dj] + w[s] c[i, j] + p[s]

where the minimum is over predecessors inside the window. A tie goes to the step that stands
first in the table of steps. Of each cell the number of the winning step is kept, one byte, rows
one after the other (row i starts at offsets[i]); the accumulated costs themselves are kept only
for the last few rows, as many as the longest step looks back.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, EUCLIDEAN, START, UNREACHED

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

# `nnan` and `ninf` stay out: with them the compiler may assume that infinity never occurs.
SAFE_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_options: dict[str, Any] = {"cache": True, "nogil": True}


@njit(fastmath=SAFE_FAST_MATH, **_options)
def local_row(metric: int, x: Floats, yt: Floats, lo: int, out: Floats) -> None:
    """Write the cost between frame x (d,) and columns lo, lo + 1, ... of yt (d, m) to `out`."""
    out[:] = 0.0
    for k in range(len(x)):
        row = yt[k, lo : lo + len(out)]
        if metric == CITYBLOCK:
            for j in range(len(out)):
                out[j] += abs(row[j] - x[k])
        elif metric == CHEBYSHEV:
            for j in range(len(out)):
                out[j] = max(out[j], abs(row[j] - x[k]))
        else:
            for j in range(len(out)):
                out[j] += (row[j] - x[k]) * (row[j] - x[k])
    if metric == EUCLIDEAN:
        for j in range(len(out)):
            out[j] = np.sqrt(out[j])


@njit(**_options)
def local_rows(metric: int, x: Floats, yt: Floats, out: Floats) -> None:
    """Write all costs between x (n, d) and yt (d, m) to `out` (n, m)."""
    for i in range(len(x)):
        local_row(metric, x[i], yt, 0, out[i])


@njit(**_options)
def take_better(
    s: int, before: Floats, cost: Floats, weight: float, penalty: float, best: Floats, winner: Bytes
) -> None:
    """Arrive by step s from cells of an earlier row, wherever that is better; all arrays (k,)."""
    for k in range(len(best)):
        total = before[k] + (weight * cost[k] + penalty)
        better = total < best[k]
        best[k] = total if better else best[k]
        winner[k] = s if better else winner[k]


@njit(**_options)
def stay_on_row(
    begin: int,
    end: int,
    cost: Floats,
    steps: Ints,
    weights: Floats,
    penalties: Floats,
    here: Floats,
    winner: Bytes,
) -> None:
    """Arrive by the steps that leave the reference where it is, from left to right."""
    for s in range(len(steps)):
        if steps[s, 0] != 0:
            continue
        dj, weight, penalty = steps[s, 1], weights[s], penalties[s]
        for j in range(begin + dj, end):
            total = here[j - dj] + (weight * cost[j - begin] + penalty)
            if total < here[j]:
                here[j] = total
                winner[j - begin] = s


@njit(**_options)
def accumulate_rows(
    first: int,
    last: int,
    metric: int,
    x: Floats,
    yt: Floats,
    lo: Ints,
    hi: Ints,
    mask: Mask,
    steps: Ints,
    weights: Floats,
    penalties: Floats,
    recent: Floats,
    offsets: Ints,
    winners: Bytes,
    accumulated: Floats,
) -> None:
    """Advance the programme by the rows first <= i < last.

    Parameters
    ----------
    first, last : int
        The rows to do; all before them are done.
    metric : int
        SQEUCLIDEAN, EUCLIDEAN, CITYBLOCK or CHEBYSHEV.
    x : (n, d)
    yt : (d, m)
        The query, transposed so that its columns are neighbours in memory.
    lo, hi : (n,)
        The window.
    mask : (n, m) or (0, 0)
        Cells that may be used; empty where all of the window may.
    steps : (s, 2)
        di and dj of each step; one step at most has di = 0, and it stands last.
    weights, penalties : (s,)
    recent : (r, m)
        Accumulated costs of the last r rows, row i at i % r; r exceeds every di.
    offsets : (n,)
        Where each row starts in `winners`.
    winners : (cells,)
        Receives the winning step of each cell.
    accumulated : (n, m) or (0, 0)
        Receives all accumulated costs, where it is not empty.
    """
    depth = len(recent)
    local = np.empty(yt.shape[1])
    for i in range(first, last):
        begin, end = lo[i], hi[i]
        cost = local[: end - begin]
        local_row(metric, x[i], yt, begin, cost)
        if mask.size > 0:
            cost[~mask[i, begin:end]] = np.inf
        here = recent[i % depth]
        here[begin:end] = np.inf
        winner = winners[offsets[i] : offsets[i] + end - begin]
        winner[:] = UNREACHED
        if i == 0 and begin == 0 and end > 0 and cost[0] < np.inf:
            here[0] = cost[0]
            winner[0] = START
        for s in range(len(steps)):
            back, dj = i - steps[s, 0], steps[s, 1]
            if back == i or back < 0:
                continue
            a, b = max(begin, lo[back] + dj), min(end, hi[back] + dj)
            if a < b:
                take_better(
                    s,
                    recent[back % depth, a - dj : b - dj],
                    cost[a - begin : b - begin],
                    weights[s],
                    penalties[s],
                    here[a:b],
                    winner[a - begin : b - begin],
                )
        stay_on_row(begin, end, cost, steps, weights, penalties, here, winner)
        if accumulated.size > 0:
            accumulated[i, begin:end] = here[begin:end]


@njit(**_options)
def trace_back(
    i: int, j: int, lo: Ints, steps: Ints, offsets: Ints, winners: Bytes, path: Ints
) -> int:
    """Follow the winning steps from cell (i, j) to (0, 0), writing `path` from its end.

    Parameters
    ----------
    i, j : int
        The last cell.
    lo, steps, offsets, winners
        As in `accumulate_rows`.
    path : (i + j + 1, 2)
        Receives the cells in order, first to last, in its last rows.

    Returns
    -------
    int
        The row of `path` where it starts; -1 if the cell cannot be reached.
    """
    at = len(path)
    while True:
        winner = winners[offsets[i] + j - lo[i]]
        if winner == UNREACHED:
            return -1
        at -= 1
        path[at, 0] = i
        path[at, 1] = j
        if winner == START:
            return at
        i -= steps[winner, 0]
        j -= steps[winner, 1]


@njit(**_options)
def reachable(lo: Ints, hi: Ints, mask: Mask, steps: Ints, m: int, depth: int) -> bool:
    """Tell whether any path leads from cell (0, 0) to the last one inside the window."""
    n = len(lo)
    recent = np.zeros((depth, m), dtype=np.bool_)
    for i in range(n):
        for j in range(lo[i], hi[i]):
            found = i == 0 and j == 0
            for s in range(len(steps)):
                pi = i - steps[s, 0]
                pj = j - steps[s, 1]
                if pi >= 0 and pj >= lo[pi] and pj < hi[pi] and recent[pi % depth, pj]:
                    found = True
            if mask.size > 0 and not mask[i, j]:
                found = False
            recent[i % depth, j] = found
    return bool(lo[n - 1] < m and hi[n - 1] == m and recent[(n - 1) % depth, m - 1])
