"""The stages of ``mmalign gtw --takes``: many takes of any number of streams, one map a stream."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmalign_cli import runtime
from mmalign_cli.align.learned import Learned
from mmalign_cli.align.pooled import align_learned, align_pooled
from mmalign_cli.errors import AlignmentError
from mmalign_cli.evidence.confidence import judge
from mmalign_cli.evidence.efforts import EFFORTS
from mmalign_cli.model import Alignment, Float64Array
from mmalign_cli.pipeline import takes as pairs
from mmalign_cli.pipeline.gtw import GtwSettings, alignment_of, plan_gtw, verdict_of_maps
from mmalign_cli.pipeline.takes import Take, doubts_of, load_takes, require_fit

__all__ = ["N_STREAMS", "about", "align_takes", "align_with", "bytes_needed", "load_takes"]

N_STREAMS = None
"""Any number of each take."""


def about(takes: Sequence[Take], learned: Learned) -> Mapping[str, Any]:
    """Return what a model says of itself."""
    return pairs.about(takes, learned, "gtw")


def bytes_needed(takes: Sequence[Take], settings: GtwSettings, learned: Learned | None) -> int:
    """Return what aligning the takes keeps in memory at most: under learned maps one at a time."""
    needs = [plan_gtw(take.streams, settings, False).bytes for take in takes]
    return sum(needs) if learned is None else max(needs)


def align_takes(
    takes: Sequence[Take],
    settings: GtwSettings,
    *,
    max_memory: int | None = None,
    progress: runtime.Progress = runtime.silent,
) -> tuple[list[Alignment], Learned]:
    """Align all takes under maps that are learned from all of them.

    Parameters
    ----------
    takes : sequence of Take
    settings : GtwSettings
        Of the joint algorithm, with closed ends.
    max_memory : int or None
    progress : Progress

    Returns
    -------
    alignments : list of Alignment
        One a take.
    learned : Learned

    Raises
    ------
    InputError
        If a stream is too short, or does not vary.
    AlignmentError
        If there is too little memory, or with ``strict`` if the climb did not come to an end.
    """
    need = bytes_needed(takes, settings, None)
    runtime.require_memory(need, max_memory, "takes", "use fewer takes or frames")
    frames = [take.values() for take in takes]
    found = align_pooled(frames, settings.ask(), progress)
    first = found.takes[0]
    if settings.strict and first.ending == "max-iter":
        raise AlignmentError("takes", "no convergence", "raise --max-iter, or leave --strict out")
    verdict = verdict_of_maps([(take[0], take[1]) for take in frames], first, settings)
    parameters = {
        "algorithm": settings.algorithm,
        "road": first.road,
        "metric": "sqeuclidean",
        "dims": len(found.learned.correlations),
        "seed": settings.seed,
        "takes": len(takes),
    }
    alignments = []
    for k, (take, own, values) in enumerate(zip(takes, found.takes, frames, strict=True)):
        gain = None if found.take_gains is None else found.take_gains[k]
        confidence = {**verdict, "take_evidence": gain}
        compared = [f(x) for f, x in zip(own.maps, values, strict=True)]
        alignment = alignment_of(take.streams, own, compared, parameters, confidence)
        doubts = [d for d in doubts_of(confidence) if d not in alignment.warnings]
        alignments.append(replace(alignment, warnings=(*alignment.warnings, *doubts)))
    return alignments, found.learned


def align_with(
    takes: Sequence[Take],
    learned: Learned,
    model: str,
    settings: GtwSettings,
    max_memory: int | None = None,
    method: str = "gtw",
) -> list[Alignment]:
    """Align takes under maps that were learned before.

    Parameters
    ----------
    takes : sequence of Take
    learned : Learned
    model : str
        Its file, for messages and the documents.
    settings : GtwSettings
        Of which the seed and what confidence compares with count.
    max_memory : int or None
    method : str
        The command that asks.

    Raises
    ------
    InputError
        If a take has other streams than the model.
    """
    require_fit(takes, learned, model)
    need = bytes_needed(takes, settings, learned)
    runtime.require_memory(need, max_memory, "takes", "use fewer frames")
    return [_aligned_with(take, learned, model, settings, method) for take in takes]


def _aligned_with(
    take: Take, learned: Learned, model: str, settings: GtwSettings, method: str
) -> Alignment:
    values = take.values()
    found = align_learned(values, learned)

    def search(other: Float64Array) -> float:
        return float(align_learned([values[0], other, *values[2:]], learned).gains.sum())

    searches = EFFORTS[settings.confidence].searches
    evidence = float(found.gains.sum())
    verdict = judge(evidence, found.gains, search, [values[1]], settings.seed, searches)
    parameters = {
        "algorithm": "model",
        "model": os.path.basename(model),
        "metric": "sqeuclidean",
        "dims": len(learned.correlations),
    }
    compared = learned.latents(values)
    return alignment_of(
        take.streams, found, compared, parameters, verdict, maps=learned.scaled(), method=method
    )
