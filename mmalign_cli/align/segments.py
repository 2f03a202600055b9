"""Steps of one move through anchors: the path between two of them does not depend on the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mmalign_cli.align.metrics import Comparable, costs_along
from mmalign_cli.align.problem import Ends, Found
from mmalign_cli.align.windows import Window, part
from mmalign_cli.model import IntArray

Find = Callable[[Comparable, Window, Ends], Found | None]


def find_between(
    pair: Comparable, window: Window, ends: Ends, anchors: IntArray, find: Find
) -> Found | None:
    """Find the path of least cost through all anchors, piece by piece.

    Parameters
    ----------
    pair : Comparable
        Reference and query.
    window : Window
    ends : Ends
    anchors : ndarray, shape (k, 2)
    find : callable
        Finds the path of a piece, from its pair, window and ends. Its pattern has steps of a
        single move only.

    Returns
    -------
    Found or None
        None where no path lies in the window.
    """
    corners = np.vstack([[[0, 0]], anchors, [[len(pair.x) - 1, len(pair.y) - 1]]])
    pieces = []
    for k, ((a, b), (c, d)) in enumerate(pairwise(corners)):
        piece = replace(pair, x=pair.x[a : c + 1], y=pair.y[b : d + 1])
        here = Ends(ends.open_begin and k == 0, ends.open_end and k == len(anchors))
        found = find(piece, part(window, slice(a, c + 1), slice(b, d + 1)), here)
        if found is None:
            return None
        pieces.append(replace(found, frames=found.frames + corners[k]))
    return _joined(pieces, float(costs_along(pair, anchors).sum()))


def _joined(pieces: list[Found], counted_twice: float) -> Found:
    """Join paths, each of which begins with the last cell of the one before."""
    frames = np.vstack([pieces[0].frames, *(p.frames[1:] for p in pieces[1:])])
    weights = np.concatenate([pieces[0].weights, *(p.weights[1:] for p in pieces[1:])])
    costs = np.concatenate([pieces[0].costs, *(p.costs[1:] for p in pieces[1:])])
    total = sum(p.total for p in pieces) - counted_twice
    # What is subtracted is at most the total: its rounding can weigh twice.
    return Found(frames, weights, costs, total, 2 * max(p.precision for p in pieces))
