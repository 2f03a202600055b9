"""The mean of sequences on their common time line, and how far they spread about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.gtw_objective import read
from mmalign_cli.model import Float64Array


@dataclass(frozen=True, eq=False)
class Average:
    """Mean and spread of m sequences.

    Parameters
    ----------
    mean, spread : ndarray, shape (t, d)
        The spread is the standard deviation over the sequences.
    line : ndarray, shape (t, m)
        The fractional frame of each sequence at each point.
    """

    mean: Float64Array
    spread: Float64Array
    line: Float64Array


def average_of(
    sequences: Sequence[Float64Array], line: Float64Array, mean: Float64Array | None = None
) -> Average:
    """Return the average of sequences (n_i, d) along warps.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d)
    line : ndarray, shape (k, m)
        Fractional frames, none falling.
    mean : ndarray, shape (k, d), optional
        Where it is known at the points of `line`, as the mean of all frames matched there: the
        average has these points then, and else as many as the longest sequence has frames.
    """
    if mean is None:
        steps = np.linspace(0.0, len(line) - 1.0, max(map(len, sequences)))
        at = np.arange(len(line))
        line = np.stack([np.interp(steps, at, column) for column in line.T], axis=1)
    values = np.stack([read(x, p) for x, p in zip(sequences, line.T, strict=True)])
    centre = values.mean(axis=0) if mean is None else mean
    return Average(centre, np.sqrt(((values - centre) ** 2).mean(axis=0)), line)
