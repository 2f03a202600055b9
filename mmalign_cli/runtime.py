"""The machine: memory to spare, threads, what is kept from run to run, how progress is told."""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmalign_cli import __version__
from mmalign_cli.errors import LimitError, UsageError

if TYPE_CHECKING:
    from mmalign_cli.model import Float64Array

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
_SHARE_TO_USE = 0.8
_MOST_BYTES = 1e300
_SEAL_BYTES = 32

WRITTEN: list[str] = []
"""The files that this command has put in their places so far."""


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
    size = float(match[1]) * 1024.0 ** " kmgt".index(match[2].lower() or " ") if match else 0.0
    if not 1 <= size < math.inf:
        raise UsageError(text, "is not a size", "write 500M or 2G")
    return int(size)


def format_size(n_bytes: float) -> str:
    """Return bytes for people: ``1.5 GB``."""
    n_bytes = min(n_bytes, _MOST_BYTES)  # a header may promise more than a float can be
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


def memory_to_use() -> int:
    """Return the bytes that may be used where the user sets no limit: what is free, less a rest."""
    return int(free_memory() * _SHARE_TO_USE)


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
    limit = memory_to_use() if max_memory is None else max_memory
    if n_bytes > limit:
        what = f"needs {format_size(n_bytes)} of memory, {format_size(limit)} may be used"
        raise LimitError(subject, what, hint)
    _admit[0](n_bytes)


def _at_once(n_bytes: int) -> None:
    """Let work begin without asking anybody."""


_admit: list[Callable[[int], None]] = [_at_once]


def admit_by(admit: Callable[[int], None]) -> None:
    """Have `admit` told the bytes that work needs before each beginning; it may wait, or raise.

    Where several processes share the memory of a machine, it is what makes them take turns.
    """
    _admit[0] = admit


@functools.cache
def prepare_kernels() -> None:
    """Point numba's cache at the user's own cache folder; must run before numba is imported.

    Where that folder cannot be used, a private temporary one is: the kernels are then compiled
    anew, which costs seconds and changes no result. Cache files that were cut short go first:
    numba dies on them.
    """
    if "numba" in sys.modules:
        return
    given = os.environ.get("NUMBA_CACHE_DIR", "")
    folder = given if _is_usable(given) else _own_cache() or _temporary_cache()
    _remove_damaged(folder)
    os.environ["NUMBA_CACHE_DIR"] = folder


def cache_folder() -> str | None:
    """Return where compiled kernels are kept; None where numba was there before mmalign."""
    prepare_kernels()
    return os.environ.get("NUMBA_CACHE_DIR")


def kept(name: str, shape: tuple[int, ...], make: Callable[[], Float64Array]) -> Float64Array:
    """Return an array that never changes from disk, or make it and keep it beside the kernels.

    Parameters
    ----------
    name : str
        Of its file: all that it depends on.
    shape : tuple of int
    make : callable
        Makes it.

    Returns
    -------
    ndarray
        Read-only.
    """
    import numpy as np

    folder = cache_folder()
    path = None if folder is None else Path(folder, f"{name}.f8")
    data = b""
    if path is not None:
        with suppress(OSError):
            data = path.read_bytes()
    numbers = data[:-_SEAL_BYTES]
    if len(numbers) != 8 * math.prod(shape) or _seal_of(numbers) != data[-_SEAL_BYTES:]:
        numbers = make().astype("<f8").tobytes()
        if path is not None:
            _keep(path, numbers + _seal_of(numbers))
    return np.frombuffer(numbers, dtype="<f8").reshape(shape)


def _seal_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _keep(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; what cannot be kept is made again next time."""
    temporary = path.with_name(f"{path.name}-{os.getpid()}-{threading.get_ident()}")
    with suppress(OSError):
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise


def is_first_run() -> bool:
    """Tell whether no kernel has been compiled yet: the first one takes some seconds."""
    folder = cache_folder()
    if folder is None or os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False  # kept where numba likes to, or never compiled
    return not any(Path(folder).glob("kernels_*/*.nbi"))


def _own_cache() -> str:
    """Return the folder of this version's compiled kernels, or nothing if it cannot be used."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as its specification demands
        base = os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "mmalign", f"kernels-{__version__}-{_kernel_stamp()}")
    return folder if _make_private(folder) and _is_usable(folder) else ""


