"""What `mmalign batch` promises, measured: speed beside loops, scaling, identity, faults, kills.

python benchmarks/batch.py [peers] [scaling] [identity] [faults] [kills] [many]

Recordings are taken from ../shared/data where they are there, else made up. Ratios are of runs in
turn, so that a slow moment of the machine meets both.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

COMMAND = [sys.executable, "-m", "mmalign_cli"]
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
Row = dict[str, str]


def write_manifest(path: str, rows: Iterable[Row]) -> None:
    """Write rows that all have the same columns."""
    rows = list(rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def batch(*arguments: str, codes: tuple[int, ...] = (0,)) -> float:
    """Run a batch, and return how many seconds it took."""
    start = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, "batch", *arguments, "-q"], capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        raise RuntimeError(done.stderr)
    return time.perf_counter() - start


def results(folder: str) -> list[dict[str, Any]]:
    """Return the records of a batch."""
    return [json.loads(line) for line in Path(folder, "results.ndjson").open(encoding="utf-8")]


def steady_rate(folder: str) -> float:
    """Return rows a second once the workers run: over the middle 80 % of the rows."""
    ends = sorted(record["finished"] for record in results(folder))
    first, last = len(ends) // 10, len(ends) * 9 // 10
    return (last - first) / float(ends[last] - ends[first])


def load() -> str:
    """Return how busy the machine is: others disturb what is measured here."""
    return f"[load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors]"


# ---------------------------------------------------------------- beside loops


def clips(n: int) -> list[str]:
    """Write n clips of 3 s of the two takes in sample_data, and their 300 x 13 MFCC frames."""
    import soundfile

    takes = [
        soundfile.read(ROOT / "sample_data" / f"piece_take{take}.wav", always_2d=True)
        for take in (1, 2)
    ]
    names = []
    for k in range(n):
        sound, rate = takes[k % 2]
        at = (k // 2) * (len(sound) - 3 * rate) // (n // 2)
        names.append(f"clip{k:03d}")
        soundfile.write(f"{names[-1]}.wav", sound[at : at + 3 * rate, 0], rate)
        np.save(f"{names[-1]}.npy", mfcc(f"{names[-1]}.wav")[:300])
    return names


def mfcc(name: str) -> Any:
    """Return the MFCC frames of a sound, as a user of librosa computes them."""
    import librosa

    sound, rate = librosa.load(name, sr=None)
    found = librosa.feature.mfcc(y=sound, sr=rate, n_mfcc=13, hop_length=int(rate) // 100)
    return found.T.astype(np.float64)


def loops() -> dict[str, Callable[[Any, Any], Any]]:
    """Return what a user would call for each pair, of the libraries that are installed."""
    found: dict[str, Callable[[Any, Any], Any]] = {}
    try:
        from tslearn.metrics import dtw_path

        found["tslearn"] = lambda x, y: np.array(dtw_path(x, y)[0])
    except ImportError:
        print("tslearn is not installed")
    try:
        from dtaidistance import dtw_ndim

        found["dtaidistance"] = lambda x, y: np.array(dtw_ndim.warping_path(x, y, use_c=True))
    except ImportError:
        print("dtaidistance is not installed")
    from librosa.sequence import dtw

    found["librosa"] = lambda x, y: dtw(x.T, y.T)[1][::-1]
    return found


Cost = tuple[float, float]
"""Rows a second, and milliseconds of processor a row: the latter hardly depends on the load."""


def loop(align: Callable[[Any, Any], Any], read: Callable[[str], Any], pairs: list[Any]) -> Cost:
    """Align pairs one after the other and write their paths, as a user's script does."""
    wall, processor = time.perf_counter(), time.process_time()
    for k, (a, b) in enumerate(pairs):
        np.save(f"path{k}.npy", align(read(a), read(b)))
    n = len(pairs)
    return n / (time.perf_counter() - wall), 1000 * (time.process_time() - processor) / n


