"""The commands as a user types them: documents, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import naive
import numpy as np
import pytest

SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"
TAKES = [str(SAMPLES / "piece_take1.wav"), str(SAMPLES / "piece_take2.wav")]


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two tables of one curve, the second with another clock, in the working folder."""
    monkeypatch.chdir(tmp_path)
    t = np.arange(60) / 20
    u = 3 * (np.arange(80) / 80) ** 1.3
    for name, clock, at in (("a", t, t), ("b", np.arange(80) / 25, u)):
        curve = np.column_stack([clock, np.sin(2 * at), np.cos(3 * at)])
        np.savetxt(f"{name}.csv", curve, delimiter=",", header="time,x,y", comments="")
    return tmp_path


def document(run, *arguments):
    done = run(*arguments, "--json")
    assert done.code == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_document(run, pair, schema):
    found = document(run, "dtw", "a.csv", "b.csv", "--penalty", "0.1")
    schema.validate(found)
    x, y = (np.loadtxt(f"{n}.csv", delimiter=",", skiprows=1) for n in "ab")
    frames = np.array(found["path"]["frames"])
    cost = naive.local_costs(x[:, 1:], y[:, 1:], "sqeuclidean")
    assert found["cost"]["total"] == pytest.approx(cost[tuple(frames.T)].sum(), rel=1e-12)
    assert found["cost"]["mean"] == pytest.approx(found["cost"]["total"] / len(frames))
    assert found["cost"]["normalized"] is None
    bent = (np.diff(frames, axis=0) != 1).any(axis=1).sum()
    assert found["cost"]["penalty"] == pytest.approx(0.1 * bent)
    np.testing.assert_allclose(
        found["path"]["times"], np.column_stack([x[frames[:, 0], 0], y[frames[:, 1], 0]])
    )
    assert [s["name"] for s in found["streams"]] == ["a", "b"]
    assert [(s["start"], s["end"]) for s in found["streams"]] == [(0.0, 2.95), (0.0, 3.16)]
    assert found["streams"][0]["rate"] == 20.0
    assert found["parameters"]["metric"] == "sqeuclidean"
    time_map = found["time_maps"][0]
    assert (time_map["stream"], time_map["to"]) == ("b", "a")
    assert time_map["knots"][0] == [0.0, 0.0]
    assert time_map["knots"][-1] == [3.16, 2.95]


def test_normalized_where_the_pattern_has_one(run, pair, schema):
    found = document(run, "dtw", "a.csv", "b.csv", "--step", "symmetric2")
    schema.validate(found)
    assert found["cost"]["normalized"] == pytest.approx(found["cost"]["total"] / 140)


def test_output_file_and_stdout_hold_the_same(run, pair):
    found = document(run, "dtw", "a.csv", "b.csv", "-o", "out.json")
    assert json.loads(Path("out.json").read_text()) == found


def test_no_path(run, pair, schema):
    found = document(run, "dtw", "a.csv", "b.csv", "--no-path")
    schema.validate(found)
    assert found["path"] is None
    assert found["time_maps"]


def test_human_summary(run, pair):
    done = run("dtw", "a.csv", "b.csv")
    assert done.code == 0
    assert "cost   total" in done.stdout
    assert "b -> a" in done.stdout


