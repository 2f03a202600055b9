"""Where a recording is cut: a time map as pieces that are played on, and the gaps between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmalign_cli.model import BoolArray, Float64Array, TimeMap

_STEEPEST = 4.0  # seconds of the one clock a second of the other: beyond, it is a cut or a pause
_LEAST_JUMP_S = 1.0  # of a warp, whose path may rest for a while on a sound that is held
_SAME_SPEED = 0.01  # a sixth of a semitone: resampling is not heard


@dataclass(frozen=True)
class Piece:
    """A stretch of the output during which the recording plays on.

    Parameters
    ----------
    begin_s, end_s : float
        On the output's clock; infinite at the two ends, where nothing is cut.
    backward : TimeMap
        From the output's clock to the recording's, there.
    """

    begin_s: float
    end_s: float
    backward: TimeMap


def is_warp(backward: TimeMap) -> bool:
    """Tell whether the speed of a map changes by more than is inaudible, apart from its jumps."""
    slopes = _slopes(backward)[~_is_steep(backward)]
    return bool((np.abs(slopes - 1) > _SAME_SPEED).any())


def pieces(backward: TimeMap) -> list[Piece]:
    """Return the pieces of a map, in order.

    Where one clock jumps while the other all but stands still, the recording was paused or a part
    is missing. It is left out or left silent, not stretched: on both sides the sound goes on at
    its own speed up to the middle of the shorter way.
    """
    knots, steps = backward.knots, np.diff(backward.knots, axis=0)
    least = _LEAST_JUMP_S if is_warp(backward) else 0.0
    jumps = _is_steep(backward) & (np.abs(steps[:, 0] - steps[:, 1]) >= least)
    cuts = np.flatnonzero(jumps)
    halves = steps[cuts].min(axis=1) / 2
    begins = [-math.inf, *(knots[cuts + 1, 0] - halves)]
    ends = [*(knots[cuts, 0] + halves), math.inf]
    runs = np.split(knots, cuts + 1)
    return [
        Piece(float(begin), float(end), TimeMap(backward.stream, backward.to, run))
        for begin, end, run in zip(begins, ends, runs, strict=True)
    ]


def _slopes(backward: TimeMap) -> Float64Array:
    steps = np.diff(backward.knots, axis=0)
    return np.asarray(steps[:, 1] / steps[:, 0])


def _is_steep(backward: TimeMap) -> BoolArray:
    slopes = _slopes(backward)
    return np.asarray((slopes > _STEEPEST) | (slopes < 1 / _STEEPEST))
