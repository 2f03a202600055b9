"""Local costs between two frames, as data. Importing the table imports nothing heavy.

Every metric is a way to prepare the frames, then one of four kernels. So ``cosine`` is half the
squared Euclidean distance of unit vectors, which is exactly 0 for equal frames where 1 - cos is
0 only to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.kernels import codes

if TYPE_CHECKING:
    from mmalign_cli.model import Float64Array, FloatArray, IntArray

    Prepare = Callable[[Float64Array], Float64Array]
    Table = Callable[[Float64Array, Float64Array], Float64Array]


@dataclass(frozen=True)
class Metric:
    """A local cost.

    Parameters
    ----------
    kernel : int
        The kernel, by its number in `mmalign_cli.kernels.codes`.
    degree : int
        Scaling both streams by c scales the cost by c to this power.
    help : str
        The formula.
    prepare : callable or None
        Applied to the frames (n, d) of each stream first.
    table : callable or None
        Returns all costs (n, m) of two streams, whose dimensions may then differ.
    """

    kernel: int
    degree: int
    help: str
    prepare: Prepare | None = None
    table: Table | None = None


def _unit(values: Float64Array) -> Float64Array:
    """Scale frames to length sqrt(1/2); a zero frame points along an axis of its own.

    Half the squared distance of unit vectors is 1 - cos; the half goes into the length. With the
    axis of its own, a zero frame has cost 1 to every frame but another zero frame.
    """
    import numpy as np

    length = np.linalg.norm(values, axis=1, keepdims=True)
    zero = length == 0
    unit = np.hstack([values / np.where(zero, 1.0, length), zero.astype(np.float64)])
    return np.asarray(unit * np.sqrt(0.5), dtype=np.float64)


def _centred_unit(values: Float64Array) -> Float64Array:
    """Subtract each frame's mean over its dimensions, then scale as for cosine."""
    return _unit(values - values.mean(axis=1, keepdims=True))


def _selfsim(x: Float64Array, y: Float64Array) -> Float64Array:
    from mmalign_cli.align.selfsim import selfsim_costs

    return selfsim_costs(x, y)


_VALUES_AT_ONCE = 2**20
_FEW_VALUES = 2**12
_LARGEST_EXPONENT = 960  # of two: leaves room in float64 for sums of costs

METRICS: Mapping[str, Metric] = {
    "sqeuclidean": Metric(codes.SQEUCLIDEAN, 2, "sum of squared differences"),
    "euclidean": Metric(codes.EUCLIDEAN, 1, "square root of the sum of squared differences"),
    "cityblock": Metric(codes.CITYBLOCK, 1, "sum of absolute differences"),
    "chebyshev": Metric(codes.CHEBYSHEV, 1, "largest absolute difference"),
    "cosine": Metric(codes.SQEUCLIDEAN, 0, "1 - cosine of the angle between the frames", _unit),
    "correlation": Metric(
        codes.SQEUCLIDEAN, 0, "1 - correlation over the dimensions", _centred_unit
    ),
    "selfsim": Metric(
        codes.TABLE, 0, "how badly the frames' own distance rows can be warped", None, _selfsim
    ),
}


def metric_named(name: str) -> Metric:
    """Return the metric called `name`; UsageError lists the others."""
    if name not in METRICS:
        hint = did_you_mean(name, METRICS) or f"metrics: {', '.join(METRICS)}"
        raise UsageError("--metric", f"{name!r} is not a metric", hint)
    return METRICS[name]


@dataclass(frozen=True, eq=False)
class Comparable:
    """Two streams made ready for a kernel.

    Parameters
    ----------
    kernel : int
        Number of the kernel.
    x, y : ndarray, shape (n, d) and (m, d)
        Scaled so that no cost overflows or vanishes: float64, or the streams' own float32. For
        `codes.TABLE` frame i of x is the number i, and frame j of y the costs of all frames of x
        with it.
    scale : float
        What the kernel's costs are to be multiplied by.
    """

    kernel: int
    x: FloatArray
    y: FloatArray
    scale: float


