"""Sequences with a known alignment."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.evidence import synth


def rng(seed=0):
    return np.random.default_rng(seed)


def check_path(planted):
    truth = planted.truth
    assert (truth[0] == 0).all()
    assert truth[-1].tolist() == [len(x) - 1 for x in planted.sequences]
    assert (np.diff(truth, axis=0) >= 0).all()


@pytest.mark.parametrize("n_sequences", [2, 3, 5])
def test_spirals_are_affine_images_along_the_truth(n_sequences):
    planted = synth.spiral(n_sequences, rng(1))
    check_path(planted)
    first, *others = (
        x[path, :2] for x, path in zip(planted.sequences, planted.truth.T, strict=True)
    )
    design = np.column_stack([first, np.ones(len(first))])
    for other in others:
        fitted = design @ np.linalg.lstsq(design, other, rcond=None)[0]
        assert (other - fitted).var() < 0.02 * other.var()


def test_segments_are_shortened_by_their_rates():
    for seed in range(20):
        kept = synth.kept_frames(300, rng(seed))
        assert kept[0] <= 3
        assert kept[-1] == 299
        assert (np.diff(kept) > 0).all()
        counts = np.histogram(kept, np.arange(0, 301, 60))[0]
        assert (counts >= 60 * 0.3 - 1).all()
        assert (counts <= 60 * 0.9 + 1).all()


@pytest.mark.parametrize("family", synth.CURVES)
def test_curves_match_along_the_truth(family, monkeypatch):
    monkeypatch.setattr(synth, "_BUMPS", 0)
    planted = synth.curve(family, rng(2))
    check_path(planted)
    assert np.diff(planted.truth, axis=0).max() == 1
    curve, image = (x - x.mean(axis=0) for x in planted.sequences)

    def left(a, b):
        design = np.column_stack([curve[a], np.ones(len(a))])
        return (image[b] - design @ np.linalg.lstsq(design, image[b], rcond=None)[0]).var()

    frames = np.arange(len(curve))
    assert left(*planted.truth.T) < 0.7 * left(
        frames, frames
    )  # the cone's helix has 12 frames a turn


def test_bumps_move_a_stretch_of_the_curve_and_leave_the_rest():
    points = synth.CURVES["viviani"](np.linspace(0, 1, 200))
    moved = np.linalg.norm(synth._bumped(points, rng(0)) - points, axis=1)
    assert moved.max() > 0.1
    assert np.median(moved) < 0.05 * moved.max()


def test_smooth_warps_are_monotone_and_meet_the_ends():
    t = np.linspace(0, 1, 200)
    for seed in range(50):
        warped = synth.smooth_warp(t, rng(seed))
        assert warped[0] == 0
        assert warped[-1] == 1
        assert (np.diff(warped) >= 0).all()


@pytest.mark.parametrize("linear", [True, False])
def test_takes_share_the_maps_of_their_sensors(linear):
    made = synth.takes(5, linear, rng(3))
    pairs = []
    for planted in made:
        check_path(planted)
        x, y = planted.sequences
        pairs.append((x[planted.truth[:, 0], :-2], y[planted.truth[:, 1], :-2]))
    x, y = (np.vstack(part) for part in zip(*pairs, strict=True))
    assert x.shape[1] == 4
    assert y.shape[1] == (6 if linear else 5)
    assert np.linalg.matrix_rank(x - x.mean(axis=0), tol=1e-6 * np.abs(x).sum()) == 2
    design = np.column_stack([x, np.ones(len(x))])
    left = (y - design @ np.linalg.lstsq(design, y, rcond=None)[0]).var() / y.var()
    assert left < 0.02 if linear else left > 0.1


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [
        (["spiral"], 2),
        (["spiral", "--sequences", 4], 4),
        (["curves", "--family", "lissajous-3-2"], 2),
    ],
)
def test_files_of_a_kind(run, folder, arguments, streams):
    done = run("synth", *arguments, "-o", "made", "--seed", 5)
    assert done.code == 0, done.stderr
    assert done.stdout == ""
    names = [f"stream{k + 1}" for k in range(streams)]
    assert sorted(p.name for p in (folder / "made").iterdir()) == sorted(
        [f"{name}.csv" for name in names] + ["truth.csv"]
    )
    with (folder / "made/truth.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [f"{name}_frame" for name in names]


def test_truth_is_what_evaluate_takes(run, folder):
    run("synth", "curves", "-o", "made")
    assert run("dtw", "made/stream1.csv", "made/stream2.csv", "-o", "a.json").code == 0
    done = run("evaluate", "a.json", "made/truth.csv", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["path_difference"] > 0
    document = json.loads((folder / "a.json").read_text())
    truth = np.loadtxt("made/truth.csv", delimiter=",", skiprows=1)
    document["path"] = {"frames": truth.astype(int).tolist(), "times": (truth / 100).tolist()}
    del document["checksum"]
    (folder / "b.json").write_text(json.dumps(document))
    done = run("evaluate", "b.json", "made/truth.csv", "--json")
    assert json.loads(done.stdout)["path_difference"] == 0


def test_takes_get_a_folder_each(run, folder):
    assert run("synth", "takes", "-o", "made", "--takes", 3, "--nonlinear").code == 0
    with (folder / "made/takes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["take01", "take02", "take03"]
    for row in rows:
        assert (folder / "made" / row["stream1"]).is_file()
        assert (folder / "made" / row["stream2"]).is_file()
        assert (folder / "made" / row["id"] / "truth.csv").is_file()


def test_a_seed_says_what_is_made(run, folder):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("synth", "spiral", "-o", name, "--seed", seed)
    a, b, c = ((folder / name / "stream2.csv").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["curves", "-o", "made", "--family", "lissajous-3-1"], 2, "did you mean lissajous-3-2?"),
        (["curves", "-o", "made", "--takes", 2], 2, "--takes: means nothing for curves"),
        (["spiral", "-o", "nowhere/made"], 5, "no such folder"),
        (["spiral", "-o", "old"], 5, "old/stream1.csv: exists"),
        (["spiral", "-o", "old/stream1.csv"], 5, "is not a folder"),
        (["spirals", "-o", "made"], 2, "spirals"),
    ],
)
def test_what_cannot_be_made_is_refused(run, folder, arguments, code, what):
    run("synth", "spiral", "-o", "old")
    done = run("synth", *arguments)
    assert done.code == code
    assert what in done.stderr
    assert not (folder / "made").exists()


def test_the_page_names_every_family():
    page = (Path(__file__).resolve().parents[1] / "docs" / "synth.md").read_text("utf-8")
    assert [family for family in synth.CURVES if f"`{family}`" not in page] == []
