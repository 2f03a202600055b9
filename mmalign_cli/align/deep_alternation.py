"""The papers' Deep Canonical Time Warping: networks along a path, the path under the networks.

Maps are those of deep canonical correlation analysis (`mmalign_cli.align.trace_norm`), fitted by
some steps of L-BFGS to all takes at once, along the coupling of the last round; then the coupling
follows the latents: by DTW, one path (hard), or by the expectation over all paths, at a temperature
that falls from round to round (soft). For more than two streams the trace norms of all pairs are
added, and one canonical correlation analysis of all latents gives the common space (Trigeorgis et
al., 2016, 2018). On one take a network memorises its first path; a soft coupling of many takes
decides late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import starts, warps
from mmalign_cli.align.alternate import moved_at_most
from mmalign_cli.align.anneal import COLDEST, COOLING, HOTTEST, band_of
from mmalign_cli.align.cca import Moments, cca
from mmalign_cli.align.correlation import blocks_of
from mmalign_cli.align.coupling import Coupling, blurred, expect
from mmalign_cli.align.deep_climb import Deep, DeepClimb
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.network import Pass
from mmalign_cli.align.trace_norm import RIDGE, Couple, couple, trace_norm
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

INNER_STEPS = 18
DECAY = 0.5
_FIRST_WIDTH = 0.05
_LEAST_PROBABILITY = 1e-7
_MOST_ROUNDS = 40
_FINE_PIECES = 100

Pairs = dict[tuple[int, int], Couple]


@dataclass(frozen=True, eq=False)
class _Round:
    """Networks and what they make of the frames of all takes, in the common space."""

    weights: Float64Array
    value: float
    latents: list[Float64Array]


def alternate(
    deep: Deep,
    start: DeepClimb,
    *,
    is_soft: bool,
    decay: float = 1.0,
    rounds: int | None = None,
    tolerance_frames: float = 0.01,
    progress: Progress = runtime.silent,
) -> DeepClimb:
    """Alternate between networks and warps.

    Parameters
    ----------
    deep : Deep
    start : DeepClimb
        Weights and warps to begin from.
    is_soft : bool
    decay : float
        Weight decay, in units of the usual one.
    rounds : int or None
        At most. A soft coupling has as many as its cooling takes.
    tolerance_frames : float
        Path difference of every take at which hard rounds have converged.
    progress : Progress
        Told the rounds done; may raise to stop.

    Returns
    -------
    DeepClimb
        Its value is the trace norm, summed over the pairs, less the weight decay.
    """
    cooling = [HOTTEST]
    while cooling[-1] > COLDEST:
        cooling.append(max(cooling[-1] * COOLING, COLDEST))
    temperatures: Sequence[float | None] = cooling if is_soft else [None] * _MOST_ROUNDS
    temperatures = temperatures[: rounds or len(temperatures)]
    weights, couples = start.weights, _first(deep, start.knots)
    history: list[float] = []
    paths: list[IntArray] = []
    converged = is_soft and len(temperatures) == len(cooling)
    for done, gamma in enumerate(temperatures):
        progress(f"start {start.start + 1}", done, len(temperatures))
        now = _fitted(deep, weights, couples, decay)
        weights = now.weights
        history.append(now.value)
        if gamma is not None:
            couples = _expected(deep, now.latents, gamma)
            continue
        found = [path_of(deep, now.latents, k) for k in range(deep.n_takes)]
        converged = bool(paths) and all(
            moved_at_most(a, b, tolerance_frames) for a, b in zip(paths, found, strict=True)
        )
        paths = found
        if converged:
            break
        couples = along_paths(deep, paths)
    if is_soft:
        paths = [path_of(deep, now.latents, k) for k in range(deep.n_takes)]
    knots = [
        warps.from_path(path.astype(np.float64), deep.lengths(k), _pieces(deep))
        for k, path in enumerate(paths)
    ]
    return DeepClimb(
        weights, np.stack(knots), start.start, history[-1], len(history), converged, tuple(history)
    )


def _pieces(deep: Deep) -> int:
    return min(_FINE_PIECES, max(2, deep.n_samples // 2))


def objective(
    deep: Deep, weights: Float64Array, couples: Pairs, decay: float = 1.0
) -> tuple[float, Float64Array]:
    """Return the trace norms of all pairs less the weight decay, and the derivative by weights.

    Labels beside the streams add, for each, the trace norm of its latents and its labels along its
    own frames: how well classes can be told from the latents.
    """
    networks = deep.networks(weights)
    passes = [Pass(net, track.frames) for net, track in zip(networks, deep.tracks, strict=False)]
    values = [one.latents for one in passes]
    values += [track.frames for track in deep.tracks[len(networks) :]]
    slopes = [np.zeros_like(v) for v in values]
    total = 0.0
    for (i, j), by in couples.items():
        value, by_first, by_second = trace_norm(values[i], values[j], by)
        total += value
        slopes[i] += by_first
        slopes[j] += by_second
    parts = [one.back(slope) for one, slope in zip(passes, slopes, strict=False)]
    share = decay * DECAY / deep.weights.size
    gradient = np.concatenate(parts) - share * weights
    return total - 0.5 * share * float(weights @ weights), gradient


def _fitted(deep: Deep, weights: Float64Array, couples: Pairs, decay: float) -> _Round:
    """Fit the networks along couplings, and bring their latents into the common space."""
    from scipy.optimize import minimize

    def downhill(flat: Float64Array) -> tuple[float, Float64Array]:
        value, gradient = objective(deep, flat, couples, decay)
        return -value, -gradient

    options = {"maxiter": INNER_STEPS, "maxcor": 15}
    found = minimize(downhill, weights, jac=True, method="L-BFGS-B", options=options)
    best = np.array(found.x)
    latents = [
        Pass(net, track.frames).latents
        for net, track in zip(deep.networks(best), deep.tracks, strict=False)
    ]
    maps = cca(_moments(latents, couples), RIDGE).maps
    return _Round(best, -float(found.fun), [f(x) for f, x in zip(maps, latents, strict=True)])


def _moments(latents: Sequence[Float64Array], couples: Pairs) -> Moments:
    """Return the moments of all latents, every pair under its own coupling."""
    m = len(latents)
    blocks = blocks_of([x.shape[1] for x in latents])
    sums = [_weights_of(couples, k) for k in range(m)]
    means = [w @ x for w, x in zip(sums, latents, strict=True)]
    centred = [x - mean for x, mean in zip(latents, means, strict=True)]
    covariance = np.zeros((blocks[-1].stop, blocks[-1].stop))
    for k, (x, w) in enumerate(zip(centred, sums, strict=True)):
        covariance[blocks[k], blocks[k]] = x.T @ (x * w[:, np.newaxis])
    for i, j in combinations(range(m), 2):
        cross = centred[i].T @ (couples[i, j].matrix @ centred[j])
        covariance[blocks[i], blocks[j]] = cross
        covariance[blocks[j], blocks[i]] = cross.T
    dims = tuple(x.shape[1] for x in latents)
    return Moments(1.0, np.concatenate(means), covariance, dims)


def _weights_of(couples: Pairs, stream: int) -> Float64Array:
    """Return the weights (n,) of a stream's frames, the mean over its pairs."""
    own = [
        by.first if pair[0] == stream else by.second
        for pair, by in couples.items()
        if stream in pair
    ]
    return np.asarray(np.mean(own, axis=0))


