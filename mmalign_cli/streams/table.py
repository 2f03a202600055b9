"""Text tables: csv, tsv and columns of numbers set apart by blanks.

The text is checked line by line before pandas turns it into numbers, because a parser that
guesses shifts columns and drops cells in silence.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mmalign_cli.errors import InputError, did_you_mean
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.arrays import TIME_NAMES
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

if TYPE_CHECKING:
    import pandas as pd

MAX_COLUMNS = 65_536
BLANKS = " "
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_LINES = 20
_MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>", "-nan", "#n/a"}


@dataclass(frozen=True)
class Grid:
    """The cells of a table as text, before numbers are made of them.

    Parameters
    ----------
    names : tuple of str
        Names of the columns; empty where the table has none.
    text : str
        The rows without header, comments and empty lines.
    lines : sequence of int
        The line of the file, from 1, of each row.
    delimiter : str
        One character; a blank stands for any run of blanks.
    n_columns : int
        Number of cells in every row.
    """

    names: tuple[str, ...]
    text: str
    lines: list[int]
    delimiter: str
    n_columns: int

    def name(self, column: int) -> str:
        """Return the name of a column, or its number from 1."""
        return self.names[column] if self.names else str(column + 1)


def read_table(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a text table.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``time``, ``columns``, ``header``, ``decimal`` and ``encoding`` concern tables.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        Values float64 (n_frames, n_columns); missing cells are NaN.

    Raises
    ------
    InputError
        With line and column, where the text is not a table of numbers.
    """
    grid = _split(_decode(source, options), source, options)
    frame = _parse(grid, source, options)
    time = _time_column(grid, frame, source, options)
    keep = _data_columns(grid, frame, time, source, options)
    values = np.column_stack([_numbers(grid, frame, c, source, options) for c in keep])
    times = None if time is None else _times(grid, frame, time, source, options)
    names = tuple(grid.names[c] for c in keep)
    dropped = frame.shape[1] - len(keep) - (time is not None)
    notes = [f"{dropped} columns left out"] if dropped and options.columns is None else []
    if not grid.names:
        notes.append("no header: the first line is data")
    return Content(values, "table", times, None, 0.0, names, tuple(notes))


