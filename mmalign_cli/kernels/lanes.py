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
VECTORS = 8 if LANES else 0
"""Of a strip: enough to hide the latency of a step."""
ROWS = LANES * VECTORS
BLOCKS = 4 if LANES == 16 else 2
"""Vectors of rows that the cost kernel computes together."""
OFFSETS = 4
"""Vectors of columns that it computes together."""
UNROLLED = 2
"""Steps in one turn of the loop: what was new becomes what was last without being moved."""
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
    if LANES == 4:  # SSE2 has no such instruction
        return builder.select(builder.fcmp_ordered("<", a, b, flags=("nnan", "nsz")), a, b)
    kind = ir.FunctionType(_INTEGERS, [_INTEGERS, _INTEGERS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.smin.v{LANES}i32")
    least = builder.call(function, [builder.bitcast(v, _INTEGERS) for v in (a, b)])
    return builder.bitcast(least, _VECTOR)


def _by_bytes(builder: Builder, bits: list[Value]) -> list[Value]:
    """Return the bits of vectors as integers, those of two together if a vector is half a byte."""
    if LANES < 8:
        both = ir.Constant(ir.VectorType(_I32, 2 * LANES), list(range(2 * LANES)))
        pairs = zip(bits[::2], bits[1::2], strict=True)
        bits = [builder.shuffle_vector(a, b, both) for a, b in pairs]
    kind = ir.IntType(max(LANES, 8))
    return [builder.bitcast(b, kind) for b in bits]


def _ups(builder: Builder, striped: bool, last: list[Value], above: Value) -> list[Value]:
    """Return the "up" values of all vectors; `above` fills the lane past the last position."""
    over = _splat(builder, above)
    next_lane = ir.Constant(_INTEGERS, list(range(1, LANES + 1)))
    if striped:
        return [*last[1:], builder.shuffle_vector(last[0], over, next_lane)]
    return [
        builder.shuffle_vector(a, b, next_lane)
        for a, b in zip(last, [*last[1:], over], strict=True)
    ]


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

    def __init__(self, rule: Form, marking: bool, masked: bool, memories: dict[str, _Memory],
                 stride: Value, penalty: Value) -> None:  # fmt: skip
        self._rule, self._marking, self._masked = rule, marking, masked
        self._memories, self._stride, self._penalty = memories, stride, penalty
        self._x = [memories["x"].load(_count(0), k * LANES) for k in range(rule.dims * VECTORS)]

    def step(self, builder: Builder, now: list[Value], t: Value, done: Value) -> list[Value]:
        """Return the state one anti-diagonal on: t is its number, `done` how many came before."""
        rule, memories = self._rule, self._memories
        last, diagonal = now[:VECTORS], now[VECTORS:]
        up = _ups(builder, rule.striped, last, memories["above"].load(done, 0, _FLOAT))
        add_costs = self._add_costs(builder, t)
        new, straight, left_first = [], [], []
        for k, add_cost in enumerate(add_costs):
            bent = _least(builder, last[k], up[k])
            if rule.bent:
                bent = builder.fadd(bent, _splat(builder, self._penalty))
            direct = diagonal[k] if rule.diagonal == 1 else add_cost(diagonal[k])
            new.append(add_cost(_least(builder, direct, bent)))
            if self._marking:
                straight.append(_at_most(builder, direct, bent))
                left_first.append(_at_most(builder, last[k], up[k]))
        if self._masked:
            new = self._within(builder, new, t)
        if self._marking:
            at = builder.mul(done, _count(ROWS // 4))
            for k, bits in enumerate(_by_bytes(builder, straight + left_first)):
                memories["marks"].store(bits, at, k * max(LANES // 8, 1), align=1)
        memories["below"].store(builder.extract_element(new[0], ir.Constant(_I32, 0)), done, 0)
        return new + up

    def _add_costs(self, builder: Builder, t: Value) -> list[Callable[[Value], Value]]:
        """Return, for each vector, what adds its local costs."""
        rule, y, ring = self._rule, self._memories["y"], self._memories["ring"]
        if not rule.dims:
            row = builder.mul(builder.and_(t, _count(RING - 1)), _count(ROWS))
            return [_adding(builder, ring.load(row, k * LANES)) for k in range(VECTORS)]
        first = builder.mul(t, _count(LANES if rule.striped else 1))
        starts = [
            builder.add(first, builder.mul(self._stride, _count(q))) for q in range(rule.dims)
        ]
        return [
            _costs_here(
                builder, rule.metric, self._x[k::VECTORS], [y.load(s, k * LANES) for s in starts]
            )
            for k in range(VECTORS)
        ]

    def _within(self, builder: Builder, new: list[Value], t: Value) -> list[Value]:
        """Put infinity where the window does not hold anti-diagonal t."""
        now = _splat(builder, builder.trunc(t, _I32))
        outside = ir.Constant(_VECTOR, [float("inf")] * LANES)
        inside = []
        for k in range(VECTORS):
            first, past = (
                self._memories[name].load(_count(0), k * LANES, _INTEGERS)
                for name in ("begin", "end")
            )
            inside.append(
                builder.and_(
                    builder.icmp_signed("<=", first, now), builder.icmp_signed("<", now, past)
                )
            )
        return [
            builder.select(here, value, outside) for here, value in zip(inside, new, strict=True)
        ]


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
    typing, form, marking, masked, x, y, stride, ring, state, above, below, begin, end, marks,
    penalty, t0, t1,
):  # fmt: skip
    """Advance a strip by the anti-diagonals t0 <= t < t1.

    Parameters
    ----------
    form : Form
    marking : 0 or 1
        Write which neighbour won: a bit for "the diagonal", then a bit for "not the diagonal:
        left", for each row.
    masked : 0 or 1
        Only positions with ``begin <= t < end`` lie in the window.
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
    begin, end : int32 arrays (ROWS,)
    marks : uint8 array
        Receives the bits, from t0 on.
    penalty : float32
    t0, t1 : int
    """
    marks_on, mask_on = bool(marking.literal_value), bool(masked.literal_value)
    names = ("form", "marking", "masked", "x", "y", "stride", "ring", "state", "above", "below",
             "begin", "end", "marks", "penalty", "t0", "t1")  # fmt: skip

    def emit(context, builder, signature, arguments):
        value = dict(zip(names, arguments, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        memories = {
            name: _Memory(context, builder, kinds[name], value[name])
            for name in names
            if isinstance(kinds[name], types.Array)
        }
        steps = _Steps(form.form, marks_on, mask_on, memories, value["stride"], value["penalty"])
        n = builder.sub(value["t1"], value["t0"])
        now = [memories["state"].load(_count(0), k * LANES) for k in range(2 * VECTORS)]
        turns = builder.sdiv(n, _count(UNROLLED))

        def several(now: list[Value], turn: Value) -> list[Value]:
            for k in range(UNROLLED):
                done = builder.add(builder.mul(turn, _count(UNROLLED)), _count(k))
                now = steps.step(builder, now, builder.add(value["t0"], done), done)
            return now

        now = _repeated(builder, turns, now, several)
        first = builder.mul(turns, _count(UNROLLED))

        def one(now: list[Value], turn: Value) -> list[Value]:
            done = builder.add(first, turn)
            return steps.step(builder, now, builder.add(value["t0"], done), done)

        now = _repeated(builder, builder.sub(n, first), now, one)
        for k, vector in enumerate(now):
            memories["state"].store(vector, _count(0), k * LANES)

    return types.void(
        form, marking, masked, x, y, types.intp, ring, state, above, below, begin, end, marks,
        types.float32, types.intp, types.intp,
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
