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
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import (
    CHEBYSHEV,
    CITYBLOCK,
    ENTRY,
    EUCLIDEAN,
    START,
    TABLE,
    UNREACHED,
)

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

# `nnan` and `ninf` stay out: with them the compiler may assume that infinity never occurs.
SAFE_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}


class Steps(NamedTuple):
    """The steps of a pattern. One at most stays on its row: a single move, and it stands last.

    Parameters
    ----------
    bounds : ndarray, shape (s + 1,)
        Step s is the moves ``bounds[s] <= k < bounds[s + 1]``.
    moves : ndarray, shape (k, 4)
        Each move's advance of reference and query, and its back and left.
    weights : ndarray, shape (k,)
    penalties : ndarray, shape (s,)
    """

    bounds: Ints
    moves: Ints
    weights: Floats
    penalties: Floats


class Cells(NamedTuple):
    """The cells that exist, and where a path may begin.

    Parameters
    ----------
    lo, hi : ndarray, shape (n,)
    mask : ndarray, shape (n, m) or (0, 0)
        Cells that may be used; empty where all of the ranges may.
    barred : ndarray, shape (b, 3)
        Row and column at which a step, by its number between them, may not end; rows increase.
    last_start : int
        The last row that the path may begin in.
    """

    lo: Ints
    hi: Ints
    mask: Mask
    barred: Ints
    last_start: int


class Recent(NamedTuple):
    """The last r rows, row i at i % r; r exceeds the rows that any step looks back.

    Parameters
    ----------
    costs, sums : ndarray, shape (r, m)
        Local and accumulated costs.
    origins : ndarray, shape (r, m) or (0, 0)
        The row in which the best path to each cell begins; empty where nobody asks.
    """

    costs: Floats
    sums: Floats
    origins: Ints


class Kept(NamedTuple):
    """What the programme leaves behind.

    Parameters
    ----------
    offsets : ndarray, shape (n,)
        Where each row starts in `winners`.
    winners : ndarray, shape (cells,)
        The winning step of each cell.
    accumulated : ndarray, shape (n, m) or (0, 0)
        All accumulated costs, where it is not empty.
    last_column : ndarray, shape (n,)
        Those of the last column where it lies in the window.
    last_origins : ndarray, shape (n,) or (0,)
        The origins of its cells.
    """

    offsets: Ints
    winners: Bytes
    accumulated: Floats
    last_column: Floats
    last_origins: Ints


@njit(fastmath=SAFE_FAST_MATH, **ENTRY)
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


@njit(**ENTRY)
def local_rows(metric: int, x: Floats, yt: Floats, out: Floats) -> None:
    """Write all costs between x (n, d) and yt (d, m) to `out` (n, m)."""
    for i in range(len(x)):
        local_row(metric, x[i], yt, 0, out[i])


@njit(**ENTRY)
def start_of(bounds: Ints, moves: Ints, s: int) -> tuple[int, int]:
    """Return how many rows and columns before its last cell step s starts."""
    first = bounds[s]
    return moves[first, 0] + moves[first, 2], moves[first, 1] + moves[first, 3]


@njit(**ENTRY)
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


@njit(**ENTRY)
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


@njit(**ENTRY)
def span_of(i: int, s: int, cells: Cells, steps: Steps) -> tuple[int, int]:
    """Return the columns of row i at which step s may end: all its cells lie in their rows."""
    rows, columns = start_of(steps.bounds, steps.moves, s)
    a, b = cells.lo[i - rows] + columns, cells.hi[i - rows] + columns
    for k in range(steps.bounds[s], steps.bounds[s + 1]):
        row, left = i - steps.moves[k, 2], steps.moves[k, 3]
        a, b = max(a, cells.lo[row] + left), min(b, cells.hi[row] + left)
    return a, b


@njit(**ENTRY)
def bars_of(i: int, barred: Ints) -> Ints:
    """Return the rows of `barred` that concern row i."""
    if len(barred) == 0:
        return barred
    return barred[np.searchsorted(barred[:, 0], i) : np.searchsorted(barred[:, 0], i + 1)]


@njit(**ENTRY)
def exchange(i: int, s: int, bars: Ints, steps: Steps, table: Any, held: Any) -> None:
    """Exchange with `held` the cells of earlier rows from which step s may not lead to row i."""
    rows, columns = start_of(steps.bounds, steps.moves, s)
    for q in range(len(bars)):
        if bars[q, 1] == s:
            at = (i - rows) % len(table), bars[q, 2] - columns
            table[at], held[q] = held[q], table[at]


