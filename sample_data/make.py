"""Write the sample data of mmalign into the folder of this script.

Two takes of a small piece of music, and one arm gesture recorded twice (motion capture and video
features), each pair with its true matching times. Everything is synthesised from a fixed seed.
"""

from __future__ import annotations

import io
import wave
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20240229

# --- music -----------------------------------------------------------------------------------
RATE = 22050  # Hz
BEATS_PER_BAR = 3
BARS = 8
BPM = 92.0
# Three parts in G major, one line per two bars. Each word is a MIDI pitch, pitches that sound
# together, or "-" for a rest, and after the colon the length in half beats.
MELODY = """
    74:2 71:1 74:1 79:2 | 78:1 76:1 71:3 -:1
    76:1 76:1 76:1 74:1 72:2 | 71:1 72:1 69:2 -:2
    71:1 72:1 74:2 79:2 | 81:2 79:1 76:1 76:2
    74:1 74:1 72:1 71:1 69:2 | 67:6
"""
HARMONY = """
    -:2 59+62:2 59+62:2 | -:2 55+59:4
    -:2 55+64:2 55+64:2 | 54+62:4 -:2
    -:2 55+62:2 55+62:2 | -:2 60+64:2 55+60:2
    -:2 54+60:4 | -:2 59+62:4
"""
BASS = """
    43:6 | 40:6
    48:6 | 50:4 -:2
    47:6 | 45:4 48:2
    50:4 38:2 | 43:6
"""
PARTS = ((MELODY, 1.0), (HARMONY, 0.45), (BASS, 0.75))  # part, loudness
PAUSE_BEAT = 11.9  # inside the rest before the last phrase
FERMATA_BEAT = 17.9  # inside the long chord of bar 6
TAIL_S = 0.9
RELEASE_S = 0.12
JITTER_S = 0.004
MAX_PARTIALS = 18
ROOM_S = 0.7
ROOM_LEVEL = 0.16
NOISE_DB = -62.0
PEAK = 0.8

# --- gesture ---------------------------------------------------------------------------------
GESTURE_S = 8.0
MOCAP_HZ = 100
MOCAP_NOISE_M = 0.0003
MOCAP_LIMBS_M = (0.30, 0.26, 0.10)  # upper arm, forearm, hand
MARKERS = ("shoulder", "elbow", "wrist", "hand")
# Upper arm azimuth and elevation, elbow bend, wrist bend (degrees) at each second below:
# rest, begin, reach out, raise to wave, end of waving, put down, let go, rest.
POSE_S = np.array([0.0, 0.5, 1.8, 2.6, 5.2, 6.4, 6.9, 8.0])
POSE_DEG = np.array(
    [
        *([10, -78, 12, 5], [7, -74, 18, 10], [0, -10, 15, -8], [25, -28, 72, 10]),
        *([8, -40, 50, 4], [38, -48, 40, -35], [33, -43, 32, -8], [8, -80, 11, 4]),
    ],
    dtype=np.float64,
)
LAGS_S = (0.3, 0.0, 0.15, 0.4)  # of the four angles
SWAY_DEG = 4.0
SWAY_RATES = (1.7, 1.1, 2.2, 2.9)  # radians per second, of the four angles
WAVE_S = (2.5, 5.3)
WAVE_COUNT = 3
WAVE_DEG = 46.0
PART_ENDS_S = (0.5, 2.5, 5.3, 6.9)
PART_NAMES = ("rest", "reach", "wave", "put down", "rest")

VIDEO_S = 8.8
VIDEO_HZ = 25
VIDEO_LIMBS_M = (0.28, 0.25, 0.11)
WARP = (0.05, 0.3, -0.2)  # swings of the speed, 1, 2 and 3 per gesture
CAMERA_M = np.array([2.0, -2.5, 1.7])
TARGET_M = np.array([0.25, 0.05, 1.25])
FOCAL_PX = 900.0
CENTRE_PX = np.array([320.0, 240.0])
ARM_WIDTH_M = 0.08
PIXEL_NOISE = 0.4
NOISE_COLUMNS = 2


