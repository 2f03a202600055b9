"""The planner's figures against what is used, and the approximate search against the exact one."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign_cli import runtime
from mmalign_cli.align import multiscale, rooms
from mmalign_cli.align.dtw import dtw, local_costs
from mmalign_cli.align.multiscale import Question, approximate, band_round
from mmalign_cli.align.plan import LONGEST_EXACT_S, ROADS, Request, plan
from mmalign_cli.align.problem import NO_ANCHORS, Ends
from mmalign_cli.align.steps import step_pattern
from mmalign_cli.align.windows import NO_MASK, Window, everything, slanted
from mmalign_cli.evidence.verify import verify_warp

STEPS = [  # with a penalty; the kernels of the first two are compiled for each combination
    ("symmetric1", 0.0),
    ("symmetric2", 0.5),
    *((step, p) for step in ("asymmetric", "symmetricP1", "typeIIIc") for p in (0.0, 0.5)),
]
SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"


def request(n, m, dims=1, step="symmetric1", window=None, **more):
    return Request(n, m, dims, step_pattern(step), window or everything(n, m), **more)


def walks(seed, n, m, dims):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(k, dims)).cumsum(axis=0) for k in (n, m))


def warped(seed, n, dims):
    """A random walk, and the same on another clock with noise of a tenth of a step."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dims)).cumsum(axis=0)
    speed = np.exp(0.4 * np.sin(np.linspace(0, 9, n)))
    clock = np.cumsum(speed) / speed.sum() * (n - 1)
    y = np.column_stack([np.interp(clock, np.arange(n), column) for column in x.T])
    return x, y + rng.normal(0, 0.1, y.shape)


# ---------------------------------------------------------------- approximate


@given(
    st.integers(0, 2**16),
    st.tuples(st.integers(20, 150), st.integers(20, 150), st.sampled_from([1, 4])),
    st.sampled_from(STEPS),
    st.sampled_from([Ends(), Ends(open_begin=True), Ends(open_end=True), Ends(True, True)]),
    st.sampled_from([1, 4, 16, 400]),
)
@settings(max_examples=150, deadline=None)
def test_valid_and_never_below_exact(seed, shape, step_and_penalty, ends, radius):
    (n, m, dims), (step, penalty) = shape, step_and_penalty
    x, y = walks(seed, n, m, dims)
    question = Question(step=step, penalty=penalty, ends=ends)
    with mock.patch.object(multiscale, "_COARSEST_CELLS", 300):
        try:
            warp, band, search = approximate(x, y, question, radius=radius)
        except multiscale.AlignmentError:
            return  # a slope limit, and a band too narrow for it: refused, not answered wrongly
    verify_warp(warp, step_pattern(step), band, ends, NO_ANCHORS, n, m)
    exact = dtw(x, y, step=step, penalty=penalty, ends=ends)
    cost, least = (w.cost.total + w.cost.penalty for w in (warp, exact))
    assert cost >= least * (1 - 1e-9)
    assert search.cell_share == band.n_cells / (n * m)
    assert 0 <= search.border_share <= 1
    if search.cell_share == 1:
        assert cost == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dims", [1, 3])
def test_the_band_holds_the_path_of_a_warp(seed, dims, monkeypatch):
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 10_000)
    x, y = warped(seed, 2000, dims)
    warp, _, search = approximate(x, y, Question(), radius=64)
    assert search.levels == (32, 8, 2, 1)
    assert search.cell_share < 0.3
    assert warp.cost.total == pytest.approx(dtw(x, y).cost.total, rel=1e-6)
    assert search.border_share == 0


def test_the_approximate_search_finds_the_path_of_music(run, monkeypatch):
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 10_000)
    takes = [f"{SAMPLES}/piece_take{k}.wav" for k in (1, 2)]
    found, exact = (
        json.loads(run("dtw", *takes, *how, "--json", "--no-path").stdout)
        for how in (["--approximate", "--radius", "1s"], ["--exact"])
    )
    assert found["parameters"]["approximation"]["cell_share"] < 0.5
    assert found["cost"]["total"] == pytest.approx(exact["cost"]["total"], rel=1e-3)
    assert found["cost"]["total"] >= exact["cost"]["total"] * (1 - 1e-6)


