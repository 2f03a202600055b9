"""Where the climb begins: a pool of warps, and what a few rounds of hard CTW make of them.

The total correlation of cyclic motion has many local maxima. A family of bent lines comes near
most alignments that occur, and the alternation of canonical correlations and DTW (CTW: Zhou and
De la Torre, 2009) leaps where a gradient cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align import warps
from mmalign_cli.align.correlation import Linear, Samples, evidence, matching_maps
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.tails import without_tails
from mmalign_cli.align.takes import Takes
from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.model import Float64Array, IntArray

_EXPONENTS = np.exp([0.0, -0.4, 0.4, -0.8, 0.8])
_PIECES = 16
_ROUNDS = 3
_RIDGE = 1e-3
_SKIP = 0.2
_SAME = 0.01


def bent_lines(n_pieces: int = _PIECES) -> list[Float64Array]:
    """Return the knots (n_pieces + 1,) of 25 Kumaraswamy warps, the straight line first.

    ``1 - (1 - u^a)^b`` with a, b in e^-0.8 ... e^0.8.
    """
    u = np.linspace(0.0, 1.0, n_pieces + 1)
    return [1.0 - (1.0 - u**a) ** b for a in _EXPONENTS for b in _EXPONENTS]


def pair_starts(takes: Takes, ends: OpenEnds) -> list[Float64Array]:
    """Return starts (n_takes, 2, K + 1) for two sequences, the same in every take.

    The second sequence is bent against the first. With an open end, also those in which a fifth
    of either sequence is skipped there.
    """
    straight = np.linspace(0.0, 1.0, _PIECES + 1)
    starts = []
    for low, high in _skips(ends):
        for bent in bent_lines():
            pair = np.stack([straight, bent])
            pair = low[:, np.newaxis] + pair * (high - low)[:, np.newaxis]
            starts.append(np.tile(warps.resampled(pair, _PIECES), (takes.n_takes, 1, 1)))
    return starts


def _skips(ends: OpenEnds) -> list[tuple[Float64Array, Float64Array]]:
    """Return the shares of two sequences at which starts begin and end."""
    low, high = np.zeros(2), np.ones(2)
    skips = [(low, high)]
    for which in np.eye(2) if ends != warps.CLOSED_ENDS else ():
        begin = _SKIP * which if ends.begin else low
        end = 1.0 - _SKIP * (which[::-1] if ends.begin else which) if ends.end else high
        skips.append((begin, end))
    return skips


def many_starts(takes: Takes, seed: int) -> list[Float64Array]:
    """Return 25 starts (n_takes, m, K + 1) for any number of sequences, the straight one first.

    Each sequence but the first follows a power law, with a random exponent e^-0.8 ... e^0.8.
    """
    rng = np.random.default_rng(seed)
    n_sequences = len(takes.tracks)
    u = np.linspace(0.0, 1.0, _PIECES + 1)
    starts = []
    for k in range(len(_EXPONENTS) ** 2):
        powers = np.ones(n_sequences)
        if k > 0:
            powers[1:] = rng.choice(_EXPONENTS, n_sequences - 1)
        one = warps.resampled(u ** powers[:, np.newaxis], _PIECES)
        starts.append(np.tile(one, (takes.n_takes, 1, 1)))
    return starts


@dataclass(frozen=True, eq=False)
class Round:
    """A round of hard CTW.

    Parameters
    ----------
    paths : tuple of ndarray, shape (n_steps, 2)
        One a take.
    evidence : float
        Mutual information along the paths, in nats.
    """

    paths: tuple[IntArray, ...]
    evidence: float


class Alternation:
    """Hard CTW of two sequences, from any number of starts.

    All dimensions take part, each latent at the scale ``sqrt(rho / (1 - rho^2))``. A start that
    comes upon paths which another start has had is left: the rest would be the same.

    Parameters
    ----------
    takes : Takes
        Of two sequences.
    """

    def __init__(self, takes: Takes) -> None:
        self._takes = takes
        self._seen: set[bytes] = set()

    def improved(self, knots: Float64Array) -> Float64Array | None:
        """Return the best round's warps (n_takes, 2, K + 1); None where there is nothing new.

        Parameters
        ----------
        knots : ndarray, shape (n_takes, 2, K + 1)
        """
        best = max(self._rounds(knots), key=_by_evidence, default=None)
        return None if best is None else self._warps(best.paths, _PIECES)

    def leap(self, knots: Float64Array, ridge: float) -> Float64Array:
        """Return the warps of one more round, of as many pieces, outlying samples weighed down.

        Parameters
        ----------
        knots : ndarray, shape (n_takes, 2, K + 1)
        ridge : float
        """
        samples = without_tails(self._takes.along(knots), ridge)
        first, second, _ = matching_maps(samples, ridge)
        paths = tuple(self._shortest(k, ends, first, second) for k, ends in enumerate(knots))
        return self._warps(paths, knots.shape[-1] - 1)

    def _warps(self, paths: tuple[IntArray, ...], n_pieces: int) -> Float64Array:
        return np.stack(
            [
                warps.from_path(path.astype(np.float64), self._takes.lengths(k), n_pieces)
                for k, path in enumerate(paths)
            ]
        )

    def _rounds(self, knots: Float64Array) -> Iterator[Round]:
        first, second, _ = matching_maps(self._takes.along(knots), _RIDGE)
        for _ in range(_ROUNDS):
            paths = tuple(self._shortest(k, ends, first, second) for k, ends in enumerate(knots))
            mark = b"".join(path.tobytes() for path in paths)
            if mark in self._seen:
                return
            self._seen.add(mark)
            first, second, rho = matching_maps(_along_paths(self._takes, paths), _RIDGE)
            yield Round(paths, evidence(rho))

    def _shortest(self, take: int, knots: Float64Array, first: Linear, second: Linear) -> IntArray:
        """Return the path between the first and the last knot of a take."""
        x, y = (track.of_take(take) for track in self._takes.tracks)
        corners = np.round(knots[:, [0, -1]].T * (self._takes.lengths(take) - 1)).astype(np.int64)
        begin, end = corners[0], corners[1] + 1
        path = dtw(first(x[begin[0] : end[0]]), second(y[begin[1] : end[1]])).frames
        return np.asarray(path + begin)


def _by_evidence(one: Round) -> float:
    return one.evidence


def _along_paths(takes: Takes, paths: tuple[IntArray, ...]) -> Samples:
    """Return the frames of two sequences side by side at every step of the paths."""
    values = np.vstack(
        [
            np.hstack([track.of_take(k)[path[:, i]] for i, track in enumerate(takes.tracks)])
            for k, path in enumerate(paths)
        ]
    )
    return Samples(values, takes.dims, np.full(len(values), 1.0 / len(values)))


def is_new(knots: Float64Array, others: list[Float64Array]) -> bool:
    """Tell whether warps differ from others by 1 % of the sequences in the mean.

    Parameters
    ----------
    knots : ndarray, shape (n_takes, m, K + 1)
    others : list of ndarray
        Of the same shape.
    """
    return all(float(np.abs(knots - other).mean()) > _SAME for other in others)


def stars(
    pairs: dict[tuple[int, int], Float64Array], n_sequences: int, centre: int
) -> Float64Array:
    """Compose warps of pairs to warps of all sequences, each by its warp against `centre`.

    Parameters
    ----------
    pairs : dict of (i, j) to ndarray, shape (n_takes, 2, K + 1)
        Knots of each pair i < j that holds the centre, and maybe of others.
    n_sequences : int
    centre : int

    Returns
    -------
    ndarray, shape (n_takes, m, K + 1)
        In gauge.
    """
    u = np.linspace(0.0, 1.0, _PIECES + 1)
    n_takes = len(next(iter(pairs.values())))
    rows = np.tile(u, (n_takes, n_sequences, 1))
    for (i, j), knots in pairs.items():
        if centre in (i, j):
            own, other = (0, 1) if centre == i else (1, 0)
            for k, pair in enumerate(knots):
                rows[k, (i, j)[other]] = warps.positions(pair[other], warps.inverse(pair[own], u))
    return np.stack([warps.resampled(take, _PIECES) for take in rows])
