"""Canonical Time Warping of two streams by the joint aligner."""

from __future__ import annotations

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.cca import Canonical
from mmalign_cli.align.climb import MOST_ITERATIONS
from mmalign_cli.align.ctw import Found
from mmalign_cli.align.dtw import Warp
from mmalign_cli.align.joint import align_jointly
from mmalign_cli.align.pair import Pair
from mmalign_cli.align.schedule import is_chancy
from mmalign_cli.align.takes import lay_out
from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.model import Cost, Float64Array, IntArray
from mmalign_cli.runtime import Progress

_PRECISION = 1e-9


def align(pair: Pair, progress: Progress = runtime.silent) -> Found:
    """Find the warp of most total correlation, and the canonical maps along its path.

    Parameters
    ----------
    pair : Pair
        Of one take or more.
    progress : Progress
        Told the starts done; may raise to stop.
    """
    settings = pair.settings
    found = align_jointly(
        _sequences(pair),
        robust=settings.robust,
        ends=OpenEnds(settings.ends.open_begin, settings.ends.open_end),
        iterations=settings.max_rounds or MOST_ITERATIONS,
        seed=settings.seed,
        progress=progress,
    )
    path = pair.joined(found.paths)
    gains = pair.gains(path)
    maps = pair.project(path)
    maps = maps.leading(_dims(settings.dims, gains, len(maps.correlations)))
    return Found(
        maps=maps,
        warp=_warp(pair, maps, path),
        evidence=pair.evidence(path),
        gains=gains,
        start=str(found.chosen_start),
        objective=found.objective,
        ending="converged" if found.converged else "max-iter",
        starts=found.starts,
        joint=found,
        total_correlation=found.evidence,
    )


def _sequences(pair: Pair) -> list[tuple[Float64Array, Float64Array]]:
    """Return what the joint aligner is to see: of noisy sensors all columns, as they are."""
    raw = pair.raw_takes()
    return raw if is_chancy(lay_out(raw)) else pair.takes()


def _dims(
    asked: float | None, gains: np.ndarray[tuple[int], np.dtype[np.float64]], most: int
) -> int:
    """Return the dimensions in which frames are compared; the warp itself uses all."""
    if asked is None or asked < 1:
        return int(np.argmax(np.cumsum(gains))) + 1 if len(gains) else most
    return min(int(asked), most)


def _warp(pair: Pair, maps: Canonical, path: IntArray) -> Warp:
    """Return the path with what it costs under the maps."""
    first, second = maps.maps
    apart = first(pair.x[path[:, 0]]) - second(pair.y[path[:, 1]])
    total = float((apart**2).sum())
    return Warp(path, np.ones(len(path)), Cost(total, total / len(path)), total, _PRECISION)
