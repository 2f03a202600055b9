"""The fast road of DTW: steps of one frame, swept by `mmalign_cli.kernels.strips`.

Rows are queries here and columns reference frames: the kernels let a tie go to the diagonal,
then to the column before.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.metrics import Comparable, costs_along
from mmalign_cli.align.problem import CLOSED, Ends, Found
from mmalign_cli.align.rooms import Lent, Marks, Room
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.waves import in_waves
from mmalign_cli.align.windows import Window, everything
from mmalign_cli.kernels import codes
from mmalign_cli.model import IntArray

if TYPE_CHECKING:
    from mmalign_cli.kernels.forms import Form
    from mmalign_cli.kernels.table import Table

_EVERYTHING = everything(0, 0)
_SMALL = 2**12
"""Cells up to which float64 costs no time that matters."""
_BLOCKS_A_THREAD = 4
_FEW_CALLS = 5
"""What one thread does in one call, though an interrupt may have to wait that much longer."""
_LEAST_EFFORT = 1e7
"""Cells of one dimension, about a millisecond, that are worth a thread."""
_MOST_EFFORT = 1e8
"""Of one call, some 10 to 100 ms: how long an interrupt may have to wait."""
PLAIN_ROWS = 256
"""Rows of a strip where there are no vectors to keep them in."""
_MARKED_BYTES = 2**20
"""Winners that are kept at the first sweep: more than a second one of some tiles would cost."""
_BAND_BYTES = 2**21
"""In a band more of them: the path crosses most of its tiles, so few cells are not swept again."""
_LEAST_WIDTH = 256.0
"""Anti-diagonals of a tile: with fewer, beginning a tile takes longer than what is not traced."""
_WIDTH_ALONE = 1024
"""Of a tile, if the cost alone is asked: wider ones would lose digits of float32."""
_WHOLE_WIDTH = 256
"""Of a tile, if all winners are kept: with wider ones some tables are swept again in float64."""
_KEPT_BYTES = 48 * 2**20
"""What may be kept of larger ones before fewer borders are."""


@dataclass(frozen=True)
class Cut:
    """How a table is cut into tiles.

    Parameters
    ----------
    rows : int
        Rows of a strip.
    width : int
        Anti-diagonals of a tile.
    group : int
        Strips of a group, the last row of each of which is kept.
    whole : bool
        One group, of which all winners may be kept.
    """

    rows: int
    width: int
    group: int
    whole: bool


@functools.lru_cache(maxsize=32)
def weights_of(pattern: StepPattern) -> int | None:
    """Return the weight of the diagonal move if the strips know the pattern, else None."""
    moves = [(m.reference, m.query, m.weight) for step in pattern.steps for m in step]
    if len(moves) == len(pattern.steps) == 3 and moves[1:] == [(1, 0, 1), (0, 1, 1)]:
        first = moves[0]
        if first[:2] == (1, 1) and first[2] in (1, 2):
            return int(first[2])
    return None


def cut_for_total(rows: int) -> Cut:
    """Choose how to cut a table of which nothing is kept, into strips of some rows."""
    return Cut(rows, _WIDTH_ALONE, max(1, _WIDTH_ALONE // rows), False)


def cut(n_cells: int, n_rows: int, n_columns: int, rows: int) -> Cut:
    """Choose how to cut a table whose path is to be traced.

    Keeps about ``12 n_cells / width`` bytes and room for marks of one group and width, with
    groups about as high as tiles are wide.
    """
    if _marks_of(n_cells, n_rows, rows) <= _MARKED_BYTES:
        return Cut(rows, min(_WHOLE_WIDTH, n_rows + n_columns - 1), -(-n_rows // rows), True)
    best = (24.0 * n_cells) ** (1 / 3)
    wanted = min(best, max(_LEAST_WIDTH, 12.0 * n_cells / _KEPT_BYTES))
    width = 2 ** math.ceil(math.log2(wanted))
    return Cut(rows, width, max(1, width // rows), False)


def _marks_of(n_cells: int, n_rows: int, rows: int) -> int:
    """Return about the bytes of all winners: two bits a cell that is swept."""
    return (n_cells + 2 * rows * n_rows) // 4


@functools.cache
def _form(metric: int, dims: int, diagonal: int, bent: bool, single: bool) -> Form:
    """Return what the kernels are compiled for."""
    from mmalign_cli.kernels import vectors
    from mmalign_cli.kernels.forms import MOST_IN_REGISTERS, Form

    by_lanes = single and vectors.LANES > 0
    in_sweep = dims if by_lanes and dims <= MOST_IN_REGISTERS else 0
    return Form(metric, in_sweep, diagonal, bent, by_lanes)


def bytes_needed(n_cells: int, n: int, m: int, d: int) -> int:
    """Return the memory that `find_path` takes beside the frames, in float64 if it must."""
    shape = cut(n_cells, m, n, PLAIN_ROWS)
    strips = -(-m // shape.rows)
    borders = n_cells // (shape.rows * shape.width) + 3 * strips
    longest = min(n, 2 * n_cells // m) + 3 * shape.rows
    last_rows = (1 + -(-strips // shape.group)) * longest
    kept = 8 * (last_rows + borders * (2 * shape.rows + 2))
    tiles = min(shape.group, strips) * shape.rows * min(shape.width, n + m) // 4
    marks = max(tiles, min(_BAND_BYTES, _marks_of(n_cells, m, shape.rows)))
    return kept + marks + 8 * d * (n + m + 4 * shape.rows) + 8 * m + 48 * (n + m)


@dataclass(frozen=True)
class _Work:
    """How the tiles are shared out: blocks of strips by ranges of anti-diagonals.

    Parameters
    ----------
    strips, diagonals : list of int
        Where blocks and ranges begin, and where the last ones end.
    threads : int
    """

    strips: list[int]
    diagonals: list[int]
    threads: int


def _share_out(table: Table, cut: Cut, threads: int) -> _Work:
    """Choose tasks of some milliseconds at least, and of a fraction of a second at most.

    For threads, the first block is half as high as the others, and so is the last one: who begins
    the second block is then half a block behind, and from there on none waits for the other's next
    task.
    """
    strips, diagonals = len(table.base), int(table.span[-1, 1])
    cells = cut.rows * int((table.span[:, 1] - table.span[:, 0]).sum())
    worth = max(1, int(cells * _effort(table.dims) / _LEAST_EFFORT))
    threads = min(threads, worth, strips)
    parts = math.ceil(cells * _effort(table.dims) / _MOST_EFFORT)
    if threads > 1:
        parts = max(_BLOCKS_A_THREAD * threads, parts)
    else:
        parts = 1 if parts <= _FEW_CALLS else math.ceil(math.sqrt(parts))
    ahead = 0.5 if threads > 1 else 0.0
    return _Work(
        _shares(strips, cut.group, parts, ahead), _shares(diagonals, cut.width, parts, 0.0), threads
    )


def _shares(count: int, unit: int, parts: int, ahead: float) -> list[int]:
    """Return bounds of about equal parts of a count, whole units but the last; the first less."""
    step = count / unit / parts
    bounds = (unit * round(step * (k - ahead)) for k in range(1, math.ceil(parts + ahead)))
    return sorted({0, count, *(bound for bound in bounds if 0 < bound < count)})


def _effort(dims: int) -> float:
    """Return the cost of a cell, that of one dimension being 1."""
    return 1 + dims / 8


def _sweep(laid: _LaidOut, threads: int, progress: runtime.Progress) -> None:
    """Sweep the whole table."""
    from mmalign_cli.kernels import strips as kernel

    table, work = laid.table, _share_out(laid.table, laid.cut, threads)
    blocks, ranges = len(work.strips) - 1, len(work.diagonals) - 1
    spans = table.span.tolist()

    def advance(block: int, part: int) -> None:
        s0, s1 = work.strips[block : block + 2]
        g0, g1 = work.diagonals[part : part + 2]
        if spans[s0][0] < g1 and g0 < spans[s1 - 1][1]:
            kernel.advance(laid.form, table, s0, s1, g0, g1, False, laid.marks)

    def report(done: int) -> None:
        progress("aligning", done, blocks * ranges)

    in_waves(blocks, ranges, advance, work.threads, report)


def _end_of(table: Table) -> tuple[int, float]:
    """Return the column where the best path ends, and its cost in the pair's scale."""
    if len(table.tail):
        column = int(np.argmin(table.tail))
        return column, float(table.tail[column]) * table.unit
    value = float(table.states[-1, table.last_slot]) + float(table.offsets[-1])
    return table.n_columns - 1, value * table.unit


