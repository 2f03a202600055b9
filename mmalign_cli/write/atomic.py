"""Writing a file so that a reader sees the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from mmalign_cli.errors import OutputError, UsageError

_PREFIX, _SUFFIX = ".mmalign-", ".tmp"


def check_outputs(paths: Iterable[str], inputs: Iterable[str], force: bool) -> None:
    """Refuse outputs that cannot or must not be written, before any work is done.

    Parameters
    ----------
    paths : iterable of str
        Files to write.
    inputs : iterable of str
        Files that are read: never overwritten, whatever `force` says.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If a file exists, is an input, or its folder is missing or read-only.
    UsageError
        If two outputs are one file.
    """
    seen: set[str] = set()
    inputs = list(inputs)
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(path, "two outputs are the same file")
        seen.add(real)
        _check_output(path, inputs, force)


def _check_output(path: str, inputs: Iterable[str], force: bool) -> None:
    folder = os.path.dirname(path) or "."
    if any(_is_same_file(path, other) for other in inputs):
        raise OutputError(path, "is an input", "inputs are never overwritten: choose another name")
    if os.path.isdir(path):
        raise OutputError(path, "is a directory")
    if os.path.lexists(path) and not force:
        raise OutputError(path, "exists", "--force replaces it")
    if not os.path.isdir(folder):
        raise OutputError(path, f"no such folder: {folder}", "make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(path, f"the folder {folder} is not writable")
    if len(os.fsencode(os.path.basename(path))) > 255:
        raise OutputError(path, "the name is too long")


def _is_same_file(a: str, b: str) -> bool:
    if b == "-":
        return False
    try:
        return os.path.samefile(a, b)
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)


@contextmanager
def atomic_file(path: str, force: bool) -> Iterator[IO[bytes]]:
    """Open a file that appears under `path`, complete, when the block ends without exception.

    It is written beside the target, synchronised to disk, then linked (or renamed over an old
    file, with `force`). With `force` a symbolic link keeps being one: its target is replaced.

    Parameters
    ----------
    path : str
        The file to write.
    force : bool
        Whether an existing file may be replaced.

    Yields
    ------
    file
        Open for binary writing.

    Raises
    ------
    OutputError
        If it cannot be written; the old file, if any, is then whole.
    """
    target = os.path.realpath(path) if force else path
    folder = os.path.dirname(target) or "."
    try:
        handle, temporary = tempfile.mkstemp(_SUFFIX, f"{_PREFIX}{os.getpid()}-", folder)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, target, force)
        _sync_folder(folder)
    except FileExistsError:
        raise OutputError(path, "exists", "--force replaces it") from None
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _publish(temporary: str, target: str, force: bool) -> None:
    os.chmod(temporary, 0o666 & ~_umask())
    if force:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if os.path.lexists(target):  # a file system without hard links
            raise FileExistsError(target) from None
        os.rename(temporary, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: str) -> None:
    with suppress(OSError):  # some file systems cannot synchronise a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot_write(path: str, error: OSError) -> OutputError:
    return OutputError(path, f"cannot be written: {error.strerror or error}")


def write_bytes(path: str, data: bytes, force: bool) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_file(path, force) as file:
        file.write(data)
