"""Sequences made ready for linear maps, and in how many dimensions they are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmalign_cli.align.cca import (
    Canonical,
    Moments,
    along,
    cca,
    dims_of_energy,
    folds_of,
    held_out_gains,
    principal,
)
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.family import Settings, checked
from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array, IntArray

CANDIDATE_DIMS = (1, 2, 3, 5, 8, 12)
_PATIENCE = 2
_FEW_FRAMES = 10
_LITTLE_DATA_RIDGE = 0.05
_MOST_COLUMNS = 40

Tried = TypeVar("Tried")
Fit = Callable[[Moments], Canonical]
"""Canonical correlation analysis with a ridge of its own."""


@dataclass(frozen=True, eq=False)
class Sets:
    """Sequences made ready for linear maps.

    Parameters
    ----------
    values : list of m ndarray, shape (n_i, d_i)
        Their own columns, or the first 40 principal components of more.
    bases : tuple of m Linear
        From the frames as given to `values`.
    ridge : float
        Relative to each set's mean variance.
    subject : str
        For messages.
    """

    values: list[Float64Array]
    bases: tuple[Linear, ...]
    ridge: float
    subject: str

    @property
    def most_dims(self) -> int:
        """Columns of the narrowest sequence."""
        return min(int(x.shape[1]) for x in self.values)

    def fit(self, moments: Moments) -> Canonical:
        """Return the maps that correlate most; InputError where there are none."""
        found = cca(moments, self.ridge)
        if not len(found.correlations):
            raise InputError(self.subject, "a sequence does not change", "look at its columns")
        return found

    def evidence(self, sets: Sequence[Float64Array], path: IntArray) -> tuple[float, int]:
        """Return the nats a step that maps gain on held-out stretches of a path along sets.

        And of how many dimensions: those that gain most together.
        """
        gained = np.cumsum(held_out_gains(folds_of(sets, path), self.ridge))
        best = int(np.argmax(gained))
        return float(gained[best]), best + 1


def prepare(sequences: Sequence[Float64Array], settings: Settings, subject: str) -> Sets:
    """Return sequences as the aligners with linear maps take them.

    Raises
    ------
    InputError
        If a sequence is too short or constant.
    """
    parts = checked(sequences, subject)
    ridge = settings.ridge
    if ridge is None:
        scarce = any(len(x) < _FEW_FRAMES * x.shape[1] for x in parts)
        ridge = _LITTLE_DATA_RIDGE if scarce else 0.0
    bases = tuple(principal(x, _MOST_COLUMNS) for x in parts)
    values = [base(x) for base, x in zip(bases, parts, strict=True)]
    return Sets(values, bases, ridge, subject)


def side_by_side(samples: Sequence[Float64Array]) -> Moments:
    """Return the moments of samples (n_steps, d_i) of one time line."""
    return along(samples, steps_of(samples))


def steps_of(samples: Sequence[Float64Array]) -> IntArray:
    """Return the path (n_steps, m) that lays samples of one time line side by side."""
    return np.repeat(np.arange(len(samples[0]))[:, np.newaxis], len(samples), axis=1)


def over_dims(
    settings: Settings,
    most: int,
    first: Callable[[], Canonical],
    attempt: Callable[[int], tuple[float, Tried]],
) -> Tried:
    """Return what was tried in the number of dimensions that settings ask for, or the best one.

    Without a number more and more are tried, until twice in a row the evidence has not grown.

    Parameters
    ----------
    settings : Settings
    most : int
        Dimensions at most.
    first : callable
        Returns the maps along the first path, whose correlations a share is of.
    attempt : callable
        Number of dimensions to evidence and result.
    """
    if settings.dims is not None:
        few = settings.dims < 1
        dims = dims_of_energy(first().correlations, settings.dims) if few else int(settings.dims)
        return attempt(dims)[1]
    best = attempt(1)
    worse = 0
    for dims in (d for d in CANDIDATE_DIMS if 1 < d <= most):
        tried = attempt(dims)
        worse = 0 if tried[0] > best[0] else worse + 1
        best = max(best, tried, key=lambda one: one[0])
        if worse == _PATIENCE:
            break
    return best[1]
