"""In which stages the joint aligner climbs: all correlations, or only the leading ones."""

from __future__ import annotations

from dataclasses import dataclass

from mmalign_cli.align.climb import Settings, Stage
from mmalign_cli.align.takes import Takes

_USUAL_FRAMES = 400
_FEW_DIMS = 24
_FRAMES_A_DIM = 50
_LEADING = (3, 5, 8)
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
    settings : Settings
    """

    coarse: tuple[Stage, ...]
    refine: tuple[Stage, ...]
    finish: tuple[Stage, ...]
    settings: Settings


def plan_for(takes: Takes, leading: tuple[int, int, int] | None) -> Plan:
    """Return the stages for some takes.

    The pieces of the last stages grow with the cube root of the length beyond 400 frames.

    Parameters
    ----------
    takes : Takes
    leading : (int, int, int), optional
        How many correlations count, by stage. By default all, or 3, 5, 8 if `is_chancy`.
    """
    if leading is None and is_chancy(takes):
        leading = _LEADING
    finer = max(1, round((takes.n_samples / _USUAL_FRAMES) ** (1 / 3)))
    return _whole(finer, len(takes.tracks)) if leading is None else _few(finer, leading)


def _whole(finer: int, n_sequences: int) -> Plan:
    """Return the stages in which all correlations count.

    Two sequences with bumps of their own fit chance if the last ridge is less than 1e-3; three
    and more do not agree on it, and follow the warps closer with 1e-4.
    """
    last = _LAST_RIDGE if n_sequences == 2 else _LAST_RIDGE_OF_MANY
    refine = (Stage(8, 1e-2), Stage(16, 1e-2))
    return Plan(
        coarse=(Stage(4, 1e-1), Stage(8, 1e-1), *refine),
        refine=refine,
        finish=(Stage(12 * finer, last), Stage(24 * finer, last, tolerance=1e-5)),
        settings=Settings(),
    )


def _few(finer: int, leading: tuple[int, int, int]) -> Plan:
    first, middle, last = leading
    refine = (Stage(8, 1e-1, first), Stage(16, 1e-1, middle))
    return Plan(
        coarse=(Stage(4, 1e-1, first), *refine),
        refine=refine,
        finish=(Stage(16 * finer, 3e-2, last), Stage(24 * finer, 3e-2, last, 1e-5)),
        settings=Settings(smoothness=1.0, smooth_speed=True),
    )


def is_chancy(takes: Takes) -> bool:
    """Tell whether chance correlations would outweigh the true ones.

    So it is with more than 24 whitened dimensions in all, on fewer than 50 frames for each:
    frames of a smooth motion are far from independent. Fewer dimensions have done better whole,
    on as few as three frames for each.
    """
    n_dims = sum(takes.dims)
    n_frames = min(int(track.lengths.sum()) for track in takes.tracks)
    return n_dims > _FEW_DIMS and n_frames < _FRAMES_A_DIM * n_dims
