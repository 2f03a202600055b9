"""The N-th write, fsync, rename, link or allocation fails, for N = 1, 2, 3 ... up to success.

The faults are put where the program meets the system, below all that it does about them. After
each one every output is what it was before, or whole.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import signal
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_faults import contents

from mmalign_cli.commands.main import _run

FULL = OSError(errno.ENOSPC, "No space left on device")
QUICK = ["--confidence", "none"]


@dataclass
class Fault:
    """Fails call number `at` of one kind."""

    at: int
    error: BaseException = field(default_factory=lambda: FULL)
    calls: int = 0

    @property
    def has_struck(self):
        return self.calls >= self.at

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.error

    def before(self, function):
        def call(*arguments, **options):
            self()
            return function(*arguments, **options)

        return call


class Raw(io.FileIO):
    """A file whose writes may fail."""

    def __init__(self, handle, fault):
        super().__init__(handle, "wb")
        self._fault = fault

    def write(self, data):
        self._fault()
        return super().write(data)


def failing_writes(patch, fault):
    patch.setattr(os, "fdopen", lambda handle, mode: io.BufferedWriter(Raw(handle, fault)))


def failing(*names, where=os):
    def put(patch, fault):
        for name in names:
            patch.setattr(where, name, fault.before(getattr(where, name)))

    return put


def failing_fsync(patch, fault):
    """Of files: where a folder cannot be synchronised there is nothing to be done."""
    fsync = os.fsync

    def call(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):
            fault()
        fsync(handle)

    patch.setattr(os, "fsync", call)


def failing_open(patch, fault):
    """Of files that are made."""
    opened = os.open

    def call(path, flags, *mode):
        if flags & os.O_EXCL:
            fault()
        return opened(path, flags, *mode)

    patch.setattr(os, "open", call)


PLACES = {
    "write": failing_writes,
    "fsync": failing_fsync,
    "open": failing_open,
    "rename": failing("link", "replace"),
}
ALLOCATING = (
    "array", "asarray", "empty", "zeros", "ones", "full", "empty_like", "zeros_like", "stack",
    "concatenate", "interp",
)  # fmt: skip


# ---------------------------------------------------------------- commands that write

COMMANDS = {
    "dtw": "dtw a.csv b.csv -o o.json --path o.csv --cost o.npz --aligned folder",
    "dtw --plot": "dtw a.csv b.csv --plot o.svg",
    "dtw --pairwise": "dtw --pairwise list.txt -o o.npy",
    "ctw": "ctw a.csv b.csv --dims 1 --init uniform --algorithm alternating -o o.json",
    "gtw": "gtw a.csv b.csv --algorithm dba --max-iter 1 --average o.csv -o o.json",
    "takes": "ctw --takes takes.csv --dims 1 --algorithm alternating --save-model o.npz -o folder",
    "sync": "sync a.wav b.wav -o o.wav --alignment o.json",
    "apply table": "apply doc.json b.csv -o o.csv",
    "apply array": "apply doc.json b.npy --rate 10 -o o.npy",
    "apply labels": "apply doc.json b.srt -o o.srt",
    "features": "features a.csv -o o.csv",
    "synth": "synth spiral -o folder",
}
SLOW = ("dtw --plot", "takes", "sync")  # half a second each
ALIGNERS = ("dtw a", "ctw a", "gtw a", "ctw --takes")


def arguments_of(name):
    line = COMMANDS[name]
    return [*line.split(), *(QUICK if line.startswith(ALIGNERS) else [])]


@pytest.fixture
def files(run, wave):
    """What the commands read."""
    assert run("dtw", "a.csv", "b.csv", "-o", "doc.json", *QUICK).code == 0
    np.save("b.npy", np.arange(24.0))
    Path("list.txt").write_text("a.csv\nb.csv\n")
    Path("takes.csv").write_text("id,x,y\n1,a.csv,b.csv\n2,b.csv,a.csv\n")
    Path("b.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n")
    noise = np.random.default_rng(0).standard_normal(8000) / 9
    soundfile.write("a.wav", noise, 8000)
    soundfile.write("b.wav", np.append(np.zeros(800), noise), 8000)
    return wave


def outputs_of(folder, before):
    return {p: data for p, data in contents(folder).items() if p not in before}


def is_old_or_new(folder, inputs, old, new):
    """Every input and output is what it was, or an output is whole; and nothing else is there."""
    now = contents(folder)
    for path, data in now.items():
        expected = (inputs[path],) if path in inputs else (old.get(path), new.get(path))
        assert data in expected, path
    assert inputs.keys() <= now.keys()
    assert old.keys() <= now.keys()
    return now


def first_run(run, folder, arguments):
    """Return the inputs, and what the command makes of them."""
    inputs = contents(folder)
    result = run(*arguments)
    assert result.code == 0, result.stderr
    return inputs, outputs_of(folder, inputs)


def later(at, name=""):
    """Return the next call to fail: the first eight each, then in longer steps."""
    return at + 1 + (at // 3 if at > 8 or name in SLOW else 0) + (name in SLOW)


def clear(folder, inputs):
    for path in outputs_of(folder, inputs):
        path.unlink()
    for path in folder.iterdir():
        if path.is_dir() and not path.is_mount():
            shutil.rmtree(path)


def refusal(result, code):
    assert (result.code, result.stdout) == (code, ""), result.stderr
    said = [x for x in result.stderr.splitlines() if not x.startswith("mmalign: warning: ")]
    assert said[0].startswith("mmalign: error: "), result.stderr
    assert len(said) - sum(x.startswith("hint: ") for x in said) == 1, result.stderr
    assert "Traceback" not in result.stderr


TRIED = [
    (name, place)
    for name in COMMANDS
    for place in PLACES
    if name != "dtw --plot" or place in ("write", "rename")  # a picture takes long to draw
]


@pytest.mark.parametrize(("name", "place"), TRIED)
def test_the_nth_call_fails(run, files, name, place):
    """Without old outputs none appears; old ones are replaced by whole ones or stay."""
    arguments = arguments_of(name)
    inputs, new = first_run(run, files, arguments)
    old = dict.fromkeys(new, b"precious")
    for path, data in old.items():
        path.write_bytes(data)
    for is_there, more in ((True, ["--force"]), (False, [])):
        if not is_there:
            clear(files, inputs)
        kept = old if is_there else {}
        at = 1
        while True:
            fault = Fault(at)
            with pytest.MonkeyPatch.context() as patch:
                PLACES[place](patch, fault)
                result = run(*arguments, *more)
            now = is_old_or_new(files, inputs, kept, new)
            if not fault.has_struck:
                assert result.code == 0, result.stderr
                break
            refusal(result, 5)
            assert "No space left on device" in result.stderr
            if place != "rename" or not is_there:
                assert outputs_of(files, inputs) == kept
            for path, data in kept.items():
                path.write_bytes(data)
            at = later(at, name)
        assert at > 1
        assert {p: now[p] for p in new} == new


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "dtw --plot"])
def test_the_nth_allocation_fails(run, files, name):
    """Every call of NumPy that asks for memory, one after the other, with longer steps later."""
    arguments = arguments_of(name)
    inputs, new = first_run(run, files, arguments)
    old = dict.fromkeys(new, b"precious")
    at, struck = 1, 0
    while True:
        for path, data in old.items():
            path.write_bytes(data)
        fault = Fault(at, MemoryError())
        with pytest.MonkeyPatch.context() as patch:
            failing(*ALLOCATING, where=np)(patch, fault)
            result = run(*arguments, "--force")
        if not fault.has_struck:
            assert result.code == 0, result.stderr
            break
        refusal(result, 4)
        assert contents(files) in (inputs | old, inputs | new)  # new: while it was told
        at, struck = later(at, name), struck + 1
    assert struck > 1


# ---------------------------------------------------------------- a batch


@pytest.fixture
def rows(wave):
    """``m.csv``: three rows."""
    lines = "one,a.csv,b.csv\ntwo,b.csv,a.csv\nthree,a.csv,a.csv\n"
    (wave / "m.csv").write_text("id,reference,query\n" + lines)
    return wave


@pytest.mark.parametrize("place", PLACES)
def test_a_batch_goes_on_later(run, rows, inside, place):
    """Whichever call fails: what is there is whole, and a second run does the rest."""
    arguments = ["batch", "m.csv", "-o", "out", "--jobs", "1", "-q"]
    assert run(*arguments).code == 0
    whole = {p.name: p.read_bytes() for p in (rows / "out").glob("*.json")}
    assert len(whole) == 3
    at = 1
    while True:
        shutil.rmtree("out")
        fault = Fault(at)
        with pytest.MonkeyPatch.context() as patch:
            PLACES[place](patch, fault)
            result = run(*arguments)
        assert list(Path("out").glob(".mmalign-*.tmp")) == []
        found = {p.name: p.read_bytes() for p in Path("out").glob("*.json")}
        assert found.items() <= whole.items()
        assert "Traceback" not in result.stderr
        if not fault.has_struck:
            assert result.code == 0, result.stderr
            break
        if result.code == 0:  # what tells of memory and load is done without
            assert found == whole
            at = later(at)
            continue
        assert result.code in (5, 6), result.stderr
        said = result.stderr + "".join(p.read_text() for p in Path("out").glob("results.ndjson"))
        assert "No space left on device" in said
        assert run(*arguments, "--retry", "failed").code == 0
        assert {p.name: p.read_bytes() for p in Path("out").glob("*.json")} == whole
        at = later(at)
    assert at > 1


# ---------------------------------------------------------------- 61: the power goes


@dataclass
class Death(Fault):
    """Kills this process at call number `at`."""

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def after_rename(patch, fault):
    for name in ("link", "replace"):
        patch.setattr(os, name, afterwards(getattr(os, name), fault))


def afterwards(function, fault):
    def call(*arguments):
        function(*arguments)
        fault()

    return call


def dies(arguments, place, at):
    """Run a command in a child that dies at call number `at`; tell whether it did."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):
            os.dup2(nowhere, number)
        place(pytest.MonkeyPatch(), Death(at))
        os._exit(int(_run(arguments)))
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("place", [*PLACES, "after rename"])
@pytest.mark.parametrize("name", ["dtw", "sync", "apply labels"])
def test_61_killed_at_the_nth_call(run, files, name, place):
    """Each output is the old or the new file; the next run takes away what was left lying."""
    put = PLACES.get(place, after_rename)
    arguments = [*arguments_of(name), "--force"]
    inputs, new = first_run(run, files, arguments)
    old, at = dict.fromkeys(new, b"precious"), 1
    while True:
        for path, data in old.items():
            path.write_bytes(data)
        if not dies(arguments, put, at):
            break
        left = [p for p in files.rglob(".mmalign-*.tmp") if p.is_file()]
        is_old_or_new(files, inputs | {p: p.read_bytes() for p in left}, old, new)
        at = later(at)
    assert at > 1
    assert run(*arguments).code == 0
    assert outputs_of(files, inputs) == new


