"""Two streams made ready for linear maps: columns, takes end to end, maps and DTW along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.alternate import Alternation, moved_at_most
from mmalign_cli.align.cca import Canonical, along, cca, folds_of, held_out_gains, principal
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.problem import CLOSED, Ends
from mmalign_cli.errors import InputError
from mmalign_cli.model import Cost, Float64Array, FloatArray, IntArray

_FEW_FRAMES = 10
_LITTLE_DATA_RIDGE = 0.05
_MOST_ROUNDS = 50
_MOST_COLUMNS = 40
_LEAST_FRAMES = 6
_WEIGHING_ROUNDS, _FREEDOM = 3, 3.0
_WEIGHING_RIDGE = 1e-6  # of scaled columns: one repeated must not make the scatter singular
_NOTHING = 1e3  # nats: less than any maps would lose


@dataclass(frozen=True)
class Settings:
    """What an aligner with linear maps is told.

    Parameters
    ----------
    dims : float or None
        Dimensions of the common space; below 1 the share of the sum of correlations that they
        hold, in the first round of each start; None chooses on held-out frames.
    ridge : float or None
        Regularization relative to each stream's mean variance. None: none where a stream has at
        least ten frames a dimension, else 0.05.
    init : str
        One of `mmalign_cli.align.choices.INITS`.
    starts : int or None
        How many of its starts to use; None takes all.
    max_rounds : int or None
        Of each start; None takes 50.
    tolerance_frames : float
        Path difference between rounds at which a start has converged.
    robust : bool
        Whether single frames may be far off.
    ends : Ends
        Where in the reference the path may begin and end.
    seed : int
        Of what is random.
    """

    dims: float | None = None
    ridge: float | None = None
    init: str = "auto"
    starts: int | None = None
    max_rounds: int | None = None
    tolerance_frames: float = 0.01
    robust: bool = False
    ends: Ends = CLOSED
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Pair:
    """Two streams made ready for the alternation.

    Parameters
    ----------
    x, y : ndarray, shape (n, d_x) and (m, d_y)
        Frames to fit to and to compare: the streams' own columns, or the first 40 principal
        components of more.
    ridge : float
    settings : Settings
    bases : tuple of Linear
        From the streams' own frames to `x` and `y`.
    subject : str
        Names the pair in messages.
    raw : tuple of ndarray, shape (n, d)
        The streams' own columns.
    lengths : ndarray, shape (n_takes, 2), or None
        Frames of each take where there are several, their frames end to end; a path then goes
        from the last frames of one take to the first of the next.
    """

    x: Float64Array
    y: Float64Array
    ridge: float
    settings: Settings
    bases: tuple[Linear, Linear]
    raw: tuple[Float64Array, Float64Array]
    subject: str = "ctw"
    lengths: IntArray | None = None

    def project(self, path: IntArray, dims: int | None = None) -> Canonical:
        """Return the maps that correlate most along a path, to all dimensions by default."""
        weights = None
        if self.settings.robust:
            weights = _weights_along(self.x, self.y, path)
        found = cca(along([self.x, self.y], path, weights), self.ridge)
        if not len(found.correlations):
            raise InputError(self.subject, "a stream does not change", "look at its columns")
        return found if dims is None else found.leading(dims)

    def warp(self, maps: Canonical) -> Warp:
        """Return the DTW path of the projected streams."""
        first, second = maps.maps
        warps = [
            dtw(
                first(x),
                second(y),
                ends=self.settings.ends,
                threads=runtime.threads(),
                subject=self.subject,
            )
            for x, y in self.takes()
        ]
        if self.lengths is None:
            return warps[0]
        total = sum(w.cost.total for w in warps)
        frames = self.joined([w.frames for w in warps])
        programme = sum(w.programme_total for w in warps)
        precision = max(w.precision for w in warps)
        cost = Cost(total, total / len(frames))
        return Warp(frames, np.ones(len(frames)), cost, programme, precision)

    def takes(self) -> list[tuple[Float64Array, Float64Array]]:
        """Return the frames of each take."""
        return self._by_take(self.x, self.y)

    def raw_takes(self) -> list[tuple[Float64Array, Float64Array]]:
        """Return the streams' own columns in each take."""
        return self._by_take(*self.raw)

    def _by_take(self, x: Float64Array, y: Float64Array) -> list[tuple[Float64Array, Float64Array]]:
        if self.lengths is None:
            return [(x, y)]
        cuts = np.cumsum(self.lengths, axis=0)[:-1]
        return list(zip(np.split(x, cuts[:, 0]), np.split(y, cuts[:, 1]), strict=True))

    def joined(self, paths: Sequence[IntArray]) -> IntArray:
        """Return the path of all takes, end to end, of the paths of each."""
        if self.lengths is None:
            return paths[0]
        firsts = np.cumsum(self.lengths, axis=0) - self.lengths
        return np.concatenate([p + first for p, first in zip(paths, firsts, strict=True)])

    def parted(self, path: IntArray) -> list[IntArray]:
        """Return the paths of each take, of the path of all."""
        if self.lengths is None:
            return [path]
        ends = np.cumsum(self.lengths, axis=0)
        parts = np.split(path, np.searchsorted(path[:, 0], ends[:-1, 0]))
        return [p - (e - n) for p, e, n in zip(parts, ends, self.lengths, strict=True)]

    def gains(self, path: IntArray) -> Float64Array:
        """Return the held-out gain of each dimension along a path."""
        return held_out_gains(folds_of([self.x, self.y], path), self.ridge)

    def evidence(self, path: IntArray) -> float:
        """Return the nats a step of the best number of dimensions, times the share covered."""
        covered = (path[-1, 0] - path[0, 0] + 1) / len(self.x)
        return float(np.cumsum(self.gains(path)).max(initial=-_NOTHING) * covered)

    def alternation(self, dims: int) -> Alternation[Canonical, IntArray]:
        """Return the loop in a space of `dims` dimensions."""

        def warp(maps: Canonical, _: IntArray) -> tuple[IntArray, float]:
            found = self.warp(maps)
            return found.frames, found.cost.mean

        return Alternation(
            lambda path: self.project(path, dims),
            warp,
            moved_at_most,
            self.settings.max_rounds or _MOST_ROUNDS,
            self.settings.tolerance_frames,
        )


