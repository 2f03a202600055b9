"""Many tasks that do not need each other, shared out among threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

_PATIENCE_S = 0.05
"""How long the caller waits before it listens for an interrupt again."""


class _StoppedError(Exception):
    """The caller wants no more: ends a task that a helper has begun."""


class _Pile:
    """The tasks that are left, and how those that were taken ended."""

    def __init__(self, count: int, work: Callable[[int, Callable[[], None]], object]) -> None:
        self.count = count
        self.work = work
        self.taken = 0
        self.done = 0
        self.stopped = False
        self.failure: BaseException | None = None
        self.lock = threading.Lock()

    def _take(self) -> int | None:
        with self.lock:
            if self.taken >= self.count:
                return None
            self.taken += 1
            return self.taken - 1

    def stop(self) -> None:
        with self.lock:
            self.stopped, self.taken = True, self.count

    def labour(self, tell: Callable[[], None]) -> None:
        """Do tasks until there are no more."""
        while (task := self._take()) is not None:
            self.work(task, tell)
            with self.lock:
                self.done += 1
            tell()

    def check(self, report: Callable[[int], None]) -> None:
        """Report from the caller's thread, and raise there what stopped a helper."""
        if self.failure is not None:
            raise self.failure
        report(self.done)

    def _heed(self) -> None:
        if self.stopped:
            raise _StoppedError

    def help(self) -> None:
        """Do tasks in a thread other than the caller's."""
        try:
            self.labour(self._heed)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 -- the caller's thread raises it
            self.failure = error
            self.stop()


def in_shares(
    count: int,
    work: Callable[[int, Callable[[], None]], object],
    threads: int,
    report: Callable[[int], None],
) -> None:
    """Call ``work(task, tell)`` for each task below `count`, in order but for the threads.

    Parameters
    ----------
    count : int
    work : callable
        Should hold no lock for long. Should return, or call ``tell()`` and let what it raises
        pass, several times a second: an interrupt waits for it.
    threads : int
        The caller's included.
    report : callable
        Called by the caller's thread with the number of tasks done; may raise to stop.
    """
    pile = _Pile(count, work)
    helpers = [
        threading.Thread(target=pile.help, daemon=True) for _ in range(min(threads, count) - 1)
    ]
    try:
        for helper in helpers:
            with suppress(RuntimeError):  # no more threads to be had: the others do the work
                helper.start()
        pile.labour(lambda: pile.check(report))
        while any(helper.is_alive() for helper in helpers):  # their last tasks
            for helper in filter(threading.Thread.is_alive, helpers):
                helper.join(_PATIENCE_S)
            pile.check(report)
        pile.check(report)
    finally:
        pile.stop()
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
