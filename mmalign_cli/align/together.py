"""Any number of sequences by the joint aligner: which of its roads, and one result for all.

Up to four sequences climb their total correlation together; more of them, each against what the
others share (`mmalign_cli.align.template`). Sequences of one feature need no maps, and are laid on
their mean (`mmalign_cli.align.consensus`). Sequences that merely have as many columns as one
another may be either: then the road is taken whose warps hold more evidence on frames that the
maps were not fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import starts, warps
from mmalign_cli.align.cca import Canonical, along, cca, folds_of, held_out_gains
from mmalign_cli.align.climb import MOST_ITERATIONS, Climb, Settings, Stage
from mmalign_cli.align.consensus import MOST_ROUNDS, Consensus, agree, averaged, shape_of
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.family import Found, Start, checked, rounded, same
from mmalign_cli.align.joint import Joint, align_jointly, pair_warp
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.schedule import plan_for
from mmalign_cli.align.takes import Takes, lay_out
from mmalign_cli.align.template import against, refine, relative, shared_along
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.model import Float64Array, FloatArray, IntArray
from mmalign_cli.runtime import Progress

TOTAL_CORRELATION, SENSORS = "total correlation", "sensors"
TEMPLATE, CONSENSUS = "template", "consensus"
ROADS = (TOTAL_CORRELATION, SENSORS, TEMPLATE, CONSENSUS)
AVERAGING = "dba"
SHAPE_METRIC = "euclidean"

Path = TypeVar("Path", IntArray, Float64Array)

_MOST_AT_ONCE = 4
_PIECES = (24, 24, 36, 36, 36)
_RIDGES = (1e-4, 1e-4, 1e-4, 1e-4, 1e-5)
_FAR_BEHIND = 1.0
_EXACT = 1e-9
RIDGE, _LITTLE_DATA_RIDGE, _FEW_FRAMES = 1e-4, 0.05, 10


@dataclass(frozen=True)
class Ask:
    """What the joint aligner of many sequences is told.

    Parameters
    ----------
    dims : float or None
        Dimensions in which frames are compared; the warps themselves use all. Below 1, or None:
        those that hold evidence on held-out stretches.
    robust : bool
        Single frames may be far off.
    ends : OpenEnds
    iterations : int
        L-BFGS iterations a stage, at most.
    seed : int
        Of random starts.
    """

    dims: float | None = None
    robust: bool = False
    ends: OpenEnds = CLOSED_ENDS
    iterations: int = MOST_ITERATIONS
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Together:
    """An alignment of m sequences by continuous warps.

    Parameters
    ----------
    road : str
        One of `ROADS`, or the papers' algorithm.
    line : ndarray, shape (k, m)
        Fractional frames of each sequence along the common time line, none falling: the warps, or
        where there are none the path.
    path : ndarray, shape (n_steps, m)
        The warps on whole frames, no step moving a sequence by more than one; fractions of frames
        by Generalized Time Warping.
    maps : tuple of m Linear
        From frames to where they are compared: the same for all by consensus.
    correlations : ndarray, shape (d,), or None
        Mean correlation of two sequences' coordinates there, decreasing; None by consensus.
    gains : ndarray, shape (k,)
        Nats a step that each canonical dimension gains on held-out stretches of the path.
    objective : tuple of float
        After each stage, or each round.
    starts : int
        How many were compared.
    start : str
        Which of them won.
    ending : str
        ``converged``, ``max-iter``, ``cycle`` or ``joined``.
    mean : ndarray, shape (k, d), or None
        By consensus: the mean of the frames that are matched to each point of `line`.
    weights : ndarray, shape (m, k), or None
        Of the bases, by Generalized Time Warping.
    """

    road: str
    line: Float64Array
    path: IntArray | Float64Array
    maps: tuple[Linear, ...]
    correlations: Float64Array | None
    gains: Float64Array
    objective: tuple[float, ...]
    starts: int
    start: str
    ending: str
    mean: Float64Array | None = None
    weights: Float64Array | None = None

    @property
    def evidence(self) -> float:
        """Nats a step on held-out stretches, in the best number of dimensions."""
        return float(np.cumsum(self.gains).max(initial=0.0))


def align_together(
    sequences: Sequence[FloatArray],
    ask: Ask,
    *,
    metric: str | None = None,
    is_raw: bool = True,
    progress: Progress = runtime.silent,
) -> Together:
    """Align two or more sequences.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d_i)
    ask : Ask
    metric : str, optional
        Of sequences that can be compared as they are.
    is_raw : bool
        Whether the frames are no feature, so that more than one column may need a linear map.
    progress : Progress
        Told what is done; may raise to stop.

    Raises
    ------
    InputError
        If a sequence is too short, or does not vary.
    """
    parts = checked([np.asarray(x, dtype=np.float64) for x in sequences], "gtw")
    if ask.robust:
        parts = [without_outliers(x) for x in parts]
    alike = metric is not None and ask.ends == CLOSED_ENDS
    needs_maps = not alike or (is_raw and parts[0].shape[1] > 1)
    with runtime.one_algebra_thread():
        found = [_by_maps(parts, ask, progress)] if needs_maps else []
        if alike:
            found.append(by_consensus(parts, ask, str(metric), is_raw, progress))
        return max(found, key=lambda one: one.evidence)


def by_consensus(
    parts: Sequence[Float64Array], ask: Ask, metric: str, is_raw: bool, progress: Progress
) -> Together:
    """Align sequences of the same columns on their mean.

    What is raw is compared by its shape: in other units than it is given in.
    """
    rounds = min(ask.iterations, MOST_ROUNDS)
    return _on_mean(parts, _agreed(parts, metric, is_raw, rounds, progress), CONSENSUS)


def by_averaging(
    parts: Sequence[Float64Array], ask: Ask, metric: str, is_raw: bool, progress: Progress
) -> Together:
    """Align sequences of the same columns by DTW barycentre averaging, from their consensus."""
    begun = _agreed(parts, metric, is_raw, MOST_ROUNDS, progress)
    rounds = min(ask.iterations, MOST_ROUNDS)
    found = averaged(parts, begun, metric, rounds=rounds, progress=progress)
    return _on_mean(parts, found, AVERAGING)


def _agreed(
    parts: Sequence[Float64Array], metric: str, is_raw: bool, rounds: int, progress: Progress
) -> Consensus:
    if not is_raw:
        return agree(parts, metric, rounds=rounds, progress=progress)
    shapes = [shape_of(x) for x in parts]
    return agree(shapes, SHAPE_METRIC, rounds=rounds, progress=progress)


def _on_mean(parts: Sequence[Float64Array], found: Consensus, road: str) -> Together:
    lengths = np.array([len(x) for x in parts])
    path = warps.to_path(found.knots, lengths)
    return Together(
        road,
        warps.in_frames(found.knots, lengths),
        path,
        tuple(same(x.shape[1]) for x in parts),
        None,
        gains_along(parts, path),
        found.objective,
        1,
        "consensus of pairs",
        ending_of(found.converged),
        found.average(parts),
    )


def ending_of(converged: bool) -> str:
    """Return what the document calls it."""
    return "converged" if converged else "max-iter"


def of_family(parts: Sequence[Float64Array], name: str, found: Found) -> Together:
    """Return what one of the papers' algorithms found."""
    whole = _moving(rounded(found.path).astype(np.int64))
    # A sum of weights is 1 to rounding only, and the ends are whole frames.
    last = np.array([len(x) - 1.0 for x in parts])
    near = np.round(found.path)
    exact = np.where(np.abs(found.path - near) < _EXACT, near, found.path)
    path = _moving(np.clip(exact, 0.0, last)) if found.weights is not None else whole
    return Together(
        name,
        found.path,
        path,
        found.projections,
        found.correlations,
        gains_along(parts, whole),
        found.objective,
        found.starts,
        found.start,
        found.ending,
        weights=found.weights,
    )


