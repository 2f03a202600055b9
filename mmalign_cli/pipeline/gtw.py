"""The stages of ``mmalign gtw``: any number of streams to a verified alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import ctw
from mmalign_cli.align.algorithms import ALGORITHMS
from mmalign_cli.align.average import Average, average_of
from mmalign_cli.align.choices import DEFAULT_ALGORITHM, PAIR_STARTS
from mmalign_cli.align.climb import MOST_ITERATIONS
from mmalign_cli.align.dtw import bytes_needed, dtw, local_costs
from mmalign_cli.align.family import DEFAULT_BASIS, LONGER, checked
from mmalign_cli.align.family import Settings as FamilySettings
from mmalign_cli.align.gtw_objective import read
from mmalign_cli.align.learned import StreamMap, projection_of
from mmalign_cli.align.metrics import comparable, costs_along
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.pair import Settings as PairSettings
from mmalign_cli.align.pair import prepare_takes
from mmalign_cli.align.problem import CLOSED
from mmalign_cli.align.reference import REFERENCE, TOYS
from mmalign_cli.align.time_maps import knots_of
from mmalign_cli.align.together import (
    AVERAGING,
    CONSENSUS,
    Ask,
    Together,
    align_together,
    by_averaging,
    by_consensus,
    of_family,
    star_start,
)
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.align.windows import everything
from mmalign_cli.errors import AlignmentError, InputError
from mmalign_cli.evidence.confidence import judge, warning_of
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT, EFFORTS
from mmalign_cli.evidence.verify import verify_group
from mmalign_cli.features.registry import FEATURES
from mmalign_cli.model import Alignment, Array, Cost, Float64Array, Stream, TimeMap, WarpingPath
from mmalign_cli.pipeline.streams import stream_warnings

_COPIES = 6


@dataclass(frozen=True)
class GtwSettings:
    """The options of ``mmalign gtw``; None where the default depends on the streams."""

    algorithm: str = DEFAULT_ALGORITHM
    basis: str | None = None
    dims: float | None = None
    regularization: float | None = None
    init: str = "auto"
    starts: int | None = None
    max_iter: int | None = None
    tol: float = 0.01
    robust: bool = False
    open_begin: bool = False
    open_end: bool = False
    preset: str | None = None
    strict: bool = False
    seed: int = 0
    confidence: str = DEFAULT_EFFORT

    @property
    def ends(self) -> OpenEnds:
        """Whether streams may be left unmatched before and after."""
        return OpenEnds(self.open_begin, self.open_end)

    def ask(self) -> Ask:
        """Return what the joint aligner is told."""
        return Ask(self.dims, self.robust, self.ends, self.max_iter or MOST_ITERATIONS, self.seed)


@dataclass(frozen=True, eq=False)
class Result:
    """An alignment, and what may be written beside it.

    Parameters
    ----------
    alignment : Alignment
    found : Together
    compared : tuple of m ndarray, shape (n_i, d)
        The streams in the space where they were compared.
    metric : str
        By which they were compared there.
    """

    alignment: Alignment
    found: Together
    compared: tuple[Float64Array, ...]
    metric: str


@dataclass(frozen=True)
class Plan:
    """What an alignment will take at most, from shapes alone."""

    frames: tuple[int, ...]
    dims: tuple[int, ...]
    bytes: int


def plan_gtw(streams: Sequence[Stream], settings: GtwSettings, with_costs: bool) -> Plan:
    """Return what aligning the streams will take: whole copies of them, and of pairs one DTW."""
    frames, dims = tuple(s.n_frames for s in streams), tuple(s.n_dims for s in streams)
    longest = max(frames)
    need = 8 * _COPIES * longest * (sum(dims) + 2 * len(streams))
    need += bytes_needed(
        longest, longest, max(dims), step="symmetric1", window=everything(longest, longest),
        n_cells=longest**2, ends=CLOSED, keep_accumulated=False,
    )  # fmt: skip
    if with_costs:
        steps = sum(frames)
        need += sum(16 * n * m + 8 * steps**2 for n, m in combinations(frames, 2))
    return Plan(frames, dims, need)


def align_gtw(
    streams: Sequence[Stream],
    settings: GtwSettings,
    *,
    max_memory: int | None = None,
    keep_costs: bool = False,
    progress: runtime.Progress = runtime.silent,
) -> Result:
    """Align streams, verify the result and say how far to trust it.

    Parameters
    ----------
    streams : sequence of m >= 2 Stream
        The reference first.
    settings : GtwSettings
    max_memory : int or None
        Bytes; None takes what the machine has free.
    keep_costs : bool
        Whether cost matrices will be asked for.
    progress : Progress
        Told what is done; may raise to stop.

    Raises
    ------
    InputError
        If nothing in a stream changes, it is too short, or the algorithm compares columns that the
        streams do not share.
    AlignmentError
        If there is too little memory, or with ``strict`` if the rounds did not come to an end.
    """
    subject = _subject(streams)
    plan = plan_gtw(streams, settings, keep_costs)
    runtime.require_memory(plan.bytes, max_memory, subject, "use fewer frames (hop=, start=, end=)")
    values = [np.asarray(s.values, dtype=np.float64) for s in streams]
    found, metric = _find(streams, values, settings, progress)
    if settings.strict and found.ending in ("cycle", "max-iter"):
        what = f"no convergence in {len(found.objective)} rounds ({found.ending})"
        raise AlignmentError(subject, what, "raise --max-iter, or leave --strict out")
    compared = tuple(f(x) for f, x in zip(found.maps, values, strict=True))
    verdict = _verdict(streams, values, found, metric, settings)
    parameters = _parameters(settings, found, metric)
    alignment = alignment_of(streams, found, compared, parameters, verdict, settings.ends)
    return Result(alignment, found, compared, metric)


def alignment_of(
    streams: Sequence[Stream],
    found: Together,
    compared: Sequence[Float64Array],
    parameters: Mapping[str, Any],
    confidence: Mapping[str, Any],
    ends: OpenEnds = CLOSED_ENDS,
    *,
    maps: Sequence[StreamMap] | None = None,
    method: str = "gtw",
) -> Alignment:
    """Return a verified alignment.

    Parameters
    ----------
    streams : sequence of m Stream
    found : Together
    compared : sequence of m ndarray, shape (n_i, d)
        The streams where they were compared.
    parameters : Mapping
        With the metric.
    confidence : Mapping
        A verdict.
    ends : OpenEnds
    maps : sequence of m StreamMap, optional
        To where streams were compared, where that is not by linear maps alone.
    method : str
        The command that found it.

    Raises
    ------
    MmalignError
        If a check fails: a fault of mmalign itself.
    """
    metric = str(parameters["metric"])
    cost = cost_of(compared, found.path, metric)
    frames = [s.n_frames for s in streams]
    verify_group(found.path, frames, ends, cost, compared, metric)
    times = [_seconds(found.path[:, k], s) for k, s in enumerate(streams)]
    return Alignment(
        method=method,
        parameters=parameters,
        streams=tuple(s.info() for s in streams),
        path=WarpingPath(found.path, np.column_stack(times)),
        time_maps=_maps_of(found.line, streams),
        cost=cost,
        optimizer=_optimizer(found),
        projections=_projections(streams, found, maps),
        confidence=confidence,
        warnings=(*stream_warnings(streams), *_doubts(found, confidence)),
    )


def _subject(streams: Sequence[Stream]) -> str:
    names = [s.name for s in streams]
    return ", ".join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])


def _find(
    streams: Sequence[Stream],
    values: Sequence[Float64Array],
    settings: GtwSettings,
    progress: runtime.Progress,
) -> tuple[Together, str]:
    """Return the alignment, and the metric by which frames are compared at last."""
    metric = shared_metric(streams)
    is_raw = metric is None or streams[0].features == "raw"
    if settings.algorithm == DEFAULT_ALGORITHM:
        found = align_together(
            values, settings.ask(), metric=metric, is_raw=is_raw, progress=progress
        )
        return found, str(metric) if found.road == CONSENSUS else "sqeuclidean"
    parts = checked(values, "gtw")
    if settings.robust:
        parts = [without_outliers(x) for x in parts]
    with runtime.one_algebra_thread():
        if settings.algorithm == AVERAGING:
            if metric is None:
                raise _not_alike(streams, settings)
            return by_averaging(parts, settings.ask(), metric, is_raw, progress), metric
        found = _of_papers(parts, settings, progress)
    return found, "sqeuclidean"


def _of_papers(
    parts: Sequence[Float64Array], settings: GtwSettings, progress: runtime.Progress
) -> Together:
    """Return what one of the papers' algorithms finds."""
    if settings.preset is not None:
        found = REFERENCE[settings.algorithm](parts, reference_settings(parts, settings), progress)
        return of_family(parts, settings.algorithm, found)
    starts = []
    if settings.algorithm in PAIR_STARTS and settings.init == "auto":
        starts.append(star_start(parts, progress))
    told = FamilySettings(
        dims=settings.dims,
        ridge=settings.regularization,
        rounds=settings.max_iter,
        tolerance_frames=settings.tol,
        basis=settings.basis or DEFAULT_BASIS,
        ends=settings.ends,
        starts=starts,
        own_starts=settings.starts,
    )
    return of_family(
        parts, settings.algorithm, ALGORITHMS[settings.algorithm](parts, told, progress)
    )


