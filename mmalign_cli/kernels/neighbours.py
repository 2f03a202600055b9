"""Search for the nearest references of a query, with lower bounds and early abandoning.

Every path holds the first and the last cell, and one cell at least in each column. So

    c(x[0], y[0]) + c(x[n - 1], y[m - 1])                        (after Kim, Park and Chu, 2001)
    sum over j of c(y[j], the nearest point of [low[j], high[j]])      (Keogh, 2002)

are at most the cost, low and high being the least and largest query values that column j may
meet, dimension by dimension. References are tried in the order of the larger of the two; those
whose bound is over the k-th best cost so far are not swept, and a sweep ends when a whole row of
all its tables is.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mmalign_cli.kernels.codes import CHEBYSHEV, CITYBLOCK, ENTRY, EUCLIDEAN, INNER, SQEUCLIDEAN
from mmalign_cli.kernels.dtw import SAFE_FAST_MATH
from mmalign_cli.kernels.pairs import ROWS, WIDTH, fill_table, spread_windows


@njit(**ENTRY)
def envelope(values, lo, hi, low, high):
    """Write the least and largest of the frames lo[j] <= i < hi[j] of (n, dims), for each j.

    The ranges never step back: frames are looked at again only when an extreme has left its range.
    """
    for q in range(values.shape[1]):
        least, most, seen = -1, -1, 0
        for j in range(len(lo)):
            if least < lo[j] or most < lo[j]:
                least, most, seen = lo[j], lo[j], lo[j]
            for i in range(seen, hi[j]):
                least = i if values[i, q] < values[least, q] else least
                most = i if values[i, q] > values[most, q] else most
            seen = max(seen, hi[j])
            low[j, q], high[j, q] = values[least, q], values[most, q]


@njit(**INNER)
def _cost(form, x, low, high):
    """Return the cost of a frame to the nearest point of a box; all (dims,)."""
    cost = 0.0
    for q in range(len(x)):
        gap = max(low[q] - x[q], x[q] - high[q], 0.0)
        if form.metric == CITYBLOCK:
            cost += gap
        elif form.metric == CHEBYSHEV:
            cost = max(cost, gap)
        else:
            cost += gap * gap
    return np.sqrt(cost) if form.metric == EUCLIDEAN else cost


@njit(fastmath=SAFE_FAST_MATH, **INNER)
def _sum_of_gaps(form, frames, low, high):
    """Return the cost of all frames (m, dims) to their boxes: a loop that becomes vectors."""
    total = 0.0
    if form.metric not in (SQEUCLIDEAN, CITYBLOCK):
        for j in range(len(frames)):
            total += _cost(form, frames[j], low[j], high[j])
        return total
    x, below, above = frames.reshape(-1), low.reshape(-1), high.reshape(-1)
    for k in range(len(x)):
        under, over = below[k] - x[k], x[k] - above[k]
        gap = under if under > over else over
        gap = gap if gap > 0.0 else 0.0
        total += gap if form.metric == CITYBLOCK else gap * gap
    return total


@njit(**ENTRY)
def bounds(form, query, low, high, frames, offsets, which, out):
    """Write lower bounds of the cost between a query and references of one length.

    Parameters
    ----------
    form : Form
    query : (n, dims) float64
    low, high : (m, dims) float64
        Envelope of the query.
    frames, offsets : (total, dims) float64, (n_series + 1,) int64
        Series k holds the frames from offsets[k] to offsets[k + 1].
    which : (some,) int64
        The references.
    out : (n_series,) float64
    """
    for k in which:
        y = frames[offsets[k] : offsets[k + 1]]
        ends = _cost(form, y[0], query[0], query[0])
        if len(y) > 1 or len(query) > 1:
            ends += _cost(form, y[-1], query[-1], query[-1])
        out[k] = max(ends, _sum_of_gaps(form, y, low, high))


@njit(**INNER)
def _insert(costs, numbers, cost, number):
    """Put a reference among the best, in order of cost, then number; returns nothing."""
    k = len(costs)
    while k > 0 and (cost < costs[k - 1] or (cost == costs[k - 1] and number < numbers[k - 1])):
        k -= 1
    for to in range(len(costs) - 1, k, -1):
        costs[to], numbers[to] = costs[to - 1], numbers[to - 1]
    if k < len(costs):
        costs[k], numbers[k] = cost, number


@njit(**INNER)
def _gather(frames, offsets, which, dims, y, ends, m):
    """Lay some references out as a group (dims, m, WIDTH); returns nothing."""
    y[: dims * m * WIDTH] = 0.0
    for lane in range(len(which)):
        first = offsets[which[lane]]
        for j in range(ends[lane]):
            for q in range(dims):
                y[(q * m + j) * WIDTH + lane] = frames[first + j, q]


@njit(**ENTRY)
def search(
    form, x, rows, dims, pad, frames, offsets, which, low, windows, kinds, penalty, at, stop,
    costs, numbers, counts,
):  # fmt: skip
    """Try references in the order of their bounds; return where to go on, or their number.

    Parameters
    ----------
    form, x, rows, dims, pad, windows, penalty
        As in `mmalign_cli.kernels.pairs.distances`.
    frames, offsets
        As in `bounds`.
    which, low, kinds : (n_candidates,) int64, float64, int64
        The references, their bounds in rising order, their windows.
    at, stop : int
        The first candidate to try, and about the last.
    costs, numbers : (k,) float64, int64
        The best so far in rising order, infinity where there are fewer; updated.
    counts : (2,) int64
        Counts the candidates that were swept, and those given up on the way.
    """
    longest = 0
    for k in which:
        longest = max(longest, offsets[k + 1] - offsets[k])
    y, tops = np.empty(dims * longest * WIDTH), np.empty((longest + 1) * WIDTH)
    size = rows * WIDTH if len(windows) else 0
    lo, hi = np.empty(size), np.empty(size)
    left, no_marks = np.empty((ROWS + 1) * WIDTH), np.empty(1, np.uint8)
    ends, mine = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int64)
    while at < min(stop, len(which)):
        limit = costs[-1]
        n = 0
        while n < WIDTH and at + n < len(which) and low[at + n] <= limit:
            ends[n] = offsets[which[at + n] + 1] - offsets[which[at + n]]
            n += 1
        if n == 0:
            return len(which)
        mine[:] = -1
        mine[:n] = kinds[at : at + n]
        m = ends[:n].max()
        _gather(frames, offsets, which[at : at + n], dims, y, ends, m)
        if size:
            spread_windows(windows, mine, rows, lo, hi)
        top = tops[: (m + 1) * WIDTH]
        done = fill_table(
            form, x, rows, dims, pad, y, m, left, top, lo, hi, penalty, limit, False, no_marks
        )
        counts[0 if done else 1] += n
        for lane in range(n if done else 0):
            cost = top[ends[lane] * WIDTH + lane]
            if mine[lane] >= 0 and cost < np.inf:
                _insert(costs, numbers, cost, which[at + lane])
        at += n
    return at
