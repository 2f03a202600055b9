"""A worker as its parent sees it: a process, lines of JSON to it and from it, how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmalign_cli.batch.mark import Mark
from mmalign_cli.batch.wire import decode, encode

WORKER = (sys.executable, "-m", "mmalign_cli.batch.worker")
"""The command of a worker."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerProcess:
    """A worker, started.

    Parameters
    ----------
    cwd : str
        Its working folder.
    threads : int
        That libraries in it may start.

    Attributes
    ----------
    mark : Mark
        Which row it is at.
    """

    def __init__(self, cwd: str, threads: int) -> None:
        self.mark = Mark()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `bury`
        self._process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            cwd=cwd,
            env={**os.environ, **dict.fromkeys(_THREADS, str(threads))},
        )

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; that the worker has died is noticed when it does not answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the next message and return it; None if the worker has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return decode(line) if line.endswith(b"\n") else None

    def resident(self) -> int:
        """Return the bytes of memory that it takes; 0 if it has died."""
        import psutil

        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def bury(self) -> tuple[int, str]:
        """End it, if it has not died; return its exit code, and the last line of what it said."""
        self._process.kill()
        self.mark.unlink()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with self._complaints as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").strip().splitlines()
        return code, lines[-1] if lines else ""


def cause_of(code: int) -> tuple[str, str | None]:
    """Return why a process ended that nobody here has killed, and what to do about it."""
    if os.name == "posix" and code == -signal.SIGKILL:
        hint = "use --max-memory or fewer --jobs, then --retry failed"
        return "the worker was killed: most likely out of memory", hint
    if code < 0:
        return f"the worker died of {signal.Signals(-code).name}", None
    return f"the worker ended by itself, exit code {code}", None
