"""Errors of `mmalign gtw` on many sequences at once, default options unless a line says otherwise.

    python benchmarks/gtw.py [FOLDER] [--only NAME ...] [--share 0.1]

FOLDER holds `reference` (spirals and silhouettes with exact truth) and `data` (recordings), which
are not part of the project; by default ../shared beside it. --share takes the first so many of
each kind.

archives compares with barycentre averaging from the plain mean, by the squared DTW distance of
series to the mean of their class, and by the nearest mean of series that no mean has seen.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from accuracy import note_onsets, stream
from ctw import read
from sensors import ACTION_WARP, ACTIONS, FRAMES, SUBJECTS, TRIALS, imposed, sampled

from mmalign_cli.align.consensus import brought_even
from mmalign_cli.align.dtw import distance, dtw
from mmalign_cli.align.joint import align_jointly
from mmalign_cli.align.together import Ask, align_together, by_averaging
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.model import Alignment, Stream
from mmalign_cli.pipeline.dtw import align_dtw
from mmalign_cli.pipeline.gtw import GtwSettings, align_gtw
from mmalign_cli.pipeline.restrictions import DtwSettings
from mmalign_cli.runtime import silent

Floats = npt.NDArray[np.float64]
Item = TypeVar("Item")
Series = list[tuple[Floats, str]]
"""Frames and class of each."""

SHARED = Path(__file__).resolve().parents[2] / "shared"
QUIET = GtwSettings(confidence="none")


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--only", nargs="+", choices=[*BENCHMARKS], metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"the data are not at {arguments.folder}: name their folder")
        return
    for name in arguments.only or BENCHMARKS:
        BENCHMARKS[name](arguments.folder, arguments.share)


def some(items: Iterable[Item], share: float) -> list[Item]:
    """Return the first so many."""
    every = list(items)
    return every[: max(1, round(share * len(every)))]


def report(
    label: str, errors: Floats, unit: str, large: float, took_s: float | None = None
) -> None:
    """Print one line."""
    took = "" if took_s is None else f"  {took_s:6.2f} s each"
    print(
        f"{label:<40}{len(errors):>6} mean {errors.mean():8.3f} {unit}  median "
        f"{np.median(errors):8.3f}  90 % {np.quantile(errors, 0.9):8.3f}  above {large:g}: "
        f"{int((errors > large).sum())}{took}",
        flush=True,
    )


def planted(folder: Path, share: float) -> None:
    """Spirals and silhouettes with exact truth: errors in frames."""
    for file, pattern in (("spiral_3_sequences", "seed{:03d}"), ("jack_3_views", "rep{:02d}")):
        sets = some(read(folder / "reference", file, pattern, 3), share)
        began = time.process_time()
        errors, roads = [], []
        for one in sets:
            found = align_together(one.sequences, Ask(), metric="sqeuclidean")
            errors.append(
                path_difference(found.path.astype(np.float64), one.truth.astype(np.float64))
            )
            roads.append(found.road)
        took = (time.process_time() - began) / len(sets)
        report(f"{file}, {max(set(roads), key=roads.count)}", np.array(errors), "frames", 2.0, took)
        print(" " * 42 + reference_means(folder / "reference", file))


def reference_means(folder: Path, name: str) -> str:
    """Return the mean errors of the reference programs, from their csv."""
    from ctw import reference_means as means

    return f"reference: {means(folder, name)}"


def mapped(alignment: Alignment, a: int, b: int, times_s: Floats) -> Floats:
    """Return times of stream b on the clock of stream a, by way of the first stream."""
    on_first = times_s if b == 0 else alignment.time_maps[b - 1](times_s)
    return on_first if a == 0 else alignment.time_maps[a - 1].inverse()(on_first)


def music(folder: Path, share: float) -> None:
    """Align the four pianists of a piece: onsets shared by two, over all ordered pairs."""
    pieces = sorted(p for p in (folder / "data" / "music_asap").iterdir() if p.is_dir())
    for piece in some(pieces, share):
        rolls = sorted(piece.glob("*_roll50hz.npz"))
        streams = [stream(roll, ",key=roll,features=chroma-onset") for roll in rolls]
        names = [roll.name.removesuffix("_roll50hz.npz") for roll in rolls]
        onsets = [note_onsets(piece / f"{name}_truth_notes.csv") for name in names]
        began = time.process_time()
        together = align_gtw(streams, QUIET).alignment
        took = time.process_time() - began
        joint, alone = [], []
        for a, b in permutations(range(len(streams)), 2):
            shared = sorted(onsets[a].keys() & onsets[b].keys())
            truth = np.array([(onsets[a][note], onsets[b][note]) for note in shared])
            joint.append(np.abs(mapped(together, a, b, truth[:, 1]) - truth[:, 0]))
            pair = align_dtw([streams[a], streams[b]], DtwSettings(confidence="none"))[0]
            alone.append(np.abs(pair.time_maps[0](truth[:, 1]) - truth[:, 0]))
        report(f"piano, {piece.name[:12]}, pairwise dtw", 1e3 * np.concatenate(alone), "ms", 50.0)
        report(f"piano, {piece.name[:12]}, together", 1e3 * np.concatenate(joint), "ms", 50.0, took)


def mazurka(folder: Path, share: float) -> None:
    """Loudness curves of twelve recordings together: beats, over all ordered pairs."""
    pieces = sorted(p for p in (folder / "data" / "music_mazurka").iterdir() if p.is_dir())
    for piece in some(pieces, share):
        with (piece / "beat_time.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        beats = np.array([[float(v or "nan") for v in row[2:]] for row in rows])
        beats = beats[np.isfinite(beats).all(axis=1)]
        curves = [np.loadtxt(piece / "sones" / f"{n}.csv", delimiter=",") for n in header[2:]]
        streams = [Stream(n, c[:, 1:], c[:, 0]) for n, c in zip(header[2:], curves, strict=True)]
        began = time.process_time()
        together = align_gtw(streams, QUIET).alignment
        took = time.process_time() - began
        joint, alone = [], []
        for a, b in permutations(range(len(streams)), 2):
            joint.append(np.abs(mapped(together, a, b, beats[:, b]) - beats[:, a]))
            pair = align_dtw([streams[a], streams[b]], DtwSettings(confidence="none"))[0]
            alone.append(np.abs(pair.time_maps[0](beats[:, b]) - beats[:, a]))
        report(f"mazurka, {piece.name}, pairwise dtw", 1e3 * np.concatenate(alone), "ms", 1000.0)
        report(f"mazurka, {piece.name}, {together.parameters['road']}", 1e3 * np.concatenate(joint),
               "ms", 1000.0, took)  # fmt: skip


def archives(folder: Path, share: float) -> None:
    """Series of a class together: how far they are from their mean, and what it tells of others."""
    print(f"{'archives':<16}{'':>14}  variance within classes   nearest mean")
    for name, train, test in some(sets_of(folder / "data" / "ts_archives"), share):
        for label, mean_of in MEANS.items():
            means, within = {}, []
            for kind in sorted({k for _, k in train}):
                series = [x for x, k in train if k == kind]
                mean = mean_of(series)
                if mean is not None:
                    means[kind] = mean
                    within.append(np.mean([distance(mean, x) for x in brought_even(series)]))
            if not means:
                continue
            right = [
                min(means, key=lambda k: distance(means[k], x)) == kind for x, kind in test[:200]
            ]
            print(f"{name:<16}{label:>14}  {np.mean(within):>12.4f} {np.mean(right):>22.1%}",
                  flush=True)  # fmt: skip


def plain_averaging(series: Sequence[Floats]) -> Floats:
    """Return DTW barycentre averaging from the plain mean, 30 rounds, as the libraries have it."""
    even = brought_even(series)
    mean = np.mean(even, axis=0)
    for _ in range(30):
        sums, counts = np.zeros_like(mean), np.zeros((len(mean), 1))
        for x in even:
            path = dtw(mean, x).frames
            np.add.at(sums, path[:, 0], x[path[:, 1]])
            np.add.at(counts, path[:, 0], 1.0)
        if np.allclose(sums / counts, mean):
            break
        mean = np.asarray(sums / counts)
    return np.asarray(mean)


def tslearn_averaging(series: Sequence[Floats]) -> Floats | None:
    """Return what tslearn's DTW barycentre averaging gives, where it is installed."""
    if find_spec("tslearn") is None:
        return None
    from tslearn.barycenters import dtw_barycenter_averaging

    return np.asarray(dtw_barycenter_averaging(np.stack(brought_even(series)), max_iter=30))


