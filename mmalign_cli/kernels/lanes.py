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

Numba has no vector type; this file gives it one, and the handful of operations that the sweep
needs, as LLVM instructions. What the machine offers is read from the features that numba compiles
for: 16 lanes with AVX-512, 8 with AVX2, 4 elsewhere, which every 64-bit machine has (SSE2, NEON).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, EUCLIDEAN, SQEUCLIDEAN
from mmalign_cli.kernels.forms import Form

Builder: TypeAlias = Any
Value: TypeAlias = Any


def _lanes() -> int:
    """Return the lanes of a vector: 0 where numba is told not to compile."""
    if config.DISABLE_JIT:
        return 0
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    has = set(features.split(","))
    if {"+avx512f", "+avx512vl", "+avx512dq"} <= has:
        return 16
    return 8 if {"+avx2", "+fma"} <= has else 4


LANES = _lanes()
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

_FLOAT = ir.FloatType()
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, max(LANES, 1))
_INTEGERS = ir.VectorType(_I32, max(LANES, 1))
_FUSE = ("contract",)  # a multiplication and an addition may become one instruction


class Vectors(types.Type):
    """Some vectors of float32."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Vectors({count} x {LANES})")


@register_model(Vectors)
class _VectorsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vectors) -> None:
        super().__init__(manager, kind, ir.ArrayType(_VECTOR, kind.count))


def _unpack(builder: Builder, value: Value) -> list[Value]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def _pack(builder: Builder, vectors: list[Value]) -> Value:
    packed = ir.Constant(ir.ArrayType(_VECTOR, len(vectors)), ir.Undefined)
    for k, vector in enumerate(vectors):
        packed = builder.insert_value(packed, vector, k)
    return packed


class _Memory:
    """One array of a kernel, read and written by whole vectors at any element."""

    def __init__(self, context: Any, builder: Builder, kind: Any, array: Value) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, array).data

    def address(self, at: Value, more: int, element: Any) -> Value:
        at = self.builder.add(at, ir.Constant(at.type, more))
        return self.builder.bitcast(self.builder.gep(self.data, [at]), element.as_pointer())

    def load(self, at: Value, more: int = 0, element: Any = _VECTOR) -> Value:
        return self.builder.load(self.address(at, more, element), align=4)

    def store(self, value: Value, at: Value, more: int, align: int = 4) -> None:
        self.builder.store(value, self.address(at, more, value.type), align=align)


def _splat(builder: Builder, scalar: Value) -> Value:
    kind = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(_INTEGERS, [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _call(builder: Builder, name: str, *vectors: Value) -> Value:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, vectors)


def _at_most(builder: Builder, a: Value, b: Value) -> Value:
    """Compare accumulated costs: none is negative, so their bits compare as integers do."""
    return builder.icmp_signed("<=", *(builder.bitcast(v, _INTEGERS) for v in (a, b)))


def _least(builder: Builder, a: Value, b: Value) -> Value:
    """Take the minimum as integers: other units than those of the additions do it."""
    return _extreme(builder, a, b, "smin", "<")


def _most(builder: Builder, a: Value, b: Value) -> Value:
    """Take the maximum in the same way."""
    return _extreme(builder, a, b, "smax", ">")


def _extreme(builder: Builder, a: Value, b: Value, name: str, sign: str) -> Value:
    if LANES == 4:  # SSE2 has no such instruction
        return builder.select(builder.fcmp_ordered(sign, a, b, flags=("nnan", "nsz")), a, b)
    kind = ir.FunctionType(_INTEGERS, [_INTEGERS, _INTEGERS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i32")
    found = builder.call(function, [builder.bitcast(v, _INTEGERS) for v in (a, b)])
    return builder.bitcast(found, _VECTOR)


def _by_bytes(builder: Builder, flags: list[Value]) -> list[Value]:
    """Return two vectors of bits as integers, as one if a vector is half a byte."""
    if LANES < 8:
        both = ir.Constant(ir.VectorType(_I32, 2 * LANES), list(range(2 * LANES)))
        flags = [builder.shuffle_vector(*flags, both)]
    return [builder.bitcast(bits, ir.IntType(max(LANES, 8))) for bits in flags]


def _add_difference(builder: Builder, metric: int, sums: Value, x: Value, y: Value) -> Value:
    """Add one dimension to the sums of a metric, None at first."""
    difference = builder.fsub(x, y)
    if metric in (SQEUCLIDEAN, EUCLIDEAN):
        squares = builder.fmul(difference, difference, flags=_FUSE)
        return squares if sums is None else builder.fadd(squares, sums, flags=_FUSE)
    size = _call(builder, "fabs", difference)
    if sums is None:
        return size
    if metric == CITYBLOCK:
        return builder.fadd(size, sums)
    assert metric == CHEBYSHEV
    return builder.select(builder.fcmp_ordered(">", size, sums), size, sums)


def _costs_here(
    builder: Builder, metric: int, xs: list[Value], ys: list[Value]
) -> Callable[[Value], Value]:
    """Return what adds the local costs to a vector."""
    if len(xs) == 1 and metric == SQEUCLIDEAN:
        difference = builder.fsub(xs[0], ys[0])
        return lambda base: _call(builder, "fmuladd", difference, difference, base)
    if len(xs) == 1 and metric == EUCLIDEAN:
        metric = CITYBLOCK
    sums = None
    for x, y in zip(xs, ys, strict=True):
        sums = _add_difference(builder, metric, sums, x, y)
    return _adding(builder, _call(builder, "sqrt", sums) if metric == EUCLIDEAN else sums)


def _adding(builder: Builder, cost: Value) -> Callable[[Value], Value]:
    return lambda base: builder.fadd(base, cost)


@intrinsic
def no_costs(typing):
    """Return the sums that `add_dimension` starts from."""

    def emit(context, builder, signature, arguments):
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        return _pack(builder, [zero] * signature.return_type.count)

    return Vectors(BLOCKS * OFFSETS)(), emit


class _Steps:
    """What the steps of one sweep have in common: its arrays, and how a step is made."""

    def __init__(
        self, rule: Form, marking: bool, walls: int, memories: dict[str, _Memory],
        value: dict[str, Value],
    ) -> None:  # fmt: skip
        self._rule, self._marking, self._walls = rule, marking, ("near", "far")[:walls]
        self._memories = memories
        self._stride, self._penalty, self._mark_at = (
            value[name] for name in ("stride", "penalty", "mark_at")
        )
        self._x = [memories["x"].load(_count(0), k * LANES) for k in range(rule.dims * VECTORS)]

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
        times = [builder.add(t, _count(m)) for m in range(count)]
        dones = [builder.add(done, _count(m)) for m in range(count)]
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
            lowest = builder.extract_element(new[m + 1][0], ir.Constant(_I32, 0))
            self._memories["below"].store(lowest, dones[m], 0)
        return new[count] + ups[count]

    def _up(self, builder: Builder, last: list[Value], v: int, done: Value) -> Value:
        """Return the "up" values of vector v; what lies above fills the lane past the last."""
        next_lane = ir.Constant(_INTEGERS, list(range(1, LANES + 1)))
        if v + 1 < VECTORS:
            if self._rule.striped:
                return last[v + 1]
            return builder.shuffle_vector(last[v], last[v + 1], next_lane)
        over = _splat(builder, self._memories["above"].load(done, 0, _FLOAT))
        return builder.shuffle_vector(last[0 if self._rule.striped else v], over, next_lane)

    def _columns(self, builder: Builder, t: Value, k: int) -> list[Value]:
        """Return the frames of the columns that vector k meets on anti-diagonal t."""
        first = builder.mul(t, _count(LANES))
        starts = [
            builder.add(first, builder.mul(self._stride, _count(q))) for q in range(self._rule.dims)
        ]
        return [self._memories["y"].load(start, k * LANES) for start in starts]

    def _costs(
        self, builder: Builder, columns: list[Value], t: Value, v: int
    ) -> Callable[[Value], Value]:
        """Return what adds the local costs of vector v."""
        if self._rule.dims:
            return _costs_here(builder, self._rule.metric, self._x[v::VECTORS], columns)
        row = builder.mul(builder.and_(t, _count(RING - 1)), _count(ROWS))
        return _adding(builder, self._memories["ring"].load(row, v * LANES))

    def _winner(
        self, builder: Builder, left: Value, up: Value, diagonal: Value,
        add_costs: Callable[[Value], Value], done: Value, v: int,
    ) -> Value:  # fmt: skip
        """Return the least way to the cells of vector v, less their costs, and mark which it is."""
        bent = _least(builder, left, up)
        if self._rule.bent:
            bent = builder.fadd(bent, _splat(builder, self._penalty))
        direct = diagonal if self._rule.diagonal == 1 else add_costs(diagonal)
        if self._marking:
            at = builder.add(self._mark_at, builder.mul(done, _count(ROWS // 4)))
            flags = [_at_most(builder, direct, bent), _at_most(builder, left, up)]
            for k, bits in enumerate(_by_bytes(builder, flags)):
                self._memories["marks"].store(bits, at, v * LANES // 4 + k * LANES // 8, align=1)
        return _least(builder, direct, bent)

    def _wall_starts(self, builder: Builder, done: Value) -> list[Value]:
        """Return where what the walls hold for the first vector begins."""
        starts = [self._memories[name].load(done, 0, ir.IntType(64)) for name in self._walls]
        return [builder.mul(start, _count(LANES if self._rule.striped else 1)) for start in starts]

    def _walled(self, builder: Builder, value: Value, starts: list[Value], v: int) -> Value:
        """Put infinity on the rows that a window's walls do not let through."""
        for start in starts:
            value = _most(builder, value, self._memories["walls"].load(start, v * LANES))
        return value


