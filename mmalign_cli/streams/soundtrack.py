"""The sound of a container: one channel or the mean of all, on the container's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import FloatArray
from mmalign_cli.streams.audio import SLACK, collect, limited, mixed, require_finite
from mmalign_cli.streams.container import Media
from mmalign_cli.streams.content import Content

_BLOCK_FRAMES = 1 << 16
_GAP_S = Fraction(1, 10)  # times may jitter, and be rounded to a millisecond, by less than that
LONGEST_GAP_S = 600
"""Of a track of sound: beyond that its clock is damaged."""
_FULL_SCALE = {"u1": 2**7, "i2": 2**15, "i4": 2**31}


@dataclass(frozen=True)
class Track:
    """What the first frame of a track tells of all.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_channels : int
    start : Fraction
        The time of its first sample in seconds.
    """

    rate: int
    n_channels: int
    start: Fraction

    def index(self, seconds: float) -> Fraction:
        """Return the sample at a time, which may lie between two."""
        return (Fraction(seconds) - self.start) * self.rate


def read_soundtrack(media: Media, decode_rate: Fraction | None) -> Content:
    """Decode one channel, or the mean of all, of a track of sound.

    Parameters
    ----------
    media : Media
        The open container; its options choose track, channel, start and end.
    decode_rate : Fraction or None
        Samples per second to resample to; None keeps the track's own.

    Returns
    -------
    Content
        Values float32 (n_samples,), rate in samples per second, ``start_s`` the time of the first
        sample. A gap in the track is silent.

    Raises
    ------
    InputError
        If the track is damaged, cut short, empty, or changes on the way.
    LimitError
        If it is longer than ``max-bytes=`` allows.
    """
    options, path = media.options, media.source.path
    frames = media.frames(media.track("audio"))
    first_frame = next(frames, None)
    if first_frame is None:
        raise InputError(path, "no audio frames")
    track = described(first_frame, media)
    if options.channel is not None and options.channel >= track.n_channels:
        what = f"no channel {options.channel}: it has {track.n_channels}, the first is 0"
        raise InputError(path, what)
    first = 0 if options.start is None else math.ceil(track.index(options.start) - SLACK)
    first = max(first, 0)
    last = None if options.end is None else math.floor(track.index(options.end) + SLACK) + 1
    rate = Fraction(track.rate)
    blocks = _cut(_mono(laid_out(first_frame, frames, track, media), track, media), first, last)
    most = int(options.max_bytes // 4 * rate / (decode_rate or rate))
    blocks = limited(most, _grouped(blocks), media.source, media.options)
    values, n_read = collect(blocks, 0, rate, decode_rate)
    if n_read == 0:
        what = f"nothing between start and end: its sound starts at {float(track.start):g} s"
        raise InputError(path, what)
    mixed = track.n_channels > 1 and options.channel is None
    notes = (f"mean of {track.n_channels} channels",) if mixed else ()
    start_s = float(track.start + first / rate)
    return Content(
        values, "audio", None, decode_rate or rate, start_s, (), notes, tuple(media.warnings)
    )


def described(frame: Any, media: Media) -> Track:
    """Return what the first frame of a track tells.

    Raises
    ------
    InputError
        If that is no sound.
    """
    rate, n_channels = frame.sample_rate, frame.layout.nb_channels
    if rate <= 0 or n_channels <= 0:
        raise InputError(media.source.path, f"{rate} Hz, {n_channels} channels: no sound is that")
    return Track(rate, n_channels, media.seconds(frame) or Fraction(0))


def laid_out(first: Any, others: Iterator[Any], track: Track, media: Media) -> Iterator[FloatArray]:
    """Yield the channels of frame after frame, float32 (n_channels, n), gaps as silence.

    Raises
    ------
    InputError
        If rate or channels change on the way, or the clock jumps.
    """
    done = 0
    for frame in _chain(first, others):
        if (frame.sample_rate, frame.layout.nb_channels) != (track.rate, track.n_channels):
            at = float(track.start) + done / track.rate
            raise InputError(media.source.path, f"rate or channels change at {at:.2f} s")
        silence = _gap(frame, done, track, media)
        yield from silent_blocks(track.n_channels, silence)
        channels = _channels(frame)
        done += silence + channels.shape[1]
        yield channels


def silent_blocks(n_channels: int, n_samples: int) -> Iterator[FloatArray]:
    """Yield silence, float32 (n_channels, n) a block."""
    for begin in range(0, n_samples, _BLOCK_FRAMES):
        yield np.zeros((n_channels, min(_BLOCK_FRAMES, n_samples - begin)), dtype=np.float32)


def _mono(blocks: Iterator[FloatArray], track: Track, media: Media) -> Iterator[FloatArray]:
    """Yield one channel, or the mean of all, float32 (n,) a block."""
    channel, done = media.options.channel, 0
    for block in blocks:
        mono = np.ascontiguousarray(mixed(block, axis=0) if channel is None else block[channel])
        require_finite(mono, done, track.rate, media.source)
        done += len(mono)
        yield mono


def _chain(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others


def _gap(frame: Any, done: int, track: Track, media: Media) -> int:
    """Return the samples that lack before a frame, by its time."""
    at = media.seconds(frame)
    expected = track.start + Fraction(done, track.rate)
    gap = Fraction(0) if at is None else at - expected
    if abs(gap) <= _GAP_S:
        return 0
    where = f"at {float(expected):.2f} s"
    if abs(gap) > LONGEST_GAP_S:
        what = f"the clock of its sound jumps by {float(gap):.6g} s {where}"
        raise InputError(media.source.path, what, "cut it there, or write it anew with ffmpeg")
    if gap < 0:
        what = f"its sound goes back by {-float(gap):.3g} s {where}: left as it is"
    else:
        what = f"its sound has a gap of {float(gap):.3g} s {where}: taken as silence"
    _warn_once(media, what)
    return max(round(gap * track.rate), 0)


def _warn_once(media: Media, what: str) -> None:
    """Warn of the first gap only: a track with one may have thousands."""
    if not any("its sound" in warning for warning in media.warnings):
        media.warnings.append(f"{media.source.path}: {what}")


def _channels(frame: Any) -> FloatArray:
    """Return the samples of a frame with full scale 1, float32 (n_channels, n)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    scale = _FULL_SCALE.get(samples.dtype.str[1:])
    if scale is not None:
        silent = scale if samples.dtype.kind == "u" else 0
        samples = (samples.astype(np.float64) - silent) / scale
    with np.errstate(over="ignore"):  # what is beyond float32 is refused as not finite
        return np.asarray(samples.astype(np.float32))


def _cut(blocks: Iterator[FloatArray], first: int, last: int | None) -> Iterator[FloatArray]:
    """Yield what lies between two samples, and read no further."""
    begin = 0
    for block in blocks:
        end = begin + len(block)
        kept = block[max(first - begin, 0) : None if last is None else max(last - begin, 0)]
        if len(kept):
            yield kept
        if last is not None and end >= last:
            return
        begin = end


def _grouped(blocks: Iterator[FloatArray]) -> Iterator[FloatArray]:
    """Join short blocks: frames of a thousand samples would cost more calls than work."""
    held: list[FloatArray] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += len(block)
        if n_held >= _BLOCK_FRAMES:
            yield np.concatenate(held)
            held, n_held = [], 0
    if held:
        yield np.concatenate(held)
