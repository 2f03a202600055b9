"""HDF5, MATLAB's version 7.3, Parquet and Feather: what is read is what their libraries wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from test_faults import refused

from mmalign_cli.errors import InputError, MmalignError
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import parse_spec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import mutations
import seeds

VALUES = np.random.default_rng(0).normal(size=(100, 3))
TIMES = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.02, 100))


def read(argument):
    return load(parse_spec(str(argument)), "x")


def matlab(path, **variables):
    """Write variables as MATLAB's version 7.3 does: axes reversed, classes as attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            is_text = isinstance(value, list)
            codes = [[ord(c) for c in text] for text in value] if is_text else value
            array = np.atleast_2d(np.array(codes, np.uint16 if is_text else np.float64))
            dataset = file.create_dataset(name, data=array.T)
            dataset.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
        file.create_group("#refs#")["left"] = np.zeros((7, 7))
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def test_a_dataset_with_its_times_and_names(folder):
    with h5py.File("x.h5", "w") as file:
        group = file.create_group("take/one")
        group.create_dataset("values", data=VALUES, chunks=(30, 2), compression="gzip")
        group["t_ms"] = TIMES * 1000
        group["columns"] = ["hip", "knee", "toe"]
        file["t_ms"] = np.arange(5)  # of another group: not theirs
    stream = read("x.h5")
    assert np.array_equal(stream.values, VALUES)
    assert np.allclose(stream.times, TIMES)
    assert stream.columns == ("hip", "knee", "toe")
    assert np.array_equal(read("x.h5,key=/take/one/values,columns=toe").values, VALUES[:, 2:])


@pytest.mark.parametrize("holder", ["take/values", "take", "/"])
def test_a_rate_beside_or_as_attribute(folder, holder):
    with h5py.File("x.h5", "w") as file:
        file["take/values"] = VALUES.astype(">f4")
        file[holder].attrs["fps"] = 29.97
        file[holder].attrs["subject"] = "s1"
    stream = read("x.h5")
    assert float(stream.rate) == 29.97
    assert np.array_equal(stream.values, VALUES.astype(np.float32))


def test_texts_longer_than_the_file(run, folder):
    """The library would make room for them: here 4 GB for one name."""
    with h5py.File("x.h5", "w") as file:
        file["values"], file["columns"] = VALUES, ["hip", "knee", "toe"]
        at = file["columns"].id.get_offset()
    assert read("x.h5").columns == ("hip", "knee", "toe")
    with open("x.h5", "r+b") as raw:
        raw.seek(at)
        raw.write(b"\xff\xff\xff\xff")
    refused(run, folder, ["info", "x.h5"], 3, "x.h5: columns: promises more text than .*")
    with h5py.File("y.h5", "w") as file:
        file["values"] = VALUES
        file.create_dataset("columns", data=["hip", "knee", "toe"], compression="gzip",
                            dtype=h5py.string_dtype())  # fmt: skip
    assert read("y.h5").columns == ()


def test_texts_behind_a_block_of_the_users(folder):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["values"] = VALUES
        file.create_dataset("columns", data=["hip", "", "große Zehe"], dtype=h5py.string_dtype())
    assert read("x.h5").columns == ("hip", "", "große Zehe")


def test_a_heap_of_texts_without_end(run, folder):
    """An object of no length sends the library round for ever."""
    with h5py.File("x.h5", "w") as file:
        file["values"], file["columns"] = VALUES, ["hip", "knee", "toe"]
    data = bytearray((folder / "x.h5").read_bytes())
    at = data.index(b"GCOL") + 16
    for offset in range(at, at + 200, 8):
        data[offset : offset + 8] = bytes(8)
    (folder / "x.h5").write_bytes(data)
    refused(run, folder, ["info", "x.h5"], 3, "x.h5: columns: promises more text than .*")
    (folder / "x.h5").write_bytes(data.replace(b"GCOL", b"GONE"))
    refused(run, folder, ["info", "x.h5"], 3, "x.h5: columns: promises more text than .*")


