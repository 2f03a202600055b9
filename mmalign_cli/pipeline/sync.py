"""The stages of ``mmalign sync``: two recordings to a time map, a verdict and a fixed file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import offsets
from mmalign_cli.align.choices import SYNC_MODELS
from mmalign_cli.align.correlate import COARSE_RATE, RATE
from mmalign_cli.align.lines import STEEPEST, TOLERANCE_S, standard_errors
from mmalign_cli.align.offsets import Found
from mmalign_cli.errors import AlignmentError, InputError, MmalignError, UsageError
from mmalign_cli.evidence.relation import (
    NOTHING,
    Agreement,
    doubt_of_sync,
    is_refused,
    relation,
)
from mmalign_cli.model import Alignment, Cost, Float64Array, Stream, TimeMap
from mmalign_cli.pipeline.streams import stream_warnings
from mmalign_cli.pipeline.sync_other import SyncSettings, sync_activity, sync_warp
from mmalign_cli.streams.load import load
from mmalign_cli.streams.registry import is_container
from mmalign_cli.streams.sound import open_sound
from mmalign_cli.streams.spec import STDIN, StreamSpec, unique_names
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.media import write_retimed
from mmalign_cli.write.sound import is_sound_ending, write_resynced

JUMP_S = 1e-4
"""How long a jump takes on the clock that hardly moves: a map must increase."""
_NULL_S = 60.0
_Z90 = 1.645  # standard errors within which a normal variable lies in 90 %
_PEAK_ERROR_S = 0.1 / RATE  # echoes shift every peak alike: no residual shows it
_SHORTEST_S = 0.25
_LONGEST_WARP_S = 600.0


def sync_streams(
    specs: Sequence[StreamSpec],
    settings: SyncSettings,
    *,
    max_memory: int | None = None,
    progress: runtime.Progress = runtime.silent,
) -> Alignment:
    """Find how the clock of a recording maps to the reference's, and whether they are related.

    Parameters
    ----------
    specs : sequence of two StreamSpec
        Reference and recording.
    settings : SyncSettings
        Model and limits.
    max_memory : int or None
        Bytes; None takes what the machine has free.
    progress : Progress
        Told what is done.

    Returns
    -------
    Alignment
        Its ``confidence["supported"]`` says whether to believe it.

    Raises
    ------
    InputError
        If a stream is rejected.
    AlignmentError
        If there is nothing to compare at all.
    """
    streams, names = [], unique_names(specs)
    if settings.model is not None and settings.model not in SYNC_MODELS:
        raise UsageError("--model", f"{settings.model!r} is none of {', '.join(SYNC_MODELS)}")
    for k, (spec, name) in enumerate(zip(specs, names, strict=True)):
        progress("reading", k, len(specs))
        streams.append(load(spec, name, Fraction(RATE)))
    progress("reading", len(specs), len(specs))
    if not all(_is_sound(stream) for stream in streams):
        return sync_activity(streams, specs, settings)
    if settings.model == "warp":
        return sync_warp(specs, names, settings, max_memory, progress)
    alignment = sync_sound(streams[0], streams[1], settings, max_memory, progress)
    confidence = alignment.confidence or {}
    if confidence["supported"] or settings.model is not None or not _may_warp(streams):
        return alignment
    try:
        warp = sync_warp(specs, names, settings, max_memory, progress)
    except MmalignError:  # too short for features, no memory: the lines' verdict stands
        return alignment
    return warp if (warp.confidence or {})["supported"] else alignment


def _is_sound(stream: Stream) -> bool:
    """Tell whether a stream is sound, and no feature of it was asked for."""
    return stream.kind == "audio" and stream.options.get("features", "raw") == "raw"


def _may_warp(streams: Sequence[Stream]) -> bool:
    """Tell whether a warp may be looked for unasked: it takes the product of the lengths."""
    return all(stream.n_frames <= _LONGEST_WARP_S * RATE for stream in streams)


def sync_sound(
    reference: Stream,
    recording: Stream,
    settings: SyncSettings,
    max_memory: int | None,
    progress: runtime.Progress,
) -> Alignment:
    """Synchronise two recordings of sound at 8 kHz by cross-correlation in windows."""
    _require_room(reference, recording, max_memory)
    shift = reference.start_s - recording.start_s
    limit = None if settings.max_offset is None else settings.max_offset + abs(shift)
    sounds = [stream.values[:, 0] for stream in (reference, recording)]
    found = offsets.search(
        sounds[0], sounds[1], model=settings.model, max_offset_s=limit, progress=progress
    )
    if found is None:
        what = "nothing to compare: silent, or too short together"
        raise AlignmentError(recording.source, what)
    confidence = _verdict(sounds[0], sounds[1], found, progress)
    time_map = TimeMap(recording.name, reference.name, knots_of(found, reference, recording))
    residual = np.abs(_residuals(found))[found.lines.agrees]
    return Alignment(
        method="sync",
        parameters=_parameters(found, settings, time_map, recording),
        streams=(reference.info(), recording.info()),
        path=None,
        time_maps=(time_map,),
        cost=Cost(float(residual.sum()), float(residual.mean()) if len(residual) else 0.0),
        confidence=confidence,
        warnings=stream_warnings((reference, recording)),
    )


def _require_room(reference: Stream, recording: Stream, max_memory: int | None) -> None:
    """Refuse recordings whose correlation does not fit in memory."""
    for stream in (reference, recording):
        if stream.n_frames < _SHORTEST_S * RATE:
            what = f"lasts {stream.n_frames / RATE:.3g} s, it takes at least {_SHORTEST_S} s"
            raise InputError(stream.source, what)
    longest = max(reference.n_frames, recording.n_frames) * COARSE_RATE // RATE
    both = (reference.n_frames + recording.n_frames) * 4
    subject = f"{reference.name}, {recording.name}"
    runtime.require_memory(both * 3 // 2 + longest * 24, max_memory, subject, "cut: start=, end=")


def _verdict(
    reference: np.ndarray[Any, Any],
    recording: np.ndarray[Any, Any],
    found: Found,
    progress: runtime.Progress,
) -> Mapping[str, Any]:
    """Judge what was found beside what the same search finds for a minute of it reversed."""
    middle = found.windows.middle_s[len(found.windows) // 2]
    centres = [middle + float(np.median(found.windows.offset_s)), middle]
    parts = [
        sound[max(round((at - _NULL_S / 2) * RATE), 0) : round((at + _NULL_S / 2) * RATE)]
        for sound, at in zip((reference, recording), centres, strict=True)
    ]
    null = offsets.search(parts[0], np.ascontiguousarray(parts[1][::-1]), progress=progress)
    return relation(_agreement(found), NOTHING if null is None else _agreement(null))


def _agreement(found: Found) -> Agreement:
    lines, windows = found.lines, found.windows
    free = 2 * len(lines.intercepts) - 1 + int(lines.stretch != 0)
    return Agreement(lines.share, len(windows), windows.independent, free)


def _residuals(found: Found) -> Float64Array:
    windows, lines = found.windows, found.lines
    return windows.offset_s - lines.offsets(windows.middle_s, lines.piece)


def knots_of(found: Found, reference: Stream, recording: Stream) -> Float64Array:
    """Return the knots (n, 2) of the map of the recording's clock to the reference's.

    Two for a line, at the recording's ends; two more at each break. Where the recording lacks
    something its clock jumps, where it holds more the reference's clock (nearly) stands still.
    """
    lines, end = found.lines, recording.n_frames / RATE
    rows = [(0.0, 0)]
    for k, cut in enumerate(found.breaks):
        only_here = max(-cut.jump_s, 0.0) / (1 + lines.stretch)
        rows += [(cut.recording_s, k), (cut.recording_s + only_here + JUMP_S, k + 1)]
    rows.append((max(end, rows[-1][0] + JUMP_S), len(found.breaks)))
    at = np.array([t for t, _ in rows])
    piece = np.array([j for _, j in rows])
    there = at + lines.offsets(at, piece)
    return np.column_stack([at + recording.start_s, there + reference.start_s])


def _parameters(
    found: Found, settings: SyncSettings, time_map: TimeMap, recording: Stream
) -> dict[str, Any]:
    """Return what was asked and what was found, for the document."""
    lines, windows = found.lines, found.windows
    offset_error, stretch_error = standard_errors(windows, lines, -recording.start_s)
    stretch = lines.stretch
    first = time_map.knots[0]
    at_zero = float(first[1] - first[0] * (1 + stretch))
    return {
        "model": settings.model or "auto",
        "max_offset": settings.max_offset,
        "found": lines.model,
        "offset": at_zero,
        "offset_error": _Z90 * float(np.hypot(offset_error, _PEAK_ERROR_S)),
        "drift_ppm": 1e6 * (1 / (1 + stretch) - 1),
        "drift_error_ppm": _Z90 * 1e6 * stretch_error,
        "breaks": [
            {"at": cut.recording_s + recording.start_s, "jump": cut.jump_s} for cut in found.breaks
        ],
        "tolerance": TOLERANCE_S,
        "steepest": STEEPEST,
    }


def require_related(alignment: Alignment, subject: str, hint: str | None = None) -> None:
    """Refuse to act on recordings without evidence of one event.

    Raises
    ------
    AlignmentError
        About `subject`, with the evidence that there is.
    """
    confidence = alignment.confidence or {}
    why = doubt_of_sync(confidence)
    if why is not None and is_refused(confidence):
        raise AlignmentError(subject, why, hint)


def greatest_error(alignment: Alignment) -> float:
    """Return by how many seconds the clocks differ where they differ most, over the recording."""
    info, time_map = alignment.streams[1], alignment.time_maps[0]
    inside = time_map.knots[:, 0]
    at = np.concatenate([[info.start_s, info.end_s], inside[inside <= info.end_s]])
    return float(np.abs(time_map(at) - at).max())


def reference_length_s(alignment: Alignment, spec: StreamSpec) -> float:
    """Return how long the reference's file lasts, to the sample where it is a sound."""
    info = alignment.reference
    if info.kind != "audio" or spec.path == STDIN or is_container(spec.path):
        return info.end_s + (0.0 if info.rate is None else 1 / info.rate)
    with open_sound(spec.path, allow_truncated=spec.options().allow_truncated) as sound:
        return sound.n_samples / sound.rate


