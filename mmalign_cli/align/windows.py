"""Warping windows: which cells of the cost table a path may use.

The table has a row for each reference frame i and a column for each query frame j. A window is
the range of columns of each row, with a mask where it has holes.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.model import BoolArray, Float64Array, IntArray

NO_MASK: BoolArray = np.zeros((0, 0), dtype=np.bool_)
_RADIUS = re.compile(r"(\d+(?:\.\d+)?)\s*(s|ms|%|)")


@dataclass(frozen=True, eq=False)
class Window:
    """The cells that a path may use.

    Parameters
    ----------
    lo, hi : ndarray, shape (n,)
        Row i holds the columns ``lo[i] <= j < hi[i]``.
    mask : ndarray, shape (n, m) or (0, 0)
        False where a cell of that range may not be used; empty where all may.
    full : bool
        It was made to hold all cells.
    """

    lo: IntArray
    hi: IntArray
    mask: BoolArray
    full: bool = False

    @functools.cached_property
    def n_cells(self) -> int:
        """Number of cells in the ranges."""
        if self.full:
            return len(self.hi) * int(self.hi[0]) if len(self.hi) else 0
        return int((self.hi - self.lo).sum())

    @functools.cached_property
    def steps_forward(self) -> bool:
        """Whether it has no holes and no empty rows, and its ranges never step back."""
        if self.full:
            return True
        forward = (np.diff(self.lo) >= 0).all() and (np.diff(self.hi) >= 0).all()
        return bool(forward and (self.lo < self.hi).all()) and not self.mask.size

    @functools.cached_property
    def radius(self) -> int | None:
        """The r of which it is the band ``|i - j| <= r``, from the first cell to the last.

        None of other windows; the last column is the last one of its ranges.
        """
        if self.full or self.mask.size or not len(self.lo):
            return None
        n, m = len(self.lo), int(self.hi[-1])
        radius = max(int(self.hi[0]) - 1, n - 1 - int(self.lo[-1]))
        low = np.arange(n) - radius
        same = self.lo == np.clip(low, 0, m)
        same &= self.hi == np.clip(low + (2 * radius + 1), 0, m)
        return radius if abs(n - m) <= radius and same.all() else None

    def holds_all(self, m: int) -> bool:
        """Tell whether it holds all cells of rows of `m` columns."""
        return self.full or (not self.mask.size and self.n_cells == len(self.lo) * m)


@dataclass(frozen=True)
class Radius:
    """The half-width of a band, in frames, seconds or a share of the longer stream."""

    value: float
    unit: str

    def frames(self, n: int, m: int, period_s: float) -> int:
        """Return it in frames of the reference, whose frames are `period_s` apart."""
        if self.unit == "%":
            return int(self.value / 100 * max(n, m))
        if self.unit in ("s", "ms"):
            seconds = self.value / (1000 if self.unit == "ms" else 1)
            return int(seconds / period_s + 1e-9)
        return int(self.value)


def parse_radius(text: str) -> Radius:
    """Read ``20`` (frames), ``0.5s``, ``200ms`` or ``10%``.

    Raises
    ------
    UsageError
        If it is none of these, or negative.
    """
    match = _RADIUS.fullmatch(text.strip())
    radius = Radius(float(match[1]), match[2]) if match else Radius(-1, "")
    whole = radius.unit or radius.value == int(radius.value)
    if radius.value < 0 or not whole or radius.value > 1e9:
        raise UsageError("--radius", f"{text!r} is not a radius", "write 20 (frames), 0.5s or 10%")
    return radius


def _clipped(low: Float64Array, high: Float64Array, m: int) -> Window:
    """Return the window of rows low <= j <= high, cut to the table."""
    slack = 1e-9 * max(m, 1)  # a border that falls on a column counts as inside
    lo = np.clip(np.ceil(low - slack), 0, m).astype(np.int64)
    hi = np.clip(np.floor(high + slack) + 1, 0, m).astype(np.int64)
    return Window(lo, np.maximum(hi, lo), NO_MASK)


def everything(n: int, m: int) -> Window:
    """Return the window without restriction."""
    return Window(np.zeros(n, dtype=np.int64), np.full(n, m, dtype=np.int64), NO_MASK, True)


def part(window: Window, rows: slice, columns: slice) -> Window:
    """Return a window of some rows and columns only, counted from the first of each."""
    first, m = columns.start, columns.stop - columns.start
    lo, hi = (np.clip(bound[rows] - first, 0, m) for bound in (window.lo, window.hi))
    mask = np.ascontiguousarray(window.mask[rows, columns]) if window.mask.size else NO_MASK
    return Window(lo, hi, mask)


def sakoe_chiba(n: int, m: int, radius: int) -> Window:
    """Return the band ``|i - j| <= radius`` (Sakoe and Chiba, 1978)."""
    i = np.arange(n, dtype=np.float64)
    return _clipped(i - radius, i + radius, m)


def slanted(n: int, m: int, radius: int) -> Window:
    """Return the band of `radius` reference frames round the line that joins the corners.

    ``|i - j (n - 1) / (m - 1)| <= radius``: streams of other lengths or rates keep a band of
    the same width all the way.
    """
    i = np.arange(n, dtype=np.float64)
    if m == 1:
        return everything(n, m) if radius >= n - 1 else _clipped(i - radius, 0 * i, 1)
    if n == 1:
        return everything(n, m)
    slope = (m - 1) / (n - 1)
    return _clipped((i - radius) * slope, (i + radius) * slope, m)


def itakura(n: int, m: int, max_slope: float) -> Window:
    """Return Itakura's parallelogram (1975).

    Its sides have slopes `max_slope` and ``1 / max_slope`` relative to the line that joins the
    corners, from the first cell and from the last.
    """
    if n == 1 or m == 1:
        return everything(n, m)
    u = np.arange(n) / (n - 1)
    low = np.maximum(u / max_slope, 1 - (1 - u) * max_slope)
    high = np.minimum(u * max_slope, 1 - (1 - u) / max_slope)
    return _clipped(low * (m - 1), high * (m - 1), m)


def transposed(window: Window, m: int) -> Window:
    """Return the rows that each of `m` columns holds, of a window whose ranges never step back."""
    columns = np.arange(m)
    lo = np.searchsorted(window.hi, columns, side="right")
    return Window(lo, np.searchsorted(window.lo, columns, side="right"), NO_MASK)


def from_mask(mask: BoolArray, n: int, m: int, subject: str) -> Window:
    """Return the window of a boolean mask, (n, m), True where a cell may be used.

    Raises
    ------
    InputError
        If it has another shape.
    """
    if mask.shape != (n, m):
        what = f"the mask is {mask.shape}, the streams need ({n}, {m})"
        raise InputError(
            subject, what, "a row for each reference frame, a column for each query frame"
        )
    some = mask.any(axis=1)
    lo = np.where(some, mask.argmax(axis=1), 0).astype(np.int64)
    hi = np.where(some, m - mask[:, ::-1].argmax(axis=1), 0).astype(np.int64)
    whole = bool((hi - lo == mask.sum(axis=1)).all())
    return Window(lo, hi, NO_MASK if whole else np.ascontiguousarray(mask))


BANDS: Mapping[str, Callable[[int, int, int], Window]] = {
    "sakoe-chiba": sakoe_chiba,
    "slanted": slanted,
}
WINDOWS = ("none", *BANDS, "itakura")


def window_name(text: str) -> str:
    """Check the name of a window; a name that ends in ``.npy`` is a mask file."""
    if text not in WINDOWS and not text.lower().endswith(".npy"):
        hint = did_you_mean(text, WINDOWS) or f"windows: {', '.join(WINDOWS)}, or a mask FILE.npy"
        raise UsageError("--window", f"{text!r} is not a window", hint)
    return text


def check_slope(max_slope: float) -> float:
    """Refuse slope limits that leave no path but the straight one."""
    if not (math.isfinite(max_slope) and max_slope > 1):
        raise UsageError("--max-slope", f"{max_slope} is not a finite number above 1")
    return max_slope
