"""Doing something many thousand times in forked children that may crash, hang or eat memory."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

LONGEST_S = 60.0
MOST_BYTES = 12 * 1024**3  # of addresses: what threads reserve counts too
_A_CHILD = 2000

Trial = Callable[[int], str]
"""Does the k-th thing and tells in a word how it went; one that begins with FAULT is a fault."""


@dataclass
class Tally:
    """What came of all trials.

    Attributes
    ----------
    results : Counter
        How often each word was told.
    faults : dict of int to str
        The trials that went wrong, and how.
    n_crashes, n_hangs : int
        Children that died, and that had to be killed.
    slowest_s : float
        The longest trial.
    most_bytes : int
        The most memory that a trial added to what its child held before it.
    """

    results: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    n_crashes: int = 0
    n_hangs: int = 0
    slowest_s: float = 0.0
    most_bytes: int = 0

    def add(self, k: int, result: str, seconds: float, n_bytes: int) -> None:
        """Count one trial."""
        self.results[result.partition(" ")[0]] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        self.most_bytes = max(self.most_bytes, n_bytes)
        if result.startswith("FAULT"):
            self.faults[k] = result


def guarded(trial: Trial, count: int, until: float = float("inf")) -> Tally:
    """Do trials 0 to `count`, or as many as there is time for, in children one after the other."""
    tally, k = Tally(), 0
    while k < count and time.monotonic() < until:
        k = _child(trial, k, min(k + _A_CHILD, count), until, tally)
    return tally


def _child(trial: Trial, first: int, end: int, until: float, tally: Tally) -> int:
    """Fork a child for trials `first` to `end`; return the next one to do."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(theirs, trial, first, end, until)
    )
    process.start()
    theirs.close()
    k = first
    while k < end:
        try:
            found = ours.recv() if ours.poll(LONGEST_S) else None
        except EOFError:
            process.join()
            if process.exitcode != 0:
                tally.n_crashes += 1
                tally.faults[k] = f"CRASH {_ending(process.exitcode)}"
                k += 1
            elif time.monotonic() >= until:
                return end
            break
        if found is None:
            tally.n_hangs += 1
            tally.faults[k] = "HANG"
            process.kill()
            k += 1
            break
        tally.add(*found)
        k = found[0] + 1
    ours.close()
    process.join()
    return k


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"


def _work(connection: Connection, trial: Trial, first: int, end: int, until: float) -> None:
    """Do the trials in this child; what it says goes to a file that must stay empty."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("always")
    warnings.simplefilter("ignore", DeprecationWarning)
    said = tempfile.TemporaryFile()  # noqa: SIM115 -- the child's own, until it ends
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    for k in range(first, end):
        if time.monotonic() >= until:
            break
        before = _memory("VmRSS", reset=True)
        began = time.monotonic()
        try:
            result = trial(k)
        except Exception:  # noqa: BLE001 -- a fault of the trial itself
            result = f"FAULT in the trial: {traceback.format_exc()[-600:]}"
        seconds = time.monotonic() - began
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if os.fstat(said.fileno()).st_size:
            said.seek(0)
            result = f"FAULT says {said.read(300)!r}"
            os.ftruncate(said.fileno(), 0)
            said.seek(0)
        connection.send((k, result, seconds, max(_memory("VmHWM") - before, 0)))
    connection.close()


def _memory(what: str, reset: bool = False) -> int:
    """Return a figure of this process's memory in bytes; Linux only, else 0."""
    with suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0
