"""Times that must meet, for ``--anchors FILE``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array, Float64Array, IntArray, Stream
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.registry import format_of
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES, Options
from mmalign_cli.streams.table import read_table

_FORMATS = ("csv", "tsv", "table")


def load_anchors(path: str, streams: Sequence[Stream]) -> IntArray:
    """Read anchors: a row each, a column a stream, in seconds.

    Columns go by the names in the header, ``<name>`` or ``<name>_time``, or by their order where it
    names no stream.

    Parameters
    ----------
    path : str
        The file.
    streams : sequence of Stream

    Returns
    -------
    ndarray, shape (n_anchors, n_streams)
        The frame of each stream nearest to each time.

    Raises
    ------
    InputError
        If a column is missing or too many, a time is missing or outside its stream, or an anchor
        does not come after the one before it.
    """
    source = open_source(path, DEFAULT_MAX_BYTES)
    name = format_of(source, Options())
    if name not in _FORMATS:
        raise InputError(path, f"anchors are a csv of times, not {name}")
    content = read_table(source, Options(time="none"), None)
    times = _by_columns(content, path, [stream.name for stream in streams])
    if not np.isfinite(times).all():
        row = int(np.argmin(np.isfinite(times).all(axis=1)))
        raise InputError(path, f"anchor {row + 1}: a time is missing")
    back = np.flatnonzero((np.diff(times, axis=0) <= 0).any(axis=1))
    if len(back):
        what = f"anchor {back[0] + 2} does not come after anchor {back[0] + 1} in every stream"
        raise InputError(path, what, "times must increase strictly in each column")
    frames = [_nearest(times[:, k], stream, path) for k, stream in enumerate(streams)]
    return np.unique(np.column_stack(frames), axis=0)


def _by_columns(content: Content, path: str, names: Sequence[str]) -> Array:
    header = list(content.columns)
    for wanted in ([f"{name}_time" for name in names], list(names)):
        if all(name in header for name in wanted):
            return content.values[:, [header.index(name) for name in wanted]]
        if any(name in header for name in wanted):
            lost = next(name for name in wanted if name not in header)
            raise InputError(path, f"has no column {lost!r}", f"columns: {', '.join(header)}")
    if content.values.shape[1] != len(names):
        found = content.values.shape[1]
        what = f"{found} column{'s' * (found != 1)} of numbers for {len(names)} streams"
        raise InputError(path, what, f"one column a stream: {', '.join(names)}")
    return content.values


def _nearest(times_s: Float64Array, stream: Stream, path: str) -> IntArray:
    """Return the frames of a stream nearest to some times."""
    known, slack = stream.times, stream.period_s / 2
    outside = (times_s < known[0] - slack) | (times_s > known[-1] + slack)
    if outside.any():
        row = int(np.argmax(outside))
        what = f"anchor {row + 1}: {times_s[row]:g} s is outside {stream.name}"
        raise InputError(path, what, f"it lasts from {known[0]:g} to {known[-1]:g} s")
    after = np.clip(np.searchsorted(known, times_s), 1, max(len(known) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(known) - 1)
    return np.where(times_s - known[before] <= known[after] - times_s, before, after)
