"""Numbers by which compiled code is told what to do, and how it is compiled; loads no numba."""

from __future__ import annotations

from typing import Any

ENTRY: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True}
"""How numba compiles a kernel that Python calls: without a second entry, for C."""
INNER: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
"""How it compiles one that only kernels call: an entry from Python takes a fifth of the time."""

BORROWING: dict[str, Any] = INNER | {"_nrt": False}
"""How it compiles one that makes no arrays: those lent to it it need not count."""

SQEUCLIDEAN, EUCLIDEAN, CITYBLOCK, CHEBYSHEV, TABLE = 0, 1, 2, 3, 4

START = 254
"""The step number of cell (0, 0)."""
UNREACHED = 255
"""The step number of a cell that no path reaches."""
