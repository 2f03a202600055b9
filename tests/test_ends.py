"""Anchors, several matches and step patterns of one's own, against slow twins."""

from __future__ import annotations

import warnings

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings

from mmalign_cli.align.custom_steps import NORMALIZATIONS, definition, pattern_of
from mmalign_cli.align.dtw import dtw, smallest_radius
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.rows import is_feasible
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.align.subsequence import ANYWHERE, find_matches
from mmalign_cli.align.windows import everything, from_mask, sakoe_chiba, slanted
from mmalign_cli.errors import AlignmentError
from mmalign_cli.evidence.verify import verify_warp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dtw as dtw_python

whole = st.integers(-3, 3).map(float)
penalties = st.sampled_from([0.0, 0.5])
ends_of_paths = st.builds(Ends, st.booleans(), st.booleans())


def moves_of(pattern):
    return [[(m.reference, m.query, m.weight) for m in step] for step in pattern.steps]


@st.composite
def streams(draw, longest=9):
    d = draw(st.integers(1, 2))
    rows = st.lists(st.lists(whole, min_size=d, max_size=d), min_size=1, max_size=longest)
    return np.array(draw(rows)), np.array(draw(rows))


@st.composite
def masks(draw, n, m):
    """All cells, most of them at random, or a staircase whose ranges never step back."""
    kind = draw(st.sampled_from(["all", "holes", "staircase"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "all":
        return np.ones((n, m), dtype=bool)
    if kind == "holes":
        return rng.random((n, m)) < 0.85
    lo, hi = np.sort(rng.integers(0, m, n)), np.sort(rng.integers(0, m, n))
    lo, hi = np.minimum(lo, hi), np.maximum(lo, hi)
    lo[0], hi[-1] = 0, m - 1
    return (lo[:, None] <= np.arange(m)) & (np.arange(m) <= hi[:, None])


@st.composite
def step_values(draw):
    """The JSON of a pattern: any chains, weights of small whole numbers."""
    weight = st.integers(0, 3)
    move = st.tuples(st.integers(0, 3), st.integers(0, 2), weight).map(list)
    chain = st.lists(move.filter(lambda v: v[0] + v[1] > 0), min_size=1, max_size=3)
    chains = draw(st.lists(chain.filter(lambda c: any(v[0] for v in c)), min_size=1, max_size=4))
    if draw(st.booleans()):
        chains.insert(draw(st.integers(0, len(chains))), [[0, 1, draw(weight)]])
    shapes = [[v[:2] for v in c] for c in chains]
    assume(all(shapes.index(s) == k for k, s in enumerate(shapes)))
    assume(any(v[2] for c in chains for v in c))
    return {"steps": chains, "normalization": draw(st.sampled_from(list(NORMALIZATIONS)))}


patterns = st.one_of(
    st.sampled_from(sorted(STEP_PATTERNS)).map(STEP_PATTERNS.get),
    step_values().map(lambda value: pattern_of(value, "steps.json")),
)


@given(streams(), step_values(), st.data())
@settings(max_examples=200, deadline=None)
def test_patterns_of_ones_own_have_the_least_cost(pair, value, data):
    x, y = pair
    pattern = pattern_of(value, "steps.json")
    assert sorted(definition(pattern)["steps"]) == sorted(value["steps"])
    ends, penalty = data.draw(ends_of_paths), data.draw(penalties)
    allowed = data.draw(masks(len(x), len(y)))
    cost = naive.local_costs(x, y, "sqeuclidean")
    table = naive.accumulate(cost, value["steps"], allowed, penalty, ends.open_begin)
    least = table[:, -1].min() if ends.open_end else table[-1, -1]
    window = from_mask(allowed, len(x), len(y), "mask")
    assert is_feasible(window, pattern, len(y), ends) == np.isfinite(least)
    if np.isfinite(least):
        warp = dtw(x, y, step=pattern, window=window, ends=ends, penalty=penalty)
        assert warp.programme_total == pytest.approx(least, rel=1e-12)
        found = naive.path_total(cost, warp.frames, value["steps"], penalty)
        assert found == pytest.approx(least, rel=1e-12)


@st.composite
def anchors_of(draw, n, m):
    count = draw(st.integers(0, 3))
    cells = [sorted(draw(st.integers(0, k - 1)) for _ in range(count)) for k in (n, m)]
    return np.unique(np.array(cells, dtype=np.int64).T.reshape(-1, 2), axis=0)


@given(streams(), patterns, st.data())
@settings(max_examples=500, deadline=None)
def test_anchors_are_cells_of_the_best_path_that_holds_them(pair, pattern, data):
    """Both roads: the usual patterns go piece by piece, with the table kept all go by rows."""
    x, y = pair
    n, m = len(x), len(y)
    anchors, ends = data.draw(anchors_of(n, m)), data.draw(ends_of_paths)
    allowed, penalty = data.draw(masks(n, m)), data.draw(penalties)
    cost = naive.local_costs(x, y, "sqeuclidean")
    through = {"open_begin": ends.open_begin, "open_end": ends.open_end}
    least = naive.least_through(cost, moves_of(pattern), allowed, anchors, penalty, **through)
    window = from_mask(allowed, n, m, "mask")
    assert is_feasible(window, pattern, m, ends, anchors) == np.isfinite(least)
    given = {"step": pattern, "window": window, "ends": ends, "anchors": anchors}
    for keep in (False, True):
        if not np.isfinite(least):
            with pytest.raises(AlignmentError):
                dtw(x, y, **given, penalty=penalty, keep_accumulated=keep)
            continue
        warp = dtw(x, y, **given, penalty=penalty, keep_accumulated=keep)
        verify_warp(warp, pattern, window, ends, anchors, n, m)
        assert warp.programme_total == pytest.approx(least, rel=1e-12)
        found = naive.path_total(cost, warp.frames, moves_of(pattern), penalty)
        assert found == pytest.approx(least, rel=1e-12)


@pytest.mark.compiled
@pytest.mark.parametrize("step", ["symmetric1", "symmetric2", "asymmetric", "typeIIIc"])
def test_anchors_off_the_best_path_bend_it_and_anchors_on_it_do_not(step):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(900, 3)).cumsum(0)
    y = x[np.sort(rng.choice(900, 600, replace=False))] + rng.normal(size=(600, 3)) / 10
    free = dtw(x, y, step=step)
    on_it = dtw(x, y, step=step, anchors=free.frames[[100, 300, 400]])
    np.testing.assert_array_equal(on_it.frames, free.frames)
    assert on_it.cost.total == pytest.approx(free.cost.total, rel=1e-12)
    away = np.array([[300, 215], [600, 390]])
    bent = dtw(x, y, step=step, anchors=away)
    assert set(map(tuple, away.tolist())) <= set(map(tuple, bent.frames.tolist()))
    assert bent.cost.total > free.cost.total


def gaps_between(n, used):
    """Runs of reference frames that lie in none of the ranges, as first and last."""
    free = np.ones(n, dtype=bool)
    for first, last in used:
        free[first : last + 1] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free, [0]])))
    return [(a, b - 1) for a, b in edges.reshape(-1, 2)]


