"""The packages that some formats need, and that a plain installation lacks or has too old."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec

from mmalign_cli.errors import UsageError

EXTRAS: dict[str, tuple[str, str]] = {
    "score": ("partitura", "partitura"),
    "xdf": ("pyxdf", "pyxdf"),
    "video": ("av", "PyAV"),
    "hdf5": ("h5py", "h5py"),
    "parquet": ("pyarrow", "pyarrow"),
}
"""For each extra of the package, the module that it brings and what it is called."""

_PACKAGE = "mmalign"
_NEEDS = re.compile(r"(?P<name>[\w.-]+)\s*>=\s*(?P<least>[\d.]+)[^;]*;.*\bextra\s*==\s*['\"](\w+)")


def require_extra(extra: str, subject: str) -> None:
    """Refuse a file whose reader is not installed, or is older than this package asks for.

    An old PyAV, for one, does not refuse some damaged files but dies of them.

    Parameters
    ----------
    extra : str
        One of `EXTRAS`.
    subject : str
        The file, for the message.

    Raises
    ------
    UsageError
        Naming the extra to install.
    """
    module, package = EXTRAS[extra]
    hint = f"pip install 'mmalign[{extra}]'"
    if find_spec(module) is None:
        what = f"needs {package} (extra {extra}), which is not installed"
        raise UsageError(subject, what, hint)
    for name, least in _needs(extra):
        found = _installed(name)
        if found is not None and _release(found) < _release(least):
            what = f"needs {name} {least} or later (extra {extra}), {found} is installed"
            raise UsageError(subject, what, hint.replace("install", "install --upgrade"))


@cache
def _needs(extra: str) -> tuple[tuple[str, str], ...]:
    """Return the distributions of an extra and their least versions, as this package asks."""
    try:
        asked = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:  # run from its source alone
        return ()
    found = [match for match in map(_NEEDS.match, asked) if match and match[3] == extra]
    return tuple((match["name"], match["least"]) for match in found)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: all that a least version has."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
