"""Series laid out for `mmalign_cli.kernels.pairs`: which rules it knows, packs, rows, windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import strips
from mmalign_cli.align.metrics import comparable, metric_named
from mmalign_cli.align.problem import CLOSED, Ends
from mmalign_cli.align.steps import StepPattern, step_pattern
from mmalign_cli.align.windows import Window, transposed
from mmalign_cli.kernels import codes
from mmalign_cli.model import BoolArray, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from mmalign_cli.kernels.forms import Form

_MOST_CELLS, _MOST_CELLS_OF_MANY = 2**24, 2**20
"""Larger tables are faster one at a time, on all threads; in many dimensions sooner."""


@dataclass(frozen=True, eq=False)
class Series:
    """One of many sequences.

    Parameters
    ----------
    values : ndarray, shape (n, d)
        Finite.
    name : str
        For messages.
    period_s : float
        Seconds between frames.
    """

    values: FloatArray
    name: str = "series"
    period_s: float = 1.0


WindowOf: TypeAlias = Callable[[Series, Series], Window]


@dataclass(frozen=True)
class Rule:
    """How pairs are compared: as in `mmalign_cli.align.dtw.dtw`.

    Parameters
    ----------
    metric, step, penalty, ends
        As there.
    window : callable or None
        The window of a reference and a query, from their lengths and periods alone; ranges
        that never step back. None for all cells.
    """

    metric: str = "sqeuclidean"
    step: str | StepPattern = "symmetric1"
    penalty: float = 0.0
    ends: Ends = CLOSED
    window: WindowOf | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether the steps cost the same when reference and query change places."""
        steps = {tuple((m.reference, m.query, m.weight) for m in s) for s in self._steps}
        mirrored = {tuple((q, r, w) for r, q, w in step) for step in steps}
        return steps == mirrored and self.ends == CLOSED

    @property
    def _steps(self) -> Sequence[Any]:
        return step_pattern(self.step).steps

    @property
    def diagonal(self) -> int | None:
        """The weight of the diagonal move, where pairs can be swept side by side; else None."""
        return strips.weights_of(step_pattern(self.step)) if self.ends == CLOSED else None


def fits(rule: Rule, series: Sequence[Series]) -> bool:
    """Tell whether pairs of these series can be swept side by side, but for long ones."""
    largest = _largest(series)
    plain = (largest == 0) | ((largest > 2.0**-200) & (largest < 2.0**200))
    tabled = metric_named(rule.metric).table is not None
    return rule.diagonal is not None and not tabled and bool(plain.all())


def _largest(series: Sequence[Series]) -> Float64Array:
    """Return the largest magnitude in each series."""
    frames = np.concatenate([s.values for s in series], dtype=np.float64)
    starts = np.cumsum([0, *(len(s.values) for s in series[:-1])])
    return np.asarray(np.maximum.reduceat(np.abs(frames).max(axis=1), starts))


def most_cells(dims: int) -> int:
    """Return the cells of the largest table that is swept beside others."""
    return _MOST_CELLS if dims <= 3 else _MOST_CELLS_OF_MANY


def prepared(values: FloatArray, metric: str) -> Float64Array:
    """Return frames as the metric's kernel wants them, (n, dims)."""
    prepare = metric_named(metric).prepare
    frames = np.asarray(values, dtype=np.float64)
    return frames if prepare is None else prepare(frames)


def _width() -> int:
    runtime.prepare_kernels()
    from mmalign_cli.kernels import pairs

    return pairs.WIDTH


@dataclass(frozen=True, eq=False)
class References:
    """Series in groups of about one length, a series a lane.

    Parameters
    ----------
    series : sequence of Series
    rule : Rule
    form : Form
    dims : int
    frames : list of ndarray, shape (n, dims)
        As the kernel wants them.
    order : ndarray, shape (n_groups, width)
        Which series a lane holds, by length; -1 for none.
    values : ndarray
        Group g holds (dims, widths[g], width) values from element starts[g].
    starts, widths : ndarray, shape (n_groups,)
    ends : ndarray, shape (n_groups, width)
        Frames of each series; 0 for none.
    shapes : ndarray, shape (n_series,)
        Series of equal length and period have the same number.
    first_of : ndarray
        A series of each shape.
    """

    series: Sequence[Series]
    rule: Rule
    form: Form
    dims: int
    frames: list[Float64Array]
    order: IntArray
    values: Float64Array
    starts: IntArray
    widths: IntArray
    ends: IntArray
    shapes: IntArray
    first_of: IntArray

    def cells(self, query: int) -> IntArray:
        """Return the cells that the groups take to compare with a row of `query` frames."""
        return np.asarray(query * self.widths * self.order.shape[1])


