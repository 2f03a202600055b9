"""A place where rows are aligned: one process, started again whenever it dies.

joblib hands out the work, to threads that each have such a process, and not to processes of its
own: when one of loky's dies, all others are stopped with everything that they were doing, and
none can be stopped alone because its row takes too long or too much memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmalign_cli.batch.job import Job, Record, failure
from mmalign_cli.batch.memory import Budget
from mmalign_cli.batch.process import WorkerProcess, cause_of
from mmalign_cli.errors import ExitCode, MmalignError, OutputError
from mmalign_cli.runtime import format_size, memory_to_use
from mmalign_cli.write.atomic import remove_left_overs

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


class Slot:
    """One worker.

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
        self._sent = 0
        self._resident = 0
        self._held = 0
        self._fate: tuple[str, str] | None = None
        self._is_closed = False
        self._deaths = 0

    def run(self, jobs: Sequence[Job]) -> list[Record]:
        """Align rows; a row that the worker dies of is a failed one.

        Raises
        ------
        OutputError
            If documents cannot be written.
        """
        records: list[Record] = []
        todo = list(jobs)
        self._held = self._budget.take(self._budget.share)
        try:
            while todo:
                process = self._process or self._start()
                todo = self._attempt(process, todo, records)
        finally:
            self._budget.give(self._held)
        return records

    def _attempt(
        self, process: WorkerProcess, jobs: Sequence[Job], records: list[Record]
    ) -> list[Job]:
        """Align rows until all are, or the worker dies; return those that are still to do."""
        kept, before = 0, self._sent
        self._send({"rows": [self._row(job) for job in jobs]})
        self._sent += len(jobs)
        while kept < len(jobs):
            message = self._receive()
            if message is None:
                number = process.mark.get()
                culprit = jobs[number - before - 1] if number else None
                records += self._bury(process, culprit)
                return [job for job in jobs[kept:] if job is not culprit]
            if "kept" in message:
                records += message["kept"]
                kept += len(message["kept"])
                self._shrink()
            elif "need" in message:
                self._grow(message["need"])
            elif "broken" in message:
                raise OutputError(*message["broken"])
        return []

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
        self._send({"go": True})

    def _shrink(self) -> None:
        """Give back what a row needed beyond its share."""
        if self._held > self._budget.share:
            self._budget.give(self._held - self._budget.share)
            self._held = self._budget.share

    def _start(self) -> WorkerProcess:
        """Start a worker, and wait until it has loaded all that rows need."""
        setup, budget = self._setup, self._budget
        self._fate, self._sent = None, 0
        self._process = WorkerProcess(setup.cwd, setup.threads)
        self._send(
            {
                "mark": self._process.mark.path,
                "share": budget.share,
                "memory": budget.total,
                "threads": setup.threads,
                "with_path": setup.with_path,
                "tolerance": setup.tolerance_s,
                "with_sounds": setup.with_sounds,
            }
        )
        message = self._receive()
        if message is None:
            words = self._process.bury()[1]
            raise MmalignError("worker", f"does not start: {words or 'it says nothing'}")
        self._process.mark.unlink()
        self._resident = message["ready"]
        return self._process

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is not None:
            self._process.send(message)

    def _receive(self) -> Any:
        """Return the next message; None if the worker has died."""
        message = None if self._process is None else self._process.receive()
        if self._is_closed:
            raise StoppedError
        return message

    def _bury(self, process: WorkerProcess, job: Job | None) -> list[Record]:
        """Return the record of the row that the worker died of, if it died of one.

        Raises
        ------
        MmalignError
            If workers again and again die of no row.
        """
        self._process = None
        code, words = process.bury()
        what, hint = self._fate or cause_of(code)
        if hint is None and words:
            what = f"{what}: {words}"
        if job is None:
            self._deaths += 1
            if self._deaths > _MOST_DEATHS:
                raise MmalignError("worker", f"while documents went to disk {what}", hint)
            return []
        status = ExitCode.FAULT if hint is None else ExitCode.NO_ALIGNMENT
        return [failure(job, self._setup.how(), status, job.id, what, hint)]

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
        if self._process is not None:
            self._process.bury()


class Slots:
    """The slots of one run in this process: one for each thread, all watched.

    Parameters
    ----------
    setup : Setup
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._budget = Budget(setup.memory or memory_to_use(), setup.jobs)
        self._own = threading.local()
        self._all: list[Slot] = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, jobs: Sequence[Job]) -> list[Record]:
        """Align rows in the slot of the thread that calls."""
        return self._of_this_thread().run(jobs)

    def _of_this_thread(self) -> Slot:
        slot: Slot | None = getattr(self._own, "slot", None)
        if slot is None:
            slot = self._own.slot = Slot(self._setup, self._budget)
            with self._lock:
                if self._is_over.is_set():
                    raise StoppedError
                self._all.append(slot)
        return slot

    def _watch(self) -> None:
        while not self._is_over.wait(_TICK_S):
            for slot in list(self._all):
                slot.watch()

    def close(self) -> None:
        """End all workers; no half document of theirs stays."""
        with self._lock:
            self._is_over.set()
            for slot in self._all:
                slot.close()
        if self._setup.folder is not None:
            remove_left_overs(self._setup.folder)
