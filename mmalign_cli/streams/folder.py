"""Inputs that may be a folder: one file of JSON a frame, as OpenPose writes them."""

from __future__ import annotations

import hashlib
import os
import re

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.streams.source import HEAD_BYTES, Source, open_source

_MOST_MISSING = 10  # times the files that there are
_NOTHING = b"null"


def open_input(path: str, max_bytes: int) -> Source:
    """Examine `path`, a file or a folder that holds JSON files.

    A folder is what its JSON files hold, one after the other: by the last number in their names
    where all have one of their own, with ``null`` for the numbers between that are missing; else
    by name.

    Parameters
    ----------
    path : str
        A file, a folder, or ``-`` for standard input.
    max_bytes : int
        The most that standard input or the files of a folder may hold.

    Raises
    ------
    InputError
        If there is no such file, or the folder holds no JSON.
    LimitError
        If there is more than `max_bytes`.
    """
    if not os.path.isdir(path):
        return open_source(path, max_bytes)
    try:
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(".json"))
    except OSError:
        names = []
    if not names:
        raise InputError(path, "is a directory", "a folder of JSON files, one a frame, is read")
    documents = dict.fromkeys(names, b"")
    size = 0
    for name in names:
        source = open_source(os.path.join(path, name), max_bytes)
        size += source.size
        if size > max_bytes:
            raise LimitError(path, "its files hold more than the limit", "raise it with max-bytes=")
        documents[name] = source.read(max_bytes)
    data = b"\n".join(_in_order(path, documents))
    return Source(path, len(data), hashlib.sha256(data).hexdigest(), data[:HEAD_BYTES], data)


def _in_order(path: str, documents: dict[str, bytes]) -> list[bytes]:
    found = [re.findall(r"[0-9]{1,15}", name) for name in documents]
    numbered = {int(f[-1]): name for f, name in zip(found, documents, strict=True) if f}
    if len(numbered) != len(documents):
        return list(documents.values())
    first, last = min(numbered), max(numbered)
    if last - first > _MOST_MISSING * len(numbered):
        what = f"{len(numbered)} JSON files are numbered from {first} to {last}: too many missing"
        raise InputError(path, what)
    return [documents.get(numbered.get(k, ""), _NOTHING) for k in range(first, last + 1)]