def children_s() -> float:
    """Return the seconds of processor that ended processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(manifest: str, folder: str, n_rows: int, more: Iterable[str]) -> Cost:
    """Run a batch; its start, measured by a few rows, is not counted."""
    few = Path(manifest).read_text(encoding="utf-8").splitlines()[:3]
    Path("few.csv").write_text("\n".join(few) + "\n", encoding="utf-8")
    usual = ("--jobs", "2", *more)
    batch("few.csv", "-o", f"first_{folder}", *usual)  # kernels are compiled by then
    before = children_s()
    batch("few.csv", "-o", f"few_{folder}", *usual)
    start_s = children_s() - before
    batch(manifest, "-o", folder, *usual)
    return steady_rate(folder), 1000 * (children_s() - before - 2 * start_s) / n_rows


def peers(n_pairs: int = 1200, rounds: int = 3) -> None:
    """Rows a second, paths written, beside loops over the same files."""
    names = clips(40)
    pairs = [(k % 40, (k // 40 * 7 + k + 1) % 40) for k in range(n_pairs)]
    programs, quick = loops(), ("--option", "confidence=none")
    for ending, read, keys in (
        ("npy", np.load, ("--rate", "100")),
        ("wav", mfcc, ("--features", "mfcc")),
    ):
        files = [(f"{names[a]}.{ending}", f"{names[b]}.{ending}") for a, b in pairs]
        rows = ({"id": f"p{k}", "reference": a, "query": b} for k, (a, b) in enumerate(files))
        write_manifest(f"{ending}.csv", rows)
        costs: dict[str, list[Cost]] = {}
        for r in range(rounds):
            for name, align in programs.items():
                loop(align, read, files[:2])
                costs.setdefault(name, []).append(loop(align, read, files[: n_pairs // 8]))
            for name, more in (
                ("batch", ()), ("batch, no nulls", quick),
                ("batch, no nulls, no path", (*quick, "--no-path")),
            ):  # fmt: skip
                folder = f"{ending}{name.replace(' ', '_')}{r}"
                cost = ours(f"{ending}.csv", folder, n_pairs, (*keys, *more))
                costs.setdefault(name, []).append(cost)
        report(ending, costs, programs)


def report(ending: str, costs: dict[str, list[Cost]], programs: Iterable[str]) -> None:
    """Print medians, beside the best loop."""
    medians = {
        n: [statistics.median(c[i] for c in cost) for i in (0, 1)] for n, cost in costs.items()
    }
    best = [max(medians[n][0] for n in programs), min(medians[n][1] for n in programs)]
    print(f"300 x 13 MFCC frames from .{ending}, paths written, two processes {load()}")
    for name, (rate, cost) in medians.items():
        print(
            f"  {name:<26}{rate:>7.0f} rows/s {rate / best[0]:5.2f} of the best loop,"
            f" {cost:6.2f} ms of processor a row, the best loop's by {best[1] / cost:.2f}"
        )


# ---------------------------------------------------------------- scaling, identity


def short_pairs(n: int) -> list[Row]:
    """Return rows of short pairs: spoken digits, and markers of actions."""
    digits = sorted(str(p) for p in (DATA / "speech_digits_fsdd").glob("*.wav"))
    actions = sorted(str(p) for p in (DATA / "action_utd_mhad").glob("*_skeleton.npy"))
    if not digits or not actions:
        return made_pairs(n)
    r = random.Random(0)
    rows = []
    for k in range(n):
        files = digits if k % 2 else actions
        a, b = r.sample(files, 2)
        rows.append({"id": f"r{k:05d}", "reference": a, "query": b, "rate": "" if k % 2 else "50"})
    return rows


def made_pairs(n: int, frames: int = 50) -> list[Row]:
    """Return rows of made-up pairs of two columns."""
    rng = np.random.default_rng(0)
    for k in range(40):
        np.save(f"made{k}.npy", rng.normal(size=(frames, 2)).cumsum(axis=0))
    return [
        {
            "id": f"r{k:06d}",
            "reference": f"made{k % 40}.npy",
            "query": f"made{k // 40 % 40}.npy",
            "rate": "100",
        }
        for k in range(n)
    ]


def scaling(n: int = 2000, n_long: int = 12_000, rounds: int = 3) -> None:
    """``--jobs 2`` beside ``--jobs 1``, and beside what two processors of this machine can do."""
    for name, count in (("few", 100), ("short", n), ("long", n_long)):
        write_manifest(f"{name}.csv", short_pairs(count))
    batch("few.csv", "--jobs", "2", "-o", "few")  # kernels are compiled by then
    whole = []
    for r in range(rounds):
        seconds = [batch("short.csv", "--jobs", str(j), "-o", f"jobs{j}_{r}") for j in (1, 2)]
        whole.append(seconds[0] / seconds[1])
        print(f"  {n} short pairs: {seconds[0]:.1f} s, {seconds[1]:.1f} s with two jobs {load()}")
    rates: dict[str, list[float]] = {}
    for r in range(rounds):
        for jobs in ("1", "2"):
            batch("long.csv", "--jobs", jobs, "-o", f"long{jobs}_{r}")
            rates.setdefault(jobs, []).append(steady_rate(f"long{jobs}_{r}"))
        rates.setdefault("apart", []).append(rate_apart("long.csv", f"apart_{r}"))
    one, two, apart = (statistics.median(rates[key]) for key in ("1", "2", "apart"))
    print(
        f"--jobs 2 is {statistics.median(whole):.2f} times --jobs 1 on {n} rows, start and end"
        f" included; while they run, on {n_long} rows, {two / one:.2f} times: {one:.0f} and"
        f" {two:.0f} rows/s. Two batches of one job side by side: {apart / one:.2f}"
    )


def rate_apart(manifest: str, folder: str) -> float:
    """Return rows a second of two batches of one job each, at the same time."""
    command = [*COMMAND, "batch", manifest, "--jobs", "1", "-q", "-o"]
    both = [subprocess.Popen([*command, f"{folder}_{k}"]) for k in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    return sum(steady_rate(f"{folder}_{k}") for k in range(2))


def documents(folder: str) -> dict[str, bytes]:
    """Return the documents of a batch."""
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.json")}


def identity(n: int = 300, n_single: int = 25) -> None:
    """Documents of single runs, jobs, shards and dask are the same."""
    rows = short_pairs(n)
    write_manifest("same.csv", rows)
    batch("same.csv", "--jobs", "2", "-o", "two")
    batch("same.csv", "--jobs", "1", "-o", "one")
    for k in (1, 2):
        batch("same.csv", "--jobs", "1", "-o", f"shard{k}", "--shard", f"{k}/2")
    subprocess.run([*COMMAND, "batch", "merge", "shard1", "shard2", "-o", "merged"], check=True)
    batch("same.csv", "--jobs", "2", "-o", "dask", "--engine", "dask")
    expected = documents("two")
    for folder in ("one", "merged", "dask"):
        print(f"  {folder}: {len(expected)} documents identical: {documents(folder) == expected}")
    same = 0
    for row in rows[:: n // n_single]:
        rate = ["--rate", row["rate"]] if row["rate"] else []
        arguments = ["dtw", row["reference"], row["query"], *rate, "-o", "single.json", "--force"]
        subprocess.run([*COMMAND, *arguments, "-q"], check=True, capture_output=True)
        same += Path("single.json").read_bytes() == expected[f"{row['id']}.json"]
    print(f"  single runs: {same} of {len(rows[:: n // n_single])} documents identical")


# ---------------------------------------------------------------- faults, kills

FAULTS = ("gone", "nans", "half", "kill", "hogs", "loop")
MISBEHAVING = """
import os, signal, sys, time
from mmalign_cli.batch import aligning, process, worker

