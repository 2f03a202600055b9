"""How much memory this process takes."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

_STATUS, _FORGET = "/proc/self/status", "/proc/self/clear_refs"
_PEAK, _NOW = b"VmHWM:", b"VmRSS:"
_SLACK = 1 << 20
"""To forget a peak takes a tenth of a short row: one hardly above what is resident stays."""
_MOST_BYTES = 1 << 14


class Meter:
    """The resident memory of this process, and its peak since it was last looked at.

    Where the system does not tell peaks (it does on Linux) they are what is resident then. Both
    files stay open: it is asked before and after every row.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._files: tuple[int, int] | None = None
        with suppress(OSError):
            self._files = (os.open(_STATUS, os.O_RDONLY), os.open(_FORGET, os.O_WRONLY))
        self.reset()

    def resident(self) -> int:
        """Return what is resident, in bytes."""
        return int(self._process.memory_info().rss)

    def reset(self) -> None:
        """Forget the peak, unless it was hardly more than what is resident now."""
        if self._files is None:
            return
        status = os.pread(self._files[0], _MOST_BYTES, 0)
        if _bytes(status, _PEAK) - _bytes(status, _NOW) < _SLACK:
            return
        try:
            os.write(self._files[1], b"5")  # by the manual: the peak becomes what is resident
        except OSError:
            self._files = None

    def peak(self) -> int:
        """Return the peak since `reset`, in bytes."""
        if self._files is None:
            return self.resident()
        return _bytes(os.pread(self._files[0], _MOST_BYTES, 0), _PEAK)


def _bytes(status: bytes, name: bytes) -> int:
    """Return the size that stands behind a name in what the system tells of a process."""
    return int(status[status.index(name) + len(name) :].split(None, 1)[0]) * 1024
