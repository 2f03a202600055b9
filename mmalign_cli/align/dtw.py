"""Dynamic Time Warping: the path of least cost under the five restrictions.

Monotonicity, continuity and the slope constraint are the step pattern's; the boundary conditions
are the first and last cells; the warping window is `Window`. The dynamic programme itself is
`mmalign_cli.kernels.dtw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.metrics import Comparable, comparable
from mmalign_cli.align.steps import StepPattern, step_pattern
from mmalign_cli.align.windows import BANDS, Window, everything
from mmalign_cli.errors import AlignmentError
from mmalign_cli.kernels import codes
from mmalign_cli.model import Cost, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from mmalign_cli.runtime import Progress

_CELLS_A_CALL = 8_000_000  # some 50 ms: how long an interrupt may have to wait


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
    accumulated : ndarray, shape (n, m), or None
        The dynamic programme's table, infinite outside the window, where it was asked for.
    """

    frames: IntArray
    weights: Float64Array
    cost: Cost
    programme_total: float
    accumulated: Float64Array | None = None


def dtw(
    x: FloatArray,
    y: FloatArray,
    *,
    metric: str = "sqeuclidean",
    step: str = "symmetric1",
    window: Window | None = None,
    penalty: float = 0.0,
    keep_accumulated: bool = False,
    subject: str = "dtw",
    progress: Progress = runtime.silent,
) -> Warp:
    """Find the warping path of least cost.

    Minimises the sum over the steps t of ``w_t d(x[i_t], y[j_t])``, plus `penalty` for each step
    that is not diagonal, over all paths from (0, 0) to (n - 1, m - 1).

    Parameters
    ----------
    x : ndarray, shape (n, d)
        The reference.
    y : ndarray, shape (m, d)
        The query.
    metric : str
        Local cost d, one of `mmalign_cli.align.metrics.METRICS`.
    step : str
        One of `mmalign_cli.align.steps.STEP_PATTERNS`.
    window : Window, optional
        Cells that the path may use; all by default.
    penalty : float
        In units of the metric.
    keep_accumulated : bool
        Also return the whole table, at 8 bytes a cell.
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
        If no path of the pattern lies in the window.
    InputError
        If the costs overflow.
    """
    pattern = step_pattern(step)
    window = everything(len(x), len(y)) if window is None else window
    pair = comparable(x, y, metric, subject)
    accumulated = (
        np.full((len(x), len(y)), np.inf) if keep_accumulated else np.empty((0, 0), np.float64)
    )
    found = _programme(pair, pattern, window, penalty / pair.scale, accumulated, progress)
    if found is None:
        raise AlignmentError(subject, "no warping path satisfies the window and the step pattern")
    frames, weights, total = found
    cost = _path_cost(pair, frames, weights, pattern, penalty)
    kept = accumulated * pair.scale if keep_accumulated else None
    return Warp(frames, weights, cost, total * pair.scale, kept)


@dataclass(frozen=True, eq=False)
class _Steps:
    """A step pattern as the kernel takes it: see `mmalign_cli.kernels.dtw`."""

    bounds: IntArray
    moves: IntArray
    weights: Float64Array
    penalties: Float64Array

    @property
    def depth(self) -> int:
        """Rows that must be kept for the longest look back, the current one included."""
        return int((self.moves[:, 0] + self.moves[:, 2]).max()) + 1


def _step_arrays(pattern: StepPattern, penalty: float) -> _Steps:
    """Lay out a pattern for the kernel; each bent move of a step costs the penalty once."""
    moves: list[tuple[int, int, int, int]] = []
    for step in pattern.steps:
        for k, move in enumerate(step):
            rest = step[k + 1 :]
            back, left = sum(m.reference for m in rest), sum(m.query for m in rest)
            moves.append((move.reference, move.query, back, left))
    bent = [sum(not move.is_diagonal for move in step) for step in pattern.steps]
    return _Steps(
        np.cumsum([0, *map(len, pattern.steps)], dtype=np.int64),
        np.array(moves, dtype=np.int64),
        np.array([move.weight for step in pattern.steps for move in step], dtype=np.float64),
        penalty * np.array(bent, dtype=np.float64),
    )


