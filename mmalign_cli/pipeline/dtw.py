"""The stages of ``mmalign dtw``: streams to a verified alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.dtw import Warp, bytes_needed, dtw, smallest_radius
from mmalign_cli.align.metrics import METRICS, metric_named
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

    @property
    def ends(self) -> Ends:
        """The boundary conditions."""
        return Ends(self.open_begin, self.open_end)


@dataclass(frozen=True)
class Plan:
    """What an alignment will take, from shapes alone."""

    frames: tuple[int, int]
    dims: int
    cells: int
    bytes: int


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


def plan_dtw(
    streams: Sequence[Stream], settings: DtwSettings, window: Window, with_costs: bool
) -> Plan:
    """Return what DTW of two streams will take."""
    n, m, d = streams[0].n_frames, streams[1].n_frames, streams[0].n_dims
    tabled = settings.metric is not None and metric_named(settings.metric).table is not None
    need = bytes_needed(
        n, m, d, step=settings.step, window=window, penalty=settings.penalty, ends=settings.ends,
        keep_accumulated=with_costs or tabled,
    )  # fmt: skip
    extra = 8 * (n + m) ** 2 if with_costs else 0
    return Plan((n, m), d, window.n_cells, need + extra)


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
    if settings.radius is not None:
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
    metric, warnings = _metric(reference, query, settings)
    if METRICS[metric].table is None:
        _require_comparable(reference, query)
    pattern = step_pattern(settings.step)
    window = window_of(streams, settings)
    plan = plan_dtw(streams, settings, window, keep_costs)
    hint = "use --window slanted --radius 10%, or fewer frames (hop=, start=, end=)"
    runtime.require_memory(plan.bytes, max_memory, subject, hint)
    try:
        warp = dtw(
            reference.values,
            query.values,
            metric=metric,
            step=settings.step,
            window=window,
            penalty=settings.penalty,
            ends=settings.ends,
            keep_accumulated=keep_costs,
            threads=runtime.threads(),
            subject=subject,
            progress=progress,
        )
    except AlignmentError as error:
        raise _why_infeasible(error, reference.n_frames, query.n_frames, settings) from None
    verify_warp(warp, pattern, window, settings.ends, reference.n_frames, query.n_frames)
    path = path_of(warp.frames, streams)
    alignment = Alignment(
        method="dtw",
        parameters=_parameters(settings, metric),
        streams=(reference.info(), query.info()),
        path=path,
        time_maps=time_maps(path, [reference.name, query.name]),
        cost=warp.cost,
        warnings=(*stream_warnings(streams), *warnings),
    )
    return alignment, warp


def _require_comparable(reference: Stream, query: Stream) -> None:
    if reference.n_dims != query.n_dims:
        what = f"{reference.n_dims} vs {query.n_dims} dimensions ({reference.name}, {query.name})"
        raise InputError(
            query.source, what, "use ctw, --metric selfsim, or the same features= for both"
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
    plan = plan_dtw([stream, stream], DtwSettings(), every, False)
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
        "dtw_cells": plan.cells,
        "dtw_bytes": plan.bytes,
    }
