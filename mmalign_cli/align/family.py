"""What the aligners of the papers' family are told, and what they find.

The family (Zhou and De la Torre, 2012, 2016): Procrustes DTW, derivative DTW, iterative motion
warping and canonical time warping, which align each sequence to the mean of all, and Generalized
Time Warping, whose warps are combinations of bases. All alternate between maps and warps on a
common time line of `length` steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress

DEFAULT_BASIS = "spline:24:1"
LONGER = 1.1
"""Steps of the common time line by the frames of the longest sequence."""
_LEAST_FRAMES = 6


@dataclass(frozen=True, eq=False)
class Start:
    """Warps to begin from: the frame of each sequence at even steps, or on any path.

    Parameters
    ----------
    name : str
    path : ndarray, shape (n_steps, m)
        No column falls; fractions are fine.
    """

    name: str
    path: Float64Array


@dataclass(frozen=True)
class Settings:
    """What an aligner of the family is told.

    Parameters
    ----------
    dims : float or None
        Dimensions of the common space; below 1 the share of the sum of correlations that they
        hold in the first round. None: `gtw` chooses on held-out steps, `pctw` takes 0.95. Of
        these two alone, as is `ridge`.
    ridge : float or None
        Regularization relative to each sequence's mean variance. None: none where a sequence has
        at least ten frames a dimension, else 0.05.
    length : int or None
        Steps of the common time line. None: 1.1 times the frames of the longest sequence,
        of `gtw` at least 300.
    rounds : int or None
        At most, from each start; None leaves it to the algorithm.
    tolerance_frames : float
        Path difference between rounds at which a start has converged.
    basis : str
        Bases of the warps of `gtw`: see `mmalign_cli.align.bases`.
    smoothness : float
        Of `gtw`: weight of the mean squared deviation of the warps' speed from an even one.
    ends : OpenEnds
        Of `gtw`: whether sequences may be left unmatched before and after.
    starts : sequence of Start
        To begin from beside the algorithm's own, such as paths from pairwise alignments.
    own_starts : int or None
        How many of the own starts of `gtw`; None takes all.
    """

    dims: float | None = None
    ridge: float | None = None
    length: int | None = None
    rounds: int | None = None
    tolerance_frames: float = 0.01
    basis: str = DEFAULT_BASIS
    smoothness: float = 0.0
    ends: OpenEnds = CLOSED_ENDS
    starts: Sequence[Start] = ()
    own_starts: int | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """An alignment of m sequences.

    Parameters
    ----------
    path : ndarray, shape (n_steps, m)
        The frame of each sequence at each step of the common time line, first to last, none
        falling: whole numbers, but of `gtw` fractions.
    projections : tuple of m Linear
        From the frames of each sequence as given to the common space.
    correlations : ndarray, shape (d,), or None
        Mean correlation between the sequences' d coordinates there, decreasing; None where there
        are no maps.
    objective : tuple of float
        After each round from the chosen start. Of `gtw` what it minimises, else the mean over
        steps and pairs of sequences of the squared distance of what was compared.
    ending : str
        How it stopped: see `mmalign_cli.align.alternate.Descent`.
    start : str
        The start that won.
    starts : int
        How many were compared.
    weights : ndarray, shape (m, k), or None
        Of `gtw`: of the bases of each warp, in shares of its sequence, none negative.
    basis : ndarray, shape (n_steps, k), or None
        Of `gtw`: ``path[:, i] = (n_i - 1) basis @ weights[i]``.
    """

    path: Float64Array
    projections: tuple[Linear, ...]
    correlations: Float64Array | None
    objective: tuple[float, ...]
    ending: str
    start: str
    starts: int
    weights: Float64Array | None = None
    basis: Float64Array | None = None


class Aligner(Protocol):
    """An aligner of m sequences (n_i, d_i)."""

    def __call__(
        self,
        sequences: Sequence[Float64Array],
        settings: Settings,
        progress: Progress = runtime.silent,
    ) -> Found:
        """Align; may raise InputError and AlignmentError."""


def checked(sequences: Sequence[Float64Array], subject: str) -> list[Float64Array]:
    """Return the sequences (n_i, d_i) in double precision; InputError if one cannot be aligned."""
    parts = [np.asarray(x, dtype=np.float64) for x in sequences]
    for number, x in enumerate(parts):
        if len(x) < _LEAST_FRAMES:
            what = f"sequence {number + 1} has {len(x)} frames: too few to align"
            raise InputError(subject, what, f"sequences need at least {_LEAST_FRAMES} frames")
        if (x == x[0]).all():
            what = f"every column of sequence {number + 1} is constant: nothing to align"
            raise InputError(subject, what)
    return parts


def comparable(sequences: Sequence[Float64Array], subject: str) -> list[Float64Array]:
    """Return sequences of one number of columns; InputError names another."""
    parts = checked(sequences, subject)
    dims = [x.shape[1] for x in parts]
    if len(set(dims)) > 1:
        what = f"{' vs '.join(map(str, dims))} dimensions"
        raise InputError(subject, what, "use gtw or pctw, which map them to a common space")
    return parts


def length_of(sequences: Sequence[Float64Array], settings: Settings, least: int = 0) -> int:
    """Return the steps of the common time line, where settings leave them open at least so many."""
    longest = max(map(len, sequences))
    return settings.length or max(least, int(LONGER * longest + 0.5))


def straight_path(lengths: Sequence[int], n_steps: int) -> Float64Array:
    """Return the path (n_steps, m) on which every sequence runs at its own even speed."""
    return np.linspace(0.0, 1.0, n_steps)[:, np.newaxis] * (np.asarray(lengths) - 1.0)


def at_even_steps(path: Float64Array, n_steps: int) -> Float64Array:
    """Return a path (any, m) at `n_steps` points evenly spread over its own steps."""
    steps = np.linspace(0.0, len(path) - 1.0, n_steps)
    return np.stack([np.interp(steps, np.arange(len(path)), column) for column in path.T], axis=1)


def rounded(path: Float64Array) -> Float64Array:
    """Return the nearest frames, halves up."""
    return np.floor(path + 0.5)


def spread(latents: Sequence[Float64Array]) -> float:
    """Return the mean over steps and pairs of the squared distance of m latents (n_steps, d).

    ``sum_{i<j} |z_i - z_j|^2 = m sum_i |z_i - mean|^2``, which takes time in proportion to m.
    """
    m, n_steps = len(latents), len(latents[0])
    mean = reduce(np.add, latents) / m
    total = sum(float(((z - mean) ** 2).sum()) for z in latents)
    return 2.0 * total / ((m - 1) * n_steps)


def same(dims: int) -> Linear:
    """Return the map that changes nothing."""
    return Linear(np.zeros(dims), np.eye(dims))
