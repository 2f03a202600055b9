"""The DTW engine beside the libraries that people use: ratios of medians, in one run.

python benchmarks/engine.py [--quick] [--long] [--seconds S] [--output FOLDER]

Programs take turns, so that a slow moment of a shared machine meets them all, and what is counted
is the processor time of their thread (of threads, time on the clock). A ratio is the fastest
peer's median by ours. With --output, results go to bench.json and bench.png there.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from peers import Array, Program, Run, installed, ours

DIMS = (1, 2, 3, 6, 13, 40, 128)
FRAMES = (100, 500, 1000, 4000, 20_000)
LONGEST_CALL_S = 8.0
"""A peer is left out of cases where one call is expected to take longer."""
LEAST_TURN_S = 0.01
"""What fast programs are called several times in turn for."""
LARGEST_TABLE = 4 * 2**30
GOALS = {
    ("distance", 1, 4000): 45.0,
    ("path", 1, 4000): 60.0,
    ("path", 13, 4000): 18.0,
    ("path", 40, 4000): 9.0,
    ("path", 1, 500): 12.0,
}

Result: TypeAlias = dict[str, Any]
Clock: TypeAlias = Callable[[], float]


def walks(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    """Return two random walks."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)).cumsum(0), rng.standard_normal((n, d)).cumsum(0)


def in_turn(
    runs: dict[str, Run], x: Array, y: Array, seconds: float, clock: Clock = time.thread_time
) -> dict[str, float]:
    """Return the median time of each program in seconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    spent, rounds = 0.0, 0
    while rounds < 3 or (spent < seconds and rounds < 400):
        for name, run in runs.items():
            calls = 1
            if not rounds or times[name][0] < LEAST_TURN_S:
                start = clock()
                run(x, y)  # brings back to the caches what the program before took out of them
                calls = max(1, math.ceil(LEAST_TURN_S / max(clock() - start, 1e-6)))
            start = clock()
            for _ in range(calls):
                run(x, y)
            took = clock() - start
            times[name].append(took / calls)
            spent += took
        rounds += 1
        if spent > 6 * seconds:
            break
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure(
    kind: str, d: int, n: int, peers: dict[str, Program], rates: dict[tuple[str, str, int], float],
    seconds: float,
) -> Result:  # fmt: skip
    """Measure one case; `rates` (cells a second) tell which peers to spare, and are updated."""
    x, y = walks(n, d)
    runs: dict[str, Run] = {"mmalign": getattr(ours(), kind)}
    for name, program in peers.items():
        run = getattr(program, kind)
        expected = n * n / rates.get((name, kind, d), math.inf)
        fits = kind == "distance" or n * n * program.bytes_a_cell <= LARGEST_TABLE
        if run is not None and fits and expected <= LONGEST_CALL_S:
            runs[name] = run
    for run in runs.values():
        run(*walks(20, d))  # compiles
        run(*walks(300, d))
    medians = in_turn(runs, x, y, seconds)
    rates.update({(name, kind, d): n * n / took for name, took in medians.items()})
    others = {name: took for name, took in medians.items() if name != "mmalign"}
    best = min(others, key=others.__getitem__) if others else None
    return {
        "kind": kind,
        "d": d,
        "n": n,
        "seconds": medians,
        "gcells": n * n / medians["mmalign"] / 1e9,
        "best_peer": best,
        "ratio": None if best is None else others[best] / medians["mmalign"],
    }


def report(result: Result) -> None:
    """Print one line of a case."""
    goal = GOALS.get((result["kind"], result["d"], result["n"]))
    verdict = ""
    if goal is not None and result["ratio"] is not None:
        verdict = f"  goal {goal:.0f}: {'met' if result['ratio'] >= goal else 'MISSED'}"
    peer = f"{result['ratio']:7.1f} x {result['best_peer']}" if result["best_peer"] else ""
    case = f"{result['kind']:<9} d={result['d']:<4} n={result['n']:<6}"
    took = result["seconds"]["mmalign"]
    print(
        f"{case} {took * 1e3:9.3f} ms {result['gcells']:7.2f} Gcells/s {peer}{verdict}", flush=True
    )


def compare(
    title: str, runs: dict[str, Run], x: Array, y: Array, seconds: float, clock: Clock
) -> Result:
    """Measure variants of our own engine in turn, and print each beside the first."""
    for run in runs.values():
        run(x, y)
    medians = in_turn(runs, x, y, seconds, clock)
    first = next(iter(medians.values()))
    print(title)
    for name, took in medians.items():
        print(f"  {name:<28}{took * 1e3:9.3f} ms  {first / took:6.2f} times the first", flush=True)
    return {"title": title, "seconds": medians}


def variants(seconds: float) -> list[Result]:
    """Return how patterns, bands, threads and the plain loop fare."""
    from mmalign_cli.align.windows import sakoe_chiba

    x, y = walks(4000, 1)
    band = sakoe_chiba(4000, 4000, 400)
    results = [
        compare(
            "n = 4000, d = 1: step patterns and a band of 10 %, "
            f"{band.n_cells / 16e6:.3f} of the cells",
            {
                "symmetric1": ours().path or _never,
                "symmetric2": ours(step="symmetric2").path or _never,
                "band": ours(window=band).path or _never,
            },
            x, y, seconds, time.thread_time,
        )
    ]  # fmt: skip
    full, banded = (results[0]["seconds"][name] for name in ("symmetric1", "band"))
    print(
        f"  rate per cell of the band     {full / banded * band.n_cells / 16e6:.2f} of the table's"
    )
    for n, d in ((4000, 1), (20_000, 1), (20_000, 13)):
        x, y = walks(n, d)
        runs = {f"{k} threads": ours(threads=k).path or _never for k in (1, 2)}
        results.append(
            compare(f"n = {n}, d = {d}: threads", runs, x, y, seconds, time.perf_counter)
        )
    return results


def _never(x: Array, y: Array) -> object:
    raise NotImplementedError


def peak(n: int, d: int) -> tuple[float, float]:
    """Return the seconds and the peak memory in bytes of one pair, in a process of its own."""
    code = (
        "import sys, time; sys.path.insert(0, 'benchmarks');"
        "from engine import high_water, walks; from mmalign_cli.align.dtw import dtw;"
        f"x, y = walks({n}, {d}); dtw(*walks(300, {d})); dtw(*walks(2500, {d}));"
        "t = time.thread_time(); dtw(x, y, threads=1); t = time.thread_time() - t;"
        "print(t, high_water())"
    )
    took, used = map(float, subprocess.check_output([sys.executable, "-c", code]).split())
    return took, used


def high_water() -> float:
    """Return the peak memory of this process in bytes.

    Where the system tells it: `ru_maxrss` would be that of the process it was forked from.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024
    line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
    return float(line.split()[1]) * 1024


