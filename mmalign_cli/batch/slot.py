"""A place where rows are aligned: one process, started again whenever it dies.

joblib hands out the work, to threads that each have such a process, and not to processes of its
own: when one of loky's dies, all others are stopped with everything that they were doing, and
none can be stopped alone because its row takes too long or too much memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmalign_cli.batch.job import Job, Record, failure
from mmalign_cli.batch.memory import Budget
from mmalign_cli.batch.process import WorkerProcess, cause_of
from mmalign_cli.errors import ExitCode, MmalignError, OutputError
from mmalign_cli.runtime import format_size, memory_to_use
from mmalign_cli.write.atomic import remove_left_overs

CHUNKS = 2
"""Chunks of short rows that a slot may have at a time."""
_TICK_S = 0.1
_MOST_DEATHS = 3


@dataclass(frozen=True)
class Setup:
    """What goes for all rows of a run.

    Parameters
    ----------
    folder : str or None
        Where documents go; absolute.
    cwd : str
        Where relative paths start.
    jobs : int
        Workers that share the memory of a machine.
    memory : int or None
        Bytes for all of them; None takes what is free.
    timeout_s : float or None
        For one row.
    threads : int
        Of one worker.
    with_path : bool
        Whether documents hold the path.
    tolerance_s : float or None
        Of an audit.
    with_sounds : bool
        Whether rows are likely to read sounds: what that needs is then loaded before them.
    """

    folder: str | None
    cwd: str
    jobs: int = 1
    memory: int | None = None
    timeout_s: float | None = None
    threads: int = 1
    with_path: bool = True
    tolerance_s: float | None = None
    with_sounds: bool = False

    def how(self) -> Mapping[str, object]:
        """Return what changes documents and records of all rows."""
        return {"with_path": self.with_path, "tolerance": self.tolerance_s}

    def document(self, job: Job) -> str | None:
        """Return where the document of a row goes."""
        return None if self.folder is None else os.path.join(self.folder, f"{job.id}.json")


class StoppedError(Exception):
    """The run is over: whatever a slot was doing is of no use any more."""


class _Chunk:
    """Rows that were handed over together, and those of their records that are there."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.records: list[Record] = []

    @property
    def is_done(self) -> bool:
        """Whether all records are there."""
        return len(self.records) == len(self.jobs)


