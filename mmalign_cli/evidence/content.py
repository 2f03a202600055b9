"""Whether two streams that were warped onto each other hold the same content.

DTW finds a path for any two streams. Two things tell a path worth having: each frame costs hardly
more on it than it would where it fits best, wherever that is; or the path costs less than the
same search finds for the query with its stretches in another order. The first holds for frames
that do not come again, as of speech; the second for frames of few dimensions, each of which comes
again often, in an order that does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmalign_cli.align.dtw import Warp
from mmalign_cli.align.metrics import METRICS
from mmalign_cli.align.reordered import distances_of_orders, nearest_costs
from mmalign_cli.evidence.confidence import shuffled_orders
from mmalign_cli.evidence.efforts import Effort
from mmalign_cli.model import Float64Array, FloatArray

MOST_OF_BEST, MOST_OF_CHANCE = 0.78, 0.75
_FEW_FRAMES = 20
_FRAMES_AT_ONCE = 4096
_VALUES = 1e9
_LEAST_DRAWN, _MOST_DRAWN = 32, 1000


def judge_content(
    x: FloatArray, y: FloatArray, warp: Warp, metric: str, effort: Effort, seed: int
) -> Mapping[str, Any] | None:
    """Compare what a path costs with what frames cost where they fit best, and with chance.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
        Reference and query.
    warp : Warp
    metric : str
    effort : Effort
    seed : int
        Of the shuffles, and of the frames that are drawn of long streams.

    Returns
    -------
    dict or None
        ``evidence``: the costs along the path by n + m, over the mean cost of a frame and the
        one of the other stream that fits it best; ``nulls``: the least cost of coarse streams over
        that of the query ``reversed``, and over the least of those ``shuffled``; ``p_value``: the
        share of nulls that cost no more, itself counted; ``supported``: whether both nulls are at
        most .75, or below 1 with an evidence of at most .78. None with fewer than 20 frames.
    """
    x = x[int(warp.frames[0, 0]) : int(warp.frames[-1, 0]) + 1]
    if min(len(x), len(y)) < _FEW_FRAMES or not effort.shuffles:
        return None
    nulls, p_value = _beside_chance(_coarse(x, effort), _coarse(y, effort), metric, effort, seed)
    evidence = None
    if METRICS[metric].table is None:
        per_frame = warp.cost.total / (len(x) + len(y))
        evidence = _ratio(per_frame, _best_fit(x, y, metric, seed))
    chance = max(nulls.values())
    supported = chance <= MOST_OF_CHANCE
    if evidence is not None:
        supported = supported or (evidence <= MOST_OF_BEST and chance < 1)
    return {"evidence": evidence, "nulls": nulls, "p_value": p_value, "supported": supported}


def doubt_of(verdict: Mapping[str, Any] | None) -> str | None:
    """Return the warning that a verdict calls for."""
    if verdict is None or verdict["supported"]:
        return None
    chance = f"{max(verdict['nulls'].values()):.2f} of what chance costs"
    best = "" if verdict["evidence"] is None else f"{verdict['evidence']:.2f} of the best fit, "
    return f"no evidence that the streams hold the same content: a step costs {best}{chance}"


def _ratio(cost: float, of: float) -> float:
    """Return a cost as a multiple of another; nothing is no part of anything."""
    return 0.0 if cost <= 0 else cost / max(of, np.finfo(np.float64).tiny)


def _coarse(frames: FloatArray, effort: Effort) -> Float64Array:
    """Return the means of stretches of frames (n, d)."""
    length = -(-len(frames) // effort.frames)
    whole = len(frames) // length
    parts = frames[: whole * length].reshape(whole, length, -1)
    return np.ascontiguousarray(parts.mean(axis=1, dtype=np.float64))


def _beside_chance(
    x: Float64Array, y: Float64Array, metric: str, effort: Effort, seed: int
) -> tuple[Mapping[str, float], float]:
    """Return the cost of coarse streams over that of nulls, and the p-value."""
    forward = np.arange(len(y))
    shuffled = shuffled_orders(len(y), range(seed, seed + effort.shuffles))
    orders = np.vstack([forward, forward[::-1], shuffled])
    cost, *against = distances_of_orders(x, y, orders, metric).tolist()
    nulls = {"reversed": _ratio(cost, against[0]), "shuffled": _ratio(cost, min(against[1:]))}
    return nulls, (1 + sum(null <= cost for null in against)) / (1 + len(against))


def _best_fit(x: FloatArray, y: FloatArray, metric: str, seed: int) -> float:
    """Return the mean cost of a frame and the one of the other stream that fits it best."""
    rng = np.random.default_rng(seed)
    drawn_x, drawn_y = _drawn(x, y, rng), _drawn(y, x, rng)
    if len(drawn_x) == len(x) <= _FRAMES_AT_ONCE and len(drawn_y) == len(y) <= _FRAMES_AT_ONCE:
        both = nearest_costs(x, y, metric)
        return float(sum(best.mean() for best in both)) / 2
    return (_mean_of_best(drawn_x, y, metric) + _mean_of_best(drawn_y, x, metric)) / 2


def _drawn(frames: FloatArray, others: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return as many frames, in their order, as can be compared with all others."""
    most = int(np.clip(_VALUES / others.size, _LEAST_DRAWN, _MOST_DRAWN))
    if len(frames) <= most:
        return frames
    return frames[np.sort(rng.choice(len(frames), most, replace=False))]


def _mean_of_best(frames: FloatArray, others: FloatArray, metric: str) -> float:
    best = np.full(len(frames), np.inf)
    for first in range(0, len(others), _FRAMES_AT_ONCE):
        costs = nearest_costs(frames, others[first : first + _FRAMES_AT_ONCE], metric)[0]
        np.minimum(best, costs, out=best)
    return float(best.mean())
