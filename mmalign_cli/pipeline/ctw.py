"""The stages of ``mmalign ctw``: two streams of any dimensions to a verified alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import anneal, ctw, joint_ctw
from mmalign_cli.align.choices import DEFAULT_ALGORITHM
from mmalign_cli.align.correlation import Linear
from mmalign_cli.align.coupling import Expectation, draw_paths, posterior_of
from mmalign_cli.align.ctw import Found
from mmalign_cli.align.dtw import Warp, bytes_needed, dtw
from mmalign_cli.align.pair import Pair, Settings, prepare
from mmalign_cli.align.problem import NO_ANCHORS, Ends
from mmalign_cli.align.steps import step_pattern
from mmalign_cli.align.time_maps import knots_of, time_maps
from mmalign_cli.align.windows import everything
from mmalign_cli.errors import AlignmentError
from mmalign_cli.evidence.confidence import judge, warning_of
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT, EFFORTS
from mmalign_cli.evidence.verify import verify_warp
from mmalign_cli.model import (
    Alignment,
    Array,
    Float64Array,
    IntArray,
    Stream,
    TimeMap,
    WarpingPath,
)
from mmalign_cli.pipeline.streams import path_of, stream_warnings

_LEVEL = 0.9


@dataclass(frozen=True)
class CtwSettings:
    """The options of ``mmalign ctw``; None where the default depends on the streams."""

    dims: float | None = None
    regularization: float | None = None
    init: str = "auto"
    starts: int | None = None
    max_iter: int | None = None
    tol: float = 0.01
    coupling: str = "hard"
    robust: bool = False
    open_begin: bool = False
    open_end: bool = False
    algorithm: str = DEFAULT_ALGORITHM
    samples: int = 0
    strict: bool = False
    seed: int = 0
    confidence: str = DEFAULT_EFFORT

    def of_aligner(self) -> Settings:
        """Return what the aligner is told."""
        return Settings(
            self.dims, self.regularization, self.init, self.starts, self.max_iter, self.tol,
            self.robust, Ends(self.open_begin, self.open_end), self.seed,
        )  # fmt: skip


ALGORITHMS: Mapping[str, Mapping[str, Callable[[Pair, runtime.Progress], Found]]] = {
    "joint": {"hard": joint_ctw.align, "soft": joint_ctw.align},
    "alternating": {"hard": ctw.align, "soft": anneal.align_softly},
}
"""Names in `mmalign_cli.align.choices` to what finds an alignment with each coupling."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """All paths near the best one, by their probability.

    Parameters
    ----------
    expectation : Expectation
    gamma : float
        Temperature.
    samples : tuple of ndarray, shape (n_steps, 2)
        Paths drawn from it.
    """

    expectation: Expectation
    gamma: float
    samples: tuple[IntArray, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """An alignment, and what may be written beside it.

    Parameters
    ----------
    alignment : Alignment
    warp : Warp
    latents : tuple of ndarray, shape (n, d) and (m, d)
        The streams in the space where they were compared.
    posterior : Posterior or None
        With a soft coupling.
    """

    alignment: Alignment
    warp: Warp
    latents: tuple[Float64Array, Float64Array]
    posterior: Posterior | None


@dataclass(frozen=True)
class Plan:
    """What an alignment will take at most, from shapes alone."""

    frames: tuple[int, int]
    dims: tuple[int, int]
    cells: int
    bytes: int


def plan_ctw(streams: Sequence[Stream], settings: CtwSettings, with_costs: bool) -> Plan:
    """Return what CTW of two streams will take."""
    (n, m), dims = (s.n_frames for s in streams), (streams[0].n_dims, streams[1].n_dims)
    d = min(dims)
    copies = 8 * (4 * (n + m)) * sum(dims)
    ends = Ends(settings.open_begin, settings.open_end)
    need = bytes_needed(
        n, m, d, step="symmetric1", window=everything(n, m), n_cells=n * m, ends=ends,
        keep_accumulated=with_costs,
    )  # fmt: skip
    if settings.coupling == "soft":
        need += 4 * 8 * anneal.cells_needed(n, m)
    if with_costs:
        need += 8 * (n + m) ** 2
    return Plan((n, m), dims, n * m, need + copies)


def align_ctw(
    streams: Sequence[Stream],
    settings: CtwSettings,
    *,
    max_memory: int | None = None,
    keep_costs: bool = False,
    progress: runtime.Progress = runtime.silent,
) -> Result:
    """Align two streams by Canonical Time Warping, verify the result and say how far to trust it.

    Parameters
    ----------
    streams : sequence of two Stream
        Reference and query.
    settings : CtwSettings
    max_memory : int or None
        Bytes; None takes what the machine has free.
    keep_costs : bool
        Keep the accumulated table.
    progress : Progress
        Told what is done; may raise to stop.

    Raises
    ------
    InputError
        If nothing in a stream changes, or it is too short.
    AlignmentError
        If there is too little memory, or with ``strict`` if the rounds did not come to an end.
    """
    reference, query = streams
    subject = f"{reference.name}, {query.name}"
    hint = "use fewer frames (hop=, start=, end=)"
    plan = plan_ctw(streams, settings, keep_costs)
    runtime.require_memory(plan.bytes, max_memory, subject, hint)
    pair = prepare(reference.values, query.values, settings.of_aligner(), subject)
    with runtime.one_algebra_thread():
        found = ALGORITHMS[settings.algorithm][settings.coupling](pair, progress)
        verdict = verdict_of(pair, found, settings)
    require_settled(found, settings, subject)
    latents = (found.maps.maps[0](pair.x), found.maps.maps[1](pair.y))
    warp = found.warp
    if keep_costs:
        table = dtw(*latents, ends=pair.settings.ends, keep_accumulated=True, subject=subject)
        warp = replace(warp, accumulated=table.accumulated)
    _verify(pair, found)
    posterior = _posterior(latents, warp, settings) if settings.coupling == "soft" else None
    alignment = _alignment(streams, settings, pair, found, warp)
    confidence = {
        **verdict,
        "total_correlation": found.total_correlation,
        "posterior": _intervals(posterior, reference),
    }
    doubt = warning_of(verdict)
    warnings = (*alignment.warnings, *unsettled(found), *([] if doubt is None else [doubt]))
    return Result(
        replace(alignment, confidence=confidence, warnings=warnings), warp, latents, posterior
    )


def _verify(pair: Pair, found: Found) -> None:
    """Check the path; the joint algorithm's open ends may leave out frames of either stream."""
    n, m = len(pair.x), len(pair.y)
    frames, ends = found.warp.frames, pair.settings.ends
    if found.joint is not None and (ends.open_begin or ends.open_end):
        frames = frames - frames[0]
        n, m = (int(k) + 1 for k in frames[-1])
    warp = replace(found.warp, frames=frames)
    verify_warp(warp, step_pattern("symmetric1"), everything(n, m), ends, NO_ANCHORS, n, m)


