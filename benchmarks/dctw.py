"""Deep Canonical Time Warping on made takes with exact truth, in frames (`path_difference`).

    python benchmarks/dctw.py [--only joint linear soft hard nulls cost model] [--groups 20]

Every group is made by `mmalign synth`'s generator: 1, 4 or 16 takes of two sensors, of which the
second is no linear function of what the first sees (but in `linear`). `nulls` counts verdicts on
new pairs of takes under a learned model, true ones and mismatched ones. `cost` compares the
objective of the papers with the same written in torch, where that is installed, and tells how
memory grows with the takes. `model` compares a new take under a model with DTW of its projections.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from mmalign_cli.align import deep_alternation, deep_climb, trace_norm
from mmalign_cli.align.dctw import Ask, Found, align_deep
from mmalign_cli.align.deep_climb import Deep, Stage
from mmalign_cli.align.deep_correlation import Damping
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.learned import Learned
from mmalign_cli.align.network import Shape
from mmalign_cli.align.takes import lay_out
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import Planted
from mmalign_cli.model import Stream
from mmalign_cli.pipeline.dctw import DctwSettings, align_with
from mmalign_cli.pipeline.takes import Take
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.learned import write_learned

Floats = npt.NDArray[np.float64]
TAKES = (1, 4, 16)
MODELS, PAIRS = 5, 20


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


@dataclass(frozen=True)
class Groups:
    """Which groups are made: of how many takes, and with which seeds."""

    takes: Sequence[int]
    seeds: Sequence[int]


def accuracy(label: str, ask: Ask, linear: bool, which: Groups) -> None:
    """Print the errors of groups of 1, 4 and 16 takes: a group's error is the mean of its takes."""
    for count in which.takes:
        errors, kinds, began = [], [], time.process_time()
        for takes in groups(count, linear, which.seeds):
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


def nulls(which: Groups) -> None:
    """Count verdicts on pairs of new takes: five models of 16 takes, 20 pairs of either kind."""
    counts = {"true": 0, "mismatched": 0}
    for seed in list(which.seeds)[:MODELS]:
        takes = synth.takes(16 + PAIRS, False, np.random.default_rng(500 + seed))
        found = align_deep([take.sequences for take in takes[:16]], Ask(starts=6, dims=2))
        new = [take.sequences for take in takes[16:]]
        for kind, shift in (("true", 0), ("mismatched", 1)):
            pairs = [_take(new[k][0], new[(k + shift) % PAIRS][1]) for k in range(PAIRS)]
            aligned = align_with(pairs, found.learned(), "model", DctwSettings())
            verdicts = [(one.confidence or {})["verdict"] for one in aligned]
            counts[kind] += verdicts.count("aligned")
    print(f"verdict aligned, of {MODELS * PAIRS} pairs: {counts}", flush=True)


def _take(first: Floats, second: Floats) -> Take:
    streams = [
        Stream(name, values, np.arange(len(values)) / 100)
        for name, values in (("first", first), ("second", second))
    ]
    return Take("take", tuple(streams))


def _problem(n_takes: int, n_frames: int) -> tuple[Deep, deep_alternation.Pairs, Floats]:
    """Make takes along the straight line, and networks to see them."""
    rng = np.random.default_rng(0)
    laid = lay_out([[rng.normal(size=(n_frames, d)) for d in (6, 7)] for _ in range(n_takes)])
    shapes = tuple(Shape((d, 32, 2)) for d in laid.dims)
    deep = Deep(laid.tracks, shapes, (0, 1), laid.n_samples, laid.weights)
    steps = np.arange(n_frames)
    path = np.column_stack([steps, steps])
    couples = deep_alternation.along_paths(deep, [path] * n_takes)
    return deep, couples, np.concatenate([shape.random(rng) for shape in shapes])


def cost(_: Groups) -> None:
    """Time a value and gradient beside torch's, in turns; measure the memory of ever more takes."""
    deep, couples, weights = _problem(16, 400)
    ours, theirs = [], []
    try:
        there = _torch_twin(deep)
    except ImportError:
        print("cost: torch is not installed")
        there = None
    for _turn in range(60):
        began = time.perf_counter()
        value, gradient = deep_alternation.objective(deep, weights, couples, 0.0)
        ours.append(time.perf_counter() - began)
        if there is not None:
            began = time.perf_counter()
            other, slope = there(weights)
            theirs.append(time.perf_counter() - began)
    print(f"value and gradient, 16 takes x 400 frames: {1000 * np.median(ours):.2f} ms", end="")
    if there is not None:
        print(f", torch {1000 * np.median(theirs):.2f} ms, ratio", end=" ")
        print(
            f"{np.median(ours) / np.median(theirs):.2f}; same to {abs(value - other):.0e}", end=""
        )
        print(f", {np.abs(gradient - slope).max():.0e}", end="")
    print()
    stage = Stage(24, Damping(0.999), 0.06)
    for count in (16, 64, 256):
        deep, _path, weights = _problem(count, 400)
        data = sum(track.frames.nbytes for track in deep.tracks)
        theta = np.zeros((count, 2, 24))
        tracemalloc.start()
        deep_climb.objective(deep, weights, theta, stage)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{count:>4} takes: {peak / 2**20:6.1f} MB for {data / 2**20:6.1f} MB of frames")


