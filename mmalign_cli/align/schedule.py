"""In which stages the joint aligner climbs: all correlations, or only the leading ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmalign_cli.align.climb import MOST_ITERATIONS, Settings, Stage
from mmalign_cli.align.takes import Takes
from mmalign_cli.model import Float64Array

_USUAL_FRAMES = 400
_FEW_DIMS = 24
_FRAMES_A_DIM = 50
_LEAST_PIECES = 8
_SEARCHING = 100
_LEADING_RIDGE = 0.1
_WORTH_NATS = 0.25
_CLEAN = 0.98
_LEAST_FRAMES_A_DIM = 10
_LAST_RIDGE, _LAST_RIDGE_OF_MANY = 1e-3, 1e-4


@dataclass(frozen=True)
class Plan:
    """The stages of a climb, coarse to fine.

    Parameters
    ----------
    coarse : tuple of Stage
        What the straight line goes through.
    refine : tuple of Stage
        What a start goes through that is near already.
    finish : tuple of Stage
        What the best of both go through.
    last : tuple of Stage
        What the very best goes through, to the end.
    settings : Settings
    """

    coarse: tuple[Stage, ...]
    refine: tuple[Stage, ...]
    finish: tuple[Stage, ...]
    last: tuple[Stage, ...]
    settings: Settings


def plan_for(takes: Takes) -> Plan:
    """Return the stages in which all correlations count.

    The pieces of the last stages grow with the cube root of the length beyond 400 frames. Two
    sequences with bumps of their own fit chance if the last ridge is less than 1e-3; three and
    more do not agree on it, and follow the warps closer with 1e-4.
    """
    finer = max(1, round((takes.n_samples / _USUAL_FRAMES) ** (1 / 3)))
    ridge = _LAST_RIDGE if len(takes.tracks) == 2 else _LAST_RIDGE_OF_MANY
    refine = (_stage(8, 1e-2), _stage(16, 1e-2))
    finest = _stage(24 * finer, ridge, tolerance=1e-5)
    return Plan(
        coarse=(_stage(4, 1e-1), _stage(8, 1e-1), *refine),
        refine=refine,
        finish=(_stage(12 * finer, ridge), finest),
        last=(replace(finest, iterations=MOST_ITERATIONS),),
        settings=Settings(),
    )


def _stage(pieces: int, ridge: float, tolerance: float = 1e-4) -> Stage:
    """Return a stage of the search: climbed to the end, all starts would begin to fit chance."""
    return Stage(pieces, ridge, tolerance=tolerance, iterations=_SEARCHING)


def leading_plan(takes: Takes, leading: tuple[int, int, int]) -> Plan:
    """Return the stages for noisy sensors: few correlations, smooth speeds, the root of T pieces.

    Parameters
    ----------
    takes : Takes
    leading : (int, int, int)
        How many correlations count, by stage.
    """
    most = max(_LEAST_PIECES, round(takes.n_samples**0.5))
    pieces = [max(4, round(share * most)) for share in (0.4, 0.6, 0.8)]
    first, middle, last = leading
    refine = (Stage(pieces[1], 1e-1, first), Stage(pieces[2], 1e-1, middle))
    return Plan(
        coarse=(Stage(pieces[0], 1e-1, first), *refine),
        refine=refine,
        finish=(Stage(most, _LEADING_RIDGE, last, 1e-5),),
        last=(),
        settings=Settings(smoothness=2.0, smooth_speed=True),
    )


def leading_of(gains: Float64Array) -> tuple[int, int, int]:
    """Return how many correlations are to count, from their held-out gains (k,) in nats.

    At last those worth a quarter of a nat on frames they were not fitted to, three to eight.
    """
    last = min(max(int((gains >= _WORTH_NATS).sum()), 3), 8, max(len(gains), 1))
    return max(1, round(0.35 * last)), max(1, round(0.65 * last)), last


def is_chancy(takes: Takes) -> bool:
    """Tell whether chance correlations would outweigh the true ones.

    So it is with more than 24 whitened dimensions of two sequences, on fewer than 50 frames for
    each: frames of a smooth motion are far from independent. Fewer dimensions have done better
    whole, on as few as three frames for each. Of more sequences the two widest count.
    """
    n_dims = _dims_of_two(takes)
    n_frames = min(int(track.lengths.sum()) for track in takes.tracks)
    return n_dims > _FEW_DIMS and n_frames < _FRAMES_A_DIM * n_dims


def is_scarce(takes: Takes) -> bool:
    """Tell whether the frames are too few to learn any map of noisy sensors: ten a dimension."""
    frames = min(int(track.lengths.sum()) for track in takes.tracks)
    return frames < _LEAST_FRAMES_A_DIM * _dims_of_two(takes)


def _dims_of_two(takes: Takes) -> int:
    return sum(sorted(takes.dims)[-2:])


def is_noisy(correlations: Float64Array) -> bool:
    """Tell from the correlations of an alignment (k,) whether the sensors are noisy.

    Clean views of one thing, even those with bumps of their own, have a first correlation above
    .99 along what the joint aligner finds, by the weights of a t where that is likelier; the
    sensors of a foot below .97, chance and all.
    """
    return float(correlations[0]) < _CLEAN