def _programme(
    pair: Comparable,
    pattern: StepPattern,
    window: Window,
    penalty: float,
    accumulated: Float64Array,
    progress: Progress,
) -> tuple[IntArray, Float64Array, float] | None:
    """Run the kernel in slices of rows; return path, weights and total, or None without path."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import dtw as kernel

    n, m = len(pair.x), len(pair.y)
    x, yt = np.ascontiguousarray(pair.x), np.ascontiguousarray(pair.y.T)
    steps = _step_arrays(pattern, penalty)
    widths = window.hi - window.lo
    offsets = np.cumsum(widths) - widths
    winners = np.empty(int(widths.sum()), dtype=np.uint8)
    costs, recent = np.full((2, steps.depth, m), np.inf)
    rows = max(1, int(_CELLS_A_CALL * n / max(window.n_cells * (1 + x.shape[1] / 8), 1)))
    for first in range(0, n, rows):
        last = min(first + rows, n)
        kernel.accumulate_rows(
            first, last, pair.kernel, x, yt, window.lo, window.hi, window.mask, steps.bounds,
            steps.moves, steps.weights, steps.penalties, costs, recent, offsets, winners,
            accumulated,
        )  # fmt: skip
        progress("aligning", last, n)
    if window.lo[-1] >= m or window.hi[-1] < m:
        return None
    path = np.empty((n + m - 1, 2), dtype=np.int64)
    taken = np.empty(n + m - 1, dtype=np.int64)
    start = kernel.trace_back(
        n - 1, m - 1, window.lo, steps.bounds, steps.moves, offsets, winners, path, taken
    )
    if start < 0:
        return None
    weights = np.concatenate([[1.0], steps.weights[taken[start + 1 :]]])
    return path[start:].copy(), weights, float(recent[(n - 1) % len(recent), m - 1])


def _path_cost(
    pair: Comparable,
    frames: IntArray,
    weights: Float64Array,
    pattern: StepPattern,
    penalty: float,
) -> Cost:
    """Return the cost of a path, from its local costs and the weights of its moves alone."""
    total = float(weights @ path_costs(pair, frames)) * pair.scale
    bent = int((np.diff(frames, axis=0) != 1).any(axis=1).sum())
    normalized = pattern.normalized(total, len(pair.x), len(pair.y))
    return Cost(total, total / len(frames), normalized, penalty * bent)


def path_costs(pair: Comparable, frames: IntArray) -> Float64Array:
    """Return the local cost of each step, (n_steps,), in the kernel's scale."""
    difference = np.abs(pair.x[frames[:, 0]] - pair.y[frames[:, 1]])
    if pair.kernel == codes.CITYBLOCK:
        return np.asarray(difference.sum(axis=1))
    if pair.kernel == codes.CHEBYSHEV:
        return np.asarray(difference.max(axis=1))
    squared = np.einsum("td,td->t", difference, difference)
    return np.asarray(np.sqrt(squared) if pair.kernel == codes.EUCLIDEAN else squared)


def local_costs(x: FloatArray, y: FloatArray, metric: str, subject: str = "dtw") -> Float64Array:
    """Return the local cost of every pair of frames, (n, m)."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import dtw as kernel

    pair = comparable(x, y, metric, subject)
    out = np.empty((len(x), len(y)))
    kernel.local_rows(
        pair.kernel, np.ascontiguousarray(pair.x), np.ascontiguousarray(pair.y.T), out
    )
    return out * pair.scale


def is_feasible(window: Window, step: str, m: int) -> bool:
    """Tell whether a path of the pattern lies in the window."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import dtw as kernel

    steps = _step_arrays(step_pattern(step), 0.0)
    return bool(
        kernel.reachable(
            window.lo, window.hi, window.mask, steps.bounds, steps.moves, m, steps.depth
        )
    )


def smallest_radius(name: str, n: int, m: int, step: str) -> int | None:
    """Return the smallest radius in frames at which a band holds a path, or None.

    Parameters
    ----------
    name : str
        A band of `mmalign_cli.align.windows.BANDS`.
    n, m : int
        Frames of reference and query.
    step : str
        Name of the step pattern.
    """
    band = BANDS[name]
    if not is_feasible(everything(n, m), step, m):
        return None
    low, high = 0, max(n, m)
    while low < high:
        middle = (low + high) // 2
        if is_feasible(band(n, m, middle), step, m):
            high = middle
        else:
            low = middle + 1
    return low


def bytes_needed(n_cells: int, n: int, m: int, d: int, keep_accumulated: bool = False) -> int:
    """Return the memory that `dtw` takes for its table and its own copies of the streams."""
    return n_cells + 16 * (n + m) * d + 32 * m + 16 * (n + m) + keep_accumulated * 16 * n * m
