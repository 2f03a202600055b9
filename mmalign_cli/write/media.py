"""A container on another clock: its pictures at other times, untouched, its sound rendered anew."""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import numpy as np

from mmalign_cli.errors import InputError, OutputError, UsageError
from mmalign_cli.model import TimeMap
from mmalign_cli.runtime import Progress, prepare_kernels
from mmalign_cli.streams.container import Media, decoding_faults, end_of, open_media, reason
from mmalign_cli.streams.sound import Sound, open_sound
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES, Options
from mmalign_cli.write.atomic import Outputs, check_outputs
from mmalign_cli.write.pieces import is_warp
from mmalign_cli.write.render import rendered
from mmalign_cli.write.sound import require_near

_TICKS = 90_000  # a second, of packets in our hands


@dataclass(frozen=True)
class _Muxer:
    """A container that is written: FFmpeg's name of it, and its code of sound.

    `shows_from_zero`: it can hold pictures before second 0 that are decoded and not shown.
    """

    name: str
    sound: str
    shows_from_zero: bool = False


_MUXERS = {
    ".mp4": _Muxer("mp4", "aac", True),
    ".m4v": _Muxer("mp4", "aac", True),
    ".mov": _Muxer("mov", "aac", True),
    ".m4a": _Muxer("ipod", "aac", True),
    ".mkv": _Muxer("matroska", "flac"),  # whose frames begin where the sound does
    ".mka": _Muxer("matroska", "flac"),
    ".webm": _Muxer("webm", "libopus"),
}


@dataclass(frozen=True)
class Retimed:
    """What became of a container.

    Parameters
    ----------
    n_pictures : int
        Pictures that are shown at other times.
    n_samples : int
        Samples of each channel of its sound.
    warnings : tuple of str
        What was left out.
    """

    n_pictures: int
    n_samples: int
    warnings: tuple[str, ...]


def writes_container(path: str) -> bool:
    """Tell whether a file's name is that of a container that is written here."""
    return os.path.splitext(path)[1].lower() in _MUXERS


def require_container(path: str) -> None:
    """Refuse the name of an output that is no container of those that are written here.

    Raises
    ------
    UsageError
        Listing them.
    """
    if not writes_container(path):
        hint = f"containers: {', '.join(_MUXERS)}; its sound alone: .wav, .flac, .ogg"
        raise UsageError(path, "names no container that is written here", hint)


def write_retimed(
    source: str,
    output: str,
    time_map: TimeMap,
    *,
    keep_pitch: bool,
    force: bool,
    progress: Progress,
) -> Retimed:
    """Write a container on the clock that a time map leads to.

    The packets of the first track of pictures are copied as they are, and shown when the map says.
    The first track of sound is rendered as `write_resynced` renders a sound file, and encoded anew.

    Parameters
    ----------
    source, output : str
        Containers.
    time_map : TimeMap
        From the source's seconds to the other clock's.
    keep_pitch : bool
        Of sound whose speed changes.
    force : bool
        Whether an existing output may be replaced.
    progress : Progress
        Told of the sound.

    Raises
    ------
    InputError
        If the source is damaged, or does not tell when its pictures are shown.
    OutputError
        If the output exists, or cannot be written.
    UsageError
        If the output is no container that is written here.
    """
    require_container(output)
    check_outputs([output], [source], force)
    prepare_kernels()
    muxer = _MUXERS[os.path.splitext(output)[1].lower()]
    with ExitStack() as stack:
        media = stack.enter_context(open_media(open_source(source, DEFAULT_MAX_BYTES), Options()))
        work = _Work(media, output, time_map, muxer)
        sound = stack.enter_context(open_sound(source)) if media.tracks("audio") else None
        file = stack.enter_context(stack.enter_context(Outputs(force)).open(output))
        with _opened(file, muxer, output) as out:
            packets = work.pictures(out)
            if sound is not None:
                sounds = work.sound(out, sound, keep_pitch, progress)
                packets = heapq.merge(packets, sounds, key=lambda timed: timed[0])
            for _, packet in packets:
                with _told(output):
                    out.mux(packet)
            if work.ends_s <= 0:
                what = f"ends at {work.ends_s:g} s of {time_map.to}: nothing of it is left"
                raise InputError(source, what)
    warnings = [*work.warnings, *(sound.warnings if sound is not None else ())]
    return Retimed(work.n_pictures, work.n_samples, tuple(dict.fromkeys(warnings)))


