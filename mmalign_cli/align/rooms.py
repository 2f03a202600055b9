"""Memory lent to one alignment after the other: to get it anew takes longer than to use it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Singles: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Marks: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

_SINGLES, _DOUBLES, _MARKS = 2**23, 2**17, 2**21
"""Values kept: the table of two sequences of some 20,000 frames, and the winners of a band."""


class Room:
    """Memory for a table; what is not written takes none.

    Parameters
    ----------
    singles : ndarray, shape (size,), float32
    doubles : ndarray, shape (size,), float64
        For the same in the other type.
    """

    def __init__(self) -> None:
        self.singles: Singles = np.empty(_SINGLES, np.float32)
        self.doubles: Doubles = np.empty(_DOUBLES)
        self._marks: Marks = np.empty(_MARKS, np.uint8)

    def marks(self, size: int) -> Marks:
        """Return memory for the winners of cells, of at least some bytes."""
        return self._marks if size <= len(self._marks) else np.empty(size, np.uint8)


class Lent:
    """Lends a room for a while; whoever aligns at the same time has another one."""

    _free: list[Room] = []  # noqa: RUF012 -- shared by all, on purpose

    def __enter__(self) -> Room:
        self._room = self._free.pop() if self._free else Room()
        return self._room

    def __exit__(self, *_: object) -> None:
        self._free.append(self._room)
