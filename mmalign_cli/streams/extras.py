"""The packages that some formats need, and that a plain installation lacks."""

from __future__ import annotations

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


def require_extra(extra: str, subject: str) -> None:
    """Refuse a file whose reader is not installed.

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
    if find_spec(module) is None:
        what = f"needs {package} (extra {extra}), which is not installed"
        raise UsageError(subject, what, f"pip install 'mmalign[{extra}]'")
