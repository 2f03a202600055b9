"""Approximate DTW of long streams: a coarse path first, then bands round it, ever finer.

The frames of both streams are averaged by a factor until the whole table is small; exact DTW
finds the path there. Each path, laid on streams averaged four times less, is the middle of the
band to which the next search keeps (Salvador and Chan, FastDTW, 2007, with a far wider band). Where
a path touches the border of its band the band was too narrow: it is made twice as wide, round the
path found, and searched again.

The path is the best one inside the last band, under all five restrictions. A better one may lie
outside: that is what `Search.border_share` hints at, and nothing short of the whole table proves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli.align import strips
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.problem import CLOSED, Ends
from mmalign_cli.align.steps import StepPattern, step_pattern
from mmalign_cli.align.windows import NO_MASK, Window, everything
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import FloatArray, IntArray
from mmalign_cli.runtime import Progress, silent

USUAL_RADIUS = 256
"""Frames, at every level."""
_COARSEST_CELLS = 2**27
_FINER = 4
_MOST_WIDENINGS = 3
_STAND_IN = "symmetric2"
"""Pattern of the coarse levels where the fast road does not know the one asked for."""


@dataclass(frozen=True)
class Search:
    """How an approximate path was found.

    Parameters
    ----------
    levels : tuple of int
        Frames averaged at each level, 1 last.
    radius_frames : int
        Of the last band: how far it reaches from the path before, in both directions.
    widened : int
        How often a band was made twice as wide.
    cell_share : float
        Cells of the last band among those of the table; where it is 1 the path is exact.
    border_share : float
        Steps of the path at the border of the last band, among all.
    """

    levels: tuple[int, ...]
    radius_frames: int
    widened: int
    cell_share: float
    border_share: float


@dataclass(frozen=True)
class Question:
    """What is asked of every level: the arguments of `dtw` that do not change.

    Parameters
    ----------
    metric, step, penalty, ends, threads, subject
        As of `dtw`.
    """

    metric: str = "sqeuclidean"
    step: str | StepPattern = "symmetric1"
    penalty: float = 0.0
    ends: Ends = CLOSED
    threads: int = 1
    subject: str = "dtw"


def levels(n: int, m: int) -> tuple[int, ...]:
    """Return how many frames are averaged at each level, for n and m frames: 1 last."""
    factor = 1
    while -(-n // factor) * -(-m // factor) > _COARSEST_CELLS and min(n, m) >= 4 * factor:
        factor *= 2
    found = [factor]
    while found[-1] > 1:
        found.append(max(1, found[-1] // _FINER))
    return tuple(found)


def cells_expected(n: int, m: int, radius: int) -> tuple[int, int]:
    """Return about how many cells all levels have, and the last of them, before any widening."""
    counts = []
    for k, factor in enumerate(levels(n, m)):
        rows, columns = -(-n // factor), -(-m // factor)
        width = columns if k == 0 else min(columns, 2 * radius * (1 + math.ceil(columns / rows)))
        counts.append(rows * width)
    return sum(counts), counts[-1]


def approximate(
    x: FloatArray,
    y: FloatArray,
    question: Question,
    *,
    radius: int = USUAL_RADIUS,
    require: Callable[[Window], object] = lambda window: None,
    progress: Progress = silent,
) -> tuple[Warp, Window, Search]:
    """Find a path of low cost in a band.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
        Frames of reference and query.
    question : Question
    radius : int
        Of the bands, in frames of each level.
    require : callable
        Told the band of the last level before it is searched; may raise to refuse it.
    progress : Progress
        Told the cells done; may raise to stop.

    Returns
    -------
    Warp
        The best path in the last band.
    Window
        That band.
    Search

    Raises
    ------
    AlignmentError
        If no path of the pattern lies in the widest band.
    InputError
        If the costs overflow.
    """
    factors = levels(len(x), len(y))
    coarse = question
    if strips.weights_of(step_pattern(question.step)) is None:
        coarse = replace(question, step=_STAND_IN)
    path: IntArray | None = None
    level = _Level(x, y, radius, 0, 1)
    for factor, before in zip(factors, (1, *factors), strict=False):
        is_last = factor == 1
        level = _Level(_averaged(x, factor), _averaged(y, factor), radius, level.widened, factor)
        asked, told = (question, require) if is_last else (coarse, lambda window: None)
        warp, band, level = level.search(asked, path, before // factor, told, progress)
        path = warp.frames
    share = band.n_cells / (len(x) * len(y))
    touched = float(_at_border(warp.frames, band, len(y)).mean())
    return warp, band, Search(factors, level.radius, level.widened, share, touched)


@dataclass(frozen=True, eq=False)
class _Level:
    """The streams averaged by `factor`, and the radius of the band in these frames."""

    x: FloatArray
    y: FloatArray
    radius: int
    widened: int
    factor: int

    def search(
        self,
        question: Question,
        path: IntArray | None,
        ratio: int,
        require: Callable[[Window], object],
        progress: Progress,
    ) -> tuple[Warp, Window, _Level]:
        """Search a band round a path of a coarser level, and wider ones if they are needed."""
        n, m = len(self.x), len(self.y)
        level = self
        for widenings in range(_MOST_WIDENINGS + 1):
            band = everything(n, m) if path is None else band_round(path, ratio, n, m, level.radius)
            require(band)
            try:
                warp = level.find(question, band, progress)
            except AlignmentError:  # a pattern that limits slopes may need more room
                if widenings == _MOST_WIDENINGS or band.holds_all(m):
                    raise
            else:
                if widenings == _MOST_WIDENINGS or not _at_border(warp.frames, band, m).any():
                    break
                path, ratio = warp.frames, 1
            level = replace(level, radius=2 * level.radius, widened=level.widened + 1)
        return warp, band, level

    def find(self, question: Question, band: Window, progress: Progress) -> Warp:
        def report(stage: str, done: int, total: int) -> None:
            progress(stage if self.factor == 1 else f"{stage} 1/{self.factor}", done, total)

        arguments: dict[str, Any] = vars(question)
        return dtw(self.x, self.y, **arguments, window=band, progress=report)


def _averaged(values: FloatArray, factor: int) -> FloatArray:
    """Return the means of `factor` frames each; the last may be of fewer."""
    if factor == 1:
        return values
    whole = len(values) // factor
    means = np.empty((-(-len(values) // factor), values.shape[1]), dtype=values.dtype)
    grouped = values[: whole * factor].reshape(whole, factor, -1)
    np.mean(grouped, axis=1, out=means[:whole])
    if whole < len(means):
        means[whole] = values[whole * factor :].mean(axis=0)
    return means


def band_round(path: IntArray, ratio: int, n: int, m: int, radius: int) -> Window:
    """Return the cells at most `radius` rows and columns from a path of a coarser level.

    Parameters
    ----------
    path : ndarray, shape (n_steps, 2)
        Frames of reference and query, each standing for `ratio` finer ones.
    ratio : int
    n, m : int
        Finer frames of reference and query.
    radius : int
        In finer frames.
    """
    low, high = _columns_of(path, -(-n // ratio))
    rows = np.arange(n)
    lo = low[np.maximum(rows - radius, 0) // ratio] * ratio - radius
    hi = (high[np.minimum(rows + radius, n - 1) // ratio] + 1) * ratio + radius
    return Window(np.maximum(lo, 0), np.minimum(hi, m), NO_MASK)


def _columns_of(path: IntArray, n_rows: int) -> tuple[IntArray, IntArray]:
    """Return the first and the last column of a path in each row.

    Rows that the path jumps over lie between those beside them; rows before its start and after
    its end, where the ends are open, take its first and last column.
    """
    rows = np.arange(n_rows)
    first = np.searchsorted(path[:, 0], rows, side="left")
    last = np.searchsorted(path[:, 0], rows, side="right") - 1
    first, last = np.minimum(first, last), np.maximum(first, last)
    most = len(path) - 1
    return path[np.clip(first, 0, most), 1], path[np.clip(last, 0, most), 1]


def _at_border(path: IntArray, band: Window, m: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the steps whose cell has a neighbour in the table that is not in the band."""
    i, j = path[:, 0], path[:, 1]
    n = len(band.lo)
    left, right = (j == band.lo[i]) & (j > 0), (j == band.hi[i] - 1) & (j < m - 1)
    below = j < band.lo[np.minimum(i + 1, n - 1)]
    above = j >= band.hi[np.maximum(i - 1, 0)]
    return np.asarray(left | right | below | above)