@given(st.integers(0, 2**32 - 1), patterns, penalties, st.data())
@settings(max_examples=300, deadline=None)
def test_each_match_is_the_best_of_those_that_share_no_frame(seed, pattern, penalty, data):
    """Greedy, by brute force: after each match every gap that is left is searched from scratch."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 22), rng.integers(1, 6)
    x, y = rng.integers(-3, 4, (n, 1)).astype(float), rng.integers(-3, 4, (m, 1)).astype(float)
    allowed = data.draw(masks(n, m))
    cost = naive.local_costs(x, y, "sqeuclidean")
    window = from_mask(allowed, n, m, "mask")
    found = []
    if is_feasible(window, pattern, m, ANYWHERE):
        found = find_matches(x, y, 5, metric="sqeuclidean", step=pattern, window=window,
                             penalty=penalty)  # fmt: skip
    used = []
    for k in range(5):
        tables = [
            naive.accumulate(
                cost[a : b + 1], moves_of(pattern), allowed[a : b + 1], penalty, open_begin=True
            )
            for a, b in gaps_between(n, used)
        ]
        least = min((table[:, -1].min() for table in tables), default=np.inf)
        if not np.isfinite(least):
            assert len(found) == k
            return
        warp = found[k]
        assert warp.programme_total == pytest.approx(least, rel=1e-12)
        first, last = warp.frames[0, 0], warp.frames[-1, 0]
        assert any(a <= first and last <= b for a, b in gaps_between(n, used))
        verify_warp(warp, pattern, window, ANYWHERE, np.zeros((0, 2), dtype=int), n, m)
        used.append((int(first), int(last)))
    assert len(found) == 5


@pytest.mark.parametrize("step", ["symmetric1", "symmetric2", "asymmetric", "symmetricP1"])
def test_planted_occurrences_are_found_in_the_order_of_their_noise(step):
    rng = np.random.default_rng(2)
    y = rng.normal(size=(60, 4)).cumsum(0)
    x = rng.normal(size=(3000, 4)).cumsum(0) + 40
    at, noise = [2500, 200, 1400], [0.01, 0.05, 0.1]
    for first, size in zip(at, noise, strict=True):
        x[first : first + 60] = y + rng.normal(size=y.shape) * size
    given = {"metric": "sqeuclidean", "step": STEP_PATTERNS[step], "window": everything(3000, 60)}
    found = find_matches(x, y, 3, **given)
    assert [(w.frames[0, 0], w.frames[-1, 0]) for w in found] == [(a, a + 59) for a in at]
    best = dtw(x, y, step=step, ends=ANYWHERE)
    np.testing.assert_array_equal(best.frames, found[0].frames)


@pytest.mark.parametrize("step", ["asymmetric", "asymmetricP05", "typeIc", "typeIIIc", "typeIVc"])
@pytest.mark.parametrize("open_begin", [False, True])
@pytest.mark.parametrize("open_end", [False, True])
def test_open_ends_agree_with_dtw_python(step, open_begin, open_end):
    """With open ends it takes the least normalised cost: here the query's frames, a constant."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        x = rng.normal(size=(32, 2)).cumsum(0)
        y = x[4:28] + rng.normal(size=(24, 2)) / 5
        ends = {"open_begin": open_begin, "open_end": open_end}
        chosen = getattr(dtw_python, step)
        peer = dtw_python.dtw(y, x, "sqeuclidean", step_pattern=chosen, **ends)
        warp = dtw(x, y, step=step, ends=Ends(**ends))
        assert warp.cost.normalized == pytest.approx(peer.normalizedDistance, rel=1e-9)
        assert warp.frames[0, 0] == peer.index2[0]
        assert warp.frames[-1, 0] == peer.index2[-1]


