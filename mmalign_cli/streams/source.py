"""Opening an input: what it is, how large, its digest; refusals that need no reader."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import sys
from dataclasses import dataclass
from typing import BinaryIO, cast

from mmalign_cli.errors import InputError, LimitError, did_you_mean
from mmalign_cli.runtime import format_size

HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_KINDS = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISCHR, "is a device, not a file"),
    (stat.S_ISBLK, "is a device, not a file"),
    (stat.S_ISFIFO, "is a named pipe, not a file"),
    (stat.S_ISSOCK, "is a socket, not a file"),
)


@dataclass(frozen=True)
class Source:
    """An input that exists, is a regular file (or standard input) and is not empty.

    Parameters
    ----------
    path : str
        As the user named it; ``-`` is standard input.
    size : int
        Bytes.
    sha256 : str
        Digest of all bytes, hexadecimal.
    head : bytes
        The first bytes, for sniffing.
    piped : bytes or None
        All bytes, where they came through standard input.
    """

    path: str
    size: int
    sha256: str
    head: bytes
    piped: bytes | None = None

    def open(self) -> BinaryIO:
        """Open it for reading from the start."""
        if self.piped is not None:
            return io.BytesIO(self.piped)
        return open(self.path, "rb")

    def read(self, max_bytes: int) -> bytes:
        """Return all bytes.

        Raises
        ------
        LimitError
            If there are more than `max_bytes`.
        """
        if self.size > max_bytes:
            raise _too_large(self.path, self.size, max_bytes)
        with self.open() as file:
            return file.read()


def _too_large(path: str, size: int, max_bytes: int) -> LimitError:
    what = f"holds {format_size(size)} or more, the limit is {format_size(max_bytes)}"
    return LimitError(path, what, "raise it with max-bytes=")


def open_source(path: str, max_bytes: int) -> Source:
    """Examine `path` and read its digest and head.

    Parameters
    ----------
    path : str
        A file, or ``-`` for standard input.
    max_bytes : int
        The most that standard input may hold.

    Raises
    ------
    InputError
        If it is missing, not a regular file, not readable or empty.
    LimitError
        If standard input holds more than `max_bytes`.
    """
    source = _from_stdin(max_bytes) if path == "-" else _from_file(path)
    if source.size == 0:
        raise InputError(path, "file is empty" if path != "-" else "standard input is empty")
    return source


def _from_stdin(max_bytes: int) -> Source:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("-", "standard input is closed")
    parts, size = [], 0
    # Piece by piece: one large read would not notice a Ctrl-C until its data came.
    piped = cast(io.BufferedIOBase, sys.stdin.buffer)
    while part := piped.read1(min(_CHUNK_BYTES, max_bytes + 1 - size)):
        parts.append(part)
        size += len(part)
    data = b"".join(parts)
    if size > max_bytes:
        raise _too_large("-", size, max_bytes)
    return Source("-", len(data), hashlib.sha256(data).hexdigest(), data[:HEAD_BYTES], data)


def _from_file(path: str) -> Source:
    try:
        mode = os.stat(path).st_mode
        for is_kind, what in _KINDS:
            if is_kind(mode):
                raise InputError(path, what)
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            digest, size = hashlib.sha256(head), len(head)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except (OSError, ValueError) as error:
        raise InputError(path, reason_of(error), _near_name(path, error)) from None
    return Source(path, size, digest.hexdigest(), head)


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file could not be opened, in words of ours."""
    known = {
        errno.ENOENT: "no such file",
        errno.ENOTDIR: "no such file",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ELOOP: "is a symbolic link that leads back to itself",
        errno.ENAMETOOLONG: "the name is too long",
        errno.EISDIR: "is a directory",
    }
    if not isinstance(error, OSError):
        return "is not a file name"
    return known.get(error.errno or 0, f"cannot be read: {error.strerror}")


def _near_name(path: str, error: Exception) -> str | None:
    """Return the hint that names a file beside the missing one."""
    if not isinstance(error, FileNotFoundError):
        return None
    try:
        names = os.listdir(os.path.dirname(path) or ".")
    except OSError:
        return None
    return did_you_mean(os.path.basename(path), names)
