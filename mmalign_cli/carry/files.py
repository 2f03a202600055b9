"""A file of any kind on another clock: which kind it is, and who carries it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mmalign_cli.carry.arrays import carried, read_all, times_name, write_arrays
from mmalign_cli.carry.labels import LabelFormat, label_format
from mmalign_cli.carry.rows import even_rows
from mmalign_cli.carry.spans import Span, retimed
from mmalign_cli.carry.tables import find_columns, read_frames
from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.model import TimeMap
from mmalign_cli.runtime import Progress
from mmalign_cli.streams.registry import format_by_name, is_container
from mmalign_cli.streams.source import Source, open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.media import require_container, write_retimed
from mmalign_cli.write.sound import is_sound_ending, sound_ending, write_resynced

_SOUNDS = ("wav", "flac", "ogg", "aiff", "mp3")
_KINDS = (
    "sound (.wav .flac .ogg), video (.mp4 .mkv), tables (.csv .tsv), arrays (.npy .npz), "
    "labels (.srt .vtt .ass .TextGrid .eaf, Audacity's .txt)"
)
_TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_ARRAYS = (".npy", ".npz")
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "latin-1"}


@dataclass(frozen=True)
class Settings:
    """How a file is carried.

    Parameters
    ----------
    keep_pitch : bool
        Of sound whose speed changes.
    columns : tuple of str
        Columns of times of a table; none takes those whose names say so.
    rate : float or None
        Frames per second of arrays, or rows of tables, asked for.
    stream_rate : float or None
        The same of the stream that the file belongs to: for arrays without times.
    nearest : bool
        Take the nearest frame or row, not one between two.
    recording : str
        Base name of the file of the stream that the file belongs to.
    """

    keep_pitch: bool = True
    columns: tuple[str, ...] = ()
    rate: float | None = None
    stream_rate: float | None = None
    nearest: bool = False
    recording: str = ""


@dataclass(frozen=True)
class Carried:
    """What was done: in words, how many times or samples it concerned, and what to look at."""

    how: str
    count: int
    warnings: tuple[str, ...] = ()


def kind_of(path: str) -> str:
    """Return what a file is by its name: sound, media (a container), labels, table or array.

    Raises
    ------
    InputError
        If nothing here carries such a file.
    """
    ending = os.path.splitext(path)[1].lower()
    if format_by_name(path) in _SOUNDS:
        return "sound"
    if is_container(path):
        return "media"
    if label_format(path) is not None:
        return "labels"
    if ending in _TABLES or ending in _ARRAYS:
        return "table" if ending in _TABLES else "array"
    raise InputError(path, "unknown kind of file", _KINDS)


def check_request(path: str, output: str, settings: Settings) -> None:
    """Refuse an output whose name says another kind of file, and settings of another kind.

    Raises
    ------
    InputError, UsageError
        If there is no such kind, or the two differ.
    """
    kind, ending = kind_of(path), os.path.splitext(output)[1].lower()
    for option, is_given, concerned in (
        ("--resample", not settings.keep_pitch, "sound media"),
        ("--time-columns", bool(settings.columns), "table"),
        ("--rate", settings.rate is not None, "array table"),
        ("--nearest", settings.nearest, "array table"),
    ):
        if is_given and kind not in concerned.split():
            raise UsageError(option, f"concerns no {kind} file such as {path}")
    if kind == "media" and not is_sound_ending(output):
        require_container(output)
        return
    if kind in ("sound", "media"):
        sound_ending(output)
        return
    wanted = _endings(path, kind)
    if ending not in wanted:
        what = f"ends in {ending or 'nothing'}, the input is {wanted[0]}"
        raise UsageError(output, what, "apply changes times, not the kind of a file")


def _endings(path: str, kind: str) -> tuple[str, ...]:
    if kind == "labels":
        known = label_format(path)
        return known.extensions if known else ()
    return (os.path.splitext(path)[1].lower(),)


def carry(
    outputs: Outputs,
    path: str,
    output: str,
    time_map: TimeMap,
    settings: Settings,
    progress: Progress,
) -> Carried:
    """Write a file, as one of `outputs`, on the clock that a time map leads to.

    Raises
    ------
    InputError
        If the file is damaged or of no kind that is known.
    OutputError
        If the output cannot be written.
    """
    kind = kind_of(path)
    if kind == "media" and not is_sound_ending(output):
        return _carry_media(path, output, time_map, settings, outputs.force, progress)
    if kind in ("sound", "media"):
        return _carry_sound(outputs, path, output, time_map, settings, progress)
    source = open_source(path, DEFAULT_MAX_BYTES)
    if kind == "array":
        return _carry_arrays(outputs, source, output, time_map, settings)
    return _carry_text(outputs, source, output, time_map, settings)


def _carry_sound(
    outputs: Outputs,
    path: str,
    output: str,
    time_map: TimeMap,
    settings: Settings,
    progress: Progress,
) -> Carried:
    written = write_resynced(
        outputs,
        path,
        output,
        time_map,
        None,
        keep_pitch=settings.keep_pitch,
        progress=progress,
    )
    warnings = [*written.warnings]
    if written.lost_s > 0:
        what = f"its first {written.lost_s:.3f} s lie before 0 s of {time_map.to}, and are cut off"
        warnings.append(f"{path}: {what}")
    if written.n_clipped:
        warnings.append(f"{path}: {written.n_clipped} values beyond full scale were cut off")
    return Carried(
        "stretched" if written.stretched else "resampled", written.n_samples, (*warnings,)
    )


def _carry_media(
    path: str, output: str, time_map: TimeMap, settings: Settings, force: bool, progress: Progress
) -> Carried:
    done = write_retimed(
        path, output, time_map, keep_pitch=settings.keep_pitch, force=force, progress=progress
    )
    if done.n_pictures:
        return Carried("shown", done.n_pictures, done.warnings)
    return Carried("encoded", done.n_samples, done.warnings)


def _carry_arrays(
    outputs: Outputs, source: Source, output: str, time_map: TimeMap, settings: Settings
) -> Carried:
    arrays = read_all(source)
    rate = settings.rate or (None if times_name(arrays) else settings.stream_rate)
    arrays, how = carried(arrays, time_map, rate, settings.nearest, source.path)
    with outputs.open(output) as file:
        write_arrays(file, arrays)
    return Carried(how, max((len(a) for a in arrays.values() if a.ndim), default=0))


def _carry_text(
    outputs: Outputs, source: Source, output: str, time_map: TimeMap, settings: Settings
) -> Carried:
    mark, text, encoding = _decoded(source)
    if settings.rate is not None:
        delimiter = _delimiter(source.path, text)
        frames = read_frames(text, source.path, _names(text, settings), delimiter)
        moved, count = even_rows(frames, time_map, settings.rate, settings.nearest, delimiter)
        _write(outputs, output, mark + moved.encode(encoding))
        return Carried("interpolated", count)
    spans = _spans(source.path, text, settings)
    if not spans:
        raise InputError(source.path, "holds no times")
    moved, n_held = retimed(text, spans, time_map, source.path)
    _write(outputs, output, mark + moved.encode(encoding))
    what = f"{source.path}: {n_held} times lie before 0 s of {time_map.to}, and were set to 0"
    return Carried("times", len(spans), (what,) if n_held else ())


def _spans(path: str, text: str, settings: Settings) -> list[Span]:
    known = label_format(path)
    if known is not None:
        _require_opening(path, text, known)
        return known.find(text, path, settings.recording)
    return find_columns(text, path, _names(text, settings), _delimiter(path, text))


def _write(outputs: Outputs, output: str, data: bytes) -> None:
    with outputs.open(output) as file:
        file.write(data)


def _names(text: str, settings: Settings) -> list[str]:
    """Return the columns that are named, as a text that was read as Latin-1 spells them."""
    return [n if text.isascii() else n.encode().decode("latin-1") for n in settings.columns]


def _delimiter(path: str, text: str) -> str:
    delimiter = _TABLES[os.path.splitext(path)[1].lower()]
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    if delimiter == "," and "," not in first:
        return next((d for d in ";\t" if d in first), ",")
    return delimiter


def _require_opening(path: str, text: str, known: LabelFormat) -> None:
    if not re.match(known.opening, text, re.ASCII | re.MULTILINE | re.DOTALL):
        what = f"line 1: does not begin as {known.label} does"
        raise InputError(path, what, "rename it to what it is")


def _decoded(source: Source) -> tuple[bytes, str, str]:
    """Return a byte order mark, the text after it, and the encoding that gives its bytes back.

    Times are ASCII in every encoding but UTF-16: read as Latin-1, each byte stays what it is.
    """
    data = source.read(DEFAULT_MAX_BYTES)
    mark, encoding = next((m for m in _MARKS.items() if data.startswith(m[0])), (b"", "latin-1"))
    data = data[len(mark) :]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise InputError(source.path, "is damaged: not whole UTF-16") from None
    if "\0" in text:
        raise InputError(source.path, "is not text, or UTF-16 without a byte order mark")
    return mark, text, encoding
