"""Errors of the papers' family with the reference programs' settings, seed by seed beside theirs.

    python benchmarks/gtw_reference.py FOLDER [--only NAME ...]

FOLDER holds spiral_2_sequences.npz, spiral_3_sequences.npz and jack_3_views.npz, inputs and truths
beside the errors of the reference programs (`*_errors.csv`); they are not part of the project.
At the end of each table: on how many seeds the two differ by at most 0.05 and 0.1 frames, the
means, and the mean of the same algorithm as mmalign has it by default.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmalign_cli import runtime
from mmalign_cli.align.algorithms import ALGORITHMS
from mmalign_cli.align.family import Settings
from mmalign_cli.align.reference import RECORDINGS, REFERENCE, TOYS
from mmalign_cli.evidence.metrics import path_difference

Floats = npt.NDArray[np.float64]
DATA: dict[str, tuple[str, int, Settings, dict[str, int]]] = {
    "spiral_3_sequences": ("seed{:03d}", 3, TOYS, {}),
    "spiral_2_sequences": ("seed{:03d}", 2, TOYS, {}),
    "jack_3_views": ("rep{:02d}", 3, RECORDINGS, {"gtw": 10}),
}
"""Keys, sequences, settings, and rounds where they are not the algorithm's own.

The common time lines of all were as long as the truth.
"""


def main() -> None:
    """Print the tables that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA), metavar="NAME")
    arguments = parser.parse_args()
    with runtime.one_algebra_thread():
        for name in arguments.only:
            compare(arguments.folder, name)


def compare(folder: Path, name: str) -> None:
    """Print the table of one file."""
    pattern, m, settings, rounds = DATA[name]
    theirs = reference_errors(folder, name)
    names = [a for a in REFERENCE if a in theirs]
    print(f"\n{name}: ours - theirs, frames\n{'':<6}" + "".join(f"{a:>10}" for a in names))
    apart, ours, defaults = [], [], []
    for number, (sequences, truth) in enumerate(problems(folder, name, pattern, m)):
        errors = []
        for a in names:
            told = replace(settings, length=len(truth), rounds=rounds.get(a))
            errors.append(path_difference(REFERENCE[a](sequences, told).path, truth))
        ours.append(errors)
        apart.append([e - theirs[a][number] for e, a in zip(errors, names, strict=True)])
        print(f"{number + 1:<6}" + "".join(f"{d:>10.4f}" for d in apart[-1]), flush=True)
        plain = [ALGORITHMS[a](sequences, Settings()).path for a in names]
        defaults.append([path_difference(np.floor(path + 0.5), truth) for path in plain])
    table = np.abs(np.array(apart))
    rows = {
        "<.05": (table <= 0.05).sum(axis=0),
        "<.1": (table <= 0.1).sum(axis=0),
        "theirs": np.array([np.mean(theirs[a]) for a in names]),
        "ours": np.mean(ours, axis=0),
        "deflt": np.mean(defaults, axis=0),
        "worst": np.max(defaults, axis=0),
    }
    for title, values in rows.items():
        print(f"{title:<6}" + "".join(f"{v:>10.4g}" for v in values))


def reference_errors(folder: Path, name: str) -> dict[str, list[float]]:
    """Return the errors of the reference programs by algorithm."""
    with (folder / f"{name}_errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if "method" not in rows[0]:
        return {k: [float(row[k]) for row in rows] for k in rows[0]}
    errors: dict[str, list[float]] = {}
    for row in rows:
        errors.setdefault(row["method"], []).append(float(row["dif"]))
    return errors


def problems(
    folder: Path, name: str, pattern: str, m: int
) -> Iterator[tuple[list[Floats], Floats]]:
    """Read sequences and truths, in the order of their numbers."""
    with np.load(folder / f"{name}.npz") as data:
        number = 1
        while (key := pattern.format(number)) + "_truth" in data:
            sequences = [data[f"{key}_x{k + 1}"].astype(np.float64) for k in range(m)]
            yield sequences, data[f"{key}_truth"].astype(np.float64)
            number += 1


if __name__ == "__main__":
    main()
