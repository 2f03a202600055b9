"""What ``mmalign sync`` does where it is not two sounds of one event: activities, and warps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.activity import GRID_S, Shift, best_shift
from mmalign_cli.errors import AlignmentError, InputError
from mmalign_cli.evidence.confidence import reversed_null, shuffled_null
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT, EFFORTS
from mmalign_cli.evidence.relation import activity_relation
from mmalign_cli.features.compute import compute
from mmalign_cli.model import Alignment, Cost, FloatArray, Stream, TimeMap
from mmalign_cli.pipeline.dtw import align_dtw
from mmalign_cli.pipeline.restrictions import DtwSettings
from mmalign_cli.pipeline.streams import load_stream, stream_warnings
from mmalign_cli.streams.spec import STDIN, StreamSpec


@dataclass(frozen=True)
class SyncSettings:
    """What `mmalign sync` was told.

    Parameters
    ----------
    model : str or None
        One of `mmalign_cli.align.choices.SYNC_MODELS`; None decides.
    max_offset : float or None
        Seconds.
    """

    model: str | None = None
    max_offset: float | None = None


def sync_activity(
    streams: Sequence[Stream], specs: Sequence[StreamSpec], settings: SyncSettings
) -> Alignment:
    """Find the offset of two streams that share no quantity by when something goes on in them.

    Raises
    ------
    InputError
        If a stream is rejected, or something else than an offset is asked for.
    AlignmentError
        If nothing ever happens in one of them, or they cannot overlap.
    """
    reference, other = (_featured(s, spec) for s, spec in zip(streams, specs, strict=True))
    if settings.model not in (None, "offset"):
        what = f"an offset is all that can be found here, no {settings.model}"
        raise InputError(other.source, what, "for warps: mmalign dtw, mmalign ctw")
    shift = best_shift((reference, other), settings.max_offset)
    if shift is None:
        what = f"nothing to compare with {reference.name}: nothing happens, or no overlap"
        raise AlignmentError(other.source, what)

    def beside(frames: FloatArray) -> Shift | None:
        return best_shift((reference, replace(other, values=frames)), settings.max_offset)

    values = np.asarray(other.values, dtype=np.float64)
    backward = beside(reversed_null(values))
    shuffled = [beside(shuffled_null(values, k)) for k in range(EFFORTS[DEFAULT_EFFORT].shuffles)]
    ends = np.array([other.start_s, max(other.end_s, other.start_s + GRID_S)])
    knots = np.column_stack([ends, ends + shift.offset_s])
    return Alignment(
        method="sync",
        parameters={
            "model": settings.model or "auto",
            "max_offset": settings.max_offset,
            "found": "offset",
            "offset": shift.offset_s,
            "offset_error": shift.error_s,
            "drift_ppm": 0.0,
            "drift_error_ppm": 0.0,
            "breaks": [],
        },
        streams=(reference.info(), other.info()),
        path=None,
        time_maps=(TimeMap(other.name, reference.name, knots),),
        cost=Cost(1 - shift.correlation, 1 - shift.correlation),
        confidence=activity_relation(shift, backward, shuffled),
        warnings=stream_warnings((reference, other)),
    )


def _featured(stream: Stream, spec: StreamSpec) -> Stream:
    """Return a stream with the features that its activity is read off."""
    if stream.kind == "audio":
        return _again(spec, stream.name)
    given = dict(spec.given)
    if stream.kind == "images":
        given.setdefault("features", "motion")
    return compute(stream, StreamSpec(spec.path, given).options())


def _again(spec: StreamSpec, name: str) -> Stream:
    """Read a sound again, for its features."""
    if spec.path == STDIN:
        raise InputError(STDIN, "has to be read twice for this", "write it to a file first")
    return load_stream(spec, name).stream


def sync_warp(
    specs: Sequence[StreamSpec],
    names: Sequence[str],
    settings: SyncSettings,
    max_memory: int | None,
    progress: runtime.Progress,
) -> Alignment:
    """Align two sounds freely, by Dynamic Time Warping of their log-mel bands."""
    streams = [_again(spec, name) for spec, name in zip(specs, names, strict=True)]
    found, _ = align_dtw(streams, DtwSettings(), max_memory=max_memory, progress=progress)
    if found.confidence is None:
        raise AlignmentError(streams[1].source, "too short to tell a warp from chance")
    first = found.time_maps[0].knots[0]
    parameters = {
        **found.parameters,
        "model": settings.model or "auto",
        "max_offset": settings.max_offset,
        "found": "warp",
        "offset": float(first[1] - first[0]),
        "offset_error": None,
        "drift_ppm": None,
        "drift_error_ppm": None,
        "breaks": [],
    }
    return replace(found, method="sync", parameters=parameters, path=None)
