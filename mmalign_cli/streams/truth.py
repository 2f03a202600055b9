"""Known answers: matching times, or a path in frames, from csv and npy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.arrays import read_npy
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.registry import format_of
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.table import read_table


@dataclass(frozen=True, eq=False)
class Truth:
    """Matching points of the streams.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_streams)
        A column a stream, in the order of the alignment.
    unit : {"frames", "seconds"}
        What they count.
    """

    points: Float64Array
    unit: str


def read_truth(source: Source, names: Sequence[str]) -> Truth:
    """Read a known answer.

    A npy file is a path in frames. Of a csv file, columns called ``<name>_frame`` are a path
    in frames, ``<name>_time`` or ``<name>`` matching seconds. With other names, one column a
    stream in their order, the columns are frames if all are called ``..._frame``, else matching
    seconds; without any header they are frames if every number is whole.

    Parameters
    ----------
    source : Source
        The file.
    names : sequence of str
        Names of the alignment's streams.

    Raises
    ------
    InputError
        If it has no column for a stream, or is a path that goes back.
    """
    name = format_of(source, Options())
    if name == "npy":
        content = read_npy(source, Options(), None)
        truth = Truth(np.asarray(content.values, dtype=np.float64), "frames")
    elif name in ("csv", "tsv", "table"):
        truth = _by_columns(read_table(source, Options(time="none"), None), source, names)
    else:
        raise InputError(source.path, f"a truth is csv, npy or an alignment document, not {name}")
    _check(truth, source, names)
    return truth


def _by_columns(content: Content, source: Source, names: Sequence[str]) -> Truth:
    header = list(content.columns)
    for suffix, unit in (("_frame", "frames"), ("_time", "seconds"), ("", "seconds")):
        wanted = [f"{name}{suffix}" for name in names]
        if all(w in header for w in wanted):
            return Truth(content.values[:, [header.index(w) for w in wanted]], unit)
    if header:
        in_frames = all(name.endswith("_frame") for name in header)
    else:
        in_frames = bool((content.values == np.round(content.values)).all())
    return Truth(content.values, "frames" if in_frames else "seconds")


def _check(truth: Truth, source: Source, names: Sequence[str]) -> None:
    points = truth.points
    if points.ndim != 2 or points.shape[1] != len(names):
        found = points.shape[1] if points.ndim == 2 else 1
        what = f"{found} columns, the alignment has {len(names)} streams ({', '.join(names)})"
        raise InputError(source.path, what)
    if not np.isfinite(points).all():
        raise InputError(source.path, "holds missing values")
    back = np.flatnonzero((np.diff(points, axis=0) < 0).any(axis=1))
    if truth.unit == "frames" and len(back):
        raise InputError(source.path, f"the path goes back at row {back[0] + 2}")
