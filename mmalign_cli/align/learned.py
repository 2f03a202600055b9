"""Maps that were learned, and new takes aligned under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.sensors import View
from mmalign_cli.model import Float64Array, FloatArray, IntArray

_LARGEST = 0.9999


@dataclass(frozen=True, eq=False)
class StreamMap:
    """From the frames of a stream to the common space.

    Parameters
    ----------
    linear : Linear
        Of the frames, or of what `view` makes of them.
    view : View, optional
        Of noisy sensors.
    """

    linear: Linear
    view: View | None = None

    @property
    def n_dims(self) -> int:
        """Columns that a stream must have."""
        return len(self.linear.mean if self.view is None else self.view.centre)

    def __call__(self, frames: FloatArray) -> Float64Array:
        """Map frames (n, d) to (n, k)."""
        values = np.asarray(frames, dtype=np.float64)
        return self.linear(values if self.view is None else self.view(values))


@dataclass(frozen=True, eq=False)
class Learned:
    """Maps of two or more streams to a common space.

    Parameters
    ----------
    maps : tuple of m StreamMap
    correlations : ndarray, shape (k,)
        Of the coordinates of the common space, along the takes that they were learned from.
    """

    maps: tuple[StreamMap, ...]
    correlations: Float64Array

    @property
    def scale(self) -> Float64Array:
        """``sqrt(rho / (1 - rho^2))`` of each coordinate, (k,)."""
        rho = np.clip(self.correlations, 0.0, _LARGEST)
        return np.asarray(np.sqrt(rho / (1.0 - rho**2)))

    def scaled(self) -> tuple[Linear, ...]:
        """Return the linear maps to where frames are compared."""
        return tuple(Linear(f.linear.mean, f.linear.weights * self.scale) for f in self.maps)

    def latents(self, frames: Sequence[FloatArray]) -> tuple[Float64Array, ...]:
        """Return streams where their distance says how well frames match.

        Half the squared distance is then the log-likelihood of a match, but for terms of each
        frame alone.
        """
        return tuple(f(x) * self.scale for f, x in zip(self.maps, frames, strict=True))

    def warp(self, frames: Sequence[FloatArray], subject: str) -> Warp:
        """Align two streams by one DTW under the maps."""
        first, second = self.latents(frames)
        return dtw(first, second, subject=subject)

    def gains(self, frames: Sequence[FloatArray], path: IntArray) -> Float64Array:
        """Return the nats a step that each coordinate gains along a path of two, (k,).

        The log-likelihood ratio of a pair of unit normals of correlation rho to one of none, as
        `mmalign_cli.align.cca.held_out_gains` has it: these frames were not fitted.
        """
        rho = np.clip(self.correlations, 0.0, _LARGEST)
        a, b = (f(x)[p] for f, x, p in zip(self.maps, frames, path.T, strict=True))
        squares, product = (a**2 + b**2).mean(axis=0), (a * b).mean(axis=0)
        left = 1.0 - rho**2
        return np.asarray(
            -0.5 * np.log(left) - (rho**2 * squares - 2.0 * rho * product) / (2.0 * left)
        )
