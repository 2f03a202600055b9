"""The warping path and the cost matrices as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import numpy as np

from mmalign_cli.errors import UsageError
from mmalign_cli.model import Array, WarpingPath
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_arrays, write_npz

_ROWS_A_PIECE = 4096
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


def csv_label(text: str) -> str:
    """Return a label that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as CSV below a header, where there is one, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow([csv_label(name) for name in header])
    writer.writerows(rows)
    return text.getvalue()


def path_csv(path: WarpingPath, names: Sequence[str]) -> Iterator[str]:
    """Yield ``step,<name>_frame,<name>_time,...``, one row a step, some thousand rows a piece."""
    header = ["step"]
    for name in names:
        header += [f"{name}_frame", f"{name}_time"]
    yield csv_text(header, [])
    for first in range(0, path.n_steps, _ROWS_A_PIECE):
        part = slice(first, min(first + _ROWS_A_PIECE, path.n_steps))
        columns: list[list[object]] = [list(range(part.start, part.stop))]
        for k in range(len(names)):
            columns += [path.frames[part, k].tolist(), path.times[part, k].tolist()]
        yield csv_text([], list(zip(*columns, strict=True)))


def _write_csv(file: IO[bytes], path: WarpingPath, names: Sequence[str]) -> None:
    file.writelines(piece.encode("utf-8", "surrogateescape") for piece in path_csv(path, names))


def _write_npy(file: IO[bytes], path: WarpingPath, names: Sequence[str]) -> None:
    np.save(file, path.frames, allow_pickle=False)


def _write_npz(file: IO[bytes], path: WarpingPath, names: Sequence[str]) -> None:
    arrays = {"frames": path.frames, "times": path.times, "streams": np.array(names)}
    write_npz(file, arrays)


_WRITERS: Mapping[str, Callable[[IO[bytes], WarpingPath, Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".npy": _write_npy,
    ".npz": _write_npz,
}


def ending_of(target: str, endings: Sequence[str], option: str) -> str:
    """Return the ending of an output's name; UsageError if it is none of `endings`."""
    for ending in endings:
        if target.lower().endswith(ending):
            return ending
    raise UsageError(option, f"{target!r} does not end in {', '.join(endings)}")


def path_ending(target: str) -> str:
    """Check the name of a ``--path`` file."""
    return ending_of(target, tuple(_WRITERS), "--path")


def write_path(outputs: Outputs, target: str, path: WarpingPath, names: Sequence[str]) -> None:
    """Write the path as csv, npy (frames alone) or npz, by the name of `target`."""
    with outputs.open(target) as file:
        _WRITERS[path_ending(target)](file, path, names)


def write_matrices(outputs: Outputs, target: str, matrices: Mapping[str, Array]) -> None:
    """Write matrices as float32 into an npz file."""
    small = {name: matrix.astype(np.float32) for name, matrix in matrices.items()}
    write_arrays(outputs, target, small)
