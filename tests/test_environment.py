"""What surrounds a command: signals, pipes, disks, locales, names, the kernels' cache.

Each test runs the real command in a process of its own; the number of the row of the table of
faults is in its name.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import locale
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli import runtime
from mmalign_cli.commands import main
from mmalign_cli.errors import InputError, LimitError, OutputError
from mmalign_cli.write import atomic
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.document import read_document

COMMAND = [sys.executable, "-m", "mmalign_cli"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PATIENCE_S = 60.0
DTW = ["dtw", "a.csv", "b.csv", "--json"]
ONE_ROAD = ["--step", "asymmetric", "--confidence", "none"]  # few kernels, compiled soon
INTERRUPTED = "mmalign: error: interrupted; nothing written"


def environment(**changes):
    """The environment with changes; None takes a variable out."""
    changed = {**os.environ, **{k: v for k, v in changes.items() if v is not None}}
    return {k: v for k, v in changed.items() if changes.get(k, "") is not None}


def mmalign(*arguments, **changes):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, check=False, env=environment(**changes)
    )


def shell(line, **changes):
    """Run a line of bash in which $M is the command."""
    changes["M"] = f"{sys.executable} -m mmalign_cli"
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, check=False, env=environment(**changes)
    )


def start(*arguments, options=(), **kwargs):
    command = [sys.executable, *options, "-m", "mmalign_cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def wait_until(condition, process):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)


def read_until(process, mark):
    """Read standard error up to a line that holds `mark`."""
    while True:
        ready, _, _ = select.select([process.stderr], [], [], PATIENCE_S)
        assert ready
        line = process.stderr.readline()
        assert line, "ended early"
        if mark in line:
            return


def left_overs(folder):
    return [p.name for p in folder.iterdir() if re.fullmatch(r"\.mmalign-.*\.tmp", p.name)]


# ---------------------------------------------------------------- 59-61: writing


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["dtw a.csv b.csv --json", "features a.csv", "--help"])
def test_59_standard_output_is_full(wave, arguments):
    done = shell(f"$M {arguments} > /dev/full")
    what = b"mmalign: error: standard output: cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (5, what)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_59_standard_error_is_full(wave):
    assert shell("$M info no.csv 2> /dev/full").returncode == 3


def test_59_file_too_large(wave):
    (wave / "out.csv").write_text("old")
    np.savetxt("a.csv", np.random.default_rng(0).standard_normal((20000, 3)), delimiter=",")
    done = shell("ulimit -f 1000; trap '' XFSZ; $M features a.csv,rate=10 -o out.csv --force")
    assert done.returncode == 5
    assert done.stderr == b"mmalign: error: out.csv: cannot be written: File too large\n"
    assert (wave / "out.csv").read_text() == "old"
    assert left_overs(wave) == []


def test_60_two_processes_write_one_file(wave):
    both = [start("features", f"{name}.csv", "-o", "out.csv") for name in "ab"]
    messages = [process.communicate()[1].decode() for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 5]
    assert messages[codes.index(5)].startswith("mmalign: error: out.csv: exists\n")
    rows = (wave / "out.csv").read_text().splitlines()
    assert len(rows) == 1 + (20, 24)[codes.index(0)]
    assert left_overs(wave) == []


def test_60_a_late_refusal_takes_the_other_files_back(folder):
    with pytest.raises(OutputError, match="exists"), Outputs(False) as outputs:
        for name in ("a.txt", "b.txt"):
            with outputs.open(name) as file:
                file.write(b"mine")
        Path("b.txt").write_text("theirs")
    assert sorted(os.listdir()) == ["b.txt"]
    assert Path("b.txt").read_text() == "theirs"


@pytest.fixture
def large(folder):
    """A table that takes a second to write, and an old output."""
    np.save("a.npy", np.random.default_rng(0).standard_normal((150_000, 4)))
    Path("out.npz").write_text("old")
    Path("out.csv").write_text("old")
    return folder


WRITING = ["features", "a.npy,rate=1", "-o", "out.csv", "--force"]


def writing(folder):
    """Start a command, and return while it writes."""
    process = start(*WRITING)
    wait_until(lambda: left_overs(folder), process)
    return process


def test_61_killed_while_writing(large):
    process = writing(large)
    process.kill()
    process.communicate()
    assert (large / "out.csv").read_text() == "old"
    assert len(left_overs(large)) == 1
    (large / "b.csv").write_text("x\n1\n2\n")
    assert mmalign("features", "b.csv,rate=1", "-o", "new.csv").returncode == 0
    assert left_overs(large) == []


def test_61_only_left_overs_of_the_dead_go(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    keep = [
        f".mmalign-{os.getppid()}-abc.tmp",
        f".mmalign-{dead.pid}-00000000-abc.tmp",
        f".mmalign-{dead.pid}-abc.txt",
        f"mmalign-{dead.pid}-abc.tmp",
    ]
    go = [f".mmalign-{dead.pid}-abc.tmp", f".mmalign-{dead.pid}-{atomic._process_space()}-abc.tmp"]
    for name in keep + go:
        Path(name).touch()
    os.mkdir(f".mmalign-{dead.pid}-folder.tmp")
    with Outputs(False) as outputs, outputs.open("a.txt") as file:
        file.write(b"x")
    assert sorted(os.listdir()) == sorted([*keep, f".mmalign-{dead.pid}-folder.tmp", "a.txt"])


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs processes that can stay unwaited for")
def test_61_left_overs_of_the_dead_that_nobody_waits_for_go(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / f".mmalign-{dead.pid}-abc.tmp").touch()
    atomic.remove_left_overs(str(tmp_path))
    dead.wait()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_61_left_overs_of_others_stay(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = f".mmalign-{dead.pid}-abc.tmp"
    Path(name).touch()
    os.chown(name, 12345, 12345)
    with Outputs(False) as outputs, outputs.open("a.txt") as file:
        file.write(b"x")
    assert sorted(os.listdir()) == [name, "a.txt"]


# ---------------------------------------------------------------- 65, 66: signals

PROMISED_S = 0.5
TRIES = 5  # another process may have the processor when the signal comes
SIGNALS = [
    pytest.param(signal.SIGINT, 130, "interrupted", id="65-int"),
    pytest.param(signal.SIGTERM, 143, "terminated", id="66-term"),
]
KILLED = pytest.param(signal.SIGKILL, -9, None, id="61-kill")


def stopped(process, number, code, what, written):
    """Send a signal; check how the process ends, and return how soon."""
    sent = time.monotonic()
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    took = time.monotonic() - sent
    notes = re.compile(r"import |mmalign: [ab]: |$")  # how far it had come
    lines = [x for x in err.decode().splitlines() if not notes.match(x)]
    assert process.returncode == code, err
    assert out == b""
    assert lines == [f"mmalign: error: {what}; {written}"] * (what is not None)
    return took


def stops(begin, number, code, what, written="nothing written"):
    """Every process that `begin` returns ends as it should, and one of five within the time."""
    took = []
    while not took or took[-1] > PROMISED_S:
        assert len(took) < TRIES, took
        took.append(stopped(begin(), number, code, what, written))


@pytest.mark.parametrize(("number", "code", "what"), [*SIGNALS, KILLED])
@pytest.mark.parametrize("module", [b"click.core", b"numpy"])
def test_during_import(wave, number, code, what, module):
    def begin():
        process = start(*DTW, options=["-X", "importtime"])
        read_until(process, module)
        return process

    stops(begin, number, code, what)
    assert sorted(os.listdir()) == ["a.csv", "b.csv"]


def sleeps_in_read(process):
    """Tell whether the pipe is empty and the process waits for more."""
    waiting = fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, struct.pack("i", 0))
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return struct.unpack("i", waiting)[0] == 0 and state == "S"


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize(("number", "code", "what"), SIGNALS)
def test_during_reading(wave, number, code, what):
    sending = []

    def begin():
        process = start("info", "-,format=csv", stdin=subprocess.PIPE)
        process.stdin.write(b"x\n" + b"1\n" * 200_000)  # more than a pipe holds: it is being read
        process.stdin.flush()
        wait_until(lambda: sleeps_in_read(process), process)
        sending.append(process.stdin)
        process.stdin = None
        return process

    stops(begin, number, code, what)
    for pipe in sending:
        pipe.close()


@pytest.mark.parametrize("road", [[], ["--approximate"], ["--step", "asymmetric"]])
@pytest.mark.parametrize(("number", "code", "what"), [*SIGNALS, KILLED])
def test_during_the_kernel(folder, number, code, what, road):
    np.save("a.npy", np.random.default_rng(0).integers(0, 9, (40_000, 1)))
    arguments = ["a.npy,rate=1", "a.npy,rate=1,name=b", "-v", "--max-memory", "8G"]

    def begin():
        process = start("dtw", *arguments, *road, "-o", "out.json")
        read_until(process, b"a: values converted")
        return process

    stops(begin, number, code, what)
    assert os.listdir() == ["a.npy"]


@pytest.mark.parametrize(("number", "code", "what"), SIGNALS)
def test_during_writing(large, number, code, what):
    stops(lambda: writing(large), number, code, what)
    assert (large / "out.csv").read_text() == "old"
    assert left_overs(large) == []


@pytest.mark.parametrize(("number", "code", "what"), SIGNALS)
def test_during_a_batch(folder, number, code, what):
    """With one row done, and a worker at work on others that take long."""
    np.save("a.npy", np.random.default_rng(0).integers(0, 9, (40_000, 1)))
    rows = [f"{k},a.npy,a.npy" for k in range(4)]
    Path("m.csv").write_text("\n".join(["id,reference,query", *rows]))
    results = folder / "out" / "results.ndjson"

    def begin():
        shutil.rmtree("out", ignore_errors=True)
        asked = ["--rate", "1", "--jobs", "1", "--max-memory", "8G", "-q"]
        process = start("batch", "m.csv", "-o", "out", *asked)
        wait_until(lambda: results.exists() and results.read_bytes().endswith(b"\n"), process)
        return process

    stops(begin, number, code, what, f"written: {results}")
    assert left_overs(folder / "out") == []


EARLY = """
import sys
from mmalign_cli.commands.main import main
from mmalign_cli.write import atomic
def early():
    raise KeyboardInterrupt