def _weights_along(x: Float64Array, y: Float64Array, path: IntArray) -> Float64Array:
    """Return the weight of each step under a multivariate t distribution, nu = 3.

    ``(nu + D) / (nu + z' S^-1 z)``, by three plain rounds of expectation and maximisation from
    equal weights. At convergence, as the joint aligner has them (`tails.fitted`), stretches
    that are not aligned yet would be taken for outliers, and stay so.
    """
    z = np.hstack([x[path[:, 0]], y[path[:, 1]]])
    deviation = z.std(axis=0)
    z = (z - z.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    weights = np.ones(len(z))
    for _ in range(_WEIGHING_ROUNDS):
        centred = z - weights @ z / weights.sum()
        scatter = centred.T @ (centred * weights[:, np.newaxis]) / len(z)
        scatter.flat[:: len(scatter) + 1] += _WEIGHING_RIDGE
        far = (centred * np.linalg.solve(scatter, centred.T).T).sum(axis=1)
        weights = (_FREEDOM + z.shape[1]) / (_FREEDOM + far)
    return np.asarray(weights)


def prepare(x: FloatArray, y: FloatArray, settings: Settings, subject: str = "ctw") -> Pair:
    """Return two streams as the alternation takes them.

    Raises
    ------
    InputError
        If a stream is too short, or constant.
    """
    return replace(prepare_takes([(x, y)], settings, [subject]), lengths=None)


def prepare_takes(
    takes: Sequence[tuple[FloatArray, FloatArray]], settings: Settings, subjects: Sequence[str]
) -> Pair:
    """Return two streams of several takes, which share their maps, as the alternation takes them.

    Raises
    ------
    InputError
        If a stream is too short, or constant in all takes.
    """
    parts = [[np.asarray(v, dtype=np.float64) for v in take] for take in takes]
    for take, subject in zip(parts, subjects, strict=True):
        if (shortest := min(map(len, take))) < _LEAST_FRAMES:
            what = f"{shortest} frames: too few to correlate"
            raise InputError(subject, what, f"streams need at least {_LEAST_FRAMES} frames")
    if settings.robust:
        parts = [[without_outliers(v) for v in take] for take in parts]
    frames = [np.concatenate(stream) for stream in zip(*parts, strict=True)]
    if any((values == values[0]).all() for values in frames):
        what = "every column of a stream is constant: nothing to align"
        raise InputError(subjects[0], what)
    ridge = settings.ridge
    if ridge is None:
        scarce = any(len(v) < _FEW_FRAMES * v.shape[1] for v in frames)
        ridge = _LITTLE_DATA_RIDGE if scarce else 0.0
    first, second = (principal(v, _MOST_COLUMNS) for v in frames)
    lengths = np.array([[len(v) for v in take] for take in parts])
    x, y = first(frames[0]), second(frames[1])
    raw = (frames[0], frames[1])
    return Pair(x, y, ridge, settings, (first, second), raw, subjects[0], lengths)
