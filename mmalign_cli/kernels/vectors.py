"""Vectors of float32 as LLVM instructions, from which the sweeps are made.

Numba has no vector type. What the sweeps emit themselves, in `mmalign_cli.kernels.lanes` and
`mmalign_cli.kernels.slide`, needs loads and stores of whole vectors, minima, the local costs and a
loop. What the machine offers is read from the features that numba compiles for: 16 lanes with
AVX-512, 8 with AVX2, 4 elsewhere, which every 64-bit machine has (SSE2, NEON).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

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

FLOAT = ir.FloatType()
I32 = ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, max(LANES, 1))
INTEGERS = ir.VectorType(I32, max(LANES, 1))
_FUSE = ("contract",)  # a multiplication and an addition may become one instruction


class Memory:
    """One array of a kernel, read and written by whole vectors at any element."""

    def __init__(self, context: Any, builder: Builder, kind: Any, array: Value) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, array).data

    def address(self, at: Value, more: int, element: Any) -> Value:
        """Return where the element `at` + `more` is, as what is to be found there."""
        at = self.builder.add(at, ir.Constant(at.type, more))
        return self.builder.bitcast(self.builder.gep(self.data, [at]), element.as_pointer())

    def load(self, at: Value, more: int = 0, element: Any = VECTOR) -> Value:
        """Return a vector, or another element."""
        return self.builder.load(self.address(at, more, element), align=4)

    def store(self, value: Value, at: Value, more: int, align: int = 4) -> None:
        """Write a vector, or whatever it is."""
        self.builder.store(value, self.address(at, more, value.type), align=align)


def named(
    context: Any, builder: Builder, names: Sequence[str], kinds: Sequence[Any],
    arguments: Sequence[Value],
) -> tuple[dict[str, Value], dict[str, Memory]]:  # fmt: skip
    """Return the arguments of an intrinsic by name, and its arrays as memory."""
    value = dict(zip(names, arguments, strict=True))
    memories = {
        name: Memory(context, builder, kind, value[name])
        for name, kind in zip(names, kinds, strict=True)
        if isinstance(kind, types.Array)
    }
    return value, memories


def splat(builder: Builder, scalar: Value) -> Value:
    """Return a vector of one value."""
    kind = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(INTEGERS, [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def call(builder: Builder, name: str, *vectors: Value) -> Value:
    """Call a function of LLVM that takes vectors."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, vectors)


def at_most(builder: Builder, a: Value, b: Value) -> Value:
    """Compare accumulated costs: none is negative, so their bits compare as integers do."""
    return builder.icmp_signed("<=", *(builder.bitcast(v, INTEGERS) for v in (a, b)))


def least(builder: Builder, a: Value, b: Value) -> Value:
    """Take the minimum as integers: other units than those of the additions do it."""
    return _extreme(builder, a, b, "smin", "<")


def most(builder: Builder, a: Value, b: Value) -> Value:
    """Take the maximum in the same way."""
    return _extreme(builder, a, b, "smax", ">")


def _extreme(builder: Builder, a: Value, b: Value, name: str, sign: str) -> Value:
    if LANES == 4:  # SSE2 has no such instruction
        return builder.select(builder.fcmp_ordered(sign, a, b, flags=("nnan", "nsz")), a, b)
    kind = ir.FunctionType(INTEGERS, [INTEGERS, INTEGERS])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i32")
    found = builder.call(function, [builder.bitcast(v, INTEGERS) for v in (a, b)])
    return builder.bitcast(found, VECTOR)


def by_bytes(builder: Builder, flags: list[Value]) -> list[Value]:
    """Return two vectors of bits as integers, as one if a vector is half a byte."""
    if LANES < 8:
        both = ir.Constant(ir.VectorType(I32, 2 * LANES), list(range(2 * LANES)))
        flags = [builder.shuffle_vector(*flags, both)]
    return [builder.bitcast(bits, ir.IntType(max(LANES, 8))) for bits in flags]


