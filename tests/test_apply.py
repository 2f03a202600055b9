"""The command: which clock a file is on, where it goes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmalign_cli.model import Alignment, Cost, StreamInfo, TimeMap
from mmalign_cli.write.document import text_pieces, to_document

SRT = "1\n00:00:01,000 --> 00:00:02,000\nx\n"


def document(path, names, *knots, sources=None):
    """Write a document that maps each further stream to the first by some knots."""
    sources = sources or [f"{name}.wav" for name in names]
    alignment = Alignment(
        method="dtw",
        parameters={},
        streams=tuple(
            StreamInfo(name, source, "0" * 64, 100, 1, 10.0, 0.0, 9.9)
            for name, source in zip(names, sources, strict=True)
        ),
        path=None,
        time_maps=tuple(
            TimeMap(name, names[0], np.array(k, float))
            for name, k in zip(names[1:], knots, strict=True)
        ),
        cost=Cost(0.0, 0.0),
    )
    with open(path, "w") as file:
        file.writelines(text_pieces(to_document(alignment)))


@pytest.fixture
def files(folder):
    """b is 10 s behind a; c is twice as fast as a and starts with it; d is 100 s behind c."""
    document("ab.json", ["a", "b"], [[0, 10]])
    document("abc.json", ["a", "b", "c"], [[0, 10]], [[0, 0], [50, 100]])
    document("dc.json", ["d", "c"], [[0, 100]])
    document("ef.json", ["e", "f"], [[0, 1]])
    for name in ("a.srt", "b.srt", "c.srt", "other.srt"):
        (folder / name).write_text(SRT)
    return folder


def first_time(path):
    return Path(path).read_text().split("\n")[1][:12]


@pytest.mark.parametrize(
    ("arguments", "ways", "time"),
    [
        (["ab.json", "b.srt"], ("b", "a"), "00:00:11,000"),
        (["ab.json", "other.srt"], ("b", "a"), "00:00:11,000"),
        (["ab.json", "other.srt", "--inverse"], ("a", "b"), None),
        (["ab.json", "a.srt"], ("a", "b"), None),
        (["ab.json", "a.srt", "--inverse"], ("a", "b"), None),
        (["ab.json", "b.srt", "--to", "a", "--from", "b"], ("b", "a"), "00:00:11,000"),
        (["abc.json", "c.srt"], ("c", "a"), "00:00:02,000"),
        (["abc.json", "b.srt", "--to", "c"], ("b", "c"), "00:00:05,500"),
        (["abc.json", "other.srt", "--from", "a", "--to", "c"], ("a", "c"), "00:00:00,500"),
        (["abc.json", "dc.json", "a.srt"], ("a", "d"), "00:01:40,500"),
        (["abc.json", "dc.json", "b.srt"], ("b", "d"), "00:01:45,500"),
        (["dc.json", "abc.json", "c.srt", "--to", "b"], ("c", "b"), None),
    ],
)
def test_from_clock_to_clock(files, run, arguments, ways, time):
    done = run("apply", *arguments, "-o", "out.srt", "--json")
    assert done.code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["from"], said["to"]) == ways
    assert (said["how"], said["count"]) == ("times", 2)
    if time:
        assert first_time("out.srt") == time
    else:
        assert ("were set to 0" in done.stderr) == bool(said["warnings"])


def test_inverse_undoes_a_chain(files, run):
    assert run("apply", "abc.json", "dc.json", "b.srt", "-o", "d.srt").code == 0
    back = run("apply", "abc.json", "dc.json", "d.srt", "--inverse", "--to", "b", "-o", "out.srt")
    assert back.code == 0, back.stderr
    assert (files / "out.srt").read_text() == SRT


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ab.json", "b.srt"], 2, "-o: is missing"),
        (["-o", "x.srt"], 2, "FILE: is missing"),
        (["b.srt", "-o", "x.srt"], 2, "ALIGNMENT: is missing"),
        (["--map", "m.csv", "ab.json", "b.srt", "-o", "x.srt"], 2, "--map: stands in place"),
        (["abc.json", "other.srt", "-o", "x.srt"], 2, "--from: is needed: other.srt is no"),
        (["abc.json", "a.srt", "-o", "x.srt"], 2, "--to: is needed"),
        (["ab.json", "b.srt", "--to", "bb", "-o", "x.srt"], 2, "no stream 'bb'"),
        (["ab.json", "b.srt", "--from", "b", "--to", "b", "-o", "x.srt"], 2, "comes from"),
        (["ab.json", "ef.json", "b.srt", "-o", "x.srt"], 3, "does not lead on from ab.json"),
        (["ab.json", "b.srt", "-o", "x.vtt"], 2, "x.vtt: ends in .vtt, the input is .srt"),
        (["ab.json", "b.srt", "-o", "a.srt"], 5, "a.srt: exists"),
        (["ab.json", "b.srt", "-o", "b.srt", "--force"], 5, "b.srt: is an input"),
        (["ab.json", "no.srt", "-o", "x.srt"], 3, "no.srt: no such file"),
        (["b.srt", "a.srt", "-o", "x.srt"], 3, "b.srt: is not an alignment document"),
        (["ab.json", "b.xls", "-o", "x.xls"], 3, "b.xls: unknown kind of file"),
        (["ab.json", "b.mp4", "-o", "x.mp4"], 3, "b.mp4: no such file"),
        (["ab.json", "b.mp4", "-o", "x.avi"], 2, "x.avi: names no container that is written"),
        (["ab.json", "b.srt", "-o", "no/x.srt"], 5, "no such folder"),
        (["ab.json", "a.wav", "-o", "x.csv"], 2, "no kind of sound file"),
        (["ab.json", "b.srt", "--rate", "2", "-o", "x.srt"], 2, "--rate: concerns no labels file"),
        (
            ["ab.json", "b.srt", "--resample", "-o", "x.srt"],
            2,
            "--resample: concerns no labels file",
        ),
        (["ab.json", "b.wav", "--nearest", "-o", "x.wav"], 2, "--nearest: concerns no sound file"),
        (["ab.json", "b.npy", "--time-columns", "t", "-o", "x.npy"], 2, "concerns no array file"),
    ],
)
def test_refusals(files, run, arguments, code, message):
    before = {p.name: p.read_bytes() for p in files.iterdir()}
    done = run("apply", *arguments)
    assert (done.code, done.stdout) == (code, "")
    assert message in done.stderr
    assert {p.name: p.read_bytes() for p in files.iterdir()} == before


def test_a_map_as_a_file_does_the_same(files, run):
    done = run("apply", "abc.json", "--from", "b", "--to", "c", "--write-map", "bc.csv")
    assert done.code == 0, done.stderr
    assert "from the clock of b to that of c" in done.stdout
    header, *rows = (files / "bc.csv").read_text().splitlines()
    assert header == "b,c"
    assert all(len(row.split(",")) == 2 for row in rows)
    run("apply", "abc.json", "b.srt", "--to", "c", "-o", "1.srt")
    run("apply", "--map", "bc.csv", "b.srt", "-o", "2.srt")
    assert (files / "1.srt").read_text() == (files / "2.srt").read_text()
    assert run("apply", "--map", "bc.csv", "2.srt", "--inverse", "-o", "3.srt").code == 0
    assert run("apply", "--map", "bc.csv", "2.srt", "--from", "c", "-o", "4.srt").code == 0
    assert (files / "3.srt").read_text() == (files / "4.srt").read_text() == SRT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file is empty"),
        ("a,b\n", "holds no knots"),
        ("0,1\n1,2\n", "line 1: no header"),
        ("a,b,c\n0,1,2\n", "line 1: 3 columns"),
        ("a,a\n0,1\n", "different names"),
        ("a,b\n0,1\n1\n", "line 3: 1 columns"),
        ("a,b\n0,1\n1,two\n", "line 3: 'two' is not a number"),
        ("a,b\n0,1\n1,inf\n", "line 3: 'inf' is not a number"),
        ("a,b\n0,1\n\n1,1\n", "line 4: both columns must be larger"),
    ],
)
def test_broken_maps_are_named_with_the_line(files, run, text, message):
    (files / "m.csv").write_text(text)
    done = run("apply", "--map", "m.csv", "b.srt", "-o", "x.srt")
    assert done.code == 3
    assert message in done.stderr


def test_sound(files, run):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2))
    soundfile.write("b.flac", sound, 8000, subtype="PCM_24")
    assert run("apply", "ab.json", "b.flac", "-o", "on_a.flac").code == 0
    info = soundfile.info("on_a.flac")
    assert (info.channels, info.samplerate, info.subtype) == (2, 8000, "PCM_24")
    moved = soundfile.read("on_a.flac")[0]
    np.testing.assert_array_equal(moved[80000:], soundfile.read("b.flac")[0])
    assert not moved[:80000].any()
    (files / "slow.csv").write_text("b,a\n0,-0.1\n1,1.1\n")
    for option, how in (((), "stretched"), (("--resample",), "resampled")):
        done = run(
            "apply", "--map", "slow.csv", "b.flac", "-o", "x.flac", "--force", "--json", *option
        )
        said = json.loads(done.stdout)
        assert said["how"] == how
        assert "cut off" in done.stderr
        assert said["count"] == soundfile.info("x.flac").frames == round(8000 * (0.5 * 1.2 - 0.1))


def test_arrays_without_times_are_interpolated(files, run):
    np.save("c.npy", np.arange(100.0)[:, None] * [1, 2])
    np.savez("c.npz", labels=np.arange(100) // 10, values=np.arange(100.0), size=np.array(3))
    done = run("apply", "abc.json", "c.npy", "--rate", 10, "-o", "out.npy")
    assert done.code == 0, done.stderr
    out = np.load("out.npy")
    np.testing.assert_allclose(out, np.arange(199)[:, None] * [0.5, 1])
    assert run("apply", "abc.json", "c.npz", "--rate", 10, "-o", "out.npz").code == 0
    out = np.load("out.npz")
    assert out["labels"].dtype == np.arange(1).dtype
    np.testing.assert_array_equal(out["labels"][::2], np.arange(100) // 10)
    np.testing.assert_allclose(out["values"], np.arange(199) / 2)
    assert out["size"] == 3
    assert run("apply", "abc.json", "c.npy", "--nearest", "--rate", 10, "-o", "n.npy").code == 0
    assert set(np.load("n.npy")[:, 0]) <= set(range(100))


def test_the_rate_of_an_array_is_its_streams(folder, run):
    document("xc.json", ["x", "c"], [[0, 0], [50, 100]], sources=["x.npy", "c.npy"])
    np.save("c.npy", np.arange(100.0))
    assert run("apply", "xc.json", "c.npy", "-o", "out.npy").code == 0
    np.testing.assert_allclose(np.load("out.npy"), np.arange(199) / 2)
    np.save("y.npy", np.arange(100.0))
    (folder / "m.csv").write_text("y,x\n0,1\n")
    done = run("apply", "--map", "m.csv", "y.npy", "-o", "z.npy")
    assert done.code == 3
    assert "has no times" in done.stderr


def test_times_beside_an_array_change_alone(files, run):
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    np.savez("c.npz", values=values, times=np.arange(50) / 25)
    assert run("apply", "abc.json", "c.npz", "-o", "out.npz").code == 0
    out = np.load("out.npz")
    np.testing.assert_array_equal(out["values"], values)
    np.testing.assert_allclose(out["times"], np.arange(50) * 2 / 25)
    np.savez("c.npz", values=values, times=np.zeros(50))
    done = run("apply", "abc.json", "c.npz", "-o", "x.npz")
    assert (done.code, "do not increase" in done.stderr) == (3, True)


def test_pickles_are_never_loaded(files, run):
    np.save("c.npy", np.array([{}], dtype=object), allow_pickle=True)
    done = run("apply", "abc.json", "c.npy", "--rate", 1, "-o", "x.npy")
    assert done.code == 3
    assert not (files / "x.npy").exists()


def test_a_table_becomes_even_rows(files, run):
    rows = 't_ms,x,label,n,gap\n0,0.5,a,1,1.5\n100,1.5,"b, c",2,\n300,3.5,d,3,2\n'
    (files / "c.csv").write_text(rows)
    done = run("apply", "abc.json", "c.csv", "--rate", 10, "-o", "out.csv")
    assert done.code == 0, done.stderr
    assert "7 frames, interpolated" in done.stdout
    x = [0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    table = (files / "out.csv").read_text().splitlines()
    assert table[0] == "t_ms,x,label,n,gap"
    assert [float(row.split(",")[0]) for row in table[1:]] == [100 * k for k in range(7)]
    np.testing.assert_allclose([float(row.split(",")[1]) for row in table[1:]], x)
    assert [row.split(",", 2)[2] for row in table[1:]] == [
        "a,1,1.5",
        *['"b, c",2,'] * 3,
        *["d,3,2"] * 3,
    ]
    (files / "c.csv").write_text("start,end,x\n0,1,2\n")
    assert "frames have one" in run("apply", "abc.json", "c.csv", "--rate", 1, "-o", "y.csv").stderr
    (files / "c.csv").write_text("t,x\n0,1\n0,2\n")
    done = run("apply", "abc.json", "c.csv", "--rate", 1, "-o", "y.csv")
    assert (done.code, "line 3: its time does not increase" in done.stderr) == (3, True)
