"""Packs: one float64 for each of WIDTH pairs, as a vector in a register.

Where `mmalign_cli.kernels.lanes` deals the cells of one table to the lanes of a vector, here a
lane is a pair: the tables of WIDTH pairs are swept at once, cell by cell, and no value ever crosses
lanes. A kernel holds ROWS rows of them in registers. float64 throughout: a sum of some hundred
costs is not good to 1e-6 in float32.

8 pairs with AVX-512, 4 with AVX2; elsewhere 1, and `mmalign_cli.kernels.pairs` has a plain loop.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from mmalign_cli.kernels import vectors
from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, EUCLIDEAN
from mmalign_cli.kernels.forms import Form

Builder: TypeAlias = Any
Value: TypeAlias = Any

WIDTH = max(vectors.LANES // 2, 1)
"""Pairs that are swept at once."""
ROWS = 8 if WIDTH == 8 else 4
"""Rows of a block, whose state stays in the registers."""

_FLOAT = ir.DoubleType()
_I32, _I64, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
_PACK = ir.VectorType(_FLOAT, WIDTH)
_FUSE = ("contract",)  # a multiplication and an addition may become one instruction


class Packs(types.Type):
    """Some packs."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Packs({count} x {WIDTH})")


@register_model(Packs)
class _PacksModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Packs) -> None:
        super().__init__(manager, kind, ir.ArrayType(_PACK, kind.count))


def _unpack(builder: Builder, value: Value) -> list[Value]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def _pack(builder: Builder, packs: list[Value]) -> Value:
    value = ir.Constant(ir.ArrayType(_PACK, len(packs)), ir.Undefined)
    for k, pack in enumerate(packs):
        value = builder.insert_value(value, pack, k)
    return value


def _address(
    context: Any, builder: Builder, kind: Any, array: Value, at: Value, element: Any
) -> Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), element.as_pointer())


def _splat(builder: Builder, scalar: Value) -> Value:
    one = builder.insert_element(ir.Constant(_PACK, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(_PACK, ir.Undefined), zeros)


def _constant(value: float) -> Value:
    return ir.Constant(_PACK, [value] * WIDTH)


def _call(builder: Builder, name: str, pack: Value) -> Value:
    kind = ir.FunctionType(_PACK, [_PACK])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f64")
    return builder.call(function, [pack])


def _least(builder: Builder, a: Value, b: Value) -> Value:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)  # nothing here is NaN


def _add_difference(builder: Builder, metric: int, sums: Value, x: Value, y: Value) -> Value:
    """Add one dimension to the sums of a metric."""
    difference = builder.fsub(x, y)
    if metric in (CITYBLOCK, CHEBYSHEV):
        size = _call(builder, "fabs", difference)
        if metric == CITYBLOCK:
            return builder.fadd(size, sums)
        return builder.select(builder.fcmp_ordered(">", size, sums), size, sums)
    squares = builder.fmul(difference, difference, flags=_FUSE)
    return builder.fadd(squares, sums, flags=_FUSE)


@intrinsic(prefer_literal=True)
def load(typing, count, array, at):
    """Return `count` packs that lie one after the other from element `at` of a float64 array."""
    n = count.literal_value

    def emit(context, builder, signature, arguments):
        packs = []
        for k in range(n):
            here = builder.add(arguments[2], ir.Constant(_I64, k * WIDTH))
            address = _address(context, builder, signature.args[1], arguments[1], here, _PACK)
            packs.append(builder.load(address, align=8))
        return _pack(builder, packs)

    return Packs(n)(count, array, types.intp), emit


