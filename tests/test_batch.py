"""``mmalign batch`` as a user runs it: results, resume, shards, faults, deaths, other engines."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_sync import RATE, bursts, heard

from mmalign_cli.batch import process, slot
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.document import read_document

TIMES = ("finished", "seconds", "memory")


@pytest.fixture
def rows(wave):
    """``m.csv``: three rows of two methods."""
    (wave / "m.csv").write_text(
        "id,method,reference,query,metric,dims,open-end\n"
        "one,,a.csv,b.csv,,,\n"
        "two,dtw,b.csv,a.csv,cosine,,true\n"
        "three,ctw,a.csv,b.csv,,1,\n"
    )
    return wave


def table(path):
    return {row["id"]: row for row in csv.DictReader(io.StringIO(Path(path).read_text("utf-8")))}


def results(folder="out"):
    lines = Path(folder, "results.ndjson").read_text("utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def documents(folder):
    return {p.name: p.read_bytes() for p in Path(folder).glob("*.json")}


# -- what comes out


def test_documents_are_those_of_single_runs(run, rows, inside):
    (rows / "truth.csv").write_text("a,b\n0,0\n1.9,2.3\n")
    text = (rows / "m.csv").read_text().splitlines()
    text = [
        f"{line},{cell}" for line, cell in zip(text, ("truth", "truth.csv", "", ""), strict=True)
    ]
    (rows / "m.csv").write_text("\n".join(text) + "\n")
    done = run("batch", "m.csv", "-o", "out", "--jobs", "1", "--parquet")
    assert done.code == 0, done.stderr
    assert done.stdout == "3 rows done, 0 failed: out\n"
    for name, *arguments in (
        ("one", "dtw", "a.csv", "b.csv"),
        ("two", "dtw", "b.csv", "a.csv", "--metric", "cosine", "--open-end"),
        ("three", "ctw", "a.csv", "b.csv", "--dims", "1"),
    ):
        assert run(*arguments, "-o", f"{name}.json").code == 0
        assert (rows / f"{name}.json").read_bytes() == (rows / "out" / f"{name}.json").read_bytes()
    assert run("evaluate", "one.json", "truth.csv", "--json").code == 0
    summary, found = table("out/summary.csv"), results()
    assert list(summary) == ["one", "two", "three"]
    for name, row in summary.items():
        alignment = read_document(f"out/{name}.json")
        assert float(row["cost_total"]) == alignment.cost.total == found[name]["cost"]["total"]
        assert row["method"] == alignment.method
        assert float(row["evidence"]) == alignment.confidence["evidence"]
        assert float(row["seconds"]) > 0
        assert float(row["memory_mb"]) > 10
    assert float(summary["one"]["median_abs_seconds"]) < 0.2
    assert summary["two"]["median_abs_seconds"] == ""
    assert table("out/failed.csv") == {}
    assert (rows / "out" / "summary.parquet").exists()


def test_a_second_run_does_what_is_missing_or_changed(run, rows, inside):
    def ran():
        before = results() if Path("out/results.ndjson").exists() else {}
        done = run("batch", "m.csv", "-o", "out", "--jobs", "1")
        assert done.code == 0, done.stderr
        return {k for k, row in results().items() if row != before.get(k)}

    assert ran() == {"one", "two", "three"}
    assert ran() == set()
    assert len(inside) == 1  # where there is nothing to do no worker is started
    os.utime("a.csv", (1, 1))  # touched: the content is the same
    assert ran() == set()
    os.unlink("out/two.json")
    assert ran() == {"two"}
    Path("out/three.json").write_bytes(b'{"format": "mmalign.alignment/1"}')  # cut short
    assert ran() == {"three"}
    text = Path("m.csv").read_text()
    Path("m.csv").write_text(text.replace("cosine", "cityblock"))
    assert ran() == {"two"}
    b = Path("b.csv").read_text()
    Path("b.csv").write_text(b.replace("1.000000", "1.000001"))
    assert Path("b.csv").read_text() != b
    assert ran() == {"one", "two", "three"}
    with Path("out/results.ndjson").open("ab") as file:
        file.write(b'{"id": "one", "sta')
    done = run("batch", "m.csv", "-o", "out")
    assert (done.code, done.stdout) == (0, "0 rows done, 3 were before, 0 failed: out\n")
    assert "the last line was cut short: ignored" in done.stderr
    assert len(results()) == 3
    assert run("batch", "m.csv", "-o", "out", "--dry-run").stdout.startswith("0 rows to run, 3 ")
    done = run("batch", "m.csv", "-o", "out", "--dry-run", "--no-path")
    assert done.stdout.startswith("3 rows to run, 0 ")


def test_failures_are_a_manifest(run, rows, inside):
    text = (rows / "m.csv").read_text()
    (rows / "sub").mkdir()
    (rows / "sub" / "m.csv").write_text(
        text.replace("a.csv", "../a.csv").replace("b.csv", "../b.csv")
    )
    b = (rows / "b.csv").read_text()
    (rows / "b.csv").write_text(b + "2.4,nan,0\n")
    done = run("batch", "sub/m.csv", "-o", "out", "--jobs", "1", "-q")
    assert done.code == 6
    assert done.stdout.count("missing or not finite") == 3
    failed = table("out/failed.csv")
    assert list(failed) == ["one", "two", "three"]
    assert failed["two"]["query"] == str(rows / "a.csv")
    assert "missing or not finite" in failed["one"]["reason"]
    assert table("out/summary.csv")["one"]["exit_code"] == "3"
    assert documents("out") == {}
    again = run("batch", "sub/m.csv", "-o", "out", "-q")
    assert (again.code, len(inside)) == (6, 1)  # nothing has changed: not run again
    assert run("batch", "sub/m.csv", "-o", "out", "--retry", "failed", "-q").code == 6
    assert len(inside) > 1
    (rows / "b.csv").write_text(b)
    done = run("batch", "out/failed.csv", "-o", "out", "-q")
    assert (done.code, sorted(documents("out"))) == (0, ["one.json", "three.json", "two.json"])
    assert table("out/failed.csv") == {}
    assert Counter(row["status"] for row in results().values()) == {"done": 3}


def test_a_row_that_fails_loses_its_old_document(run, rows, inside):
    assert run("batch", "m.csv", "-o", "out", "-q").code == 0
    (rows / "b.csv").write_text("x\n")
    assert run("batch", "m.csv", "-o", "out", "-q").code == 6
    assert documents("out") == {}
    assert list((rows / "out").glob(".mmalign-*.tmp")) == []


def test_results_go_to_standard_output(run, rows, inside):
    done = run("batch", "m.csv", "-q")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["id"] for line in lines} == {"one", "two", "three"}
    kept = run("batch", "m.csv", "-q", "-o", "out", "--json")
    found = {row["id"]: row for row in map(json.loads, kept.stdout.splitlines())}
    assert found == results()
    for line in lines:
        for name in TIMES:
            assert line.pop(name) > 0
            found[line["id"]].pop(name)
        line.pop("bytes", None)
        found[line["id"]].pop("bytes")
        assert line == found[line["id"]]


def test_two_shards_make_the_whole(run, rows, inside):
    assert run("batch", "m.csv", "-o", "whole", "-q").code == 0
    for k in (1, 2):
        assert run("batch", "m.csv", "-o", "out", "-q", "--shard", f"{k}/2").code == 0
    assert sorted(p.name for p in Path("out").glob("results*")) == [
        "results-1-of-2.ndjson", "results-2-of-2.ndjson"
    ]  # fmt: skip
    assert run("batch", "merge", "out").code == 0
    assert documents("out") == documents("whole")
    assert results().keys() == results("whole").keys()
    n_workers = len(inside)
    assert run("batch", "m.csv", "-o", "out", "-q").code == 0
    assert len(inside) == n_workers  # a merged batch is a batch that was run whole


def test_an_audit_tells_what_is_off(run, folder, inside):
    event = bursts(25, 1)
    sounds = {
        "ref": heard(event, seconds=20),
        "same": heard(event, seconds=20, seed=1),
        "late": heard(event, 0.5, seconds=20, seed=2),
        "noise": heard(bursts(25, 2), seconds=20, seed=3),
    }
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    (folder / "m.csv").write_text(
        "id,reference,query\n"
        + "".join(f"{n},ref.wav,{n}.wav\n" for n in ("same", "late", "noise"))
    )
    done = run("batch", "m.csv", "-o", "out", "--audit", "-q")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "3 rows done, 0 failed: out"
    assert lines[-2] == "1 in sync, 1 offset, 1 unrelated"
    rows = table("out/summary.csv")
    assert {n: row["verdict"] for n, row in rows.items()} == {
        "same": "in sync", "late": "offset", "noise": "unrelated"
    }  # fmt: skip
    assert float(rows["late"]["offset"]) == pytest.approx(0.5, abs=1e-3)
    assert run("sync", "ref.wav", "late.wav", "--alignment", "late.json").code == 0
    assert Path("late.json").read_bytes() == Path("out/late.json").read_bytes()
    done = run("batch", "m.csv", "-o", "plain", "--method", "sync", "-q")
    assert done.code == 6
    assert "failed  noise: ref.wav, noise.wav: no evidence" in done.stdout


def test_what_is_refused(run, rows, inside):
    (rows / "bad.csv").write_text(
        "id,reference,query,metric\nx,a.csv,b.csv,cosin\nx,a.csv,b.csv,\n"
    )
    (rows / "lacks.csv").write_text("id,reference,query\nx,a.csv,gone.csv\ny,a.csv,b.csv\n")
    (rows / "empty.csv").write_text("id,reference,query\n")
    cases = [
        (["bad.csv", "-o", "out"], 3, "2 rows make no sense, the first: line 2: "),
        (["lacks.csv", "-o", "out", "--strict"], 3, "1 rows lack a file"),
        (["empty.csv", "-o", "out"], 3, "holds no row"),
        (["none.csv", "-o", "out"], 3, "no such file"),
        (["-o", "out"], 2, "MANIFEST: is missing"),
        (["m.csv", "--shard", "1/2"], 2, "means nothing without a folder"),
        (["m.csv", "-o", "out", "--shard", "3/2"], 2, "is no share"),
        (["m.csv", "-o", "out", "--timeout", "soon"], 2, "is not a duration"),
        (["m.csv", "-o", "out", "--option", "metric"], 2, "is not NAME=VALUE"),
        (["m.csv", "-o", "out", "--scheduler", "tcp://x:1"], 2, "means nothing without --engine"),
        (["m.csv", "-o", "a.csv"], 5, "is not a folder"),
    ]
    for arguments, code, what in cases:
        done = run("batch", *arguments)
        assert (done.code, done.stdout) == (code, ""), arguments
        assert what in done.stderr
        assert done.stderr.count("mmalign: error: ") == 1
    assert not (rows / "out").exists()
    (rows / "out").mkdir()
    (rows / "out" / "two.json").write_text("{}")
    done = run("batch", "m.csv", "-o", "out")
    assert (done.code, "no alignment document" in done.stderr) == (5, True)
    assert os.listdir("out") != []
    assert (rows / "out" / "two.json").read_text() == "{}"
    done = run("batch", "lacks.csv", "-o", "new")
    assert done.code == 6
    assert "warning: x: gone.csv: no such file" in done.stderr
    assert "failed  x: gone.csv: no such file" in done.stdout
    assert sorted(documents("new")) == ["y.json"]


# -- workers that die

WRAPPED = """
import os, signal, sys, time
from mmalign_cli.batch import aligning, worker

