"""What a file is known by: its content's digest, and what the system says of it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeAlias

from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES

Stat: TypeAlias = tuple[int, int, int, int]
"""Size in bytes, times of the last change of content and of status in ns, number on the disk."""


def stat_of(path: str) -> Stat | None:
    """Return what changes whenever a file does; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class Digests:
    """Digests of files, each read once while it does not change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Stat | None], str] = {}

    def learn(self, path: str, stat: Stat | None, sha256: str) -> None:
        """Take a digest that somebody else has made of a file."""
        self._known[path, stat] = sha256

    def of(self, path: str, stat: Stat | None) -> str:
        """Return the digest of a file as it is at `stat`.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        key = (path, stat)
        if key not in self._known:
            self._known[key] = open_source(path, DEFAULT_MAX_BYTES).sha256
        return self._known[key]


def unchanged(path: str, known: Mapping[str, object], digests: Digests) -> bool:
    """Tell whether a file is what a record of it says: its status, or else its content.

    Parameters
    ----------
    path : str
    known : Mapping
        ``stat`` and ``sha256``, either of them None where there was no file or it was not read.
    digests : Digests
    """
    stat, before = stat_of(path), known["stat"]
    if stat is None or before is None:
        return stat is before
    if isinstance(before, list) and tuple(before) == stat:
        return True
    return known["sha256"] is not None and digests.of(path, stat) == known["sha256"]
