"""From offsets of windows, many of them wrong, to clocks: a line, or pieces of parallel lines.

A window of the recording, its middle at t, lies at t + d in the reference. Two clocks that only
differ in where they start and how fast they run give d = a + b t. A recorder that paused or dropped
a chunk gives a jump in a; its clock is the same before and after, so b is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli.model import BoolArray, Float64Array, IntArray

TOLERANCE_S = 0.002
"""A window agrees with a line that passes within this of it."""
STEEPEST = 2e-3
"""The largest drift that is believed: quartz is within 1e-4, tape within 1e-3."""
_LEVEL_GAP_S = 0.001
_MOST_LEVELS = 40
_SAMPLE_S = 1 / 8000
_LEAST_SPREAD_S = 2e-5
_ROUNDS = 3
_OUTLYING = 5.0


@dataclass(frozen=True, eq=False)
class Windows:
    """What was found at windows of the recording.

    Parameters
    ----------
    middle_s : ndarray, shape (n,)
        Increasing, on the recording's clock.
    offset_s : ndarray, shape (n,)
        Seconds of the reference less seconds of the recording.
    overlap : float
        How many windows share one stretch of sound: n / overlap of them are independent.
    reach_s : float
        How far from the guess an offset may lie.
    """

    middle_s: Float64Array
    offset_s: Float64Array
    overlap: float
    reach_s: float

    def __len__(self) -> int:
        return len(self.middle_s)

    @property
    def independent(self) -> float:
        """How many windows there would be without overlap."""
        return max(len(self) / self.overlap, 1.0)


@dataclass(frozen=True, eq=False)
class Lines:
    """Parallel lines ``d = intercepts[piece] + stretch * t``.

    Parameters
    ----------
    model : str
        ``offset``, ``drift`` or ``piecewise``.
    stretch : float
        By what share a second of the recording is longer on the reference's clock.
    intercepts : ndarray, shape (n_pieces,)
        Offset at the recording's time 0, in seconds, of each piece.
    piece : ndarray, shape (n,)
        Of each window.
    agrees : ndarray, shape (n,)
        Windows within 2 ms of their line.
    bic : float
        Smaller is better; comparable between models of the same windows.
    """

    model: str
    stretch: float
    intercepts: Float64Array
    piece: IntArray
    agrees: BoolArray
    bic: float = np.inf

    def offsets(self, middle_s: Float64Array, piece: IntArray) -> Float64Array:
        """Return the offsets (n,) of times (n,) in pieces (n,)."""
        return np.asarray(self.intercepts[piece] + self.stretch * middle_s)

    @property
    def share(self) -> float:
        """Share of the windows that agree."""
        return float(self.agrees.mean())


def fit(windows: Windows, model: str | None = None) -> Lines:
    """Fit the model that is asked for, or the one with the smallest criterion.

    The criterion is that of Schwarz (1978), ``k log N - 2 log L``: N the number of independent
    windows, k one a piece, one for the drift, one for the place of each break. L is the likelihood
    of a mixture: a window lies around its line (normal, with the spread that the richest model
    leaves) or anywhere within reach.
    """
    drifting = _pieces(windows, robust_stretch(windows))
    pieces = [_pieces(windows, 0.0, fixed=True), drifting]
    lines = {
        "offset": [_one_line(windows, 0.0, "offset", fixed=True)],
        "drift": [_one_line(windows, drifting.stretch, "drift")],
        "piecewise": [p for p in pieces if len(p.intercepts) > 1],
    }
    if model is not None:
        lines = {model: lines[model] or lines["drift"]}
    found = [line for rivals in lines.values() for line in rivals]
    richest = max([*found, drifting], key=lambda line: line.agrees.sum())
    return min((_judged(windows, line, richest) for line in found), key=lambda line: line.bic)


def robust_stretch(windows: Windows) -> float:
    """Return the median slope of pairs of windows, first of near ones, then ever further apart.

    Theil's estimator (1950), but pairs across a break or with a wrong window must not count: of
    each distance, only slopes that move a pair by less than 2 ms off the line so far.
    """
    n, t, d = len(windows), windows.middle_s, windows.offset_s
    stretch, limit = 0.0, STEEPEST
    gap = max(min(round(2 * windows.overlap), n // 3), 1)
    while gap < n:
        run = t[gap:] - t[:-gap]
        slopes = (d[gap:] - d[:-gap]) / run
        near = np.abs(slopes - stretch) <= np.minimum(limit, STEEPEST)
        if near.sum() >= 3:
            stretch = float(np.median(slopes[near]))
        limit = 2 * TOLERANCE_S / float(np.median(run))
        gap = gap * 2 if gap * 2 < n or gap == n - 1 else n - 1 if gap < n // 2 else n
    return stretch


def _one_line(windows: Windows, stretch: float, model: str, fixed: bool = False) -> Lines:
    """Fit one line: the level that most windows are near, then least squares on those."""
    level = _level(windows.offset_s - stretch * windows.middle_s)
    piece = np.zeros(len(windows), dtype=np.int64)
    start = Lines(model, stretch, np.array([level]), piece, np.ones(len(windows), dtype=np.bool_))
    return _refined(windows, start, lambda _: piece, fixed)


def _pieces(windows: Windows, stretch: float, fixed: bool = False) -> Lines:
    """Fit parallel lines, as many as earn their breaks."""

    def sorted_out(line: Lines) -> IntArray:
        return _path_of_levels(windows.offset_s - line.stretch * windows.middle_s, windows.overlap)

    none = np.zeros(len(windows), dtype=np.bool_)
    start = Lines("piecewise", stretch, np.zeros(1), np.zeros(len(windows), np.int64), none)
    return _refined(windows, start, sorted_out, fixed)


def _refined(
    windows: Windows, line: Lines, sorted_out: Callable[[Lines], IntArray], fixed: bool
) -> Lines:
    """Sort the windows into pieces and fit them by least squares, three times over.

    At last on those alone that are no further off than five times the others' spread: one window
    that is wrong by little less than 2 ms would turn the line by a third of a ppm.
    """
    t, d = windows.middle_s, windows.offset_s
    for k in range(_ROUNDS):
        piece = sorted_out(line)
        if k == 0 or len(line.intercepts) != piece.max() + 1:
            levels = [_level((d - line.stretch * t)[piece == j]) for j in range(piece.max() + 1)]
            line = replace(line, intercepts=np.array(levels))
        line = replace(line, piece=piece)
        near = np.abs(d - line.offsets(t, piece)) <= TOLERANCE_S
        line = _least_squares(windows, replace(line, agrees=near), fixed)
    for _ in range(_ROUNDS):
        away = np.abs(d - line.offsets(t, line.piece))
        line = replace(line, agrees=away <= TOLERANCE_S)
        close = away <= _OUTLYING * max(_spread(windows, line), _LEAST_SPREAD_S)
        line = _least_squares(windows, replace(line, agrees=line.agrees & close), fixed)
    agrees = np.abs(d - line.offsets(t, line.piece)) <= TOLERANCE_S
    return replace(line, agrees=agrees)


def _level(e: Float64Array) -> float:
    """Return the middle of the 4 ms that hold most of the values e (n,)."""
    e = np.sort(e)
    within = np.searchsorted(e, e + 2 * TOLERANCE_S, side="right") - np.arange(len(e))
    best = int(within.argmax())
    return float(np.median(e[best : best + within[best]]))


def _least_squares(windows: Windows, line: Lines, fixed: bool) -> Lines:
    """Fit intercepts, and the stretch unless it is fixed, on the windows that agree."""
    t, d = windows.middle_s[line.agrees], windows.offset_s[line.agrees]
    piece, n_pieces = line.piece[line.agrees], len(line.intercepts)
    counts = np.bincount(piece, minlength=n_pieces)
    if (counts == 0).any():
        return line
    mean_t, mean_d = (np.bincount(piece, v, n_pieces) / counts for v in (t, d))
    stretch, away = line.stretch, t - mean_t[piece]
    if not fixed and (away**2).sum() > 0 and len(t) > n_pieces + 1:
        stretch = float((away * d).sum() / (away**2).sum())
    if abs(stretch) > STEEPEST:
        stretch = line.stretch
    return replace(line, stretch=stretch, intercepts=mean_d - stretch * mean_t)


def _path_of_levels(e: Float64Array, overlap: float) -> IntArray:
    """Sort values (n,) into runs about one level each; return the number of the run, (n,).

    The cheapest path (Viterbi, 1967) through the levels: a value more than 2 ms from its level
    costs 1, a change of level twice the overlap, so that one stretch of sound that deceives all
    windows that share it earns no break.
    """
    levels = _levels(e)
    change = 2 * overlap + 1
    miss = (np.abs(e[:, np.newaxis] - levels) > TOLERANCE_S).astype(np.float64)
    cost, back = miss[0].copy(), np.zeros(miss.shape, dtype=np.int64)
    for k in range(1, len(e)):
        best = int(cost.argmin())
        stay = cost <= cost[best] + change
        back[k] = np.where(stay, np.arange(len(levels)), best)
        cost = np.where(stay, cost, cost[best] + change) + miss[k]
    at = np.empty(len(e), dtype=np.int64)
    at[-1] = int(cost.argmin())
    for k in range(len(e) - 1, 0, -1):
        at[k - 1] = back[k, at[k]]
    return np.concatenate([[0], np.cumsum(np.diff(at) != 0)]).astype(np.int64)


def _levels(e: Float64Array) -> Float64Array:
    """Return the middles of the most populous clusters of values (n,)."""
    ordered = np.sort(e)
    clusters = np.split(ordered, np.flatnonzero(np.diff(ordered) > _LEVEL_GAP_S) + 1)
    clusters = sorted(clusters, key=len, reverse=True)[:_MOST_LEVELS]
    return np.array([_level(cluster) for cluster in clusters])


def _judged(windows: Windows, line: Lines, richest: Lines) -> Lines:
    """Return a line with its criterion."""
    r = windows.offset_s - line.offsets(windows.middle_s, line.piece)
    sigma = max(_spread(windows, richest), _LEAST_SPREAD_S)
    wrong = float(np.clip(1 - richest.share, 0.02, 0.98))
    normal = np.exp(-0.5 * (r / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    log_likelihood = np.log((1 - wrong) * normal + wrong / (2 * windows.reach_s)).sum()
    n_breaks = len(line.intercepts) - 1
    k = 1 + 2 * n_breaks + (line.stretch != 0)
    bic = k * np.log(max(windows.independent, 2)) - 2 * log_likelihood / windows.overlap
    return replace(line, bic=float(bic))


def _spread(windows: Windows, line: Lines) -> float:
    """Return the standard deviation of the windows that agree, robustly."""
    r = windows.offset_s - line.offsets(windows.middle_s, line.piece)
    inside = r[line.agrees]
    return float(1.4826 * np.median(np.abs(inside))) if len(inside) else TOLERANCE_S


def standard_errors(windows: Windows, line: Lines, at_s: float) -> tuple[float, float]:
    """Return the standard errors of the first piece's offset at a time, and of the stretch.

    Of least squares on the windows that agree; windows that overlap are not independent, and one
    residual of a sample at 8 kHz is added, which matters where there are hardly any.
    """
    t = windows.middle_s[line.agrees]
    r = (windows.offset_s - line.offsets(windows.middle_s, line.piece))[line.agrees]
    piece = line.piece[line.agrees]
    n = max(len(t) / windows.overlap, 1.0)
    variance = ((r**2).sum() / windows.overlap + _SAMPLE_S**2) / n
    counts = np.maximum(np.bincount(piece, minlength=len(line.intercepts)), 1)
    mean_t = np.bincount(piece, t, len(line.intercepts)) / counts
    scatter = ((t - mean_t[piece]) ** 2).sum() / windows.overlap
    of_mean = variance / max(counts[0] / windows.overlap, 1.0)
    if line.stretch == 0 or scatter == 0:
        return float(np.sqrt(of_mean)), 0.0
    of_stretch = variance / scatter
    return float(np.sqrt(of_mean + of_stretch * (at_s - mean_t[0]) ** 2)), float(
        np.sqrt(of_stretch)
    )
