"""Features of image stacks, (frames, height, width) or with channels last."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.features.computed import Computed, same_times
from mmalign_cli.model import FloatArray, Stream

GRAY_SIDE = 24
MOTION_SIDE = 4


def gray(stream: Stream, hop: Fraction) -> Computed:
    """Return each frame as a gray picture of at most 24 x 24 cells, (n_frames, n_cells).

    Each cell is the mean of the pixels under it.
    """
    cells = _cell_means(_pictures(stream), GRAY_SIDE)
    n, rows, columns = cells.shape
    names = tuple(f"gray_{r}_{c}" for r in range(rows) for c in range(columns))
    return same_times(stream, cells.reshape(n, -1), names)


def motion(stream: Stream, hop: Fraction) -> Computed:
    """Return the mean absolute change of the pixels per second on a 4 x 4 grid, (n_frames, 16).

    The change of a frame is the mean of the change from the one before and to the one after,
    so that it belongs to the frame's own time.
    """
    pictures = _pictures(stream)
    if len(pictures) < 2:
        raise InputError(stream.source, "1 frame has no motion: it needs at least 2")
    seconds = np.diff(stream.times)[:, np.newaxis, np.newaxis]
    steps = _cell_means(np.abs(np.diff(pictures, axis=0)), MOTION_SIDE) / seconds
    before = np.concatenate([steps[:1], steps])
    after = np.concatenate([steps, steps[-1:]])
    mean = (before + after) / 2
    n, rows, columns = mean.shape
    names = tuple(f"motion_{r}_{c}" for r in range(rows) for c in range(columns))
    return same_times(stream, mean.reshape(n, -1), names)


def _pictures(stream: Stream) -> FloatArray:
    """Return the frames as (n_frames, height, width), channels averaged."""
    pictures = np.asarray(stream.values).reshape(stream.n_frames, *stream.frame_shape)
    return np.asarray(pictures.mean(axis=-1)) if pictures.ndim == 4 else pictures


def _cell_means(pictures: FloatArray, side: int) -> FloatArray:
    """Average (n, height, width) over a grid of at most `side` x `side` cells."""
    for axis in (1, 2):
        size = pictures.shape[axis]
        edges = np.linspace(0, size, min(side, size) + 1).round().astype(np.intp)
        sums = np.add.reduceat(pictures, edges[:-1], axis=axis)
        shape = [1, 1, 1]
        shape[axis] = -1
        pictures = sums / np.diff(edges).reshape(shape)
    return pictures