atomic.signals_held = early
main()
"""


def test_65_just_before_signals_are_held(wave):
    """The last moment at which one interrupts: the half file goes all the same."""
    command = [sys.executable, "-c", EARLY, "features", "a.csv", "-o", "out.csv"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (130, b"")
    assert done.stderr == b"mmalign: error: interrupted; nothing written\n"
    assert sorted(os.listdir()) == ["a.csv", "b.csv"]


def test_65_after_writing_says_what_is_there(run, wave, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmalign_cli.write.summary.summary", interrupt)
    result = run("dtw", "a.csv", "b.csv", "-o", "out.json")
    assert result.code == 130
    assert result.stderr == "mmalign: error: interrupted; written: out.json\n"


def test_65_a_callback_from_c_loses_no_signal(monkeypatch):
    """As while a kernel is loaded: what is raised there is swallowed, and raised again."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    try:
        main._listen()
        with pytest.raises(KeyboardInterrupt):
            callback()
            time.sleep(PATIENCE_S)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_65_what_fails_for_a_lost_signal_is_its_end(run, wave, monkeypatch):
    def fails(*arguments):
        main._LOST.append(KeyboardInterrupt)
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr("mmalign_cli.write.summary.summary", fails)
    result = run("dtw", "a.csv", "b.csv")
    assert (result.code, result.stderr) == (130, f"{INTERRUPTED}\n")