@dataclass(frozen=True)
class Instrument:
    """Sound of an instrument: how its partials are weighted, mistuned and damped."""

    slope: float
    even: float
    inharmonicity: float
    decay_s: float
    attack_s: float
    knock: float


@dataclass(frozen=True)
class Take:
    """One performance of the piece; tempo and loudness are given at every bar line."""

    name: str
    stream: int
    tempo: tuple[float, ...]
    loudness: tuple[float, ...]
    pause_s: float
    fermata_s: float
    lead_in_s: float
    cents: float
    instrument: Instrument


@dataclass(frozen=True)
class Note:
    """One note of the score: onset and end in beats, MIDI pitch, loudness of its part."""

    beat: float
    end: float
    pitch: int
    loudness: float


TAKES = (
    Take(
        name="piece_take1",
        stream=1,
        tempo=(0.95, 1.10, 1.20, 1.00, 0.85, 1.05, 0.95, 0.85, 0.65),
        loudness=(0.55, 0.70, 0.85, 0.70, 0.50, 0.75, 1.00, 0.70, 0.45),
        pause_s=0.0,
        fermata_s=0.8,
        lead_in_s=0.35,
        cents=0.0,
        instrument=Instrument(1.25, 1.0, 0.0004, 1.3, 0.003, 0.030),
    ),
    Take(
        name="piece_take2",
        stream=2,
        tempo=(1.20, 0.95, 0.85, 0.90, 1.00, 1.25, 1.15, 0.90, 0.60),
        loudness=(0.80, 0.65, 0.50, 0.60, 0.60, 0.90, 0.75, 0.85, 0.65),
        pause_s=0.7,
        fermata_s=1.2,
        lead_in_s=0.80,
        cents=7.0,
        instrument=Instrument(1.7, 0.45, 0.00008, 1.8, 0.007, 0.012),
    ),
)


def random_stream(number: int) -> np.random.Generator:
    """Return an independent random stream for each recording."""
    return np.random.Generator(np.random.PCG64([SEED, number]))


def glide(at: Array, knots: Array, values: Array) -> Array:
    """Move smoothly (minimum jerk) through values (k,) at knots (k,); returns the shape of at."""
    segment = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    start, stop = knots[segment], knots[segment + 1]
    u = np.clip((at - start) / (stop - start), 0.0, 1.0)
    ease = u**3 * (10.0 - 15.0 * u + 6.0 * u**2)
    return values[segment] + ease * (values[segment + 1] - values[segment])


def by_bar(beats: Array, values: tuple[float, ...]) -> Array:
    """Return, at beats (n,), a curve that passes through one value at every bar line."""
    bar_lines = BEATS_PER_BAR * np.arange(len(values), dtype=np.float64)
    return glide(beats, bar_lines, np.asarray(values, dtype=np.float64))


def score() -> list[Note]:
    """Return the notes of all parts, ordered by onset."""
    notes = []
    for part, loudness in PARTS:
        beat = 0.0
        for word in part.replace("|", " ").split():
            pitches, half_beats = word.split(":")
            end = beat + int(half_beats) / 2
            if pitches != "-":
                notes += [Note(beat, end, int(p), loudness) for p in pitches.split("+")]
            beat = end
    return sorted(notes, key=lambda note: (note.beat, note.pitch))


def played_at(beats: Array, take: Take) -> Array:
    """Return the seconds (n,) at which a take reaches the given beats (n,)."""
    grid = np.linspace(0.0, BEATS_PER_BAR * (len(take.tempo) - 1), 4801)
    middles = (grid[1:] + grid[:-1]) / 2
    lengths: Array = np.diff(grid) * 60.0 / (BPM * by_bar(middles, take.tempo))
    seconds = np.concatenate([[0.0], np.cumsum(lengths)])
    pause = np.where(beats > PAUSE_BEAT, take.pause_s, 0.0)
    fermata = np.where(beats > FERMATA_BEAT, take.fermata_s, 0.0)
    reached: Array = np.interp(beats, grid, seconds) + take.lead_in_s + pause + fermata
    return reached


