"""Aligners of many sequences that warp each one to the mean of all.

A round takes the mean of the sequences along the last path for a template, then warps each
sequence to it by an asymmetric DTW that gives each step of the template one frame, and leaves no
frame out. What is compared differs: the frames as they are (`pdtw`), their derivatives (`pddtw`),
frames scaled and shifted smoothly towards the template (`pimw`, after Hsu, Pulli and Popovic,
2005), or canonical variates (`pctw`; Zhou and De la Torre, 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.alternate import Alternation, Descent, moved_at_most
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.family import (
    Found,
    Settings,
    Start,
    at_even_steps,
    comparable,
    length_of,
    rounded,
    same,
    spread,
    straight_path,
)
from mmalign_cli.align.steps import Move, StepPattern, reference
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

ONE_EACH = StepPattern(
    ((Move(1, 1, 1),), (Move(1, 0, 1),)),
    reference,
    "one query frame for each reference frame, none left out",
)
_MOST_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class Template:
    """What a round compares, and with what.

    Parameters
    ----------
    target : ndarray, shape (n_steps, d)
    compared : sequence of m ndarray, shape (n_i, d)
    projections : tuple of m Linear
        From frames as given to what is compared, where a map does it.
    correlations : ndarray, shape (d,), or None
    """

    target: Float64Array
    compared: Sequence[Float64Array]
    projections: tuple[Linear, ...]
    correlations: Float64Array | None = None


Project = Callable[[IntArray], Template]


def mean_along(sequences: Sequence[Float64Array], path: IntArray) -> Float64Array:
    """Return the mean (n_steps, d) of m sequences along a path (n_steps, m)."""
    total = np.zeros((len(path), sequences[0].shape[1]))
    for x, frames in zip(sequences, path.T, strict=True):
        total += x[frames]
    return total / len(sequences)


def follow(template: Template, _: IntArray) -> tuple[IntArray, float]:
    """Warp every sequence to the template; return the path and how far the sequences spread."""
    frames = [dtw(template.target, x, step=ONE_EACH).frames[:, 1] for x in template.compared]
    return np.stack(frames, axis=1), spread(
        [x[f] for x, f in zip(template.compared, frames, strict=True)]
    )


def loop(project: Project, settings: Settings) -> Alternation[Template, IntArray]:
    """Return the alternation of template and warps."""
    return Alternation(
        project,
        follow,
        moved_at_most,
        settings.rounds or _MOST_ROUNDS,
        settings.tolerance_frames,
    )


def first_paths(
    sequences: Sequence[Float64Array], settings: Settings, subject: str
) -> list[tuple[str, IntArray]]:
    """Return the straight path and those that the settings add, on whole frames.

    Raises
    ------
    AlignmentError
        If a sequence has more frames than the common time line has steps.
    """
    lengths = [len(x) for x in sequences]
    n_steps = length_of(sequences, settings)
    if n_steps < max(lengths):
        what = f"{max(lengths)} frames do not fit on a common time line of {n_steps} steps"
        raise AlignmentError(subject, what, "give it at least the frames of the longest sequence")
    starts = [Start("uniform", straight_path(lengths, n_steps)), *settings.starts]
    return [(s.name, rounded(at_even_steps(s.path, n_steps)).astype(np.int64)) for s in starts]


def result(
    descents: Sequence[Descent[Template, IntArray]], names: Sequence[str], best: int
) -> Found:
    """Return a descent as a result: its last round, or that of a cycle with the least spread."""
    descent = descents[best]
    chosen = descent.settled
    return Found(
        path=chosen.path.astype(np.float64),
        projections=chosen.maps.projections,
        correlations=chosen.maps.correlations,
        objective=tuple(r.objective for r in descent.rounds),
        ending=descent.ending,
        start=names[best],
        starts=len(descents),
    )


def align_to_mean(
    sequences: Sequence[Float64Array],
    project: Project,
    settings: Settings,
    progress: Progress,
    subject: str,
) -> Found:
    """Alternate from every start; keep what spreads least."""
    starts = first_paths(sequences, settings, subject)
    descents = loop(project, settings).descend_all([path for _, path in starts], progress)
    best = int(np.argmin([d.settled.objective for d in descents]))
    return result(descents, [name for name, _ in starts], best)


def plain(sequences: Sequence[Float64Array]) -> Project:
    """Return the comparison of sequences as they are."""
    projections = tuple(same(x.shape[1]) for x in sequences)
    return lambda path: Template(mean_along(sequences, path), sequences, projections)


def pdtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align sequences of one number of columns by Procrustes DTW.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d)
    settings : Settings
    progress : Progress
        Told the rounds done; may raise to stop.

    Raises
    ------
    InputError
        If the columns differ in number, or a sequence is too short or constant.
    AlignmentError
        If the common time line is too short.
    """
    parts = comparable(sequences, "pdtw")
    return align_to_mean(parts, plain(parts), settings, progress, "pdtw")


def pddtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align sequences by Procrustes DTW of their derivatives (central differences): as `pdtw`."""
    parts = comparable(sequences, "pddtw")
    slopes = [np.gradient(x, axis=0) for x in parts]
    return align_to_mean(slopes, plain(slopes), settings, progress, "pddtw")
