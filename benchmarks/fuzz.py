"""Mutated files of the formats that other libraries read: every one an answer or one line.

Makes a file of each format, mutates it by seed, and reads each mutation in a process of its own
kind, so that a crash, a hang or a flood of memory is counted and not suffered::

    python benchmarks/fuzz.py --count 1000 mp4 mkv h5 parquet
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmalign_cli.errors import MmalignError
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import StreamSpec

RATE = 16000
LONGEST_S = 30.0
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1")


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a mutation: bytes and words changed, parts cut out, doubled, or the end missing."""
    mutated = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        reach = len(mutated) if rng.random() < 0.5 else min(len(mutated), 600)
        at, kind = int(rng.integers(0, max(reach, 1))), rng.integers(0, 7)
        if kind <= 2:
            mutated[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 3:
            mutated[at : at + 4] = EXTREMES[int(rng.integers(0, len(EXTREMES)))]
        elif kind == 4:
            del mutated[at : at + int(rng.integers(1, 64))]
        elif kind == 5:
            mutated[at:at] = mutated[at : at + int(rng.integers(1, 256))]
        elif rng.random() < 0.3:
            del mutated[at:]
    return bytes(mutated)


def write_media(path: Path) -> None:
    """Write a second and a half of noise, and of moving pictures where the format has any."""
    import av

    codecs = {
        "mp4": ("h264", "aac"), "mov": ("mpeg4", "pcm_s16le"), "mkv": ("h264", "libopus"),
        "webm": ("libvpx", "libopus"), "avi": ("mpeg4", "mp3"), "mpg": ("mpeg2video", "mp2"),
        "m4a": (None, "aac"), "aac": (None, "aac"),
    }  # fmt: skip
    rate = 48000
    rng = np.random.default_rng(1)
    ending = path.suffix[1:]
    formats = {"mkv": "matroska", "mpg": "mpeg", "m4a": "ipod", "aac": "adts"}
    with av.open(str(path), "w", format=formats.get(ending, ending)) as out:
        picture, sound = codecs[ending]
        audio = out.add_stream(sound, rate=rate)
        audio.layout = "mono"
        if picture is not None:
            video = out.add_stream(picture, rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for k in range(38):
                pixels = np.full((48, 64, 3), k * 6, np.uint8)
                pixels[:, k : k + 8] = rng.integers(0, 255, (48, 8, 3))
                out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(video.encode(None))
        samples = (rng.normal(size=rate * 3 // 2) * 3000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = rate
        out.mux(audio.encode(frame))
        out.mux(audio.encode(None))


def write_hdf5(path: Path) -> None:
    """Write a packed dataset with times and names beside it."""
    import h5py

    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        group = file.create_group("take")
        group.create_dataset("values", data=rng.normal(size=(200, 4)), chunks=(50, 4),
                             compression="gzip", shuffle=True)  # fmt: skip
        group.create_dataset("times", data=np.arange(200) / 50)
        group.create_dataset("columns", data=["a", "b", "c", "d"], dtype=h5py.string_dtype())
        file.attrs["rate"] = 50.0


def write_arrow(path: Path) -> None:
    """Write a table of times, numbers, gaps and labels."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    rng = np.random.default_rng(1)
    columns = {"time": np.arange(300) / 100, "x": rng.normal(size=300), "n": np.arange(300)}
    table = pa.table({**columns, "label": ["a", "b", "c"] * 100})
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, str(path), compression="lz4")


WRITERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("mp4", "mov", "mkv", "webm", "avi", "mpg", "m4a", "aac"), write_media),
    "h5": write_hdf5,
    "parquet": write_arrow,
    "feather": write_arrow,
}


def read(path: Path, features: str) -> str:
    """Read a file; return how it went."""
    given = {"features": features, "max-bytes": "256M", "nan": "interpolate", "key": "take/values"}
    if path.suffix != ".h5":
        del given["key"]
    try:
        load(StreamSpec(str(path), given), "x")
    except MmalignError as error:
        is_one_line = len(str(error).splitlines()) == 1
        return type(error).__name__ if is_one_line else f"FAULT {error}"
    except Exception as error:  # noqa: BLE001 -- what the script looks for
        return f"FAULT {type(error).__name__}: {error}"[:150]
    return "read"


def work(connection: Connection, path: Path, data: bytes, start: int, count: int) -> None:
    """Read mutations from `start`, telling each result and the memory held so far."""
    for k in range(start, count):
        rng = np.random.default_rng([7, k])
        path.write_bytes(mutate(data, rng))
        features = "motion" if k % 2 and path.suffix[1:] not in ("m4a", "aac") else "raw"
        is_media = WRITERS[path.suffix[1:]] is write_media
        result = read(path, features if is_media else "raw")
        connection.send((k, result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
    connection.close()


def fuzz(ending: str, count: int, folder: Path) -> bool:
    """Fuzz one format; print what came of it, and say whether all was well."""
    path = folder / f"x.{ending}"
    WRITERS[ending](path)
    data, results, slowest, most = path.read_bytes(), Counter[str](), (0.0, -1), 0
    next_one = 0
    while next_one < count:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(theirs, path, data, next_one, count)
        )
        process.start()
        theirs.close()
        while next_one < count:
            began = time.monotonic()
            try:
                found = ours.recv() if ours.poll(LONGEST_S) else None
            except EOFError:
                results[f"CRASH at mutation {next_one}"] += 1
                next_one += 1
                break
            if found is None:
                results[f"HANG at mutation {next_one}"] += 1
                next_one += 1
                process.kill()
                break
            next_one, result, most = found[0] + 1, found[1], max(most, found[2])
            results[result] += 1
            slowest = max(slowest, (time.monotonic() - began, found[0]))
        process.join()
    shown = ", ".join(f"{n} {what}" for what, n in results.most_common())
    print(f"{ending:8} {shown}; slowest {slowest[0]:.1f} s, most memory {most} MB", flush=True)
    return not any(what.startswith(("CRASH", "HANG", "FAULT")) for what in results)


def main() -> int:
    """Fuzz the formats named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="*", default=list(WRITERS))
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        fine = [fuzz(ending, arguments.count, Path(folder)) for ending in arguments.formats]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
