"""Label files: how each is told, and where its times stand. Adding a format is one entry."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mmalign_cli.carry.spans import Span, clock_span, number_span
from mmalign_cli.errors import InputError
from mmalign_cli.streams.marks import (
    CLOCK,
    CUE_OPENING,
    NUMBER,
    PRAAT_OPENING,
    broken,
    cue_times,
    tiers_of,
)

Finder = Callable[[str, str, str], list[Span]]
"""``(text, path, recording) -> spans``; `recording` is the base name of the stream's file."""

_ANY_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True)
class LabelFormat:
    """A format of labels or subtitles.

    Parameters
    ----------
    label : str
        Its name in messages.
    extensions : tuple of str
        Name endings, with the dot.
    opening : str
        A regular expression that its beginning matches.
    find : Finder
        Finds its times.
    """

    label: str
    extensions: tuple[str, ...]
    opening: str
    find: Finder


_WITHIN_CUE = re.compile(rf"<({CLOCK})>", re.ASCII)


def find_cues(text: str, path: str, recording: str) -> list[Span]:
    """Return the times of SubRip or WebVTT cues, those within the text of a WebVTT cue too."""
    spans: list[Span] = []
    is_vtt = text.startswith("WEBVTT")
    for line in _ANY_LINE.finditer(text):
        places = list(cue_times(text, line, path) or ())
        if is_vtt and not places:
            within = _WITHIN_CUE.finditer(text, line.start(), line.end())
            places = [time.span(1) for time in within]
        spans += [clock_span(text, begin, end) for begin, end in places]
    return spans


def find_events(text: str, path: str, recording: str) -> list[Span]:
    """Return the starts and ends of ASS or SSA events, in the columns that their format says."""
    spans: list[Span] = []
    columns: list[str] | None = None
    in_events = False
    for line in _ANY_LINE.finditer(text):
        kind, colon, rest = line[0].partition(":")
        kind = kind.strip()
        if line[0].lstrip().startswith("["):
            in_events = line[0].strip().lower() == "[events]"
        elif in_events and colon and kind == "Format":
            columns = [name.strip().lower() for name in rest.split(",")]
        elif in_events and colon and kind in ("Dialogue", "Comment"):
            if columns is None:
                raise broken(path, text, line.start(), "an event before the Format line")
            spans += _event(text, path, line.end() - len(rest), line.end(), columns)
    return spans


def _event(text: str, path: str, at: int, end: int, columns: list[str]) -> Iterator[Span]:
    """Yield the times among the fields of an event, that stand from `at` to `end`."""
    for name, field in zip(columns, text[at:end].split(",", len(columns) - 1), strict=False):
        if name in ("start", "end"):
            begin = at + len(field) - len(field.lstrip())
            stop = begin + len(field.strip())
            if not re.fullmatch(CLOCK, text[begin:stop], re.ASCII):
                raise broken(path, text, at, f"{text[begin:stop][:40]!r} is not a time")
            yield clock_span(text, begin, stop)
        at += len(field) + 1


def find_praat_times(text: str, path: str, recording: str) -> list[Span]:
    """Return the times of a TextGrid, long or short."""
    ends, tiers = tiers_of(text, path)
    places = [*ends]
    for tier in tiers:
        places += [*tier.ends, *(place for mark in tier.marks for place in mark.places)]
    return [number_span(text, begin, end) for begin, end in places]


_SLOT = re.compile(r"<TIME_SLOT\b[^>]*?\bTIME_VALUE\s*=\s*[\"'](?P<value>[^\"']*)[\"']")
_MEDIA = re.compile(r"<MEDIA_DESCRIPTOR\b[^>]*>")


def find_slots(text: str, path: str, recording: str) -> list[Span]:
    """Return the time slots of an ELAN document; TIME_ORIGIN of its recording counts in."""
    header = re.search(r"<HEADER\b[^>]*>", text)
    units = _attribute(header[0], "TIME_UNITS") if header else None
    if units not in (None, "milliseconds"):
        raise InputError(path, f"time units {units[:40]!r} are not read here, only milliseconds")
    origin = _origin(text, path, recording)
    spans = []
    for slot in _SLOT.finditer(text):
        if not re.fullmatch(r"-?\d+", slot["value"], re.ASCII):
            what = f"time slot {slot['value'][:40]!r} is not a whole number"
            raise broken(path, text, slot.start(), what)
        spans.append(
            number_span(
                text, *slot.span("value"), per_second=1000, offset=origin, decimals=0, least=0
            )
        )
    return spans


def _origin(text: str, path: str, recording: str) -> int:
    """Return where the annotation's zero lies in its recording, in milliseconds."""
    media = [m[0] for m in _MEDIA.finditer(text)]
    same = [m for m in media if recording and _base_name(m) == recording]
    origin = _attribute((same or media)[0], "TIME_ORIGIN") if media else None
    if origin is None:
        return 0
    if not re.fullmatch(r"-?\d{1,15}", origin, re.ASCII):
        raise InputError(path, f"TIME_ORIGIN {origin[:40]!r} is not a number of milliseconds")
    return int(origin)


def _base_name(media: str) -> str:
    url = _attribute(media, "MEDIA_URL") or _attribute(media, "RELATIVE_MEDIA_URL") or ""
    return re.split(r"[/\\]", url)[-1]


def _attribute(text: str, name: str) -> str | None:
    match = re.search(rf"\b{name}\s*=\s*[\"']([^\"']*)[\"']", text)
    return match[1] if match else None


_MARK = re.compile(rf"({NUMBER})\t({NUMBER})(?=\t|$)", re.ASCII)


def find_marks(text: str, path: str, recording: str) -> list[Span]:
    """Return the times of an Audacity label track: start, end and text, tabs between them."""
    spans: list[Span] = []
    for line in _ANY_LINE.finditer(text):
        at = line.start()
        if line[0].startswith("\\") or not line[0].strip():  # frequencies of the label above
            continue
        mark = _MARK.match(line[0])
        if mark is None:
            raise broken(path, text, at, "is not a label: start, tab, end, tab, text")
        spans += [
            number_span(text, at + a, at + b, decimals=6) for a, b in (mark.span(1), mark.span(2))
        ]
    return spans


LABELS: dict[str, LabelFormat] = {
    "srt": LabelFormat("SubRip", (".srt",), CUE_OPENING, find_cues),
    "vtt": LabelFormat("WebVTT", (".vtt",), r"WEBVTT", find_cues),
    "ass": LabelFormat("ASS", (".ass", ".ssa"), r"\s*\[Script Info\]", find_events),
    "textgrid": LabelFormat("TextGrid", (".textgrid",), PRAAT_OPENING, find_praat_times),
    "eaf": LabelFormat(
        "ELAN",
        (".eaf",),
        r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<ANNOTATION_DOCUMENT",
        find_slots,
    ),
    "audacity": LabelFormat("Audacity labels", (".txt", ".labels"), _MARK.pattern, find_marks),
}


def label_format(path: str) -> LabelFormat | None:
    """Return the format of labels that the ending of a file's name stands for."""
    ending = os.path.splitext(path)[1].lower()
    return next((f for f in LABELS.values() if ending in f.extensions), None)
