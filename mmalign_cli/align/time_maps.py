"""From a warping path, which is a staircase, to a strictly monotone time map."""

from __future__ import annotations

import numpy as np

from mmalign_cli.model import Float64Array, TimeMap, WarpingPath

_EXACT_S = 1e-9


def time_maps(path: WarpingPath, names: list[str]) -> tuple[TimeMap, ...]:
    """Return the map of each further stream's clock to the reference's.

    Parameters
    ----------
    path : WarpingPath
        Its first column is the reference.
    names : list of str
        Of the streams, reference first.
    """
    return tuple(
        TimeMap(name, names[0], knots_of(path.times[:, k], path.times[:, 0]))
        for k, name in enumerate(names[1:], 1)
    )


def knots_of(stream_s: Float64Array, reference_s: Float64Array) -> Float64Array:
    """Return the knots of the map that a path's times stand for.

    Wherever one clock stands still for some steps, the step in the middle of that stretch is the
    unbiased guess of the match: it becomes the knot, and the rest of the stretch goes. Between
    two such stretches both clocks advance, so what remains increases strictly. The two ends of
    the path are kept; knots on a straight line between others are dropped.

    Parameters
    ----------
    stream_s, reference_s : ndarray, shape (n_steps,)
        Seconds of the two streams at each step, neither decreasing.

    Returns
    -------
    ndarray, shape (n_knots, 2)
        Seconds of the stream and of the reference.
    """
    points = np.column_stack([stream_s, reference_s])
    moves = np.diff(points, axis=0) > 0
    points = points[np.concatenate([[True], moves.any(axis=1)])]
    moves = moves[moves.any(axis=1)]
    first, last = points[0], points[-1]
    if (first == last).any():
        return np.asarray((first + last)[np.newaxis] / 2)
    still = np.where(moves.all(axis=1), 0, np.where(moves[:, 0], 1, 2))
    knots = _middles(points, still)
    inside = ((knots > first) & (knots < last)).all(axis=1)
    return _without_collinear(np.vstack([first, knots[inside], last]))


def _middles(
    points: Float64Array, still: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> Float64Array:
    """Return one point a stretch of equal `still` (0: both move), and points outside stretches."""
    before = np.concatenate([[0], still])
    after = np.concatenate([still, [0]])
    begins = np.flatnonzero((after != 0) & (after != before))
    ends = np.flatnonzero((before != 0) & (after != before))
    alone = np.flatnonzero((before == 0) & (after == 0))
    middles = (points[begins] + points[ends]) / 2
    order = np.argsort(np.concatenate([begins + ends, 2 * alone]), kind="stable")
    return np.asarray(np.concatenate([middles, points[alone]])[order])


def _without_collinear(knots: Float64Array) -> Float64Array:
    """Drop knots that lie on the line between their neighbours; the map stays the same."""
    if len(knots) < 3:
        return knots
    (x0, y0), (x1, y1), (x2, y2) = knots[:-2].T, knots[1:-1].T, knots[2:].T
    off_line = np.abs(y0 + (y2 - y0) * (x1 - x0) / (x2 - x0) - y1)
    keep = np.concatenate([[True], off_line > _EXACT_S / 1000, [True]])
    fewer = knots[keep]
    error = np.abs(np.interp(knots[:, 0], fewer[:, 0], fewer[:, 1]) - knots[:, 1]).max()
    return fewer if error < _EXACT_S else knots
