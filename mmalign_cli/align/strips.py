"""The fast road of DTW: steps of one frame, swept by `mmalign_cli.kernels.strips`.

Rows are queries here and columns reference frames: the kernels let a tie go to the diagonal,
then to the column before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.metrics import Comparable, costs_along
from mmalign_cli.align.problem import Ends, Found
from mmalign_cli.align.steps import StepPattern
from mmalign_cli.align.waves import in_waves
from mmalign_cli.align.windows import Window
from mmalign_cli.kernels import codes
from mmalign_cli.model import Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from mmalign_cli.kernels.forms import Form
    from mmalign_cli.kernels.strips import Table

Float32Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

_FAR = 2**30
_SINGLE, _DOUBLE = 1e-6, 1e-9
_SMALL = 2**15
"""Cells up to which float64 costs no time that matters."""
_FRAMES_AT_ONCE = 4096
_BLOCKS_A_THREAD = 5
_LEAST_EFFORT = 1e7
"""Cells of one dimension, about a millisecond, that are worth a thread."""
_MOST_EFFORT = 1e8
"""Of one call, some 10 to 100 ms: how long an interrupt may have to wait."""
PLAIN_ROWS = 256
"""Rows of a strip where there are no vectors to keep them in."""
_MARKED_BYTES = 2**19
"""Tables whose winners fit here are marked in the first pass."""
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
    marked : bool
        One tile and one group, whose winners are written in the first pass.
    """

    rows: int
    width: int
    group: int
    marked: bool


def suits(window: Window) -> bool:
    """Tell whether the window is one without holes or empty rows whose ranges never step back."""
    forward = (np.diff(window.lo) >= 0).all() and (np.diff(window.hi) >= 0).all()
    return bool(forward and (window.lo < window.hi).all()) and not window.mask.size


def weights_of(pattern: StepPattern) -> int | None:
    """Return the weight of the diagonal move if the strips know the pattern, else None."""
    moves = [(m.reference, m.query, m.weight) for step in pattern.steps for m in step]
    if len(moves) == len(pattern.steps) == 3 and moves[1:] == [(1, 0, 1), (0, 1, 1)]:
        first = moves[0]
        if first[:2] == (1, 1) and first[2] in (1, 2):
            return int(first[2])
    return None


