"""Exact DTW in a band |i - j| <= r: swept along its diagonal, with room for all winners.

Rows i are query frames and columns j reference frames. Of a band, a strip of rows
(`mmalign_cli.kernels.strips`) begins and ends with a triangle of idle cells, for its rows begin one
after the other, and end so. Along the diagonal all positions of a band begin together, and end so
(`mmalign_cli.kernels.slide`): what is swept is the band, up to a whole number of vectors.

The first anti-diagonal is i + j = -(r mod 2), a wide one. There position p meets row r // 2 - p and
column p - (r + 1) // 2, and on the u-th wide one after it both are u more. The path comes from
the cell (-1, -1), two anti-diagonals before the cell (0, 0). Frames before the first and past the
last are infinite, with another sign for rows than for columns, so that the costs are infinite too.
Only the first frames past the last have a cost of zero between them, and an immense one to others:
so the last cell's value goes on from (n - 1, m - 1) to (n, m), where the last pass may find it.

Values are relative to an offset in float64, the least of the last two anti-diagonals, which is
found anew every few passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels import slide, vectors
from mmalign_cli.kernels.codes import BORROWING, ENTRY, INNER, SQEUCLIDEAN
from mmalign_cli.kernels.strips import cell_before, weigh
from mmalign_cli.kernels.table import (
    cost_between,
    deal,
    fill,
    frame_of_reference,
    part,
)

_LANES, _DEPTH = max(vectors.LANES, 1), slide.DEPTH
_PASSES = 64
"""Passes between two offsets: as many anti-diagonals as a tile of a strip has."""
_BEYOND = 2.0**60
"""The first frame past the last one."""


class Band(NamedTuple):
    """A band laid out; arrays of float32 unless noted.

    Parameters
    ----------
    x, y : ndarray
        Frames of the rows, the last one first, and of the columns, dealt to vectors; dimensions
        after each other.
    state, bits : ndarray, shape (2 rows + 1,), float32 and int32
        The last wide anti-diagonal and the last narrow one, room for their least, and the same
        memory as integers.
    walls : ndarray, shape (rows,)
    wall, vectors : int
        As `mmalign_cli.kernels.slide.run_pass` takes them.
    slots : ndarray, shape (rows,), int64
        Where each position stands in the state.
    radius, passes : int
    offset : float
        What the first values are relative to.
    penalty : float
    unit : float
        What accumulated costs are to be multiplied by.
    n_rows, n_columns : int
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    state: npt.NDArray[Any]
    bits: npt.NDArray[Any]
    walls: npt.NDArray[Any]
    wall: int
    vectors: int
    slots: npt.NDArray[np.int64]
    radius: int
    passes: int
    offset: float
    penalty: float
    unit: float
    n_rows: int
    n_columns: int


