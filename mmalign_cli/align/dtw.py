"""Dynamic Time Warping: the path of least cost under the five restrictions.

Monotonicity, continuity and the slope constraint are the step pattern's; the boundary conditions
are `Ends`; the warping window is `Window`. Two roads lead to the path: `mmalign_cli.align.strips`
for the usual step patterns, fast and in little memory, and `mmalign_cli.align.rows` for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import rows, strips
from mmalign_cli.align.metrics import Comparable, comparable, metric_named, read_only
from mmalign_cli.align.problem import CLOSED, NO_ANCHORS, Ends, Found
from mmalign_cli.align.segments import find_between
from mmalign_cli.align.steps import StepPattern, step_pattern
from mmalign_cli.align.windows import BANDS, Window, everything
from mmalign_cli.errors import AlignmentError
from mmalign_cli.kernels import codes
from mmalign_cli.model import Cost, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from mmalign_cli.runtime import Progress


_NOT_KEPT = np.empty((0, 0))
_NO_PATH = "no warping path satisfies the window and the step pattern"


@dataclass(frozen=True, eq=False)
class Warp:
    """What DTW found.

    Parameters
    ----------
    frames : ndarray, shape (n_steps, 2)
        The warping path in frames of reference and query.
    weights : ndarray, shape (n_steps,)
        The weight of the local cost at each cell of the path; the first weighs 1.
    cost : Cost
        Computed along the path.
    programme_total : float
        The dynamic programme's own total, weights and penalties included: it must agree.
    precision : float
        Relative difference that rounding may make.
    accumulated : ndarray, shape (n, m), or None
        The dynamic programme's table, infinite outside the window, where it was asked for.
    """

    frames: IntArray
    weights: Float64Array
    cost: Cost
    programme_total: float
    precision: float
    accumulated: Float64Array | None = None


def dtw(
    x: FloatArray,
    y: FloatArray,
    *,
    metric: str = "sqeuclidean",
    step: str | StepPattern = "symmetric1",
    window: Window | None = None,
    penalty: float = 0.0,
    ends: Ends = CLOSED,
    anchors: IntArray = NO_ANCHORS,
    keep_accumulated: bool = False,
    threads: int = 1,
    subject: str = "dtw",
    progress: Progress = runtime.silent,
) -> Warp:
    """Find the warping path of least cost.

    Minimises the sum over the steps t of ``w_t d(x[i_t], y[j_t])``, plus `penalty` for each step
    that is not diagonal, over all paths from (0, 0) to (n - 1, m - 1), or with open ends from any
    (i, 0) to any (k, m - 1).

    Parameters
    ----------
    x : ndarray, shape (n, d)
        The reference.
    y : ndarray, shape (m, d)
        The query.
    metric : str
        Local cost d, one of `mmalign_cli.align.metrics.METRICS`.
    step : str or StepPattern
        One of `mmalign_cli.align.steps.STEP_PATTERNS`, or of your own.
    window : Window, optional
        Cells that the path may use; all by default.
    penalty : float
        In units of the metric.
    ends : Ends
        Whether the path may begin and end at any reference frame.
    anchors : ndarray, shape (k, 2)
        Cells that the path must hold, neither column ever falling.
    keep_accumulated : bool
        Also return the whole table, at 8 bytes a cell.
    threads : int
        To use at most.
    subject : str
        Names the pair in messages.
    progress : Progress
        Told the cells done; may raise to stop.

    Returns
    -------
    Warp

    Raises
    ------
    AlignmentError
        If no path of the pattern through the anchors lies in the window.
    InputError
        If the costs overflow.
    """
    pattern = step_pattern(step)
    window = everything(len(x), len(y)) if window is None else window
    pair = comparable(x, y, metric, subject)
    scaled = penalty / pair.scale
    accumulated = np.full((len(x), len(y)), np.inf) if keep_accumulated else _NOT_KEPT
    slow = keep_accumulated or pair.kernel == codes.TABLE
    weight = None if slow else _fast_weight(pattern, window, penalty, ends)
    if weight is None:
        found = rows.find_path(pair, pattern, window, scaled, ends, anchors, accumulated, progress)
    elif not len(anchors):
        problem = strips.Problem(pair, weight, window, scaled, ends)
        found = strips.find_path(problem, threads, progress)
    else:

        def find(piece: Comparable, cells: Window, here: Ends) -> Found | None:
            problem = strips.Problem(piece, weight, cells, scaled, here)
            return strips.find_path(problem, threads, progress)

        feasible = rows.is_feasible(window, pattern, len(y), ends, anchors)
        found = find_between(pair, window, ends, anchors, find) if feasible else None
    if found is None:
        raise AlignmentError(subject, _NO_PATH)
    cost = _path_cost(pair, found, pattern, penalty)
    if keep_accumulated:
        accumulated *= pair.scale
    total = found.total * pair.scale
    kept = accumulated if keep_accumulated else None
    return Warp(found.frames, found.weights, cost, total, found.precision, kept)


def distance(
    x: FloatArray,
    y: FloatArray,
    *,
    metric: str = "sqeuclidean",
    step: str = "symmetric1",
    window: Window | None = None,
    penalty: float = 0.0,
    threads: int = 1,
    subject: str = "dtw",
    progress: Progress = runtime.silent,
) -> float:
    """Return the least cost alone: what `dtw` finds, penalties included, without the path.

    By one of the patterns of the fast road its sums are in float32, rounded tile by tile: by some
    1e-6 of them, and integers not at all.

    Parameters
    ----------
    x, y, metric, step, window, penalty, threads, subject, progress
        As in `dtw`; both ends are closed.

    Raises
    ------
    AlignmentError
        If no path of the pattern lies in the window.
    InputError
        If the costs overflow.
    """
    pattern = step_pattern(step)
    window = everything(len(x), len(y)) if window is None else window
    tabled = metric_named(metric).table is not None
    weight = None if tabled else _fast_weight(pattern, window, penalty, CLOSED)
    if weight is None:
        warp = dtw(
            x, y, metric=metric, step=step, window=window, penalty=penalty, threads=threads,
            subject=subject, progress=progress,
        )  # fmt: skip
        return warp.cost.total + warp.cost.penalty
    pair = comparable(x, y, metric, subject)
    scaled = penalty / pair.scale
    problem = strips.Problem(pair, weight, window, scaled, CLOSED)
    total = strips.find_total(problem, threads, progress)
    if total == np.inf:
        raise AlignmentError(subject, _NO_PATH)
    return total * pair.scale


def _fast_weight(pattern: StepPattern, window: Window, penalty: float, ends: Ends) -> int | None:
    """Return the weight of the diagonal move if the fast road can be taken, else None."""
    weight = strips.weights_of(pattern)
    charged_start = ends.open_begin and penalty > 0 and weight == 2
    return weight if window.steps_forward and not charged_start else None


def _path_cost(pair: Comparable, found: Found, pattern: StepPattern, penalty: float) -> Cost:
    """Return the cost of a path, from its local costs and the weights of its moves alone."""
    frames = found.frames
    total = found.along(0.0) * pair.scale
    charged = penalty * found.bent if penalty else 0.0
    used = int(frames[-1, 0] - frames[0, 0]) + 1
    normalized = pattern.normalized(total, used, len(pair.y))
    return Cost(total, total / len(frames), normalized, charged)


def local_costs(x: FloatArray, y: FloatArray, metric: str, subject: str = "dtw") -> Float64Array:
    """Return the local cost of every pair of frames, (n, m)."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import dtw as kernel

    pair = comparable(x, y, metric, subject)
    out = np.empty((len(x), len(y)))
    reference = read_only(np.ascontiguousarray(pair.x, dtype=np.float64))
    query = read_only(np.ascontiguousarray(pair.y.T, dtype=np.float64))
    kernel.local_rows(pair.kernel, reference, query, out)
    if pair.scale != 1:  # which takes as long as three dimensions
        out *= pair.scale
    return out


