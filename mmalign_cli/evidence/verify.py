"""Checks that an alignment must pass before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from mmalign_cli.align.dtw import Warp
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.align.windows import Window
from mmalign_cli.errors import InternalError
from mmalign_cli.model import Cost, Float64Array, IntArray

_HALF = 0.5 + 1e-6
_ROUNDING = 1e-9


def verify_warp(
    warp: Warp,
    pattern: StepPattern,
    window: Window,
    ends: Ends,
    anchors: IntArray,
    n: int,
    m: int,
) -> None:
    """Check the five restrictions, the anchors, and that the programme's total is the path's cost.

    Parameters
    ----------
    warp : Warp
        What DTW found.
    pattern : StepPattern
        Allowed moves.
    window : Window
        Allowed cells.
    ends : Ends
        Where the path may begin and end.
    anchors : ndarray, shape (k, 2)
        Cells that it holds.
    n, m : int
        Frames of reference and query.

    Raises
    ------
    InternalError
        A fault of mmalign itself, exit code 1.
    """
    path = warp.frames
    require = partial(_require, {"path": path, "frames": [n, m]})
    i, j = path[:, 0], path[:, 1]
    allowed = {(move.reference, move.query) for step in pattern.steps for move in step}
    strange = _moves_beside(allowed, path)
    starts = j[0] == 0 and (ends.open_begin or i[0] == 0)
    stops = j[-1] == m - 1 and (ends.open_end or i[-1] == n - 1)
    require(bool(starts), "the path does not start at the first frames")
    require(bool(stops), "the path does not end at the last frames")
    require(not strange, f"the path makes moves that the pattern has not: {strange}")
    inside = (window.lo[i] <= j) & (j < window.hi[i])
    require(bool(inside.all()), "the path leaves the window")
    if window.mask.size:
        require(bool(window.mask[i, j].all()), "the path leaves the mask")
    if len(anchors):
        held = np.isin(anchors @ [m, 1], path @ [m, 1])
        require(bool(held.all()), f"the path leaves out the anchors {anchors[~held].tolist()}")
    total = warp.cost.total + warp.cost.penalty
    agree = abs(warp.programme_total - total) <= warp.precision * max(abs(total), 1e-300)
    require(agree, f"cost along the path {total!r}, by the programme {warp.programme_total!r}")


def verify_group(
    path: IntArray | Float64Array,
    frames: Sequence[int],
    ends: OpenEnds,
    cost: Cost,
    compared: Sequence[Float64Array],
    metric: str,
) -> None:
    """Check the path of many streams, and that its cost is what it says.

    Parameters
    ----------
    path : ndarray, shape (n_steps, m)
        Whole frames, of which no step may leave one out, or fractions.
    frames : sequence of int
        Of each stream.
    ends : OpenEnds
    cost : Cost
    compared : sequence of m ndarray, shape (n_i, d)
    metric : str
        Recomputed here for the square of the distance alone.

    Raises
    ------
    InternalError
        A fault of mmalign itself, exit code 1.
    """
    require = partial(_require, {"path": path, "frames": list(frames)})
    last = np.asarray(frames) - 1
    require(ends.begin or bool((path[0] < _HALF).all()), "the path does not start at the first")
    require(ends.end or bool((path[-1] > last - _HALF).all()), "the path does not end at the last")
    require(bool((path >= 0).all() and (path <= last).all()), "the path leaves the streams")
    moves = np.diff(path, axis=0)
    if path.dtype == np.int64:
        require(bool((moves <= 1).all()), "the path leaves frames out")
        if metric == "sqeuclidean":
            steps = [x[p] for x, p in zip(compared, path.T, strict=True)]
            total = sum(float(((a - b) ** 2).sum()) for a, b in combinations(steps, 2))
            agree = abs(total - cost.total) <= _ROUNDING * max(total, 1e-300)
            require(agree, f"cost along the path {total!r}, as told {cost.total!r}")


def _moves_beside(allowed: Iterable[tuple[int, int]], path: IntArray) -> set[tuple[int, int]]:
    """Return the moves of a path that are none of those."""
    moves = path[1:] - path[:-1]
    known = np.zeros(len(moves), dtype=np.bool_)
    for reference, query in allowed:
        known |= (moves[:, 0] == reference) & (moves[:, 1] == query)
    return set() if known.all() else set(map(tuple, moves[~known].tolist()))


def _require(state: Mapping[str, object], condition: bool, what: str) -> None:
    if not condition:
        raise InternalError(what, state)
