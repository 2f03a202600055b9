"""Sound at another speed and the same pitch: overlapping frames, each where it fits best.

WSOLA (Verhelst and Roelands, 1993): frame m of the output is a frame of the source around c[m], at
most `reach` samples from where the time map wants it, so that it resembles most what followed frame
m - 1 in the source. Deviations do not add up: every frame is sought around the map's own position.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from mmalign_cli.kernels.codes import ENTRY

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

_COARSE = 4  # samples: the best of every fourth place is refined
_sums: dict[str, Any] = {**ENTRY, "fastmath": {"reassoc", "contract"}}


@njit(**_sums)
def likeness(mono: Floats, a: int, b: int, half: int, stride: int) -> float:
    """Return the correlation of the frames around samples a and b, divided by the energy of b's."""
    product, energy = 0.0, 1e-12
    for k in range(-half, half, stride):
        y = mono[b + k]
        product += mono[a + k] * y
        energy += y * y
    return float(product / np.sqrt(energy))


@njit(**ENTRY)
def best(mono: Floats, a: int, low: int, high: int, middle: int, half: int, stride: int) -> int:
    """Return the place from low to high most like a; of equal ones the nearest to the middle."""
    found, score = middle, likeness(mono, a, middle, half, stride)
    for b in range(low, high + 1, stride):
        other = likeness(mono, a, b, half, stride)
        if other > score:
            found, score = b, other
    return found


@njit(**ENTRY)
def follow(mono: Floats, wanted: Ints, before: int, reach: int, half: int, chosen: Ints) -> None:
    """Write the middles of the frames to take, (m,), for the middles that are wanted, (m,).

    Frames are 2 half samples long and half samples apart in the output; `before` is the middle of
    the frame before the first, or negative: then the first is taken where it is wanted. Every place
    looked at, within 2 half + reach of a middle, is inside `mono`.
    """
    for m in range(len(wanted)):
        if before < 0:
            chosen[m] = wanted[m]
        else:
            next_one, low, high = before + half, wanted[m] - reach, wanted[m] + reach
            if low <= next_one <= high:  # as it goes on in the source: nothing fits better
                chosen[m] = next_one
            else:
                rough = best(mono, next_one, low, high, wanted[m], half, _COARSE)
                low, high = max(low, rough - _COARSE), min(high, rough + _COARSE)
                chosen[m] = best(mono, next_one, low, high, rough, half, 1)
        before = chosen[m]


@njit(**_sums)
def overlap(samples: Floats, chosen: Ints, window: Floats, out: Floats) -> None:
    """Add the frames of samples (channels, n) around chosen (m,), windowed, to out.

    Frame m goes to ``out[:, m half : (m + 2) half]``.
    """
    half = len(window) // 2
    for c in range(len(samples)):
        for m in range(len(chosen)):
            first, at = chosen[m] - half, m * half
            for k in range(2 * half):
                out[c, at + k] += window[k] * samples[c, first + k]
