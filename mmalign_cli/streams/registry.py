"""The formats: how each is recognised and which reader takes it. Adding one is one entry."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any, TypeAlias

from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.marks import CUE_OPENING, PRAAT_OPENING
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

Reader = Callable[[Source, Options, Fraction | None], Content]
"""``(source, options, decode_rate) -> Content``; `decode_rate` concerns audio alone."""
Lister = Callable[[Source, Options], list[dict[str, Any]]]
"""``(source, options) -> facts`` of each track, array or column; its name comes first."""
Magic: TypeAlias = tuple[tuple[int, bytes], ...]
"""Byte strings that all stand at their offsets."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    label : str
        Its name in messages.
    extensions : tuple of str
        Name endings, without the dot.
    reader : str
        ``module:function`` of a `Reader`.
    magics : tuple of Magic
        A file of this format starts with one of them.
    contents : str
        ``module:function`` of a `Lister`, for files that may hold several things; or empty.
    opening : str
        Where it is text: what it begins with, a regular expression; or empty.
    """

    label: str
    extensions: tuple[str, ...]
    reader: str
    magics: tuple[Magic, ...] = ()
    contents: str = ""
    opening: str = ""


_VICON_PARTS = r"(?:Trajectories|Devices|Model Outputs|Joints|Segments|Events)"
_VICON = rf"{_VICON_PARTS}[,\t ]*\r?\n[\d.]+[,\t ]*\r?\n(?:[^\n]*\n)?\"?(?:Frame|Subject)\"?,"
_S = "mmalign_cli.streams."
_AUDIO = "mmalign_cli.streams.audio:read_audio"
_TABLE = "mmalign_cli.streams.table:read_table"

_RIFF, _RF64 = ((0, b"RIFF"), (8, b"WAVE")), ((0, b"RF64"), (8, b"WAVE"))
_ZIP: tuple[Magic, ...] = (((0, b"PK\x03\x04"),), ((0, b"PK\x05\x06"),))
_GZIP: Magic = ((0, b"\x1f\x8b"),)
_NPY = "mmalign_cli.streams.arrays:read_npy"
_NPZ = "mmalign_cli.streams.arrays:read_npz"
_MAT = "mmalign_cli.streams.mat:read_mat"
_MEDIA = ("mmalign_cli.streams.media:read_media", "mmalign_cli.streams.media:media_contents")
_HDF5 = ("mmalign_cli.streams.hdf5:read_hdf5", "mmalign_cli.streams.hdf5:hdf5_contents")
_HDF5_AT = (0, 512, 1024, 2048)  # behind a block of the user's
_ARROW = "mmalign_cli.streams.arrow:"

# A file of QuickTime's kind begins with one of these boxes, behind the four bytes of its size.
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _media(label: str, extensions: str, *marks: tuple[int, bytes]) -> Format:
    """Return a container that starts with one of `marks`."""
    reader, contents = _MEDIA
    return Format(label, tuple(extensions.split()), reader, tuple((m,) for m in marks), contents)


FORMATS: dict[str, Format] = {
    "wav": Format("WAV", ("wav", "wave", "bwf", "rf64"), _AUDIO, (_RIFF, _RF64)),
    "flac": Format("FLAC", ("flac",), _AUDIO, (((0, b"fLaC"),),)),
    "ogg": Format("Ogg", ("ogg", "oga", "opus"), _AUDIO, (((0, b"OggS"),),)),
    "aiff": Format("AIFF", ("aiff", "aif", "aifc"), _AUDIO, (((0, b"FORM"), (8, b"AIF")),)),
    "mp3": Format("MP3", ("mp3",), _AUDIO, (((0, b"ID3"),),)),
    "npy": Format("NPY", ("npy",), _NPY, (((0, b"\x93NUMPY"),),)),
    "npz": Format("NPZ", ("npz",), _NPZ, _ZIP),
    "mat": Format("MAT", ("mat",), _MAT, (((0, b"MATLAB 5.0"),),)),
    "mp4": _media("MP4", "mp4 m4a m4v mov 3gp", *((4, box) for box in _BOXES)),
    "mkv": _media("Matroska", "mkv webm mka", (0, b"\x1aE\xdf\xa3")),
    "avi": Format("AVI", ("avi",), _MEDIA[0], (((0, b"RIFF"), (8, b"AVI ")),), _MEDIA[1]),
    "mpg": _media("MPEG", "mpg mpeg vob", (0, b"\x00\x00\x01\xba")),
    "ts": Format(
        "MPEG-TS",
        ("ts", "m2ts", "mts", "trp"),
        _MEDIA[0],
        (((0, b"G"), (188, b"G"), (376, b"G")), ((4, b"G"), (196, b"G"), (388, b"G"))),
        _MEDIA[1],
    ),
    "aac": _media("AAC", "aac", (0, b"\xff\xf1"), (0, b"\xff\xf9")),
    "hdf5": Format(
        "HDF5",
        ("h5", "hdf5", "hdf", "mat"),  # mat: version 7.3 of MATLAB's files
        _HDF5[0],
        (*(((at, b"\x89HDF\r\n\x1a\n"),) for at in _HDF5_AT), ((0, b"MATLAB 7.3"),)),
        _HDF5[1],
    ),
    "parquet": Format(
        "Parquet",
        ("parquet", "pq"),
        f"{_ARROW}read_parquet",
        (((0, b"PAR1"),),),
        f"{_ARROW}parquet_contents",
    ),
    "feather": Format(
        "Feather",
        ("feather", "arrow", "ipc"),
        f"{_ARROW}read_feather",
        (((0, b"ARROW1"),),),
        f"{_ARROW}feather_contents",
    ),
    "csv": Format("CSV", ("csv",), _TABLE),
    "tsv": Format("TSV", ("tsv", "tab"), _TABLE),
    "table": Format("text", ("txt", "dat", "asc"), _TABLE),
    "bvh": Format("BVH", ("bvh",), _S + "bvh:read_bvh", opening=r"\s*HIERARCHY\s"),
    "amc": Format(
        "AMC", ("amc",), _S + "amc:read_amc", opening=r"#!OML|(?:\s|#[^\n]*\n)*:FULLY-SPECIFIED"
    ),
    "c3d": Format("C3D", ("c3d",), _S + "c3d:read_c3d", (((0, b"\x02P"),), ((0, b"\x03P"),))),
    "xdf": Format("XDF", ("xdf",), _S + "xdf:read_xdf", (((0, b"XDF:"),),)),
    "xdfz": Format("packed XDF", ("xdfz",), _S + "packed:read_xdfz", (_GZIP,)),
    "trc": Format("TRC", ("trc",), _S + "headed:read_trc", opening=r"PathFileType[\t ]"),
    "sto": Format(
        "MOT or STO",
        ("sto", "mot"),
        _S + "headed:read_storage",
        opening=r"(?i)(?:[^\n]*\n){1,60}?endheader\s",
    ),
    "optitrack": Format(
        "OptiTrack CSV", ("csv",), _S + "exports:read_optitrack", opening=r"\"?Format Version\"?,"
    ),
    "midi": Format("MIDI", ("mid", "midi", "smf"), _S + "score:read_midi", (((0, b"MThd"),),)),
    "musicxml": Format(
        "MusicXML",
        ("musicxml", "xml"),
        _S + "score:read_musicxml",
        opening=r"\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<score-(?:part|time)wise",
    ),
    "mxl": Format("packed MusicXML", ("mxl",), _S + "packed:read_mxl", _ZIP),
    "textgrid": Format(
        "TextGrid", ("textgrid",), _S + "labels:read_textgrid", opening=PRAAT_OPENING
    ),
    "srt": Format("SubRip", ("srt",), _S + "labels:read_subtitles", opening=CUE_OPENING),
    "vtt": Format("WebVTT", ("vtt",), _S + "labels:read_subtitles", opening=r"WEBVTT\b"),
    "pose": Format(
        "JSON",
        ("json",),
        _S + "keypoints:read_keypoints",
        opening=r"\s*(?:\[\s*(?:[\[{]|null)|\{\s*\"|null\s+[\[{])",
    ),
    "vicon": Format("Vicon CSV", ("csv",), _S + "exports:read_vicon", opening=_VICON),
}
_SOUNDS = frozenset(e for f in FORMATS.values() if f.reader == _AUDIO for e in f.extensions)

# Content that people do give, and that no reader here takes: named, so that the refusal helps.
FOREIGN: tuple[tuple[str, Magic], ...] = (
    ("PNG", ((0, b"\x89PNG"),)),
    ("JPEG", ((0, b"\xff\xd8\xff"),)),
    ("PDF", ((0, b"%PDF"),)),
    ("version 1 of Feather", ((0, b"FEA1"),)),
    ("gzip", _GZIP),
    ("a pickle", ((0, b"\x80\x02"),)),
    ("a pickle", ((0, b"\x80\x03"),)),
    ("a pickle", ((0, b"\x80\x04"),)),
    ("a pickle", ((0, b"\x80\x05"),)),
)
_HINTS = {
    "gzip": "unpack it first",
    "version 1 of Feather": "write it as version 2, the default of today's programs",
    "a pickle": "pickles are never loaded; save the array with numpy.save",
}
_PARTS = {"asf": ("is a skeleton, and holds no motion", "give its .amc, with this beside it")}
"""By ending, files that are read with another."""
_TEXT_FORMATS = ("csv", "tsv", "table")


def supported() -> str:
    """Return the list of formats for a message."""
    return ", ".join(dict.fromkeys(f".{f.extensions[0]}" for f in FORMATS.values()))


def is_named_as_sound(path: str) -> bool:
    """Tell whether the name of a file ends as those of sounds do."""
    return os.path.splitext(path)[1][1:].lower() in _SOUNDS


def format_of(source: Source, options: Options) -> str:
    """Return the name of the format of `source`.

    The content decides, then the name. ``format=`` overrules both.

    Raises
    ------
    UsageError
        If ``format=`` names no format.
    InputError
        If the content is of another format than the name says, or of none that is read here.
    """
    if options.format is not None:
        if options.format not in FORMATS:
            hint = did_you_mean(options.format, FORMATS) or f"formats: {', '.join(FORMATS)}"
            raise UsageError("format", f"{options.format!r} is not a format", hint)
        return options.format
    by_name = format_by_name(source.path)
    if by_name is not None and _is_of(source.head, FORMATS[by_name].magics):
        return by_name
    _reject_foreign(source, by_name)
    by_content = _sniff(source.head)
    if by_content is None:
        return _text_format(source, by_name)
    if by_name is None or _extension(source.path) in FORMATS[by_content].extensions:
        return by_content
    raise _mismatch(source.path, FORMATS[by_content].label, by_name, by_content)


def format_by_name(path: str) -> str | None:
    """Return the format that the ending of `path` stands for."""
    extension = _extension(path)
    return next((name for name, f in FORMATS.items() if extension in f.extensions), None)


def _extension(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def is_container(path: str) -> bool:
    """Tell whether a file's name is that of a container of sound and pictures."""
    name = format_by_name(path)
    return name is not None and FORMATS[name].reader == _MEDIA[0]