def reference_settings(parts: Sequence[Float64Array], settings: GtwSettings) -> FamilySettings:
    """Return the reference programs' own settings, but for what is given."""
    longest = max(map(len, parts))
    return replace(
        TOYS,
        length=max(int(TOYS.length or 0), int(LONGER * longest + 0.5)),
        dims=TOYS.dims if settings.dims is None else settings.dims,
        ridge=TOYS.ridge if settings.regularization is None else settings.regularization,
        rounds=settings.max_iter,
        basis=settings.basis or TOYS.basis,
    )


def shared_metric(streams: Sequence[Stream]) -> str | None:
    """Return the metric by which streams of one feature are compared; None where they differ."""
    alike = {(s.features, s.n_dims) for s in streams}
    return FEATURES[streams[0].features].metric if len(alike) == 1 else None


def _not_alike(streams: Sequence[Stream], settings: GtwSettings) -> InputError:
    first = streams[0]
    other = next(s for s in streams if (s.features, s.n_dims) != (first.features, first.n_dims))
    what = (
        f"{other.n_dims} columns of {other.features}, "
        f"{first.name} has {first.n_dims} of {first.features}"
    )
    hint = f"{settings.algorithm} compares columns: use --algorithm {DEFAULT_ALGORITHM}"
    return InputError(other.source or other.name, what, hint)


