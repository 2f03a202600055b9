"""Canonical Time Warping: planted paths, what stops the rounds, hard cases, the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import naive
import numpy as np
import pytest

from mmalign_cli.align import choices, ctw, first_paths
from mmalign_cli.align import pair as pair_module
from mmalign_cli.align.alternate import Alternation, moved_at_most
from mmalign_cli.align.anneal import align_softly
from mmalign_cli.align.ctw import align
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.pair import Settings, prepare
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.selfsim import coarsened, selfsim_costs
from mmalign_cli.errors import InputError
from mmalign_cli.evidence.confidence import shuffled_null
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.pipeline.ctw import ALGORITHMS
from mmalign_cli.write.document import schema

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference"


def curve(u):
    return np.column_stack([np.cos(9 * u) * (1 + u), np.sin(7 * u), np.sin(13 * u + 1)])


def planted(seed, n=160, m=130, noise=0):
    """Two views of one curve under random maps, noise columns beside; and the true path."""
    rng = np.random.default_rng(seed)
    a, b = np.exp(rng.uniform(-0.3, 0.3, 2))
    ux, uy = np.linspace(0, 1, n), 1 - (1 - np.linspace(0, 1, m) ** a) ** b
    x = curve(ux) @ rng.normal(size=(3, 4))
    y = curve(uy) @ rng.normal(size=(3, 5))
    if noise:
        x, y = (np.hstack([v, 3 * rng.normal(size=(len(v), noise))]) for v in (x, y))
    fine = np.linspace(0, m - 1, 4 * n)
    truth = np.column_stack([np.interp(fine, np.arange(m), uy) * (n - 1), fine])
    return x, y, truth


def error(found, truth):
    return path_difference(found.warp.frames.astype(float), truth)


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_path_is_found(seed):
    x, y, truth = planted(seed)
    assert error(align(prepare(x, y, Settings())), truth) < 1.0


def test_invertible_maps_of_a_stream_change_nothing():
    rng = np.random.default_rng(1)
    x, y, _ = planted(1)
    turned = x @ rng.normal(size=(4, 4)) * 1e4 + rng.normal(size=4)
    settings = Settings(init="uniform", dims=3)
    plain, other = (align(prepare(v, y, settings)) for v in (x, turned))
    assert (plain.warp.frames == other.warp.frames).all()
    np.testing.assert_allclose(plain.objective, other.objective, rtol=1e-6)


@pytest.mark.parametrize("align_with", [align, align_softly])
def test_more_noise_columns_than_signal(align_with):
    x, y, truth = planted(2, noise=6)
    found = align_with(prepare(x, y, Settings()))
    assert error(found, truth) < 2.0
    assert len(found.maps.correlations) <= 3


def test_dimensions_are_those_that_are_shared():
    x, y, _ = planted(3, noise=4)
    assert 2 <= len(align(prepare(x, y, Settings())).maps.correlations) <= 3
    assert len(align(prepare(x, y, Settings(dims=1))).maps.correlations) == 1
    assert len(align(prepare(x, y, Settings(dims=0.5))).maps.correlations) <= 3


def test_outlier_frames():
    """A tenth of the frames of both streams; single pairs may still be led astray."""
    errors = []
    for seed in range(5):
        x, y, truth = planted(seed)
        rng = np.random.default_rng(seed)
        for v in (x, y):
            at = rng.choice(len(v), len(v) // 10, replace=False)
            v[at] += 50 * rng.normal(size=(len(at), v.shape[1]))
        settings = [Settings(init="uniform", robust=r) for r in (False, True)]
        errors.append([error(align(prepare(x, y, s)), truth) for s in settings])
    plain, careful = np.median(errors, axis=0)
    assert careful < 1.0
    assert plain > 5.0


def test_robust_costs_nothing_on_clean_data():
    x, y, truth = planted(0)
    assert error(align(prepare(x, y, Settings(robust=True))), truth) < 1.5


def test_fewer_frames_than_dimensions():
    rng = np.random.default_rng(5)
    x, y, truth = planted(5, 80, 60)
    wide = [
        v @ rng.normal(size=(v.shape[1], d)) + 0.01 * rng.normal(size=(len(v), d))
        for v, d in ((x, 120), (y, 100))
    ]
    pair = prepare(*wide, Settings())
    assert pair.ridge > 0
    assert error(align(pair), truth) < 2.0


def test_constant_and_repeated_columns():
    x, y, truth = planted(0)
    wide = np.hstack([x, x, np.ones((len(x), 2))])
    assert error(align(prepare(wide, y, Settings())), truth) < 1.0


def test_lengths_of_one_to_five():
    x, y, truth = planted(6, 300, 60)
    assert error(align(prepare(x, y, Settings())), truth) < 1.0


def test_values_of_any_size():
    x, y, _ = planted(0)
    settings = Settings(init="uniform", dims=3)
    plain = align(prepare(x, y, settings)).warp.frames
    for scale in (1e-170, 1e150):
        assert (align(prepare(x * scale, y, settings)).warp.frames == plain).all()


def test_open_ends_find_the_query_inside():
    x, y, truth = planted(1)
    rng = np.random.default_rng(0)
    before, after = (0.3 * rng.normal(size=(30, 4)).cumsum(axis=0) for _ in range(2))
    longer = np.vstack([before[::-1] + x[0], x, x[-1] + after])
    settings = Settings(ends=Ends(True, True))
    found = align(prepare(longer, y, settings))
    assert error(found, truth + np.array([30, 0])) < 2.0
    closed = align(prepare(longer, y, Settings()))
    assert error(closed, truth + np.array([30, 0])) > 2 * error(found, truth + np.array([30, 0]))


@pytest.mark.parametrize(
    ("x", "message"),
    [(np.ones((50, 2)), "constant"), (np.arange(8.0).reshape(4, 2), "4 frames")],
)
def test_streams_that_nothing_can_be_said_of(x, message):
    with pytest.raises(InputError, match=message):
        prepare(x, np.random.default_rng(0).normal(size=(50, 2)), Settings())


def test_soft_is_at_least_as_good_as_hard():
    errors = []
    for seed in range(4):
        x, y, truth = planted(seed)
        pair = prepare(x, y, Settings(init="uniform", starts=3))
        errors.append([error(f(pair), truth) for f in (align, align_softly)])
    hard, soft = np.mean(errors, axis=0)
    assert soft <= hard + 0.05


# The loop


def line(shift):
    return np.column_stack([np.arange(10), np.clip(np.arange(10) + shift, 0, 9)])


def test_a_cycle_is_noticed():
    """Maps are the number of the path, and each path leads to the next of three."""
    paths = [line(k) for k in range(4)]
    loop = Alternation(
        project=lambda p: next(k for k, q in enumerate(paths) if (p == q).all()),
        warp=lambda k, _: (paths[1 + k % 3], float(k)),
        moved_at_most=moved_at_most,
    )
    found = loop.descend(paths[0])
    assert (found.ending, found.period, len(found.rounds)) == ("cycle", 3, 4)
    assert [r.objective for r in found.candidates] == [1.0, 2.0, 3.0]
    assert found.settled.objective == 1.0
    assert [found.after(k).objective for k in range(4, 9)] == [3.0, 1.0, 2.0, 3.0, 1.0]


def test_the_loop_converges_joins_and_runs_out():
    loop = Alternation(lambda p: p, lambda p, _: (line(0), 1.0), moved_at_most, max_rounds=5)
    assert loop.descend(line(3)).ending == "converged"
    assert [d.ending for d in loop.descend_all([line(3), line(2)])] == ["converged", "joined"]
    walk = iter([line(k) for k in range(1, 9)])
    wanders = Alternation(lambda p: p, lambda p, _: (next(walk), 0.0), moved_at_most, 3)
    assert wanders.descend(line(0)).ending == "max-iter"


def test_progress_names_start_and_round_and_may_stop():
    told = []
    loop = Alternation(lambda p: p, lambda p, _: (line(0), 1.0), moved_at_most, max_rounds=5)
    loop.descend_all([line(3), line(2)], lambda *what: told.append(what))
    assert told[0] == ("start 1 of 2", 1, 10)
    assert told[-1][0] == "start 2 of 2"

    def stop(*what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.descend_all([line(3)], stop)


@pytest.mark.parametrize("seed", range(20))
def test_moved_at_most_is_the_path_difference(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, 1)).cumsum(axis=0), rng.normal(size=(35, 1)).cumsum(axis=0)
    a = dtw(x, y).frames
    b = dtw(x + 0.05 * seed * rng.normal(size=x.shape), y).frames
    difference = path_difference(a.astype(float), b.astype(float))
    for tolerance in (0.0, 0.01, 0.2, 1.0):
        assert moved_at_most(a, b, tolerance) == (difference <= tolerance)


# Starts


def test_power_laws_begin_with_the_straight_line():
    starts = first_paths.power_laws(50, 80)
    assert (len(starts), starts[0].name) == (9, "uniform")
    for s in starts:
        assert s.path[0].tolist() == [0, 0]
        assert s.path[-1].tolist() == [49, 79]
        assert (np.diff(s.path, axis=0) >= 0).all()


def test_every_init_gives_paths_from_corner_to_corner():
    x, y, _ = planted(0)
    assert set(first_paths.STARTS) == set(choices.INITS)
    for init in choices.INITS:
        for s in ctw.starts_of(prepare(x, y, Settings(init=init))):
            assert s.path[0].tolist() == [0, 0], s.name
            assert s.path[-1].tolist() == [len(x) - 1, len(y) - 1], s.name
            assert (np.diff(s.path, axis=0) >= 0).all(), s.name


def test_activity_tells_when_something_moves():
    x = np.zeros((200, 3))
    x[80:120, 1] = np.sin(np.arange(40))
    envelope = first_paths.activity(x)[:, 0]
    assert 75 < envelope.argmax() < 125
    assert envelope[:60].max() < envelope[90:110].min()


def test_spikes_go_and_curves_stay():
    t = np.linspace(0, 6, 300)
    smooth = np.column_stack([np.sin(t), np.cos(2 * t)])
    spiked = smooth.copy()
    spiked[50] += 30
    np.testing.assert_allclose(without_outliers(spiked)[50], smooth[50], atol=0.1)
    np.testing.assert_allclose(without_outliers(smooth), smooth, atol=0.05)


def test_shuffling_leaves_no_two_neighbours_together():
    query = np.arange(64.0)[:, None]
    shuffled = shuffled_null(query, 3)
    assert sorted(shuffled[:, 0]) == query[:, 0].tolist()
    assert (np.diff(shuffled[:, 0])[7::8] != 1).all()


# Self-similarity


def test_selfsim_costs_are_those_of_warped_rows():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(6, 3))
    np.testing.assert_allclose(selfsim_costs(x, y), naive.selfsim_costs(x, y))


def test_selfsim_needs_no_common_columns():
    u = np.linspace(0, 1, 150)
    bent = u**1.3
    x = curve(u)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 3)))[0]
    y = curve(bent) @ turn.T * 7.0
    found = dtw(x, y, metric="selfsim").frames.astype(float)
    assert path_difference(found, np.column_stack([bent * 149, np.arange(150)])) < 2.0


def test_coarse_frames_are_means_of_stretches():
    frames = np.arange(20.0)[:, None]
    np.testing.assert_allclose(coarsened(frames, 5)[:, 0], [1.5, 5.5, 9.5, 13.5, 17.5])
    assert coarsened(frames, 20) is frames


def test_dtw_by_selfsim_of_unlike_streams(run, folder):
    x, y, _ = planted(0)
    save("a.csv", x)
    save("b.csv", y)
    done = run("dtw", "a.csv,rate=10", "b.csv,rate=10", "--metric", "selfsim", "--json")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    frames = np.array(document["path"]["frames"])
    costs = selfsim_costs(x, y)
    assert document["cost"]["total"] == pytest.approx(costs[tuple(frames.T)].sum(), rel=1e-4)


# The command


def save(name, frames):
    header = ",".join(f"c{k}" for k in range(frames.shape[1]))
    np.savetxt(name, frames, delimiter=",", header=header, comments="", fmt="%.10g")


@pytest.fixture
def pair(folder):
    """Two tables of 4 and 5 columns in the working folder."""
    x, y, truth = planted(1, 90, 110)
    save("a.csv", x)
    save("b.csv", y)
    return x, y, truth


STREAMS = ("a.csv,rate=10", "b.csv,rate=20")


def document_of(done):
    assert done.code == 0, done.stderr
    value = json.loads(done.stdout)
    jsonschema.Draft202012Validator(json.loads(schema("alignment"))).validate(value)
    return value


def test_document(run, pair):
    x, y, truth = pair
    value = document_of(run("ctw", *STREAMS, "--json"))
    frames = np.array(value["path"]["frames"])
    assert path_difference(frames.astype(float), truth) < 1.0
    latents = [
        (v - np.array(p["mean"])) @ np.array(p["weights"])
        for v, p in zip((x, y), value["projections"], strict=True)
    ]
    apart = ((latents[0][frames[:, 0]] - latents[1][frames[:, 1]]) ** 2).sum()
    assert value["cost"]["total"] == pytest.approx(apart, rel=1e-6)
    optimizer = value["optimizer"]
    assert optimizer["iterations"] == len(optimizer["objective"])
    assert value["parameters"]["dims"] == latents[0].shape[1]
    assert value["confidence"]["supported"] is True
    assert value["confidence"]["posterior"] is None
    assert value["warnings"] == []
    assert value["time_maps"][0]["knots"][-1] == [5.45, 8.9]


def test_open_ends_of_the_joint_algorithm(run, folder):
    x, y, truth = planted(1, 200, 160)
    shared = (truth[:, 0] >= 20) & (truth[:, 0] < 170)
    save("a.csv", x[20:170])
    save("b.csv", y)
    ends = ("--open-begin", "--open-end")
    inside = truth[shared] - [20, 0]
    errors = []
    for options in ((), ends):
        value = document_of(run("ctw", *STREAMS, *options, "--json"))
        frames = np.array(value["path"]["frames"])
        errors.append(path_difference(frames.astype(float), inside))
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 2.0
    assert frames[0, 1] > 0
    assert frames[-1, 1] < 159
    assert value["parameters"]["open_begin"] is value["parameters"]["open_end"] is True


def test_unrelated_streams_get_a_warning(run, folder):
    rng = np.random.default_rng(5)
    for name in "ab":
        save(f"{name}.csv", rng.normal(size=(100, 3)).cumsum(axis=0))
    done = run("ctw", *STREAMS, "--json")
    value = document_of(done)
    assert value["confidence"]["supported"] is False
    assert any("no evidence" in w for w in value["warnings"])
    assert "no evidence" in done.stderr


def test_soft_coupling_in_document_and_file(run, pair):
    done = run(
        "ctw", *STREAMS, "--coupling", "soft", "--samples", 3, "--posterior", "p.npz", "--json"
    )
    value = document_of(done)
    posterior = value["confidence"]["posterior"]
    low, middle, high = (np.array(posterior[k]) for k in ("low", "middle", "high"))
    assert len(low) == 110
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert high.max() <= 8.9
    assert len(posterior["samples"]) == 3
    with np.load("p.npz") as stored:
        assert stored["probability"].shape[0] == len(stored["lo"]) == 90
        np.testing.assert_array_equal(stored["sample_0"], posterior["samples"][0])
        assert stored["probability"].sum() > 100


def test_every_output(run, pair):
    done = run(
        "ctw", *STREAMS, "-o", "o.json", "--path", "p.csv", "--cost", "c.npz", "--aligned", "d",
        "--plot", "o.png",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    value = json.loads(Path("o.json").read_text())
    steps = len(value["path"]["frames"])
    assert len(Path("p.csv").read_text().splitlines()) == steps + 1
    with np.load("c.npz") as stored:
        assert stored["local"].shape == stored["accumulated"].shape == (90, 110)
        assert np.diag(stored["aligned"]).sum() == pytest.approx(value["cost"]["total"], rel=1e-4)
        assert stored["accumulated"][-1, -1] <= value["cost"]["total"] * (1 + 1e-5)
    assert sorted(p.name for p in Path("d").iterdir()) == ["a.csv", "b.csv"]
    assert run("plot", "o.json", "-o", "again.png").code == 0
    assert Path("again.png").stat().st_size > 5000


def test_same_seed_same_document(run, pair):
    first, second = (
        run("ctw", *STREAMS, "--coupling", "soft", "--samples", 2, "--json") for _ in "ab"
    )
    assert first.stdout == second.stdout


@pytest.mark.parametrize("policy", ["interpolate", "drop"])
def test_missing_values_are_dealt_with_by_the_stream(run, pair, policy):
    _x, _, truth = pair
    text = Path("a.csv").read_text().splitlines()
    text[40] = ",".join(["", *text[40].split(",")[1:]])
    Path("a.csv").write_text("\n".join(text) + "\n")
    assert run("ctw", *STREAMS).code == 3
    value = document_of(run("ctw", *STREAMS, "--nan", policy, "--json"))
    assert path_difference(np.array(value["path"]["frames"], float), truth) < 2.0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--dims", "0"], 2, "--dims"),
        (["--dims", "1.5"], 2, "--dims"),
        (["--dims", "two"], 2, "--dims"),
        (["--init", "dwt"], 2, "did you mean dtw"),
        (["--algorithm", "x"], 2, "--algorithm"),
        (["--coupling", "sft"], 2, "did you mean soft"),
        (["--preset", "x"], 2, "--preset"),
        (["--regularization", "-1"], 2, "--regularization"),
        (["--tol", "nan"], 2, "--tol"),
        (["--samples", "3"], 2, "--coupling soft"),
        (["--posterior", "p.npz"], 2, "--coupling soft"),
        (["--coupling", "soft", "--posterior", "p.csv"], 2, "--posterior"),
        (["--coupling", "soft", "--posterior", "no/p.npz"], 5, "no"),
        (["--coupling", "soft", "--open-end"], 2, "--coupling: soft has no open ends"),
        (
            ["--coupling", "soft", "--open-begin", "--algorithm", "alternating"],
            2,
            "--coupling: soft has no open ends",
        ),
        (["--max-memory", "1k"], 4, "memory"),
        (["--strict", "--max-iter", "1", "--algorithm", "alternating"], 4, "convergence"),
    ],
)
def test_faults(run, pair, options, code, message):
    done = run("ctw", *STREAMS, *options)
    assert done.code == code, done.stderr
    assert message in done.stderr
    assert done.stdout == ""


def test_constant_streams_are_refused(run, pair):
    save("a.csv", np.ones((50, 2)))
    done = run("ctw", *STREAMS)
    assert done.code == 3
    assert "constant" in done.stderr


def test_dry_run(run, pair):
    done = run("ctw", *STREAMS, "--dry-run")
    assert done.code == 0
    assert "90 x 110 frames of 4 and 5 dimensions" in done.stdout


def test_preset_yields_to_options(run, pair):
    value = document_of(run("ctw", *STREAMS, "--preset", "reference", "--json"))
    assert value["parameters"]["init"] == "uniform"
    assert value["parameters"]["max_iter"] == 25
    assert value["optimizer"]["starts"] == 1
    value = document_of(run("ctw", *STREAMS, "--preset", "reference", "--max-iter", 7, "--json"))
    assert value["parameters"]["max_iter"] == 7


def test_tables_agree():
    assert set(ALGORITHMS) == set(choices.ALGORITHMS)
    assert all(set(a) == set(choices.COUPLINGS) for a in ALGORITHMS.values())


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference sequences in ../shared")
def test_the_reference_programs_errors_seed_by_seed():
    preset = choices.PRESETS["reference"]
    settings = Settings(
        preset["dims"], preset["regularization"], preset["init"], preset["starts"],
        preset["max_iter"], preset["tol"],
    )  # fmt: skip
    data = np.load(REFERENCE / "spiral_2_sequences.npz")
    with (REFERENCE / "spiral_2_sequences_errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    near = 0
    for row in rows:
        x, y, truth = (data[f"seed{int(row['seed']):03d}_{k}"] for k in ("x1", "x2", "truth"))
        found = align(prepare(x, y, settings))
        near += abs(error(found, truth.astype(float)) - float(row["ctw"])) <= 0.02
    assert near >= 28


def test_steps_far_off_weigh_little():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    x[:20] += 40 * rng.normal(size=(20, 3))
    weights = pair_module._weights_along(
        x, rng.normal(size=(200, 2)), np.column_stack([np.arange(200)] * 2)
    )
    assert np.median(weights[:20]) < 0.2 * np.median(weights[20:])


@pytest.mark.parametrize("ends", [Ends(True, False), Ends(False, True), Ends(True, True), Ends()])
def test_starts_lie_in_parts_of_the_reference_too(ends):
    x, y = np.random.default_rng(2).normal(size=(2, 101, 2))
    asked = SimpleNamespace(init="uniform", starts=3, ends=ends)
    pair = SimpleNamespace(
        settings=asked, x=x, takes=lambda: [(x, y[:50])], joined=lambda paths: paths[0]
    )
    found = ctw.starts_of(pair)
    spans = {(int(s.path[0, 0]), int(s.path[-1, 0])) for s in found}
    low, high = 20 * ends.open_begin, 100 - 20 * ends.open_end
    assert spans == {(0, 100), (low, 100), (0, high), (low, high)}
    assert len(found) == 3 * len(spans)
    assert found[0].name == "uniform"
    for s in found:
        assert (s.path[0, 1], s.path[-1, 1]) == (0, 49)
        assert (np.diff(s.path, axis=0) >= 0).all()
    for whole, piece in zip(found[:3], found[3:6], strict=False):
        a, b = piece.path[0, 0], piece.path[-1, 0]
        wanted = a + whole.path[:, 0] * (b - a) / 100
        np.testing.assert_allclose(piece.path[:, 0], wanted, atol=0.5)
        assert piece.name == f"{whole.name} in {a}% to {b}%"


def test_activity_is_the_smoothed_root_of_speed():
    frames = np.cumsum(np.random.default_rng(4).normal(size=(250, 3)), axis=0) * [1, 50, 0]
    columns = frames[:, :2] / frames[:, :2].std(axis=0)
    speed = np.sqrt((np.gradient(columns, axis=0) ** 2).mean(axis=1))
    padded = np.r_[[speed[0]] * 2, speed, [speed[-1]] * 2]
    smooth = np.sqrt([padded[k : k + 5].mean() for k in range(250)])
    expected = (smooth - smooth.mean()) / smooth.std()
    np.testing.assert_allclose(first_paths.activity(frames)[:, 0], expected)
    np.testing.assert_array_equal(first_paths.activity(frames[:2]), np.zeros((2, 1)))
    np.testing.assert_array_equal(first_paths.activity(np.ones((9, 2))), np.zeros((9, 1)))
