"""Errors of `mmalign sync` on real recordings: two devices simulated from real speech, and others.

    python benchmarks/sync.py [real|devices|breaks|fixed|faces|relation ...] [--pairs N]

The recordings are not part of the project: FOLDER holds `speech_timit`, `speech_digits_fsdd`,
`offset_bbc`, `av_grid` and so on, by default ../shared/data beside the project
(--data). Seeds are fixed.
`devices` also runs audio-offset-finder, where it can be imported by the Python named in
AUDIO_OFFSET_FINDER (it finds one offset, no drift).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile
import soxr

from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import Alignment
from mmalign_cli.pipeline.sync import sync_streams, write_fixed
from mmalign_cli.pipeline.sync_other import SyncSettings
from mmalign_cli.runtime import silent
from mmalign_cli.streams.spec import StreamSpec
from mmalign_cli.write.atomic import Outputs

Floats = npt.NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RATE = 16000
SEED = 7


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"the recordings are not at {arguments.data}: name their folder with --data")
        return
    for name in arguments.names or BENCHMARKS:
        for line in BENCHMARKS[name](arguments.data, arguments.pairs):
            print(line, flush=True)


# --- two devices -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """How a device hears an event.

    Parameters
    ----------
    start_s, drift_ppm : float
        When it starts, and how much faster its clock runs than the event's.
    snr_db : float
        Level of the speech over white noise.
    band_hz : tuple of float or None
        What its microphone passes.
    room_s : float
        Reverberation time; 0: none.
    """

    start_s: float = 0.0
    drift_ppm: float = 0.0
    snr_db: float = 60.0
    band_hz: tuple[float, float] | None = None
    room_s: float = 0.0

    def hear(self, event: Floats, seconds: float, rng: np.random.Generator) -> Floats:
        """Return `seconds` of its samples (n,) at 16 kHz of an event (m,) at 16 kHz."""
        sound = self._in_room(event[round(self.start_s * RATE) :], rng)
        if self.drift_ppm:
            # A fast clock takes more samples of a second: sample k at k / (1 + drift) of the event.
            sound = soxr.resample(sound, 1e6, 1e6 + self.drift_ppm, "VHQ")
        sound = sound[: round(seconds * RATE)]
        if self.band_hz is not None:
            sos = scipy.signal.butter(4, self.band_hz, "bandpass", fs=RATE, output="sos")
            sound = scipy.signal.sosfiltfilt(sos, sound)
        noise = rng.standard_normal(len(sound)) * sound.std() * 10 ** (-self.snr_db / 20)
        return np.asarray(0.1 * (sound + noise) / sound.std())

    def _in_room(self, event: Floats, rng: np.random.Generator) -> Floats:
        """Add echoes as strong as the direct sound, which comes first."""
        if self.room_s == 0:
            return event
        t = np.arange(round(self.room_s * RATE)) / RATE
        echoes = rng.standard_normal(len(t)) * np.exp(-6.9 * t / self.room_s) * (t > 0.002)
        echoes /= np.sqrt((echoes**2).sum())
        echoes[0] = 1.0
        return np.asarray(scipy.signal.oaconvolve(event, echoes)[: len(event)])


@cache
def clips(data: Path) -> list[Floats]:
    """Return clips of speech at 16 kHz, mono, with mean 0 and variance 1."""
    paths = [
        *sorted((data / "speech_timit").glob("*/*.wav")),
        *sorted((data / "speech_mfa_slow_fast").glob("*.wav")),
        *sorted((data / "speech_promo_pairs").glob("*.wav")),
        *sorted((data / "av_grid").glob("*.wav")),
        data / "offset_bbc" / "timbl_1.mp3",
        *sorted((data / "speech_digits_fsdd").glob("*.wav")),
    ]
    return [read(path) for path in paths]


def read(path: Path) -> Floats:
    """Return a recording (n,) at 16 kHz, mono, with mean 0 and variance 1."""
    samples, rate = soundfile.read(path, always_2d=True)
    sound = soxr.resample(samples.mean(axis=1), rate, RATE)
    return np.asarray((sound - sound.mean()) / sound.std())


def talk(data: Path, seconds: float, rng: np.random.Generator) -> Floats:
    """Join clips in random order, each at a speed of its own, so that none occurs twice."""
    parts, n = [], 0
    while n < seconds * RATE:
        for k in rng.permutation(len(clips(data))):
            speed = rng.uniform(0.92, 1.08)
            parts.append(soxr.resample(clips(data)[k], RATE * speed, RATE))
            parts.append(np.zeros(round(rng.uniform(0.05, 0.4) * RATE)))
            n += len(parts[-2]) + len(parts[-1])
            if n >= seconds * RATE:
                break
    return np.concatenate(parts)[: round(seconds * RATE)]


CASES: dict[str, tuple[float, float, tuple[float, float] | None, float, int]] = {
    # seconds, SNR, band of the second, reverberation, pairs
    "10 min, clean": (600, 60, None, 0, 4),
    "10 min, 10 dB": (600, 10, None, 0.4, 6),
    "10 min, 0 dB": (600, 0, None, 0.4, 6),
    "10 min, 10 dB, telephone": (600, 10, (300, 3400), 0.4, 6),
    "10 min, 0 dB, telephone": (600, 0, (300, 3400), 0.4, 6),
    "2 min, 0 dB": (120, 0, None, 0.4, 10),
    "30 s, 10 dB": (30, 10, None, 0.4, 10),
}


def pair(
    data: Path, seconds: float, snr: float, band: tuple[float, float] | None, room: float, seed: int
) -> tuple[Floats, Floats, float, float]:
    """Return reference and recording of one event, true offset in seconds, true drift in ppm."""
    rng = np.random.default_rng([SEED, seed, round(seconds), round(snr)])
    lag = float(rng.uniform(0, min(60, seconds / 4)))
    drift = float(rng.uniform(-150, 150))
    event = talk(data, seconds + lag + 1, rng)
    early = bool(rng.integers(2))
    reference = Device(0.0 if early else lag, 0, snr, None, room)
    recording = Device(lag if early else 0.0, drift, snr, band, room)
    at = [round(d.start_s * RATE) / RATE for d in (reference, recording)]
    heard = [d.hear(event, seconds, rng) for d in (reference, recording)]
    return heard[0], heard[1], at[1] - at[0], drift


def devices(data: Path, pairs: int) -> Iterator[str]:
    """Offset and drift of two simulated devices."""
    yield f"{'two devices':<28}{'pairs':>6}{'offset error, ms':>28}{'drift error, ppm':>22}  held"
    yield f"{'':<34}{'median':>9}{'worst':>9}{'peer':>10}{'median':>12}{'worst':>10}"
    for name, (seconds, snr, band, room, count) in CASES.items():
        rows, peers = [], []
        for seed in range(count):
            reference, recording, offset, drift = pair(data, seconds, snr, band, room, seed)
            with written(reference, recording) as files:
                found = synced(*files)
                peers += peer(*files, offset)
            said = found.parameters
            rows.append(
                (
                    1000 * abs(said["offset"] - offset),
                    abs(said["drift_ppm"] - drift),
                    abs(said["offset"] - offset) <= said["offset_error"],
                )
            )
        off, ppm, covered = np.array(rows, dtype=np.float64).T
        other = f"{np.median(peers):>10.2f}" if peers else f"{'-':>10}"
        yield (
            f"{name:<28}{count:>6}{np.median(off):>9.3f}{off.max():>9.3f}{other}"
            f"{np.median(ppm):>12.2f}{ppm.max():>10.2f}{covered.mean():>7.0%}"
        )


class written:  # noqa: N801 - reads like the function that it is
    """Two recordings as files, for as long as the block lasts."""

    def __init__(self, reference: Floats, recording: Floats) -> None:
        self._sounds = {"reference": reference, "recording": recording}

    def __enter__(self) -> tuple[str, str]:
        self._folder = tempfile.TemporaryDirectory()
        for name, sound in self._sounds.items():
            soundfile.write(f"{self._folder.name}/{name}.wav", sound, RATE, subtype="PCM_16")
        return f"{self._folder.name}/reference.wav", f"{self._folder.name}/recording.wav"

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def synced(reference: str, recording: str, **settings: object) -> Alignment:
    """Return what `mmalign sync` finds."""
    specs = [StreamSpec(reference), StreamSpec(recording)]
    return sync_streams(specs, SyncSettings(**settings))  # type: ignore[arg-type]


PEER = """
import json, sys
from audio_offset_finder.audio_offset_finder import find_offset_between_buffers
from scipy.io import wavfile
from scipy.signal import resample_poly
sounds = [resample_poly(wavfile.read(name)[1].astype(float), 1, 2) for name in sys.argv[1:]]
print(json.dumps(float(find_offset_between_buffers(*sounds, 8000)["time_offset"])))
"""


def peer(reference: str, recording: str, offset: float) -> list[float]:
    """Return the error of audio-offset-finder in milliseconds, or nothing where it is missing."""
    python = os.environ.get("AUDIO_OFFSET_FINDER")
    if python is None:
        return []
    command = [python, "-c", PEER, reference, recording]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [1000 * abs(json.loads(done.stdout) - offset)] if done.returncode == 0 else []


# --- breaks ----------------------------------------------------------------------------------


def breaks(data: Path, pairs: int) -> Iterator[str]:
    """Find a dropped chunk of 200 ms, 3 s not recorded, 3 s too many, two of them."""
    yield f"{'breaks':<28}{'pairs':>6}{'found':>8}{'placed within':>16}{'residual elsewhere':>22}"
    for name, cuts in CUTS.items():
        placed, residuals, right = [], [], 0
        for seed in range(10):
            seconds, snr = (600, 120)[seed % 2], (0, 10)[seed // 5]
            reference, recording, offset, drift = pair(data, seconds, snr, None, 0.4, 50 + seed)
            rng = np.random.default_rng([SEED, seed])
            shared = seconds - abs(offset)
            at = max(-offset, 0) + shared * (0.25 + 0.5 * np.arange(len(cuts)))
            at = at + rng.uniform(-0.1, 0.1, len(cuts)) * shared
            damaged, truth = damage(recording, at.tolist(), cuts)
            with written(reference, damaged) as files:
                found = synced(*files)
            places = [b["at"] for b in found.parameters["breaks"]]
            if len(places) != len(cuts):
                continue
            right += 1
            placed += [abs(p - t[0]) for p, t in zip(places, truth, strict=True)]
            residuals.append(residual(found, truth, offset, drift, len(damaged) / RATE))
        yield (
            f"{name:<28}{10:>6}{right:>8}{max(placed, default=np.nan):>14.3f} s"
            f"{1000 * max(residuals, default=np.nan):>19.3f} ms"
        )


CUTS: dict[str, tuple[float, ...]] = {  # seconds lost; negative: inserted silence
    "200 ms dropped": (0.2,),
    "pause of 3 s": (3.0,),
    "3 s too many": (-3.0,),
    "dropped, then a pause": (0.2, 3.0),
}


def damage(
    sound: Floats, at_s: list[float], lost_s: tuple[float, ...]
) -> tuple[Floats, list[tuple[float, float]]]:
    """Cut or insert; return the sound, and (place in it, seconds lost) of each cut."""
    parts, truth, done, shift = [], [], 0, 0.0
    for at, lost in zip(at_s, lost_s, strict=True):
        parts.append(sound[done : round(at * RATE)])
        truth.append((at - shift, lost))
        done = round((at + max(lost, 0)) * RATE)
        parts.append(np.zeros(round(max(-lost, 0) * RATE)))
        shift += lost
    return np.concatenate([*parts, sound[done:]]), truth


def residual(
    found: Alignment,
    truth: list[tuple[float, float]],
    offset: float,
    drift: float,
    seconds: float,
) -> float:
    """Return the greatest error of the map, in seconds, a second or more from a cut."""
    t = np.arange(0, seconds, 0.1)
    missing = np.sum([(t > at) * lost for at, lost in truth], axis=0)
    event = (t + missing) / (1 + drift * 1e-6) + offset
    elsewhere = np.ones(len(t), dtype=np.bool_)
    for at, lost in truth:
        elsewhere &= (t < at - 1) | (t > at + 1 + max(-lost, 0))
    return float(np.abs(found.time_maps[0](t) - event)[elsewhere].max())


# --- same or not -----------------------------------------------------------------------------


def relation(data: Path, pairs: int) -> Iterator[str]:
    """Unrelated recordings that are refused, related ones that are accepted."""
    yield f"{'same event or not':<44}{'pairs':>6}{'right':>8}"
    for name, (make, related) in RELATIONS.items():
        right = 0
        for seed in range(pairs):
            with written(*make(data, seed)) as files:
                try:
                    confidence = synced(*files).confidence or {}
                    right += confidence["supported"] is related
                except AlignmentError:
                    right += not related
        yield f"{name:<44}{pairs:>6}{right / pairs:>8.1%}"


def sentences(data: Path, seed: int) -> tuple[Floats, Floats]:
    """Return different sentences, by one speaker or by two."""
    paths = sorted((data / "speech_timit").glob("*/*.wav"))
    different = [(a, b) for a, b in combinations(paths, 2) if a.name != b.name]
    rng = np.random.default_rng([SEED, 1])
    a, b = different[int(rng.permutation(len(different))[seed % len(different)])]
    return (read(a), read(b)) if seed % 2 else (read(b), read(a))


def talks(data: Path, seed: int) -> tuple[Floats, Floats]:
    """Return different talks of 20 to 60 s, no clip in both, in noise of 10 dB."""
    rng = np.random.default_rng([SEED, 2, seed])
    order = rng.permutation(len(clips(data)))
    heard = []
    for half in (order[::2], order[1::2]):
        parts = [clips(data)[k] for k in half]
        event = np.concatenate(parts)[: round(rng.uniform(20, 60) * RATE)]
        heard.append(Device(snr_db=10, room_s=0.4).hear(event, 60, rng))
    return heard[0], heard[1]


def one_event(data: Path, seed: int) -> tuple[Floats, Floats]:
    """Return two recordings of 5 to 60 s of one event, at 0 to 20 dB."""
    rng = np.random.default_rng([SEED, 3, seed])
    seconds, snr = float(rng.uniform(5, 60)), float(rng.uniform(0, 20))
    band = (300, 3400) if rng.integers(2) else None
    return pair(data, seconds, snr, band, 0.4, 1000 + seed)[:2]


RELATIONS: dict[str, tuple[Callable[[Path, int], tuple[Floats, Floats]], bool]] = {
    "different sentences: refused": (sentences, False),
    "different talks: refused": (talks, False),
    "one event, two devices: accepted": (one_event, True),
}


# --- real pairs ------------------------------------------------------------------------------

BBC_S = {"timbl_2.mp3": 12.254, "timbl_3.mp3": 12.23}


def real(data: Path, pairs: int) -> Iterator[str]:
    """One talk and two cuts of it, one of them noisy."""
    for name, offset in BBC_S.items():
        found = synced(str(data / "offset_bbc" / "timbl_1.mp3"), str(data / "offset_bbc" / name))
        said = found.parameters
        off = 1000 * (said["offset"] - offset)
        yield f"offset_bbc {name}: {said['offset']:.4f} s, {off:+.2f} ms from what is known"


# --- the fixed file --------------------------------------------------------------------------


def fixed(data: Path, pairs: int) -> Iterator[str]:
    """Mend recordings (stereo, 24 bit, 44.1 kHz), and align what comes out with the reference."""
    yield f"{'fixed, aligned again':<28}{'offset, ms':>12}{'drift, ppm':>12}{'length':>8}  kind"
    for seed in range(6):
        seconds = (600, 120)[seed % 2]
        reference, recording, _, _ = pair(data, seconds, 10, None, 0.4, 300 + seed)
        if seed >= 4:
            recording, _ = damage(recording, [seconds * 0.5], (0.2,))
        stereo = np.column_stack([recording, 0.5 * np.roll(recording, 3)])
        stereo = np.clip(soxr.resample(stereo, RATE, 44100), -0.99, 0.99)
        with written(reference, recording) as (first, second), tempfile.TemporaryDirectory() as to:
            soundfile.write(second, stereo, 44100, subtype="PCM_24")
            specs = [StreamSpec(first), StreamSpec(second)]
            found = sync_streams(specs, SyncSettings())
            out = f"{to}/fixed.wav"
            with Outputs(False) as outputs:
                write_fixed(outputs, found, specs, out, pad=False, trim=False, progress=silent)
            info, asked = soundfile.info(out), soundfile.info(first)
            again = synced(first, out).parameters
        right = info.frames == round(asked.frames / asked.samplerate * 44100)
        kind = f"{info.channels} channels, {info.samplerate} Hz, {info.subtype}"
        yield (
            f"{seconds:>4} s {'with a dropped chunk' if seed >= 4 else '':<21}"
            f"{1000 * again['offset']:>+12.4f}{again['drift_ppm']:>+12.4f}"
            f"{'right' if right else 'wrong':>8}  {kind}"
        )


# --- talking faces ---------------------------------------------------------------------------

SHIFTS_S = np.linspace(-1, 1, 9)
FRAMES_A_S = 25


def faces(data: Path, pairs: int) -> Iterator[str]:
    """Sound against gray frames of talking faces, one of them cut at its start."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((data / "av_grid").glob("*_gray25fps.npz")):
            sound, rate = soundfile.read(str(path).replace("_gray25fps.npz", ".wav"))
            with np.load(path) as bundle:
                frames = bundle["frames"]
            for shift in SHIFTS_S:
                late, early = max(shift, 0.0), round(max(-shift, 0.0) * FRAMES_A_S)
                soundfile.write(f"{folder}/a.wav", sound[round(late * rate) :], rate)
                np.savez(f"{folder}/v.npz", frames=frames[early:])
                specs = [
                    StreamSpec(f"{folder}/a.wav"),
                    StreamSpec(f"{folder}/v.npz", {"key": "frames", "rate": str(FRAMES_A_S)}),
                ]
                found = sync_streams(specs, SyncSettings())
                off = abs(found.parameters["offset"] - (early / FRAMES_A_S - late))
                said = found.parameters["offset_error"]
                rows.append((off, said, (found.confidence or {})["supported"]))
    off, said, believed = np.array(rows, dtype=np.float64).T
    yield (
        f"talking faces: {len(off)} pairs, median {1000 * np.median(off):.0f} ms, "
        f"{(off <= 0.12).mean():.0%} within 120 ms; interval holds in {(off <= said).mean():.0%} "
        f"(median +-{1000 * np.median(said):.0f} ms); {believed.mean():.0%} believed, "
        f"{(off <= 0.12)[believed > 0].mean():.0%} of them within 120 ms"
    )


BENCHMARKS: dict[str, Callable[[Path, int], Iterator[str]]] = {
    "real": real,
    "devices": devices,
    "breaks": breaks,
    "fixed": fixed,
    "faces": faces,
    "relation": relation,
}

if __name__ == "__main__":
    main()
