"""Errors of the joint aligner on real sensors that share no column, default options only.

    python benchmarks/sensors.py [FOLDER] [--only NAME ...] [--share 0.1]

FOLDER holds `action_utd_mhad` (skeleton and inertial sensor) and `imu_mocap_gaitmap` (a foot's
inertial sensor and its markers), by default ../shared/data beside the project. One side is warped
by a known smooth curve: see `imposed`. --share takes only the first so many actions and cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmalign_cli.align.envelopes import envelope_starts
from mmalign_cli.align.joint import align_jointly
from mmalign_cli.model import Stream
from mmalign_cli.pipeline.ctw import CtwSettings, align_ctw

Floats = npt.NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ACTIONS, SUBJECTS, TRIALS, FRAMES = range(1, 28), range(1, 6), range(1, 5), 100
ACTION_WARP = 0.59
WINDOW_S, CASES, RATE = 10.0, 40, 100
MARGIN_S = 1.5


@dataclass(frozen=True)
class Case:
    """Two sensors, the second warped: frame j of `query` is at share ``truth[j]`` of the first."""

    reference: Floats
    query: Floats
    truth: Floats

    def errors(self, knots: Floats) -> Floats:
        """Return the errors of a warp (2, K + 1) at the query's frames, in shares."""
        u = np.linspace(0.0, 1.0, knots.shape[1])
        at = np.interp(np.linspace(0.0, 1.0, len(self.truth)), knots[1], u)
        return np.asarray(np.abs(np.interp(at, u, knots[0]) - self.truth))


def imposed(rng: np.random.Generator, n: int, strength: float) -> Floats:
    """Return a warp of [0, 1] at n even points.

    Its log speed is the sum of the first three half sines of random phase, their sizes normal with
    deviation .88 strength / k.
    """
    u = np.linspace(0.0, 1.0, n)
    parts = [rng.normal() / k * np.sin(np.pi * k * u + rng.uniform(0, np.pi)) for k in range(1, 4)]
    speed = np.exp(0.88 * strength * np.sum(parts, axis=0))
    reached = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    return np.asarray(reached / reached[-1])


def sampled(frames: Floats, shares: Floats) -> Floats:
    """Return frames (n, d) at shares of their length, by linear interpolation."""
    at = np.linspace(0.0, 1.0, len(frames))
    return np.column_stack([np.interp(shares, at, column) for column in frames.T])


def action(data: Path, number: int) -> list[Case]:
    """Return the takes of one action, 100 frames each."""
    cases = []
    for subject in SUBJECTS:
        for trial in TRIALS:
            stem = data / "action_utd_mhad" / f"a{number:02d}_s{subject}_t{trial}"
            files = [Path(f"{stem}_{what}.npy") for what in ("skeleton", "inertial")]
            if not all(file.exists() for file in files):
                continue
            skeleton, inertial = (np.load(file).astype(np.float64) for file in files)
            truth = imposed(np.random.default_rng([number, subject, trial]), FRAMES, ACTION_WARP)
            even = np.linspace(0.0, 1.0, FRAMES)
            cases.append(Case(sampled(skeleton, even), sampled(inertial, truth), truth))
    return cases


def actions(data: Path, share: float) -> Iterable[tuple[str, Floats, str]]:
    """Align skeletons with inertial sensors: an action's takes together, and each by itself."""
    sets = [action(data, number) for number in ACTIONS[: max(1, round(share * len(ACTIONS)))]]
    takes = [case for cases in sets for case in cases]
    straight = np.linspace(0.0, 1.0, FRAMES)
    uniform = np.array([np.abs(straight - case.truth).mean() for case in takes])
    yield "uniform", 100 * uniform, "%"
    for name, align in (("envelope", _envelopes), ("pooled by action", _jointly)):
        errors = [e for cases in sets for e in align(cases)]
        yield name, 100 * np.array(errors), "%"
    yield "one take", 100 * np.array([_jointly([case])[0] for case in takes]), "%"


