"""The mean of aligned streams, and how far they spread, as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import IO

import numpy as np

from mmalign_cli.model import Float64Array
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_npz
from mmalign_cli.write.path import csv_text, ending_of


def _write_csv(
    file: IO[bytes], times: Float64Array, arrays: Sequence[Float64Array], columns: Sequence[str]
) -> None:
    header = ["time", *columns, *(f"{name}_spread" for name in columns)]
    rows = np.column_stack([times, *arrays]).tolist()
    file.write(csv_text(header, rows).encode("utf-8", "surrogateescape"))


def _write_npy(
    file: IO[bytes], times: Float64Array, arrays: Sequence[Float64Array], columns: Sequence[str]
) -> None:
    np.save(file, arrays[0], allow_pickle=False)


def _write_npz(
    file: IO[bytes], times: Float64Array, arrays: Sequence[Float64Array], columns: Sequence[str]
) -> None:
    mean, spread = arrays
    names = np.array(columns, dtype=np.str_)
    write_npz(file, {"values": mean, "spread": spread, "times": times, "columns": names})


_WRITERS: Mapping[str, Callable[..., None]] = {
    ".csv": _write_csv,
    ".npy": _write_npy,
    ".npz": _write_npz,
}


def average_ending(target: str) -> str:
    """Check the name of an ``--average`` file."""
    return ending_of(target, tuple(_WRITERS), "--average")


def write_average(
    outputs: Outputs,
    target: str,
    times: Float64Array,
    mean: Float64Array,
    spread: Float64Array,
    columns: Sequence[str],
) -> None:
    """Write an average as csv or npz, or its mean alone as npy, by the name of `target`.

    Parameters
    ----------
    outputs : Outputs
    target : str
    times : ndarray, shape (t,)
        Seconds of the common time line.
    mean, spread : ndarray, shape (t, d)
    columns : sequence of str
        A name for each of the d columns.
    """
    with outputs.open(target) as file:
        _WRITERS[average_ending(target)](file, times, (mean, spread), columns)
