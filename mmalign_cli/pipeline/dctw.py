"""The stages of ``mmalign dctw``: takes of any number of streams, one network a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.choices import DCTW_COUPLING, DEFAULT_ALGORITHM
from mmalign_cli.align.dctw import LINEAR, NETWORKS, Ask, Found, align_deep, evidence_of
from mmalign_cli.align.deep_correlation import RIDGE
from mmalign_cli.align.learned import Learned
from mmalign_cli.align.together import Together
from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.errors import AlignmentError, InputError
from mmalign_cli.evidence.confidence import judge
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT, EFFORTS
from mmalign_cli.model import Alignment, Float64Array, IntArray, Stream
from mmalign_cli.pipeline import gtw_takes
from mmalign_cli.pipeline import takes as pairs
from mmalign_cli.pipeline.ctw import CtwSettings
from mmalign_cli.pipeline.gtw import GtwSettings, Result, alignment_of
from mmalign_cli.pipeline.takes import Take, doubts_of, load_takes

__all__ = [
    "N_STREAMS", "about", "align_takes", "align_with", "bytes_needed", "find", "load_takes",
    "without_labels",
]  # fmt: skip

N_STREAMS = None
"""Any number of each take."""

_COPIES = 12
_ACTIVATIONS = 512 * 2**20
_LEAST_FRAMES = 20


@dataclass(frozen=True)
class DctwSettings:
    """The options of ``mmalign dctw``; None where the default depends on the streams."""

    algorithm: str = DEFAULT_ALGORITHM
    coupling: str = DCTW_COUPLING
    dims: float | None = None
    hidden: tuple[int, ...] = (32,)
    weight_decay: float = 1.0
    context: int = 1
    labels: str | None = None
    regularization: float | None = None
    init: str = "auto"
    starts: int | None = None
    max_iter: int | None = None
    tol: float = 0.01
    robust: bool = False
    open_begin: bool = False
    open_end: bool = False
    strict: bool = False
    seed: int = 0
    confidence: str = DEFAULT_EFFORT

    def ask(self) -> Ask:
        """Return what the aligner is told."""
        ends = OpenEnds(self.open_begin, self.open_end)
        told = Ask(
            self.algorithm, self.coupling == "soft", self.dims, self.hidden, self.weight_decay,
            self.context, self.init, self.starts, self.max_iter, self.tol, self.robust, self.seed,
        )  # fmt: skip
        ridge = RIDGE if self.regularization is None else self.regularization
        return replace(told, ridge=ridge, ends=ends)


def about(takes: Sequence[Take], learned: Learned) -> Mapping[str, Any]:
    """Return what a model says of itself."""
    return pairs.about(takes, learned, "dctw")


def bytes_needed(takes: Sequence[Take], settings: DctwSettings, learned: Learned | None) -> int:
    """Return what aligning the takes keeps in memory at most: copies of them, and activations."""
    frames = [sum(s.n_frames * s.n_dims for s in take.streams) for take in takes]
    if learned is not None:
        return gtw_takes.bytes_needed(takes, GtwSettings(), learned)
    need = 8 * _COPIES * sum(frames) * settings.context + _ACTIVATIONS
    if settings.algorithm == DEFAULT_ALGORITHM or settings.coupling == "hard":
        return need
    cells = (a.n_frames * b.n_frames for t in takes for a, b in combinations(t.streams, 2))
    return need + 32 * sum(cells)


def align_takes(
    takes: Sequence[Take],
    settings: DctwSettings,
    *,
    max_memory: int | None = None,
    progress: runtime.Progress = runtime.silent,
) -> tuple[list[Alignment], Learned]:
    """Align all takes under maps that are learned from all of them.

    Parameters
    ----------
    takes : sequence of Take
    settings : DctwSettings
    max_memory : int or None
        Bytes; None takes what the machine has free.
    progress : Progress

    Returns
    -------
    alignments : list of Alignment
        One a take.
    learned : Learned

    Raises
    ------
    InputError
        If a stream is too short, does not vary, or lacks its labels.
    AlignmentError
        If there is too little memory, or with ``strict`` if the climb did not come to an end.
    """
    results, learned = find(takes, settings, max_memory=max_memory, progress=progress)
    return [result.alignment for result in results], learned


def find(
    takes: Sequence[Take],
    settings: DctwSettings,
    *,
    max_memory: int | None = None,
    progress: runtime.Progress = runtime.silent,
) -> tuple[list[Result], Learned]:
    """Do what `align_takes` does, and return with each take what may be written beside it."""
    need = bytes_needed(takes, settings, None)
    runtime.require_memory(need, max_memory, "takes", "use fewer takes or frames")
    takes, labels = without_labels(takes, settings.labels)
    values = [take.values() for take in takes]
    for take in takes:
        for stream in take.streams:
            if stream.n_frames < _LEAST_FRAMES:
                what = f"{stream.n_frames} frames are too few to learn a network from"
                raise InputError(stream.source or stream.name, what, "use mmalign dtw or ctw")
    ask = settings.ask()
    found = align_deep(values, ask, labels, progress)
    if settings.strict and found.ending == "max-iter":
        raise AlignmentError("takes", "no convergence", "raise --max-iter, or leave --strict out")
    verdict = _verdict(values, found, settings)
    learned, own = found.learned(), found.held_out.take_evidence
    results = []
    for k, (take, frames) in enumerate(zip(takes, values, strict=True)):
        confidence = {**verdict, "take_evidence": None if own is None else float(own[k])}
        compared = tuple(f(x) for f, x in zip(found.maps, frames, strict=True))
        together = _together(found, k)
        alignment = alignment_of(
            take.streams,
            together,
            compared,
            _parameters(settings, found, len(takes)),
            confidence,
            ask.ends,
            maps=found.maps,
            method="dctw",
        )
        doubts = [d for d in doubts_of(confidence) if d not in alignment.warnings]
        warnings = (*alignment.warnings, *doubts, *_comparison(found))
        results.append(
            Result(replace(alignment, warnings=warnings), together, compared, "sqeuclidean")
        )
    return results, learned


def without_labels(
    takes: Sequence[Take], column: str | None
) -> tuple[Sequence[Take], list[list[IntArray]] | None]:
    """Return the takes without their column of labels, and the labels."""
    if column is None:
        return takes, None
    parted = [[_parted(stream, column) for stream in take.streams] for take in takes]
    kept = [
        Take(take.id, tuple(stream for stream, _ in own))
        for take, own in zip(takes, parted, strict=True)
    ]
    return kept, [[labels for _, labels in own] for own in parted]


def _parted(stream: Stream, column: str) -> tuple[Stream, IntArray]:
    subject = stream.source or stream.name
    if column not in stream.columns:
        known = ", ".join(stream.columns) or "the columns have no names"
        raise InputError(subject, f"no column {column} with labels", f"it has: {known}")
    if stream.n_dims == 1:
        raise InputError(subject, "nothing beside its labels", "choose with columns=")
    at = stream.columns.index(column)
    labels = np.asarray(stream.values[:, at], dtype=np.float64)
    if (labels != np.round(labels)).any():
        raise InputError(subject, f"column {column} is no label", "labels are whole numbers")
    rest = np.delete(stream.values, at, axis=1)
    names = tuple(name for name in stream.columns if name != column)
    return replace(stream, values=rest, columns=names), labels.astype(np.int64)


def _together(found: Found, take: int) -> Together:
    """Return the alignment of one take as all joint aligners have it."""
    return Together(
        found.kind,
        found.line(take),
        found.path(take),
        tuple(f.linear for f in found.maps),
        found.correlations,
        found.held_out.gains,
        found.objective,
        found.starts,
        found.start,
        found.ending,
    )


def _parameters(settings: DctwSettings, found: Found, n_takes: int) -> Mapping[str, Any]:
    """Return the parameters that took part, for the document."""
    parameters: dict[str, Any] = {
        "algorithm": settings.algorithm,
        "maps": found.kind,
        "metric": "sqeuclidean",
        "dims": len(found.correlations),
        "seed": settings.seed,
        "takes": n_takes,
    }
    if found.kind == NETWORKS:
        parameters |= {
            "hidden": list(settings.hidden),
            "weight_decay": settings.weight_decay,
            "context": settings.context,
        }
    if settings.algorithm != DEFAULT_ALGORITHM:
        parameters["coupling"] = settings.coupling
    for name in ("labels", "regularization", "starts", "max_iter"):
        if getattr(settings, name) is not None:
            parameters[name] = getattr(settings, name)
    flags = ("robust", "open_begin", "open_end")
    return parameters | {name: True for name in flags if getattr(settings, name)}


def _comparison(found: Found) -> list[str]:
    """Return a warning where networks are worth no more than linear maps."""
    linear, networks = found.beside[LINEAR], found.beside[NETWORKS]
    if linear < networks:
        return []
    what = f"linear maps are better supported: {linear:.2f} nats a step, networks {networks:.2f}"
    return [f"{what}; {'the result is theirs' if found.kind == LINEAR else 'try mmalign ctw'}"]


def _verdict(
    values: Sequence[Sequence[Float64Array]], found: Found, settings: DctwSettings
) -> Mapping[str, Any]:
    """Compare with what the same search finds with the second stream reversed or shuffled."""
    cuts = np.cumsum([len(take[1]) for take in values])[:-1]
    ask = settings.ask()

    def search(other: Float64Array) -> float:
        parts = np.split(other, cuts)
        nulls = [[t[0], part, *t[2:]] for t, part in zip(values, parts, strict=True)]
        return evidence_of(nulls, ask, found)

    held = found.held_out
    searches = EFFORTS[settings.confidence].searches
    query = [take[1] for take in values]
    verdict = judge(held.evidence, held.gains, search, query, settings.seed, searches)
    return _told({**verdict, "maps": found.kind, "compared": dict(found.beside)})


def _told(verdict: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**verdict, "verdict": "aligned" if verdict["supported"] else "not supported"}


def align_with(
    takes: Sequence[Take],
    learned: Learned,
    model: str,
    settings: DctwSettings,
    max_memory: int | None = None,
) -> list[Alignment]:
    """Align takes under maps that were learned before: of two streams one DTW each.

    Parameters
    ----------
    takes : sequence of Take
    learned : Learned
    model : str
        Its file, for messages and the documents.
    settings : DctwSettings
        Of which the seed and what confidence compares with count.
    max_memory : int or None

    Raises
    ------
    InputError
        If a take has other streams than the model.
    """
    if len(learned.maps) == 2:
        plain = CtwSettings(seed=settings.seed, confidence=settings.confidence)
        found = pairs.align_with(takes, learned, model, plain, max_memory, "dctw")
    else:
        many = GtwSettings(seed=settings.seed, confidence=settings.confidence)
        found = gtw_takes.align_with(takes, learned, model, many, max_memory, "dctw")
    return [replace(one, confidence=_told(one.confidence or {})) for one in found]