def growth(sizes: tuple[int, ...], d: int) -> Result:
    """Print how time and peak memory grow: slopes of log against log, over the three longest."""
    peak(400, d)  # compiles
    base = peak(400, d)[1]
    rows = [(n, *peak(n, d)) for n in sizes]
    print(f"growth, d = {d}, one thread: n, seconds, Gcells/s, bytes above a short pair")
    for n, took, used in rows:
        print(f"  {n:<8}{took:9.3f} s {n * n / took / 1e9:7.2f} {(used - base) / 2**20:9.1f} MB")
    logs = np.log([[n, took, max(used - base, 1)] for n, took, used in rows[-3:]])
    slopes = [float(np.polyfit(logs[:, 0], logs[:, k], 1)[0]) for k in (1, 2)]
    by_slope = math.exp(np.polyval(np.polyfit(logs[:, 0], logs[:, 1], 1), math.log(1e6)))
    by_rate = rows[-1][1] * (1e6 / rows[-1][0]) ** 2
    print(f"  slopes: time {slopes[0]:.2f}, memory {slopes[1]:.2f}")
    print(f"  n = 1,000,000: {by_slope:.0f} s by the slope, {by_rate:.0f} s at the last rate")
    million = [by_slope, by_rate]
    return {"d": d, "rows": rows, "base_bytes": base, "slopes": slopes, "million_s": million}


def picture(results: list[Result], folder: Path) -> None:
    """Draw the ratios over n, a line for each number of dimensions."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("distance", "path"), strict=True):
        for d in DIMS:
            points = [
                (r["n"], r["ratio"])
                for r in results
                if (r["kind"], r["d"]) == (kind, d) and r["ratio"] is not None
            ]
            if points:
                axis.loglog(*zip(*points, strict=True), "o-", label=f"d = {d}")
        axis.set(title=f"DTW {kind}", xlabel="frames of each series")
        axis.grid(True, which="both", alpha=0.3)
        axis.axhline(1, color="black", linewidth=0.8)
    axes[0].set_ylabel("times as fast as the fastest peer")
    axes[1].legend()
    figure.savefig(folder / "bench.png", dpi=120)


def machine() -> dict[str, Any]:
    """Name the machine."""
    from mmalign_cli.kernels import vectors

    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {"processor": model, "python": platform.python_version(), "lanes": vectors.LANES}


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the cases that have a goal")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS, help="numbers of dimensions")
    parser.add_argument("--seconds", type=float, default=6.0, help="of all programs, for a case")
    parser.add_argument("--long", action="store_true", help="also pairs of 100,000 frames")
    parser.add_argument("--output", type=Path, help="a folder for bench.json and bench.png")
    options = parser.parse_args()
    peers, missing = installed()
    if missing:
        print(f"not installed, left out: {', '.join(missing)}")
    print(json.dumps(machine()))
    rates: dict[tuple[str, str, int], float] = {}
    cases = [
        (kind, d, n) for kind in ("distance", "path") for d in options.dims for n in FRAMES
        if not options.quick or (kind, d, n) in GOALS
    ]  # fmt: skip
    seconds = options.seconds
    results = []
    for kind, d, n in cases:
        results.append(measure(kind, d, n, peers, rates, seconds))
        report(results[-1])
    others = variants(seconds)
    sizes = (5000, 10_000, 20_000, 50_000, 100_000) if options.long else (5000, 10_000, 20_000)
    grown = [growth(sizes, d) for d in (1, 12)]
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        everything = {"machine": machine(), "cases": results, "variants": others, "growth": grown}
        (options.output / "bench.json").write_text(json.dumps(everything, indent=1) + "\n")
        picture(results, options.output)


if __name__ == "__main__":
    main()
