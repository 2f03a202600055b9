"""The fast road against the general one, which other tests hold against the slow twin."""

import dataclasses
import math
import threading
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmalign_cli import runtime
from mmalign_cli.align import rows, strips, waves
from mmalign_cli.align.metrics import comparable, costs_along
from mmalign_cli.align.problem import CLOSED, NO_ANCHORS, Ends
from mmalign_cli.align.rooms import Room
from mmalign_cli.align.steps import step_pattern
from mmalign_cli.align.windows import everything, itakura, sakoe_chiba, slanted

# Metric, step, penalty and dimensions: the kernels are compiled for each of them, for seconds.
# A step's weights and penalty are added to whatever the metric says, so that few combinations do.
AT_ONCE = (
    ("sqeuclidean", "symmetric1", 0.0, 1),
    ("sqeuclidean", "symmetric1", 2.0, 2),
    ("sqeuclidean", "symmetric2", 0.0, 2),
    ("sqeuclidean", "symmetric2", 2.0, 13),
)
"""By tiles, and in the two kernels that take a whole table, which call that of the tiles.

In float64 too, whose kernel meets the other metrics in `test_dtw.test_slow_twin`.
"""
FORMS = (
    *AT_ONCE,
    ("sqeuclidean", "symmetric1", 0.0, 7),
    ("euclidean", "symmetric1", 0.0, 1),
    ("cityblock", "symmetric2", 0.0, 3),
    ("cityblock", "symmetric1", 0.0, 4),
    ("chebyshev", "symmetric1", 0.0, 5),
    ("chebyshev", "symmetric1", 0.0, 2),
)
SHAPES = st.fixed_dictionaries({"width": st.integers(40, 500), "group": st.integers(1, 3)})
WINDOWS = {
    "none": lambda n, m, k: everything(n, m),
    "sakoe-chiba": lambda n, m, k: sakoe_chiba(n, m, abs(n - m) + k),
    "slanted": lambda n, m, k: slanted(n, m, k + 3),
    "itakura": lambda n, m, k: itakura(n, m, 2.0 + k / 30),
}
ENDS = [CLOSED, Ends(open_begin=True), Ends(open_end=True), Ends(True, True)]


def by_rows(pair, step, window, penalty, ends):
    return rows.find_path(
        pair,
        step_pattern(step),
        window,
        penalty,
        ends,
        NO_ANCHORS,
        np.empty((0, 0)),
        runtime.silent,
    )


def by_strips(pair, step, window, penalty, ends, *, single=True, threads=1, shape=None):
    weight = strips.weights_of(step_pattern(step))
    assert weight is not None
    assert window.steps_forward
    chosen = strips.cut

    def cut(n_cells, n_rows, n_columns, n):
        usual = chosen(n_cells, n_rows, n_columns, n)
        return usual if shape is None else dataclasses.replace(usual, whole=False, **shape)

    with mock.patch.object(strips, "cut", cut):
        problem = strips.Problem(pair, weight, window, penalty, ends)
        return strips.find_in(single, problem, threads, runtime.silent)[0]


def in_band(window, n, d=1):
    """Whether the road along the diagonal is taken, and not that of strips."""
    pair = comparable(np.zeros((len(window.lo), d)), np.zeros((n, d)), "sqeuclidean", "test")
    problem = strips.Problem(pair, 1, window, 0.0, CLOSED)
    return strips._ask(problem, True, True, Room()).kernel.__name__.endswith(".band")


def along(pair, found, penalty):
    bent = (np.diff(found.frames, axis=0) != 1).any(axis=1).sum()
    return float(found.weights @ costs_along(pair, found.frames)) + penalty * bent


