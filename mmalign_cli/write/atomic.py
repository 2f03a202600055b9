"""Writing a file so that a reader sees the old one or the new one, never a mixture."""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from mmalign_cli.errors import OutputError, UsageError
from mmalign_cli.runtime import WRITTEN, signals_held

_PREFIX, _SUFFIX = ".mmalign-", ".tmp"
_MANY = 4
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_WORD, _NUMBERS = secrets.token_hex(4), itertools.count()
_UNFINISHED: set[str] = set()
_LEFT_OVER = re.compile(r"\.mmalign-(\d{1,9})-(?:([0-9a-f]{8})-)?\w+\.tmp")


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


class Outputs:
    """The files that one command writes: all of them appear when the block ends, or none.

    Each is written beside its target and synchronised to disk. At the end of the block they are
    linked into place (renamed over old files, with `force`); if it ends by an exception they are
    removed. With `force` a symbolic link keeps being one: its target is replaced.

    Parameters
    ----------
    force : bool
        Whether existing files may be replaced.
    together : bool
        Synchronise at the end, all files at once: for many small ones, in a folder from which
        left-overs have been removed.

    Attributes
    ----------
    force : bool

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Outputs(force=False) as outputs:
    ...         with outputs.open(f"{folder}/a.txt") as file:
    ...             _ = file.write(b"whole")
    ...     pathlib.Path(folder, "a.txt").read_text()
    'whole'
    """

    def __init__(self, force: bool, together: bool = False) -> None:
        self.force = force
        self._together = together
        self._folders: dict[str, str] = {}  # as named: as it really is, its left-overs removed
        self._pending: list[tuple[str, str, str]] = []  # path as named, temporary, target

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with signals_held():
            left = self._pending
            try:
                if kind is None:
                    self._publish_all()
                    left = [] if self.force else left  # renamed, where they were not linked
            finally:
                for _, temporary, _ in left:
                    with suppress(OSError):
                        os.unlink(temporary)
                _UNFINISHED.difference_update(temporary for _, temporary, _ in self._pending)

    def _publish_all(self) -> None:
        """Move every file to its place; if one cannot be, take back those that were new."""
        done: list[tuple[str, str]] = []
        if self._together and self._pending:
            with _told_as_output_error(self._pending[0][0]):
                _synchronise([temporary for _, temporary, _ in self._pending])
        try:
            for path, temporary, target in self._pending:
                with _told_as_output_error(path):
                    _publish(temporary, target, self.force)
                done.append((temporary, target))
        except OutputError:
            for temporary, target in done:
                with suppress(OSError):
                    if os.path.samefile(temporary, target):  # a link, and still ours
                        os.unlink(target)
            raise
        for folder in {os.path.dirname(target) or "." for _, _, target in self._pending}:
            _sync_folder(folder)
        WRITTEN.extend(path for path, _, _ in self._pending)

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file for binary writing that is to appear as `path`.

        Raises
        ------
        OutputError
            If it cannot be written; an old file of that name is then whole.
        """
        with _told_as_output_error(path):
            target = self._target(path)
            temporary = os.path.join(os.path.dirname(target), _temporary_name())
            self._pending.append((path, temporary, target))  # before there is one: none is left
            _UNFINISHED.add(temporary)
            handle = os.open(temporary, _NEW, 0o666)
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                if not self._together:
                    os.fsync(file.fileno())

    def _target(self, path: str) -> str:
        """Return the file that is to be written: with `force` what a symbolic link leads to."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder) if self.force else folder
            if not self._together:
                remove_left_overs(self._folders[folder] or ".")
        target = os.path.join(self._folders[folder], name)
        return os.path.realpath(target) if self.force and os.path.islink(target) else target

    def make_folder(self, path: str) -> None:
        """Make a folder that is missing; it stays, whatever happens."""
        with _told_as_output_error(path):
            os.makedirs(path, exist_ok=True)


@atexit.register
def _remove_unfinished() -> None:
    """Remove what is left where a signal came just before `Outputs.__exit__` held it back."""
    for temporary in _UNFINISHED:
        with suppress(OSError):
            os.unlink(temporary)
    _UNFINISHED.clear()


def _temporary_name() -> str:
    """Return the name of a temporary file of this process that no other has."""
    return f"{_PREFIX}{os.getpid()}-{_process_space()}-{_WORD}_{next(_NUMBERS)}{_SUFFIX}"


@functools.cache
def _process_space() -> str:
    """Return a word for the machine or container within which process numbers mean something."""
    names = [os.uname().nodename] if hasattr(os, "uname") else []
    with suppress(OSError):
        names.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:8]


def remove_left_overs(folder: str) -> None:
    """Remove the temporary files of processes that were killed, this user's own."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _LEFT_OVER.fullmatch(entry.name)
            if match and match[2] in (None, _process_space()) and _is_dead(int(match[1])):
                with suppress(OSError):
                    if _is_removable(entry):
                        os.unlink(entry.path)


def _is_removable(entry: os.DirEntry[str]) -> bool:
    is_own = not hasattr(os, "geteuid") or entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return is_own and entry.is_file(follow_symlinks=False)


def _is_dead(process: int) -> bool:
    import psutil

    if not psutil.pid_exists(process):
        return True
    try:  # one that nobody waits for keeps its number, in a container without an init for good
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error as error:
        return isinstance(error, psutil.NoSuchProcess)


@contextmanager
def _told_as_output_error(path: str) -> Iterator[None]:
    """Turn what the system says of `path` into an OutputError."""
    try:
        yield
    except FileExistsError:
        raise OutputError(path, "exists", "--force replaces it") from None
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error.strerror or error}") from None


def _publish(temporary: str, target: str, force: bool) -> None:
    """Move a finished file to its place; FileExistsError if one is there, without `force`."""
    if force:
        os.replace(temporary, target)
    else:
        _link(temporary, target)


def _link(temporary: str, target: str) -> None:
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if os.path.lexists(target):  # a file system without hard links
            raise FileExistsError(target) from None
        os.rename(temporary, target)


def _synchronise(files: Sequence[str]) -> None:
    """Bring files of one file system to disk: many in one go, where the system has a call for it.

    A disk takes milliseconds for each file by itself, and hardly longer for all together.
    """
    whole = _syncfs() if len(files) >= _MANY else None
    for name in files if whole is None else files[:1]:
        handle = os.open(name, os.O_RDWR)
        try:
            if whole is None:
                os.fsync(handle)
            elif whole(handle):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(handle)


@functools.cache
def _syncfs() -> Any:
    """Return the system's call that synchronises the file system of a file, or None."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    return getattr(library, "syncfs", None)


def _sync_folder(folder: str) -> None:
    with suppress(OSError):  # some file systems cannot synchronise a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
