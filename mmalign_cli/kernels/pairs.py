"""DTW of one query against many references, a reference a lane.

The table of a pair has a row for each query frame i and a column for each reference frame j:

    D[i, j] = min(D[i - 1, j - 1] + w c, min(D[i, j - 1], D[i - 1, j]) + penalty + c).

Rows are swept in blocks of ROWS: of the row over the block one buffer holds the accumulated costs,
`top`, whose element j + 1 is column j, and the block's last row takes their place. The first block
begins with as many rows of infinite frames as it takes to fill it. On the diagonal before the
first cell stands (1 - w) c, so that D[0, 0] is the cost there; elsewhere before it infinity.

WIDTH references of about one length form a group. A shorter one is filled up with columns whose
costs flow into no cell before them: each pair's answer is read at its own last column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from mmalign_cli.kernels import packs, vectors
from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, ENTRY, EUCLIDEAN, INNER
from mmalign_cli.kernels.dtw import SAFE_FAST_MATH

WIDTH, ROWS = packs.WIDTH, packs.ROWS
BY_LANES = vectors.LANES > 0


def sweep(form: Any, *arguments: Any) -> float:
    """Advance a block of rows over the columns j0 <= j < j1.

    Parameters
    ----------
    form : Form
    x, rows, dims : (dims * rows,) float64, int, int
        Frames of the query, dimension by dimension.
    first : int
        First row of the block.
    y, m : (dims * m * WIDTH,) float64, int
        Frames of the references: dimension, column, lane.
    left : (ROWS * WIDTH,) float64
        Accumulated costs left of the first column.
    top : ((m + 1) * WIDTH,) float64
        Accumulated costs of the row over the block; receives those of its last row.
    lo, hi : (rows * WIDTH,) float64
        The window: row i of a lane holds the columns ``lo <= j < hi``.
    j0, j1, free0, free1 : int
        For ``free0 <= j < free1`` all cells of the block lie in the window.
    penalty : float
    marking : bool
        Write which neighbour won.
    marks, mark_at : (... 2 ROWS,) uint8, int
        Two bytes a row for each column, from column 0 on: a bit a lane, set where the diagonal
        won; then, where left is at most up.

    Returns
    -------
    float
        The least accumulated cost in the last row, over all lanes.
    """
    return float(_sweep_plain(form, *arguments))  # where numba is told not to compile


@overload(sweep)
def _sweep_of(form, *arguments):
    chosen = _sweep_lanes if form.form.lanes else _sweep_plain
    return lambda form, *arguments: chosen(form, *arguments)  # noqa: PLW0108 -- numba's way


def _costs(form: Any, *arguments: Any) -> Any:
    """Return the costs of a column; `xs` holds the rows where there is one dimension."""
    raise NotImplementedError


@overload(_costs)
def _costs_of(form, xs, x, rows, dims, first, y, m, j):
    def one(form, xs, x, rows, dims, first, y, m, j):
        return packs.add_dimension(form, packs.filled(ROWS, 0.0), xs, packs.load(1, y, j * WIDTH))

    def several(form, xs, x, rows, dims, first, y, m, j):
        sums = packs.filled(ROWS, 0.0)
        for q in range(dims):
            there = packs.load(1, y, (q * m + j) * WIDTH)
            sums = packs.add_dimension(form, sums, packs.spread(x, q * rows + first), there)
        return packs.finish(form, sums)

    return one if form.form.dims == 1 else several


@njit(**INNER)
def _sweep_lanes(
    form, x, rows, dims, first, y, m, left, top, lo, hi, j0, j1, free0, free1, penalty,
    marking, marks, mark_at,
):  # fmt: skip
    now, least = packs.load(ROWS, left, 0), packs.filled(1, np.inf)
    corner, xs = packs.load(1, top, j0 * WIDTH), packs.spread(x, first)
    j = j0
    while j < j1:
        masked = j < free0 or j >= free1
        stop = j1 if j >= free1 else min(j1, free0 if masked else free1)
        # The same step in loops of their own, so that none does more than it must.
        if marking:
            for k in range(j, stop):
                above = packs.load(1, top, (k + 1) * WIDTH)
                costs = _costs(form, xs, x, rows, dims, first, y, m, k)
                now = packs.column(form, 1, 1, now, corner, above, costs, penalty, k, lo, hi,
                                   first * WIDTH, marks, mark_at + 2 * ROWS * k)  # fmt: skip
                packs.store_last(now, top, (k + 1) * WIDTH)
                least, corner = packs.lower(least, now), above
        elif masked:
            for k in range(j, stop):
                above = packs.load(1, top, (k + 1) * WIDTH)
                costs = _costs(form, xs, x, rows, dims, first, y, m, k)
                now = packs.column(form, 0, 1, now, corner, above, costs, penalty, k, lo, hi,
                                   first * WIDTH, marks, 0)  # fmt: skip
                packs.store_last(now, top, (k + 1) * WIDTH)
                least, corner = packs.lower(least, now), above
        else:
            for k in range(j, stop):
                above = packs.load(1, top, (k + 1) * WIDTH)
                costs = _costs(form, xs, x, rows, dims, first, y, m, k)
                now = packs.column(form, 0, 0, now, corner, above, costs, penalty, k, lo, hi,
                                   first * WIDTH, marks, 0)  # fmt: skip
                packs.store_last(now, top, (k + 1) * WIDTH)
                least, corner = packs.lower(least, now), above
        j = stop
    packs.store_last(least, left, 0)
    return left[:WIDTH].min()


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _sweep_plain(
    form, x, rows, dims, first, y, m, left, top, lo, hi, j0, j1, free0, free1, penalty,
    marking, marks, mark_at,
):  # fmt: skip
    lowest = np.inf
    for j in range(j0, j1):
        up, diagonal = top[j + 1], top[j0] if j == j0 else left[ROWS]
        left[ROWS] = up
        for r in range(ROWS):
            cost = _plain_cost(form, x, rows, dims, first + r, y, m, j, 0)
            charge = penalty if form.bent else 0.0
            direct = diagonal + cost if form.diagonal == 2 else diagonal
            bent = min(left[r], up) + charge
            if marking:
                at = mark_at + 2 * (ROWS * j + r)
                marks[at], marks[at + 1] = direct <= bent, left[r] <= up
            total = min(direct, bent) + cost
            if len(lo) and (j < lo[first + r] or j >= hi[first + r]):
                total = np.inf
            diagonal, up, left[r] = left[r], total, total
        top[j + 1] = up
        lowest = min(lowest, up)
    return lowest


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _plain_cost(form, x, rows, dims, i, y, m, j, lane):
    cost = 0.0
    for q in range(dims):
        difference = abs(x[q * rows + i] - y[(q * m + j) * WIDTH + lane])
        if form.metric == CITYBLOCK:
            cost += difference
        elif form.metric == CHEBYSHEV:
            cost = max(cost, difference)
        else:
            cost += difference * difference
    return np.sqrt(cost) if form.metric == EUCLIDEAN else cost


@njit(**INNER)
def spread_windows(windows, kinds, rows, lo, hi):
    """Write the window of each lane, row by row; NaN where none holds a path. Returns nothing."""
    for lane in range(WIDTH):
        kind = kinds[lane]
        for i in range(rows):
            lo[i * WIDTH + lane] = windows[kind, 0, i] if kind >= 0 else np.nan
            hi[i * WIDTH + lane] = windows[kind, 1, i] if kind >= 0 else np.nan


@njit(**INNER)
def _span(first, lo, hi, m):
    """Return the columns of a block, and among them those where no cell is outside a window.

    Ranges never step back from one row to the next: the block's first and last rows tell.
    """
    begin, end, free0, free1 = float(m), 0.0, 0.0, float(m)
    last = first + ROWS - 1
    for lane in range(WIDTH):
        low, lowest = lo[last * WIDTH + lane], lo[first * WIDTH + lane]
        high, highest = hi[first * WIDTH + lane], hi[last * WIDTH + lane]
        begin = lowest if lowest < begin else begin  # in these words NaN changes nothing
        free0 = low if low > free0 else free0
        free1 = high if high < free1 else free1
        end = highest if highest > end else end
    return int(begin), int(min(end, m)), int(free0), int(free1)


@njit(**INNER)
def _set_origin(form, x, rows, dims, pad, y, m, left, top):
    """Write what stands on the diagonal before the first cell; returns nothing."""
    for lane in range(WIDTH):
        cost = _plain_cost(form, x, rows, dims, pad, y, m, 0, lane)
        before = -cost if form.diagonal == 2 else 0.0
        if pad:
            left[(pad - 1) * WIDTH + lane] = before
        else:
            top[lane] = before


@njit(**INNER)
def fill_table(
    form, x, rows, dims, pad, y, m, left, top, lo, hi, penalty, limit, marking, marks
):  # fmt: skip
    """Sweep the tables of one group; False where all lanes went over the limit on the way."""
    top[:] = np.inf
    j0, j1, free0, free1 = 0, m, 0, m
    for first in range(0, rows, ROWS):
        if len(lo):
            j0, j1, free0, free1 = _span(first, lo, hi, m)
        left[:] = np.inf
        if first == 0:
            _set_origin(form, x, rows, dims, pad, y, m, left, top)
        least = sweep(
            form, x, rows, dims, first, y, m, left, top, lo, hi, j0, j1, free0, free1,
            penalty, marking, marks, 2 * first * m,
        )  # fmt: skip
        top[j0 * WIDTH : (j0 + 1) * WIDTH] = np.inf
        top[j0 * WIDTH : (j0 + 1) * WIDTH] = np.inf
        if least > limit:
            return False
    return True


@njit(**ENTRY)
def distances(
    form, x, rows, dims, pad, ys, starts, widths, ends, windows, kinds, penalty, limit, g0, g1, out
):
    """Write the least cost of a query against the references of the groups g0 <= g < g1.

    Parameters
    ----------
    form : Form
        With `dims` 1 for one dimension, else 0.
    x, rows, dims : (dims * rows,) float64, int, int
        The query, `pad` infinite rows first, so that `rows` is a multiple of ROWS.
    pad : int
    ys, starts, widths : float64, (n_groups,) int64 each
        The references: group g holds (dims, widths[g], WIDTH) values from element starts[g].
    ends : (n_groups, WIDTH) int64
        Columns of each reference; 0 for a lane that holds none.
    windows, kinds : (n_windows, 2, rows) float64, (n_groups, WIDTH) int64
        Each window's range of columns by row, and which one a reference has; no window at all
        where all cells may be used. -1 is one that holds no path.
    penalty, limit : float64
        A group all whose pairs cost more than `limit` may be given up: infinity.
    g0, g1 : int
    out : (n_groups, WIDTH) float64
    """
    size = rows * WIDTH if len(windows) else 0
    lo, hi = np.empty(size), np.empty(size)
    left, no_marks = np.empty((ROWS + 1) * WIDTH), np.empty(1, np.uint8)
    for g in range(g0, g1):
        m = widths[g]
        y, top = ys[starts[g] : starts[g] + dims * m * WIDTH], np.empty((m + 1) * WIDTH)
        if size and (g == g0 or (kinds[g] != kinds[g - 1]).any()):
            spread_windows(windows, kinds[g], rows, lo, hi)
        done = fill_table(
            form, x, rows, dims, pad, y, m, left, top, lo, hi, penalty, limit, False, no_marks
        )
        for lane in range(WIDTH):
            holds = done and ends[g, lane] > 0 and kinds[g, lane] >= 0
            out[g, lane] = top[ends[g, lane] * WIDTH + lane] if holds else np.inf


@njit(**ENTRY)
def paths(
    form, x, rows, dims, pad, y, m, ends, windows, kinds, penalty, marks, out, lengths, totals
):
    """Write the warping paths of a query against the references of one group.

    Parameters
    ----------
    form, x, rows, dims, pad, windows, penalty
        As in `distances`.
    y, m : (dims * m * WIDTH,) float64, int
        The references of the group.
    ends, kinds : (WIDTH,) int64
    marks : (2 * rows * m,) uint8
    out : (WIDTH, rows + m, 2) int64
        Receives frames of query and reference, first to last, at its end.
    lengths : (WIDTH,) int64
        Receives the steps of each; 0 where no path exists.
    totals : (WIDTH,) float64
    """
    lo, hi = np.zeros(rows * WIDTH), np.full(rows * WIDTH, np.inf)
    left, top = np.empty((ROWS + 1) * WIDTH), np.empty((m + 1) * WIDTH)
    if len(windows):
        spread_windows(windows, kinds, rows, lo, hi)
    fill_table(form, x, rows, dims, pad, y, m, left, top, lo, hi, penalty, np.inf, True, marks)
    for lane in range(WIDTH):
        lengths[lane], totals[lane] = 0, np.inf
        if ends[lane] > 0 and kinds[lane] >= 0:
            totals[lane] = top[ends[lane] * WIDTH + lane]
            if totals[lane] < np.inf:
                lengths[lane] = _trace(marks, m, rows, pad, ends[lane], lane, out[lane])


@njit(**INNER)
def _trace(marks, m, rows, pad, end, lane, out):
    """Follow the winners of one lane back from its last cell; return the steps."""
    i, j, at = rows - 1, end - 1, len(out)
    while True:
        at -= 1
        out[at, 0], out[at, 1] = i - pad, j
        if i == pad and j == 0:
            return len(out) - at
        cell = 2 * ((i // ROWS * m + j) * ROWS + i % ROWS)
        if (marks[cell] >> lane) & 1:
            i, j = i - 1, j - 1
        elif (marks[cell + 1] >> lane) & 1:
            j -= 1
        else:
            i -= 1
