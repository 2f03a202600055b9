"""A run on a folder: what is done already, what comes in, and the tables at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

from mmalign_cli import runtime
from mmalign_cli.batch import summary
from mmalign_cli.batch.files import Digests, unchanged
from mmalign_cli.batch.job import DONE, FAILED, Job, Record
from mmalign_cli.batch.ledger import RESULTS, Index, Ledger, results_file
from mmalign_cli.batch.manifest import with_whole_paths
from mmalign_cli.batch.slot import Setup
from mmalign_cli.errors import MmalignError, OutputError
from mmalign_cli.streams.source import open_source
from mmalign_cli.write.atomic import Outputs, check_outputs, remove_left_overs
from mmalign_cli.write.document import is_document

_MAX_BYTES = 1 << 40
Shard: TypeAlias = tuple[int, int]
"""Number of the share from 1 on, number of shares."""


def result_files(folder: str) -> list[str]:
    """Return the results files of a folder: the shards', and the one of all."""
    if not os.path.isdir(folder):
        return []
    names = sorted(n for n in os.listdir(folder) if n.startswith("results"))
    shards = [n for n in names if n.startswith("results-") and n.endswith(".ndjson")]
    return [os.path.join(folder, name) for name in (*shards, RESULTS)]


@contextmanager
def locked(folder: str, shard: Shard | None = None) -> Iterator[None]:
    """Keep other runs off a folder, or off one shard in it; the lock dies with the process.

    Raises
    ------
    OutputError
        If another run is at work there.
    """
    from filelock import FileLock, Timeout

    name = ".mmalign-batch.lock" if shard is None else f".mmalign-batch-{shard[0]}.lock"
    lock = FileLock(os.path.join(folder, name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        hint = "wait for it to end, or choose another folder"
        raise OutputError(folder, "another batch is writing there", hint) from None
    except OSError as error:
        raise OutputError(folder, f"cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


class Session:
    """The state of a batch in its folder; as a context manager, inside `locked`, it takes notes.

    Parameters
    ----------
    setup : Setup
        With a folder.
    manifest : str
        Where the rows come from.
    jobs : sequence of Job
        The rows of this run, those of which files are missing too.
    shard : tuple of int or None
    """

    def __init__(
        self, setup: Setup, manifest: str, jobs: Sequence[Job], shard: Shard | None
    ) -> None:
        assert setup.folder is not None
        self._setup, self._folder, self._shard = setup, setup.folder, shard
        self._start = "" if manifest == "-" else os.path.dirname(manifest)
        self._jobs = {job.id: job for job in jobs}
        self._index = Index(result_files(self._folder))
        self.warnings = self._index.warnings
        self._path = results_file(self._folder, shard)

    def __enter__(self) -> Session:
        remove_left_overs(self._folder)
        self._ledger = Ledger(self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            self._ledger.close()
        except OutputError:
            if kind is None:  # else what ended the run is what is told
                raise

    def current(self, retry_failed: bool) -> set[str]:
        """Return the ids of rows that need not be run: nothing that they depend on has changed.

        Parameters
        ----------
        retry_failed : bool
            Whether rows that failed are to be run again all the same.
        """
        digests, how = Digests(), self._setup.how()
        current = set()
        for record in self._index.records(self._jobs):
            job = self._jobs[record["id"]]
            if record["status"] == FAILED and retry_failed:
                continue
            if self._is_current(job, record, digests, how):
                current.add(job.id)
        return current

    def _is_current(
        self, job: Job, record: Record, digests: Digests, how: Mapping[str, object]
    ) -> bool:
        inputs = job.inputs()
        if record["task"] != job.task(how) or len(record["inputs"]) != len(inputs):
            return False
        if record["status"] == DONE and not self._is_whole(job, record):
            return False
        with suppress(MmalignError):  # one that cannot be read has changed
            return all(
                unchanged(path, known, digests)
                for path, known in zip(inputs, record["inputs"], strict=True)
            )
        return False

    def _is_whole(self, job: Job, record: Record) -> bool:
        """Tell whether the document of a row is there, as long as it was."""
        with suppress(OSError):
            size: int = record["bytes"]
            return os.path.getsize(str(self._setup.document(job))) == size
        return False

    def check_documents(self, jobs: Sequence[Job]) -> None:
        """Refuse rows whose document would take the place of a file that is something else.

        Raises
        ------
        OutputError
            If it is an input, or no alignment document.
        """
        for job in jobs:
            path = str(self._setup.document(job))
            if os.path.lexists(path):
                check_outputs([path], job.inputs(), force=True)
                if not is_document(open_source(path, _MAX_BYTES).head):
                    hint = "choose another folder, or another id"
                    raise OutputError(path, "exists, and is no alignment document", hint)

    def results(self) -> Iterator[Record]:
        """Yield the records of the rows of this run as they are by now."""
        return Index(result_files(self._folder)).records(self._jobs)

    def failures(self) -> Iterator[Record]:
        """Yield the records of those that failed, now or in a run before."""
        return (record for record in self.results() if record["status"] == FAILED)

    def record(self, records: Sequence[Record]) -> None:
        """Take note of rows that ended; the document of an earlier run of a failed one goes.

        Raises
        ------
        OutputError
            If the disk takes no more.
        """
        for record in records:
            if record["status"] == FAILED:
                job = self._jobs[record["id"]]
                named = [*job.files, *([] if job.truth is None else [job.truth])]
                record["row"] = with_whole_paths(job.cells, self._start, job.specs, named)
                record["row"]["id"] = job.id
                with suppress(OSError):
                    os.unlink(str(self._setup.document(job)))
        self._ledger.append(records)
        if records and self._path not in runtime.WRITTEN:
            runtime.WRITTEN.append(self._path)

    def finish(self, parquet: bool) -> None:
        """Leave one line a row in the results, and write the tables; a shard writes none.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        with Outputs(force=True) as outputs:
            own = Index([self._path])
            if own.n_records > len(own):
                rewrite(outputs, self._path, own)
            if self._shard is None:
                write_tables(outputs, self._folder, list(self._jobs), parquet)


def rewrite(outputs: Outputs, path: str, index: Index) -> None:
    """Write a results file anew: a line a row."""
    with outputs.open(path) as file:
        for line in index.lines(index.ids()):
            file.write(line)


def write_tables(outputs: Outputs, folder: str, first: Sequence[str], parquet: bool) -> int:
    """Write the summary and the failures of all rows that have a result, some of them first.

    Returns
    -------
    int
        How many failed.
    """
    index, known = Index(result_files(folder)), set(first)
    ids = [*first, *(row_id for row_id in index.ids() if row_id not in known)]
    summary.write_summary(outputs, folder, index.records(ids))
    if parquet:
        summary.write_parquet(outputs, folder, index.records(ids))
    return summary.write_failures(outputs, folder, index.records(ids))
