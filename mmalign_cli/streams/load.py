"""From a stream argument to a Stream: read, choose, cut, and mend missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import GapsError, InputError
from mmalign_cli.model import BoolArray, EvenTimes, Float64Array, FloatArray, Stream, frame_times
from mmalign_cli.streams.columns import chosen_columns
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.folder import open_input
from mmalign_cli.streams.registry import format_of, reader_of
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options, StreamSpec
from mmalign_cli.streams.times import checked_times, even_rate


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames on their way to a Stream."""

    values: FloatArray
    times: Float64Array
    notes: list[str]
    warnings: list[str]

    def keep(self, mask: BoolArray) -> _Frames:
        """Return the frames that `mask` marks."""
        if mask.all():
            return self
        return replace(self, values=self.values[mask], times=self.times[mask])


def load(spec: StreamSpec, name: str, decode_rate: Fraction | None = None) -> Stream:
    """Read a stream.

    Parameters
    ----------
    spec : StreamSpec
        The file and its keys.
    name : str
        The stream's name in every output.
    decode_rate : Fraction or None
        Samples per second to decode audio at; None keeps the file's own rate.

    Returns
    -------
    Stream
        Raw content: no feature computed yet.

    Raises
    ------
    InputError
        If the file, or what it holds, is rejected.
    """
    options = spec.options()
    source = open_input(spec.path, options.max_bytes)
    content = reader_of(format_of(source, options))(source, options, decode_rate)
    return to_stream(content, source, spec, name)


def to_stream(content: Content, source: Source, spec: StreamSpec, name: str) -> Stream:
    """Check content and make it a Stream: orientation, columns, times, cut, missing values."""
    if content.kind == "audio":
        return _sound(content, source, spec, name)
    options = spec.options()
    values = content.values
    if values.ndim == 1:
        values = values[:, np.newaxis]
    warnings = [*content.warnings, *_looks_transposed(values, content, options, source)]
    frame_shape = values.shape[1:] if content.kind == "images" else ()
    flat = values.reshape(len(values), -1)
    columns = content.columns
    if content.kind == "array" and options.columns is not None:
        flat, columns = _array_columns(flat, columns, options.columns, source.path)
    times, rate = _clock(content, len(flat), options, source, warnings)
    frames = _Frames(_as_float(flat, content), times, list(content.notes), warnings)
    frames = _cut(frames, options, source)
    dropped_from = len(frames.values)
    frames = _mend(frames, columns, options, source)
    evenly = len(frames.values) == dropped_from
    return Stream(
        name=name,
        values=frames.values,
        times=frames.times,
        rate=rate if evenly else None,
        kind=content.kind,
        columns=columns,
        frame_shape=tuple(int(n) for n in frame_shape),
        source=spec.path,
        sha256=source.sha256,
        options=dict(spec.given),
        notes=tuple(frames.notes),
        warnings=tuple(frames.warnings),
    )


def _sound(content: Content, source: Source, spec: StreamSpec, name: str) -> Stream:
    """Make a Stream of samples: the reader has cut and checked them, block by block."""
    if content.rate is None:
        raise InputError(source.path, "audio has no sample rate")
    return Stream(
        name=name,
        values=content.values[:, np.newaxis],
        times=EvenTimes(len(content.values), content.rate, content.start_s),
        rate=content.rate,
        kind="audio",
        source=spec.path,
        sha256=source.sha256,
        options=dict(spec.given),
        notes=content.notes,
        warnings=content.warnings,
    )


def _looks_transposed(
    values: FloatArray, content: Content, options: Options, source: Source
) -> list[str]:
    n_frames, n_dims = values.shape[:2]
    odd = content.kind == "array" and values.ndim == 2 and n_dims > 4 * n_frames and n_frames > 1
    if not odd or options.transpose:
        return []
    what = f"{n_dims} columns, {n_frames} rows: transposed? use transpose=true"
    return [f"{source.path}: {what}"]


def _array_columns(
    values: FloatArray, names: tuple[str, ...], wanted: Sequence[str], subject: str
) -> tuple[FloatArray, tuple[str, ...]]:
    """Keep columns of an array by name, or by number from 1 where it has no names."""
    keep = chosen_columns(
        wanted, names or tuple(str(c + 1) for c in range(values.shape[1])), subject
    )
    return values[:, keep], tuple(names[c] for c in keep) if names else ()