def _trace(laid: _LaidOut, column: int, progress: runtime.Progress) -> IntArray:
    """Return the path that ends in a column of the last row: columns and rows."""
    from mmalign_cli.kernels.strips import trace

    table = laid.table
    i, j = table.n_rows - 1, column
    path = np.empty((i + j + 1, 2), dtype=np.int64)
    at = len(path)
    most = int(_MOST_EFFORT / _effort(table.dims))
    while i >= 0 and j >= 0:
        i, j, at = trace(laid.form, table, laid.marks, i, j, path, at, most)
        progress("tracing", len(path) - at, len(path))
    progress("tracing", len(path), len(path))
    return path[at:]


@dataclass(frozen=True, eq=False)
class Problem:
    """What the strips are asked.

    Parameters
    ----------
    pair : Comparable
        Reference and query.
    diagonal : int
        Weight of the diagonal move.
    window : Window
        One that steps forward.
    penalty : float
        In the pair's scale.
    ends : Ends
    """

    pair: Comparable
    diagonal: int
    window: Window
    penalty: float
    ends: Ends


def find_path(problem: Problem, threads: int, progress: runtime.Progress) -> Found | None:
    """Find the path of least cost.

    In float32 first, if the table is not small. Where its rounding could have led the path
    astray, because costs are small beside the range of the values, once more in float64.

    Parameters
    ----------
    problem : Problem
    threads : int
    progress : Progress
        Told the tasks done.

    Returns
    -------
    Found or None
        None where no path lies in the window.
    """
    if problem.window.n_cells > _SMALL:
        found, unit = find_in(True, problem, threads, progress)
        if found is None or _is_exact_enough(problem, found, unit):
            return found
    return find_in(False, problem, threads, progress)[0]


