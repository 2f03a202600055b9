"""Errors of an alignment against a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.model import Alignment, Float64Array, StreamInfo

WITHIN_S = (0.01, 0.02, 0.05, 0.1)
"""Tolerances in seconds of `share_within`."""


@dataclass(frozen=True)
class Errors:
    """Errors of an alignment.

    Parameters
    ----------
    path_difference : float or None
        Mean distance in frame-index space to the nearest step of the other path; None where
        the truth is not a path.
    mean_abs_frames : float
        Mean error in frames of the reference.
    median_abs_seconds, p90_abs_seconds : float
        On the reference's clock.
    share_within : dict
        Tolerance in seconds, as text, to the share of points within it.
    points : int
        Number of matches compared.
    """

    path_difference: float | None
    mean_abs_frames: float
    median_abs_seconds: float
    p90_abs_seconds: float
    share_within: dict[str, float]
    points: int


def path_difference(p: Float64Array, q: Float64Array) -> float:
    """Return the mean distance of the steps of two paths to the nearest step of the other.

    ``(sum_p min_q |p - q| + sum_q min_p |q - p|) / (len(p) + len(q))`` with Euclidean distance in
    frame-index space (Zhou and De la Torre, 2012).

    Parameters
    ----------
    p, q : ndarray, shape (n_steps, n_streams)
        Frames; the numbers of steps may differ.
    """
    from scipy.spatial import cKDTree

    to_q, _ = cKDTree(q).query(p)
    to_p, _ = cKDTree(p).query(q)
    return float((np.sum(to_q) + np.sum(to_p)) / (len(p) + len(q)))


def evaluate(
    alignment: Alignment, truth_s: Float64Array, truth_frames: Float64Array | None
) -> Errors:
    """Compare an alignment with matching times.

    Each true time of each further stream is mapped to the reference's clock and compared with
    the reference time that it matches.

    Parameters
    ----------
    alignment : Alignment
        With its time maps.
    truth_s : ndarray, shape (n_points, n_streams)
        Matching seconds, a column a stream, reference first.
    truth_frames : ndarray, shape (n_steps, n_streams), or None
        The true path in frames, where the truth is a path.

    Returns
    -------
    Errors
    """
    mapped = [m(truth_s[:, k]) for k, m in enumerate(alignment.time_maps, 1)]
    error_s = np.abs(np.concatenate(mapped) - np.tile(truth_s[:, 0], len(mapped)))
    difference = None
    if truth_frames is not None and alignment.path is not None:
        difference = path_difference(alignment.path.frames.astype(np.float64), truth_frames)
    return Errors(
        path_difference=difference,
        mean_abs_frames=float(error_s.mean() / period_s(alignment.reference)),
        median_abs_seconds=float(np.median(error_s)),
        p90_abs_seconds=float(np.quantile(error_s, 0.9)),
        share_within=share_within(error_s, WITHIN_S),
        points=len(error_s),
    )


def share_within(error_s: Float64Array, tolerances_s: Sequence[float]) -> dict[str, float]:
    """Return the share of errors at or below each tolerance, keyed by the tolerance as text."""
    return {f"{t:g}": float((error_s <= t).mean()) for t in tolerances_s}


def period_s(stream: StreamInfo) -> float:
    """Return the mean seconds between the frames of a stream; 1 for a single frame."""
    if stream.frames > 1:
        return (stream.end_s - stream.start_s) / (stream.frames - 1)
    return 1.0 / stream.rate if stream.rate else 1.0
