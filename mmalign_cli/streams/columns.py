"""Columns by name, by number from 1 where there are no names, or by glob."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from mmalign_cli.errors import InputError, did_you_mean

_SHOWN = 12


def no_column(name: str, known: Sequence[str], subject: str) -> InputError:
    """Return the error that there is no column `name`, with the nearest, or all, as a hint."""
    more = ", ..." if len(known) > _SHOWN else ""
    hint = did_you_mean(name, known) or f"columns: {', '.join(known[:_SHOWN])}{more}"
    return InputError(subject, f"no column {name!r}", hint)


def chosen_columns(patterns: Sequence[str], known: Sequence[str], subject: str) -> list[int]:
    """Return the columns that names or globs choose, in the order of the patterns.

    Parameters
    ----------
    patterns : sequence of str
        Names or globs.
    known : sequence of str
        What the columns are called.
    subject : str
        The file, for messages.

    Raises
    ------
    InputError
        If a pattern chooses none.
    """
    keep: list[int] = []
    for pattern in patterns:
        found = [c for c, name in enumerate(known) if name == pattern or fnmatchcase(name, pattern)]
        if not found:
            raise no_column(pattern, known, subject)
        keep.extend(c for c in found if c not in keep)
    return keep


def shortened(names: Sequence[str]) -> str:
    """Return a list of names for a message, cut after five."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
