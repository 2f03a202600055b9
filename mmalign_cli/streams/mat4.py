"""MATLAB files of version 4: matrices one after the other, each behind a header of 20 bytes.

The header holds five integers: a type whose decimal digits MOPT say byte order, nothing, kind of
number and kind of matrix; rows; columns; whether there is an imaginary part; bytes of the name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array
from mmalign_cli.streams.bundle import Member, check_dtype, choose_array, with_companions
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_HEADER = struct.Struct("5i").size
_NUMBERS = ("f8", "f4", "i4", "i2", "u2", "u1")  # by the digit P
_FULL = 0  # the digit T; text and sparse matrices are no numbers here
_LONGEST_NAME = 1024


@dataclass(frozen=True)
class _Matrix:
    """A matrix of the file: where its numbers stand, and what they are."""

    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    is_full: bool
    is_complex: bool
    start: int

    @property
    def member(self) -> Member:
        """What may be known of it without reading it."""
        if not self.is_full:
            return Member(self.shape, "O")
        return Member(self.shape, "c" if self.is_complex else self.dtype.kind)

    @property
    def end(self) -> int:
        """Where the next header stands."""
        parts = 2 if self.is_complex else 1
        return self.start + parts * self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_mat4(data: bytes, source: Source, options: Options) -> Content:
    """Read one matrix of a MAT file of version 4, with times and rate beside it, as for npz.

    Raises
    ------
    InputError
        If it is no such file, or no single numeric matrix can be chosen.
    """
    matrices = _matrices(data, source.path)
    members = {name: matrix.member for name, matrix in matrices.items()}
    name = choose_array(members, options.key, source)
    if matrices[name].is_complex:
        check_dtype(np.dtype(np.complex128), f"{source.path}: {name}")
    if not matrices[name].is_full:
        raise InputError(f"{source.path}: {name}", "is a text or sparse matrix, not numbers")

    def load(key: str) -> Array:
        matrix = matrices[key]
        n_items = matrix.shape[0] * matrix.shape[1]
        flat = np.frombuffer(data, matrix.dtype, n_items, matrix.start)
        return flat.reshape(matrix.shape, order="F")

    values = load(name)
    if values.shape[0] == 1 and not options.transpose:
        values = values.T  # MATLAB knows no vectors: a row of numbers is a sequence
    return with_companions(values, members, load, options, source)


def _matrices(data: bytes, subject: str) -> dict[str, _Matrix]:
    """Return the matrices by name; every size is checked against the file."""
    found: dict[str, _Matrix] = {}
    at = 0
    while at < len(data):
        header = _header(data, at)
        if header is None:
            raise InputError(subject, "damaged MAT file: no header of version 4 to 7")
        name, matrix = header
        if matrix.end > len(data):
            raise InputError(subject, f"damaged MAT file: matrix {name!r} is cut short")
        found[name] = matrix
        at = matrix.end
    return found


def _header(data: bytes, at: int) -> tuple[str, _Matrix] | None:
    """Return name and matrix of the header at `at`; None where there is none."""
    if at + _HEADER > len(data):
        return None
    order = "<" if struct.unpack_from("<i", data, at)[0] in range(5000) else ">"
    kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data, at)
    number, matrix_kind = kind // 10 % 10, kind % 10
    fits = kind // 1000 == (order == ">") and number < len(_NUMBERS)
    if not fits or min(rows, columns) < 0 or not 0 < length <= _LONGEST_NAME:
        return None
    start = at + _HEADER + length
    name = data[at + _HEADER : start].rstrip(b"\0").decode("latin-1")
    dtype = np.dtype(order + _NUMBERS[number])
    is_full = matrix_kind == _FULL
    return name, _Matrix((rows, columns), dtype, is_full, imaginary == 1, start)
