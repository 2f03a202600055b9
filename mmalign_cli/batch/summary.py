"""What came out of a batch as tables: ``summary.csv``, ``summary.parquet``, ``failed.csv``."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mmalign_cli.batch.job import FAILED, Record
from mmalign_cli.batch.manifest import OWN_COLUMNS, PAIR, rows_text
from mmalign_cli.errors import UsageError
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.path import csv_label

SUMMARY, PARQUET, FAILURES = "summary.csv", "summary.parquet", "failed.csv"
_ROWS_A_PIECE = 4096


def _of(*keys: str) -> Callable[[Record], Any]:
    """Return what reads a field of a field of a record."""

    def read(record: Record) -> Any:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    return read


def _listed(key: str) -> Callable[[Record], Any]:
    return lambda record: " ".join(map(str, record.get(key) or ()))


def _error(record: Record) -> str | None:
    error = record.get("error")
    return None if error is None else f"{error['subject']}: {error['what']}"


def _memory_mb(record: Record) -> float | None:
    return None if "memory" not in record else round(record["memory"] / 1024**2, 1)


COLUMNS: Mapping[str, tuple[str, Callable[[Record], Any]]] = {
    "id": ("string", _of("id")),
    "status": ("string", _of("status")),
    "method": ("string", _of("method")),
    "streams": ("string", _listed("streams")),
    "frames": ("string", _listed("frames")),
    "cost_total": ("float64", _of("cost", "total")),
    "cost_mean": ("float64", _of("cost", "mean")),
    "cost_normalized": ("float64", _of("cost", "normalized")),
    "evidence": ("float64", _of("confidence", "evidence")),
    "p_value": ("float64", _of("confidence", "p_value")),
    "supported": ("bool_", _of("confidence", "supported")),
    "path_difference": ("float64", _of("errors", "path_difference")),
    "mean_abs_frames": ("float64", _of("errors", "mean_abs_frames")),
    "median_abs_seconds": ("float64", _of("errors", "median_abs_seconds")),
    "p90_abs_seconds": ("float64", _of("errors", "p90_abs_seconds")),
    "verdict": ("string", _of("audit", "verdict")),
    "greatest_error": ("float64", _of("audit", "greatest_error")),
    "offset": ("float64", _of("audit", "offset")),
    "offset_error": ("float64", _of("audit", "offset_error")),
    "drift_ppm": ("float64", _of("audit", "drift_ppm")),
    "breaks": ("int64", _of("audit", "breaks")),
    "seconds": ("float64", _of("seconds")),
    "memory_mb": ("float64", _memory_mb),
    "warnings": ("int64", lambda record: len(record.get("warnings", ()))),
    "exit_code": ("int64", _of("error", "code")),
    "reason": ("string", _error),
}
"""Columns of the summary: name to type, and what reads it off a record."""


def _rows(records: Iterable[Record]) -> Iterator[list[Any]]:
    for record in records:
        yield [read(record) for _, read in COLUMNS.values()]


def write_summary(outputs: Outputs, folder: str, records: Iterable[Record]) -> None:
    """Write ``summary.csv``, some thousand rows at a time."""
    rows = _rows(records)
    with outputs.open(os.path.join(folder, SUMMARY)) as file:
        file.write((",".join(COLUMNS) + "\n").encode())
        while piece := list(itertools.islice(rows, _ROWS_A_PIECE)):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(
                [csv_label(cell) if isinstance(cell, str) else cell for cell in row]
                for row in piece
            )
            file.write(text.getvalue().encode())


def write_parquet(outputs: Outputs, folder: str, records: Iterable[Record]) -> None:
    """Write ``summary.parquet``, some thousand rows at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    fields = [(name, getattr(pyarrow, kind)()) for name, (kind, _) in COLUMNS.items()]
    schema, rows = pyarrow.schema(fields), _rows(records)
    with (
        outputs.open(os.path.join(folder, PARQUET)) as file,
        ParquetWriter(file, schema) as writer,
    ):
        while piece := list(itertools.islice(rows, _ROWS_A_PIECE)):
            named = [dict(zip(COLUMNS, row, strict=True)) for row in piece]
            writer.write_table(pyarrow.Table.from_pylist(named, schema=schema))


def require_parquet() -> None:
    """Refuse to write parquet where that cannot be done.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    """
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise UsageError("--parquet", "pyarrow is not installed", 'pip install "mmalign[parquet]"')


def write_failures(outputs: Outputs, folder: str, records: Iterable[Record]) -> int:
    """Write ``failed.csv``: the rows that failed as a manifest, with a column that says why.

    Returns
    -------
    int
        How many there are.
    """
    rows = [
        {**record["row"], "reason": _error(record) or ""}
        for record in records
        if record["status"] == FAILED
    ]
    with outputs.open(os.path.join(folder, FAILURES)) as file:
        file.write(rows_text(rows, (*OWN_COLUMNS, *PAIR)).encode())
    return len(rows)
