"""Step patterns (the slope constraint of DTW), as data. Imports nothing heavy.

A step is a move (reference frames, query frames) with the weight of the local cost at the cell
that it leads to. Where two steps lead to a cell at the same cost, the one that stands first here
is taken: the diagonal, then the one that advances the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmalign_cli.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Step:
    """One move and the weight of the cost where it ends."""

    reference: int
    query: int
    weight: float

    @property
    def is_diagonal(self) -> bool:
        """Whether both streams advance by one frame."""
        return self.reference == self.query == 1


@dataclass(frozen=True)
class StepPattern:
    """The moves that a path may make.

    Parameters
    ----------
    steps : tuple of Step
        In the order in which ties are broken.
    length : callable or None
        The divisor that makes totals of pairs of other lengths comparable, from the numbers of
        reference and query frames: the sum of weights that every path of the pattern has. None
        where paths differ in it.
    help : str
        One line.
    """

    steps: tuple[Step, ...]
    length: Callable[[int, int], int] | None
    help: str

    def normalized(self, total: float, n_reference: int, n_query: int) -> float | None:
        """Return `total` by the pattern's own normalisation, or None where it has none."""
        return None if self.length is None else total / self.length(n_reference, n_query)


STEP_PATTERNS: Mapping[str, StepPattern] = {
    "symmetric1": StepPattern(
        (Step(1, 1, 1), Step(1, 0, 1), Step(0, 1, 1)),
        None,
        "one frame of either stream or both, each step weighs 1",
    ),
    "symmetric2": StepPattern(
        (Step(1, 1, 2), Step(1, 0, 1), Step(0, 1, 1)),
        lambda n, m: n + m,
        "the same, the diagonal step weighs 2: no preference for diagonals",
    ),
    "asymmetric": StepPattern(
        (Step(1, 1, 1), Step(2, 1, 1), Step(0, 1, 1)),
        lambda n, m: m,
        "each query frame exactly once; the reference advances 0, 1 or 2 frames",
    ),
}


def step_pattern(name: str) -> StepPattern:
    """Return the pattern called `name`; UsageError lists the others."""
    if name not in STEP_PATTERNS:
        hint = did_you_mean(name, STEP_PATTERNS) or f"steps: {', '.join(STEP_PATTERNS)}"
        raise UsageError("--step", f"{name!r} is not a step pattern", hint)
    return STEP_PATTERNS[name]
