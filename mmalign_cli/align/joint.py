"""The joint aligner: total correlation of all sequences, maximised over continuous warps.

It keeps the idea of Canonical Time Warping, linear maps under which the sequences agree, and
replaces its alternation by one smooth problem in the warps alone: for given warps the best maps,
and their worth, are known in closed form (`mmalign_cli.align.correlation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import starts, warps
from mmalign_cli.align.cca import cca, folds_of, held_out_gains, of_samples
from mmalign_cli.align.climb import MOST_ITERATIONS, Climb, Settings, Stage, climb, objective
from mmalign_cli.align.correlation import Linear, Samples, total_correlation
from mmalign_cli.align.envelopes import envelope_starts
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.schedule import (
    Plan,
    is_chancy,
    is_noisy,
    is_scarce,
    leading_of,
    leading_plan,
    plan_for,
)
from mmalign_cli.align.sensors import View, view_of
from mmalign_cli.align.tails import without_tails
from mmalign_cli.align.takes import Takes, lay_out
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.model import Float64Array, FloatArray, IntArray
from mmalign_cli.runtime import Progress

_RIDGE = 1e-4
_REFINED, _FINISHED = 8, 3
_LEAPS = 2
_ALL_CENTRES = 4
_SENSOR_RIDGE = 0.1
_SENSORS_REFINED = 3

MATCHED, UNRELATED = 6.9, 2.4
"""Evidence in nats from which one take of linear sensors is matched, and up to which it is not."""


@dataclass(frozen=True, eq=False)
class Joint:
    """What the joint aligner found.

    Parameters
    ----------
    knots : ndarray, shape (n_takes, m, K + 1)
        The warps: shares of each sequence at even points of the take's common time line, strictly
        increasing. Sub-frame, and the better time map.
    lengths : ndarray, shape (n_takes, m)
        Frames of the sequences.
    paths : tuple of ndarray, shape (n_steps, m)
        The warps on whole frames, one path a take; no step moves a sequence by more than a frame.
    projections : tuple of Linear
        One a sequence, from its frames as given to the common space.
    correlations : ndarray, shape (k,)
        Mean correlation between the sequences' k coordinates in the common space, decreasing.
    evidence : float
        J along the warps, in nats: see `MATCHED` and `UNRELATED`.
    iterations : int
        Of L-BFGS, on the way from the chosen start.
    converged : bool
        Whether the last stage stopped by itself.
    objective : tuple of float
        Penalised J after each stage.
    starts : int
        How many starts were compared.
    chosen_start : int
        Which of them won; 0 is the straight line, but among envelopes.
    views : tuple of View, or None
        What was correlated in place of the frames as given, of noisy sensors: then the projections
        are of these, `projections[i](views[i](frames))`.
    leading : int or None
        How many correlations counted at last; None: all; 0: none, as the frames are too few to
        learn maps from, and the warps are those of the activity envelopes.
    """

    knots: Float64Array
    lengths: IntArray
    paths: tuple[IntArray, ...]
    projections: tuple[Linear, ...]
    correlations: Float64Array
    evidence: float
    iterations: int
    converged: bool
    objective: tuple[float, ...]
    starts: int
    chosen_start: int
    views: tuple[View, ...] | None = None
    leading: int | None = None

    def latents(self, index: int, frames: FloatArray) -> Float64Array:
        """Map frames (n, d) of sequence `index` to the common space, (n, k)."""
        seen = frames if self.views is None else self.views[index](frames)
        return self.projections[index](np.asarray(seen, dtype=np.float64))

    def frames(self, take: int) -> Float64Array:
        """Return the knots of one take in fractional frames, (K + 1, m)."""
        return warps.in_frames(self.knots[take], self.lengths[take])


def align_jointly(
    sequences: Sequence[Sequence[FloatArray]],
    *,
    robust: bool = False,
    ends: OpenEnds = CLOSED_ENDS,
    leading: tuple[int, int, int] | None = None,
    iterations: int = MOST_ITERATIONS,
    seed: int = 0,
    progress: Progress = runtime.silent,
) -> Joint:
    """Align the sequences of one or more takes.

    Parameters
    ----------
    sequences : sequence of sequences of ndarray, shape (n, d_i)
        The takes, each with the same m >= 2 sequences of any lengths. All takes share one
        covariance, hence one set of projections; each has its own warps.
    robust : bool
        Replace outlying frames by a Hampel filter, and weigh samples by a t distribution.
    ends : OpenEnds
        Whether sequences may be left unmatched before and after.
    leading : (int, int, int), optional
        Take the sequences for noisy sensors, of which so many correlations count, stage by stage.
        By default those that have many dimensions for their frames are taken for such, or two
        that turn out to be noisy, and how many count is found on held-out frames:
        `mmalign_cli.align.schedule`.
    iterations : int
        Of L-BFGS a stage, at most.
    seed : int
        Of the random starts for three and more sequences.
    progress : Progress
        Told the starts done; may raise to stop.

    Returns
    -------
    Joint

    Raises
    ------
    InputError
        If a sequence is too short, or does not vary.
    """
    if robust:
        sequences = [[without_outliers(frames) for frames in take] for take in sequences]
    takes = lay_out(sequences)
    changed = Settings(robust=robust, ends=ends, iterations=iterations)
    may_be_sensors = ends == CLOSED_ENDS
    with runtime.one_algebra_thread():
        if may_be_sensors and (leading is not None or is_chancy(takes)):
            return _of_sensors(sequences, leading, changed, progress)
        search = _Search(takes, _told(plan_for(takes), changed), progress)
        found = search.best(seed)
        if may_be_sensors and len(takes.tracks) == 2 and is_noisy(_correlations(takes, found)):
            return _of_sensors(sequences, leading, changed, progress)
        return _finished(takes, search.to_the_end(found), without_tails)


def pair_warp(takes: Takes, settings: Settings) -> Climb:
    """Return the best climb of two sequences, from all starts."""
    return _Search(takes, _told(plan_for(takes), settings), runtime.silent).best(0).climb


def _told(plan: Plan, changed: Settings) -> Plan:
    """Return a plan with what the caller may change."""
    told = {name: getattr(changed, name) for name in ("robust", "ends", "iterations")}
    return replace(plan, settings=replace(plan.settings, **told))


def _of_sensors(
    sequences: Sequence[Sequence[FloatArray]],
    leading: tuple[int, int, int] | None,
    changed: Settings,
    progress: Progress,
) -> Joint:
    """Align noisy sensors: their views, from their activity envelopes."""
    views = tuple(view_of(parts) for parts in zip(*sequences, strict=True))
    takes = lay_out([[v(part) for v, part in zip(views, take, strict=True)] for take in sequences])
    pool = _envelope_stars(sequences)
    if leading is None and is_scarce(takes):
        kept = Climb(pool[0], converged=True)
        return replace(_finished(takes, _Found(kept, 1), _as_they_are), views=views, leading=0)
    rough = _Search(takes, _told(leading_plan(takes, (1, 3, 5)), changed), progress)
    if leading is None:
        leading = leading_of(_gains_along(takes, rough.likeliest(pool)))
    search = _Search(takes, _told(leading_plan(takes, leading), changed), progress)
    found = _finished(takes, search.from_envelopes(pool), _as_they_are)
    return replace(found, views=views, leading=leading[-1])


def _envelope_stars(sequences: Sequence[Sequence[FloatArray]]) -> list[Float64Array]:
    """Return warps by the envelopes of each sensor and the first, composed on the first."""
    m = len(sequences[0])
    pools = [envelope_starts([(take[0], take[j]) for take in sequences]) for j in range(1, m)]
    if m == 2:
        return pools[0]
    return [
        starts.stars({(0, j): pair for j, pair in enumerate(pairs, 1)}, m, 0)
        for pairs in zip(*pools, strict=True)
    ]


def _gains_along(takes: Takes, knots: Float64Array) -> Float64Array:
    """Return the held-out gain of each canonical correlation along warps."""
    samples = takes.along(knots)
    sets = [samples.values[:, block] for block in samples.blocks]
    steps = np.arange(len(samples.values))
    return held_out_gains(folds_of(sets, np.column_stack([steps] * len(sets))), _SENSOR_RIDGE)


def _as_they_are(samples: Samples, _ridge: float) -> Samples:
    return samples


def _correlations(takes: Takes, found: _Found) -> Float64Array:
    samples = takes.along(found.climb.knots)
    return cca(of_samples(without_tails(samples, _RIDGE), _RIDGE)).correlations


def _finished(takes: Takes, found: _Found, weighed: Callable[[Samples, float], Samples]) -> Joint:
    """Work out all that follows from the warps; the maps from weighed samples."""
    knots = found.climb.knots
    samples = takes.along(knots)
    common = cca(of_samples(weighed(samples, _RIDGE), _RIDGE))
    lengths = np.stack([takes.lengths(k) for k in range(takes.n_takes)])
    return Joint(
        knots=knots,
        lengths=lengths,
        paths=tuple(warps.to_path(k, n) for k, n in zip(knots, lengths, strict=True)),
        projections=tuple(
            latent.after(track.white)
            for latent, track in zip(common.maps, takes.tracks, strict=True)
        ),
        correlations=common.correlations,
        evidence=total_correlation(samples, _RIDGE)[0],
        iterations=found.climb.iterations,
        converged=found.climb.converged,
        objective=found.climb.history,
        starts=found.starts,
        chosen_start=found.climb.start,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """The best climb, and of how many starts."""

    climb: Climb
    starts: int


class _Search:
    """From many starts to the best climb: score all, refine eight, finish three."""

    def __init__(self, takes: Takes, plan: Plan, progress: Progress) -> None:
        self._takes = takes
        self._plan = plan
        self._progress = progress
        self._alternation = starts.Alternation(takes)

    def best(self, seed: int) -> _Found:
        """Return the best climb for any number of sequences."""
        if len(self._takes.tracks) == 2:
            return self._best_of(starts.pair_starts(self._takes, self._plan.settings.ends), True)
        pool = starts.many_starts(self._takes, seed)
        return self._best_of([pool[0], *self._stars(), *pool[1:]], False)

    def to_the_end(self, found: _Found) -> _Found:
        """Climb the last stages."""
        return replace(found, climb=self._through(found.climb, self._plan.last))

    def likeliest(self, pool: Sequence[Float64Array]) -> Float64Array:
        """Return the start of most penalised J in the last stage."""
        return max((self._scored(knots, k) for k, knots in enumerate(pool)), key=_by_value).knots

    def from_envelopes(self, pool: Sequence[Float64Array]) -> _Found:
        """Return the best climb from starts that are near already."""
        candidates = [self._scored(knots, k) for k, knots in enumerate(pool)]
        stages = self._plan.coarse
        begun = [self._through(c, stages) for c in self._few(candidates, _SENSORS_REFINED)]
        best = max(begun, key=_by_value)
        return _Found(self._through(best, self._plan.finish), len(candidates))

    def _stars(self) -> Iterable[Float64Array]:
        """Align pairs by themselves, and compose them on some sequences as centres."""
        n_sequences = len(self._takes.tracks)
        centres = range(n_sequences if n_sequences <= _ALL_CENTRES else 2)
        pairs = {
            (i, j): _Search(self._takes.pair(i, j), self._plan, self._progress).best(0).climb.knots
            for i, j in combinations(range(n_sequences), 2)
            if i in centres or j in centres
        }
        return [starts.stars(pairs, n_sequences, centre) for centre in centres]

    def _best_of(self, pool: Sequence[Float64Array], in_pairs: bool) -> _Found:
        plan = self._plan
        candidates = [self._scored(knots, k) for k, knots in enumerate(pool)]
        if in_pairs:
            candidates += self._alternated(pool)
        leaps = (1, _LEAPS) if in_pairs else (0, 0)
        first = self._through(candidates[0], plan.coarse)
        refined = [
            self._leapt(self._through(one, plan.refine), plan.refine[-1], leaps[0])
            for one in self._few(candidates, _REFINED)
        ]
        finished = [
            self._leapt(self._through(one, plan.finish), plan.finish[-1], leaps[1])
            for one in self._few([first, *refined], _FINISHED)
        ]
        return _Found(max(finished, key=_by_value), len(candidates))

    def _leapt(self, one: Climb, stage: Stage, most: int) -> Climb:
        """Climb again from the DTW on the canonical variates, for as long as that is better."""
        for _ in range(most):
            knots = self._alternation.leap(one.knots, stage.ridge)
            again = self._through(replace(one, knots=knots), [stage])
            if again.penalized <= one.penalized:
                break
            one = again
        return one

    def _alternated(self, pool: Sequence[Float64Array]) -> Iterable[Climb]:
        """Return what rounds of CTW make of each start, where that is anything new."""
        number = count(len(pool))
        for k, knots in enumerate(pool, 1):
            self._progress("comparing starts", k, len(pool))
            better = self._alternation.improved(knots)
            if better is not None:
                yield self._scored(better, next(number))

    def _scored(self, knots: Float64Array, start: int) -> Climb:
        settings = self._plan.settings
        stage = replace(self._plan.refine[-1], pieces=knots.shape[-1] - 1)
        value, _ = objective(self._takes, warps.theta_of(knots, settings.ends), stage, settings)
        return Climb(knots, start, value)

    def _through(self, start: Climb, stages: Sequence[Stage]) -> Climb:
        for done, stage in enumerate(stages, 1):
            start = climb(self._takes, start, stage, self._plan.settings)
            self._progress("climbing", done, len(stages))
        return start

    @staticmethod
    def _few(climbs: Iterable[Climb], most: int) -> list[Climb]:
        """Return the `most` best that differ from one another."""
        kept: list[Climb] = []
        for one in sorted(climbs, key=_by_value, reverse=True):
            if len(kept) < most and starts.is_new(one.knots, [other.knots for other in kept]):
                kept.append(one)
        return kept


def _by_value(one: Climb) -> float:
    return one.penalized