plain = aligning.load_stream

def load_stream(spec, name):
    fate = os.path.basename(spec.path)[:4]
    if fate == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "exit":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    if fate == "loop":
        while True:
            pass
    if fate == "hogs":
        hoard = []
        while True:
            hoard.append(b"x" * 2**22)
            time.sleep(0.001)
    return plain(spec, name)

aligning.load_stream = load_stream
worker.main()
"""
DEATHS = {
    "kill": "the worker was killed: most likely out of memory",
    "exit": "the worker ended by itself, exit code 3: out of luck",
    "loop": "took longer than 3 s",
    "hogs": "may be used",
    "nans": "missing or not finite",
    "half": "truncated",
    "gone": "no such file",
}


@pytest.fixture
def deadly(folder, monkeypatch):
    """Workers that misbehave where a file's name says so, and such files."""
    (folder / "worker.py").write_text(WRAPPED)
    monkeypatch.setattr(process, "WORKER", (sys.executable, str(folder / "worker.py")))
    rng = np.random.default_rng(0)
    for name in ("good", *DEATHS):
        np.save(folder / f"{name}.npy", rng.normal(size=(30, 2)))
    np.save(folder / "nans.npy", np.full((30, 2), np.nan))
    (folder / "half.npy").write_bytes((folder / "good.npy").read_bytes()[:-50])
    (folder / "gone.npy").unlink()
    return folder


