"""The sweep of a tile: some anti-diagonals of a strip, one after the other.

With rows r of the strip at positions p = ROWS - 1 - r (see `mmalign_cli.kernels.lanes`), the cells
of anti-diagonal t lie at (r, t - r), and

    D[p, t] = min(diagonal + w c, min(left, up) + penalty + c),

    left = D[p, t - 1],  up = D[p + 1, t - 1],  diagonal = D[p + 1, t - 2],

where c is the local cost and, above the first row, D[ROWS, t - 1] is the accumulated cost of
the row over the strip. All cells of one anti-diagonal are independent of each other. A tie goes
to the diagonal, then to left. Columns before the first one and past the last one hold infinity,
so that their costs are infinite. A window is two walls: rows begin one after the other, and end so.
On each anti-diagonal one index tells how many have begun, one how many have ended, and the values
are raised to what stands there in an array of zeros between infinities (`walls_of`). Where all
rows have begun and none has ended no wall is looked at.

There are two sweeps, with the same results but for the rounding of float32: `_sweep_lanes` keeps
the state in the registers, `_sweep_plain` is the formula above, for machines without such
vectors and for float64. In one dimension up to MOST_IN_REGISTERS the costs are computed on the
way. In more they are computed ahead, CHUNK anti-diagonals at a time, by a kernel that keeps
BLOCKS x OFFSETS sums in registers and stores each where its anti-diagonal will look for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from mmalign_cli.kernels import lanes, vectors
from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, EUCLIDEAN, INNER, SQEUCLIDEAN
from mmalign_cli.kernels.dtw import SAFE_FAST_MATH
from mmalign_cli.kernels.table import copy

_LANES, _VECTORS, _ROWS = vectors.LANES, lanes.VECTORS, lanes.ROWS
_BLOCKS, _OFFSETS, _CHUNK = lanes.BLOCKS, lanes.OFFSETS, lanes.CHUNK


def sweep(
    form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
    free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
):  # fmt: skip
    """Advance a tile by the anti-diagonals t0 <= t < t1.

    Parameters
    ----------
    form : Form
    x : (dims * rows,)
        Frames of the strip's rows by position, dimension by dimension.
    dims : int
    y : (dims * stride,)
        Frames of the columns, dimension by dimension: column j at j + rows - 1, infinity
        elsewhere.
    stride : int
    ring : (RING * ROWS,)
        Costs of anti-diagonal t from ROWS * (t % RING).
    produced : int
        The first anti-diagonal that the ring does not hold; -1 if it holds none.
    state : (2 * rows,)
        The last anti-diagonal by position, then its "up" values; advanced.
    above : (t1 - t0,)
        Accumulated costs over the strip, from column t0 on.
    below : (t1 - t0,)
        Receives those of the strip's last row.
    walls : (...,)
        Zeros between infinities: `mmalign_cli.kernels.table.walls_of`.
    near, far : (t1 - t0,) int64
        The window: where in `walls` position 0 finds, of anti-diagonals from t0 on, what is
        infinite until its row begins, or once it has ended.
    free0, free1 : int
        From free0 on all rows have begun, and until free1 none has ended.
    marking : bool
        Write which neighbour won.
    marks : (... rows / 4,) uint8
        A row of bits for each anti-diagonal, from the tile's first: for each vector, in the order
        of its lanes, 1 where the diagonal won, then 1 where left is at most up. In the plain sweep
        all positions are one vector.
    mark_at : int
    pick : int
        Position whose accumulated costs go to `picked`; -1 for none.
    picked : (t1 - t0,)
    penalty : float
    t0, t1 : int

    Returns
    -------
    int
        `produced`, for the next call.
    """
    # Where numba is told not to compile.
    return _sweep_plain(
        form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
        free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
    )  # fmt: skip


def _sweep_lanes(
    form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
    free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
):  # fmt: skip
    t = t0
    while t < t1:
        begun, ended = t >= free0, t >= free1
        produced = costs_ahead(form, x, dims, y, stride, ring, produced, t, t1)
        # To pick values, one anti-diagonal at a time: for the table's last strip alone.
        stop = t + 1 if pick >= 0 else min(t1, produced)
        stop = min(stop, stop if begun else free0, stop if ended else free1)
        wall = far if begun else near
        if marking and begun and not ended:
            lanes.run(form, 1, 0, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        elif marking and (begun or not ended):
            lanes.run(form, 1, 1, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        elif marking:
            lanes.run(form, 1, 2, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        elif begun and not ended:
            lanes.run(form, 0, 0, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        elif begun or not ended:
            lanes.run(form, 0, 1, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        else:
            lanes.run(form, 0, 2, x, y, stride, ring, state, above, below, walls, wall, far, marks,
                      mark_at, penalty, t0, t, stop)  # fmt: skip
        if pick >= 0:
            picked[t - t0] = state[pick]
        t = stop
    return produced


def costs_ahead(form: Any, *arguments: Any) -> int:
    """Compute costs so that anti-diagonal t is there, and return the first that is not."""
    raise NotImplementedError


@overload(costs_ahead)
def _costs_ahead_of(form, x, dims, y, stride, ring, produced, t, t1):
    if form.form.dims:
        return lambda form, x, dims, y, stride, ring, produced, t, t1: t1
    return lambda form, x, dims, y, stride, ring, produced, t, t1: (
        produced if t < produced else _compute_costs(form, x, dims, y, stride, ring, produced, t)
    )


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _compute_costs(form, x, dims, y, stride, ring, produced, t):
    """Compute CHUNK anti-diagonals of costs from t on; what the skew leaves out, if need be.

    Of BLOCKS vectors of rows, the columns from u on meet the first on anti-diagonal u, the last
    on an earlier one: so the first is ahead by `lead` when all have reached t + CHUNK.
    """
    lead = (_BLOCKS - 1) * _LANES
    for block in range(0, _VECTORS, _BLOCKS):
        u = t + block * _LANES
        for ahead in range(lead if produced == t else 0, lead + _CHUNK, _OFFSETS):
            sums = lanes.no_costs()
            for q in range(dims):
                sums = lanes.add_dimension(
                    form, sums, x, q * _ROWS + block * _LANES, y, q * stride + u + ahead
                )
            lanes.put_costs(form, sums, ring, u + ahead, block)
    return t + _CHUNK


def _sweep_plain(
    form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
    free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
):  # fmt: skip
    rows, kind = len(state) // 2, state.dtype
    # By position, the last anti-diagonal and the one before; each holds one more, the row above.
    last, older = np.empty(rows + 1, kind), np.empty(rows + 1, kind)
    copy(state[:rows], last)
    copy(state[rows:], older[1:])
    cost, won = np.empty(rows, kind), np.empty(2 * rows, np.uint8)
    charge = kind.type(penalty)
    for t in range(t0, t1):
        last[rows] = above[t - t0]
        if marking or dims != 1:
            _local_costs(form, x, dims, y, stride, t, cost)
        if marking:
            at = mark_at + (t - t0) * (rows // 4)
            _mark(form, last, older, cost, charge, won, marks[at : at + rows // 4])
        if dims == 1:
            _take_step_of_one(form, last, older, x, y[t : t + rows], charge)
        else:
            _take_step(form, last, older, cost, charge)
        last, older = older, last
        if t < free0:
            _wall_up(last, walls[near[t - t0] :])
        if t >= free1:
            _wall_up(last, walls[far[t - t0] :])
        below[t - t0] = last[0]
        if pick >= 0:
            picked[t - t0] = last[pick]
    copy(last[:rows], state)
    copy(older[1:], state[rows:])
    return produced


@overload(sweep, jit_options={"nogil": True, "_nrt": False})
def _sweep_of_lanes(
    form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
    free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
):  # fmt: skip
    return _sweep_lanes if form.form.lanes else None


@overload(sweep, jit_options={"nogil": True, "_nrt": True, "fastmath": SAFE_FAST_MATH})
def _sweep_of_rows(
    form, x, dims, y, stride, ring, produced, state, above, below, walls, near, far, free0,
    free1, marking, marks, mark_at, pick, picked, penalty, t0, t1,
):  # fmt: skip
    return None if form.form.lanes else _sweep_plain


@njit(**INNER)
def _wall_up(last, wall):
    """Put infinity on the rows that a window's wall does not let through."""
    for p in range(len(last) - 1):
        last[p] = max(last[p], wall[p])


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _local_costs(form, x, dims, y, stride, t, cost):
    """Write the costs of one anti-diagonal to `cost`, position by position."""
    rows = len(cost)
    for p in range(rows):
        cost[p] = 0
    for q in range(dims):
        here, there = x[q * rows : (q + 1) * rows], y[q * stride + t : q * stride + t + rows]
        if form.metric == CITYBLOCK:
            for p in range(rows):
                cost[p] += abs(here[p] - there[p])
        elif form.metric == CHEBYSHEV:
            for p in range(rows):
                cost[p] = max(cost[p], abs(here[p] - there[p]))
        else:
            for p in range(rows):
                cost[p] += (here[p] - there[p]) * (here[p] - there[p])
    if form.metric == EUCLIDEAN:
        for p in range(rows):
            cost[p] = np.sqrt(cost[p])


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _take_step(form, last, older, cost, penalty):
    """Write the next anti-diagonal over the older one."""
    for p in range(len(cost)):
        bent = min(last[p], last[p + 1]) + (penalty if form.bent else 0)
        direct = older[p + 1] if form.diagonal == 1 else older[p + 1] + cost[p]
        older[p] = min(direct, bent) + cost[p]


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _take_step_of_one(form, last, older, x, y, penalty):
    """Do so for frames of one dimension: the costs never leave the registers."""
    for p in range(len(x)):
        cost = abs(x[p] - y[p])
        if form.metric == SQEUCLIDEAN:
            cost *= cost
        bent = min(last[p], last[p + 1]) + (penalty if form.bent else 0)
        direct = older[p + 1] if form.diagonal == 1 else older[p + 1] + cost
        older[p] = min(direct, bent) + cost


@njit(**INNER)
def _mark(form, last, older, cost, penalty, won, marks):
    """Write the bits of one anti-diagonal, before the step is taken."""
    rows = len(cost)
    for p in range(rows):
        bent = min(last[p], last[p + 1]) + (penalty if form.bent else 0)
        direct = older[p + 1] if form.diagonal == 1 else older[p + 1] + cost[p]
        won[p] = direct <= bent
        won[rows + p] = last[p] <= last[p + 1]
    # Eight bytes of 0 or 1 become the eight bits of the highest byte.
    eight = won.view(np.uint64)[: len(marks)] * np.uint64(0x0102040810204080)
    marks[:] = eight >> np.uint64(56)
