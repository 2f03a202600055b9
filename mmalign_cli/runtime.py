"""The machine: memory to spare, threads, where compiled kernels are kept, how progress is told."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from mmalign_cli import __version__
from mmalign_cli.errors import LimitError, UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
_SHARE_TO_USE = 0.8


class Progress(Protocol):
    """Told how far a stage has come; raises to stop it."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `stage` are finished."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def parse_size(text: str) -> int:
    """Return the bytes in a size such as ``2G``, ``500M`` or ``1e6`` written in digits.

    Parameters
    ----------
    text : str
        A number and an optional unit k, M, G or T (powers of 1024).

    Raises
    ------
    UsageError
        If it is not a positive size.
    """
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if size <= 0:
        raise UsageError(text, "is not a size", "write 500M or 2G")
    return size


def format_size(n_bytes: float) -> str:
    """Return bytes for people: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.4g} TB"


def free_memory() -> int:
    """Return the bytes that this process may still take, control groups respected."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = _first_number("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/limit_in_bytes")
    used = _first_number("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/usage_in_bytes")
    if limit is not None and used is not None:
        free = min(free, max(limit - used, 0))
    return free


def _first_number(*paths: str) -> int | None:
    """Return the number in the first of the files that holds one."""
    for path in paths:
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):
            continue
    return None


def require_memory(n_bytes: int, max_memory: int | None, subject: str, hint: str) -> None:
    """Refuse work that does not fit in memory, before anything is allocated.

    Parameters
    ----------
    n_bytes : int
        What the work needs.
    max_memory : int or None
        The user's limit in bytes; None takes what the machine has free, less a reserve.
    subject, hint : str
        What asks for it, and the way out.

    Raises
    ------
    LimitError
        If it does not fit.
    """
    limit = int(free_memory() * _SHARE_TO_USE) if max_memory is None else max_memory
    if n_bytes > limit:
        what = f"needs {format_size(n_bytes)} of memory, {format_size(limit)} may be used"
        raise LimitError(subject, what, hint)


def prepare_kernels() -> None:
    """Point numba's cache at the user's own cache folder; must run before numba is imported.

    Where that folder cannot be made, a private temporary one is used: the kernels are then
    compiled anew, which costs seconds and changes no result.
    """
    if "NUMBA_CACHE_DIR" in os.environ or "numba" in sys.modules:
        return
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "mmalign" / f"kernels-{__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="mmalign-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def limit_threads(n_threads: int | None) -> None:
    """Hold the linear-algebra libraries to `n_threads` threads; None leaves them alone."""
    if n_threads is not None:
        import threadpoolctl

        threadpoolctl.threadpool_limits(n_threads)


def discard_stdout() -> None:
    """Let the interpreter's flush at exit go nowhere: its reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
