"""How much memory this process takes."""

from __future__ import annotations

from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")
_PEAK = b"VmHWM:"


class Meter:
    """The resident memory of this process, and its peak since it was last looked at.

    Where the system does not tell peaks (it does on Linux) they are what is resident then.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._tells = _FORGET.exists() and _STATUS.exists()
        self.reset()

    def resident(self) -> int:
        """Return what is resident, in bytes."""
        return int(self._process.memory_info().rss)

    def reset(self) -> None:
        """Forget the peak."""
        if self._tells:
            try:
                _FORGET.write_bytes(b"5")  # by the manual: the peak becomes what is resident
            except OSError:
                self._tells = False

    def peak(self) -> int:
        """Return the peak since `reset`, in bytes."""
        if not self._tells:
            return self.resident()
        status = _STATUS.read_bytes()
        return int(status[status.index(_PEAK) + len(_PEAK) :].split(None, 1)[0]) * 1024
