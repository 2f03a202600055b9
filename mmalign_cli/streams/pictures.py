"""The pictures of a container: small and gray, at the times of their presentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array, FloatArray
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.audio import Joined
from mmalign_cli.streams.container import Media
from mmalign_cli.streams.content import Content

_SLACK_S = 1e-6


def read_pictures(media: Media, side: int) -> Content:
    """Decode a track of pictures, each reduced to the mean gray levels of its cells.

    With 48 cells along each side an hour at 25 frames a second is 0.8 GB, whatever the size of
    the pictures.

    Parameters
    ----------
    media : Media
        The open container; its options choose track, start and end.
    side : int
        Cells along each side, if there are as many pixels.

    Returns
    -------
    Content
        Values float32 (n_frames, height, width), from 0 to 255; times in seconds, as presented.

    Raises
    ------
    InputError
        If the track is damaged, cut short or empty, or the size of its pictures changes.
    LimitError
        If there are more pictures than ``max-bytes=`` allows.
    """
    options, path = media.options, media.source.path
    start = -np.inf if options.start is None else options.start - _SLACK_S
    end = np.inf if options.end is None else options.end + _SLACK_S
    reduced, joined = _Reduced(path, side), Joined(0)
    times: list[float] = []
    n_left_out = 0
    for frame in media.frames(media.track("video")):
        seconds = _seconds(frame, times, media)
        if seconds is None or (times and seconds <= times[-1]):
            n_left_out += 1
        elif seconds > end:
            break
        elif seconds >= start:
            picture = reduced(frame)
            _require_room(picture.nbytes * (len(times) + 1), media)
            joined.add(picture.ravel())
            times.append(seconds)
    if not times:
        what = "no pictures" if start == -np.inf and end == np.inf else "no picture there: start="
        raise InputError(path, what)
    if n_left_out:
        what = f"{n_left_out} pictures without a time later than the one before left out"
        media.warnings.append(f"{path}: {what}")
    values = joined.samples().reshape(len(times), *reduced.shape)
    notes = (f"pictures reduced to {reduced.shape[1]} x {reduced.shape[0]}",)
    return Content(values, "images", np.array(times), None, 0.0, (), notes, tuple(media.warnings))


def _seconds(frame: Any, before: list[float], media: Media) -> float | None:
    """Return when a picture is presented; the last of an AVI, without times, at its pace."""
    at = media.seconds(frame)
    if at is not None:
        return float(at)
    if media.has_decoding_times and len(before) > 1:
        return 2 * before[-1] - before[-2]
    return None


def _require_room(n_bytes: int, media: Media) -> None:
    if n_bytes > media.options.max_bytes:
        what = f"its pictures take more than the limit of {format_size(media.options.max_bytes)}"
        raise LimitError(media.source.path, what, "raise it with max-bytes=, or cut: start=, end=")


class _Reduced:
    """The reduction of pictures to cells: as many for every picture as for the first."""

    def __init__(self, path: str, side: int) -> None:
        self.shape = (0, 0)
        self._side = side
        self._path = path

    def __call__(self, frame: Any) -> FloatArray:
        """Return the mean gray level of each cell of a frame, float32 (height, width)."""
        gray = frame.to_ndarray(format="gray")
        shape = (min(self._side, gray.shape[0]), min(self._side, gray.shape[1]))
        if self.shape == (0, 0):
            self.shape = shape
        if shape != self.shape:
            raise InputError(self._path, f"the size of its pictures changes to {gray.shape}")
        return _cell_means(gray, shape)


def _cell_means(gray: Array, shape: tuple[int, int]) -> FloatArray:
    """Average whole numbers (height, width) over a grid of cells that differ by a pixel at most."""
    sums = gray
    n_pixels = np.ones(shape)
    for axis in (0, 1):
        edges = np.linspace(0, gray.shape[axis], shape[axis] + 1).round().astype(np.intp)
        sums = np.add.reduceat(sums, edges[:-1], axis=axis, dtype=np.uint32)
        n_pixels *= np.expand_dims(np.diff(edges), 1 - axis)
    return np.asarray(sums / n_pixels, dtype=np.float32)