def test_a_touched_band_is_widened(monkeypatch):
    """A reference that stands still where the query moves: the coarse path knows no better."""
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 100)
    x, y = walks(3, 800, 800, 1)
    narrow = approximate(x, y, Question(), radius=1)[2]
    assert narrow.widened > 0
    monkeypatch.setattr(multiscale, "_MOST_WIDENINGS", 0)
    unwidened = approximate(x, y, Question(), radius=1)[2]
    assert (unwidened.widened, unwidened.radius_frames) == (0, 1)
    assert unwidened.border_share > narrow.border_share


def test_the_widest_band_may_be_refused():
    x, y = walks(0, 50, 50, 1)

    def refuse(window):
        raise runtime.LimitError("x, y", f"{window.n_cells} cells", "")

    with pytest.raises(runtime.LimitError, match="2500 cells"):
        approximate(x, y, Question(), require=refuse)


@given(st.integers(0, 99), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_band_holds_the_cells_near_the_path_and_no_more(seed, ratio, radius):
    rng = np.random.default_rng(seed)
    n, m = (int(k) for k in rng.integers(2, 40, 2))
    rows, columns = -(-n // ratio), -(-m // ratio)
    path = dtw(*walks(seed, rows, columns, 1)).frames
    band = band_round(path, ratio, n, m, radius)
    i, j = np.indices((n, m))
    near = np.zeros((n, m), dtype=bool)
    for a, b in path * ratio:
        near |= (
            (i >= a - radius)
            & (i < a + ratio + radius)
            & ((j >= b - radius) & (j < b + ratio + radius))
        )
    np.testing.assert_array_equal(band.lo, near.argmax(axis=1))
    np.testing.assert_array_equal(band.hi, m - near[:, ::-1].argmax(axis=1))


# ---------------------------------------------------------------- roads


def test_roads():
    assert plan(request(1000, 1000)).road == "strips"
    assert plan(request(1000, 1000, step="asymmetric")).road == "rows"
    assert plan(request(1000, 1000, keep_costs=True)).road == "rows"
    hour = plan(request(360_000, 360_000, 80))
    assert (hour.road, hour.is_exact) == ("multiscale", False)
    assert hour.cells < 0.02 * 360_000**2
    assert hour.exact_seconds > LONGEST_EXACT_S > hour.seconds
    exact = plan(request(360_000, 360_000, 80, approximate=False))
    assert (exact.road, exact.cells) == ("strips", 360_000**2)
    band = slanted(360_000, 360_000, 150_000)
    assert plan(request(360_000, 360_000, 80, window=band)).is_exact, "the user chose a window"
    assert plan(request(1000, 1000, approximate=True)).road == "multiscale"
    assert {p.road for p in (hour, exact)} <= set(ROADS)


def test_the_choice_does_not_depend_on_threads():
    n = 150_000
    assert len({plan(request(n, n, 80, threads=k)).road for k in (1, 64)}) == 1


SIZES = [
    (9000, 8000, 1, {}),
    (2000, 2500, 40, {}),
    (1500, 1500, 3, {"step": "asymmetric"}),
    (900, 800, 2, {"keep_costs": True}),
    (6000, 6000, 4, {"window": slanted(6000, 6000, 100)}),
]


@pytest.mark.parametrize(("n", "m", "dims", "more"), SIZES)
def test_memory_is_what_was_planned(n, m, dims, more):
    expected = plan(request(n, m, dims, **more))
    how = {"step": more.get("step", "symmetric1"), "window": more.get("window")}
    x, y = walks(0, n, m, dims)
    dtw(x, y, **how, keep_accumulated="keep_costs" in more)  # its kernels are loaded by then
    tracemalloc.start()
    try:
        x, y = walks(0, n, m, dims)
        warp = dtw(x, y, **how, keep_accumulated="keep_costs" in more)
        if "keep_costs" in more:
            local = local_costs(x, y, "sqeuclidean")
            aligned = local[np.ix_(warp.frames[:, 0], warp.frames[:, 1])]
            small = [table.astype(np.float32) for table in (local, warp.accumulated, aligned)]
            assert len(small) == 3
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= expected.bytes + 2**20
    # May be there from the alignment before, and what is used of it counts; rows use none.
    lent = 4 * rooms._SINGLES if expected.road == "strips" else 0
    assert expected.bytes <= (5 if lent else 2) * peak + lent


# ---------------------------------------------------------------- the command


@pytest.fixture
def pair(folder):
    for name, values in zip("ab", warped(0, 600, 2), strict=True):
        np.save(folder / f"{name}.npy", values)
    return ["a.npy,rate=100", "b.npy,rate=100"]


def test_dry_run_as_json(run, pair):
    told = json.loads(run("dtw", *pair, "--dry-run", "--json").stdout)
    assert told["frames"] == [600, 600]
    assert (told["road"], told["dims"], told["cells"]) == ("strips", 2, 360_000)
    assert told["bytes"] > 0
    assert told["seconds"] > 0
    lines = run("dtw", *pair, "--dry-run", "--approximate").stdout
    assert "approximate" in lines
    assert "--exact" in lines


def test_approximate_is_told(run, pair, monkeypatch):
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 2_000)
    done = run("dtw", *pair, "--approximate", "--radius", "0.2s", "--json")
    document = json.loads(done.stdout)
    told = document["parameters"]["approximation"]
    assert document["parameters"]["approximate"] is True
    assert told["levels"] == [16, 4, 1]
    assert told["radius_frames"] == 20 * 2 ** told["widened"]
    assert 0 < told["cell_share"] < 1
    assert 0 <= told["border_share"] < 1
    assert any("approximate" in warning for warning in document["warnings"])
    assert "approximate" in done.stderr
    exact = json.loads(run("dtw", *pair, "--exact", "--json").stdout)
    assert "approximate" not in exact["parameters"]
    assert exact["cost"]["total"] <= document["cost"]["total"]
    assert document["cost"]["total"] == pytest.approx(exact["cost"]["total"], rel=0.01)


def test_a_long_search_is_approximate_by_itself_and_says_so(run, pair, monkeypatch):
    monkeypatch.setattr("mmalign_cli.align.plan.LONGEST_EXACT_S", 1e-9)
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 2_000)
    monkeypatch.setattr(multiscale, "USUAL_RADIUS", 20)
    done = run("dtw", *pair, "--json")
    assert json.loads(done.stdout)["parameters"]["approximate"] is True
    assert "--exact" in done.stderr
    exact = run("dtw", *pair, "--json", "--exact")
    assert "approximate" not in json.loads(exact.stdout)["parameters"]
    assert exact.stderr == ""