@intrinsic
def store_last(typing, packs, array, at):
    """Write the last of some packs to element `at` of a float64 array."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[1], arguments[1], arguments[2], _PACK)
        last = builder.extract_value(arguments[0], signature.args[0].count - 1)
        builder.store(last, address, align=8)

    return types.void(packs, array, types.intp), emit


@intrinsic
def turn(typing, source, starts, first, at, to, to_at, stride):
    """Write WIDTH values each of WIDTH rows of an array as packs, a lane for each row.

    Row `lane` goes on from element ``starts[first + lane] + at`` of `source`, and what it holds q
    elements later comes to element ``to_at + q * stride + lane`` of `to`. All float64, but for
    `starts`.
    """

    def emit(context, builder, signature, arguments):
        source_, starts_, first_, at_, to_, to_at_, stride_ = arguments
        rows = []
        for lane in range(WIDTH):
            place = builder.add(first_, ir.Constant(_I64, lane))
            start = builder.load(
                _address(context, builder, signature.args[1], starts_, place, _I64), align=8
            )
            here = builder.add(start, at_)
            address = _address(context, builder, signature.args[0], source_, here, _PACK)
            rows.append(builder.load(address, align=8))
        for q, pack in enumerate(_transposed(builder, rows)):
            here = builder.add(to_at_, builder.mul(stride_, ir.Constant(_I64, q)))
            address = _address(context, builder, signature.args[4], to_, here, _PACK)
            builder.store(pack, address, align=8)

    index = types.intp
    return types.void(source, starts, index, index, to, index, index), emit


def _transposed(builder: Builder, rows: list[Value]) -> list[Value]:
    """Return the columns of a square of packs: blocks of 1, 2, 4 lanes are exchanged in turn."""
    size, lanes = 1, range(WIDTH)
    while size < WIDTH:
        upper = [lane if not lane & size else WIDTH + lane - size for lane in lanes]
        lower = [lane + size if not lane & size else WIDTH + lane for lane in lanes]
        masks = [ir.Constant(ir.VectorType(_I32, WIDTH), mask) for mask in (upper, lower)]
        for k in [k for k in lanes if not k & size]:
            pair = rows[k], rows[k + size]
            rows[k], rows[k + size] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        size *= 2
    return rows


@intrinsic(prefer_literal=True)
def filled(typing, count, value):
    """Return `count` packs of one value."""
    n = count.literal_value

    def emit(context, builder, signature, arguments):
        return _pack(builder, [_splat(builder, arguments[1])] * n)

    return Packs(n)(count, types.float64), emit


@intrinsic
def lower(typing, least, packs):
    """Return, lane by lane, the lesser of a pack and the last of some packs."""

    def emit(context, builder, signature, arguments):
        a = builder.extract_value(arguments[0], 0)
        b = builder.extract_value(arguments[1], signature.args[1].count - 1)
        return _pack(builder, [_least(builder, a, b)])

    return least(least, packs), emit


@intrinsic
def spread(typing, array, at):
    """Return ROWS packs, each filled with one of the elements from `at` on."""

    def emit(context, builder, signature, arguments):
        packs = []
        for r in range(ROWS):
            here = builder.add(arguments[1], ir.Constant(_I64, r))
            address = _address(context, builder, signature.args[0], arguments[0], here, _FLOAT)
            packs.append(_splat(builder, builder.load(address)))
        return _pack(builder, packs)

    return Packs(ROWS)(array, types.intp), emit


@intrinsic
def add_dimension(typing, form, sums, rows, column):
    """Add one dimension to the sums of ROWS costs: `rows` against the one pack `column`."""
    metric = form.form.metric

    def emit(context, builder, signature, arguments):
        y = builder.extract_value(arguments[3], 0)
        xs, now = _unpack(builder, arguments[2]), _unpack(builder, arguments[1])
        added = [_add_difference(builder, metric, s, x, y) for s, x in zip(now, xs, strict=True)]
        return _pack(builder, added)

    return sums(form, sums, rows, column), emit


@intrinsic
def finish(typing, form, sums):
    """Return the costs that sums over all dimensions stand for."""
    metric = form.form.metric

    def emit(context, builder, signature, arguments):
        if metric != EUCLIDEAN:
            return arguments[1]
        return _pack(builder, [_call(builder, "sqrt", s) for s in _unpack(builder, arguments[1])])

    return sums(form, sums), emit


def _advance(
    builder: Builder, form: Form, left: Value, up: Value, diagonal: Value, cost: Value, charge: Any
) -> Value:
    """Return the accumulated cost; `up` comes last, for it is what the next row waits for."""
    if form.bent:
        left, up = builder.fadd(left, charge), builder.fadd(up, charge)
    if form.diagonal == 1:
        return builder.fadd(_least(builder, up, _least(builder, left, diagonal)), cost, flags=_FUSE)
    direct = builder.fadd(diagonal, cost)  # the other half of its weight is added with the rest
    return builder.fadd(_least(builder, up, _least(builder, left, direct)), cost, flags=_FUSE)


@intrinsic(prefer_literal=True)
def column(
    typing, form, marking, masked, state, corner, above, costs, penalty, j, lo, hi, at,
    marks, mark_at,
):  # fmt: skip
    """Advance ROWS rows by one column.

    Parameters
    ----------
    form : Form
    marking : 0 or 1
        Write which neighbour won, two bytes a row with a bit a pair: "the diagonal", and "left".
    masked : 0 or 1
        Only cells with ``lo <= j < hi`` lie in the window.
    state : Packs
        Accumulated costs of the column before.
    corner, above : Packs
        Those of the row over the block: of the column before, and of this one.
    costs : Packs
    penalty : float64
    j : int
    lo, hi : float64 arrays (rows, WIDTH)
        The window, from element `at`.
    marks, mark_at : uint8 array and its element

    Returns
    -------
    Packs
    """
    rule: Form = form.form
    marks_on, mask_on = bool(marking.literal_value), bool(masked.literal_value)

    def emit(context, builder, signature, arguments):
        _, _, _, state_, corner_, above_, costs_, penalty_, j_ = arguments[:9]
        at_, mark_at_ = arguments[11], arguments[13]
        before = _unpack(builder, state_)
        diagonal, up = (builder.extract_value(v, 0) for v in (corner_, above_))
        charge = _splat(builder, penalty_)
        here = _splat(builder, builder.sitofp(j_, _FLOAT))
        new = []
        for r, cost in enumerate(_unpack(builder, costs_)):
            left = before[r]
            total = _advance(builder, rule, left, up, diagonal, cost, charge)
            if marks_on:
                bent = _least(builder, left, up)
                bent = builder.fadd(bent, charge) if rule.bent else bent
                direct = builder.fadd(diagonal, cost) if rule.diagonal == 2 else diagonal
                won = [
                    builder.fcmp_ordered("<=", direct, bent),
                    builder.fcmp_ordered("<=", left, up),
                ]
                for k, bits in enumerate(won):
                    byte = builder.bitcast(bits, ir.IntType(WIDTH))
                    byte = byte if WIDTH == 8 else builder.zext(byte, _BYTE)
                    place = builder.add(mark_at_, ir.Constant(_I64, 2 * r + k))
                    builder.store(
                        byte,
                        _address(context, builder, signature.args[12], arguments[12], place, _BYTE),
                    )
            if mask_on:
                row = builder.add(at_, ir.Constant(_I64, r * WIDTH))
                first, past = (
                    builder.load(
                        _address(context, builder, signature.args[k], arguments[k], row, _PACK),
                        align=8,
                    )
                    for k in (9, 10)
                )
                inside = builder.and_(
                    builder.fcmp_ordered("<=", first, here), builder.fcmp_ordered("<", here, past)
                )
                total = builder.select(inside, total, _constant(float("inf")))
            new.append(total)
            diagonal, up = left, total
        return _pack(builder, new)

    return state(
        form, marking, masked, state, corner, above, costs, types.float64, types.intp, lo, hi,
        types.intp, marks, types.intp,
    ), emit  # fmt: skip
