"""Labels in texts: cues of subtitles and the tiers of a TextGrid, and where their times stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from mmalign_cli.errors import InputError

CLOCK = r"(?:\d{1,9}:)?\d{1,2}:\d\d(?:[.,]\d{1,9})?"
"""A time of day or of a film: hours (may be missing), minutes, seconds, a fraction."""
NUMBER = r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?"
CUE_OPENING = rf"\s*(?:\d+[ \t]*\r?\n)?[ \t]*{CLOCK}[ \t]*-->"
PRAAT_OPENING = r'\s*(?:File type = )?"ooTextFile"'

Place = tuple[int, int]
"""Where something stands in a text: from, up to."""

_CUE = re.compile(rf"^[ \t]*({CLOCK})[ \t]*-->[ \t]*({CLOCK})", re.MULTILINE | re.ASCII)
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|![^\r\n]*|(?P<flag><[a-z]+>)|(?P<other>[^ \t\r\n"]+)'
)


@dataclass(frozen=True)
class Mark:
    """A label and the places of its times: of both its ends, or of the one time that it has."""

    places: tuple[Place, ...]
    label: str


@dataclass(frozen=True)
class Tier:
    """A tier of a TextGrid: its name, the places of its ends, its labels."""

    name: str
    ends: tuple[Place, Place]
    marks: tuple[Mark, ...]


def line_of(text: str, at: int) -> int:
    """Return the number of the line, from 1, in which a place of a text lies."""
    return len(re.findall(r"\r\n|\r|\n", text[:at])) + 1


def broken(path: str, text: str, at: int, what: str) -> InputError:
    """Return the error that something is wrong at a place of a text."""
    return InputError(path, f"line {line_of(text, at)}: {what}")


def clock_seconds(written: str) -> float:
    """Return the seconds of a time written as `CLOCK` says."""
    *above, seconds = written.replace(",", ".").split(":")
    total = Decimal(seconds)
    for k, part in enumerate(reversed(above)):
        total += int(part) * 60 ** (k + 1)
    return float(total)


def cue_times(text: str, line: re.Match[str], path: str) -> tuple[Place, Place] | None:
    """Return where the two times of a line of SubRip or WebVTT stand, None if it has none.

    Raises
    ------
    InputError
        If it should have them, and they cannot be read.
    """
    cue = _CUE.match(line[0])
    if cue:
        at = line.start()
        return (at + cue.start(1), at + cue.end(1)), (at + cue.start(2), at + cue.end(2))
    if re.match(r"[ \t]*[\d:.,]+[ \t]*-->", line[0]):
        raise broken(path, text, line.start(), "is not a time of a cue")
    return None


def cues_of(text: str, path: str) -> list[Mark]:
    """Return the cues of SubRip or WebVTT, each with its text."""
    marks: list[Mark] = []
    said: list[str] = []
    places: tuple[Place, ...] | None = None
    for line in re.finditer(r"^.*$", text, re.MULTILINE):
        times = cue_times(text, line, path) if "-->" in line[0] else None
        if times or not line[0].strip():
            if places:
                marks.append(Mark(places, " ".join(said)))
            places, said = times, []
        else:
            said.append(line[0].strip())
    return marks if places is None else [*marks, Mark(places, " ".join(said))]


def tiers_of(text: str, path: str) -> tuple[tuple[Place, Place], list[Tier]]:
    """Return the ends of a TextGrid, long or short, and its tiers.

    As Praat does, only what stands free counts: numbers and quoted texts; ``xmin =`` and
    ``intervals [1]:`` are decoration.

    Raises
    ------
    InputError
        If it is another file of Praat's, or ends early.
    """
    tokens = _Tokens(text, path)
    kind = [tokens.text(), tokens.text()]
    if kind != ["ooTextFile", "TextGrid"]:
        raise InputError(path, f"is a {kind[-1][:40]!r} of Praat, not a TextGrid")
    ends = tokens.number(), tokens.number()
    return ends, list(_tiers(tokens)) if tokens.flag() else []


def _tiers(tokens: _Tokens) -> Iterator[Tier]:
    for _ in range(tokens.count()):
        has_intervals = tokens.text() == "IntervalTier"
        name = tokens.text()
        ends = tokens.number(), tokens.number()
        marks = []
        for _ in range(tokens.count()):
            places = tuple(tokens.number() for _ in range(1 + has_intervals))
            marks.append(Mark(places, tokens.text()))
        yield Tier(name, ends, tuple(marks))


class _Tokens:
    """The free-standing numbers, texts and flags of a file of Praat's, one after the other."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path = text, path
        self._tokens = _TOKEN.finditer(text)

    def _next(self, group: str, pattern: str, wanted: str) -> re.Match[str]:
        for token in self._tokens:
            found = token[group]
            if found is not None and re.fullmatch(pattern, found, re.ASCII | re.DOTALL):
                return token
            if token["text"] is not None or re.fullmatch(NUMBER, token["other"] or "", re.ASCII):
                raise broken(self._path, self._text, token.start(), f"{wanted} is missing")
        raise broken(self._path, self._text, len(self._text), f"ends where {wanted} is missing")

    def text(self) -> str:
        return self._next("text", r".*", "a text")["text"]

    def number(self) -> Place:
        return self._next("other", NUMBER, "a number").span("other")

    def count(self) -> int:
        return int(self._next("other", r"\d{1,15}", "a count")["other"])

    def flag(self) -> bool:
        return self._next("flag", r".*", "<exists>")["flag"] == "<exists>"
