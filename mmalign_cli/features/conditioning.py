"""What is done to any feature's columns afterwards: derivatives and scaling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.features.motion import slope
from mmalign_cli.model import BoolArray, Float64Array, FloatArray, Stream

_CONSTANT_BELOW = 1e-12  # of the largest value: what rounding leaves of a constant


def derive(stream: Stream, order: int) -> Stream:
    """Return the `order`-th derivative by central differences, in units per second."""
    for _ in range(order):
        stream = replace(stream, values=slope(stream))
    return stream


def normalize(stream: Stream, how: str) -> Stream:
    """Scale each column by itself: ``zscore``, ``minmax`` or ``none``.

    Constant columns become 0, with a warning.

    Raises
    ------
    InputError
        If every column is constant.
    """
    if how == "none":
        return stream
    values = _near_one(stream.values)
    low, high = values.min(axis=0), values.max(axis=0)
    constant = high - low <= _CONSTANT_BELOW * np.maximum(np.abs(low), np.abs(high))
    if constant.all():
        raise InputError(stream.source, "every column is constant: nothing to align")
    if how == "zscore":
        centre, width = values.mean(axis=0), values.std(axis=0)
    else:
        centre, width = low, high - low
    scaled = (values - centre) / np.where(constant, 1.0, width)
    scaled[:, constant] = 0.0
    warnings = stream.warnings + _constant_warning(stream, constant)
    return replace(stream, values=scaled, warnings=warnings)


def _near_one(values: FloatArray) -> Float64Array:
    """Scale each column by a power of two so that squares neither overflow nor vanish."""
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    return np.asarray(np.ldexp(values.astype(np.float64), -exponent), dtype=np.float64)


def _constant_warning(stream: Stream, constant: BoolArray) -> tuple[str, ...]:
    if not constant.any():
        return ()
    which = [stream.columns[c] if stream.columns else str(c + 1) for c in np.flatnonzero(constant)]
    more = f" and {len(which) - 5} more" if len(which) > 5 else ""
    names = ", ".join(which[:5])
    return (f"{stream.source}: constant columns set to 0: {names}{more}",)
