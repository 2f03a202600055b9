"""Which row a worker is at: a number that its parent sees, whatever becomes of the worker.

A message a row would wake the parent for each of them, and be lost with a worker that dies before
it is sent. What a worker writes to memory that both share stays there when it is killed.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from contextlib import suppress

_FORM = struct.Struct("<qq")


class Mark:
    """The number of the row that is being aligned, counted since the worker began.

    Parameters
    ----------
    path : str or None
        The file in which another process keeps it; None makes one.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            handle, self.path = tempfile.mkstemp(prefix="mmalign-mark-")
            os.write(handle, bytes(_FORM.size))
        else:
            handle, self.path = os.open(path, os.O_RDWR), path
        self._shared = mmap.mmap(handle, _FORM.size)
        os.close(handle)

    def unlink(self) -> None:
        """Remove the file's name, which is of no use once both processes have opened it."""
        with suppress(OSError):
            os.unlink(self.path)

    def set(self, number: int, is_aligning: bool) -> None:
        """Write the number of a row, from 1 on, and whether it is being aligned now."""
        _FORM.pack_into(self._shared, 0, number, is_aligning)

    def get(self) -> int:
        """Return the number of the row that is being aligned; 0 if none is."""
        number, is_aligning = _FORM.unpack_from(self._shared)
        return int(number) if is_aligning else 0
