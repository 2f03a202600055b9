"""The cost of matching two frames by warping their rows of self-distances onto each other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import ENTRY

Floats: TypeAlias = npt.NDArray[np.float64]


@njit(**ENTRY)
def warp_rows(a: Floats, b: Floats, recent: Floats) -> float:
    """Return the DTW cost, absolute differences, of series a (k,) and b (l,), first to last.

    `recent` (l,) is scratch.
    """
    for i in range(len(a)):
        diagonal = 0.0 if i == 0 else np.inf
        left = np.inf
        for j in range(len(b)):
            up = recent[j] if i > 0 else np.inf
            left = min(diagonal, up, left) + abs(a[i] - b[j])
            recent[j] = left
            diagonal = up
    total: float = recent[len(b) - 1]
    return total


@njit(**ENTRY)
def row_costs(i: int, rows: Floats, others: Floats, out: Floats) -> None:
    """Write the cost of frame i of `rows` (k, k) with each frame of `others` (l, l) to `out` (l,).

    The rows are warped up to the two frames, and from them on: so that they meet. Both are 0
    there, so that the frames themselves, counted twice, cost nothing.
    """
    recent = np.empty(len(others))
    for j in range(len(others)):
        before = warp_rows(rows[i, : i + 1], others[j, : j + 1], recent)
        after = warp_rows(rows[i, i:], others[j, j:], recent)
        out[j] = before + after
