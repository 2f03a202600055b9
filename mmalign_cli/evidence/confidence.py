"""How far an alignment with fitted maps can be trusted.

Maps that were fitted along a path agree along it, right or wrong. Two questions remain honest:
what the maps of one part of the path are worth on the rest, and what the same search finds where
there is nothing to be found: in the query reversed, and in its stretches shuffled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmalign_cli.model import Float64Array, IntArray

STRETCHES = 8
_TIMES_CHANCE = 1.3
_LEAST_NATS = 0.1


def reversed_null(query: Float64Array) -> Float64Array:
    """Return the frames of a query (m, d), last first."""
    return np.ascontiguousarray(query[::-1])


def shuffled_null(query: Float64Array, seed: int) -> Float64Array:
    """Return eight stretches of a query (m, d) in an order in which none follows its own."""
    return np.asarray(query[shuffled_orders(len(query), [seed])[0]])


def shuffled_orders(frames: int, seeds: Sequence[int]) -> IntArray:
    """Return eight stretches of frames in orders in which none follows its own.

    Parameters
    ----------
    frames : int
    seeds : sequence of int
        One an order.

    Returns
    -------
    ndarray, shape (n_seeds, frames)
        The frame that stands at each place.
    """
    parts = min(STRETCHES, frames)
    orders = np.array([_order_of(parts, seed) for seed in seeds])
    lengths = np.full(parts, frames // parts)
    lengths[: frames % parts] += 1
    taken = lengths[orders]
    shifts = (np.cumsum(lengths) - lengths)[orders] - (np.cumsum(taken, axis=1) - taken)
    moved = np.repeat(shifts.ravel(), taken.ravel()).reshape(len(seeds), frames)
    return np.asarray(moved + np.arange(frames))


@functools.lru_cache(maxsize=4096)
def _order_of(parts: int, seed: int) -> tuple[int, ...]:
    """Return parts in an order in which none follows its own."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(parts)
    while parts > 3 and (np.diff(order) == 1).any():
        order = rng.permutation(parts)
    return tuple(order.tolist())


def judge(
    evidence: float,
    gains: Float64Array,
    search: Callable[[Float64Array], float],
    query: Sequence[Float64Array],
    seed: int,
    searches: int,
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
        Of the shuffled nulls.
    searches : int
        Shuffled nulls; 0 compares with no null at all.

    Returns
    -------
    dict
        ``evidence``, ``held_out_gains``, ``held_out_correlations``, the ``nulls`` (of those
        shuffled the greatest), ``p_value``, the share of nulls of as much evidence, itself counted,
        and whether the alignment is ``supported``: the evidence is at least 0.1 nats, and 1.3 times
        what any null gave.
    """
    nulls, against = {}, []
    if searches:
        nulls["reversed"] = search(np.concatenate([reversed_null(part) for part in query]))
        against = [
            search(np.concatenate([shuffled_null(part, seed + k) for part in query]))
            for k in range(searches)
        ]
        nulls["shuffled"] = max(against)
        against.append(nulls["reversed"])
    chance = max(0.0, *nulls.values()) if nulls else 0.0
    return {
        "evidence": evidence,
        "held_out_gains": [float(g) for g in gains],
        "held_out_correlations": [float(r) for r in np.sqrt(-np.expm1(-2 * np.maximum(gains, 0)))],
        "nulls": nulls,
        "p_value": (1 + sum(n >= evidence for n in against)) / (1 + len(against))
        if nulls
        else None,
        "supported": bool(evidence >= max(_LEAST_NATS, _TIMES_CHANCE * chance)),
    }


def warning_of(verdict: Mapping[str, Any]) -> str | None:
    """Return the warning that a verdict calls for."""
    if verdict["supported"]:
        return None
    nulls = ", ".join(f"{name} {value:.2f}" for name, value in verdict["nulls"].items())
    found = f"{verdict['evidence']:.2f} nats a step on held-out frames"
    chance = f", by chance ({nulls})" if nulls else ""
    return f"no evidence that the streams are related: {found}{chance}"
