"""DTW of one stream with another whose frames come in several orders, an order a lane.

Whatever the order, the local costs are the same numbers: they are computed once, and only the
dynamic programme is run for each order. Of order k the table has a row for each place t and a
column for each frame i of the stream that keeps its order:

    D[t, i] = min(D[t - 1, i - 1], D[t - 1, i], D[t, i - 1]) + c[orders[k, t], i].

As in `mmalign_cli.kernels.pairs` WIDTH tables are swept side by side in blocks of ROWS rows, and
the first block begins with as many rows of infinite cost as it takes to fill it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from mmalign_cli.kernels import packs, vectors
from mmalign_cli.kernels.codes import ENTRY, INNER

WIDTH, ROWS = packs.WIDTH, packs.ROWS
BY_LANES = vectors.LANES > 0
_CELLS = ROWS * WIDTH
_LINE = 8  # values in a line of the cache


@njit(**ENTRY)
def least_costs(form, costs, orders, out):
    """Write the least cost of each order, all three steps weighing 1.

    Parameters
    ----------
    form : Form
        With `diagonal` 1, and no penalty.
    costs : (m, n) float64
        Local costs: a row for each frame that is reordered.
    orders : (k, m) int64
        Which of them stands at each place.
    out : (k,) float64
    """
    sweep(form, costs, orders, out)


def sweep(form: Any, *arguments: Any) -> None:
    """Do what `least_costs` says."""
    _sweep_plain(form, *arguments)  # where numba is told not to compile


@overload(sweep)
def _sweep_of(form, *arguments):
    chosen = _sweep_lanes if form.form.lanes else _sweep_plain
    return lambda form, *arguments: chosen(form, *arguments)  # noqa: PLW0108 -- numba's way


@njit(**INNER)
def _sweep_lanes(form, costs, orders, out):
    n, m = costs.shape[1], orders.shape[1]
    pad = -m % ROWS
    stride = _LINE * (-(-n // _LINE) | 1)  # an odd number of lines: no two rows share their sets
    cells = np.empty(len(costs) * stride)
    for j in range(len(costs)):
        cells[j * stride : j * stride + n] = costs[j]
    columns = n + -n % WIDTH  # whole packs; a row of cells is as long at least
    local, top, left = np.empty(columns * _CELLS), np.empty((n + 1) * WIDTH), np.empty(_CELLS)
    unused, no_marks = np.empty(0), np.empty(0, np.uint8)
    for first_lane in range(0, len(orders), WIDTH):
        top[:], left[:] = np.inf, np.inf
        if pad:
            left[(pad - 1) * WIDTH : pad * WIDTH] = 0.0
        else:
            top[:WIDTH] = 0.0
        for first in range(-pad, m, ROWS):
            _spread(cells, stride, n, orders, first_lane, first, local)
            now, corner = packs.load(ROWS, left, 0), packs.load(1, top, 0)
            for i in range(n):
                above = packs.load(1, top, (i + 1) * WIDTH)
                cost = packs.load(ROWS, local, i * _CELLS)
                now = packs.column(form, 0, 0, now, corner, above, cost, 0.0, i, unused, unused,
                                   0, no_marks, 0)  # fmt: skip
                packs.store_last(now, top, (i + 1) * WIDTH)
                corner = above
            top[:WIDTH], left[:] = np.inf, np.inf
        for lane in range(min(WIDTH, len(orders) - first_lane)):
            out[first_lane + lane] = top[n * WIDTH + lane]


@njit(**INNER)
def _spread(cells, stride, n, orders, first_lane, first, local):
    """Write the costs of ROWS places for each lane: column, row, lane. Returns nothing."""
    last, starts = len(orders) - 1, np.empty(_CELLS, np.int64)
    for r in range(ROWS):
        for lane in range(WIDTH):
            frame = orders[min(first_lane + lane, last), max(first + r, 0)]
            starts[r * WIDTH + lane] = stride * frame
    for i in range(0, n, WIDTH):
        for r in range(0, _CELLS, WIDTH):
            packs.turn(cells, starts, r, i, local, i * _CELLS + r, _CELLS)
    for i in range(n):
        local[i * _CELLS : i * _CELLS + WIDTH * max(-first, 0)] = np.inf


@njit(**INNER)
def _sweep_plain(form, costs, orders, out):
    n = costs.shape[1]
    for k in range(len(orders)):
        sums = np.full(n + 1, np.inf)  # the row before, from the cell before its first one on
        sums[0] = 0.0
        for t in range(orders.shape[1]):
            corner, sums[0] = sums[0], np.inf
            for i in range(n):
                above = sums[i + 1]
                sums[i + 1] = min(corner, above, sums[i]) + costs[orders[k, t], i]
                corner = above
        out[k] = sums[n]


@njit(**ENTRY)
def nearest(costs, of_rows, of_columns):
    """Write the least cost of each row (n,) and of each column (m,) of costs (n, m)."""
    of_columns[:] = np.inf
    for i in range(len(costs)):
        least = np.inf
        for j in range(costs.shape[1]):
            cost = costs[i, j]
            least = cost if cost < least else least
            of_columns[j] = cost if cost < of_columns[j] else of_columns[j]
        of_rows[i] = least
