"""``mmalign dctw``: what it finds, what it says of it, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from mmalign_cli.align import deep_joint
from mmalign_cli.align.dctw import LINEAR, NETWORKS, Ask, align_deep
from mmalign_cli.align.learned import as_compared
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.write.document import read_document, schema
from mmalign_cli.write.learned import read_learned

QUIET = ("--confidence", "none", "-q", "--rate", "100")
QUICK = (*QUIET, "--starts", "2", "--dims", "2")


def made(count, linear, seed):
    return synth.takes(count, linear, np.random.default_rng(seed))


def errors_of_pair(found, takes, pair):
    return np.array(
        [
            path_difference(found.path(k)[:, pair].astype(float), take.truth.astype(float))
            for k, take in enumerate(takes)
        ]
    )


def errors(found, takes):
    return errors_of_pair(found, takes, [0, 1])


@pytest.fixture
def takes(folder):
    """Four takes of two sensors that no linear maps bring together, and ``takes.csv``."""
    rows = ["id,body,camera"]
    for k, take in enumerate(made(4, False, 1)):
        for name, values in zip(("body", "camera"), take.sequences, strict=True):
            np.save(f"{name}{k}.npy", values)
        rows.append(f"t{k},body{k}.npy,camera{k}.npy")
    (folder / "takes.csv").write_text("\n".join(rows) + "\n")
    return made(4, False, 1)


# -- what is found


def test_takes_that_no_linear_maps_bring_together():
    takes = made(4, False, 1)
    found = align_deep([t.sequences for t in takes], Ask(starts=4, dims=2))
    assert found.kind == NETWORKS
    assert errors(found, takes).mean() < 0.4
    assert found.beside[NETWORKS] > found.beside[LINEAR] + 1
    assert (found.held_out.correlations > 0.97).all()


def test_one_take_of_them():
    takes = made(1, False, 2)
    found = align_deep([takes[0].sequences], Ask(starts=8, dims=2))
    assert found.kind == NETWORKS
    assert errors(found, takes)[0] < 0.6


def test_where_linear_maps_suffice_they_are_taken():
    takes = made(4, True, 3)
    found = align_deep([t.sequences for t in takes], Ask(starts=2, dims=2))
    assert found.kind == LINEAR
    assert errors(found, takes).mean() < 0.25


@pytest.mark.parametrize("is_soft", [True, False])
def test_the_papers_alternation(is_soft):
    takes = made(4, False, 1)
    ask = Ask("alternating", is_soft=is_soft, starts=1, dims=2)
    found = align_deep([t.sequences for t in takes], ask)
    assert found.kind == NETWORKS
    assert errors(found, takes).mean() < 0.8
    assert found.objective[-1] > found.objective[0]
    assert found.objective[-1] <= 2.0


def test_it_depends_on_the_seed_alone():
    takes = [t.sequences for t in made(2, False, 4)]
    ask = Ask("alternating", starts=1, dims=2, iterations=1)
    first, again = (align_deep(takes, ask) for _ in range(2))
    other = align_deep(takes, replace(ask, seed=1))
    np.testing.assert_array_equal(first.knots, again.knots)
    assert (first.knots != other.knots).any()


@pytest.mark.parametrize(
    "ask",
    [Ask(starts=2), Ask("alternating", starts=1), Ask("alternating", is_soft=False, starts=1)],
)
def test_three_streams(ask):
    takes, sequences = made(4, False, 1), []
    for take in takes:
        x, y = take.sequences
        at = np.linspace(0, len(x) - 1, len(x) - 20)  # the third: the first, played faster
        z = np.stack([np.interp(at, np.arange(len(x)), column) for column in x.T[:4]], axis=1)
        sequences.append((x, y, z))
    found = align_deep(sequences, replace(ask, dims=2))
    assert errors_of_pair(found, takes, [0, 1]).mean() < 1.0
    for k, (x, _, z) in enumerate(sequences):
        path = found.path(k)
        assert np.abs(path[:, 0] / (len(x) - 1) - path[:, 2] / (len(z) - 1)).mean() < 0.02


def test_open_ends_leave_out_what_has_no_match():
    take = made(1, True, 5)[0]
    x, y = take.sequences
    cut = len(y) // 5
    from mmalign_cli.align.warps import OpenEnds

    ask = Ask(starts=2, dims=2, ends=OpenEnds(begin=False, end=True))
    found = align_deep([(x, y[:-cut])], ask)
    truth = take.truth[take.truth[:, 1] < len(y) - cut]
    assert path_difference(found.path(0).astype(float), truth.astype(float)) < 2.5


def test_labels_are_told_apart_by_the_latents():
    takes = made(3, False, 6)
    sequences = [t.sequences for t in takes]
    classes = []
    for take in takes:
        middle = take.truth[len(take.truth) // 2]
        own = zip(take.sequences, middle, strict=True)
        classes.append([(np.arange(len(x)) >= frame).astype(int) for x, frame in own])

    def apart(found):
        """How far the two classes lie apart in some latent, in deviations."""
        gaps = []
        for take, own in zip(sequences, classes, strict=True):
            z, late = found.maps[0](take[0]), own[0] == 1
            gaps.append(np.abs(z[late].mean(axis=0) - z[~late].mean(axis=0)).max() / z.std())
        return np.mean(gaps)

    ask = Ask("alternating", starts=1, dims=2, iterations=4)
    told, untold = align_deep(sequences, ask, classes), align_deep(sequences, ask)
    assert told.kind == NETWORKS
    assert apart(told) > apart(untold)


def test_a_context_and_more_layers():
    takes = made(2, False, 7)
    ask = Ask("alternating", starts=1, dims=2, context=3, hidden=(12, 8), iterations=2)
    found = align_deep([t.sequences for t in takes], ask)
    assert found.kind == NETWORKS
    view = found.maps[0].view
    assert view.network.shape.widths == (12, 12, 8, 2)


@pytest.mark.parametrize(("context", "width"), [(1, 8 * 3 + 2 + 12), (3, 3 * 36)])
def test_networks_see_neighbours_as_they_are_or_what_is_computed_of_noisy_sensors(context, width):
    rng = np.random.default_rng(5)
    sensors = rng.normal(size=(80, 36)), rng.normal(size=(80, 6))
    ask = Ask("alternating", starts=1, dims=2, context=context, iterations=1)
    found = align_deep([sensors], ask)
    assert found.maps[0].view.network.shape.widths[0] == width
    assert (found.maps[0].view.view is None) == (context > 1)
    assert found.maps[0](sensors[0]).shape[0] == 80


def test_every_other_start_begins_from_what_is_given():
    from mmalign_cli.align.deep_climb import Deep
    from mmalign_cli.align.network import Shape
    from mmalign_cli.align.takes import lay_out

    laid = lay_out([t.sequences for t in made(2, True, 1)])
    shapes = tuple(Shape((d, 3, 2)) for d in laid.dims)
    deep = Deep(laid.tracks, shapes, (0, 1), laid.n_samples, laid.weights)
    given = np.full((2, 2, 5), 0.5)
    pool = deep_joint.begin(deep, 5, 0, [given])
    assert [one.knots is given for one in pool] == [False, True, False, True, False]
    assert len({one.weights.tobytes() for one in pool}) == 5


# -- the command


def test_takes_a_model_and_new_takes(run, takes, folder):
    done = run("dctw", "--takes", "takes.csv", "-o", "out", "--save-model", "m.npz", *QUICK)
    assert done.code == 0, done.stderr
    found = [read_document(f"out/t{k}.json") for k in range(4)]
    for k, one in enumerate(found):
        document = json.loads((folder / f"out/t{k}.json").read_text())
        jsonschema.validate(document, json.loads(schema("alignment")))
        assert document["method"] == "dctw"
        assert document["parameters"]["maps"] == NETWORKS
        assert set(document["confidence"]["compared"]) == {LINEAR, NETWORKS}
        truth = takes[k].truth.astype(float)
        assert path_difference(one.path.frames.astype(float), truth) < 0.6
    learned, about = read_learned("m.npz")
    assert about["method"] == "dctw"
    x = np.load("body0.npy")
    at = as_compared(found[0], 0, x)
    np.testing.assert_allclose(learned.maps[0](x), at, rtol=1e-9, atol=1e-12)

    (folder / "new.csv").write_text("id,body,camera\nn,body3.npy,camera3.npy\n")
    done = run("dctw", "--takes", "new.csv", "-o", "new", "--model", "m.npz", "-q", "--rate", "100")
    assert done.code == 0, done.stderr
    again = read_document("new/n.json")
    truth = takes[3].truth.astype(float)
    assert path_difference(again.path.frames.astype(float), truth) < 0.6
    assert again.confidence["verdict"] == "aligned"
    (folder / "wrong.csv").write_text("id,body,camera\nn,body3.npy,camera2.npy\n")
    run("dctw", "--takes", "wrong.csv", "-o", "wrong", "--model", "m.npz", "-q", "--rate", "100")
    assert read_document("wrong/n.json").confidence["verdict"] == "not supported"


def test_one_take_says_what_is_better_supported(run, folder):
    for name, values in zip("ab", made(1, True, 8)[0].sequences, strict=True):
        np.save(f"{name}.npy", values)
    done = run(
        "dctw", "a.npy", "b.npy", "--rate", "100", "--starts", "2", "--dims", "2", "--json",
        "--cost", "c.npz", "--plot", "p.png", "--path", "p.csv",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    told = document["confidence"]
    assert told["verdict"] == "aligned"
    assert told["compared"][LINEAR] > told["compared"][NETWORKS]
    assert "linear maps are better supported" in done.stderr
    assert set(told["nulls"]) == {"reversed", "shuffled"}
    with np.load("c.npz") as costs:
        assert set(costs) == {"local", "accumulated", "aligned"}
    assert (folder / "p.png").stat().st_size > 10_000


def test_a_picture_of_what_networks_compared(run, takes):
    names = ("body0.npy", "camera0.npy")
    done = run(
        "dctw", *names, "-o", "a.json", "--algorithm", "alternating", *QUICK, "--max-iter", "2"
    )
    assert done.code == 0, done.stderr
    assert read_document("a.json").parameters["maps"] == NETWORKS
    assert run("plot", "a.json", "-o", "p.svg", "-q").code == 0


def test_labels_are_a_column_of_each_stream(run, folder):
    take = made(1, False, 9)[0]
    for name, values in zip("ab", take.sequences, strict=True):
        rows = np.column_stack([values, np.arange(len(values)) * 3 // len(values)])
        header = ",".join([*(f"c{k}" for k in range(values.shape[1])), "phase"])
        np.savetxt(f"{name}.csv", rows, delimiter=",", header=header, comments="")
    quick = (*QUICK, "--max-iter", "10")
    done = run("dctw", "a.csv", "b.csv", "--labels", "phase", "-o", "a.json", *quick)
    assert done.code == 0, done.stderr
    document = json.loads((folder / "a.json").read_text())
    assert document["streams"][0]["dims"] == take.sequences[0].shape[1]
    assert document["parameters"]["labels"] == "phase"
    done = run("dctw", "a.csv", "b.csv", "--labels", "face", "-o", "b.json", *quick)
    assert done.code == 3
    assert "no column face" in done.stderr
    done = run("dctw", "a.csv", "b.csv", "--labels", "c0", "-o", "b.json", *quick)
    assert done.code == 3
    assert "c0 is no label" in done.stderr


def test_a_row_of_a_batch(run, takes, folder):
    (folder / "rows.csv").write_text(
        "id,method,reference,query,starts,max-iter\nr,dctw,body0.npy,camera0.npy,2,5\n"
    )
    done = run("batch", "rows.csv", "-o", "out", "--rate", "100", "-q", "--jobs", "1")
    assert done.code == 0, done.stderr
    assert read_document("out/r.json").method == "dctw"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hidden", "0"), "not a number of units"),
        (("--hidden", "a"), "not a number of units"),
        (("--context", "4"), "no middle one"),
        (("--coupling", "hard"), "it is for alternating"),
        (("--algorithm", "alternating", "--open-end"), "it is for joint"),
        (("--weight-decay", "nan"), "finite number"),
        (("--save-model", "m.npz"), "goes with --takes"),
    ],
)
def test_options_that_do_not_fit(run, takes, options, message):
    done = run("dctw", "body0.npy", "camera0.npy", *options)
    assert done.code == 2
    assert message in done.stderr


def test_too_little_to_learn_from(run, folder):
    np.save("a.npy", np.random.default_rng(0).normal(size=(12, 3)))
    done = run("dctw", "a.npy", "a.npy", *QUICK)
    assert done.code == 3
    assert "too few to learn a network from" in done.stderr
    assert run("dctw", "a.npy").code == 2


def test_what_it_would_take(run, takes):
    done = run("dctw", "body0.npy", "camera0.npy", "--dry-run", *QUICK)
    assert done.code == 0
    assert "of memory" in done.stdout
    assert run("dctw", "body0.npy", "camera0.npy", "--max-memory", "1M", *QUICK).code == 4


def test_strict_wants_an_end(run, takes):
    done = run("dctw", "body0.npy", "camera0.npy", "--max-iter", "1", "--strict", *QUICK)
    assert done.code == 4
    assert "no convergence" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"network_weights_0": np.zeros(3)},
        {"network_widths_0": np.array([5, -32, 2])},
        {"context_0": np.array(10**6)},
        {"white_weights_0": np.full((6, 6), np.nan)},
        {"network_widths_0": np.array([6, 32, 9])},
    ],
)
def test_a_damaged_model(run, takes, folder, change):
    quick = (*QUIET, "--starts", "1", "--dims", "2", "--algorithm", "alternating")
    run("dctw", "--takes", "takes.csv", "--save-model", "m.npz", "--max-iter", "1", *quick)
    with np.load("m.npz") as whole:
        np.savez("bad.npz", **{**whole, **change})
    done = run("dctw", "--takes", "takes.csv", "--model", "bad.npz", "-q", "--rate", "100")
    assert done.code == 3
    assert "bad.npz" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