@contextmanager
def _opened(file: IO[bytes], muxer: _Muxer, output: str) -> Iterator[Any]:
    import av

    options = {"avoid_negative_ts": "disabled"}
    with _told(output):
        out = av.open(file, "w", format=muxer.name, options=options)
    try:
        yield out
    except BaseException:
        raise  # half a container is thrown away: it need not be finished
    else:
        with _told(output):
            out.close()


@contextmanager
def _told(output: str) -> Iterator[None]:
    """Turn what the muxer says into an OutputError."""
    try:
        yield
    except decoding_faults() as error:
        raise OutputError(output, f"cannot be written: {reason(error)}") from None


class _Work:
    """The making of one container.

    Attributes
    ----------
    n_pictures, n_samples : int
        As of `Retimed`, so far.
    ends_s : float
        Where its pictures and its sound end on the other clock.
    warnings : list of str
        What was left out.
    """

    def __init__(self, media: Media, output: str, time_map: TimeMap, muxer: _Muxer) -> None:
        self._media, self._output, self._map, self._muxer = media, output, time_map, muxer
        self.n_pictures = self.n_samples = 0
        self.ends_s = -math.inf
        self.warnings: list[str] = media.warnings
        extra = [s for s in media.container.streams if s.type not in ("audio", "video")]
        extra += [*media.tracks("audio")[1:], *media.tracks("video")[1:]]
        if extra:
            kinds = ", ".join(sorted({str(s.type) for s in extra}))
            self._warn(f"{len(extra)} further tracks ({kinds}) left out")

    def _warn(self, what: str) -> None:
        self.warnings.append(f"{self._media.source.path}: {what}")

    def pictures(self, out: Any) -> Iterator[tuple[float, Any]]:
        """Yield the packets of the pictures with their new times, and when they are decoded."""
        tracks = self._media.tracks("video")
        if not tracks:
            return iter(())
        if self._media.has_decoding_times:
            path = self._media.source.path
            hint = f"ffmpeg -i {path} {os.path.splitext(path)[0]}.mkv does, then apply to that"
            raise InputError(path, "does not tell when its pictures are shown", hint)
        try:
            copy = out.add_stream_from_template(tracks[0])
        except decoding_faults():
            code = getattr(tracks[0].codec_context, "name", "that is not known here")
            what = f"{self._muxer.name} holds no pictures of code {code}"
            raise OutputError(self._output, what, "write .mkv, which holds most") from None
        copy.time_base = Fraction(1, _TICKS)
        return self._retimed(copy, self._shown(self._packets(tracks[0])))

    def _packets(self, track: Any) -> Iterator[Any]:
        reached = Fraction(0)
        for packet in self._media.container.demux():
            reached = max(reached, end_of(packet))
            if packet.stream is not track or packet.size == 0:
                continue  # of size 0 is what marks the end
            if packet.pts is None:
                path = self._media.source.path
                hint = "ffmpeg -fflags +genpts -i FILE -c copy new.mkv may find them"
                raise InputError(path, "a picture has no time", hint)
            yield packet
        self._media.require_length(reached)

    def _shown(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Leave out what is decoded for nothing: the pictures before those shown at second 0."""
        held: list[Any] | None = []
        for packet in packets:
            at = self._seconds(packet.pts, packet)
            if held is None:
                yield packet
            elif packet.is_keyframe and at > 0:
                if self._muxer.shows_from_zero:
                    yield from self._from_zero(held)
                elif held:
                    self._warn(f"pictures before {at:.3f} s are left out: write .mp4 to keep them")
                held = None
                yield packet
            else:
                held = [packet] if packet.is_keyframe else [*held, packet]
        if held and self._muxer.shows_from_zero:
            ends = max(self._seconds(p.pts + (p.duration or 0), p) for p in held)
            yield from held if ends <= 0 else self._from_zero(held)

    def _from_zero(self, held: list[Any]) -> list[Any]:
        """Let the picture that is seen at second 0 begin there: players start with a whole one."""
        before = [p for p in held if self._seconds(p.pts, p) <= 0]
        if before:
            seen = max(before, key=lambda p: p.pts)
            zero_s = self._map.inverse()(0.0)
            begin = round((Fraction(float(zero_s)) + self._media.origin) / seen.time_base)
            seen.duration = max((seen.duration or 0) - (begin - seen.pts), 0)
            seen.pts = begin
        return held

    def _seconds(self, ticks: int, packet: Any) -> float:
        """Return where ticks of the container's clock lie on the other clock."""
        return float(self._map(float(ticks * packet.time_base - self._media.origin)))

    def _retimed(self, copy: Any, packets: Iterator[Any]) -> Iterator[tuple[float, Any]]:
        last = -(2**62)
        for packet in _decodable(packets):
            ends = packet.pts + (packet.duration or 0)
            shown, ended, decoded = (
                round(self._seconds(t, packet) * _TICKS) for t in (packet.pts, ends, packet.dts)
            )
            last = max(decoded, last + 1)
            packet.time_base = Fraction(1, _TICKS)
            packet.pts, packet.dts = max(shown, last), last
            packet.duration = max(ended - shown, 0)
            packet.stream = copy
            self.n_pictures, self.ends_s = self.n_pictures + 1, max(self.ends_s, ended / _TICKS)
            yield last / _TICKS, packet

    def sound(
        self, out: Any, sound: Sound, keep_pitch: bool, progress: Progress
    ) -> Iterator[tuple[float, Any]]:
        """Yield the packets of the sound on the other clock, and when they are decoded."""
        import av

        layout = self._media.tracks("audio")[0].codec_context.layout.name
        coded = out.add_stream(self._muxer.sound, rate=_rate(self._muxer, sound.rate))
        coded.layout = layout
        return self._encoded(av, coded, layout, sound, keep_pitch, progress)

    def _encoded(
        self, av: Any, coded: Any, layout: str, sound: Sound, keep_pitch: bool, progress: Progress
    ) -> Iterator[tuple[float, Any]]:
        backward, ends_s = self._map.inverse(), float(self._map(sound.n_samples / sound.rate))
        require_near(sound.path, float(self._map(0.0)), ends_s, self._map.to)
        length, self.ends_s = max(round(ends_s * sound.rate), 0), max(self.ends_s, ends_s)
        stretch = keep_pitch and is_warp(backward)
        for block in rendered(sound, backward, 0.0, length, stretch):
            samples = np.ascontiguousarray(np.clip(block, -1, 1), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = sound.rate, self.n_samples
            frame.time_base = Fraction(1, sound.rate)
            self.n_samples += block.shape[1]
            progress("sound", self.n_samples, length)
            yield from map(_timed, coded.encode(frame))
        yield from map(_timed, coded.encode(None))


def _decodable(packets: Iterator[Any]) -> Iterator[Any]:
    """Give the first packets of a Matroska times to be decoded at: just before the first it has."""
    held: list[Any] = []
    for packet in packets:
        held.append(packet)
        if packet.dts is not None:
            for k, one in enumerate(held):
                one.dts = packet.dts - (len(held) - 1 - k)
                yield one
            held.clear()
    for k, one in enumerate(held):  # none has any: they are stored as they are shown
        one.dts = max(one.pts, (held[k - 1].dts if k else one.pts - 1) + 1)
        yield one


def _rate(muxer: _Muxer, rate: int) -> int:
    """Return the samples per second of a code of sound: Opus has one rate."""
    return 48_000 if muxer.sound == "libopus" else rate


def _timed(packet: Any) -> tuple[float, Any]:
    ticks = packet.pts if packet.dts is None else packet.dts
    return float((ticks or 0) * packet.time_base), packet