def write_fixed(
    outputs: Outputs,
    alignment: Alignment,
    specs: Sequence[StreamSpec],
    output: str,
    *,
    pad: bool,
    trim: bool,
    progress: runtime.Progress,
) -> tuple[str, ...]:
    """Write the recording on the reference's clock; return warnings.

    A sound is as long as the reference. Of a container that stays one the pictures are shown at
    their new times, all of them.

    Parameters
    ----------
    outputs : Outputs
        Of which it is to be one.
    alignment : Alignment
        From `sync_streams` for `specs`.
    specs : sequence of two StreamSpec
        Reference and recording.
    output : str
        A sound file, or a container of a container.
    pad, trim : bool
        One alone: only add silence, or only cut off, at the end. Neither or both: the length is
        the reference's, in samples at the recording's rate.
    progress : Progress
        Told of each block.

    Raises
    ------
    InputError
        If the recording is no sound.
    """
    recording, time_map = specs[1], alignment.time_maps[0]
    if is_container(recording.path) and not is_sound_ending(output):
        return write_retimed(
            recording.path, output, time_map, keep_pitch=True, force=outputs.force,
            progress=progress,
        ).warnings  # fmt: skip
    if alignment.streams[1].kind != "audio":
        what = "is no sound: -o writes sounds"
        raise InputError(recording.path, what, "write --alignment, and use mmalign apply")
    truncated = recording.options().allow_truncated
    with open_sound(recording.path, allow_truncated=truncated) as sound:
        length = round(reference_length_s(alignment, specs[0]) * sound.rate)
        ends = round(float(time_map(sound.n_samples / sound.rate)) * sound.rate)
    if pad != trim:
        length = max(length, ends) if pad else min(length, ends)
    done = write_resynced(
        outputs, recording.path, output, time_map, length, keep_pitch=True,
        progress=progress, allow_truncated=truncated,
    )  # fmt: skip
    if done.n_clipped:
        return (f"{output}: {done.n_clipped} values beyond full scale were cut off",)
    return ()