def maps_of(
    path: WarpingPath, line: Float64Array | None, streams: Sequence[Stream]
) -> tuple[TimeMap, ...]:
    """Return the time map: of the continuous warp, where there is one, else of the path."""
    names = [s.name for s in streams]
    if line is None:
        return time_maps(path, names)
    seconds = [np.interp(line[:, k], np.arange(s.n_frames), s.times) for k, s in enumerate(streams)]
    return (TimeMap(names[1], names[0], knots_of(seconds[1], seconds[0])),)


def _alignment(
    streams: Sequence[Stream], settings: CtwSettings, pair: Pair, found: Found, warp: Warp
) -> Alignment:
    path = path_of(warp.frames, streams)
    line = None if found.joint is None else found.joint.frames(0)
    return Alignment(
        method="ctw",
        parameters=parameters_of(settings, pair, found),
        streams=tuple(s.info() for s in streams),
        path=path,
        time_maps=maps_of(path, line, streams),
        cost=warp.cost,
        optimizer=optimizer_of(found),
        projections=projections_of([s.name for s in streams], found.maps.after(pair.bases).maps),
        warnings=stream_warnings(streams),
    )


def optimizer_of(found: Found) -> Mapping[str, Any]:
    """Return how the search went, for the document."""
    return {
        "iterations": len(found.objective),
        "converged": found.ending in ("converged", "joined"),
        "objective": list(found.objective),
        "starts": found.starts,
        "chosen_start": found.start,
        "ending": found.ending,
    }


def projections_of(names: Sequence[str], maps: Sequence[Linear]) -> tuple[Mapping[str, Any], ...]:
    """Return the linear maps of the streams, for the document."""
    return tuple(
        {"stream": name, "mean": f.mean.tolist(), "weights": f.weights.tolist()}
        for name, f in zip(names, maps, strict=True)
    )