class Slot:
    """One worker, and the rows that it has been sent.

    Several threads may hand over rows at a time: what is sent ahead keeps the worker busy while
    documents of the rows before go to disk. One of them listens, for all.

    Parameters
    ----------
    setup : Setup
    budget : Budget
        Of the machine.
    """

    def __init__(self, setup: Setup, budget: Budget) -> None:
        self._setup = setup
        self._budget = budget
        self._process: WorkerProcess | None = None
        self._seen, self._since = 0, 0.0
        self._rows: deque[tuple[_Chunk, Job]] = deque()  # sent, without a record, in order
        self._n_ended = 0  # rows of this process that have a record
        self._sending, self._listening = threading.Lock(), threading.Lock()
        self._sharing, self._n_sharing = threading.Lock(), 0
        self._resident = 0
        self._held = 0
        self._fate: tuple[str, str] | None = None
        self._is_closed = False
        self._deaths = 0

    @property
    def has_process(self) -> bool:
        """Whether the worker is there already."""
        return self._process is not None

    def run(self, jobs: Sequence[Job]) -> list[Record]:
        """Align rows; a row that the worker dies of is a failed one.

        Raises
        ------
        OutputError
            If documents cannot be written.
        """
        chunk = _Chunk(jobs)
        with self._share():
            with self._sending:
                self._rows.extend((chunk, job) for job in jobs)
                self._send_rows(jobs)
            with self._listening:
                while not chunk.is_done:
                    self._listen()
        return chunk.records

    @contextmanager
    def _share(self) -> Iterator[None]:
        """Hold the worker's share of memory while rows are with it."""
        with self._sharing:
            if not self._n_sharing:
                self._held = self._budget.take(self._budget.share)
            self._n_sharing += 1
        try:
            yield
        finally:
            with self._sharing:
                self._n_sharing -= 1
                if not self._n_sharing:
                    self._budget.give(self._held)

    def _listen(self) -> None:
        """Take one message, from a worker that is started if there is none."""
        process = self._process or self._start()
        message = self._receive()
        if message is None:
            self._bury(process)
        elif "kept" in message:
            for record in message["kept"]:
                self._end(0, record)
            self._n_ended += len(message["kept"])
            self._shrink()
        elif "need" in message:
            self._grow(message["need"])
        elif "broken" in message:
            self._is_closed = True  # what it has not written it forgets
            raise OutputError(*message["broken"])

    def _end(self, place: int, record: Record) -> None:
        """Give a row its record."""
        with self._sending:
            chunk = self._rows[place][0]
            del self._rows[place]
            chunk.records.append(record)

    def _send_rows(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self._send({"rows": [self._row(job) for job in jobs]})

    def _row(self, job: Job) -> Mapping[str, Any]:
        """Return what a worker is told of a row."""
        return {
            "id": job.id,
            "method": job.method,
            "streams": [[spec.path, dict(spec.given)] for spec in job.specs],
            "settings": dict(job.settings),
            "inputs": job.inputs(),
            "truth": job.truth,
            "document": self._setup.document(job),
            "task": job.task(self._setup.how()),
        }

    def _grow(self, n_bytes: int) -> None:
        """Wait until all that a row needs is free, holding nothing meanwhile."""
        self._budget.give(self._held)
        self._held = 0
        self._held = self._budget.take(n_bytes)
        with self._sending:
            self._send({"go": True})

    def _shrink(self) -> None:
        """Give back what a row needed beyond its share."""
        if self._held > self._budget.share:
            self._budget.give(self._held - self._budget.share)
            self._held = self._budget.share

    def _start(self) -> WorkerProcess:
        """Start a worker, send it all rows, and wait until it has loaded what they need."""
        setup, budget = self._setup, self._budget
        with self._sending:
            if self._is_closed:
                raise StoppedError
            self._fate, self._n_ended = None, 0
            self._process = process = WorkerProcess(setup.cwd, setup.threads)
            self._send(
                {
                    "mark": process.mark.path,
                    "share": budget.share,
                    "memory": budget.total,
                    "threads": setup.threads,
                    "with_path": setup.with_path,
                    "tolerance": setup.tolerance_s,
                    "with_sounds": setup.with_sounds,
                }
            )
            self._send_rows([job for _, job in self._rows])
        message = self._receive()
        if message is None:
            self._process = None
            words = process.bury()[1]
            raise MmalignError("worker", f"does not start: {words or 'it says nothing'}")
        process.mark.unlink()
        self._resident = message["ready"]
        return process

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is not None:
            self._process.send(message)

    def _receive(self) -> Any:
        """Return the next message; None if the worker has died."""
        message = None if self._process is None else self._process.receive()
        if self._is_closed:
            raise StoppedError
        return message

    def _bury(self, process: WorkerProcess) -> None:
        """End a worker that has died; the row that it died of, if there is one, has failed.

        Raises
        ------
        MmalignError
            If workers again and again die of no row.
        """
        number = process.mark.get()
        with self._sending:
            self._process = None
        code, words = process.bury()
        what, hint = self._fate or cause_of(code)
        if hint is None and words:
            what = f"{what}: {words}"
        if number:
            place = number - self._n_ended - 1
            job = self._rows[place][1]
            status = ExitCode.FAULT if hint is None else ExitCode.NO_ALIGNMENT
            self._end(place, failure(job, self._setup.how(), status, job.id, what, hint))
            return
        self._deaths += 1
        if self._deaths > _MOST_DEATHS:
            raise MmalignError("worker", f"while documents went to disk {what}", hint)

    def watch(self) -> None:
        """Kill a worker whose row takes too long, or more memory than there is for all."""
        process, timeout_s = self._process, self._setup.timeout_s
        number, now = 0 if process is None else process.mark.get(), time.monotonic()
        if number != self._seen:
            self._seen, self._since = number, now
        if process is None or not number:
            return
        taken = process.resident() - self._resident
        if timeout_s is not None and now - self._since > timeout_s:
            self._fate = (f"took longer than {timeout_s:g} s", "raise --timeout")
            process.kill()
        elif taken > self._budget.total:
            sizes = [format_size(n) for n in (taken, self._budget.total)]
            what = f"took {sizes[0]} of memory, {sizes[1]} may be used"
            self._fate = (what, "raise --max-memory, or use fewer frames")
            process.kill()

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()  # or who is sending it something may wait for it
        with self._sending:
            process, self._process = self._process, None
        if process is not None:
            process.bury()


class Slots:
    """The slots of one run in this process, all watched.

    Parameters
    ----------
    setup : Setup
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        budget = Budget(setup.memory or memory_to_use(), setup.jobs)
        self._sizes: dict[Slot, list[int]] = {Slot(setup, budget): [] for _ in range(setup.jobs)}
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, jobs: Sequence[Job]) -> list[Record]:
        """Align rows in a slot that is free, or will soon be."""
        size = len(jobs)
        slot = self._claimed(size)
        try:
            return slot.run(jobs)
        finally:
            with self._changed:
                self._sizes[slot].remove(size)
                self._changed.notify_all()

    def _claimed(self, size: int) -> Slot:
        """Wait for a slot without rows, or with short ones: one chunk of them is sent ahead."""
        with self._changed:
            while not self._is_over.is_set():
                slot, sizes = min(
                    self._sizes.items(), key=lambda item: (len(item[1]), not item[0].has_process)
                )
                if not sizes or (len(sizes) < CHUNKS and min(size, *sizes) > 1):
                    sizes.append(size)
                    return slot
                self._changed.wait()
        raise StoppedError

    def _watch(self) -> None:
        while not self._is_over.wait(_TICK_S):
            for slot in self._sizes:
                slot.watch()

    def close(self) -> None:
        """End all workers; no half document of theirs stays."""
        with self._changed:
            self._is_over.set()
            self._changed.notify_all()
        for slot in self._sizes:
            slot.close()
        if self._setup.folder is not None:
            remove_left_overs(self._setup.folder)
