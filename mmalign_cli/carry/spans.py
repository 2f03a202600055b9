"""Times as they stand in a text: where, how many seconds, and how a new one is spelled there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array, TimeMap
from mmalign_cli.streams.marks import clock_seconds

_LATEST_S = 1e15  # thirty million years


@dataclass(frozen=True)
class Span:
    """A time in a text.

    Parameters
    ----------
    begin, end : int
        Where it stands.
    time_s : float
        What it says, in seconds.
    spell : Callable
        Returns another time, in seconds, in the same way of writing.
    since_s : float or None
        Where it says how long something lasts: when that begins.
    least_s : float or None
        The earliest time that can be said there.
    """

    begin: int
    end: int
    time_s: float
    spell: Callable[[float], str]
    since_s: float | None = None
    least_s: float | None = None


def retimed(text: str, spans: Sequence[Span], time_map: TimeMap, path: str) -> tuple[str, int]:
    """Return a text with every time moved to another clock, and how many had to be held back.

    Nothing but the times changes. Those that the format cannot say become the earliest that it can.

    Parameters
    ----------
    text : str
        The text.
    spans : sequence of Span
        Its times, in the order in which they stand.
    time_map : TimeMap
        From their clock to the other.
    path : str
        The file, for messages.

    Raises
    ------
    InputError
        If a time is beyond all reason, there or here.
    """
    since_s = np.array([span.since_s or 0.0 for span in spans])
    moved_s = time_map(since_s + [span.time_s for span in spans])
    begins_s = time_map(since_s)
    _require_reason(np.concatenate([moved_s, begins_s]), spans, path)
    parts, at, n_held = [], 0, 0
    for span, moved, begin in zip(spans, moved_s.tolist(), begins_s.tolist(), strict=True):
        is_held = span.least_s is not None and moved < span.least_s
        n_held += is_held
        shown_s = moved if span.since_s is None else moved - begin
        shown_s = span.least_s if is_held and span.least_s is not None else shown_s
        parts += [text[at : span.begin], span.spell(shown_s)]
        at = span.end
    return "".join([*parts, text[at:]]), n_held


def _require_reason(moved_s: Float64Array, spans: Sequence[Span], path: str) -> None:
    beyond = np.flatnonzero(~(np.abs(moved_s) < _LATEST_S))
    if len(beyond):
        time_s = spans[beyond[0] % len(spans)].time_s
        what = f"its time {time_s:.6g} s becomes {moved_s[beyond[0]]:.6g} s"
        raise InputError(path, what, "one of them, or a knot of the time map, is astray")


def clock_span(text: str, begin: int, end: int) -> Span:
    """Return the span of a time written as hours, minutes and seconds."""
    written = text[begin:end]
    above = written.split(":")[:-1]
    mark = "," if "," in written else "."
    decimals = len(re.split("[.,]", written)[1]) if re.search("[.,]", written) else 0
    digits = len(above[0]) if len(above) == 2 else 0

    def spell(time_s: float) -> str:
        units = max(0, round(time_s * 10**decimals))
        whole, fraction = divmod(units, 10**decimals)
        minutes, secs = divmod(whole, 60)
        hours, minutes = divmod(minutes, 60)
        head = f"{hours:0{max(digits, 2) if hours and not digits else digits}d}:"
        tail = f"{mark}{fraction:0{decimals}d}" if decimals else ""
        shown = head if digits or hours else ""
        return f"{shown}{minutes:02d}:{secs:02d}{tail}"

    return Span(begin, end, clock_seconds(written), spell, least_s=0.0)


def number_span(
    text: str,
    begin: int,
    end: int,
    *,
    per_second: int = 1,
    offset: float = 0.0,
    decimals: int | None = None,
    since_s: float | None = None,
    least: float | None = None,
) -> Span:
    """Return the span of a time written as a number.

    Parameters
    ----------
    text : str
        The text.
    begin, end : int
        Where the number stands.
    per_second : int
        Units in a second.
    offset : float
        Added to the number, in its unit, it counts on the clock of the map.
    decimals : int or None
        Decimals to write at least, as many as there are are kept; None writes all that a float has.
    since_s : float or None
        See `Span`.
    least : float or None
        The smallest number that may stand there.
    """
    written = text[begin:end]
    mark = "," if "," in written else "."
    plain = written.replace(",", ".")
    has = len(re.split("[eE]", plain.partition(".")[2])[0])

    def spell(time_s: float) -> str:
        value = time_s * per_second - offset
        if decimals is None:
            shown = f"{value:.15g}"
            shown = shown if "e" not in shown else f"{value:.17f}".rstrip("0").rstrip(".")
        else:
            shown = f"{value:.{max(decimals, has)}f}"
        if float(shown) == 0:
            shown = shown.lstrip("-")
        return shown.replace(".", mark)

    least_s = None if least is None else (least + offset) / per_second
    return Span(begin, end, (float(plain) + offset) / per_second, spell, since_s, least_s)
