"""A time map as a plain file: two columns of seconds under the names of two clocks."""

from __future__ import annotations

import csv
import io
import math

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import InvalidValueError, TimeMap
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES


def read_knots(path: str) -> TimeMap:
    """Read a time map.

    Raises
    ------
    InputError
        If it is not a header of two names and rows of two increasing numbers; names the line.
    """
    data = open_source(path, DEFAULT_MAX_BYTES).read(DEFAULT_MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "is not a time map: not text in UTF-8") from None
    rows = csv.reader(io.StringIO(text))
    names: list[str] | None = None
    knots: list[tuple[float, float]] = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if names is None:
            names = _names(path, row)
        else:
            knots.append(_knot(path, rows.line_num, row, knots))
    if names is None or not knots:
        raise InputError(path, "holds no knots", "a header and two columns of seconds")
    try:
        return TimeMap(names[0], names[1], np.array(knots))
    except InvalidValueError as error:
        raise InputError(path, f"is not a time map: {error}") from None


def _names(path: str, row: list[str]) -> list[str]:
    names = [cell.strip() for cell in row]
    if len(names) != 2:
        raise InputError(path, f"line 1: {len(names)} columns, a time map has 2")
    if any(_number(name) is not None for name in names):
        raise InputError(path, "line 1: no header", "name the two clocks, as in: recorder,camera")
    if names[0] == names[1] or not all(names):
        raise InputError(path, "line 1: the two clocks need different names")
    return names


def _knot(
    path: str, line: int, row: list[str], knots: list[tuple[float, float]]
) -> tuple[float, float]:
    if len(row) != 2:
        raise InputError(path, f"line {line}: {len(row)} columns, a time map has 2")
    x, y = (_number(cell) for cell in row)
    if x is None or y is None:
        bad = row[0] if x is None else row[1]
        raise InputError(path, f"line {line}: {bad.strip()[:40]!r} is not a number of seconds")
    if knots and not (x > knots[-1][0] and y > knots[-1][1]):
        what = f"line {line}: both columns must be larger than in the line before"
        raise InputError(path, what)
    return x, y


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
