"""What the roads of DTW are asked, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmalign_cli.model import Float64Array, IntArray


@dataclass(frozen=True)
class Ends:
    """The boundary conditions: where in the reference the path may begin and end.

    The query is always matched whole.

    Parameters
    ----------
    open_begin : bool
        At any reference frame, not only at the first one.
    open_end : bool
        At any reference frame, not only at the last one.
    """

    open_begin: bool = False
    open_end: bool = False


CLOSED = Ends()

NO_ANCHORS: IntArray = np.zeros((0, 2), dtype=np.int64)
"""Anchors are cells (k, 2), reference and query, that the path must hold; neither column falls."""


@dataclass(frozen=True, eq=False)
class Found:
    """A path of least cost.

    Parameters
    ----------
    frames : ndarray, shape (n_steps, 2)
        Frames of reference and query.
    weights : ndarray, shape (n_steps,)
        The weight of the local cost at each cell; the first weighs 1.
    costs : ndarray, shape (n_steps,)
        The local cost of each cell, in the scale of the kernel.
    total : float
        By the dynamic programme, penalties included, in the scale of the kernel.
    precision : float
        Relative difference that rounding may make between that and the cost along the path.
    """

    frames: IntArray
    weights: Float64Array
    costs: Float64Array
    total: float
    precision: float

    def along(self, penalty: float) -> float:
        """Return the cost along the path, with `penalty` for each step that is not diagonal."""
        # Not by @: BLAS would wake threads for it, which a busy machine makes it wait for.
        total = float(np.einsum("t,t->", self.weights, self.costs))
        return total + (penalty * self.bent if penalty else 0.0)

    @property
    def bent(self) -> int:
        """Number of steps that are not diagonal."""
        return int((np.diff(self.frames, axis=0) != 1).any(axis=1).sum())
