"""Times: how a time column is recognised, its unit, clock times as text, and even spacing."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array, Float64Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

_PER_SECOND = {"s": 1, "sec": 1, "secs": 1, "seconds": 1}
_PER_SECOND |= {"ms": 10**3, "msec": 10**3, "milliseconds": 10**3}
_PER_SECOND |= {"us": 10**6, "usec": 10**6, "microseconds": 10**6}
_PER_SECOND |= {"ns": 10**9, "nsec": 10**9, "nanoseconds": 10**9}
_UNITS = "|".join(_PER_SECOND)
_TIME_NAME = re.compile(
    r"%?(?:time|times|t|timestamps?|time[ _]?stamps?|seconds|secs?)"
    rf"(?:[ _.-](?P<unit>{_UNITS})|[ _]?[(\[](?P<bracketed>{_UNITS})[)\]])?",
    re.IGNORECASE,
)
RATE_NAMES = frozenset({"rate", "fs", "fps", "sr", "sample_rate", "frame_rate"})

_EVEN_WITHIN = 0.01  # of a period: times as exact as that count as evenly spaced
_DENOMINATORS = (1, 1001, *range(2, 1001))  # 30000/1001 is the rate of television
_LARGEST_RATE = 10**9
_USUAL_RATES = (24, 25, 30, 50, 60, 100, 120, 200, 240, 250)
_PLAIN = r"(?:\d{1,20}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,2})?"
_CLOCK = r"\d+:\d\d:\d\d(?:\.\d*)?"


def units_per_second(name: str) -> int | None:
    """Return how many units of a column called `name` make a second; None: it is no time column.

    Examples
    --------
    >>> units_per_second("Time"), units_per_second("t_ms"), units_per_second("time [us]")
    (1, 1000, 1000000)
    >>> units_per_second("tension") is None
    True
    """
    match = _TIME_NAME.fullmatch(name.strip())
    if match is None:
        return None
    return _PER_SECOND[(match["unit"] or match["bracketed"] or "s").lower()]


def numeric_seconds(times: Array, name: str) -> Float64Array:
    """Return numbers or dates of an array called `name` as seconds, (n_frames,).

    Dates count from 1970. The unit is the one that the name states, else seconds.
    """
    if times.dtype.kind == "M":
        return _seconds_of_dates(times)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
        return np.asarray(times, dtype=np.float64) / (units_per_second(name) or 1)


def _seconds_of_dates(dates: Array) -> Float64Array:
    # Microseconds since 1970 are whole float64 numbers until the year 2255; nanoseconds are not.
    microseconds = dates.astype("datetime64[us]")
    seconds = microseconds.astype(np.int64) / 1e6
    return np.where(np.isnat(microseconds), np.nan, seconds)


def text_seconds(cells: pd.Series[str]) -> Float64Array:
    """Return clock times or ISO 8601 dates as seconds, (n_rows,); NaN where a cell is neither.

    ``1:02:03.5`` counts from 0; dates count from 1970, in UTC unless they name a zone.
    """
    import pandas as pd

    if cells.str.fullmatch(_CLOCK).all():
        parts = cells.str.split(":", expand=True).to_numpy(dtype=np.float64)
        return np.asarray(parts @ np.array([3600.0, 60.0, 1.0]))
    dates = pd.to_datetime(cells, utc=True, format="ISO8601", errors="coerce")
    return _seconds_of_dates(dates.dt.tz_localize(None).to_numpy())


def checked_times(
    times: Float64Array, subject: str, lines: IntArray | None = None, hint: str | None = None
) -> Float64Array:
    """Return `times` if each is finite and later than the one before.

    Parameters
    ----------
    times : ndarray, shape (n_frames,)
        Seconds.
    subject : str
        The file, for messages.
    lines : ndarray, shape (n_frames,), optional
        The line of the file of each.
    hint : str, optional
        What to do where they are not.

    Raises
    ------
    InputError
        Naming the first row, from 1, that is not.
    """

    def row(k: int) -> str:
        return f"row {k + 1}" + ("" if lines is None else f" (line {lines[k]})")

    bad = np.flatnonzero(~np.isfinite(times))
    if len(bad):
        raise InputError(subject, f"the time is missing at {row(bad[0])}", hint)
    steps = np.diff(times)
    bad = np.flatnonzero(steps <= 0)
    if len(bad):
        verb = "repeat" if steps[bad[0]] == 0 else "decrease"
        raise InputError(subject, f"times {verb} at {row(bad[0] + 1)}", hint)
    return times


def even_rate(times: Float64Array) -> Fraction | None:
    """Return the frames per second of evenly spaced times, None where they are not even.

    The rate is the simplest fraction that fits the times as closely as they are written.
    """
    if len(times) < 2:
        return None
    duration = float(times[-1] - times[0])
    period = duration / (len(times) - 1)
    residual = float(np.abs(times - times[0] - period * np.arange(len(times))).max())
    if residual > _EVEN_WITHIN * period + 1e-5:
        return None
    rounding = float(np.spacing(np.abs(times).max()))
    tolerance = min(4 * (residual + rounding) / duration, 1e-6)
    for denominator in _DENOMINATORS:
        numerator = round(denominator / period)
        if abs(numerator * period - denominator) <= tolerance * denominator:
            return Fraction(numerator, denominator)
    return Fraction(1 / period)


def exact_rate(value: float, subject: str) -> Fraction:
    """Return the rate that a file states as a rational number: 29.97 is 2997/100.

    Raises
    ------
    InputError
        If it is not a positive number, or beyond reason.
    """
    if not 1 / _LARGEST_RATE < value < _LARGEST_RATE:
        raise InputError(subject, f"the rate in the file is {value}")
    return Fraction(repr(value))


def rate_of_period(written: str) -> Fraction | None:
    """Return the frames per second of a period in seconds as a file writes it.

    ``0.0083333`` is 120 and ``0.0333667`` is 30000/1001: a rate in use, or else a simple one,
    that rounds to what is written is meant. None if it is no period.
    """
    if not re.fullmatch(_PLAIN, written.strip(), re.ASCII):  # Fraction("1e999999999") never returns
        return None
    period = Fraction(written.strip())
    if not Fraction(1, _LARGEST_RATE) < period < _LARGEST_RATE:
        return None
    last_place = Fraction(1, 10 ** len(written.strip().lower().partition(".")[2]))
    simple = [Fraction(round(d / period), d) for d in (1, 1001) if round(d / period)]
    for rates in ([Fraction(rate) for rate in _USUAL_RATES], *([rate] for rate in simple)):
        nearest = min(rates, key=lambda rate: abs(1 / rate - period))
        if abs(1 / nearest - period) < last_place / 2 + Fraction(1, 10**12):
            return nearest
    return 1 / period