@njit(**INNER)
def _vectors_of(radius):
    """Return how many vectors hold the radius + 1 cells of an anti-diagonal."""
    return max((radius + _LANES) // _LANES, _DEPTH + 1)


@njit(**INNER)
def _passes_of(n, m, radius):
    return (n + m - 1 + radius % 2 + _DEPTH - 1) // _DEPTH


@njit(**ENTRY)
def marks_of(n, m, radius):
    """Return the bytes of all winners: two bits for each cell that is swept."""
    return _passes_of(n, m, radius) * _DEPTH * _vectors_of(radius) * _LANES // 4


@njit(**INNER)
def _lay_frames(values, first, step, outside, count, n_vectors, centre, scale, to):
    """Deal the frames first, first + step, ... to `count` vectors, dimension by dimension."""
    row, size = np.empty(count + _LANES * n_vectors, to.dtype), count * _LANES
    n = len(values)
    last = first + (len(row) - 1) * step
    for q in range(values.shape[1]):
        fill(row, outside)
        for i in range(max(min(first, last), 0), min(max(first, last) + 1, n)):
            row[(i - first) * step] = (values[i, q] - centre[q]) * scale
        row[(n - first) * step] = _BEYOND
        deal(row, n_vectors, to[q * size : (q + 1) * size])


@njit(**INNER)
def _slots_of(n_vectors):
    """Return where positions stand that are dealt to vectors."""
    slots = np.empty(n_vectors * _LANES, np.int64)
    for lane in range(_LANES):
        for k in range(n_vectors):
            slots[lane * n_vectors + k] = k * _LANES + lane
    return slots


@njit(**ENTRY)
def lay_out(metric, diagonal, room, query, reference, radius, penalty):
    """Lay a band out that holds the last cell.

    Parameters
    ----------
    metric, diagonal : int
        As in `mmalign_cli.kernels.forms.Form`.
    room : ndarray, shape (size,), float32
        Memory for the band, used where it is large enough.
    query, reference : ndarray, shape (n, d) and (m, d)
    radius : int
    penalty : float

    Returns
    -------
    Band
    """
    (n, dims), m = query.shape, len(reference)
    n_vectors, passes = _vectors_of(radius), _passes_of(n, m, radius)
    rows, turns = n_vectors * _LANES, passes * (_DEPTH // 2)
    centre, scale = frame_of_reference(query, reference)
    degree = scale * scale if metric == SQEUCLIDEAN else scale

    count = turns + n_vectors + _DEPTH
    frames = dims * count * _LANES
    needed = 2 * frames + 3 * rows + 5 * 64
    if len(room) < needed:
        room = np.empty(needed, np.float32)
    x, room = part(room, frames)
    y, room = part(room, frames)
    walls, room = part(room, rows)
    state, room = part(room, 2 * rows + 1)
    begin, end = radius // 2 + turns, -((radius + 1) // 2)
    _lay_frames(query, begin, -1, -np.inf, count, n_vectors, centre, scale, x)
    _lay_frames(reference, end, 1, np.inf, count, n_vectors, centre, scale, y)

    slots = _slots_of(n_vectors)
    fill(walls, 0.0)
    fill(state, np.inf)
    walls[slots[radius]] = np.inf
    state[slots[radius // 2] + radius % 2 * rows] = 0  # the cell (-1, -1)
    offset = 0.0
    if diagonal == 2:
        offset = -cost_between(metric, query, 0, reference, 0) * degree
    wall = min(max(radius % n_vectors, 1), n_vectors - _DEPTH)
    return Band(
        x, y, state, state.view(np.int32), walls, wall, n_vectors, slots, radius, passes, offset,
        penalty * degree, 1 / degree, n, m,
    )  # fmt: skip


@njit(**BORROWING)
def _take_least(state, bits):
    """Subtract the least of the last two anti-diagonals from both, and return it."""
    size, least = len(state) - 1, bits[0]
    for k in range(size):
        least = min(least, bits[k])  # none is negative: they compare as integers do
    bits[size] = least
    least = state[size]
    for k in range(size):
        state[k] = state[k] - least
    return least


@njit(**BORROWING)
def _sweep(form, band, marking, marks):
    """Sweep the band, and return the accumulated cost of its last cell.

    Winners go to `marks`: of each pass, vector and anti-diagonal 2 LANES bits.
    """
    rows, n_vectors, offset = len(band.walls), band.vectors, band.offset
    wide, narrow, closed = band.state[:rows], band.state[rows:], band.slots[band.radius]
    turns, stride = band.passes * (_DEPTH // 2), len(band.x) // form.dims
    for g in range(band.passes):
        if g % _PASSES == 0:
            offset += _take_least(band.state, band.bits)
        u = g * (_DEPTH // 2)
        at = g * n_vectors * _DEPTH * (_LANES // 4)
        if marking:
            slide.run_pass(
                form, 1, band.x, (turns - u) * _LANES, stride, band.y, u * _LANES, stride, wide,
                narrow, band.walls, band.wall, n_vectors, marks, at, band.penalty,
            )  # fmt: skip
        else:
            slide.run_pass(
                form, 0, band.x, (turns - u) * _LANES, stride, band.y, u * _LANES, stride, wide,
                narrow, band.walls, band.wall, n_vectors, marks, at, band.penalty,
            )  # fmt: skip
        narrow[closed] = np.inf
    last = band.slots[(band.n_columns - band.n_rows + band.radius) // 2]
    odd = (band.n_rows + band.n_columns + band.radius) % 2
    return np.float64(band.state[last + odd * rows]) + offset


@njit(**BORROWING)
def _walk(band, marks, path):
    """Follow the winners back from the last cell, and return the first row of `path` written."""
    start, at = band.radius % 2, len(path)
    i, j = band.n_rows - 1, band.n_columns - 1
    while i >= 0 and j >= 0:
        at -= 1
        path[at, 0], path[at, 1] = j, i
        t, slot = i + j + start, band.slots[(j - i + band.radius) // 2]
        vector, lane = slot // _LANES, slot % _LANES
        row = (t // _DEPTH * band.vectors + vector) * _DEPTH + t % _DEPTH
        i, j = cell_before(marks, row * 2 * _LANES + lane, _LANES, i, j)
    return at


@njit(**ENTRY)
def solve(form, laying, marks, path, costs, weights):
    """Find the path, in one call.

    Parameters
    ----------
    form : Form
    laying : tuple
        The arguments of `lay_out`.
    marks, path, costs, weights : ndarray
        As `mmalign_cli.kernels.strips.solve` takes them.

    Returns
    -------
    at : int
    total : float
    unit : float
        As it returns them.
    """
    band = lay_out(*laying)
    needed = marks_of(band.n_rows, band.n_columns, band.radius)
    if len(marks) < needed:
        marks = np.empty(needed, np.uint8)
    total = _sweep(form, band, True, marks)
    at = _walk(band, marks, path)
    metric, diagonal, query, reference = laying[0], laying[1], laying[3], laying[4]
    weigh(metric, diagonal, reference, query, path[at:], costs[at:], weights[at:])
    return at, total, band.unit


@njit(**ENTRY)
def least_cost(form, laying):
    """Return the least cost alone, and its unit, in one call; arguments as in `solve`."""
    band = lay_out(*laying)
    return _sweep(form, band, False, np.empty(0, np.uint8)), band.unit
