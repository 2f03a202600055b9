"""Soft couplings: the probability of every match, in place of one path.

Every warping path weighs ``exp(-cost / gamma)``. The probability E that a path passes a cell is the
gradient of soft-DTW by its costs; with it as weights, canonical correlation analysis is the M-step
of an expectation-maximisation in which the path is the hidden variable. As gamma falls to 0, E
becomes the DTW path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_CELLS_A_CALL = 2_000_000  # some 50 ms: how long an interrupt may have to wait


@dataclass(frozen=True, eq=False)
class Band:
    """The cells that take part: `width` columns of each row, from `lo` on.

    Parameters
    ----------
    lo : ndarray, shape (n,)
        None decreasing.
    width : int
    n_columns : int
        m; cells beyond it do not exist.
    """

    lo: IntArray
    width: int
    n_columns: int


def whole(n: int, m: int) -> Band:
    """Return the band that holds all cells."""
    return Band(np.zeros(n, dtype=np.int64), m, m)


def around(path: IntArray, n: int, m: int, radius: int) -> Band:
    """Return the band of `radius` cells on either side of a path, in rows and in columns."""
    first, last = np.full(n, m, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for shift in (-radius, 0, radius):
        rows = np.clip(path[:, 0] + shift, 0, n - 1)
        np.minimum.at(first, rows, path[:, 1])
        np.maximum.at(last, rows, path[:, 1])
    first = np.minimum.accumulate(first[::-1])[::-1] - radius
    last = np.maximum.accumulate(last) + radius
    width = int(min((last - first).max() + 1, m))
    lo = np.clip((first + last - width + 1) // 2, 0, m - width)
    return Band(np.maximum.accumulate(lo), width, m)


@dataclass(frozen=True, eq=False)
class Coupling:
    """How probable it is that frames match.

    Parameters
    ----------
    band : Band
    probability : ndarray, shape (n, width)
        That a path passes the cell.
    """

    band: Band
    probability: Float64Array

    def times(self, y: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return W1, W'1 and W y for y (m, d)."""
        runtime.prepare_kernels()
        from mmalign_cli.kernels import soft as kernel

        product = np.empty((len(self.band.lo), y.shape[1]))
        columns = np.empty(self.band.n_columns)
        kernel.times(self.probability, self.band.lo, np.ascontiguousarray(y), product, columns)
        return self.probability.sum(axis=1), columns, product

    def dense(self) -> Float64Array:
        """Return it as a matrix (n, m)."""
        full = np.zeros((len(self.band.lo), self.band.n_columns))
        columns = self.band.lo[:, np.newaxis] + np.arange(self.band.width)
        inside = columns < self.band.n_columns
        rows = np.broadcast_to(np.arange(len(full))[:, np.newaxis], columns.shape)
        full[rows[inside], columns[inside]] = self.probability[inside]
        return full


def blurred(path: IntArray, band: Band, sigma_frames: float) -> Coupling:
    """Return a Gaussian ridge along a path: what is known of the coupling before any round."""
    rows = np.arange(len(band.lo), dtype=np.float64)
    middle = np.interp(rows, path[:, 0], path[:, 1])[:, np.newaxis]
    columns = band.lo[:, np.newaxis] + np.arange(band.width)
    ridge = np.exp(-0.5 * ((columns - middle) / sigma_frames) ** 2)
    return Coupling(band, np.where(columns < band.n_columns, ridge, 0.0))


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the forward and the backward pass give.

    Parameters
    ----------
    coupling : Coupling
    soft_cost : float
        ``-gamma log sum over paths of exp(-cost / gamma)``.
    mean_cost : float
        Expected cost of a cell of the path.
    log_before : ndarray, shape (n, width)
        What paths are drawn from.
    """

    coupling: Coupling
    soft_cost: float
    mean_cost: float
    log_before: Float64Array


def expect(
    x: Float64Array,
    y: Float64Array,
    gamma: float,
    band: Band,
    subject: str = "ctw",
    progress: Progress = runtime.silent,
) -> Expectation:
    """Return the expectation over all paths of frames x (n, d) and y (m, d).

    Raises
    ------
    AlignmentError
        If the band holds no path.
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels import soft as kernel

    n, lo, shape = len(x), band.lo, (len(x), band.width)
    cost, before, after = np.empty(shape), np.empty(shape), np.empty(shape)
    kernel.distances(np.ascontiguousarray(x), np.ascontiguousarray(y), lo, cost)
    rows = max(1, _CELLS_A_CALL // band.width)
    for first in range(0, n, rows):
        kernel.forward(first, min(first + rows, n), cost, gamma, lo, before)
        progress("expecting", first, 2 * n)
    for first in reversed(range(0, n, rows)):
        kernel.backward(first, min(first + rows, n), cost, gamma, len(y), lo, after)
        progress("expecting", 2 * n - first, 2 * n)
    end = len(y) - 1 - lo[-1]
    log_partition = float(before[-1, end]) if 0 <= end < band.width else -np.inf
    if log_partition == -np.inf:
        raise AlignmentError(subject, "no warping path lies in the band")
    kernel.couple(before, after, log_partition)
    mean = float((after * np.where(after > 0, cost, 0.0)).sum() / after.sum())
    return Expectation(Coupling(band, after), -gamma * log_partition, mean, before)


def draw_paths(expectation: Expectation, count: int, seed: int) -> list[IntArray]:
    """Draw whole paths, each with its own probability (forward filtering, backward sampling).

    Returns
    -------
    list of ndarray, shape (n_steps, 2)
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels import soft as kernel

    rng = np.random.default_rng(seed)
    band = expectation.coupling.band
    longest = len(band.lo) + band.n_columns
    paths = []
    for _ in range(count):
        path = np.empty((longest, 2), dtype=np.int64)
        start = kernel.sample(
            expectation.log_before, band.lo, band.n_columns, rng.random(longest), path
        )
        paths.append(path[start:].copy())
    return paths


@dataclass(frozen=True, eq=False)
class Posterior:
    """Where each frame of the second stream matches, all paths considered.

    Parameters
    ----------
    low, middle, high : ndarray, shape (m,)
        Quantiles, in frames of the first stream.
    entropy : ndarray, shape (m,)
        In nats: the logarithm of the number of frames that are as good as the best.
    """

    low: Float64Array
    middle: Float64Array
    high: Float64Array
    entropy: Float64Array


def posterior_of(coupling: Coupling, level: float = 0.9) -> Posterior:
    """Return the interval that holds `level` of the probability, half of the rest on each side."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import soft as kernel

    lo, m = coupling.band.lo, coupling.band.n_columns
    _, columns, _ = coupling.times(np.zeros((m, 0)))
    found: list[Float64Array] = []
    for q in ((1 - level) / 2, 0.5, (1 + level) / 2):
        out = np.empty(m)
        kernel.quantiles(coupling.probability, lo, columns, q, out)
        found.append(np.clip(out, 0.0, len(lo) - 1.0))
    entropy = np.empty(m)
    kernel.entropies(coupling.probability, lo, columns, entropy)
    low, middle, high = found
    return Posterior(low, middle, high, entropy)
