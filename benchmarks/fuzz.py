"""Mutated files of every format, mutated documents, models and arguments: an answer or one line.

Files of each format, made here or given by ``--seeds``, are damaged by seed and read, many in one
child process, so that a crash, a hang or a flood of memory is counted and not suffered; what went
wrong is kept in a folder::

    python benchmarks/fuzz.py --count 10000 mp4 mkv h5 parquet
    python benchmarks/fuzz.py --minutes 10 grammar apply evaluate plot info model carry
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import loaders
import numpy as np
import seeds
from guard import Tally, guarded
from mutations import MUTATIONS, Mutation, mutate

from mmalign_cli.errors import MmalignError
from mmalign_cli.streams.folder import open_input
from mmalign_cli.streams.load import load
from mmalign_cli.streams.registry import contents_of
from mmalign_cli.streams.spec import StreamSpec

_LIMIT = 64 * 1024**2
_COMMON = {"nan": "interpolate", "max-bytes": str(_LIMIT)}
_SIDES: dict[str, tuple[dict[str, str], ...]] = {
    **dict.fromkeys(("mp4", "mov", "mkv", "webm", "avi", "mpg", "ts"), ({"features": "motion"},)),
    "h5": ({"key": "take/values"}, {"allow-truncated": "true"}),
    "bvh": ({"key": "positions"}, {"allow-truncated": "true"}),
    "amc": ({"key": "positions", "rate": "120"}, {"rate": "9"}),
    "c3d": ({"key": "analog"}, {"allow-truncated": "true"}),
    "xdf": ({"key": "Gaze"}, {"key": "Acc", "allow-truncated": "true"}),
    "xdfz": ({"key": "Gaze"}, {"key": "Acc", "allow-truncated": "true"}),
    "vicon.csv": ({"key": "Trajectories"}, {"key": "Devices", "allow-truncated": "true"}),
    "TextGrid": ({"key": "words", "rate": "10"}, {"key": "beats"}),
    "json": ({"rate": "10"}, {"columns": "*_confidence"}),
    "wav": ({"allow-truncated": "true"},),
    "csv": ({"header": "false"}, {"time": "none"}),
}
"""By ending, keys beside the common ones, each for some of the trials."""


@dataclass(frozen=True)
class Reading:
    """The reading of damaged files of one format: a `guard.Trial`.

    Parameters
    ----------
    path : Path
        Where each is written.
    wholes : sequence of bytes
        The files that are damaged.
    change : Mutation
        How.
    keys : sequence of dict
        Keys of the stream, in turn.
    """

    path: Path
    wholes: Sequence[bytes]
    change: Mutation
    keys: Sequence[dict[str, str]]

    def data(self, k: int) -> bytes:
        """Return the k-th damaged file."""
        whole = self.wholes[k % len(self.wholes)]
        return self.change(whole, np.random.default_rng([7, k]), self.wholes)

    def __call__(self, k: int) -> str:
        """Read the k-th damaged file; return how it went."""
        self.path.write_bytes(self.data(k))
        spec = StreamSpec(str(self.path), {**_COMMON, **self.keys[k // 2 % len(self.keys)]})
        return read(spec)


def read(spec: StreamSpec) -> str:
    """Read a file, and what it holds; return how it went."""
    try:
        options = spec.options()
        contents_of(open_input(spec.path, options.max_bytes), options)
        stream = load(spec, "x")
    except MmalignError as error:
        is_one_line = len(str(error).splitlines()) == 1
        return type(error).__name__ if is_one_line else f"FAULT {error}"
    except Exception as error:  # noqa: BLE001 -- what the script looks for
        return f"FAULT {type(error).__name__}: {error}"[:300]
    return "read" if np.isfinite(stream.values).all() else "FAULT values that are not finite"


def reading(ending: str, folder: Path, given: Sequence[Path]) -> Reading:
    """Return the trial of a format: seeds made here, and those given."""
    paths = seeds.SEEDS[ending](folder, ending)
    paths += [p for p in given if p.name.lower().endswith(f".{ending.lower()}")]
    wholes = [p.read_bytes() for p in paths]
    change = MUTATIONS.get(ending, mutate)
    return Reading(folder / f"x.{ending}", wholes, change, ({}, *_SIDES.get(ending, ())))


def main() -> int:
    """Fuzz what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=[*seeds.SEEDS, *loaders.LOADERS])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--minutes", type=float, help="for each, whatever the count")
    parser.add_argument("--seeds", type=Path, help="a folder of further files to damage")
    parser.add_argument("--keep", type=Path, default=Path("fuzz_faults"))
    arguments = parser.parse_args()
    given = [] if arguments.seeds is None else sorted(arguments.seeds.rglob("*.*"))
    given = [p for p in given if p.is_file() and p.stat().st_size < 1 << 20]
    count = sys.maxsize if arguments.minutes else arguments.count
    fine, here = True, Path.cwd()
    for what in arguments.what:
        with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
            folder = Path(name)
            trial: Reading | loaders.Loading | loaders.Arguments
            if what in loaders.LOADERS:
                trial = loaders.loading(what, folder)
            else:
                trial = reading(what, folder, given)
            until = time.monotonic() + 60 * (arguments.minutes or float("inf"))
            tally = guarded(trial, count, until)
            os.chdir(here)  # from where a loader has its inputs
            keep(what, tally, trial.data, arguments.keep)
        show(what, tally)
        fine = fine and not tally.faults
    return 0 if fine else 1


def keep(what: str, tally: Tally, data: Callable[[int], bytes], folder: Path) -> None:
    """Keep the inputs of what went wrong, and say what that was."""
    kinds: dict[str, list[int]] = {}
    for k, fault in tally.faults.items():
        kinds.setdefault(re.sub(r"\W*\d+", "", fault)[:120], []).append(k)
    for trials in kinds.values():
        folder.mkdir(exist_ok=True)
        for k in trials[:3]:
            (folder / f"{k}.{what}").write_bytes(data(k))
        shown = tally.faults[trials[0]]
        print(f"  {what} {trials[0]} and {len(trials) - 1} more: {shown}", flush=True)


def show(what: str, tally: Tally) -> None:
    """Print a line of the table."""
    shown = ", ".join(f"{n} {how}" for how, n in sorted(tally.results.items()))
    total = tally.results.total() + tally.n_crashes + tally.n_hangs
    print(
        f"{what:13} {total:6} trials: {shown}; {tally.n_crashes} crashes, {tally.n_hangs} hangs; "
        f"slowest {tally.slowest_s:.2f} s, most memory {tally.most_bytes / 1e6:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
