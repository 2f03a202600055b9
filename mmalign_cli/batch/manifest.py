"""MANIFEST: a row an alignment, as comma separated values or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import STDIN, StreamSpec, parse_spec
from mmalign_cli.streams.takes import can_be_a_name

_MAX_BYTES = 4 * 1024**3
_NUMBERED = re.compile(r"stream([1-9]\d*)")
PAIR = ("reference", "query")
OWN_COLUMNS = ("id", "method", "truth", "reason")
"""Columns that are neither a stream nor an option; ``reason`` is for people."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is written.

    Parameters
    ----------
    line : int
        Of the file.
    cells : Mapping of str to str
        Column to what is in it; empty cells are left out.
    """

    line: int
    cells: Mapping[str, str]

    def streams(self) -> list[str]:
        """Return the columns that hold streams, the reference's first."""
        numbered = [name for name in self.cells if _NUMBERED.fullmatch(name)]
        numbered.sort(key=lambda name: int(name.removeprefix("stream")))
        return [*(name for name in PAIR if name in self.cells), *numbered]

    def options(self) -> tuple[tuple[str, str], ...]:
        """Return the options of the row, by their names on the command line."""
        return tuple(
            (name.replace("_", "-"), text)
            for name, text in self.cells.items()
            if name not in OWN_COLUMNS and name not in PAIR and not _NUMBERED.fullmatch(name)
        )


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row.

    Parameters
    ----------
    line : int
    what : str
    hint : str or None
    """

    line: int
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class RowError(Exception):
    """A row that cannot be run; holds its `Fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_manifest(path: str) -> Iterator[Row | Fault]:
    """Yield the rows of a manifest, or what is wrong with them.

    Parameters
    ----------
    path : str
        Comma separated values with a header, or an object of JSON a line; ``-`` is standard input.

    Raises
    ------
    InputError
        If it cannot be read, or its header makes no sense.
    """
    source = open_source(path, _MAX_BYTES)
    is_json = source.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    with source.open() as data:
        text = io.TextIOWrapper(data, "utf-8-sig", newline="")
        try:
            yield from _json_rows(text) if is_json else _csv_rows(path, text)
        except UnicodeDecodeError:
            what = "is not UTF-8 text"
            raise InputError(path, what, "write comma separated values or JSON lines") from None


def _csv_rows(path: str, text: IO[str]) -> Iterator[Row | Fault]:
    reader = csv.reader(text, strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                _check_header(path, header)
            elif len(cells) != len(header):
                what = f"{len(cells)} cells, the header has {len(header)}"
                yield Fault(line, what, "put cells that hold commas in quotes")
            else:
                filled = ((n, c.strip()) for n, c in zip(header, cells, strict=True))
                yield Row(line, {name: cell for name, cell in filled if cell})
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}: {error}") from None


def _check_header(path: str, header: list[str]) -> None:
    if "" in header or len(set(header)) < len(header):
        raise InputError(path, f"every column needs a name of its own: {', '.join(header)}")
    if not any(name in PAIR or _NUMBERED.fullmatch(name) for name in header):
        near = next(filter(None, (did_you_mean(name, PAIR) for name in header)), None)
        hint = near or "columns: id, method, reference, query (or stream1, stream2, ...), options"
        raise InputError(path, "has no column of streams", hint)


def _json_rows(text: IO[str]) -> Iterator[Row | Fault]:
    for line, row in enumerate(text, 1):
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except (ValueError, RecursionError):
            yield Fault(line, "is not JSON", "an object a line")
            continue
        flat = isinstance(value, dict) and not any(
            isinstance(cell, dict | list) for cell in value.values()
        )
        if flat:
            yield Row(line, {k: _as_text(v) for k, v in value.items() if v not in (None, "")})
        else:
            yield Fault(line, "is not an object of plain values", '{"id": "a", "reference": ...}')


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Ids:
    """The ids of the rows, each checked when it is taken."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._folded: dict[str, str] = {}

    def take(self, row: Row) -> str:
        """Return the id of a row: by default its number.

        Raises
        ------
        RowError
            If it cannot be the name of a file, or a row before has it.
        """
        row_id = row.cells.get("id") or f"row{len(self._lines) + 1:05d}"
        if not can_be_a_name(row_id):
            what, hint = f"id {row_id!r} cannot be a file name", "its document is called ID.json"
            raise RowError(Fault(row.line, what, hint))
        other = self._folded.setdefault(row_id.casefold(), row_id)
        if row_id in self._lines or other != row_id:
            what = f"id {row_id!r} is also on line {self._lines[other]}"
            if other != row_id:
                what += f" as {other!r}: on some systems that is one file"
            raise RowError(Fault(row.line, what, "every row needs an id of its own"))
        self._lines[row_id] = row.line
        return row_id


def specs_of(row: Row, folder: str, keys: Mapping[str, str]) -> tuple[StreamSpec, ...]:
    """Return the streams of a row.

    Parameters
    ----------
    row : Row
    folder : str
        Where its relative paths start.
    keys : Mapping of str to str
        Of every stream; a cell's own win.

    Raises
    ------
    RowError
        If a cell is no stream.
    """
    specs = []
    for column in row.streams():
        cell = row.cells[column]
        if cell.partition(",")[0] == STDIN:
            what = f"column {column}: standard input cannot be part of a batch"
            raise RowError(Fault(row.line, what))
        try:
            specs.append(parse_spec(os.path.join(folder, cell), keys))
        except UsageError as error:
            raise RowError(Fault(row.line, f"column {column}: {error}", error.hint)) from None
    return tuple(specs)


def with_whole_paths(
    cells: Mapping[str, str], folder: str, specs: Sequence[StreamSpec], files: Sequence[str]
) -> dict[str, str]:
    """Return the cells of a row such that it means the same in a manifest anywhere.

    Parameters
    ----------
    cells : Mapping of str to str
    folder : str
        Where relative paths in them start.
    specs, files
        What the cells were read as, their streams in order, and the other files that they name.
    """
    whole = {"id": "", **cells}
    for column, spec in zip(Row(0, cells).streams(), specs, strict=True):
        keys = os.path.join(folder, cells[column])[len(spec.path) :]
        whole[column] = os.path.abspath(spec.path) + keys
    for column, cell in cells.items():
        if os.path.join(folder, cell) in files:
            whole[column] = os.path.abspath(os.path.join(folder, cell))
    return whole


def rows_text(rows: Sequence[Mapping[str, str]], usual: Sequence[str] = ()) -> str:
    """Return rows as a manifest in comma separated values.

    Parameters
    ----------
    rows : sequence of Mapping
        Column to cell.
    usual : sequence of str
        The columns where there is no row.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(usual)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
