"""How long Ctrl-C takes in each stage of `mmalign dtw` on long streams; 0.5 s is promised.

python benchmarks/interrupts.py [LONG.wav LONG.wav]

Without recordings, noise takes their place: 20 minutes of it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

TOLD = """
import sys
from contextlib import contextmanager
from mmalign_cli.commands import main, options
@contextmanager
def progress(self):
    yield lambda stage, done, total: print(stage, done, file=sys.stderr, flush=True)
options.Run.progress = progress
from mmalign_cli.write import document
pieces = document.text_pieces
def told(value):
    print("writing", 0, file=sys.stderr, flush=True)
    yield from pieces(value)
document.text_pieces = told
main.main()
"""
"""The command, with its progress on lines of their own."""


def make_streams(folder: Path) -> tuple[list[str], list[str]]:
    """Make recordings, and tables of 80 and of 2 columns."""
    rng = np.random.default_rng(0)
    waves, tables = [str(folder / f"{c}.wav") for c in "ab"], []
    for path in waves:
        soundfile.write(path, rng.normal(0, 0.1, 16000 * 1200), 16000)
    for name, shape in (("wide", (60_000, 80)), ("narrow", (40_000, 2))):
        np.save(folder / f"{name}.npy", rng.normal(size=shape).cumsum(0))
        tables.append(str(folder / f"{name}.npy"))
    return waves, tables


def delay(arguments: list[str], stage: str, after_s: float) -> tuple[float, int]:
    """Interrupt a command `after_s` after it told of a stage; return seconds and exit code."""
    command = [sys.executable, "-c", TOLD, "dtw", *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        for line in process.stderr:
            if line.startswith(stage.encode()):
                break
        time.sleep(after_s)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.communicate()
        return time.perf_counter() - start, process.returncode


def twice(path: str) -> list[str]:
    """Return the arguments that align a stream with itself."""
    return [path, f"{path},name=b"]


def main() -> None:
    """Interrupt the stages, each at several moments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waves, (wide, narrow) = make_streams(folder)
        waves = sys.argv[1:3] or waves
        out = ["-o", str(folder / "out.json"), "--rate", "100", "--metric", "euclidean"]
        stages = {
            "features": ([*waves, *out], "reading", (0.8, 2.0, 3.5)),
            "strips, 80 dimensions": ([*twice(wide), "--exact", *out], "aligning", (0.1, 1.0, 3.0)),
            "strips, tracing": ([*twice(narrow), "--exact", *out], "tracing", (0.0, 0.02)),
            "rows": ([*twice(narrow), "--step", "asymmetric", *out], "aligning", (0.1, 1.0, 2.0)),
            "bands": ([*waves, "--approximate", *out], "aligning", (0.1, 0.5, 1.0)),
            "bands, tracing": ([*waves, "--approximate", *out], "tracing", (0.0, 0.3, 0.8)),
            "writing": ([*twice(narrow), *out], "writing", (0.0, 0.01)),
        }
        for label, (arguments, stage, moments) in stages.items():
            for after_s in moments:
                took, code = delay(arguments, stage, after_s)
                verdict = "within" if took <= 0.5 and code == 130 else "OVER"
                print(
                    f"{label:<24}{after_s:>5} s  {took:6.3f} s  exit {code}  {verdict}", flush=True
                )


if __name__ == "__main__":
    main()
