"""How the clock of a recording of some sound maps to the clock of another recording of it.

Three steps: chunks of one, spread over it, are looked for everywhere in the other, and the best
chain of places that one clock could explain is kept; windows of 4 s, a second apart, are correlated
around that chain; lines are fitted through their offsets, and breaks are placed to the sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli.align.correlate import (
    COARSE_RATE,
    RATE,
    Candidates,
    Lag,
    candidates,
    coarse,
    window_lag,
)
from mmalign_cli.align.lines import Lines, Windows, fit
from mmalign_cli.model import Float64Array, FloatArray
from mmalign_cli.runtime import Progress, silent

WIDTH_S, REACH_S = 4.0, 0.3
OVERLAP = 4.0
_PARTS = 8  # of an overlap that is shorter than so many windows
_AROUND = 8
_LEAST_WIDTH_S = 0.25
_CHUNKS = (24, 96)
_STRETCHES_PPM = (-300.0, 300.0, -600.0, 600.0, -900.0, 900.0)
_NEAR_PPM = 400.0
_NOISE_HEIGHT = 4.0
_BREAK_HEIGHT = 6.0
_SLACK_S = 0.006
_ENOUGH = 0.5  # of the windows on the line: no other drift is tried


@dataclass(frozen=True, eq=False)
class Chain:
    """Places of chunks that one clock, perhaps interrupted, explains.

    Parameters
    ----------
    recording_s, reference_s : ndarray, shape (k,)
        Both increase.
    stretch : float
        Of the clock, as far as it was known when the chunks were looked for.
    """

    recording_s: Float64Array
    reference_s: Float64Array
    stretch: float

    def range_s(self) -> tuple[float, float]:
        """Return the least and the greatest offset."""
        offsets = self.reference_s - self.recording_s
        return float(offsets.min()), float(offsets.max())

    def guesses(self, middle_s: float) -> list[float]:
        """Return the offsets that its nearest places on either side suggest."""
        after = int(np.searchsorted(self.recording_s, middle_s))
        near = {max(after - 1, 0), min(after, len(self.recording_s) - 1)}
        found: list[float] = []
        for k in near:
            away = middle_s - self.recording_s[k]
            offset = self.reference_s[k] - self.recording_s[k] + self.stretch * away
            if all(abs(offset - other) > REACH_S / 3 for other in found):
                found.append(float(offset))
        return found


@dataclass(frozen=True, eq=False)
class Break:
    """A place where the clocks jump.

    Parameters
    ----------
    recording_s : float
        Where, in the recording.
    jump_s : float
        What the offset grows by. Positive: the recording lacks so many seconds of the reference.
        Negative: it holds so many that the reference lacks.
    """

    recording_s: float
    jump_s: float


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found; times count from the first sample of each.

    Parameters
    ----------
    windows : Windows
        What was measured.
    lines : Lines
        What was fitted.
    breaks : tuple of Break
        One between each piece and the next.
    """

    windows: Windows
    lines: Lines
    breaks: tuple[Break, ...] = ()

    @property
    def stretch(self) -> float:
        """Of the lines."""
        return self.lines.stretch

    def range_s(self) -> tuple[float, float]:
        """Return the least and the greatest offset."""
        offsets = self.lines.offsets(self.windows.middle_s, self.lines.piece)
        return float(offsets.min()), float(offsets.max())

    def guesses(self, middle_s: float) -> list[float]:
        """Return the offsets that the pieces of the windows around suggest."""
        k = int(np.searchsorted(self.windows.middle_s, middle_s))
        around = self.lines.piece[max(k - _AROUND, 0) : k + _AROUND]
        return [
            float(self.lines.intercepts[j] + self.stretch * middle_s) for j in np.unique(around)
        ]


def search(
    reference: FloatArray,
    recording: FloatArray,
    *,
    model: str | None = None,
    max_offset_s: float | None = None,
    progress: Progress = silent,
) -> Found | None:
    """Find how the clock of one recording maps to that of another.

    Parameters
    ----------
    reference, recording : ndarray, shape (n,)
        float32 samples at 8 kHz.
    model : str or None
        ``offset``, ``drift`` or ``piecewise``; None decides.
    max_offset_s : float or None
        The largest offset to look at.
    progress : Progress
        Told what is done.

    Returns
    -------
    Found or None
        None where not one window could be compared.
    """
    rough = coarse(reference), coarse(recording)
    best: Found | None = None
    trials = [(most, 0.0) for most in _CHUNKS] + [(24, ppm) for ppm in _STRETCHES_PPM]
    for done, (most, ppm) in enumerate(trials):
        progress("looking for the offset", done, len(trials))
        places = candidates(*rough, most, ppm, max_offset_s)
        chain = chain_of(places, ppm * 1e-6)
        if chain is None:
            continue
        found = _measured(reference, recording, chain, model, progress)
        if found is not None and (best is None or found.lines.share > best.lines.share):
            best = found
        if best is not None and best.lines.share >= _ENOUGH:
            break
    progress("looking for the offset", len(trials), len(trials))
    if best is None:
        return None
    again = _measured(reference, recording, best, model, progress)
    if again is not None and again.lines.share >= best.lines.share:
        best = again
    return replace(best, breaks=_breaks(*rough, best))


