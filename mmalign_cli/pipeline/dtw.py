"""The stages of ``mmalign dtw``: streams to a verified alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import multiscale
from mmalign_cli.align.custom_steps import definition
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.metrics import METRICS, metric_named
from mmalign_cli.align.plan import Plan, Request, bytes_of, plan
from mmalign_cli.align.steps import is_step_file
from mmalign_cli.align.subsequence import find_matches
from mmalign_cli.align.time_maps import time_maps
from mmalign_cli.align.windows import Window
from mmalign_cli.errors import InputError
from mmalign_cli.evidence.content import doubt_of, judge_content
from mmalign_cli.evidence.efforts import EFFORTS
from mmalign_cli.evidence.verify import verify_warp
from mmalign_cli.features.compute import metric_of
from mmalign_cli.model import Alignment, Float64Array, Match, Stream
from mmalign_cli.pipeline.restrictions import (
    DtwSettings,
    Restrictions,
    radius_frames,
    require_path,
    restrictions_of,
)
from mmalign_cli.pipeline.streams import Loaded, path_of, stream_warnings


@dataclass(frozen=True, eq=False)
class Costs:
    """The cost matrices of an alignment, float64.

    Parameters
    ----------
    local, accumulated : ndarray, shape (n, m)
        `accumulated` is infinite outside the window.
    aligned : ndarray, shape (n_steps, n_steps)
        ``local[path[s, 0], path[t, 1]]``: its diagonal is the cost of each step.
    """

    local: Float64Array
    accumulated: Float64Array
    aligned: Float64Array


def request_of(
    streams: Sequence[Stream],
    settings: DtwSettings,
    restrictions: Restrictions,
    metric: str,
    with_costs: bool,
) -> Request:
    """Return what the planner of `mmalign_cli.align.plan` wants to know."""
    radius, r = multiscale.USUAL_RADIUS, restrictions
    if settings.approximate and settings.radius is not None:
        radius = radius_frames(streams, settings.radius)
    return Request(
        streams[0].n_frames, streams[1].n_frames, streams[0].n_dims, r.pattern, r.window,
        settings.penalty, r.ends, r.anchors, settings.top, METRICS[metric].table is not None,
        with_costs, settings.approximate, radius, runtime.threads(),
        sum(s.values.nbytes + 8 * s.n_frames for s in streams),
    )  # fmt: skip


def plan_of(streams: Sequence[Stream], settings: DtwSettings, with_costs: bool) -> Plan:
    """Return what DTW of two streams will take, if there is a path at all."""
    metric = _metric(streams[0], streams[1], settings)[0]
    _require_comparable(streams[0], streams[1], metric)
    restrictions = restrictions_of(streams, settings)
    require_path(streams, settings, restrictions)
    return plan(request_of(streams, settings, restrictions, metric, with_costs))


def align_dtw(
    streams: Sequence[Stream],
    settings: DtwSettings,
    *,
    max_memory: int | None = None,
    keep_costs: bool = False,
    progress: runtime.Progress = runtime.silent,
) -> tuple[Alignment, Warp]:
    """Align two streams by DTW, and verify the result.

    Parameters
    ----------
    streams : sequence of two Stream
        Reference and query, of the same number of dimensions.
    settings : DtwSettings
        The five restrictions and the metric.
    max_memory : int or None
        Bytes; None takes what the machine has free.
    keep_costs : bool
        Keep the accumulated table.
    progress : Progress
        Told what is done.

    Returns
    -------
    Alignment, Warp

    Raises
    ------
    InputError
        If the streams cannot be compared.
    AlignmentError
        If there is no path, or too little memory.
    """
    reference, query = streams
    subject = f"{reference.name}, {query.name}"
    metric, warnings = _metric(reference, query, settings)
    _require_comparable(reference, query, metric)
    restrictions = restrictions_of(streams, settings)
    request = request_of(streams, settings, restrictions, metric, keep_costs)
    chosen = plan(request)
    runtime.require_memory(chosen.bytes, max_memory, subject, _way_out(request))
    require_path(streams, settings, restrictions)
    n, m, r = reference.n_frames, query.n_frames, restrictions
    window, found = r.window, dict[str, Any]()
    if chosen.is_exact:
        warps = _find(streams, settings, restrictions, metric, keep_costs, progress)
    else:
        warp, window, search = _search(streams, settings, request, metric, max_memory, progress)
        warps = [warp]
        found = {"approximate": True, "approximation": vars(search)}
        warnings += _how_approximate(search, chosen)
    for warp in warps:
        verify_warp(warp, r.pattern, window, r.ends, r.anchors, n, m)
    if len(warps) < settings.top:
        warnings += (f"{len(warps)} of {settings.top} matches: no more fit between them",)
    path = path_of(warps[0].frames, streams)
    effort = EFFORTS[settings.confidence]
    verdict = judge_content(reference.values, query.values, warps[0], metric, effort, settings.seed)
    doubt = doubt_of(verdict)
    warnings += () if doubt is None else (doubt,)
    alignment = Alignment(
        method="dtw",
        parameters={**parameters_of(settings, metric, restrictions), **found},
        streams=(reference.info(), query.info()),
        path=path,
        time_maps=time_maps(path, [reference.name, query.name]),
        cost=warps[0].cost,
        confidence=verdict,
        warnings=(*stream_warnings(streams), *warnings),
        matches=tuple(_match(w, reference) for w in warps) if settings.subsequence else None,
    )
    return alignment, warps[0]


def _find(
    streams: Sequence[Stream],
    settings: DtwSettings,
    restrictions: Restrictions,
    metric: str,
    keep_costs: bool,
    progress: runtime.Progress,
) -> list[Warp]:
    """Find the path, or several that share no reference frame; the first holds the table."""
    reference, query = streams
    r, penalty, subject = restrictions, settings.penalty, f"{reference.name}, {query.name}"
    warps = []
    if settings.top > 1:
        warps = find_matches(
            reference.values, query.values, settings.top, metric=metric, step=r.pattern,
            window=r.window, penalty=penalty, threads=runtime.threads(), subject=subject,
            progress=progress,
        )  # fmt: skip
        if not keep_costs:
            return warps
    whole = dtw(
        reference.values, query.values, metric=metric, step=r.pattern, window=r.window,
        penalty=penalty, ends=r.ends, anchors=r.anchors, keep_accumulated=keep_costs,
        threads=runtime.threads(), subject=subject, progress=progress,
    )  # fmt: skip
    return [replace(warps[0], accumulated=whole.accumulated), *warps[1:]] if warps else [whole]


def _search(
    streams: Sequence[Stream],
    settings: DtwSettings,
    request: Request,
    metric: str,
    max_memory: int | None,
    progress: runtime.Progress,
) -> tuple[Warp, Window, multiscale.Search]:
    """Find a path in a band round a coarse one, and say how."""
    reference, query = streams
    subject = f"{reference.name}, {query.name}"

    def require(band: Window) -> None:
        need = bytes_of(request, band.n_cells)
        runtime.require_memory(need, max_memory, subject, _way_out(request))

    question = multiscale.Question(
        metric, request.pattern, settings.penalty, request.ends, runtime.threads(), subject
    )
    return multiscale.approximate(
        reference.values, query.values, question, radius=request.radius, require=require,
        progress=progress,
    )  # fmt: skip


def _match(warp: Warp, reference: Stream) -> Match:
    first, last = int(warp.frames[0, 0]), int(warp.frames[-1, 0])
    start_s, end_s = float(reference.times[first]), float(reference.times[last])
    return Match(first, last, start_s, end_s, warp.cost)


def _way_out(request: Request) -> str:
    """Say what would need less memory."""
    fewer = "fewer frames (hop=, start=, end=)"
    if request.keep_costs:
        return f"leave out --cost: it holds whole matrices; or {fewer}"
    if request.approximate:
        return f"use a smaller --radius, or {fewer}"
    return f"use --window slanted --radius 10%, --approximate, or {fewer}"


def _how_approximate(search: multiscale.Search, chosen: Plan) -> tuple[str, ...]:
    """Say that the answer is approximate, and by how much its band was touched."""
    if search.cell_share == 1:
        return ()
    band = (
        f"{search.cell_share:.2%} of the cells, {search.radius_frames} frames round a coarse path"
    )
    touch = f"{search.border_share:.2%} of the steps touch its border"
    exact = f"the exact search takes about {format_seconds(chosen.exact_seconds)}: --exact"
    return (f"approximate: the best path in a band ({band}; {touch}); {exact}",)


def format_seconds(seconds: float) -> str:
    """Return a duration for people: ``0.2 s``, ``4 min``, ``3 h``."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def _require_comparable(reference: Stream, query: Stream, metric: str) -> None:
    if reference.n_dims != query.n_dims and METRICS[metric].table is None:
        what = f"{reference.n_dims} vs {query.n_dims} dimensions ({reference.name}, {query.name})"
        raise InputError(
            query.source, what, "use mmalign ctw, --metric selfsim, or the same features= for both"
        )


