"""Texts of any length in HDF5: read here, for the library goes round for ever in a damaged heap.

A dataset of them holds, for each, its length and where in which heap it is; see "Global Heap" and
"Variable-length datatypes" in the HDF5 File Format Specification, version 3.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array
from mmalign_cli.streams.source import Source

if TYPE_CHECKING:
    import h5py

_PLACE = np.dtype([("length", "<u4"), ("at", "<u8"), ("index", "<u4")])
_HEAP, _OBJECT = struct.Struct("<4s4xQ"), struct.Struct("<HH4xQ")


def heap_texts(dataset: h5py.Dataset, source: Source, subject: str) -> Array:
    """Return the texts of a dataset that is not packed, (n,).

    Parameters
    ----------
    dataset : h5py.Dataset
        Of texts of any length.
    source : Source
        The file.
    subject : str
        For messages.

    Raises
    ------
    InputError
        If its texts are not where it says, or are more than the file holds.
    """
    n_bytes, base = dataset.size * _PLACE.itemsize, dataset.file.userblock_size
    heaps: dict[int, dict[int, bytes]] = {}
    with source.open() as raw:
        raw.seek(dataset.id.get_offset())
        stored = raw.read(min(n_bytes, source.size))
        if not len(stored) == dataset.id.get_storage_size() == n_bytes:
            raise _beyond(subject)
        places = np.frombuffer(stored, _PLACE)
        left = source.size
        for at in np.unique(places["at"][places["length"] > 0]).tolist():
            heaps[at], size = _heap(raw, at + base, min(left, source.size), subject)
            left -= size
    texts = [
        heaps[at].get(index, b"")[:length] if length else b""
        for length, at, index in places.tolist()
    ]
    if sum(map(len, texts)) != int(places["length"].sum(dtype=np.uint64)):
        raise _beyond(subject)
    return np.array([text.decode("utf-8", "replace") for text in texts])


def _beyond(subject: str) -> InputError:
    return InputError(subject, "promises more text than the file holds")


def _heap(raw: BinaryIO, at: int, most: int, subject: str) -> tuple[dict[int, bytes], int]:
    """Return the objects of a heap by their numbers, and its size in bytes."""
    raw.seek(min(at, 2**63 - 1))
    head = raw.read(_HEAP.size)
    mark, size = _HEAP.unpack(head) if len(head) == _HEAP.size else (b"", 0)
    if mark != b"GCOL" or size > most:
        raise _beyond(subject)
    body = raw.read(max(size - _HEAP.size, 0))
    objects: dict[int, bytes] = {}
    place = 0
    while place + _OBJECT.size <= len(body):
        index, _, length = _OBJECT.unpack_from(body, place)
        if index == 0:  # what is free, to the end
            break
        place += _OBJECT.size
        objects[index] = body[place : place + length]
        place += -(-length // 8) * 8
    return objects, size
