"""Where depth pays on recordings: speech against the order of its phone classes, in ms.

    python benchmarks/dctw_speech.py [FOLDER] [--only sa1 sa2 both]

FOLDER is `speech_timit`, by default ../shared/data/speech_timit beside the project: two sentences
by ten speakers, with the times of every phone. The second stream of a take says which of six
classes (vowel, stop, fricative, nasal, glide, silence) each phone is of, all phones equally long:
what a transcript says, and no times. All takes of a sentence are aligned together, nothing being
known of speech; errors are those of the times at all frames of the second stream.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sensors import Case

from mmalign_cli.align.dctw import Ask, align_deep
from mmalign_cli.align.joint import align_jointly
from mmalign_cli.align.network import in_context
from mmalign_cli.pipeline.streams import load_streams
from mmalign_cli.streams.spec import StreamSpec

Floats = npt.NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_timit"
RATE, FRAMES_A_PHONE, MARGIN_S, CONTEXT = 16000, 6, 0.05, 5
COEFFICIENTS = 13
"""Of the sound; the slopes that stand beside them are what neighbours tell anyway."""
DAMAGED = {("dr1-fvmh0", "sa1"), ("dr2-faem0", "sa2"), ("dr3-falk0", "sa2"), ("dr5-mbgt0", "sa1")}
"""Recordings whose samples are noise from somewhere on: bytes of them are missing."""
CLASSES = (
    "iy ih eh ae aa ah ao uh uw ux er ax ix axr ax-h ey ay oy aw ow",
    "b d g p t k dx q",
    "s sh z zh f th v dh ch jh hh hv",
    "m n ng em en eng nx",
    "l r w y el",
    "bcl dcl gcl pcl tcl kcl epi pau h#",
)


@dataclass(frozen=True)
class Spoken:
    """A take: coefficients of its sound, the classes of its phones, and how long it is."""

    sound: Floats
    classes: Floats
    truth: Floats
    seconds: float

    def errors_ms(self, knots: Floats) -> Floats:
        """Return the errors of a warp (2, K + 1)."""
        return 1000 * self.seconds * Case(self.sound, self.classes, self.truth).errors(knots)


def spoken(recording: Path) -> Spoken:
    """Return a take, from the middle of its first silence's last 0.1 s to that of its last."""
    lines = [line.split() for line in recording.with_suffix(".phn").read_text().splitlines()]
    starts = np.array([int(first) for first, _, _ in lines]) / RATE
    begin, end = starts[1] - MARGIN_S, starts[-1] + MARGIN_S
    loaded = load_streams([StreamSpec(str(recording), {"features": "mfcc"})] * 2)[0].stream
    inside = (loaded.times >= begin) & (loaded.times <= end)
    times, values = loaded.times[inside], loaded.values[inside, :COEFFICIENTS]
    which = [next(k for k, own in enumerate(CLASSES) if p in own.split()) for _, _, p in lines]
    classes = np.repeat(np.eye(len(CLASSES))[which], FRAMES_A_PHONE, axis=0)
    borders = np.arange(len(lines) + 1) * FRAMES_A_PHONE - 0.5
    seconds = np.interp(np.arange(len(classes)), borders, [begin, *starts[1:], end])
    length = float(times[-1] - times[0])
    truth = np.clip((seconds - times[0]) / length, 0.0, 1.0)
    return Spoken(np.asarray(values, dtype=np.float64), classes, truth, length)


def compare(label: str, takes: list[Spoken]) -> None:
    """Print the errors of the straight line, linear maps of one frame and of five, and networks."""
    plain = [[take.sound, take.classes] for take in takes]
    seen = [[in_context(frames, CONTEXT) for frames in take] for take in plain]
    deep = align_deep(plain, Ask(context=CONTEXT, dims=len(CLASSES) - 1))
    straight = np.tile(np.linspace(0.0, 1.0, 2), (len(takes), 2, 1))
    for name, warps in (
        ("straight line", straight),
        ("ctw", align_jointly(plain).knots),
        ("linear maps of five frames", align_jointly(seen).knots),
        (f"dctw --context {CONTEXT}: {deep.kind}", deep.knots),
    ):
        own = [float(t.errors_ms(k).mean()) for t, k in zip(takes, warps, strict=True)]
        print(
            f"{label:<5} {name:<28}{len(own):>3} takes: mean {np.mean(own):6.1f} ms, "
            f"median {np.median(own):6.1f}, worst {np.max(own):6.1f}",
            flush=True,
        )


def main() -> None:
    """Run the sentences that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=["sa1", "sa2", "both"])
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"the recordings are not at {arguments.folder}: name their folder")
        return
    takes = {
        name: [
            spoken(path)
            for path in sorted(arguments.folder.glob(f"*/{name}.wav"))
            if (path.parent.name, name) not in DAMAGED
        ]
        for name in ("sa1", "sa2")
    }
    takes["both"] = takes["sa1"] + takes["sa2"]
    for name in arguments.only or takes:
        compare(name, takes[name])


if __name__ == "__main__":
    main()
