"""What linear maps need to be given of a noisy sensor: derivatives, and how much is going on.

An accelerometer sees what a marker does in the marker's second derivative, turned with the body;
no linear map of positions is that. Beside the components themselves stand their derivatives, and
the roots of speeds and levels, of which two sensors of one movement share most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.envelopes import level, speed
from mmalign_cli.model import Float64Array, FloatArray

_COMPONENTS = 8
_FEW_COLUMNS = 12
_AXES = 3


@dataclass(frozen=True, eq=False)
class View:
    """What is computed of a sensor's frames, the same in all takes.

    Parameters
    ----------
    components : Linear
        To the columns themselves, or to the 8 principal components of more than 12.
    centre : ndarray, shape (d,)
        Median of each column over all takes.
    """

    components: Linear
    centre: Float64Array

    @property
    def n_dims(self) -> int:
        """Columns that a stream must have."""
        return len(self.centre)

    def __call__(self, frames: FloatArray) -> Float64Array:
        """Return the view (n, k) of frames (n, d).

        Components, their first and second differences, the root of the speed and of the level of
        all columns together and, where the columns are in threes, of each point's speed; of a
        single sensor of few columns also of each point's level.
        """
        values = np.asarray(frames, dtype=np.float64)
        parts = [self.components(values)]
        parts += [np.gradient(parts[0], axis=0)]
        parts += [np.gradient(parts[1], axis=0), speed(values)[:, np.newaxis]]
        parts += [level(values)[:, np.newaxis], _points(np.gradient(values, axis=0))]
        if values.shape[1] <= _FEW_COLUMNS:
            parts.append(_points(values - self.centre))
        return np.hstack(parts)


def _points(vectors: Float64Array) -> Float64Array:
    """Return the root of the length of each three columns, (n, d / 3); none of other numbers."""
    if vectors.shape[1] % _AXES:
        return np.zeros((len(vectors), 0))
    points = vectors.reshape(len(vectors), -1, _AXES)
    return np.asarray(np.sqrt(np.linalg.norm(points, axis=2)))


def view_of(parts: Sequence[FloatArray]) -> View:
    """Return the view of one sensor, from its frames (n, d) in all takes."""
    frames = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    centre, mean = np.median(frames, axis=0), frames.mean(axis=0)
    if frames.shape[1] <= _FEW_COLUMNS:
        return View(Linear(mean, np.eye(frames.shape[1])), centre)
    _, _, axes = np.linalg.svd(frames - mean, full_matrices=False)
    return View(Linear(mean, axes[:_COMPONENTS].T), centre)