def cut(n_cells: int, n_rows: int, n_columns: int, rows: int) -> Cut:
    """Choose how to cut a table.

    Keeps about ``12 n_cells / width`` bytes and room for marks of one group and width, with
    groups about as high as tiles are wide.
    """
    diagonals = n_rows + n_columns - 1
    strips = -(-n_rows // rows)
    if strips * rows * diagonals // 4 <= _MARKED_BYTES:
        return Cut(rows, diagonals, strips, True)
    best = (24.0 * n_cells) ** (1 / 3)
    wanted = min(best, max(2.0 * rows, 12.0 * n_cells / _KEPT_BYTES))
    width = 2 ** math.ceil(math.log2(wanted))
    least = 4 * strips * n_columns // _KEPT_BYTES  # a narrow band, but whole rows are kept
    return Cut(rows, width, max(1, width // rows, least), False)


def _allowed_columns(window: Window, n_rows: int) -> tuple[IntArray, IntArray]:
    """Return the range of columns of each row, for rows that are queries.

    Parameters
    ----------
    window : Window
        Ranges of query frames for each reference frame.
    n_rows : int
        Query frames.
    """
    rows = np.arange(n_rows)
    return (
        np.searchsorted(window.hi, rows, side="right"),
        np.searchsorted(window.lo, rows, side="right"),
    )


@dataclass(frozen=True, eq=False)
class Strips:
    """A table laid out for the kernels.

    Parameters
    ----------
    form : Form
    table : Table
    cut : Cut
    marks : ndarray, uint8
        Room for the winners of one group and width.
    n_rows, n_columns : int
        Frames of query and reference.
    unit : float
        What accumulated costs are to be multiplied by.
    """

    form: Form
    table: Table
    cut: Cut
    marks: np.ndarray[Any, np.dtype[np.uint8]]
    n_rows: int
    n_columns: int
    unit: float


def lay_out(
    pair: Comparable,
    diagonal: int,
    columns: tuple[IntArray, IntArray] | None,
    penalty: float,
    *,
    shape: Cut,
    single: bool,
    keep: bool,
    ends: Ends,
) -> Strips:
    """Lay a table out for the kernels.

    Parameters
    ----------
    pair : Comparable
        Reference and query.
    diagonal : int
        Weight of the diagonal move.
    columns : tuple of ndarray, shape (m,) each, or None
        The window, from `allowed_columns`; None for all cells.
    penalty : float
        In the pair's units.
    shape : Cut
    single : bool
        float32, by the machine's vectors where it has them; else float64.
    keep : bool
        Keep what the path needs.
    ends : Ends
    """
    from mmalign_cli.kernels import lanes
    from mmalign_cli.kernels.forms import MOST_IN_REGISTERS, Form
    from mmalign_cli.kernels.strips import Table

    query, reference = pair.y, pair.x
    n, m, dims = len(query), len(reference), query.shape[1]
    rows = shape.rows
    strips = -(-n // rows)
    kind = np.float32 if single else np.float64
    by_lanes = single and lanes.LANES > 0
    form = Form(
        pair.kernel,
        dims if by_lanes and dims <= MOST_IN_REGISTERS else 0,
        diagonal,
        penalty > 0,
        by_lanes,
    )
    centre, scale = _frame_of_reference(query, reference) if single else (0.0, 1.0)
    degree = 2 if pair.kernel == codes.SQEUCLIDEAN else 1

    slots = _positions(form, rows)
    x = np.zeros((strips, dims, rows), kind)
    for s in range(strips):  # strip by strip, and frames in blocks: long streams are large
        part = np.zeros((rows, dims), kind)
        part[: n - s * rows] = (query[s * rows : (s + 1) * rows] - centre) * scale
        x[s] = part[::-1][slots].T
    stride = m + 3 * rows + 128
    stride += 16 * (1 - stride // 16 % 2) + (-stride) % 16  # an odd number of cache lines
    y = np.full((dims, stride), np.inf, kind)
    for j in range(0, m, _FRAMES_AT_ONCE):
        part = (reference[j : j + _FRAMES_AT_ONCE] - centre) * scale
        y[:, rows - 1 + j : rows - 1 + j + len(part)] = part.T
    if form.striped:
        y, stride = _dealt(y), stride * lanes.LANES

    begin, end, free, span = _spans(columns, n, m, rows, strips)
    begin, end = np.ascontiguousarray(begin[:, slots]), np.ascontiguousarray(end[:, slots])
    tiles = (span[:, 1] - 1) // shape.width - span[:, 0] // shape.width + 1
    base = np.concatenate([[0], np.cumsum(tiles[:-1] + 1)])
    borders = int((tiles + 1).sum())
    kept_rows = -(-strips // shape.group) if keep else min(2, strips)
    last_rows = np.full((1 + kept_rows, m + 2 * rows), np.inf, kind)
    states = np.full((borders if keep else strips, 2 * rows), np.inf, kind)
    offsets = np.zeros(borders)
    states[0, 2 * rows - 1] = 0  # the cell before the first one, on the diagonal
    if ends.open_begin:
        last_rows[0, rows : rows + m] = 0
    elif diagonal == 2:
        offsets[0] = -_first_cost(pair) * scale**degree
    group_rows = min(shape.group, strips) * rows
    marked = group_rows * min(shape.width, n + m - 1) // 4 if keep else rows // 4
    table = Table(
        x.reshape(strips, dims * rows), y.reshape(-1), dims, stride, penalty * scale**degree,
        begin, end, free, span, shape.width, shape.group, last_rows, base, offsets,
        np.full(borders, np.inf, kind), states, np.full(m if ends.open_end else 0, np.inf),
        (n - 1) % rows, int(np.flatnonzero(slots == rows - 1 - (n - 1) % rows)[0]),
    )  # fmt: skip
    marks = np.empty(marked, np.uint8)
    return Strips(form, table, shape, marks, n, m, scale**-degree)


def _frame_of_reference(x: FloatArray, y: FloatArray) -> tuple[Float64Array | float, float]:
    """Return what to subtract and what to multiply by, so that float32 loses least.

    Differences of frames do not change with the first; the second is a power of two.
    """
    low = np.minimum(x.min(0), y.min(0)).astype(np.float64)
    high = np.maximum(x.max(0), y.max(0)).astype(np.float64)
    half = float((high - low).max()) / 2
    return (low + high) / 2, 2.0 ** -math.frexp(half)[1] if half > 0 else 1.0


def _positions(form: Form, rows: int) -> IntArray:
    """Return the position that each slot of a strip holds."""
    from mmalign_cli.kernels import lanes

    slots = np.arange(rows)
    return slots.reshape(lanes.LANES, lanes.VECTORS).T.ravel() if form.striped else slots


def _dealt(y: Float32Array) -> Float32Array:
    """Lay frames (dims, stride) out so that vector s holds those at s + l VECTORS, lanes l."""
    from mmalign_cli.kernels import lanes

    dealt = np.full((*y.shape, lanes.LANES), np.inf, y.dtype)
    for lane in range(lanes.LANES):
        ahead = lane * lanes.VECTORS
        dealt[:, : y.shape[1] - ahead, lane] = y[:, ahead:]
    return dealt


def _first_cost(pair: Comparable) -> float:
    return float(costs_along(pair, np.zeros((1, 2), dtype=np.int64))[0])


def _spans(
    columns: tuple[IntArray, IntArray] | None, n: int, m: int, rows: int, strips: int
) -> tuple[Any, Any, IntArray, IntArray]:
    """Return begin, end, free and span of a `Table`."""
    first = np.arange(strips) * rows
    if columns is None:
        begin = np.full((strips, rows), -_FAR, np.int32)
        end = np.full((strips, rows), _FAR, np.int32)
        free = np.tile(np.array([-_FAR, _FAR]), (strips, 1))
        span = np.column_stack([first, np.minimum(first + rows - 1 + m, n + m - 1)])
        return begin, end, free, span
    within = np.arange(rows)
    lo, hi = (np.append(c, np.repeat(c[-1:], strips * rows - n)) for c in columns)
    low, high = lo.reshape(strips, rows) + within, hi.reshape(strips, rows) + within
    # One anti-diagonal earlier, to take over the corner from the strip before.
    starts = np.maximum(low.min(axis=1) - 1, 0)
    span = np.column_stack([first + starts, np.minimum(first + high.max(axis=1), n + m - 1)])
    span[:, 1] = np.maximum(span[:, 1], span[:, 0] + 1)
    begin = np.where(lo.reshape(strips, rows) == 0, -_FAR, low)[:, ::-1].astype(np.int32)
    end = np.where(hi.reshape(strips, rows) == m, _FAR, high)[:, ::-1].astype(np.int32)
    free = np.column_stack([begin.max(axis=1), end.min(axis=1)]).astype(np.int64)
    return begin, end, free, span


def bytes_needed(n_cells: int, n: int, m: int, d: int) -> int:
    """Return the memory that `find_path` takes beside the frames, in float64 if it must."""
    shape = cut(n_cells, m, n, PLAIN_ROWS)
    strips = -(-m // shape.rows)
    borders = n_cells // (shape.rows * shape.width) + 3 * strips
    last_rows = (1 + -(-strips // shape.group)) * (n + 2 * shape.rows)
    kept = 8 * (last_rows + borders * (2 * shape.rows + 2))
    marks = shape.group * shape.rows * min(shape.width, n + m) // 4
    return kept + marks + 8 * d * (n + m + 4 * shape.rows) + 8 * m + 48 * (n + m)


@dataclass(frozen=True)
class _Work:
    """How the tiles are shared out: blocks of strips by ranges of anti-diagonals.

    Parameters
    ----------
    strips, diagonals : int
        Of a task.
    threads : int
    """

    strips: int
    diagonals: int
    threads: int


def _share_out(strips: Strips, threads: int) -> _Work:
    """Choose tasks of some milliseconds at least, and of a fraction of a second at most."""
    table, cut = strips.table, strips.cut
    cells = cut.rows * int((table.span[:, 1] - table.span[:, 0]).sum())
    worth = max(1, int(cells * _effort(table.dims) / _LEAST_EFFORT))
    threads = min(threads, worth, len(table.base))
    parts = max(_BLOCKS_A_THREAD * threads, math.ceil(cells * _effort(table.dims) / _MOST_EFFORT))
    if threads == 1 and parts <= _BLOCKS_A_THREAD:
        return _Work(len(table.base), int(table.span[-1, 1]), 1)
    side = math.ceil(math.sqrt(parts)) if threads == 1 else parts
    groups = math.ceil(len(table.base) / cut.group)
    widths = math.ceil(int(table.span[-1, 1]) / cut.width)
    return _Work(
        cut.group * math.ceil(groups / side), cut.width * math.ceil(widths / side), threads
    )


def _effort(dims: int) -> float:
    """Return the cost of a cell, that of one dimension being 1."""
    return 1 + dims / 8


def _sweep(strips: Strips, threads: int, progress: runtime.Progress) -> None:
    """Sweep the whole table."""
    from mmalign_cli.kernels import strips as kernel

    table, work = strips.table, _share_out(strips, threads)
    n_strips, n_diagonals = len(table.base), int(table.span[-1, 1])
    blocks = math.ceil(n_strips / work.strips)
    ranges = math.ceil(n_diagonals / work.diagonals)

    def advance(block: int, part: int) -> None:
        s0, g0 = block * work.strips, part * work.diagonals
        kernel.advance(
            strips.form, table, s0, min(s0 + work.strips, n_strips), g0,
            min(g0 + work.diagonals, n_diagonals), strips.cut.marked, strips.marks,
        )  # fmt: skip

    def report(done: int) -> None:
        progress("aligning", done, blocks * ranges)

    in_waves(blocks, ranges, advance, work.threads, report)


def _end_of(strips: Strips) -> tuple[int, float]:
    """Return the column where the best path ends, and its cost in the pair's scale."""
    table = strips.table
    if len(table.tail):
        column = int(np.argmin(table.tail))
        return column, float(table.tail[column]) * strips.unit
    value = float(table.states[-1, table.last_slot]) + float(table.offsets[-1])
    return strips.n_columns - 1, value * strips.unit


def _trace(strips: Strips, column: int, progress: runtime.Progress) -> IntArray:
    """Return the path that ends in a column of the last row: rows and columns."""
    from mmalign_cli.kernels import strips as kernel

    i, j = strips.n_rows - 1, column
    path = np.empty((i + j + 1, 2), dtype=np.int64)
    at = len(path)
    most = int(_MOST_EFFORT / _effort(strips.table.dims))
    while i >= 0 and j >= 0:
        i, j, at = kernel.trace(
            strips.form, strips.table, strips.cut.marked, strips.marks, i, j, path, at, most
        )
        progress("tracing", len(path) - at, len(path))
    progress("tracing", len(path), len(path))
    return path[at:]


def find_path(
    pair: Comparable,
    diagonal: int,
    window: Window,
    penalty: float,
    ends: Ends,
    threads: int,
    progress: runtime.Progress,
) -> Found | None:
    """Find the path of least cost.

    In float32 first, if the table is not small. Where its rounding could have led the path
    astray, because costs are small beside the range of the values, once more in float64.

    Parameters
    ----------
    pair : Comparable
        Reference and query.
    diagonal : int
        Weight of the diagonal move.
    window : Window
        One that `suits`.
    penalty : float
        In the pair's scale.
    ends : Ends
    threads : int
    progress : Progress
        Told the tasks done.

    Returns
    -------
    Found or None
        None where no path lies in the window.
    """
    if window.n_cells > _SMALL:
        found = _find_path(pair, diagonal, window, penalty, ends, True, threads, progress)
        if found is None or _is_exact_enough(pair, found, penalty):
            return found
    return _find_path(pair, diagonal, window, penalty, ends, False, threads, progress)


def _find_path(
    pair: Comparable,
    diagonal: int,
    window: Window,
    penalty: float,
    ends: Ends,
    single: bool,
    threads: int,
    progress: runtime.Progress,
) -> Found | None:
    runtime.prepare_kernels()
    from mmalign_cli.kernels import lanes

    n, m = len(pair.y), len(pair.x)
    columns = None if window.holds_all(n) else _allowed_columns(window, n)
    shape = cut(window.n_cells, n, m, (single and lanes.ROWS) or PLAIN_ROWS)
    strips = lay_out(
        pair, diagonal, columns, penalty, shape=shape, single=single, keep=True, ends=ends
    )
    _sweep(strips, threads, progress)
    column, total = _end_of(strips)
    if total == math.inf:
        return None
    frames = _trace(strips, column, progress)[:, ::-1]
    if ends.open_begin:
        frames = _from_last_start(pair, frames)
    straight = (np.diff(frames, axis=0) == 1).all(axis=1)
    weights = np.ones(len(frames))
    weights[1:] += (diagonal - 1) * straight
    return Found(np.ascontiguousarray(frames), weights, total, _SINGLE if single else _DOUBLE)


def _from_last_start(pair: Comparable, frames: IntArray) -> IntArray:
    """Let the path begin at the last of the cells that could be its first."""
    first = int(np.searchsorted(frames[:, 1], 0, side="right"))
    costly = np.flatnonzero(costs_along(pair, frames[:first]))
    return frames[min(int(costly[0]) if len(costly) else first, first - 1) :]


def _is_exact_enough(pair: Comparable, found: Found, penalty: float) -> bool:
    """Tell whether float32 can have missed the least cost by a relative 1e-6 at most.

    What its rounding changed along one path is known. Rounding of the frames alone makes about
    ``4 e sqrt(c)``, of a sum c of squares, or ``4 e sqrt(n)`` of n differences.
    """
    along = float(found.weights @ costs_along(pair, found.frames))
    along += penalty * int((np.diff(found.frames, axis=0) != 1).any(axis=1).sum())
    if along == found.total:
        return True
    _, scale = _frame_of_reference(pair.y, pair.x)
    degree = 2 if pair.kernel == codes.SQEUCLIDEAN else 1
    scaled = along * scale**degree
    rounding = 4 * 2.0**-24 * math.sqrt(scaled if degree == 2 else len(found.frames))
    return abs(along - found.total) <= 3e-7 * along and rounding <= 1e-6 * scaled