def _as_float(values: FloatArray, content: Content) -> FloatArray:
    """Return native float: float32 for pictures, float64 for everything else."""
    kind = np.float32 if content.kind == "images" else np.float64
    with np.errstate(invalid="ignore", over="ignore"):  # a NaN that signals; beyond float64
        return np.ascontiguousarray(values, dtype=kind)


def _clock(
    content: Content, n_frames: int, options: Options, source: Source, warnings: list[str]
) -> tuple[Float64Array, Fraction | None]:
    """Return the times of the frames, and their rate where they are evenly spaced."""
    if content.times is not None:
        times = checked_times(content.times, source.path)
        return times, even_rate(times)
    rate = options.rate or content.rate
    if rate is None:
        keys = "rate= or time=" if content.kind == "table" else "rate="
        what = f"no times in the file, taken as 1 frame a second ({keys})"
        warnings.append(f"{source.path}: {what}")
        rate = Fraction(1)
    return frame_times(n_frames, rate, content.start_s), rate


def _cut(frames: _Frames, options: Options, source: Source) -> _Frames:
    """Keep the seconds between ``start`` and ``end``."""
    start = -np.inf if options.start is None else options.start
    end = np.inf if options.end is None else options.end
    slack = 1e-9 * max(1.0, float(np.abs(frames.times).max()))
    inside = (frames.times >= start - slack) & (frames.times <= end + slack)
    kept = frames.keep(inside)
    if len(kept.values) == 0:
        first, last = frames.times[0], frames.times[-1]
        what = f"nothing between start and end: it goes from {first:g} s to {last:g} s"
        raise InputError(source.path, what)
    return kept


def _mend(frames: _Frames, columns: tuple[str, ...], options: Options, source: Source) -> _Frames:
    """Treat missing values as ``nan=`` says."""
    bad = ~np.isfinite(frames.values)
    n_bad = int(bad.sum())
    if n_bad == 0:
        return frames
    if options.nan == "error":
        frame, column = (int(k[0]) for k in np.nonzero(bad))
        where = f"row {frame + 1} column {columns[column] if columns else column + 1}"
        value = "value is" if n_bad == 1 else "values are"
        what = f"{n_bad} {value} missing or not finite, first at {where}"
        hint = "nan=interpolate fills them, nan=drop leaves frames out"
        raise GapsError(source.path, what, hint, _gaps(frames.times, bad, columns))
    if options.nan == "drop":
        kept = frames.keep(np.asarray(~bad.any(axis=1)))
        if len(kept.values) == 0:
            raise InputError(source.path, "every frame has a missing value", "try nan=interpolate")
        n_dropped = len(frames.values) - len(kept.values)
        kept.warnings.append(f"{source.path}: {n_dropped} frames with missing values dropped")
        return kept
    frames.warnings.append(f"{source.path}: {n_bad} missing values interpolated")
    return replace(frames, values=_interpolated(frames, bad, columns, source))


def _gaps(times: Float64Array, bad: BoolArray, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what is missing, once for all columns that lack the same frames; see `GapsError`."""
    alike: dict[bytes, list[int]] = {}
    for c in np.flatnonzero(bad.any(axis=0)):
        alike.setdefault(bad[:, c].tobytes(), []).append(int(c))
    gaps = []
    for held in alike.values():
        missing = bad[:, held[0]]
        edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)).reshape(-1, 2)
        spans = np.column_stack([times[edges[:, 0]], times[edges[:, 1] - 1]])
        names = [columns[c] if columns else str(c + 1) for c in held]
        gaps.append({"columns": names, "missing": int(missing.sum()), "spans": spans.tolist()})
    return gaps


def _interpolated(
    frames: _Frames,
    bad: BoolArray,
    columns: tuple[str, ...],
    source: Source,
) -> FloatArray:
    values = np.array(frames.values)
    for c in np.flatnonzero(bad.any(axis=0)):
        good = ~bad[:, c]
        if not good.any():
            column = columns[c] if columns else c + 1
            raise InputError(source.path, f"column {column} has no value", "leave it out: columns=")
        values[~good, c] = _between(frames.times[good], values[good, c], frames.times[~good])
    return values


def _between(at: Float64Array, known: FloatArray, wanted: Float64Array) -> FloatArray:
    """Return values between the known ones: as means, for a slope may be beyond any float."""
    places = np.interp(wanted, at, np.arange(len(at)))
    before = places.astype(np.intp)
    after = np.minimum(before + 1, len(at) - 1)
    share = places - before
    return np.asarray((1 - share) * known[before] + share * known[after])
