"""Tables with times in some of their columns: where those stand in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmalign_cli.carry.spans import Span, clock_span, number_span
from mmalign_cli.errors import InputError, did_you_mean
from mmalign_cli.streams.marks import CLOCK, NUMBER, broken
from mmalign_cli.streams.times import units_per_second

_POINTS = re.compile(
    r"(?:time[ _])?(?:start|end|begin|stop|onset|offset|xmin|xmax|tmin|tmax)(?:[ _]?times?)?"
    r"(?:[ _.-]?(?P<unit>s|ms|us|ns)|[ _]?[(\[](?P<bracketed>s|ms|us|ns)[)\]])?",
    re.IGNORECASE,
)
_LENGTHS = re.compile(r"(?:duration|dur|length)(?:[ _.-]?(?P<unit>s|ms|us|ns))?", re.IGNORECASE)
_BEGINS = re.compile(r"(?:start|begin|onset|time|t|xmin|tmin).*", re.IGNORECASE)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MISSING = frozenset({"", "n/a", "na", "nan", "null", "none", "-"})
_DECIMALS = {1: 6, 10**3: 3, 10**6: 0, 10**9: 0}


@dataclass(frozen=True)
class _Column:
    """A column of times, or of lengths since those of column `since`."""

    index: int
    per_second: int
    since: _Column | None = None


@dataclass(frozen=True)
class _Cell:
    """Where the content of a cell stands, quotes apart."""

    begin: int
    end: int


def find_columns(text: str, path: str, names: Sequence[str], delimiter: str) -> list[Span]:
    """Return the times in the columns of a table.

    Parameters
    ----------
    text : str
        The table, with a header.
    path : str
        Its name, for messages.
    names : sequence of str
        The columns of times; none takes those whose names say so, and lengths beside them.
    delimiter : str
        Between cells.

    Raises
    ------
    InputError
        If no column is one of times, or a cell of one holds none; names the line.
    """
    rows, header = _content(text, path, delimiter)
    columns = _columns(header, path, names)
    spans: list[Span] = []
    for row in rows:
        for column in columns:
            spans += _cell_span(text, path, row, column)
    return spans


@dataclass(frozen=True)
class Frames:
    """A table as frames: the names of its columns, its cells row by row, and its times.

    Parameters
    ----------
    header : list of str
        Names of the columns.
    cells : list of list of str
        Rows, as wide as the header.
    time_column : int
        Which of the columns holds the times.
    times_s : list of float
        A time a row, increasing.
    per_second : int
        Units of the time column in a second.
    """

    header: list[str]
    cells: list[list[str]]
    time_column: int
    times_s: list[float]
    per_second: int


def read_frames(text: str, path: str, names: Sequence[str], delimiter: str) -> Frames:
    """Return a table as frames.

    Parameters
    ----------
    text, path, names, delimiter
        As of `find_columns`.

    Raises
    ------
    InputError
        If it has not exactly one column of times, or a time is missing or does not increase.
    """
    rows, header = _content(text, path, delimiter)
    columns = _columns(header, path, names)
    if len(columns) != 1:
        listed = ", ".join(header[c.index] for c in columns)
        raise InputError(path, f"has {len(columns)} columns of times ({listed}), frames have one")
    times_s: list[float] = []
    for row in rows:
        found = _cell_span(text, path, row, columns[0])
        if not found:
            raise broken(path, text, row[0].begin, "a time is missing")
        if times_s and found[0].time_s <= times_s[-1]:
            raise broken(path, text, found[0].begin, "its time does not increase")
        times_s.append(found[0].time_s)
    if not times_s:
        raise InputError(path, "holds no rows")
    cells = [[text[c.begin : c.end].replace('""', '"') for c in row] for row in rows]
    cells = [(row + [""] * len(header))[: len(header)] for row in cells]
    return Frames(header, cells, columns[0].index, times_s, columns[0].per_second)


def _content(text: str, path: str, delimiter: str) -> tuple[list[list[_Cell]], list[str]]:
    """Return the rows below the header that hold anything, and the names in the header."""
    rows = [row for row in _rows(text, delimiter) if any(c.end > c.begin for c in row)]
    rows = [row for row in rows if not text[row[0].begin :].startswith("#")]
    if not rows:
        raise InputError(path, "holds no rows")
    header = [text[c.begin : c.end].strip().strip('"') for c in rows[0]]
    return rows[1:], header


def _rows(text: str, delimiter: str) -> list[list[_Cell]]:
    cell = re.compile(rf'(?:"((?:[^"]|"")*)"|([^{delimiter}\r\n]*))({delimiter}|\r\n|\r|\n|\Z)')
    rows: list[list[_Cell]] = [[]]
    at = 0
    while at < len(text):
        match = cell.match(text, at)
        assert match is not None  # whatever is no quoted cell is a plain one
        rows[-1].append(_Cell(*match.span(1 if match[1] is not None else 2)))
        at = match.end()
        if match[3] != delimiter:
            rows.append([])
    return [row for row in rows if row]


def _columns(header: list[str], path: str, names: Sequence[str]) -> list[_Column]:
    if names:
        lost = next((name for name in names if name not in header), None)
        if lost is not None:
            hint = did_you_mean(lost, header) or f"columns: {', '.join(header)}"
            raise InputError(path, f"has no column {lost!r}", hint)
        found = [_Column(header.index(n), _unit_of(n) or 1) for n in names if not _is_length(n)]
        lengths = [n for n in names if _is_length(n)]
    else:
        units = [(k, _unit_of(name)) for k, name in enumerate(header)]
        found = [_Column(k, unit) for k, unit in units if unit is not None]
        lengths = [name for name in header if _is_length(name)]
    if not found:
        hint = f"--time-columns names them, of: {', '.join(header)}"
        raise InputError(path, "no column of its header is one of times", hint)
    begins = [c for c in found if _BEGINS.fullmatch(header[c.index])]
    if len(begins) == 1:
        found += [_length(header, name, begins[0]) for name in lengths]
    return sorted(found, key=lambda column: column.index)


def _length(header: list[str], name: str, since: _Column) -> _Column:
    match = _LENGTHS.fullmatch(name.strip())
    unit = match["unit"] if match and match["unit"] else "s"
    return _Column(header.index(name), _PER_SECOND[unit.lower()], since)


def _is_length(name: str) -> bool:
    return _LENGTHS.fullmatch(name.strip()) is not None


def _unit_of(name: str) -> int | None:
    """Return how many units of a column make a second, if its name is that of times."""
    match = _POINTS.fullmatch(name.strip())
    if match is None:
        return units_per_second(name)
    return _PER_SECOND[(match["unit"] or match["bracketed"] or "s").lower()]


def _cell_span(text: str, path: str, row: list[_Cell], column: _Column) -> list[Span]:
    place = _place(text, path, row, column.index)
    if place is None:
        return []
    begin, end = place
    if re.fullmatch(CLOCK, text[begin:end], re.ASCII):
        return [clock_span(text, begin, end)]
    since_s = None
    if column.since is not None:
        start = _cell_span(text, path, row, column.since)
        if not start:
            return []
        since_s = start[0].time_s
    unit = column.per_second
    return [
        number_span(text, begin, end, per_second=unit, decimals=_DECIMALS[unit], since_s=since_s)
    ]


def _place(text: str, path: str, row: list[_Cell], index: int) -> tuple[int, int] | None:
    """Return where the time of a cell stands; None where it is missing."""
    if index >= len(row):
        return None
    cell = text[row[index].begin : row[index].end]
    written = cell.strip(" \t")
    if written.lower() in _MISSING:
        return None
    begin = row[index].begin + len(cell) - len(cell.lstrip(" \t"))
    if not re.fullmatch(rf"{NUMBER}|{CLOCK}", written, re.ASCII):
        raise broken(path, text, begin, f"{written[:40]!r} is not a time")
    return begin, begin + len(written)