if sys.argv[1:] == ["worker"]:
    plain = aligning.load_stream
    def load_stream(spec, name):
        fate = os.path.basename(spec.path)[:4]
        if fate == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while fate == "loop":
            pass
        hoard = []
        while fate == "hogs":
            hoard.append(b"x" * 2**22)
            time.sleep(0.0005)
        return plain(spec, name)
    aligning.load_stream = load_stream
    worker.main()
else:
    process.WORKER = (sys.executable, __file__, "worker")
    from mmalign_cli.commands.main import main
    main(sys.argv[1:])
"""


def faults(n: int = 500, n_bad: int = 20) -> None:
    """Rows that fail in every way, among others that do not."""
    rows = made_pairs(n)
    for name in ("kill", "hogs", "loop"):
        np.save(f"{name}.npy", np.zeros((50, 2)))
    np.save("nans.npy", np.full((50, 2), np.nan))
    Path("half.npy").write_bytes(Path("made0.npy").read_bytes()[:-100])
    bad = random.Random(2).sample(range(n), n_bad)
    for number, k in enumerate(bad):
        rows[k]["query"] = f"{FAULTS[number % len(FAULTS)]}.npy"
    write_manifest("faults.csv", rows)
    Path("misbehaving.py").write_text(MISBEHAVING, encoding="utf-8")
    command = [sys.executable, "misbehaving.py", "batch", "faults.csv", "-o", "faults"]
    more = ["--jobs", "2", "--timeout", "3s", "--max-memory", "400M", "-q"]
    start = time.perf_counter()
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    found = results("faults")
    failed = [record for record in found if record["status"] == "failed"]
    right = {record["id"] for record in failed} == {rows[k]["id"] for k in bad}
    print(
        f"  exit {done.returncode}: {len(found) - len(failed)} done, {len(failed)} failed"
        f" (the right ones: {right}), {time.perf_counter() - start:.0f} s {load()}"
    )
    for what in sorted({record["error"]["what"] for record in failed}):
        print(f"    {what}")


def kills(n: int = 8000, moments: int = 10) -> None:
    """``kill -9`` of the parent at random moments of the run, and run again."""
    write_manifest("kills.csv", made_pairs(n))
    arguments = ["kills.csv", "-o", "killed", "--jobs", "2", "-q", "--option", "confidence=none"]
    r, kept, again = random.Random(3), dict[str, Any](), 0
    for _ in range(moments):
        parent = subprocess.Popen([*COMMAND, "batch", *arguments])
        time.sleep(r.uniform(0.5, 3))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        for path in Path("killed").glob("*.json"):
            assert path.read_bytes().endswith(b"\n}\n"), f"half a file: {path}"
        if Path("killed/results.ndjson").exists():
            whole = Path("killed/results.ndjson").read_bytes().rpartition(b"\n")[0]
            now = {x["id"]: x for x in map(json.loads, whole.splitlines())}
            again += sum(kept[row_id] != now.get(row_id) for row_id in kept)
            kept = now
    at_last = len(kept)
    batch(*arguments[:-3], "--option", "confidence=none")
    ends = results("killed")
    again += sum(kept[x["id"]] != x for x in ends if x["id"] in kept)
    left = [p.name for p in Path("killed").glob(".mmalign-*.tmp")]
    once = len(ends) == len({x["id"] for x in ends}) == n == len(documents("killed"))
    print(
        f"  {moments} kills, {at_last} of {n} rows done by then; each row ends once: {once};"
        f" done twice: {again}; temporary files left: {len(left)} {load()}"
    )


# ---------------------------------------------------------------- many rows


def watched(arguments: list[str]) -> Iterator[tuple[float, int]]:
    """Run a batch; yield seconds and the resident bytes of its parent, every half second."""
    parent = subprocess.Popen([*COMMAND, "batch", *arguments, "-q"], stdout=subprocess.DEVNULL)
    start, process = time.perf_counter(), psutil.Process(parent.pid)
    while parent.poll() is None:
        try:
            yield time.perf_counter() - start, process.memory_info().rss
        except psutil.Error:
            break
        time.sleep(0.5)
    assert parent.wait() == 0


def many(n: int = 100_000, n_run: int = 30_000) -> None:
    """Run a long manifest: its start, what a row costs beside its own work, memory over time."""
    write_manifest("many.csv", made_pairs(n, frames=8))
    seen = list(watched(["many.csv", "-o", "many", "--dry-run"]))
    most = max(taken for _, taken in seen) / 1e6
    print(f"  {n} rows checked in {seen[-1][0]:.1f} s, {most:.0f} MB {load()}")
    write_manifest("run.csv", made_pairs(n_run, frames=8))
    options = ["--option", "confidence=none", "--no-path", "--jobs", "2"]
    start = time.time()
    seen = list(watched(["run.csv", "-o", "many", *options]))
    records = results("many")
    ends = sorted(record["finished"] for record in records)
    first, last = len(ends) // 10, len(ends) * 9 // 10
    wall_ms = 1000 * (ends[last] - ends[first]) / (last - first)
    own_ms = 1000 * statistics.mean(record["seconds"] for record in records) / 2
    quarter, three = (seen[len(seen) * k // 4][1] / 1e6 for k in (1, 3))
    print(
        f"  {n_run} tiny rows, first result after {ends[0] - start:.1f} s, {wall_ms:.2f} ms a row,"
        f" {wall_ms - own_ms:.2f} ms of them beside aligning and writing;"
        f" parent {quarter:.0f} MB after a quarter, {three:.0f} MB after three {load()}"
    )
    seconds = batch("run.csv", "-o", "many", *options)
    print(f"  run again with nothing to do: {seconds:.1f} s {load()}")


PARTS: dict[str, Callable[[], None]] = {
    "peers": peers,
    "scaling": scaling,
    "identity": identity,
    "faults": faults,
    "kills": kills,
    "many": many,
}


def main() -> None:
    """Run the parts that are named, or all."""
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(name, flush=True)
            PARTS[name]()
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