def test_path_files(run, pair):
    found = document(run, "dtw", "a.csv", "b.csv", "--path", "p.csv")
    run("dtw", "a.csv", "b.csv", "--path", "p.npy")
    run("dtw", "a.csv", "b.csv", "--path", "p.npz")
    lines = Path("p.csv").read_text().splitlines()
    assert lines[0] == "step,a_frame,a_time,b_frame,b_time"
    rows = np.loadtxt("p.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(len(rows)))
    np.testing.assert_array_equal(rows[:, [1, 3]], found["path"]["frames"])
    np.testing.assert_array_equal(rows[:, [2, 4]], found["path"]["times"])
    np.testing.assert_array_equal(np.load("p.npy"), found["path"]["frames"])
    with np.load("p.npz") as saved:
        np.testing.assert_array_equal(saved["frames"], found["path"]["frames"])
        np.testing.assert_array_equal(saved["times"], found["path"]["times"])
        assert saved["streams"].tolist() == ["a", "b"]


def test_cost_matrices(run, pair):
    found = document(
        run, "dtw", "a.csv", "b.csv", "--cost", "c.npz", "--window", "slanted", "--radius", "20"
    )
    x, y = (np.loadtxt(f"{n}.csv", delimiter=",", skiprows=1)[:, 1:] for n in "ab")
    frames = np.array(found["path"]["frames"])
    with np.load("c.npz") as saved:
        local, accumulated, aligned = (saved[k] for k in ("local", "accumulated", "aligned"))
    assert {m.dtype for m in (local, accumulated, aligned)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(local, naive.local_costs(x, y, "sqeuclidean"), rtol=1e-6, atol=1e-12)
    allowed = naive.band(60, 80, lambda i, j: abs(i - j * 59 / 79) <= 20)
    steps = [[(1, 1, 1)], [(1, 0, 1)], [(0, 1, 1)]]
    twin = naive.accumulate(naive.local_costs(x, y, "sqeuclidean"), steps, allowed)
    np.testing.assert_allclose(accumulated, twin, rtol=1e-5)
    np.testing.assert_array_equal(aligned, local[np.ix_(frames[:, 0], frames[:, 1])])
    assert np.trace(aligned.astype(float)) == pytest.approx(found["cost"]["total"], rel=1e-5)


def test_aligned_tables(run, pair):
    found = document(run, "dtw", "a.csv", "b.csv", "--aligned", "out")
    frames = np.array(found["path"]["frames"])
    for k, name in enumerate("ab"):
        original = np.loadtxt(f"{name}.csv", delimiter=",", skiprows=1)
        aligned = np.loadtxt(f"out/{name}.csv", delimiter=",", skiprows=1)
        assert Path(f"out/{name}.csv").read_text().startswith("time,x,y\n")
        np.testing.assert_array_equal(aligned[:, 1:], original[frames[:, k], 1:])
        assert (np.diff(aligned[:, 0]) > 0).all()
        moves = np.concatenate([[True], np.diff(frames[:, 0]) > 0])
        np.testing.assert_allclose(aligned[moves, 0], np.arange(60) / 20)
    assert document(run, "dtw", "out/a.csv", "out/b.csv")["path"]["frames"]


def test_aligned_arrays_and_features_of_tables(run, pair):
    """The original columns are written, not the features that were compared."""
    rng = np.random.default_rng(0)
    for name, n in (("x", 30), ("y", 40)):
        np.save(f"{name}.npy", rng.normal(size=(n, 3)).cumsum(0))
    keys = ",rate=10,features=velocity"
    found = document(run, "dtw", f"x.npy{keys}", f"y.npy{keys}", "--aligned", "out")
    frames = np.array(found["path"]["frames"])
    for k, name in enumerate("xy"):
        aligned = np.load(f"out/{name}.npy")
        np.testing.assert_array_equal(aligned, np.load(f"{name}.npy")[frames[:, k]])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_plot(run, pair, ending):
    done = run("dtw", "a.csv", "b.csv", "-o", "out.json", "--plot", f"p.{ending}")
    assert done.code == 0, done.stderr
    magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert Path(f"p.{ending}").read_bytes().startswith(magic)
    assert run("plot", "out.json", "-o", f"again.{ending}").code == 0
    if ending != "pdf":
        assert Path(f"again.{ending}").read_bytes() == Path(f"p.{ending}").read_bytes()


def test_plot_refuses_streams_that_have_changed(run, pair):
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    with Path("b.csv").open("a") as file:
        file.write("4.0,1,1\n")
    done = run("plot", "out.json", "-o", "p.png")
    assert (done.code, "has changed" in done.stderr) == (3, True)
    Path("b.csv").unlink()
    assert run("plot", "out.json", "-o", "p.png").code == 3


def test_plot_finds_streams_beside_the_document(run, pair, monkeypatch):
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    assert run("plot", "out.json").code == 0
    assert Path("out.png").exists()
    (pair / "elsewhere").mkdir()
    monkeypatch.chdir(pair / "elsewhere")
    assert run("plot", "../out.json", "-o", "p.png").code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["parameters"].pop("metric"), "d.json: names no metric"),
        (lambda d: d.update(projections=[1, 2]), "a: does not fit the alignment's projections"),
        (lambda d: d.update(projections={"a": 1}), "a: does not fit the alignment's projections"),
        (
            lambda d: d.update(projections=[{"mean": [1, 2], "weights": [1, 2]}] * 2),
            "a: does not fit the alignment's projections",
        ),
        (lambda d: d["parameters"].update(step="\ud800\x1b[31m" * 90), ""),
    ],
)
def test_plot_of_documents_edited_by_hand(run, pair, change, message):
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    value = json.loads(Path("out.json").read_text())
    value.pop("checksum")
    change(value)
    Path("d.json").write_text(json.dumps(value))
    done = run("plot", "d.json", "-o", "p.png")
    assert done.code == (3 if message else 0), done.stderr
    assert done.stderr.startswith(f"mmalign: error: {message}" if message else "")
    assert Path("p.png").exists() == (not message)


