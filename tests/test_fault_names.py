"""Names and labels from strangers: nothing in them steers a terminal, a spreadsheet or a plot."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from test_faults import contents

HOSTILE = "=cmd\x1b]0;owned\x07\x1b[31m[red]\n$\\frac{%s{0}"
QUICK = ["--confidence", "none"]


@pytest.fixture
def hostile(wave):
    """Two files whose names and columns hold all of it."""
    names = []
    for name in "ab":
        lines = (wave / f"{name}.csv").read_text().splitlines()
        lines[0] = 'time,=x\x1b[31m,"@y[red]$\\q"'
        path = wave / f"{HOSTILE}{name}.csv"
        path.write_text("\n".join(lines) + "\n")
        names.append(path.name)
    return names


def harmless(run, *arguments, code=0):
    """Run a command; nothing that it says holds a control character."""
    result = run(*arguments)
    assert result.code == code, result.stderr
    for said in (result.stdout, result.stderr):
        assert re.search(r"[\x00-\x08\x0b-\x1f\x7f]", said) is None, said
        assert "Traceback" not in said
    return result


def quoted(names):
    return ",".join(f'"{name}"' for name in names)


def plain_cells(path):
    """Every text cell of a table is no formula."""
    with open(path, newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    texts = [c for c in cells if not re.fullmatch(r"[-+]?[\d.]+(e[-+]\d+)?", c)]
    assert [c for c in texts if c.startswith(tuple("=+-@"))] == []
    assert len(texts) > 2


def test_71_72_73_an_alignment(run, hostile):
    outputs = ["--path", "p.csv", "--aligned", "aligned", "--plot", "p.svg", "-o", "o.json", "-v"]
    harmless(run, "dtw", *hostile, *outputs)
    plain_cells("p.csv")
    for path in Path("aligned").iterdir():
        plain_cells(path)
        assert "/" not in path.name
    document = json.loads(Path("o.json").read_text())
    assert [s["source"] for s in document["streams"]] == hostile
    shutil.copy(hostile[0], "truth.csv")
    harmless(run, "info", "o.json")
    harmless(run, "evaluate", "o.json", "o.json")
    harmless(run, "plot", "o.json", "-o", "again.svg")
    harmless(run, "apply", "o.json", hostile[1], "-o", "moved.csv")
    harmless(run, "apply", "o.json", hostile[1], "-o", "moved.csv", code=5)


@pytest.mark.parametrize("command", ["ctw", "gtw"])
def test_71_72_projections(run, hostile, command):
    more = ["--average", "mean.csv"] if command == "gtw" else ["--dims", "1"]
    harmless(run, command, *hostile, *more, "--path", "p.csv", "-v", *QUICK)
    plain_cells("p.csv")
    if command == "gtw":
        plain_cells("mean.csv")


def test_71_72_streams(run, hostile):
    harmless(run, "info", hostile[0])
    harmless(run, "features", hostile[0], "-o", "f.csv", "-v")
    plain_cells("f.csv")
    Path("f.csv").unlink()
    harmless(run, "info", f"no{HOSTILE}", code=3)
    harmless(run, "info", f"{hostile[0]},columns={HOSTILE}", code=3)
    harmless(run, "info", f"{hostile[0]},{HOSTILE}=1", code=3)
    harmless(run, "dtw", *hostile, f"--{HOSTILE}", code=2)
    harmless(run, f"{HOSTILE}", code=2)


def test_71_72_a_batch(run, hostile, inside):
    with open("m.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "reference", "query", "=note"])
        rows.writerow(["one", *hostile, "=1+1"])
        rows.writerow(["two", f"no{HOSTILE}", hostile[0], "@x"])
        rows.writerow([HOSTILE, *hostile, ""])
    harmless(run, "batch", "m.csv", "-o", "out", code=3)
    lines = [f"one,{quoted(hostile)}", f"two,{quoted([f'no{HOSTILE}', hostile[0]])}"]
    Path("m.csv").write_text("id,reference,query\n" + "\n".join(lines) + "\n")
    before = contents(Path.cwd())
    harmless(run, "batch", "m.csv", "-o", "out", code=6)
    assert before.items() <= contents(Path.cwd()).items()
    plain_cells("out/summary.csv")
    assert harmless(run, "batch", "m.csv", "-o", "out", "--retry", "failed", code=6).stdout
