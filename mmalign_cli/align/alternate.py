"""The papers' loop: project, warp, measure, stop; from one start or from many.

Coordinate descent on ``sum_ij ||V_i' X_i W_i - V_j' X_j W_j||_F^2``: the maps V for the path of the
last round, then the path W for those maps. The constraint of the maps moves with the path, so
nothing makes the alternation monotone, or makes it end: it may run in a circle, which is noticed.

What is alternated with the maps is an array: a path on frames, or the weights of the bases of
continuous warps, for which another measure of how far they moved is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.errors import InternalError
from mmalign_cli.model import IntArray

Maps = TypeVar("Maps")
Way = TypeVar("Way", bound="np.ndarray[Any, Any]")
"""A path in frames, (n_steps, m), or the weights (m, k) of warps."""

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Round(Generic[Maps, Way]):
    """One round: maps, and the path that follows from them.

    Parameters
    ----------
    maps
        Fitted along the path of the round before.
    path : ndarray, shape (n_steps, m)
        Or weights of warps, (m, k).
    objective : float
        Mean over the steps of the squared distance of the projected frames.
    """

    maps: Maps
    path: Way
    objective: float


@dataclass(frozen=True, eq=False)
class Descent(Generic[Maps, Way]):
    """The rounds from one start.

    Parameters
    ----------
    rounds : tuple of Round
        At least one.
    ending : {"converged", "cycle", "joined", "max-iter"}
        The path moved by less than the tolerance; or came back to that of an earlier round; or
        to that of an earlier start, whose rounds would follow; or the rounds ran out.
    period : int
        Rounds of the cycle; 0 without one.
    """

    rounds: tuple[Round[Maps, Way], ...]
    ending: str
    period: int = 0

    @property
    def candidates(self) -> tuple[Round[Maps, Way], ...]:
        """The rounds that the descent may stand for: the last, or all those of the cycle."""
        return self.rounds[-max(self.period, 1) :]

    @property
    def settled(self) -> Round[Maps, Way]:
        """The candidate of the least objective."""
        return min(self.candidates, key=lambda r: r.objective)

    def after(self, count: int) -> Round[Maps, Way]:
        """Return round `count`, from 1, of a loop that goes on round a cycle."""
        beyond = max(count - len(self.rounds), 0)
        return self.candidates[(beyond - 1) % max(self.period, 1)]


@dataclass(frozen=True, eq=False)
class Alternation(Generic[Maps, Way]):
    """The two halves of a round, and when to stop.

    Parameters
    ----------
    project : callable
        Path to maps.
    warp : callable
        Maps, and the path that they were fitted along, to the next path and objective.
    moved_at_most : callable
        Tells of two paths whether they differ by no more than a tolerance.
    max_rounds : int
    tolerance_frames : float
        Path difference at which a descent has converged.
    never_rises : bool
        Whether a round that raises the objective is a fault.
    """

    project: Callable[[Way], Maps]
    warp: Callable[[Maps, Way], tuple[Way, float]]
    moved_at_most: Callable[[Way, Way, float], bool]
    max_rounds: int = 50
    tolerance_frames: float = 0.01
    never_rises: bool = False

    def descend(
        self,
        path: Way,
        passed: set[bytes] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Descent[Maps, Way]:
        """Alternate from a path until nothing changes.

        Parameters
        ----------
        path : ndarray, shape (n_steps, m)
        passed : set of bytes, optional
            Paths of earlier descents, as `mark` has them; this one's are added.
        progress : callable, optional
            Told the rounds done; may raise to stop.
        """
        passed = set() if passed is None else passed
        own: dict[bytes, int] = {}
        rounds: list[Round[Maps, Way]] = []
        ending, period = "max-iter", 0
        for number in range(self.max_rounds):
            rounds.append(self._round(path, rounds))
            new = rounds[-1].path
            if progress is not None:
                progress(number + 1)
            here = mark(new)
            if self.moved_at_most(path, new, self.tolerance_frames):
                ending = "converged"
            elif here in own:
                ending, period = "cycle", number - own[here]
            elif here in passed:
                ending = "joined"
            if ending != "max-iter":
                break
            own[here] = number
            path = new
        passed.update(own)
        return Descent(tuple(rounds), ending, period)

    def _round(self, path: Way, before: Sequence[Round[Maps, Way]]) -> Round[Maps, Way]:
        """Do one round; what cannot come of one is a fault, and told with all that led to it."""
        objectives = [r.objective for r in before]
        state = {"round": len(before) + 1, "path": path, "objectives": objectives}
        try:
            maps = self.project(path)
            new, objective = self.warp(maps, path)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise InternalError(f"round {len(before) + 1}: {error}", state) from error
        what = f"round {len(before) + 1}: the objective is {objective!r}"
        if not math.isfinite(objective):
            raise InternalError(what, state)
        if self.never_rises and before:
            last = objectives[-1]
            if objective > last + _ROUNDING * max(abs(last), 1.0):
                raise InternalError(f"{what}, it was {last!r}", {**state, "next": new})
        return Round(maps, new, objective)

    def descend_all(
        self, starts: Sequence[Way], progress: runtime.Progress = runtime.silent
    ) -> list[Descent[Maps, Way]]:
        """Descend from each start, in order; one that joins an earlier one's way ends there."""
        passed: set[bytes] = set()
        descents = []
        total = len(starts) * self.max_rounds
        for number, start in enumerate(starts):
            stage, before = f"start {number + 1} of {len(starts)}", number * self.max_rounds

            def tell(done: int, stage: str = stage, before: int = before) -> None:
                progress(stage, before + done, total)

            descents.append(self.descend(start, passed, tell))
        return descents


def mark(path: np.ndarray[Any, Any]) -> bytes:
    """Return what tells a path from every other."""
    return path.tobytes()


def moved_at_most(before: IntArray, after: IntArray, tolerance_frames: float) -> bool:
    """Tell whether two frame paths differ by no more than a path difference.

    It is the mean distance of the steps of each to the nearest step of the other. A step that
    both have adds 0 to it and any other at least 1, so the share of the latter is a bound that
    needs no search.

    Parameters
    ----------
    before, after : ndarray, shape (n_steps, m)
        The numbers of steps may differ.
    tolerance_frames : float
    """
    if before.shape == after.shape and bool((before == after).all()):
        return True
    times = [reduce(np.add, path.T) for path in (before, after)]
    lonely_before = _alone(before, after, *times)
    lonely_after = _alone(after, before, *times[::-1])
    steps = len(before) + len(after)
    if len(lonely_before) + len(lonely_after) > tolerance_frames * steps:
        return False
    from scipy.spatial import cKDTree

    apart = float(np.sum(cKDTree(after).query(lonely_before)[0]))
    apart += float(np.sum(cKDTree(before).query(lonely_after)[0]))
    return apart <= tolerance_frames * steps


def _alone(path: IntArray, other: IntArray, own: IntArray, others: IntArray) -> IntArray:
    """Return the steps of a path that another has not.

    `own` and `others` are the sums of the frames of their steps. These grow with every step, so
    that of the other path one step at most can equal.
    """
    at = np.minimum(np.searchsorted(others, own), len(others) - 1)
    apart = [theirs.take(at) != ours for theirs, ours in zip(other.T, path.T, strict=True)]
    return np.asarray(path[reduce(np.logical_or, apart)])
