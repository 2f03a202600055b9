"""A short seeded run of the fuzzer: damaged files, documents, models and arguments."""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import pytest

from mmalign_cli.commands.main import _run
from mmalign_cli.streams.registry import FORMATS
from mmalign_cli.streams.spec import StreamSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import fuzz
import guard
import loaders
import seeds

TRIALS = {"grammar": 400, "info": 40, "apply": 40, "evaluate": 25, "answer": 25, "plot": 2,
          "model": 20, "carry": 60}  # fmt: skip


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
    told = [trial(k) for k in range(TRIALS[what])]
    assert not [t for t in told if t.startswith("FAULT")]
    assert len(set(told)) > 1 or what == "plot"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("trial", "fault"),
    [
        (lambda k: os.abort() if k == 1 else "fine", "CRASH SIGABRT"),
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
        ("x.xdfz", gzip.compress(b"XDF:" + bytes(3000))[:-20], 3, "damaged gzip: it ends .*"),
        ("x.xdfz", gzip.compress(bytes(3 << 20)), 4, "unpacks to more than the limit of .*"),
        ("x.csv", gzip.compress(b"a,b"), 3, "content is gzip, name says CSV, .*"),
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