@pytest.mark.parametrize("step", ["symmetric1", "symmetric2", "asymmetric", "typeIIIc"])
def test_a_band_agrees_with_that_of_dtw_python(step):
    """In chains it lets cells between leave the band: there ours can only cost more."""
    rng = np.random.default_rng(9)
    for radius in (4, 6, 12):
        x, y = rng.normal(size=(40, 2)).cumsum(0), rng.normal(size=(38, 2)).cumsum(0)
        peer = dtw_python.dtw(
            y, x, "sqeuclidean", step_pattern=getattr(dtw_python, step),
            window_type="sakoechiba", window_args={"window_size": radius},
        )  # fmt: skip
        total = dtw(x, y, step=step, window=sakoe_chiba(40, 38, radius)).cost.total
        if step == "typeIIIc":
            assert total >= peer.distance * (1 - 1e-9)
        else:
            assert total == pytest.approx(peer.distance, rel=1e-9)


def test_rows_in_slices_tell_the_same(monkeypatch):
    rng = np.random.default_rng(8)
    cases = [(slanted(30, 24, r), STEP_PATTERNS[s]) for r in (0, 1, 2, 9) for s in STEP_PATTERNS]
    masks = [from_mask(rng.random((9, 8)) < 0.8, 9, 8, "mask") for _ in range(20)]
    cases += [(mask, STEP_PATTERNS["symmetric2"]) for mask in masks]
    whole = [is_feasible(w, p, 24 if len(w.lo) == 30 else 8, Ends()) for w, p in cases]
    assert 0 < sum(whole) < len(whole)
    monkeypatch.setattr("mmalign_cli.align.rows._MARKS_A_CALL", 50)
    assert [is_feasible(w, p, 24 if len(w.lo) == 30 else 8, Ends()) for w, p in cases] == whole


@st.composite
def ranges(draw):
    """Any range of columns a row, empty ones too, and no holes."""
    n, m = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bounds = np.sort(rng.integers(0, m + 1, (n, 2)), axis=1)
    if draw(st.booleans()):
        bounds[:, 0], bounds[:, 1] = 0, np.maximum(bounds[:, 1], m // 2)
    return np.array([[a <= j < b for j in range(m)] for a, b in bounds])


@given(ranges(), ends_of_paths, st.data())
@settings(max_examples=300, deadline=None)
def test_ranges_alone_tell_whether_a_free_pattern_has_a_path(allowed, ends, data):
    n, m = allowed.shape
    anchors = data.draw(anchors_of(n, m))
    pattern = STEP_PATTERNS["symmetric2"]
    through = {"open_begin": ends.open_begin, "open_end": ends.open_end}
    least = naive.least_through(
        np.zeros((n, m)), moves_of(pattern), allowed, anchors, 0.0, **through
    )
    window = from_mask(allowed, n, m, "mask")
    assert not window.mask.size
    assert is_feasible(window, pattern, m, ends, anchors) == np.isfinite(least)


@pytest.mark.parametrize("name", ["sakoe-chiba", "slanted"])
@pytest.mark.parametrize("step", ["symmetric2", "asymmetric", "symmetricP05"])
def test_smallest_radius_with_anchors_and_open_ends(name, step):
    rng = np.random.default_rng(4)
    band = {"sakoe-chiba": sakoe_chiba, "slanted": slanted}[name]
    for _ in range(6):
        n, m = (int(v) for v in rng.integers(2, 14, 2))
        anchors = np.array([[int(rng.integers(n)), int(rng.integers(m))]])
        open_begin, open_end = (bool(v) for v in rng.integers(0, 2, 2))

        def least(radius, n=n, m=m, anchors=anchors, ends=(open_begin, open_end)):
            window = band(n, m, radius)
            columns = np.arange(m)
            allowed = (window.lo[:, None] <= columns) & (columns < window.hi[:, None])
            steps = moves_of(STEP_PATTERNS[step])
            return naive.least_through(np.zeros((n, m)), steps, allowed, anchors, 0.0, *ends)

        expected = next((r for r in range(max(n, m) + 1) if np.isfinite(least(r))), None)
        ends = Ends(open_begin, open_end)
        assert smallest_radius(name, n, m, step, ends, anchors) == expected
