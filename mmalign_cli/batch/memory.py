"""Who may use how much memory: jobs wait until what they need is free."""

from __future__ import annotations

import threading
from collections import deque


class Budget:
    """The memory of one machine, shared by its workers.

    Each of them holds an equal share while it works. Who needs more gives its share back and
    waits, first come first served, until all that it needs is free: nobody waits for memory
    with memory in hand, so two that need much cannot block each other, and small ones, who wait
    behind a large one, cannot starve it.

    Parameters
    ----------
    total : int
        Bytes.
    workers : int
        Among which it is shared.
    """

    def __init__(self, total: int, workers: int) -> None:
        self.total = total
        self.share = total // workers
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, n_bytes: int) -> int:
        """Wait until `n_bytes`, at most the total, are free, and hold them; return them."""
        n_bytes, ticket = min(n_bytes, self.total), object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._held + n_bytes > self.total:
                    self._changed.wait()
                self._held += n_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        return n_bytes

    def give(self, n_bytes: int) -> None:
        """Give back what was held."""
        with self._changed:
            self._held -= n_bytes
            self._changed.notify_all()