# ---------------------------------------------------------------- real limits


@contextmanager
def largest_file(n_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["sync", "dtw", "synth"])
def test_59_no_file_may_be_so_large(run, files, name):
    """The system refuses to write on: also what libsndfile writes by itself."""
    arguments = arguments_of(name)
    inputs, new = first_run(run, files, arguments)
    old = dict.fromkeys(new, b"precious")
    for path, data in old.items():
        path.write_bytes(data)
    largest = max(map(len, new.values()))
    for limit in (4096, largest // 2, largest - 1):
        with largest_file(max(limit, 4096)):
            result = run(*arguments, "--force")
        if limit < largest:
            refusal(result, 5)
            assert contents(files) == inputs | old
    assert run(*arguments, "--force").code == 0


def is_refused(command):
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where this user may make one."""
    there = tmp_path / "disk"
    there.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(there)]
    if shutil.which("mount") is None or is_refused(mount):
        pytest.skip("no file system can be mounted here: needs root, outside of most containers")
    yield there
    subprocess.run(["umount", str(there)], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_59_disk_full(run, files, small_disk, name):
    """With room for a part of what is to be written: 0, 4, 8 ... kB."""
    inputs, new = first_run(run, files, arguments_of(name))
    clear(files, inputs)
    moved = [
        str(small_disk / a) if a.startswith(("o.", "folder")) else a for a in arguments_of(name)
    ]
    old = small_disk / next(iter(new)).relative_to(files)
    ballast = small_disk / "ballast"
    codes = []
    for free in (0, 8, 16, 48):
        shutil.rmtree(small_disk / "folder", ignore_errors=True)
        for path in small_disk.iterdir():
            path.unlink()
        old.parent.mkdir(exist_ok=True)
        old.write_bytes(b"precious")
        ballast.write_bytes(bytes((60 - free) * 1024))
        result = run(*moved, "--force")
        codes.append(result.code)
        if result.code:
            refusal(result, 5)
            assert old.read_bytes() == b"precious"
            assert outputs_of(small_disk, {old, ballast}) == {}
    assert set(codes) <= {0, 5}
    assert codes[0] == 5 or max(map(len, new.values())) < 4096
