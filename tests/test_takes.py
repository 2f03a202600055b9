"""Many takes under shared maps: the table, the aligner, the command, the model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from mmalign_cli.align import schedule
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.envelopes import envelope_starts, level, speed
from mmalign_cli.align.joint import align_jointly
from mmalign_cli.align.learned import Learned, StreamMap
from mmalign_cli.align.schedule import is_noisy, is_scarce, leading_of, leading_plan
from mmalign_cli.align.sensors import view_of
from mmalign_cli.align.takes import lay_out
from mmalign_cli.errors import InputError
from mmalign_cli.streams.takes import read_takes


def rng(seed):
    return np.random.default_rng(seed)


BODY = rng(1234).normal(size=(2, 12))
"""How the markers of every take are fixed to what moves."""


def movement(seed, n=160):
    """Markers on what turns in bursts, an inertial sensor there under a warp, the warp (n,)."""
    r = rng(seed)
    u = np.linspace(0, 1, 4 * n)
    bursts = sum(np.exp(-(((u - c) / 0.03) ** 2)) for c in r.uniform(0.1, 0.9, 5))
    angle = 40 * np.cumsum(bursts) / len(u)
    turning = np.gradient(angle, u) / 30
    jerk, pull = np.gradient(turning, u) / 10, turning**2
    away = np.column_stack([np.cos(angle), np.sin(angle)])
    along = np.column_stack([np.sin(angle), -np.cos(angle)])
    felt = np.column_stack([pull[:, None] * away + jerk[:, None] * along, turning])
    even = np.linspace(0, 1, n)
    truth = even + 0.06 * np.sin(np.pi * even) * r.choice([-1, 1])
    x = np.column_stack([np.interp(even, u, c) for c in (away @ BODY).T])
    y = np.column_stack([np.interp(truth, u, c) for c in felt.T])
    return x + 0.1 * r.normal(size=x.shape), y + 0.2 * r.normal(size=y.shape), truth


def error(knots, truth):
    """Mean error of a warp (2, K + 1) in shares."""
    u = np.linspace(0, 1, knots.shape[1])
    at = np.interp(np.linspace(0, 1, len(truth)), knots[1], u)
    return np.abs(np.interp(at, u, knots[0]) - truth).mean()


# -- envelopes and views


def test_envelopes_are_of_movement_and_of_strength():
    t = np.linspace(0, 1, 50)[:, np.newaxis]
    np.testing.assert_allclose(speed(np.hstack([3 * t, 3 * t])), np.sqrt(3 / 49))
    frames = np.array([[0.0, 0.0]] * 5 + [[3.0, 4.0]] * 2)
    np.testing.assert_allclose(level(frames), [0.0] * 5 + [12.5**0.25] * 2)


def test_envelopes_come_near_where_no_column_is_shared():
    takes = [movement(seed) for seed in range(5)]
    first = envelope_starts([take[:2] for take in takes])[0]
    straight = np.tile(np.linspace(0, 1, 9), (2, 1))
    found = [error(knots, take[2]) for knots, take in zip(first, takes, strict=True)]
    assert np.mean(found) < 0.5 * np.mean([error(straight, take[2]) for take in takes])


def test_a_view_is_the_same_in_all_takes_and_turns_with_nothing():
    parts = [rng(k).normal(size=(40, 9)) for k in range(2)]
    view = view_of(parts)
    rows = view(parts[1])
    assert rows.shape == (40, 3 * 9 + 2 + 3 + 3)
    np.testing.assert_allclose(rows[:, :9], parts[1] - np.concatenate(parts).mean(axis=0))
    np.testing.assert_allclose(rows[:, 9:18], np.gradient(parts[1], axis=0))
    lengths = np.linalg.norm(np.gradient(parts[1], axis=0).reshape(40, 3, 3), axis=2)
    np.testing.assert_allclose(rows[:, 29:32] ** 2, lengths)


def test_of_many_columns_a_view_takes_the_principal_components():
    frames = 100.0 + rng(3).normal(size=(200, 4)) @ rng(4).normal(size=(4, 20))
    components = view_of([frames[:80], frames[80:]]).components(frames)
    assert components.shape == (200, 8)
    covariance = np.cov(components.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert np.trace(covariance) == pytest.approx(np.trace(np.cov(frames.T)))


def test_how_many_correlations_count():
    assert leading_of(np.array([1.0, 0.8, 0.5, 0.3, 0.26, 0.1, -0.2])) == (2, 3, 5)
    assert leading_of(np.array([0.1, -0.1, -0.2, -0.3])) == (1, 2, 3)
    assert leading_of(np.ones(30)) == (3, 5, 8)
    takes = lay_out([[rng(0).normal(size=(900, 20)), rng(1).normal(size=(900, 6))]])
    plan = leading_plan(takes, (2, 3, 5))
    assert [s.leading for s in (*plan.coarse, *plan.finish)] == [2, 2, 3, 5]
    assert plan.finish[-1].pieces == 30
    assert not is_scarce(takes)
    assert is_noisy(np.array([0.95, 0.2]))
    assert not is_noisy(np.array([0.995, 0.2]))


def test_noisy_sensors_are_aligned_together():
    takes = [movement(seed) for seed in range(8)]
    found = align_jointly([take[:2] for take in takes], leading=(1, 2, 3))
    assert found.leading == 3
    starts = envelope_starts([take[:2] for take in takes])[0]
    by_envelope = np.mean([error(k, t[2]) for k, t in zip(starts, takes, strict=True)])
    errors = [error(k, t[2]) for k, t in zip(found.knots, takes, strict=True)]
    assert np.mean(errors) < 0.85 * by_envelope
    assert max(errors) < 0.01
    latents = [found.latents(i, takes[0][i]) for i in range(2)]
    assert latents[0].shape[1] == latents[1].shape[1] == len(found.correlations)


def test_too_few_frames_keep_the_warps_of_the_envelopes():
    r = rng(5)
    x, y, _ = movement(0, 80)
    wide = np.hstack([x, 0.1 * r.normal(size=(80, 30))])
    found = align_jointly([[wide, y]])
    assert found.leading == 0
    np.testing.assert_allclose(found.knots, envelope_starts([[wide, y]])[0])


# -- the table


@pytest.fixture
def made(run, folder):
    """Four takes of two sensors."""
    assert run("synth", "takes", "--takes", "4", "--seed", "1", "-o", "made").code == 0
    return folder


def test_rows_of_a_table(made):
    (made / "t.csv").write_text(
        'id,left,right\n\none,made/take01/stream1.csv,"made/take01/stream2.csv,rate=50"\n'
    )
    (row,) = read_takes("t.csv", {"time": "none"}, 2)
    assert (row.id, row.line) == ("one", 3)
    assert [spec.given["name"] for spec in row.specs] == ["left", "right"]
    assert row.specs[1].given == {"time": "none", "rate": "50", "name": "right"}


FILES = "made/take01/stream1.csv,made/take01/stream2.csv"
FAULTS = {
    "no take": ("id,a,b\n", "holds no take"),
    "twice": (f"id,a,b\nx,{FILES}\nx,{FILES}\n", "line 3: id 'x' is also on line 2"),
    "short": ("id,a,b\nx,made\n", "line 2 has 2 cells, the header 3"),
    "missing": (f"id,a,b\nx,{FILES[:23]},gone.csv\n", "line 2 column b: gone.csv: no such file"),
    "empty": (f"id,a,b\nx,{FILES[:23]},\n", "line 2 column b: names no file"),
    "folder": (f"id,a,b\n../x,{FILES}\n", "line 2: '../x' cannot be a file name"),
    "no id": (f"id,a,b\n,{FILES}\n", "line 2: no id"),
    "one stream": ("id,a\nx,made/take01/stream1.csv\n", "1 streams a take (a), expected 2"),
    "names": (f"id,a,a\nx,{FILES}\n", "every column needs a name of its own"),
    "key": ('id,a,b\nx,"made/take01/stream1.csv,rat=3",b\n', "unknown key rat="),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_table(made, name):
    text, what = FAULTS[name]
    (made / "t.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_takes("t.csv", {}, 2)
    assert what in str(caught.value)


def test_takes_of_other_dimensions(run, made):
    (made / "t.csv").write_text(
        f"id,a,b\nx,{FILES}\ny,made/take02/stream2.csv,made/take02/stream2.csv\n"
    )
    done = run("ctw", "--takes", "t.csv", "-o", "out")
    assert done.code == 3
    assert "line 3 column a: 8 dimensions, take x has 6" in done.stderr
    assert not (made / "out").exists()


# -- the command


def evaluated(run, document, take):
    done = run("evaluate", document, f"made/{take}/truth.csv", "--json")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)["path_difference"]


@pytest.mark.parametrize("algorithm", ["joint", "alternating"])
def test_takes_learn_together(run, made, algorithm):
    done = run("ctw", "--takes", "made/takes.csv", "--algorithm", algorithm, "-o", "out", "--json")
    assert done.code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == [f"take{k:02d}" for k in range(1, 5)]
    assert len({json.dumps(line["projections"]) for line in lines}) == 1
    assert all(line["confidence"]["take_evidence"] > 0.5 for line in lines)
    errors = [evaluated(run, f"out/{line['id']}.json", line["id"]) for line in lines]
    assert np.mean(errors) < 0.5


def test_a_model_aligns_takes_that_it_has_not_seen(run, made):
    (made / "few.csv").write_text(
        "id,stream1,stream2\n"
        + "".join(
            f"take{k:02d},made/take{k:02d}/stream1.csv,made/take{k:02d}/stream2.csv\n"
            for k in (1, 2, 3)
        )
    )
    assert run("ctw", "--takes", "few.csv", "--save-model", "maps.npz").code == 0
    (made / "new.csv").write_text(
        "id,stream1,stream2\ntake04,made/take04/stream1.csv,made/take04/stream2.csv\n"
    )
    done = run("ctw", "--takes", "new.csv", "--model", "maps.npz", "-o", "out", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["confidence"]["supported"]
    assert evaluated(run, "out/take04.json", "take04") < 0.5


def test_a_model_of_noisy_sensors(run, folder):
    rows = ["id,marker,inertial"]
    for k in range(9):
        x, y, _ = movement(k)
        np.save(f"x{k}.npy", np.hstack([x, x + 0.05 * rng(k).normal(size=x.shape)]))
        np.save(f"y{k}.npy", y)
        rows.append(f'n{k},"x{k}.npy,rate=20","y{k}.npy,rate=20"')
    (folder / "t.csv").write_text("\n".join(rows[:9]))
    done = run("ctw", "--takes", "t.csv", "--save-model", "maps.npz", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["parameters"]["leading"] >= 3
    (folder / "new.csv").write_text("\n".join([rows[0], rows[9]]))
    done = run("ctw", "--takes", "new.csv", "--model", "maps.npz", "--json")
    assert done.code == 0, done.stderr
    frames = np.array(json.loads(done.stdout)["path"]["frames"])
    found = [frames[frames[:, 1] == j, 0].mean() / 159 for j in range(160)]
    assert np.abs(found - movement(8)[2]).mean() < 0.02


def test_faults_of_a_model(run, made):
    (made / "text.npz").write_text("nothing")
    np.savez(made / "other.npz", x=np.zeros(3))
    assert run("ctw", "--takes", "made/takes.csv", "--save-model", "maps.npz").code == 0
    whole = (made / "maps.npz").read_bytes()
    (made / "half.npz").write_bytes(whole[: len(whole) // 2])
    with np.load(made / "maps.npz") as file:
        arrays = dict(file)
    np.savez(made / "unlike.npz", **{**arrays, "weights_0": arrays["weights_0"][:, :1]})
    np.savez(made / "objects.npz", **{**arrays, "meta": np.array({"a": 1})})
    faults = {
        "gone.npz": "no such file",
        "text.npz": "damaged npz archive",
        "half.npz": "damaged npz archive",
        "objects.npz": "damaged npz archive",
        "other.npz": "is not a model of mmalign",
        "unlike.npz": "contradicts itself",
    }
    for name, what in faults.items():
        done = run("ctw", "--takes", "made/takes.csv", "--model", name, "-o", "out")
        assert done.code == 3
        assert f"{name}: {what}" in done.stderr
        assert not (made / "out").exists()
    (made / "t.csv").write_text("id,a,b\nx,made/take01/stream2.csv,made/take01/stream1.csv\n")
    done = run("ctw", "--takes", "t.csv", "--model", "maps.npz")
    assert done.code == 3
    assert "take x: a has 8 dimensions, maps.npz 6" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.csv", "b.csv"),
        ("--path", "p.csv"),
        ("--coupling", "soft"),
        ("--open-end",),
        ("--save-model", "m.npz", "--model", "n.npz"),
        ("--save-model", "m.json"),
        ("--model", "m.npz", "--robust"),
        ("--model", "m.npz", "--algorithm", "alternating"),
        ("--model", "m.npz", "--max-iter", "3"),
    ],
)
def test_what_takes_do_not_go_with(run, made, arguments):
    done = run("ctw", "--takes", "made/takes.csv", *arguments)
    assert done.code == 2
    assert done.stderr.count("mmalign: error: ") == 1


def test_a_dry_run_of_takes_says_what_it_would_take(run, made):
    done = run(
        "ctw", "--takes", "made/takes.csv", "-o", "out", "--save-model", "m.npz", "--dry-run"
    )
    assert done.code == 0
    assert "4 takes, " in done.stdout
    assert "frames of 6 and 8 dimensions" in done.stdout
    assert not (made / "out").exists()
    assert not (made / "m.npz").exists()


def test_strict_takes_must_come_to_an_end(run, made):
    done = run("ctw", "--takes", "made/takes.csv", "--strict", "--max-iter", "1", "-o", "out")
    assert done.code == 4
    assert "no convergence" in done.stderr
    assert not (made / "out").exists()


def test_takes_converge_by_default(run, made):
    done = run("ctw", "--takes", "made/takes.csv", "--json")
    assert done.stderr == ""
    assert all(json.loads(line)["optimizer"]["converged"] for line in done.stdout.splitlines())


def test_documents_are_not_overwritten(run, made):
    (made / "out").mkdir()
    (made / "out" / "take02.json").write_text("mine")
    done = run("ctw", "--takes", "made/takes.csv", "-o", "out")
    assert done.code == 5
    assert (made / "out" / "take02.json").read_text() == "mine"
    assert [p.name for p in (made / "out").iterdir()] == ["take02.json"]


def takes_of(dims, lengths, n_samples=400):
    tracks = [SimpleNamespace(lengths=np.array(own)) for own in lengths]
    return SimpleNamespace(dims=dims, tracks=tracks, n_samples=n_samples)


def test_chance_has_its_way_with_many_dimensions_on_few_frames():
    assert schedule.is_chancy(takes_of((20, 5), [[1249], [9999]]))
    assert not schedule.is_chancy(takes_of((20, 5), [[1250], [9999]]))
    assert schedule.is_chancy(takes_of((20, 5), [[9999, 1], [624, 625]]))
    assert not schedule.is_chancy(takes_of((20, 4), [[30], [30]]))
    assert not schedule.is_chancy(takes_of((4, 12, 12), [[3], [3], [3]]))
    assert schedule.is_chancy(takes_of((12, 4, 13), [[1249], [1250], [1260]]))
    assert schedule.is_scarce(takes_of((20, 5), [[249], [900]]))
    assert not schedule.is_scarce(takes_of((20, 5), [[250], [900]]))


def test_pieces_grow_with_the_cube_root_of_the_length():
    for n, finer in ((20, 1), (400, 1), (3200, 2), (10_800, 3)):
        plan = schedule.plan_for(takes_of((2, 2), [[n], [n]], n))
        assert [s.pieces for s in plan.coarse] == [4, 8, 8, 16]
        assert [s.pieces for s in plan.finish] == [12 * finer, 24 * finer]
        assert plan.refine == plan.coarse[2:]
        assert plan.finish[-1].ridge == plan.last[0].ridge == 1e-3
    assert schedule.plan_for(takes_of((2,) * 3, [[9]] * 3)).finish[-1].ridge == 1e-4
    lead = schedule.leading_plan(takes_of((2, 2), [[9], [9]], 2500), (2, 3, 5))
    assert [s.pieces for s in (*lead.coarse, *lead.finish)] == [20, 30, 40, 50]
    assert [s.pieces for s in schedule.leading_plan(takes_of((), [], 9), (1, 1, 1)).coarse] == [
        4,
        5,
        6,
    ]
    assert schedule.leading_of(np.array([0.25, 0.25, 0.25, 0.25, 0.2])) == (1, 3, 4)
    assert schedule.leading_of(np.array([0.1])) == (1, 1, 1)
    assert schedule.leading_of(np.zeros(0)) == (1, 1, 1)


def test_twelve_columns_are_kept_and_thirteen_are_not():
    frames = np.random.default_rng(5).normal(size=(40, 13))
    assert view_of([frames[:, :12]]).components(frames[:, :12]).shape == (40, 12)
    assert view_of([frames]).components(frames).shape == (40, 8)
    assert view_of([frames[:, :12]])(frames[:, :12]).shape == (40, 3 * 12 + 2 + 4 + 4)
    assert view_of([frames])(frames).shape == (40, 3 * 8 + 2)


def learned(*rho):
    k = len(rho)
    one = StreamMap(Linear(np.zeros(k), np.eye(k)))
    return Learned((one, one), np.array(rho))


def test_gains_are_log_likelihood_ratios():
    a, b = rng(1).normal(size=(2, 30, 2))
    path = np.column_stack([np.arange(30), np.r_[np.zeros(3, int), np.arange(27)]])
    found = learned(0.7, 0.2).gains((a, b), path)
    for k, rho in enumerate((0.7, 0.2)):
        pairs = np.column_stack([a[path[:, 0], k], b[path[:, 1], k]])
        joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).logpdf(pairs)
        assert found[k] == pytest.approx((joint - norm.logpdf(pairs).sum(axis=1)).mean())
    assert np.isfinite(learned(1.0, -0.3).gains((a, b), path)).all()
    np.testing.assert_allclose(learned(1.0, -0.3).scale, [np.sqrt(0.9999 / (1 - 0.9999**2)), 0.0])


def test_half_the_squared_distance_of_latents_is_a_log_likelihood():
    """But for terms of either frame alone, which a second difference leaves out."""
    both = learned(0.6)
    joint = multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]]).logpdf

    def half_square(a, b):
        x, y = both.latents([np.array([[a]]), np.array([[b]])])
        return float(((x - y) ** 2).sum()) / 2

    def mixed(f):
        return f(1.3, 0.8) - f(1.3, 0.0) - f(0.0, 0.8) + f(0.0, 0.0)

    assert mixed(half_square) == pytest.approx(-mixed(lambda a, b: float(joint([a, b]))))


def bursts(*at):
    """Two columns that jump at some of 200 frames, and rest in between."""
    frames = np.zeros((200, 2))
    for k in at:
        frames[k:] += 1.0
    return frames


def test_envelopes_are_sought_within_a_quarter_of_the_length_and_a_tenth():
    """What is further away is no match: two bursts 80 frames apart stay where they are."""
    near, far = bursts(60, 150), bursts(80, 150)
    wide, narrow = envelope_starts([(bursts(60), bursts(140))])[:2]
    assert np.abs(np.diff(wide[0], axis=0)).max() <= 0.26
    assert np.abs(np.diff(narrow[0], axis=0)).max() <= 0.11
    found = envelope_starts([(near, far)])
    assert len(found) == 8
    at = np.interp(80 / 199, found[0][0, 1], found[0][0, 0])
    assert at == pytest.approx(60 / 199, abs=0.04)