def _metric(reference: Stream, query: Stream, settings: DtwSettings) -> tuple[str, tuple[str, ...]]:
    """Return the metric to use, the feature's own by default, and warnings."""
    if settings.metric is not None:
        metric_named(settings.metric)
        return settings.metric, ()
    metric = metric_of(reference)
    if reference.features == query.features:
        return metric, ()
    what = f"{reference.name} is {reference.features}, {query.name} is {query.features}"
    return metric, (f"the streams hold different features: {what}; metric {metric}",)


def parameters_of(
    settings: DtwSettings, metric: str, restrictions: Restrictions
) -> Mapping[str, Any]:
    """Return the parameters that took part, for the document."""
    parameters: dict[str, Any] = {
        "metric": metric,
        "step": settings.step,
        "window": settings.window,
        "penalty": settings.penalty,
    }
    if is_step_file(settings.step):
        parameters["step_definition"] = definition(restrictions.pattern)
    if settings.radius is not None:
        parameters["radius"] = settings.radius
    if settings.window == "itakura":
        parameters["max_slope"] = settings.max_slope
    flags = ("open_begin", "open_end", "subsequence")
    parameters |= {name: True for name in flags if getattr(settings, name)}
    if settings.subsequence:
        parameters["top"] = settings.top
    if settings.anchors is not None:
        parameters["anchors"] = settings.anchors
        parameters["anchor_frames"] = restrictions.anchors.tolist()
    return parameters