def test_65_a_signal_waits_while_files_are_placed(folder, monkeypatch):
    replace = os.link

    def link(*arguments):
        signal.raise_signal(signal.SIGINT)
        replace(*arguments)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(KeyboardInterrupt), Outputs(False) as outputs:
        for name in ("a.txt", "b.txt"):
            with outputs.open(name) as file:
                file.write(b"x")
    assert sorted(os.listdir()) == ["a.txt", "b.txt"]


# ---------------------------------------------------------------- 67-70: terminal, locale, names


@pytest.mark.parametrize("arguments", ["dtw a.csv b.csv --json", "schema alignment", "--help"])
def test_67_reader_has_gone(wave, arguments):
    done = shell(f"$M {arguments} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == (b"141\n", b"")


@pytest.mark.parametrize("streams", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"], ids="68 {}".format)
def test_closed_streams(wave, streams):
    done = shell(f"$M features a.csv -o out.csv {streams}")
    assert done.returncode == 0
    assert len((wave / "out.csv").read_text().splitlines()) == 21
    assert shell(f"$M info no.csv {streams}").returncode == 3


@pytest.mark.parametrize(
    "changes",
    [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "10"}, ASCII, {"PYTHONIOENCODING": "ascii"}],
    ids="68 {}".format,
)
def test_terminals(wave, changes):
    name = os.fsencode("é") + b"\xff.csv"
    (wave / os.fsdecode(name)).write_text("time,ü\n0,1\n1,2\n")
    done = mmalign("info", os.fsdecode(name), **changes)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert mmalign("--help", **changes).returncode == 0


def test_69_the_locale_is_never_asked(wave):
    done = [mmalign("features", "a.csv", LC_ALL=name) for name in ("C", "de_DE.UTF-8")]
    assert done[0].returncode == 0
    assert done[0].stdout == done[1].stdout


@pytest.fixture
def decimal_comma(tmp_path_factory, monkeypatch):
    """A locale that writes 1,5: one that is there, or one made for the occasion."""
    before = locale.setlocale(locale.LC_ALL)
    if shutil.which("localedef") is not None:
        made = tmp_path_factory.mktemp("locale")
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(made / "de_DE.UTF-8")]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            monkeypatch.setenv("LOCPATH", str(made))
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "nl_NL.UTF-8"):
        with suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, name)
            break
    else:
        pytest.skip("no decimal-comma locale is installed, and localedef makes none")
    yield
    locale.setlocale(locale.LC_ALL, before)


