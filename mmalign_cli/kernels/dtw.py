"""Dynamic programming over a windowed cost table, row by row, in float64.

The table has a row for each reference frame i and a column for each query frame j. Only the
cells of the window exist: row i holds the columns lo[i] <= j < hi[i], less those that a mask
leaves out. A step s is a chain of moves; its k-th move leads to the cell that lies back[k] rows and
left[k] columns before the step's last cell, and weighs the cost there. The accumulated cost is

    D[0, 0] = c[0, 0], and with an open beginning D[i, 0] = c[i, 0] for all i
    D[i, j] = min over s of  D[start of s] + sum over k of w[k] c[i - back[k], j - left[k]] + p[s]

where all cells of a step lie inside the window. A tie goes to the step that stands first in the
table of steps. Of each cell the number of the winning step is kept, one byte, rows one after the
other (row i starts at offsets[i]); costs and accumulated costs are kept only for the last few
rows, as many as the longest step looks back.

A set of steps is four arrays: `bounds` (s + 1,), step s being the moves bounds[s] <= k <
bounds[s + 1]; `moves` (k, 4), each move's advance of reference and query, and its back and left;
`weights` (k,); `penalties` (s,).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, EUCLIDEAN, START, TABLE, UNREACHED

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

# `nnan` and `ninf` stay out: with them the compiler may assume that infinity never occurs.
SAFE_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_options: dict[str, Any] = {"cache": True, "nogil": True}


@njit(fastmath=SAFE_FAST_MATH, **_options)
def local_row(metric: int, x: Floats, yt: Floats, lo: int, out: Floats) -> None:
    """Write the cost between frame x (d,) and columns lo, lo + 1, ... of yt (d, m) to `out`.

    A table of costs is yt itself (n, m), and x the number of its row.
    """
    if metric == TABLE:
        out[:] = yt[int(x[0]), lo : lo + len(out)]
        return
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
def start_of(bounds: Ints, moves: Ints, s: int) -> tuple[int, int]:
    """Return how many rows and columns before its last cell step s starts."""
    first = bounds[s]
    return moves[first, 0] + moves[first, 2], moves[first, 1] + moves[first, 3]


@njit(**_options)
def take_better(
    s: int, before: Floats, cost: Floats, weight: float, penalty: float, best: Floats, winner: Bytes
) -> None:
    """Arrive by step s from earlier rows, wherever that is better; all arrays (k,)."""
    for k in range(len(best)):
        # A masked cell costs infinity, and stays closed where its weight is 0.
        total = before[k] + (weight * cost[k] + penalty) if cost[k] < np.inf else np.inf
        better = total < best[k]
        best[k] = total if better else best[k]
        winner[k] = s if better else winner[k]


@njit(**_options)
def stay_on_row(
    s: int, dj: int, cost: Floats, weight: float, penalty: float, here: Floats, winner: Bytes
) -> None:
    """Arrive by the step that leaves the reference where it is, from left to right; arrays (k,)."""
    for j in range(dj, len(here)):
        if cost[j] < np.inf:
            total = here[j - dj] + (weight * cost[j] + penalty)
            if total < here[j]:
                here[j] = total
                winner[j] = s


@njit(**_options)
def span_of(i: int, s: int, lo: Ints, hi: Ints, bounds: Ints, moves: Ints) -> tuple[int, int]:
    """Return the columns of row i at which step s may end: all its cells lie in their rows."""
    rows, columns = start_of(bounds, moves, s)
    a, b = lo[i - rows] + columns, hi[i - rows] + columns
    for k in range(bounds[s], bounds[s + 1]):
        row, left = i - moves[k, 2], moves[k, 3]
        a, b = max(a, lo[row] + left), min(b, hi[row] + left)
    return a, b


@njit(**_options)
def arrive(
    i: int,
    s: int,
    lo: Ints,
    hi: Ints,
    bounds: Ints,
    moves: Ints,
    weights: Floats,
    penalties: Floats,
    costs: Floats,
    recent: Floats,
    scratch: Floats,
    winner: Bytes,
) -> None:
    """Arrive on row i by step s, which starts on an earlier row.

    Parameters
    ----------
    i, s : int
        The row and the step.
    lo, hi, bounds, moves, weights, penalties, recent
        As in `accumulate_rows`.
    costs : (r, m)
        Local costs of the last r rows, row i at i % r.
    scratch : (m,)
        Overwritten.
    winner : (hi[i] - lo[i],)
        The winning steps of the row.
    """
    depth = len(recent)
    rows, columns = start_of(bounds, moves, s)
    if rows > i:
        return
    a, b = span_of(i, s, lo, hi, bounds, moves)
    if a >= b:
        return
    before = recent[(i - rows) % depth, a - columns : b - columns]
    last = bounds[s + 1] - 1
    for k in range(bounds[s], last):
        left = moves[k, 3]
        cost = costs[(i - moves[k, 2]) % depth, a - left : b - left]
        sums = scratch[: b - a]
        for j in range(b - a):
            sums[j] = before[j] + weights[k] * cost[j] if cost[j] < np.inf else np.inf
        before = sums
    begin = lo[i]
    take_better(
        s,
        before,
        costs[i % depth, a:b],
        weights[last],
        penalties[s],
        recent[i % depth, a:b],
        winner[a - begin : b - begin],
    )


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
    bounds: Ints,
    moves: Ints,
    weights: Floats,
    penalties: Floats,
    open_begin: bool,
    costs: Floats,
    recent: Floats,
    offsets: Ints,
    winners: Bytes,
    accumulated: Floats,
    last_column: Floats,
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
    bounds, moves, weights, penalties
        The steps, as above. One at most stays on its row: a single move, and it stands last.
    open_begin : bool
        The path may begin in any row.
    costs, recent : (r, m)
        Local and accumulated costs of the last r rows, row i at i % r; r exceeds the rows that
        any step looks back.
    offsets : (n,)
        Where each row starts in `winners`.
    winners : (cells,)
        Receives the winning step of each cell.
    accumulated : (n, m) or (0, 0)
        Receives all accumulated costs, where it is not empty.
    last_column : (n,)
        Receives those of the last column where it lies in the window.
    """
    depth, n_steps = len(recent), len(bounds) - 1
    scratch = np.empty(yt.shape[1])
    for i in range(first, last):
        begin, end = lo[i], hi[i]
        cost, here = costs[i % depth, begin:end], recent[i % depth, begin:end]
        local_row(metric, x[i], yt, begin, cost)
        if mask.size > 0:
            cost[~mask[i, begin:end]] = np.inf
        here[:] = np.inf
        winner = winners[offsets[i] : offsets[i] + end - begin]
        winner[:] = UNREACHED
        if (i == 0 or open_begin) and begin == 0 and end > 0 and cost[0] < np.inf:
            here[0] = cost[0]
            winner[0] = START
        for s in range(n_steps):
            rows, columns = start_of(bounds, moves, s)
            if rows > 0:
                arrive(
                    i, s, lo, hi, bounds, moves, weights, penalties, costs, recent, scratch, winner
                )
            else:
                stay_on_row(s, columns, cost, weights[bounds[s]], penalties[s], here, winner)
        if begin < end == yt.shape[1]:
            last_column[i] = here[-1]
        if accumulated.size > 0:
            accumulated[i, begin:end] = here