def reader_of(name: str) -> Reader:
    """Import and return the reader of format `name`."""
    module, _, function = FORMATS[name].reader.partition(":")
    reader: Reader = getattr(import_module(module), function)
    return reader


def contents_of(source: Source, options: Options) -> list[dict[str, Any]] | None:
    """Return what a file of several things holds, without reading it whole; None for others."""
    module, _, function = FORMATS[format_of(source, options)].contents.partition(":")
    if not module:
        return None
    lister: Lister = getattr(import_module(module), function)
    return lister(source, options)


def _matches(head: bytes, magic: Magic) -> bool:
    return all(head[at : at + len(mark)] == mark for at, mark in magic)


def _is_of(head: bytes, magics: tuple[Magic, ...]) -> bool:
    return any(_matches(head, magic) for magic in magics)


def _sniff(head: bytes) -> str | None:
    """Return the format whose magic bytes, or whose opening, stand in `head`."""
    text = head.decode("utf-8-sig", "replace") if looks_like_text(head) else ""
    for name, f in FORMATS.items():
        if _is_of(head, f.magics):
            return name
        if f.opening and re.match(f.opening, text):
            return name
    is_mpeg_frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return "mp3" if is_mpeg_frame else None


def _reject_foreign(source: Source, by_name: str | None) -> None:
    for label, magic in FOREIGN:
        if _matches(source.head, magic):
            hint = _HINTS.get(label, f"formats: {supported()}")
            says = f", name says {FORMATS[by_name].label}" if by_name else ""
            raise InputError(source.path, f"content is {label}{says}, which is not read here", hint)


def _text_format(source: Source, by_name: str | None) -> str:
    """Return the format of content without magic bytes: a table, if the name says so."""
    if by_name in _TEXT_FORMATS:
        return str(by_name)
    is_text = looks_like_text(source.head)
    if by_name is None:
        kind = "text" if is_text else "unknown"
        what = f"unknown kind of file (content is {kind})"
        otherwise = what, f"formats: {supported()}; or say format="
        raise InputError(source.path, *_PARTS.get(_extension(source.path), otherwise))
    if by_name == "mp3" and not is_text:
        return by_name
    if by_name == "mat" and not is_text:
        return by_name
    raise _mismatch(source.path, "text" if is_text else "unknown", by_name, "csv")


def looks_like_text(head: bytes) -> bool:
    """Tell whether bytes read as text: no NUL, and UTF-8 up to a cut character."""
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3
    return True


def _mismatch(path: str, content: str, by_name: str, use: str) -> InputError:
    what = f"content is {content}, name says {FORMATS[by_name].label}"
    return InputError(path, what, f"rename it, or use format={use}")