def test_existing_outputs_are_kept(run, pair):
    Path("out.json").write_text("mine")
    done = run("dtw", "a.csv", "b.csv", "-o", "out.json")
    assert done.code == 5
    assert done.stderr.startswith("mmalign: error: out.json: exists\nhint: --force")
    assert Path("out.json").read_text() == "mine"
    assert run("dtw", "a.csv", "b.csv", "-o", "out.json", "--force").code == 0
    assert json.loads(Path("out.json").read_text())["method"] == "dtw"


def test_inputs_are_never_outputs(run, pair):
    before = Path("a.csv").read_bytes()
    Path("link.csv").symlink_to("a.csv")
    for target in ("a.csv", "./a.csv", "link.csv"):
        done = run("dtw", "a.csv", "b.csv", "--path", target, "--force")
        assert (done.code, "is an input" in done.stderr) == (5, True)
    assert Path("a.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-o", "no/folder.json"], 5, "no such folder"),
        (["-o", "."], 5, "is a directory"),
        (["--path", "p.txt"], 2, "does not end in"),
        (["--plot", "p.jpg"], 2, "does not end in"),
        (["--cost", "c.npy"], 2, "does not end in"),
        (["-o", "same.csv", "--path", "same.csv"], 2, "same file"),
        (["--metric", "euclid"], 2, "did you mean euclidean"),
        (["--metric", "nonsense"], 2, "metrics: sqeuclidean"),
        (["--step", "symmetric"], 2, "symmetric"),
        (["--window", "sakoe"], 2, "sakoe-chiba"),
        (["--window", "sakoe-chiba"], 2, "needs a radius"),
        (["--radius", "10"], 2, "means nothing"),
        (["--window", "slanted", "--radius", "nan"], 2, "not a radius"),
        (["--window", "slanted", "--radius=-3"], 2, "not a radius"),
        (["--window", "slanted", "--radius", "2.5"], 2, "not a radius"),
        (["--penalty", "nan"], 2, "not a finite number"),
        (["--penalty=-1"], 2, "not a finite number"),
        (["--max-slope", "1"], 2, "above 1"),
        (["--max-memory", "lots"], 2, "not a size"),
        (["--max-memory", "1k"], 4, "needs"),
        (["--threads", "0"], 2, "--threads"),
        (["--hop", "0"], 2, "positive"),
        (["--window", "sakoe-chiba", "--radius", "3"], 4, "smallest that holds one is 20 frames"),
        (["--window", "mask.npy"], 3, "no such file"),
    ],
)
def test_refusals(run, pair, arguments, code, says):
    done = run("dtw", "a.csv", "b.csv", *arguments)
    assert done.code == code, done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("mmalign: error: ")
    assert len(done.stderr.splitlines()) <= 2
    assert sorted(p.name for p in pair.iterdir()) == ["a.csv", "b.csv"]


def test_windows_and_radii(run, pair):
    """A radius in seconds or a share is the same band as its frames; a mask is obeyed."""
    by_frames = document(run, "dtw", "a.csv", "b.csv", "--window", "slanted", "--radius", "8")
    for radius in ("0.4s", "400ms", "10%"):
        same = document(run, "dtw", "a.csv", "b.csv", "--window", "slanted", "--radius", radius)
        assert same["path"] == by_frames["path"]
    mask = naive.band(60, 80, lambda i, j: abs(i - j * 59 / 79) <= 8)
    np.save("mask.npy", mask)
    masked = document(run, "dtw", "a.csv", "b.csv", "--window", "mask.npy")
    assert masked["path"] == by_frames["path"]
    itakura = document(run, "dtw", "a.csv", "b.csv", "--window", "itakura", "--max-slope", "3")
    assert itakura["parameters"]["max_slope"] == 3.0


def test_dry_run_writes_nothing(run, pair):
    done = run("dtw", "a.csv", "b.csv", "--dry-run", "-o", "out.json")
    assert done.code == 0
    assert "60 x 80 frames" in done.stdout
    assert "4800 cells" in done.stdout
    assert not Path("out.json").exists()


