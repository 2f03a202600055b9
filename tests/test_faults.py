"""What is wrong with a file, and what a user is told: one row of the table a test.

The promises common to all rows are checked in one place, `refused`.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mmalign_cli.align import gtw_objective
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.write.document import read_document, to_document, to_line
from mmalign_cli.write.learned import read_learned

GOOD = "a.csv"
FORMATS = ("wav", "flac", "ogg", "aiff", "mp3", "npy", "npz", "mat", "csv", "tsv", "txt")


def contents(folder):
    """Every regular file of a folder with its bytes."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return {p: p.read_bytes() for p in files if os.access(p, os.R_OK)}


def refused(run, folder, arguments, code, pattern, hint=""):
    """Run a command that must fail: the promises that every refusal keeps."""
    before = contents(folder)
    result = run(*arguments)
    assert result.code == code, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) in (1, 2), result.stderr
    assert re.fullmatch(rf"mmalign: error: {pattern}", lines[0]), lines[0]
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert hint in "".join(lines[1:])
    assert "Traceback" not in result.stderr
    assert contents(folder) == before
    return result


def npy_header(shape, descr="<f8", version=(1, 0)):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text.encode()


def wav(path, n=8000, rate=8000, channels=1, subtype="PCM_16"):
    rng = np.random.default_rng(1)
    values = 0.1 * rng.standard_normal((n, channels))
    soundfile.write(path, values, rate, format="WAV", subtype=subtype)
    return path.read_bytes()


def patched(data, at, code, value):
    return data[:at] + struct.pack(code, value) + data[at + struct.calcsize(code) :]


