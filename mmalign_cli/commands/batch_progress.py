"""How far a batch has come: bars on a terminal, else a line a minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import click

from mmalign_cli.batch.job import FAILED, Record

_LINE_EVERY_S = 60.0


@dataclass
class Tally:
    """Rows that have ended, of those that are to do."""

    total: int
    done: int = 0
    failed: int = 0
    since: float = field(default_factory=time.monotonic)

    def count(self, records: Sequence[Record]) -> None:
        """Count rows."""
        failed = sum(record["status"] == FAILED for record in records)
        self.failed += failed
        self.done += len(records) - failed

    @property
    def ended(self) -> int:
        """Rows that are done or failed."""
        return self.done + self.failed

    @property
    def rate(self) -> float:
        """Rows that end in a second."""
        return self.ended / max(time.monotonic() - self.since, 1e-9)

    def line(self) -> str:
        """Return how far it is, for people."""
        left = "time left unknown"
        if self.ended:
            left = f"{(self.total - self.ended) / self.rate / 60:.0f} min left"
        return (
            f"{self.ended} of {self.total} rows, {self.failed} failed,"
            f" {self.rate:.3g} a second, {left}"
        )


@contextmanager
def progress(tally: Tally, quiet: bool) -> Iterator[None]:
    """Show on stderr how the tally grows while the block runs."""
    if quiet or sys.stderr is None:
        yield
    elif sys.stderr.isatty():
        with _bars(tally):
            yield
    else:
        with _lines(tally):
            yield


@contextmanager
def _ticking(every_s: float, tick: Callable[[], object]) -> Iterator[None]:
    """Call `tick` again and again beside the block."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(every_s):
            with suppress(OSError):
                tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _lines(tally: Tally) -> Iterator[None]:
    with _ticking(_LINE_EVERY_S, lambda: click.echo(f"mmalign: {tally.line()}", err=True)):
        yield


@contextmanager
def _bars(tally: Tally) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[rate]:.3g} a second"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("rows", total=tally.total, failed=0, rate=0.0)

        def show() -> None:
            bars.update(task, completed=tally.ended, failed=tally.failed, rate=tally.rate)

        with _ticking(0.2, show):
            yield
