"""Exact DTW of any length in bounded memory: strips of rows, cut along anti-diagonals.

The table has a row i for each query frame and a column j for each reference frame; a step moves
by (1, 1), (0, 1) or (1, 0). Rows are taken in strips of `rows`, and every strip is cut where the
anti-diagonal g = i + j is a multiple of `width`:

    strip 0   . . . . | . . . . | . . . .
    strip 1     . . . | . . . . | . . . . .   tile (s, w): of strip s,
    strip 2       . . | . . . . | . . . . . .  width w <= g < width (w + 1)

Tile (s, w) needs what tile (s, w - 1) left at the border between them, and the last row of strip
s - 1 up to the same anti-diagonal, which tile (s - 1, w) has written. So tiles can be swept in
any order that respects those two, by several threads too.

At each border `Table` can keep the two last anti-diagonals, and the last row of every `group`-th
strip. From these the tiles that the path crosses are swept again, now with the winner of each
cell written down, two bits, and the path is read off. With n rows and m columns that keeps about
n m (8 / width + 4 / (rows group)) bytes, and sweeps about n width + 2 n rows group cells again.

float32 holds 24 bits, a table of a million cells more: all values of a tile are relative to an
offset in float64, the least value on its left border and over its first row. Integers stay exact.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from mmalign_cli.kernels import lanes, vectors
from mmalign_cli.kernels.codes import BORROWING, ENTRY, EUCLIDEAN
from mmalign_cli.kernels.sweep import sweep
from mmalign_cli.kernels.table import aligned, copy, fill, joined, lay_out, slot

_LANES = max(vectors.LANES, 1)
_RING_SIZE = lanes.RING * max(lanes.ROWS, 1)


@njit(**BORROWING)
def _border(table, s, w):
    """Return the number of the border before tile (s, w)."""
    return table.base[s] + w - table.span[s, 0] // table.width


@njit(**BORROWING)
def _row_over(table, s):
    """Return where the last row of strip s - 1 is kept; strips of a group share one."""
    if s == 0:
        return 0
    return 1 + ((s - 1) // table.group) % (len(table.last_rows) - 1)


@njit(**BORROWING)
def _first(table, s):
    """Return the first anti-diagonal of strip s, counted from its own: where its row is kept."""
    return table.span[s, 0] - s * table.rows


@njit(**BORROWING)
def _shift(values, n, by):
    for k in range(n):
        values[k] = values[k] + by


@njit(**BORROWING)
def _take_above(table, s, w, g0, g1, above):
    """Copy the row over tile (s, w) from anti-diagonal g0 to g1, and return its offset.

    The cell over (s, g) lies on anti-diagonal g - 1 of the strip before: the first one may
    belong to the tile before.
    """
    rows = table.rows
    n, first = g1 - g0, g0 - s * rows + rows - _first(table, max(s - 1, 0))
    copy(table.last_rows[_row_over(table, s), first : first + n], above)
    if s == 0:
        return 0.0
    end = table.span[s - 1, 1]
    if end + 1 < g1:  # what is there belongs to another strip of the group
        fill(above[max(end + 1 - g0, 0) : n], np.inf)
    past = (end - 1) // table.width + 1
    k = _border(table, s - 1, min(w, past))
    offset = table.offsets[k + 1 if w < past else k]
    if g0 == w * table.width and g0 <= end:
        above[0] = table.corners[k] + (table.offsets[k] - offset)
    return offset


def _bits(values: Any) -> Any:
    """View floats as integers of their size."""
    return values.view(np.int32 if values.itemsize == 4 else np.int64)


@overload(_bits)
def _bits_of(values):
    kind = np.int32 if values.dtype.bitwidth == 32 else np.int64
    return lambda values: values.view(kind)


class _Scratch(NamedTuple):
    """What the sweep of a tile works with: the arguments of `mmalign_cli.kernels.sweep.sweep`.

    And the state, the row above and one value more once as floats and once as their bits.
    """

    state: Any
    above: Any
    value: Any
    state_bits: Any
    above_bits: Any
    value_bits: Any
    near: Any
    far: Any
    picked: Any
    ring: Any


@njit(**BORROWING)
def _least(bits, n, scratch):
    """Return the least of n values, none of which is negative, by their bits.

    They compare as integers do, and of those the compiler takes many at once.
    """
    least = bits[0]
    for k in range(n):
        least = min(least, bits[k])
    scratch.value_bits[0] = least
    return scratch.value[0]


@njit(**BORROWING)
def _marks_before(table, s0, s, g0, g1):
    """Return the bytes of the marks of strips s0 to s - 1 from anti-diagonal g0 to g1."""
    diagonals = 0
    for before in range(s0, s):
        diagonals += max(min(g1, table.span[before, 1]) - max(g0, table.span[before, 0]), 0)
    return diagonals * (table.rows // 4)


@njit(**ENTRY)
def advance(form, table, s0, s1, g0, g1, marking, marks):
    """Sweep the strips s0 <= s < s1 from anti-diagonal g0, a multiple of the width, to g1.

    Parameters
    ----------
    form : Form
    table : Table
    s0, s1, g0, g1 : int
        `s0` starts a group of strips, and `s1` lies at most at the start of the next one.
    marking : bool
        Write which neighbour won each cell.
    marks : ndarray, uint8
        The bits, strip by strip, each from its first anti-diagonal here on (`_marks_before`), one
        anti-diagonal after the other: `mmalign_cli.kernels.sweep`.

    Returns
    -------
    int
        The number of cells.
    """
    size, kind = table.width, table.states.dtype
    state, above, value = aligned(2 * table.rows, kind), aligned(size, kind), np.empty(1, kind)
    ring = aligned(_RING_SIZE if form.lanes and form.dims == 0 else 1, kind)
    scratch = _Scratch(
        state, above, value, _bits(state), _bits(above), _bits(value), np.empty(size, np.int64),
        np.empty(size, np.int64), np.empty(size, kind), ring,
    )  # fmt: skip
    cells = 0
    for s in range(s0, s1):
        start, stop = max(g0, table.span[s, 0]), min(g1, table.span[s, 1])
        if start < stop:
            at = _marks_before(table, s0, s, g0, g1)
            _sweep_strip(form, table, s, start, stop, marking, marks, at, scratch)
            cells += table.rows * (stop - start)
    return cells


@njit(**BORROWING)
def _sweep_strip(form, table, s, start, stop, marking, marks, mark_at, scratch):
    """Sweep the tiles of one strip from anti-diagonal `start` to `stop`."""
    rows, states, state, above = table.rows, table.states, scratch.state, scratch.above
    keeps = len(states) > len(table.base)
    last_row, first = table.last_rows[_row_over(table, s + 1)], _first(table, s) - 1
    pick = table.last_slot if s == len(table.base) - 1 and len(table.tail) > 0 else -1
    produced, begun, ended = -1, 0, 0
    while start < stop:
        w = start // table.width
        past = min(stop, (w + 1) * table.width)
        k, n, t0, t1 = _border(table, s, w), past - start, start - s * rows, past - s * rows
        copy(states[k if keeps else s], state)
        over = _take_above(table, s, w, start, past, above)
        left = table.offsets[k]
        offset = min(
            _least(scratch.state_bits, 2 * rows, scratch) + left,
            _least(scratch.above_bits, n, scratch) + over,
        )
        if offset == np.inf:
            offset = 0.0
        _shift(state, 2 * rows, left - offset)
        _shift(above, n, over - offset)
        begun, ended = _raise_walls(table, s, t0, t1, begun, ended, scratch)
        produced = sweep(
            form, table.x[s], table.dims, table.y, table.stride, scratch.ring, produced, state,
            above, last_row[t0 - first :], table.walls, scratch.near, scratch.far,
            table.free[s, 0], table.free[s, 1], marking, marks, mark_at, pick, scratch.picked,
            table.penalty, t0, t1,
        )  # fmt: skip
        if pick >= 0:
            _keep_tail(table, scratch.picked, offset, t0, t1)
        copy(state, states[k + 1 if keeps else s])
        table.corners[k + 1], table.offsets[k + 1] = state[0], offset
        mark_at += n * (rows // 4)
        start = past


@njit(**BORROWING)
def _raise_walls(table, s, t0, t1, begun, ended, scratch):
    """Write where the walls of the window stand from anti-diagonal t0 to t1 of strip s.

    `begun` and `ended` rows had begun and ended before; return the numbers at the end.
    """
    rows, first = table.rows, s * table.rows
    for t in range(t0, min(t1, table.free[s, 0])):
        while begun < rows and table.first[first + begun] + begun <= t:
            begun += 1
        scratch.near[t - t0] = begun
    for t in range(max(t0, table.free[s, 1]), t1):
        while ended < rows and table.past[first + ended] + ended <= t:
            ended += 1
        scratch.far[t - t0] = rows + ended
    return begun, ended


@njit(**BORROWING)
def _keep_tail(table, picked, offset, t0, t1):
    """Put the last row of the table where it belongs."""
    row = table.last_row
    for t in range(max(t0, row), min(t1, row + len(table.tail))):
        table.tail[t - row] = picked[t - t0] + offset


@njit(**BORROWING)
def _is_set(marks, bit):
    return (marks[bit // 8] >> (bit % 8)) & 1


@njit(**BORROWING)
def cell_before(marks, bit, lanes_of, i, j):
    """Return the cell that the path comes from, by the winner of (i, j): its bits are marked."""
    if _is_set(marks, bit):
        return i - 1, j - 1
    if _is_set(marks, bit + lanes_of):
        return i, j - 1
    return i - 1, j


@njit(**BORROWING)
def _walk(form, table, marks, s0, g0, g1, i, j, path, at):
    """Follow the winners from (i, j) until they leave the marked tile; return i, j and `at`."""
    rows, s, first = table.rows, -1, 0
    lanes_of = _LANES if form.lanes else rows  # the plain loop's one vector holds all rows
    while i >= s0 * rows and i + j >= g0 and j >= 0:
        at -= 1
        path[at, 0], path[at, 1] = j, i
        if s != i // rows:
            s = i // rows
            first = _marks_before(table, s0, s, g0, g1)
            first -= max(g0, table.span[s, 0]) * (rows // 4)
        p = slot(form.striped, rows - 1 - (i - s * rows))
        bit = (first + (i + j) * (rows // 4)) * 8 + p // lanes_of * lanes_of + p
        i, j = cell_before(marks, bit, lanes_of, i, j)
    return i, j, at


@njit(**ENTRY)
def trace(form, table, marks, i, j, path, at, most):
    """Follow the path back from cell (i, j), some tiles of it.

    Parameters
    ----------
    form : Form
    table : Table
        Whose borders and last rows were kept.
    marks : ndarray, uint8
        Room for the bits of one group of strips over one width.
    i, j : int
        The cell where to go on.
    path : ndarray, shape (n + m - 1, 2), int64
        Receives column and row of the cells in its last rows.
    at : int
        The first row of `path` that is written.
    most : int
        Cells after which to return.

    Returns
    -------
    i, j, at : int
        `i` or `j` is negative where the path is complete.
    """
    rows = table.rows
    cells = 0
    while i >= 0 and j >= 0 and cells < most:
        s0 = i // rows // table.group * table.group
        g0 = (i + j) // table.width * table.width
        g1 = i + j + 1
        cells += advance(form, table, s0, i // rows + 1, g0, g1, True, marks)
        i, j, at = _walk(form, table, marks, s0, g0, g1, i, j, path, at)
    return i, j, at


@njit(**ENTRY)
def weigh(metric, diagonal, reference, query, path, costs, weights):
    """Write the local cost and the weight of each step of a path.

    Parameters
    ----------
    metric : int
    diagonal : int
        The weight of the diagonal move; both others weigh 1, and so does the first step.
    reference, query : ndarray, shape (n, d) and (m, d)
    path : ndarray, shape (n_steps, 2), int64
    costs, weights : ndarray, shape (n_steps,), float64
        Receive them.
    """
    before_i, before_j = path[0, 0], path[0, 1]
    for t in range(len(path)):
        i, j = path[t, 0], path[t, 1]
        total = 0.0
        for q in range(reference.shape[1]):
            size = abs(np.float64(reference[i, q]) - np.float64(query[j, q]))
            total = joined(metric, total, size)
        costs[t] = math.sqrt(total) if metric == EUCLIDEAN else total
        weights[t] = 1 + (diagonal - 1) * ((before_i < i) & (before_j < j))
        before_i, before_j = i, j


@njit(**ENTRY)
def solve(form, laying, marks, path, costs, weights):
    """Find the path of a table all of whose winners there is room for, in one call.

    Parameters
    ----------
    form : Form
    laying : tuple
        The arguments of `mmalign_cli.kernels.table.lay_out`; the end is closed.
    marks : ndarray, uint8
        Room for the winners, used where it is large enough.
    path : ndarray, shape (n + m - 1, 2), int64
        Receives column and row of the path's cells in its last rows.
    costs, weights : ndarray, shape (n + m - 1,), float64
        Receive, there too, what `weigh` says of them.

    Returns
    -------
    at : int
        The first row that is written.
    total : float
        The programme's own cost, in units of `unit`.
    unit : float
    """
    table = lay_out(*laying)
    strips, last = len(table.base), table.span[-1, 1]
    needed = _marks_before(table, 0, strips, 0, last)
    if len(marks) < needed:
        marks = np.empty(needed, np.uint8)
    advance(form, table, 0, strips, 0, last, True, marks)
    total = np.float64(table.states[-1, table.last_slot]) + table.offsets[-1]
    if total == np.inf:
        return len(path), total, table.unit
    i, j = table.n_rows - 1, table.n_columns - 1
    at = _walk(form, table, marks, 0, 0, last, i, j, path, len(path))[2]
    metric, diagonal, query, reference = laying[0], laying[1], laying[5], laying[6]
    weigh(metric, diagonal, reference, query, path[at:], costs[at:], weights[at:])
    return at, total, table.unit


@njit(**ENTRY)
def least_cost(form, laying):
    """Return the least cost alone of a closed table, and its unit, in one call.

    Parameters
    ----------
    form : Form
    laying : tuple
        As in `solve`.
    """
    table = lay_out(*laying)
    nothing = np.empty(0, np.uint8)
    advance(form, table, 0, len(table.base), 0, table.span[-1, 1], False, nothing)
    return np.float64(table.states[-1, table.last_slot]) + table.offsets[-1], table.unit