def assert_same(pair, got, wanted, penalty):
    if wanted is None:
        assert got is None
        return
    assert got.total == wanted.total == along(pair, got, penalty)
    np.testing.assert_array_equal(got.frames, wanted.frames)
    np.testing.assert_array_equal(got.weights, wanted.weights)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    asked=st.tuples(st.sampled_from(FORMS), SHAPES, st.just(True))
    | st.tuples(st.sampled_from(AT_ONCE), st.none() | SHAPES, st.booleans()),
    window=st.sampled_from(sorted(WINDOWS)),
    ends=st.sampled_from(ENDS),
    threads=st.integers(1, 3),
)
def test_integers_with_ties_have_the_same_path_on_both_roads(seed, asked, window, ends, threads):
    (metric, step, penalty, d), shape, single = asked
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, rng.choice([5, 50, 700], 2), 2)
    x, y = rng.integers(-3, 4, (n, d)).astype(float), rng.integers(-3, 4, (m, d)).astype(float)
    if ends.open_begin and step == "symmetric2":
        penalty = 0.0  # takes the general road
    cells = WINDOWS[window](n, m, int(rng.integers(0, 100)))
    if not cells.steps_forward:
        return
    pair = comparable(x, y, metric, "test")
    wanted = by_rows(pair, step, cells, penalty, ends)
    with mock.patch.object(strips, "_LEAST_EFFORT", 1.0):
        got = by_strips(
            pair, step, cells, penalty, ends, single=single, threads=threads, shape=shape
        )
    assert_same(pair, got, wanted, penalty)
    weight = strips.weights_of(step_pattern(step))
    problem = strips.Problem(pair, weight, cells, penalty, ends)
    with mock.patch.object(strips, "_LEAST_EFFORT", strips._LEAST_EFFORT if shape is None else 1.0):
        total = strips.find_total(problem, threads, runtime.silent)
    assert total == (np.inf if wanted is None else wanted.total)


