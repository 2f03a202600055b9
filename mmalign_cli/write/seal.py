"""A checksum within a document: of its values, so that it survives another way to write them."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array

FIELD = "checksum"
_KIND = "sha256"
_ENCODE = json.JSONEncoder().encode
_PACK = struct.Struct("<d").pack
_LONGEST_NAME, _LARGE = 100, 1 << 16
_NUMBERS = (int, float, np.integer, np.floating)


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the checksum of its other fields as the last one."""
    fields = {name: value for name, value in document.items() if name != FIELD}
    return {**fields, FIELD: checksum(fields)}


def checksum(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values as JSON means them.

    Neither blanks, the order of fields nor how a number is spelt take part; every number counts as
    a float64, so that an array and the lists that were read of it are the same.

    Parameters
    ----------
    fields : Mapping of str
        Text, numbers, truth values, None, and lists, arrays and mappings of them.

    Examples
    --------
    >>> checksum({"a": [[1, 2]], "b": None}) == checksum({"b": None, "a": np.array([[1.0, 2.0]])})
    True
    """
    digest = _Digest()
    digest.tell(fields)
    return f"{_KIND}:{digest.hex()}"


def check_seal(document: Mapping[str, Any], path: str) -> None:
    """Refuse a document that is not what was written; one without a checksum passes.

    Raises
    ------
    InputError
        If its checksum is another.
    """
    fields = {name: value for name, value in document.items() if name != FIELD}
    if FIELD in document and document[FIELD] != checksum(fields):
        what = "checksum mismatch: it is not what was written"
        hint = f"take a copy of it; one that was changed on purpose must lose its {FIELD}"
        raise InputError(path, what, hint)


class _Digest:
    """A digest that is told values, each in a way that no other value is told."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._parts: list[bytes] = []  # each by itself takes a digest as long as a thousand bytes

    def hex(self) -> str:
        """Return the digest of what was told."""
        self._pass_on()
        return self._digest.hexdigest()

    def _pass_on(self) -> None:
        self._digest.update(b"".join(self._parts))
        self._parts.clear()

    def tell(self, value: Any) -> None:
        """Tell a value as JSON means it."""
        take = self._parts.append
        if isinstance(value, str):
            take(_name(value) if len(value) <= _LONGEST_NAME else _text(value))
        elif isinstance(value, dict):
            take(b"{")
            for name in sorted(value):
                take(_name(name))
                self.tell(value[name])
            take(b"}")
        elif isinstance(value, list | tuple | np.ndarray):
            self._tell_items(value)
        elif isinstance(value, Mapping):
            self.tell(dict(value))
        else:
            take(_scalar(value) + b",")

    def _tell_items(self, items: Any) -> None:
        take, numbers = self._parts.append, _numbers(items)
        if numbers is None:
            take(b"[")
            for item in items:
                self.tell(item)
            take(b"]")
            return
        take(f"#{numbers.shape}".encode())
        take(numbers.tobytes())
        if numbers.nbytes > _LARGE:
            self._pass_on()


def _text(text: str) -> bytes:
    return _ENCODE(text).encode() + b","


_name = functools.lru_cache(1024)(_text)  # documents have the same names over and over


def _numbers(value: Any) -> Array | None:
    """Return lists of numbers, and of such lists of one length, as one array."""
    first = value
    while isinstance(first, list | tuple | np.ndarray) and len(first):
        first = first[0]
    if first is value or isinstance(first, bool) or not isinstance(first, _NUMBERS):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # of different lengths
        return None
    return np.ascontiguousarray(array, dtype="<f8") if array.dtype.kind in "iuf" else None


def _scalar(value: Any) -> bytes:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return b"#" + _PACK(value)
        except (OverflowError, struct.error):  # which of them, Python's version decides
            pass
    return _ENCODE(value).encode()
