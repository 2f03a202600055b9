"""CSV files that motion capture programs export: OptiTrack Motive and Vicon Nexus."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.headed import read_below
from mmalign_cli.streams.points import part_of, unique, with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_HIDDEN = ("Frame", "_error", "_quality")
_HEADER_LINES = 40
_SECTIONS = ("Trajectories", "Devices", "Model Outputs", "Joints", "Segments")


def read_optitrack(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a CSV export of OptiTrack Motive.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        Those of tables.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        ``body_x`` ... for positions, ``body_rotation_x`` ... for rotations, in the file's units,
        (n_frames, n_columns); gaps are NaN. Times are those of the file. Errors and qualities,
        ``body_error``, are there only where ``columns=`` names them.

    Raises
    ------
    InputError
        With the line, where it is not such an export.
    """
    lines = text_lines(source, options)
    header = [_cells(line) for line in lines[:_HEADER_LINES]]
    at = next((k for k, row in enumerate(header) if row and row[0] == "Frame"), None)
    if at is None or at < 2 or len(header[at]) < 3:
        raise InputError(source.path, "has no header row Frame, Time, ...: is it cut short?")
    facts = dict(zip(header[0][::2], header[0][1::2], strict=False))
    labels = {row[1]: row for row in header[1 : at + 1] if len(row) > 1}
    kinds = header[at - 1]
    names = ["Frame", "time"]
    for column in range(2, len(header[at])):
        name = _at(labels.get("Name", []), column) or f"column{column + 1}"
        names.append(_optitrack_name(name, _at(kinds, column), header[at][column]))
    rate = facts.get("Export Frame Rate", "?")
    bodies = {name for name in labels.get("Name", [])[2:] if name}
    note = f"{len(bodies)} bodies and markers in {facts.get('Length Units', '?')}, {rate} Hz"
    content = read_below(source, options, lines, at + 1, unique(names), ",", note)
    hidden = [name for name in content.columns if name.endswith(_HIDDEN)]
    return with_columns(content, options, source.path, hidden)


def _optitrack_name(name: str, kind: str, axis: str) -> str:
    if axis.lower() not in ("x", "y", "z", "w"):
        return f"{name}_{'error' if 'rror' in kind + axis else 'quality'}"
    turn = "_rotation" if kind == "Rotation" else ""
    return f"{name}{turn}_{axis.lower()}"


@dataclass(frozen=True)
class _Section:
    """A part of a Vicon export: where its header and its rows are."""

    name: str
    start: int
    stop: int


def read_vicon(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a CSV export of Vicon Nexus.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``key``: the section, ``Trajectories``, ``Devices``, ...; those of tables.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        ``marker_x`` ... or ``plate_Fx`` ..., in the file's units, (n_frames, n_columns); gaps are
        NaN. Frame 1 is second 0, and sub-frames stand between frames.

    Raises
    ------
    InputError
        With the line, where it is not such an export, or ``key=`` is needed.
    """
    lines = text_lines(source, options)
    sections = _sections(lines)
    if not sections:
        raise InputError(source.path, "holds no section such as Trajectories")
    part = part_of(unique(s.name for s in sections), options, source.path, None)
    section = sections[unique(s.name for s in sections).index(part)]
    rows = [_cells(line) for line in lines[section.start + 1 : section.start + 5]]
    if len(rows) < 4 or rows[2][:2] != ["Frame", "Sub Frame"] or len(rows[2]) < 3:
        what = f"line {section.start + 4}: expected Frame, Sub Frame and axes"
        raise InputError(source.path, what)
    names, rate = _vicon_names(rows[1], rows[2]), _at(rows[0], 0)
    note = f"{part}: units {', '.join(sorted({u for u in rows[3] if u})) or '?'}, {rate} Hz"
    untimed, below = replace(options, time="none"), lines[: section.stop]
    content = read_below(source, untimed, below, section.start + 5, names, ",", note)
    timed = replace(content, times=_vicon_times(content, rate, section, source.path))
    return with_columns(timed, options, source.path, content.columns[:2])


def _sections(lines: Sequence[str]) -> list[_Section]:
    """Return the sections; a blank line ends one."""
    sections: list[_Section] = []
    start, name = 0, ""
    for k, line in enumerate([*lines, ""]):
        word = line.strip(", \t")
        if not word:
            if name:
                sections.append(_Section(name, start, k))
            name = ""
        elif word in _SECTIONS and not name:
            start, name = k, word
    return sections


def _vicon_names(groups: Sequence[str], axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns; that of the subject only where there are several."""
    held: list[str] = []
    for column in range(2, len(axes)):
        held.append(_at(groups, column) or (held[-1] if held else "column"))
    subjects = {name.partition(":")[0] for name in held if ":" in name}
    if len(subjects) == 1:
        held = [name.partition(":")[2] or name for name in held]
    short = [axis.lower() if axis in ("X", "Y", "Z") else axis for axis in axes[2:]]
    names = [f"{name}_{axis}" for name, axis in zip(held, short, strict=True)]
    return unique(["Frame", "Sub Frame", *names])


def _vicon_times(content: Content, rate: str, section: _Section, subject: str) -> Float64Array:
    if content.columns[:2] != ("Frame", "Sub Frame"):
        raise InputError(subject, f"line {section.start + 6}: frames are not numbers")
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", rate) or float(rate) == 0:
        raise InputError(subject, f"line {section.start + 2}: {rate[:40]!r} is no rate")
    frames, within = content.values[:, 0], content.values[:, 1]
    with np.errstate(all="ignore"):
        return np.asarray(((frames - 1) * (within.max() + 1) + within) / float(rate))


def _at(cells: Sequence[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(",")]
