"""Vectors that stay in registers from one anti-diagonal to the next.

A strip of the table has ROWS rows, and an anti-diagonal t of it the cells (r, t - r). Row r sits
at position p = ROWS - 1 - r, so that position 0 is the strip's last row. Neighbours are then

    left, (r, j - 1): on diagonal t - 1, at p;
    up, (r - 1, j): on diagonal t - 1, at p + 1;
    diagonal, (r - 1, j - 1): what was up one diagonal ago.

So the state is two sets of ROWS values, the last diagonal and its own "up" values, and a step of
one vector is two minima and the cost, if its "up" values are at hand. Two ways to deal positions
to vectors k and lanes l make them so:

    striped, p = l VECTORS + k: "up" of a vector is the next vector as it stands, and only for the
    last one the first vector shifted by a lane. The frames of the columns are laid out once so
    that vector s holds columns s + l VECTORS; LANES times the memory, for a few dimensions.
    in a row, p = k LANES + l: every vector is shifted, and the columns are read as they lie. So
    are the costs of many dimensions computed, and they outweigh the shifts.

Numba has no vector type; this file gives it one, made of `mmalign_cli.kernels.vectors`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from mmalign_cli.kernels.codes import EUCLIDEAN
from mmalign_cli.kernels.forms import Form
from mmalign_cli.kernels.vectors import (
    FLOAT,
    I32,
    INTEGERS,
    LANES,
    VECTOR,
    Builder,
    Memory,
    Value,
    add_difference,
    adding,
    call,
    costs_here,
    integer,
    least_way,
    most,
    named,
    repeated,
    splat,
)

VECTORS = {0: 0, 4: 16}.get(LANES, 8)
"""Of a strip: enough to hide the latency of a step; of short ones more, for fewer strips."""
ROWS = LANES * VECTORS
BLOCKS = 4 if LANES == 16 else 2
"""Vectors of rows that the cost kernel computes together."""
OFFSETS = 4
"""Vectors of columns that it computes together."""
UNROLLED = 2
"""Anti-diagonals in one turn of the loop: columns are loaded once for both."""
RING = 64
"""Anti-diagonals of costs that are kept."""
CHUNK = RING - (4 - 1) * 16
"""Anti-diagonals of costs computed at a time: the ring less the skew of BLOCKS vectors."""


class Vectors(types.Type):
    """Some vectors of float32."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Vectors({count} x {LANES})")


@register_model(Vectors)
class _VectorsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vectors) -> None:
        super().__init__(manager, kind, ir.ArrayType(VECTOR, kind.count))


def _unpack(builder: Builder, value: Value) -> list[Value]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def _pack(builder: Builder, vectors: list[Value]) -> Value:
    packed = ir.Constant(ir.ArrayType(VECTOR, len(vectors)), ir.Undefined)
    for k, vector in enumerate(vectors):
        packed = builder.insert_value(packed, vector, k)
    return packed


@intrinsic
def no_costs(typing):
    """Return the sums that `add_dimension` starts from."""

    def emit(context, builder, signature, arguments):
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        return _pack(builder, [zero] * signature.return_type.count)

    return Vectors(BLOCKS * OFFSETS)(), emit


