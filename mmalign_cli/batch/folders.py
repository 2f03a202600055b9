"""A manifest from two folders whose files have the same names."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.streams.source import open_source


def match_folders(
    reference: str, query: str, patterns: Sequence[str], start: str
) -> tuple[list[dict[str, str]], list[str]]:
    """Pair the files of two folders, and of the folders in them, by their names without ending.

    Parameters
    ----------
    reference, query : str
        The folders.
    patterns : sequence of str
        Names of files to take, such as ``*.wav``; any of them.
    start : str
        The folder that paths are written relative to.

    Returns
    -------
    rows : list of dict
        ``id``, ``reference``, ``query``, in alphabetical order.
    alone : list of str
        Files that have no counterpart.

    Raises
    ------
    InputError
        If nothing matches, or two files of one folder are called the same.
    """
    first, second = (_named(folder, patterns) for folder in (reference, query))
    both = sorted(first.keys() & second.keys())
    if not both:
        what = f"no file of {len(first)} has its name in {query}, of {len(second)}"
        raise InputError(reference, what, f"matched: {', '.join(patterns)}, without the ending")
    ids: dict[str, str] = {}
    for name in both:
        row_id = name.replace(os.sep, "_")
        if row_id in ids:
            what = f"{name} and {ids[row_id]} would share the id {row_id}"
            raise UsageError("--from-folders", what, "rename one of them")
        ids[row_id] = name
    rows = [
        {
            "id": row_id,
            "reference": os.path.relpath(first[name], start),
            "query": os.path.relpath(second[name], start),
        }
        for row_id, name in ids.items()
    ]
    alone = [*(first[n] for n in sorted(first.keys() - second.keys()))]
    return rows, [*alone, *(second[n] for n in sorted(second.keys() - first.keys()))]


def _named(folder: str, patterns: Sequence[str]) -> dict[str, str]:
    """Return the files below a folder by their relative paths without ending."""
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise InputError(folder, "is not a folder")
        open_source(folder, 1)
    named: dict[str, str] = {}
    for base, _, files in os.walk(folder):
        for file in sorted(files):
            if not any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns):
                continue
            path = os.path.join(base, file)
            name = os.path.splitext(os.path.relpath(path, folder))[0]
            if name in named:
                what = f"and {named[name]} are called the same but for the ending"
                raise InputError(path, what, "narrow it down: --match")
            named[name] = path
    return named
