"""Many takes of the same sensors, laid out so that their warps are one array of numbers.

Sequence i of every take is whitened by the same map. All takes are sampled at the same number of
points of their own time line; a take weighs what its length says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli.align import warps
from mmalign_cli.align.correlation import Linear, Samples, whitening
from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array, FloatArray, IntArray

_LEAST_FRAMES = 3
_MOST_SAMPLES = 20_000


@dataclass(frozen=True, eq=False)
class Track:
    """One sequence in all takes, end to end.

    Parameters
    ----------
    frames : ndarray, shape (n, d)
        Whitened.
    slopes : ndarray, shape (n, d)
        From each frame to the next, by the share of the take.
    starts, lengths : ndarray, shape (n_takes,)
        The first frame and the number of frames of each take.
    white : Linear
        From the frames as given.
    """

    frames: Float64Array
    slopes: Float64Array
    starts: IntArray
    lengths: IntArray
    white: Linear

    def of_take(self, take: int) -> Float64Array:
        """Return the whitened frames of one take, (n, d)."""
        start = self.starts[take]
        return self.frames[start : start + self.lengths[take]]

    def part(self, first: int, end: int) -> Track:
        """Return takes `first` to `end` - 1 alone, their frames where they are."""
        return replace(self, starts=self.starts[first:end], lengths=self.lengths[first:end])

    def at(self, shares: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Sample by linear interpolation.

        Parameters
        ----------
        shares : ndarray, shape (n_takes, t)
            Between 0 and 1.

        Returns
        -------
        values, slopes : ndarray, shape (n_takes * t, d)
            The samples, and their derivative by the share.
        """
        last = (self.lengths - 1)[:, np.newaxis]
        before = np.minimum((shares * last).astype(np.int64), last - 1)
        index = (before + self.starts[:, np.newaxis]).ravel()
        slope = self.slopes.take(index, axis=0)
        rest = (shares - before / last).reshape(-1, 1)
        return self.frames.take(index, axis=0) + rest * slope, slope


@dataclass(frozen=True, eq=False)
class Takes:
    """All sequences of all takes.

    Parameters
    ----------
    tracks : tuple of Track
        One a sequence, m in all.
    n_samples : int
        Points of each take's time line.
    weights : ndarray, shape (n_takes, n_samples)
        Of each sample, with sum 1.
    """

    tracks: tuple[Track, ...]
    n_samples: int
    weights: Float64Array

    @property
    def n_takes(self) -> int:
        """Number of takes."""
        return len(self.weights)

    @property
    def dims(self) -> tuple[int, ...]:
        """Whitened dimensions of each sequence."""
        return tuple(track.frames.shape[1] for track in self.tracks)

    def lengths(self, take: int) -> IntArray:
        """Return the number of frames of each sequence of a take, (m,)."""
        return np.array([track.lengths[take] for track in self.tracks])

    def pair(self, i: int, j: int) -> Takes:
        """Return two of the sequences alone."""
        return Takes((self.tracks[i], self.tracks[j]), self.n_samples, self.weights)

    def samples(self, shares: Float64Array) -> tuple[Samples, Float64Array]:
        """Sample every sequence of every take.

        Parameters
        ----------
        shares : ndarray, shape (n_takes, m, n_samples)

        Returns
        -------
        samples : Samples
            n_takes * n_samples of them.
        slopes : ndarray, shape (n_takes * n_samples, D)
            Derivatives by the share.
        """
        pairs = [track.at(shares[:, i]) for i, track in enumerate(self.tracks)]
        values, slopes = (np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))
        return Samples(values, self.dims, self.weights.ravel()), slopes

    def along(self, knots: Float64Array) -> Samples:
        """Return samples along warps (n_takes, m, K + 1)."""
        u = np.linspace(0.0, 1.0, self.n_samples)
        shares = [[warps.positions(row, u) for row in take] for take in knots]
        return self.samples(np.array(shares))[0]


def lay_out(takes: Sequence[Sequence[FloatArray]]) -> Takes:
    """Whiten the sequences and lay them out.

    Parameters
    ----------
    takes : sequence of sequences of ndarray, shape (n, d_i)
        The same m >= 2 sequences in each take.

    Raises
    ------
    InputError
        If a sequence has fewer than three frames, or does not vary.
    """
    tracks = tuple(_track(sequence, i) for i, sequence in enumerate(zip(*takes, strict=True)))
    lengths = np.stack([track.lengths for track in tracks], axis=1).max(axis=1)
    n_samples = min(int(lengths.max()), _MOST_SAMPLES)
    weights = np.repeat(lengths[:, np.newaxis] / (lengths.sum() * n_samples), n_samples, axis=1)
    return Takes(tracks, n_samples, weights)


def _track(sequence: Sequence[FloatArray], index: int) -> Track:
    subject = f"stream {index + 1}"
    lengths = np.array([len(frames) for frames in sequence])
    if lengths.min() < _LEAST_FRAMES:
        what = f"{lengths.min()} frames are too few to warp"
        raise InputError(subject, what, f"at least {_LEAST_FRAMES} are needed")
    frames = np.concatenate([np.asarray(part, dtype=np.float64) for part in sequence])
    white = whitening(frames)
    if white.weights.shape[1] == 0:
        raise InputError(subject, "does not vary", "there is nothing to align")
    return track_of(white(frames), lengths, white)


def track_of(values: Float64Array, lengths: IntArray, white: Linear) -> Track:
    """Return frames (n, d) of takes end to end as a track."""
    slopes = np.vstack([np.diff(values, axis=0), np.zeros_like(values[:1])])
    slopes *= np.repeat(lengths - 1, lengths)[:, np.newaxis]
    return Track(values, slopes, np.cumsum(lengths) - lengths, lengths, white)