def costs_of(streams: Sequence[Stream], warp: Warp, metric: str) -> Costs:
    """Return the cost matrices of a DTW alignment whose accumulated table was kept."""
    from mmalign_cli.align.dtw import local_costs

    if warp.accumulated is None:
        raise ValueError("the accumulated table was not kept")
    local = local_costs(streams[0].values, streams[1].values, metric)
    aligned = local[np.ix_(warp.frames[:, 0], warp.frames[:, 1])]
    return Costs(local, warp.accumulated, aligned)


def describe(loaded: Loaded) -> dict[str, Any]:
    """Return what there is to know about a stream before it is aligned."""
    stream = loaded.stream
    gaps = np.diff(stream.times)
    expected = plan_of([stream, stream], DtwSettings(), False)
    return {
        "name": stream.name,
        "source": stream.source,
        "sha256": stream.sha256,
        "kind": stream.kind,
        "notes": list(stream.notes),
        "features": stream.features,
        "metric": metric_of(stream),
        "frames": stream.n_frames,
        "dims": stream.n_dims,
        "columns": list(stream.columns),
        "rate": None if stream.rate is None else float(stream.rate),
        "start": float(stream.times[0]),
        "end": float(stream.times[-1]),
        "longest_gap": float(gaps.max()) if len(gaps) else 0.0,
        "smallest": float(stream.values.min()),
        "largest": float(stream.values.max()),
        "dtw_road": expected.road,
        "dtw_cells": expected.cells,
        "dtw_bytes": expected.bytes,
        "dtw_seconds": expected.seconds,
    }