def _moving(path: Path) -> Path:
    """Return the steps at which some sequence moves."""
    moves = (np.diff(path, axis=0) > 0).any(axis=1)
    kept: Path = path[np.append(True, moves)]
    return kept


def star_start(parts: Sequence[Float64Array], progress: Progress) -> Start:
    """Return the path of all sequences by the joint alignment of each with a centre."""
    takes = lay_out([parts])
    knots = _star(takes, plan_for(takes).settings, progress)
    return Start("pairs", warps.in_frames(knots, takes.lengths(0)))


def gains_along(parts: Sequence[Float64Array], path: IntArray) -> Float64Array:
    """Return the nats a step that each canonical dimension gains on held-out stretches."""
    return held_out_gains(folds_of(parts, path), _ridge(parts))


def _ridge(parts: Sequence[Float64Array]) -> float:
    """Return the ridge for maps of the frames themselves: with little data they need one."""
    scarce = any(len(x) < _FEW_FRAMES * x.shape[1] for x in parts)
    return _LITTLE_DATA_RIDGE if scarce else RIDGE


def _by_maps(parts: Sequence[Float64Array], ask: Ask, progress: Progress) -> Together:
    """Align sequences whose maps have to be learned."""
    if len(parts) > _MOST_AT_ONCE and ask.ends == CLOSED_ENDS:
        return _by_template(parts, ask, progress)
    found = align_jointly(
        [parts], robust=ask.robust, ends=ask.ends, iterations=ask.iterations, seed=ask.seed,
        progress=progress,
    )  # fmt: skip
    path = found.paths[0]
    maps, gains = maps_of_joint(found, parts, path, ask.dims)
    return of_joint(found, 0, maps, gains)


