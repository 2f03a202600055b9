"""A short seeded run of the fuzzer: damaged files, documents, models and arguments."""

from __future__ import annotations

import gzip
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmalign_cli.commands.main import _run
from mmalign_cli.streams.registry import FORMATS
from mmalign_cli.streams.spec import StreamSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import fuzz
import guard
import loaders
import seeds

TRIALS = {"grammar": 400, "info": 40, "apply": 40, "evaluate": 25, "answer": 25, "plot": 2,
          "model": 20, "carry": 60, "clip": 9}  # fmt: skip


@pytest.mark.parametrize("ending", [e for e in seeds.SEEDS if e not in seeds.CODECS])
def test_damaged_files(tmp_path, ending):
    """Containers have a test of their own, beside those of what they hold."""
    trial = fuzz.reading(ending, tmp_path, [])
    for k, whole in enumerate(trial.wholes):
        trial.path.write_bytes(whole)
        told = [fuzz.read(StreamSpec(str(trial.path), fuzz._COMMON | keys)) for keys in trial.keys]
        assert "read" in told, f"seed {k} of {ending}: {told}"
    told = [trial(k) for k in range(12)]
    assert not [t for t in told if t.startswith("FAULT")]


def test_every_format_has_seeds():
    endings = {e.rpartition(".")[2].lower() for e in seeds.SEEDS}
    assert not [name for name, f in FORMATS.items() if endings.isdisjoint(f.extensions)]


