"""Arrays on another clock: frames at their own rate, between those that are there."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.errors import InputError
from mmalign_cli.model import Array, Float64Array, TimeMap
from mmalign_cli.streams.arrays import read_array, read_arrays
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES
from mmalign_cli.streams.times import units_per_second
from mmalign_cli.write.npz import write_npz

_SLACK = 1e-6  # of a frame
_FRAME_BYTES = 64  # times, positions, and their neighbours
_MOST_FRAMES = 1e15  # more than any machine holds


def read_all(source: Source) -> dict[str, Array]:
    """Return the arrays of a npz file by name, or that of a npy file under an empty one.

    Raises
    ------
    InputError
        If it is damaged, or holds Python objects: they are never loaded.
    LimitError
        If it is too large.
    """
    if source.head.startswith(b"PK"):
        return read_arrays(source, DEFAULT_MAX_BYTES)
    return {"": read_array(source, DEFAULT_MAX_BYTES)}


def write_arrays(file: IO[bytes], arrays: dict[str, Array]) -> None:
    """Write what `read_all` returns, in the same kind of file."""
    if list(arrays) == [""]:
        np.save(file, arrays[""], allow_pickle=False)
        return
    write_npz(file, arrays)


def grid(first_s: float, last_s: float, rate: float) -> Float64Array:
    """Return the times k / rate from one time to another, one at least, (n_frames,).

    Raises
    ------
    LimitError
        If they are more than there is memory for.
    """
    n_frames = (last_s - first_s) * rate
    hint = "a time map may go astray: see its knots with --write-map"
    n_bytes = int(min(n_frames, _MOST_FRAMES)) * _FRAME_BYTES if n_frames > 0 else 0
    runtime.require_memory(n_bytes, None, f"{n_frames:.3g} frames", hint)
    first = int(np.ceil(first_s * rate - _SLACK))
    last = max(int(np.floor(last_s * rate + _SLACK)), first)
    return np.arange(first, last + 1) / rate


def times_name(arrays: dict[str, Array]) -> str | None:
    """Return the name of the array that holds times, if there is one."""
    return next(
        (n for n, a in arrays.items() if units_per_second(n) and n and a.dtype.kind in "fiu"), None
    )


def carried(
    arrays: dict[str, Array], time_map: TimeMap, rate: float | None, nearest: bool, path: str
) -> tuple[dict[str, Array], str]:
    """Return arrays on another clock, and what was done to them in a word.

    Where times are beside the values and no rate is asked for, only the times change. Else frame
    k of the result is at k / rate on the other clock, and holds what lies there: linearly between
    two frames, or the nearest one for whole numbers, flags and texts. Arrays without times begin at
    0 s, with the first frame repeated up to where it is.

    Parameters
    ----------
    arrays : dict of ndarray
        Time first.
    time_map : TimeMap
        From their clock to the other.
    rate : float or None
        Frames per second of the arrays without times, and of the result.
    nearest : bool
        Take the nearest frame of every array.
    path : str
        The file, for messages.

    Raises
    ------
    InputError
        If there are neither times nor a rate, or times that do not increase.
    """
    name = times_name(arrays)
    if name is not None and rate is None:
        per_second = units_per_second(name) or 1
        times_s = np.asarray(arrays[name], dtype=np.float64) / per_second
        _require_increasing(times_s.ravel(), path)
        return {**arrays, name: time_map(times_s) * per_second}, "times"
    if rate is None:
        raise InputError(path, "has no times", "say with --rate how many frames a second it has")
    n_frames = len(arrays[name]) if name else max(len(a) for a in arrays.values() if a.ndim)
    at = _times_of(arrays, name, n_frames, rate, path)
    wanted_s = grid(0.0 if name is None else float(time_map(at[0])), float(time_map(at[-1])), rate)
    positions = np.interp(time_map.inverse()(wanted_s), at, np.arange(n_frames))
    result: dict[str, Array] = {}
    for key, array in arrays.items():
        is_frames = array.ndim > 0 and len(array) == n_frames
        result[key] = between(array, positions, nearest) if is_frames else array
    if name is not None:
        result[name] = wanted_s * (units_per_second(name) or 1)
    return result, "interpolated"


def _times_of(
    arrays: dict[str, Array], name: str | None, n_frames: int, rate: float, path: str
) -> Float64Array:
    if name is None:
        return np.arange(n_frames) / rate
    times_s = np.asarray(arrays[name], dtype=np.float64).ravel() / (units_per_second(name) or 1)
    _require_increasing(times_s, path)
    return times_s


def _require_increasing(times_s: Float64Array, path: str) -> None:
    back = np.flatnonzero(~(np.diff(times_s) > 0))
    if len(back):
        raise InputError(path, f"its times do not increase at frame {back[0] + 1}")


def between(array: Array, positions: Float64Array, nearest: bool) -> Array:
    """Return frames at fractional positions (m,), of the same type."""
    if nearest or array.dtype.kind not in "fc":
        return np.asarray(array[np.floor(positions + 0.5).astype(np.int64)])
    before = np.floor(positions).astype(np.int64)
    after = np.minimum(before + 1, len(array) - 1)
    shape: Any = (-1,) + (1,) * (array.ndim - 1)
    share = (positions - before).reshape(shape)
    return np.asarray((1 - share) * array[before] + share * array[after], dtype=array.dtype)
