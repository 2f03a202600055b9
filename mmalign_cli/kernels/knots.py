"""From the staircase of a path to the knots of a time map: see `mmalign_cli.align.time_maps`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import ENTRY, INNER

Floats: TypeAlias = npt.NDArray[np.float64]


@njit(**ENTRY)
def knots_of(stream: Floats, reference: Floats, straight: float, exact: float) -> Any:
    """Return the knots (n_knots, 2) that the times (n_steps,) of two streams stand for.

    Parameters
    ----------
    stream, reference : (n_steps,)
        Neither decreases.
    straight, exact : float64
        A knot this close to the line between its neighbours goes, if no knot is then further off
        than `exact`. Seconds.
    """
    points = _moving(stream, reference)
    first, last = points[0], points[-1]
    if (first == last).any():
        return ((first + last) / 2).reshape(1, 2)
    knots = np.empty((len(points) + 2, 2))
    knots[0] = first
    n = _middles(points, knots)
    knots[n] = last
    return _without_collinear(knots[: n + 1], straight, exact)


@njit(**INNER)
def _moving(stream: Floats, reference: Floats) -> Any:
    """Return the steps at which a clock has moved on, and the first."""
    points, n = np.empty((len(stream), 2)), 0
    for t in range(len(stream)):
        if t == 0 or stream[t] > stream[t - 1] or reference[t] > reference[t - 1]:
            points[n, 0], points[n, 1] = stream[t], reference[t]
            n += 1
    return points[:n]


@njit(**INNER)
def _still(points: Floats, i: int) -> int:
    """Return which clock stands still after point i: 2 the stream's, 1 the reference's, 0 none."""
    if i < 0 or i + 1 >= len(points):
        return 0
    if points[i + 1, 0] > points[i, 0]:
        return 0 if points[i + 1, 1] > points[i, 1] else 1
    return 2


@njit(**INNER)
def _middles(points: Floats, knots: Floats) -> int:
    """Write the middle of each stretch, and points outside stretches, behind the first knot.

    Returns
    -------
    int
        Where the next knot goes.
    """
    n, first, last = 1, points[0], points[-1]
    for i in range(len(points)):
        before, after = _still(points, i - 1), _still(points, i)
        end = i
        if after not in (0, before):
            while _still(points, end) == after:
                end += 1
        elif before != 0 or after != 0:
            continue
        x, y = (points[i, 0] + points[end, 0]) / 2, (points[i, 1] + points[end, 1]) / 2
        if first[0] < x < last[0] and first[1] < y < last[1]:
            knots[n, 0], knots[n, 1] = x, y
            n += 1
    return n


@njit(**INNER)
def _without_collinear(knots: Floats, straight: float, exact: float) -> Floats:
    """Drop knots that lie on the line between their neighbours; the map stays the same."""
    fewer, n, kept = np.empty_like(knots), 1, 0
    fewer[0] = knots[0]
    for k in range(1, len(knots)):
        if k + 1 < len(knots) and _off_line(knots[k - 1], knots[k + 1], knots[k]) <= straight:
            continue
        for passed in range(kept + 1, k):
            slope = (knots[k, 1] - knots[kept, 1]) / (knots[k, 0] - knots[kept, 0])
            there = slope * (knots[passed, 0] - knots[kept, 0]) + knots[kept, 1]
            if abs(there - knots[passed, 1]) >= exact:
                return knots
        fewer[n], kept = knots[k], k
        n += 1
    return fewer[:n]


@njit(**INNER)
def _off_line(a: Floats, b: Floats, between: Floats) -> Any:
    """Return how far a point lies over or under the line between two others."""
    return abs(a[1] + (b[1] - a[1]) * (between[0] - a[0]) / (b[0] - a[0]) - between[1])