def test_69_a_decimal_comma_changes_nothing(run, wave, decimal_comma):
    """Even where something in this process has asked the system for its locale."""
    assert locale.localeconv()["decimal_point"] == ","
    found = []
    for place in ("with-comma", "with-point"):
        if place == "with-point":
            locale.setlocale(locale.LC_ALL, "C")
        os.mkdir(place)
        for arguments in (
            ["dtw", "a.csv", "b.csv", "-o", "o.json", "--path", "p.csv", "--aligned", "d", "-q"],
            ["dtw", "a.csv", "b.csv", "--plot", "p.svg", "--confidence", "none"],
            ["info", "a.csv"],
            ["features", "a.csv", "-o", "f.csv"],
            ["apply", "{}/o.json", "b.csv", "-o", "m.csv"],
            ["evaluate", "{}/o.json", "{}/o.json"],
        ):
            outputs = {"o.json", "p.csv", "d", "p.svg", "f.csv", "m.csv"}
            done = run(*(f"{place}/{a}" if a in outputs else a.format(place) for a in arguments))
            assert done.code == 0, done.stderr
            found.append((place, done.stdout.replace(place, "")))
        files = {p.relative_to(place): p.read_bytes() for p in Path(place).rglob("*.*")}
        found.append((place, {n: d for n, d in files.items() if n.suffix != ".svg"}))
    half = len(found) // 2
    assert [said for _, said in found[:half]] == [said for _, said in found[half:]]


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids="68 {}".format)
def test_progress_on_a_terminal(wave, changes):
    """Bars are drawn there; without colour where none is wanted, not at all where none can be."""
    ours, theirs = os.openpty()
    command = [*COMMAND, *DTW, *ONE_ROAD]
    env = environment(**{"TERM": "xterm", **changes})
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=env) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # how a terminal ends
            while part := os.read(ours, 1 << 16):
                said += part
    os.close(ours)
    assert process.returncode == 0
    assert not re.search(rb"\x1b\[[\d;]*[34]\d[\d;]*m", said), said
    assert "TERM" not in changes or b"\x1b" not in said


NAMES = ["a b", "n\nl", "-x", "%s%n", "{0}{x}", "é", os.fsdecode(b"\xff"), "x" * 251]


@pytest.mark.parametrize("stem", NAMES, ids=lambda stem: f"70 {ascii(stem)[:12]}")
def test_any_name(wave, stem):
    name = f"{stem}.csv"
    os.rename("a.csv", name)
    os.mkdir("out")
    done = mmalign("features", "-o", f"out/{name}", "--", name)
    assert done.returncode == 0, done.stderr
    assert os.listdir("out") == [name]


# ---------------------------------------------------------------- 74-76: compiled kernels


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A copy of the tests' own cache, and a command whose kernels it holds with what it gives."""
    folder = tmp_path_factory.mktemp("warm")
    rows = "time,x\n" + "".join(f"{i},{i * i % 7}\n" for i in range(30))
    (folder / "a.csv").write_text(rows)
    streams = [str(folder / "a.csv")] * 2
    runs = [*COMMAND, "dtw", *streams, *ONE_ROAD, "--json"]
    done = subprocess.run(runs, capture_output=True, check=True)
    cache, own = folder / "cache", Path(os.environ["NUMBA_CACHE_DIR"])
    for index in own.rglob("*.nbi"):  # of what this command uses: others may be being written
        if index.name.startswith(("dtw.", "reach.")):
            there = cache / "mmalign" / own.name / index.relative_to(own)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(index, there)
            for code in index.parent.glob(f"{index.stem}.*.nbc"):
                shutil.copy(code, there.parent)
    return runs, cache, done.stdout


