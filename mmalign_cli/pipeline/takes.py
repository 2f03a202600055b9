"""The stages of ``mmalign ctw --takes``: many takes of two streams, one pair of maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.cca import along, fold_gains
from mmalign_cli.align.ctw import Found
from mmalign_cli.align.dtw import Warp
from mmalign_cli.align.learned import Learned, StreamMap, projection_of
from mmalign_cli.align.pair import Pair, prepare_takes
from mmalign_cli.align.problem import CLOSED, NO_ANCHORS
from mmalign_cli.align.steps import step_pattern
from mmalign_cli.align.time_maps import time_maps
from mmalign_cli.align.windows import everything
from mmalign_cli.errors import InputError
from mmalign_cli.evidence.confidence import judge, warning_of
from mmalign_cli.evidence.efforts import EFFORTS
from mmalign_cli.evidence.verify import verify_warp
from mmalign_cli.model import Alignment, Cost, Float64Array, IntArray, Stream
from mmalign_cli.pipeline.ctw import (
    ALGORITHMS,
    CtwSettings,
    maps_of,
    optimizer_of,
    parameters_of,
    plan_ctw,
    projections_of,
    require_settled,
    unsettled,
    verdict_of,
)
from mmalign_cli.pipeline.streams import load_streams, path_of, stream_warnings
from mmalign_cli.streams.takes import TakeRow

_FEW_TAKES = 3


@dataclass(frozen=True, eq=False)
class Take:
    """A take: what its document is called, and its streams."""

    id: str
    streams: tuple[Stream, ...]

    def values(self) -> list[Float64Array]:
        """Return the frames of each stream, (n, d), in double precision."""
        return [np.asarray(s.values, dtype=np.float64) for s in self.streams]


def load_takes(
    rows: Sequence[TakeRow], table: str, progress: runtime.Progress = runtime.silent
) -> list[Take]:
    """Read the streams of all takes.

    Raises
    ------
    InputError
        If a stream is rejected, or has other dimensions than in the first take.
    """
    takes: list[Take] = []
    for done, row in enumerate(rows):
        progress("reading takes", done, len(rows))
        streams = tuple(item.stream for item in load_streams(row.specs))
        takes.append(Take(row.id, streams))
        for stream, first in zip(streams, takes[0].streams, strict=True):
            if stream.n_dims != first.n_dims:
                what = (
                    f"line {row.line} column {stream.name}: {stream.n_dims} dimensions, "
                    f"take {takes[0].id} has {first.n_dims}"
                )
                raise InputError(table, what, "takes share their maps: choose with columns=")
    return takes


def bytes_needed(takes: Sequence[Take], settings: CtwSettings, learned: Learned | None) -> int:
    """Return what aligning the takes keeps in memory at most: under learned maps one at a time."""
    needs = [plan_ctw(take.streams, settings, False).bytes for take in takes]
    return sum(needs) if learned is None else max(needs)


def align_takes(
    takes: Sequence[Take],
    settings: CtwSettings,
    *,
    max_memory: int | None = None,
    progress: runtime.Progress = runtime.silent,
) -> tuple[list[Alignment], Learned]:
    """Align all takes under maps that are learned from all of them.

    Parameters
    ----------
    takes : sequence of Take
        Of two streams each.
    settings : CtwSettings
        With closed ends and a hard coupling.
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
        If a stream is too short, or does not change in any take.
    AlignmentError
        If there is too little memory, or with ``strict`` if the rounds did not come to an end.
    """
    need = bytes_needed(takes, settings, None)
    runtime.require_memory(need, max_memory, "takes", "use fewer takes or frames")
    frames = [(take.streams[0].values, take.streams[1].values) for take in takes]
    pair = prepare_takes(frames, settings.of_aligner(), [f"take {t.id}" for t in takes])
    with runtime.one_algebra_thread():
        found = ALGORITHMS[settings.algorithm]["hard"](pair, progress)
        require_settled(found, settings, "takes")
        paths = pair.parted(found.warp.frames)
        verdict, own = verdict_of(pair, found, settings), _of_each(pair, paths, found)
    shared = {**verdict, "total_correlation": found.total_correlation}
    alignments = []
    for k, (take, path) in enumerate(zip(takes, paths, strict=True)):
        confidence = {**shared, "take_evidence": None if own is None else own[k]}
        alignments.append(_alignment(pair, found, settings, take, path, k, confidence))
    return alignments, learned_of(pair, found)


def _alignment(
    pair: Pair,
    found: Found,
    settings: CtwSettings,
    take: Take,
    path: IntArray,
    k: int,
    confidence: Mapping[str, Any],
) -> Alignment:
    """Return the alignment of take number k."""
    n_takes = len(pair.takes())
    line = None if found.joint is None else found.joint.frames(k)
    steps, names = path_of(path, take.streams), [s.name for s in take.streams]
    return Alignment(
        method="ctw",
        parameters={**parameters_of(settings, pair, found), "takes": n_takes},
        streams=tuple(s.info() for s in take.streams),
        path=steps,
        time_maps=maps_of(steps, line, take.streams),
        cost=_warp_of(pair, found, path, k).cost,
        optimizer=optimizer_of(found),
        projections=projections_of(names, found.maps.after(pair.bases).maps),
        confidence=confidence,
        warnings=(*stream_warnings(take.streams), *unsettled(found), *doubts_of(confidence)),
    )


def doubts_of(confidence: Mapping[str, Any]) -> list[str]:
    """Return the warnings that the verdict on a take calls for."""
    doubt, own = warning_of(confidence), confidence["take_evidence"]
    if doubt is None and own is not None and own <= 0:
        doubt = f"no evidence that this take agrees with the others: {own:.2f} nats a step"
    return [] if doubt is None else [doubt]


def _of_each(pair: Pair, paths: Sequence[IntArray], found: Found) -> list[float] | None:
    """Return the nats a step that maps fitted to the other takes gain on each take."""
    if len(paths) < _FEW_TAKES:
        return None
    folds = [along(take, path) for take, path in zip(pair.takes(), paths, strict=True)]
    gains = fold_gains(folds, pair.ridge)
    return [float(g) for g in gains[:, : len(found.maps.correlations)].sum(axis=1)]


def _warp_of(pair: Pair, found: Found, path: IntArray, k: int) -> Warp:
    """Return the path of one take with its cost, verified."""
    x, y = pair.takes()[k]
    first, second = found.maps.maps
    total = float(((first(x[path[:, 0]]) - second(y[path[:, 1]])) ** 2).sum())
    cost = Cost(total, total / len(path))
    warp = Warp(path, np.ones(len(path)), cost, total, found.warp.precision)
    _verify(warp, len(x), len(y))
    return warp


def _verify(warp: Warp, n: int, m: int) -> None:
    verify_warp(warp, step_pattern("symmetric1"), everything(n, m), CLOSED, NO_ANCHORS, n, m)


def learned_of(pair: Pair, found: Found) -> Learned:
    """Return the maps to keep: of what was correlated, where that is made of the streams' columns.

    Elsewhere the linear maps of the document.
    """
    joint = found.joint
    if joint is not None and joint.views is not None and joint.leading:
        views = joint.views
        if all(len(v.centre) == raw.shape[1] for v, raw in zip(views, pair.raw, strict=True)):
            maps = [
                StreamMap(replace(f, weights=f.weights[:, : joint.leading]), v)
                for f, v in zip(joint.projections, views, strict=True)
            ]
            return Learned((maps[0], maps[1]), joint.correlations[: joint.leading])
    found_maps = found.maps.after(pair.bases)
    first, second = (StreamMap(f) for f in found_maps.maps)
    return Learned((first, second), found_maps.correlations)


N_STREAMS = 2
"""Of each take."""


def about(takes: Sequence[Take], learned: Learned, method: str = "ctw") -> Mapping[str, Any]:
    """Return what a model says of itself."""
    first = takes[0].streams
    return {
        "method": method,
        "takes": len(takes),
        "streams": [
            {"name": s.name, "dims": s.n_dims, "features": s.features, "view": f.view is not None}
            for s, f in zip(first, learned.maps, strict=True)
        ],
    }


def align_with(
    takes: Sequence[Take],
    learned: Learned,
    model: str,
    settings: CtwSettings,
    max_memory: int | None = None,
    method: str = "ctw",
) -> list[Alignment]:
    """Align takes under maps that were learned before: one DTW each.

    Parameters
    ----------
    takes : sequence of Take
    learned : Learned
    model : str
        Its file, for messages and the documents.
    settings : CtwSettings
        Of which the seed and what confidence compares with count.
    max_memory : int or None
    method : str
        The command that asks.

    Raises
    ------
    InputError
        If a stream has other dimensions than the model.
    """
    require_fit(takes, learned, model)
    need = bytes_needed(takes, CtwSettings(), learned)
    runtime.require_memory(need, max_memory, "takes", "use fewer frames")
    return [_aligned_with(take, learned, model, settings, method) for take in takes]


def require_fit(takes: Sequence[Take], learned: Learned, model: str) -> None:
    """Refuse takes that are not of the streams that a model was learned from."""
    hint = "use the columns it was learned from"
    for take in takes:
        if len(take.streams) != len(learned.maps):
            what = f"{len(take.streams)} streams, {model} has {len(learned.maps)}"
            raise InputError(f"take {take.id}", what, hint)
        for stream, one in zip(take.streams, learned.maps, strict=True):
            if stream.n_dims != one.n_dims:
                what = f"{stream.name} has {stream.n_dims} dimensions, {model} {one.n_dims}"
                raise InputError(f"take {take.id}", what, hint)


def _aligned_with(
    take: Take, learned: Learned, model: str, settings: CtwSettings, method: str
) -> Alignment:
    reference, query = take.values()
    warp = learned.warp([reference, query], f"take {take.id}")
    _verify(warp, len(reference), len(query))

    def search(other: Float64Array) -> float:
        path = learned.warp([reference, other], take.id).frames
        return float(learned.gains([reference, other], path).sum())

    gains = learned.gains([reference, query], warp.frames)
    searches = EFFORTS[settings.confidence].searches
    verdict = judge(float(gains.sum()), gains, search, [query], settings.seed, searches)
    doubt = warning_of(verdict)
    path, names = path_of(warp.frames, take.streams), [s.name for s in take.streams]
    return Alignment(
        method=method,
        parameters={
            "algorithm": "model",
            "model": os.path.basename(model),
            "metric": "sqeuclidean",
            "step": "symmetric1",
            "dims": len(learned.correlations),
        },
        streams=tuple(s.info() for s in take.streams),
        path=path,
        time_maps=time_maps(path, names),
        cost=warp.cost,
        projections=tuple(
            projection_of(name, f) for name, f in zip(names, learned.scaled(), strict=True)
        ),
        confidence=verdict,
        warnings=(*stream_warnings(take.streams), *([] if doubt is None else [doubt])),
    )
