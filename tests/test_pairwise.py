"""Many pairs: against the slow twin, against single commands, and against whole matrices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.spatial.distance import squareform

from mmalign_cli.align import packed
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.neighbours import nearest
from mmalign_cli.align.packed import Rule, Series
from mmalign_cli.align.pairwise import condensed, distances, paths, square
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.shares import in_shares
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.align.windows import everything, itakura, sakoe_chiba, slanted, transposed
from mmalign_cli.errors import InputError

WINDOWS = {
    "sakoe-chiba": lambda r: lambda a, b: sakoe_chiba(len(a.values), len(b.values), r),
    "slanted": lambda r: lambda a, b: slanted(len(a.values), len(b.values), r),
    "itakura": lambda r: lambda a, b: itakura(len(a.values), len(b.values), 1.5 + r / 4),
}


def some_series(rng, count, d, low=1, high=30):
    return [
        Series(rng.normal(size=(int(n), d)).cumsum(0), f"s{k}")
        for k, n in enumerate(rng.integers(low, high, count))
    ]


def moves(step):
    return [
        [(m.reference, m.query, m.weight) for m in chain] for chain in STEP_PATTERNS[step].steps
    ]


def naive_cost(reference, query, rule):
    """The textbook recursion over the full table."""
    x, y = reference.values, query.values
    window = (rule.window or (lambda a, b: everything(len(a.values), len(b.values))))(
        reference, query
    )
    columns = np.arange(len(y))
    allowed = (window.lo[:, None] <= columns) & (columns < window.hi[:, None])
    local = naive.local_costs(x, y, rule.metric)
    table = naive.accumulate(local, moves(rule.step), allowed, rule.penalty, rule.ends.open_begin)
    return table[:, -1].min() if rule.ends.open_end else table[-1, -1]


def naive_square(series, rule):
    """Every pair by itself, the earlier series as the reference where the rule is symmetric."""
    cost = np.zeros((len(series), len(series)))
    for i, a in enumerate(series):
        for j, b in enumerate(series):
            if rule.is_symmetric and j <= i:
                cost[i, j] = cost[j, i]
            else:
                cost[i, j] = naive_cost(a, b, rule)
    return cost


FORMS = [  # and dimensions; each is compiled, for one dimension and for several
    ("sqeuclidean", "symmetric1", 0.0, (1, 2, 3)),
    ("sqeuclidean", "symmetric1", 20.0, (2, 3)),
    ("sqeuclidean", "symmetric2", 0.3, (1,)),
    ("euclidean", "symmetric1", 0.0, (1, 2, 3)),
    ("cityblock", "symmetric2", 0.0, (2, 3)),
    ("chebyshev", "symmetric1", 0.0, (2, 3)),
]


@st.composite
def rules(draw):
    """A rule and a number of dimensions."""
    name = draw(st.sampled_from([None, *WINDOWS]))
    window = None if name is None else WINDOWS[name](draw(st.integers(0, 12)))
    *form, dims = draw(st.sampled_from(FORMS))
    return Rule(*form, window=window), draw(st.sampled_from(dims))


@settings(deadline=None, max_examples=60)
@given(rules(), st.integers(0, 2**32 - 1), st.integers(2, 19))
def test_a_matrix_is_what_the_recursion_says(case, seed, count):
    rule, d = case
    series = some_series(np.random.default_rng(seed), count, d)
    found = square(series, rule)
    np.testing.assert_allclose(found, naive_square(series, rule), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(squareform(condensed(series, rule)), found)


@settings(deadline=None, max_examples=40)
@given(rules(), st.integers(0, 2**32 - 1), st.integers(1, 19))
def test_paths_of_one_against_many_are_those_of_dtw(case, seed, count):
    rule, d = case
    query, *references = some_series(np.random.default_rng(seed), count + 1, d)
    costs = distances(query, references, rule)
    for reference, cost, path in zip(
        references, costs, paths(query, references, rule), strict=True
    ):
        if path is None:
            assert cost == np.inf == naive_cost(reference, query, rule)
            continue
        warp = dtw(
            reference.values, query.values, metric=rule.metric, step=rule.step,
            penalty=rule.penalty, window=rule.window and rule.window(reference, query),
        )  # fmt: skip
        assert cost == pytest.approx(warp.cost.total + warp.cost.penalty, rel=1e-12)
        np.testing.assert_array_equal(path, warp.frames)


@settings(deadline=None, max_examples=40)
@given(rules(), st.integers(0, 2**32 - 1), st.integers(2, 40), st.data())
def test_nearest_are_the_first_of_sorted_rows(case, seed, count, data):
    rule, d = case
    series = some_series(np.random.default_rng(seed), count, d)
    k = data.draw(st.integers(1, count - 1))
    found = nearest(series, rule, k)
    costs = square(series, rule)
    np.fill_diagonal(costs, np.inf)
    order = np.argsort(costs, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(costs, order, axis=1)
    np.testing.assert_array_equal(found.costs, best)
    np.testing.assert_array_equal(found.indices, np.where(np.isfinite(best), order, -1))
    assert found.swept + found.abandoned <= count * (count - 1)


@pytest.mark.compiled
def test_bounds_leave_most_pairs_out_where_series_form_classes():
    rng = np.random.default_rng(5)
    classes = rng.normal(size=(20, 60, 1)).cumsum(axis=1) * 3
    series = [Series(c + rng.normal(size=c.shape) * 0.1) for c in classes for _ in range(10)]
    found = nearest(series, Rule(window=WINDOWS["sakoe-chiba"](3)), 3)
    assert found.swept + found.abandoned < len(series) ** 2 / 5
    assert (found.indices // 10 == np.arange(200)[:, None] // 10).all()


@pytest.mark.parametrize("step", ["asymmetric", "symmetricP1", "typeIc"])
@pytest.mark.parametrize("ends", [Ends(), Ends(True, True)])
def test_other_rules_take_the_road_of_single_pairs(step, ends):
    series = some_series(np.random.default_rng(3), 7, 2, 5, 12)
    rule = Rule(step=step, ends=ends, metric="cityblock")
    assert rule.is_symmetric == (step == "symmetricP1" and ends == Ends())
    np.testing.assert_allclose(square(series, rule), naive_square(series, rule), rtol=1e-12)
    found = nearest(series, rule, 2)
    assert found.indices.shape == (7, 2)


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_prepared_metrics(metric):
    series = some_series(np.random.default_rng(4), 9, 4)
    for a in series:
        costs = distances(a, series, Rule(metric=metric))
        single = [dtw(b.values, a.values, metric=metric).cost.total for b in series]
        np.testing.assert_allclose(costs, single, rtol=1e-9, atol=1e-14)


def test_integers_are_exact():
    rng = np.random.default_rng(6)
    series = [Series(rng.integers(-99, 99, (n, 2)).astype(float)) for n in (30, 31, 33, 70, 71)]
    for step in ("symmetric1", "symmetric2"):
        rule = Rule(step=step, penalty=3.0)
        np.testing.assert_array_equal(square(series, rule), naive_square(series, rule))


def test_extreme_values_take_the_careful_road():
    series = some_series(np.random.default_rng(7), 4, 1)
    large = [Series(s.values * 2.0**210) for s in series]
    np.testing.assert_allclose(square(large, Rule()), square(series, Rule()) * 2.0**420, rtol=1e-12)
    with pytest.raises(InputError, match="overflow"):
        square([Series(s.values * 1e300) for s in series], Rule())


@pytest.mark.compiled
def test_long_pairs_beside_short_ones(monkeypatch):
    series = some_series(np.random.default_rng(8), 30, 1)
    for rule in (Rule(), Rule(window=WINDOWS["slanted"](6))):
        whole, best = square(series, rule), nearest(series, rule, 3)
        for cells in (0, 50, 200):
            monkeypatch.setattr(packed, "_MOST_CELLS", cells)
            np.testing.assert_allclose(square(series, rule), whole, rtol=1e-12)
            np.testing.assert_array_equal(nearest(series, rule, 3).indices, best.indices)
            without = np.isinf(distances(series[0], series, rule))
            assert [p is None for p in paths(series[0], series, rule)] == without.tolist()
        monkeypatch.undo()


@pytest.mark.compiled
def test_thread_counts_change_nothing():
    series = some_series(np.random.default_rng(9), 60, 1)
    for rule in (Rule(), Rule(step="asymmetric"), Rule(window=WINDOWS["slanted"](5))):
        one, three = (square(series, rule, threads=t) for t in (1, 3))
        np.testing.assert_array_equal(one, three)
        one_best, three_best = (nearest(series, rule, 4, threads=t) for t in (1, 3))
        np.testing.assert_array_equal(one_best.indices, three_best.indices)
        np.testing.assert_array_equal(one_best.costs, three_best.costs)


def test_transposed_window():
    for window in (slanted(13, 29, 3), sakoe_chiba(20, 24, 6), itakura(17, 23, 2)):
        n, m = len(window.lo), int(window.hi.max())
        inside = naive.band(n, m, lambda i, j: window.lo[i] <= j < window.hi[i])  # noqa: B023
        other = transposed(window, m)
        turned = naive.band(m, n, lambda j, i: other.lo[j] <= i < other.hi[j])  # noqa: B023
        np.testing.assert_array_equal(turned, inside.T)


def test_an_exception_in_any_thread_reaches_the_caller():
    def fail_at(number):
        def work(task, tell):
            tell()
            if task == number:
                raise ZeroDivisionError

        return work

    for number in range(5):
        with pytest.raises(ZeroDivisionError):
            in_shares(50, fail_at(number), 3, lambda done: None)
    seen = []
    in_shares(50, lambda task, tell: seen.append(task), 3, lambda done: None)
    assert sorted(seen) == list(range(50))


def test_the_last_task_of_a_helper_is_waited_for():
    begun, reports, ended = threading.Event(), [], []

    def work(task, tell):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
            return
        begun.set()
        while len(reports) < 2:  # until the caller has done all its tasks, and still reports
            tell()
        ended.append(task)

    in_shares(2, work, 2, reports.append)
    assert len(ended) == 1


def stop(*_):
    raise KeyboardInterrupt


def test_progress_can_stop_the_work():
    series = some_series(np.random.default_rng(10), 20, 1)
    for compute in (square, lambda *a, **k: nearest(a[0], a[1], 2, **k)):
        for rule in (Rule(), Rule(step="asymmetric")):
            with pytest.raises(KeyboardInterrupt):
                compute(series, rule, threads=2, progress=stop)


SCRIPT = """
import numpy as np
from mmalign_cli.align.neighbours import nearest
from mmalign_cli.align.packed import Rule, Series
from mmalign_cli.align.pairwise import paths, square
from mmalign_cli.align.windows import slanted
rng = np.random.default_rng(0)
window = lambda a, b: slanted(len(a.values), len(b.values), 3)
rules = Rule("sqeuclidean"), Rule("euclidean", "symmetric2", 0.5, window=window)
for d, rule in zip((1, 2), rules):  # compiled for each of them
    s = [Series(rng.normal(size=(n, d)).cumsum(0)) for n in (5, 9, 12, 4, 7)]
    print(square(s, rule).round(9).tolist(), nearest(s, rule, 2).indices.tolist())
    print([None if p is None else p.tolist() for p in paths(s[0], s, rule)])
