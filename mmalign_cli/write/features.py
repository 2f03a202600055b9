"""Feature frames as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO

import numpy as np

from mmalign_cli.model import Array, Stream
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_npz
from mmalign_cli.write.path import csv_text, ending_of


def features_csv(stream: Stream) -> str:
    """Return a stream as csv: ``time``, then one column a dimension, a row a frame."""
    names = stream.columns or tuple(f"column{k + 1}" for k in range(stream.n_dims))
    rows = zip(stream.times.tolist(), *stream.values.T.tolist(), strict=True)
    return csv_text(["time", *names], list(rows))


def _write_csv(file: IO[bytes], stream: Stream) -> None:
    file.write(features_csv(stream).encode("utf-8", "surrogateescape"))


def _write_npy(file: IO[bytes], stream: Stream) -> None:
    np.save(file, stream.values, allow_pickle=False)


def _write_npz(file: IO[bytes], stream: Stream) -> None:
    parts: dict[str, Array] = {
        "values": stream.values,
        "times": stream.times,
        "columns": np.array(stream.columns),
    }
    if stream.rate is not None:
        parts["rate"] = np.array(float(stream.rate))
    write_npz(file, parts)


_WRITERS: Mapping[str, Callable[[IO[bytes], Stream], None]] = {
    ".csv": _write_csv,
    ".npy": _write_npy,
    ".npz": _write_npz,
}


def features_ending(target: str) -> str:
    """Check the name of a feature file."""
    return ending_of(target, tuple(_WRITERS), "--output")


def write_features(outputs: Outputs, target: str, stream: Stream) -> None:
    """Write a stream as csv, npy (values alone) or npz, by the name of `target`."""
    with outputs.open(target) as file:
        _WRITERS[features_ending(target)](file, stream)