def confidence(data: Path, share: float) -> Iterable[tuple[str, Floats, str]]:
    """Count how often the command says that there is no evidence, for one take by itself."""
    numbers = ACTIONS[: max(1, round(share * len(ACTIONS)))]
    supported, errors = [], []
    for case in (one for number in numbers for one in action(data, number)[:2]):
        streams = [
            Stream(name, values, np.arange(FRAMES) / 30)
            for name, values in (("skeleton", case.reference), ("inertial", case.query))
        ]
        found = align_ctw(streams, CtwSettings()).alignment
        seconds = found.time_maps[0](np.arange(FRAMES) / 30) * 30 / (FRAMES - 1)
        errors.append(float(np.abs(seconds - case.truth).mean()))
        supported.append(bool((found.confidence or {})["supported"]))
    chosen = np.array(supported)
    for label, which in (("supported", chosen), ("no evidence", ~chosen)):
        if which.any():
            yield label, 100 * np.array(errors)[which], "%"


def gait(data: Path, share: float) -> Iterable[tuple[str, Floats, str]]:
    """Align a foot's inertial sensor with its markers, in windows of ten seconds."""
    for strength in (0.3, 0.5):
        cases = list(walks(data, strength, max(1, round(share * CASES))))
        to_ms = 1000 * WINDOW_S
        for name, align in (("envelope", _envelopes), ("one take", _jointly)):
            errors = np.array([align([case])[0] for case in cases])
            yield f"warp {strength}, {name}", to_ms * errors, "ms"


def walks(data: Path, strength: float, count: int) -> Iterator[Case]:
    """Yield windows of the walk, markers as they are and the inertial sensor warped."""
    folder = data / "imu_mocap_gaitmap"
    inertial = np.loadtxt(folder / "imu_left_204p8hz.csv", delimiter=",", skiprows=1)
    markers = np.loadtxt(folder / "mocap_left_100hz.csv", delimiter=",", skiprows=1)
    last = min(inertial[-1, 0], markers[-1, 0]) - WINDOW_S - MARGIN_S
    for seed in range(count):
        rng = np.random.default_rng([seed, round(10 * strength)])
        first = np.searchsorted(markers[:, 0], rng.uniform(MARGIN_S, last))
        window = markers[first : first + round(WINDOW_S * RATE)]
        truth = imposed(rng, len(window), strength)
        seconds = window[0, 0] + truth * (window[-1, 0] - window[0, 0])
        columns = [np.interp(seconds, inertial[:, 0], column) for column in inertial.T[1:]]
        yield Case(window[:, 1:], np.column_stack(columns), truth)


def _jointly(cases: list[Case]) -> list[float]:
    found = align_jointly([(case.reference, case.query) for case in cases])
    return [float(case.errors(k).mean()) for case, k in zip(cases, found.knots, strict=True)]


def _envelopes(cases: list[Case]) -> list[float]:
    knots = [envelope_starts([(case.reference, case.query)])[0][0] for case in cases]
    return [float(case.errors(k).mean()) for case, k in zip(cases, knots, strict=True)]


BENCHMARKS: dict[str, Callable[[Path, float], Iterable[tuple[str, Floats, str]]]] = {
    "actions": actions,
    "confidence": confidence,
    "gait": gait,
}


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=[*BENCHMARKS], metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"the recordings are not at {arguments.folder}: name their folder")
        return
    for name in arguments.only or BENCHMARKS:
        for label, errors, unit in BENCHMARKS[name](arguments.folder, arguments.share):
            large = 5.0 if unit == "%" else 100.0
            print(
                f"{name + ', ' + label:<34}{len(errors):>5} mean {errors.mean():6.2f} {unit}"
                f"  median {np.median(errors):6.2f}  worst {errors.max():7.1f}"
                f"  above {large:g}: {(errors > large).mean():.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
