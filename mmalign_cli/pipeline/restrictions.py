"""What the options of ``mmalign dtw`` ask of a path, and whether any path does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmalign_cli.align.custom_steps import pattern_of
from mmalign_cli.align.dtw import smallest_radius
from mmalign_cli.align.problem import NO_ANCHORS, Ends
from mmalign_cli.align.rows import is_feasible
from mmalign_cli.align.steps import StepPattern, is_step_file, step_pattern
from mmalign_cli.align.windows import (
    BANDS,
    Window,
    everything,
    from_mask,
    itakura,
    parse_radius,
)
from mmalign_cli.errors import AlignmentError, UsageError
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT
from mmalign_cli.model import IntArray, Stream
from mmalign_cli.streams.anchors import load_anchors
from mmalign_cli.streams.mask import load_mask
from mmalign_cli.streams.step_file import load_step


@dataclass(frozen=True)
class DtwSettings:
    """The options of ``mmalign dtw``; None where the default depends on the streams."""

    metric: str | None = None
    step: str = "symmetric1"
    window: str = "none"
    radius: str | None = None
    max_slope: float = 2.0
    penalty: float = 0.0
    open_begin: bool = False
    open_end: bool = False
    subsequence: bool = False
    top: int = 1
    anchors: str | None = None
    approximate: bool | None = None
    confidence: str = DEFAULT_EFFORT
    seed: int = 0

    @property
    def ends(self) -> Ends:
        """The boundary conditions."""
        return Ends(self.open_begin or self.subsequence, self.open_end or self.subsequence)


@dataclass(frozen=True, eq=False)
class Restrictions:
    """What a path of two streams must obey.

    Parameters
    ----------
    pattern : StepPattern
    window : Window
    ends : Ends
    anchors : ndarray, shape (k, 2)
        Cells that it must hold.
    """

    pattern: StepPattern
    window: Window
    ends: Ends
    anchors: IntArray


def restrictions_of(streams: Sequence[Stream], settings: DtwSettings) -> Restrictions:
    """Read what the options name, and build what they ask for.

    Raises
    ------
    UsageError
        If options do not fit together.
    InputError
        If a file they name is rejected.
    """
    pattern = _pattern(settings.step)
    window = _window(streams, settings)
    anchors = NO_ANCHORS if settings.anchors is None else load_anchors(settings.anchors, streams)
    return Restrictions(pattern, window, settings.ends, anchors)


def _pattern(step: str) -> StepPattern:
    return pattern_of(load_step(step), step) if is_step_file(step) else step_pattern(step)


def _window(streams: Sequence[Stream], settings: DtwSettings) -> Window:
    """Build the warping window of two streams."""
    n, m = streams[0].n_frames, streams[1].n_frames
    if settings.window in BANDS:
        if settings.radius is None:
            hint = f"for example --window {settings.window} --radius 10%"
            raise UsageError("--radius", f"--window {settings.window} needs a radius", hint)
        return BANDS[settings.window](n, m, radius_frames(streams, settings.radius))
    if settings.radius is not None and not settings.approximate:
        raise UsageError("--radius", f"means nothing with --window {settings.window}")
    if settings.window == "itakura":
        return itakura(n, m, settings.max_slope)
    if settings.window == "none":
        return everything(n, m)
    return from_mask(load_mask(settings.window), n, m, settings.window)


def radius_frames(streams: Sequence[Stream], radius: str) -> int:
    """Return a radius in frames of the reference."""
    n, m = streams[0].n_frames, streams[1].n_frames
    return parse_radius(radius).frames(n, m, streams[0].period_s)


def require_path(
    streams: Sequence[Stream], settings: DtwSettings, restrictions: Restrictions
) -> None:
    """Refuse, before any cost is computed, what no path can do.

    Raises
    ------
    AlignmentError
        With the smallest radius that would do, where one would.
    """
    reference, query = streams
    n, m = reference.n_frames, query.n_frames
    if _holds_path(restrictions, m, len(restrictions.anchors)):
        return
    impossible = _first_impossible_anchor(restrictions, m)
    through = ""
    if impossible:
        i, j = restrictions.anchors[impossible - 1]
        through = f" through anchor {impossible} ({reference.times[i]:g} s, {query.times[j]:g} s)"
    subject = f"{reference.name}, {query.name}"
    if settings.window in BANDS:
        least = smallest_radius(
            settings.window, n, m, restrictions.pattern, restrictions.ends, restrictions.anchors
        )
        if least is not None:
            what = f"no path inside {settings.window} radius {settings.radius}{through}"
            raise AlignmentError(subject, f"{what}; the smallest that holds one is {least} frames")
    what = f"no path of {settings.step} from {m} query frames to {n} reference frames{through}"
    if settings.window != "none":
        what += f" inside window {settings.window}"
    anchors = "fewer anchors, " if impossible else ""
    raise AlignmentError(subject, what, f"use {anchors}--step symmetric1, or a wider window")


def _holds_path(restrictions: Restrictions, m: int, n_anchors: int) -> bool:
    r = restrictions
    return is_feasible(r.window, r.pattern, m, r.ends, r.anchors[:n_anchors])


def _first_impossible_anchor(restrictions: Restrictions, m: int) -> int:
    """Return the number of the first anchor with which no path remains; 0: there never was one."""
    low, high = 0, len(restrictions.anchors)
    while low < high:
        middle = (low + high) // 2
        if _holds_path(restrictions, m, middle):
            low = middle + 1
        else:
            high = middle
    return low
