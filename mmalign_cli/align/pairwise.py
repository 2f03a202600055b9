"""DTW of many pairs: costs of one against many, of all against all, and paths.

Two roads: pairs of short series are swept side by side, a pair a lane
(`mmalign_cli.kernels.pairs`), where `packed.fits` says so; long ones and all other rules take
`mmalign_cli.align.dtw.dtw` one by one. A pair's number is the least cost that DTW minimises,
``cost.total + cost.penalty``; infinite where no path lies in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.dtw import Warp, dtw
from mmalign_cli.align.packed import (
    References,
    Row,
    Rule,
    Series,
    check_comparable,
    fits,
    most_cells,
    pack,
    row_of,
)
from mmalign_cli.align.shares import in_shares
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import BoolArray, Float64Array, IntArray

Put: TypeAlias = Callable[[int, IntArray, Float64Array], None]
ByteArray: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
_Task: TypeAlias = Callable[[Callable[[], None]], None]
_PAIRS_A_TASK = 32
_MOST_EFFORT = 2e8
"""Cells of a task, some 20 to 200 ms: how long an interrupt may have to wait."""


def distances(
    query: Series,
    references: Sequence[Series],
    rule: Rule,
    *,
    threads: int = 1,
    progress: runtime.Progress = runtime.silent,
) -> Float64Array:
    """Return the cost of a query against each reference, (n_references,).

    Parameters
    ----------
    query : Series
    references : sequence of Series
        All of the query's dimensions.
    rule : Rule
    threads : int
    progress : Progress
        Told the tasks done; may raise to stop.

    Raises
    ------
    InputError
        If the costs overflow.
    """
    out = np.full(len(references), np.inf)

    def put(_: int, which: IntArray, costs: Float64Array) -> None:
        out[which] = costs

    check_comparable([query, *references], rule)
    jobs = [_Job(-1, query, np.arange(len(references)), None)]
    _compute(jobs, references, rule, [query, *references], put, threads, progress)
    return out


def square(
    series: Sequence[Series],
    rule: Rule,
    *,
    threads: int = 1,
    progress: runtime.Progress = runtime.silent,
) -> Float64Array:
    """Return the costs of all pairs, (n, n): a row a reference, a column a query.

    Of a symmetric rule each pair is computed once, with the earlier series as the reference,
    and the diagonal is zero.

    Parameters
    ----------
    series, rule, threads, progress
        As in `distances`.
    """
    out = np.zeros((len(series), len(series)))

    def put_both(i: int, which: IntArray, costs: Float64Array) -> None:
        out[i, which] = costs
        out[which, i] = costs

    def put_column(i: int, which: IntArray, costs: Float64Array) -> None:
        out[which, i] = costs

    _compute_all(series, rule, put_both if rule.is_symmetric else put_column, threads, progress)
    return out


def condensed(
    series: Sequence[Series],
    rule: Rule,
    *,
    threads: int = 1,
    progress: runtime.Progress = runtime.silent,
) -> Float64Array:
    """Return the costs of all pairs i < j, in the order of ``scipy.spatial.distance.pdist``.

    Parameters
    ----------
    series, rule, threads, progress
        As in `square`; the rule is symmetric.
    """
    n = len(series)
    out = np.zeros(n * (n - 1) // 2)

    def put(i: int, which: IntArray, costs: Float64Array) -> None:
        low, high = np.minimum(i, which), np.maximum(i, which)
        out[n * low - low * (low + 1) // 2 + high - low - 1] = costs

    if not rule.is_symmetric:
        raise ValueError("a condensed matrix is symmetric")
    _compute_all(series, rule, put, threads, progress)
    return out


@dataclass(frozen=True, eq=False)
class _Job:
    """One query against some of the series.

    Parameters
    ----------
    query : int
        Its number, for whoever takes the result.
    series : Series
    others : ndarray
        Which series it is compared with, by length.
    leads : ndarray of bool, shape (n_series,), or None
        Those that come later in the list: the query is their reference.
    """

    query: int
    series: Series
    others: IntArray
    leads: BoolArray | None


def _compute_all(
    series: Sequence[Series], rule: Rule, put: Put, threads: int, progress: runtime.Progress
) -> None:
    check_comparable(series, rule)
    order = np.argsort([len(s.values) for s in series], kind="stable")
    numbers = np.arange(len(series))
    if rule.is_symmetric:
        jobs = [_Job(int(i), series[i], order[at + 1 :], numbers > i) for at, i in enumerate(order)]
    else:
        jobs = [_Job(int(i), series[i], order, None) for i in order]
    _compute(jobs, series, rule, series, put, threads, progress)


def _compute(
    jobs: Sequence[_Job],
    series: Sequence[Series],
    rule: Rule,
    everyone: Sequence[Series],
    put: Put,
    threads: int,
    progress: runtime.Progress,
) -> None:
    """Do the jobs, each pair by the road that suits it."""
    short = pack(series, rule) if fits(rule, everyone) else None
    lengths = np.array([len(s.values) for s in series])
    tasks: list[_Task] = []
    large: list[tuple[_Job, IntArray]] = []
    for job in jobs:
        alone = job.others
        if short is not None:
            reach = _reach(short, job)
            alone = alone[_is_beyond(short, reach, alone)]
            tasks += _side_by_side(job, short, reach, put)
        is_large = lengths[alone] * len(job.series.values) > most_cells(1)
        small = alone[~is_large]
        for at in range(0, len(small), _PAIRS_A_TASK):
            tasks.append(_one_by_one(job, small[at : at + _PAIRS_A_TASK], series, rule, put))
        large.append((job, alone[is_large]))

    def report(done: int) -> None:
        progress("comparing", done, len(tasks))

    in_shares(len(tasks), lambda k, tell: tasks[k](tell), threads, report)
    for job, which in large:
        for k in which:
            cost = cost_of(*_pair(job, int(k), series), rule, threads, progress)
            put(job.query, np.array([k]), np.array([cost]))


def _reach(references: References, job: _Job) -> int:
    """Return how many groups have tables small enough to be swept side by side."""
    limit = most_cells(references.dims) * references.order.shape[1]
    cells = references.cells(len(job.series.values))
    return int(np.searchsorted(cells, limit, side="right"))


def _is_beyond(references: References, reach: int, which: IntArray) -> BoolArray:
    """Tell which series are in none of the first `reach` groups."""
    within = np.zeros(len(references.series), dtype=np.bool_)
    lanes = references.order[:reach]
    within[lanes[lanes >= 0]] = True
    return np.asarray(~within[which])


def _side_by_side(job: _Job, references: References, reach: int, put: Put) -> list[_Task]:
    """Return tasks that compare a query with the groups that hold its others, below `reach`."""
    width = references.order.shape[1]
    first = (len(references.series) - len(job.others)) // width
    if first >= reach:
        return []
    done = np.cumsum(references.cells(len(job.series.values))[first:reach]) * max(
        references.dims, 1
    )
    cuts = np.flatnonzero(np.diff(done // _MOST_EFFORT, prepend=0)) + first
    bounds = [first, *[int(c) for c in cuts if c > first], reach]
    return [partial(_sweep, job, references, g0, g1, put) for g0, g1 in pairwise(bounds)]


def _sweep(job: _Job, references: References, g0: int, g1: int, put: Put, _: object) -> None:
    from mmalign_cli.kernels import pairs

    row = row_of(references, job.series, job.leads)
    out = np.empty(references.order.shape)
    pairs.distances(
        references.form, row.x, row.rows, references.dims, row.pad, references.values,
        references.starts, references.widths, references.ends, row.windows, row.kinds,
        references.rule.penalty, np.inf, g0, g1, out,
    )  # fmt: skip
    wanted = np.zeros(len(references.series) + 1, dtype=np.bool_)
    wanted[job.others] = True  # the last one stands for lanes that hold none
    lanes = references.order[g0:g1]
    chosen = wanted[lanes]
    put(job.query, lanes[chosen], out[g0:g1][chosen])


def _pair(job: _Job, other: int, series: Sequence[Series]) -> tuple[Series, Series]:
    """Return reference and query."""
    if job.leads is not None and job.leads[other]:
        return job.series, series[other]
    return series[other], job.series


def _one_by_one(
    job: _Job, others: IntArray, series: Sequence[Series], rule: Rule, put: Put
) -> _Task:
    def task(tell: Callable[[], None]) -> None:
        for k in others:
            cost = cost_of(*_pair(job, int(k), series), rule, 1, lambda *_: tell())
            put(job.query, np.array([k]), np.array([cost]))

    return task


def cost_of(
    reference: Series,
    query: Series,
    rule: Rule,
    threads: int = 1,
    progress: runtime.Progress = runtime.silent,
) -> float:
    """Return the cost of one pair, by the road of single pairs; infinite where no path exists."""
    warp = _warp(reference, query, rule, threads, progress)
    return float("inf") if warp is None else warp.cost.total + warp.cost.penalty


def _warp(
    reference: Series, query: Series, rule: Rule, threads: int, progress: runtime.Progress
) -> Warp | None:
    try:
        return dtw(
            reference.values,
            query.values,
            metric=rule.metric,
            step=rule.step,
            window=None if rule.window is None else rule.window(reference, query),
            penalty=rule.penalty,
            ends=rule.ends,
            threads=threads,
            subject=f"{reference.name}, {query.name}",
            progress=progress,
        )
    except AlignmentError:
        return None


def paths(query: Series, references: Sequence[Series], rule: Rule) -> list[IntArray | None]:
    """Return the warping path of a query against each reference.

    Of paths that cost the same it takes the one that `mmalign_cli.align.dtw.dtw` does.

    Parameters
    ----------
    query : Series
    references : sequence of Series
        All of the query's dimensions.
    rule : Rule

    Returns
    -------
    list of ndarray, shape (n_steps, 2), or None
        Frames of reference and query; None where no path lies in the window.
    """
    check_comparable([query, *references], rule)
    found: list[IntArray | None] = [None] * len(references)
    if not fits(rule, [query, *references]):
        return [_path_of(reference, query, rule) for reference in references]
    packed = pack(references, rule)
    row = row_of(packed, query)
    marks = np.empty(0, np.uint8)
    for g, cells in enumerate(packed.cells(len(query.values))):
        lanes = [(lane, int(k)) for lane, k in enumerate(packed.order[g]) if k >= 0]
        if cells > most_cells(packed.dims) * packed.order.shape[1]:
            for _, k in lanes:
                found[k] = _path_of(references[k], query, rule)
            continue
        size = 2 * row.rows * int(packed.widths[g])
        marks = marks if len(marks) >= size else np.empty(size, np.uint8)
        lengths, frames = _sweep_paths(packed, row, g, marks)
        for lane, k in lanes:
            if lengths[lane]:
                found[k] = frames[lane, -lengths[lane] :, ::-1].copy()
    return found


def _sweep_paths(
    packed: References, row: Row, g: int, marks: ByteArray
) -> tuple[IntArray, IntArray]:
    from mmalign_cli.kernels import pairs

    width, m, start = packed.order.shape[1], int(packed.widths[g]), int(packed.starts[g])
    frames = np.empty((width, row.rows + m, 2), dtype=np.int64)
    lengths, totals = np.zeros(width, dtype=np.int64), np.empty(width)
    pairs.paths(
        packed.form, row.x, row.rows, packed.dims, row.pad,
        packed.values[start : start + packed.dims * m * width], m, packed.ends[g], row.windows,
        row.kinds[g], packed.rule.penalty, marks, frames, lengths,
        totals,
    )  # fmt: skip
    return lengths, frames


def _path_of(reference: Series, query: Series, rule: Rule) -> IntArray | None:
    warp = _warp(reference, query, rule, 1, runtime.silent)
    return None if warp is None else warp.frames