@njit(**ENTRY)
def arrive(
    i: int, s: int, cells: Cells, steps: Steps, recent: Recent, scratch: Floats, winner: Bytes
) -> None:
    """Arrive on row i by step s, which starts on an earlier row.

    Parameters
    ----------
    i, s : int
        The row and the step.
    cells, steps, recent
        As in `accumulate_rows`.
    scratch : (m,)
        Overwritten.
    winner : (hi[i] - lo[i],)
        The winning steps of the row.
    """
    depth = len(recent.sums)
    rows, columns = start_of(steps.bounds, steps.moves, s)
    if rows > i:
        return
    a, b = span_of(i, s, cells, steps)
    if a >= b:
        return
    before = recent.sums[(i - rows) % depth, a - columns : b - columns]
    last = steps.bounds[s + 1] - 1
    for k in range(steps.bounds[s], last):
        left, weight = steps.moves[k, 3], steps.weights[k]
        cost = recent.costs[(i - steps.moves[k, 2]) % depth, a - left : b - left]
        sums = scratch[: b - a]
        for j in range(b - a):
            sums[j] = before[j] + weight * cost[j] if cost[j] < np.inf else np.inf
        before = sums
    begin = cells.lo[i]
    take_better(
        s,
        before,
        recent.costs[i % depth, a:b],
        steps.weights[last],
        steps.penalties[s],
        recent.sums[i % depth, a:b],
        winner[a - begin : b - begin],
    )


@njit(**ENTRY)
def carry_origins(i: int, begin: int, steps: Steps, winner: Bytes, origins: Ints) -> None:
    """Write the row in which the best path to each cell of row i begins, left to right."""
    depth = len(origins)
    for k in range(len(winner)):
        if winner[k] == START:
            origins[i % depth, begin + k] = i
        elif winner[k] != UNREACHED:
            rows, columns = start_of(steps.bounds, steps.moves, winner[k])
            origins[i % depth, begin + k] = origins[(i - rows) % depth, begin + k - columns]


@njit(**ENTRY)
def accumulate_rows(
    first: int,
    last: int,
    metric: int,
    x: Floats,
    yt: Floats,
    cells: Cells,
    steps: Steps,
    recent: Recent,
    kept: Kept,
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
    cells : Cells
    steps : Steps
    recent : Recent
    kept : Kept
    """
    depth, n_steps = len(recent.sums), len(steps.bounds) - 1
    scratch, closed = np.empty(yt.shape[1]), np.full(len(cells.barred), np.inf)
    for i in range(first, last):
        begin, end = cells.lo[i], cells.hi[i]
        cost, here = recent.costs[i % depth, begin:end], recent.sums[i % depth, begin:end]
        local_row(metric, x[i], yt, begin, cost)
        if cells.mask.size > 0:
            cost[~cells.mask[i, begin:end]] = np.inf
        here[:] = np.inf
        winner = kept.winners[kept.offsets[i] : kept.offsets[i] + end - begin]
        winner[:] = UNREACHED
        if i <= cells.last_start and begin == 0 and end > 0 and cost[0] < np.inf:
            here[0] = cost[0]
            winner[0] = START
        bars = bars_of(i, cells.barred)
        for s in range(n_steps):
            rows, columns = start_of(steps.bounds, steps.moves, s)
            if rows > 0:
                if len(bars):
                    exchange(i, s, bars, steps, recent.sums, closed)
                arrive(i, s, cells, steps, recent, scratch, winner)
                if len(bars):
                    exchange(i, s, bars, steps, recent.sums, closed)
            else:
                weight = steps.weights[steps.bounds[s]]
                stay_on_row(s, columns, cost, weight, steps.penalties[s], here, winner)
        if recent.origins.size > 0:
            carry_origins(i, begin, steps, winner, recent.origins)
        if begin < end == yt.shape[1]:
            kept.last_column[i] = here[-1]
            if recent.origins.size > 0:
                kept.last_origins[i] = recent.origins[i % depth, end - 1]
        if kept.accumulated.size > 0:
            kept.accumulated[i, begin:end] = here


@njit(**ENTRY)
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
        Of `Cells`, `Steps` and `Kept`.
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