def test_costs_that_do_not_fit_are_refused_with_the_way_out(run, pair):
    done = run("dtw", *pair, "--cost", "c.npz", "--max-memory", "3M", "-o", "out.json")
    assert done.code == 4
    assert "needs" in done.stderr
    assert "3.15 MB" in done.stderr
    assert "hint: leave out --cost" in done.stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--approximate", "--window", "slanted", "--radius", "9"], "a band of its own"),
        (["--approximate", "--cost", "c.npz"], "needs the whole table"),
        (["--radius", "9"], "means nothing with --window none"),
        (["--exact", "--radius", "9"], "means nothing with --window none"),
    ],
)
def test_options_that_contradict(run, pair, options, what):
    done = run("dtw", *pair, *options)
    assert done.code == 2
    assert what in done.stderr


def test_info_tells_the_road(run, pair):
    facts = json.loads(run("info", pair[0], "--json").stdout)
    assert facts["dtw_road"] == "strips"
    assert facts["dtw_seconds"] > 0


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_a_step_at_the_border_has_a_neighbour_outside(seed):
    rng = np.random.default_rng(seed)
    n, m = (int(k) for k in rng.integers(1, 12, 2))
    lo = np.sort(rng.integers(0, m, n))
    lo[0] = 0
    hi = np.sort(np.maximum(lo + 1, rng.integers(1, m + 1, n)))
    hi = np.maximum.accumulate(hi)
    inside = (lo[:, None] <= np.arange(m)) & (np.arange(m) < hi[:, None])
    path = np.argwhere(inside)
    expected = []
    for i, j in path:
        around = [(i, j - 1), (i, j + 1), (i - 1, j), (i + 1, j)]
        expected.append(any(0 <= a < n and 0 <= b < m and not inside[a, b] for a, b in around))
    found = multiscale._at_border(path, Window(lo, hi, NO_MASK), m)
    np.testing.assert_array_equal(found, expected)