def test_defaults_and_keys(run, pair):
    """An option holds for both streams; a stream's own key wins."""
    found = document(run, "dtw", "a.csv,columns=x", "b.csv,columns=x", "--normalize", "zscore")
    assert [s["dims"] for s in found["streams"]] == [1, 1]
    assert [s["options"]["normalize"] for s in found["streams"]] == ["zscore", "zscore"]
    found = document(run, "dtw", "a.csv,normalize=minmax", "b.csv", "--normalize", "zscore")
    assert [s["options"]["normalize"] for s in found["streams"]] == ["minmax", "zscore"]


def test_the_pipe(pair):
    command = [sys.executable, "-m", "mmalign_cli", "dtw", "-,format=csv", "b.csv", "--json"]
    with Path("a.csv").open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True, text=True)
    found = json.loads(done.stdout)
    assert found["streams"][0]["source"] == "-"
    assert found["streams"][0]["name"] == "stdin"
    assert found["cost"]["total"] > 0


def test_both_streams_the_same_file(run, pair):
    done = run("dtw", "a.csv", "a.csv", "--json")
    found = json.loads(done.stdout)
    assert found["cost"]["total"] == 0
    assert "same file" in found["warnings"][0]
    assert "warning: both streams are the same file" in done.stderr
    assert run("dtw", "a.csv", "a.csv", "-q").stderr == ""


def test_different_dimensions(run, pair):
    done = run("dtw", "a.csv", "b.csv,columns=x")
    assert (done.code, "2 vs 1 dimensions" in done.stderr) == (3, True)


def test_audio_end_to_end(run, tmp_path, monkeypatch, schema):
    monkeypatch.chdir(tmp_path)
    found = document(run, "dtw", *TAKES, "-o", "out.json", "--aligned", "out")
    schema.validate(found)
    done = run("evaluate", "out.json", str(SAMPLES / "piece_truth.csv"), "--json")
    errors = json.loads(done.stdout)
    assert errors["median_abs_seconds"] < 0.005
    assert errors["share_within"]["0.05"] == 1.0
    with np.load("out/piece_take2.npz") as saved:
        assert len(saved["values"]) == len(found["path"]["frames"])


def test_features_round_trip(run, pair):
    """Features written and read again align as the files they were computed from."""
    direct = document(run, "dtw", *TAKES)
    for k, take in enumerate(TAKES):
        assert run("features", take, "-o", f"f{k}.npz").code == 0
        assert run("features", take, "-o", f"f{k}.csv").code == 0
    for ending in ("npz,key=values", "csv"):
        again = document(run, "dtw", f"f0.{ending}", f"f1.{ending}", "--metric", "euclidean")
        assert again["path"] == direct["path"]
        assert again["cost"]["total"] == pytest.approx(direct["cost"]["total"])