def tone(note: Note, seconds: float, level: float, take: Take, rng: np.random.Generator) -> Array:
    """Synthesise one note held for some seconds; returns samples (n,)."""
    sound = take.instrument
    time = np.arange(round((seconds + RELEASE_S) * RATE)) / RATE
    pitch_hz = 440.0 * 2.0 ** ((note.pitch - 69 + take.cents / 100.0) / 12.0)
    # A softer note is duller, and a higher one dies away sooner.
    slope = sound.slope + 0.9 * (1.0 - level)
    decay_s = sound.decay_s * (220.0 / pitch_hz) ** 0.4
    samples = np.zeros(len(time))
    for k in range(1, MAX_PARTIALS + 1):
        hz = k * pitch_hz * np.sqrt(1.0 + sound.inharmonicity * k**2)
        phase = 2.0 * np.pi * rng.random()
        if hz < 0.45 * RATE:
            weight = k**-slope * (sound.even if k % 2 == 0 else 1.0)
            damping = np.exp(-time * (0.7 + 0.3 * k) / decay_s)
            samples += weight * damping * np.sin(2.0 * np.pi * hz * time + phase)
    samples += sound.knock * rng.standard_normal(len(time)) * np.exp(-time / 0.012)
    rise: Array = np.clip(time / sound.attack_s, 0.0, 1.0)
    fall: Array = np.clip((time[-1] - time) / RELEASE_S, 0.0, 1.0)
    return level * np.sin(0.5 * np.pi * rise) * fall**2 * samples


def in_room(dry: Array, rng: np.random.Generator) -> Array:
    """Add the reverberation of a small room to samples (n,); returns samples (n,)."""
    time = np.arange(round(ROOM_S * RATE)) / RATE
    response = rng.standard_normal(len(time)) * np.exp(-time * 6.9 / ROOM_S)
    # Walls swallow the high frequencies first, so the response is smoothed a little.
    response = np.convolve(response, np.hanning(9), mode="same")
    response /= np.sqrt(np.sum(response**2))
    size = len(dry) + len(response) - 1
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
    return dry + ROOM_LEVEL * wet[: len(dry)]


def perform(take: Take) -> tuple[Array, Array]:
    """Play a take; returns samples (n,) and the earliest onset (s) of each score onset."""
    rng = random_stream(take.stream)
    notes = score()
    beats = np.array([note.beat for note in notes])
    levels = by_bar(beats, take.loudness)
    jitter = np.clip(rng.standard_normal(len(notes)), -2.0, 2.0) * JITTER_S
    starts = np.rint((played_at(beats, take) + jitter) * RATE).astype(np.int64)
    ends = played_at(np.array([note.end for note in notes]), take)
    samples = np.zeros(round((ends.max() + TAIL_S) * RATE))
    for note, start, end, level in zip(notes, starts, ends, levels, strict=True):
        sound = tone(note, end - start / RATE, float(level) * note.loudness, take, rng)
        samples[start : start + len(sound)] += sound
    samples = in_room(samples, rng)
    samples *= PEAK / np.abs(samples).max()
    samples += 10.0 ** (NOISE_DB / 20.0) * rng.standard_normal(len(samples))
    onsets = np.array([starts[beats == beat].min() for beat in np.unique(beats)]) / RATE
    return samples, onsets


def direction(azimuth: Array, elevation: Array) -> Array:
    """Return unit vectors (n, 3), x forward, y left, z up, for angles (n,) in radians."""
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)


