"""``results.ndjson``: what became of each row, appended as it is known; also what resumes a run."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress

from mmalign_cli.batch.job import Record
from mmalign_cli.batch.wire import decode, encode
from mmalign_cli.errors import OutputError

RESULTS = "results.ndjson"
_READ_BYTES = 1 << 20
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)  # a pipe, some network file systems
_FIELDS = {"id", "status", "task", "inputs", "finished"}


def results_file(folder: str, shard: tuple[int, int] | None) -> str:
    """Return the file that a run, or one shard of it, appends to."""
    name = RESULTS if shard is None else f"results-{shard[0]}-of-{shard[1]}.ndjson"
    return os.path.join(folder, name)


def lines_of(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a file, each with where it begins; a torn last one is left out."""
    with open(path, "rb", buffering=_READ_BYTES) as file:
        at = 0
        for line in file:
            if line.endswith(b"\n"):
                yield at, line
            at += len(line)


def parsed(line: bytes) -> Record | None:
    """Return the record in a line, or None if the line is none: half of one, or of zeros."""
    with suppress(ValueError):
        value = decode(line)
        if isinstance(value, dict) and value.keys() >= _FIELDS:
            return value
    return None


class Index:
    """Where in some files the last record of each row is.

    Parameters
    ----------
    files : iterable of str
        Those that are missing are empty. Of the records of a row the one made last counts.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = [path for path in files if os.path.exists(path)]
        self.warnings: list[str] = []
        self.n_records = 0
        self.clashes: list[str] = []
        self._at: dict[str, tuple[int, int, float]] = {}
        self._tasks: dict[str, str] = {}
        for number, path in enumerate(self.files):
            self._read(number, path)

    def _read(self, number: int, path: str) -> None:
        end, damaged = 0, 0
        for at, line in lines_of(path):
            record, end = parsed(line), at + len(line)
            if record is None:
                damaged += 1
                continue
            self.n_records += 1
            row_id, made = record["id"], float(record["finished"])
            self._notice(row_id, record["task"], path)
            if row_id not in self._at or self._at[row_id][2] <= made:
                self._at[row_id] = (number, at, made)
        torn = os.path.getsize(path) - end
        if torn:
            self.warnings.append(f"{path}: the last line was cut short: ignored")
        if damaged:
            self.warnings.append(f"{path}: {damaged} lines are damaged: ignored")

    def _notice(self, row_id: str, task: str, path: str) -> None:
        """Take note of a row that files of different folders know differently."""
        before = self._at.get(row_id)
        if before is not None and self._tasks[row_id] != task:
            folders = (os.path.dirname(self.files[before[0]]), os.path.dirname(path))
            if folders[0] != folders[1]:
                self.clashes.append(row_id)
        self._tasks[row_id] = task

    def file_of(self, row_id: str) -> str:
        """Return the file that holds the last record of a row."""
        return self.files[self._at[row_id][0]]

    def __len__(self) -> int:
        return len(self._at)

    def ids(self) -> list[str]:
        """Return the ids of all rows, in the order in which they were first known."""
        return list(self._at)

    def records(self, ids: Iterable[str]) -> Iterator[Record]:
        """Yield the last record of each of some rows; one record is in memory at a time."""
        return map(decode, self.lines(ids))

    def lines(self, ids: Iterable[str]) -> Iterator[bytes]:
        """Yield the line of the last record of each of some rows."""
        with ExitStack() as opened:
            files = [opened.enter_context(open(path, "rb")) for path in self.files]
            for row_id in ids:
                if row_id in self._at:
                    number, at, _ = self._at[row_id]
                    files[number].seek(at)
                    yield files[number].readline()


class Ledger:
    """A results file that is appended to.

    Parameters
    ----------
    path : str
        Made if it is missing; a torn last line is cut off.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            os.ftruncate(self._handle, _whole(self._handle))
        except OSError as error:
            raise OutputError(path, f"cannot be written: {error.strerror}") from None

    def append(self, records: Iterable[Record]) -> None:
        """Add records; when the disk is full perhaps half of the last one."""
        data = b"".join(map(encode, records))
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            raise OutputError(self._path, f"cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Bring all of it to disk.

        Raises
        ------
        OutputError
            If the disk does not take it.
        """
        try:
            os.fsync(self._handle)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise OutputError(self._path, f"cannot be written: {error.strerror}") from None
        finally:
            os.close(self._handle)


def _whole(handle: int) -> int:
    """Return where the last whole line of a file ends."""
    end = os.fstat(handle).st_size
    while end > 0:
        start = max(end - _READ_BYTES, 0)
        os.lseek(handle, start, os.SEEK_SET)
        newline = os.read(handle, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