def find_in(
    single: bool, problem: Problem, threads: int, progress: runtime.Progress
) -> tuple[Found | None, float]:
    """Find it in float32 or float64, and the unit of the costs that were accumulated."""
    with Lent() as room:
        asked = _ask(problem, single, True, room)
        if asked.at_once:
            return _find_at_once(problem, asked, progress)
        return _find_by_tiles(problem, asked, threads, progress)


def _find_by_tiles(
    problem: Problem, asked: _Asked, threads: int, progress: runtime.Progress
) -> tuple[Found | None, float]:
    """Sweep the table, then the tiles again that the path crosses."""
    from mmalign_cli.kernels.strips import weigh

    pair, laid = problem.pair, _lay_out(asked)
    _sweep(laid, threads, progress)
    column, total = _end_of(laid.table)
    if total == math.inf:
        return None, laid.table.unit
    frames = _trace(laid, column, progress)
    if problem.ends.open_begin:
        frames = _from_last_start(pair, frames)
    costs, weights = np.empty((2, len(frames)))
    weigh(pair.kernel, problem.diagonal, pair.x, pair.y, frames, costs, weights)
    return Found(frames, weights, costs, total, asked.precision), laid.table.unit


def _find_at_once(
    problem: Problem, asked: _Asked, progress: runtime.Progress
) -> tuple[Found | None, float]:
    """Find the path in one call, which keeps all winners."""
    steps = len(problem.pair.x) + len(problem.pair.y) - 1
    frames, costs, weights = np.empty((steps, 2), np.int64), np.empty(steps), np.empty(steps)
    solve = asked.kernel.solve
    at, total, unit = solve(asked.form, asked.laying, asked.marks, frames, costs, weights)
    progress("tracing", steps - at, steps - at)
    if total == math.inf:
        return None, unit
    frames, costs, weights = frames[at:], costs[at:], weights[at:]
    if problem.ends.open_begin:
        n_before = len(frames)
        frames = _from_last_start(problem.pair, frames)
        costs, weights = costs[n_before - len(frames) :], weights[n_before - len(frames) :]
        weights[0] = 1.0
    return Found(frames, weights, costs, total * unit, asked.precision), unit


def find_total(problem: Problem, threads: int, progress: runtime.Progress) -> float:
    """Return the least cost alone; arguments as in `find_path`.

    In float32 its sums are rounded tile by tile: by some 1e-6 of them, integers not at all.
    """
    pair = problem.pair
    if problem.window.n_cells > _SMALL:
        total, unit = _total_in(True, problem, threads, progress)
        if _frames_suffice(pair.kernel, total / unit, len(pair.x) + len(pair.y)):
            return total
    return _total_in(False, problem, threads, progress)[0]


