"""Vectors laid across a band: they move along its diagonal.

The cells of the band |i - j| <= r on an anti-diagonal t = i + j lie side by side: r + 1 of them
where t has the parity of r, on a *wide* one, and r on a *narrow* one. Position p is the cell with
j - i = 2 p - r on a wide one, with j - i = 2 p + 1 - r on a narrow one. So position p finds

    on a wide one, left at p - 1 and up at p of the narrow one before;
    on a narrow one, left at p and up at p + 1 of the wide one before;
    diagonal at p of the one before that,

and infinity past both ends. Positions are dealt to n vectors in stripes, p = l n + k for lane l of
vector k: the neighbours of a vector are in the next one as it stands, and only of the last one in
the first, a lane on. Frames are dealt so too, those of the rows from the last to the first: from
vector to vector they move by a position, as the cells do, and from one wide anti-diagonal to the
next both sequences move on by a frame.

A pass takes DEPTH anti-diagonals at a time, its levels 1, 2, ..., from the last vector to the
first. Level h of vector k needs level h - 1 of vectors k and k - 1 or k and k + 1, so two levels
more follow a vector behind. What a pass loads and stores is then two vectors of the state and one
of each sequence for DEPTH steps: all else stays in registers. The first vectors and the last ones
need each other; those levels of them that do are taken at the end.

The position past the last one of a narrow anti-diagonal is not of the band, though its left
neighbour is: a wall of infinity must stand there. Positions behind it have no finite neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
    named,
    repeated,
)

DEPTH = 4
"""Anti-diagonals of a pass, 2 or 4: of more the wall would stand in a second vector."""

Place: TypeAlias = tuple[Value, int]
"""A vector's number: a value and what is to be added to it."""


