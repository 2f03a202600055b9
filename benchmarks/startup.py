"""How long the first screens take, beside an interpreter that imports click alone.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "python -c 'import click'": ["-c", "import click"],
    "mmalign --help": ["-m", "mmalign_cli", "--help"],
    "mmalign dtw --help": ["-m", "mmalign_cli", "dtw", "--help"],
    "mmalign features --list": ["-m", "mmalign_cli", "features", "--list"],
}


def main() -> None:
    """Time the commands in turn, so that a slow moment of the machine meets them all."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) * 1000 for name, t in times.items()}
    limit = 2 * next(iter(medians.values())) + 50
    print(f"twice the first plus 50 ms: {limit:.0f} ms")
    for name, median in medians.items():
        print(f"{name:<28}{median:>7.0f} ms  {'within' if median <= limit else 'OVER'}")


if __name__ == "__main__":
    main()
