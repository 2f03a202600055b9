"""Errors of `mmalign dtw` on real recordings with exact truths, default options only.

    python benchmarks/accuracy.py [speech|piano|score ...] [--data FOLDER]

The recordings are not part of the project: FOLDER holds `speech_timit`, `music_asap` and
`music_audio_score_mozart`, by default ../shared/data beside the project.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmalign_cli.model import Stream
from mmalign_cli.pipeline.dtw import align_dtw
from mmalign_cli.pipeline.restrictions import DtwSettings
from mmalign_cli.pipeline.streams import load_stream
from mmalign_cli.streams.spec import parse_spec

Floats = npt.NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"the recordings are not at {arguments.data}: name their folder with --data")
        return
    print(f"{'data':<30}{'points':>8}{'median':>10}{'90 %':>10}{'< 50 ms':>9}{'< 100 ms':>10}")
    for name in arguments.names or BENCHMARKS:
        for label, errors in BENCHMARKS[name](arguments.data):
            report(label, errors)


def report(label: str, errors: Floats) -> None:
    """Print one line: errors in seconds, (n,), as figures in milliseconds."""
    median, p90 = np.quantile(errors, (0.5, 0.9)) * 1000
    within = [(errors <= t).mean() for t in (0.05, 0.1)]
    shares = "".join(f"{share:>9.1%}" for share in within)
    print(f"{label:<30}{len(errors):>8}{median:>7.1f} ms{p90:>7.1f} ms{shares}", flush=True)


def errors_of(reference: Stream, query: Stream, truth_s: Floats) -> Floats:
    """Align two streams, and map the true times of the query, (n, 2), to the reference's clock."""
    alignment, _ = align_dtw([reference, query], DtwSettings())
    return np.abs(alignment.time_maps[0](truth_s[:, 1]) - truth_s[:, 0])


def stream(path: Path, keys: str = "") -> Stream:
    """Read a stream with its keys, as the command does."""
    name = f"{path.parent.name}-{path.stem}"
    return load_stream(parse_spec(f"{path}{keys}"), name).stream


def speech(data: Path) -> Iterable[tuple[str, Floats]]:
    """Word starts of two sentences, over all ordered pairs of ten speakers."""
    pooled = []
    for sentence in ("sa1", "sa2"):
        folders = sorted(p for p in (data / "speech_timit").iterdir() if p.is_dir())
        streams = [stream(folder / f"{sentence}.wav") for folder in folders]
        words = [word_starts(folder / f"{sentence}.wrd") for folder in folders]
        errors = [
            errors_of(streams[a], streams[b], np.column_stack([words[a], words[b]]))
            for a, b in permutations(range(len(folders)), 2)
        ]
        pooled.append(np.concatenate(errors))
        yield f"speech, {sentence}", pooled[-1]
    yield "speech, word starts", np.concatenate(pooled)


def word_starts(path: Path) -> Floats:
    """Return the starts of words in seconds: first column, in samples at 16 kHz."""
    return np.loadtxt(path, usecols=0) / 16000


def piano(data: Path) -> Iterable[tuple[str, Floats]]:
    """Onsets shared by two performances, over all ordered pairs of four pianists a piece."""
    pooled = []
    for piece in sorted(p for p in (data / "music_asap").iterdir() if p.is_dir()):
        rolls = sorted(piece.glob("*_roll50hz.npz"))
        streams = [stream(roll, ",key=roll,features=chroma-onset") for roll in rolls]
        names = [roll.name.removesuffix("_roll50hz.npz") for roll in rolls]
        onsets = [note_onsets(piece / f"{name}_truth_notes.csv") for name in names]
        errors = []
        for a, b in permutations(range(len(rolls)), 2):
            shared = sorted(onsets[a].keys() & onsets[b].keys())
            truth = np.array([(onsets[a][note], onsets[b][note]) for note in shared])
            errors.append(errors_of(streams[a], streams[b], truth))
        pooled.append(np.concatenate(errors))
        yield f"piano, {piece.name[:20]}", pooled[-1]
    yield "piano, onsets", np.concatenate(pooled)


def note_onsets(path: Path) -> dict[str, float]:
    """Return the performed onset in seconds of each note of the score."""
    with path.open(newline="") as file:
        return {row["score_id"]: float(row["perf_onset_s"]) for row in csv.DictReader(file)}


def score(data: Path) -> Iterable[tuple[str, Floats]]:
    """Onsets of a recording found from the piano roll of its score."""
    folder = data / "music_audio_score_mozart"
    with (folder / "mozart_k265_var1_truth_notes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    played = np.array([float(row["perf_onset_s"]) for row in rows])
    written = np.array([float(row["score_onset_beat"]) * SECONDS_A_BEAT for row in rows])
    recording = stream(folder / "mozart_k265_var1_22k_mono.wav", ",features=chroma-onset")
    roll = stream(folder / "score_roll_20hz_120bpm.npz", ",key=roll,features=chroma-onset")
    yield (
        "score to recording, onsets",
        errors_of(recording, roll, np.column_stack([played, written])),
    )


SECONDS_A_BEAT = 0.5
BENCHMARKS: dict[str, Callable[[Path], Iterable[tuple[str, Floats]]]] = {
    "speech": speech,
    "piano": piano,
    "score": score,
}

if __name__ == "__main__":
    main()