def cost_of(compared: Sequence[Float64Array], path: Array, metric: str) -> Cost:
    """Return the sum over the steps and the pairs of streams of the local costs."""
    along = [read(x, p) for x, p in zip(compared, path.T.astype(np.float64), strict=True)]
    if metric == "sqeuclidean":  # sum_{i<j} |z_i - z_j|^2 = m sum_i |z_i - mean|^2
        mean = np.mean(along, axis=0)
        total = len(along) * sum(float(((z - mean) ** 2).sum()) for z in along)
    else:
        steps = np.arange(len(path))
        diagonal = np.column_stack([steps, steps])
        total = sum(
            float(costs_along(pair, diagonal).sum()) * pair.scale
            for pair in (comparable(a, b, metric, "gtw") for a, b in combinations(along, 2))
        )
    return Cost(total, total / len(path))


def _seconds(frames: Array, stream: Stream) -> Float64Array:
    return np.interp(frames, np.arange(stream.n_frames), stream.times)


def _maps_of(line: Float64Array, streams: Sequence[Stream]) -> tuple[TimeMap, ...]:
    """Return the time maps of warps (k, m) in fractional frames."""
    seconds = [_seconds(line[:, k], s) for k, s in enumerate(streams)]
    names = [s.name for s in streams]
    return tuple(
        TimeMap(name, names[0], knots_of(own, seconds[0]))
        for name, own in zip(names[1:], seconds[1:], strict=True)
    )


def _parameters(settings: GtwSettings, found: Together, metric: str) -> Mapping[str, Any]:
    """Return the parameters that took part, for the document; what was chosen in their place."""
    parameters: dict[str, Any] = {"algorithm": settings.algorithm, "metric": metric}
    if settings.algorithm == DEFAULT_ALGORITHM:
        parameters["road"] = found.road
    if found.correlations is not None:
        parameters["dims"] = len(found.correlations)
    if found.weights is not None:
        own = DEFAULT_BASIS if settings.preset is None else TOYS.basis
        parameters["basis"] = settings.basis or own
    for name in ("preset", "regularization", "starts", "max_iter"):
        if getattr(settings, name) is not None:
            parameters[name] = getattr(settings, name)
    parameters["seed"] = settings.seed
    flags = ("robust", "open_begin", "open_end")
    return parameters | {name: True for name in flags if getattr(settings, name)}


def _optimizer(found: Together) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "iterations": len(found.objective),
        "converged": found.ending in ("converged", "joined"),
        "objective": list(found.objective),
        "starts": found.starts,
        "chosen_start": found.start,
        "ending": found.ending,
    }
    if found.weights is not None:
        told["weights"] = [w.tolist() for w in found.weights]
    return told


