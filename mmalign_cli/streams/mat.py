"""MATLAB files of versions 5 to 7: every size in them is checked before it is believed.

scipy.io.loadmat crashes the interpreter on some damaged files, so they are read here. The format
is described in MathWorks' "MAT-File Format": after 128 bytes of header come elements, each a tag
(type, bytes) and its data padded to 8 bytes; a matrix is an element that holds elements.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.bundle import Member, check_dtype, choose_array, with_companions
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.mat4 import read_mat4
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_HEAD_BYTES = 1 << 16  # of a matrix: enough for its flags, shape and name
_IS_COMPLEX = 0x800
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
_TYPES |= {13: "u8", 16: "u1", 17: "u2", 18: "u4"}
_NO_NUMBERS = ("cell", "struct", "object", "sparse", "unknown")
_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "f8", 7: "f4"}
_CLASSES |= {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


class _DamagedError(Exception):
    """A size or type that cannot be."""


@dataclass(frozen=True)
class _Variable:
    """A matrix of the file, its numbers not yet read."""

    name: str
    shape: tuple[int, ...]
    class_name: str
    is_complex: bool
    data: memoryview
    is_compressed: bool

    @property
    def member(self) -> Member:
        """What may be known of it without reading it."""
        if self.class_name == "char":
            return Member(self.shape[:1], "U")
        if self.class_name in _NO_NUMBERS:
            return Member(self.shape, "O")
        return Member(self.shape, "c" if self.is_complex else np.dtype(self.class_name).kind)


def read_mat(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read one matrix of a MAT file, with times and rate beside it, as for npz.

    Raises
    ------
    InputError
        If the file is damaged, or no single numeric matrix can be chosen.
    LimitError
        If the matrix unpacks to more than ``max-bytes=``.
    """
    data = source.read(options.max_bytes)
    if data[126:128] not in (b"IM", b"MI"):
        return read_mat4(data, source, options)
    try:
        order = _byte_order(data)
        variables = _variables(memoryview(data), order)
        members = {name: variable.member for name, variable in variables.items()}
        name = choose_array(members, options.key, source)
        _require_numbers(variables[name], source)

        def load(key: str) -> Array:
            return _values(variables[key], order, options.max_bytes, f"{source.path}: {key}")

        values = load(name)
        if values.ndim == 2 and values.shape[0] == 1 and not options.transpose:
            values = values.T  # MATLAB knows no vectors: a row of numbers is a sequence
        return with_companions(values, members, load, options, source)
    except (_DamagedError, zlib.error, struct.error) as error:
        raise InputError(source.path, f"damaged MAT file: {error}") from None


def _byte_order(data: bytes) -> str:
    """Return the byte order of numpy that the header states."""
    return "<" if data[126:128] == b"IM" else ">"


def _require_numbers(variable: _Variable, source: Source) -> None:
    subject = f"{source.path}: {variable.name}"
    if variable.is_complex:
        check_dtype(np.dtype(np.complex128), subject)
    if variable.member.kind in "OU":
        raise InputError(subject, f"is a {variable.class_name} array, not numbers")


def _element(data: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Return type and data of the element at `at`, and where the next one starts."""
    if at + 8 > len(data):
        raise _DamagedError("cut short")
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # a small element: its data stand in the second half of the tag
        kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start = at + 8
        after = start + size + (0 if kind == _COMPRESSED else -size % 8)
    return kind, data[start : start + size], after


def _whole(data: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Return an element as `_element` does; refuse one that goes beyond the end."""
    kind, content, after = _element(data, at, order)
    if after > len(data) + 7:
        raise _DamagedError("cut short")
    return kind, content, after


def _variables(data: memoryview, order: str) -> dict[str, _Variable]:
    """Return the matrices of a file by name."""
    found: dict[str, _Variable] = {}
    at = _HEADER_BYTES
    while at < len(data):
        kind, content, at = _whole(data, at, order)
        is_compressed = kind == _COMPRESSED
        head = content
        if is_compressed:
            head = memoryview(zlib.decompressobj().decompress(content, _HEAD_BYTES))
            kind, head, _ = _element(head, 0, order)
        if kind == _MATRIX:
            variable = _described(head, order, content, is_compressed)
            found[variable.name] = variable
    return found


def _described(head: memoryview, order: str, content: memoryview, is_compressed: bool) -> _Variable:
    """Read flags, shape and name of a matrix."""
    _, flags, at = _element(head, 0, order)
    _, dimensions, at = _element(head, at, order)
    _, name, _ = _element(head, at, order)
    if len(flags) < 4 or len(dimensions) < 8 or len(dimensions) % 4:
        raise _DamagedError("a matrix without shape")
    word = struct.unpack_from(f"{order}I", flags)[0]
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if min(shape) < 0:
        raise _DamagedError(f"shape {shape}")
    class_name = _CLASSES.get(word & 0xFF, "unknown")
    text = bytes(name).decode("latin-1")
    return _Variable(text, shape, class_name, bool(word & _IS_COMPLEX), content, is_compressed)


def _values(variable: _Variable, order: str, max_bytes: int, subject: str) -> Array:
    """Return the numbers, or for text its rows."""
    is_text = variable.class_name == "char"
    dtype = np.dtype("u4" if is_text else variable.class_name)
    n_items = math.prod(variable.shape)
    if n_items * dtype.itemsize > max_bytes:
        sizes = [format_size(n) for n in (n_items * dtype.itemsize, max_bytes)]
        what = f"holds {sizes[0]}, the limit is {sizes[1]}"
        raise LimitError(subject, what, "raise it with max-bytes=")
    matrix = variable.data
    if variable.is_compressed:
        most = n_items * 8 + _HEAD_BYTES  # no number takes more than 8 bytes
        _, matrix, _ = _element(memoryview(zlib.decompressobj().decompress(matrix, most)), 0, order)
    at = 0
    for _ in range(3):
        _, _, at = _element(matrix, at, order)
    kind, data, _ = _element(matrix, at, order)
    if kind not in _TYPES:
        raise _DamagedError(f"{variable.name} holds elements of type {kind}")
    stored = np.dtype(order + _TYPES[kind])
    if len(data) != n_items * stored.itemsize:
        what = f"{variable.name} holds {len(data)} bytes, its shape {variable.shape} needs"
        raise _DamagedError(f"{what} {n_items * stored.itemsize}")
    values = np.frombuffer(data, stored).reshape(variable.shape, order="F")
    return _rows_of_text(values) if is_text else values.astype(dtype)


def _rows_of_text(codes: Array) -> Array:
    return np.array(["".join(map(chr, row)) for row in codes.tolist()])
