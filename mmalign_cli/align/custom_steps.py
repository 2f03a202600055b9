"""Step patterns of the user's own, from JSON and to JSON.

``{"steps": [[[reference, query, weight], ...], ...], "normalization": "N+M" | "N" | "M" | null}``:
a step is a chain of moves; N are the frames of the reference, M those of the query.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mmalign_cli.align.steps import Move, Step, StepPattern, both, query, reference
from mmalign_cli.errors import InputError, did_you_mean

NORMALIZATIONS: Mapping[str | None, Callable[[int, int], int] | None] = {
    "N+M": both,
    "N": reference,
    "M": query,
    None: None,
}
_MOST_STEPS, _MOST_MOVES, _MOST_FRAMES = 200, 50, 1000
_KEYS = ("steps", "normalization", "description")
_HINT = "a step is a list of moves, a move is [reference frames, query frames, weight]: [[1, 1, 2]]"


class _PlaceError(Exception):
    """What is wrong, after the place where it stands."""


def pattern_of(value: Any, subject: str) -> StepPattern:
    """Return the step pattern that a JSON value describes.

    A step that leaves the reference where it is moves to the end: ties go to it last.

    Parameters
    ----------
    value : object
        What the JSON holds.
    subject : str
        The file, for messages.

    Raises
    ------
    InputError
        If it is not a step pattern; names the place.
    """
    try:
        return _pattern(value)
    except _PlaceError as error:
        raise InputError(subject, str(error), _HINT) from None


def definition(pattern: StepPattern) -> dict[str, Any]:
    """Return the JSON value that `pattern_of` reads as `pattern`."""
    names = {rule: name for name, rule in NORMALIZATIONS.items()}
    steps = [[[m.reference, m.query, m.weight] for m in step] for step in pattern.steps]
    return {"steps": steps, "normalization": names[pattern.length]}


def _pattern(value: Any) -> StepPattern:
    _require(isinstance(value, dict), "is not an object with the key steps")
    for key in value:
        near = did_you_mean(key, _KEYS) or f"keys: {', '.join(_KEYS)}"
        _require(key in _KEYS, f"{key!r} is not a key of a step pattern ({near})")
    _require("steps" in value, "the key steps is missing")
    name = value.get("normalization")
    known = name is None or (isinstance(name, str) and name in NORMALIZATIONS)
    _require(known, f"normalization: {name!r} is not N+M, N, M or null")
    about = value.get("description", "")
    _require(isinstance(about, str), "description: is not text")
    steps = [_step(s, f"steps[{k}]") for k, s in enumerate(_list(value["steps"], "steps"))]
    _require(len(steps) <= _MOST_STEPS, f"steps: {len(steps)}, at most {_MOST_STEPS}")
    _check_together(steps)
    return StepPattern(tuple(sorted(steps, key=_stays)), NORMALIZATIONS[name], about)


def _check_together(steps: list[Step]) -> None:
    shapes = [tuple((m.reference, m.query) for m in step) for step in steps]
    for k, shape in enumerate(shapes):
        first = shapes.index(shape)
        _require(first == k, f"steps[{k}]: has the moves of steps[{first}]")
    _require(any(m.weight > 0 for step in steps for m in step), "steps: all weights are 0")


def _step(value: Any, place: str) -> Step:
    step = tuple(_move(m, f"{place}[{k}]") for k, m in enumerate(_list(value, place)))
    _require(len(step) <= _MOST_MOVES, f"{place}: {len(step)} moves, at most {_MOST_MOVES}")
    single = len(step) == 1 and step[0].query == 1
    what = "leaves the reference where it is: that must be the single move [0, 1, weight]"
    _require(single or not _stays(step), f"{place}: {what}")
    return step


def _stays(step: Step) -> bool:
    return all(move.reference == 0 for move in step)


def _move(value: Any, place: str) -> Move:
    items = _list(value, place)
    _require(len(items) == 3, f"{place}: {len(items)} items, a move has 3")
    for name, item in zip(("reference", "query"), items, strict=False):
        whole = isinstance(item, int) and not isinstance(item, bool)
        inside = whole and 0 <= item <= _MOST_FRAMES
        _require(inside, f"{place}: {name} {item!r} is not a whole number from 0 to {_MOST_FRAMES}")
    weight = items[2]
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    fit = number and 0 <= weight <= 1e6 and math.isfinite(weight)
    _require(fit, f"{place}: weight {weight!r} is not a number from 0 to 1000000")
    _require(any(items[:2]), f"{place}: moves neither stream")
    return Move(items[0], items[1], float(weight))


def _list(value: Any, place: str) -> list[Any]:
    _require(isinstance(value, list), f"{place}: is not a list")
    _require(bool(value), f"{place}: is empty")
    return list(value)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise _PlaceError(what)
