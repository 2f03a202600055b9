"""The loop: joblib hands chunks of rows to slots, on this machine or on a cluster of dask."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mmalign_cli.batch.job import Job, Record
from mmalign_cli.batch.slot import CHUNKS, Setup, Slots
from mmalign_cli.errors import InputError, UsageError

_CHUNK_S, _SHORTEST_CHUNK_S = 0.5, 0.05
_LONGEST_CHUNK = 1024


class Pace:
    """Cuts rows into chunks of about half a second, as far as is known by then.

    A chunk costs some milliseconds to hand over, whatever is in it; but what is in it is known
    only when all of it is done, and chunks of different lengths must not leave workers idle at
    the end.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._seconds_a_row: float | None = None
        self._size = 1

    def learn(self, rows: int, seconds: float) -> None:
        """Take note of how long the last rows took."""
        self._seconds_a_row = seconds / max(rows, 1)

    def chunks(self, jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
        """Yield the jobs in chunks."""
        done = 0
        while done < len(jobs):
            if self._seconds_a_row is not None:
                row_s = max(self._seconds_a_row, 1e-6)
                least, fits = int(_SHORTEST_CHUNK_S / row_s), int(_CHUNK_S / row_s)
                left = -(-(len(jobs) - done) // (2 * CHUNKS * self._workers))
                self._size = max(1, min(fits, 2 * self._size, max(left, least), _LONGEST_CHUNK))
            yield jobs[done : done + self._size]
            done += self._size


_RUNS: dict[str, Slots] = {}
_LOCK = threading.Lock()


def run_chunk(run: str, setup: Setup, jobs: Sequence[Job]) -> list[Record]:
    """Align rows in a slot of this process; they are a run's of that name."""
    with _LOCK:
        if run not in _RUNS:
            _RUNS[run] = Slots(setup)
        slots = _RUNS[run]
    return slots.run(jobs)


def end_run(run: str) -> None:
    """End the workers of a run in this process."""
    with _LOCK:
        slots = _RUNS.pop(run, None)
    if slots is not None:
        slots.close()


class Engine(Protocol):
    """Where chunks are run."""

    @property
    def workers(self) -> int:
        """How many rows it runs at a time."""

    @property
    def chunks(self) -> int:
        """How many chunks it has at a time."""

    @property
    def backend(self) -> str:
        """Its name to joblib."""

    def fit(self, setup: Setup) -> Setup:
        """Return the setup of one of its processes."""

    def end(self, run: str) -> None:
        """End the workers of a run."""


@dataclass(frozen=True)
class ThisMachine:
    """Threads of this process, some for each worker."""

    workers: int
    backend: str = "threading"

    @property
    def chunks(self) -> int:
        """Those that workers have, and those that are sent ahead."""
        return CHUNKS * self.workers

    def fit(self, setup: Setup) -> Setup:
        """Return the setup as it is."""
        return setup

    def end(self, run: str) -> None:
        """End the workers of a run."""
        end_run(run)


@dataclass(frozen=True)
class Dask:
    """Workers of a dask cluster, each with slots of its own.

    Parameters
    ----------
    client : distributed.Client
    workers : int
        Threads of all of them.
    """

    client: Any
    workers: int
    backend: str = "dask"

    @property
    def chunks(self) -> int:
        """One a thread: dask runs no more."""
        return self.workers

    def fit(self, setup: Setup) -> Setup:
        """Share out what a worker of the cluster may use."""
        infos = self.client.scheduler_info(n_workers=-1)["workers"].values()
        memory = min((i["memory_limit"] for i in infos if i["memory_limit"]), default=None)
        if setup.memory is not None:
            memory = min(setup.memory, memory or setup.memory)
        return replace(setup, jobs=max(i["nthreads"] for i in infos), memory=memory)

    def end(self, run: str) -> None:
        """End the workers of a run, wherever they are."""
        self.client.run(end_run, run)


@contextmanager
def dask_engine(scheduler: str | None, workers: int) -> Iterator[Dask]:
    """Connect to a cluster, or start one on this machine.

    Parameters
    ----------
    scheduler : str or None
        Address of an existing cluster.
    workers : int
        Of one that is started.

    Raises
    ------
    UsageError
        If dask is not installed.
    InputError
        If there is no cluster at that address.
    """
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        hint = 'pip install "mmalign[dask]"'
        raise UsageError("--engine", "dask is not installed", hint) from None
    cluster = None
    try:
        if scheduler is None:
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
            )
        client = Client(cluster or scheduler, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(str(scheduler), f"no dask scheduler answers: {error}") from None
    try:
        with client:
            n_threads = sum(client.nthreads().values())
            if not n_threads:
                raise InputError(str(scheduler), "the cluster has no worker", "start some first")
            yield Dask(client, n_threads)
    finally:
        if cluster is not None:
            cluster.close()


def run(jobs: Sequence[Job], setup: Setup, engine: Engine) -> Iterator[list[Record]]:
    """Align rows, those that take longest first; yield the records of each chunk when it is done.

    Parameters
    ----------
    jobs : sequence of Job
    setup : Setup
    engine : Engine

    Raises
    ------
    OutputError
        If documents cannot be written.
    """
    from joblib import Parallel, delayed, parallel_config

    name, pace = uuid.uuid4().hex, Pace(engine.workers)
    setup = engine.fit(setup)
    ordered = sorted(jobs, key=lambda job: -job.weight)
    with parallel_config(engine.backend, n_jobs=engine.chunks):
        parallel = Parallel(
            return_as="generator_unordered", batch_size=1, pre_dispatch=CHUNKS * engine.workers
        )
        results = parallel(delayed(run_chunk)(name, setup, c) for c in pace.chunks(ordered))
        try:
            for records in results:
                pace.learn(len(records), sum(r.get("seconds", 0.0) for r in records))
                yield records
        finally:
            engine.end(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it tells that some results were not asked for
                results.close()
