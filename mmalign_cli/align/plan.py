"""What an alignment will take, from shapes alone: the road, cells, memory and time.

Memory is what the command holds at its fullest beside the program itself: the streams, what the
road needs, the path, and the cost matrices where they are asked for. Time is a rough figure from
the rates below, measured on one core of a server of 2023; the features and the first compilation
are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmalign_cli.align import multiscale
from mmalign_cli.align.anchors import anchored
from mmalign_cli.align.dtw import bytes_needed, takes_strips
from mmalign_cli.align.problem import CLOSED, NO_ANCHORS, Ends
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.subsequence import bytes_of_matches
from mmalign_cli.align.windows import Window
from mmalign_cli.model import IntArray


@dataclass(frozen=True)
class Road:
    """One way to the path.

    Parameters
    ----------
    help : str
        For people.
    cell_ns, value_ns : float
        Nanoseconds that one core takes for a cell, and for each dimension of it.
    """

    help: str
    cell_ns: float
    value_ns: float

    def seconds(self, cells: int, dims: int) -> float:
        """Return the seconds that one core takes."""
        return 1e-9 * cells * (self.cell_ns + self.value_ns * dims)


ROADS: Mapping[str, Road] = {
    "strips": Road("exact, in strips: bounded memory, all threads", 0.05, 0.03),
    "rows": Road("exact, row by row: a byte a cell, one thread", 2.6, 0.13),
    # Narrow bands are swept twice: once for the costs, once for the path.
    "multiscale": Road("approximate: a coarse search, then bands round its path", 0.8, 0.07),
}
LONGEST_EXACT_S = 60.0
"""Of one core: an exact search that takes longer is not made unless it is asked for."""


@dataclass(frozen=True)
class Request:
    """The shapes and options that decide what an alignment takes.

    Parameters
    ----------
    n, m, dims : int
        Frames of reference and query, and their dimensions.
    pattern : StepPattern
    window : Window
    penalty : float
    ends : Ends
    anchors : ndarray, shape (k, 2)
    matches : int
        Paths that share no reference frame.
    tabled : bool
        The metric computes all costs at once.
    keep_costs : bool
        Whether the cost matrices are wanted.
    approximate : bool or None
        Whether the user wants an approximate search; None leaves it to the plan.
    radius : int
        Of its bands, in frames.
    threads : int
    stream_bytes : int or None
        What the streams take; None counts float64 values and times.
    """

    n: int
    m: int
    dims: int
    pattern: StepPattern
    window: Window
    penalty: float = 0.0
    ends: Ends = CLOSED
    anchors: IntArray = field(default_factory=lambda: NO_ANCHORS)
    matches: int = 1
    tabled: bool = False
    keep_costs: bool = False
    approximate: bool | None = None
    radius: int = multiscale.USUAL_RADIUS
    threads: int = 1
    stream_bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What an alignment will take.

    Parameters
    ----------
    road : str
        One of `ROADS`.
    frames : tuple of int
        Of reference and query.
    dims, cells, bytes : int
        `cells` of all levels, and `bytes` of all that is held at once.
    seconds : float
        Roughly.
    exact_seconds : float
        What an exact search would take, roughly; the same where this is one.
    """

    road: str
    frames: tuple[int, int]
    dims: int
    cells: int
    bytes: int
    seconds: float
    exact_seconds: float

    @property
    def is_exact(self) -> bool:
        """Whether the answer will be the best of all paths in the window."""
        return self.road != "multiscale"


def plan(request: Request) -> Plan:
    """Choose a road, and tell what it takes.

    An exact road, unless the user asks for an approximate search, or leaves the choice open, the
    window holds all cells and one core would search longer than `LONGEST_EXACT_S`. The choice
    does not depend on the machine.
    """
    r = request
    fast = takes_strips(r.pattern, r.window, r.penalty, r.ends) and not (r.keep_costs or r.tabled)
    exact = "strips" if fast and r.matches == 1 else "rows"
    cells = anchored(r.window, r.anchors, r.m).n_cells
    alone_s = ROADS[exact].seconds(cells, r.dims)
    exact_s = _shared(alone_s, exact, r.threads)
    plain = r.window.holds_all(r.m) and not len(r.anchors) and r.ends == CLOSED and not r.tabled
    too_long = alone_s > LONGEST_EXACT_S and not r.keep_costs and plain
    if r.approximate or (r.approximate is None and too_long):
        cells, last = multiscale.cells_expected(r.n, r.m, r.radius)
        need = bytes_of(r, last)
        seconds = ROADS["multiscale" if fast else "rows"].seconds(cells, r.dims)
        return Plan("multiscale", (r.n, r.m), r.dims, cells, need, seconds, exact_s)
    need = bytes_of(r, cells)
    return Plan(exact, (r.n, r.m), r.dims, cells, need, exact_s, exact_s)


def bytes_of(request: Request, n_cells: int) -> int:
    """Return the memory of all that is held at once, for a window of `n_cells` cells."""
    r = request
    need = 0
    if r.matches > 1:
        need = bytes_of_matches(
            r.n, r.m, r.dims, step=r.pattern, window=r.window, penalty=r.penalty
        )
    if r.matches == 1 or r.keep_costs:
        need += bytes_needed(
            r.n, r.m, r.dims, step=r.pattern, window=r.window, n_cells=n_cells, penalty=r.penalty,
            ends=r.ends, keep_accumulated=r.keep_costs or r.tabled,
        )  # fmt: skip
    steps = r.n + r.m
    matrices = 16 * r.n * r.m + 12 * steps**2 if r.keep_costs else 0
    return _stream_bytes(r) + need + matrices


def _stream_bytes(r: Request) -> int:
    return 8 * (r.dims + 1) * (r.n + r.m) if r.stream_bytes is None else r.stream_bytes


def _shared(seconds: float, road: str, threads: int) -> float:
    """Return the seconds of work that threads share, where the road has any use for them."""
    return seconds if road == "rows" else seconds / min(threads, math.ceil(seconds * 100) or 1)
