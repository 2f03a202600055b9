"""From arguments to streams, and what all aligners do with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.features.compute import compute, decode_rate
from mmalign_cli.model import Alignment, Stream, WarpingPath
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import StreamSpec, unique_names

_UNLIKE_DURATIONS = 50


@dataclass(frozen=True, eq=False)
class Loaded:
    """A stream as read and as aligned.

    Parameters
    ----------
    raw : Stream or None
        The content before any feature; None for audio, whose samples are not kept.
    stream : Stream
        The feature frames.
    """

    raw: Stream | None
    stream: Stream

    @property
    def original(self) -> Stream:
        """The content as read; for audio its feature frames."""
        return self.raw or self.stream


def load_streams(
    specs: Sequence[StreamSpec], progress: runtime.Progress = runtime.silent
) -> list[Loaded]:
    """Read the streams and compute their features.

    Parameters
    ----------
    specs : sequence of StreamSpec
        The first is the reference.
    progress : Progress
        Told the streams done.

    Raises
    ------
    MmalignError
        If a stream is rejected.
    """
    loaded = []
    if sum(spec.path == "-" for spec in specs) > 1:
        raise UsageError("-", "standard input can be one stream only")
    for done, (spec, name) in enumerate(zip(specs, unique_names(specs), strict=True)):
        progress("reading", done, len(specs))
        loaded.append(load_stream(spec, name))
    progress("reading", len(specs), len(specs))
    return loaded


def load_stream(spec: StreamSpec, name: str) -> Loaded:
    """Read one stream and compute its feature."""
    runtime.prepare_kernels()  # before librosa, which brings numba in
    options = spec.options()
    raw = load(spec, name, decode_rate(options))
    stream = compute(raw, options)
    return Loaded(None if raw.kind == "audio" else raw, stream)


def reload_streams(alignment: Alignment, document: str) -> list[Stream]:
    """Read the streams of a document again, and make sure that they are the same.

    Parameters
    ----------
    alignment : Alignment
        The document's content.
    document : str
        Its file; relative names of streams are looked up in the working folder, then beside it.

    Raises
    ------
    InputError
        If a stream is missing or has changed.
    """
    streams = []
    for info in alignment.streams:
        if info.source == "-":
            raise InputError(document, f"{info.name} came from standard input: it is gone")
        beside = os.path.join(os.path.dirname(document), info.source)
        path = info.source if os.path.exists(info.source) else beside
        stream = load_stream(StreamSpec(path, info.options), info.name).stream
        if stream.sha256 != info.sha256 or stream.n_frames != info.frames:
            raise InputError(path, f"has changed since {document} was made")
        streams.append(stream)
    return streams


def path_of(frames: np.ndarray[Any, Any], streams: Sequence[Stream]) -> WarpingPath:
    """Return a path of integer frames with the times of its frames."""
    times = np.empty(frames.shape)
    for k, stream in enumerate(streams):
        times[:, k] = stream.times[frames[:, k]]
    return WarpingPath(frames, times)


def stream_warnings(streams: Sequence[Stream]) -> tuple[str, ...]:
    """Return what was noticed of each stream, and of them together."""
    warnings = [w for s in streams for w in s.warnings]
    if (
        len({s.sha256 for s in streams}) < len(streams)
        and len({(s.kind, s.options.get("key"), s.options.get("track")) for s in streams}) < 2
    ):
        warnings.append("both streams are the same file")
    spans = [max(s.end_s - s.start_s, s.period_s) for s in streams]
    if max(spans) > _UNLIKE_DURATIONS * min(spans):
        long, short = (streams[int(f(spans))] for f in (np.argmax, np.argmin))
        ratio = max(spans) / min(spans)
        warnings.append(
            f"{long.name} lasts {ratio:.0f} times as long as {short.name}: are both in seconds?"
        )
    return tuple(warnings)