def _decode(source: Source, options: Options) -> str:
    data = source.read(options.max_bytes)
    hint = "name the text encoding with --encoding"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in options.encoding:
        raise InputError(source.path, "not UTF-8 (it looks like UTF-16)", "try --encoding utf-16")
    try:
        encoding = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig"}.get(
            options.encoding.lower(), options.encoding
        )
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = "try --encoding latin-1, or the encoding that it was saved in"
        raise InputError(source.path, f"line {line}: not UTF-8", hint) from None
    except LookupError:
        raise InputError(source.path, f"unknown encoding {options.encoding!r}", hint) from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        column = _count_cells(text[text.rfind("\n", 0, nul) + 1 : nul])
        raise InputError(source.path, f"line {line} column {column}: NUL byte in the text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _count_cells(start_of_line: str) -> int:
    return max(start_of_line.count(d) for d in _DELIMITERS) + 1


def _split(text: str, source: Source, options: Options) -> Grid:
    """Find delimiter and header, and check that every row has as many cells."""
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    comments = list(_leading_comments(lines))
    lines = lines[len(comments) :]
    if not lines:
        raise InputError(source.path, "holds no rows")
    delimiter = _find_delimiter([line for _, line in lines[:_SAMPLE_LINES]], source, options)
    rows = list(_cells_of(lines, delimiter, source))
    first = _fields(lines[0][1], delimiter, source, lines[0][0])
    if len(first) > MAX_COLUMNS:
        what = f"line {lines[0][0]}: {len(first)} columns, the limit is {MAX_COLUMNS}"
        raise InputError(source.path, what)
    has_header = _has_header(first, options)
    _require_even(rows, len(first), has_header, source)
    names: tuple[str, ...] = ()
    if has_header:
        names = _checked_names(first, lines[0][0], source)
        lines, rows = lines[1:], rows[1:]
    elif comments:
        commented = _fields(comments[-1].lstrip("#% "), delimiter, source, lines[0][0] - 1)
        names = tuple(commented) if len(set(commented)) == len(first) else ()
    if not rows:
        raise InputError(source.path, "holds a header and no rows")
    body = "\n".join(line for _, line in lines)
    return Grid(names, body, [n for n, _ in rows], delimiter, len(first))


def _leading_comments(lines: list[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if not line.lstrip().startswith(("#", "%")):
            return
        yield line.strip()


def _find_delimiter(sample: list[str], source: Source, options: Options) -> str:
    """Return the delimiter that every line of the sample holds, or a blank."""
    is_tsv = options.format == "tsv" or source.path.lower().endswith((".tsv", ".tab"))
    order = ("\t", *_DELIMITERS) if is_tsv else _DELIMITERS
    candidates = [d for d in order if d != options.decimal]
    for delimiter in candidates:
        if all(delimiter in line for line in sample):
            if delimiter == "," and all(";" in line for line in sample):
                continue  # decimal commas between semicolons
            return delimiter
    if any(d in sample[0] for d in candidates):
        return next(d for d in candidates if d in sample[0])
    return BLANKS


def _fields(line: str, delimiter: str, source: Source, number: int) -> list[str]:
    """Split one line into cells."""
    if delimiter == BLANKS:
        return line.split()
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return next(iter(csv.reader([line], delimiter=delimiter, strict=True)))
    except csv.Error:
        column = _count_cells(line[: line.rfind('"')])
        what = f"line {number} column {column}: a quote is opened and not closed"
        raise InputError(source.path, what) from None


def _cells_of(
    lines: list[tuple[int, str]], delimiter: str, source: Source
) -> Iterator[tuple[int, int]]:
    """Yield line number and number of cells of every row."""
    for number, line in lines:
        if delimiter == BLANKS or '"' in line:
            yield number, len(_fields(line, delimiter, source, number))
        else:
            yield number, line.count(delimiter) + 1


def _has_header(first: list[str], options: Options) -> bool:
    """Tell whether the first row holds names: it does if a cell is neither number nor missing."""
    if options.header is not None:
        return options.header
    return not all(_is_number(cell, options) or cell.lower() in _MISSING for cell in first)


def _is_number(cell: str, options: Options) -> bool:
    try:
        float(cell.replace(options.decimal, ".") if options.decimal != "." else cell)
    except ValueError:
        return False
    return True


def _require_even(
    rows: list[tuple[int, int]], n_columns: int, has_header: bool, source: Source
) -> None:
    for number, count in rows:
        if count != n_columns:
            fields = "1 field" if count == 1 else f"{count} fields"
            first = "header" if has_header else f"line {rows[0][0]}"
            raise InputError(source.path, f"line {number}: {fields}, {first} has {n_columns}")


def _checked_names(cells: list[str], line: int, source: Source) -> tuple[str, ...]:
    """Return the names of a header, empty ones numbered; refuse a name given twice."""
    names: list[str] = []
    for column, cell in enumerate(cells, 1):
        name = cell.strip() or f"column{column}"
        if name in names:
            what = f"line {line} column {column}: a second column is called {name!r}"
            raise InputError(source.path, what, "rename one of them")
        names.append(name)
    return tuple(names)


def _parse(grid: Grid, source: Source, options: Options) -> pd.DataFrame:
    """Let pandas make numbers of the cells; columns with any text stay text."""
    import pandas as pd

    try:
        frame = pd.read_csv(
            io.StringIO(grid.text),
            header=None,
            sep=r"\s+" if grid.delimiter == BLANKS else grid.delimiter,
            decimal=options.decimal,
            skipinitialspace=True,
            float_precision="round_trip",
            low_memory=False,
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise InputError(source.path, f"is not a table: {error}") from None
    if frame.shape != (len(grid.lines), grid.n_columns):
        raise InputError(source.path, "is not a table: a quoted cell goes over several lines")
    return frame


def _time_column(
    grid: Grid, frame: pd.DataFrame, source: Source, options: Options
) -> int | None:
    """Return the column that holds the times: ``time=``, else by its name."""
    if options.time is not None:
        if options.time in grid.names:
            return grid.names.index(options.time)
        if options.time == "none":
            return None
        if options.time.isdecimal() and 1 <= int(options.time) <= grid.n_columns:
            return int(options.time) - 1
        raise _no_column(options.time, grid, source)
    named = [c for c, name in enumerate(grid.names) if name.lower() in TIME_NAMES]
    return named[0] if named else None


def _no_column(name: str, grid: Grid, source: Source) -> InputError:
    known = grid.names or tuple(str(c + 1) for c in range(grid.n_columns))
    more = ", ..." if len(known) > 12 else ""
    hint = did_you_mean(name, known) or f"columns: {', '.join(known[:12])}{more}"
    return InputError(source.path, f"no column {name!r}", hint)


def _data_columns(
    grid: Grid, frame: pd.DataFrame, time: int | None, source: Source, options: Options
) -> list[int]:
    """Return the columns to keep: those asked for, else every numeric one but time."""
    if options.columns is not None:
        return _chosen(grid, source, options.columns)
    keep = [c for c in range(grid.n_columns) if c != time and not _is_labels(grid, frame, c)]
    if not keep:
        if time is not None and grid.n_columns == 1:
            raise InputError(source.path, "holds times and no values", "time=none keeps the column")
        text = next(c for c in range(grid.n_columns) if c != time)
        raise _not_a_number(grid, frame, text, 0, source, options)
    return keep


def _chosen(grid: Grid, source: Source, patterns: tuple[str, ...]) -> list[int]:
    from fnmatch import fnmatchcase

    known = grid.names or tuple(str(c + 1) for c in range(grid.n_columns))
    keep: list[int] = []
    for pattern in patterns:
        found = [c for c, name in enumerate(known) if fnmatchcase(name, pattern)]
        if not found:
            raise _no_column(pattern, grid, source)
        keep.extend(c for c in found if c not in keep)
    return keep


def _is_labels(grid: Grid, frame: pd.DataFrame, column: int) -> bool:
    """Tell whether a column holds labels: text, and not one cell that is or means a number."""
    cells = frame[column]
    if cells.dtype.kind in "biuf":
        return False
    present = cells.dropna().astype(str)
    starts_like_number = present.str.match(r"\s*[-+]?[.,]?\d")
    return not bool(starts_like_number.any())


def _numbers(
    grid: Grid, frame: pd.DataFrame, column: int, source: Source, options: Options
) -> Float64Array:
    """Return a column as float64 (n_rows,), missing cells NaN; refuse text."""
    import pandas as pd

    cells = frame[column]
    if cells.dtype.kind in "biuf":
        return cells.to_numpy(dtype=np.float64)
    text = cells.astype(object)
    numbers = pd.to_numeric(text, errors="coerce")
    bad = np.flatnonzero(numbers.isna().to_numpy() & text.notna().to_numpy())
    if len(bad):
        raise _not_a_number(grid, frame, column, int(bad[0]), source, options)
    return numbers.to_numpy(dtype=np.float64)


def _not_a_number(
    grid: Grid, frame: pd.DataFrame, column: int, row: int, source: Source, options: Options
) -> InputError:
    cell = str(frame[column].iloc[row])
    what = f"line {grid.lines[row]} column {grid.name(column)}: {cell!r} is not a number"
    looks_decimal = "," in cell and _is_number(cell.replace(",", "."), options)
    hint = "try --decimal ," if looks_decimal else "choose the columns with columns=A+B"
    return InputError(source.path, what, hint)


def _times(
    grid: Grid, frame: pd.DataFrame, column: int, source: Source, options: Options
) -> Float64Array:
    """Return the times in seconds; refuse any that do not increase."""
    times = _numbers(grid, frame, column, source, options)
    hint = f"time=none treats column {grid.name(column)} as data"
    bad = np.flatnonzero(~np.isfinite(times))
    if len(bad):
        what = f"line {grid.lines[bad[0]]}: the time is missing (row {bad[0] + 1})"
        raise InputError(source.path, what, hint)
    steps = np.diff(times)
    bad = np.flatnonzero(steps <= 0)
    if len(bad):
        row = int(bad[0]) + 1
        verb = "repeat" if steps[bad[0]] == 0 else "decrease"
        raise InputError(
            source.path, f"times {verb} at row {row + 1} (line {grid.lines[row]})", hint
        )
    return times