def comparable(x: FloatArray, y: FloatArray, metric: str, subject: str) -> Comparable:
    """Prepare the frames of two streams for the kernel of `metric`.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
        Frames of the two streams.
    metric : str
        Name of the metric.
    subject : str
        For messages.

    Raises
    ------
    InputError
        If costs of that size, and sums of them, are beyond float64.
    """
    import numpy as np

    rule = metric_named(metric)
    frames: list[FloatArray] = [x, y]
    largest = max(_magnitude(values) for values in frames)
    exponent = _exponent_to_remove(largest)
    if exponent:
        frames = [np.ldexp(_double(values), -exponent) for values in frames]
    if rule.table is not None:  # each frame becomes its number, of the query its costs
        number = np.arange(len(x), dtype=np.float64)[:, np.newaxis]
        table = rule.table(*(_double(values) for values in frames))
        return Comparable(rule.kernel, read_only(number), read_only(table.T), 1.0)
    if rule.prepare is not None:
        frames = [rule.prepare(_double(values)) for values in frames]
    if len({values.dtype for values in frames} | {np.dtype(np.float32)}) > 1:
        frames = [_double(values) for values in frames]
    if abs(exponent * rule.degree) > _LARGEST_EXPONENT:
        verb = "overflow" if exponent > 0 else "vanish"
        what = f"values up to {largest:.3g}: their {metric} costs {verb}"
        raise InputError(subject, what, "scale them: normalize=zscore")
    first, second = (read_only(values) for values in frames)
    return Comparable(rule.kernel, first, second, 2.0 ** (exponent * rule.degree))


def read_only(values: FloatArray) -> FloatArray:
    """Return a view that cannot be written: numba compiles once for such arrays, once for others.

    So a kernel is compiled, for seconds, once and not for each way in which frames come.
    """
    view = values.view()
    view.flags.writeable = False
    return view


def _double(values: FloatArray) -> Float64Array:
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _magnitude(values: FloatArray) -> float:
    """Return the largest value without its sign, or another one about as harmless."""
    import math

    import numpy as np

    if values.size < _FEW_VALUES and values.flags.c_contiguous:
        length = math.sqrt(np.vdot(values, values))  # in a fourth of the time of the below
        if 2.0**-60 < length < 2.0**60:
            return length
    return max(float(values.max()), -float(values.min()))


def _exponent_to_remove(largest: float) -> int:
    """Return the power of two to divide by: 0 for all but extreme values."""
    import math

    exponent = math.frexp(largest)[1]
    return exponent if largest > 0 and abs(exponent) > 200 else 0


def costs_along(pair: Comparable, frames: IntArray) -> Float64Array:
    """Return the local cost of each step, (n_steps,), in the kernel's scale, in float64."""
    import numpy as np

    if pair.kernel == codes.TABLE:
        return np.asarray(pair.y[frames[:, 1], frames[:, 0]], dtype=np.float64)
    costs = np.empty(len(frames))
    steps = max(1, _VALUES_AT_ONCE // pair.x.shape[1])
    for first in range(0, len(frames), steps):
        part = slice(first, first + steps)
        costs[part] = _costs_along(pair, frames[part])
    return costs


def _costs_along(pair: Comparable, frames: IntArray) -> Float64Array:
    import numpy as np

    difference = np.abs(_double(pair.x[frames[:, 0]]) - _double(pair.y[frames[:, 1]]))
    if pair.kernel == codes.CITYBLOCK:
        return np.asarray(difference.sum(axis=1))
    if pair.kernel == codes.CHEBYSHEV:
        return np.asarray(difference.max(axis=1))
    squared = np.einsum("td,td->t", difference, difference)
    return np.asarray(np.sqrt(squared) if pair.kernel == codes.EUCLIDEAN else squared)
