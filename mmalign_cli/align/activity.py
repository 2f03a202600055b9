"""The offset between streams that share no quantity, by when something goes on in both.

Each stream becomes one curve, its activity. Two curves are compared at every lag, over the part
that both then hold, by their correlation r. With n independent moments in that part, the
likelihood of a lag under a Gaussian model is ``(1 - r^2)^(-n / 2)``: normalised over the lags, it
says how sure the best one is, and what else it might be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.special import betainc

from mmalign_cli.align.envelopes import KINDS
from mmalign_cli.model import Float64Array, FloatArray, Stream

GRID_S = 0.01
"""Lags are tried so far apart, and curves are compared at moments so far apart."""
_ROUNDING_S = 1e-9
_BLUR_S = 0.04  # a frame of video: what is faster, one of the streams cannot show
_CHANGE_WEIGHT = 2.0
_LEAST_SHARE = 1 / 2  # of the shorter stream that must overlap
_CREDIBLE = 0.9
_NUMBERS_A_MOMENT = 2.0  # a value and a slope: with this, intervals of talking faces hold


@dataclass(frozen=True)
class Shift:
    """The offset of two activities.

    Parameters
    ----------
    offset_s : float
        Seconds of the reference less seconds of the other.
    error_s : float
        The likelihood puts 90 % within this of it.
    correlation : float
        Of the activities over their overlap.
    independent : float
        How many independent numbers the overlap holds.
    nats : float
        Log likelihood over that of curves that are unrelated.
    p_value : float
        Probability that unrelated curves correlate so well at any lag, were their numbers
        independent and Gaussian; those of real curves are less so: `activity_relation` asks nulls.
    """

    offset_s: float
    error_s: float
    correlation: float
    independent: float
    nats: float
    p_value: float


def activities(stream: Stream) -> list[Float64Array]:
    """Return the curves (n,) that may tell when something goes on in a stream, best guess first.

    Of sound (log-mel bands and their slopes): loudness, and twice the change of the spectrum's
    shape. Of pictures (motion on a grid): the cell that moves most, by its root. Of anything else:
    how fast it moves, and how far it is from rest.
    """
    values = np.asarray(stream.values, dtype=np.float64)
    if stream.features == "logmel":
        bands, slopes = np.hsplit(values, 2)
        change = np.sqrt((slopes - slopes.mean(axis=1, keepdims=True)).var(axis=1))
        return [_scaled(bands.mean(axis=1)) + _CHANGE_WEIGHT * _scaled(change)]
    if stream.features == "motion":
        return [np.sqrt(values.max(axis=1))]
    return [kind(values) for kind in KINDS]


def _scaled(curve: Float64Array) -> Float64Array:
    return np.asarray((curve - curve.mean()) / (curve.std() or 1.0))


def best_shift(streams: Sequence[Stream], max_offset_s: float | None) -> Shift | None:
    """Return the likeliest offset of two streams, over the kinds of activity that they have.

    Parameters
    ----------
    streams : sequence of two Stream
        Reference and other.
    max_offset_s : float or None
        The largest offset to look at.

    Returns
    -------
    Shift or None
        None where there is no lag to try, or nothing ever happens in one of them.
    """
    trials = [
        shift_of(streams[0].times, x, streams[1].times, y, max_offset_s)
        for x, y in product(*(activities(s) for s in streams))
    ]
    found = [shift for shift in trials if shift is not None]
    if not found:
        return None
    best = min(found, key=lambda shift: shift.p_value)
    p = min(best.p_value * len(found), 1.0)
    # A frame tells no more than that something happened while it lasted.
    frame_s = max(stream.period_s for stream in streams)
    return replace(best, p_value=p, error_s=best.error_s + frame_s / 2)


def shift_of(
    reference_s: Float64Array,
    reference: Float64Array,
    other_s: Float64Array,
    other: Float64Array,
    max_offset_s: float | None,
) -> Shift | None:
    """Compare two curves (n,), (m,) at times (n,), (m,) at every lag."""
    x, y = (_on_grid(t, v) for t, v in ((reference_s, reference), (other_s, other)))
    least = max(int(min(len(x), len(y)) * _LEAST_SHARE), 3)
    lags = np.arange(least - len(y), len(x) - least + 1)
    starts = float(reference_s[0] - other_s[0])
    if max_offset_s is not None:
        lags = lags[np.abs(lags * GRID_S + starts) <= max_offset_s + _ROUNDING_S]
    if len(lags) == 0 or x.std() == 0 or y.std() == 0:
        return None
    r, n = _correlations(x, y, lags)
    memory = _memory(x, y)
    n = np.maximum(_NUMBERS_A_MOMENT * n / memory, 2.0)
    r = np.maximum(r, 0.0)
    nats = -n / 2 * np.log1p(-(np.minimum(r, 0.9999) ** 2))
    likelihood = np.exp(nats - nats.max())
    best = int(nats.argmax())
    away = np.abs(lags - lags[best])
    order = np.argsort(away, kind="stable")
    mass = np.cumsum(likelihood[order]) / likelihood.sum()
    error = away[order][int(np.searchsorted(mass, _CREDIBLE))] * GRID_S
    # Student's test of a correlation, one-sided, for each lag that could have been the best.
    one = 0.5 * float(betainc(max(n[best] - 2, 1e-9) / 2, 0.5, 1 - r[best] ** 2))
    tried = max(_NUMBERS_A_MOMENT * len(lags) / memory, 1.0)
    p = -float(np.expm1(tried * np.log1p(-min(one, 1 - 1e-12))))
    offset = lags[best] * GRID_S + starts
    error_s = float(error) + GRID_S / 2
    return Shift(float(offset), error_s, float(r[best]), float(n[best]), float(nats[best]), p)


def _on_grid(times_s: Float64Array, values: FloatArray) -> Float64Array:
    """Return a curve at every 10 ms from its first time, blurred over a frame of video."""
    at = np.arange(times_s[0], times_s[-1] + GRID_S / 2, GRID_S)
    curve = np.interp(at, times_s, values)
    width = max(round(_BLUR_S / GRID_S), 1)
    padded = np.pad(curve, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _correlations(
    x: Float64Array, y: Float64Array, lags: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> tuple[Float64Array, Float64Array]:
    """Return the correlation over the overlap, and its length, at each lag (k,).

    At lag l, x at i meets y at i - l. All sums over overlaps are correlations themselves: by FFT.
    """
    from scipy.signal import correlate

    x, y = _scaled(x), _scaled(y)
    ones_x, ones_y = np.ones(len(x)), np.ones(len(y))

    def over(a: Float64Array, b: Float64Array) -> Float64Array:
        return np.asarray(correlate(a, b, mode="full")[lags + len(y) - 1])

    n = np.rint(over(ones_x, ones_y))
    sx, sy = over(x, ones_y), over(ones_x, y)
    vx = over(x**2, ones_y) - sx**2 / n
    vy = over(ones_x, y**2) - sy**2 / n
    varied = (vx > 1e-9 * n) & (vy > 1e-9 * n)
    product_of = np.sqrt(np.where(varied, vx * vy, 1.0))
    return np.where(varied, (over(x, y) - sx * sy / n) / product_of, 0.0), n


def _memory(x: Float64Array, y: Float64Array) -> float:
    """Return how many steps count as one independent moment (Bartlett, 1935)."""
    rx, ry = (_autocorrelation(v) for v in (x, y))
    k = min(len(rx), len(ry))
    product_of = rx[1:k] * ry[1:k]
    below = np.flatnonzero(product_of <= 0)
    end = int(below[0]) if len(below) else len(product_of)
    return 1.0 + 2.0 * float(product_of[:end].sum())


def _autocorrelation(v: Float64Array) -> Float64Array:
    from scipy.signal import correlate

    v = v - v.mean()
    full = correlate(v, v, mode="full")[len(v) - 1 :]
    return np.asarray(full / (full[0] or 1.0))