"""


@pytest.mark.compiled
@pytest.mark.parametrize(
    "machine",
    [
        {"NUMBA_DISABLE_JIT": "1"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"},
    ],
    ids=["python", "plain", "avx2"],
)
def test_other_machines_give_the_same(machine, tmp_path):
    outputs = []
    for changes in ({}, {**machine, "NUMBA_CACHE_DIR": str(tmp_path)}):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, **changes}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] != ""


# The command.


@pytest.fixture
def many(folder):
    """Seven tables of two columns in a folder of their own, and their list."""
    rng = np.random.default_rng(11)
    (folder / "in").mkdir()
    lines = ["# seven", ""]
    for k, n in enumerate(rng.integers(10, 25, 7)):
        rows = np.column_stack([np.arange(n) / 10, rng.normal(size=(n, 2)).cumsum(0)])
        np.savetxt(folder / "in" / f"s{k}.csv", rows, delimiter=",", header="time,x,y", comments="")
        lines.append(f"s{k}.csv")
    (folder / "in" / "list.txt").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--step", "symmetric2", "--penalty", "0.4"],
        ["--window", "slanted", "--radius", "0.3s", "--metric", "euclidean"],
        ["--step", "asymmetric", "--open-begin", "--open-end"],
        ["--columns", "x", "--normalize", "zscore"],
    ],
    ids=" ".join,
)
def test_numbers_are_those_of_the_single_command(run, many, options):
    done = run("dtw", "--pairwise", "in/list.txt", "-o", "m.npy", "--json", *options)
    assert done.code == 0, done.stderr
    matrix = np.load("m.npy")
    assert matrix.dtype == np.float64
    for i in range(7):
        for j in range(i + 1, 7):
            single = run("dtw", f"in/s{i}.csv", f"in/s{j}.csv", "--json", *options)
            cost = json.loads(single.stdout)["cost"]
            assert matrix[i, j] == pytest.approx(cost["total"] + cost["penalty"], rel=1e-9)
    document = json.loads(done.stdout)
    assert [s["name"] for s in document["streams"]] == [f"s{k}" for k in range(7)]
    once = "asymmetric" not in options
    assert document["summary"]["pairs"] == (21 if once else 42)
    assert (np.diag(matrix) == 0).all() or not once


def test_condensed_and_nearest_say_what_the_matrix_says(run, many):
    run("dtw", "--pairwise", "in/list.txt", "-o", "m.npy")
    assert run("dtw", "--pairwise", "in/list.txt", "-o", "c.npy", "--condensed").code == 0
    matrix = np.load("m.npy")
    np.testing.assert_array_equal(squareform(np.load("c.npy")), matrix)
    done = run("dtw", "--pairwise", "in/list.txt", "-o", "n.npz", "--nearest", 3)
    assert done.code == 0
    assert "7 streams" in done.stdout
    with np.load("n.npz") as found:
        np.fill_diagonal(matrix, np.inf)
        np.testing.assert_array_equal(found["indices"], np.argsort(matrix, axis=1)[:, :3])
        np.testing.assert_array_equal(found["costs"], np.sort(matrix, axis=1)[:, :3])
        assert found["streams"].tolist() == [f"s{k}" for k in range(7)]


def test_pairs_without_a_path_are_infinite_and_said(run, many):
    options = ["--window", "sakoe-chiba", "--radius", "3"]
    done = run("dtw", "--pairwise", "in/list.txt", "-o", "m.npy", *options)
    lengths = [len(np.loadtxt(f"in/s{k}.csv", skiprows=1, delimiter=",")) for k in range(7)]
    far = np.abs(np.subtract.outer(lengths, lengths)) > 3
    np.testing.assert_array_equal(np.isinf(np.load("m.npy")), far)
    assert f"{far.sum() // 2} pairs have no path in the window" in done.stderr


def test_the_list_may_come_through_a_pipe_and_lines_have_keys(run, many, monkeypatch):
    (many / "other.txt").write_text("in/s0.csv,columns=x\n  # no\nin/s1.csv,columns=y,name=b\n")
    done = run("dtw", "--pairwise", "other.txt", "-o", "m.npy", "--json")
    assert [s["name"] for s in json.loads(done.stdout)["streams"]] == ["s0", "b"]
    single = run("dtw", "in/s0.csv,columns=x", "in/s1.csv,columns=y", "--json")
    assert np.load("m.npy")[0, 1] == pytest.approx(json.loads(single.stdout)["cost"]["total"])


def test_a_plan_is_said_and_nothing_written(run, many):
    done = run("dtw", "--pairwise", "in/list.txt", "--dry-run")
    assert "21 pairs of 7 streams" in done.stdout
    assert "one by one" not in done.stdout
    done = run("dtw", "--pairwise", "in/list.txt", "--dry-run", "--step", "asymmetric")
    assert "49 pairs one by one" in done.stdout
    assert [p.name for p in many.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--pairwise", "in/list.txt"], 2, "needs a file"),
        (["--pairwise", "in/list.txt", "-o", "m.csv"], 2, "does not end in .npy"),
        (["--pairwise", "in/list.txt", "-o", "m.npy", "--nearest", "2"], 2, ".npz"),
        (["--pairwise", "in/list.txt", "-o", "m.npz", "--nearest", "7"], 2, "7 of 6 others"),
        (["--pairwise", "in/list.txt", "-o", "in/list.txt.npy", "--path", "p.csv"], 2, "--path"),
        (["--pairwise", "in/list.txt", "-o", "m.npy", "in/s0.csv"], 2, "in/s0.csv"),
        (["--pairwise", "none.txt", "-o", "m.npy"], 3, "none.txt"),
        (["--pairwise", "bad.txt", "-o", "m.npy"], 3, "bad.txt, line 2"),
        (["--pairwise", "one.txt", "-o", "m.npy"], 3, "a pair needs two"),
        (["--pairwise", "unlike.txt", "-o", "m.npy"], 3, "in/s1.csv: 1 dimensions"),
        (["--pairwise", "in/list.txt", "-o", "gone/m.npy"], 5, "no such folder"),
        (["--pairwise", "in/list.txt", "-o", "m.npy", "--window", "w.npy"], 2, "one pair only"),
        (["--pairwise", "in/list.txt", "-o", "m.npy", "--window", "slanted"], 2, "radius"),
        (["--pairwise", "in/list.txt", "-o", "m.npy", "--max-memory", "1k"], 4, "memory"),
        (
            ["--pairwise", "in/list.txt", "-o", "m.npy", "--condensed", "--step", "asymmetric"],
            2,
            "not symmetric",
        ),
        (["in/s0.csv", "in/s1.csv", "--condensed"], 2, "without --pairwise"),
        (
            ["--pairwise", "in/list.txt", "-o", "m.npy", "--confidence", "none"],
            2,
            "--confidence: means nothing with --pairwise",
        ),
        (["in/s0.csv"], 2, "QUERY"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(run, many, arguments, code, text):
    (many / "bad.txt").write_text("in/s0.csv\nin/s1.csv,colunms=x\n")
    (many / "one.txt").write_text("in/s0.csv\n")
    (many / "unlike.txt").write_text("in/s0.csv\nin/s1.csv,columns=x\n")
    done = run("dtw", *arguments)
    assert done.code == code, done.stderr
    assert text in done.stderr
    assert done.stderr.startswith("mmalign: error: ")
    assert not list(many.glob("*.np?"))


def test_what_pairs_cannot_be():
    r = np.random.default_rng(0)
    one, large = Series(r.normal(size=(9, 1))), Series(np.full((9, 1), 1e306))
    with pytest.raises(InputError):
        paths(one, [one, large], Rule())
    with pytest.raises(ValueError, match="symmetric"):
        condensed([one, one], Rule(step="asymmetric"))
