"""How long the first screens and a small alignment take.

Beside an interpreter that imports click alone, and a script that does the same with librosa.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 15
COMMANDS = {
    "python -c 'import click'": ["-c", "import click"],
    "mmalign --help": ["-m", "mmalign_cli", "--help"],
    "mmalign dtw --help": ["-m", "mmalign_cli", "dtw", "-q", "--help"],
    "mmalign features --list": ["-m", "mmalign_cli", "features", "--list"],
}
LIBROSA = """
import librosa, numba, json, numpy as np
x, y = np.load({x!r}), np.load({y!r})
D, path = librosa.sequence.dtw(X=x.T, Y=y.T, metric="sqeuclidean")
print(json.dumps({{"cost": float(D[-1, -1]), "path": path[::-1].tolist()}}))
"""
SOUNDS = """
import librosa, json
features = []
for name in ({x!r}, {y!r}):
    sound, rate = librosa.load(name, sr=None)
    features.append(librosa.feature.mfcc(y=sound, sr=rate, n_mfcc=13, hop_length=int(rate) // 100))
D, path = librosa.sequence.dtw(*features)
print(json.dumps({{"cost": float(D[-1, -1]), "path": path[::-1].tolist()}}))
"""
TAKES = Path(__file__).resolve().parents[1] / "sample_data"


def medians(commands: dict[str, list[str]]) -> dict[str, float]:
    """Time commands in turn, so that a slow moment of the machine meets them all; milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) * 1000 for name, t in times.items()}


def main() -> None:
    """Print the medians, and whether they keep their promises."""
    screens = medians(COMMANDS)
    limit = 2 * next(iter(screens.values())) + 50
    print(f"twice the first plus 50 ms: {limit:.0f} ms")
    for name, median in screens.items():
        print(f"{name:<28}{median:>7.0f} ms  {'within' if median <= limit else 'OVER'}")
    with tempfile.TemporaryDirectory() as folder:
        tables = {name: str(Path(folder, f"{name}.npy")) for name in "xy"}
        for name, n in (("x", 300), ("y", 320)):
            np.save(tables[name], np.random.default_rng(n).normal(size=(n, 5)).cumsum(axis=0))
        takes = {name: str(TAKES / f"piece_take{k}.wav") for name, k in (("x", 1), ("y", 2))}
        beside(tables, ["--rate", "100"], LIBROSA)
        beside(takes, ["--features", "mfcc"], SOUNDS)


def beside(files: dict[str, str], more: list[str], script: str) -> None:
    """Print how long a whole command takes, and a script that does the same with librosa."""
    ours = ["-m", "mmalign_cli", "dtw", "-q", *files.values(), *more, "--json"]
    theirs = ["-c", script.format(**files)]
    names = " ".join(Path(file).name for file in files.values())
    our_ms, their_ms = medians({"ours": ours, "theirs": theirs}).values()
    print(
        f"mmalign dtw {names}: {our_ms:.0f} ms, with librosa {their_ms:.0f} ms,"
        f" ratio {our_ms / their_ms:.2f}  {'within' if our_ms <= their_ms else 'OVER'}"
    )


if __name__ == "__main__":
    main()