def add_difference(builder: Builder, metric: int, sums: Value, x: Value, y: Value) -> Value:
    """Add one dimension to the sums of a metric, None at first."""
    difference = builder.fsub(x, y)
    if metric in (SQEUCLIDEAN, EUCLIDEAN):
        squares = builder.fmul(difference, difference, flags=_FUSE)
        return squares if sums is None else builder.fadd(squares, sums, flags=_FUSE)
    size = call(builder, "fabs", difference)
    if sums is None:
        return size
    if metric == CITYBLOCK:
        return builder.fadd(size, sums)
    assert metric == CHEBYSHEV
    return builder.select(builder.fcmp_ordered(">", size, sums), size, sums)


def costs_here(
    builder: Builder, metric: int, xs: list[Value], ys: list[Value]
) -> Callable[[Value], Value]:
    """Return what adds the local costs to a vector."""
    if len(xs) == 1 and metric == SQEUCLIDEAN:
        difference = builder.fsub(xs[0], ys[0])
        return lambda base: call(builder, "fmuladd", difference, difference, base)
    if len(xs) == 1 and metric == EUCLIDEAN:
        metric = CITYBLOCK
    sums = None
    for x, y in zip(xs, ys, strict=True):
        sums = add_difference(builder, metric, sums, x, y)
    return adding(builder, call(builder, "sqrt", sums) if metric == EUCLIDEAN else sums)


def adding(builder: Builder, cost: Value) -> Callable[[Value], Value]:
    """Return what adds a cost that is known."""
    return lambda base: builder.fadd(base, cost)


def least_way(
    builder: Builder, rule: Form, penalty: Value, left: Value, up: Value, diagonal: Value,
    add_costs: Callable[[Value], Value], mark: Callable[[Value, int], None] | None,
) -> Value:  # fmt: skip
    """Return the least way to the cells of a vector, less their costs.

    Tell `mark` which neighbour won: bits, and the bytes that they come after.
    """
    bent = least(builder, left, up)
    if rule.bent:
        bent = builder.fadd(bent, splat(builder, penalty))
    direct = diagonal if rule.diagonal == 1 else add_costs(diagonal)
    if mark is not None:
        flags = [at_most(builder, direct, bent), at_most(builder, left, up)]
        for k, bits in enumerate(by_bytes(builder, flags)):
            mark(bits, k * LANES // 8)
    return least(builder, direct, bent)


def repeated(
    builder: Builder, times: Value, state: list[Value],
    body: Callable[[list[Value], Value], list[Value]],
) -> list[Value]:  # fmt: skip
    """Emit a loop that asks at its end, so that what leaves it is what goes round in it.

    Of a loop that asks first, LLVM keeps two states, and too many registers for one of them.
    """
    before, loop = builder.block, builder.append_basic_block()
    after = builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", integer(0), times), loop, after)
    builder.position_at_end(loop)
    done = builder.phi(times.type)
    now = [builder.phi(VECTOR) for _ in state]
    new = body(now, done)
    more = builder.add(done, integer(1))
    builder.cbranch(builder.icmp_signed("<", more, times), loop, after)
    done.add_incoming(integer(0), before)
    done.add_incoming(more, builder.block)
    builder.position_at_end(after)
    left = [builder.phi(VECTOR) for _ in state]
    for k, phi in enumerate(now):
        phi.add_incoming(state[k], before)
        phi.add_incoming(new[k], loop)
        left[k].add_incoming(state[k], before)
        left[k].add_incoming(new[k], loop)
    return left


def integer(number: int) -> Value:
    """Return a number as an index."""
    return ir.Constant(ir.IntType(64), number)


@intrinsic
def copy_vector(typing, source, source_at, to, to_at):
    """Copy one vector of float32 from an array to another."""

    def emit(context, builder, signature, arguments):
        source_, source_at_, to_, to_at_ = arguments
        vector = Memory(context, builder, signature.args[0], source_).load(source_at_)
        Memory(context, builder, signature.args[2], to_).store(vector, to_at_, 0)

    return types.void(source, types.intp, to, types.intp), emit
