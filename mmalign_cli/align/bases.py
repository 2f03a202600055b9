"""Bases of continuous warps: monotone functions of common time, and the words that ask for them.

A warp is a combination of bases, each of which rises from 0 to 1 over the common time u in
[0, 1]: with weights that are not negative and sum to 1 it runs monotonically from a sequence's
first frame to its last. A specification lists kinds with the number of columns and parameters,
``pow:5,tanh:5`` or ``pow:3:0.4,tanh:3:0.6:1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.errors import UsageError, did_you_mean
from mmalign_cli.model import Float64Array

OFFSET = "offset"
_MOST_COLUMNS = 64
_FEWEST = 3
_SPAN = 3.0
_LARGEST = 50.0


@dataclass(frozen=True)
class Kind:
    """A kind of basis.

    Parameters
    ----------
    make : callable
        Common time (l,), number of columns and parameters to the columns (l, k), monotone, which
        are then brought to run from 0 to 1.
    parameters : mapping of str to float
        Those that may follow the number of columns, in order, and what they are by default.
    help : str
        One line.
    """

    make: Callable[..., Float64Array]
    parameters: Mapping[str, float]
    help: str


def _spaced(low: float, high: float, count: int) -> Float64Array:
    """Return numbers spread evenly from low to high; a single one stands in the middle."""
    return np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])


def _powers(u: Float64Array, count: int, spread: float) -> Float64Array:
    return np.asarray(u[:, np.newaxis] ** 10.0 ** _spaced(-spread, spread, count))


def _tanh(u: Float64Array, count: int, steepness: float, reach: float) -> Float64Array:
    x = _SPAN * (2.0 * u - 1.0)[:, np.newaxis]
    return np.asarray(np.tanh(steepness * (x - _spaced(-reach, reach, count))))


def _exponentials(u: Float64Array, count: int, spread: float) -> Float64Array:
    return np.asarray(np.exp(u[:, np.newaxis] * 10.0 ** _spaced(-spread, spread, count)))


def _logarithms(u: Float64Array, count: int, low: float, high: float) -> Float64Array:
    return np.asarray(np.log1p(u[:, np.newaxis] * (10.0 ** _spaced(low, high, count) - 1.0)))


def _steps(u: Float64Array, count: int) -> Float64Array:
    return np.asarray(u[:, np.newaxis] >= np.arange(1, count + 1) / (count + 1), dtype=np.float64)


def _splines(u: Float64Array, count: int, degree: float) -> Float64Array:
    """Return I-splines: sums of the B-splines from each one on (Ramsay, 1988)."""
    from scipy.interpolate import BSpline

    order = min(int(degree), count)
    inner = np.linspace(0.0, 1.0, count - order + 2)
    knots = np.concatenate([np.zeros(order), inner, np.ones(order)])
    each = BSpline.design_matrix(u, knots, order).toarray()
    return np.asarray(np.cumsum(each[:, ::-1], axis=1)[:, -2::-1])


KINDS: Mapping[str, Kind] = {
    "pow": Kind(_powers, {"spread": 0.4}, "u^w, log10 w evenly from -spread to spread"),
    "tanh": Kind(
        _tanh,
        {"steepness": 0.6, "reach": 1.0},
        "tanh(steepness (x - c)), x from -3 to 3, c evenly from -reach to reach",
    ),
    "exp": Kind(_exponentials, {"spread": 1.0}, "exp(w u), log10 w evenly from -spread to spread"),
    "log": Kind(
        _logarithms, {"low": 0.1, "high": 10.0}, "log(1 + (w - 1) u), log10 w from low to high"
    ),
    "step": Kind(_steps, {}, "jumps from first to last frame, evenly along u"),
    "spline": Kind(_splines, {"degree": 3.0}, "I-splines with evenly spaced knots"),
}
"""Name of a kind to it. `offset` stands beside them: it opens both ends."""


@dataclass(frozen=True)
class Basis:
    """What a specification asks for.

    Parameters
    ----------
    parts : tuple of (str, int, tuple of float)
        Kind, columns and parameters of each item.
    offset : bool
        Whether sequences may begin after their first frame and end before their last.
    """

    parts: tuple[tuple[str, int, tuple[float, ...]], ...]
    offset: bool

    def columns(self, n_steps: int, ends: OpenEnds) -> Float64Array:
        """Return the bases (n_steps, k) at even steps of common time.

        Weights that are not negative and sum to 1 make a warp, in shares of its sequence. An
        open beginning is one more column, of ones: the share skipped there; an open end one of
        zeros, as in `mmalign_cli.align.warps.ramps`.
        """
        u = np.linspace(0.0, 1.0, n_steps)
        made = [KINDS[kind].make(u, count, *values) for kind, count, values in self.parts]
        inner = np.hstack(made)
        inner = np.minimum((inner - inner[0]) / (inner[-1] - inner[0]), 1.0)
        inner = np.maximum.accumulate(inner)
        begin, end = ends.begin or self.offset, ends.end or self.offset
        before, after = np.ones((n_steps, int(begin))), np.zeros((n_steps, int(end)))
        return np.hstack([before, inner, after])

    def coarser(self) -> Basis:
        """Return half as many columns of each kind; three and fewer stay as they are."""
        parts = (
            (kind, max(-(-count // 2), min(count, _FEWEST)), values)
            for kind, count, values in self.parts
        )
        return Basis(tuple(parts), self.offset)

    def levels(self) -> list[Basis]:
        """Return this basis after the coarser ones, the coarsest first."""
        before = self.coarser()
        return [self] if before == self else [*before.levels(), self]


def nearest(basis: Float64Array, shares: Float64Array) -> Float64Array:
    """Return the weights (k,) of the warp nearest to given shares (l,) in the mean square.

    On the simplex ``|B w - p| = |(B - p 1') w|``, a point of least norm: non-negative least
    squares finds it up to scale with the row ``1' w = 1`` beside.
    """
    from scipy.optimize import nnls

    apart = np.vstack([basis - shares[:, np.newaxis], np.ones((1, basis.shape[1]))])
    right = np.concatenate([np.zeros(len(basis)), [1.0]])
    weights = nnls(apart, right)[0]
    return np.asarray(weights / weights.sum())


def parse(text: str) -> Basis:
    """Return the basis that a specification such as ``pow:5,tanh:5`` asks for.

    Parameters
    ----------
    text : str
        Items parted by commas: a kind, the number of its columns, and parameters, parted by
        colons; or ``offset``.

    Raises
    ------
    UsageError
        If it is not one; names the item.
    """
    items = [item.strip() for item in text.split(",")]
    parts = [_part(item, k) for k, item in enumerate(items, 1) if item != OFFSET]
    if not parts:
        raise UsageError("--basis", f"{text!r} holds no basis beside {OFFSET}", _hint())
    return Basis(tuple(parts), OFFSET in items)


def _part(item: str, place: int) -> tuple[str, int, tuple[float, ...]]:
    name, *words = (word.strip() for word in item.split(":"))
    where = f"item {place}, {item!r}"
    if name not in KINDS:
        hint = did_you_mean(name, [*KINDS, OFFSET]) or _hint()
        raise UsageError("--basis", f"{where}: {name!r} is not a kind of basis", hint)
    names = ["columns", *KINDS[name].parameters]
    usage = f"write {':'.join([name, *names])}, all but the columns optional"
    if not 1 <= len(words) <= len(names):
        raise UsageError("--basis", f"{where}: {len(words)} numbers, 1 to {len(names)}", usage)
    if not (words[0].isdecimal() and 1 <= int(words[0]) <= _MOST_COLUMNS):
        what = f"{where}: {words[0]!r} columns, a whole number from 1 to {_MOST_COLUMNS}"
        raise UsageError("--basis", what, usage)
    pairs = zip(names[1:], words[1:], strict=False)
    given = {parameter: _number(word, parameter, where, usage) for parameter, word in pairs}
    values = {**KINDS[name].parameters, **given}
    return name, int(words[0]), tuple(values.values())


def _number(word: str, parameter: str, where: str, usage: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= _LARGEST:
        what = f"{where}: {parameter} {word!r} is not a number above 0, at most {_LARGEST:g}"
        raise UsageError("--basis", what, usage)
    return value


def _hint() -> str:
    return f"kinds: {', '.join([*KINDS, OFFSET])}"
