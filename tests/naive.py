"""Slow, obviously right twins of what the package computes fast."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.distance import cdist

INF = float("inf")


def local_costs(x, y, metric):
    """All pairs of frames, by scipy; zero frames as the package defines them."""
    if metric == "sqeuclidean":
        return ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    return cdist(x, y, metric)


def accumulate(cost, steps, allowed, penalty=0.0):
    """The textbook recursion over a full table; infinite where no path leads.

    `steps` are (reference, query, weight); `allowed[i, j]` marks the window.
    """
    n, m = cost.shape
    table = np.full((n, m), INF)
    for i in range(n):
        for j in range(m):
            if not allowed[i, j]:
                continue
            if i == j == 0:
                table[i, j] = cost[0, 0]
                continue
            for di, dj, weight in steps:
                if i >= di and j >= dj:
                    extra = 0.0 if (di, dj) == (1, 1) else penalty
                    arrived = table[i - di, j - dj] + weight * cost[i, j] + extra
                    table[i, j] = min(table[i, j], arrived)
    return table


def best_by_enumeration(cost, steps, penalty=0.0):
    """The least cost over every path there is: exponential, for tables of a few cells."""
    n, m = cost.shape

    def rest(i, j):
        if (i, j) == (n - 1, m - 1):
            return 0.0
        best = INF
        for di, dj, weight in steps:
            if i + di < n and j + dj < m:
                extra = 0.0 if (di, dj) == (1, 1) else penalty
                here = weight * cost[i + di, j + dj] + extra
                best = min(best, here + rest(i + di, j + dj))
        return best

    return cost[0, 0] + rest(0, 0)


def path_total(cost, frames, steps, penalty=0.0):
    """Cost of a path, step by step; raises KeyError for a move that is no step."""
    weight_of = {(di, dj): weight for di, dj, weight in steps}
    total = cost[tuple(frames[0])]
    for before, after in pairwise(frames):
        move = tuple(int(v) for v in after - before)
        total += weight_of[move] * cost[tuple(after)] + (0.0 if move == (1, 1) else penalty)
    return total


def band(n, m, inside):
    """A window as a boolean table, from a predicate of (i, j)."""
    return np.array([[bool(inside(i, j)) for j in range(m)] for i in range(n)])


def time_map_by_runs(stream_s, reference_s):
    """Knots of a staircase by walking it: the middle of every stretch on which one side waits."""
    points = [(stream_s[0], reference_s[0])]
    for p in zip(stream_s[1:], reference_s[1:], strict=True):
        if p != points[-1]:
            points.append(p)
    knots, k = [], 0
    touched = set()
    while k < len(points) - 1:
        moves = (points[k + 1][0] > points[k][0], points[k + 1][1] > points[k][1])
        if all(moves):
            if k not in touched:
                knots.append(points[k])
            k += 1
            continue
        end = k + 1
        while end < len(points) - 1 and moves == (
            points[end + 1][0] > points[end][0],
            points[end + 1][1] > points[end][1],
        ):
            end += 1
        knots.append(tuple((a + b) / 2 for a, b in zip(points[k], points[end], strict=True)))
        touched.add(end)
        k = end
    first, last = points[0], points[-1]
    inner = [p for p in knots if first[0] < p[0] < last[0] and first[1] < p[1] < last[1]]
    return np.array([first, *inner, last])


def path_difference(p, q):
    """The field's error by two loops."""
    to_q = sum(min(np.linalg.norm(a - b) for b in q) for a in p)
    to_p = sum(min(np.linalg.norm(a - b) for b in p) for a in q)
    return (to_q + to_p) / (len(p) + len(q))
