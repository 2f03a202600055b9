"""DTW against dtw-python, against the slow twin, and against every path there is."""

from __future__ import annotations

import math
import warnings
from importlib.metadata import version

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings

from mmalign_cli.align.dtw import distance, dtw, local_costs, smallest_radius
from mmalign_cli.align.metrics import METRICS, comparable, metric_named
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.rows import is_feasible
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.align.windows import (
    check_slope,
    everything,
    from_mask,
    itakura,
    sakoe_chiba,
    slanted,
)
from mmalign_cli.errors import AlignmentError, InputError, UsageError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dtw as dtw_python

MOVES = {
    name: [[(m.reference, m.query, m.weight) for m in step] for step in pattern.steps]
    for name, pattern in STEP_PATTERNS.items()
}
SINGLE = [name for name, steps in MOVES.items() if max(map(len, steps)) == 1]
COMBINATIONS = [  # the kernel of the last step is compiled for each metric: two of four will do
    (metric, step)
    for metric in METRICS
    for step in STEP_PATTERNS
    if step != "symmetric2" or metric not in ("euclidean", "chebyshev")
]
TOTAL = 1e-9  # relative agreement of totals with an independent program


def random_pair(rng, d=None, low=1, high=40):
    n, m = rng.integers(low, high, 2)
    d = int(rng.integers(1, 5)) if d is None else d
    return rng.normal(size=(n, d)).cumsum(0), rng.normal(size=(m, d)).cumsum(0)


def as_mask(window, m):
    columns = np.arange(m)
    inside = (window.lo[:, None] <= columns) & (columns < window.hi[:, None])
    return inside & window.mask if window.mask.size else inside


def peer_total(cost, step, allowed):
    """Total and normalised distance by dtw-python: its query is ours, its reference too."""
    chosen = {name: getattr(dtw_python, name) for name in STEP_PATTERNS}[step]
    found = dtw_python.dtw(
        np.ascontiguousarray(cost.T),
        step_pattern=chosen,
        window_type=lambda iw, jw, query_size, reference_size: np.ascontiguousarray(
            allowed.T[iw, jw]
        ),
    )
    return found.distance, found.normalizedDistance


def random_window(rng, n, m):
    kind = rng.integers(0, 5)
    if kind == 0:
        return everything(n, m)
    if kind == 1:
        return sakoe_chiba(n, m, int(abs(n - m) + rng.integers(0, 5)))
    if kind == 2:
        return slanted(n, m, int(rng.integers(1, 8)))
    if kind == 3:
        return itakura(n, m, float(rng.uniform(1.5, 4)))
    mask = rng.random((n, m)) < 0.9
    mask[0, 0] = mask[-1, -1] = True
    return from_mask(mask, n, m, "mask")


@pytest.mark.parametrize(
    ("metric", "step"), [pair for pair in COMBINATIONS if METRICS[pair[0]].table is None]
)
def test_agrees_with_dtw_python(step, metric):
    """Nine cases of each combination, over 1400 in all: same total, and a path that costs it.

    In a chain of moves dtw-python lets the cells between lie outside the window, where ours must
    lie inside: chains are compared without window here, with windows against the slow twin.
    """
    rng = np.random.default_rng([len(step), len(metric)])
    compared = 0
    while compared < 9:
        x, y = random_pair(rng, d=3) if step in SINGLE else random_pair(rng, d=3, low=20)
        window = random_window(rng, len(x), len(y))
        if step not in SINGLE:
            window = everything(len(x), len(y))
        allowed = as_mask(window, len(y))
        cost = naive.local_costs(x, y, metric)
        try:
            total, normalized = peer_total(cost, step, allowed)
        except ValueError:  # its way to say that no path exists
            with pytest.raises(AlignmentError):
                dtw(x, y, metric=metric, step=step, window=window)
            continue
        warp = dtw(x, y, metric=metric, step=step, window=window)
        compared += 1
        assert warp.cost.total == pytest.approx(total, rel=TOTAL, abs=1e-12)
        assert naive.path_total(cost, warp.frames, MOVES[step]) == pytest.approx(
            total, rel=TOTAL, abs=1e-12
        )
        assert allowed[warp.frames[:, 0], warp.frames[:, 1]].all()
        if warp.cost.normalized is None:
            assert np.isnan(normalized)
        else:
            assert warp.cost.normalized == pytest.approx(normalized, rel=TOTAL, abs=1e-12)


