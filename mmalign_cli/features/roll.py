"""Features of piano rolls: tables or arrays with a column for each of 88 or 128 keys.

A frame of a roll says what sounds from its own time to that of the next. The features are
sampled at the hop, as those of audio are, so that a score can meet a recording.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.features.computed import Computed
from mmalign_cli.features.pitch_classes import COLUMNS, chroma_and_onsets, unit_rows
from mmalign_cli.model import Float64Array, FloatArray, IntArray, Stream, frame_times

LOWEST_KEY = {88: 21, 128: 0}
"""MIDI number of the first column, by the number of columns."""


def chroma(stream: Stream, hop: Fraction) -> Computed:
    """Return 12 pitch classes of unit norm, (n_frames, 12)."""
    times, frames = _grid(stream, hop)
    return Computed(unit_rows(_folded(stream)[frames]), times, 1 / hop, COLUMNS[:12])


def chroma_onset(stream: Stream, hop: Fraction) -> Computed:
    """Return pitch classes beside their onsets, (n_frames, 24), comparable with audio's.

    A key whose velocity changes to another that is not 0 is struck anew. Its onset stands at the
    frame's own time, the middle of all the times that are rounded to it.
    """
    times, frames = _grid(stream, hop)
    roll = stream.values
    before = np.vstack([np.zeros_like(roll[:1]), roll[:-1]])
    struck = np.where(roll != before, roll, 0.0) @ _fold(stream)
    nearest = np.round((stream.times - stream.times[0]) / float(hop)).astype(np.intp)
    onsets = np.zeros((len(times), 12))
    np.maximum.at(onsets, np.minimum(nearest, len(times) - 1), struck)
    values = chroma_and_onsets(_folded(stream)[frames], onsets, 1 / hop)
    return Computed(values, times, 1 / hop, COLUMNS)


def _grid(stream: Stream, hop: Fraction) -> tuple[Float64Array, IntArray]:
    """Return the times of the hops, and the roll's frame that sounds at each."""
    lasts_s = float(stream.times[-1] - stream.times[0]) + stream.period_s
    slack_s = 1e-6 * float(hop)
    n_hops = max(1, int((lasts_s + slack_s) / float(hop)))
    times = frame_times(n_hops, 1 / hop, float(stream.times[0]))
    frames = np.searchsorted(stream.times, times + slack_s, side="right") - 1
    return times, frames.astype(np.int64)


def _folded(stream: Stream) -> FloatArray:
    """Return velocities summed by pitch class, (n_frames, 12)."""
    return np.asarray(stream.values @ _fold(stream))


def _fold(stream: Stream) -> Float64Array:
    """Return the matrix that sums keys by pitch class, (n_keys, 12)."""
    if stream.n_dims not in LOWEST_KEY:
        what = f"{stream.n_dims} columns: a piano roll has 88 or 128"
        raise InputError(stream.source, what)
    if stream.values.min() < 0:
        raise InputError(stream.source, "a piano roll holds velocities from 0 up")
    keys = LOWEST_KEY[stream.n_dims] + np.arange(stream.n_dims)
    return np.eye(12)[keys % 12]