@njit(**_options)
def trace_back(
    i: int,
    j: int,
    lo: Ints,
    bounds: Ints,
    moves: Ints,
    offsets: Ints,
    winners: Bytes,
    path: Ints,
    taken: Ints,
) -> int:
    """Follow the winning steps from cell (i, j) to the first, writing `path` from its end.

    Parameters
    ----------
    i, j : int
        The last cell.
    lo, bounds, moves, offsets, winners
        As in `accumulate_rows`.
    path : (i + j + 1, 2)
        Receives the cells in order, first to last, in its last rows.
    taken : (i + j + 1,)
        Receives beside each cell the move that led to it; -1 beside the first.

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
        if winner == START:
            at -= 1
            path[at, 0], path[at, 1], taken[at] = i, j, -1
            return at
        for k in range(bounds[winner + 1] - 1, bounds[winner] - 1, -1):
            at -= 1
            path[at, 0], path[at, 1], taken[at] = i, j, k
            i -= moves[k, 0]
            j -= moves[k, 1]


@njit(**_options)
def reachable(
    lo: Ints,
    hi: Ints,
    mask: Mask,
    bounds: Ints,
    moves: Ints,
    m: int,
    depth: int,
    open_begin: bool,
    open_end: bool,
) -> bool:
    """Tell whether any path leads from a first cell to a last one inside the window."""
    n = len(lo)
    reached = np.zeros((depth, m), dtype=np.bool_)
    for i in range(n):
        for j in range(lo[i], hi[i]):
            found = (i == 0 or open_begin) and j == 0 and (mask.size == 0 or mask[i, 0])
            for s in range(len(bounds) - 1):
                rows, columns = start_of(bounds, moves, s)
                if rows > i or columns > j or found:
                    continue
                a, b = span_of(i, s, lo, hi, bounds, moves)
                inside = a <= j and j < b and reached[(i - rows) % depth, j - columns]
                for k in range(bounds[s], bounds[s + 1]):
                    if mask.size > 0 and inside:
                        inside = mask[i - moves[k, 2], j - moves[k, 3]]
                found = inside
            reached[i % depth, j] = found
        ends = (i == n - 1 or open_end) and lo[i] < m and hi[i] == m
        if ends and reached[i % depth, m - 1]:
            return True
    return False
