"""Pitch classes and their onsets: what recordings and piano rolls have in common."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.ndimage import maximum_filter1d

from mmalign_cli.model import FloatArray

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
COLUMNS = tuple(f"chroma_{n}" for n in NAMES) + tuple(f"onset_{n}" for n in NAMES)
DECAY_S = 0.05
LOCAL_S = 0.5
QUIETEST = 0.1
ONSET_WEIGHT = 4.0
_EVEN = 1e-3


def chroma_and_onsets(classes: FloatArray, onsets: FloatArray, rate: Fraction) -> FloatArray:
    """Return the two blocks of ``chroma-onset``, to be compared by Euclidean distance.

    Parameters
    ----------
    classes : ndarray, shape (n_frames, 12)
        Strength of each pitch class.
    onsets : ndarray, shape (n_frames, 12)
        What starts in each frame.
    rate : Fraction
        Frames per second.

    Returns
    -------
    ndarray, shape (n_frames, 24)
        Unit-norm pitch classes, and onsets weighted by 4.
    """
    return np.hstack([unit_rows(classes), ONSET_WEIGHT * _fading(onsets, float(rate))])


def unit_rows(rows: FloatArray) -> FloatArray:
    """Scale rows to norm 1, float32; silent rows become uniform."""
    top = float(rows.max(initial=0.0))
    rows = rows / top + _EVEN if top > 0 else np.ones_like(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


def above_median(rows: FloatArray) -> FloatArray:
    """Keep what stands above each row's median: energy in all classes is no pitch."""
    return np.maximum(rows - np.median(rows, axis=1, keepdims=True), 0.0)


def _fading(onsets: FloatArray, rate: float) -> FloatArray:
    """Let onsets fade over 50 ms, then divide by the largest norm within a quarter second.

    The fading gives a match that is a few frames off a slope to follow; the division makes soft
    notes count as much as loud ones.
    """
    fading = onsets.astype(np.float32)
    factor = np.float32(np.exp(-1 / (DECAY_S * rate)))
    for k in range(1, len(fading)):
        np.maximum(fading[k], factor * fading[k - 1], out=fading[k])
    norms = np.linalg.norm(fading, axis=1)
    if not norms.any():
        return fading
    local = maximum_filter1d(norms, 2 * round(LOCAL_S * rate / 2) + 1, mode="nearest")
    return np.asarray(fading / np.maximum(local, QUIETEST * norms.max())[:, np.newaxis])
