"""NumPy's own files: npy and npz. Headers are checked against the file before any allocation."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.bundle import (
    Member,
    check_dtype,
    check_ndim,
    choose_array,
    converted_note,
    kind_of,
    oriented,
    with_companions,
)
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_LAST_CHARACTER = 0x10FFFF


@dataclass(frozen=True)
class Header:
    """What an npy header promises."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool

    @property
    def n_bytes(self) -> int:
        """Bytes of the data that follows."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], subject: str) -> Header:
    """Read and check the header of an npy file; `file` is left at the data.

    Raises
    ------
    InputError
        If it is malformed.
    """
    try:
        version = npy_format.read_magic(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the parser thinks of a damaged header
            if version == (1, 0):
                shape, fortran, dtype = npy_format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = npy_format.read_array_header_2_0(file)
            else:
                raise ValueError("version")
    except Exception as error:
        # numpy lets ValueError, TypeError, SyntaxError and tokenize's errors through.
        raise InputError(subject, "malformed header: not a NumPy array file") from error
    header = Header(shape, dtype, fortran)
    sizes_fit = all(0 <= n < 2**63 for n in shape) and header.n_bytes < 2**63
    if not sizes_fit:
        raise InputError(subject, f"invalid shape in header: {shape}")
    return header


def read_npy(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read an npy file.

    Raises
    ------
    InputError
        If the header is malformed or promises more bytes than the file holds; with
        ``excess=error`` also if it promises fewer.
    """
    with source.open() as file:
        header = read_header(file, source.path)
        check_dtype(header.dtype, source.path)
        found = _bytes_there(file, header, source)
        kind = kind_of(header.shape)
        check_ndim(header.shape, kind, source.path)
        _require_size(header.n_bytes, options.max_bytes, source.path)
        ignored = _excess(found - header.n_bytes, options, source.path)
        values = _read_data(file, header, source.path)
    notes = converted_note(header.dtype)
    return Content(oriented(values, options), kind, notes=notes, warnings=ignored)


def _excess(n_bytes: int, options: Options, subject: str) -> tuple[str, ...]:
    """Warn of bytes after the array, or refuse them with ``excess=error``."""
    if n_bytes and options.excess == "error":
        what = f"{n_bytes} bytes after the array"
        raise InputError(subject, what, "excess=warn ignores them")
    return (f"{subject}: {n_bytes} bytes after the array ignored",) if n_bytes else ()


def read_array(source: Source, max_bytes: int) -> Array:
    """Read the array of an npy file, of any type but Python objects.

    Raises
    ------
    InputError
        If the header is malformed or promises more bytes than the file holds.
    LimitError
        If it holds more than `max_bytes`.
    """
    with source.open() as file:
        header = read_header(file, source.path)
        if header.dtype.hasobject:
            raise InputError(source.path, "holds Python objects, which are never loaded")
        _bytes_there(file, header, source)
        _require_size(header.n_bytes, max_bytes, source.path)
        return _read_data(file, header, source.path)


def _bytes_there(file: IO[bytes], header: Header, source: Source) -> int:
    """Return the bytes behind a header, which are to be those that it promises at least."""
    found = source.size - file.tell()
    if found < header.n_bytes:
        what = f"truncated: header promises {header.n_bytes} bytes, found {found}"
        raise InputError(source.path, what)
    return found


def _require_size(n_bytes: int, max_bytes: int, subject: str) -> None:
    if n_bytes > max_bytes:
        what = f"holds {format_size(n_bytes)}, the limit is {format_size(max_bytes)}"
        raise LimitError(subject, what, "raise it with max-bytes=")


def _read_data(file: IO[bytes], header: Header, subject: str) -> Array:
    data = file.read(header.n_bytes)
    if len(data) < header.n_bytes:
        what = f"truncated: header promises {header.n_bytes} bytes, found {len(data)}"
        raise InputError(subject, what)
    flat = np.frombuffer(data, dtype=header.dtype)
    if header.dtype.kind == "U":
        _require_unicode(data, header.dtype, subject)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _require_unicode(data: bytes, dtype: np.dtype[Any], subject: str) -> None:
    """Refuse text that holds numbers no character has: to look at it would end in a SystemError."""
    codes = np.frombuffer(data, dtype=f"{dtype.byteorder}u4")
    if codes.size and codes.max() > _LAST_CHARACTER:
        raise InputError(subject, "damaged: text with characters that there are not")


def read_npz(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read one array of an npz file, with the times, rate and column names beside it.

    ``key=`` names the array; without it the only 2-D numeric one is taken. An array called
    ``times`` (or as a time column may be called), a number called ``rate`` (or ``fps``, ``fs``)
    and text called ``columns`` are used where they fit.

    Raises
    ------
    InputError
        If the archive is damaged or encrypted, or no single array can be chosen.
    LimitError
        If a member unpacks to more than ``max-bytes=``.
    """
    with _opened(source) as archive:
        return _read_archive(archive, source, options)


def read_arrays(source: Source, max_bytes: int) -> dict[str, Array]:
    """Read all arrays of an npz file, none of which may be of Python objects.

    Raises
    ------
    InputError
        If the archive is damaged or encrypted.
    LimitError
        If the members unpack to more than `max_bytes`.
    """
    with _opened(source) as archive:
        members = _members(archive)
        unpacked = sum(info.file_size for info in members.values())
        _require_size(unpacked, max_bytes, source.path)
        for info in members.values():
            _member_header(archive, info, source)
        return {key: _load(archive, info, source, max_bytes) for key, info in members.items()}


@contextmanager
def _opened(source: Source) -> Iterator[zipfile.ZipFile]:
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        ValueError,
    ) as error:
        what = "checksum mismatch: " if "CRC" in str(error) else ""
        raise InputError(source.path, f"damaged npz archive: {what}{error}") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }


def _load(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Source, most: int) -> Array:
    subject = f"{source.path}: {info.filename.removesuffix('.npy')}"
    _require_size(info.file_size, most, subject)
    with archive.open(info) as member:
        return _read_data(member, read_header(member, subject), subject)


def _read_archive(archive: zipfile.ZipFile, source: Source, options: Options) -> Content:
    members = _members(archive)
    if not members:
        raise InputError(source.path, "holds no arrays")
    headers = {name: _member_header(archive, info, source) for name, info in members.items()}
    known = {key: _member(header) for key, header in headers.items()}
    name = choose_array(known, options.key, source)
    check_dtype(headers[name].dtype, f"{source.path}: {name}")

    def load(key: str) -> Array:
        return _load(archive, members[key], source, options.max_bytes)

    return with_companions(load(name), known, load, options, source)


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Source) -> Header:
    subject = f"{source.path}: {info.filename}"
    if info.flag_bits & 1:
        raise InputError(subject, "is encrypted")
    with archive.open(info) as member:
        header = read_header(member, subject)
        promised = header.n_bytes + member.tell()
    if promised != info.file_size and not header.dtype.hasobject:
        what = f"header promises {promised} bytes, the archive holds {info.file_size}"
        raise InputError(subject, what)
    return header


def _member(header: Header) -> Member:
    return Member(header.shape, "O" if header.dtype.hasobject else header.dtype.kind)
