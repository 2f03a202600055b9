"""Rate of many short pairs, beside the peers that are installed.

python benchmarks/pairwise.py [SERIES] [FRAMES]

The programs take turns, so that a slow moment of the machine meets them all. Peers are
dtaidistance's parallel distance matrix and aeon's; ratios are of medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.packed import Rule, Series
from mmalign_cli.align.pairwise import paths, square

ROUNDS = 5
PEER_SERIES = 100


def peers(values: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    """Return the peers that can be imported; names the others."""
    few = values[:PEER_SERIES]
    found: dict[str, Callable[[], object]] = {}
    try:
        dtaidistance = import_module("dtaidistance.dtw")
        found["dtaidistance"] = lambda: dtaidistance.distance_matrix_fast(list(few), parallel=True)
    except ImportError:
        print("dtaidistance is not installed: skipped")
    try:
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda: aeon.dtw_pairwise_distance(few[:, None, :])
    except ImportError:
        print("aeon is not installed: skipped")
    return found


def main() -> None:
    """Time the programs in turn and print pairs a second."""
    count, frames = (int(a) for a in [*sys.argv[1:], *("1000", "100")[len(sys.argv) - 1 :]])
    values = np.random.default_rng(0).standard_normal((count, frames)).cumsum(axis=1)
    series = [Series(v[:, None]) for v in values]
    threads = runtime.threads()
    runs: dict[str, Callable[[], object]] = {
        "mmalign": lambda: square(series, Rule(), threads=threads),
        "mmalign, one thread": lambda: square(series, Rule(), threads=1),
        "mmalign, paths, one thread": lambda: paths(series[0], series, Rule()),
        **peers(values),
    }
    few = min(PEER_SERIES, count)
    pairs = dict.fromkeys(runs, few * (few - 1) // 2)
    pairs |= dict.fromkeys(list(runs)[:2], count * (count - 1) // 2)
    pairs["mmalign, paths, one thread"] = count
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # compiles
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    rates = {name: pairs[name] / statistics.median(t) for name, t in times.items()}
    print(f"{count} series of {frames} frames, {threads} threads")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>12.0f} pairs a second, mmalign {rates['mmalign'] / rate:>6.1f} x")


if __name__ == "__main__":
    main()