def test_several_datasets(run, folder):
    with h5py.File("x.h5", "w") as file:
        file["a"], file["b/c"], file["label"] = VALUES, VALUES[:50], "walk"
    refused(run, folder, ["dtw", "x.h5", "x.h5"], 3, r"x\.h5: several arrays: .*", "key=")
    done = run("info", "x.h5", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "contents": [
            {"dataset": "a", "shape": [100, 3], "type": "float64"},
            {"dataset": "b/c", "shape": [50, 3], "type": "float64"},
            {"dataset": "label", "shape": [], "type": "text"},
        ]
    }
    assert "several arrays" in done.stderr
    shown = run("info", "x.h5,key=b/c").stdout
    assert "contents     b/c: shape 50, 3, type float64" in shown
    refused(run, folder, ["info", "x.h5,key=label"], 3, "x.h5: label: .*")
    refused(run, folder, ["info", "x.h5,key=d"], 3, "x.h5: no array 'd'")


def test_matlab(folder):
    matlab("x.mat", x=VALUES, fs=np.array(50.0), columns=["hip ", "knee", "toe "])
    stream = read("x.mat")
    assert np.array_equal(stream.values, VALUES)
    assert stream.rate == 50
    assert stream.columns == ("hip", "knee", "toe")
    matlab("row.mat", x=VALUES[:, 0])
    assert np.array_equal(read("row.mat,rate=1").values, VALUES[:, :1])


@pytest.mark.parametrize(
    ("name", "pattern", "code"),
    [
        ("external", "its values are in another file", 3),
        ("virtual", "its values are in another file", 3),
        ("linked", "no array 'linked'", 3),
        ("promise", r"promises .* TB, the file holds .*", 3),
        ("large", "holds .*, the limit is .*", 4),
        ("complex", r"complex values \(complex64\); .*", 3),
        ("records", r"holds records .*", 3),
        ("objects", "object arrays are never loaded", 3),
        ("cube", r"shape .*, expected .*", 3),
    ],
)
def test_datasets_that_are_refused(run, folder, name, pattern, code):
    VALUES.tofile("outside.bin")
    with h5py.File("outside.h5", "w") as other:
        other["linked"] = VALUES
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("external", (100, 3), "f8", external="outside.bin")
        layout = h5py.VirtualLayout((100, 3), "f8")
        layout[:] = h5py.VirtualSource("outside.h5", "linked", (100, 3))
        file.create_virtual_dataset("virtual", layout)
        file["linked"] = h5py.ExternalLink("outside.h5", "linked")
        file.create_dataset("promise", (10**9, 1000), "f8", chunks=(100, 100))
        file["large"] = VALUES
        file["complex"] = VALUES.astype(np.complex64)
        file["records"] = np.zeros(9, [("a", "f8"), ("b", "i4")])
        file.create_dataset("objects", (3,), h5py.vlen_dtype(np.float64))
        file["cube"] = np.zeros((2, 2, 2, 2, 2))
    arguments = ["info", f"x.h5,key={name},max-bytes=1k"]
    refused(run, folder, arguments, code, rf"x\.h5: ({name}: )?{pattern}")


def write_table(path, table):
    if path.endswith("feather"):
        feather.write_feather(table, path)
    else:
        parquet.write_table(table, path, row_group_size=40)


@pytest.mark.parametrize("name", ["x.parquet", "x.feather"])
def test_typed_columns(run, folder, name):
    """Numbers of any type are data, times found by name, gaps are gaps, labels left out."""
    table = pa.table(
        {
            "t_ms": (TIMES * 1000).astype(np.float32),
            "x": VALUES[:, 0],
            "a.b": pa.array([None, *range(99)], pa.int16()),
            "on": pa.array([True, False] * 50),
            "price": pa.array(map(Decimal, range(100)), pa.decimal128(12, 2)),
            "label": ["walk"] * 100,
        }
    )
    write_table(name, table)
    stream = read(f"{name},nan=interpolate")
    assert stream.columns == ("x", "a.b", "on", "price")
    assert np.allclose(stream.times, TIMES, atol=1e-6)
    assert np.array_equal(stream.values[:, 0], VALUES[:, 0])
    assert np.array_equal(stream.values[1:, 1], np.arange(99))
    assert np.array_equal(stream.values[:, 2], [1, 0] * 50)
    assert np.array_equal(stream.values[:, 3], np.arange(100))
    assert stream.notes == ("columns left out: label",)
    refused(run, folder, ["features", name], 3, f"{name}: 1 value is missing .* row 1 column a.b")
    refused(run, folder, ["info", f"{name},columns=label"], 3,
            f"{name}: column label holds string, not numbers")  # fmt: skip
    refused(run, folder, ["info", f"{name},time=label"], 3, f"{name}: column label .* not times")
    refused(run, folder, ["info", f"{name},time=when"], 3, f"{name}: no column 'when'")
    refused(run, folder, ["info", f"{name},max-bytes=1k"], 4, f"{name}: holds .*, the limit .*")
    shown = run("info", f"{name},columns=x").stdout
    assert "contents     a.b: type int16" in shown


