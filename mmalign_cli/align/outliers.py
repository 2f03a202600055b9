"""Outlying frames, found by Hampel's identifier."""

from __future__ import annotations

import numpy as np

from mmalign_cli.model import Float64Array, FloatArray

_WINDOW = 7
_LIMIT = 3.0
_DEVIATION_OF_MAD = 1.4826  # of a normal distribution, per median absolute deviation


def without_outliers(frames: FloatArray) -> Float64Array:
    """Return frames (n, d) with outlying values replaced by the median of seven neighbours.

    A value is outlying if it lies more than three robust deviations from the median of the window
    that is centred on it (Hampel, 1974); the deviation is the larger of the window's own and the
    column's, so that a smooth curve keeps all its values. Ends repeat the first and last frame.
    """
    from scipy.ndimage import median_filter

    values = np.asarray(frames, dtype=np.float64)
    middle = median_filter(values, size=(_WINDOW, 1), mode="nearest")
    off = np.abs(values - middle)
    near = median_filter(off, size=(_WINDOW, 1), mode="nearest")
    usual = np.median(off, axis=0)
    limit = _LIMIT * _DEVIATION_OF_MAD * np.maximum(near, usual)
    return np.where(off > limit, middle, values)
