"""A grid of tasks, each of which needs the one above it and the one to its left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class _Grid:
    """Which tasks are done, shared by the threads that do them."""

    def __init__(self, n_rows: int, n_columns: int, work: Callable[[int, int], object]) -> None:
        self.n_columns = n_columns
        self.work = work
        self.done = [0] * n_rows
        self.taken = [False] * n_rows
        self.stopped = False
        self.failure: BaseException | None = None
        self.changed = threading.Condition()

    def _ready(self) -> int | None:
        """Return the first row whose next task can be done."""
        before = self.n_columns
        for row, done in enumerate(self.done):
            if done < min(before, self.n_columns) and not self.taken[row]:
                return row
            before = done
        return None

    def _exchange(self, done: int | None) -> int | None:
        """Give a row back, one task further, and wait for another; None if there are no more."""
        with self.changed:
            if done is not None:
                self.taken[done] = False
                self.done[done] += 1
                self.changed.notify_all()
            while not self.stopped and self.done[-1] < self.n_columns:
                row = self._ready()
                if row is not None:
                    self.taken[row] = True
                    return row
                self.changed.wait()
        return None

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def labour(self, report: Callable[[int], None]) -> None:
        """Do tasks until there are no more."""
        row = self._exchange(None)
        while row is not None:
            self.work(row, self.done[row])
            report(sum(self.done))
            row = self._exchange(row)
        report(sum(self.done))

    def help(self) -> None:
        """Do tasks in a thread other than the caller's."""
        try:
            self.labour(lambda _: None)
        except BaseException as error:  # noqa: BLE001 -- the caller's thread raises it
            self.failure = error
            self.stop()


def in_waves(
    n_rows: int,
    n_columns: int,
    work: Callable[[int, int], object],
    threads: int,
    report: Callable[[int], None],
) -> None:
    """Call ``work(row, column)`` for each task of a grid.

    A task starts when those at (row - 1, column) and (row, column - 1) are done. Threads that
    find nothing to do sleep.

    Parameters
    ----------
    n_rows, n_columns : int
        Both at least 1.
    work : callable
        Should hold no lock for long, and return often: what the caller raises, an interrupt for
        instance, waits for the tasks that have begun.
    threads : int
        The caller's included.
    report : callable
        Called by the caller's thread with the number of tasks done.
    """
    grid = _Grid(n_rows, n_columns, work)
    count = min(threads, n_rows, n_columns) - 1
    helpers = [threading.Thread(target=grid.help, daemon=True) for _ in range(count)]
    try:
        for helper in helpers:
            with suppress(RuntimeError):  # no more threads to be had: the others do the work
                helper.start()
        grid.labour(report)
    finally:
        grid.stop()
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if grid.failure is not None:
        raise grid.failure
