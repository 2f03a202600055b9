"""Whether two recordings hold the same event at all.

A search for an offset always finds one. What tells same from different is how many windows, each
by itself, agree with the line through them: nearly all do where the event is the same, and hardly
more than chance allows where it is not. Chance is measured: the same search, in the same sound, for
the recording reversed in time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGEST_P = 1e-3
LEAST_SHARE = 0.4
LEAST_CHANCE = 0.02


def relation(
    share: float, n_windows: int, independent: float, free: int, null_share: float
) -> Mapping[str, Any]:
    """Compare the share of windows on the lines with that of a search for nothing.

    Parameters
    ----------
    share : float
        Of the windows, within 2 ms of the lines.
    n_windows : int
        How many there are.
    independent : float
        How many there would be if none overlapped.
    free : int
        How many windows any fit takes for itself: one for the offset, one for the drift, two a
        break.
    null_share : float
        Share for the recording reversed.

    Returns
    -------
    dict
        ``evidence`` (the share), ``windows``, ``nulls``, ``p_value`` and ``supported``: p is the
        probability that so many of the independent windows agree by chance (binomial, less those
        that the fit takes for itself); the chance of one is the null's share, at least .02.
        Supported is a share of .4 or more with p of .001 or less.
    """
    chance = max((null_share * n_windows - free) / n_windows, LEAST_CHANCE)
    n = max(math.floor(independent + 1e-6), 1)
    p = _binomial_tail(math.floor(share * n + 1e-6) - free, n, chance)
    return {
        "evidence": share,
        "windows": n_windows,
        "nulls": {"reversed": null_share},
        "p_value": p,
        "supported": bool(p <= LARGEST_P and share >= LEAST_SHARE),
    }


def _binomial_tail(k: int, n: int, chance: float) -> float:
    """Return the probability of k or more successes in n."""
    if k <= 0:
        return 1.0
    from scipy.special import betainc

    return float(betainc(k, n - k + 1, chance))


def refusal(confidence: Mapping[str, Any]) -> str | None:
    """Return why a relation is not believed, or None where it is."""
    if confidence["supported"]:
        return None
    nulls = ", ".join(f"{name} {value:.0%}" for name, value in confidence["nulls"].items())
    n = confidence["windows"]
    found = f"{confidence['evidence']:.0%} of {n} windows agree (p = {confidence['p_value']:.2g}"
    return f"no evidence that these are recordings of one event: {found}; by chance: {nulls})"
