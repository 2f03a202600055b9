"""Whether two recordings hold the same event at all.

A search for an offset always finds one. What tells same from different is how many windows, each
by itself, agree with the line through them: nearly all do where the event is the same, and hardly
more than chance allows where it is not. Chance is measured: the same search, in the same sound, for
the recording reversed in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import betainc

from mmalign_cli.align.activity import Shift
from mmalign_cli.evidence.content import doubt_of

LARGEST_P = 1e-3
LEAST_SHARE = 0.4
LEAST_CHANCE = 0.02
LARGEST_ACTIVITY_P = 0.05
TIMES_CHANCE = 1.3
_ENOUGH_NUMBERS = 100  # some ten seconds of talking faces: true offsets then beat all nulls


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


def activity_relation(
    shift: Shift, reversed_null: Shift | None, shuffled_nulls: Sequence[Shift | None]
) -> Mapping[str, Any]:
    """Judge an offset of activities beside what the search finds where there is nothing.

    Parameters
    ----------
    shift : Shift
    reversed_null, shuffled_nulls
        Of the other stream reversed in time, and of its stretches in other orders.

    Returns
    -------
    dict
        ``distinct`` is a log likelihood of 1.3 times the reversed null's, where the correlation is
        chance with a probability of .05 at most; ``p_value`` the share of nulls that are as
        likely, itself counted; supported is both, that one at most .05. Streams that are long
        enough for the nulls to tell are distinct only where they are supported.
    """
    backward, *others = (
        0.0 if null is None else null.nats for null in (reversed_null, *shuffled_nulls)
    )
    as_likely = sum(nats >= shift.nats for nats in (backward, *others))
    p = (1 + as_likely) / (2 + len(others))
    distinct = shift.nats >= TIMES_CHANCE * backward and shift.p_value <= LARGEST_ACTIVITY_P
    distinct &= p <= LARGEST_ACTIVITY_P or shift.independent < _ENOUGH_NUMBERS
    return {
        "evidence": shift.nats,
        "correlation": shift.correlation,
        "nulls": {"reversed": backward, "shuffled": max(others, default=0.0)},
        "p_value": p,
        "distinct": bool(distinct),
        "supported": bool(distinct and p <= LARGEST_ACTIVITY_P),
    }


def doubt_of_sync(confidence: Mapping[str, Any]) -> str | None:
    """Return why a relation is not believed, or None where it is."""
    if confidence["supported"]:
        return None
    what = "no evidence that these are recordings of one event"
    if "windows" in confidence:
        null, n = confidence["nulls"]["reversed"], confidence["windows"]
        found = f"{confidence['evidence']:.0%} of {n} windows agree, by chance {null:.0%}"
    elif "correlation" in confidence:
        if not confidence["distinct"]:
            what = "no distinct offset"
        by_chance = max(confidence["nulls"].values())
        found = f"{confidence['evidence']:.1f} nats, by chance up to {by_chance:.1f}"
    else:
        return doubt_of(confidence)
    return f"{what}: {found} (p = {confidence['p_value']:.2g})"


def is_refused(confidence: Mapping[str, Any]) -> bool:
    """Tell whether a relation is too doubtful to act on it.

    An offset of activities that is distinct is not: that the streams belong together nobody can
    tell from seconds of them, and who knows it is helped.
    """
    return not (confidence["supported"] or confidence.get("distinct", False))