def chain_of(places: Candidates, stretch: float) -> Chain | None:
    """Return the chain of places with the greatest sum of heights above noise.

    Two places follow one another at no cost if one clock within 400 ppm of `stretch` explains
    both; at the cost of a break if both clocks at least advance.

    Parameters
    ----------
    places : Candidates
        By increasing time of the recording.
    stretch : float
        The drift at which they were looked for.
    """
    if len(places) == 0:
        return None
    x, y = places.recording_s, places.reference_s
    gain = places.height - _NOISE_HEIGHT
    offset = y - x - stretch * x
    total, back = gain.copy(), np.full(len(x), -1)
    for k in range(1, len(x)):
        run = x[k] - x[:k]
        smooth = np.abs(offset[k] - offset[:k]) <= _SLACK_S + _NEAR_PPM * 1e-6 * np.abs(run)
        ahead = (run > 0) & (y[k] > y[:k])
        before = total[:k] - np.where(smooth, 0.0, _BREAK_HEIGHT)
        before = np.where(ahead, before, -np.inf)
        best = int(before.argmax())
        if before[best] > 0:
            total[k], back[k] = gain[k] + before[best], best
    chain = [int(total.argmax())]
    while back[chain[-1]] >= 0:
        chain.append(int(back[chain[-1]]))
    chain.reverse()
    return Chain(x[chain], y[chain], stretch)


def middles(
    n_reference: int, n_recording: int, low_s: float, high_s: float
) -> tuple[Float64Array, float]:
    """Return the middles of windows over the part that both hold, and their width, in seconds.

    Parameters
    ----------
    n_reference, n_recording : int
        Samples at 8 kHz.
    low_s, high_s : float
        The least and the greatest offset.
    """
    begin = max(0.0, -high_s)
    end = min(n_recording, n_reference - low_s * RATE) / RATE
    width = min(WIDTH_S, max((end - begin) / _PARTS, _LEAST_WIDTH_S), end - begin)
    if width < _LEAST_WIDTH_S / 2:
        return np.zeros(0), 0.0
    hop = width / OVERLAP
    count = int((end - begin - width) / hop + 1e-6) + 1
    return np.asarray(begin + width / 2 + np.arange(count) * hop), width


def _measured(
    reference: FloatArray, recording: FloatArray, guess: Chain | Found, model: str | None,
    progress: Progress,
) -> Found | None:  # fmt: skip
    """Measure windows around a guess, and fit lines."""
    low, high = guess.range_s()
    at, width = middles(len(reference), len(recording), low, high)
    lags: list[Lag | None] = []
    for k, middle in enumerate(at):
        progress("correlating", k, len(at))
        tried = [
            window_lag(reference, recording, middle, offset, guess.stretch, width, REACH_S)
            for offset in guess.guesses(middle)
        ]
        lags.append(max((t for t in tried if t), key=lambda lag: lag.height, default=None))
    progress("correlating", len(at), len(at))
    good = np.array([lag is not None for lag in lags], dtype=np.bool_)
    if not good.any():
        return None
    offsets = np.array([lag.offset_s for lag in lags if lag])
    windows = Windows(at[good], offsets, OVERLAP if len(at) > 1 else 1.0, REACH_S)
    return Found(windows, fit(windows, model))


def _breaks(reference: FloatArray, recording: FloatArray, found: Found) -> tuple[Break, ...]:
    """Place each break where the sound of the one piece ends and that of the next begins.

    Parameters
    ----------
    reference, recording : ndarray, shape (n,)
        From `coarse`.
    """
    lines, at = found.lines, found.windows.middle_s
    breaks = []
    for j in range(len(lines.intercepts) - 1):
        before = at[(lines.piece == j) & lines.agrees]
        after = at[(lines.piece == j + 1) & lines.agrees]
        jump = float(lines.intercepts[j + 1] - lines.intercepts[j])
        begin, end = before.max() - WIDTH_S, after.min() + WIDTH_S
        place = _changeover(reference, recording, lines, j, (begin, end))
        breaks.append(Break(place, jump))
    return tuple(breaks)


def _changeover(
    reference: FloatArray, recording: FloatArray, lines: Lines, j: int, span_s: tuple[float, float]
) -> float:
    """Return the time in a span at which piece j stops to explain the sound and j + 1 begins.

    Each piece claims the product of both sounds along its line; the sum of the claims of j before
    and of j + 1 after is greatest at the break. What the recording alone holds is in between.
    """
    n = np.arange(max(int(span_s[0] * COARSE_RATE), 0), int(span_s[1] * COARSE_RATE))
    n = n[n < len(recording)]
    claims = []
    for intercept in lines.intercepts[j : j + 2]:
        there = n + (intercept + lines.stretch * n / COARSE_RATE) * COARSE_RATE
        index = np.rint(there).astype(np.int64)
        inside = (index >= 0) & (index < len(reference))
        product = recording[n] * np.where(inside, reference[index.clip(0, len(reference) - 1)], 0)
        claims.append(np.concatenate([[0.0], np.cumsum(product, dtype=np.float64)]))
    claims = [c * np.sign(c[-1] or 1) for c in claims]
    only_here = max(round(-(lines.intercepts[j + 1] - lines.intercepts[j]) * COARSE_RATE), 0)
    first = np.arange(max(len(n) + 1 - only_here, 1))
    worth = claims[0][first] + claims[1][-1] - claims[1][(first + only_here).clip(0, len(n))]
    return float(n[0] + int(worth.argmax())) / COARSE_RATE