def _torch_twin(deep: Deep) -> Callable[[Floats], tuple[float, Floats]]:
    """Return the trace norm of the networks along the straight line, by torch's own gradient."""
    import torch

    frames = [torch.from_numpy(track.frames.copy()) for track in deep.tracks]
    sizes = [shape.widths for shape in deep.shapes]

    def root(covariance: Any) -> Any:
        size, axes = torch.linalg.eigh(covariance)
        return (axes / torch.sqrt(size + trace_norm.RIDGE)) @ axes.T

    def value_of(weights: Floats) -> tuple[float, Floats]:
        flat = torch.from_numpy(weights.copy()).requires_grad_(True)
        at, halves, centred = 0, [], []
        for x, (d, hidden, k) in zip(frames, sizes, strict=True):
            first = flat[at : at + d * hidden].reshape(d, hidden)
            bias = flat[at + d * hidden : at + (d + 1) * hidden]
            at += (d + 1) * hidden
            latents = torch.tanh(x @ first + bias) @ flat[at : at + hidden * k].reshape(hidden, k)
            at += hidden * k
            latents = latents - latents.mean(dim=0)
            halves.append(root(latents.T @ latents / len(latents)))
            centred.append(latents)
        cross = centred[0].T @ centred[1] / len(centred[0])
        norm = torch.linalg.svdvals(halves[0] @ cross @ halves[1]).sum()
        norm.backward()
        return float(norm), flat.grad.numpy()

    return value_of


def model(_: Groups) -> None:
    """Time a new take under a model beside DTW of its projections, in turns."""
    takes = synth.takes(5, False, np.random.default_rng(0))
    ask = Ask("alternating", starts=1, dims=2, iterations=2)
    learned = align_deep([take.sequences for take in takes], ask).learned()
    with TemporaryDirectory() as folder:
        _commands(Path(folder), learned, takes[0].sequences)
    for times in (1, 5, 20):
        x, y = (np.tile(part, (times, 1)) for part in takes[0].sequences)
        both: list[list[float]] = [[], []]
        projected = learned.latents([x, y])
        for _turn in range(200 // times):
            began = time.perf_counter()
            learned.warp([x, y], "take")
            middle = time.perf_counter()
            dtw(*projected)
            both[0].append(middle - began)
            both[1].append(time.perf_counter() - middle)
        ratio = np.median(both[0]) / np.median(both[1])
        print(f"functions, {len(x)} frames: {ratio:.2f} times DTW of its projections", flush=True)


def _commands(folder: Path, learned: Learned, frames: Sequence[Floats]) -> None:
    """Time ``mmalign dctw --model`` beside ``mmalign dtw`` on files of the projections."""
    with Outputs(force=True) as outputs:
        write_learned(outputs, str(folder / "m.npz"), learned, {"method": "dctw"})
    for name, values in zip("xypq", (*frames, *learned.latents(frames)), strict=True):
        np.save(folder / f"{name}.npy", values)
    (folder / "one.csv").write_text("id,x,y\none,x.npy,y.npy\n")
    told = "dctw --takes one.csv --model m.npz -o out", "dtw p.npy q.npy -o out.json"
    for confidence in ("", " --confidence none"):
        seconds: list[list[float]] = [[], []]
        for turn in range(13):
            for own, words in zip(seconds, told, strict=True):
                line = f"-m mmalign_cli {words} --rate 100 --force -q{confidence}"
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, *line.split()], cwd=folder, check=True, capture_output=True
                )
                if turn:  # the first one compiles
                    own.append(time.perf_counter() - began)
        ratio = np.median(seconds[0]) / np.median(seconds[1])
        print(f"mmalign dctw --model{confidence}: {ratio:.2f} times mmalign dtw", flush=True)


ROADS: dict[str, Callable[[Groups], None]] = {
    "joint": lambda which: accuracy("joint", Ask(), False, which),
    "linear": lambda which: accuracy("linear data", Ask(), True, which),
    "soft": lambda which: accuracy("soft", Ask("alternating"), False, which),
    "hard": lambda which: accuracy("hard", Ask("alternating", is_soft=False), False, which),
    "nulls": nulls,
    "cost": cost,
    "model": model,
}


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*ROADS], default=[*ROADS], metavar="NAME")
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--takes", nargs="+", type=int, default=TAKES)
    parser.add_argument("--first", type=int, default=0, help="seed of the first group")
    arguments = parser.parse_args()
    for name in arguments.only:
        seeds = range(arguments.first, arguments.first + arguments.groups)
        ROADS[name](Groups(arguments.takes, seeds))


if __name__ == "__main__":
    main()
