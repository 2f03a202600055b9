"""Errors of the joint aligner on sequences with exact truth, in frames (`path_difference`).

    python benchmarks/ctw.py [FOLDER] [--only NAME ...] [--share 0.1]

FOLDER holds spiral_2_sequences.npz, spiral_3_sequences.npz and jack_3_views.npz, inputs and truths
beside the errors of the reference programs on them (`*_errors.csv`); they are not part of the
project. The rest is made by `mmalign synth`'s generators. --share runs only the first so many of
each.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmalign_cli.align.joint import align_jointly
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import Planted

Floats = npt.NDArray[np.float64]
Problem = list[Planted]
"""The takes of one alignment."""


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*REFERENCE, *MADE], metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args()
    print(f"{'data':<28}{'n':>5}{'mean':>8}{'median':>8}{'worst':>8}{'> 2':>5}{'CPU s':>9}")
    for name in arguments.only or [*REFERENCE, *MADE]:
        if name in MADE:
            groups = MADE[name]()
        elif arguments.folder is not None:
            groups = REFERENCE[name](arguments.folder)
        else:
            print(f"{name}: needs the folder of the reference's data")
            continue
        pooled = []
        for label, problems in groups:
            kept = problems[: max(1, round(arguments.share * len(problems)))]
            began = time.process_time()
            errors = [errors_of(problem) for problem in kept]
            pooled.append(np.concatenate(errors))
            report(label, pooled[-1], (time.process_time() - began) / len(kept))
        if name == "curves":
            report("curves, all", np.concatenate(pooled), None)
        if name in REFERENCE:
            print(f"{'':<28}reference: {reference_means(arguments.folder, name)}")


def report(label: str, errors: Floats, seconds: float | None) -> None:
    """Print one line: errors in frames, (n,), and processor seconds an alignment."""
    took = "" if seconds is None else f"{seconds:>9.2f}"
    print(
        f"{label:<28}{len(errors):>5}{errors.mean():>8.3f}{np.median(errors):>8.3f}"
        f"{errors.max():>8.2f}{(errors > 2).sum():>5}{took}",
        flush=True,
    )


def errors_of(problem: Problem) -> Floats:
    """Return the error of each take of one alignment."""
    found = align_jointly([take.sequences for take in problem])
    return np.array(
        [
            path_difference(path.astype(np.float64), take.truth.astype(np.float64))
            for path, take in zip(found.paths, problem, strict=True)
        ]
    )


def read(folder: Path, file: str, pattern: str, n_sequences: int) -> Iterator[Planted]:
    """Read the problems of one of the reference's files, in the order of their numbers."""
    with np.load(folder / f"{file}.npz") as data:
        number = 1
        while (key := pattern.format(number)) + "_truth" in data:
            sequences = tuple(data[f"{key}_x{k + 1}"] for k in range(n_sequences))
            yield Planted(sequences, np.round(data[f"{key}_truth"]).astype(np.int64))
            number += 1


def spirals(n_sequences: int) -> Callable[[Path], Iterable[tuple[str, list[Problem]]]]:
    """Return the benchmark of the reference's spirals."""

    def groups(folder: Path) -> Iterable[tuple[str, list[Problem]]]:
        file = f"spiral_{n_sequences}_sequences"
        planted = read(folder, file, "seed{:03d}", n_sequences)
        yield file, [[one] for one in planted]

    return groups


def jack(folder: Path) -> Iterable[tuple[str, list[Problem]]]:
    """Three views of a silhouette: the three pairs, and all three."""
    sets = list(read(folder, "jack_3_views", "rep{:02d}", 3))
    pairs = []
    for i, j in combinations(range(3), 2):
        for one in sets:
            sequences = (one.sequences[i], one.sequences[j])
            pairs.append([Planted(sequences, one.truth[:, [i, j]])])
    yield "jack, pairs", pairs
    yield "jack_3_views", [[one] for one in sets]


def reference_means(folder: Path, name: str) -> str:
    """Return the mean errors of the reference programs, from their csv."""
    with (folder / f"{name}_errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if "method" in rows[0]:
        methods = list(dict.fromkeys(row["method"] for row in rows))
        errors = {m: [float(r["dif"]) for r in rows if r["method"] == m] for m in methods}
    else:
        errors = {m: [float(row[m]) for row in rows] for m in rows[0] if m != "seed"}
    return ", ".join(f"{method} {np.mean(values):.2f}" for method, values in errors.items())


def own_spirals() -> Iterable[tuple[str, list[Problem]]]:
    """Spirals of our own generator."""
    seeds = range(1000, 1100)
    yield "own spirals 1000-1099", [[synth.spiral(2, np.random.default_rng(s))] for s in seeds]


def curves() -> Iterable[tuple[str, list[Problem]]]:
    """Nine families of curves, twenty each."""
    for k, family in enumerate(synth.CURVES):
        yield family, [[synth.curve(family, np.random.default_rng([s, k]))] for s in range(20)]


def takes() -> Iterable[tuple[str, list[Problem]]]:
    """Two linear sensors: problems of 1, 4 and 16 takes."""
    for count in (1, 4, 16):
        made = [synth.takes(count, True, np.random.default_rng(s)) for s in range(12)]
        yield f"linear takes, K = {count}", made


REFERENCE: dict[str, Callable[[Path], Iterable[tuple[str, list[Problem]]]]] = {
    "spiral_2_sequences": spirals(2),
    "spiral_3_sequences": spirals(3),
    "jack_3_views": jack,
}
MADE: dict[str, Callable[[], Iterable[tuple[str, list[Problem]]]]] = {
    "spirals": own_spirals,
    "curves": curves,
    "takes": takes,
}

if __name__ == "__main__":
    main()