class _Pass:
    """One pass: what is in registers of it, by level and place, and how the rest is made of that.

    Level 0 is the narrow anti-diagonal before the pass, level -1 the wide one.

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
        self._levels: dict[tuple[int, Place], Value] = {}
        self._frames: dict[tuple[str, Place], list[Value]] = {}

    def take(self) -> None:
        """Take all vectors, in two loops: between them the one with the wall, then the ends."""
        top = self._builder.sub(self._past, integer(DEPTH))
        under = self._builder.sub(self._wall, integer(1))
        over = self._builder.sub(top, self._wall)
        self._remember((self._wall, 0), self._loop(self._front((self._past, -DEPTH)), top, over))
        self._step((self._wall, 0))
        self._remember((self._first, 0), self._loop(self._front((self._wall, -1)), under, under))
        self._step((self._first, 0))
        for k in range(DEPTH // 2):
            self._keep((self._past, -1 - k))
        for k in range(DEPTH // 2 - 1):
            self._keep((self._first, k))

    def _loop(self, front: list[Value], top: Value, times: Value) -> list[Value]:
        """Take some vectors from `top` down, and return the front below them."""

        def body(front: list[Value], done: Value) -> list[Value]:
            k = self._builder.sub(top, done)
            self._remember((k, 0), front)
            self._step((k, 0))
            return self._front((k, -1))

        return repeated(self._builder, times, front, body)

    def _step(self, place: Place) -> None:
        """Take a vector on each level: on the last two as far behind as they are."""
        self._keep(_beside(place, DEPTH // 2 - 1))

    def _front(self, place: Place) -> list[Value]:
        """Return what is in registers before the step at a place: levels, then columns."""
        front = [self._level(h, _beside(place, (h + 1) // 2)) for h in range(DEPTH)]
        for k in range(1, DEPTH):
            front += self._frame("y", _beside(place, k))
        return front

    def _remember(self, place: Place, front: list[Value]) -> None:
        """Take a front as that of a place."""
        left = iter(front)
        for h in range(DEPTH):
            self._levels[h, _beside(place, (h + 1) // 2)] = next(left)
        for k in range(1, DEPTH):
            self._frames["y", _beside(place, k)] = [next(left) for _ in range(self._rule.dims)]

    def _level(self, h: int, place: Place) -> Value:
        """Return the accumulated costs of level h."""
        if (h, place) not in self._levels:
            anchor, more = place
            if anchor is self._first and more < 0:
                vector = self._moved(self._level(h, (self._past, more)), -1)
            elif anchor is self._past and more >= 0:
                vector = self._moved(self._level(h, (self._first, more)), 1)
            elif h <= 0:
                vector = self._memories["wide" if h else "narrow"].load(self._at(place))
            else:
                vector = self._reach(h, place)
            self._levels[h, place] = vector
        return self._levels[h, place]

    def _reach(self, h: int, place: Place) -> Value:
        """Make the step to level h."""
        wide = h % 2
        left = self._level(h - 1, _beside(place, -wide))
        up = self._level(h - 1, _beside(place, 1 - wide))
        add_costs = costs_here(
            self._builder, self._rule.metric, self._frame("x", _beside(place, -((h - 1) // 2))),
            self._frame("y", _beside(place, h // 2)),
        )  # fmt: skip
        won = least_way(
            self._builder, self._rule, self._value["penalty"], left, up,
            self._level(h - 2, place), add_costs, self._mark(h, place) if self._marking else None,
        )  # fmt: skip
        if not wide and any(place[0] is one for one in (self._first, self._past, self._wall)):
            won = most(self._builder, won, self._memories["walls"].load(self._at(place)))
        return add_costs(won)

    def _mark(self, h: int, place: Place) -> Callable[[Value, int], None]:
        """Return what writes the winners of level h."""
        at = self._builder.add(self._value["mark_at"], self._at(place, DEPTH * LANES // 4))

        def mark(bits: Value, after: int) -> None:
            self._memories["marks"].store(bits, at, (h - 1) * LANES // 4 + after, align=1)

        return mark

    def _frame(self, name: str, place: Place) -> list[Value]:
        """Return the frames of the rows or columns that a vector meets on level 1."""
        if (name, place) not in self._frames:
            at = self._builder.add(self._value[f"{name}_at"], self._at(place))
            ahead = [
                self._builder.mul(self._value[f"{name}_stride"], integer(q))
                for q in range(self._rule.dims)
            ]
            self._frames[name, place] = [
                self._memories[name].load(self._builder.add(at, far)) for far in ahead
            ]
        return self._frames[name, place]

    def _keep(self, place: Place) -> None:
        """Store the last two levels."""
        for name, h in (("wide", DEPTH - 1), ("narrow", DEPTH)):
            self._memories[name].store(self._level(h, place), self._at(place), 0)

    def _moved(self, vector: Value, by: int) -> Value:
        """Give each lane what is `by` lanes on, and infinity to the last or the first."""
        infinity = ir.Constant(VECTOR, [float("inf")] * LANES)
        lanes = [lane + by if 0 <= lane + by < LANES else LANES for lane in range(LANES)]
        return self._builder.shuffle_vector(vector, infinity, ir.Constant(INTEGERS, lanes))

    def _at(self, place: Place, size: int = LANES) -> Value:
        return self._builder.mul(self._builder.add(place[0], integer(place[1])), integer(size))


def _beside(place: Place, by: int) -> Place:
    return place[0], place[1] + by


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
        Write which neighbour won: for each vector and level LANES bits for "the diagonal", then
        LANES bits for "not the diagonal: left".
    x, y : float32 arrays
        Frames of the rows and of the columns, dealt to vectors. On the first anti-diagonal vector
        k finds them at ``x_at + k LANES`` and ``y_at + k LANES``, dimensions a stride apart.
    x_at, x_stride, y_at, y_stride : int
    wide, narrow : float32 arrays (vectors LANES,)
        The last two anti-diagonals; advanced.
    walls : float32 array (vectors LANES,)
        Infinity at the position past the last narrow one, else zeros. It stands on all levels but
        the last: there the caller sets that position to infinity.
    wall : int
        The vector that holds it, or the nearest from 1 to ``vectors - DEPTH``.
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
        value, memories = named(context, builder, names, signature.args, arguments)
        _Pass(builder, form.form, marks_on, memories, value).take()

    whole = types.intp
    return types.void(
        form, marking, x, whole, whole, y, whole, whole, wide, narrow, walls, whole, whole, marks,
        whole, types.float32,
    ), emit  # fmt: skip
