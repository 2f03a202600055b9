"""TAKES.csv: a row a take, a column a stream."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import STDIN, StreamSpec, parse_spec

_MAX_BYTES = 64 * 1024**2
_MOST_NAME_BYTES = 200
_UNSAFE = '/\\:*?"<>|'


@dataclass(frozen=True)
class TakeRow:
    """One row: a take and its streams.

    Parameters
    ----------
    id : str
        Names the take, and its document.
    specs : tuple of StreamSpec
        One a stream, each called as its column.
    line : int
        Of the file.
    """

    id: str
    specs: tuple[StreamSpec, ...]
    line: int


def read_takes(
    path: str, defaults: Mapping[str, str], n_streams: int | None = None
) -> tuple[TakeRow, ...]:
    """Read a table of takes.

    Every column but ``id`` is a stream, its cells ``PATH[,key=value]...``; relative paths are
    looked up beside the table. Rows without ``id`` column are called by their number.

    Parameters
    ----------
    path : str
        Text with a header.
    defaults : Mapping of str to str
        Keys of every stream; a cell's own win.
    n_streams : int, optional
        How many streams a take must have.

    Raises
    ------
    InputError
        If it is no such table, an id is there twice, or a file is missing.
    """
    header, rows = _cells(path)
    names = [name for name in header if name != "id"]
    _check_header(path, header, names, n_streams)
    takes: dict[str, TakeRow] = {}
    for number, (line, cells) in enumerate(rows, 1):
        if len(cells) != len(header):
            what = f"line {line} has {len(cells)} cells, the header {len(header)}"
            raise InputError(path, what, "put cells that hold commas in quotes")
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        name = _checked_id(path, line, row.get("id", f"take{number:02d}"))
        if name in takes:
            what = f"line {line}: id {name!r} is also on line {takes[name].line}"
            raise InputError(path, what, "every take needs an id of its own")
        specs = tuple(_spec(path, line, column, row[column], defaults) for column in names)
        takes[name] = TakeRow(name, specs, line)
    return tuple(takes.values())


def _cells(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and the rows that are not blank with their lines."""
    try:
        text = open_source(path, _MAX_BYTES).read(_MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text", "write it as comma separated values") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}: {error}") from None
    if len(lines) < 2:
        raise InputError(path, "holds no take", "a header, then a row a take")
    return [cell.strip() for cell in lines[0][1]], lines[1:]


def _check_header(
    path: str, header: Sequence[str], names: Sequence[str], n_streams: int | None
) -> None:
    if "" in header or len(set(header)) < len(header):
        raise InputError(path, f"every column needs a name of its own: {', '.join(header)}")
    if "id" not in header and (near := did_you_mean("id", [n.lower() for n in names])):
        raise InputError(path, "has no column id", near)
    if n_streams is not None and len(names) != n_streams:
        what = f"{len(names)} streams a take ({', '.join(names)}), expected {n_streams}"
        raise InputError(path, what, "every column but id is a stream")


def can_be_a_name(name: str) -> bool:
    """Tell whether an id can be the name of a file, on any system."""
    unsafe = any(c in _UNSAFE or not c.isprintable() for c in name)
    return not (unsafe or name[:1] in ("", ".") or len(name.encode()) > _MOST_NAME_BYTES)


def _checked_id(path: str, line: int, name: str) -> str:
    """Refuse an id that cannot be the name of a file."""
    if not can_be_a_name(name):
        what = f"line {line}: {name!r} cannot be a file name" if name else f"line {line}: no id"
        raise InputError(path, what, "the document of a take is called ID.json")
    return name


def _spec(path: str, line: int, column: str, cell: str, defaults: Mapping[str, str]) -> StreamSpec:
    where = f"line {line} column {column}"
    if not cell:
        raise InputError(path, f"{where}: names no file", "every take needs every stream")
    folder = os.path.dirname(path)
    try:
        spec = parse_spec(os.path.join(folder, cell), defaults)
    except UsageError as error:
        raise InputError(path, f"{where}: {error}", error.hint) from None
    if cell.partition(",")[0] == STDIN:
        raise InputError(path, f"{where}: standard input cannot be part of a take")
    if not os.path.lexists(spec.path):
        try:
            open_source(spec.path, _MAX_BYTES)
        except InputError as error:
            raise InputError(path, f"{where}: {error.subject}: {error.what}", error.hint) from None
    return replace(spec, given={**spec.given, "name": column})
