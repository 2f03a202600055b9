"""Text tables: csv, tsv and columns of numbers set apart by blanks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.columns import chosen_columns, no_column, shortened
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import BLANKS, MISSING, Grid, read_grid
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import checked_times, text_seconds, units_per_second

if TYPE_CHECKING:
    import pandas as pd

_TRUTH = {"true": 1.0, "false": 0.0}
_STARTS_LIKE_NUMBER = r"\s*[-+]?[.,]?\d"


@dataclass(frozen=True, eq=False)
class _Table:
    """A grid with numbers made of its cells where they are numbers."""

    grid: Grid
    frame: pd.DataFrame
    decimal: str
    subject: str

    def line(self, row: int) -> int:
        """Return the line of the file that holds a row."""
        return int(self.grid.lines[row])


def read_table(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a text table.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``time``, ``columns``, ``header``, ``decimal``, ``encoding`` and ``transpose`` concern
        tables.
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
    grid = read_grid(source, options)
    table = _Table(grid, _parse(grid, source, options), options.decimal, source.path)
    time = _time_column(table, options)
    keep = _data_columns(table, time, options)
    values = np.column_stack([_numbers(table, c) for c in keep])
    times = None if time is None else _times(table, time)
    names = tuple(grid.names[c] for c in keep) if grid.names else ()
    notes = (*grid.notes, *_left_out(table, time, keep, options))
    if options.transpose:
        if times is not None:
            what = "has a time column: it cannot be transposed"
            raise InputError(source.path, what, "time=none treats it as data")
        values, names = values.T, ()
    return Content(values, "table", times, None, 0.0, names, notes)


def _parse(grid: Grid, source: Source, options: Options) -> pd.DataFrame:
    """Let pandas make numbers of the cells; columns with any text stay text."""
    import pandas as pd

    exact: dict[str, Any] = {}
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        exact = {"float_precision": "round_trip"}  # what later versions do unasked
    try:
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(grid.body),
            header=None,
            sep=r"\s+" if grid.delimiter == BLANKS else grid.delimiter,
            decimal=options.decimal,
            na_values=[*MISSING, *(cell.upper() for cell in MISSING)],
            skipinitialspace=True,
            skip_blank_lines=False,
            low_memory=False,
            **exact,
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise InputError(source.path, f"is not a table: {error}") from None
    if frame.shape != (len(grid.lines), grid.n_columns):
        raise InputError(source.path, "is not a table: its rows and columns cannot be told apart")
    return frame


def _time_column(table: _Table, options: Options) -> int | None:
    """Return the column that holds the times: ``time=``, else by its name."""
    grid = table.grid
    if options.time is None:
        named = (c for c, name in enumerate(grid.names) if units_per_second(name) is not None)
        return next(named, None)
    if options.time in grid.names:
        return grid.names.index(options.time)
    if options.time == "none":
        return None
    if options.time.isdecimal() and 1 <= int(options.time) <= grid.n_columns:
        return int(options.time) - 1
    raise no_column(options.time, grid.known, table.subject)


def _data_columns(table: _Table, time: int | None, options: Options) -> list[int]:
    """Return the columns to keep: those asked for, else every numeric one but time."""
    if options.columns is not None:
        return chosen_columns(options.columns, table.grid.known, table.subject)
    others = [c for c in range(table.grid.n_columns) if c != time]
    if not others:
        raise InputError(table.subject, "holds times and no values", "time=none keeps the column")
    keep = [c for c in others if not (_is_labels(table, c) or _is_no_data(table, c))]
    if not keep:
        raise _not_a_number(table, others[0], 0)
    return keep


def _is_labels(table: _Table, column: int) -> bool:
    """Tell whether a column holds labels: text, and not one cell that is or means a number."""
    cells = table.frame[column]
    if cells.dtype.kind in "biuf":
        return False
    present = cells.dropna().astype(str)
    if present.str.lower().isin(list(_TRUTH)).all():
        return False
    return not bool(present.str.match(_STARTS_LIKE_NUMBER).any())


def _is_no_data(table: _Table, column: int) -> bool:
    """Tell whether a nameless column is pandas' row count, or follows a trailing delimiter."""
    grid, cells = table.grid, table.frame[column]
    if column not in grid.nameless or grid.n_columns == 1:
        return False
    if column == grid.n_columns - 1 and bool(cells.isna().all()):
        return True
    is_index = column == 0 and bool(grid.names) and cells.dtype.kind in "iu"
    return is_index and bool((cells.to_numpy() == np.arange(len(cells))).all())


def _left_out(
    table: _Table, time: int | None, keep: Sequence[int], options: Options
) -> tuple[str, ...]:
    """Return a note of the columns that are not numbers."""
    if options.columns is not None:
        return ()
    kept = {time, *keep}
    names = [name for c, name in enumerate(table.grid.known) if c not in kept]
    return (f"columns left out: {shortened(names)}",) if names else ()


def _numbers(table: _Table, column: int) -> Float64Array:
    """Return a column as float64 (n_rows,), missing cells NaN; refuse text."""
    cells = table.frame[column]
    if cells.dtype.kind in "biuf":
        return cells.to_numpy(dtype=np.float64)
    # What pandas leaves as text differs between its versions (1e999, 2**70): it is read here.
    values = np.full(len(cells), np.nan)
    for row in np.flatnonzero(cells.notna().to_numpy()):
        value = _value(str(cells.iloc[row]), table.decimal)
        if value is None:
            raise _not_a_number(table, column, int(row))
        values[row] = value
    return values


def _value(cell: str, decimal: str) -> float | None:
    """Return the number or truth value that a cell spells, None where it is neither."""
    text = cell.strip().lower()
    if text in _TRUTH:
        return _TRUTH[text]
    return float(text.replace(decimal, ".")) if _is_number(text.replace(decimal, ".")) else None


def _not_a_number(table: _Table, column: int, row: int) -> InputError:
    cell = str(table.frame[column].iloc[row])
    name = table.grid.known[column]
    what = f"line {table.line(row)} column {name}: {cell!r} is not a number"
    if "," in cell and _is_number(cell.replace(",", ".")):
        return InputError(table.subject, what, "try --decimal ,")
    return InputError(table.subject, what, "choose the columns with columns=A+B")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python's own way to group digits


def _times(table: _Table, column: int) -> Float64Array:
    """Return the times in seconds; refuse any that do not increase."""
    name = table.grid.known[column]
    cells = table.frame[column]
    if _holds_dates(cells):
        times = text_seconds(cells.astype(str))
        _require_times(table, column, np.isnan(times) & cells.notna().to_numpy())
    else:
        times = _numbers(table, column) / (units_per_second(name) or 1)
    hint = f"time=none treats column {name} as data"
    return checked_times(times, table.subject, table.grid.lines, hint)


def _holds_dates(cells: pd.Series[Any]) -> bool:
    """Tell whether a column looks like clock times or dates."""
    if cells.dtype.kind in "biuf":
        return False
    return bool(cells.astype(str).str.match(r"\d+:\d\d|\d{4}-\d\d").any())


def _require_times(table: _Table, column: int, bad: np.ndarray[Any, Any]) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        cell = str(table.frame[column].iloc[int(rows[0])])
        where = f"line {table.line(int(rows[0]))} column {table.grid.known[column]}"
        hint = "times are seconds, 1:02:03.5 or 2024-05-06T07:08:09.5"
        raise InputError(table.subject, f"{where}: {cell!r} is not a time", hint)