def test_a_death_is_of_its_row_alone(run, deadly):
    names = [*DEATHS, *(f"fine{k}" for k in range(12))]
    random.Random(1).shuffle(names)
    lines = (f"{n},{n if n in DEATHS else 'good'}.npy,good.npy" for n in names)
    (deadly / "m.csv").write_text("id,reference,query\n" + "\n".join(lines) + "\n")
    done = run(
        "batch", "m.csv", "-o", "out", "--jobs", "2", "--rate", "10", "--timeout", "3s",
        "--max-memory", "300M", "-q",
    )  # fmt: skip
    assert done.code == 6, done.stderr
    found = results()
    failed = {n: row["error"]["what"] for n, row in found.items() if row["status"] == "failed"}
    assert set(failed) == set(DEATHS), failed
    assert set(found) == set(names)
    for name, what in DEATHS.items():
        assert what in failed[name], name
    assert set(documents("out")) == {f"{n}.json" for n in names if n.startswith("fine")}
    assert set(table("out/failed.csv")) == set(DEATHS)
    assert list((deadly / "out").glob(".mmalign-*.tmp")) == []


COMMAND = [sys.executable, "-m", "mmalign_cli", "batch", "m.csv", "-o", "out"]


@pytest.fixture
def many(folder):
    """``m.csv``: 400 rows of short pairs."""
    rng = np.random.default_rng(0)
    for k in range(20):
        np.save(folder / f"s{k}.npy", rng.normal(size=(40, 2)).cumsum(axis=0))
    pairs = [(a, b) for a in range(20) for b in range(20)]
    lines = "".join(f"r{a}_{b},s{a}.npy,s{b}.npy,10\n" for a, b in pairs)
    (folder / "m.csv").write_text("id,reference,query,rate\n" + lines)
    return folder


