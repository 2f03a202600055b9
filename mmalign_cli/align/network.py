"""A small multilayer perceptron: affine layers with tanh between them, the last one plain.

Frames (n, d) go to latents (n, k). Gradients are analytic, in double precision, and need nothing
but numpy: where the derivative of a function by the latents is known, `Network.back` gives its
derivative by all weights and by the frames. To an optimiser the weights are one flat vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.sensors import View
from mmalign_cli.model import Float64Array, FloatArray

FRAMES_AT_ONCE = 1024
"""Whose activations stay in the cache."""
KEPT_BYTES = 32 * 2**20
_STEEP = (0.5, 1.5)


@dataclass(frozen=True)
class Shape:
    """The layers of a network.

    Parameters
    ----------
    widths : tuple of int
        Columns of the frames, units of each hidden layer, columns of the latents.
    """

    widths: tuple[int, ...]

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        return list(zip(self.widths[:-1], self.widths[1:], strict=True))

    @property
    def size(self) -> int:
        """Number of weights: a matrix a layer, and a bias a hidden unit.

        Latents are compared about their mean: a bias of the last layer would change nothing.
        """
        return sum(n_in * n_out for n_in, n_out in self.layers) + sum(self.widths[1:-1])

    def random(self, rng: np.random.Generator) -> Float64Array:
        """Return weights (size,) that spread frames of unit variance over the bend of tanh."""
        parts = []
        for n_in, n_out in self.layers[:-1]:
            steep = rng.uniform(*_STEEP, n_out) / np.sqrt(n_in)
            parts += [(rng.normal(size=(n_in, n_out)) * steep).ravel(), rng.normal(size=n_out)]
        n_in, n_out = self.layers[-1]
        parts.append(rng.normal(size=n_in * n_out) / np.sqrt(n_in))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Network:
    """A network with its weights.

    Parameters
    ----------
    shape : Shape
    weights : ndarray, shape (size,)
        The matrix of each layer, row by row, and after it the biases.
    """

    shape: Shape
    weights: Float64Array

    def _layers(self) -> list[tuple[Float64Array, Float64Array]]:
        """Return the matrix and the bias of each layer, as views; of the last, an empty bias."""
        found, at = [], 0
        for number, (n_in, n_out) in enumerate(self.shape.layers, 1):
            matrix = self.weights[at : at + n_in * n_out].reshape(n_in, n_out)
            at += n_in * n_out
            n_biases = n_out if number < len(self.shape.layers) else 0
            found.append((matrix, self.weights[at : at + n_biases]))
            at += n_biases
        return found

    def forward(self, frames: Float64Array) -> tuple[Float64Array, list[Float64Array]]:
        """Return the latents (n, k) of frames (n, d), and what each hidden layer held for them."""
        hidden: list[Float64Array] = []
        values = frames
        for matrix, bias in self._layers():
            values = values @ matrix
            if len(bias):
                values += bias
                np.tanh(values, out=values)
                hidden.append(values)
        return values, hidden

    def back(
        self, frames: Float64Array, hidden: Sequence[Float64Array], by_latents: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Carry a derivative by the latents (n, k) back through the layers.

        Parameters
        ----------
        frames : ndarray, shape (n, d)
        hidden : sequence of ndarray
            What `forward` returned beside the latents.
        by_latents : ndarray, shape (n, k)

        Returns
        -------
        by_weights : ndarray, shape (size,)
        by_frames : ndarray, shape (n, d)
        """
        parts: list[Float64Array] = []
        slope, inputs, layers = by_latents, [frames, *hidden], self._layers()
        for number in reversed(range(len(layers))):
            matrix, bias = layers[number]
            if len(bias):
                own = inputs[number + 1]
                slope *= 1.0 - own * own  # of tanh; the array was made by the layer after
                parts.append(np.ones(len(slope)) @ slope)
            parts.append((inputs[number].T @ slope).ravel())
            slope = slope @ matrix.T
        return np.concatenate(parts[::-1]), slope


class Pass:
    """Many frames on their way through a network, in blocks that stay in the cache.

    What the hidden layers hold is kept for the way back while it is little, and made again beyond.

    Parameters
    ----------
    network : Network
    frames : ndarray, shape (n, d)
    """

    def __init__(self, network: Network, frames: Float64Array) -> None:
        self._network, self._frames = network, frames
        self._kept: list[list[Float64Array]] = []
        self.latents = np.empty((len(frames), network.shape.widths[-1]))
        room = KEPT_BYTES
        for block in self._blocks():
            self.latents[block], hidden = network.forward(frames[block])
            room -= sum(layer.nbytes for layer in hidden)
            if room >= 0:
                self._kept.append(hidden)

    def _blocks(self) -> list[slice]:
        return [slice(k, k + FRAMES_AT_ONCE) for k in range(0, len(self._frames), FRAMES_AT_ONCE)]

    def back(self, by_latents: Float64Array) -> Float64Array:
        """Return the derivative by the weights, (size,), of that by the latents (n, k)."""
        total = np.zeros(self._network.shape.size)
        for number, block in enumerate(self._blocks()):
            frames = self._frames[block]
            is_kept = number < len(self._kept)
            hidden = self._kept[number] if is_kept else self._network.forward(frames)[1]
            total += self._network.back(frames, hidden, by_latents[block])[0]
        return total


def in_context(frames: Float64Array, length: int) -> Float64Array:
    """Return frames (n, d) beside their neighbours, (n, length * d).

    Parameters
    ----------
    length : int
        Frames that each sees, itself in the middle: odd. Beyond the ends the outermost repeats.
    """
    if length == 1:
        return frames
    at = np.arange(len(frames))
    shifts = range(-(length // 2), length // 2 + 1)
    return np.hstack([frames[np.clip(at + s, 0, len(frames) - 1)] for s in shifts])


@dataclass(frozen=True, eq=False)
class Perception:
    """What a network makes of the frames of a stream.

    Parameters
    ----------
    white : Linear
        Whitening of the frames, or of what `view` makes of them.
    context : int
        Frames that the network sees at once.
    network : Network
    view : View, optional
        Of noisy sensors.
    """

    white: Linear
    context: int
    network: Network
    view: View | None = None

    @property
    def n_dims(self) -> int:
        """Columns that a stream must have."""
        return len(self.white.mean) if self.view is None else self.view.n_dims

    def __call__(self, frames: FloatArray) -> Float64Array:
        """Map frames (n, d) to latents (n, k)."""
        values = np.asarray(frames, dtype=np.float64)
        white = self.white(values if self.view is None else self.view(values))
        return Pass(self.network, in_context(white, self.context)).latents