def _projections(
    streams: Sequence[Stream], found: Together, maps: Sequence[StreamMap] | None
) -> tuple[Mapping[str, Any], ...] | None:
    if found.correlations is None:
        return None
    kept = [StreamMap(f) for f in found.maps] if maps is None else maps
    return tuple(projection_of(s.name, f) for s, f in zip(streams, kept, strict=True))


def _doubts(found: Together, verdict: Mapping[str, Any]) -> list[str]:
    doubts = []
    if found.ending == "cycle":
        doubts.append("the rounds run in a circle: the one that spreads least was taken")
    if found.ending == "max-iter":
        doubts.append(f"not converged after {len(found.objective)} rounds: raise --max-iter")
    doubt = warning_of(verdict)
    return doubts if doubt is None else [*doubts, doubt]


def _verdict(
    streams: Sequence[Stream],
    values: Sequence[Float64Array],
    found: Together,
    metric: str,
    settings: GtwSettings,
) -> Mapping[str, Any]:
    """Compare with what a search finds in the first two streams where there is nothing to find.

    Two streams agree by chance more than many do.
    """
    first, second = values[:2]
    if found.correlations is not None:
        return verdict_of_maps([(first, second)], found, settings)
    is_raw = streams[0].features == "raw"

    def search(query: Float64Array) -> float:
        alike = [first, query]
        return by_consensus(alike, settings.ask(), metric, is_raw, runtime.silent).evidence

    searches = EFFORTS[settings.confidence].searches
    with runtime.one_algebra_thread():
        return judge(found.evidence, found.gains, search, [second], settings.seed, searches)


def verdict_of_maps(
    pairs: Sequence[tuple[Float64Array, Float64Array]], found: Together, settings: GtwSettings
) -> Mapping[str, Any]:
    """Compare maps with what an alternation finds in the first two streams of takes, disordered."""
    correlations = np.asarray(found.correlations)
    told = PairSettings(dims=float(len(correlations)), init="uniform")
    pair = prepare_takes(pairs, told, ["gtw"] * len(pairs))

    def search(query: Float64Array) -> float:
        null = replace(pair, y=query)
        return max(c.evidence for c in ctw.candidates(null, ctw.starts_of(null)))

    query = [y for _, y in pair.takes()]
    searches = EFFORTS[settings.confidence].searches
    with runtime.one_algebra_thread():
        verdict = judge(found.evidence, found.gains, search, query, settings.seed, searches)
    return {**verdict, "correlations": correlations.tolist()}


def costs_of(result: Result) -> dict[str, Array]:
    """Return the cost matrices of each pair of streams: ``local_0_1`` ..., of two ``local`` ..."""
    matrices: dict[str, Array] = {}
    whole = np.round(result.found.path).astype(np.int64)
    m = len(result.compared)
    for i, j in combinations(range(m), 2):
        x, y = result.compared[i], result.compared[j]
        ending = "" if m == 2 else f"_{i}_{j}"
        local = local_costs(x, y, result.metric)
        table = dtw(x, y, metric=result.metric, keep_accumulated=True).accumulated
        matrices[f"local{ending}"] = local
        matrices[f"accumulated{ending}"] = np.asarray(table)
        matrices[f"aligned{ending}"] = local[np.ix_(whole[:, i], whole[:, j])]
    return matrices


@dataclass(frozen=True, eq=False)
class Mean:
    """The average of streams, ready to be written.

    Parameters
    ----------
    times : ndarray, shape (t,)
        Seconds of the common time line: from 0, as long as the streams are in the mean.
    average : Average
    columns : tuple of str
    """

    times: Float64Array
    average: Average
    columns: tuple[str, ...]


def mean_of(streams: Sequence[Stream], result: Result) -> Mean:
    """Return the mean of streams of the same columns, else of their common coordinates."""
    found = result.found
    alike = len({s.n_dims for s in streams}) == 1
    values = [np.asarray(s.values, dtype=np.float64) for s in streams]
    average = average_of(values if alike else result.compared, found.line, found.mean)
    seconds = float(np.mean([s.end_s - s.start_s for s in streams]))
    dims = average.mean.shape[1]
    names = streams[0].columns if alike else ()
    columns = names or tuple(f"{'column' if alike else 'common'}{k + 1}" for k in range(dims))
    return Mean(np.linspace(0.0, seconds, len(average.mean)), average, columns)
