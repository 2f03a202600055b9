"""Continuous warps: monotone piecewise-linear maps of a common time line to the frames.

The common time line is u in [0, 1]. A warp is its knots: the share p of the sequence that is
reached at u = 0, 1/K, ..., 1, from which position in frames is ``(n - 1) p``. The optimiser sees
log-slopes theta instead: the increments of p are softmax(theta), hence positive with sum 1, so that
every theta is a strictly monotone warp that meets both ends. An open end is one more bin of the
softmax: the share that is skipped there.

Arrays carry any number of leading axes, one warp a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmalign_cli.model import Float64Array, IntArray

LEAST_SLOPE = 0.02
"""Slope, relative to the straight line's, to which flat stretches of a given warp are lifted."""

_FASTEST_MOVE_FRAMES = 0.5


@dataclass(frozen=True)
class OpenEnds:
    """Whether each sequence may be left unmatched before its first and after its last knot."""

    begin: bool = False
    end: bool = False


CLOSED_ENDS = OpenEnds()


@lru_cache(maxsize=64)
def ramps(n_samples: int, n_pieces: int, ends: OpenEnds = CLOSED_ENDS) -> Float64Array:
    """Return the matrix that takes increments to positions, p(u_t) = (B s)_t.

    Parameters
    ----------
    n_samples : int
        Samples u_t, evenly from 0 to 1.
    n_pieces : int
        K.
    ends : OpenEnds
        A skipped beginning counts in full at every u, a skipped end nowhere.

    Returns
    -------
    ndarray, shape (n_samples, n_bins)
        ``clip(K u_t - k, 0, 1)`` for the pieces k, after a column of ones and before one of
        zeros where the ends are open.
    """
    u = np.linspace(0.0, 1.0, n_samples)[:, np.newaxis]
    inner = np.clip(n_pieces * u - np.arange(n_pieces), 0.0, 1.0)
    before, after = np.ones((n_samples, int(ends.begin))), np.zeros((n_samples, int(ends.end)))
    basis = np.hstack([before, inner, after])
    basis.flags.writeable = False
    return basis