def arm(phase: Array, limbs_m: tuple[float, float, float]) -> Array:
    """Return joint positions (n, 4, 3) in metres at moments phase (n,) of the gesture in s."""
    # Every joint has its own delay and a slow sway: a living arm never holds quite still.
    azimuth, elevation, elbow, wrist = (
        np.deg2rad(glide(phase - lag, POSE_S, angles) + SWAY_DEG * np.sin(rate * phase))
        for lag, rate, angles in zip(LAGS_S, SWAY_RATES, POSE_DEG.T, strict=True)
    )
    u = np.clip((phase - WAVE_S[0]) / (WAVE_S[1] - WAVE_S[0]), 0.0, 1.0)
    swing = np.deg2rad(WAVE_DEG) * np.sin(np.pi * u) * np.sin(2.0 * np.pi * WAVE_COUNT * u)
    shoulder = np.stack(
        [0.020 * np.sin(0.7 * phase), 0.015 * np.cos(0.9 * phase), 1.4 + 0.008 * np.sin(phase)],
        axis=1,
    )
    forearm = direction(azimuth + swing, elevation + elbow)
    hand = direction(azimuth + 1.3 * swing, elevation + elbow + wrist)
    steps = [direction(azimuth, elevation), forearm, hand]
    joints = [shoulder]
    for length, step in zip(limbs_m, steps, strict=True):
        joints.append(joints[-1] + length * step)
    return np.stack(joints, axis=1)


def video_clock(phase: Array) -> Array:
    """Return the video seconds (n,) of the mocap seconds (n,)."""
    seconds = phase * VIDEO_S / GESTURE_S
    for k, swing in enumerate(WARP, start=1):
        rate = 2.0 * np.pi * k / GESTURE_S
        seconds = seconds + swing * (1.0 - np.cos(rate * phase)) / rate
    return seconds


def project(points: Array) -> tuple[Array, Array]:
    """Project points (n, 4, 3) in metres; returns pixels (n, 4, 2) and depths (n, 4) in metres."""
    ahead = (TARGET_M - CAMERA_M) / np.linalg.norm(TARGET_M - CAMERA_M)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    seen = points - CAMERA_M
    depth = seen @ ahead
    pixels = FOCAL_PX * np.stack([seen @ right, seen @ down], axis=-1) / depth[..., None]
    return pixels + CENTRE_PX, depth


def mocap_table() -> Array:
    """Return the motion-capture table (n, 13): seconds, then x, y, z of each marker in metres."""
    time = np.arange(round(GESTURE_S * MOCAP_HZ) + 1) / MOCAP_HZ
    markers = arm(time, MOCAP_LIMBS_M).reshape(len(time), -1)
    noise = MOCAP_NOISE_M * random_stream(3).standard_normal(markers.shape)
    return np.column_stack([time, markers + noise])


def video_features() -> tuple[NDArray[np.float32], Array]:
    """Return features (n, 10) and times (n,) in seconds of the filmed performance.

    Columns: image x, y of elbow, wrist and hand (pixels), area of the arm's outline (1000 square
    pixels), width plus height of its bounding box (pixels), and two columns of noise.
    """
    times = np.arange(round(VIDEO_S * VIDEO_HZ) + 1) / VIDEO_HZ
    fine = np.linspace(0.0, GESTURE_S, 80001)
    phase = np.interp(times, video_clock(fine), fine)
    pixels, depth = project(arm(phase, VIDEO_LIMBS_M))
    rng = random_stream(4)
    pixels = pixels + PIXEL_NOISE * rng.standard_normal(pixels.shape)
    lengths = np.linalg.norm(np.diff(pixels, axis=1), axis=2)
    widths = FOCAL_PX * ARM_WIDTH_M / depth[:, 1:]
    area = np.sum(lengths * widths, axis=1) / 1000.0
    box = np.ptp(pixels, axis=1).sum(axis=1)
    noise = 30.0 * rng.standard_normal((len(times), NOISE_COLUMNS))
    values = np.column_stack([pixels[:, 1:].reshape(len(times), -1), area, box, noise])
    return np.round(values, 2).astype(np.float32), times


