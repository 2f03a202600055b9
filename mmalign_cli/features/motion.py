"""Features of tables and arrays: markers, angles, sensors, any columns over time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.features.computed import Computed, same_times
from mmalign_cli.model import FloatArray, Stream

_AXES = ("x", "y", "z")


def raw(stream: Stream, hop: Fraction) -> Computed:
    """Return the values as they are."""
    return same_times(stream, stream.values, stream.columns)


def velocity(stream: Stream, hop: Fraction) -> Computed:
    """Return the central differences of each column, in units per second, (n_frames, n_dims)."""
    return same_times(stream, slope(stream), stream.columns)


def speed(stream: Stream, hop: Fraction) -> Computed:
    """Return the length of each point's velocity, in units per second, (n_frames, n_points)."""
    return _lengths(stream, slope(stream), "speed")


def norm(stream: Stream, hop: Fraction) -> Computed:
    """Return the length of each point's vector, (n_frames, n_points).

    Columns called ``hand_x``, ``hand_y``, ``hand_z`` are the point ``hand``; where no names
    group the columns, all of them are one point.
    """
    return _lengths(stream, stream.values, "norm")


def energy(stream: Stream, hop: Fraction) -> Computed:
    """Return the mean over the columns of the squared distance from their means, (n_frames, 1)."""
    centred = stream.values - stream.values.mean(axis=0)
    return same_times(stream, (centred**2).mean(axis=1, keepdims=True), ("energy",))


def slope(stream: Stream) -> FloatArray:
    """Return second-order central differences by the stream's own times, (n_frames, n_dims).

    Raises
    ------
    InputError
        If there is one frame only.
    """
    if stream.n_frames < 2:
        raise InputError(stream.source, "1 frame has no derivative: it needs at least 2")
    return np.asarray(np.gradient(stream.values, stream.times, axis=0))


def _lengths(stream: Stream, vectors: FloatArray, what: str) -> Computed:
    points = points_of(stream.columns, stream.n_dims)
    lengths = [np.linalg.norm(vectors[:, columns], axis=1) for columns in points.values()]
    names = tuple(f"{name}_{what}" if name else what for name in points)
    return same_times(stream, np.column_stack(lengths), names)


def points_of(columns: tuple[str, ...], n_dims: int) -> dict[str, list[int]]:
    """Group columns into points by the axis letter that ends their names.

    Parameters
    ----------
    columns : tuple of str
        Names, or empty.
    n_dims : int
        Number of columns.

    Returns
    -------
    dict
        Name of the point to its columns; all columns under ``""`` where names do not group them.
    """
    points: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        stem, axis = column[:-1].rstrip("_.: -"), column[-1:].lower()
        if axis not in _AXES or not stem:
            return {"": list(range(n_dims))}
        points.setdefault(stem, []).append(index)
    return points or {"": list(range(n_dims))}
