"""Where the alternation begins: simple paths that need no projection.

Coordinate descent finds the nearest local optimum, so that where it begins decides where it ends
(Zhou and De la Torre start from the straight line, or from DTW where the streams can be compared).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.selfsim import COARSE_FRAMES, coarsened
from mmalign_cli.align.windows import slanted
from mmalign_cli.errors import AlignmentError
from mmalign_cli.model import Float64Array, IntArray

POWER_LAWS = 9
_WIDEST = 0.8
_SMOOTHING = 0.02
_ENVELOPE_PENALTY = 1.0
_ENVELOPE_WINDOW = 0.25


@dataclass(frozen=True, eq=False)
class Start:
    """A path to begin from, and what it is called in the document."""

    name: str
    path: IntArray


def bent_line(n: int, m: int, exponent: float = 1.0, length: int | None = None) -> IntArray:
    """Return the path on which one stream follows a power of the other's share, (length, 2).

    Parameters
    ----------
    n, m : int
        Frames of the two streams.
    exponent : float
        ``u -> ((n - 1) u, (m - 1) u^exponent)``, rounded; 1 is the straight line.
    length : int, optional
        Steps; by default 300, or 1.1 times the longer stream where that is more, which are the
        reference programs' for made and for recorded sequences.
    """
    u = np.linspace(0.0, 1.0, length or max(300, int(1.1 * max(n, m) + 0.5)))
    shares = np.column_stack([u * (n - 1), u**exponent * (m - 1)])
    return np.floor(shares + 0.5).astype(np.int64)


def power_laws(n: int, m: int, count: int = POWER_LAWS) -> list[Start]:
    """Return `count` bent lines, the straight one first, exponents e^-0.8 ... e^0.8.

    Ordered from the straight one outwards, so that fewer are the milder ones.
    """
    spread = np.linspace(-_WIDEST, _WIDEST, count) if count > 1 else np.zeros(1)
    if count > 1 and count % 2 == 0:
        spread = np.append(spread, 0.0)
    bends = sorted((float(b) for b in spread), key=abs)[:count]
    return [
        Start("uniform" if abs(b) < 1e-12 else f"power {np.exp(b):.3g}", _line(n, m, b))
        for b in bends
    ]


def _line(n: int, m: int, bend: float) -> IntArray:
    return bent_line(n, m, float(np.exp(bend)))


def activity(frames: Float64Array) -> Float64Array:
    """Return how much a stream moves at each frame, (n, 1), with mean 0 and variance 1.

    The square root of the rms speed over the columns, each in units of its own deviation, under a
    moving mean of 2 % of the stream: two sensors of one movement that share no column share that.
    """
    scale = frames.std(axis=0)
    columns = frames[:, scale > 0] / scale[scale > 0]
    if len(frames) < 3 or not columns.shape[1]:
        return np.zeros((len(frames), 1))
    speed = np.sqrt((np.gradient(columns, axis=0) ** 2).mean(axis=1))
    width = 2 * int(_SMOOTHING * len(frames) / 2) + 1
    padded = np.pad(speed, width // 2, mode="edge")
    envelope = np.sqrt(np.convolve(padded, np.full(width, 1.0 / width), "valid"))
    deviation = float(envelope.std())
    return np.asarray(((envelope - envelope.mean()) / (deviation or 1.0))[:, np.newaxis])


def envelope_path(x: Float64Array, y: Float64Array) -> IntArray | None:
    """Return the DTW path of the two activity envelopes, within a quarter of the length.

    A step that is not diagonal costs 1 more; None where the band holds no path.
    """
    n, m = len(x), len(y)
    window = slanted(n, m, int(np.ceil(_ENVELOPE_WINDOW * max(n, m))))
    try:
        warp = dtw(activity(x), activity(y), penalty=_ENVELOPE_PENALTY, window=window)
    except AlignmentError:
        return None
    return warp.frames


def dtw_starts(x: Float64Array, y: Float64Array) -> list[Start]:
    """Return DTW of the activity envelopes and, where the columns are as many, of the streams."""
    found = []
    if x.shape[1] == y.shape[1]:
        found.append(Start("dtw", dtw(x, y).frames))
    envelope = envelope_path(x, y)
    return [*found, *([] if envelope is None else [Start("envelope", envelope)])]


def selfsim_starts(x: Float64Array, y: Float64Array) -> list[Start]:
    """Return the path of least cost between the self-similarities of the streams' stretches."""
    coarse = [coarsened(v, COARSE_FRAMES) for v in (x, y)]
    path = dtw(coarse[0], coarse[1], metric="selfsim").frames
    middles = [
        (path[:, k] + 0.5) * len(v) / len(c) - 0.5
        for k, (v, c) in enumerate(zip((x, y), coarse, strict=True))
    ]
    corners = ((0.0, len(x) - 1.0), (0.0, len(y) - 1.0))
    ends = [np.concatenate([[a], q, [b]]) for q, (a, b) in zip(middles, corners, strict=True)]
    steps = np.linspace(0.0, len(path) + 1.0, max(300, 2 * max(len(x), len(y))))
    fine = [np.interp(steps, np.arange(len(path) + 2), q) for q in ends]
    return [Start("selfsim", np.floor(np.column_stack(fine) + 0.5).astype(np.int64))]


def within(start: Start, n: int, low: float, high: float) -> Start:
    """Return a start squeezed into a part of the reference, for ends that are open."""
    path = start.path.copy()
    path[:, 0] = np.floor(low * (n - 1) + path[:, 0] * (high - low) + 0.5)
    return Start(f"{start.name} in {low:.0%} to {high:.0%}", path)


def _uniform(x: Float64Array, y: Float64Array) -> list[Start]:
    return power_laws(len(x), len(y))


def _auto(x: Float64Array, y: Float64Array) -> list[Start]:
    return [*_uniform(x, y), *dtw_starts(x, y), *selfsim_starts(x, y)]


STARTS: Mapping[str, Callable[[Float64Array, Float64Array], list[Start]]] = {
    "auto": _auto,
    "uniform": _uniform,
    "dtw": dtw_starts,
    "selfsim": selfsim_starts,
}
"""Name in `mmalign_cli.align.choices.INITS` to its starts, the most likely ones first."""
