"""``mmalign gtw``: the command, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from mmalign_cli.align.choices import GTW_ALGORITHMS
from mmalign_cli.align.learned import as_compared
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import spiral
from mmalign_cli.write.document import read_document, schema

QUIET = ("--confidence", "none", "-q")


@pytest.fixture
def spirals(folder):
    """Three images of a spiral: ``0.npy`` ..., and the true path."""
    planted = spiral(3, np.random.default_rng(4))
    for k, x in enumerate(planted.sequences):
        np.save(folder / f"{k}.npy", x)
    return [f"{k}.npy" for k in range(3)], planted.truth.astype(float)


@pytest.fixture
def takes(folder):
    """Four recordings of one curve as tables at 50 frames a second: ``t0.csv`` ..."""
    for k in range(4):
        u = np.linspace(0, 1, 80 + 7 * k) ** (1 + 0.15 * k)
        rows = np.column_stack([np.arange(len(u)) / 50, np.sin(9 * u), np.cos(14 * u) + u])
        np.savetxt(f"t{k}.csv", rows, delimiter=",", header="time,x,y", comments="")
    return [f"t{k}.csv" for k in range(4)]


def test_three_streams_of_affine_images(run, spirals):
    names, truth = spirals
    done = run("gtw", *names, "--rate", "100", "--json", "-q")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(schema("alignment")))
    assert document["method"] == "gtw"
    assert document["parameters"]["road"] == "total correlation"
    assert path_difference(np.array(document["path"]["frames"], float), truth) < 0.5
    assert [m["stream"] for m in document["time_maps"]] == ["1", "2"]
    assert [p["stream"] for p in document["projections"]] == ["0", "1", "2"]
    assert np.array(document["projections"][0]["weights"]).shape == (3, 2)
    assert document["confidence"]["supported"]
    assert document["confidence"]["evidence"] > 3
    assert document["optimizer"]["converged"]


def test_the_cost_is_that_of_all_pairs_under_the_projections(run, spirals):
    names, _ = spirals
    assert run("gtw", *names, "--rate", "100", "-o", "a.json", *QUIET).code == 0
    found = read_document("a.json")
    mapped = [as_compared(found, k, np.load(name)) for k, name in enumerate(names)]
    total = 0.0
    for step in found.path.frames:
        for i in range(3):
            for j in range(i):
                total += ((mapped[i][step[i]] - mapped[j][step[j]]) ** 2).sum()
    assert total == pytest.approx(found.cost.total, rel=1e-9)


@pytest.mark.parametrize("algorithm", GTW_ALGORITHMS)
def test_every_algorithm_aligns_recordings_of_one_curve(run, takes, algorithm):
    done = run("gtw", *takes, "--algorithm", algorithm, "-o", "a.json", *QUIET)
    assert done.code == 0, done.stderr
    found = read_document("a.json")
    frames = found.path.frames
    assert (frames[0] == 0).all()
    np.testing.assert_allclose(frames[-1], [79, 86, 93, 100])
    whole = frames.dtype == np.int64
    assert whole == (algorithm != "gtw")
    if algorithm in ("pimw", "pddtw"):
        return  # motion warping bends the values, not the clock; derivatives see noise alone
    t = np.linspace(0.3, 1.2, 50)
    for k, time_map in enumerate(found.time_maps, 1):
        u = (t / ((80 + 7 * k - 1) / 50)) ** (1 + 0.15 * k)
        assert np.abs(time_map(t) - u * 79 / 50).mean() < 0.03


def test_other_outputs(run, takes):
    done = run(
        "gtw", *takes, "--average", "mean.csv", "--cost", "c.npz", "--path", "p.csv",
        "--aligned", "aligned", "--plot", "a.png", *QUIET,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "gtw of 4 streams" in done.stdout
    with open("p.csv", newline="") as file:
        header = next(csv.reader(file))
    assert header == ["step", *(f"t{k}_{what}" for k in range(4) for what in ("frame", "time"))]
    with np.load("c.npz") as costs:
        assert len(costs.files) == 3 * 6
        assert costs["local_1_3"].shape == (87, 101)
        np.testing.assert_allclose(
            costs["accumulated_1_3"][0], np.cumsum(costs["local_1_3"][0]), rtol=1e-5
        )
        steps = costs["aligned_0_2"].shape[0]
        assert np.trace(costs["aligned_0_2"]) < 0.1 * costs["aligned_0_2"].mean() * steps
    assert sorted(p.name for p in Path("aligned").iterdir()) == [f"t{k}.csv" for k in range(4)]
    assert Path("a.png").stat().st_size > 10_000
    with open("mean.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time", "x", "y", "x_spread", "y_spread"]
    values = np.array(rows[1:], dtype=float)
    assert len(values) == 101
    assert values[-1, 0] == pytest.approx(np.mean([79, 86, 93, 100]) / 50)
    assert values[:, 3:].mean() < 0.1


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_averages_are_streams_again(run, takes, ending):
    done = run("gtw", *takes, "--algorithm", "dba", "--average", f"mean.{ending}", *QUIET)
    assert done.code == 0, done.stderr
    done = run("dtw", takes[0], f"mean.{ending}", "--rate", "50", "--json", *QUIET)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["cost"]["mean"] < 0.01


def test_streams_of_different_columns_average_in_the_common_space(run, spirals):
    names, _ = spirals
    np.save("0.npy", np.load("0.npy")[:, :2])
    done = run("gtw", *names, "--rate", "100", "--average", "mean.csv", "--dims", "2", *QUIET)
    assert done.code == 0, done.stderr
    assert Path("mean.csv").read_text().startswith("time,common1,common2,common1_spread")


def test_features_of_sound_agree_without_maps(run, folder):
    import soundfile

    rng = np.random.default_rng(0)
    tones = rng.uniform(300, 2000, 12)
    for k, rate in enumerate((1.0, 1.15, 0.9)):
        n = int(1200 * rate)
        parts = [np.sin(2 * np.pi * f * np.arange(n) / 8000) for f in tones]
        soundfile.write(f"s{k}.wav", 0.3 * np.concatenate(parts), 8000)
    done = run("gtw", "s0.wav", "s1.wav", "s2.wav", "--json", *QUIET)
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parameters"]["road"] == "consensus"
    assert document["parameters"]["metric"] == "euclidean"
    assert document["projections"] is None
    knots = np.array(document["time_maps"][0]["knots"])
    assert np.abs(np.interp(0.7, *knots.T) - 0.7 / 1.15) < 0.03


def test_the_reference_preset_is_that_of_the_programs(run, spirals):
    names, _ = spirals
    for algorithm in ("gtw", "pctw"):
        done = run(
            "gtw", *names, "--rate", "100", "--algorithm", algorithm, "--preset", "reference",
            "--json", *QUIET,
        )  # fmt: skip
        assert done.code == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["parameters"]["preset"] == "reference"
        assert document["optimizer"]["chosen_start"] == "uniform"
        assert document["path"]["frames"][-1] == [len(np.load(n)) - 1 for n in names]


def test_a_basis_of_ones_own(run, spirals):
    names, truth = spirals
    done = run(
        "gtw", *names, "--rate", "100", "--algorithm", "gtw", "--basis", "spline:12:1", "--json",
        *QUIET,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["parameters"]["basis"] == "spline:12:1"
    weights = np.array(document["optimizer"]["weights"])
    assert weights.shape == (3, 12)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    objective = document["optimizer"]["objective"]
    assert (np.diff(objective) <= 0).all()
    assert path_difference(np.array(document["path"]["frames"]), truth) < 3.0


def test_unrelated_streams_are_said_to_be(run, folder):
    rng = np.random.default_rng(1)
    for k in range(3):
        np.save(f"{k}.npy", np.cumsum(rng.normal(size=(150, 2)), axis=0))
    done = run("gtw", "0.npy", "1.npy", "2.npy", "--rate", "50", "--json")
    assert done.code == 0, done.stderr
    assert not json.loads(done.stdout)["confidence"]["supported"]
    assert "no evidence" in done.stderr


def test_a_dry_run_says_what_it_takes(run, takes):
    done = run("gtw", *takes, "--dry-run")
    assert (done.code, done.stderr) == (0, "")
    assert "4 streams, 80 + 87 + 94 + 101 frames of 2 dimensions" in done.stdout
    assert "of memory" in done.stdout


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--basis", "pow:5"), "--basis: means nothing to the joint algorithm"),
        (("--algorithm", "dba", "--dims", "2"), "--dims: means nothing to the dba algorithm"),
        (("--algorithm", "pctw", "--open-end"), "--open-end: means nothing to the pctw"),
        (("--preset", "reference"), "--preset: means nothing to the joint algorithm"),
        (("--algorithm", "gtw", "--basis", "sine:4"), "'sine"),
        (("--coupling", "soft"), "soft"),
        (("--average", "mean.txt"), "'mean.txt' does not end in"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, takes, options, what):
    done = run("gtw", *takes, *options)
    assert done.code == 2
    assert what in done.stderr
    assert done.stdout == ""


def test_one_stream_is_none_to_align(run, takes):
    done = run("gtw", takes[0])
    assert done.code == 2
    assert "needs two streams or more" in done.stderr


@pytest.mark.parametrize("algorithm", ["pdtw", "pddtw", "pimw", "dba"])
def test_columns_that_cannot_be_compared_are_refused(run, takes, algorithm):
    done = run("gtw", takes[0], f"{takes[1]},columns=x", "--algorithm", algorithm, "-o", "a.json")
    assert done.code == 3
    assert "2" in done.stderr
    assert "1" in done.stderr
    assert not Path("a.json").exists()


def test_a_constant_stream_is_refused(run, takes):
    np.save("flat.npy", np.ones((60, 3)))
    done = run("gtw", *takes, "flat.npy", "--rate", "50")
    assert done.code == 3
    assert "constant" in done.stderr


def test_strict_refuses_rounds_that_do_not_end(run, spirals):
    names, _ = spirals
    done = run(
        "gtw", *names, "--rate", "100", "--algorithm", "gtw", "--max-iter", "1", "--strict", *QUIET
    )
    assert done.code == 4
    assert "no convergence" in done.stderr


def test_a_plain_limit_of_memory(run, takes):
    done = run("gtw", *takes, "--max-memory", "10K")
    assert done.code == 4


@pytest.fixture
def table(folder):
    """Four takes of three sensors of one movement: ``takes.csv``, and the clocks of each."""
    rng = np.random.default_rng(3)
    maps = [rng.normal(size=(2, d)) for d in (3, 4, 2)]
    rows, clocks = ["id,a,b,c"], []
    for k in range(4):
        phases = rng.uniform(0, 6, 4)
        own = [np.linspace(0, 1, 90) ** e for e in (1.0, 1.3, 0.8)]
        for name, clock, weights in zip("abc", own, maps, strict=True):
            latent = np.column_stack(
                [np.sin(9 * clock + phases[0]) + np.sin(4 * clock + phases[1]),
                 np.cos(13 * clock + phases[2]) + np.cos(5 * clock + phases[3])]
            )  # fmt: skip
            noise = 0.01 * rng.normal(size=(90, weights.shape[1]))
            np.save(f"{name}{k}.npy", latent @ weights + noise)
        rows.append(f"k{k},a{k}.npy,b{k}.npy,c{k}.npy")
        clocks.append(own)
    Path("takes.csv").write_text("\n".join(rows) + "\n")
    return clocks


def take_errors(name, clocks):
    """Return the mean errors in frames of the maps of a take to its first stream."""
    found = read_document(name)
    t = np.linspace(0.1, 0.8, 30)
    return [
        90
        * np.abs(m(t) - np.interp(t * 100 / 89, np.linspace(0, 1, 90), clock) * 0.89).mean()
        / 0.9
        for m, clock in zip(found.time_maps, clocks[1:], strict=True)
    ]


def test_takes_share_their_maps_and_a_model_aligns_new_ones(run, table):
    done = run(
        "gtw", "--takes", "takes.csv", "--rate", "100", "-o", "out", "--save-model", "m.npz",
        *QUIET,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    found = [read_document(f"out/k{k}.json") for k in range(4)]
    assert found[0].projections == found[3].projections
    assert found[0].parameters["takes"] == 4
    assert found[0].confidence["take_evidence"] > 0.5
    for k, clocks in enumerate(table):
        assert max(take_errors(f"out/k{k}.json", clocks)) < 1.0
    done = run(
        "gtw", "--takes", "takes.csv", "--rate", "100", "--model", "m.npz", "-o", "new", "-q"
    )
    assert done.code == 0, done.stderr
    assert max(take_errors("new/k2.json", table[2])) < 1.5
    again = read_document("new/k2.json")
    assert again.parameters["algorithm"] == "model"
    assert again.confidence["supported"]


def test_a_model_of_other_streams_is_refused(run, table):
    done = run("gtw", "--takes", "takes.csv", "--rate", "9", "--save-model", "m.npz", *QUIET)
    assert done.code == 0, done.stderr
    Path("two.csv").write_text("a,b\na0.npy,b0.npy\n")
    done = run("gtw", "--takes", "two.csv", "--rate", "9", "--model", "m.npz")
    assert done.code == 3
    assert "2 streams, m.npz has 3" in done.stderr
    Path("wide.csv").write_text("a,b,c\na0.npy,b0.npy,a1.npy\n")
    done = run("gtw", "--takes", "wide.csv", "--rate", "9", "--model", "m.npz")
    assert done.code == 3
    assert "c has 3 dimensions, m.npz 2" in done.stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("a0.npy",), "--takes: stands instead of streams"),
        (("--average", "m.csv"), "--average"),
        (("--algorithm", "dba"), "--takes is for the joint algorithm"),
        (("--open-end",), "takes have closed ends"),
    ],
)
def test_what_takes_cannot_have(run, table, options, what):
    done = run("gtw", "--takes", "takes.csv", *options)
    assert done.code == 2
    assert what in done.stderr
