"""From a warping path, which is a staircase, to a strictly monotone time map."""

from __future__ import annotations

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.metrics import read_only
from mmalign_cli.model import Float64Array, TimeMap, WarpingPath

_EXACT_S, _STRAIGHT_S = 1e-9, 1e-12


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
    runtime.prepare_kernels()
    from mmalign_cli.kernels import knots

    times = [np.ascontiguousarray(t, dtype=np.float64) for t in (stream_s, reference_s)]
    found = knots.knots_of(read_only(times[0]), read_only(times[1]), _STRAIGHT_S, _EXACT_S)
    return np.asarray(found)
