"""Formats that are another one packed: MusicXML in a zip (mxl), XDF in gzip (xdfz)."""

from __future__ import annotations

import hashlib
import html
import re
import zipfile
import zlib
from dataclasses import replace
from fractions import Fraction

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.score import read_musicxml
from mmalign_cli.streams.source import HEAD_BYTES, Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.xdf import read_xdf

_CONTENTS = "META-INF/container.xml"
_ROOT = re.compile(r"<rootfile\s[^>]*?full-path\s*=\s*[\"']([^\"']+)")
_MOST_CONTENTS = 1 << 20
_PIECE_BYTES = 1 << 20
_GZIP = 31  # zlib's number for a stream with gzip's header
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


def read_mxl(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a packed MusicXML score, as `read_musicxml` reads it.

    Raises
    ------
    InputError
        If the archive is damaged, encrypted, or holds no score.
    LimitError
        If the score unpacks to more than ``max-bytes=``.
    """
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            data = _member(archive, _score_name(archive, source), options.max_bytes, source)
    except _DAMAGES as error:
        raise InputError(source.path, f"damaged mxl archive: {error}") from None
    return read_musicxml(_unpacked(source, data), options, decode_rate)


def read_xdfz(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a stream of a packed XDF file, as `read_xdf` reads it.

    Raises
    ------
    InputError
        If the file is damaged or cut short.
    LimitError
        If it unpacks to more than ``max-bytes=``.
    """
    try:
        data = _inflated(source, options.max_bytes)
    except (zlib.error, EOFError) as error:
        raise InputError(source.path, f"damaged gzip: {error}") from None
    return read_xdf(_unpacked(source, data), options, decode_rate)


def _score_name(archive: zipfile.ZipFile, source: Source) -> str:
    """Return the member that holds the score: the first that the contents name, or else is XML."""
    names = archive.namelist()
    if _CONTENTS in names:
        text = _member(archive, _CONTENTS, _MOST_CONTENTS, source).decode("utf-8", "replace")
        told = _ROOT.search(text)
        if told and html.unescape(told[1]) in names:
            return html.unescape(told[1])
    scores = [name for name in names if name.endswith((".xml", ".musicxml")) and name != _CONTENTS]
    if not scores:
        raise InputError(source.path, "the archive holds no score")
    return scores[0]


def _member(archive: zipfile.ZipFile, name: str, most: int, source: Source) -> bytes:
    """Return a member's bytes, whatever size the archive says it has."""
    with archive.open(name) as member:
        data = member.read(most + 1)
    if len(data) > most:
        raise _too_large(source, most)
    return data


def _inflated(source: Source, most: int) -> bytes:
    """Return what a gzip file of one or more streams holds."""
    parts, size, engine = [], 0, zlib.decompressobj(_GZIP)
    with source.open() as file:
        rest = file.read(_PIECE_BYTES)
        while rest:
            if engine.eof:
                engine = zlib.decompressobj(_GZIP)
            parts.append(engine.decompress(rest, most + 1 - size))
            size += len(parts[-1])
            if size > most:
                raise _too_large(source, most)
            rest = engine.unconsumed_tail or engine.unused_data or file.read(_PIECE_BYTES)
    if not engine.eof:
        raise EOFError("it ends before its stream does")
    return b"".join(parts)


def _too_large(source: Source, most: int) -> LimitError:
    what = f"unpacks to more than the limit of {format_size(most)}"
    return LimitError(source.path, what, "raise it with max-bytes=")


def _unpacked(source: Source, data: bytes) -> Source:
    """Return the file within as if it had been piped, under the name of its package."""
    return replace(
        source,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        head=data[:HEAD_BYTES],
        piped=data,
    )
