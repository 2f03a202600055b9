"""What the computation of a feature returns."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mmalign_cli.model import Float64Array, FloatArray, Stream


@dataclass(frozen=True, eq=False)
class Computed:
    """The frames of a feature.

    Parameters
    ----------
    values : ndarray, shape (n_frames, n_dims)
        Finite.
    times : ndarray, shape (n_frames,)
        Seconds on the stream's clock, of what each frame describes.
    rate : Fraction or None
        Frames per second where evenly spaced.
    columns : tuple of str
        A name for each dimension.
    """

    values: FloatArray
    times: Float64Array
    rate: Fraction | None
    columns: tuple[str, ...]


def same_times(stream: Stream, values: FloatArray, columns: tuple[str, ...]) -> Computed:
    """Return a feature with one frame for each frame of `stream`."""
    return Computed(values, stream.times, stream.rate, columns)
