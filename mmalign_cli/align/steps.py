"""Step patterns (the slope constraint of DTW), as data. Imports nothing heavy.

A step is one move or a chain of moves. A move advances the reference and the query by some
frames and weighs the local cost of the cell that it leads to. Where two steps lead to a cell at
the same cost, the one that stands first is taken: the diagonal, then those that advance the
reference, at last the one that does not.

Nearly all patterns of the literature are a set of chains and a rule for the weights, and are
written so here: Sakoe and Chiba (1978), table I; Rabiner and Juang (1993), section 4.7.2.5.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mmalign_cli.errors import UsageError, did_you_mean

Shape: TypeAlias = tuple[tuple[int, int], ...]
"""A chain of moves without weights: (reference frames, query frames) each."""


@dataclass(frozen=True)
class Move:
    """Frames that both streams advance by, and the weight of the cost where that leads."""

    reference: int
    query: int
    weight: float

    @property
    def is_diagonal(self) -> bool:
        """Whether both streams advance by one frame."""
        return self.reference == self.query == 1


Step: TypeAlias = tuple[Move, ...]


@dataclass(frozen=True)
class StepPattern:
    """The steps that a path may make.

    Parameters
    ----------
    steps : tuple of Step
        In the order in which ties are broken. A step that leaves the reference where it is
        stands last, and there is one at most.
    length : callable or None
        The divisor that makes totals of pairs of other lengths comparable, from the numbers of
        reference and query frames: the sum of weights that every path of the pattern has. None
        where paths differ in it.
    help : str
        One line.
    """

    steps: tuple[Step, ...]
    length: Callable[[int, int], int] | None
    help: str

    @property
    def is_free(self) -> bool:
        """Whether either stream may wait as long as it likes: it holds all steps of one frame."""
        alone = {(step[0].reference, step[0].query) for step in self.steps if len(step) == 1}
        return {(1, 1), (1, 0), (0, 1)} <= alone

    def most_reference(self, m: int) -> int:
        """Return a number of reference frames that no path along m query frames exceeds."""
        advances = [(sum(v.reference for v in s), sum(v.query for v in s)) for s in self.steps]
        if any(reference and not query for reference, query in advances):
            return sys.maxsize
        return 1 + max(reference * (m - 1) // query for reference, query in advances)

    def normalized(self, total: float, n_reference: int, n_query: int) -> float | None:
        """Return `total` by the pattern's own normalisation, or None where it has none."""
        return None if self.length is None else total / self.length(n_reference, n_query)


def both(n: int, m: int) -> int:
    """Frames of both streams."""
    return n + m


def query(n: int, m: int) -> int:
    """Frames of the query."""
    return m


def reference(n: int, m: int) -> int:
    """Frames of the reference."""
    return n


@dataclass(frozen=True)
class _Weighting:
    """A rule for the weights of moves, and the length that it makes every path have."""

    weigh: Callable[[int, int], int]
    length: Callable[[int, int], int] | None
    help: str


_WEIGHTINGS = {
    "a": _Weighting(min, None, "the smaller advance"),
    "b": _Weighting(max, None, "the larger advance"),
    "c": _Weighting(lambda reference, query: query, query, "the advance of the query"),
    "d": _Weighting(lambda reference, query: reference + query, both, "both advances"),
}


def _pattern(shapes: Iterable[Shape], rule: str, smoothed: bool, about: str) -> StepPattern:
    """Weigh the moves of some chains by a rule; `smoothed` spreads it evenly over each chain."""
    weighting = _WEIGHTINGS[rule]
    steps = []
    for shape in shapes:
        weights = [float(weighting.weigh(*move)) for move in shape]
        if smoothed:
            weights = [sum(weights) / len(weights)] * len(weights)
        steps.append(tuple(Move(*move, w) for move, w in zip(shape, weights, strict=True)))
    return StepPattern(tuple(steps), weighting.length, f"{about}; weights: {weighting.help}")