def parameters_of(settings: CtwSettings, pair: Pair, found: Found) -> Mapping[str, Any]:
    """Return the parameters that took part, for the document; what was chosen in their place."""
    parameters: dict[str, Any] = {
        "algorithm": settings.algorithm,
        "metric": "sqeuclidean",
        "step": "symmetric1",
        "dims": len(found.maps.correlations),
        "regularization": pair.ridge,
        "coupling": settings.coupling,
        "seed": settings.seed,
    }
    if settings.algorithm == "alternating":
        parameters |= {name: getattr(settings, name) for name in ("init", "starts", "tol")}
    if settings.max_iter is not None:
        parameters["max_iter"] = settings.max_iter
    if found.joint is not None and found.joint.leading is not None:
        parameters["leading"] = found.joint.leading
    flags = ("robust", "open_begin", "open_end")
    return parameters | {name: True for name in flags if getattr(settings, name)}


def require_settled(found: Found, settings: CtwSettings, subject: str) -> None:
    """Refuse, with ``strict``, rounds that did not come to an end."""
    if settings.strict and found.ending in ("cycle", "max-iter"):
        what = f"no convergence in {len(found.objective)} rounds ({found.ending})"
        raise AlignmentError(subject, what, "raise --max-iter, or leave --strict out")


def unsettled(found: Found) -> list[str]:
    """Return a warning where the rounds did not come to an end."""
    if found.ending == "cycle":
        return ["the rounds run in a circle: of its paths the one of most evidence was taken"]
    if found.ending == "max-iter":
        return [f"not converged after {len(found.objective)} rounds: raise --max-iter"]
    return []


def verdict_of(pair: Pair, found: Found, settings: CtwSettings) -> Mapping[str, Any]:
    """Compare with what the same alternation finds where there is nothing to be found."""
    quiet = replace(
        pair.settings, dims=float(len(found.maps.correlations)), init="uniform", starts=None
    )

    def search(query: Float64Array) -> float:
        null = replace(pair, y=query, settings=quiet)
        return max(c.evidence for c in ctw.candidates(null, ctw.starts_of(null)))

    query = [y for _, y in pair.takes()]
    searches = EFFORTS[settings.confidence].searches
    return judge(found.evidence, found.gains, search, query, settings.seed, searches)


def _posterior(
    latents: tuple[Float64Array, Float64Array], warp: Warp, settings: CtwSettings
) -> Posterior:
    expectation, gamma = anneal.posterior(*latents, warp.frames)
    samples = draw_paths(expectation, settings.samples, settings.seed)
    return Posterior(expectation, gamma, tuple(samples))


def _intervals(posterior: Posterior | None, reference: Stream) -> Mapping[str, Any] | None:
    """Return for each query frame where in the reference it matches, in seconds."""
    if posterior is None:
        return None
    found = posterior_of(posterior.expectation.coupling, _LEVEL)
    frames = np.arange(reference.n_frames)
    seconds = {
        name: np.interp(values, frames, reference.times).tolist()
        for name, values in (("low", found.low), ("middle", found.middle), ("high", found.high))
    }
    return {
        "level": _LEVEL,
        "gamma": posterior.gamma,
        **seconds,
        "low_frames": found.low.tolist(),
        "high_frames": found.high.tolist(),
        "entropy": found.entropy.tolist(),
        "soft_cost": posterior.expectation.soft_cost,
        "samples": [path.tolist() for path in posterior.samples],
    }


def posterior_arrays(posterior: Posterior) -> dict[str, Array]:
    """Return the posterior as arrays: row i of `probability` begins at query frame ``lo[i]``."""
    coupling = posterior.expectation.coupling
    arrays: dict[str, Array] = {
        "lo": coupling.band.lo,
        "probability": coupling.probability.astype(np.float32),
        "gamma": np.array(posterior.gamma),
    }
    return arrays | {f"sample_{k}": path for k, path in enumerate(posterior.samples)}


def costs_of(result: Result) -> dict[str, Array]:
    """Return the cost matrices of an alignment whose accumulated table was kept."""
    from mmalign_cli.align.dtw import local_costs

    if result.warp.accumulated is None:
        raise ValueError("the accumulated table was not kept")
    local = local_costs(*result.latents, "sqeuclidean")
    frames = result.warp.frames
    aligned = local[np.ix_(frames[:, 0], frames[:, 1])]
    return {"local": local, "accumulated": result.warp.accumulated, "aligned": aligned}
