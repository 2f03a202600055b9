"""Whether any path exists, without a single cost: one byte a cell of the last few rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from mmalign_cli.kernels.codes import ENTRY
from mmalign_cli.kernels.dtw import (
    Bytes,
    Cells,
    Ints,
    Mask,
    Steps,
    bars_of,
    exchange,
    span_of,
    start_of,
)


@njit(**ENTRY)
def reach(i: int, s: int, cells: Cells, steps: Steps, reached: Bytes) -> None:
    """Mark the cells of row i that step s, from an earlier row, leads to."""
    depth = len(reached)
    rows, columns = start_of(steps.bounds, steps.moves, s)
    a, b = span_of(i, s, cells, steps) if rows <= i else (0, 0)
    if a >= b:
        return
    before = reached[(i - rows) % depth, a - columns : b - columns]
    here = reached[i % depth, a:b]
    if cells.mask.size == 0:
        for j in range(b - a):
            here[j] |= before[j]
        return
    for j in range(b - a):
        inside = before[j] == 1
        for k in range(steps.bounds[s], steps.bounds[s + 1]):
            inside = inside and cells.mask[i - steps.moves[k, 2], a + j - steps.moves[k, 3]]
        if inside:
            here[j] = 1


@njit(**ENTRY)
def wait(i: int, begin: int, mask: Mask, here: Bytes) -> None:
    """Mark the cells of row i, from column `begin` on, that steps (0, 1) lead to."""
    if mask.size == 0:
        first = 0
        while first < len(here) and here[first] == 0:
            first += 1
        here[first:] = 1
        return
    for j in range(1, len(here)):
        if mask[i, begin + j]:
            here[j] |= here[j - 1]


@njit(**ENTRY)
def reach_rows(
    first: int, last: int, cells: Cells, steps: Steps, reached: Bytes, first_end: int
) -> bool:
    """Go on by the rows first <= i < last; tell whether a path ends in one of them.

    Parameters
    ----------
    first, last : int
        The rows to do; all before them are done.
    cells : Cells
    steps : Steps
    reached : (r, m)
        Whether a path from a first cell leads to each cell of the last r rows, row i at i % r; r
        exceeds the rows that any step looks back.
    first_end : int
        The first row that a path may end in.
    """
    depth, m = reached.shape
    closed = np.zeros(len(cells.barred), dtype=np.uint8)
    for i in range(first, last):
        begin, end = cells.lo[i], cells.hi[i]
        here = reached[i % depth, begin:end]
        here[:] = 0
        if i <= cells.last_start and begin == 0 and end > 0:
            here[0] = cells.mask.size == 0 or cells.mask[i, 0]
        bars = bars_of(i, cells.barred)
        for s in range(len(steps.bounds) - 1):
            if start_of(steps.bounds, steps.moves, s)[0] > 0:
                if len(bars):
                    exchange(i, s, bars, steps, reached, closed)
                reach(i, s, cells, steps, reached)
                if len(bars):
                    exchange(i, s, bars, steps, reached, closed)
            else:
                wait(i, begin, cells.mask, here)
        if i >= first_end and begin < end == m and here[-1]:
            return True
    return False


@njit(**ENTRY)
def connected(lo: Ints, hi: Ints, m: int, last_start: int, first_end: int) -> bool:
    """Tell the same for a window without holes and steps (1, 1), (1, 0), (0, 1), of ranges alone.

    What can be reached of a row is then all from some column on: from the first in the window that
    is not left of the row before's, if that row reaches as far.
    """
    reached = -1
    for i in range(len(lo)):
        from_above = max(lo[i], reached)
        if i <= last_start and lo[i] == 0 < hi[i]:
            reached = 0
        elif reached < 0 or from_above >= hi[i] or from_above > hi[i - 1]:
            reached = -1
        else:
            reached = from_above
        if i >= first_end and reached >= 0 and hi[i] == m:
            return True
    return False
