"""Containers of sound and pictures (mp4, mkv, avi, mpg ...), opened by PyAV: tracks and clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmalign_cli import runtime
from mmalign_cli.errors import InputError
from mmalign_cli.streams.extras import require_extra
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

TrackKind: TypeAlias = Literal["audio", "video"]

# A list of streams by another name (a playlist, say) must not make us open other files.
_DEMUXERS = "mov,matroska,webm,avi,mpeg,mpegts,aac"
_LIMITS = {"max_pixels": str(1 << 25)}
"""Pixels of a picture, as many as 8K has: a header, or any picture after it, may promise more."""
_LENIENT = 19  # PyAV from which on no metadata is refused
_TELL_THEIR_LENGTH = ("mov", "matroska", "avi")
_CLOCKS_OF_THEIR_OWN = ("mpeg", "mpegts")
_SHORT_S = Fraction(1, 2)  # what a file may lack of the length that its header states
_FAULTS = (OSError, ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError)
_CALLED = {"audio": "sound", "video": "pictures"}


@dataclass(eq=False)
class Media:
    """An open container.

    Attributes
    ----------
    source : Source
        The file.
    options : Options
        ``track``, ``start``, ``end`` and ``allow-truncated`` concern containers.
    container : av.container.InputContainer
        As PyAV opened it.
    origin : Fraction
        Second 0, in seconds of the container's clock.
    warnings : list of str
        What was found on the way.
    """

    source: Source
    options: Options
    container: InputContainer
    origin: Fraction
    warnings: list[str] = field(default_factory=list)

    def tracks(self, kind: TrackKind) -> list[Any]:
        """Return the tracks of a kind; the picture on a record's cover is none."""
        return [s for s in self.container.streams if s.type == kind and not _is_cover(s)]

    def track(self, kind: TrackKind) -> Any:
        """Return the track that ``track=`` chooses among those of a kind, else the first.

        Raises
        ------
        InputError
            If there is no such track.
        """
        tracks, called = self.tracks(kind), _CALLED[kind]
        if not tracks:
            raise InputError(self.source.path, f"holds no {called}", self._other(kind))
        number = self.options.track or 0
        if number >= len(tracks):
            what = f"no track {number} of {called}: it has {len(tracks)}, the first is 0"
            raise InputError(self.source.path, what)
        if len(tracks) > 1 and self.options.track is None:
            what = f"{len(tracks)} tracks of {called}, the first is taken (track=)"
            self.warnings.append(f"{self.source.path}: {what}")
        track = tracks[number]
        if track.codec_context is None:
            raise InputError(self.source.path, f"its {called} have a code that is not known here")
        track.thread_type = "AUTO"
        track.codec_context.thread_count = runtime.threads()
        track.codec_context.options = _LIMITS  # what `av.open` was told, threads do not know
        return track

    def _other(self, kind: TrackKind) -> str | None:
        if kind == "audio" and self.tracks("video"):
            return "its pictures: features=motion or features=gray"
        return None

    def seconds(self, frame: Any) -> Fraction | None:
        """Return the time at which a frame is presented, None where the file does not tell."""
        # An AVI has decoding times alone: what stands for others is wrong where pictures lie
        # between two that are stored before them.
        ticks = frame.dts if frame.pts is None or self.has_decoding_times else frame.pts
        return None if ticks is None else ticks * frame.time_base - self.origin

    @property
    def has_decoding_times(self) -> bool:
        """Whether the container tells when its frames are decoded, and not when presented."""
        return _is_one_of(self.container, ("avi",))

    def frames(self, track: Any) -> Iterator[Any]:
        """Yield the decoded frames of a track, in the order of their presentation.

        Raises
        ------
        InputError
            If a part is damaged or missing, unless ``allow-truncated`` ends it there.
        """
        reached, faults = Fraction(0), decoding_faults()
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
                reached = max(reached, end_of(packet))
                decoded = packet.decode() if packet.stream is track else ()
            except StopIteration:
                break
            except faults as error:
                what = f"damaged after {_seconds_text(reached - self.origin)}: {reason(error)}"
                self._fall_short(what)
                return
            yield from decoded
        self.require_length(reached)

    def require_length(self, reached: Fraction) -> None:
        """Compare where the file ends, on its own clock, with where its header says.

        Raises
        ------
        InputError
            If it is half a second short, unless ``allow-truncated`` takes what is there.
        """
        container = self.container
        if container.duration is None or not _is_one_of(container, _TELL_THEIR_LENGTH):
            return
        promised = Fraction(container.duration + (container.start_time or 0), 10**6)
        if promised - reached > _SHORT_S:
            ends, says = _seconds_text(reached), _seconds_text(promised)
            self._fall_short(f"cut short: ends after {ends}, its header promises {says}")

    def _fall_short(self, what: str) -> None:
        if not self.options.allow_truncated:
            raise InputError(
                self.source.path, what, "to align what is there: --allow-truncated"
            ) from None
        self.warnings.append(f"{self.source.path}: {what}")


@contextmanager
def open_media(source: Source, options: Options) -> Iterator[Media]:
    """Open a container.

    Raises
    ------
    UsageError
        If PyAV is not installed.
    InputError
        If the file is damaged, or no container of those that are read here.
    """
    require_extra("video", source.path)
    import av

    # Through Python a message of a decoder's own thread would wait for us, and we for the thread.
    av.logging.set_level(None)
    av.logging.set_libav_level(av.logging.PANIC)
    how: dict[str, Any] = {"options": {"format_whitelist": _DEMUXERS, **_LIMITS}}
    if int(av.__version__.split(".")[0]) < _LENIENT:
        how["metadata_errors"] = "replace"
    try:
        with source.open() as file, av.open(file, **how) as container:
            yield Media(source, options, container, _origin(container))
    except decoding_faults() as error:
        raise InputError(source.path, f"cannot be decoded: {reason(error)}") from None


def decoding_faults() -> tuple[type[Exception], ...]:
    """Return what PyAV raises where a file is damaged."""
    import av.error

    return (av.error.FFmpegError, *_FAULTS)


def reason(error: BaseException) -> str:
    """Return what PyAV says went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def _is_one_of(container: InputContainer, names: tuple[str, ...]) -> bool:
    return not set(names).isdisjoint(container.format.name.split(","))


def _is_cover(stream: Any) -> bool:
    import av.stream

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _origin(container: InputContainer) -> Fraction:
    """Return second 0: where the clock is of no meaning (MPEG), the start of the first track."""
    if not _is_one_of(container, _CLOCKS_OF_THEIR_OWN):
        return Fraction(0)
    starts = [
        s.start_time * s.time_base
        for s in container.streams
        if s.type in _CALLED and s.start_time is not None and s.time_base is not None
    ]
    return min(starts, default=Fraction(0))


def end_of(packet: av.Packet) -> Fraction:
    """Return where a packet ends, in seconds of the container's clock."""
    ticks = packet.dts if packet.pts is None else packet.pts
    if ticks is None or packet.time_base is None:
        return Fraction(0)
    return Fraction((ticks + (packet.duration or 0)) * packet.time_base)


def _seconds_text(seconds: Fraction) -> str:
    return f"{float(seconds):.2f} s"
