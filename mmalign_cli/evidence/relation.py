"""Whether two recordings hold the same event at all.

A search for an offset always finds one. What tells same from different is how many windows, each
by itself, agree with the line through them: nearly all do where the event is the same, and hardly
more than chance allows where it is not. Chance is measured: the same search, in the same sound, for
the recording reversed in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betainc

from mmalign_cli.align.activity import Shift
from mmalign_cli.model import Float64Array, FloatArray

LARGEST_P = 1e-3
LEAST_SHARE = 0.4
LEAST_CHANCE = 0.02
LARGEST_ACTIVITY_P = 0.05
TIMES_CHANCE = 1.3
MOST_CONTENT_COST = 0.77
_MOST_FRAMES = 2000


@dataclass(frozen=True)
class Agreement:
    """How many windows agree with the lines that were fitted to them.

    Parameters
    ----------
    share : float
        Of the windows.
    windows : int
        How many there are.
    independent : float
        How many there would be if none overlapped.
    free : int
        How many windows a fit takes for itself: one for the offset, one for the drift, two a
        break.
    """

    share: float
    windows: int
    independent: float
    free: int


NOTHING = Agreement(0.0, 0, 1.0, 0)


def relation(found: Agreement, null: Agreement) -> Mapping[str, Any]:
    """Compare the windows that agree with what a search for nothing gives.

    Parameters
    ----------
    found, null : Agreement
        Of the recording, and of the recording reversed.

    Returns
    -------
    dict
        ``evidence`` (the share), ``windows``, ``nulls``, ``p_value`` and ``supported``: p is the
        probability that so many of the independent windows agree by chance (binomial, less those
        that the fit takes for itself); the chance of one is the null's share, counted so too, and
        at least .02. Supported is a share of .4 or more with p of .001 or less.
    """
    chance = max(_won(null) / null.independent, LEAST_CHANCE)
    n, k = max(found.independent, 1.0), _won(found)
    p = float(betainc(k, n - k + 1, chance)) if k > 0 else 1.0
    return {
        "evidence": found.share,
        "windows": found.windows,
        "nulls": {"reversed": null.share},
        "p_value": p,
        "supported": bool(p <= LARGEST_P and found.share >= LEAST_SHARE),
    }


def _won(agreement: Agreement) -> float:
    """Return how many independent windows agree without having been asked to."""
    return max(agreement.share * agreement.independent - agreement.free, 0.0)


def activity_relation(shift: Shift, null: Shift | None) -> Mapping[str, Any]:
    """Judge an offset of activities beside the best offset of the other one reversed in time.

    Supported is a log likelihood of 1.3 times the null's, with a p of .05 or less.
    """
    chance = 0.0 if null is None else null.nats
    distinct = shift.nats >= TIMES_CHANCE * chance and shift.p_value <= LARGEST_ACTIVITY_P
    return {
        "evidence": shift.nats,
        "correlation": shift.correlation,
        "nulls": {"reversed": chance},
        "p_value": shift.p_value,
        "supported": bool(distinct),
    }


def content_relation(
    x: FloatArray, y: FloatArray, total: float, seed: int = 0
) -> Mapping[str, Any]:
    """Judge a warp: what its steps cost beside the cheapest match of any frame, wherever it is.

    Parameters
    ----------
    x, y : ndarray, shape (n, d), (m, d)
        Frames, compared by Euclidean distance; of more than 2000, so many are drawn.
    total : float
        Of the path.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        ``evidence`` is the cost a frame over the mean of the minima of rows and columns of the cost
        matrix. Supported is .77 or less.
    """
    rng = np.random.default_rng(seed)
    minima = [_nearest(a, b, rng).mean() for a, b in ((x, y), (y, x))]
    ratio = total / (len(x) + len(y)) / (float(np.mean(minima)) or 1.0)
    return {
        "evidence": ratio,
        "nulls": {},
        "p_value": None,
        "supported": bool(ratio <= MOST_CONTENT_COST),
    }


def _nearest(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> Float64Array:
    """Return the distance of some frames of x to the nearest of y."""
    from scipy.spatial.distance import cdist

    if len(x) > _MOST_FRAMES:
        x = x[rng.choice(len(x), _MOST_FRAMES, replace=False)]
    near = np.full(len(x), np.inf)
    for first in range(0, len(y), _MOST_FRAMES):
        near = np.minimum(near, cdist(x, y[first : first + _MOST_FRAMES]).min(axis=1))
    return near


def refusal(confidence: Mapping[str, Any]) -> str | None:
    """Return why a relation is not believed, or None where it is."""
    if confidence["supported"]:
        return None
    what = "no evidence that these are recordings of one event"
    if "windows" in confidence:
        null, n = confidence["nulls"]["reversed"], confidence["windows"]
        found = f"{confidence['evidence']:.0%} of {n} windows agree, by chance {null:.0%}"
    elif "correlation" in confidence:
        null = confidence["nulls"]["reversed"]
        what = "no distinct offset"
        found = f"{confidence['evidence']:.1f} nats, by chance {null:.1f}"
    else:
        return f"{what}: a warp costs {confidence['evidence']:.2f} of what any match does"
    return f"{what}: {found} (p = {confidence['p_value']:.2g})"
