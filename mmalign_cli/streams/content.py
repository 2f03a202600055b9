"""What a reader returns: arrays as the file holds them, not yet a Stream."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mmalign_cli.model import Array, Float64Array, Kind


@dataclass(frozen=True, eq=False)
class Content:
    """The content of a file.

    Parameters
    ----------
    values : ndarray, shape (n_frames,) or (n_frames, n_dims) or (n_frames, height, width, ...)
        Real numbers of any type; may hold NaN.
    kind : {"audio", "table", "array", "images"}
        What the file holds.
    times : ndarray, shape (n_frames,), optional
        Seconds, where the file has them.
    rate : Fraction, optional
        Frames per second, where the file has it.
    start_s : float
        Time of frame 0, where there is a rate and no times.
    columns : tuple of str
        Names of the columns, or empty.
    notes, warnings : tuple of str
        What was found on the way.
    """

    values: Array
    kind: Kind
    times: Float64Array | None = None
    rate: Fraction | None = None
    start_s: float = 0.0
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