def arm_truth() -> Array:
    """Return matching times (n, 2) in seconds every 0.1 s of the mocap clock, ends left out."""
    mocap = np.arange(1, round(GESTURE_S * 10)) / 10.0
    return np.column_stack([mocap, video_clock(mocap)])


def write_wav(path: Path, samples: Array) -> None:
    """Write samples (n,) between -1 and 1 as 16-bit mono PCM."""
    pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(pcm.tobytes())


def write_csv(path: Path, header: list[str], rows: Array, formats: list[str]) -> None:
    """Write rows (n, c) under a header of c names, each column in its own number format."""
    lines = [",".join(header)]
    lines += [",".join(f % x for f, x in zip(formats, row, strict=True)) for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode("ascii"))


def write_npz(path: Path, arrays: dict[str, NDArray[np.float32] | Array]) -> None:
    """Write arrays as a compressed npz whose bytes do not depend on the date."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data.getvalue(), zipfile.ZIP_DEFLATED)


def write_piece(folder: Path) -> list[Path]:
    """Write both takes of the piece and their matching times; returns the files."""
    paths, onsets = [], []
    for take in TAKES:
        samples, times = perform(take)
        paths.append(folder / f"{take.name}.wav")
        write_wav(paths[-1], samples)
        onsets.append(times)
    truth = folder / "piece_truth.csv"
    write_csv(truth, [take.name for take in TAKES], np.column_stack(onsets), ["%.6f"] * 2)
    return [*paths, truth]


def srt_time(seconds: float) -> str:
    """Return seconds as SubRip writes them."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60000)
    return f"00:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def write_labels(folder: Path) -> list[Path]:
    """Write the bars of take 2 as subtitles and the parts of the gesture as a TextGrid."""
    bars = BEATS_PER_BAR * np.arange(BARS + 1, dtype=np.float64)
    times = [srt_time(t) for t in played_at(bars, TAKES[1])]
    cues = [
        f"{k + 1}\n{times[k]} --> {times[k + 1]}\nbar {k + 1}\n\n" for k in range(len(times) - 1)
    ]
    srt = folder / "piece_take2.srt"
    srt.write_bytes("".join(cues).encode("ascii"))
    ends = [*video_clock(np.array(PART_ENDS_S)), VIDEO_S]
    begins = [0.0, *ends[:-1]]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", f"{VIDEO_S:g}"]
    lines += ["<exists>", "1", '"IntervalTier"', '"gesture"', "0", f"{VIDEO_S:g}"]
    lines += [str(len(PART_NAMES))]
    for begin, end, name in zip(begins, ends, PART_NAMES, strict=True):
        lines += [f"{begin:.4g}", f"{end:.4g}", f'"{name}"']
    grid = folder / "arm_video.TextGrid"
    grid.write_bytes(("\n".join(lines) + "\n").encode("ascii"))
    return [srt, grid]


def write_arm(folder: Path) -> list[Path]:
    """Write both recordings of the gesture and their matching times; returns the files."""
    mocap, video, truth = (
        folder / name for name in ("arm_mocap.csv", "arm_video.npz", "arm_truth.csv")
    )
    columns = [f"{marker}_{axis}" for marker in MARKERS for axis in "xyz"]
    write_csv(mocap, ["time", *columns], mocap_table(), ["%.2f"] + ["%.5f"] * len(columns))
    values, times = video_features()
    write_npz(video, {"values": values, "times": times})
    write_csv(truth, ["arm_mocap", "arm_video"], arm_truth(), ["%.6f"] * 2)
    return [mocap, video, truth]


def main() -> None:
    """Write every sample file and print its size."""
    for path in [*write_piece(HERE), *write_arm(HERE), *write_labels(HERE)]:
        print(f"{path.name}  {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