def _pairs(deep: Deep) -> list[tuple[int, int]]:
    return list(combinations(range(len(deep.shapes)), 2))


def _joined(deep: Deep, parts: dict[tuple[int, int], list[Any]]) -> Pairs:
    """Return the couplings of all takes as one a pair, and those of streams with their labels."""
    from scipy import sparse

    couples = {pair: couple(sparse.block_diag(own, format="csr")) for pair, own in parts.items()}
    m = len(deep.shapes)
    for number, track in enumerate(deep.tracks[m:], m):
        couples[deep.warp_of[number], number] = couple(sparse.eye_array(len(track.frames)))
    return couples


def _first(deep: Deep, knots: Float64Array) -> Pairs:
    """Return Gaussian ridges round the warps to begin from."""

    def of(take: int, i: int, j: int) -> Any:
        lengths = deep.lengths(take)[[i, j]]
        n, m = int(lengths[0]), int(lengths[1])
        path = warps.to_path(knots[take][[i, j]], lengths)
        return _sparse(blurred(path, band_of(path, n, m), max(_FIRST_WIDTH * m, 1.0)))

    return _each(deep, of)


def _each(deep: Deep, of: Any) -> Pairs:
    takes = range(deep.n_takes)
    return _joined(deep, {(i, j): [of(k, i, j) for k in takes] for i, j in _pairs(deep)})


def _line(n: int, m: int) -> IntArray:
    steps = np.linspace(0.0, 1.0, max(n, m))[:, np.newaxis]
    return np.asarray(np.round(steps * [n - 1, m - 1]).astype(np.int64))


def _expected(deep: Deep, latents: Sequence[Float64Array], gamma: float) -> Pairs:
    """Return the expectation over all paths, take by take and pair by pair."""

    def of(take: int, i: int, j: int) -> Any:
        x, y = (_of_take(deep, latents, k, take) for k in (i, j))
        band = band_of(_line(len(x), len(y)), len(x), len(y))
        return _sparse(expect(x, y, gamma, band, "dctw").coupling)

    return _each(deep, of)


def _of_take(deep: Deep, latents: Sequence[Float64Array], stream: int, take: int) -> Float64Array:
    track = deep.tracks[stream]
    first = int(track.starts[take])
    return latents[stream][first : first + int(track.lengths[take])]


def _sparse(coupling: Coupling) -> Any:
    """Return the probable part of a coupling as a sparse matrix."""
    from scipy import sparse

    band = coupling.band
    kept = coupling.probability > _LEAST_PROBABILITY * coupling.probability.max()
    rows, columns = np.nonzero(kept)
    shape = (len(band.lo), band.n_columns)
    values = coupling.probability[rows, columns]
    return sparse.csr_array((values, (rows, columns + band.lo[rows])), shape=shape)


def along_paths(deep: Deep, paths: Sequence[IntArray]) -> Pairs:
    """Return how often frames meet on a path of each take."""
    from scipy import sparse

    def of(take: int, i: int, j: int) -> Any:
        path, lengths = paths[take], deep.lengths(take)
        shape = (int(lengths[i]), int(lengths[j]))
        return sparse.csr_array((np.ones(len(path)), (path[:, i], path[:, j])), shape=shape)

    return _each(deep, of)


def path_of(deep: Deep, latents: Sequence[Float64Array], take: int) -> IntArray:
    """Return the path of one take (n_steps, m): DTW of each stream with the first, merged."""
    m = len(deep.shapes)
    values = [_of_take(deep, latents, k, take) for k in range(m)]
    lengths = deep.lengths(take)
    paths = [dtw(values[0], y, subject="dctw").frames for y in values[1:]]
    if m == 2:
        return paths[0]
    pieces = _pieces(deep)
    pairs = {
        (0, j): warps.from_path(path.astype(np.float64), lengths[[0, j]], pieces)[np.newaxis]
        for j, path in enumerate(paths, 1)
    }
    return warps.to_path(starts.stars(pairs, m, 0)[0], lengths)
