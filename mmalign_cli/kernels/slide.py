"""Vectors laid across a band: they move along the diagonal with it.

The cells of the band |i - j| <= r on an anti-diagonal t = i + j are contiguous, and as many on each:
r + 1 where t has the parity of r, `wide`, and r where it has not, `narrow`. Position p of a wide one
is the cell j - i = 2 p - r, of a narrow one j - i = 2 p + 1 - r. So the neighbours of position p are

    wide:    left at p - 1 and up at p, on the narrow one before; diagonal at p, on the last wide one;
    narrow:  left at p and up at p + 1, on the wide one before; diagonal at p, on the last narrow one.

What lies past both ends is infinite. Positions are dealt to `vectors` vectors in stripes,
p = l vectors + k for lane l of vector k: a neighbour's vector is the next one as it stands, and only
past the last one the first, moved by a lane (`_Pass._wrapped`). Frames are dealt in the same way, of
the rows from the last to the first, so that one vector later is one position later; two
anti-diagonals on, they are one position earlier in the rows, one later in the columns.

A pass takes `DEPTH` anti-diagonals together, from the last vector to the first: level h of vector k
needs level h - 1 of k and of k - 1 (wide) or k + 1 (narrow), so that it follows two levels a vector
behind. What a pass reads and writes is then a vector of each state and of each sequence for `DEPTH`
steps. What needs both ends of the band comes last.

The position past the last narrow one is not of the band, though its left neighbour is: it has to be
walled up. Positions after that one have none that is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mmalign_cli.kernels.forms import Form
from mmalign_cli.kernels.vectors import (
    INTEGERS,
    LANES,
    VECTOR,
    Builder,
    Memory,
    Value,
    costs_here,
    integer,
    least_way,
    most,
    repeated,
)

DEPTH = 4
"""Anti-diagonals of a pass: twice as many would not save half as much."""

Place: TypeAlias = tuple[Value, int]
"""The number of a vector: a value, and what is to be added to it."""


class _Pass:
    """The vectors of one pass that are known, by what and where they are; others are made of them.

    Level h is the pass's anti-diagonal h, 0 the narrow one before it and -1 the wide one.

    Parameters
    ----------
    rule : Form
    marking : bool
    memories : dict of Memory
    value : dict of Value
        The arguments of `run_pass`.
    """

    def __init__(
        self, builder: Builder, rule: Form, marking: bool, memories: dict[str, Memory],
        value: dict[str, Value],
    ) -> None:  # fmt: skip
        self._builder, self._rule, self._marking = builder, rule, marking
        self._memories, self._value = memories, value
        self._first, self._past, self._wall = integer(0), value["vectors"], value["wall"]
        self._known: dict[tuple[int | str, int, int], Any] = {}

    def sweep(self) -> None:
        """Take all vectors: two loops round the one with the wall, and the ends of the band."""
        top = self._minus(self._past, DEPTH)
        now = self._loop(self._frontier((self._past, -DEPTH)), top, self._minus(top, self._wall))
        self._learn((self._wall, 0), now)
        self._step((self._wall, 0))
        below = self._builder.sub(self._wall, integer(1))
        now = self._loop(self._frontier((self._wall, -1)), below, below)
        self._learn((self._first, 0), now)
        self._step((self._first, 0))
        for k in range(DEPTH // 2):
            self._keep((self._past, -1 - k))
        for k in range(DEPTH // 2 - 1):
            self._keep((self._first, k))

    def _loop(self, now: list[Value], top: Value, times: Value) -> list[Value]:
        """Take some vectors from `top` down; return the frontier that is left."""

        def body(now: list[Value], n: Value) -> list[Value]:
            k = self._builder.sub(top, n)
            self._learn((k, 0), now)
            self._step((k, 0))
            return self._frontier((k, -1))

        return repeated(self._builder, times, now, body)

    def _step(self, place: Place) -> None:
        """Take all levels a vector on; the last two follow furthest behind."""
        self._keep((place[0], place[1] + DEPTH // 2 - 1))

    def _frontier_places(self, place: Place) -> list[tuple[int | str, Place]]:
        """Return what a step from a place on finds in registers: levels, and columns."""
        anchor, more = place
        levels = [(h, (anchor, more + (h + 1) // 2)) for h in range(DEPTH)]
        return levels + [("y", (anchor, more + k)) for k in range(1, DEPTH)]

    def _frontier(self, place: Place) -> list[Value]:
        found = []
        for what, where in self._frontier_places(place):
            found += self._frames("y", where) if what == "y" else [self._level(what, where)]
        return found

    def _learn(self, place: Place, now: list[Value]) -> None:
        """Know the frontier of a place."""
        left = iter(now)
        for what, (anchor, more) in self._frontier_places(place):
            one = [next(left) for _ in range(self._rule.dims)] if what == "y" else next(left)
            self._known[what, id(anchor), more] = one

    def _level(self, h: int, place: Place) -> Value:
        """Return the accumulated costs of level h at a place."""
        anchor, more = place
        key = h, id(anchor), more
        if key not in self._known:
            if anchor is self._first and more < 0:
                self._known[key] = self._moved(self._level(h, (self._past, more)), -1)
            elif anchor is self._past and more >= 0:
                self._known[key] = self._moved(self._level(h, (self._first, more)), 1)
            elif h <= 0:
                self._known[key] = self._memories["narrow" if h == 0 else "wide"].load(
                    self._at(place)
                )
            else:
                self._known[key] = self._cells(h, place)
        return self._known[key]

    def _cells(self, h: int, place: Place) -> Value:
        """Take a step to level h at a place."""
        anchor, more = place
        left, up = more - h % 2, more + 1 - h % 2
        costs = costs_here(
            self._builder, self._rule.metric, self._frames("x", (anchor, more - (h - 1) // 2)),
            self._frames("y", (anchor, more + h // 2)),
        )  # fmt: skip
        won = least_way(
            self._builder, self._rule, self._value["penalty"], self._level(h - 1, (anchor, left)),
            self._level(h - 1, (anchor, up)), self._level(h - 2, place), costs, self._mark(h, place),
        )  # fmt: skip
        if h % 2 == 0 and any(anchor is one for one in (self._first, self._past, self._wall)):
            won = most(self._builder, won, self._memories["walls"].load(self._at(place)))
        return costs(won)

    def _mark(self, h: int, place: Place) -> Callable[[Value, int], None] | None:
        """Return what writes the winners of level h at a place."""
        if not self._marking:
            return None
        at = self._builder.add(self._value["mark_at"], self._at(place, DEPTH * LANES // 4))
        at = self._builder.add(at, integer((h - 1) * LANES // 4))
        return lambda bits, after: self._memories["marks"].store(bits, at, after, align=1)

    def _frames(self, name: str, place: Place) -> list[Value]:
        """Return the frames at a place, of the rows or of the columns."""
        key = name, id(place[0]), place[1]
        if key not in self._known:
            at = self._builder.add(self._value[f"{name}_at"], self._at(place))
            stride = self._value[f"{name}_stride"]
            starts = [
                self._builder.add(at, self._builder.mul(stride, integer(q)))
                for q in range(self._rule.dims)
            ]
            self._known[key] = [self._memories[name].load(start) for start in starts]
        return self._known[key]

    def _keep(self, place: Place) -> None:
        """Make the last two levels the state."""
        for name, h in (("wide", DEPTH - 1), ("narrow", DEPTH)):
            self._memories[name].store(self._level(h, place), self._at(place), 0)

    def _moved(self, vector: Value, by: int) -> Value:
        """Let each lane be the one `by` before or after it, and infinity enter at the end."""
        infinity = ir.Constant(VECTOR, [float("inf")] * LANES)
        lanes = [lane + by if 0 <= lane + by < LANES else LANES for lane in range(LANES)]
        return self._builder.shuffle_vector(vector, infinity, ir.Constant(INTEGERS, lanes))

    def _at(self, place: Place, size: int = LANES) -> Value:
        return self._builder.mul(self._builder.add(place[0], integer(place[1])), integer(size))

    def _minus(self, a: Value, b: Value | int) -> Value:
        return self._builder.sub(a, integer(b) if isinstance(b, int) else b)


@intrinsic(prefer_literal=True)
def run_pass(
    typing, form, marking, x, x_at, x_stride, y, y_at, y_stride, wide, narrow, walls, wall, vectors,
    marks, mark_at, penalty,
):  # fmt: skip
    """Take `DEPTH` anti-diagonals of a band, the first of them a wide one.

    Parameters
    ----------
    form : Form
        With dimensions in registers.
    marking : 0 or 1
        Write which neighbour won: for each anti-diagonal and vector LANES bits for "the diagonal",
        then LANES bits for "not the diagonal: left".
    x, y : float32 arrays
        Frames of the rows and of the columns, dealt to vectors. On the first anti-diagonal vector
        k finds them at ``x_at + k LANES`` and ``y_at + k LANES``, dimensions a stride apart.
    x_at, x_stride, y_at, y_stride : int
    wide, narrow : float32 arrays (vectors LANES,)
        The last two anti-diagonals; advanced.
    walls : float32 array (vectors LANES,)
        Infinity at the position past the last narrow one, else zeros. Of the last anti-diagonal
        that position is left open: what is stored there must be set to infinity.
    wall : int
        The vector where it is, if that lies between 1 and ``vectors - DEPTH``; else any of these.
    vectors : int
        At least ``DEPTH + 1``.
    marks : uint8 array
    mark_at : int
        The first byte of them.
    penalty : float32
    """
    marks_on = bool(marking.literal_value)
    names = ("form", "marking", "x", "x_at", "x_stride", "y", "y_at", "y_stride", "wide", "narrow",
             "walls", "wall", "vectors", "marks", "mark_at", "penalty")  # fmt: skip

    def emit(context, builder, signature, arguments):
        value = dict(zip(names, arguments, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        memories = {
            name: Memory(context, builder, kinds[name], value[name])
            for name in names
            if isinstance(kinds[name], types.Array)
        }
        _Pass(builder, form.form, marks_on, memories, value).sweep()

    whole = types.intp
    return types.void(
        form, marking, x, whole, whole, y, whole, whole, wide, narrow, walls, whole, whole, marks,
        whole, types.float32,
    ), emit  # fmt: skip
