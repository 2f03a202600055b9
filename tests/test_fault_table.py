"""Every fault of a file, through every command that may meet it."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import zipfile
from pathlib import Path

import fault_commands
import fault_table
import numpy as np
import pytest
import scipy.io
import soundfile
from test_faults import BYTES, Bomb, contents, npy_header, patched, refused, wav

from mmalign_cli.commands.main import COMMANDS

NO_OUTPUT = "takes"


# ---------------------------------------------------------------- how the inputs are made


def made(name, data):
    Path(name).write_bytes(data)
    return name


def of_wav(change, **how):
    """``x.wav``, changed."""
    return made("x.wav", change(wav(Path("x.wav"), **how)))


def npz(**arrays):
    np.savez("x.npz", **arrays)
    return "x.npz"


def npy(array):
    np.save("x.npy", array)
    return "x.npy"


def link(target):
    os.symlink(target, "x.csv")
    return "x.csv"


def directory():
    os.mkdir("x.csv")
    return "x.csv"


def pipe():
    os.mkfifo("x.csv")
    return "x.csv"


def socket_file():
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("x.csv")
    return "x.csv"


def bomb():
    np.savez_compressed("x.npz", x=np.zeros((10**6, 2)))
    return "x.npz,max-bytes=1M"


def silence(name):
    with soundfile.SoundFile(name, "w", 48000, 1) as file:
        for _ in range(60):  # libsndfile dies of a minute of Vorbis at once
            file.write(np.zeros(48000))
    assert os.path.getsize(name) < 30_000
    return f"{name},max-bytes=1M"


def unpacks(name):
    """A file of few bytes that is many once it is unpacked."""
    zeros = np.zeros((10**6, 2))
    if name.endswith("mat"):
        scipy.io.savemat(name, {"x": zeros}, do_compression=True)
    elif name.endswith("h5"):
        h5py = pytest.importorskip("h5py")
        with h5py.File(name, "w") as file:
            file.create_dataset("x", data=zeros, compression="gzip")
    else:
        arrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
        table = arrow.table({"x": zeros[:, 0], "y": zeros[:, 1]})
        parquet.write_table(table, name, compression="zstd")
    assert os.path.getsize(name) < 100_000
    return f"{name},max-bytes=1M"


def archive(name, data):
    with zipfile.ZipFile("x.npz", "w") as file:
        file.writestr(name, data)
    return "x.npz"


def damaged(change):
    np.savez("x.npz", x=np.arange(2000.0).reshape(1000, 2))
    return made("x.npz", change(Path("x.npz").read_bytes()))


def with_nan():
    values = np.zeros(8000, np.float32)
    values[4000:4002] = np.nan, np.inf
    soundfile.write("x.wav", values, 8000, subtype="FLOAT")
    return "x.wav"


GAPS = 40
"""Missing values, which ``info`` is there to show."""

STREAMS = [
    # row, what is made (returns the argument), exit code, message after "<path>: "
    (1, "missing", lambda: "x.csv", 3, "no such file"),
    (1, "in no folder", lambda: "no/x.csv", 3, "no such file"),
    (2, "directory", directory, 3, "is a directory"),
    (4, "empty", lambda: made("x.csv", b""), 3, "file is empty"),
    (4, "empty sound", lambda: made("x.wav", b""), 3, "file is empty"),
    (6, "unknown kind", lambda: made("x.foo", b"1\n"), 3, r"unknown kind of file .*"),
    (7, "pipe", pipe, 3, "is a named pipe, not a file"),
    (7, "socket", socket_file, 3, "is a socket, not a file"),
    (7, "device", lambda: "/dev/zero,format=csv", 3, "is a device, not a file"),
    (8, "loop of links", lambda: link("x.csv"), 3, "is a symbolic link that leads back to itself"),
    (8, "link to nothing", lambda: link("gone"), 3, "no such file"),
    (14, "objects", lambda: npy(np.array([Bomb()], object)), 3, "object arrays are never loaded"),
    (14, "pickle", lambda: made("x.npy", pickle.dumps(Bomb())), 3, "content is a pickle.*"),
    (15, "complex", lambda: npy(np.ones((4, 2), complex)), 3, "complex values .*"),
    (16, "text", lambda: npy(np.array(["a", "b"])), 3, r"holds text \(<U1\)"),
    (18, "no frames", lambda: npy(np.float64(3)), 3, r"shape \(\), expected .*"),
    (21, "several", lambda: npz(p=np.ones((4, 2)), q=np.ones((5, 3))), 3, "several arrays: .*"),
    (21, "none", npz, 3, "holds no arrays"),
    (22, "bomb", bomb, 4, "x: holds 16 MB, the limit is 1.05 MB"),
    (22, "mat bomb", lambda: unpacks("x.mat"), 4, "x: holds 16 MB, the limit is 1.05 MB"),
    (22, "hdf5 bomb", lambda: unpacks("x.h5"), 4, "x: holds 16 MB, the limit is 1.05 MB"),
    (22, "parquet bomb", lambda: unpacks("x.parquet"), 4, "holds 16 MB, the limit is 1.05 MB"),
    (22, "hours of silence", lambda: silence("x.flac"), 4, "its sound holds more than .* 1.05 MB"),
    (22, "hours of silence, ogg", lambda: silence("x.ogg"), 4, "its sound holds more than .*"),
    (23, "cut", lambda: damaged(lambda b: b[:-100]), 3, "damaged npz archive: .*"),
    (
        23,
        "bit flip",
        lambda: damaged(lambda b: patched(b, 3000, "<d", 7.0)),
        3,
        "damaged npz archive: checksum mismatch: .*",
    ),
    (
        23,
        "header lies",
        lambda: archive("x.npy", npy_header((10**9, 2)) + bytes(64)),
        3,
        "x.npy: header promises 16.* bytes, the archive holds .*",
    ),
    (24, "cut sound", lambda: of_wav(lambda b: b[: 44 + 2 * 3994]), 3, "cut short: data chunk .*"),
    (25, "no sound", lambda: of_wav(bytes, n=0), 3, "no audio frames"),
    (26, "rate 0", lambda: of_wav(lambda b: patched(b, 24, "<I", 0)), 3, "sample rate 0 Hz .*"),
    (26, "rate 2^32 - 1", lambda: of_wav(lambda b: patched(b, 24, "<I", 2**32 - 1)), 3, ".*"),
    (27, "no channels", lambda: of_wav(lambda b: patched(b, 22, "<H", 0)), 3, ".*"),
    (27, "65535 channels", lambda: of_wav(lambda b: patched(b, 22, "<H", 65535)), 3, ".*"),
    (28, "size lies", lambda: of_wav(lambda b: patched(b, 40, "<I", 32000)), 3, "cut short: .*"),
    (29, "not finite", with_nan, 3, r"non-finite at t = 0.50 s \(frame 4000\), 2 values"),
    (32, "short sound", lambda: of_wav(bytes, n=80), 3, "0.01 s is shorter than one frame .*"),
    (33, "no such codec", lambda: made("x.mp3", b"\xff\xfb\x90\0" + bytes(99)), 3, "cannot be .*"),
    *[
        (int(name[:2]), name[3:], lambda file=file, data=data: made(file, data), code, message)
        for name, file, data, code, message, _ in BYTES
    ],
]


@pytest.fixture
def there(run, wave):
    """What the commands take beside a file at fault, and outputs that are to be kept."""
    fault_commands.prepare(run)
    return wave


@pytest.mark.parametrize(
    ("number", "make", "code", "message"),
    [pytest.param(s[0], *s[2:], id=f"{s[0]:02} {s[1]}") for s in STREAMS],
)
def test_a_stream(run, there, number, make, code, message):
    """Every command that reads streams says the same of it; every other one refuses it too."""
    bad = make()
    path = re.escape(bad.partition(",")[0])
    for name, arguments in fault_commands.STREAMS.items():
        if (number, name) == (GAPS, "info"):
            cautious(run, there, name, arguments(bad))
            continue
        refused(run, there, arguments(bad), code, f"{path}: {message}")
    for name, arguments in fault_commands.FILES.items():
        cautious(run, there, name, arguments(bad.partition(",")[0]))
    assert not Path("exploded").exists()


def cautious(run, folder, name, arguments):
    """A command may know how to read what it is no stream to others: it does, or refuses it."""
    before = contents(folder)
    result = run(*arguments)
    said = [line for line in result.stderr.splitlines() if not line.startswith("hint: ")]
    assert result.code in (0, 2, 3, 4, 6), (name, result.stderr)
    assert "Traceback" not in result.stderr
    after = contents(folder)
    written = [p for p in after if after[p] != before.get(p)]
    if result.code in (2, 3, 4):
        assert (result.stdout, written, after.keys()) == ("", [], before.keys()), name
        assert len(said) == 1, name
        assert re.match(r"mmalign: error: [^:]+: .", said[0]), (name, said)
    else:
        assert all(p.name.startswith("out") or NO_OUTPUT in p.parts for p in written), name
        assert not [p for p in written if p.name.startswith(".mmalign-")]
        for path in written:
            path.write_bytes(before.get(path, b""))
    shutil.rmtree(folder / NO_OUTPUT, ignore_errors=True)


# ---------------------------------------------------------------- 50-58: outputs, limits, values


@pytest.fixture
def writers(run, there):
    """What the commands that write read."""
    wav(there / "a.wav")
    wav(there / "b.wav")
    (there / "list.txt").write_text("a.csv\nb.csv\n")
    (there / "occupied").mkdir()
    (there / "there").write_text("precious")
    return there


def output_faults(ending):
    """What an output may be, and what is said of it."""
    for name in ("d", "l"):
        Path(f"{name}.{ending}").unlink(missing_ok=True)
    Path(f"d.{ending}").mkdir()
    Path(f"l.{ending}").symlink_to("there")
    long = "n" * 300 + f".{ending}"
    return [
        (f"out.{ending}", "exists", []),
        (f"l.{ending}", "exists", []),
        (f"d.{ending}", "is a directory", ["--force"]),
        (f"no/o.{ending}", "no such folder: no", []),
        (f"there/o.{ending}", "no such folder: there", []),
        (long, "the name is too long", []),
    ]


@pytest.mark.parametrize("writer", fault_commands.WRITERS)
def test_55_56_57_58_outputs(run, writers, writer):
    """Refused before anything is computed: the reason names the output, not what is found."""
    ending, arguments = fault_commands.WRITERS[writer]
    Path(f"out.{ending}").write_text("precious")
    for output, what, more in output_faults(ending):
        refused(run, writers, [*arguments, output, *more], 5, f"{re.escape(output)}: {what}")
    source = next((a for a in arguments[1:] if a.endswith(f".{ending}")), None)
    if source is not None:
        os.link(source, f"hard.{ending}")
        for name in (source, f"./{source}", f"hard.{ending}"):
            what = f"{re.escape(name)}: is an input"
            refused(run, writers, [*arguments, name, "--force"], 5, what)
    link = Path(f"l.{ending}")
    assert run(*arguments, link, "--force").code == 0
    assert link.is_symlink()
    assert Path("there").read_bytes() != b"precious"


ALIGNERS = [name for name in fault_commands.STREAMS if name not in ("features", "info")]


@pytest.mark.parametrize("name", [n for n in ALIGNERS if n != "dtw, as reference"])
def test_50_too_little_memory(run, writers, name):
    arguments = fault_commands.STREAMS[name]("b.csv")
    if name == "sync":  # of tables it takes next to nothing
        arguments = ["sync", "a.wav", "b.wav", "--alignment", "out.json", "--force"]
    what = r".*: needs \S+ [kM]?B of memory, 1.02 kB may be used"
    refused(run, writers, [*arguments, "--max-memory", "1K"], 4, what)


@pytest.mark.parametrize(
    "line",
    [
        "ctw --dims 0",
        "ctw --dims nan",
        "ctw --dims -1",
        "ctw --max-iter 0",
        "ctw --tol nan",
        "ctw --regularization -1",
        "ctw --regularization inf",
        "ctw --starts 0",
        "ctw --seed -1",
        "ctw --init fast",
        "gtw --dims 0",
        "gtw --max-iter 0",
        "gtw --tol -1",
        "gtw --algorithm best",
        "gtw --basis ,",
        "sync --max-offset nan",
        "sync --max-offset -1",
        "sync --model line",
        "dtw --radius nan --window slanted",
        "dtw --top 0 --subsequence",
        "dtw --confidence much",
    ],
)
def test_52_values_of_options(run, there, line):
    name, *options = line.split()
    refused(run, there, [name, "a.csv", "b.csv", *options], 2, ".*")


@pytest.mark.parametrize(("command", "code"), [("dtw", 0), ("ctw", 3), ("gtw", 3)])
def test_43_one_frame(run, there, command, code):
    Path("x.csv").write_text("time,x,y\n0,1,2\n")
    arguments = fault_commands.STREAMS[command]("x.csv")
    if code == 0:
        assert run(*arguments).code == 0
    else:
        refused(run, there, arguments, code, ".*frame.*")


# ---------------------------------------------------------------- the table itself


def test_the_table_holds_every_fault_and_its_tests():
    assert [row.number for row in fault_table.ROWS] == [*range(1, fault_table.N_ROWS + 1)]
    for row in fault_table.ROWS:
        assert row.tests, row.number
        named = fault_table.names(row)
        assert [(m, f) for m, f in named if f not in fault_table.defined(m)] == [], row.number


def test_the_table_names_the_rows_of_files():
    """A fault of a file that goes through all commands says so in its row."""
    here = {number for number, *_ in STREAMS}
    named = {row.number for row in fault_table.ROWS if fault_table.STREAM in row.tests.split()}
    assert here == named


def test_the_page_is_the_table():
    page = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
    assert page.read_text("utf-8") == fault_table.page(), "python tests/fault_table.py makes it"


def test_every_command_is_tried():
    """Each is met by a file at fault, or reads none."""
    met = {*fault_commands.STREAMS, *(name.partition(",")[0] for name in fault_commands.FILES)}
    assert {*COMMANDS} <= met | {*fault_commands.WITHOUT_INPUT}
