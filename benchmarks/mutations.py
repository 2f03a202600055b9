"""Ways to damage a file: as bytes, as text, inside its archive, or as the value that it spells."""

from __future__ import annotations

import copy
import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng, Sequence[bytes]], bytes]
"""``(data, rng, other files of the format) -> data``."""

_EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"0", b"-1", b"nan", b"inf", b"1e999", b"-1e-999", b"99999999999", b"9" * 400, b"", b"0x10",
    b"1_0", b",", b'"', b"\0", b"\xff", b"\xe2\x80\xa8", b"(", b"<", b"\r", b"\t", b";", b"{", b"[",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1.5, 2**53 + 1, 10**400, 1e308, -1e308, "", "x", "\x1b[31m", "\ud800",
    "../../x", [], {}, [[]], [[0, 0]], [[1.0, 1.0], [0.0, 0.0]], {"a": 1}, "1e999",
)  # fmt: skip


def mutate(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return a mutation: bits flipped, lengths set to extremes, parts cut, doubled or spliced."""
    mutated = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        reach = len(mutated) if rng.random() < 0.5 else min(len(mutated), 600)
        at = int(rng.integers(0, max(reach, 1)))
        _CHANGES[int(rng.choice(len(_CHANGES), p=_ODDS))](mutated, at, rng, others)
    return bytes(mutated)


def _flip(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    if at < len(data):
        data[at] ^= 1 << int(rng.integers(0, 8))


def _byte(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    data[at : at + 1] = bytes([int(rng.integers(0, 256))])


def _length(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    """Set what may be a length, of either byte order, to an extreme or near what it is."""
    form = rng.choice(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"])
    size = struct.calcsize(form)
    if at + size > len(data):
        return
    before = struct.unpack_from(form, data, at)[0]
    near = (before + int(rng.integers(-2, 3))) if rng.random() < 0.3 else None
    value = int(rng.choice(np.array(_EXTREMES, dtype=object))) if near is None else near
    struct.pack_into(form, data, at, value % 2 ** (8 * size))


def _cut_out(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    del data[at : at + int(rng.integers(1, 64))]


def _double(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    data[at:at] = data[at : at + int(rng.integers(1, 256))] * int(rng.integers(1, 4))


def _move(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    """Copy a block over another place."""
    n, there = int(rng.integers(1, 128)), int(rng.integers(0, max(len(data), 1)))
    data[there : there + n] = data[at : at + n]


def _end(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    del data[at:]


def _splice(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    """Let another file of the format go on from about here."""
    if others:
        other = others[int(rng.integers(0, len(others)))]
        data[at:] = other[min(at, len(other)) :]


def _word(data: bytearray, at: int, rng: Rng, others: Sequence[bytes]) -> None:
    """Put a word that parsers stumble on in the place of a number of a text."""
    found = _NUMBER.search(data, at)
    begin, end = found.span() if found else (at, at + 1)
    data[begin:end] = _WORDS[int(rng.integers(0, len(_WORDS)))]


_CHANGES = (_flip, _byte, _length, _cut_out, _double, _move, _end, _splice, _word)
_ODDS = np.array([4, 3, 4, 2, 2, 2, 1, 1, 1.0]) / 20


def mutate_text(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return a mutation of text: its words and lines rather than its bits."""
    if rng.random() < 0.3:
        return mutate(data, rng, others)
    mutated = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(len(mutated), 1)))
        if rng.random() < 0.7:
            _word(mutated, at, rng, others)
        else:
            _lines(mutated, at, rng)
    return bytes(mutated)


def _lines(data: bytearray, at: int, rng: Rng) -> None:
    """Take out a line, or double it."""
    begin = data.rfind(b"\n", 0, at) + 1
    end = data.find(b"\n", at) + 1 or len(data)
    line = bytes(data[begin:end])
    data[begin:end] = line * int(rng.choice([0, 2, 3]))


def mutate_zip(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return a mutation of an archive: of a member, with sums that are right, or of its bytes."""
    if rng.random() < 0.4:
        return mutate(data, rng, others)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", 8) as new:
        names = old.namelist()
        chosen = names[int(rng.integers(0, len(names)))]
        for name in names:
            member = old.read(name)
            new.writestr(name, mutate_text(member, rng) if name == chosen else member)
    return out.getvalue()


def mutate_gzip(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return a mutation of what is packed, with sums that are right, or of the packed bytes."""
    if rng.random() < 0.3:
        return mutate(data, rng, others)
    return gzip.compress(mutate(gzip.decompress(data), rng), 1, mtime=0)


def mutate_json(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return JSON with one to three values exchanged, taken out or doubled; sometimes no JSON."""
    try:
        value = json.loads(data)
    except ValueError:  # a document a line
        value = None
    if value is None or rng.random() < 0.2:
        return mutate_text(data, rng, others)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(value))
        if not places:
            break
        holder, key = places[int(rng.integers(0, len(places)))]
        how = rng.random()
        if how < 0.75:
            holder[key] = copy.deepcopy(_ODD[int(rng.integers(0, len(_ODD)))])
        elif how < 0.9:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Yield the places of all values: their holder, and their key in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


def mutate_arrays(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return an npz with an array of another shape, type or content; or a damaged one."""
    if rng.random() < 0.4:
        return mutate_zip(data, rng, others)
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    name = list(arrays)[int(rng.integers(0, len(arrays)))]
    array = arrays.pop(name)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: array.T, lambda: array[..., :1], lambda: array[:0], array.ravel,
        lambda: array[np.newaxis], lambda: array.astype(str), lambda: np.array(3),
        lambda: array * np.nan, lambda: array * 1e200, lambda: array.astype(complex),
        lambda: np.array('{"format": "mmalign.model/9"}'), lambda: np.concatenate([array, array]),
        lambda: np.zeros((3, 4, 5)), lambda: array * 0,
    )  # fmt: skip
    try:
        changed = changes[int(rng.integers(0, len(changes)))]()
    except (TypeError, ValueError, IndexError):
        changed = np.array([])
    if rng.random() < 0.85:
        arrays[name] = changed
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


_TEXTS = (
    "csv", "tsv", "txt", "bvh", "amc", "trc", "sto", "optitrack.csv", "vicon.csv", "musicxml",
    "srt", "vtt", "TextGrid",
)  # fmt: skip
MUTATIONS: dict[str, Mutation] = {
    "npz": mutate_zip,
    "mxl": mutate_zip,
    "xdfz": mutate_gzip,
    **dict.fromkeys(_TEXTS, mutate_text),
    "json": mutate_json,
}
"""The mutation of a format's files; `mutate` for those not named."""