def _ours(series: Sequence[Floats]) -> Floats:
    found = by_averaging(series, Ask(), "sqeuclidean", True, silent)
    return np.asarray(found.mean)


def _joint(series: Sequence[Floats]) -> Floats:
    found = align_together(series, Ask(), metric="sqeuclidean")
    if found.mean is not None:
        return found.mean
    from mmalign_cli.align.average import average_of

    return average_of(series, found.line).mean


MEANS: dict[str, Callable[[Sequence[Floats]], Floats | None]] = {
    "tslearn dba": tslearn_averaging,
    "plain mean": lambda series: np.mean(brought_even(series), axis=0),
    "plain dba": plain_averaging,
    "gtw joint": _joint,
    "gtw dba": _ours,
}


def sets_of(folder: Path) -> Iterable[tuple[str, Series, Series]]:
    """Yield name, training and test series with their classes."""
    for name in ("GunPoint", "ArrowHead", "JapaneseVowels", "BasicMotions"):
        train, test = (_ts(folder / "aeon" / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
        yield name, train, test
    for home, name in (("dtan", "ECGFiveDays"), ("tslearn", "Plane")):
        train, test = (_txt(folder / home / f"{name}_{part}.txt") for part in ("TRAIN", "TEST"))
        yield name, train, test
    with np.load(folder / "tslearn" / "Trace.npz") as data:
        train, test = (_npz(data[f"X_{p}"], data[f"y_{p}"]) for p in ("train", "test"))
    yield "Trace", train, test


def _npz(values: Floats, kinds: Floats) -> Series:
    return [(x.reshape(len(x), -1), str(k)) for x, k in zip(values, kinds, strict=True)]


def _ts(path: Path) -> Series:
    text = path.read_text().lower().split("@data")[1].strip().splitlines()
    series = []
    for line in text:
        *columns, kind = line.split(":")
        values = [[float(v) for v in column.split(",") if v != "?"] for column in columns]
        series.append((np.array(values).T, kind))
    return series


def _txt(path: Path) -> Series:
    rows = [[float(v) for v in line.replace(",", " ").split()] for line in path.open()]
    return [(np.array(row[1:])[:, np.newaxis], str(int(row[0]))) for row in rows]


def actions(folder: Path, share: float) -> None:
    """Skeleton, inertial sensor and speed of the skeleton, the last two warped: % of the length."""
    alone: list[Floats] = []
    pooled: list[Floats] = []
    for number in some(ACTIONS, share):
        takes, truths = [], []
        for subject in SUBJECTS:
            for trial in TRIALS:
                stem = folder / "data/action_utd_mhad" / f"a{number:02d}_s{subject}_t{trial}"
                files = [Path(f"{stem}_{what}.npy") for what in ("skeleton", "inertial")]
                if all(file.exists() for file in files):
                    skeleton, inertial = (np.load(file).astype(np.float64) for file in files)
                    points = np.gradient(skeleton.reshape(len(skeleton), -1, 3), axis=0)
                    speed = np.linalg.norm(points, axis=2).mean(axis=1, keepdims=True)
                    truth = [
                        imposed(np.random.default_rng([number, subject, trial, k]), FRAMES,
                                ACTION_WARP)
                        for k in range(2)
                    ]  # fmt: skip
                    even = np.linspace(0.0, 1.0, FRAMES)
                    warped = [sampled(x, t) for x, t in zip((inertial, speed), truth, strict=True)]
                    takes.append([sampled(skeleton, even), *warped])
                    truths.append(truth)
        pooled += [
            shares_off(k, t) for k, t in zip(align_jointly(takes).knots, truths, strict=True)
        ]
        alone += [
            shares_off(align_jointly([take]).knots[0], truth)
            for take, truth in zip(takes[:4], truths, strict=False)
        ]
    for label, errors in (("one take", alone), ("pooled by action", pooled)):
        for k, what in enumerate(("inertial", "speed")):
            report(f"actions, {what}, {label}", 100 * np.array(errors)[:, k], "%", 5.0)


def shares_off(knots: Floats, truths: Sequence[Floats]) -> Floats:
    """Return the mean errors of sequences 1, 2, ... of a warp against sequence 0, in shares."""
    u = np.linspace(0.0, 1.0, knots.shape[1])
    errors = []
    for row, truth in zip(knots[1:], truths, strict=True):
        at = np.interp(np.linspace(0.0, 1.0, len(truth)), row, u)
        errors.append(np.abs(np.interp(at, u, knots[0]) - truth).mean())
    return np.array(errors)


def faces(folder: Path, share: float) -> None:
    """Sound, changes of the picture and the picture of talking faces, takes pooled: ms.

    The pictures are warped by a known curve, the same for both; truth is that all three ran on one
    clock. Errors at the starts of words where these are labelled, else over all frames.
    """
    clips = some(sorted((folder / "data/av_grid").glob("*_gray25fps.npz")), share)
    takes, truths, words = [], [], []
    for number, clip in enumerate(clips):
        sound = stream(clip.with_name(clip.name.replace("_gray25fps.npz", ".wav")), ",hop=0.02")
        motion = stream(clip, ",features=motion").values
        gray = stream(clip, ",features=gray").values.astype(np.float64)
        _, _, axes = np.linalg.svd(gray - gray.mean(axis=0), full_matrices=False)
        truth = imposed(np.random.default_rng([number, 5]), len(motion), 0.3)
        takes.append(
            [np.asarray(sound.values, dtype=np.float64)]
            + [sampled(x, truth) for x in (np.asarray(motion, np.float64), gray @ axes[:8].T)]
        )
        truths.append([truth, truth])
        labels = clip.with_name(clip.name.replace("_gray25fps.npz", ".align"))
        words.append(
            [float(line.split()[0]) / 25000 for line in labels.open()] if labels.exists() else None
        )
    seconds = 1000 * 3.0
    uniform = [np.abs(np.linspace(0, 1, len(t[0])) - t[0]).mean() for t in truths]
    report("faces, uniform", seconds * np.array(uniform), "ms", 120.0)
    for label, knots in (
        ("together, takes pooled", align_jointly(takes).knots),
        ("together, one take", [align_jointly([take]).knots[0] for take in takes]),
    ):
        errors = np.array([shares_off(k, t) for k, t in zip(knots, truths, strict=True)])
        report(f"faces, motion, {label}", seconds * errors[:, 0], "ms", 120.0)
        at_words = [
            _word_errors(k, t[0], np.array(w))
            for k, t, w in zip(knots, truths, words, strict=True)
            if w
        ]
        if at_words:
            report(f"faces, word starts, {label}", seconds * np.concatenate(at_words), "ms", 120.0)


def _word_errors(knots: Floats, truth: Floats, starts_s: Floats) -> Floats:
    """Return the errors in shares at which a warp puts the pictures of the starts of words."""
    u = np.linspace(0.0, 1.0, knots.shape[1])
    shares = starts_s / 3.0
    found = np.interp(np.interp(shares, knots[0], u), u, knots[1])
    right = np.interp(shares, truth, np.linspace(0.0, 1.0, len(truth)))
    return np.asarray(np.abs(found - right))


BENCHMARKS: dict[str, Callable[[Path, float], None]] = {
    "planted": planted,
    "music": music,
    "mazurka": mazurka,
    "archives": archives,
    "actions": actions,
    "faces": faces,
}

if __name__ == "__main__":
    main()
