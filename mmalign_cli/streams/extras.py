"""The packages that some formats need, and that a plain installation lacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mmalign_cli.errors import InputError, MmalignError, UsageError

EXTRAS: dict[str, tuple[str, str]] = {
    "midi": ("score", "mido"),
    "musicxml": ("score", "partitura"),
    "xdf": ("xdf", "pyxdf"),
}
"""For each format, the extra of the package that reads it and the module that it brings."""


def require_extra(name: str, subject: str) -> None:
    """Refuse a file whose reader is not installed.

    Parameters
    ----------
    name : str
        One of `EXTRAS`.
    subject : str
        The file, for the message.

    Raises
    ------
    UsageError
        Naming the extra to install.
    """
    extra, module = EXTRAS[name]
    if find_spec(module) is None:
        what = f"needs {module} (extra {extra}), which is not installed"
        raise UsageError(subject, what, f"pip install 'mmalign[{extra}]'")


@contextmanager
def by_library(label: str, subject: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one refusal, and hush its warnings.

    Raises
    ------
    InputError
        Naming the format and what the library said.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MmalignError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a parser raises anything on a damaged file
        said = str(error).strip().splitlines()
        why = f": {said[0][:120]}" if said else f" ({type(error).__name__})"
        raise InputError(subject, f"is not {label}, or damaged{why}") from None
