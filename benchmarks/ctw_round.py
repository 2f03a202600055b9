"""What a round of the alternation costs beside the DTW pass that it contains.

    python benchmarks/ctw_round.py [FRAMES] [DIMS]

Two random walks; medians of 25, in milliseconds. The round projects, warps, and tells whether
the path has moved; the pass is DTW of the same projected frames.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.alternate import moved_at_most
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.pair import Settings, prepare


def milliseconds(*work: Callable[[], object]) -> list[float]:
    """Return the median times of 25 runs of each, in turn."""
    taken = []
    for _ in range(25):
        times = [time.perf_counter()]
        for one in work:
            one()
            times.append(time.perf_counter())
        taken.append(1000 * np.diff(times))
    return [float(t) for t in np.median(taken, axis=0)]


def main() -> None:
    """Time rounds in 2 dimensions and in all, with all threads and with one."""
    for threads in (None, 1):
        runtime.limit_threads(threads)
        print(f"{runtime.threads()} threads")
        with runtime.one_algebra_thread():
            compare()


def compare() -> None:
    """Print a line for each number of dimensions."""
    n, d = (int(a) for a in (sys.argv[1:] + ["4000", "20"][len(sys.argv) - 1 :])[:2])
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, d)).cumsum(axis=0) for _ in "xy")
    pair = prepare(x, y, Settings())
    path = np.column_stack([np.arange(n)] * 2)
    for dims in (2, d):
        maps = pair.project(path, dims)
        before = pair.warp(maps).frames
        after = pair.warp(pair.project(before, dims)).frames

        def round_(dims: int = dims, before: object = before, after: object = after) -> None:
            pair.warp(pair.project(before, dims))  # type: ignore[arg-type]
            moved_at_most(before, after, 0.01)  # type: ignore[arg-type]

        first, second = (f(v) for f, v in zip(maps.maps, (x, y), strict=True))

        def pass_(a: object = first, b: object = second) -> None:
            dtw(a, b, threads=runtime.threads())  # type: ignore[arg-type]

        alone, whole = milliseconds(pass_, round_)
        print(f"{n} frames, {d} columns, {dims}-d: round {whole:.1f}, DTW {alone:.1f},", end=" ")
        print(f"ratio {whole / alone:.2f}")


if __name__ == "__main__":
    main()
