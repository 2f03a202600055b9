"""What the aligners can be told, by name. Importing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALGORITHMS: Mapping[str, str] = {
    "joint": "total correlation, climbed over continuous warps from many starts",
    "alternating": "the paper's: maps by canonical correlations, path by DTW, in turns",
}

DEFAULT_ALGORITHM = "joint"

ALTERNATING_ALONE = ("init", "starts", "tol")
"""Options that mean nothing to the joint algorithm."""

GTW_ALGORITHMS: Mapping[str, str] = {
    "joint": "total correlation, or distance to the mean, over continuous warps",
    "gtw": "the papers': warps from bases, by Gauss-Newton",
    "pctw": "the papers': canonical variates to their mean, by DTW",
    "pdtw": "the papers': streams of the same columns to their mean, by DTW",
    "pddtw": "the papers': derivatives to their mean, by DTW",
    "pimw": "the papers': streams bent smoothly towards their mean, by DTW",
    "dba": "DTW barycentre averaging, from what all pairs agree on",
}

DCTW_ALGORITHMS: Mapping[str, str] = {
    "joint": "total correlation of the latents, climbed over weights and warps together",
    "alternating": "the papers': networks along the path, the path under the networks, in turns",
}

DCTW_COUPLING = "soft"
"""Of the alternating algorithm: a hard path is what it first memorises."""

PAIR_STARTS = ("gtw", "pctw")
"""Algorithms of many streams that also begin from the alignments of pairs."""

LEARNING_ALONE = (
    "algorithm", "dims", "regularization", "init", "starts", "max_iter", "tol", "robust", "strict"
)  # fmt: skip
"""Options that mean nothing where maps are given."""

INITS: Mapping[str, str] = {
    "auto": "all of the following",
    "uniform": "the straight line, and power laws on either side of it",
    "dtw": "DTW of the streams' activity and, with as many columns, of the streams",
    "selfsim": "the path of least cost between the streams' self-similarities",
}

COUPLINGS: Mapping[str, str] = {
    "hard": "one path in each round",
    "soft": "the expectation over all paths, cooled down to one",
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "reference": {
        "algorithm": "alternating",
        "coupling": "hard",
        "dims": 0.95,
        "regularization": 0.0,
        "init": "uniform",
        "starts": 1,
        "max_iter": 25,
        "tol": 0.01,
    },
}
"""Options that a preset sets: those of the programs that the published figures come from."""

SYNC_MODELS = ("offset", "drift", "piecewise", "warp")
"""What ``mmalign sync`` can find between two clocks."""

MOST_CONTEXT = 99
"""Frames that a network may see at once."""
