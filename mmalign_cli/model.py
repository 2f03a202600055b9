"""The values that the stages hand on: frozen, with read-only arrays, checked once when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Float64Array: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

Kind: TypeAlias = Literal["audio", "table", "array", "images"]
"""What a stream was before any feature: it decides which features apply and how it is written."""


class InvalidValueError(ValueError):
    """A value that breaks an invariant of the model: a fault of the code that made it."""


def _frozen(array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Array:
    """Return `array` as a read-only array, without copying where that is safe."""
    result = np.asarray(array, dtype=dtype)
    if result.flags.writeable:
        result = result.view()
        result.flags.writeable = False
    return result


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise InvalidValueError(message)


def frame_times(n_frames: int, rate: Fraction, start_s: float = 0.0) -> Float64Array:
    """Return the times of frames at a rational rate, each rounded once: nothing accumulates.

    Parameters
    ----------
    n_frames : int
        Number of frames.
    rate : Fraction
        Frames per second.
    start_s : float
        Time of frame 0, in seconds.

    Returns
    -------
    ndarray, shape (n_frames,)
        ``start_s + k / rate`` in seconds.
    """
    index = np.arange(n_frames, dtype=np.float64)
    return start_s + index * float(rate.denominator) / float(rate.numerator)


@dataclass(frozen=True)
class EvenTimes:
    """Times that are not spelled out: frame k at ``start_s + k / rate``.

    The times of the samples of an hour of sound would take more memory than the samples.
    """

    n_frames: int
    rate: Fraction
    start_s: float = 0.0


class _Times:
    """The field `Stream.times`: `EvenTimes` are spelled out when they are asked for."""

    def __get__(self, stream: Stream | None, owner: type) -> Float64Array:
        if stream is None:  # where a dataclass looks for a default: there is none
            raise AttributeError("times")
        times: Float64Array | EvenTimes = vars(stream)["_times"]
        if isinstance(times, EvenTimes):
            return frame_times(times.n_frames, times.rate, times.start_s)
        return times

    def __set__(self, stream: Stream, times: Float64Array | EvenTimes) -> None:
        vars(stream)["_times"] = times


@dataclass(frozen=True, eq=False)
class Stream:
    """One time sequence: values on a clock of its own.

    Parameters
    ----------
    name : str
        Its name in every output.
    values : ndarray, shape (n_frames, n_dims)
        float32 or float64, finite.
    times : ndarray, shape (n_frames,)
        Seconds on the stream's own clock, strictly increasing; made of `EvenTimes` too.
    rate : Fraction or None
        Frames per second where the frames are evenly spaced, else None.
    kind : {"audio", "table", "array", "images"}
        What the file held.
    columns : tuple of str
        A name for each dimension, or empty.
    frame_shape : tuple of int
        The shape of one frame before it was flattened; ``(n_dims,)`` but for images.
    source : str
        The file as the user named it, ``-`` for standard input.
    sha256 : str
        Digest of the file's bytes.
    features : str
        The feature that `values` hold; ``raw`` as read.
    options : Mapping
        The keys given for this stream, as text: enough to read it again.
    notes : tuple of str
        What was done to it that the user may want to know (``-v`` shows it).
    warnings : tuple of str
        What the user should look at.

    Raises
    ------
    InvalidValueError
        If an array breaks one of the invariants above.
    """

    name: str
    values: FloatArray
    times: _Times = _Times()
    rate: Fraction | None = None
    kind: Kind = "array"
    columns: tuple[str, ...] = ()
    frame_shape: tuple[int, ...] = ()
    source: str = ""
    sha256: str = ""
    features: str = "raw"
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = _frozen(self.values)
        _require(values.ndim == 2, f"values must be (n_frames, n_dims), not {values.shape}")
        _require(values.dtype in (np.float32, np.float64), f"values are {values.dtype}")
        _require(len(values) > 0 and values.shape[1] > 0, "a stream holds at least one value")
        self._check_times(len(values))
        _require(bool(np.isfinite(values).all()), "values are finite")
        _require(len(self.columns) in (0, values.shape[1]), "one name a column")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "frame_shape", self.frame_shape or (values.shape[1],))

    def _check_times(self, n_frames: int) -> None:
        given = vars(self)["_times"]
        if isinstance(given, EvenTimes):
            _require(given.n_frames == n_frames, "one time a frame")
            return
        times = _frozen(given, np.float64)
        _require(times.shape == (n_frames,), "one time a frame")
        _require(np.isfinite(times).all(), "times are finite")
        _require((np.diff(times) > 0).all(), "times increase strictly")
        object.__setattr__(self, "times", times)

    @property
    def start_s(self) -> float:
        """Time of the first frame, in seconds."""
        times = vars(self)["_times"]
        return times.start_s if isinstance(times, EvenTimes) else float(times[0])

    @property
    def end_s(self) -> float:
        """Time of the last frame, in seconds."""
        times = vars(self)["_times"]
        if isinstance(times, EvenTimes):
            return times.start_s + (times.n_frames - 1) * float(1 / times.rate)
        return float(times[-1])

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.values)

    @property
    def n_dims(self) -> int:
        """Number of values a frame."""
        return int(self.values.shape[1])

    @property
    def period_s(self) -> float:
        """Mean seconds between frames; 1.0 for a single frame without a rate."""
        if self.rate is not None:
            return float(1 / self.rate)
        if self.n_frames == 1:
            return 1.0
        return float(self.times[-1] - self.times[0]) / (self.n_frames - 1)

    def info(self) -> StreamInfo:
        """Return what the alignment document says of this stream."""
        return StreamInfo(
            name=self.name,
            source=self.source,
            sha256=self.sha256,
            frames=self.n_frames,
            dims=self.n_dims,
            rate=None if self.rate is None else float(self.rate),
            start_s=self.start_s,
            end_s=self.end_s,
            kind=self.kind,
            features=self.features,
            options=dict(self.options),
        )


_MOST_FRAMES, _SHORTEST_S = 1 << 53, 1e-12
"""Frames that can be counted, and the time between two of them."""


@dataclass(frozen=True)
class StreamInfo:
    """A stream without its values: what a document holds of it.

    Raises
    ------
    InvalidValueError
        If so many frames do not fit between its start and its end.
    """

    name: str
    source: str
    sha256: str
    frames: int
    dims: int
    rate: float | None
    start_s: float
    end_s: float
    kind: Kind = "array"
    features: str = "raw"
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(0 < self.frames < _MOST_FRAMES, "no stream has so many frames")
        length_s = self.end_s - self.start_s
        _require(self.frames == 1 or length_s > _SHORTEST_S * (self.frames - 1), "frames lie apart")


@dataclass(frozen=True, eq=False)
class WarpingPath:
    """The warping path: one row per step, one column per stream.

    Parameters
    ----------
    frames : ndarray, shape (n_steps, n_streams)
        0-based frame indices, int64; float64 where an aligner gives fractions of a frame.
    times : ndarray, shape (n_steps, n_streams)
        The same in seconds on each stream's own clock.

    Raises
    ------
    InvalidValueError
        If a column decreases, or a step moves no stream.
    """

    frames: IntArray | Float64Array
    times: Float64Array

    def __post_init__(self) -> None:
        frames, times = _frozen(self.frames), _frozen(self.times, np.float64)
        _require(frames.ndim == 2 and len(frames) > 0, "a path is (n_steps, n_streams)")
        _require(frames.dtype in (np.int64, np.float64), f"frames are {frames.dtype}")
        _require(times.shape == frames.shape, "one time a frame index")
        moves = frames[1:] - frames[:-1]
        _require(moves.min(initial=0) >= 0, "the path is monotone")
        _require((sum(moves.T) > 0).all(), "every step moves a stream")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "times", times)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class TimeMap:
    """A strictly increasing, piecewise-linear map of one clock to another.

    Outside its knots both clocks run at the same speed. So one knot is a plain offset, and
    inverses and compositions of maps are maps again, without loss.

    Parameters
    ----------
    stream, to : str
        Names of the stream whose seconds go in, and of the one whose seconds come out.
    knots : ndarray, shape (n_knots, 2)
        Pairs of matching seconds, strictly increasing in both columns.

    Raises
    ------
    InvalidValueError
        If a knot is no number of seconds, or does not increase in both columns.
    """

    stream: str
    to: str
    knots: Float64Array

    def __post_init__(self) -> None:
        knots = _frozen(self.knots, np.float64)
        _require(knots.ndim == 2 and knots.shape[1] == 2 and len(knots) > 0, "knots are (n, 2)")
        _require(np.isfinite(knots).all(), "knots are finite")
        steps = knots[1:] - knots[:-1]
        _require(bool((steps > 0).all()), "knots increase in both columns")
        with np.errstate(over="ignore", divide="ignore"):
            speeds = steps[:, 1] / steps[:, 0]
            extremes = speeds.max(initial=1.0), 1 / speeds.min(initial=1.0)
        _require(bool(np.isfinite(extremes).all()), "speeds are finite")
        object.__setattr__(self, "knots", knots)

    def __call__(self, times_s: npt.ArrayLike) -> Float64Array:
        """Map seconds of `stream` to seconds of `to`.

        Parameters
        ----------
        times_s : array_like
            Seconds, any shape.

        Returns
        -------
        ndarray
            Seconds on the other clock, of the same shape.
        """
        t = np.asarray(times_s, dtype=np.float64)
        x, y = self.knots[:, 0], self.knots[:, 1]
        inside = np.interp(t, x, y)
        outside = np.where(t < x[0], t - x[0], np.where(t > x[-1], t - x[-1], 0.0))
        return np.asarray(inside + outside, dtype=np.float64)

    def inverse(self) -> TimeMap:
        """Return the map of `to` back to `stream`."""
        return TimeMap(self.to, self.stream, self.knots[:, ::-1])

    def then(self, after: TimeMap) -> TimeMap:
        """Return the composition: first this map, then `after`.

        Parameters
        ----------
        after : TimeMap
            A map from the clock that this one leads to.

        Returns
        -------
        TimeMap
            From `stream` to ``after.to``; its knots are the corners of both maps.

        Raises
        ------
        InvalidValueError
            If `after` starts at another clock.
        """
        _require(after.stream == self.to, f"cannot go from {self.to!r} on to {after.stream!r}")
        corners = np.union1d(self.knots[:, 0], self.inverse()(after.knots[:, 0]))
        knots = np.column_stack([corners, after(self(corners))])
        return TimeMap(self.stream, after.to, knots[_increasing(knots)])


def _increasing(knots: Float64Array) -> BoolArray:
    """Mark the knots to keep: corners that coincide to within rounding are one knot."""
    spacing = 8 * np.spacing(np.abs(knots).max(axis=0))
    keep = np.ones(len(knots), dtype=np.bool_)
    keep[1:] = (np.diff(knots, axis=0) > spacing).all(axis=1)
    return keep


@dataclass(frozen=True)
class Cost:
    """What a path costs.

    Parameters
    ----------
    total : float
        Sum of the local costs along the path, times the weight of each step, in float64.
    mean : float
        `total` divided by the number of steps.
    normalized : float or None
        `total` by the step pattern's own normalisation, where it has one.
    penalty : float
        Sum of the penalties of the steps that are not diagonal; not part of `total`.
    """

    total: float
    mean: float
    normalized: float | None = None
    penalty: float = 0.0


@dataclass(frozen=True)
class Match:
    """An occurrence of the query in the reference: first and last frame, their times, cost."""

    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    cost: Cost


@dataclass(frozen=True, eq=False)
class Alignment:
    """The result: streams, path, time maps, costs, how it was found, how far to trust it."""

    method: str
    parameters: Mapping[str, Any]
    streams: tuple[StreamInfo, ...]
    path: WarpingPath | None
    time_maps: tuple[TimeMap, ...]
    cost: Cost
    optimizer: Mapping[str, Any] | None = None
    projections: tuple[Mapping[str, Any], ...] | None = None
    confidence: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    matches: tuple[Match, ...] | None = None

    def __post_init__(self) -> None:
        names = [s.name for s in self.streams]
        _require(len(names) >= 2, "an alignment has at least two streams")
        _require(len(set(names)) == len(names), "stream names are unique")
        if self.path is not None:
            _require(self.path.frames.shape[1] == len(names), "one path column a stream")
        _require([m.stream for m in self.time_maps] == names[1:], "one time map a further stream")
        _require(all(m.to == names[0] for m in self.time_maps), "time maps lead to the reference")

    @property
    def reference(self) -> StreamInfo:
        """The stream whose clock the others are mapped to."""
        return self.streams[0]
