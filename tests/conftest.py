"""What the tests share: running a command in this process, and small streams on disk."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass

import jsonschema
import numpy as np
import pytest

from mmalign_cli import runtime
from mmalign_cli.batch import slot
from mmalign_cli.batch.mark import Mark
from mmalign_cli.batch.worker import Worker
from mmalign_cli.commands.main import _run

# Before any test module imports numba: workers and the commands they start compile once for all.
runtime.prepare_kernels()


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session", autouse=True)
def _compiled():
    """A first run says that it compiles: no test is one, unless it makes itself one."""
    if runtime.is_first_run():
        from mmalign_cli.align.dtw import local_costs

        local_costs(np.zeros((1, 1)), np.zeros((1, 1)), "euclidean")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capfd):
    """Run ``mmalign`` with some arguments, through its own entry, in this process."""

    def run(*arguments):
        capfd.readouterr()
        code = int(_run([str(a) for a in arguments]))
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def wave(folder):
    """Two tables of two columns, ``a.csv`` and ``b.csv``, at 10 frames a second."""
    for name, n in (("a", 20), ("b", 24)):
        t = np.arange(n) / 10
        rows = np.column_stack([t, np.sin(6 * t * 20 / n), np.cos(4 * t * 20 / n)])
        np.savetxt(folder / f"{name}.csv", rows, delimiter=",", header="time,x,y", comments="")
    return folder


@pytest.fixture(scope="session")
def schema():
    done = subprocess.run(
        [sys.executable, "-m", "mmalign_cli", "schema", "alignment"],
        capture_output=True,
        check=True,
    )
    value = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(value)
    return jsonschema.Draft202012Validator(value)


class Lines(queue.SimpleQueue):
    """What a worker is told; None ends its thread."""

    def get(self):
        line = super().get()
        if line is None:
            raise SystemExit
        return line


class WorkerInside:
    """A worker in a thread of this process: to start one of its own takes seconds."""

    def __init__(self, cwd, threads):
        self._lines, self._answers = Lines(), queue.SimpleQueue()
        self.mark = Mark()
        self.started.append(self)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(SystemExit):
            Worker(self._lines, self).serve()

    def write(self, data):
        self._answers.put(data)

    def flush(self):
        pass

    def send(self, message):
        self._lines.put(json.dumps(message).encode())

    def receive(self):
        return json.loads(self._answers.get())

    def resident(self):
        return 0

    def kill(self):
        self._lines.put(None)

    def bury(self):
        self.kill()
        self._thread.join()
        self.mark.unlink()
        return 0, ""


@pytest.fixture
def inside(monkeypatch):
    """Workers are threads; returns the list of those that were started."""
    WorkerInside.started = []
    monkeypatch.setattr(slot, "WorkerProcess", WorkerInside)
    monkeypatch.setattr(runtime, "limit_threads", lambda n: None)
    yield WorkerInside.started
    runtime.admit_by(lambda n_bytes: None)
