"""Slow, obviously right twins of what the package computes fast."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

INF = float("inf")


def local_costs(x, y, metric):
    """All pairs of frames, by scipy; zero frames as the package defines them."""
    if metric == "sqeuclidean":
        return ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    if metric == "selfsim":
        return selfsim_costs(x, y)
    return cdist(x, y, metric)


def selfsim_costs(x, y):
    """Each frame's distances to its own stream, warped onto each other up to the pair and on."""
    a, b = (cdist(v, v) for v in (x, y))
    a, b = a / a.mean(), b / b.mean()
    steps = [[(1, 1, 1)], [(1, 0, 1)], [(0, 1, 1)]]
    out = np.zeros((len(x), len(y)))
    for i, j in np.ndindex(out.shape):
        for r, s in ((a[i, : i + 1], b[j, : j + 1]), (a[i, i:], b[j, j:])):
            table = np.abs(r[:, None] - s[None])
            out[i, j] += accumulate(table, steps, np.ones_like(table, bool))[-1, -1]
    return out


def chain_cells(i, j, step):
    """Cells of a step that ends at (i, j), first to last with their weights, and its start."""
    cells = []
    for di, dj, weight in reversed(step):
        cells.append((i, j, weight))
        i, j = i - di, j - dj
    return cells[::-1], (i, j)


def bent_moves(step):
    """Number of moves of a step that are not diagonal."""
    return sum((di, dj) != (1, 1) for di, dj, _ in step)


def accumulate(cost, steps, allowed, penalty=0.0, open_begin=False):
    """The textbook recursion over a full table; infinite where no path leads.

    A step is a chain of moves (reference, query, weight); `allowed[i, j]` marks the window.
    """
    n, m = cost.shape
    table = np.full((n, m), INF)
    for i in range(n if open_begin else 1):
        if allowed[i, 0]:
            table[i, 0] = cost[i, 0]
    for i in range(n):
        for j in range(m):
            for step in steps:
                cells, (a, b) = chain_cells(i, j, step)
                if a < 0 or b < 0 or not all(allowed[p, q] for p, q, _ in cells):
                    continue
                arrived = table[a, b] + sum(w * cost[p, q] for p, q, w in cells)
                table[i, j] = min(table[i, j], arrived + penalty * bent_moves(step))
    return table


def best_by_enumeration(cost, steps, penalty=0.0):
    """The least cost over every path there is: exponential, for tables of a few cells."""
    n, m = cost.shape

    def rest(i, j):
        best = 0.0 if (i, j) == (n - 1, m - 1) else INF
        for step in steps:
            a, b = i + sum(s[0] for s in step), j + sum(s[1] for s in step)
            if a < n and b < m:
                cells, _ = chain_cells(a, b, step)
                here = sum(w * cost[p, q] for p, q, w in cells) + penalty * bent_moves(step)
                best = min(best, here + rest(a, b))
        return best

    return cost[0, 0] + rest(0, 0)


def path_total(cost, frames, steps, penalty=0.0):
    """Least cost of a sequence of cells over all ways to split it into steps; infinite if none."""
    frames = [tuple(int(v) for v in cell) for cell in frames]
    totals = [INF] * len(frames)
    totals[0] = cost[frames[0]]
    for at, (i, j) in enumerate(frames):
        for step in steps:
            cells, start = chain_cells(i, j, step)
            before = at - len(step)
            if before < 0 or frames[before : at + 1] != [start, *((p, q) for p, q, _ in cells)]:
                continue
            here = sum(w * cost[p, q] for p, q, w in cells) + penalty * bent_moves(step)
            totals[at] = min(totals[at], totals[before] + here)
    return totals[-1]


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


def least_through(cost, steps, allowed, anchors, penalty=0.0, open_begin=False, open_end=False):
    """The least cost of a path that holds all anchors, by counting those met in their order."""
    n, m = cost.shape
    anchors = [tuple(int(v) for v in cell) for cell in anchors]
    table = np.full((len(anchors) + 1, n, m), INF)

    def met(k, cells):
        for cell in cells:
            k += k < len(anchors) and cell == anchors[k]
        return k

    for i in range(n if open_begin else 1):
        if allowed[i, 0]:
            table[met(0, [(i, 0)]), i, 0] = cost[i, 0]
    for i in range(n):
        for j in range(m):
            for step in steps:
                cells, (a, b) = chain_cells(i, j, step)
                if a < 0 or b < 0 or not all(allowed[p, q] for p, q, _ in cells):
                    continue
                here = sum(w * cost[p, q] for p, q, w in cells) + penalty * bent_moves(step)
                for k in range(len(anchors) + 1):
                    now = met(k, [(p, q) for p, q, _ in cells])
                    table[now, i, j] = min(table[now, i, j], table[k, a, b] + here)
    return table[-1, :, -1].min() if open_end else table[-1, -1, -1]
