"""The parts of a batch by themselves: manifest, options of rows, ledger, memory, pace, tables."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import queue
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from types import SimpleNamespace

import numpy as np
import pytest

from mmalign_cli.batch import slot
from mmalign_cli.batch.aligning import Aligner
from mmalign_cli.batch.files import Digests, stat_of, unchanged
from mmalign_cli.batch.folders import match_folders
from mmalign_cli.batch.job import Job
from mmalign_cli.batch.ledger import Index, Ledger
from mmalign_cli.batch.manifest import read_manifest, with_whole_paths
from mmalign_cli.batch.mark import Mark
from mmalign_cli.batch.memory import Budget
from mmalign_cli.batch.merge import merge
from mmalign_cli.batch.meter import Meter
from mmalign_cli.batch.runner import Pace
from mmalign_cli.batch.session import locked
from mmalign_cli.batch.summary import COLUMNS
from mmalign_cli.batch.wire import decode, encode
from mmalign_cli.commands import batch_progress
from mmalign_cli.commands.main import COMMANDS
from mmalign_cli.commands.rows import ROW_METHODS, OptionReader, RowReader
from mmalign_cli.errors import InputError, OutputError, UsageError
from mmalign_cli.pipeline.ctw import CtwSettings
from mmalign_cli.pipeline.dctw import DctwSettings
from mmalign_cli.pipeline.gtw import GtwSettings
from mmalign_cli.pipeline.methods import METHODS
from mmalign_cli.pipeline.restrictions import DtwSettings
from mmalign_cli.pipeline.sync_other import SyncSettings
from mmalign_cli.write import atomic


def checked(manifest, method="dtw", defaults=(), only=None):
    return RowReader(str(manifest), method, defaults, only).check(read_manifest(str(manifest)))


def write(path, text):
    path.write_text(text, "utf-8")
    return path


# -- the manifest


def test_the_same_rows_as_csv_and_as_json_lines(wave):
    write(wave / "m.csv", "id,reference,query,metric,open-end\nx,a.csv,b.csv,cosine,true\n\n")
    row = {"id": "x", "reference": "a.csv", "query": "b.csv", "metric": "cosine", "open_end": True}
    write(wave / "m.jsonl", f"{json.dumps(row)}\n\n{json.dumps({**row, 'id': 7, 'truth': None})}\n")
    (one,), (same, seven) = checked("m.csv").jobs, checked("m.jsonl").jobs
    assert one.settings == same.settings
    assert one.settings["metric"] == "cosine"
    assert one.settings["open_end"] is True
    assert [spec.path for spec in one.specs] == ["a.csv", "b.csv"]
    assert one.task({}) == same.task({})
    assert seven.id == "7"
    assert seven.truth is None


def test_paths_start_at_the_manifest(wave):
    (wave / "sub").mkdir()
    write(wave / "sub" / "m.csv", "reference,query,anchors,truth\n../a.csv,../b.csv,t.csv,u.csv\n")
    for name in ("t", "u"):
        write(wave / "sub" / f"{name}.csv", "0,0\n")
    (job,) = checked(wave / "sub" / "m.csv").jobs
    assert job.id == "row00001"
    assert {os.path.realpath(p) for p in job.inputs()} == {
        str(wave / name) for name in ("a.csv", "b.csv", "sub/t.csv", "sub/u.csv")
    }
    assert job.settings["anchors"] == job.files[0] == str(wave / "sub" / "t.csv")
    whole = with_whole_paths(job.cells, str(wave / "sub"), job.specs, [*job.files, job.truth])
    write(wave / "again.csv", f"{','.join(whole)}\n{','.join(whole.values())}\n")
    moved = with_whole_paths(
        {"reference": "a.csv,rate=5", "query": "b.csv"}, "", checked("sub/m.csv").jobs[0].specs, []
    )
    assert moved["query"] == str(wave / "b.csv")
    assert checked("again.csv").jobs[0].inputs() == [os.path.abspath(p) for p in job.inputs()]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("x,a.csv,b.csv,dtw,", None),
        ("../x,a.csv,b.csv,,", "cannot be a file name"),
        ("y,a.csv,,,", "1 streams, dtw takes 2"),
        ("y,a.csv,b.csv,dtv,", "did you mean dtw?"),
        ("y,a.csv,b.csv,dtw,cosin", "did you mean cosine?"),
        ("y,a.csv,b.csv,ctw,cosine", "is no option of a row of ctw"),
        ('y,"a.csv,rat=3",b.csv,dtw,', "unknown key rat="),
        ("y,-,b.csv,dtw,", "standard input cannot be part of a batch"),
        ("y,a.csv,b.csv", "3 cells, the header has 5"),
    ],
)
def test_faults_of_rows(wave, row, what):
    write(wave / "m.csv", f"id,reference,query,method,metric\n{row}\n")
    found = checked("m.csv")
    if what is None:
        assert len(found.jobs) == 1
        return
    (fault,) = found.faults
    assert fault.line == 2
    assert what in f"{fault}; {fault.hint}"


def test_clashing_ids_are_told_with_both_lines(wave):
    write(wave / "m.csv", "id,reference,query\nx,a.csv,b.csv\nx,a.csv,b.csv\nX,a.csv,b.csv\n")
    faults = checked("m.csv").faults
    assert [str(fault)[:31] for fault in faults] == [
        "line 3: id 'x' is also on line ", "line 4: id 'X' is also on line ",
    ]  # fmt: skip
    assert str(faults[1]).endswith("2 as 'x': on some systems that is one file")


def test_faults_of_a_manifest(wave):
    cases = {
        "reference,reference\n": "every column needs a name of its own",
        "refrence,quary\na,b\n": "has no column of streams",
        'reference,query\n"a,b\n': "line 2",
    }
    for text, what in cases.items():
        write(wave / "m.csv", text)
        with pytest.raises(InputError, match=what):
            checked("m.csv")
    write(wave / "m.jsonl", '{"reference": "a.csv"\n["a"]\n{"reference": {}}\n')
    assert [str(f) for f in checked("m.jsonl").faults] == [
        "line 1: is not JSON", "line 2: is not an object of plain values",
        "line 3: is not an object of plain values",
    ]  # fmt: skip
    (wave / "m.csv").write_bytes(b"reference,query\n\xff,b\n")
    with pytest.raises(InputError, match="UTF-8"):
        checked("m.csv")


def test_a_missing_file_is_of_its_row_alone(wave):
    write(wave / "m.csv", "id,reference,query\nx,a.csv,b.csv\ny,a.csv,bb.csv\n")
    found = checked("m.csv")
    assert [job.id for job in found.jobs] == ["x"]
    ((job, error),) = found.missing
    assert (job.id, job.number, error.what) == ("y", 1, "no such file")
    assert "b.csv" in error.hint


# -- options


SETTINGS = {
    "dtw": DtwSettings,
    "ctw": CtwSettings,
    "dctw": DctwSettings,
    "gtw": GtwSettings,
    "sync": SyncSettings,
}


@pytest.mark.parametrize("method", METHODS)
def test_a_row_without_options_is_a_command_without_options(method):
    assert ROW_METHODS.keys() == METHODS.keys()
    assert ROW_METHODS[method].module == COMMANDS[method][0].partition(":")[0]
    parsed = OptionReader(method, "").read(())
    assert parsed.keys == {}
    assert SETTINGS[method](**parsed.settings) == SETTINGS[method]()


def test_options_are_read_as_the_command_reads_them():
    reader = OptionReader("ctw", "")
    parsed = reader.read(
        (("preset", "reference"), ("starts", "3"), ("rate", "5"), ("header", "no"))
    )
    assert parsed.keys == {"rate": "5", "header": "false"}
    settings = CtwSettings(**parsed.settings)
    assert (settings.algorithm, settings.starts, settings.dims) == ("alternating", 3, 0.95)
    assert reader.read((("dims", "2"),)) is reader.read((("dims", "2"),))
    dtw = OptionReader("dtw", "")
    assert dtw.read((("exact", "no"),)).settings["approximate"] is True
    assert dtw.read((("open-end", "no"),)).settings["open_end"] is False
    for name, text, what in (
        ("output", "x", "is no option of a row"), ("threads", "2", "is no option"),
        ("open-end", "perhaps", "neither true nor false"), ("coupling", "soft", "is no option"),
        ("top", "2", "without --subsequence"), ("radius", "-3", "radius"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=what):
            dtw.read(((name, text),))


def test_options_of_all_rows_yield_to_those_of_a_row(wave):
    write(
        wave / "m.csv",
        "id,reference,query,metric,method\nx,a.csv,b.csv,,\ny,a.csv,b.csv,cosine,\nz,a.csv,b.csv,,ctw\n",
    )
    defaults = (("metric", "cityblock"), ("rate", "5"))
    x, y, z = checked("m.csv", defaults=defaults).jobs
    assert [j.settings.get("metric") for j in (x, y, z)] == ["cityblock", "cosine", None]
    assert all(spec.given == {"rate": "5"} for job in (x, y, z) for spec in job.specs)
    with pytest.raises(UsageError, match="is no option of"):
        checked("m.csv", defaults=(("metrik", "cosine"),))
    faults = checked("m.csv", only="sync", method="sync").faults
    assert "an audit is of sync alone" in str(faults[-1])


# -- folders


def test_folders_are_matched_by_name(folder):
    for name in ("r/a.wav", "r/s/b.wav", "r/only.wav", "q/a.wav", "q/s/b.flac", "q/s/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    rows, alone = match_folders("r", "q", ["*.wav", "*.flac"], "out")
    assert rows == [
        {"id": "a", "reference": "../r/a.wav", "query": "../q/a.wav"},
        {"id": "s_b", "reference": "../r/s/b.wav", "query": "../q/s/b.flac"},
    ]
    assert alone == ["r/only.wav"]
    with pytest.raises(InputError, match="no file of 0 has its name in q"):
        match_folders("r", "q", ["*.mp3"], ".")
    (folder / "r" / "a.flac").touch()
    with pytest.raises(InputError, match="called the same but for the ending"):
        match_folders("r", "q", ["*"], ".")
    with pytest.raises(InputError, match="no such file"):
        match_folders("p", "q", ["*"], ".")


def test_a_manifest_of_folders(run, wave):
    for name in "rq":
        (wave / name).mkdir()
        os.link(wave / "a.csv", wave / name / "one.csv")
    done = run("batch", "--from-folders", "r", "q", "--match", "*.csv")
    assert (done.code, done.stdout) == (0, "id,reference,query\none,r/one.csv,q/one.csv\n")
    assert run("batch", "--from-folders", "r", "q", "-o", "m.csv").code == 0
    assert len(checked("m.csv").jobs) == 1
    assert run("batch", "--from-folders", "r", "q", "-o", "m.csv").code == 5
    assert run("batch", "m.csv", "--from-folders", "r", "q").code == 2


# -- the ledger


def record(row_id, finished=1.0, **fields):
    return {
        "id": row_id,
        "status": "done",
        "task": "t",
        "inputs": [],
        "finished": finished,
        **fields,
    }


def test_a_torn_line_is_ignored_and_cut_off(folder):
    ledger = Ledger("results.ndjson")
    ledger.append([record("a"), record("b")])
    ledger.append([record("a", 2.0, seconds=5)])
    ledger.close()
    whole = (folder / "results.ndjson").read_bytes()
    for torn in (b'{"id": "c", "sta', b"\0" * 30, b"{"):
        (folder / "results.ndjson").write_bytes(whole + torn)
        index = Index(["results.ndjson", "missing.ndjson"])
        assert index.ids() == ["a", "b"]
        assert index.n_records == 3
        assert "cut short" in index.warnings[0]
        assert [r.get("seconds") for r in index.records(["b", "a", "c"])] == [None, 5]
        Ledger("results.ndjson").close()
        assert (folder / "results.ndjson").read_bytes() == whole
    (folder / "results.ndjson").write_bytes(b'{"id": "a"}\nnull\n' + whole)
    assert Index(["results.ndjson"]).warnings == ["results.ndjson: 2 lines are damaged: ignored"]
    (folder / "results.ndjson").write_bytes(b"half of the first")
    Ledger("results.ndjson").close()
    assert (folder / "results.ndjson").read_bytes() == b""


def test_a_folder_has_one_run_at_a_time(folder):
    with locked("."):
        with pytest.raises(OutputError, match="another batch is writing there"), locked("."):
            pass
        with locked(".", (1, 2)), locked(".", (2, 2)):
            pass
    with locked("."):
        pass


def test_a_file_is_known_by_its_status_or_else_by_its_content(folder):
    path = write(folder / "x", "one")
    known = {"stat": list(stat_of("x")), "sha256": Digests().of("x", None)}
    assert unchanged("x", known, Digests())
    os.utime(path, (1, 1))
    assert unchanged("x", known, Digests())  # touched, the same content
    assert not unchanged("x", {**known, "sha256": None}, Digests())
    write(path, "two")
    assert not unchanged("x", known, Digests())
    path.unlink()
    assert not unchanged("x", known, Digests())
    assert unchanged("x", {"stat": None, "sha256": None}, Digests())


# -- memory and pace


def test_who_needs_much_waits_for_it_and_is_not_starved():
    budget = Budget(100, 4)
    assert budget.share == 25
    small = [budget.take(budget.share) for _ in range(3)]
    order = []

    def want(name, n_bytes):
        order.append((name, budget.take(n_bytes)))
        time.sleep(0.01)
        budget.give(min(n_bytes, 100))

    threads = []
    for name, n_bytes in (("large", 80), ("more than all", 500), ("small", 25)):
        threads.append(threading.Thread(target=want, args=(name, n_bytes)))
        threads[-1].start()
        time.sleep(0.02)
    assert order == []  # 75 are held: the small one would fit, but does not overtake
    for held in small:
        budget.give(held)
    for thread in threads:
        thread.join(5)
    assert order == [("large", 80), ("more than all", 100), ("small", 25)]


def test_chunks_grow_while_rows_are_short_and_shrink_at_the_end():
    pace, sizes = Pace(2), []
    for chunk in pace.chunks(range(2000)):
        sizes.append(len(chunk))
        pace.learn(len(chunk), 0.001 * len(chunk))
    assert sum(sizes) == 2000
    assert sizes[:4] == [1, 2, 4, 8]
    assert max(sizes) in range(200, 501)
    assert min(sizes[-4:-1]) == 50  # a twentieth of a second: less is not worth handing over
    slow = Pace(2)
    for chunk in slow.chunks(range(10)):
        assert len(chunk) == 1
        slow.learn(1, 3.0)


# -- slots


class Scripted:
    """A worker that keeps the rows it is told to, and dies of one."""

    def __init__(self, cwd, threads):
        self.keeps, self.dies_of = self.scripts.pop(0)
        self.mark, self.sent, self.answers = Mark(), [], queue.SimpleQueue()
        self.answers.put({"ready": 0})
        self.started.append(self)

    def send(self, message):
        for row in message.get("rows", ()):
            self.sent.append(row["id"])
            self.told.release()
            if row["id"] in self.keeps:
                self.answers.put({"kept": [{"id": row["id"], "status": "done"}]})
            elif row["id"] == self.dies_of:
                self.mark.set(len(self.sent), True)
                self.answers.put(None)

    def receive(self):
        return self.answers.get()

    def resident(self):
        return 0

    def kill(self):
        self.answers.put(None)

    def bury(self):
        self.mark.unlink()
        return -9, ""


def job(name):
    return Job(name, 0, "dtw", (), {}, (), None, 1.0, {})


@pytest.fixture
def scripted(monkeypatch):
    """Return slots whose workers keep some rows and die of one."""

    def slots(jobs, *scripts):
        for name, value in (("scripts", [*scripts]), ("started", []), ("told", Semaphore(0))):
            monkeypatch.setattr(Scripted, name, value, raising=False)
        return slot.Slots(slot.Setup(None, os.getcwd(), jobs=jobs))

    monkeypatch.setattr(slot, "WorkerProcess", Scripted)
    return slots


def test_chunks_share_a_worker_and_what_it_dies_of_is_one_row(scripted):
    slots, chunks = scripted(1, ("a", "c"), ("abdef", None)), ["ab", "cdef"]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(slots.run, ([job(name) for name in names] for names in chunks)))
    slots.close()
    assert [sorted(record["id"] for record in chunk) for chunk in found] == [*map(list, chunks)]
    failed = [r["id"] for chunk in found for r in chunk if r["status"] == "failed"]
    assert failed == ["c"]
    assert len(Scripted.started) == 2


def test_only_short_rows_are_sent_ahead(scripted):
    slots = scripted(2, ("", None), ("", None))
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(slots.run, [job(name)]) for name in "abcd"]
        assert all(Scripted.told.acquire(timeout=60) for _ in "ab")
        assert [len(worker.sent) for worker in Scripted.started] == [1, 1]
        slots.close()
        for future in waiting:
            with pytest.raises(slot.StoppedError):
                future.result()
    assert not Scripted.told.acquire(blocking=False)


def test_rows_do_not_wait_for_a_slow_disk(wave, inside, monkeypatch):
    aligned, is_free = Semaphore(0), threading.Event()
    plain = Aligner.align

    def align(self, row):
        found = plain(self, row)
        aligned.release()
        return found

    def synchronise(files):
        assert is_free.wait(60)

    monkeypatch.setattr(Aligner, "align", align)
    monkeypatch.setattr(atomic, "_synchronise", synchronise)
    worker = slot.WorkerProcess(str(wave), 1)
    size = {"share": 10**9, "memory": 10**9, "threads": 1}
    how = {"with_path": True, "tolerance": None, "with_sounds": False}
    worker.send({"mark": worker.mark.path, **size, **how})
    assert "ready" in worker.receive()
    files = [str(wave / name) for name in ("a.csv", "b.csv")]
    for k in range(3):
        row = {
            "id": str(k), "method": "dtw", "streams": [[file, {}] for file in files],
            "settings": {}, "inputs": files, "truth": None, "task": "",
            "document": str(wave / f"{k}.json"),
        }  # fmt: skip
        worker.send({"rows": [row]})
        assert aligned.acquire(timeout=60)
    assert not list(wave.glob("*.json"))  # all are aligned, and none is on the disk
    is_free.set()
    kept = [[record["id"] for record in worker.receive()["kept"]] for _ in range(2)]
    assert kept == [["0"], ["1", "2"]]  # those that waited go together
    worker.bury()


# -- tables and merging


def test_merging_shards(folder):
    for name, rows in (("one", "ac"), ("two", "b")):
        number = 1 if name == "one" else 2
        (folder / name).mkdir()
        ledger = Ledger(f"{name}/results-{number}-of-2.ndjson")
        ledger.append([record(r, bytes=3, streams=["=x"], cost={"total": 1.5}) for r in rows])
        ledger.close()
        for r in rows:
            write(folder / name / f"{r}.json", f"<{r}>")
    (folder / "all").mkdir()
    with pytest.raises(InputError, match="shard 2 of 2 has no results"):
        merge(["one"], "all", False)
    failed = {"status": "failed", "error": {"code": 3, "subject": "x", "what": "bad", "hint": None}}
    ledger = Ledger("two/results-2-of-2.ndjson")
    ledger.append([record("d", **failed, row={"id": "d", "reference": "/r", "query": "/q"})])
    ledger.close()
    assert merge(["one", "two"], "all", True) == (4, 1)
    assert sorted(os.listdir("all")) == [
        "a.json", "b.json", "c.json", "failed.csv", "results.ndjson", "summary.csv",
        "summary.parquet",
    ]  # fmt: skip
    assert (folder / "all" / "b.json").read_text() == "<b>"
    rows = list(csv.DictReader((folder / "all" / "summary.csv").read_text().splitlines()))
    assert list(rows[0]) == list(COLUMNS)
    assert [(r["id"], r["cost_total"], r["streams"]) for r in rows[:2]] == [
        ("a", "1.5", "'=x"),
        ("c", "1.5", "'=x"),
    ]
    failures = (folder / "all" / "failed.csv").read_text()
    assert failures == "id,reference,query,reason\nd,/r,/q,x: bad\n"
    import pyarrow.parquet

    table = pyarrow.parquet.read_table("all/summary.parquet")
    assert table.column("id").to_pylist() == ["a", "c", "b", "d"]
    assert table.column("cost_total").to_pylist() == [1.5, 1.5, 1.5, None]
    ledger = Ledger("two/results-2-of-2.ndjson")
    ledger.append([record("a", task="other")])
    ledger.close()
    with pytest.raises(InputError, match="'a' has other results in another folder"):
        merge(["one", "two"], "all", False)
    with pytest.raises(InputError, match="holds no results"):
        merge(["."], ".", False)


def test_merging_in_place(run, folder):
    for number, row_id in ((1, "a"), (2, "b")):
        ledger = Ledger(f"results-{number}-of-2.ndjson")
        ledger.append([record(row_id)])
        ledger.close()
    done = run("batch", "merge", ".")
    assert (done.code, done.stdout) == (0, "2 rows done, 0 failed: .\n")
    assert Index(["results.ndjson"]).ids() == ["a", "b"]
    assert not list(folder.glob("results-*"))
    assert run("batch", "merge", ".", "..").code == 2


# -- between a worker and its parent


def test_both_sides_see_the_mark():
    parent = Mark()
    worker = Mark(parent.path)
    parent.unlink()
    assert not os.path.exists(parent.path)
    assert parent.get() == 0
    worker.set(2**40, True)
    assert parent.get() == 2**40
    worker.set(2**40, False)
    assert parent.get() == 0


def test_records_come_through_as_they_are():
    record = {"id": "x", "streams": ["caf\u00e9", "not UTF-8 \udcff"], "cost": 0.1, "errors": None}
    line = encode(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == record == json.loads(line)
    assert decode(encode({"p": np.float64(0.1)})) == {"p": 0.1}
    with pytest.raises(ValueError, match="line 1"):
        decode(line[:20])


def test_the_peak_of_memory_is_of_what_came_since():
    meter = Meter()
    before = meter.peak()
    big = np.ones(10_000_000)
    while_held = meter.peak()
    del big
    meter.reset()
    after = meter.peak()
    assert while_held - before > 50e6
    assert while_held - after > 50e6 or meter._files is None


# ---------------------------------------------------------------- progress


class Screen(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


def shown(monkeypatch, is_terminal, quiet=False):
    """Return what is on stderr when a batch is half done."""

    @contextlib.contextmanager
    def once(every_s, tick):
        yield
        tick()

    monkeypatch.setattr(batch_progress, "_ticking", once)
    monkeypatch.setattr(sys, "stderr", Screen(is_terminal))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(batch_progress, "time", SimpleNamespace(monotonic=lambda: 60.0))
    tally = batch_progress.Tally(8, since=0.0)
    with batch_progress.progress(tally, quiet):
        tally.count([{"status": status} for status in ("done", "failed", "done", "done")])
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sys.stderr.getvalue())


def test_progress_elsewhere_is_a_line(monkeypatch):
    line = "mmalign: 4 of 8 rows, 1 failed, 0.0667 a second, 1 min left\n"
    assert shown(monkeypatch, False) == line


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    assert re.search(r"4/8 1 failed 0\.0667 a second", shown(monkeypatch, True))


def test_progress_can_be_silent(monkeypatch):
    assert shown(monkeypatch, True, quiet=True) == ""


def test_progress_of_nothing_yet():
    assert batch_progress.Tally(8).line().endswith("0 a second, time left unknown")


def test_ticks_come_until_the_end():
    ticks = threading.Semaphore(0)
    with batch_progress._ticking(0.001, ticks.release):
        assert ticks.acquire(timeout=60)