def pack(series: Sequence[Series], rule: Rule) -> References:
    """Lay series out, for rules and series that are `fits`."""
    width = _width()
    frames = [prepared(s.values, rule.metric) for s in series]
    lengths = np.array([len(f) for f in frames])
    groups, dims = -(-len(frames) // width), frames[0].shape[1]
    order = np.full((groups, width), -1)
    order.flat[: len(frames)] = np.argsort(lengths, kind="stable")
    ends = np.where(order >= 0, lengths[order], 0)
    widths = ends.max(axis=1)
    starts = np.concatenate([[0], np.cumsum(dims * widths * width)])
    values = np.zeros(int(starts[-1]))
    for g in range(groups):
        group = values[starts[g] : starts[g + 1]].reshape(dims, widths[g], width)
        for lane, k in enumerate(order[g]):
            if k >= 0:
                group[:, : lengths[k], lane] = frames[k].T
    keys = np.array([(len(s.values), s.period_s) for s in series])
    _, first_of, shapes = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return References(
        series, rule, _form(rule, dims), dims, frames, order, values, starts[:-1], widths, ends,
        shapes.ravel(), first_of,
    )  # fmt: skip


def _form(rule: Rule, dims: int) -> Form:
    from mmalign_cli.kernels import pairs
    from mmalign_cli.kernels.forms import Form

    kernel = metric_named(rule.metric).kernel
    if dims == 1 and kernel != codes.SQEUCLIDEAN:
        kernel = codes.CITYBLOCK
    weight = rule.diagonal
    if weight is None:
        raise ValueError(f"{rule.step} is not swept side by side")
    return Form(kernel, 1 if dims == 1 else 0, weight, rule.penalty > 0, pairs.BY_LANES)


@dataclass(frozen=True, eq=False)
class Row:
    """A query made ready for the kernel.

    Parameters
    ----------
    x : ndarray, shape (dims * rows,)
        With `pad` infinite frames first.
    rows, pad : int
    windows : ndarray, shape (n_windows, 2, rows)
        By shape of the reference: with the query as such, then with the query as reference.
    kinds : ndarray, shape (n_groups, width)
        Which window a lane has; -1 for one without a path.
    """

    x: Float64Array
    rows: int
    pad: int
    windows: Float64Array
    kinds: IntArray


def row_of(references: References, query: Series, leads: BoolArray | None = None) -> Row:
    """Make a query ready for comparison with all references.

    Parameters
    ----------
    references : References
    query : Series
    leads : ndarray of bool, shape (n_series,), optional
        Series for which the query plays the reference: a window may depend on it.
    """
    from mmalign_cli.kernels import pairs

    frames = prepared(query.values, references.rule.metric)
    n = len(frames)
    pad = -n % pairs.ROWS
    x = np.full((references.dims, pad + n), np.inf)
    x[:, pad:] = frames.T
    order = references.order
    if references.rule.window is None:
        kinds = np.where(order >= 0, 0, -1)
        return Row(x.ravel(), pad + n, pad, np.empty((0, 2, 0)), kinds)
    windows, exists = _windows(references, query, pad + n, leads is not None)
    kinds = 2 * references.shapes[order]
    if leads is not None:
        kinds += leads[order]
    kinds = np.where((order >= 0) & exists[kinds], kinds, -1)
    return Row(x.ravel(), pad + n, pad, windows, np.ascontiguousarray(kinds))


def _windows(
    references: References, query: Series, rows: int, both: bool
) -> tuple[Float64Array, Any]:
    """Return the windows by shape of the reference, and which of them can hold a path."""
    window_of = references.rule.window
    assert window_of is not None
    shapes, n = len(references.first_of), len(query.values)
    windows, exists = np.zeros((2 * shapes, 2, rows)), np.zeros(2 * shapes, dtype=np.bool_)
    for shape, first in enumerate(references.first_of):
        other = references.series[int(first)]
        found = [transposed(window_of(other, query), n)]
        if both:
            found.append(window_of(query, other))
        for k, window in enumerate(found, 2 * shape):
            windows[k, :, rows - n :] = window.lo, window.hi
            windows[k, :, : rows - n] = [window.lo[:1], window.hi[:1]]
            exists[k] = window.steps_forward
    return windows, exists


def check_comparable(series: Sequence[Series], rule: Rule) -> None:
    """Refuse, as a single comparison would, values whose costs are beyond float64."""
    largest = series[int(_largest(series).argmax())]
    comparable(largest.values, largest.values, rule.metric, largest.name)
