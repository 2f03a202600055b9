"""Tables of columns that know their types: Parquet and Feather, read by pyarrow in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.columns import chosen_columns, no_column, shortened
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.extras import require_extra
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import numeric_seconds, units_per_second

_INDEX = "__index_level_"  # what pandas calls a row count without a name
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MOST_UNPACKED = 1 << 20  # times the file: a run of one value stands for many rows, not for any


@dataclass(frozen=True, eq=False)
class _Table:
    """An open table.

    Parameters
    ----------
    schema : pyarrow.Schema
        Names and types of its columns.
    batches : callable
        Of numbers of columns, in rising order: returns an iterator of record batches of them.
    n_rows : int or None
        What the file states, where it does.
    """

    schema: Any
    batches: Callable[[list[int]], Iterator[Any]]
    n_rows: int | None


def read_parquet(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read the numeric columns of a Parquet file.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``time``, ``columns`` and ``transpose`` concern tables.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        Values float64 (n_rows, n_columns), missing ones NaN.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    InputError
        If the file is damaged, or a column asked for holds no numbers.
    LimitError
        If the columns take more than ``max-bytes=``.
    """
    with _parquet(source) as table:
        return _content(table, source, options)


def read_feather(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read the numeric columns of a Feather (Arrow IPC) file, as `read_parquet` does."""
    with _feather(source) as table:
        return _content(table, source, options)


def parquet_contents(source: Source, options: Options) -> list[dict[str, Any]]:
    """Return name and type of each column of a Parquet file."""
    with _parquet(source) as table:
        return _columns(table)


def feather_contents(source: Source, options: Options) -> list[dict[str, Any]]:
    """Return name and type of each column of a Feather file."""
    with _feather(source) as table:
        return _columns(table)


def _columns(table: _Table) -> list[dict[str, Any]]:
    return [{"column": f.name, "type": str(f.type)} for f in table.schema]


@contextmanager
def _parquet(source: Source) -> Iterator[_Table]:
    with _reading(source, "Parquet") as raw:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(raw)
        schema = file.schema_arrow

        def batches(columns: list[int]) -> Iterator[Any]:
            yield from file.iter_batches(columns=[schema.names[c] for c in columns])

        yield _Table(schema, batches, file.metadata.num_rows)


@contextmanager
def _feather(source: Source) -> Iterator[_Table]:
    with _reading(source, "Feather") as raw:
        from pyarrow import ipc

        schema = ipc.open_file(raw).schema

        def batches(columns: list[int]) -> Iterator[Any]:
            raw.seek(0)
            file = ipc.open_file(raw, options=ipc.IpcReadOptions(included_fields=columns))
            return (file.get_batch(k) for k in range(file.num_record_batches))

        yield _Table(schema, batches, None)


@contextmanager
def _reading(source: Source, label: str) -> Iterator[Any]:
    """Open a file, and make errors of pyarrow ours."""
    require_extra("parquet", source.path)
    import pyarrow as pa

    faults = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError)
    try:
        with source.open() as raw:
            yield raw
    except (*faults, MemoryError) as error:
        text = str(error).splitlines() or [type(error).__name__]
        raise InputError(source.path, f"damaged {label} file: {text[0]}") from None


def _content(table: _Table, source: Source, options: Options) -> Content:
    names = list(table.schema.names)
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(source.path, f"two columns are called {twice!r}")
    time = _time_column(table.schema, options, source)
    keep = _data_columns(table.schema, time, options, source)
    numbers = _read(table, sorted({*keep, *([] if time is None else [time])}), source, options)
    values = np.column_stack([numbers[c] for c in keep])
    if not len(values):
        raise InputError(source.path, "holds no rows")
    times = None if time is None else _seconds(numbers[time], table.schema.field(time))
    kept = tuple(names[c] for c in keep)
    left_out = [n for c, n in enumerate(names) if c != time and c not in keep]
    notes = (f"columns left out: {shortened(left_out)}",) if left_out else ()
    if options.transpose:
        if times is not None:
            what = "has a time column: it cannot be transposed"
            raise InputError(source.path, what, "time=none treats it as data")
        values, kept = values.T, ()
    return Content(values, "table", times, None, 0.0, kept, notes if not options.columns else ())


def _time_column(schema: Any, options: Options, source: Source) -> int | None:
    """Return the column of times: ``time=``, else by its name, else the first of dates."""
    from pyarrow import types

    names = list(schema.names)
    if options.time == "none":
        return None
    if options.time is not None:
        if options.time not in names:
            raise no_column(options.time, names, source.path)
        time = names.index(options.time)
        if not _is_readable(schema.field(time).type):
            what = f"column {options.time} holds {schema.field(time).type}, not times"
            raise InputError(source.path, what)
        return time
    by_name = [c for c, f in enumerate(schema) if units_per_second(f.name) and _is_readable(f.type)]
    dates = [c for c, f in enumerate(schema) if types.is_timestamp(f.type)]
    return next(iter(by_name + dates), None)


def _data_columns(schema: Any, time: int | None, options: Options, source: Source) -> list[int]:
    """Return the columns to keep: those asked for, else every one of numbers but time."""
    names = list(schema.names)
    if options.columns is not None:
        keep = chosen_columns(options.columns, names, source.path)
        for c in keep:
            if not _is_numeric(schema.field(c).type):
                what = f"column {names[c]} holds {schema.field(c).type}, not numbers"
                raise InputError(source.path, what)
        return keep
    keep = [
        c
        for c, field in enumerate(schema)
        if c != time and _is_numeric(field.type) and not field.name.startswith(_INDEX)
    ]
    if not keep:
        listing = ", ".join(f"{f.name} ({f.type})" for f in list(schema)[:12])
        raise InputError(source.path, f"no column of numbers: {listing or 'it has no columns'}")
    return keep


def _is_numeric(kind: Any) -> bool:
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(check(kind) for check in checks)


def _is_readable(kind: Any) -> bool:
    """Tell whether a type can be a time in seconds."""
    from pyarrow import types

    checks = (types.is_timestamp, types.is_duration, types.is_time)
    return _is_numeric(kind) or any(check(kind) for check in checks)


def _read(
    table: _Table, columns: list[int], source: Source, options: Options
) -> dict[int, Float64Array]:
    """Read columns as float64 (n_rows,), missing values NaN; times of any type are in seconds."""
    row_bytes = 8 * len(columns)
    _require_size((table.n_rows or 0) * row_bytes, source, options)
    parts: dict[int, list[Float64Array]] = {c: [np.zeros(0)] for c in columns}
    n_rows = 0
    for batch in table.batches(columns):
        batch.validate(full=True)
        n_rows += batch.num_rows
        _require_size(n_rows * row_bytes, source, options)
        for k, c in enumerate(columns):
            parts[c].append(_seconds_or_numbers(batch.column(k), table.schema.field(c)))
    return {c: np.concatenate(blocks) for c, blocks in parts.items()}


def _require_size(n_bytes: int, source: Source, options: Options) -> None:
    if n_bytes > source.size * _MOST_UNPACKED or n_bytes < 0:
        raise InputError(source.path, f"promises {n_bytes} bytes, it holds {source.size}")
    if n_bytes > options.max_bytes:
        what = f"holds {format_size(n_bytes)}, the limit is {format_size(options.max_bytes)}"
        raise LimitError(source.path, what, "raise it with max-bytes=")


def _seconds_or_numbers(column: Any, field: Any) -> Float64Array:
    """Return a column as float64 (n_rows,); dates become seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_timestamp(field.type):
        # Microseconds since 1970 are whole float64 numbers until the year 2255.
        column = pc.cast(column, pa.timestamp("us", field.type.tz), safe=False)
    if not _is_numeric(field.type):
        per_second = _PER_SECOND[column.type.unit]
        column = column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())
        return _float64(pc.cast(column, pa.float64(), safe=False)) / per_second
    return _float64(pc.cast(column, pa.float64(), safe=False))


def _seconds(times: Float64Array, field: Any) -> Float64Array:
    """Return times in seconds: those of dates are, numbers have the unit that the name states."""
    return numeric_seconds(times, field.name) if _is_numeric(field.type) else times


def _float64(column: Any) -> Float64Array:
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)
