"""How the time of a round of `gtw` grows with the frames, and with the number of sequences.

    python benchmarks/gtw_growth.py [-o docs/images/gtw_growth.png]

Prints the processor time of a round against n = 200 ... 12,800 frames of three sequences, and
against m = 2 ... 64 sequences of 500 frames, with the slopes on logarithmic axes: of least squares,
1 being proportional. Each time is the median of rounds from the straight line in the default bases;
the sequences are affine images of one random curve, each on a smooth clock of its own, beside a
column of noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from mmalign_cli import runtime
from mmalign_cli.align import bases
from mmalign_cli.align.family import Settings, length_of
from mmalign_cli.align.gtw import LEAST_STEPS
from mmalign_cli.align.gtw_objective import Problem
from mmalign_cli.align.warps import CLOSED_ENDS

Floats = npt.NDArray[np.float64]
FRAMES = (200, 400, 800, 1600, 3200, 6400, 12_800)
SEQUENCES = (2, 4, 8, 16, 32, 64)
_ROUNDS, _SIDE = 9, 500
_MOST = 1.15
_TICKS = [digit * 10.0**power for power in range(-1, 4) for digit in (1, 2, 5)]


def main() -> None:
    """Measure, print, and draw where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    with runtime.one_algebra_thread():
        seconds(made(3, 200))  # what is slow the first time only
        by_frames = [seconds(made(3, n)) for n in FRAMES]
        by_sequences = [seconds(made(m, _SIDE)) for m in SEQUENCES]
    curves = [
        ("frames of each of 3 sequences", FRAMES, by_frames),
        (f"sequences of {_SIDE} frames", SEQUENCES, by_sequences),
    ]
    for title, sizes, taken in curves:
        print(f"{title:>32}{'ms a round':>14}")
        for size, each in zip(sizes, taken, strict=True):
            print(f"{size:>32}{1000 * each:>14.2f}")
        print(f"{'slope':>32}{slope(sizes, taken):>14.2f}   (at most {_MOST})\n")
    if arguments.output is not None:
        draw(curves, arguments.output)


def made(m: int, n: int) -> list[Floats]:
    """Return m sequences (n, 3)."""
    rng = np.random.default_rng(m * n)
    u = np.linspace(0.0, 1.0, n)
    waves = rng.normal(size=(4, 4)) / np.arange(1, 5)[:, np.newaxis]

    def curve(at: Floats) -> Floats:
        angles = 2.0 * np.pi * at[:, np.newaxis] * np.arange(1, 5)
        return np.asarray(np.sin(angles) @ waves[:, :2] + np.cos(angles) @ waves[:, 2:])

    sequences = []
    for _ in range(m):
        seen = curve(u ** np.exp(rng.uniform(-0.3, 0.3))) @ rng.normal(size=(2, 2))
        sequences.append(np.column_stack([seen, rng.normal(0.0, 0.5, n)]))
    return sequences


def seconds(sequences: Sequence[Floats]) -> float:
    """Return the median processor time of a round."""
    settings = Settings()
    n_steps = length_of(sequences, settings, LEAST_STEPS)
    basis = bases.parse(settings.basis).columns(n_steps, CLOSED_ENDS)
    problem = Problem(sequences, basis, 2, np.zeros(len(sequences)), 0.0)
    weights = problem.nearest(np.tile(np.linspace(0.0, 1.0, n_steps)[:, None], len(sequences)))
    taken = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        weights, _ = problem.step(problem.pose(weights), weights)
        taken.append(time.process_time() - began)
    return median(taken)


def slope(sizes: Sequence[int], taken: Sequence[float]) -> float:
    """Return the slope of log time against log size."""
    return float(np.polyfit(np.log(sizes), np.log(taken), 1)[0])


def draw(curves: Sequence[tuple[str, Sequence[int], Sequence[float]]], output: Path) -> None:
    """Draw both curves, each with a line of slope 1 through its last point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, (title, sizes, taken) in zip(figure.subplots(1, 2), curves, strict=True):
        sizes_, ms = np.array(sizes, dtype=np.float64), 1000.0 * np.array(taken)
        axes.loglog(sizes_, ms, "o-", label=f"measured, slope {slope(sizes, taken):.2f}")
        axes.loglog(sizes_, ms[-1] * sizes_ / sizes_[-1], "--", color="0.6", label="slope 1")
        axes.set_xlabel(title)
        axes.set_xticks(sizes_, [f"{s:,}" for s in sizes], fontsize=8)
        axes.minorticks_off()
        ticks = [t for t in _TICKS if ms.min() / 2 < t < 2 * ms.max()]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("processor time of a round, ms")
    figure.savefig(output, dpi=120)


if __name__ == "__main__":
    main()
