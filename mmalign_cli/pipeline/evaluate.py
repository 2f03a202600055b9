"""Alignment documents against known answers."""

from __future__ import annotations

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.evidence.metrics import Errors, evaluate, period_s
from mmalign_cli.model import Alignment, Float64Array
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES
from mmalign_cli.streams.truth import read_truth
from mmalign_cli.write.document import is_document, read_document


def evaluate_files(document: str, truth: str) -> Errors:
    """Compare an alignment document with a known answer.

    Parameters
    ----------
    document : str
        The alignment.
    truth : str
        A path in frames, matching seconds, or another document.

    Raises
    ------
    InputError
        If either file is rejected, or the truth has other streams.
    """
    return evaluate_alignment(read_document(document), truth)


def evaluate_alignment(alignment: Alignment, truth: str) -> Errors:
    """Compare an alignment with a known answer, as `evaluate_files` does."""
    source = open_source(truth, DEFAULT_MAX_BYTES)
    if is_document(source.head):
        return _against_document(alignment, read_document(truth), truth)
    names = [s.name for s in alignment.streams]
    known = read_truth(source, names)
    if known.unit == "seconds":
        return evaluate(alignment, known.points, None)
    return evaluate(alignment, _seconds_of(known.points, alignment), known.points)


def _against_document(alignment: Alignment, truth: Alignment, subject: str) -> Errors:
    if truth.path is None:
        raise InputError(subject, "holds no path", "make it without --no-path")
    if len(truth.streams) != len(alignment.streams):
        what = f"aligns {len(truth.streams)} streams, the alignment {len(alignment.streams)}"
        raise InputError(subject, what)
    return evaluate(alignment, truth.path.times, truth.path.frames.astype(np.float64))


def _seconds_of(frames: Float64Array, alignment: Alignment) -> Float64Array:
    """Return the seconds of frames of each stream.

    A document gives the times of the frames that its path visits; those between, and without a
    path all of them, follow from the first and last frame.
    """
    columns = []
    for k, stream in enumerate(alignment.streams):
        known_frames = np.array([0.0, max(stream.frames - 1, 1)])
        known_times = np.array(
            [stream.start_s, stream.start_s + known_frames[1] * period_s(stream)]
        )
        if alignment.path is not None:
            known_frames, first = np.unique(alignment.path.frames[:, k], return_index=True)
            known_times = alignment.path.times[first, k]
        columns.append(np.interp(frames[:, k], known_frames, known_times))
    return np.column_stack(columns)
