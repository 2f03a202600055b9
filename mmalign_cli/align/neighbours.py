"""The nearest of many series to each of them, most pairs left out by lower bounds.

Kim's bound (first and last cells) and Keogh's (the query's envelope under the window) order the
candidates; see `mmalign_cli.kernels.neighbours`. The result is that of sorting whole rows of the
matrix, ties by the order of the series.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.packed import (
    References,
    Rule,
    Series,
    check_comparable,
    fits,
    most_cells,
    pack,
    row_of,
)
from mmalign_cli.align.pairwise import square
from mmalign_cli.align.shares import in_shares
from mmalign_cli.align.windows import Window, everything, transposed
from mmalign_cli.model import Float64Array, IntArray

_SLACK = 1 - 1e-9
"""For the rounding of a bound: its terms are added in another order."""
_MOST_EFFORT = 2e8


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest of each series.

    Parameters
    ----------
    indices : ndarray, shape (n_series, k)
        Nearest first; -1 where fewer have a path.
    costs : ndarray, shape (n_series, k)
    swept, abandoned : int
        Ordered pairs whose table was swept whole, and in part; the bounds left out the others.
    """

    indices: IntArray
    costs: Float64Array
    swept: int
    abandoned: int


def nearest(
    series: Sequence[Series],
    rule: Rule,
    k: int,
    *,
    threads: int = 1,
    progress: runtime.Progress = runtime.silent,
) -> Neighbours:
    """Return the `k` nearest others of each series.

    Parameters
    ----------
    series : sequence of Series
        All of one number of dimensions.
    rule : Rule
    k : int
        Less than the number of series.
    threads : int
    progress : Progress
        Told the series done; may raise to stop.

    Raises
    ------
    InputError
        If the costs overflow.
    """
    check_comparable(series, rule)
    longest = max(len(s.values) for s in series)
    if not fits(rule, series) or longest**2 > most_cells(series[0].values.shape[1]):
        costs = square(series, rule, threads=threads, progress=progress)
        return _of_square(costs, k, len(series) * (len(series) - 1))
    search = _Search(pack(series, rule), k)
    in_shares(
        len(series), search.find, threads, lambda done: progress("searching", done, len(series))
    )
    indices = np.where(np.isfinite(search.costs), search.indices, -1)
    swept, abandoned = search.counts.sum(axis=0)
    return Neighbours(indices, search.costs, int(swept), int(abandoned))


def _of_square(costs: Float64Array, k: int, pairs: int) -> Neighbours:
    """Read the neighbours off the whole matrix: a row a series, as the reference."""
    np.fill_diagonal(costs, np.inf)
    indices = np.argsort(costs, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(costs, indices, axis=1)
    return Neighbours(np.where(np.isfinite(best), indices, -1), best, pairs, 0)


class _Search:
    """What the searches of all series share, and what they found."""

    def __init__(self, references: References, k: int) -> None:
        self.references = references
        self.frames = np.concatenate(references.frames)
        lengths = [len(f) for f in references.frames]
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.costs = np.full((len(lengths), k), np.inf)
        self.indices = np.full((len(lengths), k), len(lengths))
        self.counts = np.zeros((len(lengths), 2), dtype=np.int64)

    def find(self, number: int, tell: Callable[[], None]) -> None:
        """Find the nearest of one series."""
        from mmalign_cli.kernels import neighbours as kernel

        references, series = self.references, self.references.series
        row = row_of(references, series[number], np.arange(len(series)) > number)
        low = self._bounds(number)
        low[number] = np.inf
        which = np.argsort(low, kind="stable")[:-1]
        kinds = np.full(len(series), -1)
        held = references.order >= 0
        kinds[references.order[held]] = row.kinds[held]
        stride = int(_MOST_EFFORT / (row.rows * int(references.widths[-1]) * references.dims)) + 1
        at = 0
        while at < len(which):
            at = kernel.search(
                references.form, row.x, row.rows, references.dims, row.pad, self.frames,
                self.offsets, which, low[which], row.windows, kinds[which],
                references.rule.penalty, at, at + stride, self.costs[number],
                self.indices[number], self.counts[number],
            )  # fmt: skip
            tell()

    def _bounds(self, number: int) -> Float64Array:
        """Return lower bounds of the costs to all series."""
        from mmalign_cli.kernels import neighbours as kernel

        references = self.references
        frames, bounds = references.frames[number], np.zeros(len(references.series))
        for shape, first in enumerate(references.first_of):
            window = self._met(number, int(first))
            if not (window.lo < window.hi).all():
                continue  # no path: nothing to bound
            low, high = np.empty((2, len(window.lo), references.dims))
            kernel.envelope(frames, window.lo, window.hi, low, high)
            kernel.bounds(
                references.form, frames, low, high, self.frames, self.offsets,
                np.flatnonzero(references.shapes == shape), bounds,
            )  # fmt: skip
        return bounds * _SLACK

    def _met(self, number: int, other: int) -> Window:
        """Return which query frames each frame of a reference may meet, whoever leads."""
        query, reference = (self.references.series[k] for k in (number, other))
        n, m = len(query.values), len(reference.values)
        window_of = self.references.rule.window
        if window_of is None:
            return everything(m, n)
        one, two = window_of(reference, query), transposed(window_of(query, reference), m)
        return Window(np.minimum(one.lo, two.lo), np.maximum(one.hi, two.hi), one.mask)
