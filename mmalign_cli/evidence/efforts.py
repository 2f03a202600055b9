"""How much work goes into telling an alignment from chance: ``--confidence``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """What is compared with an alignment.

    Parameters
    ----------
    help : str
        For people.
    frames : int
        Of each stream at most, means of stretches, in the nulls of DTW.
    shuffles : int
        Nulls of DTW beside the reversed one.
    searches : int
        Nulls of CTW beside the reversed one: each is a search of its own.
    """

    help: str
    frames: int = 0
    shuffles: int = 0
    searches: int = 0


EFFORTS: Mapping[str, Effort] = {
    "none": Effort("nothing is compared"),
    "fast": Effort("a few nulls of coarse streams", 256, 19, 1),
    "full": Effort("many nulls", 1024, 99, 19),
}
DEFAULT_EFFORT = "fast"
