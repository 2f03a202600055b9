"""The general road of DTW: any step pattern, any window, one byte a cell, in float64.

The dynamic programme itself is `mmalign_cli.kernels.dtw`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.anchors import anchored, barred_steps, outside, row_limits
from mmalign_cli.align.metrics import Comparable, costs_along, read_only
from mmalign_cli.align.problem import NO_ANCHORS, Ends, Found
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.windows import Window
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

if TYPE_CHECKING:
    from mmalign_cli.kernels.dtw import Cells, Kept, Recent, Steps

_CELLS_A_CALL = 8_000_000  # some 50 ms: how long an interrupt may have to wait
_MARKS_A_CALL = 200_000_000
_PRECISION = 1e-9
_NO_ORIGINS: IntArray = np.zeros((1, 0), dtype=np.int64)
_NO_TABLE: Float64Array = np.zeros((0, 0))


def _steps(pattern: StepPattern, penalty: float) -> Steps:
    """Lay out a pattern for the kernel; each bent move of a step costs the penalty once."""
    from mmalign_cli.kernels.dtw import Steps

    moves: list[tuple[int, int, int, int]] = []
    for step in pattern.steps:
        for k, move in enumerate(step):
            rest = step[k + 1 :]
            back, left = sum(m.reference for m in rest), sum(m.query for m in rest)
            moves.append((move.reference, move.query, back, left))
    bent = [sum(not move.is_diagonal for move in step) for step in pattern.steps]
    return Steps(
        np.cumsum([0, *map(len, pattern.steps)], dtype=np.int64),
        np.array(moves, dtype=np.int64),
        np.array([move.weight for step in pattern.steps for move in step], dtype=np.float64),
        penalty * np.array(bent, dtype=np.float64),
    )


def _cells(window: Window, pattern: StepPattern, m: int, ends: Ends, anchors: IntArray) -> Cells:
    """Lay out the cells of a window for the kernel, less those that the anchors rule out."""
    from mmalign_cli.kernels.dtw import Cells

    n = len(window.lo)
    left = anchored(window, anchors, m)
    barred = barred_steps(pattern, anchors, n, m)
    return Cells(left.lo, left.hi, window.mask, barred, row_limits(n, ends, anchors)[0])


def _depth(pattern: StepPattern) -> int:
    """Return the rows that must be kept for the longest look back, the current one included."""
    return max(sum(move.reference for move in step) for step in pattern.steps) + 1


def _accumulate(
    pair: Comparable,
    cells: Cells,
    steps: Steps,
    recent: Recent,
    kept: Kept,
    progress: Progress,
) -> None:
    """Run the programme over all rows, in calls short enough to be interrupted."""
    from mmalign_cli.kernels.dtw import accumulate_rows

    n = len(pair.x)
    x = read_only(np.ascontiguousarray(pair.x, dtype=np.float64))
    yt = read_only(np.ascontiguousarray(pair.y.T, dtype=np.float64))
    effort = max(int((cells.hi - cells.lo).sum()) * (1 + x.shape[1] / 8), 1)
    rows = max(1, int(_CELLS_A_CALL * n / effort))
    for first in range(0, n, rows):
        last = min(first + rows, n)
        accumulate_rows(first, last, pair.kernel, x, yt, cells, steps, recent, kept)
        progress("aligning", last, n)


def find_path(
    pair: Comparable,
    pattern: StepPattern,
    window: Window,
    penalty: float,
    ends: Ends,
    anchors: IntArray,
    accumulated: Float64Array,
    progress: Progress,
) -> Found | None:
    """Find the path of least cost.

    Parameters
    ----------
    pair : Comparable
        Reference and query.
    pattern : StepPattern
    window : Window
    penalty : float
        In the pair's scale.
    ends : Ends
    anchors : ndarray, shape (k, 2)
    accumulated : ndarray, shape (n, m) or (0, 0)
        Receives the table, where it is not empty.
    progress : Progress
        Told the rows done.

    Returns
    -------
    Found or None
        None where no path lies in the window.
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels.dtw import Kept, Recent, trace_back

    n, m = len(pair.x), len(pair.y)
    steps, cells = _steps(pattern, penalty), _cells(window, pattern, m, ends, anchors)
    widths = cells.hi - cells.lo
    offsets = np.cumsum(widths) - widths
    winners = np.empty(int(widths.sum()), dtype=np.uint8)
    last_column = np.full(n, np.inf)
    costs, sums = np.full((2, _depth(pattern), m), np.inf)
    recent = Recent(costs, sums, _NO_ORIGINS)
    kept = Kept(offsets, winners, accumulated, last_column, _NO_ORIGINS[0])
    _accumulate(pair, cells, steps, recent, kept, progress)
    first_end = row_limits(n, ends, anchors)[1]
    end = first_end + int(np.argmin(last_column[first_end:]))
    if last_column[end] == np.inf:
        return None
    path = np.empty((end + m, 2), dtype=np.int64)
    taken = np.empty(end + m, dtype=np.int64)
    start = trace_back(
        end, m - 1, cells.lo, steps.bounds, steps.moves, offsets, winners, path, taken
    )
    weights = np.concatenate([[1.0], steps.weights[taken[start + 1 :]]])
    frames = path[start:].copy()
    total = float(last_column[end])
    return Found(frames, weights, costs_along(pair, frames), total, _PRECISION)


