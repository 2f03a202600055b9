"""An alignment in a few lines for people."""

from __future__ import annotations

import numpy as np

from mmalign_cli.errors import printable
from mmalign_cli.evidence.metrics import Errors
from mmalign_cli.model import Alignment, Match, StreamInfo, TimeMap


def summary(alignment: Alignment) -> str:
    """Return the lines that a command prints when no JSON was asked for."""
    lines = [f"{alignment.method} of {len(alignment.streams)} streams"]
    lines += [f"  {_stream(s)}" for s in alignment.streams]
    if alignment.path is not None:
        moves = np.diff(alignment.path.frames, axis=0)
        both = (moves > 0).all(axis=1).mean() if len(moves) else 1.0
        lines.append(f"path   {alignment.path.n_steps} steps, {both:.0%} of them move all streams")
    cost = alignment.cost
    how = ", ".join(
        str(alignment.parameters[k]) for k in ("metric", "step") if k in alignment.parameters
    )
    normalized = "" if cost.normalized is None else f", normalized {cost.normalized:.6g}"
    lines.append(f"cost   total {cost.total:.6g}, mean {cost.mean:.4g}{normalized} ({how})")
    lines += [_time_map(m) for m in alignment.time_maps]
    lines += [_match(k, m) for k, m in enumerate(alignment.matches or (), start=1)]
    return "\n".join(lines)


def _match(number: int, match: Match) -> str:
    cost = f"total {match.cost.total:.6g}, mean {match.cost.mean:.4g}"
    return f"match  {number}: {match.start_s:.3f} to {match.end_s:.3f} s, {cost}"


def _stream(stream: StreamInfo) -> str:
    rate = "uneven" if stream.rate is None else f"{stream.rate:g} Hz"
    seconds = f"{stream.start_s:.3f} to {stream.end_s:.3f} s"
    shape = f"{stream.frames} frames x {stream.dims}"
    return f"{printable(stream.name)}: {shape} of {stream.features} at {rate}, {seconds}"


def _time_map(time_map: TimeMap) -> str:
    """Say how far apart two clocks are, and how their difference moves."""
    first, last = time_map.knots[0, 0], time_map.knots[-1, 0]
    at = np.linspace(first, last, 1001)
    lag = time_map(at) - at
    name, to = printable(time_map.stream), printable(time_map.to)
    begin, end = (f"{v:+.3f}" for v in (lag[0], lag[-1]))
    return (
        f"time   {name} -> {to}: {begin} s at the start, {end} s at the end, "
        f"between {lag.min():+.3f} and {lag.max():+.3f} s"
    )


def errors_text(errors: Errors) -> str:
    """Return the errors against a truth, for people."""
    lines = []
    if errors.path_difference is not None:
        lines.append(f"path difference   {errors.path_difference:.4g} frames")
    lines.append(f"mean error        {errors.mean_abs_frames:.4g} frames of the reference")
    median, p90 = errors.median_abs_seconds * 1000, errors.p90_abs_seconds * 1000
    lines.append(f"median, 90 %      {median:.3g} ms, {p90:.3g} ms")
    within = (
        f"{share:.1%} within {float(t) * 1000:g} ms" for t, share in errors.share_within.items()
    )
    lines.append(f"share             {', '.join(within)}")
    lines.append(f"points            {errors.points}")
    return "\n".join(lines)
