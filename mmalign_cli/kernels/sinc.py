"""Sound at fractional positions: a windowed sinc, its phases tabulated, read between two of them.

With w a window of reach R (zero outside -R..R), a sample at position p is

    y(p) = sum over k of x[k] h((p - k) / s) / s,    h(u) = sinc(u) w(u / R),

where s, at least 1, widens the filter where positions advance by more than a sample a step, so that
nothing folds back (J. O. Smith, Digital Audio Resampling). At whole positions and s = 1 the weights
are exactly 1 and zeros: a copy.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import ENTRY

Floats: TypeAlias = npt.NDArray[np.float64]

# Only the order of the sums may change: not-a-number stays what it is.
_sums: dict[str, Any] = {**ENTRY, "fastmath": {"reassoc", "contract"}}


@njit(**ENTRY)
def place(position: float, slack: float) -> tuple[int, float]:
    """Return the sample at or before a position, and how far it is behind: 0 where within slack."""
    whole = np.floor(position + 0.5)
    if abs(position - whole) <= slack:
        return int(whole), 0.0
    whole = np.floor(position)
    return int(whole), float(position - whole)


@njit(**_sums)
def interpolate(
    samples: Floats, positions: Floats, table: Floats, slack: float, out: Floats
) -> None:
    """Write samples (channels, n) at positions (m,), that advance by one at most, to out.

    Row r of `table` (phases + 1, 2 R) holds the weights of the samples R - 1 before to R after a
    position that is r / phases behind one. Every position has R samples on both sides of it.
    """
    phases, taps = table.shape[0] - 1, table.shape[1]
    weights = np.empty(taps)
    for i in range(len(positions)):
        whole, behind = place(positions[i], slack)
        row = int(behind * phases)
        share = behind * phases - row
        if share == 0.0:
            weights[:] = table[row]
        else:
            for k in range(taps):
                weights[k] = (1.0 - share) * table[row, k] + share * table[row + 1, k]
        first = whole - taps // 2 + 1
        for c in range(len(samples)):
            window = samples[c, first : first + taps]
            total = 0.0
            for k in range(taps):
                total += weights[k] * window[k]
            out[c, i] = total


@njit(**_sums)
def squeeze(samples: Floats, positions: Floats, scales: Floats, table: Floats, out: Floats) -> None:
    """Write samples (channels, n) at positions (m,) through filters widened by scales (m,) >= 1.

    Every position has scale R + 1 samples on both sides of it.
    """
    phases, reach = table.shape[0] - 1, table.shape[1] // 2
    for i in range(len(positions)):
        scale = scales[i]
        first = int(np.ceil(positions[i] - reach * scale))
        last = int(np.floor(positions[i] + reach * scale))
        out[:, i] = 0.0
        for k in range(first, last + 1):
            u = (k - positions[i]) / scale + reach - 1  # column and phase of the table, as one
            column = int(np.ceil(u))
            at = (column - u) * phases
            row = int(at)
            if column < 0 or column >= 2 * reach:
                continue
            share = at - row
            weight = (1.0 - share) * table[row, column]
            if share > 0.0:
                weight += share * table[row + 1, column]
            for c in range(len(samples)):
                out[c, i] += weight / scale * samples[c, k]
