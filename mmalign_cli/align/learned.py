"""Maps that were learned, and new takes aligned under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmalign_cli.align.choices import MOST_CONTEXT
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.network import Network, Perception, Shape
from mmalign_cli.align.sensors import View
from mmalign_cli.errors import InputError
from mmalign_cli.model import Alignment, Array, Float64Array, FloatArray, IntArray

_LARGEST = 0.9999
_ARRAYS = (
    "mean", "weights", "view_mean", "view_weights", "view_centre", "white_mean", "white_weights",
    "network_widths", "network_weights", "context",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class StreamMap:
    """From the frames of a stream to the common space.

    Parameters
    ----------
    linear : Linear
        Of the frames, or of what `view` makes of them.
    view : View or Perception, optional
        Of noisy sensors; or a network.
    """

    linear: Linear
    view: View | Perception | None = None

    @property
    def n_dims(self) -> int:
        """Columns that a stream must have."""
        return len(self.linear.mean) if self.view is None else self.view.n_dims

    def __call__(self, frames: FloatArray) -> Float64Array:
        """Map frames (n, d) to (n, k)."""
        values = np.asarray(frames, dtype=np.float64)
        return self.linear(values if self.view is None else self.view(values))


def arrays_of(one: StreamMap) -> dict[str, Array]:
    """Return all that a map is made of, by name."""
    return {"mean": one.linear.mean, "weights": one.linear.weights, **_before(one.view)}


def _before(view: View | Perception | None) -> dict[str, Array]:
    """Return the arrays of what comes before the linear map."""
    if view is None:
        return {}
    if isinstance(view, View):
        return {
            "view_mean": view.components.mean,
            "view_weights": view.components.weights,
            "view_centre": view.centre,
        }
    return {
        "white_mean": view.white.mean,
        "white_weights": view.white.weights,
        "network_widths": np.array(view.network.shape.widths),
        "network_weights": view.network.weights,
        "context": np.array([view.context]),
        **_before(view.view),
    }


def map_of(arrays: Mapping[str, Any]) -> StreamMap:
    """Return the map that is made of arrays, or lists, as `arrays_of` names them.

    Raises
    ------
    ValueError, KeyError, TypeError
        If they do not make one.
    """
    own = {name: np.asarray(arrays[name]) for name in _ARRAYS if name in arrays}
    view = None
    if "view_centre" in own:
        view = View(Linear(own["view_mean"], own["view_weights"]), own["view_centre"])
    linear = Linear(own["mean"], own["weights"])
    if "network_weights" not in own:
        return StreamMap(linear, view)
    shape = Shape(tuple(int(width) for width in own["network_widths"]))
    weights = np.asarray(own["network_weights"], dtype=np.float64)
    if min(shape.widths) < 1 or weights.shape != (shape.size,):
        raise ValueError("these are not the weights of such a network")
    context = int(own["context"].item())
    if not 1 <= context <= MOST_CONTEXT:
        raise ValueError("not a number of frames that a network sees")
    white = Linear(own["white_mean"], own["white_weights"])
    return StreamMap(linear, Perception(white, context, Network(shape, weights), view))


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

    def scaled(self) -> tuple[StreamMap, ...]:
        """Return the maps to where frames are compared."""
        return tuple(
            StreamMap(Linear(f.linear.mean, f.linear.weights * self.scale), f.view)
            for f in self.maps
        )

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


def as_compared(alignment: Alignment, stream: int, values: FloatArray) -> FloatArray:
    """Return frames (n, d) of one of an alignment's streams as they were compared.

    Raises
    ------
    InputError
        If the alignment's maps are not of such frames.
    """
    if alignment.projections is None:
        return values
    try:
        told = alignment.projections[stream]
        mapped = map_of({**told, **told.get("before", {})})(values)
    except (ValueError, LookupError, TypeError, AttributeError):
        name = alignment.streams[stream].name
        raise InputError(name, "does not fit the alignment's projections") from None
    return mapped


def projection_of(name: str, one: StreamMap) -> Mapping[str, Any]:
    """Return the map of a stream as a document has it."""
    arrays = {key: array.tolist() for key, array in arrays_of(one).items()}
    told = {"stream": name, "mean": arrays.pop("mean"), "weights": arrays.pop("weights")}
    return told | ({"before": arrays} if arrays else {})
