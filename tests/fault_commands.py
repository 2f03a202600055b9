"""Every command with a place for a file that is at fault: what the tests of faults go through.

A command that is not named here is taken for an aligner of two streams.
"""

from __future__ import annotations

import os
from pathlib import Path

from mmalign_cli.commands.main import COMMANDS

GOOD = "a.csv"
OUTPUTS = ("out.json", "out.csv", "out.npy", "out.npz", "out.wav", "out.png", "out.srt")
WITHOUT_INPUT = ("schema", "synth")


def aligner(name):
    return lambda bad: [name, GOOD, bad, "-o", "out.json", "--force"]


def same_kind(bad):
    """An output of the kind of the input, or of a kind that there is."""
    ending = os.path.splitext(bad.partition(",")[0])[1]
    return f"out{ending}" if f"out{ending}" in OUTPUTS else "out.csv"


_SPECIAL = {
    "sync": lambda bad: ["sync", GOOD, bad, "--alignment", "out.json", "--force"],
    "features": lambda bad: ["features", bad, "-o", "out.csv", "--force"],
    "info": lambda bad: ["info", bad, "--json"],
}
_OF_DOCUMENTS = ("apply", "evaluate", "plot", "batch")

STREAMS = {
    name: _SPECIAL.get(name, aligner(name))
    for name in COMMANDS
    if name not in (*_OF_DOCUMENTS, *WITHOUT_INPUT)
}
STREAMS["dtw, as reference"] = lambda bad: ["dtw", bad, GOOD, "-o", "out.json", "--force"]
"""Commands that read a stream: each says of it the same."""

FILES = {
    "apply, file": lambda bad: ["apply", "doc.json", bad, "-o", same_kind(bad), "--force"],
    "apply, document": lambda bad: ["apply", bad, GOOD, "-o", "out.csv", "--force"],
    "evaluate, truth": lambda bad: ["evaluate", "doc.json", bad, "--json"],
    "evaluate, document": lambda bad: ["evaluate", bad, GOOD, "--json"],
    "plot": lambda bad: ["plot", bad, "-o", "out.png", "--force"],
    "ctw --model": lambda bad: ["ctw", "--takes", "takes.csv", "--model", bad, "-o", "takes"],
    "ctw --takes": lambda bad: ["ctw", "--takes", bad, "-o", "takes"],
    "dtw --pairwise": lambda bad: ["dtw", "--pairwise", bad, "-o", "out.npz", "--force"],
    "dtw --anchors": lambda bad: [
        "dtw",
        GOOD,
        "b.csv",
        "--anchors",
        bad,
        "-o",
        "out.json",
        "--force",
    ],
    "dtw --window": lambda bad: [
        "dtw",
        GOOD,
        "b.csv",
        "--window",
        bad,
        "-o",
        "out.json",
        "--force",
    ],
    "batch": lambda bad: ["batch", bad, "-o", "takes"],
}
"""Commands that read a file in another way: each refuses it in its own words."""


def prepare(run):
    """Make the files that the commands take beside the one at fault, and outputs to be kept."""
    assert run("dtw", GOOD, "b.csv", "-o", "doc.json").code == 0
    Path("takes.csv").write_text("id,x,y\n1,a.csv,b.csv\n")
    for name in OUTPUTS:
        Path(name).write_text("precious")


UNCERTAIN = ("--confidence", "none")
WRITERS = {
    # what is written, with its ending: the command up to the name
    "dtw -o": ("json", ["dtw", GOOD, "b.csv", *UNCERTAIN, "-o"]),
    "dtw --path": ("csv", ["dtw", GOOD, "b.csv", *UNCERTAIN, "--path"]),
    "dtw --cost": ("npz", ["dtw", GOOD, "b.csv", *UNCERTAIN, "--cost"]),
    "dtw --plot": ("png", ["dtw", GOOD, "b.csv", *UNCERTAIN, "--plot"]),
    "dtw --pairwise": ("npy", ["dtw", "--pairwise", "list.txt", "-o"]),
    "ctw -o": ("json", ["ctw", GOOD, "b.csv", *UNCERTAIN, "-o"]),
    "ctw --save-model": ("npz", ["ctw", "--takes", "takes.csv", *UNCERTAIN, "--save-model"]),
    "gtw -o": ("json", ["gtw", GOOD, "b.csv", "--algorithm", "dba", *UNCERTAIN, "-o"]),
    "gtw --average": ("csv", ["gtw", GOOD, "b.csv", "--algorithm", "dba", *UNCERTAIN, "--average"]),
    "sync --alignment": ("json", ["sync", "a.wav", "b.wav", "--alignment"]),
    "sync -o": ("wav", ["sync", "a.wav", "b.wav", "-o"]),
    "apply -o": ("csv", ["apply", "doc.json", "b.csv", "-o"]),
    "apply --write-map": ("csv", ["apply", "doc.json", "--write-map"]),
    "features -o": ("csv", ["features", GOOD, "-o"]),
    "plot -o": ("png", ["plot", "doc.json", "-o"]),
}
"""Commands that write a file."""