def smallest_radius(
    name: str,
    n: int,
    m: int,
    step: str | StepPattern,
    ends: Ends = CLOSED,
    anchors: IntArray = NO_ANCHORS,
) -> int | None:
    """Return the smallest radius in frames at which a band holds a path, or None.

    Parameters
    ----------
    name : str
        A band of `mmalign_cli.align.windows.BANDS`.
    n, m : int
        Frames of reference and query.
    step, ends, anchors
        As in `dtw`.
    """
    band, pattern = BANDS[name], step_pattern(step)
    if not rows.is_feasible(everything(n, m), pattern, m, ends, anchors):
        return None
    low, high = 0, max(n, m)
    while low < high:
        middle = (low + high) // 2
        if rows.is_feasible(band(n, m, middle), pattern, m, ends, anchors):
            high = middle
        else:
            low = middle + 1
    return low


def takes_strips(step: str | StepPattern, window: Window, penalty: float, ends: Ends) -> bool:
    """Tell whether the fast road can be taken, for a table that need not be kept."""
    return _fast_weight(step_pattern(step), window, penalty, ends) is not None


def bytes_needed(
    n: int,
    m: int,
    d: int,
    *,
    step: str | StepPattern,
    window: Window,
    n_cells: int,
    penalty: float = 0.0,
    ends: Ends = CLOSED,
    keep_accumulated: bool = False,
) -> int:
    """Return the memory that `dtw` takes beside the streams themselves.

    Parameters
    ----------
    n, m, d : int
        Frames of reference and query, and their dimensions.
    step, window, penalty, ends, keep_accumulated
        As in `dtw`.
    n_cells : int
        Cells of the window that a path can reach, or of the band in it that is searched.
    """
    path, pattern = 128 * (n + m), step_pattern(step)
    if takes_strips(pattern, window, penalty, ends) and not keep_accumulated:
        return path + strips.bytes_needed(n_cells, n, m, d)
    table = 8 * n * m if keep_accumulated else 0
    return path + 8 * d * (n + m) + table + rows.bytes_needed(n_cells, n, m, pattern)
