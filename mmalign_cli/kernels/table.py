"""A table laid out for the strip sweeps: `mmalign_cli.kernels.strips` says how it is cut.

Frames are copied once, to where the sweeps load them: relative to their centre and scaled by a
power of two in float32, so that its 24 bits go to the differences, and dealt to vectors.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels import lanes, vectors
from mmalign_cli.kernels.codes import (
    BORROWING,
    CHEBYSHEV,
    CITYBLOCK,
    ENTRY,
    EUCLIDEAN,
    INNER,
    SQEUCLIDEAN,
)
from mmalign_cli.kernels.vectors import copy_vector

_LANES, _VECTORS = vectors.LANES, max(lanes.VECTORS, 1)
FAR = 2**30
"""An anti-diagonal that no table has."""
_LINE = 64
"""Bytes of a cache line."""


class Table(NamedTuple):
    """The strips of a table and what is kept of them; arrays of one float type unless noted.

    Parameters
    ----------
    x : ndarray, shape (strips, dims * rows)
        Frames of the rows by slot: row r of a strip has position rows - 1 - r, and `slot` says
        where that is. Dimensions after each other.
    y : ndarray, shape (dims * stride,)
        Frames of the columns, column j at j + rows - 1, infinity on either side; where the form is
        striped, dealt to vectors.
    dims, stride : int
    penalty : float
    rows : int
        Of a strip.
    first, past : ndarray, shape (strips * rows,) or (0,), int64
        The window: row i holds the columns ``first <= j < past``; empty for all.
    walls : ndarray
        Zeros between infinities (`walls_of`), where there is a window; where the form is striped,
        dealt to vectors as the columns are.
    free : ndarray, shape (strips, 2), int64
        The anti-diagonal t, t = g - rows s, at which the last row of a strip begins, and that at
        which the first one ends.
    span : ndarray, shape (strips, 2), int64
        First and last (exclusive) anti-diagonal g of each strip.
    width, group : int
    last_rows : ndarray, shape (k + 1, longest)
        The row over the table, then the last rows of groups of strips, group b at 1 + b % k. Each
        begins a row's length of rows before the strip's first column: as long as the window is
        wide, not as the table.
    base : ndarray, shape (strips,), int64
        Number of the first border of each strip; one border before and after each tile.
    offsets : ndarray, shape (borders,), float64
        What the values that a tile left at its border are relative to.
    corners : ndarray, shape (borders,)
        The last row's value at each border.
    states : ndarray, shape (borders or strips, 2 rows)
        The state at each border, or at the last one of each strip.
    tail : ndarray, shape (m,) or (0,), float64
        Receives the accumulated costs of the table's last row, where it is not empty.
    last_row, last_slot : int
        The table's last row within the last strip, and its slot.
    n_rows, n_columns : int
    unit : float
        What accumulated costs are to be multiplied by.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    dims: int
    stride: int
    penalty: float
    rows: int
    first: npt.NDArray[np.int64]
    past: npt.NDArray[np.int64]
    walls: npt.NDArray[Any]
    free: npt.NDArray[np.int64]
    span: npt.NDArray[np.int64]
    width: int
    group: int
    last_rows: npt.NDArray[Any]
    base: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.float64]
    corners: npt.NDArray[Any]
    states: npt.NDArray[Any]
    tail: npt.NDArray[np.float64]
    last_row: int
    last_slot: int
    n_rows: int
    n_columns: int
    unit: float


@njit(**INNER)
def part(room, size):
    """Return an array that starts at the next cache line of `room`, and what is left behind it."""
    first = -room.ctypes.data % _LINE // room.itemsize
    return room[first : first + size], room[first + size :]