def softmax(theta: Float64Array) -> Float64Array:
    """Return the increments of the warps, positive with sum 1 along the last axis."""
    raised = np.exp(theta - theta.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def softmax_gradient(shares: Float64Array, by_shares: Float64Array) -> Float64Array:
    """Carry a gradient from the increments s back to theta: ``s (g - <s, g>)``."""
    inner = (shares * by_shares).sum(axis=-1, keepdims=True)
    return np.asarray(shares * (by_shares - inner))


def knots_of(theta: Float64Array, ends: OpenEnds = CLOSED_ENDS) -> Float64Array:
    """Return the knots (..., K + 1) of log-slopes (..., n_bins)."""
    reached = np.cumsum(softmax(theta), axis=-1)
    if not ends.begin:
        reached = np.concatenate([np.zeros_like(reached[..., :1]), reached], axis=-1)
    if ends.end:
        reached = reached[..., :-1]
    else:
        reached[..., -1] = 1.0
    return np.asarray(reached)


def theta_of(knots: Float64Array, ends: OpenEnds = CLOSED_ENDS) -> Float64Array:
    """Return log-slopes (..., n_bins) of knots (..., K + 1); flat stretches are lifted.

    The lift of an open end is that of a piece: a share of 0 could never grow again.
    """
    parts = [np.diff(knots, axis=-1)]
    if ends.begin:
        parts.insert(0, knots[..., :1])
    if ends.end:
        parts.append(1.0 - knots[..., -1:])
    shares = np.concatenate(parts, axis=-1)
    return np.asarray(np.log(np.maximum(shares, LEAST_SLOPE / (knots.shape[-1] - 1))))


def straight(n_warps: int, n_pieces: int) -> Float64Array:
    """Return knots (n_warps, n_pieces + 1) of straight lines."""
    return np.tile(np.linspace(0.0, 1.0, n_pieces + 1), (n_warps, 1))


def positions(knots: Float64Array, u: Float64Array) -> Float64Array:
    """Return the shares reached at `u` (t,) by one warp's knots (K + 1,)."""
    return np.interp(u, np.linspace(0.0, 1.0, len(knots)), knots)


def in_frames(knots: Float64Array, lengths: IntArray) -> Float64Array:
    """Return the knots (m, K + 1) of one take in fractional frames, a column a sequence."""
    return np.asarray((knots * (lengths[:, np.newaxis] - 1)).T)


def inverse(knots: Float64Array, shares: Float64Array) -> Float64Array:
    """Return the u at which one warp reaches `shares` (t,); outside its ends 0 and 1."""
    return np.interp(shares, knots, np.linspace(0.0, 1.0, len(knots)))


def resampled(knots: Float64Array, n_pieces: int) -> Float64Array:
    """Return the warps (m, K + 1) of one take with another number of pieces, in gauge.

    The common time line is ours to choose: it is re-parametrised so that the mean of the warps is
    the straight line, which spends the pieces evenly over the sequences. Relative warps stay as
    they are, but for what the new pieces cannot follow.

    Returns
    -------
    ndarray, shape (m, n_pieces + 1)
    """
    u = np.linspace(0.0, 1.0, knots.shape[-1])
    mean = knots.mean(axis=0)
    mean = (mean - mean[0]) / (mean[-1] - mean[0])
    old = np.interp(np.linspace(0.0, 1.0, n_pieces + 1), mean, u)
    return np.stack([np.interp(old, u, row) for row in knots])


def from_path(path: Float64Array, lengths: IntArray, n_pieces: int) -> Float64Array:
    """Return knots (m, n_pieces + 1), in gauge, that run through the middle of a frame path.

    Parameters
    ----------
    path : ndarray, shape (n_steps, m)
        Frames, none decreasing.
    lengths : ndarray, shape (m,)
        Frames of the sequences.
    n_pieces : int
        K.
    """
    shares = path / np.maximum(lengths - 1, 1)
    mean = shares.mean(axis=1)
    first = np.concatenate([[True], np.diff(mean) > 0])
    mean, shares = mean[first], shares[first]
    u = np.linspace(mean[0], mean[-1], n_pieces + 1)
    knots = np.stack([np.interp(u, mean, column) for column in shares.T])
    steps = np.maximum(np.diff(knots, axis=1), LEAST_SLOPE / n_pieces)
    span = knots[:, -1:] - knots[:, :1]
    reached = np.cumsum(steps / steps.sum(axis=1, keepdims=True) * span, axis=1)
    return np.hstack([knots[:, :1], knots[:, :1] + reached])


def to_path(knots: Float64Array, lengths: IntArray) -> IntArray:
    """Return the frame path (n_steps, m) of the warps of one take.

    The warps are sampled wherever the fastest sequence has moved half a frame, rounded, and
    repeats dropped: so no step moves any sequence by more than one frame.

    Parameters
    ----------
    knots : ndarray, shape (m, K + 1)
    lengths : ndarray, shape (m,)
        Frames of the sequences.
    """
    last = lengths - 1
    moves = np.diff(knots, axis=1) * last[:, np.newaxis]
    fastest = np.concatenate([[0.0], np.cumsum(moves.max(axis=0))])
    n_samples = int(np.ceil(fastest[-1] / _FASTEST_MOVE_FRAMES)) + 1
    u = np.interp(
        np.linspace(0.0, fastest[-1], n_samples), fastest, np.linspace(0.0, 1.0, len(fastest))
    )
    frames = np.stack([positions(row, u) for row in knots], axis=1) * last
    path = np.round(frames).astype(np.int64)
    moved = np.concatenate([[True], (np.diff(path, axis=0) > 0).any(axis=1)])
    return np.asarray(path[moved])