def test_every_loader_is_tried():
    assert set(TRIALS) == set(loaders.LOADERS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with documents, a model and answers, made in this process."""
    folder = tmp_path_factory.mktemp("fuzz")

    def mmalign(folder, *arguments):
        os.chdir(folder)
        assert _run(list(arguments)) == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(loaders, "_mmalign", mmalign)
        loaders._inputs(folder)
    return folder


@pytest.mark.parametrize("what", TRIALS)
def test_damaged_documents_models_and_arguments(folder, inputs, monkeypatch, what):
    monkeypatch.setattr(loaders, "_inputs", lambda folder: None)
    trial = loaders.loading(what, inputs)
    for k, (name, whole) in enumerate(getattr(trial, "wholes", ())[:2]):
        (inputs / name).write_bytes(whole)
        assert loaders.ending([str(a) for a in trial.command(inputs / name, k)]) == "code_0"
    told = [trial(k) for k in range(TRIALS[what])]
    assert not [t for t in told if t.startswith("FAULT")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("trial", "fault"),
    [
        (lambda k: os.kill(os.getpid(), signal.SIGKILL) if k == 1 else "fine", "CRASH SIGKILL"),
        (lambda k: "FAULT x" if k == 1 else "fine", "FAULT x"),
        (lambda k: str(1 / (k - 1)), "FAULT in the trial"),
        (lambda k: os.write(1, b"noise") and "fine" if k == 1 else "fine", "FAULT says"),
        (lambda k: time.sleep(30) if k == 1 else "fine", "HANG"),
    ],
)
def test_the_guard_sees_what_goes_wrong(monkeypatch, trial, fault):
    monkeypatch.setattr(guard, "LONGEST_S", 1.0)
    tally = guard.guarded(trial, 3)
    assert list(tally.faults) == [1]
    assert tally.faults[1].startswith(fault)
    assert tally.results.total() + tally.n_crashes + tally.n_hangs == 3


def test_packed_formats_are_the_formats_within(folder):
    from test_media import read

    seeds.write_mxl(folder / "s.mxl", seeds.MUSICXML)
    (folder / "s.musicxml").write_text(seeds.MUSICXML)
    whole = seeds.xdf()
    (folder / "t.xdf").write_bytes(whole)
    halves = whole[:500], whole[500:]  # two streams of gzip are one file
    (folder / "t.xdfz").write_bytes(b"".join(map(gzip.compress, halves)))
    for packed, plain in (("s.mxl", "s.musicxml"), ("t.xdfz,key=Gaze", "t.xdf,key=Gaze")):
        assert (read(packed).values == read(plain).values).all()


@pytest.mark.parametrize(
    ("name", "data", "code", "message"),
    [
        ("x.mxl", b"PK\x03\x04" + bytes(50), 3, "damaged mxl archive: .*"),
        (
            "x.xdfz",
            gzip.compress(b"XDF:" + bytes(3000), mtime=0)[:-20],
            3,
            "damaged gzip: it ends .*",
        ),
        (
            "x.xdfz",
            gzip.compress(bytes(3 << 20), mtime=0),
            4,
            "unpacks to more than the limit of .*",
        ),
        ("x.csv", gzip.compress(b"a,b", mtime=0), 3, "content is gzip, name says CSV, .*"),
    ],
)
def test_packed_formats_refused(run, folder, name, data, code, message):
    from test_faults import refused

    (folder / name).write_bytes(data)
    refused(run, folder, ["info", name, "--max-bytes", "2M"], code, f"{name}: {message}")


def test_a_bomb_in_an_mxl(run, folder):
    from test_faults import refused

    seeds.write_mxl(folder / "x.mxl", seeds.MUSICXML + " " * (3 << 20))
    message = "x.mxl: unpacks to more than the limit of .*"
    refused(run, folder, ["info", "x.mxl", "--max-bytes", "2M"], 4, message)


# ---------------------------------------------------------------- what the long runs found


def test_lines_that_are_missing_in_headers(run, folder):
    from test_faults import refused

    (folder / "x.trc").write_text(
        seeds.TRC.replace("Frame#\tTime\tL.ASIS\t\t\tR.ASIS\t\t", "Frame#")
    )
    refused(run, folder, ["info", "x.trc"], 3, "x.trc: line 4: no marker is named")
    (folder / "v.csv").write_text(seeds.VICON.replace("\n500\n", "\n\n"))
    arguments = ["info", "v.csv", "--format", "vicon", "--key", "Trajectories"]
    refused(run, folder, arguments, 3, "v.csv: .*")


def test_a_gap_between_huge_values_is_filled(folder):
    from test_media import read

    (folder / "x.csv").write_text("time,x\n0,1e308\n0.001,\n0.002,-1e308\n0.003,7\n")
    assert read("x.csv,nan=interpolate").values[:, 0].tolist() == [1e308, 0, -1e308, 7]


def test_decoders_that_talk_are_not_heard(run, folder):
    """The decoder of mp3 writes to standard error by itself, float sums warn."""
    trial = fuzz.reading("mp3", folder, [])
    for k in range(8):
        trial.path.write_bytes(trial.data(k))
        done = run("info", trial.path)
        lines = done.stderr.splitlines()
        assert all(line.startswith(("mmalign: ", "hint: ")) for line in lines), done.stderr
    soundfile.write("x.wav", np.array([[np.inf, -np.inf]] * 4000), 8000, subtype="FLOAT")
    done = run("info", "x.wav")
    assert done.code == 3
    assert "non-finite at t = 0.00 s" in done.stderr


def test_times_and_rates_beyond_reason(run, folder):
    from test_faults import refused

    (folder / "m.csv").write_text("a,b\n0,0\n1,1e308\n")
    (folder / "x.srt").write_text(seeds.SRT)
    arguments = ["apply", "--map", "m.csv", "x.srt", "-o", "y.srt"]
    refused(run, folder, arguments, 3, "x.srt: its time 0.5 s becomes 5e.307 s", "a knot of")
    (folder / "i.csv").write_text("a,b\n0,0\n1e-10,1e308\n")
    arguments = ["apply", "--map", "i.csv", "x.srt", "-o", "y.srt"]
    refused(run, folder, arguments, 3, "i.csv: is not a time map: speeds are finite")
    soundfile.write("x.wav", np.zeros(8000), 8000)
    (folder / "w.csv").write_text("a,b\n0,0\n0.9,0.9\n1e300,2\n")
    for more in ([], ["--resample"]):
        assert run("apply", "--map", "w.csv", "x.wav", "-o", "y.wav", "--force", *more).code == 0
    (folder / "x.csv").write_text("time,x\n0,1\n1,2\n")
    arguments = ["apply", "--map", "m.csv", "x.csv", "-o", "y.csv", "--rate", "10"]
    refused(run, folder, arguments, 4, ".* frames: needs .* of memory, .*", "--write-map")
    np.savez("x.npz", x=np.ones((4, 2)), fs=1e-310)
    refused(run, folder, ["info", "x.npz"], 3, "x.npz: the rate in the file is 1e-310")


def test_texts_that_no_text_is(run, folder):
    from test_faults import refused

    columns = np.array([b"\xff\xff\xff\x7f" * 2] * 2).view("<U2")
    np.savez("x.npz", x=np.ones((4, 2)), columns=columns)
    refused(run, folder, ["info", "x.npz"], 3, "x.npz: columns: damaged: text with .*")


def test_models_of_no_numbers(run, inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    with np.load("model.npz") as archive:
        arrays = dict(archive)
    for rho in (
        arrays["correlations"] * np.nan,
        arrays["correlations"].astype(str),
        np.ones(3) * 2,
    ):
        np.savez("bad.npz", **{**arrays, "correlations": rho})
        done = run("ctw", "--takes", "takes.csv", "-o", "again", "--force", "--model", "bad.npz")
        assert done.code == 3
        assert "bad.npz: contradicts itself" in done.stderr


def test_numbers_in_documents_that_are_infinite(run, inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    text = Path("dtw.json").read_text()
    Path("inf.json").write_text(text.replace('"parameters": {', '"parameters": {"x": 1e999, ', 1))
    done = run("info", "inf.json", "--json")
    assert done.code == 3
    assert "is not an alignment document: not JSON" in done.stderr