def maps_of_joint(
    found: Joint, parts: Sequence[Float64Array], path: IntArray, dims: float | None
) -> tuple[Canonical, Float64Array]:
    """Return the maps under which frames are compared along a path, and what each gains there.

    The maps of views are of what was computed of the frames: here they are of the frames.
    """
    maps = Canonical(found.projections, found.correlations)
    if found.views is not None:
        maps = maps_along(parts, path)
    gains = gains_along(parts, path)
    return maps.leading(dims_for(dims, gains, len(maps.correlations))), gains


def of_joint(found: Joint, take: int, maps: Canonical, gains: Float64Array) -> Together:
    """Return what the joint aligner found for one take."""
    return Together(
        TOTAL_CORRELATION if found.views is None else SENSORS,
        found.frames(take),
        found.paths[take],
        maps.maps,
        maps.correlations,
        gains,
        found.objective,
        found.starts,
        str(found.chosen_start),
        ending_of(found.converged),
    )


def maps_along(parts: Sequence[Float64Array], path: IntArray) -> Canonical:
    """Return the maps of the frames themselves that correlate most along a path."""
    return cca(along(parts, path), _ridge(parts))


def dims_for(asked: float | None, gains: Float64Array, most: int) -> int:
    """Return the dimensions in which frames are compared."""
    if asked is None or asked < 1:
        return min(int(np.argmax(np.cumsum(gains))) + 1 if len(gains) else most, most)
    return min(int(asked), most)


def _by_template(parts: Sequence[Float64Array], ask: Ask, progress: Progress) -> Together:
    """Align many sequences: each to a centre, then each to what the others share."""
    takes = lay_out([parts])
    plan = plan_for(takes)
    settings = replace(plan.settings, robust=ask.robust, ends=ask.ends, iterations=ask.iterations)
    finer = plan.last[0].pieces / _PIECES[0]
    stages = [
        Stage(round(pieces * finer), ridge, tolerance=1e-5, iterations=100)
        for pieces, ridge in zip(_PIECES, _RIDGES, strict=True)
    ]
    knots = _star(takes, settings, progress)
    objective = []
    for number, stage in enumerate(stages):
        refined = refine(takes, knots, stage, settings, progress)
        knots = refined.knots
        objective.append(float(refined.values.mean()))
        if number == 0:
            knots = _rescued(takes, knots, refined.values, settings, progress)
    shared = shared_along(takes, knots)
    lengths = takes.lengths(0)
    path = warps.to_path(knots, lengths)
    gains = gains_along(parts, path)
    maps = tuple(f.after(t.white) for f, t in zip(shared.maps, takes.tracks, strict=True))
    found = Canonical(maps, shared.correlations)
    found = found.leading(dims_for(ask.dims, gains, len(found.correlations)))
    return Together(
        TEMPLATE,
        warps.in_frames(knots, lengths),
        path,
        found.maps,
        found.correlations,
        gains,
        tuple(objective),
        1,
        "star",
        "converged",
    )


def _star(takes: Takes, settings: Settings, progress: Progress) -> Float64Array:
    """Return the warps (m, K + 1) of all sequences, each by its alignment with a centre.

    The centre is the sequence of the median length: it loses least.
    """
    m = len(takes.tracks)
    centre = int(np.argsort(takes.lengths(0), kind="stable")[m // 2])
    pairs = {}
    others = [j for j in range(m) if j != centre]
    for done, j in enumerate(others):
        progress("comparing with a centre", done, len(others))
        i, k = sorted((centre, j))
        pairs[i, k] = pair_warp(takes.pair(i, k), settings).knots
    return np.asarray(starts.stars(pairs, m, centre)[0])


def _rescued(
    takes: Takes,
    knots: Float64Array,
    values: Float64Array,
    settings: Settings,
    progress: Progress,
) -> Float64Array:
    """Return the warps, those anew that share far less with the others than is usual."""
    shared = shared_along(takes, knots)
    knots = knots.copy()
    behind = np.flatnonzero(values < np.median(values) - _FAR_BEHIND).tolist()
    for done, i in enumerate(behind):
        progress("searching again", done, len(behind))
        found: Climb = pair_warp(against(takes, shared, i), settings)
        if found.penalized > values[i]:
            line = relative(found.knots[0])
            knots[i] = warps.positions(line, np.linspace(0.0, 1.0, knots.shape[1]))
    return np.asarray(knots)
