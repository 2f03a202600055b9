"""NumPy's own files: npy and npz. Headers are checked against the file before any allocation."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TypeAlias

import numpy as np
from numpy.lib import format as npy_format

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array, Float64Array, Kind
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

TIME_NAMES = ("time", "t", "timestamp", "time_s", "seconds", "times", "timestamps")
Loader: TypeAlias = Callable[[str], Array]

RATE_NAMES = ("rate", "fs", "fps", "sr", "sample_rate", "frame_rate")


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
        If it is malformed, or describes something that is not an array of real numbers.
    """
    try:
        version = npy_format.read_magic(file)
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
    check_dtype(dtype, subject)
    return header


def check_dtype(dtype: np.dtype[np.generic], subject: str) -> None:
    """Refuse arrays that are not real numbers, by name."""
    if dtype.hasobject:
        raise InputError(subject, "object arrays are never loaded", "save it as a numeric array")
    if dtype.kind == "c":
        hint = "split them into real and imaginary columns"
        raise InputError(subject, f"complex values ({dtype})", hint)
    if dtype.kind not in "biuf" and dtype.kind != "U":
        raise InputError(subject, f"holds {dtype}, not real numbers")


def check_ndim(shape: Sequence[int], kind: Kind, subject: str) -> None:
    """Refuse shapes that are no sequence of frames."""
    allowed = (3, 4) if kind == "images" else (1, 2)
    if len(shape) not in allowed:
        raise InputError(
            subject, f"shape {tuple(shape)}, expected (n_frames,) or (n_frames, n_dims)"
        )
    if 0 in shape:
        raise InputError(subject, f"holds no values: shape {tuple(shape)}")


def kind_of(shape: Sequence[int]) -> Kind:
    """Return ``images`` for (frames, height, width[, channels]), else ``array``."""
    return "images" if len(shape) in (3, 4) else "array"


def read_npy(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read an npy file.

    Raises
    ------
    InputError
        If the header is malformed or promises other bytes than the file holds.
    """
    with source.open() as file:
        header = read_header(file, source.path)
        _require_numbers(header, source.path)
        start = file.tell()
        found = source.size - start
        if found < header.n_bytes:
            what = f"truncated: header promises {header.n_bytes} bytes, found {found}"
            raise InputError(source.path, what)
        kind = kind_of(header.shape)
        check_ndim(header.shape, kind, source.path)
        _require_size(header.n_bytes, options.max_bytes, source.path)
        values = _read_data(file, header, source.path)
    excess = found - header.n_bytes
    warnings = (f"{source.path}: {excess} bytes after the array ignored",) if excess else ()
    return Content(values, kind, notes=converted_note(header.dtype), warnings=warnings)


def _require_numbers(header: Header, subject: str) -> None:
    if header.dtype.kind == "U":
        raise InputError(subject, f"holds text ({header.dtype}), not real numbers")


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
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def converted_note(dtype: np.dtype[np.generic]) -> tuple[str, ...]:
    """Return the note that the numbers are not stored as native float64."""
    native = dtype == np.float64 and dtype.isnative
    return () if native else (f"values converted from {dtype.str} to float64",)


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
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            return _read_archive(archive, source, options)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise InputError(source.path, f"damaged npz archive: {error}") from None


def _read_archive(archive: zipfile.ZipFile, source: Source, options: Options) -> Content:
    members = {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
    if not members:
        raise InputError(source.path, "holds no arrays")
    headers = {name: _member_header(archive, info, source) for name, info in members.items()}
    name = choose_array({k: h.shape for k, h in headers.items() if _is_data(h)}, options.key, source)
    if name not in headers:
        raise InputError(source.path, f"array {name!r} is not numeric")

    def load(key: str) -> Array:
        _require_size(members[key].file_size, options.max_bytes, f"{source.path}: {key}")
        with archive.open(members[key]) as member:
            header = read_header(member, f"{source.path}: {key}")
            return _read_data(member, header, f"{source.path}: {key}")

    _require_numbers(headers[name], f"{source.path}: {name}")
    return with_companions(load(name), {k: h.shape for k, h in headers.items()}, load, source)


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Source) -> Header:
    subject = f"{source.path}: {info.filename}"
    if info.flag_bits & 1:
        raise InputError(subject, "is encrypted")
    with archive.open(info) as member:
        header = read_header(member, subject)
        promised = header.n_bytes + member.tell()
    if promised != info.file_size:
        what = f"header promises {promised} bytes, the archive holds {info.file_size}"
        raise InputError(subject, what)
    return header


def _is_data(header: Header) -> bool:
    return header.dtype.kind in "biuf"


def choose_array(shapes: dict[str, tuple[int, ...]], key: str | None, source: Source) -> str:
    """Choose the array that is the stream: ``key=``, else the only one that can be it.

    Parameters
    ----------
    shapes : dict
        Shape of each numeric array.
    key : str or None
        The user's choice.
    source : Source
        For messages.

    Raises
    ------
    InputError
        If `key` is missing, or several arrays or none qualify.
    """
    listing = ", ".join(f"{k} {shape}" for k, shape in shapes.items()) or "none"
    if key is not None:
        if key not in shapes:
            raise InputError(source.path, f"no numeric array {key!r}", f"it holds: {listing}")
        return key
    helpers = {*TIME_NAMES, *RATE_NAMES}
    for wanted in ((2,), (3, 4), (1,)):
        found = [
            k for k, s in shapes.items() if _effective_ndim(s) in wanted and k.lower() not in helpers
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(source.path, f"several arrays: {listing}", "choose one with key=")
    raise InputError(source.path, f"no array of frames; numeric arrays: {listing}")


def _effective_ndim(shape: tuple[int, ...]) -> int:
    """Return the number of axes, a 1 x 1 matrix (a MATLAB number) counting as none."""
    return 0 if math.prod(shape) == 1 and len(shape) == 2 else len(shape)


def with_companions(
    values: Array, shapes: dict[str, tuple[int, ...]], load: Loader, source: Source
) -> Content:
    """Return the content of a chosen array with times, rate and names found beside it.

    Parameters
    ----------
    values : ndarray
        The chosen array.
    shapes : dict
        Shapes of all arrays of the file.
    load : callable
        Returns the array of a name.
    source : Source
        For messages.
    """
    check_ndim(values.shape, kind_of(values.shape), source.path)
    n_frames = values.shape[0]
    times: Float64Array | None = None
    rate: Fraction | None = None
    columns: tuple[str, ...] = ()
    for name, shape in shapes.items():
        if name.lower() in TIME_NAMES and max(shape, default=0) == math.prod(shape) == n_frames:
            times = np.asarray(load(name), dtype=np.float64).ravel()
        elif name.lower() in RATE_NAMES and math.prod(shape) == 1:
            rate = exact_rate(float(load(name).ravel()[0]), source)
        elif name.lower() == "columns" and values.ndim == 2 and math.prod(shape) == values.shape[1]:
            columns = tuple(str(c) for c in load(name).ravel())
    return Content(
        values, kind_of(values.shape), times, rate, 0.0, columns, converted_note(values.dtype)
    )


def exact_rate(value: float, source: Source) -> Fraction:
    """Return the rate that a file states as a rational number: 29.97 is 2997/100.

    Raises
    ------
    InputError
        If it is not a positive number.
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(source.path, f"the rate in the file is {value}")
    return Fraction(repr(value))

