"""What the options of `mmalign ctw` are worth on sequences with exact truth.

    python benchmarks/ctw_options.py FOLDER [--only NAME ...]

preset: `--preset reference` beside the reference program's own error, seed by seed. intervals: how
often the 90 % interval of `--coupling soft` holds the true frame, on spirals whose path was found.
soft: the mean errors of soft and hard coupling of the alternation on 40 single takes. FOLDER holds
spiral_2_sequences.npz and its errors; it is not part of the project.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ctw import read

from mmalign_cli.align.choices import PRESETS
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.model import Alignment, Stream
from mmalign_cli.pipeline.ctw import CtwSettings, align_ctw

Floats = npt.NDArray[np.float64]
_FILE, _KEY = "spiral_2_sequences", "seed{:03d}"


def aligned(one: synth.Planted, settings: CtwSettings) -> Alignment:
    """Return the alignment of two sequences at a frame a second."""
    streams = [
        Stream(f"stream{k}", x, np.arange(len(x), dtype=np.float64))
        for k, x in enumerate(one.sequences)
    ]
    return align_ctw(streams, settings).alignment


def error_of(found: Alignment, truth: npt.NDArray[np.int64]) -> float:
    """Return the path difference in frames."""
    assert found.path is not None
    return path_difference(found.path.frames.astype(np.float64), truth.astype(np.float64))


def preset(folder: Path) -> None:
    """Compare with the reference program, seed by seed."""
    with (folder / f"{_FILE}_errors.csv").open(newline="") as file:
        theirs = [float(row["ctw"]) for row in csv.DictReader(file)]
    settings = CtwSettings(**PRESETS["reference"], confidence="none")
    ours = [error_of(aligned(one, settings), one.truth) for one in read(folder, _FILE, _KEY, 2)]
    apart = np.abs(np.array(ours) - theirs)
    print(
        f"preset: {(apart <= 0.02).sum()} of {len(apart)} seeds within 0.02 frames of the", end=" "
    )
    print(f"reference, largest difference {apart.max():.4f}; means {np.mean(ours):.3f} and "
          f"{np.mean(theirs):.3f}", flush=True)  # fmt: skip


def intervals(folder: Path) -> None:
    """Count the true frames within the intervals of a soft coupling."""
    for algorithm in ("joint", "alternating"):
        settings = CtwSettings(algorithm=algorithm, coupling="soft", confidence="none")
        held, found = [], 0
        for one in read(folder, _FILE, _KEY, 2):
            result = aligned(one, settings)
            if error_of(result, one.truth) > 1.0:
                continue
            found += 1
            posterior = (result.confidence or {})["posterior"]
            low, high = (np.array(posterior[name]) for name in ("low_frames", "high_frames"))
            for frame in range(len(low)):
                here = one.truth[one.truth[:, 1] == frame, 0]
                if len(here):
                    held.append(bool(low[frame] <= here.mean() <= high[frame]))
        print(
            f"intervals, {algorithm}: {np.mean(held):.1%} of the true frames within 90 %", end=" "
        )
        print(f"intervals, {found} paths found of 30", flush=True)


def soft(folder: Path) -> None:
    """Compare the couplings of the alternation on 40 single takes of linear sensors."""
    errors: dict[str, list[float]] = {"hard": [], "soft": []}
    for seed in range(40):
        (one,) = synth.takes(1, True, np.random.default_rng(seed))
        for coupling, list_ in errors.items():
            settings = CtwSettings(algorithm="alternating", coupling=coupling, confidence="none")
            list_.append(error_of(aligned(one, settings), one.truth))
    means = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in errors.items())
    print(f"soft: mean error of 40 linear takes: {means}", flush=True)


BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "preset": preset,
    "intervals": intervals,
    "soft": soft,
}


def main() -> None:
    """Run the comparisons that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*BENCHMARKS], metavar="NAME")
    arguments = parser.parse_args()
    for name in arguments.only or BENCHMARKS:
        BENCHMARKS[name](arguments.folder)


if __name__ == "__main__":
    main()
