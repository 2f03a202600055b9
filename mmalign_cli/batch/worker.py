"""The process that aligns rows: reads them as JSON on standard input, answers on standard output.

A line in is ``{"rows": [...]}``, or ``{"go": true}`` in answer to a request for memory. A line
out is one of

- ``{"ready": bytes}``: kernels are loaded, this much memory is taken;
- ``{"need": bytes}``: the row needs more than its share, and waits;
- ``{"record": {...}}``: the row is aligned;
- ``{"keeping": true}``: documents go to disk, which is on no row's time;
- ``{"kept": n}``: the documents of the first n rows are in their places;
- ``{"broken": {...}}``: documents cannot be written: nothing more will come.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn

from mmalign_cli import runtime
from mmalign_cli.batch.aligning import Aligner
from mmalign_cli.batch.job import Record
from mmalign_cli.errors import MmalignError
from mmalign_cli.write.atomic import Outputs

TOGETHER_S = 0.25
"""Documents that are made within this time go to disk together."""
_KILL_ME_FIRST = "500"


class Worker:
    """One worker, of any number of rows."""

    def __init__(self, lines: queue.SimpleQueue[bytes], output: BinaryIO) -> None:
        self._lines = lines
        self._output = output
        self._granted = 0

    def serve(self) -> None:
        """Take rows until nobody sends any."""
        setup = self._next()
        self._share, self._granted = setup["share"], setup["share"]
        runtime.limit_threads(setup["threads"])
        runtime.admit_by(self._ask)
        self._aligner = Aligner(setup)
        self._aligner.warm_up()
        self._say({"ready": self._aligner.meter.resident()})
        while True:
            self._align_all(deque(self._next()["rows"]))

    def _align_all(self, rows: deque[Mapping[str, Any]]) -> None:
        done = 0
        try:
            while rows:
                until = time.monotonic() + TOGETHER_S
                with Outputs(force=True, together=True) as outputs:
                    while rows and (time.monotonic() < until):
                        self._granted = self._share
                        self._say({"record": self._aligner.align(rows.popleft(), outputs)})
                        done += 1
                    self._say({"keeping": True})
                runtime.WRITTEN.clear()
                self._say({"kept": done})
        except MmalignError as error:
            self._say({"broken": [error.subject, error.what, error.hint]})

    def _ask(self, n_bytes: int) -> None:
        """Wait until the memory that a row needs is free."""
        if n_bytes > self._granted:
            self._say({"need": n_bytes})
            self._next()
            self._granted = n_bytes

    def _next(self) -> Any:
        return json.loads(self._lines.get())

    def _say(self, message: Record) -> None:
        self._output.write(json.dumps(message).encode() + b"\n")
        self._output.flush()


def _listen(source: BinaryIO, lines: queue.SimpleQueue[bytes]) -> NoReturn:
    """Pass lines on; when there are no more, whoever sent them is gone: end at once."""
    for line in source:
        lines.put(line)
    os._exit(0)


def main() -> None:
    """Serve whoever started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_KILL_ME_FIRST)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()
    with suppress(BrokenPipeError):
        Worker(lines, output).serve()


if __name__ == "__main__":
    main()