@njit(**INNER)
def aligned(size, kind):
    """Return an array that starts at a cache line, so that no vector of it crosses one."""
    return part(np.empty(size + _LINE // 4, kind), size)[0]


@njit(**BORROWING)
def copy(values, to):
    """Copy an array to the start of another."""
    for k in range(len(values)):  # a slice would do, and take a second more to compile
        to[k] = values[k]


@njit(**BORROWING)
def fill(values, value):
    """Set all of an array."""
    for k in range(len(values)):
        values[k] = value


@njit(**INNER)
def _filled(size, value, kind):
    values = aligned(size, kind)
    fill(values, value)
    return values


@njit(**BORROWING)
def joined(metric, total, size):
    """Return what the difference in one dimension makes of the total of those before."""
    if metric == CITYBLOCK:
        return total + size
    return max(total, size) if metric == CHEBYSHEV else total + size * size


@njit(**BORROWING)
def cost_between(metric, x, i, y, j):
    """Return the local cost of frame i of x and frame j of y, (n, d) and (m, d)."""
    total = 0.0
    for q in range(x.shape[1]):
        total = joined(metric, total, abs(np.float64(x[i, q]) - np.float64(y[j, q])))
    return math.sqrt(total) if metric == EUCLIDEAN else total


@njit(**INNER)
def frame_of_reference(x, y):
    """Return what to subtract and what to multiply by, so that float32 loses least.

    Differences of frames do not change with the first, (d,); the second is a power of two.
    """
    dims = x.shape[1]
    centre, half = np.empty(dims), 0.0
    for q in range(dims):
        low = high = np.float64(x[0, q])
        for i in range(len(x)):
            low, high = min(low, x[i, q]), max(high, x[i, q])
        for i in range(len(y)):
            low, high = min(low, y[i, q]), max(high, y[i, q])
        centre[q], half = (low + high) / 2, max(half, (high - low) / 2)
    return centre, 2.0 ** -math.frexp(half)[1] if half > 0 else 1.0


@njit(**BORROWING)
def slot(striped, position):
    """Return where a position stands in arrays, which may be loaded as stripes."""
    return position % _VECTORS * _LANES + position // _VECTORS if striped else position


@njit(**INNER)
def _lay_rows(striped, rows, query, centre, scale, x):
    n, dims = query.shape
    for s in range(len(x)):
        for r in range(rows):
            i = s * rows + r
            to = slot(striped, rows - 1 - r)
            for q in range(dims):
                x[s, q * rows + to] = (query[i, q] - centre[q]) * scale if i < n else 0.0


@njit(**INNER)
def deal(values, n_vectors, to):
    """Deal values to vectors: vector s gets the values s + l n_vectors, a lane l each.

    Every `n_vectors`-th value is put in a row first: vectors can then be copied as a whole.
    """
    size = len(to) // _LANES
    column = np.empty(size // n_vectors + _LANES + 1, to.dtype)
    for k in range(n_vectors):
        ahead, count = values[k:], (size - k + n_vectors - 1) // n_vectors
        for c in range(count + _LANES - 1):
            column[c] = ahead[c * n_vectors]
        for c in range(count):
            copy_vector(column, c, to, (c * n_vectors + k) * _LANES)


@njit(**INNER)
def _lay_columns(striped, rows, reference, centre, scale, y, size):
    m, dims = reference.shape
    row = _filled(size + rows, np.inf, y.dtype)
    for q in range(dims):
        for j in range(m):
            row[rows - 1 + j] = (reference[j, q] - centre[q]) * scale
        if striped:
            deal(row, _VECTORS, y[q * size * _LANES : (q + 1) * size * _LANES])
        else:
            copy(row[:size], y[q * size : (q + 1) * size])


@njit(**INNER)
def walls_of(striped, rows, kind):
    """Return zeros between infinities: what the cells of a window are raised to.

    As many infinities as rows, as many zeros, and infinities again. The rows of a strip begin one
    after the other, and so they end; position p, which is row rows - 1 - p, is among the first k
    where k + p is at least the number of rows. So element `begun` + p is infinite for the positions
    of rows that have not begun, and element rows + `ended` + p for those of rows that have ended.
    """
    walls = np.zeros(4 * rows, kind)
    fill(walls[:rows], np.inf)
    fill(walls[2 * rows :], np.inf)
    if not striped:
        return walls
    dealt = aligned(3 * rows * _LANES, kind)
    deal(walls, _VECTORS, dealt)
    return dealt


@njit(**INNER)
def _columns_in_row(size):
    """Return how far dimensions are apart: an odd number of cache lines."""
    size += -size % 16
    return size + 16 * (1 - size // 16 % 2)


@njit(**INNER)
def _columns_of_rows(lo, hi, n, size):
    """Return the columns that each of n rows may use, of ranges of rows that never step back.

    Rows up to `size` are those of the last one.
    """
    first, last = np.empty(size, np.int64), np.empty(size, np.int64)
    j0, j1 = 0, 0
    for i in range(n):
        while j0 < len(hi) and hi[j0] <= i:
            j0 += 1
        while j1 < len(lo) and lo[j1] <= i:
            j1 += 1
        first[i], last[i] = j0, j1
    fill(first[n:], j0)
    fill(last[n:], j1)
    return first, last


@njit(**INNER)
def _lay_window(n, m, rows, first, past, free, span):
    """Fill free and span of a table."""
    for s in range(len(span)):
        i, k = s * rows, (s + 1) * rows - 1
        free[s, 0] = -FAR if first[k] == 0 else first[k] + rows - 1
        free[s, 1] = FAR if past[i] == m else past[i]
        # One anti-diagonal earlier, to take over the corner from the strip before.
        span[s, 0] = i + max(first[i] - 1, 0)
        span[s, 1] = max(min(i + past[k] + rows - 1, n + m - 1), span[s, 0] + 1)


@njit(**INNER)
def _lay_everything(n, m, rows, free, span):
    for s in range(len(span)):
        free[s, 0], free[s, 1] = -FAR, FAR
        span[s, 0], span[s, 1] = s * rows, min((s + 1) * rows - 1 + m, n + m - 1)


@njit(**ENTRY)
def lay_out(
    metric, diagonal, striped, rows, room, query, reference, lo, hi, penalty, width, group, keep,
    open_begin, open_end,
):  # fmt: skip
    """Lay a table out.

    Parameters
    ----------
    metric, diagonal : int
        As in `mmalign_cli.kernels.forms.Form`.
    striped : bool
        As in `mmalign_cli.kernels.forms.Form`.
    rows : int
        Of a strip.
    room : ndarray, shape (size,)
        Memory for the table, of the type to compute in, float32 for lanes. It is used where it is
        large enough, so that it can be lent again and again: new memory costs more than to fill it.
    query, reference : ndarray, shape (n, d) and (m, d)
    lo, hi : ndarray, shape (m,) or (0,), int64
        Rows that each column may use, neither ever stepping back; empty for all.
    penalty : float
    width, group : int
        How the table is cut.
    keep : bool
        Keep what the path needs.
    open_begin, open_end : bool
        Whether the path may begin and end in any column.

    Returns
    -------
    Table
    """
    (n, dims), m = query.shape, len(reference)
    strips, kind = (n + rows - 1) // rows, room.dtype
    centre, scale = frame_of_reference(query, reference)
    if room.itemsize == 8:
        scale = 1.0
        fill(centre, 0.0)
    degree = scale * scale if metric == SQEUCLIDEAN else scale

    free, span = np.empty((strips, 2), np.int64), np.empty((strips, 2), np.int64)
    if len(lo):
        first, past = _columns_of_rows(lo, hi, n, strips * rows)
        walls = walls_of(striped, rows, kind)
        _lay_window(n, m, rows, first, past, free, span)
    else:
        first, past, walls = lo, hi, np.empty(0, kind)
        _lay_everything(n, m, rows, free, span)
    base, borders, longest = np.empty(strips, np.int64), 0, span[0, 1] - span[0, 0] + rows
    for s in range(strips):
        longest = max(longest, span[s, 1] - span[max(s - 1, 0), 0] + 1)
        base[s] = borders
        borders += (span[s, 1] - 1) // width - span[s, 0] // width + 2

    size = _columns_in_row(m + 3 * rows + 128)
    stride = size * (_LANES if striped else 1)
    kept_rows = 1 + ((strips + group - 1) // group if keep else min(2, strips))
    kept_states = borders if keep else strips
    sizes = (
        strips * dims * rows, dims * stride, kept_rows * longest, kept_states * 2 * rows
    )  # fmt: skip
    needed = sum(sizes) + len(sizes) * _LINE
    if len(room) < needed:
        room = np.empty(needed, kind)
    x, room = part(room, sizes[0])
    y, room = part(room, sizes[1])
    last_rows, room = part(room, sizes[2])
    states, room = part(room, sizes[3])
    x, states = x.reshape(strips, dims * rows), states.reshape(-1, 2 * rows)
    _lay_rows(striped, rows, query, centre, scale, x)
    _lay_columns(striped, rows, reference, centre, scale, y, size)
    last_rows = last_rows.reshape(kept_rows, longest)
    fill(last_rows[0], np.inf)  # of the others only what a strip has written is read
    for s in range(strips):
        fill(states[base[s] if keep else s], np.inf)
    states[0, 2 * rows - 1] = 0  # the cell before the first one, on the diagonal
    offsets = _filled(borders, 0.0, np.float64)
    if open_begin:
        fill(last_rows[0, rows:], 0.0)
    elif diagonal == 2:
        offsets[0] = -cost_between(metric, query, 0, reference, 0) * degree
    last_row = (n - 1) % rows
    return Table(
        x, y, dims, stride, penalty * degree, rows, first, past, walls, free, span, width, group,
        last_rows, base, offsets, _filled(borders, np.inf, kind), states,
        _filled(m if open_end else 0, np.inf, np.float64), last_row,
        slot(striped, rows - 1 - last_row), n, m, 1 / degree,
    )  # fmt: skip