def test_features_to_stdout_and_list(run, pair):
    done = run("features", "a.csv", "--features", "norm")
    rows = np.loadtxt(done.stdout.splitlines(), delimiter=",", skiprows=1)
    original = np.loadtxt("a.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 1], np.linalg.norm(original[:, 1:], axis=1))
    np.testing.assert_array_equal(rows[:, 0], original[:, 0])
    listed = run("features", "--list").stdout
    assert all(name in listed for name in ("logmel", "chroma-onset", "motion", "speed"))
    assert run("features").code == 2


def write_truth(frames, name, header=None):
    np.savetxt(name, frames, delimiter=",", header=header or "", comments="", fmt="%.9g")


def test_evaluate_against_a_path(run, pair):
    found = document(run, "dtw", "a.csv", "b.csv", "-o", "out.json", "--path", "own.csv")
    frames = np.array(found["path"]["frames"])
    shifted = frames.copy()
    shifted[:, 1] = np.minimum(shifted[:, 1] + 3, 79)
    np.save("truth.npy", shifted)
    write_truth(shifted, "truth.csv")
    write_truth(shifted, "named.csv", "a_frame,b_frame")
    write_truth(shifted, "others.csv", "left_frame,right_frame")
    expected = naive.path_difference(frames.astype(float), shifted.astype(float))
    for truth in ("truth.npy", "truth.csv", "named.csv", "others.csv"):
        errors = json.loads(run("evaluate", "out.json", truth, "--json").stdout)
        assert errors["path_difference"] == pytest.approx(expected)
    for truth in ("own.csv", "out.json"):
        errors = json.loads(run("evaluate", "out.json", truth, "--json").stdout)
        assert errors["path_difference"] == 0.0
        assert errors["mean_abs_frames"] < 1


def test_evaluate_against_times(run, pair):
    """By construction second 3 (k / 80)^1.3 of a is second k / 25 of b."""
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    k = np.arange(5, 75)
    times = np.column_stack([3 * (k / 80) ** 1.3, k / 25])
    write_truth(times, "order.csv", "first,second")
    write_truth(times[:, ::-1], "names.csv", "b,a")
    by_order = json.loads(run("evaluate", "out.json", "order.csv", "--json").stdout)
    by_names = json.loads(run("evaluate", "out.json", "names.csv", "--json").stdout)
    assert by_order == by_names
    assert by_order["path_difference"] is None
    assert by_order["median_abs_seconds"] < 0.025
    assert set(by_order) >= {"mean_abs_frames", "p90_abs_seconds", "share_within"}
    assert by_order["mean_abs_frames"] < 1


def test_evaluate_without_a_path_in_the_document(run, pair):
    found = document(run, "dtw", "a.csv", "b.csv", "--path", "own.csv")
    run("dtw", "a.csv", "b.csv", "--no-path", "-o", "out.json")
    errors = json.loads(run("evaluate", "out.json", "own.csv", "--json").stdout)
    assert found["path"]
    assert errors["path_difference"] is None
    assert errors["mean_abs_frames"] < 1


def test_evaluate_max_error(run, pair):
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    frames = np.array(json.loads(Path("out.json").read_text())["path"]["frames"])
    np.save("far.npy", np.column_stack([frames[:, 0], np.maximum(frames[:, 1] - 20, 0)]))
    assert run("evaluate", "out.json", "out.json", "--max-error", "0.5").code == 0
    assert run("evaluate", "out.json", "far.npy", "--max-error", "2").code == 1
    assert run("evaluate", "out.json", "far.npy", "--max-error", "10ms").code == 1
    assert run("evaluate", "out.json", "far.npy", "--max-error", "1s").code == 0
    assert run("evaluate", "out.json", "far.npy", "--max-error", "few").code == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(format="mmalign.alignment/3"), "format version 3, this is 1"),
        (lambda d: d.update(format="other/1"), "not an alignment document"),
        (lambda d: d.pop("streams"), "streams is missing"),
        (lambda d: d["streams"][0].pop("rate"), "streams.rate is missing"),
        (lambda d: d["streams"][1].update(frames="many"), "streams.frames is not valid"),
        (lambda d: d["path"]["frames"].insert(0, [5, 5]), "contradicts itself"),
        (lambda d: d["time_maps"][0]["knots"].reverse(), "contradicts itself"),
        (lambda d: d["time_maps"][0]["knots"].append([1e308, 1e308]), "knots is not valid"),
        (lambda d: d["streams"][0].update(end=d["streams"][0]["start"]), "frames lie apart"),
        (lambda d: d["streams"][0].update(frames=10**60), "no stream has so many frames"),
        (lambda d: d["cost"].update(total=None), "cost.total is not valid"),
    ],
)
def test_documents_edited_by_hand(run, pair, change, says):
    found = document(run, "dtw", "a.csv", "b.csv")
    change(found)
    Path("edited.json").write_text(json.dumps(found))
    for command in (
        ["evaluate", "edited.json", "edited.json"],
        ["plot", "edited.json", "-o", "p.png"],
    ):
        done = run(*command)
        assert (done.code, says in done.stderr) == (3, True), done.stderr
    assert run("info", "edited.json").code == 3


def test_info(run, pair):
    facts = json.loads(run("info", "a.csv", "--json").stdout)
    assert (facts["frames"], facts["dims"], facts["rate"]) == (60, 2, 20.0)
    assert facts["columns"] == ["x", "y"]
    assert facts["dtw_cells"] == 3600
    assert "frames" in run("info", "a.csv").stdout
    run("dtw", "a.csv", "b.csv", "-o", "out.json")
    assert "dtw of 2 streams" in run("info", "out.json").stdout
    assert json.loads(run("info", "out.json", "--json").stdout)["method"] == "dtw"


def test_no_command_and_unknown_command(run):
    assert "dtw" in run("--help").stdout
    done = run("dwt")
    assert (done.code, "did you mean dtw" in done.stderr) == (2, True)
    assert run("--version").stdout.startswith("mmalign, version")


def test_names_may_hold_anything(run, pair):
    """Escapes and markup in a name reach neither terminal nor spreadsheet."""
    name = "=x\x1b[31m[red]"
    Path("a.csv").rename(f"{name}.csv")
    done = run("dtw", f"{name}.csv", "b.csv", "--path", "p.csv")
    assert done.code == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert Path("p.csv").read_text().startswith("step,'=x")
