"""The joint aligner: total correlation of all sequences, maximised over continuous warps.

It keeps the idea of Canonical Time Warping, linear maps under which the sequences agree, and
replaces its alternation by one smooth problem in the warps alone: for given warps the best maps,
and their worth, are known in closed form (`mmalign_cli.align.correlation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import starts, warps
from mmalign_cli.align.climb import Climb, Settings, Stage, climb, gradient_by_theta
from mmalign_cli.align.correlation import (
    Linear,
    Samples,
    canonical,
    covariance,
    matching_maps,
    total_correlation,
)
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.takes import Takes, lay_out
from mmalign_cli.align.windows import NO_MASK, Window
from mmalign_cli.model import Float64Array, FloatArray, IntArray
from mmalign_cli.runtime import Progress

COARSE = (Stage(4, 1e-1), Stage(8, 1e-1), Stage(8, 1e-2), Stage(16, 1e-2))
REFINE = (Stage(8, 1e-2), Stage(16, 1e-2))
FINISH = (Stage(12, 1e-4), Stage(24, 1e-4, tolerance=1e-6))
_RIDGE = 1e-4
_REFINED, _FINISHED = 8, 2
_BAND_FRAMES = 5


def scored(takes: Takes, knots: Float64Array, settings: Settings) -> Climb:
    stage = Stage(knots.shape[-1] - 1, 1e-2)
    value, _ = gradient_by_theta(takes, warps.theta_of(knots, settings.ends), stage, settings)
    return Climb(knots, value)


def through(takes, start, stages, settings):
    for stage in stages:
        start = climb(takes, start, stage, settings)
    return start


def best_pair(takes, settings, progress=runtime.silent):
    pool = starts.pair_starts(takes.n_takes, settings.ends)
    alternation = starts.Alternation(takes, progress)
    candidates = [scored(takes, k, settings) for k in pool]
    for k in pool:
        better = alternation.improved(k)
        if better is not None:
            candidates.append(scored(takes, better, settings))
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i].penalized)
    kept: list[Climb] = []
    for i in order:
        if starts.is_new(candidates[i].knots, [c.knots for c in kept]):
            kept.append(candidates[i])
        if len(kept) == _REFINED:
            break
    refined = [through(takes, c, REFINE, settings) for c in kept]
    refined.append(through(takes, Climb(pool[0]), COARSE, settings))
    refined.sort(key=lambda c: -c.penalized)
    last = []
    for c in refined:
        if starts.is_new(c.knots, [d.knots for d in last]):
            last.append(c)
        if len(last) == _FINISHED:
            break
    done = [through(takes, c, FINISH, settings) for c in last]
    return max(done, key=lambda c: c.penalized)


def pair_path(takes: Takes, knots: Float64Array, take: int) -> IntArray:
    first, second, _ = matching_maps(takes.along(knots), _RIDGE)
    x, y = (track.of_take(take) for track in takes.tracks)
    window = band(knots[take], takes.lengths(take), _BAND_FRAMES)
    return dtw(first(x), second(y), window=window).frames


def band(knots: Float64Array, lengths: IntArray, radius: int) -> Window:
    n, m = lengths
    line = warps.to_path(knots, lengths)
    lo, hi = np.full(n, m), np.zeros(n, dtype=np.int64)
    for di in range(-radius, radius + 1):
        i = np.clip(line[:, 0] + di, 0, n - 1)
        np.minimum.at(lo, i, np.maximum(line[:, 1] - radius, 0))
        np.maximum.at(hi, i, np.minimum(line[:, 1] + radius + 1, m))
    return Window(lo, hi, NO_MASK)
