"""Canonical Time Warping with a soft coupling: all paths at once, cooled down to one.

Expectation: the probability of every match under the maps. Maximisation: canonical correlation
analysis weighted by it. The temperature falls from round to round; what is decided early is
decided softly, so that a start that is off by a few per cent is not frozen in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.cca import Canonical, cca, under
from mmalign_cli.align.coupling import (
    Band,
    Expectation,
    around,
    blurred,
    expect,
    whole,
)
from mmalign_cli.align.ctw import Candidate, Found, candidates, starts_of
from mmalign_cli.align.first_paths import Start
from mmalign_cli.align.pair import Pair
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

HOTTEST, COLDEST, COOLING = 1.0, 0.01, 0.75
_ROUNDS = 1 + int(np.ceil(np.log(COLDEST / HOTTEST) / np.log(COOLING)))
_FROM_LINES, _FROM_PATHS = 0.05, 0.03
_BEST_PATHS = 3
_WHOLE_CELLS = 1_000_000
_BAND_SHARE = 0.15
_LEAST_GAMMA = 1e-9


def band_of(path: IntArray, n: int, m: int) -> Band:
    """Return all cells of a small table, of a larger one those near a path."""
    if n * m <= _WHOLE_CELLS:
        return whole(n, m)
    radius = max(int(_BAND_SHARE * max(n, m)), _WHOLE_CELLS // (4 * max(n, m)))
    return around(path, n, m, radius)


def cells_needed(n: int, m: int) -> int:
    """Return the most cells that a band of two streams has."""
    return n * m if n * m <= _WHOLE_CELLS else n * min(m, int((4 * _BAND_SHARE + 0.2) * max(n, m)))


@dataclass(frozen=True, eq=False)
class Cooled:
    """Where annealing led from one start.

    Parameters
    ----------
    start : str
    maps : Canonical
    path : ndarray, shape (n_steps, 2)
        The DTW path under the maps.
    objective : tuple of float
        Expected squared distance of a match after each round.
    evidence : float
    """

    start: str
    maps: Canonical
    path: IntArray
    objective: tuple[float, ...]
    evidence: float


def cool(pair: Pair, start: Start, sigma: float, dims: int, progress: Progress) -> Cooled:
    """Anneal from the neighbourhood of a path.

    Parameters
    ----------
    pair : Pair
    start : Start
    sigma : float
        Width of the neighbourhood, a share of the query's length.
    dims : int
    progress : Progress
    """
    n, m = len(pair.x), len(pair.y)
    band = band_of(start.path, n, m)
    coupling = blurred(start.path, band, max(sigma * m, 1.0))
    gamma, objective = HOTTEST, []
    for done in range(_ROUNDS):
        maps = cca(under(pair.x, pair.y, coupling), pair.ridge).leading(dims)
        first, second = maps.maps
        expectation = expect(first(pair.x), second(pair.y), gamma, band, pair.subject)
        coupling = expectation.coupling
        objective.append(expectation.mean_cost)
        gamma = max(gamma * COOLING, COLDEST)
        progress(f"cooling from {start.name}", done + 1, _ROUNDS)
    path = pair.warp(maps).frames
    return Cooled(start.name, maps, path, tuple(objective), pair.evidence(path))


def align_softly(pair: Pair, progress: Progress = runtime.silent) -> Found:
    """Find the alignment of most evidence, hard ones being where some of the soft ones begin.

    Parameters
    ----------
    pair : Pair
        With closed ends.
    progress : Progress
        May raise to stop.
    """
    starts = starts_of(pair)
    hard = sorted(candidates(pair, starts, progress), key=_by_evidence, reverse=True)
    dims = len(hard[0].maps.correlations)
    near = [Start(f"ctw from {c.start}", c.path) for c in _distinct(hard, dims)]
    plan = [(s, _FROM_PATHS) for s in near] + [(s, _FROM_LINES) for s in starts]
    soft = [cool(pair, start, sigma, dims, progress) for start, sigma in plan]
    best = max(soft, key=_by_evidence_soft)
    if best.evidence < hard[0].evidence:
        objective = tuple(r.objective for r in hard[0].descent.rounds)
        best = Cooled(hard[0].start, hard[0].maps, hard[0].path, objective, hard[0].evidence)
    return Found(
        maps=best.maps,
        warp=pair.warp(best.maps),
        evidence=best.evidence,
        gains=pair.gains(best.path),
        start=best.start,
        objective=best.objective,
        ending="converged",
        starts=len(hard) + len(soft),
    )


def _by_evidence(one: Candidate) -> float:
    return one.evidence


def _by_evidence_soft(one: Cooled) -> float:
    return one.evidence


def _distinct(hard: Sequence[Candidate], dims: int) -> list[Candidate]:
    """Return the best few candidates of `dims` dimensions that are not the same path."""
    kept: dict[bytes, Candidate] = {}
    for one in hard:
        if len(one.maps.correlations) == dims:
            kept.setdefault(one.path.tobytes(), one)
    return list(kept.values())[:_BEST_PATHS]


def temperature(x: Float64Array, y: Float64Array, path: IntArray) -> float:
    """Return the gamma at which all paths through latents x and y are weighed as data say.

    Under normal residuals of variance s^2 in each dimension a path has the likelihood
    ``exp(-cost / (2 s^2))``; residuals that stay for tau steps on one side are one observation,
    not tau of them, so that ``gamma = 2 s^2 tau``. Both are estimated along the best path.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
    path : ndarray, shape (n_steps, 2)
    """
    residual = x[path[:, 0]] - y[path[:, 1]]
    variance = float((residual**2).mean())
    return max(2.0 * variance * autocorrelation_time(residual), _LEAST_GAMMA)


def autocorrelation_time(series: Float64Array) -> float:
    """Return ``1 + 2 sum of autocorrelations`` of a series (n, d), in steps, at least 1.

    Summed in pairs of lags as long as these stay positive (Geyer, 1992).
    """
    centred = series - series.mean(axis=0)
    n = len(centred)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:n].sum(axis=1)
    if covariance[0] <= 0 or n < 4:
        return 1.0
    pairs = covariance[1 : 1 + 2 * ((n // 2 - 1) // 2)].reshape(-1, 2).sum(axis=1) / covariance[0]
    ends = np.flatnonzero(pairs <= 0)
    return float(1.0 + 2.0 * pairs[: ends[0] if len(ends) else len(pairs)].sum())


def posterior(x: Float64Array, y: Float64Array, path: IntArray) -> tuple[Expectation, float]:
    """Return the expectation over the paths near the best one, and its temperature.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
        Projected frames.
    path : ndarray, shape (n_steps, 2)
    """
    gamma = temperature(x, y, path)
    return expect(x, y, gamma, band_of(path, len(x), len(y))), gamma