def _repeated(
    builder: Builder, times: Value, state: list[Value],
    body: Callable[[list[Value], Value], list[Value]],
) -> list[Value]:  # fmt: skip
    """Emit a loop that asks at its end, so that what leaves it is what goes round in it.

    Of a loop that asks first, LLVM keeps two states, and too many registers for one of them.
    """
    before, loop = builder.block, builder.append_basic_block()
    after = builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", _count(0), times), loop, after)
    builder.position_at_end(loop)
    done = builder.phi(times.type)
    now = [builder.phi(_VECTOR) for _ in state]
    new = body(now, done)
    more = builder.add(done, _count(1))
    builder.cbranch(builder.icmp_signed("<", more, times), loop, after)
    done.add_incoming(_count(0), before)
    done.add_incoming(more, builder.block)
    builder.position_at_end(after)
    left = [builder.phi(_VECTOR) for _ in state]
    for k, phi in enumerate(now):
        phi.add_incoming(state[k], before)
        phi.add_incoming(new[k], loop)
        left[k].add_incoming(state[k], before)
        left[k].add_incoming(new[k], loop)
    return left


def _count(number: int) -> Value:
    return ir.Constant(ir.IntType(64), number)


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
        value = dict(zip(names, arguments, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        memories = {
            name: _Memory(context, builder, kinds[name], value[name])
            for name in names
            if isinstance(kinds[name], types.Array)
        }
        steps = _Steps(form.form, marks_on, n_walls, memories, value)
        n, before = builder.sub(value["t1"], value["t"]), builder.sub(value["t"], value["t0"])
        now = [memories["state"].load(_count(0), k * LANES) for k in range(2 * VECTORS)]
        turns = builder.sdiv(n, _count(UNROLLED))

        def several(now: list[Value], turn: Value) -> list[Value]:
            done = builder.mul(turn, _count(UNROLLED))
            t = builder.add(value["t"], done)
            return steps.turn(builder, now, t, builder.add(before, done), UNROLLED)

        now = _repeated(builder, turns, now, several)
        first = builder.mul(turns, _count(UNROLLED))

        def one(now: list[Value], turn: Value) -> list[Value]:
            done = builder.add(first, turn)
            t = builder.add(value["t"], done)
            return steps.turn(builder, now, t, builder.add(before, done), 1)

        now = _repeated(builder, builder.sub(n, first), now, one)
        for k, vector in enumerate(now):
            memories["state"].store(vector, _count(0), k * LANES)

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
        rows = _Memory(context, builder, signature.args[2], x_)
        columns = _Memory(context, builder, signature.args[4], y_)
        xs = [rows.load(x_at_, b * LANES) for b in range(BLOCKS)]
        ys = [columns.load(y_at_, o) for o in range(OFFSETS)]
        now = _unpack(builder, sums_)
        pairs = [(b, o) for b in range(BLOCKS) for o in range(OFFSETS)]
        return _pack(builder, [
            _add_difference(builder, metric, now[k], xs[b], ys[o])
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
        memory = _Memory(context, builder, signature.args[2], ring_)
        kind = u_.type
        now = _unpack(builder, sums_)
        for b in range(BLOCKS):
            start = builder.mul(builder.add(block_, ir.Constant(kind, b)), ir.Constant(kind, LANES))
            for o in range(OFFSETS):
                t = builder.add(builder.sub(u_, start), ir.Constant(kind, o))
                row = builder.and_(t, ir.Constant(kind, RING - 1))
                at = builder.add(builder.mul(row, ir.Constant(kind, ROWS)), start)
                cost = now[b * OFFSETS + o]
                memory.store(_call(builder, "sqrt", cost) if metric == EUCLIDEAN else cost, at, 0)

    return types.void(form, sums, ring, types.intp, types.intp), emit
