"""The general road of DTW: any step pattern, any window, one byte a cell, in float64.

The dynamic programme itself is `mmalign_cli.kernels.dtw`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.metrics import Comparable
from mmalign_cli.align.problem import Ends, Found
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.windows import Window
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_CELLS_A_CALL = 8_000_000  # some 50 ms: how long an interrupt may have to wait
_PRECISION = 1e-9


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


def find_path(
    pair: Comparable,
    pattern: StepPattern,
    window: Window,
    penalty: float,
    ends: Ends,
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
    from mmalign_cli.kernels import dtw as kernel

    n, m = len(pair.x), len(pair.y)
    x = np.ascontiguousarray(pair.x, dtype=np.float64)
    yt = np.ascontiguousarray(pair.y.T, dtype=np.float64)
    steps = _step_arrays(pattern, penalty)
    widths = window.hi - window.lo
    offsets = np.cumsum(widths) - widths
    winners = np.empty(int(widths.sum()), dtype=np.uint8)
    costs, recent = np.full((2, steps.depth, m), np.inf)
    last_column = np.full(n, np.inf)
    rows = max(1, int(_CELLS_A_CALL * n / max(window.n_cells * (1 + x.shape[1] / 8), 1)))
    for first in range(0, n, rows):
        last = min(first + rows, n)
        kernel.accumulate_rows(
            first, last, pair.kernel, x, yt, window.lo, window.hi, window.mask, steps.bounds,
            steps.moves, steps.weights, steps.penalties, ends.open_begin, costs, recent, offsets,
            winners, accumulated, last_column,
        )  # fmt: skip
        progress("aligning", last, n)
    end = int(np.argmin(last_column)) if ends.open_end else n - 1
    if last_column[end] == np.inf:
        return None
    path = np.empty((end + m, 2), dtype=np.int64)
    taken = np.empty(end + m, dtype=np.int64)
    start = kernel.trace_back(
        end, m - 1, window.lo, steps.bounds, steps.moves, offsets, winners, path, taken
    )
    weights = np.concatenate([[1.0], steps.weights[taken[start + 1 :]]])
    return Found(path[start:].copy(), weights, float(last_column[end]), _PRECISION)


def is_feasible(window: Window, pattern: StepPattern, m: int, ends: Ends) -> bool:
    """Tell whether a path of the pattern lies in the window."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import dtw as kernel

    steps = _step_arrays(pattern, 0.0)
    return bool(
        kernel.reachable(
            window.lo,
            window.hi,
            window.mask,
            steps.bounds,
            steps.moves,
            m,
            steps.depth,
            ends.open_begin,
            ends.open_end,
        )
    )


def bytes_needed(n_cells: int, n: int, m: int) -> int:
    """Return the memory that `find_path` takes beside the frames."""
    return n_cells + 32 * m + 16 * (n + m)