class _Steps:
    """What the steps of one sweep have in common: its arrays, and how a step is made."""

    def __init__(
        self, rule: Form, marking: bool, walls: int, memories: dict[str, Memory],
        value: dict[str, Value],
    ) -> None:  # fmt: skip
        self._rule, self._marking, self._walls = rule, marking, ("near", "far")[:walls]
        self._memories = memories
        self._stride, self._penalty, self._mark_at = (
            value[name] for name in ("stride", "penalty", "mark_at")
        )
        self._x = [memories["x"].load(integer(0), k * LANES) for k in range(rule.dims * VECTORS)]

    def turn(
        self, builder: Builder, now: list[Value], t: Value, done: Value, count: int
    ) -> list[Value]:
        """Return the state `count` anti-diagonals on: t is the first, `done` came before it.

        They go through the vectors together, each one vector behind the one before: vector k of
        anti-diagonal t meets the columns that vector k - 1 of t + 1 does, which so are loaded once,
        and what one has found the next one uses at once, before it must leave the registers.
        """
        new, ups = [now[:VECTORS]], [now[VECTORS:]]
        for _ in range(count):
            new.append([])
            ups.append([])
        times = [builder.add(t, integer(m)) for m in range(count)]
        dones = [builder.add(done, integer(m)) for m in range(count)]
        walls = [self._wall_starts(builder, one) for one in dones]
        for k in range(VECTORS + count - 1):
            columns = self._columns(builder, t, k)
            for m in range(max(0, k - VECTORS + 1), min(count, k + 1)):
                up = self._up(builder, new[m], k - m, dones[m])
                costs = self._costs(builder, columns, times[m], k - m)
                left, diagonal = new[m][k - m], ups[m][k - m]
                won = self._winner(builder, left, up, diagonal, costs, dones[m], k - m)
                new[m + 1].append(costs(self._walled(builder, won, walls[m], k - m)))
                ups[m + 1].append(up)
        for m in range(count):
            lowest = builder.extract_element(new[m + 1][0], ir.Constant(I32, 0))
            self._memories["below"].store(lowest, dones[m], 0)
        return new[count] + ups[count]

    def _up(self, builder: Builder, last: list[Value], v: int, done: Value) -> Value:
        """Return the "up" values of vector v; what lies above fills the lane past the last."""
        next_lane = ir.Constant(INTEGERS, list(range(1, LANES + 1)))
        if v + 1 < VECTORS:
            if self._rule.striped:
                return last[v + 1]
            return builder.shuffle_vector(last[v], last[v + 1], next_lane)
        over = splat(builder, self._memories["above"].load(done, 0, FLOAT))
        return builder.shuffle_vector(last[0 if self._rule.striped else v], over, next_lane)

    def _columns(self, builder: Builder, t: Value, k: int) -> list[Value]:
        """Return the frames of the columns that vector k meets on anti-diagonal t."""
        first = builder.mul(t, integer(LANES))
        starts = [
            builder.add(first, builder.mul(self._stride, integer(q)))
            for q in range(self._rule.dims)
        ]
        return [self._memories["y"].load(start, k * LANES) for start in starts]

    def _costs(
        self, builder: Builder, columns: list[Value], t: Value, v: int
    ) -> Callable[[Value], Value]:
        """Return what adds the local costs of vector v."""
        if self._rule.dims:
            return costs_here(builder, self._rule.metric, self._x[v::VECTORS], columns)
        row = builder.mul(builder.and_(t, integer(RING - 1)), integer(ROWS))
        return adding(builder, self._memories["ring"].load(row, v * LANES))

    def _winner(
        self, builder: Builder, left: Value, up: Value, diagonal: Value,
        add_costs: Callable[[Value], Value], done: Value, v: int,
    ) -> Value:  # fmt: skip
        """Return the least way to the cells of vector v, less their costs, and mark which it is."""
        at = builder.add(self._mark_at, builder.mul(done, integer(ROWS // 4)))

        def mark(bits: Value, after: int) -> None:
            self._memories["marks"].store(bits, at, v * LANES // 4 + after, align=1)

        return least_way(
            builder, self._rule, self._penalty, left, up, diagonal, add_costs,
            mark if self._marking else None,
        )  # fmt: skip

    def _wall_starts(self, builder: Builder, done: Value) -> list[Value]:
        """Return where what the walls hold for the first vector begins."""
        starts = [self._memories[name].load(done, 0, ir.IntType(64)) for name in self._walls]
        return [builder.mul(start, integer(LANES if self._rule.striped else 1)) for start in starts]

    def _walled(self, builder: Builder, value: Value, starts: list[Value], v: int) -> Value:
        """Put infinity on the rows that a window's walls do not let through."""
        for start in starts:
            value = most(builder, value, self._memories["walls"].load(start, v * LANES))
        return value


@intrinsic(prefer_literal=True)
def run(
    typing, form, marking, walled, x, y, stride, ring, state, above, below, walls, near, far, marks,
    mark_at, penalty, t0, t, t1,
):  # fmt: skip
    """Advance a strip from anti-diagonal t to t1, of a tile that begins with t0.

    Parameters
    ----------
    form : Form
    marking : 0 or 1
        Write which neighbour won: for each vector LANES bits for "the diagonal", then LANES bits
        for "not the diagonal: left".
    walled : 0, 1 or 2
        How many walls of a window there are: `near`, or `near` and `far`.
    x : float32 array (dims ROWS,)
        Frames of the rows, dimension by dimension.
    y : float32 array
        Frames of the columns from element t, dimensions `stride` apart.
    stride : int
    ring : float32 array
        Costs computed ahead.
    state : float32 array (2 ROWS,)
        The last anti-diagonal, then its "up" values; advanced.
    above : float32 array
        The accumulated costs over the first row, from anti-diagonal t0 on.
    below : float32 array
        Receives those of the last row, from t0 on.
    walls : float32 array
        Zeros between infinities, dealt to vectors as the columns are.
    near, far : int64 arrays
        From t0 on, where in `walls` to find what is infinite outside of the window: position p
        looks at p elements on.
    marks : uint8 array
        Receives the bits, from t0 on.
    mark_at : int
        The first byte of them.
    penalty : float32
    t0, t, t1 : int
    """
    marks_on, n_walls = bool(marking.literal_value), walled.literal_value
    names = ("form", "marking", "walled", "x", "y", "stride", "ring", "state", "above", "below",
             "walls", "near", "far", "marks", "mark_at", "penalty", "t0", "t", "t1")  # fmt: skip

    def emit(context, builder, signature, arguments):
        value, memories = named(context, builder, names, signature.args, arguments)
        steps = _Steps(form.form, marks_on, n_walls, memories, value)
        n, before = builder.sub(value["t1"], value["t"]), builder.sub(value["t"], value["t0"])
        now = [memories["state"].load(integer(0), k * LANES) for k in range(2 * VECTORS)]
        turns = builder.sdiv(n, integer(UNROLLED))

        def several(now: list[Value], turn: Value) -> list[Value]:
            done = builder.mul(turn, integer(UNROLLED))
            t = builder.add(value["t"], done)
            return steps.turn(builder, now, t, builder.add(before, done), UNROLLED)

        now = repeated(builder, turns, now, several)
        first = builder.mul(turns, integer(UNROLLED))

        def one(now: list[Value], turn: Value) -> list[Value]:
            done = builder.add(first, turn)
            t = builder.add(value["t"], done)
            return steps.turn(builder, now, t, builder.add(before, done), 1)

        now = repeated(builder, builder.sub(n, first), now, one)
        for k, vector in enumerate(now):
            memories["state"].store(vector, integer(0), k * LANES)

    return types.void(
        form, marking, walled, x, y, types.intp, ring, state, above, below, walls, near, far,
        marks, types.intp, types.float32, types.intp, types.intp, types.intp,
    ), emit  # fmt: skip


@intrinsic(prefer_literal=True)
def add_dimension(typing, form, sums, x, x_at, y, y_at):
    """Add one dimension to the costs of BLOCKS vectors of rows by OFFSETS vectors of columns."""
    metric = form.form.metric

    def emit(context, builder, signature, arguments):
        _, sums_, x_, x_at_, y_, y_at_ = arguments
        rows = Memory(context, builder, signature.args[2], x_)
        columns = Memory(context, builder, signature.args[4], y_)
        xs = [rows.load(x_at_, b * LANES) for b in range(BLOCKS)]
        ys = [columns.load(y_at_, o) for o in range(OFFSETS)]
        now = _unpack(builder, sums_)
        pairs = [(b, o) for b in range(BLOCKS) for o in range(OFFSETS)]
        return _pack(builder, [
            add_difference(builder, metric, now[k], xs[b], ys[o])
            for k, (b, o) in enumerate(pairs)
        ])  # fmt: skip

    return sums(form, sums, x, types.intp, y, types.intp), emit


@intrinsic(prefer_literal=True)
def put_costs(typing, form, sums, ring, u, block):
    """Finish the costs of `add_dimension` and store each on its own anti-diagonal.

    Vector b of rows and the columns from u + o meet on anti-diagonal u + o - b LANES.
    """
    metric = form.form.metric

    def emit(context, builder, signature, arguments):
        _, sums_, ring_, u_, block_ = arguments
        memory = Memory(context, builder, signature.args[2], ring_)
        kind = u_.type
        now = _unpack(builder, sums_)
        for b in range(BLOCKS):
            start = builder.mul(builder.add(block_, ir.Constant(kind, b)), ir.Constant(kind, LANES))
            for o in range(OFFSETS):
                t = builder.add(builder.sub(u_, start), ir.Constant(kind, o))
                row = builder.and_(t, ir.Constant(kind, RING - 1))
                at = builder.add(builder.mul(row, ir.Constant(kind, ROWS)), start)
                cost = now[b * OFFSETS + o]
                memory.store(call(builder, "sqrt", cost) if metric == EUCLIDEAN else cost, at, 0)

    return types.void(form, sums, ring, types.intp, types.intp), emit
