"""Streams on the common time line: every frame repeated where the path waits for the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

import numpy as np

from mmalign_cli.model import Array, Float64Array, IntArray, Stream, WarpingPath
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_npz
from mmalign_cli.write.path import csv_text


def common_times(path: WarpingPath) -> Float64Array:
    """Return a time for each step, (n_steps,), on the reference's clock, strictly increasing.

    A step at which the reference moves on has the reference's own time. The steps at which it
    waits are spread evenly up to its next frame.

    Parameters
    ----------
    path : WarpingPath
        Its first column is the reference.
    """
    reference = path.times[:, 0]
    moves = np.concatenate([[True], np.diff(reference) > 0])
    steps = np.flatnonzero(moves)
    seconds = reference[moves]
    last = float(seconds[-1] - seconds[-2]) if len(seconds) > 1 else 1.0
    steps = np.append(steps, path.n_steps)
    ends = np.append(seconds, seconds[-1] + last)
    return np.asarray(np.interp(np.arange(path.n_steps), steps, ends), dtype=np.float64)


def nearest_frames(stream: Stream, times_s: Float64Array) -> IntArray:
    """Return the frame of `stream` nearest to each time, (n,)."""
    middles = (stream.times[1:] + stream.times[:-1]) / 2
    return np.searchsorted(middles, times_s, side="right").astype(np.int64)


def file_name(stream: Stream) -> str:
    """Return the name of a stream's aligned file: its own kind, under its own name."""
    ending = {"table": ".csv", "array": ".npy"}.get(stream.kind, ".npz")
    safe = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in stream.name)
    return (safe.lstrip(".") or "stream") + ending


def aligned_files(folder: str, streams: Sequence[Stream]) -> list[str]:
    """Return the files that `write_aligned` writes, one a stream."""
    return [os.path.join(folder, file_name(stream)) for stream in streams]


def write_aligned(
    outputs: Outputs, folder: str, streams: Sequence[Stream], path: WarpingPath
) -> None:
    """Write each stream with one frame a step of the path.

    Tables become csv with the common time line as ``time``, arrays npy; sound (as feature
    frames) and pictures become npz with ``values`` and ``times``.

    Parameters
    ----------
    outputs : Outputs
        Where they go.
    folder : str
        Made if it is missing.
    streams : sequence of Stream
        One for each column of the path, on the clocks of the path.
    path : WarpingPath
        The path.
    """
    outputs.make_folder(folder)
    times = common_times(path)
    for k, (stream, target) in enumerate(zip(streams, aligned_files(folder, streams), strict=True)):
        values = stream.values[nearest_frames(stream, path.times[:, k])]
        with outputs.open(target) as file:
            _write_stream(file, stream, values, times)


def _write_stream(file: IO[bytes], stream: Stream, values: Array, times: Float64Array) -> None:
    if stream.kind == "table":
        names = stream.columns or tuple(f"column{c + 1}" for c in range(stream.n_dims))
        rows = np.column_stack([times, values]).tolist()
        text = csv_text(["common_time" if "time" in names else "time", *names], rows)
        file.write(text.encode("utf-8", "surrogateescape"))
    elif stream.kind == "array":
        np.save(file, values, allow_pickle=False)
    else:
        shaped = values.reshape(len(values), *stream.frame_shape)
        write_npz(file, {"values": shaped, "times": times})
