"""Deep Canonical Time Warping of any number of streams, in one take or many.

Networks shared by all takes learn where streams of different kinds agree
(`mmalign_cli.align.deep_joint`, and as the papers have it `mmalign_cli.align.deep_alternation`).
Linear maps are learned beside them, always: what either is worth shows on samples that it was not
fitted to, and of the joint algorithm the better supported one is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import deep_alternation, deep_joint, warps
from mmalign_cli.align.cca import cca, dims_of_energy, of_samples
from mmalign_cli.align.climb import MOST_ITERATIONS
from mmalign_cli.align.correlation import Linear, Samples
from mmalign_cli.align.deep_climb import Deep, DeepClimb, latents_along
from mmalign_cli.align.deep_correlation import RIDGE
from mmalign_cli.align.deep_joint import Told
from mmalign_cli.align.first_paths import STARTS
from mmalign_cli.align.held_out import HeldOut, held_out
from mmalign_cli.align.joint import Joint, align_jointly
from mmalign_cli.align.learned import Learned, StreamMap
from mmalign_cli.align.network import Perception, Shape, in_context
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.sensors import View
from mmalign_cli.align.starts import stars
from mmalign_cli.align.takes import Takes, Track, lay_out, track_of
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.model import Float64Array, FloatArray, IntArray
from mmalign_cli.runtime import Progress

LINEAR, NETWORKS = "linear", "networks"
CANDIDATE_DIMS = (2, 4)
_RIDGE = 1e-3
_PIECES = 24
_STARTS_OF_ALTERNATING = 4

Sequences = Sequence[Sequence[Float64Array]]
"""Of each take, of each stream, the frames (n, d)."""


@dataclass(frozen=True)
class Ask:
    """What the aligner is told.

    Parameters
    ----------
    algorithm : str
        One of `ALGORITHMS`.
    is_soft : bool
        Of the alternating algorithm: all paths by their probability, in place of one.
    dims : float or None
        Columns of the latents; None tries 2 and 4, and keeps what is better supported. Below 1,
        of these the leading ones that hold that share of the correlation.
    hidden : tuple of int
        Units of each hidden layer.
    decay : float
        Weight decay, in units of the usual one.
    context : int
        Frames that a network sees at once, odd. Of more than one it sees the frames as they are,
        where linear maps, and networks of one frame, may be given a view of noisy sensors.
    init : str
        One of `mmalign_cli.align.choices.INITS`: where some of the starts begin.
    starts : int or None
        Random weights to begin from; None takes as many as the takes ask for.
    iterations : int or None
        L-BFGS iterations a stage, or rounds, at most.
    tolerance_frames : float
        Of the alternating algorithm: path difference at which rounds have converged.
    robust : bool
        Single frames may be far off.
    seed : int
    ridge : float
        Added to the variances of latents.
    ends : OpenEnds
        Of the joint algorithm: whether streams may be left unmatched before and after.
    """

    algorithm: str = "joint"
    is_soft: bool = True
    dims: float | None = None
    hidden: tuple[int, ...] = (32,)
    decay: float = 1.0
    context: int = 1
    init: str = "auto"
    starts: int | None = None
    iterations: int | None = None
    tolerance_frames: float = 0.01
    robust: bool = False
    seed: int = 0
    ridge: float = RIDGE
    ends: OpenEnds = CLOSED_ENDS

    @property
    def told(self) -> Told:
        """What of the stages of the joint algorithm is changed."""
        return Told(self.decay, self.iterations or MOST_ITERATIONS, self.ridge)


@dataclass(frozen=True, eq=False)
class Found:
    """An alignment of all takes, and the maps that they share.

    Parameters
    ----------
    kind : str
        `LINEAR` or `NETWORKS`.
    knots : ndarray, shape (n_takes, m, K + 1)
        The warps: see `mmalign_cli.align.joint.Joint`.
    lengths : ndarray, shape (n_takes, m)
    maps : tuple of m StreamMap
        To the common space.
    correlations : ndarray, shape (k,)
        Along the warps, decreasing; fitted.
    held_out : HeldOut
        The same on samples that were not fitted.
    objective : tuple of float
        After each stage, or each round.
    starts : int
        How many were compared.
    start : str
        Which of them won.
    ending : str
        ``converged`` or ``max-iter``.
    beside : Mapping
        Evidence of either kind of maps, in nats a sample, in the dimensions of the networks; that
        of linear maps in all dimensions where it is more than the networks'.
    """

    kind: str
    knots: Float64Array
    lengths: IntArray
    maps: tuple[StreamMap, ...]
    correlations: Float64Array
    held_out: HeldOut
    objective: tuple[float, ...]
    starts: int
    start: str
    ending: str
    beside: Mapping[str, float]

    def path(self, take: int) -> IntArray:
        """Return the warps of a take on whole frames, (n_steps, m)."""
        return warps.to_path(self.knots[take], self.lengths[take])

    def line(self, take: int) -> Float64Array:
        """Return the knots of a take in fractional frames, (K + 1, m)."""
        return warps.in_frames(self.knots[take], self.lengths[take])

    def learned(self) -> Learned:
        """Return the maps to keep, with the correlations that new takes can be expected to have."""
        kept = len(self.correlations)
        return Learned(self.maps, np.maximum(self.held_out.correlations[:kept], 0.0))


def align_deep(
    sequences: Sequence[Sequence[FloatArray]],
    ask: Ask,
    labels: Sequence[Sequence[IntArray]] | None = None,
    progress: Progress = runtime.silent,
) -> Found:
    """Align the takes under maps that are learned from all of them.

    Parameters
    ----------
    sequences : sequence of takes, each a sequence of m ndarray, shape (n, d_i)
    ask : Ask
    labels : sequence of takes, each a sequence of m ndarray, shape (n,), optional
        The class of every frame, which latents are to tell apart.
    progress : Progress
        Told what is done; may raise to stop.

    Raises
    ------
    InputError
        If a stream is too short, or does not vary.
    """
    parts = [[_clean(x, ask.robust) for x in take] for take in sequences]
    with runtime.one_algebra_thread():
        most = ask.iterations or MOST_ITERATIONS
        plain = align_jointly(
            sequences,
            robust=ask.robust,
            ends=ask.ends,
            iterations=most,
            seed=ask.seed,
            progress=progress,
        )
        takes = lay_out(_seen(parts, plain.views))
        first = _of_linear(takes, plain)
        if ask.context > 1 and plain.views is not None:  # neighbours are seen as they are
            takes, plain = lay_out(parts), replace(plain, views=None)
        may_be_linear = ask.algorithm == "joint" and labels is None
        enough = first.held_out if may_be_linear else None
        best = _by_networks(takes, plain, _classes(labels), ask, enough, progress)
    dims = len(best.held_out.correlations)
    beside = {LINEAR: first.held_out.evidence_in(dims), NETWORKS: best.held_out.evidence}
    if may_be_linear and first.held_out.evidence >= beside[NETWORKS]:
        beside[LINEAR] = first.held_out.evidence
    if may_be_linear and beside[LINEAR] >= beside[NETWORKS]:
        best = first
    return replace(best, beside=beside)


def _clean(frames: FloatArray, is_robust: bool) -> Float64Array:
    return without_outliers(frames) if is_robust else np.asarray(frames, dtype=np.float64)


def evidence_of(sequences: Sequences, ask: Ask, found: Found) -> float:
    """Return what the same search finds in other takes: the same kind of maps, as many dimensions.

    Networks begin from the straight line alone: from what linear maps find where there is nothing,
    they would find no more.
    """
    with runtime.one_algebra_thread():
        if found.kind == LINEAR:
            plain = align_jointly(sequences, ends=ask.ends, seed=ask.seed)
            takes = lay_out(_seen(sequences, plain.views))
            return _of_linear(takes, plain).held_out.evidence
        told = replace(ask, dims=len(found.held_out.correlations), init="uniform")
        views = [f.view.view for f in found.maps if isinstance(f.view, Perception)]
        takes = lay_out(_seen(sequences, None if None in views else views))
        return _by_networks(takes, None, None, told, None, runtime.silent).held_out.evidence


def _seen(sequences: Sequences, views: Sequence[View | None] | None) -> Sequences:
    """Return the takes as maps are to see them."""
    if views is None:
        return sequences
    return [
        [x if view is None else view(x) for view, x in zip(views, take, strict=True)]
        for take in sequences
    ]


def _of_linear(takes: Takes, plain: Joint) -> Found:
    """Return a linear alignment with what its maps are worth on held-out samples."""
    values = takes.along(plain.knots).values
    held = held_out(lambda _: values, takes.weights, takes.dims)
    kept = held.best_dims
    views = plain.views or [None] * len(takes.tracks)
    return Found(
        LINEAR,
        plain.knots,
        plain.lengths,
        tuple(
            StreamMap(Linear(f.mean, f.weights[:, :kept]), view)
            for f, view in zip(plain.projections, views, strict=True)
        ),
        plain.correlations[:kept],
        held,
        plain.objective,
        plain.starts,
        str(plain.chosen_start),
        "converged" if plain.converged else "max-iter",
        {},
    )


def _by_networks(
    takes: Takes,
    plain: Joint | None,
    classes: Classes | None,
    ask: Ask,
    enough: HeldOut | None,
    progress: Progress,
) -> Found:
    """Return the best supported alignment by networks.

    Where linear maps have as much evidence, `enough`, in as many dimensions, no more are tried:
    any number of functions of what streams share would agree.
    """
    best: Found | None = None
    smallest = min(takes.dims)
    is_given = ask.dims is not None and ask.dims >= 1
    for dims in (int(ask.dims or 0),) if is_given else CANDIDATE_DIMS:
        if best is not None and dims > smallest:
            break
        deep = _deep(takes, classes, dims if is_given else min(dims, smallest), ask)
        found, held, starts = ALGORITHMS[ask.algorithm](deep, plain, ask, progress)
        if best is not None and held.evidence <= best.held_out.evidence:
            break
        best = _of_networks(takes, deep, plain, found, held, starts, ask)
        if enough is not None and enough.evidence_in(len(held.correlations)) >= held.evidence:
            break
    assert best is not None
    return best


def _of_networks(
    takes: Takes,
    deep: Deep,
    plain: Joint | None,
    found: DeepClimb,
    held: HeldOut,
    starts: int,
    ask: Ask,
) -> Found:
    m = len(deep.shapes)
    samples = latents_along(deep, found)
    kept = sum(deep.dims[:m])
    latents = Samples(samples.values[:, :kept], deep.dims[:m], samples.weights)
    common = cca(of_samples(latents, 0.0), _RIDGE)
    if ask.dims is not None and ask.dims < 1:
        common = common.leading(dims_of_energy(common.correlations, ask.dims))
    views = [None] * m if plain is None or plain.views is None else plain.views
    networks = deep.networks(found.weights)
    return Found(
        NETWORKS,
        found.knots,
        np.stack([takes.lengths(k) for k in range(takes.n_takes)]),
        tuple(
            StreamMap(linear, Perception(track.white, ask.context, network, view))
            for linear, track, network, view in zip(
                common.maps, takes.tracks, networks, views, strict=True
            )
        ),
        common.correlations,
        held,
        found.history,
        starts,
        str(found.start),
        "converged" if found.converged else "max-iter",
        {},
    )


Classes = Sequence[Track]
"""Of each stream, the classes of its frames as columns."""


def _classes(labels: Sequence[Sequence[IntArray]] | None) -> Classes | None:
    """Return labels as tracks: a column a class, whitened."""
    if labels is None:
        return None
    names = np.unique(np.concatenate([own for take in labels for own in take]))
    columns = [[(own[:, np.newaxis] == names).astype(np.float64) for own in t] for t in labels]
    return lay_out(columns).tracks


def _deep(takes: Takes, classes: Classes | None, dims: int, ask: Ask) -> Deep:
    """Return the takes as networks are to see them."""
    tracks = [_in_context(track, ask.context) for track in takes.tracks]
    m = len(tracks)
    return Deep(
        (*tracks, *(classes or ())),
        tuple(Shape((t.frames.shape[1], *ask.hidden, dims)) for t in tracks),
        (*range(m), *(range(m) if classes else ())),
        takes.n_samples,
        takes.weights,
        ask.ends,
    )


def _in_context(track: Track, length: int) -> Track:
    if length == 1:
        return track
    parts = [in_context(track.of_take(k), length) for k in range(len(track.starts))]
    return track_of(np.concatenate(parts), track.lengths, track.white)


def _joint(
    deep: Deep, plain: Joint | None, ask: Ask, progress: Progress
) -> tuple[DeepClimb, HeldOut, int]:
    """Climb the total correlation of networks and warps together, from many starts."""
    count = ask.starts or deep_joint.starts_for(deep.n_takes)
    pool = deep_joint.begin(deep, count, ask.seed, _given(deep, plain, ask))
    found = deep_joint.search(deep, pool, ask.told, progress)
    return found, deep_joint.support(deep, found.knots, ask.seed, ask.told), count


def _alternating(
    deep: Deep, plain: Joint | None, ask: Ask, progress: Progress
) -> tuple[DeepClimb, HeldOut, int]:
    """Alternate as the papers do, from several starts; the best supported is taken."""
    count = ask.starts or _STARTS_OF_ALTERNATING
    best: tuple[DeepClimb, HeldOut] | None = None
    for one in deep_joint.begin(deep, count, ask.seed, _given(deep, plain, ask)):
        found = deep_alternation.alternate(
            deep,
            one,
            is_soft=ask.is_soft,
            decay=ask.decay,
            rounds=ask.iterations,
            tolerance_frames=ask.tolerance_frames,
            progress=progress,
        )
        held = deep_joint.support(deep, found.knots, ask.seed, ask.told)
        if best is None or held.evidence > best[1].evidence:
            best = found, held
    assert best is not None
    return *best, count


ALGORITHMS: Mapping[
    str, Callable[[Deep, Joint | None, Ask, Progress], tuple[DeepClimb, HeldOut, int]]
] = {"joint": _joint, "alternating": _alternating}
"""Name to what finds networks and warps, what they are worth, and of how many starts."""


def _given(deep: Deep, plain: Joint | None, ask: Ask) -> list[Float64Array]:
    """Return warps that every other start is to begin from."""
    if ask.init == "uniform" or plain is None:
        return []
    if ask.init == "auto":
        return [plain.knots] if ask.algorithm == "joint" else []
    m = len(deep.shapes)
    found = []
    for k in range(deep.n_takes):
        frames = [track.of_take(k) for track in deep.tracks[:m]]
        pairs = {}
        for j in range(1, m):
            path = STARTS[ask.init](frames[0], frames[j])[0].path
            lengths = deep.lengths(k)[[0, j]]
            pairs[0, j] = warps.from_path(path.astype(np.float64), lengths, _PIECES)[np.newaxis]
        found.append(stars(pairs, m, 0)[0])
    return [np.stack(found)]
