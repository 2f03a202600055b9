"""The stages of ``mmalign dtw``: streams to a verified alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import multiscale
from mmalign_cli.align.dtw import Warp, dtw, smallest_radius
from mmalign_cli.align.metrics import metric_named
from mmalign_cli.align.plan import Plan, Request, bytes_of, plan
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.steps import step_pattern
from mmalign_cli.align.time_maps import time_maps
from mmalign_cli.align.windows import (
    BANDS,
    Radius,
    Window,
    everything,
    from_mask,
    itakura,
    parse_radius,
)
from mmalign_cli.errors import AlignmentError, InputError, UsageError
from mmalign_cli.evidence.verify import verify_warp
from mmalign_cli.features.compute import metric_of
from mmalign_cli.model import Alignment, Float64Array, Stream
from mmalign_cli.pipeline.streams import Loaded, path_of, stream_warnings
from mmalign_cli.streams.mask import load_mask


@dataclass(frozen=True)
class DtwSettings:
    """The options of ``mmalign dtw``; None where the default depends on the streams."""

    metric: str | None = None
    step: str = "symmetric1"
    window: str = "none"
    radius: str | None = None
    max_slope: float = 2.0
    penalty: float = 0.0
    open_begin: bool = False
    open_end: bool = False
    approximate: bool | None = None

    @property
    def ends(self) -> Ends:
        """The boundary conditions."""
        return Ends(self.open_begin, self.open_end)


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
    streams: Sequence[Stream], settings: DtwSettings, window: Window, with_costs: bool
) -> Request:
    """Return what the planner of `mmalign_cli.align.plan` wants to know."""
    radius = multiscale.USUAL_RADIUS
    if settings.approximate and settings.radius is not None:
        radius = _radius_frames(streams, parse_radius(settings.radius))
    return Request(
        streams[0].n_frames, streams[1].n_frames, streams[0].n_dims, settings.step, window,
        settings.penalty, settings.ends, with_costs, settings.approximate, radius,
        runtime.threads(), sum(s.values.nbytes + 8 * s.n_frames for s in streams),
    )  # fmt: skip


def window_of(streams: Sequence[Stream], settings: DtwSettings) -> Window:
    """Build the warping window of two streams.

    Raises
    ------
    UsageError
        If options do not fit together.
    """
    n, m = streams[0].n_frames, streams[1].n_frames
    if settings.window in BANDS:
        if settings.radius is None:
            hint = f"for example --window {settings.window} --radius 10%"
            raise UsageError("--radius", f"--window {settings.window} needs a radius", hint)
        return BANDS[settings.window](n, m, _radius_frames(streams, parse_radius(settings.radius)))
    if settings.radius is not None and not settings.approximate:
        raise UsageError("--radius", f"means nothing with --window {settings.window}")
    if settings.window == "itakura":
        return itakura(n, m, settings.max_slope)
    if settings.window == "none":
        return everything(n, m)
    return from_mask(load_mask(settings.window), n, m, settings.window)


def _radius_frames(streams: Sequence[Stream], radius: Radius) -> int:
    n, m = streams[0].n_frames, streams[1].n_frames
    return radius.frames(n, m, streams[0].period_s)


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
    _require_comparable(reference, query)
    metric, warnings = _metric(reference, query, settings)
    pattern = step_pattern(settings.step)
    window = window_of(streams, settings)
    request = request_of(streams, settings, window, keep_costs)
    chosen = plan(request)
    runtime.require_memory(chosen.bytes, max_memory, subject, _way_out(request))
    question = multiscale.Question(
        metric, settings.step, settings.penalty, settings.ends, runtime.threads(), subject
    )
    found: dict[str, Any] = {}
    try:
        if chosen.is_exact:
            warp = dtw(
                reference.values,
                query.values,
                **vars(question),
                window=window,
                keep_accumulated=keep_costs,
                progress=progress,
            )
        else:

            def require(band: Window) -> None:
                need = bytes_of(request, band.n_cells)
                runtime.require_memory(need, max_memory, subject, _way_out(request))

            warp, window, search = multiscale.approximate(
                reference.values,
                query.values,
                question,
                radius=request.radius,
                require=require,
                progress=progress,
            )
            found = {"approximate": True, "approximation": vars(search)}
            warnings += _how_approximate(search, chosen)
    except AlignmentError as error:
        raise _why_infeasible(error, reference.n_frames, query.n_frames, settings) from None
    verify_warp(warp, pattern, window, settings.ends, reference.n_frames, query.n_frames)
    path = path_of(warp.frames, streams)
    alignment = Alignment(
        method="dtw",
        parameters={**_parameters(settings, metric), **found},
        streams=(reference.info(), query.info()),
        path=path,
        time_maps=time_maps(path, [reference.name, query.name]),
        cost=warp.cost,
        warnings=(*stream_warnings(streams), *warnings),
    )
    return alignment, warp


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


def _require_comparable(reference: Stream, query: Stream) -> None:
    if reference.n_dims != query.n_dims:
        what = f"{reference.n_dims} vs {query.n_dims} dimensions ({reference.name}, {query.name})"
        raise InputError(query.source, what, "use ctw, gtw or dctw, or the same features= for both")


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


def _parameters(settings: DtwSettings, metric: str) -> Mapping[str, Any]:
    """Return the parameters that took part, for the document."""
    parameters: dict[str, Any] = {
        "metric": metric,
        "step": settings.step,
        "window": settings.window,
        "penalty": settings.penalty,
    }
    if settings.radius is not None:
        parameters["radius"] = settings.radius
    if settings.window == "itakura":
        parameters["max_slope"] = settings.max_slope
    parameters |= {name: True for name in ("open_begin", "open_end") if getattr(settings, name)}
    return parameters


def settings_of(parameters: Mapping[str, Any]) -> DtwSettings:
    """Return the settings that a document's parameters stand for."""
    known = {k: v for k, v in parameters.items() if k in DtwSettings.__dataclass_fields__}
    return replace(DtwSettings(), **known)


def _why_infeasible(error: AlignmentError, n: int, m: int, settings: DtwSettings) -> AlignmentError:
    """Say why no path exists, and what would do."""
    if settings.window in BANDS:
        least = smallest_radius(settings.window, n, m, settings.step, settings.ends)
        if least is not None:
            what = f"no path inside {settings.window} radius {settings.radius}"
            return AlignmentError(
                error.subject, f"{what}; the smallest that holds one is {least} frames"
            )
    what = f"no path of {settings.step} from {m} query frames to {n} reference frames"
    if settings.window != "none":
        what += f" inside window {settings.window}"
    return AlignmentError(error.subject, what, "use --step symmetric1, or a wider window")


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
    every = everything(stream.n_frames, stream.n_frames)
    expected = plan(request_of([stream, stream], DtwSettings(), every, False))
    return {
        "name": stream.name,
        "source": stream.source,
        "sha256": stream.sha256,
        "kind": stream.kind,
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