def _kernel_stamp() -> str:
    """Return a number that changes with any kernel: numba looks at one file of several only."""
    files = sorted((Path(__file__).parent / "kernels").glob("*.py"))
    stamps = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return f"{zlib.crc32(repr(stamps).encode()):08x}"


def _make_private(folder: str) -> bool:
    """Make a folder and its parent, and make sure that only this user writes there.

    What numba keeps in it is unpickled and executed: it must be nobody else's.
    """
    try:
        os.makedirs(os.path.dirname(os.path.dirname(folder)), exist_ok=True)
        for part in (os.path.dirname(folder), folder):
            with suppress(FileExistsError):
                os.mkdir(part, 0o700)
            if not (_is_own(os.lstat(part)) and _is_own(os.stat(part))):
                return False
            os.chmod(part, 0o700)
    except OSError:
        return False
    return True


def _is_own(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _is_usable(folder: str) -> bool:
    """Tell whether files can be made in a folder; it is made where it is missing."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_cache() -> str:
    """Make a folder for this process alone, wherever there is room for one."""
    for base in (None, "/dev/shm", os.curdir):
        with suppress(OSError):
            folder = os.path.abspath(tempfile.mkdtemp(prefix="mmalign-kernels-", dir=base))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return folder
    raise LimitError("kernels", "no folder for compiled code", "set NUMBA_CACHE_DIR or TMPDIR")


def _remove_damaged(folder: str) -> None:
    """Remove the cache files of this user that were cut short."""
    for path in Path(folder).glob("*/*.nb[ci]"):
        with suppress(OSError):
            if _is_own(path.lstat()) and not _ends_a_pickle(path):
                path.unlink()


def _ends_a_pickle(path: Path) -> bool:
    """Tell whether a file ends with the byte that ends every pickle: a look at one byte each."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read() == b"."


@contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block, some milliseconds, is done.

    Blocking them for this thread would not do: a thread of the linear-algebra library would
    take the signal, and Python would still interrupt this one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which no signal interrupts
        return
    late: list[int] = []
    before = {
        number: signal.signal(number, lambda n, frame: late.append(n))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if late:
            signal.raise_signal(late[0])


_threads = [0]


def threads() -> int:
    """Return how many threads may be used: by default as many as there are processors for us."""
    return _threads[0] or _processors()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(n_threads: int | None) -> None:
    """Use `n_threads` threads at most, in the linear-algebra libraries too; None sets no limit."""
    if n_threads is not None:
        _threads[0] = n_threads
        import threadpoolctl

        threadpoolctl.threadpool_limits(n_threads)


@contextmanager
def one_algebra_thread() -> Iterator[None]:
    """Keep the linear-algebra libraries to one thread: on small matrices more cost tenfold."""
    import scipy.linalg  # noqa: F401 -- has a library of its own, that must be there to be told
    import threadpoolctl

    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def hold_standard_streams() -> None:
    """Keep descriptors 0 to 2 taken, so that no file of ours becomes one of them.

    A library that complains to a standard error that the user has closed would else write into
    whichever file was opened first.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class _Hush:
    """Descriptor 2 leads nowhere while anybody asks for it: threads may overlap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._kept: int | None = None

    def begin(self) -> None:
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                with suppress(OSError):
                    self._kept = os.dup(2)
                    os.dup2(_nowhere(), 2)

    def end(self) -> None:
        with self._lock:
            self._asking -= 1
            if self._asking == 0 and self._kept is not None:
                os.dup2(self._kept, 2)
                os.close(self._kept)
                self._kept = None


@functools.cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)


_hush = _Hush()


@contextmanager
def libraries_hushed() -> Iterator[None]:
    """Let what a library in C writes to standard error by itself go nowhere.

    The decoder of mp3 tells every oddity of a damaged file that way.
    """
    _hush.begin()
    try:
        yield
    finally:
        _hush.end()


def tolerate_any_text() -> None:
    """Escape what the terminal's encoding has no character for, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_unwritable() -> None:
    """Let what a full disk or a closed pipe did not take go nowhere, silently, at exit."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
