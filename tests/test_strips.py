"""The fast road against the general one, which other tests hold against the slow twin."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmalign_cli import runtime
from mmalign_cli.align import rows, strips
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
