"""Several occurrences of the query in the reference, best first, no frame of which is shared.

Match k + 1 is the path of least cost, penalties included, of the whole query to reference frames
none of which lies between the first and the last frame of matches 1 to k. One sweep tells for each
reference frame the least cost of a path that ends there, and where that path begins (as Sakurai,
Faloutsos and Yamamuro's SPRING, 2007, does for one step pattern). Once frames are used up, what it
says of a frame remains true if its path lies between used frames; else it is a lower bound, and
only if that bound comes out least are the frames concerned swept again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import rows
from mmalign_cli.align.dtw import Warp, bytes_needed, dtw
from mmalign_cli.align.metrics import Comparable, comparable
from mmalign_cli.align.problem import CLOSED, Ends
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.windows import Window, everything, part
from mmalign_cli.model import FloatArray
from mmalign_cli.runtime import Progress

ANYWHERE = Ends(open_begin=True, open_end=True)


def find_matches(
    x: FloatArray,
    y: FloatArray,
    top: int,
    *,
    metric: str,
    step: StepPattern,
    window: Window,
    penalty: float = 0.0,
    threads: int = 1,
    subject: str = "dtw",
    progress: Progress = runtime.silent,
) -> list[Warp]:
    """Find the best occurrences of the query in the reference.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
        Reference and query.
    top : int
        Matches wanted; there are fewer where no more fit between those found.
    metric, step, window, penalty, threads, subject, progress
        As in `dtw`.

    Returns
    -------
    list of Warp
        Best first. A tie goes to the match that ends first.
    """
    pair = comparable(x, y, metric, subject)
    scaled = penalty / pair.scale
    found = []
    for start, end in _ranges(pair, top, step, window, scaled, progress):
        frames = slice(start, end + 1)
        warp = dtw(
            x[frames], y, metric=metric, step=step, window=part(window, frames, slice(0, len(y))),
            penalty=penalty, ends=CLOSED, threads=threads, subject=subject,
        )  # fmt: skip
        found.append(replace(warp, frames=warp.frames + np.array([start, 0])))
    return found


def _ranges(
    pair: Comparable,
    top: int,
    pattern: StepPattern,
    window: Window,
    penalty: float,
    progress: Progress,
) -> Iterator[tuple[int, int]]:
    """Yield first and last reference frame of each match, best first."""
    columns = slice(0, len(pair.y))
    total, start = rows.find_ends(pair, pattern, window, penalty, progress)
    first_free = np.zeros(len(total), dtype=np.int64)
    while top > 0:
        end = int(np.argmin(total))
        if total[end] == np.inf:
            return
        left = int(first_free[end])
        if start[end] >= left:
            yield int(start[end]), end
            top -= 1
            total[start[end] : end + 1] = np.inf
            first_free[end + 1 :] = np.maximum(first_free[end + 1 :], end + 1)
            continue
        stale = (first_free == left) & (start < left) & (total < np.inf)
        frames = slice(left, int(np.flatnonzero(stale)[-1]) + 1)
        gap = replace(pair, x=pair.x[frames])
        total[frames], begin = rows.find_ends(
            gap, pattern, part(window, frames, columns), penalty, runtime.silent
        )
        start[frames] = begin + left


def bytes_of_matches(
    n: int, m: int, d: int, *, step: StepPattern, window: Window, penalty: float
) -> int:
    """Return the memory that `find_matches` takes beside the streams themselves.

    Parameters
    ----------
    n, m, d : int
        Frames of reference and query, and their dimensions.
    step, window, penalty
        As in `dtw`.
    """
    longest = min(n, step.most_reference(m))
    cells = everything(longest, m)
    path = bytes_needed(
        longest, m, d, step=step, window=cells, n_cells=cells.n_cells, penalty=penalty
    )
    return rows.bytes_of_ends(n, m, d, step) + int(window.mask.size) + path
