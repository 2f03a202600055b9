"""Outlier frames: taken for what they are before and while maps are fitted."""

from __future__ import annotations

import numpy as np

from mmalign_cli.model import Float64Array

_WINDOW = 7
_DEVIATIONS = 3.0
_NORMAL = 1.4826  # of the median absolute deviation, to the standard deviation of a normal
_FREEDOM = 3.0
_EM_ROUNDS = 3


def without_spikes(frames: Float64Array) -> Float64Array:
    """Return frames (n, d) with those values replaced that stand out from their neighbours.

    The filter of Hampel (1974): a value further than three deviations, by the median absolute
    deviation of the seven values around it, from their median becomes that median. Deviations
    have a floor, a tenth of the column's own, so that smooth curves keep their corners.
    """
    half = _WINDOW // 2
    padded = np.pad(
        frames, ((half, half), (0, 0)), mode="reflect" if len(frames) > half else "edge"
    )
    around = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=0)
    middle = np.median(around, axis=2)
    spread = _NORMAL * np.median(np.abs(around - middle[:, :, np.newaxis]), axis=2)
    column = np.median(np.abs(frames - np.median(frames, axis=0)), axis=0)
    limit = _DEVIATIONS * np.maximum(spread, 0.1 * _NORMAL * column)
    return np.where(np.abs(frames - middle) > limit, middle, frames)


def student_weights(values: Float64Array) -> Float64Array:
    """Return the weights (n,) of samples (n, D) under a multivariate t distribution.

    ``(nu + D) / (nu + z' S^-1 z)`` with nu = 3, by three rounds of expectation and maximisation.
    """
    weights = np.ones(len(values))
    for _ in range(_EM_ROUNDS):
        centred = values - weights @ values / weights.sum()
        covariance = centred.T @ (centred * weights[:, np.newaxis]) / len(values)
        ridge = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-300)
        covariance.flat[:: len(covariance) + 1] += ridge
        far = np.einsum("nd,dn->n", centred, np.linalg.solve(covariance, centred.T))
        weights = (_FREEDOM + values.shape[1]) / (_FREEDOM + far)
    return np.asarray(weights)
