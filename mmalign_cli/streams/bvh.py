"""Biovision hierarchies: a skeleton and its channels, or where its joints are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.points import axes_of, numbers_of, part_of, unique, with_columns
from mmalign_cli.streams.skeleton import Joint, positions
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import rate_of_period

_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)
_MAX_CHANNELS = 65_536
PARTS = ("angles", "positions")


def read_bvh(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a BVH file.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``key``: ``angles`` (the channels as they are, the default) or ``positions`` (x, y, z of
        each joint, by forward kinematics); ``columns``, ``encoding`` and ``allow_truncated``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        Degrees and lengths as the file has them, (n_frames, n_columns).

    Raises
    ------
    InputError
        With the line, where it is not a BVH file, or holds fewer frames than it promises.
    """
    part = part_of(PARTS, options, source.path, "angles")
    lines = text_lines(source, options)
    tree = _Tree(source.path)
    at = tree.read(lines)
    n_frames, rate, at = _motion_header(lines, at, source.path)
    motion, warnings = _frames(lines, at, n_frames, len(tree.channels), source, options)
    values, columns = motion, unique(tree.channels)
    if part == "positions":
        columns = axes_of(unique(joint.name for joint in tree.joints))
        values = positions(tree.joints, motion)
    note = f"{tree.n_named} joints, {len(tree.channels)} channels; {part}"
    content = Content(values, "table", None, rate, 0.0, columns, (note,), warnings)
    return with_columns(content, options, source.path)


@dataclass
class _Tree:
    """The hierarchy as far as it has been read."""

    subject: str
    joints: list[Joint] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    n_named: int = 0
    _open: list[int] = field(default_factory=list)
    _braces: list[bool] = field(default_factory=list)

    def read(self, lines: list[str]) -> int:
        """Read up to the line MOTION; return the number of lines until after it."""
        for at, line in enumerate(lines):
            words = line.split()
            if not words:
                continue
            if words[0].upper() == "MOTION" and not self._open:
                if not self.channels:
                    raise self._broken(at, "a hierarchy without channels")
                return at + 1
            self._line(words, at)
        raise self._broken(len(lines) - 1, "the file ends before MOTION: truncated?")

    def _line(self, words: list[str], at: int) -> None:
        word = words[0].upper()
        if word in ("ROOT", "JOINT", "END"):
            self._joint(word, " ".join(words[1:]), at)
        elif word == "OFFSET" and self._open and len(words) == 4:
            offset = numbers_of(words[1:], f"line {at + 1}", self.subject)
            self._change(offset=offset)
        elif word == "CHANNELS" and self._open:
            self._add_channels(words[1:], at)
        elif word == "{" and self._open:
            pass
        elif word == "}" and self._open:
            self._open.pop()
        elif word != "HIERARCHY":
            raise self._broken(at, f"{words[0][:40]!r} is out of place in a hierarchy")

    def _joint(self, word: str, name: str, at: int) -> None:
        name = name.removesuffix("{").strip()
        parent = self._open[-1] if self._open else -1
        if (word == "ROOT") != (parent < 0) or not name:
            raise self._broken(at, f"{word} is out of place")
        self.n_named += word != "END"
        if word == "END":
            name = f"{self.joints[parent].name}_end"
        self._open.append(len(self.joints))
        self.joints.append(Joint(name, parent, np.zeros(3)))

    def _add_channels(self, words: list[str], at: int) -> None:
        kinds = [_CHANNEL.fullmatch(word) for word in words[1:]]
        if not words or words[0] != str(len(kinds)) or not all(kinds):
            raise self._broken(at, "CHANNELS takes a count and as many of Xposition ... Zrotation")
        first = len(self.channels)
        named = [(m[1].lower(), m[2].lower(), first + k) for k, m in enumerate(kinds) if m]
        turns = tuple((axis, column) for axis, kind, column in named if kind == "rotation")
        shifts = tuple(("xyz".index(a), c) for a, kind, c in named if kind == "position")
        name = self.joints[self._open[-1]].name
        self.channels += [f"{name}_{axis.upper()}{kind}" for axis, kind, _ in named]
        if len(self.channels) > _MAX_CHANNELS:
            raise self._broken(at, f"more than {_MAX_CHANNELS} channels")
        self._change(turns=turns, shifts=shifts)

    def _change(self, **fields: Any) -> None:
        self.joints[self._open[-1]] = replace(self.joints[self._open[-1]], **fields)

    def _broken(self, at: int, what: str) -> InputError:
        return InputError(self.subject, f"line {at + 1}: {what}")


def _motion_header(lines: list[str], at: int, subject: str) -> tuple[int, Fraction, int]:
    """Return the number of frames, their rate, and the line after both."""
    found: list[str] = []
    for name in ("Frames", "Frame Time"):
        while at < len(lines) and not lines[at].strip():
            at += 1
        key, colon, value = (lines[at] if at < len(lines) else "").partition(":")
        if not colon or key.lower().split() != name.lower().split():
            raise InputError(subject, f"line {at + 1}: expected {name}: and a number")
        found.append(value.strip())
        at += 1
    if not re.fullmatch(r"[0-9]{1,12}", found[0]) or int(found[0]) < 1:
        raise InputError(subject, f"the header promises {found[0][:40]!r} frames")
    rate = rate_of_period(found[1][:40])
    if rate is None:
        raise InputError(subject, f"the frame time is {found[1][:40]!r}")
    return int(found[0]), rate, at


def _frames(
    lines: list[str], at: int, n_frames: int, n_channels: int, source: Source, options: Options
) -> tuple[Float64Array, tuple[str, ...]]:
    """Return the motion, (n_frames, n_channels), and what was odd."""
    end = _end(lines, at, n_frames)
    if options.allow_truncated and 0 < len(lines[end - 1].split()) < n_channels:
        end -= 1  # the line that was cut
    rows = list(_rows(lines, range(at, end), n_channels, source.path))
    if not rows:
        raise InputError(source.path, "holds no frames")
    promise = f"header promises {n_frames} frames, file holds"
    if len(rows) < n_frames:
        if not options.allow_truncated:
            hint = "allow-truncated=true reads what is there"
            raise InputError(source.path, f"truncated: {promise} {len(rows)}", hint)
        return np.stack(rows), (f"{source.path}: {promise} {len(rows)}",)
    more = any(line.strip() for line in lines[end:])
    return np.stack(rows), (f"{source.path}: {promise} more: left out",) if more else ()


def _rows(lines: list[str], which: range, n_channels: int, subject: str) -> Iterator[Float64Array]:
    for number in which:
        cells = lines[number].split()
        if not cells:
            continue
        if len(cells) != n_channels:
            what = f"line {number + 1}: {len(cells)} values, the hierarchy has {n_channels}"
            raise InputError(subject, f"{what} channels")
        yield numbers_of(cells, f"line {number + 1}", subject)


def _end(lines: list[str], at: int, n_frames: int) -> int:
    """Return the line after the last promised frame."""
    left = n_frames
    while at < len(lines) and left:
        left -= bool(lines[at].strip())
        at += 1
    return at
