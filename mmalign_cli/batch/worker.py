"""The process that aligns rows: reads them as JSON on standard input, answers on standard output.

A line in is ``{"rows": [...]}``, or ``{"go": true}`` in answer to a request for memory. A line
out is one of

- ``{"ready": bytes}``: kernels are loaded, this much memory is taken;
- ``{"need": bytes}``: the row needs more than its share, and waits;
- ``{"kept": [...]}``: the records of the next rows, whose documents are in their places;
- ``{"broken": [...]}``: documents cannot be written: nothing more will come.

Which row is being aligned stands in the `Mark` that the parent has made.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn, TypeAlias

from mmalign_cli import runtime
from mmalign_cli.batch.aligning import Aligner
from mmalign_cli.batch.job import Record
from mmalign_cli.batch.mark import Mark
from mmalign_cli.batch.wire import decode, encode
from mmalign_cli.errors import MmalignError, OutputError
from mmalign_cli.write.atomic import Outputs

TOGETHER_S = 0.25
"""Documents that are made within this time go to disk together."""
MOST_WAITING = 2
"""Such groups that may wait for a slow disk while the next rows are aligned."""
_KILL_ME_FIRST = "500"
_Group: TypeAlias = tuple[list[Record], dict[str, bytes]]


class Worker:
    """One worker, of any number of rows."""

    def __init__(self, lines: queue.SimpleQueue[bytes], output: BinaryIO) -> None:
        self._lines = lines
        self._output = output
        self._rows: deque[Mapping[str, Any]] = deque()
        self._made: deque[_Group] = deque()
        self._granted = 0
        self._begun = 0
        self._talking = threading.Lock()

    def serve(self) -> None:
        """Take rows while documents can be written; they go to disk beside the next rows."""
        setup = self._next()
        self._mark = Mark(setup["mark"])
        self._share, self._granted = setup["share"], setup["share"]
        runtime.limit_threads(setup["threads"])
        runtime.admit_by(self._ask)
        self._aligner = Aligner(setup)
        self._aligner.warm_up()
        gc.freeze()  # what is loaded by now stays: not to be looked through again and again
        self._say({"ready": self._aligner.meter.resident()})
        keeping: deque[Future[bool]] = deque()
        with ThreadPoolExecutor(1) as keeper:
            while True:
                while not (self._rows and self._lines.empty()):
                    self._next()
                self._made.append(self._align_some())
                keeping.append(keeper.submit(self._keep))
                while len(keeping) > MOST_WAITING:
                    if not keeping.popleft().result():
                        return

    def _align_some(self) -> _Group:
        """Align rows for a quarter of a second, or until one took more memory than its share."""
        records: list[Record] = []
        documents: dict[str, bytes] = {}
        until = time.monotonic() + TOGETHER_S
        self._granted = self._share
        while self._rows and self._granted <= self._share and time.monotonic() < until:
            self._begun += 1
            self._mark.set(self._begun, True)
            row = self._rows.popleft()
            record, document = self._aligner.align(row)
            records.append(record)
            if document is not None:
                documents[row["document"]] = document
        self._mark.set(self._begun, False)
        return records, documents

    def _keep(self) -> bool:
        """Bring all documents that wait to their places, and tell whether they are there."""
        records: list[Record] = []
        documents: dict[str, bytes] = {}
        while self._made:
            more_records, more_documents = self._made.popleft()
            records += more_records
            documents |= more_documents
        if not records:
            return True  # they went with those before
        try:
            with Outputs(force=True, together=True) as outputs:
                for path, data in documents.items():
                    with outputs.open(path) as file:
                        file.write(data)
        except Exception as error:  # noqa: BLE001 - whoever waits for records is told, whatever it is
            if not isinstance(error, MmalignError):
                error = OutputError("documents", f"cannot be written: {error!r}")
            self._say({"broken": [error.subject, error.what, error.hint]})
            return False
        runtime.WRITTEN.clear()
        self._say({"kept": records})
        return True

    def _ask(self, n_bytes: int) -> None:
        """Wait until the memory that a row needs is free."""
        if n_bytes > self._granted:
            self._mark.set(self._begun, False)
            self._say({"need": n_bytes})
            while "go" not in self._next():
                pass
            self._granted = n_bytes
            self._mark.set(self._begun, True)

    def _next(self) -> Any:
        """Wait for the next message; rows are kept until it is their turn."""
        message = decode(self._lines.get())
        self._rows.extend(message.get("rows", ()))
        return message

    def _say(self, message: Mapping[str, Any]) -> None:
        with self._talking:
            self._output.write(encode(message))
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
