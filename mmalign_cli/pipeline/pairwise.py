"""The stages of ``mmalign dtw --pairwise``: a list of streams to a matrix or to neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.neighbours import Neighbours, nearest
from mmalign_cli.align.packed import Rule, Series, WindowOf, fits, most_cells
from mmalign_cli.align.pairwise import condensed, square
from mmalign_cli.align.windows import Window
from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.features.compute import metric_of
from mmalign_cli.model import Float64Array, Stream
from mmalign_cli.pipeline.dtw import parameters_of
from mmalign_cli.pipeline.restrictions import DtwSettings, Restrictions, restrictions_of
from mmalign_cli.pipeline.streams import load_streams
from mmalign_cli.streams.listing import read_list


@dataclass(frozen=True)
class Shape:
    """What is asked for.

    Parameters
    ----------
    condensed : bool
        Pairs i < j alone.
    nearest : int or None
        Only so many nearest others of each.
    """

    condensed: bool = False
    nearest: int | None = None


@dataclass(frozen=True)
class PairwisePlan:
    """What it will take, from shapes alone; `one_by_one` pairs are not swept side by side."""

    streams: int
    pairs: int
    cells: int
    bytes: int
    one_by_one: int


@dataclass(frozen=True, eq=False)
class Job:
    """Streams, and how they are compared."""

    streams: Sequence[Stream]
    series: Sequence[Series]
    rule: Rule
    shape: Shape
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...]


def prepare(
    listing: str,
    defaults: Mapping[str, str],
    settings: DtwSettings,
    shape: Shape,
    progress: runtime.Progress = runtime.silent,
) -> Job:
    """Read the streams of a list, and check that they can be compared as asked.

    Parameters
    ----------
    listing : str
        The list: see `mmalign_cli.streams.listing`.
    defaults : Mapping of str to str
        Keys for every stream.
    settings : DtwSettings
    shape : Shape
    progress : Progress
        Told the streams read.

    Raises
    ------
    InputError
        If the list holds fewer than two streams, or streams of unequal dimensions.
    UsageError
        If options do not fit together.
    """
    specs = read_list(listing, defaults)
    if len(specs) < 2:
        raise InputError(listing, f"names {len(specs)} streams, a pair needs two")
    if shape.nearest is not None and shape.nearest >= len(specs):
        raise UsageError("--nearest", f"{shape.nearest} of {len(specs) - 1} others")
    streams = [item.stream for item in load_streams(specs, progress)]
    _require_comparable(streams)
    metric = settings.metric or metric_of(streams[0])
    _require_plain(settings)
    restrictions = restrictions_of(streams[:2], settings)
    window = _window_rule(streams, settings)
    rule = Rule(metric, restrictions.pattern, settings.penalty, settings.ends, window)
    if shape.condensed and not rule.is_symmetric:
        what = f"the costs of {_how(settings)} are not symmetric"
        raise UsageError("--condensed", what, "leave it out: the matrix is square")
    series = [Series(s.values, s.name, s.period_s) for s in streams]
    parameters = _parameters(settings, metric, restrictions, shape)
    return Job(streams, series, rule, shape, parameters, _warnings(streams, settings, metric))


def _how(settings: DtwSettings) -> str:
    return "open ends" if settings.open_begin or settings.open_end else f"--step {settings.step}"


def _require_plain(settings: DtwSettings) -> None:
    """Refuse what is asked of a single pair only."""
    if settings.window.lower().endswith(".npy"):
        hint = "use none, sakoe-chiba, slanted or itakura"
        raise UsageError("--window", "a mask fits one pair only", hint)
    for name in ("subsequence", "anchors", "approximate"):
        if getattr(settings, name):
            raise UsageError(f"--{name}", "means nothing with --pairwise")


def _window_rule(streams: Sequence[Stream], settings: DtwSettings) -> WindowOf | None:
    """Return the window of two series, made once for equal lengths and periods."""
    if settings.window == "none":
        return None
    called = {stream.name: stream for stream in streams}
    made: dict[tuple[int, int, float], Window] = {}

    def rule(reference: Series, query: Series) -> Window:
        key = len(reference.values), len(query.values), reference.period_s
        if key not in made:
            pair = [called[reference.name], called[query.name]]
            made[key] = restrictions_of(pair, settings).window
        return made[key]

    return rule


def _require_comparable(streams: Sequence[Stream]) -> None:
    first = streams[0]
    for other in streams:
        if other.n_dims != first.n_dims:
            what = f"{other.n_dims} dimensions, {first.source} has {first.n_dims}"
            raise InputError(other.source, what, "use the same features= and columns= for all")


def _parameters(
    settings: DtwSettings, metric: str, restrictions: Restrictions, shape: Shape
) -> dict[str, Any]:
    asked = {"condensed": shape.condensed} if shape.nearest is None else {"nearest": shape.nearest}
    return {**parameters_of(settings, metric, restrictions), **asked}


def _warnings(streams: Sequence[Stream], settings: DtwSettings, metric: str) -> tuple[str, ...]:
    """Return what was noticed: each thing once, with the streams that it is true of."""
    said: dict[str, list[str]] = {}
    for stream in streams:
        for warning in stream.warnings:
            said.setdefault(warning.replace(stream.name, "%"), []).append(stream.name)
    lines = []
    for warning, names in said.items():
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        lines.append(warning.replace("%", names[0]) + more)
    features = sorted({s.features for s in streams})
    if len(features) > 1 and settings.metric is None:
        lines.append(f"the streams hold different features: {', '.join(features)}; metric {metric}")
    return tuple(lines)


def plan(job: Job) -> PairwisePlan:
    """Return what a job will take; the cells without regard to the window."""
    lengths = np.array([len(s.values) for s in job.series], dtype=np.int64)
    n = len(lengths)
    once = job.rule.is_symmetric and job.shape.nearest is None
    total, squares = int(lengths.sum()) ** 2, int((lengths**2).sum())
    cells, pairs = total - squares, n * (n - 1)
    if once:
        cells, pairs = cells // 2, pairs // 2
    elif not job.rule.is_symmetric:
        cells, pairs = total, n * n
    ordered = np.sort(lengths)
    side_by_side = np.searchsorted(
        ordered, most_cells(job.streams[0].n_dims) // np.maximum(ordered, 1), side="right"
    )
    alone = pairs
    if fits(job.rule, job.series):
        alone = int((n - side_by_side).sum()) // (2 if once else 1)
    k = job.shape.nearest
    dims = job.streams[0].n_dims
    kept = n * (n - 1) // 2 if job.shape.condensed else n * n if k is None or alone else 2 * n * k
    return PairwisePlan(n, pairs, cells, 8 * kept + 24 * int(lengths.sum()) * dims, alone)


def costs_of(job: Job, progress: runtime.Progress = runtime.silent) -> Float64Array:
    """Return the matrix of a job, square or condensed."""
    compute = condensed if job.shape.condensed else square
    return compute(job.series, job.rule, threads=runtime.threads(), progress=progress)


def neighbours_of(job: Job, progress: runtime.Progress = runtime.silent) -> Neighbours:
    """Return the nearest others of each stream of a job."""
    assert job.shape.nearest is not None
    return nearest(
        job.series, job.rule, job.shape.nearest, threads=runtime.threads(), progress=progress
    )


def require_memory(job: Job, max_memory: int | None) -> None:
    """Refuse a job that does not fit in memory."""
    hint = "use --nearest K, --condensed, or a shorter list"
    runtime.require_memory(plan(job).bytes, max_memory, "--pairwise", hint)


def pair_costs(job: Job, costs: Float64Array) -> Float64Array:
    """Return the costs between different streams, each pair once where it costs the same."""
    if costs.ndim == 1:
        return costs
    rows, columns = np.indices(costs.shape)
    return costs[rows < columns if job.rule.is_symmetric else rows != columns]
