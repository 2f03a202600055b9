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
for: 16 lanes with AVX-512, 8 with AVX2, none elsewhere, where `mmalign_cli.kernels.sweep` has a
plain loop.
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


def _machine() -> tuple[int, int]:
    """Return lanes of a vector and vectors of a strip: enough to hide the latency of a step."""
    if config.DISABLE_JIT:
        return 0, 0
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    has = set(features.split(","))
    if {"+avx512f", "+avx512vl", "+avx512dq"} <= has:
        return 16, 8
    if {"+avx2", "+fma"} <= has:
        return 8, 8
    return 0, 0


LANES, VECTORS = _machine()
ROWS = LANES * VECTORS
BLOCKS = 4 if LANES == 16 else 2
"""Vectors of rows that the cost kernel computes together."""
OFFSETS = 4
"""Vectors of columns that it computes together."""
RING = 64
"""Anti-diagonals of costs that are kept."""
CHUNK = RING - (4 - 1) * 16
"""Anti-diagonals of costs computed at a time: the ring less the skew of BLOCKS vectors."""

_FLOAT = ir.FloatType()
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, max(LANES, 1))
_INTEGERS = ir.VectorType(_I32, max(LANES, 1))
_MASK = ir.IntType(max(LANES, 1))
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
    kind = ir.FunctionType(_INTEGERS, [_INTEGERS, _INTEGERS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.smin.v{LANES}i32")
    least = builder.call(function, [builder.bitcast(v, _INTEGERS) for v in (a, b)])
    return builder.bitcast(least, _VECTOR)


def _ups(builder: Builder, striped: bool, last: list[Value], over: Value) -> list[Value]:
    """Return the "up" values of all vectors; `over` fills the lane past the last position."""
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
        return lambda base: _call(builder, "fma", difference, difference, base)
    if len(xs) == 1 and metric == EUCLIDEAN:
        metric = CITYBLOCK
    sums = None
    for x, y in zip(xs, ys, strict=True):
        sums = _add_difference(builder, metric, sums, x, y)
    return _adding(builder, _call(builder, "sqrt", sums) if metric == EUCLIDEAN else sums)


def _adding(builder: Builder, cost: Value) -> Callable[[Value], Value]:
    return lambda base: builder.fadd(base, cost)


def _emit_load(context, builder, signature, arguments):
    memory = _Memory(context, builder, signature.args[-1], arguments[-1])
    start = ir.Constant(ir.IntType(64), 0)
    n = signature.return_type.count
    return _pack(builder, [memory.load(start, k * LANES) for k in range(n)])


@intrinsic
def load_state(typing, array):
    """Return the state that a float32 array (2 ROWS,) holds."""
    return Vectors(2 * VECTORS)(array), _emit_load


@intrinsic
def load_rows(typing, form, array):
    """Return the frames of the rows, (dims ROWS,), where the sweep computes the costs."""
    return Vectors(form.form.dims * VECTORS)(form, array), _emit_load


@intrinsic
def no_costs(typing):
    """Return the sums that `add_dimension` starts from."""

    def emit(context, builder, signature, arguments):
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        return _pack(builder, [zero] * signature.return_type.count)

    return Vectors(BLOCKS * OFFSETS)(), emit


@intrinsic
def store_state(typing, state, array):
    """Write the state to a float32 array (2 ROWS,)."""

    def emit(context, builder, signature, arguments):
        memory = _Memory(context, builder, signature.args[1], arguments[1])
        for k, vector in enumerate(_unpack(builder, arguments[0])):
            memory.store(vector, ir.Constant(ir.IntType(64), 0), k * LANES)

    return types.void(state, array), emit


@intrinsic
def last_row(typing, state):
    """Return the accumulated cost of the strip's last row, position 0."""

    def emit(context, builder, signature, arguments):
        return builder.extract_element(builder.extract_value(arguments[0], 0), ir.Constant(_I32, 0))

    return types.float32(state), emit


@intrinsic(prefer_literal=True)
def step(
    typing, form, marking, masked, state, above, xs, y, ring, t, stride, penalty,
    begin, end, marks, mark_at,
):  # fmt: skip
    """Advance the state by one anti-diagonal.

    Parameters
    ----------
    form : Form
    marking : 0 or 1
        Write which neighbour won: a bit for "the diagonal", then a bit for "not the diagonal:
        left", for each row.
    masked : 0 or 1
        Only positions with ``begin <= t < end`` lie in the window.
    state : Vectors
        The last anti-diagonal, then its "up" values.
    above : float32
        The accumulated cost over the first row, in column t.
    xs : Vectors
        Frames of the rows, dimension by dimension.
    y, ring : float32 arrays
        Frames of the columns from element t, dimensions `stride` apart; costs computed ahead.
    t, stride : int
    penalty : float32
    begin, end : int32 arrays (ROWS,)
    marks, mark_at : uint8 array and its element

    Returns
    -------
    Vectors
    """
    rule: Form = form.form
    marks_on, mask_on = bool(marking.literal_value), bool(masked.literal_value)

    def emit(context, builder, signature, arguments):
        state_, above_, xs_, _, _, t_, stride_, penalty_ = arguments[3:11]
        mark_at_ = arguments[14]
        memories = {
            k: _Memory(context, builder, signature.args[k], arguments[k])
            for k in (6, 7, 11, 12, 13)
        }
        kind = t_.type
        now = _unpack(builder, state_)
        last, diagonal = now[:VECTORS], now[VECTORS:]
        x = _unpack(builder, xs_)
        first = builder.mul(t_, ir.Constant(kind, LANES if rule.striped else 1))
        starts = [
            builder.add(first, builder.mul(stride_, ir.Constant(kind, q))) for q in range(rule.dims)
        ]
        ring_row = builder.mul(
            builder.and_(t_, ir.Constant(kind, RING - 1)), ir.Constant(kind, ROWS)
        )
        up = _ups(builder, rule.striped, last, _splat(builder, above_))
        new, straight, left_first = [], [], []
        for k in range(VECTORS):
            if rule.dims:
                ys = [memories[6].load(start, k * LANES) for start in starts]
                add_cost = _costs_here(builder, rule.metric, x[k::VECTORS], ys)
            else:
                add_cost = _adding(builder, memories[7].load(ring_row, k * LANES))
            if marks_on:
                left_first.append(_at_most(builder, last[k], up[k]))
            bent = _least(builder, last[k], up[k])
            if rule.bent:
                bent = builder.fadd(bent, _splat(builder, penalty_))
            direct = diagonal[k] if rule.diagonal == 1 else add_cost(diagonal[k])
            total = add_cost(_least(builder, direct, bent))
            if marks_on:
                straight.append(_at_most(builder, direct, bent))
            if mask_on:
                now_t = _splat(builder, builder.trunc(t_, _I32))
                first, past = (
                    memories[m].load(ir.Constant(kind, 0), k * LANES, _INTEGERS) for m in (11, 12)
                )
                inside = builder.and_(
                    builder.icmp_signed("<=", first, now_t), builder.icmp_signed("<", now_t, past)
                )
                outside = ir.Constant(_VECTOR, [float("inf")] * LANES)
                total = builder.select(inside, total, outside)
            new.append(total)
        if marks_on:
            for k, bits in enumerate((*straight, *left_first)):
                memories[13].store(builder.bitcast(bits, _MASK), mark_at_, k * LANES // 8, align=1)
        return _pack(builder, new + up)

    return state(
        form, marking, masked, state, types.float32, xs, y, ring, types.intp, types.intp,
        types.float32, begin, end, marks, types.intp,
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
