"""Deep Canonical Time Warping on made takes with exact truth, in frames (`path_difference`).

    python benchmarks/dctw.py [--only joint soft hard linear nulls cost] [--groups 20] [--first 0]

Every group is made by `mmalign synth`'s generator: 1, 4 or 16 takes of two sensors, of which the
second is no linear function of what the first sees (but in `linear`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mmalign_cli.align.dctw import Ask, Found, align_deep
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import Planted

Floats = npt.NDArray[np.float64]
TAKES = (1, 4, 16)


def groups(count: int, linear: bool, seeds: Sequence[int]) -> Iterator[list[Planted]]:
    """Make groups of so many takes."""
    for seed in seeds:
        yield synth.takes(count, linear, np.random.default_rng(seed))


def errors_of(found: Found, takes: Sequence[Planted]) -> Floats:
    """Return the error of each take in frames."""
    return np.array(
        [
            path_difference(found.path(k).astype(np.float64), take.truth.astype(np.float64))
            for k, take in enumerate(takes)
        ]
    )


def accuracy(label: str, ask: Ask, linear: bool, seeds: Sequence[int]) -> None:
    """Print the errors of groups of 1, 4 and 16 takes: a group's error is the mean of its takes."""
    for count in TAKES:
        errors, kinds, began = [], [], time.process_time()
        for takes in groups(count, linear, seeds):
            found = align_deep([take.sequences for take in takes], ask)
            errors.append(float(errors_of(found, takes).mean()))
            kinds.append(found.kind)
        took = (time.process_time() - began) / len(errors)
        print(
            f"{label:<12} K = {count:<3} mean {np.mean(errors):6.3f}  median "
            f"{np.median(errors):6.3f}  worst {np.max(errors):6.2f}  > 1: "
            f"{sum(e > 1 for e in errors):>2}  linear {kinds.count('linear'):>2} of {len(kinds)}"
            f"  {took:5.1f} CPU s",
            flush=True,
        )


ROADS: dict[str, Callable[[Sequence[int]], None]] = {
    "joint": lambda seeds: accuracy("joint", Ask(), False, seeds),
    "linear": lambda seeds: accuracy("linear data", Ask(), True, seeds),
    "soft": lambda seeds: accuracy("soft", Ask("alternating"), False, seeds),
    "hard": lambda seeds: accuracy("hard", Ask("alternating", is_soft=False), False, seeds),
}


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*ROADS], default=[*ROADS], metavar="NAME")
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first group")
    arguments = parser.parse_args()
    for name in arguments.only:
        ROADS[name](range(arguments.first, arguments.first + arguments.groups))


if __name__ == "__main__":
    main()