@pytest.mark.parametrize("name", ["x.parquet", "x.feather"])
def test_dates(folder, name):
    """What pandas writes: an index of dates, without a name in Parquet."""
    index = pd.date_range("2024-05-06 07:08:09", periods=100, freq="20ms")
    frame = pd.DataFrame({"x": VALUES[:, 0]}, index=index)
    if name == "x.parquet":
        frame.to_parquet(name)
    else:
        frame.reset_index().to_feather(name)
    stream = read(name)
    assert stream.columns == ("x",)
    assert stream.rate == 50
    assert stream.times[0] == pd.Timestamp("2024-05-06 07:08:09").timestamp()
    clock = pa.array([k * 250 for k in range(4)], pa.time32("ms"))
    write_table("y.parquet", pa.table({"time": clock, "x": [1.0, 2, 3, 5]}))
    assert np.array_equal(read("y.parquet").times, [0, 0.25, 0.5, 0.75])


def test_tables_that_are_refused(run, folder):
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], ["a", "a"])
    with pa.OSFile("twice.feather", "wb") as raw, pa.ipc.new_file(raw, twice.schema) as out:
        out.write_table(twice)
    refused(run, folder, ["info", "twice.feather"], 3, "twice.feather: two columns .* 'a'")
    write_table("labels.parquet", pa.table({"l": ["a"]}))
    refused(run, folder, ["info", "labels.parquet"], 3, ".*: no column of numbers: l .*")
    write_table("none.parquet", pa.table({"x": pa.array([], pa.float64())}))
    refused(run, folder, ["info", "none.parquet"], 3, "none.parquet: holds no rows")
    (folder / "old.feather").write_bytes(b"FEA1" + bytes(40))
    refused(run, folder, ["info", "old.feather"], 3, ".*version 1 of Feather.*", "version 2")
    (folder / "x.h5").write_bytes(b"PAR1" + bytes(40))
    refused(run, folder, ["info", "x.h5"], 3, "x.h5: content is Parquet, name says HDF5")


@pytest.mark.parametrize("name", ["x.h5", "x.mat", "x.parquet", "x.feather"])
def test_cut_short_and_empty(run, folder, name):
    if name == "x.mat":
        matlab(name, x=VALUES)
    elif name == "x.h5":
        seeds.write_hdf5(folder / name)
    else:
        seeds.write_arrow(folder / name)
    whole = (folder / name).read_bytes()
    for share in (0.02, 0.3, 0.9):
        (folder / name).write_bytes(whole[: round(len(whole) * share)])
        refused(run, folder, ["info", name], 3, f"{name}: damaged .* file: .*")
    (folder / name).write_bytes(b"")
    refused(run, folder, ["info", name], 3, f"{name}: file is empty")


@pytest.mark.parametrize("name", ["x.h5", "x.parquet", "x.feather"])
def test_mutations(folder, name):
    path = folder / name
    (seeds.write_hdf5 if name == "x.h5" else seeds.write_arrow)(path)
    whole, results = path.read_bytes(), []
    for k in range(50):
        path.write_bytes(mutations.mutate(whole, np.random.default_rng(k)))
        try:
            results.append(read(f"{path},nan=interpolate").n_frames > 0)
        except MmalignError as error:
            results.append(str(error).count("\n") == 0)
    assert len(results) == 50
    assert all(results)


def test_piped(folder):
    seeds.write_arrow(folder / "x.parquet")
    seeds.write_hdf5(folder / "x.h5")
    for name, ending in (("x.parquet", "parquet"), ("x.h5", "hdf5")):
        piped = subprocess.run(
            [sys.executable, "-m", "mmalign_cli", "info", f"-,format={ending}", "--json"],
            input=(folder / name).read_bytes(), capture_output=True, check=True,
        )  # fmt: skip
        assert json.loads(piped.stdout)["frames"] == read(name).n_frames


def test_transpose(folder):
    write_table("x.parquet", pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "t": [0.0, 1.0]}))
    assert np.array_equal(read("x.parquet,transpose=true,time=none,columns=a+b,rate=1").values,
                          [[1, 2], [3, 4]])  # fmt: skip
    with pytest.raises(InputError, match="it cannot be transposed"):
        read("x.parquet,transpose=true")