def _total_in(
    single: bool, problem: Problem, threads: int, progress: runtime.Progress
) -> tuple[float, float]:
    with Lent() as room:
        asked = _ask(problem, single, False, room)
        if asked.at_once:
            total, unit = asked.kernel.least_cost(asked.form, asked.laying)
            return total * unit, unit
        laid = _lay_out(asked)
        _sweep(laid, threads, progress)
        return _end_of(laid.table)[1], laid.table.unit


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the kernels are asked.

    Parameters
    ----------
    kernel : module
        `mmalign_cli.kernels.strips`, or `mmalign_cli.kernels.band`, which does all at once.
    form : Form
    cut : Cut
    laying : tuple
        What the kernel's table is laid out with.
    marks : ndarray, uint8
        Room for the winners of one group and width, or of all.
    at_once : bool
        In one call of the kernel; of a path all winners are kept, and nothing else.
    precision : float
        Relative difference that rounding may make between two sums of a path's costs.
    """

    kernel: ModuleType
    form: Form
    cut: Cut
    laying: tuple[Any, ...]
    marks: Marks
    at_once: bool
    precision: float


@dataclass(frozen=True, eq=False)
class _LaidOut:
    """A table laid out, and what it was asked for."""

    form: Form
    cut: Cut
    marks: Marks
    table: Table


def _ask(problem: Problem, single: bool, keep: bool, room: Room) -> _Asked:
    """Prepare to lay a table out in float32 or float64, with what a path needs or without."""
    runtime.prepare_kernels()
    from mmalign_cli.kernels import lanes
    from mmalign_cli.kernels import strips as kernel

    pair, window, ends = problem.pair, problem.window, problem.ends
    n, m, dims = len(pair.y), len(pair.x), pair.x.shape[1]
    cells = _EVERYTHING if window.holds_all(n) else window
    rows = (single and lanes.ROWS) or min(PLAIN_ROWS, 32 * math.ceil(n / 32))
    shape = cut(window.n_cells, n, m, rows) if keep else cut_for_total(rows)
    form = _form(pair.kernel, dims, problem.diagonal, problem.penalty > 0, single)
    along = _ask_band(problem, form, shape, keep, room)
    if along is not None:
        return along
    small = shape.whole if keep else window.n_cells * _effort(dims) < _LEAST_EFFORT
    at_once, precision = small and not ends.open_end, 1e-6 if single else 1e-9
    laying = (
        pair.kernel, problem.diagonal, form.striped, rows, room.singles if single else room.doubles,
        pair.y, pair.x, cells.lo, cells.hi, problem.penalty, shape.width, shape.group,
        keep and not at_once, ends.open_begin, ends.open_end,
    )  # fmt: skip
    strips = min(shape.group, -(-n // shape.rows)) if keep else 0
    tile = strips * shape.rows * min(shape.width, n + m - 1) // 4
    marks = room.marks(_marks_of(window.n_cells, n, rows) if at_once else tile)
    return _Asked(kernel, form, shape, laying, marks, at_once, precision)


def _ask_band(problem: Problem, form: Form, shape: Cut, keep: bool, room: Room) -> _Asked | None:
    """Prepare to lay a band out along its diagonal; None where strips sweep fewer cells."""
    pair, window = problem.pair, problem.window
    n, m, radius = len(pair.y), len(pair.x), window.radius
    if radius is None or window.hi[-1] != n or not form.striped or problem.ends != CLOSED:
        return None
    from mmalign_cli.kernels import band as kernel

    size = kernel.marks_of(n, m, radius)
    few = size <= _BAND_BYTES if keep else 4 * size * _effort(form.dims) < _LEAST_EFFORT
    if not few or size > _marks_of(window.n_cells, n, shape.rows):
        return None
    laying = (
        pair.kernel, problem.diagonal, room.singles, pair.y, pair.x, radius, problem.penalty
    )  # fmt: skip
    return _Asked(kernel, form, shape, laying, room.marks(size), True, 1e-6)


def _lay_out(asked: _Asked) -> _LaidOut:
    from mmalign_cli.kernels.table import lay_out

    return _LaidOut(asked.form, asked.cut, asked.marks, lay_out(*asked.laying))


def _from_last_start(pair: Comparable, frames: IntArray) -> IntArray:
    """Let the path begin at the last of the cells that could be its first."""
    first = int(np.searchsorted(frames[:, 1], 0, side="right"))
    costly = np.flatnonzero(costs_along(pair, frames[:first]))
    return frames[min(int(costly[0]) if len(costly) else first, first - 1) :]


def _is_exact_enough(problem: Problem, found: Found, unit: float) -> bool:
    """Tell whether float32 can have missed the least cost by a relative 1e-6 at most.

    What its rounding changed along one path is known: another one can be better by twice that.
    """
    along = found.along(problem.penalty)
    if along == found.total:
        return True
    close = abs(along - found.total) <= 5e-7 * along
    return close and _frames_suffice(problem.pair.kernel, along / unit, len(found.frames))


def _frames_suffice(metric: int, scaled: float, steps: int) -> bool:
    """Tell whether rounding the frames to float32 changes the cost by a relative 1e-6 at most.

    It makes about ``4 e sqrt(c)``, of a sum c of squares, or ``4 e sqrt(n)`` of n differences.
    """
    return 4 * 2.0**-24 * math.sqrt(scaled if metric == codes.SQEUCLIDEAN else steps) <= (
        1e-6 * scaled
    )