def started(n_results, jobs):
    """Start a batch, and return once it has that many results, or has ended."""
    command = [*COMMAND, "--jobs", str(jobs)]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = Path("out/results.ndjson")
    end = time.monotonic() + 60
    while parent.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= n_results:
            break
        time.sleep(0.005)
    return parent


def workers_of(folder):
    import psutil

    return [
        p.pid
        for p in psutil.process_iter(["cmdline", "cwd"])
        if "mmalign_cli.batch.worker" in (p.info["cmdline"] or []) and p.info["cwd"] == str(folder)
    ]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_workers_that_are_ended_leave_no_half_document(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    half = tmp_path / f".mmalign-{dead.pid}-abc.tmp"
    half.touch()
    slot.Slots(slot.Setup(str(tmp_path), str(tmp_path))).close()
    assert not half.exists()


def test_killed_and_run_again(run, many):
    kept = {}
    for n_results in (0, 60):
        parent = started(n_results, 1)
        parent.kill()
        parent.wait()
        for document in documents("out").values():
            assert document.endswith(b"\n}\n")
        if Path("out/results.ndjson").exists():
            whole = Path("out/results.ndjson").read_bytes().rpartition(b"\n")[0]
            kept |= {row["id"]: row for row in map(json.loads, whole.splitlines())}
    assert len(kept) >= 60
    done = run("batch", "m.csv", "-o", "out", "--jobs", "1")
    assert (done.code, done.stderr) == (0, ""), done.stderr
    lines = Path("out/results.ndjson").read_text().splitlines()
    assert len(lines) == len(results()) == 400
    assert all(results()[row_id] == row for row_id, row in kept.items())  # none was done twice
    assert len(documents("out")) == 400
    end = time.monotonic() + 60  # a worker that waits for a busy disk ends when that is done
    while workers_of(many) and time.monotonic() < end:
        time.sleep(0.05)
    assert workers_of(many) == []
    assert run("batch", "m.csv", "-o", "out", "--jobs", "1").stdout.startswith("0 rows done, 400")
    assert list((many / "out").glob(".mmalign-*.tmp")) == []


def test_interrupted(many):
    parent = started(20, 2)
    start = time.monotonic()
    parent.send_signal(signal.SIGINT)
    assert parent.wait(20) == 130
    assert time.monotonic() - start < 5
    assert len(results()) >= 20


def test_dask_gives_the_same(run, rows, inside):
    pytest.importorskip("distributed")
    assert run("batch", "m.csv", "-o", "out", "-q").code == 0
    done = subprocess.run(
        [*COMMAND[:4], "m.csv", "-o", "dasked", "-q", "--engine", "dask", "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert documents("out") == documents("dasked")
    for name in ("one", "two", "three"):
        assert results("dasked")[name]["key"] == results("out")[name]["key"]


def test_documents_that_cannot_be_made_end_the_run(run, many, inside, monkeypatch):
    def ran_out(outputs, path):
        raise MemoryError

    monkeypatch.setattr(Outputs, "open", ran_out)
    done = run("batch", "m.csv", "-o", "out", "--jobs", "1")
    assert (done.code, done.stderr.splitlines()[0]) == (
        5,
        "mmalign: error: documents: cannot be written: MemoryError()",
    )
