"""How far an alignment with fitted maps can be trusted.

Maps that were fitted along a path agree along it, right or wrong. Two questions remain honest:
what the maps of one part of the path are worth on the rest, and what the same search finds where
there is nothing to be found: in the query reversed, and in its stretches shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmalign_cli.model import Float64Array

STRETCHES = 8
_TIMES_CHANCE = 1.3
_LEAST_NATS = 0.1


def reversed_null(query: Float64Array) -> Float64Array:
    """Return the frames of a query (m, d), last first."""
    return np.ascontiguousarray(query[::-1])


def shuffled_null(query: Float64Array, seed: int) -> Float64Array:
    """Return eight stretches of a query (m, d) in an order in which none follows its own."""
    parts = np.array_split(query, min(STRETCHES, len(query)))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(parts))
    while len(parts) > 3 and (np.diff(order) == 1).any():
        order = rng.permutation(len(parts))
    return np.concatenate([parts[k] for k in order])


def judge(
    evidence: float,
    gains: Float64Array,
    search: Callable[[Float64Array], float],
    query: Sequence[Float64Array],
    seed: int,
) -> Mapping[str, Any]:
    """Compare the evidence of an alignment with what chance gives.

    Parameters
    ----------
    evidence : float
        Nats a step that the maps gain on held-out stretches.
    gains : ndarray, shape (k,)
        By canonical dimension.
    search : callable
        The evidence that the same search finds for another query.
    query : sequence of ndarray, shape (m, d)
        Of each take.
    seed : int
        Of the shuffled null.

    Returns
    -------
    dict
        ``evidence``, ``held_out_gains``, ``held_out_correlations``, the ``nulls`` and whether
        the alignment is ``supported``: the evidence is at least 0.1 nats, and 1.3
        times what either null gave.
    """
    nulls = {
        "reversed": search(np.concatenate([reversed_null(part) for part in query])),
        "shuffled": search(np.concatenate([shuffled_null(part, seed) for part in query])),
    }
    chance = max(0.0, *nulls.values())
    return {
        "evidence": evidence,
        "held_out_gains": [float(g) for g in gains],
        "held_out_correlations": [float(r) for r in np.sqrt(-np.expm1(-2 * np.maximum(gains, 0)))],
        "nulls": nulls,
        "supported": bool(evidence >= max(_LEAST_NATS, _TIMES_CHANCE * chance)),
    }


def warning_of(verdict: Mapping[str, Any]) -> str | None:
    """Return the warning that a verdict calls for."""
    if verdict["supported"]:
        return None
    nulls = ", ".join(f"{name} {value:.2f}" for name, value in verdict["nulls"].items())
    found = f"{verdict['evidence']:.2f} nats a step on held-out frames"
    return f"no evidence that the streams are related: {found}, by chance ({nulls})"