def test_averaged_frames_are_means_and_levels_are_small(monkeypatch):
    values = np.random.default_rng(0).normal(size=(23, 2))
    for factor in (1, 2, 5, 22, 23):
        expected = [values[k : k + factor].mean(axis=0) for k in range(0, 23, factor)]
        np.testing.assert_allclose(multiscale._averaged(values, factor), expected)
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 1000)
    for n, m in ((31, 32), (40, 25), (32, 32), (500, 700), (4, 9000), (8, 90_000), (9, 1)):
        found = multiscale.levels(n, m)
        cells = [-(-n // f) * -(-m // f) for f in found]
        assert found[-1] == 1
        assert all(a == 4 * b or (a, b) == (2, 1) for a, b in pairwise(found))
        assert cells[0] <= 1000 or 4 * found[0] > min(n, m)
        half = found[0] // 2
        if half:
            assert -(-n // half) * -(-m // half) > 1000
            assert 4 * half <= min(n, m)


@pytest.mark.parametrize(
    ("n", "m", "radius"), [(3000, 3000, 30), (2000, 5000, 40), (5000, 1900, 25)]
)
def test_cells_are_about_those_of_bands_round_the_straight_line(n, m, radius, monkeypatch):
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", 100_000)
    factors = multiscale.levels(n, m)
    counts = []
    for k, factor in enumerate(factors):
        rows, columns = -(-n // factor), -(-m // factor)
        if k == 0:
            counts.append(rows * columns)
            continue
        ratio = factors[k - 1] // factor
        steps = np.arange(-(-rows // ratio))
        line = np.rint(steps * (-(-columns // ratio) - 1) / (len(steps) - 1)).astype(int)
        counts.append(
            band_round(np.column_stack([steps, line]), ratio, rows, columns, radius).n_cells
        )
    total, last = multiscale.cells_expected(n, m, radius)
    assert 0.9 * counts[-1] < last < 1.5 * counts[-1]
    assert 0.9 * sum(counts) < total < 1.5 * sum(counts)
    assert multiscale.cells_expected(50, 60, 9) == (3000, 3000)


def test_seconds_are_the_roads_rates_and_threads_share_them():
    cells = 20_000 * 30_000
    alone = plan(request(20_000, 30_000, 13))
    assert alone.seconds == alone.exact_seconds == pytest.approx(1e-9 * cells * (0.05 + 13 * 0.03))
    four = plan(request(20_000, 30_000, 13, threads=4))
    assert four.seconds == pytest.approx(alone.seconds / 4)
    little = plan(request(300, 300, 1, threads=4))
    assert little.seconds == pytest.approx(1e-9 * 90_000 * 0.08)
    rows = plan(request(900, 800, 3, step="asymmetric", threads=4))
    assert rows.seconds == pytest.approx(1e-9 * 720_000 * (2.6 + 3 * 0.13))
    coarse = plan(request(5000, 5000, 2, approximate=True))
    assert coarse.seconds == pytest.approx(ROADS["multiscale"].seconds(coarse.cells, 2))
    assert coarse.exact_seconds == pytest.approx(1e-9 * 25e6 * 0.11)


def test_costs_that_are_kept_are_counted():
    kept, plain = (plan(request(900, 800, 2, keep_costs=k)).bytes for k in (True, False))
    tables = 8 * 900 * 800 + 16 * 900 * 800 + 12 * 1700**2
    assert kept - plain == pytest.approx(tables, rel=0.05)
    assert plan(request(900, 800, 2, stream_bytes=0)).bytes == plain - 8 * 3 * 1700
    several = plan(request(900, 800, 2, matches=3))
    assert several.road == "rows"
    assert 0 < several.bytes < kept
    both = plan(request(900, 800, 2, matches=3, keep_costs=True))
    assert both.bytes > several.bytes + tables