def find_ends(
    pair: Comparable, pattern: StepPattern, window: Window, penalty: float, progress: Progress
) -> tuple[Float64Array, IntArray]:
    """Find the least cost of a path of the whole query to each reference frame, and its start.

    Parameters
    ----------
    pair, pattern, window, penalty, progress
        As in `find_path`; both ends are open.

    Returns
    -------
    total : ndarray, shape (n,)
        Of the best path that ends in each reference frame; infinite where there is none.
    start : ndarray, shape (n,)
        The reference frame in which that path begins, where there is one.
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels.dtw import Kept, Recent

    n, m = len(pair.x), len(pair.y)
    depth = _depth(pattern)
    costs, sums = np.full((2, depth, m), np.inf)
    recent = Recent(costs, sums, np.zeros((depth, m), dtype=np.int64))
    total, start = np.full(n, np.inf), np.zeros(n, dtype=np.int64)
    one_row = np.zeros(n, dtype=np.int64)  # each row's winners overwrite those of the one before
    kept = Kept(one_row, np.empty(m, dtype=np.uint8), _NO_TABLE, total, start)
    cells = _cells(window, pattern, m, Ends(True, True), NO_ANCHORS)
    _accumulate(pair, cells, _steps(pattern, penalty), recent, kept, progress)
    return total, start


def is_feasible(
    window: Window, pattern: StepPattern, m: int, ends: Ends, anchors: IntArray = NO_ANCHORS
) -> bool:
    """Tell whether a path of the pattern through the anchors lies in the window.

    A pattern that holds the three steps of one frame is decided from the window's ranges, others
    by one byte a cell of a few rows.
    """
    if outside(window, anchors) is not None:
        return False
    n = len(window.lo)
    if window.holds_all(m) and pattern.is_free and not len(anchors):
        return True
    runtime.prepare_kernels()
    from mmalign_cli.kernels.reach import connected, reach_rows

    cells = _cells(window, pattern, m, ends, anchors)
    first_end = row_limits(n, ends, anchors)[1]
    if pattern.is_free and not window.mask.size:
        return bool(connected(cells.lo, cells.hi, m, cells.last_start, first_end))
    steps, reached = _steps(pattern, 0.0), np.zeros((_depth(pattern), m), dtype=np.uint8)
    rows = max(1, _MARKS_A_CALL // m)
    return any(
        reach_rows(first, min(first + rows, n), cells, steps, reached, first_end)
        for first in range(0, n, rows)
    )


def bytes_needed(n_cells: int, n: int, m: int, pattern: StepPattern) -> int:
    """Return the memory that `find_path` takes beside the frames."""
    return n_cells + 16 * (_depth(pattern) + 1) * m + 48 * n + 40 * (n + m)


def bytes_of_ends(n: int, m: int, d: int, pattern: StepPattern) -> int:
    """Return the memory that `find_ends` takes beside the frames."""
    return 24 * (_depth(pattern) + 1) * m + 48 * n + 8 * d * (n + m)
