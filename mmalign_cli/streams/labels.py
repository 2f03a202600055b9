"""Labels and subtitles as streams: what is said, or whether anything is, at each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.marks import Mark, clock_seconds, cues_of, tiers_of
from mmalign_cli.streams.points import part_of, unique, with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import DEFAULT_HOP, Options

ANY, ONSET = "any", "onset"


@dataclass(frozen=True)
class _Label:
    """A label from a second to a second; a point in time has no length."""

    begin_s: float
    end_s: float
    text: str


def read_subtitles(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read SubRip or WebVTT.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``rate``: frames per second, by default one a hop; ``columns`` and ``encoding``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        ``any``: 1 while a cue is shown; ``onset``: 1 in the frame in which one begins. The cues'
        own texts are columns where ``columns=`` names them.

    Raises
    ------
    InputError
        If a time cannot be read, or there are no cues.
    LimitError
        If the stream would be larger than ``max_bytes``.
    """
    text = "\n".join(text_lines(source, options))
    labels = []
    for cue in cues_of(text, source.path):
        begin_s, end_s = (clock_seconds(text[a:b]) for a, b in cue.places)
        labels.append(_Label(begin_s, end_s, cue.label))
    content = _stream(labels, 0.0, 0.0, f"{len(labels)} cues", source, options)
    return with_columns(content, options, source.path, content.columns[2:])


def read_textgrid(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a tier of a TextGrid.

    Parameters
    ----------
    source : Source
        The file, long or short.
    options : Options
        ``key``: the tier; ``rate``: frames per second, by default one a hop; ``columns`` and
        ``encoding``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        A column for each label, in the order of the alphabet: 1 while it holds, or in the frame
        of its point in time. ``any`` and ``onset``, as of subtitles, are there only where
        ``columns=`` names them.

    Raises
    ------
    InputError
        If it is damaged, ``key=`` is needed, or the tier has no labels.
    LimitError
        If the stream would be larger than ``max_bytes``.
    """
    text = "\n".join(text_lines(source, options))
    (start, end), tiers = tiers_of(text, source.path)
    names = unique(tier.name for tier in tiers)
    name = part_of(names, options, source.path, None)
    tier = tiers[names.index(name)]

    def seconds(place: tuple[int, int]) -> float:
        return float(text[slice(*place)].replace(",", "."))

    def label(mark: Mark) -> _Label:
        return _Label(seconds(mark.places[0]), seconds(mark.places[-1]), mark.label.strip())

    labels = [label(mark) for mark in tier.marks if mark.label.strip()]
    note = f"tier {name} of {', '.join(names[:5])}: {len(labels)} labels"
    content = _stream(labels, seconds(start), seconds(end), note, source, options)
    return with_columns(content, options, source.path, content.columns[:2])


def _stream(
    labels: Sequence[_Label],
    start_s: float,
    end_s: float,
    note: str,
    source: Source,
    options: Options,
) -> Content:
    """Return ``any``, ``onset`` and each distinct label over time, 0 or 1."""
    if not labels:
        raise InputError(source.path, "holds no labels")
    rate = options.rate or 1 / (options.hop or DEFAULT_HOP)
    names = sorted({label.text for label in labels})
    n_frames = _n_frames(labels, start_s, end_s, float(rate), len(names) + 2, source, options)
    values = np.zeros((n_frames, len(names) + 2), dtype=np.uint8)
    column = {name: k for k, name in enumerate(names, 2)}
    for label in labels:
        first = round((label.begin_s - start_s) * float(rate))
        stop = max(first + 1, round((label.end_s - start_s) * float(rate)))
        values[first:stop, [0, column[label.text]]] = 1
        values[first, 1] = 1
    columns = unique([ANY, ONSET, *names])
    return Content(values, "table", None, rate, start_s, columns, (note,))


def _n_frames(
    labels: Sequence[_Label],
    start_s: float,
    end_s: float,
    rate: float,
    n_columns: int,
    source: Source,
    options: Options,
) -> int:
    """Return how many frames the labels take; refuse times that cannot be, or are too many."""
    first = min(label.begin_s for label in labels)
    last = max(end_s, *(label.end_s for label in labels), *(label.begin_s for label in labels))
    if not (np.isfinite([start_s, first, last]).all() and first >= start_s):
        raise InputError(source.path, f"a label begins at {first:g} s, before {start_s:g} s")
    backwards = [label for label in labels if label.end_s < label.begin_s]
    if backwards:
        raise InputError(source.path, f"the label at {backwards[0].begin_s:g} s ends before it")
    n_frames = (last - start_s) * rate + 1
    n_bytes = n_frames * n_columns * np.dtype(np.float64).itemsize
    if n_bytes > options.max_bytes:
        shown = format_size(int(min(n_bytes, 1e18)))
        what = f"lasts {last - start_s:.0f} s and takes {shown} as a stream of labels"
        raise LimitError(source.path, what, "use a lower rate=, or raise max-bytes=")
    latest = max(label.begin_s for label in labels)
    return max(round((last - start_s) * rate), 1 + round((latest - start_s) * rate))