def kernel_files(cache, ending):
    return sorted(cache.rglob(f"*trace_back*.{ending}"))


def same_answer(warm, **changes):
    done = subprocess.run(
        warm[0],
        capture_output=True,
        check=False,
        env=environment(**{"NUMBA_CACHE_DIR": None, **changes}),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == warm[2]
    assert len(done.stderr.splitlines()) <= 2  # both streams are the same file
    return done


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_74_truncated_cache(warm, tmp_path, ending, share):
    cache = tmp_path / "cache"
    shutil.copytree(warm[1], cache)
    damaged = kernel_files(cache, ending)
    assert damaged
    for path in damaged:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
    same_answer(warm, XDG_CACHE_HOME=str(cache))
    assert all(runtime._ends_a_pickle(p) for p in kernel_files(cache, "nbc"))


def test_74_home_is_unset(warm):
    same_answer(warm, HOME=None, XDG_CACHE_HOME=str(warm[1]))


def test_74_home_cannot_be_written(warm):
    same_answer(warm, HOME="/proc", XDG_CACHE_HOME=None, NUMBA_DISABLE_JIT="1")


def test_74_folders_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert runtime._own_cache() == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    folder = Path(runtime._own_cache())
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert runtime._own_cache() == ""


@pytest.mark.parametrize(
    "changes", [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "1"}]
)
def test_76_any_machine_gives_the_same_numbers(warm, changes):
    same_answer(warm, XDG_CACHE_HOME=str(warm[1]), **changes)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_76_one_processor(warm):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        same_answer(warm, XDG_CACHE_HOME=str(warm[1]))
    finally:
        os.sched_setaffinity(0, before)


COMPARE = """
from mmalign_cli.align.dtw import smallest_radius
print(smallest_radius("slanted", 9, 17, "symmetric1"))
"""


def test_75_eight_processes_and_a_cold_cache(tmp_path):
    env = environment(XDG_CACHE_HOME=str(tmp_path), NUMBA_CACHE_DIR=None)
    command = [sys.executable, "-c", COMPARE]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, env=env, **pipes) for _ in range(8)]
    results = [(*p.communicate(), p.returncode) for p in processes]
    assert set(results) == {(results[0][0], b"", 0)}


def test_75_two_cold_commands_at_once(wave):
    """Both compile, both write the same cache, and say that they do."""
    env = environment(XDG_CACHE_HOME=str(wave / "cache"), NUMBA_CACHE_DIR=None)
    command = [*COMMAND, *DTW, *ONE_ROAD]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, env=env, **pipes) for _ in range(2)]
    first, second = ((*p.communicate(), p.returncode) for p in processes)
    assert first[0] == second[0] != b""
    assert first[2] == second[2] == 0
    assert b"mmalign: first run: compiling" in first[1] + second[1]
    later = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (later.returncode, later.stdout, later.stderr) == (0, first[0], b"")


def test_79_no_folder_for_temporary_files(wave):
    done = mmalign("features", "a.csv", "-o", "out.csv", TMPDIR=str(wave / "missing"))
    assert done.returncode == 0
    assert (wave / "out.csv").exists()


# ---------------------------------------------------------------- 78: damaged documents


def mutated(data, rng):
    """Change some bytes of a document, or a value of it."""
    if rng.random() < 0.5:
        value = json.loads(data)
        at = value if rng.random() < 0.4 else value[rng.choice(["path", "cost"])]
        at[rng.choice(list(at))] = rng.choice(
            [None, -1, 10**400, "", [], {}, [[0, 0]], [[1], [2, 3]]]
        )
        return json.dumps(value).encode()
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 8])):
        where = rng.randrange(len(changed))
        changed[where : where + rng.choice([0, 1, 9])] = rng.choice([b"", b"[", b"1e999", b"\xff"])
    return bytes(changed)


def test_78_damaged_documents_are_refused_or_read(run, wave):
    data = run(*DTW).stdout.encode()
    rng = random.Random(78)
    for _ in range(300):
        (wave / "x.json").write_bytes(mutated(data, rng))
        with suppress(InputError, LimitError):
            read_document("x.json")
