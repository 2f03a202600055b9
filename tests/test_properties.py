"""What must hold of the whole command, whatever the streams: one law a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmalign_cli.evidence.metrics import path_difference

QUIET = ["-q", "--json", "--confidence", "none"]
SYMMETRIC = ["symmetric1", "symmetric2", "symmetricP0", "symmetricP05", "symmetricP1"]


def examples(count):
    """Every example writes its files anew, over those of the one before."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@st.composite
def pairs(draw, n_dims=2, least=6, most=24):
    """Two random walks of like length, and times that are not even."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(least, most))
    m = draw(st.integers(max(least, n - n // 3), n + n // 3))
    return [
        (np.cumsum(rng.uniform(0.05, 0.2, k)), rng.standard_normal((k, n_dims)).cumsum(axis=0))
        for k in (n, m)
    ]


def write(name, times, values):
    columns = ",".join(f"c{k}" for k in range(values.shape[1]))
    rows = [",".join(map(repr, map(float, row))) for row in np.column_stack([times, values])]
    Path(name).write_text("\n".join([f"time,{columns}", *rows]) + "\n")


def aligned(run, command, *arguments):
    """Return the document of an alignment, and its path."""
    done = run(command, *arguments, *QUIET)
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    return document, np.array(document["path"]["frames"])


def dtw(run, x, y, *options):
    write("x.csv", *x)
    write("y.csv", *y)
    return aligned(run, "dtw", "x.csv", "y.csv", *options)


@examples(40)
@given(pairs(), st.sampled_from(SYMMETRIC))
def test_to_swap_the_streams_transposes_the_path(run, folder, pair, step):
    document, path = dtw(run, *pair, "--step", step)
    swapped, back = dtw(run, *pair[::-1], "--step", step)
    assert np.array_equal(path, back[:, ::-1])
    assert swapped["cost"]["total"] == pytest.approx(document["cost"]["total"], rel=1e-12)
    assert np.array_equal(
        np.array(document["path"]["times"])[:, ::-1], np.array(swapped["path"]["times"])
    )


@examples(25)
@given(pairs(), st.floats(-1e4, 1e4), st.floats(0.01, 100), st.booleans())
def test_to_shift_or_scale_time_changes_only_times(run, folder, pair, shift, scale, only_query):
    def moved(times):
        return shift + scale * times

    document, path = dtw(run, *pair)
    x, y = ((moved(times), values) for times, values in pair)
    other, same = dtw(run, pair[0] if only_query else x, y)
    assert np.array_equal(path, same)
    assert other["cost"] == document["cost"]
    before, after = (np.array(d["path"]["times"]) for d in (document, other))
    expected = moved(before)
    expected[:, 0] = before[:, 0] if only_query else expected[:, 0]
    np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12)


@examples(25)
@given(
    pairs(),
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=2),
    st.sampled_from(["sqeuclidean", "euclidean", "cityblock", "chebyshev"]),
)
def test_to_add_a_constant_to_both_changes_nothing(run, folder, pair, constant, metric):
    """Of whole numbers, so that nothing is rounded."""
    whole = [(times, np.round(4 * values)) for times, values in pair]
    document, path = dtw(run, *whole, "--metric", metric)
    moved = [(times, values + constant) for times, values in whole]
    other, same = dtw(run, *moved, "--metric", metric)
    assert np.array_equal(path, same)
    assert other["cost"] == document["cost"]


def sensors(seed):
    """One smooth movement as two sensors see it, each on a clock of its own."""
    rng = np.random.default_rng(seed)
    movement, views = rng.uniform(1, 3, (2, 3)), rng.standard_normal((2, 3, 3))
    found = []
    for view, bend in zip(views, (1.0, rng.uniform(1.1, 1.5)), strict=True):
        at = np.linspace(0, 1, 60) ** bend
        latent = np.sin(2 * np.pi * (at[:, np.newaxis] * movement[0] + movement[1]))
        noisy = latent @ view + 0.01 * rng.standard_normal((60, 3))
        found.append((np.arange(60) / 10, noisy))
    return found, rng


FRAMES = {"joint": 0.1, "alternating": 0.0}  # the climb ends at a tolerance
HOW = {"joint": [], "alternating": ["--init", "uniform"]}


@pytest.mark.parametrize("algorithm", HOW)
@examples(4)
@given(seed=st.integers(0, 2**32 - 1))
def test_invertible_maps_change_no_ctw(run, folder, algorithm, seed):
    pair, rng = sensors(seed)
    options = ["--algorithm", algorithm, "--dims", "2", *HOW[algorithm]]
    for name, (times, values) in zip("xy", pair, strict=True):
        write(f"{name}.csv", times, values)
        turn = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.1, 10, 3)
        write(f"{name}_turned.csv", times, values @ turn * 1e3 + rng.standard_normal(3))
    document, path = aligned(run, "ctw", "x.csv", "y.csv", *options)
    other, same = aligned(run, "ctw", "x_turned.csv", "y_turned.csv", *options)
    assert path_difference(path, same) <= FRAMES[algorithm]
    costs = (other["cost"]["total"], document["cost"]["total"])
    assert algorithm == "joint" or costs[0] == pytest.approx(costs[1], rel=1e-6)


@pytest.mark.parametrize("end", ["--open-end", "--open-begin"])
@examples(20)
@given(pair=pairs(), length=st.integers(1, 8), step=st.sampled_from(["symmetric1", "symmetric2"]))
def test_equal_tails_keep_the_rest(run, folder, end, pair, length, step):
    """A tail far from all else, so that only the tails can meet: before or behind."""
    is_behind = end == "--open-end"
    tail = 1e3 * (1 + np.arange(2.0 * length).reshape(length, 2))

    def longer(times, values):
        parts = [values, tail] if is_behind else [tail, values]
        return np.arange(len(times) + length) / 10, np.concatenate(parts)

    _, path = dtw(run, *pair, "--step", step)
    _, other = dtw(run, *(longer(*stream) for stream in pair), "--step", step, end)
    meet = np.repeat(np.arange(length)[:, np.newaxis], 2, axis=1)
    n, m = (len(times) for times, _ in pair)
    expected = [path, meet + np.array([n, m])] if is_behind else [meet, path + length]
    assert np.array_equal(other, np.concatenate(expected))


@examples(15)
@given(pairs())
def test_to_apply_the_identity_changes_nothing(run, folder, pair):
    times, values = pair[0]
    times = np.round(times, 3)
    write("x.csv", times, values)
    write("y.csv", times, values)
    np.savez("y.npz", values=values, times=times)
    np.save("y.npy", values)
    cues = "1\n00:00:00,100 --> 00:00:00,350\nhello\n\n2\n00:00:00,350 --> 00:00:00,400\nagain\n"
    Path("y.srt").write_text(cues)
    sound = np.random.default_rng(len(times)).integers(-9999, 9999, 4000)
    soundfile.write("y.wav", sound.astype(np.int16), 8000)
    assert run("dtw", "x.csv", "y.csv", "-o", "same.json", "--force", *QUIET).code == 0
    for name in ("y.csv", "y.npz", "y.npy", "y.srt", "y.wav"):
        rate = ["--rate", "10"] if name.endswith("npy") else []
        done = run("apply", "same.json", name, *rate, "-o", f"moved-{name}", "--force")
        assert done.code == 0, done.stderr
    moved, before = (np.genfromtxt(n, delimiter=",", names=True) for n in ("moved-y.csv", "y.csv"))
    assert np.array_equal(moved, before)
    assert Path("moved-y.srt").read_bytes() == Path("y.srt").read_bytes()
    assert np.array_equal(soundfile.read("moved-y.wav", dtype="int16")[0], sound)
    np.testing.assert_allclose(np.load("moved-y.npy"), values, rtol=1e-14)
    with np.load("moved-y.npz") as moved:
        np.testing.assert_array_equal(moved["values"], values)
        np.testing.assert_allclose(moved["times"], times, rtol=1e-15, atol=0)