class Bomb:
    """Executes when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


# Files whose bytes tell the whole story: id, name, bytes, exit code, message, hint.
BYTES = [
    (
        "05-wav-named-csv",
        "x.csv",
        b"RIFF\x24\0\0\0WAVEfmt ",
        3,
        "content is WAV, name says CSV",
        "format=wav",
    ),
    ("05-text-named-npy", "x.npy", b"1,2\n3,4\n", 3, "content is text, name says NPY", "format="),
    ("05-png-named-csv", "x.csv", b"\x89PNG\r\n\x1a\n", 3, "content is PNG, name says CSV.*", ""),
    ("06-unknown-text", "x.foo", b"1,2\n", 3, "unknown kind of file .*", ".csv"),
    ("06-unknown-bytes", "x", b"\0\1\2\3", 3, "unknown kind of file .*", ".wav"),
    ("06-hdf5", "x.h5", b"\x89HDF\r\n\x1a\n", 3, "damaged HDF5 file: .*", ""),
    (
        "10-npy-short-data",
        "x.npy",
        npy_header((2, 3)) + bytes(41),
        3,
        "truncated: header promises 48 bytes, found 41",
        "",
    ),
    ("10-npy-short-header", "x.npy", npy_header((2, 3))[:30], 3, "malformed header: .*", ""),
    (
        "11-npy-huge",
        "x.npy",
        npy_header((10**12,)) + bytes(72),
        3,
        "truncated: header promises 8000000000000 bytes, found 72",
        "",
    ),
    (
        "12-npy-overflow",
        "x.npy",
        npy_header((2**62, 4)) + bytes(8),
        3,
        "invalid shape in header: .*",
        "",
    ),
    (
        "12-npy-negative",
        "x.npy",
        npy_header((-2, 3)) + bytes(48),
        3,
        "invalid shape in header: .*",
        "",
    ),
    (
        "13-npy-no-dict",
        "x.npy",
        b"\x93NUMPY\1\0\x08\0(1, 2, \n" + bytes(8),
        3,
        "malformed header: .*",
        "",
    ),
    (
        "13-npy-long",
        "x.npy",
        npy_header((2,), "<f8" + " " * 20000) + bytes(16),
        3,
        "malformed header: .*",
        "",
    ),
    (
        "13-npy-version",
        "x.npy",
        npy_header((2,), version=(9, 0)) + bytes(16),
        3,
        "malformed header: .*",
        "",
    ),
    ("04-csv-no-rows", "x.csv", b"\n\n \n", 3, "holds no rows", ""),
    ("35-one-field-more", "x.csv", b"a,b\n1,2,3\n4,5,6\n", 3, "line 2: 3 fields, header has 2", ""),
    ("36-ragged", "x.csv", b"a,b\n1,2\n3\n5,6\n", 3, "line 3: 1 field, header has 2", ""),
    ("36-ragged-no-header", "x.csv", b"1,2\n3,4,5\n", 3, "line 2: 3 fields, line 1 has 2", ""),
    ("36-ragged-blanks", "x.txt", b"1 2 3\n4 5\n", 3, "line 2: 2 fields, line 1 has 3", ""),
    ("36-ragged-quoted", "x.csv", b'"a",b\n"1",2\n"3"\n', 3, "line 3: 1 field, header has 2", ""),
    (
        "37-decimal-comma",
        "x.csv",
        b"a;b\n1,5;2\n",
        3,
        "line 2 column a: '1,5' is not a number",
        "try --decimal ,",
    ),
    (
        "37-decimal-comma-no-header",
        "x.csv",
        b"1,5;2\n3,5;4\n",
        3,
        "line 1 column 1: '1,5' is not a number",
        "try --decimal ,",
    ),
    (
        "38-text-cell",
        "x.csv",
        b"a,b\n1,2\n3,oops\n",
        3,
        "line 3 column b: 'oops' is not a number",
        "",
    ),
    ("38-nul", "x.csv", b"a,b\n1,2\n3,4\0\n", 3, "line 3 column 2: NUL byte in the text", ""),
    (
        "38-open-quote",
        "x.csv",
        b'a,b\n1,"2\n3,4\n',
        3,
        "line 2 column 2: a quote is opened and not closed",
        "",
    ),
    (
        "38-quote-over-lines",
        "x.csv",
        b'a,b\n1,"2\n3",4\n',
        3,
        "line 2 column 2: a quote is opened and not closed",
        "",
    ),
    (
        "38-many-columns",
        "x.csv",
        b",".join([b"1"] * 100_000) + b"\n",
        3,
        "line 1: 100000 columns, the limit is 65536",
        "",
    ),
    (
        "38-same-name",
        "x.csv",
        b"a,b,a\n1,2,3\n",
        3,
        "line 1 column 3: a second column is called 'a'",
        "",
    ),
    (
        "39-utf16",
        "x.csv",
        "a,b\n1,2\n".encode("utf-16"),
        3,
        r"not UTF-8 \(it looks like UTF-16\)",
        "--encoding utf-16",
    ),
    (
        "39-latin1",
        "x.csv",
        "a,b\n1,2\nß,3\n".encode("latin-1"),
        3,
        "line 3: not UTF-8",
        "try --encoding",
    ),
    (
        "40-na",
        "x.csv",
        b"a,b\n1,2\n3,NA\n,6\n",
        3,
        "2 values are missing or not finite, first at row 2 column b",
        "nan=interpolate",
    ),
    (
        "40-inf",
        "x.csv",
        b"a,b\n1,2\n3,inf\n",
        3,
        "1 value is missing or not finite, first at row 2 column b",
        "",
    ),
    (
        "40-overflow",
        "x.csv",
        b"a,b\n1,2\n1e999,1\n",
        3,
        "1 value is missing or not finite, first at row 2 column a",
        "",
    ),
    ("41-header-only", "x.csv", b"a,b\n", 3, "holds a header and no rows", ""),
    (
        "41-date-as-data",
        "x.csv",
        b"day,b\n2024-01-02,1\n2024-01-03,2\n",
        3,
        "line 2 column day: '2024-01-02' is not a number",
        "",
    ),
    ("41-times-only", "x.csv", b"time\n1\n2\n", 3, "holds times and no values", "time=none"),
    (
        "42-decrease",
        "x.csv",
        b"time,x\n0,1\n2,1\n1,1\n",
        3,
        r"times decrease at row 3 \(line 4\)",
        "time=none",
    ),
    ("42-repeat", "x.csv", b"time,x\n0,1\n1,1\n1,1\n", 3, r"times repeat at row 3 \(line 4\)", ""),
    (
        "42-missing",
        "x.csv",
        b"time,x\n0,1\n,1\n2,1\n",
        3,
        r"the time is missing at row 2 \(line 3\)",
        "",
    ),
    (
        "42-no-time",
        "x.csv",
        b"time,x\n2024-01-02T00:00:00,1\nnoon,1\n",
        3,
        "line 3 column time: 'noon' is not a time",
        "",
    ),
]


@pytest.mark.parametrize(
    ("name", "data", "code", "message", "hint"), [pytest.param(*r[1:], id=r[0]) for r in BYTES]
)
def test_bytes(run, wave, name, data, code, message, hint):
    (wave / name).write_bytes(data)
    pattern = rf"{re.escape(name)}: {message}"
    refused(run, wave, ["dtw", GOOD, name, "-o", "out.json"], code, pattern, hint)
    refused(run, wave, ["features", name], code, pattern, hint)


# ---------------------------------------------------------------- 1-9: the file itself


def test_01_missing(run, wave):
    refused(run, wave, ["dtw", "aa.csv", "b.csv"], 3, "aa.csv: no such file", "did you mean a.csv?")
    refused(run, wave, ["dtw", "a.csv", "no/b.csv"], 3, "no/b.csv: no such file")
    refused(run, wave, ["dtw", "a.csv/b", "b.csv"], 3, "a.csv/b: no such file")
    refused(run, wave, ["evaluate", "no.json", "a.csv"], 3, "no.json: no such file")
    refused(run, wave, ["features", "no.wav", "-o", "f.csv"], 3, "no.wav: no such file")


def test_02_directory(run, wave):
    (wave / "d.csv").mkdir()
    refused(run, wave, ["dtw", "a.csv", "d.csv"], 3, "d.csv: is a directory")
    refused(run, wave, ["info", "."], 3, ".: is a directory")


def test_03_no_permission(run, wave, monkeypatch):
    if os.geteuid() == 0:  # who may read everything

        def refuse(*args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("mmalign_cli.streams.source.open", refuse, raising=False)
    (wave / "b.csv").chmod(0)
    refused(run, wave, ["info", "b.csv"], 3, "b.csv: permission denied")


@pytest.mark.parametrize("ending", FORMATS)
def test_04_empty(run, wave, ending):
    (wave / f"x.{ending}").touch()
    refused(run, wave, ["dtw", "a.csv", f"x.{ending}"], 3, f"x.{ending}: file is empty")


def test_05_format_overrules_name_and_content(run, wave):
    (wave / "x.npy").write_bytes((wave / "b.csv").read_bytes())
    assert run("info", "x.npy,format=csv", "--json").code == 0
    refused(run, wave, ["info", "a.csv,format=wav"], 3, "a.csv: cannot be decoded: .*")
    refused(run, wave, ["info", "a.csv,format=npy"], 3, "a.csv: malformed header: .*")
    refused(run, wave, ["info", "a.csv,format=npz"], 3, "a.csv: damaged npz archive: .*")
    refused(run, wave, ["info", "a.csv,format=mat"], 3, "a.csv: damaged MAT file: .*")
    refused(run, wave, ["info", "a.csv,format=cvs"], 2, "format: 'cvs' is not a format", "csv")


def test_06_lists_formats(run, wave):
    (wave / "x.foo").write_bytes(b"1\n")
    result = refused(run, wave, ["info", "x.foo"], 3, "x.foo: unknown kind of file .*")
    assert all(f".{ending}" in result.stderr for ending in FORMATS)


def test_07_devices(run, wave):
    os.mkfifo("pipe.csv")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind("socket.csv")
    refused(run, wave, ["info", "pipe.csv"], 3, "pipe.csv: is a named pipe, not a file")
    refused(run, wave, ["info", "socket.csv"], 3, "socket.csv: is a socket, not a file")
    refused(run, wave, ["info", "/dev/zero,format=csv"], 3, "/dev/zero: is a device, not a file")
    unix.close()


def test_07_standard_input(run, wave, monkeypatch):
    with open("b.csv") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        result = run("dtw", "a.csv", "-,format=csv", "--json")
    assert result.code == 0
    assert json.loads(result.stdout)["streams"][1]["frames"] == 24
    with open("b.csv") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        limit = "-,format=csv,max-bytes=100"
        refused(
            run,
            wave,
            ["info", limit],
            4,
            "-: holds 101 B or more, the limit is 100 B",
            "max-bytes=",
        )
    with open("/dev/null") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        refused(run, wave, ["info", "-,format=csv"], 3, "-: standard input is empty")
    monkeypatch.setattr("sys.stdin", None)
    refused(run, wave, ["info", "-,format=csv"], 3, "-: standard input is closed")
    refused(run, wave, ["info", "-"], 2, "-: standard input needs format=", "-,format=csv")
    twice = ["dtw", "-,format=csv", "-,format=csv"]
    refused(run, wave, twice, 2, "-: standard input can be one stream only")


def test_08_symlinks(run, wave):
    os.symlink("loop.csv", "loop.csv")
    os.symlink("gone.csv", "dangling.csv")
    os.symlink("a.csv", "good.csv")
    refused(
        run, wave, ["info", "loop.csv"], 3, "loop.csv: is a symbolic link that leads back to itself"
    )
    refused(run, wave, ["info", "dangling.csv"], 3, "dangling.csv: no such file")
    assert run("info", "good.csv").code == 0


def test_09_same_file_twice(run, wave):
    result = run("dtw", "a.csv", "a.csv", "--json")
    document = json.loads(result.stdout)
    assert result.code == 0
    assert result.stderr == "mmalign: warning: both streams are the same file\n"
    assert document["warnings"] == ["both streams are the same file"]
    assert [s["name"] for s in document["streams"]] == ["a", "a_2"]


# ---------------------------------------------------------------- 10-23: arrays


@pytest.mark.parametrize("as_npz", [False, True], ids=["npy", "npz"])
def test_14_pickles_are_never_loaded(run, wave, as_npz):
    objects = np.array([Bomb(), {"a": 1}], dtype=object)
    (np.savez if as_npz else np.save)("x", objects)
    name = "x.npz" if as_npz else "x.npy"
    refused(run, wave, ["dtw", GOOD, name], 3, f"{name}.*: object arrays are never loaded")
    assert not (wave / "exploded").exists()


def test_14_pickle_files(run, wave):
    for protocol in range(2, 6):
        (wave / "x.npy").write_bytes(pickle.dumps(Bomb(), protocol))
        refused(run, wave, ["info", "x.npy"], 3, "x.npy: content is a pickle.*", "never loaded")
    assert not (wave / "exploded").exists()


def test_14_objects_beside_the_array_do_no_harm(run, wave):
    np.savez("x.npz", x=np.zeros((5, 2)), meta=np.array([Bomb()], dtype=object))
    assert run("info", "x.npz").code == 0
    refused(run, wave, ["info", "x.npz,key=meta"], 3, "x.npz: meta: object arrays are never loaded")
    assert not (wave / "exploded").exists()


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (
            15,
            np.ones((4, 2), complex),
            r"complex values \(complex128\); split into real/imag columns",
        ),
        (16, np.array(["a", "b"]), r"holds text \(<U1\)"),
        (16, np.array([b"a", b"b"]), r"holds text \(\|S1\)"),
        (16, np.arange(3).astype("M8[ms]"), r"holds dates \(datetime64\[ms\]\)"),
        (16, np.zeros(3, [("x", "f8"), ("y", "i4")]), r"holds records \(.*'x'.*\)"),
        (18, np.float64(3), r"shape \(\), expected \(n_frames,\) or \(n_frames, n_dims\)"),
        (
            18,
            np.zeros((2, 3, 4, 5, 6)),
            r"shape .*, expected \(n_frames,\) or \(n_frames, n_dims\)",
        ),
        (
            18,
            np.zeros((5, 4, 3)),
            r"holds pictures, expected \(n_frames,\) or \(n_frames, n_dims\)",
        ),
        (18, np.zeros((0, 3)), r"holds no values: shape \(0, 3\)"),
        (
            40,
            np.array([[1, 2], [3, np.nan]]),
            "1 value is missing or not finite, first at row 2 column 2",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays(run, wave, ending, row, values, message):
    (np.savez if ending == "npz" else np.save)("x", values)
    pattern = rf"x.{ending}(: arr_0)?: {message}"
    if ending == "npz" and values.size < 2:
        pattern = rf"x.npz: (no array of frames; .*|{message})"
    refused(run, wave, ["features", f"x.{ending}"], 3, pattern)


@pytest.mark.parametrize("kind", ["?", "i1", "u2", "i8", "f2", "f4", ">f8", ">i4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_17_any_real_type(run, folder, kind, order):
    values = (np.arange(12).reshape(6, 2) % 5 > 1).astype(kind)
    np.save("x.npy", np.asarray(values, order=order))
    result = run("features", "x.npy,rate=4", "-o", "out.npy", "-v")
    assert result.code == 0
    arrived = np.load("out.npy")
    assert arrived.dtype == np.float64
    assert np.array_equal(arrived, values.astype(float))
    note = f"mmalign: x: values converted from {np.dtype(kind).str} to float64\n"
    assert (note in result.stderr) == (kind != "<f8")


def test_19_transposed(run, folder):
    np.save("x.npy", np.random.default_rng(0).standard_normal((12, 400)))
    result = run("info", "x.npy,rate=100", "--json")
    assert result.code == 0
    warning = "x.npy: 400 columns, 12 rows: transposed? use transpose=true"
    assert result.stderr == f"mmalign: warning: {warning}\n"
    result = run("info", "x.npy,rate=100,transpose=true", "--json")
    assert (result.code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["frames"] == 400


def test_20_bytes_after_the_array(run, folder):
    np.save("x.npy", np.arange(8.0).reshape(4, 2))
    with open("x.npy", "ab") as file:
        file.write(b"junk")
    result = run("info", "x.npy,rate=1", "--json")
    assert result.code == 0
    assert result.stderr == "mmalign: warning: x.npy: 4 bytes after the array ignored\n"
    what = "x.npy: 4 bytes after the array"
    refused(run, folder, ["info", "x.npy,excess=error"], 3, what, "excess=warn")
    refused(run, folder, ["dtw", "x.npy", "x.npy", "--excess", "error"], 3, what)


def test_21_several_arrays_or_none(run, wave):
    np.savez("two.npz", hand=np.zeros((4, 2)), foot=np.ones((5, 3)))
    np.savez("none.npz")
    np.savez("text.npz", a=np.array(["x"]), b=np.array(["y"]))
    refused(
        run,
        wave,
        ["info", "two.npz"],
        3,
        r"two.npz: several arrays: hand \(4, 2\), foot \(5, 3\)",
        "key=",
    )
    refused(
        run, wave, ["info", "two.npz,key=hans"], 3, "two.npz: no array 'hans'", "did you mean hand?"
    )
    refused(run, wave, ["info", "none.npz"], 3, "none.npz: holds no arrays")
    refused(
        run, wave, ["info", "text.npz"], 3, "text.npz: no array of frames; numeric arrays: none"
    )
    assert json.loads(run("info", "two.npz,key=foot", "--json").stdout)["dims"] == 3


def test_22_archive_bomb(run, wave):
    np.savez_compressed("x.npz", x=np.zeros((1_000_000, 2)))
    assert (wave / "x.npz").stat().st_size < 100_000
    limited = ["info", "x.npz,max-bytes=1M"]
    refused(run, wave, limited, 4, "x.npz: x: holds 16 MB, the limit is 1.05 MB", "max-bytes=")


def test_23_archives(run, wave):
    np.savez("x.npz", x=np.arange(2000.0).reshape(1000, 2))
    good = (wave / "x.npz").read_bytes()
    (wave / "x.npz").write_bytes(good[:-100])
    refused(run, wave, ["info", "x.npz"], 3, "x.npz: damaged npz archive: .*")
    (wave / "x.npz").write_bytes(patched(good, 3000, "<d", 7.0))
    refused(
        run, wave, ["info", "x.npz"], 3, "x.npz: damaged npz archive: checksum mismatch: Bad CRC.*"
    )
    encrypted = patched(patched(good, 6, "<H", 1), good.index(b"PK\x01\x02") + 8, "<H", 1)
    (wave / "x.npz").write_bytes(encrypted)
    refused(run, wave, ["info", "x.npz"], 3, "x.npz: x.npy: is encrypted")
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", npy_header((10**9, 2)) + bytes(64))
    refused(
        run,
        wave,
        ["info", "x.npz"],
        3,
        "x.npz: x.npy: header promises 16.* bytes, the archive holds .*",
    )


def test_23_names_are_no_paths(run, wave):
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("../../evil.npy", npy_header((4, 2)) + bytes(64))
    before = contents(wave.parent)
    assert run("info", "x.npz,rate=1").code == 0
    assert contents(wave.parent) == before


# ---------------------------------------------------------------- 24-33: audio


def test_24_cut_in_half(run, folder):
    data = wav(folder / "x.wav")
    (folder / "x.wav").write_bytes(data[: 44 + 2 * 3994])
    what = "cut short: data chunk promises 8000 frames, file holds 3994"
    refused(run, folder, ["info", "x.wav"], 3, f"x.wav: {what}", "--allow-truncated")
    result = run("info", "x.wav,features=raw", "--allow-truncated", "--json")
    assert result.code == 0
    assert result.stderr == f"mmalign: warning: x.wav: {what}\n"
    assert json.loads(result.stdout)["frames"] == 3994


def test_24_cut_flac(run, folder):
    wav(folder / "x.wav")
    values, rate = soundfile.read("x.wav")
    soundfile.write("x.flac", values, rate)
    data = (folder / "x.flac").read_bytes()
    (folder / "x.flac").write_bytes(data[: len(data) // 2])
    refused(run, folder, ["info", "x.flac"], 3, "x.flac: c.*")


def test_25_no_frames(run, folder):
    wav(folder / "x.wav", n=0)
    refused(run, folder, ["info", "x.wav"], 3, "x.wav: no audio frames")


def test_26_rates(run, folder):
    data = wav(folder / "x.wav")
    (folder / "x.wav").write_bytes(patched(data, 24, "<I", 0))
    refused(run, folder, ["info", "x.wav"], 3, "x.wav: sample rate 0 Hz is not valid")
    (folder / "x.wav").write_bytes(patched(data, 24, "<I", 2**32 - 1))
    refused(run, folder, ["info", "x.wav"], 3, "x.wav: .*")


@pytest.mark.parametrize("channels", [0, 65535])
def test_27_channels(run, folder, channels):
    data = wav(folder / "x.wav")
    (folder / "x.wav").write_bytes(patched(data, 22, "<H", channels))
    refused(run, folder, ["info", "x.wav"], 3, "x.wav: .*")


def test_28_size_field_lies_upward(run, folder):
    data = wav(folder / "x.wav")
    (folder / "x.wav").write_bytes(patched(data, 40, "<I", 32000))
    what = "x.wav: cut short: data chunk promises 16000 frames, file holds 8000"
    refused(run, folder, ["info", "x.wav"], 3, what)


def test_29_not_finite(run, folder):
    values = np.zeros(8000, np.float32)
    values[[4000, 4001]] = np.nan, np.inf
    soundfile.write("x.wav", values, 8000, subtype="FLOAT")
    what = r"x.wav: non-finite at t = 0.50 s \(frame 4000\), 2 values"
    refused(run, folder, ["info", "x.wav"], 3, what)


def test_30_silence(run, folder):
    wav(folder / "x.wav")
    soundfile.write("silence.wav", np.zeros(8000), 8000)
    result = run("dtw", "silence.wav", "x.wav", "--json")
    assert result.code == 0
    warnings = json.loads(result.stdout)["warnings"]
    assert any(re.fullmatch("silence.wav: .*change.*", w) for w in warnings)
    assert np.isfinite(json.loads(result.stdout)["cost"]["total"])


def test_31_mixdown_is_recorded(run, folder):
    wav(folder / "x.wav", channels=2)
    result = run("info", "x.wav,features=raw", "-v")
    assert result.code == 0
    assert result.stderr == "mmalign: x: mean of 2 channels\n"


def test_31_no_such_channel(run, folder):
    wav(folder / "x.wav", channels=2)
    refused(
        run, folder, ["info", "x.wav,channel=2"], 3, "x.wav: no channel 2: it has 2, the first is 0"
    )


def test_32_shorter_than_a_window(run, folder):
    wav(folder / "x.wav", n=80)
    refused(run, folder, ["info", "x.wav"], 3, "x.wav: 0.01 s is shorter than one frame .*")


# ---------------------------------------------------------------- 34-43: tables that are accepted


def values_of(run, *arguments):
    """Return the values that arrive of a stream, and what was said on the way."""
    result = run("features", *arguments, "-o", "arrived.npy", "--force", "-v")
    assert result.code == 0, result.stderr
    return np.load("arrived.npy").tolist(), result.stderr


@pytest.mark.parametrize("text", ["1,2\n3,4\n5,6\n", "1 2\n3 4\n5 6\n", "1;2\n3;4\n5;6\n"])
def test_34_no_header_no_row_eaten(run, folder, text):
    (folder / "x.csv").write_text(text)
    values, said = values_of(run, "x.csv,rate=1")
    assert values == [[1, 2], [3, 4], [5, 6]]
    assert "no header: the first line is data" in said
    assert values_of(run, "x.csv,rate=1", "--header")[0] == [[3, 4], [5, 6]]
    first = r"x.csv: line 1 column 1: 'a' is not a number"
    (folder / "x.csv").write_text("a,b\n1,2\n")
    refused(run, folder, ["info", "x.csv", "--no-header"], 3, first)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfx,y\n1,2\n3,4\n",
        b"x,y\r\n1,2\r\n3,4\r\n",
        b"x,y\r1,2\r3,4",
        b"x,y\n1,2\n\n3,4\n\n\n",
        b"x,y,\n1,2,\n3,4,\n",
        b"x,y\n1,2,\n3,4,\n",
        b'"x","y"\n"1","2"\n"3","4"\n',
        b",x,y\n0,1,2\n1,3,4\n",
        b"x\ty\n1\t2\n3\t4\n",
        b"# x y\n1 2\n3 4\n",
        b"name,x,y\nwalk,1,2\nrun,3,4\n",
    ],
)
def test_39_spellings_of_one_table(run, folder, data):
    (folder / "x.csv").write_bytes(data)
    assert values_of(run, "x.csv,rate=1")[0] == [[1, 2], [3, 4]]
    assert json.loads(run("info", "x.csv,rate=1", "--json").stdout)["columns"] == ["x", "y"]


def test_39_encodings_named(run, folder):
    for encoding in ("utf-16", "latin-1", "cp1252"):
        (folder / "x.csv").write_bytes("ß,y\n1,2\n3,4\n".encode(encoding))
        assert values_of(run, "x.csv,rate=1", "--encoding", encoding)[0] == [[1, 2], [3, 4]]
    refused(run, folder, ["info", "x.csv,encoding=utf-9"], 3, "x.csv: unknown encoding 'utf-9'")


def test_40_missing_values_treated(run, folder):
    (folder / "x.csv").write_text("time,x\n0,1\n1,NA\n4,9\n5,inf\n")
    values, said = values_of(run, "x.csv,nan=interpolate")
    assert values == [[1], [3], [9], [9]]
    assert "x.csv: 2 missing values interpolated" in said
    values, said = values_of(run, "x.csv", "--nan", "drop")
    assert values == [[1], [9]]
    assert "x.csv: 2 frames with missing values dropped" in said
    (folder / "x.csv").write_text("x,y\n1,\n2,\n")
    refused(
        run,
        folder,
        ["info", "x.csv,nan=interpolate"],
        3,
        "x.csv: column y has no value",
        "columns=",
    )
    refused(
        run,
        folder,
        ["info", "x.csv,nan=drop"],
        3,
        "x.csv: every frame has a missing value",
        "interpolate",
    )


def test_43_one_frame(run, wave):
    (wave / "one.csv").write_text("time,x,y\n0,1,2\n")
    for pair, steps in (
        (["one.csv", "b.csv"], 24),
        (["b.csv", "one.csv"], 24),
        (["one.csv"] * 2, 1),
    ):
        result = run("dtw", *pair, "--json", "-q")
        assert result.code == 0
        assert len(json.loads(result.stdout)["path"]["frames"]) == steps


def test_44_dimensions(run, wave):
    (wave / "x.csv").write_text("time,p,q,r\n0,1,2,3\n1,2,3,4\n")
    refused(
        run,
        wave,
        ["dtw", "x.csv", "b.csv"],
        3,
        r"b.csv: 3 vs 2 dimensions \(x, b\)",
        "use mmalign ctw, --metric selfsim, or the same features= for both",
    )


@pytest.mark.parametrize("how", ["zscore", "minmax"])
def test_45_constant_columns(run, folder, how):
    (folder / "x.csv").write_text("time,x,c\n0,1,0.1\n1,2,0.1\n2,3,0.1\n")
    values, said = values_of(run, f"x.csv,normalize={how}")
    middle, reach = (2, np.sqrt(2 / 3)) if how == "zscore" else (1, 2)
    assert np.allclose(values, [[(v - middle) / reach, 0] for v in (1, 2, 3)], atol=1e-15)
    assert "x.csv: constant columns set to 0: c" in said
    only = ["info", f"x.csv,columns=c,normalize={how}"]
    refused(run, folder, only, 3, "x.csv: every column is constant: nothing to align")


def checked_alignment(result, n, m):
    """Return the document of an alignment that succeeded, its path valid and its cost finite."""
    assert result.code == 0, result.stderr
    document = json.loads(result.stdout)
    frames = np.array(document["path"]["frames"])
    assert frames[0].tolist() == [0, 0]
    assert frames[-1].tolist() == [n - 1, m - 1]
    moves = np.diff(frames, axis=0)
    assert ((moves >= 0) & (moves <= 1)).all()
    assert (moves.sum(axis=1) > 0).all()
    assert all(np.isfinite(document["cost"][k]) for k in ("total", "mean"))
    return document, frames


def test_46_fewer_frames_than_dimensions(run, folder):
    values = np.random.default_rng(0).standard_normal((3, 7))
    np.save("x.npy", np.column_stack([values, values[:, :1]]))
    result = run("dtw", "x.npy,rate=1", "x.npy,rate=1,name=y", "--json", "-q")
    document, _ = checked_alignment(result, 3, 3)
    assert document["cost"]["total"] == 0


@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324, 1e154, 1e-162, -0.0])
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock", "cosine"])
def test_47_extreme_values(run, folder, scale, metric):
    rng = np.random.default_rng(3)
    np.save("x.npy", scale * rng.integers(1, 9, (8, 2)))
    np.save("y.npy", scale * rng.integers(1, 9, (9, 2)))
    arguments = ["dtw", "x.npy,rate=1", "y.npy,rate=1", "--metric", metric, "--json", "-q"]
    result = run(*arguments)
    if result.code == 0:
        checked_alignment(result, 8, 9)
    else:
        refused(run, folder, arguments, 3, "x, y: .*")
    if 1e-170 < abs(scale) < 1e170 or scale == 0:
        assert metric != "euclidean" or result.code == 0, result.stderr


def test_47_the_scale_does_not_change_the_path(run, folder):
    rng = np.random.default_rng(3)
    x, y = rng.integers(1, 9, (30, 2)).astype(float), rng.integers(1, 9, (25, 2)).astype(float)
    paths, costs = [], []
    for exponent in (0, 500, -500):
        np.save("x.npy", np.ldexp(x, exponent))
        np.save("y.npy", np.ldexp(y, exponent))
        result = run("dtw", "x.npy,rate=1", "y.npy,rate=1", "--metric", "euclidean", "--json", "-q")
        document, frames = checked_alignment(result, 30, 25)
        paths.append(frames.tolist())
        costs.append(np.ldexp(document["cost"]["total"], -exponent))
    assert paths[0] == paths[1] == paths[2]
    assert costs[0] == costs[1] == costs[2]


@pytest.mark.parametrize("step", sorted(STEP_PATTERNS))
def test_48_identical_streams(run, wave, step):
    result = run("dtw", "a.csv", "a.csv", "--step", step, "--json", "-q")
    document, frames = checked_alignment(result, 20, 20)
    assert document["cost"]["total"] == 0
    assert frames.tolist() == [[k, k] for k in range(20)]


def test_49_ties_everywhere(run, folder):
    np.save("x.npy", np.ones((6, 2)))
    np.save("y.npy", np.ones((9, 2)))
    results = [run("dtw", "x.npy,rate=1", "y.npy,rate=1", "--json", "-q") for _ in range(2)]
    document, frames = checked_alignment(results[0], 6, 9)
    assert results[0] == results[1]
    assert document["cost"]["total"] == 0
    assert len(frames) == 9  # diagonal steps win a tie, so the path is as short as it can be


# ---------------------------------------------------------------- 50-58: limits and outputs


def test_50_too_much_memory(run, folder):
    np.save("x.npy", np.zeros((20_000, 1)))
    arguments = ["dtw", "x.npy,rate=1", "x.npy,rate=1,name=y", "--max-memory", "10M"]
    what = r"x, y: needs \S+ MB of memory, 10.5 MB may be used"
    refused(run, folder, arguments, 4, what, "--radius")


def test_51_band_too_narrow(run, wave):
    arguments = ["dtw", "a.csv", "b.csv", "--window", "sakoe-chiba", "--radius", "2"]
    what = "a, b: no path inside sakoe-chiba radius 2; the smallest that holds one is 4 frames"
    refused(run, wave, arguments, 4, what)


@pytest.mark.parametrize(
    "options",
    [
        ["--window", "slanted", "--radius", "nan"],
        ["--window", "slanted", "--radius", "-1"],
        ["--window", "itakura", "--max-slope", "nan"],
        ["--window", "itakura", "--max-slope", "0.5"],
        ["--penalty", "inf"],
        ["--penalty", "-1"],
        ["--penalty", "x"],
        ["--threads", "0"],
        ["--max-memory", "-1"],
        ["--max-memory", "0"],
        ["--rate", "0"],
        ["--rate", "nan"],
        ["--hop", "-0.01"],
        ["--start", "nan"],
        ["--end", "inf"],
        ["--start", "2", "--end", "1"],
        ["--channel", "-1"],
        ["--derivative", "3"],
        ["--normalize", "maximum"],
        ["--decimal", "::"],
        ["--metric", "euclid"],
        ["--step", "symmetric3"],
        ["--no-such-option"],
    ],
)
def test_52_option_values(run, wave, options):
    refused(run, wave, ["dtw", "a.csv", "b.csv", *options], 2, ".*")


UNSETTLED = {
    "ctw": ["--algorithm", "alternating", "--init", "uniform"],
    "gtw": ["--algorithm", "gtw"],
}


@pytest.mark.parametrize("command", UNSETTLED)
def test_53_not_converged(run, wave, command):
    asked = [command, "a.csv", "b.csv", *UNSETTLED[command], "--max-iter", "1"]
    asked += ["--confidence", "none"]
    result = run(*asked, "--json", "--dims", "1")
    assert result.code == 0, result.stderr
    document = json.loads(result.stdout)
    said = "not converged after 1 rounds: raise --max-iter"
    assert said in document["warnings"]
    assert f"mmalign: warning: {said}" in result.stderr.splitlines()
    assert document["optimizer"]["converged"] is False
    what = r"a, b: no convergence in 1 rounds \(max-iter\)"
    refused(run, wave, [*asked, "--dims", "1", "--strict"], 4, what, "leave --strict out")


def broken(monkeypatch, how):
    """Have the descent of Generalized Time Warping go wrong in its third round."""
    rounds, step = [], gtw_objective.Problem.step

    def steps(problem, pose, weights):
        rounds.append(step(problem, pose, weights))
        new, objective = rounds[-1]
        return new, (how(objective) if len(rounds) == 3 else objective)

    monkeypatch.setattr(gtw_objective.Problem, "step", steps)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (lambda value: float("nan"), "round 3: the objective is nan"),
        (lambda value: value + 1.0, r"round 3: the objective is \S+, it was \S+"),
        (lambda value: np.linalg.cholesky(-np.eye(2)), "round 3: Matrix is not positive definite"),
    ],
    ids=["nan", "rises", "fails"],
)
def test_54_objective_goes_wrong(run, wave, monkeypatch, how, what):
    """Nothing is written but the state, in a file that is named."""
    broken(monkeypatch, how)
    before = contents(wave)
    result = run("gtw", "a.csv", "b.csv", "--algorithm", "gtw", "-o", "out.json")
    assert (result.code, result.stdout) == (1, "")
    first, hint = result.stderr.splitlines()
    assert re.fullmatch(f"mmalign: error: internal check: {what}", first)
    kept = Path(hint.removeprefix("hint: report it, with its state: "))
    with np.load(kept) as state:
        assert str(state["what"]) in first
        assert state["path"].shape[0] == 2
        assert len(state["objectives"]) == 2
    kept.unlink()
    assert contents(wave) == before


def test_54_no_room_for_the_state(run, wave, monkeypatch):
    nowhere = SimpleNamespace(gettempdir=lambda: str(wave / "no"))
    monkeypatch.setattr("mmalign_cli.write.fault.tempfile", nowhere)
    (wave / f"mmalign-fault-{os.getpid()}.npz").mkdir()
    broken(monkeypatch, lambda value: float("inf"))
    arguments = ["gtw", "a.csv", "b.csv", "--algorithm", "gtw", "-o", "out.json"]
    refused(run, wave, arguments, 1, "internal check: round 3: .* inf", "report it")


def test_55_output_exists(run, wave):
    (wave / "out.json").write_text("precious")
    refused(
        run, wave, ["dtw", "a.csv", "b.csv", "-o", "out.json"], 5, "out.json: exists", "--force"
    )
    assert run("dtw", "a.csv", "b.csv", "-o", "out.json", "--force").code == 0
    assert json.loads((wave / "out.json").read_text())["method"] == "dtw"


def test_56_output_is_an_input(run, wave):
    os.symlink("a.csv", "soft.csv")
    os.link("a.csv", "hard.csv")
    for name in ("a.csv", "./a.csv", "soft.csv", "hard.csv"):
        arguments = ["dtw", "a.csv", "b.csv", "--path", name, "--force"]
        refused(run, wave, arguments, 5, f"{re.escape(name)}: is an input")


def test_57_outputs_that_cannot_be(run, wave):
    (wave / "d").mkdir()
    long = "n" * 300 + ".json"
    for name, what in (
        ("no/o.json", "no such folder: no"),
        ("d", "is a directory"),
        (long, "the name is too long"),
    ):
        refused(run, wave, ["dtw", "a.csv", "b.csv", "-o", name], 5, f"{name}: {what}")
    refused(
        run,
        wave,
        ["dtw", "a.csv", "b.csv", "-o", "a.csv/o.json"],
        5,
        "a.csv/o.json: no such folder: a.csv",
    )


def test_58_output_is_a_link(run, wave):
    (wave / "real.json").write_text("old")
    os.symlink("real.json", "link.json")
    refused(
        run, wave, ["dtw", "a.csv", "b.csv", "-o", "link.json"], 5, "link.json: exists", "--force"
    )
    assert run("dtw", "a.csv", "b.csv", "-o", "link.json", "--force").code == 0
    assert (wave / "link.json").is_symlink()
    assert json.loads((wave / "real.json").read_text())["method"] == "dtw"


def test_64_same_stem_gets_a_number(run, wave):
    (wave / "d").mkdir()
    (wave / "d" / "a.csv").write_bytes((wave / "b.csv").read_bytes())
    document = json.loads(run("dtw", "a.csv", "d/a.csv", "--json").stdout)
    assert [s["name"] for s in document["streams"]] == ["a", "a_2"]
    same = ["dtw", "a.csv,name=q", "b.csv,name=q"]
    refused(run, wave, same, 2, "name: two streams are called 'q'")


# ---------------------------------------------------------------- 70-78: names, formats


@pytest.mark.parametrize(
    "name",
    [
        "a b.csv",
        "n\newline.csv",
        "{0}%s.csv",
        "[red]x.csv",
        "é.csv",
        "x" * 251 + ".csv",
        "-x.csv",
        os.fsdecode(b"\xff.csv"),
    ],
)
def test_70_any_file_name(run, wave, name):
    (wave / name).write_bytes((wave / "a.csv").read_bytes())
    result = run("dtw", f"./{name}" if name[0] == "-" else name, "b.csv", "--json")
    document, _ = checked_alignment(result, 20, 24)
    assert document["streams"][0]["name"] == name.removesuffix(".csv")


def test_71_terminal_escapes(run, wave):
    refused(run, wave, ["info", "\x1b[31mred\n.csv"], 3, r"\\x1b\[31mred\\n.csv: no such file")
    (wave / "x.csv").write_text("a,b\n1,2\n3,4\x1b[31m\n")
    result = refused(run, wave, ["info", "x.csv"], 3, "x.csv: line 3 column b: .* is not a number")
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("first", "=+-@")
def test_72_no_formulas_for_spreadsheets(run, wave, first):
    assert run("dtw", f"a.csv,name={first}1", "b.csv", "--path", "path.csv").code == 0
    header = (wave / "path.csv").read_text().splitlines()[0].split(",")
    assert header[1] == f"'{first}1_frame"
    assert not any(cell.startswith(tuple("=+-@")) for cell in header)


def test_73_markup_is_text(run, wave):
    refused(run, wave, ["info", "[red]no[/red].csv"], 3, r"\[red\]no\[/red\].csv: no such file")


def test_77_without_matplotlib(run, wave, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["dtw", "a.csv", "b.csv", "--plot", "x.png"]
    refused(run, wave, arguments, 2, "--plot: needs matplotlib.*", "mmalign[plot]")
    assert run("dtw", "a.csv", "b.csv").code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "mmalign.alignment/2"}, "format version 2, this is 1"),
        ({"format": "other/1"}, "is not an alignment document: .*"),
        ({"streams": None}, "field streams is not valid"),
        ({"cost": {"total": "x", "mean": 1, "normalized": None}}, "field cost.total is not valid"),
        ({"time_maps": []}, "contradicts itself: .*"),
    ],
)
def test_78_documents_changed_by_hand(run, wave, change, message):
    document = json.loads(run("dtw", "a.csv", "b.csv", "--json").stdout)
    (wave / "out.json").write_text(json.dumps(document | change))
    refused(run, wave, ["evaluate", "out.json", "a.csv"], 3, f"out.json: {message}")


def test_78_not_json(run, wave):
    (wave / "out.json").write_text("{")
    refused(
        run,
        wave,
        ["evaluate", "out.json", "a.csv"],
        3,
        "out.json: is not an alignment document: not JSON",
    )


# ---------------------------------------------------------------- 80: a bit flips


def flipped(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def same_or_refused(path, read, copies, of_whole):
    """Read copies of a file in each of which one bit is another; return how many were refused."""
    rng, whole, n_refused = random.Random(80), path.read_bytes(), 0
    for _ in range(copies):
        path.write_bytes(flipped(whole, rng))
        try:
            assert read(str(path)) == of_whole
        except (InputError, LimitError):
            n_refused += 1
    path.write_bytes(whole)
    return n_refused


def test_80_a_bit_of_a_document(run, wave):
    assert run("dtw", "a.csv", "b.csv", "-o", "out.json").code == 0

    def read(path):
        return to_line(to_document(read_document(path)))

    assert same_or_refused(wave / "out.json", read, 400, read("out.json")) > 350
    text = (wave / "out.json").read_text()
    (wave / "out.json").write_text(re.sub(r'("total": ?\d+\.)', r"\g<1>7", text))
    what, hint = "out.json: checksum mismatch: it is not what was written", "take a copy"
    (wave / "out.csv").write_text("precious")
    for arguments in (
        ["info", "out.json"],
        ["plot", "out.json", "-o", "out.png"],
        ["apply", "out.json", "a.csv", "-o", "out.csv", "--force"],
        ["evaluate", "out.json", "a.csv"],
        ["evaluate", "out.json", "out.json"],
    ):
        refused(run, wave, arguments, 3, what, hint)


def test_80_another_spelling_is_no_change(run, wave):
    """Fields in another order, blanks, 1 for 1.0; and no checksum is none to compare."""
    assert run("dtw", "a.csv", "b.csv", "-o", "out.json").code == 0
    document = json.loads((wave / "out.json").read_text())
    document["path"]["times"] = [
        [int(v) if v == int(v) else v for v in row] for row in document["path"]["times"]
    ]
    (wave / "new.json").write_text(json.dumps(dict(sorted(document.items())), indent=3))
    assert run("evaluate", "new.json", "out.json", "--max-error", "0").code == 0
    del document["checksum"]
    document["cost"]["total"] += 1
    (wave / "new.json").write_text(json.dumps(document))
    assert run("info", "new.json").code == 0


def test_80_a_bit_of_a_model(run, wave):
    (wave / "takes.csv").write_text("id,x,y\n1,a.csv,b.csv\n")
    learn = ["ctw", "--takes", "takes.csv", "--save-model", "m.npz", "--confidence", "none"]
    assert run(*learn, "--algorithm", "alternating", "--dims", "1").code == 0

    def read(path):
        learned, meta = read_learned(path)
        return json.dumps(meta), [f.linear.weights.tobytes() for f in learned.maps]

    assert same_or_refused(wave / "m.npz", read, 200, read("m.npz")) > 100
    with np.load("m.npz") as file:
        arrays = dict(file)
    arrays["weights_0"] = arrays["weights_0"] * 2
    np.savez("m.npz", **arrays)
    use = ["ctw", "--takes", "takes.csv", "--model", "m.npz", "-o", "out"]
    refused(run, wave, use, 3, "m.npz: checksum mismatch: .*")


# ---------------------------------------------------------------- the same through a real process


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["dtw", "no.csv", "b.csv"], 3, "mmalign: error: no.csv: no such file"),
        (["dtw", "a.csv", "b.csv", "--step", "x"], 2, "mmalign: error: .*'x'.*"),
        (
            ["dtw", "a.csv", "b.csv", "-o", "b.csv", "--force"],
            5,
            "mmalign: error: b.csv: is an input",
        ),
    ],
)
def test_process(wave, arguments, code, line):
    before = contents(wave)
    command = [sys.executable, "-m", "mmalign_cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(line, done.stderr.splitlines()[0])
    assert contents(wave) == before


def test_07_process_reads_a_pipe(wave):
    command = [sys.executable, "-m", "mmalign_cli", "info", "-,format=csv", "--json"]
    done = subprocess.run(
        command, input=(wave / "a.csv").read_bytes(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["frames"] == 20