@pytest.mark.parametrize("n_cells", [int(2.0**k) for k in np.arange(23, 46, 0.7)])
def test_tiles_keep_about_as_little_as_can_be(n_cells):
    """Of borders, of which wider tiles have fewer, and of the marks of one group."""
    side = math.isqrt(n_cells)
    shape = strips.cut(n_cells, side, side, 128)
    assert not shape.whole
    assert 2 ** int(math.log2(shape.width)) == shape.width
    assert shape.group == max(1, shape.width // 128)

    def kept(width):
        return 12.0 * n_cells / width + width**2 / 4

    least = min(kept(w) for w in np.geomspace(1, 2**24, 2000))
    if shape.width > 512:
        assert kept(shape.width) <= max(1.67 * least, 48 * 2**20 + 512**2)
    if kept(shape.width) > 1.67 * least:  # no wider than it must be, and no narrower than 256
        assert shape.width < 2 * max(256, 12 * n_cells / (48 * 2**20))
        assert shape.width >= 256


def test_small_tables_keep_all_winners():
    shape = strips.cut(2048 * 2000, 2048, 2000, 24)
    assert (shape.rows, shape.width, shape.group, shape.whole) == (24, 256, 86, True)
    assert strips.cut(6, 2, 3, 128) == strips.Cut(128, 4, 1, True)
    bytes_of_all = (2048 * 2048 + 2 * 128 * 2048) / 4
    assert strips.cut(2048 * 2048, 2048, 2048, 128).whole == (bytes_of_all <= 2**20)
    assert strips.cut(1920 * 1920, 1920, 1920, 128).whole


@pytest.mark.parametrize(("n", "m", "dims"), [(30_000, 50_000, 1), (4000, 60_000, 3)])
def test_memory_of_a_table_is_what_is_laid_out(n, m, dims):
    """In float64, by the sizes of the arrays themselves."""
    pair = comparable(np.zeros((n, dims)), np.ones((m, dims)), "sqeuclidean", "test")
    problem = strips.Problem(pair, 1, everything(n, m), 0.0, CLOSED)
    asked = strips._ask(problem, False, True, Room())
    table = strips._lay_out(asked).table
    arrays = [part for part in table if isinstance(part, np.ndarray)]
    tables = sum(part.nbytes for part in arrays)
    taken = tables + asked.marks.nbytes
    needed = strips.bytes_needed(n * m, n, m, dims) - 48 * (n + m)  # of the path that is found
    assert tables < needed <= 1.1 * taken


@given(st.integers(1, 3000), st.integers(1, 64), st.integers(1, 9), st.sampled_from([0.0, 0.5]))
@settings(deadline=None)
def test_shares_are_whole_units_and_about_equal(count, unit, parts, ahead):
    bounds = strips._shares(count, unit, parts, ahead)
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert bounds == sorted(set(bounds))
    assert all(bound % unit == 0 for bound in bounds[:-1])
    step = count / parts
    if step > 2 * unit:
        sizes = np.diff(bounds)
        assert len(sizes) == parts + (ahead > 0)
        expected = np.full(len(sizes), step)
        if ahead:
            expected[[0, -1]] = step / 2
        np.testing.assert_allclose(sizes, expected, atol=unit)


@pytest.mark.parametrize(
    ("rows", "columns", "threads"), [(1, 5, 3), (4, 6, 3), (5, 1, 9), (3, 3, 1)]
)
def test_a_task_waits_for_those_above_and_before_it(rows, columns, threads, monkeypatch):
    started, done, told = [], [], []

    class Counted(threading.Thread):
        def start(self):
            started.append(self)
            super().start()

    monkeypatch.setattr(waves.threading, "Thread", Counted)

    def work(row, column):
        before = {(row - 1, column), (row, column - 1)}
        assert {b for b in before if min(b) >= 0} <= set(done)
        done.append((row, column))

    waves.in_waves(rows, columns, work, threads, told.append)
    assert sorted(done) == [(r, c) for r in range(rows) for c in range(columns)]
    assert len(started) == min(threads, rows, columns) - 1
    assert told == sorted(told)
    assert told[-1] == rows * columns


def test_rows_of_tasks_are_worked_on_at_once():
    """Two tasks of one wave meet: neither could, if one waited for the other."""
    both = threading.Barrier(2, timeout=20)

    def work(row, column):
        if (row, column) in ((0, 1), (1, 0)):
            both.wait()

    waves.in_waves(2, 2, work, 2, lambda _: None)


def test_what_a_thread_raises_stops_the_wave():
    here = threading.current_thread()
    other = threading.Event()

    def work(row, column):
        if threading.current_thread() is not here:
            other.set()
            raise ValueError("a helper's")
        if row + column > 0:
            other.wait(20)

    with pytest.raises(ValueError, match="a helper's"):
        waves.in_waves(50, 50, work, 2, lambda _: None)


BAND_FORMS = (
    ("sqeuclidean", "symmetric1", 0.0, 1),
    ("sqeuclidean", "symmetric2", 0.5, 3),
)


@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    form=st.sampled_from(BAND_FORMS),
    lengths=st.tuples(st.integers(2, 500), st.integers(-60, 60)),
    beyond=st.integers(0, 150),
    beside=st.sampled_from([-1, 0, 1]),
)
def test_a_band_has_the_same_path_along_its_diagonal(seed, form, lengths, beyond, beside):
    """Also where the best cells lie just outside of it, on either side."""
    metric, step, penalty, d = form
    n, m = lengths[0], max(2, sum(lengths))
    radius = abs(n - m) + beyond
    steps = np.random.default_rng(seed).integers(-1, 2, (n + m + radius + 1, d))
    whole = steps.cumsum(0).astype(float)  # a walk: it stays good along the border
    first = max(0, -beside * (radius + 1)), max(0, beside * (radius + 1))
    x, y = whole[first[0] :][:n], whole[first[1] :][:m]
    cells, pair = sakoe_chiba(n, m, radius), comparable(x, y, metric, "test")
    assume(in_band(cells, m))
    problem = strips.Problem(pair, strips.weights_of(step_pattern(step)), cells, penalty, CLOSED)
    wanted = by_rows(pair, step, cells, penalty, CLOSED)
    assert_same(pair, by_strips(pair, step, cells, penalty, CLOSED), wanted, penalty)
    with mock.patch.object(strips, "_SMALL", 0):
        assert strips.find_total(problem, 1, runtime.silent) == wanted.total


@pytest.mark.compiled
def test_which_windows_are_swept_along_the_diagonal():
    assert in_band(sakoe_chiba(700, 650, 70), 650)
    assert in_band(slanted(600, 600, 50), 600)
    assert in_band(sakoe_chiba(700, 700, 300), 700)
    assert not in_band(sakoe_chiba(700, 700, 600), 700)  # nearly the whole table
    assert not in_band(sakoe_chiba(700, 700, 70), 700, d=4)  # costs do not stay in registers
    assert not in_band(slanted(700, 600, 70), 600)
    assert not in_band(itakura(700, 650, 2.0), 650)
    assert not in_band(everything(700, 650), 650)
