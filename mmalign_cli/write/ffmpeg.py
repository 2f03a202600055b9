"""The command with which ffmpeg puts a video on another clock."""

from __future__ import annotations

import os
import shlex

import numpy as np

from mmalign_cli.model import TimeMap

_STEEPEST = 4.0  # as for sound: beyond, it is a cut or a pause


def ffmpeg_command(video: str, fixed: str | None, time_map: TimeMap, length_s: float) -> str:
    """Return a shell command that writes a video on the clock that a time map leads to.

    Each stretch of the video that is shown is cut out, played at its speed, and the gap before it
    is filled with its first picture; then they are joined.

    Parameters
    ----------
    video : str
        The file; the output is ``<stem>.synced<ending>`` beside it.
    fixed : str or None
        Its sound on the other clock, as `mmalign sync -o` writes it; None leaves the sound out.
    time_map : TimeMap
        From the video's seconds.
    length_s : float
        Of the output.
    """
    stem, ending = os.path.splitext(video)
    parts, filters, shown_to = stretches(time_map, length_s), [], 0.0
    for k, (begin, end, there, speed) in enumerate(parts):
        cut = f"trim=start={begin:.6f}" + ("" if end is None else f":end={end:.6f}")
        chain = f"[0:v]{cut},setpts=(PTS-STARTPTS)*{speed:.9f}"
        if there - shown_to > 1e-3:
            chain += f",tpad=start_duration={there - shown_to:.6f}:start_mode=clone"
        filters.append(f"{chain}[v{k}]")
        shown_to = length_s if end is None else there + (end - begin) * speed
    joined = "".join(f"[v{k}]" for k in range(len(parts)))
    filters.append(f"{joined}concat=n={len(parts)}:v=1:a=0[v]")
    sound = [] if fixed is None else ["-i", fixed]
    mapped = [] if fixed is None else ["-map", "1:a"]
    words = [
        "ffmpeg", "-i", video, *sound, "-filter_complex", ";".join(filters), "-map", "[v]",
        *mapped, "-t", f"{length_s:.6f}", f"{stem}.synced{ending}",
    ]  # fmt: skip
    return shlex.join(words)


def stretches(time_map: TimeMap, length_s: float) -> list[tuple[float, float | None, float, float]]:
    """Return the parts to show: begin, end (None: to its end), where they go, and their speed.

    Speed is seconds of the output a second of the video.
    """
    x, y = time_map.knots.T
    slopes = np.diff(y) / np.diff(x) if len(x) > 1 else np.ones(0)
    plain = np.flatnonzero((slopes <= _STEEPEST) & (slopes >= 1 / _STEEPEST))
    parts: list[tuple[float, float | None, float, float]] = []
    for j, k in enumerate(plain):
        begin, there, speed = float(x[k]), float(y[k]), float(slopes[k])
        if j == 0:  # before the first knot the clocks run alike
            there, begin = there - begin, 0.0
            there = float(time_map(0.0))
        end = None if j == len(plain) - 1 else float(x[k + 1])
        if there < 0:
            begin, there = begin - there / speed, 0.0
        if there < length_s and (end is None or begin < end):
            parts.append((begin, end, there, speed))
    return parts