def _chains(before: int, after: int) -> tuple[Shape, ...]:
    """Return the steps of a slope limit: `before` diagonals, then up to `after` moves one way."""
    runs: list[Shape] = [((1, 1),)]
    for run in range(1, after + 1):
        for move in ((1, 0), (0, 1)):
            runs.append(((1, 1),) * before + (move,) * run)
    return tuple(runs)


_SLOPES = {"P0": _chains(0, 1), "P05": _chains(1, 2), "P1": _chains(1, 1), "P2": _chains(2, 1)}
_SLOPE_HELP = {
    "P0": "no slope limit",
    "P05": "at most two moves one way after each diagonal",
    "P1": "at most one move one way after each diagonal",
    "P2": "at most one move one way after every two diagonals",
}

_WAITS: Shape = ((0, 1),)  # the reference waits for one query frame
_TYPES: Mapping[str, tuple[Shape, ...]] = {
    "I": _chains(1, 1),
    "II": (((1, 1),), ((2, 1),), ((1, 2),)),
    "III": (((1, 1),), ((2, 1),), ((1, 1), *_WAITS), ((2, 1), *_WAITS)),
    "IV": tuple(((r, 1), *(_WAITS * waits)) for waits in range(3) for r in (1, 2, 3)),
}


def _sakoe_chiba() -> Mapping[str, StepPattern]:
    patterns = {}
    for name, shapes in _SLOPES.items():
        patterns[f"symmetric{name}"] = _pattern(shapes, "d", False, _SLOPE_HELP[name])
    for name, shapes in _SLOPES.items():
        patterns[f"asymmetric{name}"] = _pattern(shapes, "c", True, _SLOPE_HELP[name])
    return patterns


def _rabiner_juang() -> Mapping[str, StepPattern]:
    patterns = {}
    for number, rules in {"I": "abcd", "II": "abcd", "III": "c", "IV": "c"}.items():
        for rule in rules:
            about = f"Rabiner-Juang type {number}"
            patterns[f"type{number}{rule}"] = _pattern(_TYPES[number], rule, False, about)
    for rule in "abcd":
        about = "Rabiner-Juang type I, smoothed"
        patterns[f"typeI{rule}s"] = _pattern(_TYPES["I"], rule, True, about)
    return patterns


STEP_PATTERNS: Mapping[str, StepPattern] = {
    "symmetric1": StepPattern(
        ((Move(1, 1, 1),), (Move(1, 0, 1),), (Move(0, 1, 1),)),
        None,
        "one frame of either stream or both, each move weighs 1",
    ),
    "symmetric2": _pattern(_SLOPES["P0"], "d", False, "the same, a diagonal move weighs 2"),
    "asymmetric": _pattern(
        (((1, 1),), ((2, 1),), ((0, 1),)),
        "c",
        False,
        "each query frame exactly once, the reference advances 0, 1 or 2 frames",
    ),
    **_sakoe_chiba(),
    **_rabiner_juang(),
    "mori2006": StepPattern(
        (
            (Move(1, 1, 3),),
            (Move(1, 1, 2), Move(0, 1, 1)),
            (Move(1, 1, 3), Move(1, 0, 3)),
        ),
        reference,
        "asymmetric slope limits of Mori and others (2006)",
    ),
}


def is_step_file(step: str) -> bool:
    """Tell whether `step` names no pattern but a file that holds one."""
    return step not in STEP_PATTERNS and step.lower().endswith(".json")


def step_pattern(step: str | StepPattern) -> StepPattern:
    """Return the pattern of a name; UsageError lists the others."""
    if isinstance(step, StepPattern):
        return step
    if step not in STEP_PATTERNS:
        hint = (
            did_you_mean(step, STEP_PATTERNS)
            or f"steps: {', '.join(STEP_PATTERNS)}, or a FILE.json"
        )
        raise UsageError("--step", f"{step!r} is not a step pattern", hint)
    return STEP_PATTERNS[step]
