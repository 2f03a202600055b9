"""Anchors: cells that the path must hold, as a smaller window and a few steps that may not be.

All cells of a path through an anchor (a, b) lie in two quadrants, i <= a and j <= b before it,
i >= a and j >= b after it. A path that stays in these and begins in the first and ends in the
second leaves the anchor out only by a move that jumps from the one into the other beside it:
for a diagonal move that is (a, b - 1) to (a + 1, b) or (a - 1, b) to (a, b + 1). Steps with such
a move are barred, so that what remains is exact for any step pattern.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmalign_cli.align.problem import Ends
from mmalign_cli.align.steps import Move, StepPattern
from mmalign_cli.align.windows import Window
from mmalign_cli.model import IntArray


def anchored(window: Window, anchors: IntArray, m: int) -> Window:
    """Return the cells of a window, of `m` columns, that a path through all anchors can use."""
    if not len(anchors):
        return window
    rows = np.arange(len(window.lo))
    bounds = np.concatenate([[0], anchors[:, 1], [m - 1]])
    # Before row a of anchor k columns end at b_k; on that row the next anchor's bound holds.
    last = bounds[np.searchsorted(anchors[:, 0], rows, side="right") + 1]
    first = bounds[np.searchsorted(anchors[:, 0], rows, side="left")]
    lo = np.maximum(window.lo, first)
    return Window(lo, np.maximum(np.minimum(window.hi, last + 1), lo), window.mask)


def outside(window: Window, anchors: IntArray) -> int | None:
    """Return the number of the first anchor that is not in the window, or None."""
    i, j = anchors[:, 0], anchors[:, 1]
    inside = (window.lo[i] <= j) & (j < window.hi[i])
    if window.mask.size:
        inside &= window.mask[i, j]
    return None if inside.all() else int(np.argmin(inside))


def row_limits(n: int, ends: Ends, anchors: IntArray) -> tuple[int, int]:
    """Return the last row in which a path may begin, and the first in which it may end."""
    start = int(anchors[0, 0]) if len(anchors) else n - 1
    end = int(anchors[-1, 0]) if len(anchors) else 0
    return start if ends.open_begin else 0, end if ends.open_end else n - 1


def barred_steps(pattern: StepPattern, anchors: IntArray, n: int, m: int) -> IntArray:
    """Return where steps would jump over an anchor, for `mmalign_cli.kernels.dtw.Cells`.

    Returns
    -------
    ndarray, shape (b, 3)
        Row where the step ends, number of the step, column; in this order, rows increasing.
    """
    found = {
        (row, s, column)
        for a, b in anchors.tolist()
        for s, step in enumerate(pattern.steps)
        for row, column in _jumps(step, a, b)
        if row < n and column < m
        if row >= sum(move.reference for move in step)
        if column >= sum(move.query for move in step)
    }
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 3)


def _jumps(step: tuple[Move, ...], a: int, b: int) -> Iterator[tuple[int, int]]:
    """Yield the cells where a step ends one of whose moves jumps over (a, b)."""
    for k, move in enumerate(step):
        back = sum(later.reference for later in step[k + 1 :])
        left = sum(later.query for later in step[k + 1 :])
        for u in range(move.reference + 1):
            for v in range(move.query + 1):
                if (u, v) not in ((0, 0), (move.reference, move.query)):
                    yield a + u + back, b + v + left