@pytest.mark.skipif(
    version("dtw-python").startswith(("1.5", "1.6", "1.7")), reason="its slanted band was another"
)
def test_built_in_windows_of_dtw_python_are_ours():
    """sakoe-chiba and slanted mean the same cells there and here, to the cell."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        n, m = (int(v) for v in rng.integers(2, 40, 2))
        radius = int(rng.integers(0, 12))
        query, reference = np.meshgrid(np.arange(m), np.arange(n))
        for ours, theirs in ((sakoe_chiba, "sakoeChibaWindow"), (slanted, "slantedBandWindow")):
            inside = getattr(dtw_python.window, theirs)(
                query, reference, query_size=m, reference_size=n, window_size=radius
            )
            np.testing.assert_array_equal(as_mask(ours(n, m, radius), m), inside)


def test_patterns_are_those_of_dtw_python():
    """Move by move and weight by weight; its rows count back from the last cell of a step."""
    lengths = {(17, None): "NA", (17, 17): "N+M", (17, 12): "N", (17, 5): "M"}
    for name, pattern in STEP_PATTERNS.items():
        theirs = getattr(dtw_python, name)
        expected = set()
        for number in np.unique(theirs.mx[:, 0]):
            rows = [tuple(row) for row in theirs.mx[theirs.mx[:, 0] == number][:, 1:].round(9)]
            expected.add(((rows[0][1], rows[0][0]), tuple((j, i, w) for i, j, w in rows[1:])))
        ours = set()
        for step in MOVES[name]:
            cells, start = naive.chain_cells(0, 0, step)
            ours.add(((-start[0], -start[1]), tuple((-i, -j, round(w, 9)) for i, j, w in cells)))
        assert ours == expected, name
        length = pattern.length(5, 12) if pattern.length else None
        assert lengths[17, length] == theirs.hint, name


def test_steps_that_keep_the_reference_stand_last_and_alone():
    """The kernel goes through a row once for them, from left to right."""
    for name, steps in MOVES.items():
        stays = [sum(move[0] for move in step) == 0 for step in steps]
        assert not any(stays[:-1]), name
        assert not stays[-1] or len(steps[-1]) == 1, name


def metrics_for(step, penalty):
    """Those with which the steps that are compiled for each metric are tried: a covering few."""
    if penalty and step in ("symmetric1", "symmetric2"):
        return ["sqeuclidean"]
    few = ["sqeuclidean", "cityblock"]
    return few if step == "symmetric2" else [*few, "euclidean", "chebyshev"]


small_ints = st.integers(-3, 3).map(float)


@st.composite
def cases(draw):
    """Short integer streams, full of ties, with every pattern, window and penalty."""
    d = draw(st.integers(1, 3))
    rows = st.lists(st.lists(small_ints, min_size=d, max_size=d), min_size=1, max_size=9)
    x, y = np.array(draw(rows)), np.array(draw(rows))
    mask = draw(
        st.lists(
            st.lists(st.booleans(), min_size=len(y), max_size=len(y)),
            min_size=len(x),
            max_size=len(x),
        )
    )
    step = draw(st.sampled_from(sorted(STEP_PATTERNS)))
    penalty = draw(st.sampled_from([0.0, 0.5, 2.0]))
    metric = draw(st.sampled_from(metrics_for(step, penalty)))
    ends = Ends(draw(st.booleans()), draw(st.booleans()))
    return x, y, np.array(mask) | draw(st.booleans()), step, metric, penalty, ends


@given(cases())
@settings(max_examples=400, deadline=None)
def test_slow_twin(case):
    x, y, allowed, step, metric, penalty, ends = case
    cost = naive.local_costs(x, y, metric)
    table = naive.accumulate(cost, MOVES[step], allowed, penalty, ends.open_begin)
    least = table[:, -1].min() if ends.open_end else table[-1, -1]
    window = from_mask(allowed, len(x), len(y), "mask")
    assert is_feasible(window, STEP_PATTERNS[step], len(y), ends) == np.isfinite(least)
    given = {"metric": metric, "step": step, "window": window, "penalty": penalty, "ends": ends}
    if not np.isfinite(least):
        with pytest.raises(AlignmentError):
            dtw(x, y, **given)
        return
    warp = dtw(x, y, **given, keep_accumulated=True)
    np.testing.assert_allclose(warp.accumulated, table, rtol=1e-12)
    for found in (warp, dtw(x, y, **given)):
        total = naive.path_total(cost, found.frames, MOVES[step], penalty)
        assert total == pytest.approx(least, rel=1e-12)
        assert found.weights @ cost[tuple(found.frames.T)] == pytest.approx(
            found.cost.total, rel=1e-12
        )
        assert found.cost.total + found.cost.penalty == pytest.approx(total, rel=1e-12)
        assert found.frames[0, 1] == 0
        assert found.frames[-1, 1] == len(y) - 1
        assert ends.open_begin or found.frames[0, 0] == 0
        assert ends.open_end or found.frames[-1, 0] == len(x) - 1


@given(cases())
@settings(max_examples=60, deadline=None)
def test_no_path_is_cheaper(case):
    x, y, _, step, metric, penalty, _ = case
    x, y = x[:5], y[:5]
    best = naive.best_by_enumeration(naive.local_costs(x, y, metric), MOVES[step], penalty)
    if not np.isfinite(best):
        with pytest.raises(AlignmentError):
            dtw(x, y, metric=metric, step=step, penalty=penalty)
    else:
        warp = dtw(x, y, metric=metric, step=step, penalty=penalty)
        assert warp.cost.total + warp.cost.penalty == pytest.approx(best, rel=1e-12)


@pytest.mark.compiled
@pytest.mark.parametrize(("metric", "step"), COMBINATIONS)
def test_identical_streams_cost_nothing_and_give_the_diagonal(metric, step):
    x = np.random.default_rng(1).normal(size=(50, 4)) * 1e6
    warp = dtw(x, x.copy(), metric=metric, step=step)
    assert warp.cost.total == 0.0
    np.testing.assert_array_equal(warp.frames, np.repeat(np.arange(50), 2).reshape(-1, 2))


@pytest.mark.parametrize("step", ["symmetric1", "symmetric2", "symmetricP0"])
def test_ties_go_to_the_step_that_stands_first(step):
    """All costs equal 0: the path takes the diagonal as long as it can, from the end."""
    x = np.zeros((6, 1))
    warp = dtw(x, np.zeros((4, 1)), step=step)
    moves = np.diff(warp.frames, axis=0)[::-1].tolist()
    assert moves[:3] == [[1, 1]] * 3
    assert warp.cost.total == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_local_costs_are_those_of_scipy(metric):
    """Or, for self-similarity, those of its slow twin."""
    x, y = random_pair(np.random.default_rng(2), d=5, low=10)
    np.testing.assert_allclose(
        local_costs(x, y, metric), naive.local_costs(x, y, metric), rtol=1e-12, atol=1e-12
    )


def test_cosine_of_zero_frames():
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(local_costs(x, x, "cosine"), [[0, 1], [1, 0]], atol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-300, 1e-142, 1e-100, 1e140, 1e300])
def test_extreme_values_keep_the_path(metric, scale):
    """Squares of 1e-170 vanish and squares of 1e160 overflow: a true path or a clear no."""
    x, y = random_pair(np.random.default_rng(3), d=2, low=20)
    x, y = x / 16, y / 16
    expected = dtw(x, y, metric=metric).frames
    if METRICS[metric].degree * abs(np.log10(scale)) > 285:
        with pytest.raises(InputError, match=r"overflow|vanish"):
            dtw(x * scale, y * scale, metric=metric)
        return
    warp = dtw(x * scale, y * scale, metric=metric)
    assert np.isfinite(warp.cost.total)
    np.testing.assert_array_equal(warp.frames, expected)


def test_penalty_is_not_part_of_the_total():
    x, y = random_pair(np.random.default_rng(4), low=20)
    warp = dtw(x, y, penalty=3.0)
    bent = (np.diff(warp.frames, axis=0) != 1).any(axis=1).sum()
    assert warp.cost.penalty == 3.0 * bent
    cost = naive.local_costs(x, y, "sqeuclidean")
    assert warp.cost.total == pytest.approx(cost[tuple(warp.frames.T)].sum())


@pytest.mark.parametrize("name", ["sakoe-chiba", "slanted"])
@pytest.mark.parametrize("step", ["symmetric1", "asymmetric", "symmetricP1", "typeIVc"])
def test_smallest_radius_is_the_smallest(name, step):
    rng = np.random.default_rng(6)
    band = {"sakoe-chiba": sakoe_chiba, "slanted": slanted}[name]
    for _ in range(10):
        n, m = (int(v) for v in rng.integers(1, 20, 2))

        def holds_path(radius, n=n, m=m):
            allowed = as_mask(band(n, m, radius), m)
            return np.isfinite(naive.accumulate(np.zeros((n, m)), MOVES[step], allowed)[-1, -1])

        expected = next((r for r in range(max(n, m) + 1) if holds_path(r)), None)
        assert smallest_radius(name, n, m, step) == expected


def test_windows_are_what_their_formulae_say():
    rng = np.random.default_rng(7)
    for _ in range(40):
        n, m = (int(v) for v in rng.integers(2, 30, 2))
        r, s = int(rng.integers(0, 10)), float(rng.choice([1.5, 2.0, 3.0]))
        line = (n - 1) / (m - 1)
        expected = naive.band(n, m, lambda i, j, r=r: abs(i - j) <= r)
        np.testing.assert_array_equal(as_mask(sakoe_chiba(n, m, r), m), expected)
        expected = naive.band(n, m, lambda i, j, r=r, k=line: abs(i - j * k) <= r + 1e-9)
        np.testing.assert_array_equal(as_mask(slanted(n, m, r), m), expected)

        def inside(i, j, n=n, m=m, s=s):
            u, v = i / (n - 1), j / (m - 1)
            begin = v <= s * u + 1e-9 and u <= s * v + 1e-9
            return begin and 1 - v <= s * (1 - u) + 1e-9 and 1 - u <= s * (1 - v) + 1e-9

        np.testing.assert_array_equal(as_mask(itakura(n, m, s), m), naive.band(n, m, inside))


def test_progress_may_interrupt():
    class StopHereError(Exception):
        pass

    def stop(stage, done, total):
        raise StopHereError

    with pytest.raises(StopHereError):
        dtw(np.zeros((10, 1)), np.zeros((10, 1)), progress=stop)


def test_slices_of_rows_do_not_matter(monkeypatch):
    x, y = random_pair(np.random.default_rng(8), low=30)
    whole = dtw(x, y, step="asymmetric")
    monkeypatch.setattr("mmalign_cli.align.rows._CELLS_A_CALL", 50)
    sliced = dtw(x, y, step="asymmetric")
    np.testing.assert_array_equal(whole.frames, sliced.frames)
    assert whole.cost == sliced.cost


def test_comparable_keeps_ordinary_values_untouched():
    x = np.random.default_rng(9).normal(size=(5, 2))
    pair = comparable(x, x, "euclidean", "x")
    assert pair.scale == 1.0
    np.testing.assert_array_equal(pair.x, x)


@pytest.mark.parametrize("slope", [1.0, 0.5, math.inf, math.nan])
def test_slopes_that_leave_no_path(slope):
    with pytest.raises(UsageError, match="above 1"):
        check_slope(slope)
    assert check_slope(1.001) == 1.001


def test_a_metric_that_is_none():
    with pytest.raises(UsageError) as caught:
        metric_named("euclidian")
    assert "did you mean euclidean" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        metric_named("zzz")
    assert caught.value.hint.startswith("metrics: ")


@pytest.mark.parametrize("step", ["symmetric1", "asymmetric"])
def test_the_cost_alone_is_that_of_the_path(step):
    r = np.random.default_rng(8)
    x, y = r.normal(size=(70, 2)), r.normal(size=(80, 2))
    whole, dear = (dtw(x, y, step=step, penalty=p).cost for p in (0.0, 0.7))
    assert distance(x, y, step=step) == pytest.approx(whole.total, rel=1e-5)
    assert distance(x, y, step=step, penalty=0.7) == pytest.approx(
        dear.total + dear.penalty, rel=1e-5
    )
