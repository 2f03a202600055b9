"""Files appear whole or not at all; what was there before survives every failure."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.errors import OutputError
from mmalign_cli.model import Stream, WarpingPath
from mmalign_cli.write.aligned import common_times, file_name, nearest_frames
from mmalign_cli.write.atomic import Outputs, check_outputs
from mmalign_cli.write.document import text_pieces, to_line
from mmalign_cli.write.path import csv_label


def write(path, text, force=False):
    with Outputs(force) as outputs, outputs.open(path) as file:
        file.write(text.encode())


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_new_file(folder):
    write("a.txt", "new")
    assert Path("a.txt").read_text() == "new"
    assert names(folder) == ["a.txt"]
    Path("b.txt").write_text("usual")
    assert Path("a.txt").stat().st_mode == Path("b.txt").stat().st_mode


def test_existing_file_needs_force(folder):
    write("a.txt", "old")
    with pytest.raises(OutputError, match="exists"):
        write("a.txt", "new")
    assert Path("a.txt").read_text() == "old"
    write("a.txt", "new", force=True)
    assert Path("a.txt").read_text() == "new"
    assert names(folder) == ["a.txt"]


def test_a_file_that_appears_meanwhile_is_kept(folder):
    with pytest.raises(OutputError, match="exists"), Outputs(False) as outputs:
        with outputs.open("a.txt") as file:
            file.write(b"mine")
        Path("a.txt").write_text("theirs")
    assert Path("a.txt").read_text() == "theirs"
    assert names(folder) == ["a.txt"]


def test_all_or_none(folder):
    """A failure in the second file leaves no first one."""
    with pytest.raises(KeyboardInterrupt), Outputs(False) as outputs:
        with outputs.open("a.txt") as file:
            file.write(b"done")
        with outputs.open("b.txt") as file:
            file.write(b"half")
            raise KeyboardInterrupt
    assert names(folder) == []


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failing_system_call_keeps_the_old_file(folder, monkeypatch, call):
    write("a.txt", "old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OutputError, match="No space left"):
            write("a.txt", "new", force=True)
    assert Path("a.txt").read_text() == "old"
    assert names(folder) == ["a.txt"]


def test_without_hard_links(folder, monkeypatch):
    def fail(*arguments):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    write("a.txt", "new")
    with pytest.raises(OutputError, match="exists"):
        write("a.txt", "newer")
    assert Path("a.txt").read_text() == "new"


def test_a_symbolic_link_stays_one(folder):
    write("target.txt", "old")
    os.symlink("target.txt", "link.txt")
    with pytest.raises(OutputError, match="exists"):
        write("link.txt", "new")
    write("link.txt", "new", force=True)
    assert Path("link.txt").is_symlink()
    assert Path("target.txt").read_text() == "new"


def test_dangling_links_count_as_existing(folder):
    os.symlink("nowhere", "link.txt")
    with pytest.raises(OutputError, match="exists"):
        check_outputs(["link.txt"], [], force=False)


def test_long_names_and_bad_folders(folder):
    Path("file").write_text("")
    for path, says in (
        ("x" * 300, "too long"),
        ("file/a.txt", "no such folder"),
        ("no/a.txt", "no such folder"),
        (".", "is a directory"),
    ):
        with pytest.raises(OutputError, match=says):
            check_outputs([path], [], force=True)


def test_common_times_increase_and_are_the_references_where_it_moves():
    frames = np.array([[0, 0], [0, 1], [0, 2], [1, 3], [3, 4], [3, 5]])
    times = np.column_stack([frames[:, 0] * 0.5, frames[:, 1] * 0.1])
    common = common_times(WarpingPath(frames, times))
    np.testing.assert_allclose(common, [0, 1 / 6, 2 / 6, 0.5, 1.5, 2.0])


def test_nearest_frames():
    stream = Stream("a", np.zeros((3, 1)), np.array([0.0, 1.0, 3.0]))
    found = nearest_frames(stream, np.array([-5.0, 0.4, 0.6, 1.9, 2.1, 9.0]))
    np.testing.assert_array_equal(found, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("a/b", "table", "a_b.csv"), ("..", "array", "stream.npy"), ("a\n", "audio", "a_.npz")],
)
def test_names_of_streams_are_never_paths(name, kind, expected):
    stream = Stream(name, np.zeros((2, 1)), np.arange(2.0), kind=kind)
    assert file_name(stream) == expected


@pytest.mark.parametrize("label", ["=1+1", "+a", "-a", "@a"])
def test_no_label_is_a_formula(label):
    assert csv_label(label) == f"'{label}"
    assert csv_label("a=1") == "a=1"


VALUES = {
    "whole": 3,
    "beyond 64 bits": 2**70,
    "numbers": [0.1, 1e-7, -0.0, 1e300, 5e-324],
    "numpy's": np.float64(0.1),
    "words": ["caf\u00e9", "half a character \udcff", 'quote " and \\', "null"],
    "nothing": None,
    "flags": (True, False),
    "few": np.array([[0, 1], [2, 3]]),
    "turned": np.arange(6.0).reshape(2, 3).T / 7,
    "empty": np.empty((0, 2)),
    "single": np.array([0.1, 0.7], dtype=np.float32),
    "deep": [{"knots": np.array([[0.0, 1.5]])}, {}],
}


def plain(value):
    """The value with lists for arrays."""
    return json.loads(json.dumps(value, default=np.ndarray.tolist))


def test_documents_say_what_they_hold_in_ascii():
    for text in ("".join(text_pieces(VALUES)), to_line(VALUES)):
        assert text.isascii()
        found = json.loads(text)
        np.testing.assert_allclose(np.float32(found.pop("single")), VALUES["single"], rtol=0)
        expected = plain(VALUES)
        del expected["single"]
        assert found == expected
    assert "\n" not in to_line(VALUES)


def test_long_arrays_are_written_in_pieces():
    rows = np.arange(20000).reshape(10000, 2)
    value = {"a": {"frames": rows, "times": rows / 7}, "b": [{"knots": rows}, {"few": rows[:3]}]}
    pieces = list(text_pieces(value))
    assert json.loads("".join(pieces)) == plain(value)
    assert max(map(len, pieces)) < len("".join(pieces)) / 4
    assert json.loads(to_line(value)) == plain(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_document_holds_a_number_that_is_not_finite(bad):
    for value in (bad, np.float64(bad), [1, (2, bad)], {"a": {"b": bad}}, np.array([[1.0, bad]])):
        with pytest.raises(ValueError):  # noqa: PT011 -- of the library, or ours
            "".join(text_pieces({"value": value, "name": "x"}))
    with pytest.raises(ValueError):  # noqa: PT011
        to_line({"long": np.full((10000, 2), bad)})
