"""Tables below a block of headers: TRC markers and OpenSim's MOT and STO."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from mmalign_cli.errors import InputError
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.points import axes_of, unique, with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.table import read_table

_HEADER_LINES = 200


def read_trc(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a TRC file: the places of markers.

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
        ``marker_x``, ``marker_y``, ``marker_z`` in the file's unit, (n_frames, 3 * n_markers);
        gaps are NaN. Times are those of the file.

    Raises
    ------
    InputError
        With the line, where it is not a TRC file, or holds fewer frames than it promises.
    """
    lines = text_lines(source, options)
    if len(lines) < 5 or not lines[3].lower().startswith("frame#"):
        raise InputError(source.path, "line 4: expected Frame#, Time and the names of markers")
    facts = dict(zip(lines[1].lower().split(), lines[2].split(), strict=False))
    cells = lines[3].rstrip().split("\t")
    markers = unique(name.strip() for name in cells[2:] if name.strip())
    if not markers:
        raise InputError(source.path, "line 4: no marker is named")
    names = ["Frame", "time", *axes_of(markers)]
    rate, units = facts.get("datarate", "?"), facts.get("units", "?")
    note = f"{len(markers)} markers in {units}, {rate} Hz"
    content = read_below(source, options, lines, 5, names, "\t", note)
    content = _promised(content, facts.get("numframes"), source, options)
    return with_columns(content, options, source.path, ["Frame"])


def read_storage(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a MOT or STO file of OpenSim or SIMM: joint angles, forces, any columns over time.

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
        Values as they are, (n_frames, n_columns); gaps are NaN. Times are those of the file.

    Raises
    ------
    InputError
        With the line, where it has no header, or fewer rows than it promises.
    """
    lines = text_lines(source, options)
    ends = (k for k, line in enumerate(lines[:_HEADER_LINES]) if _is_end(line))
    end = next(ends, None)
    if end is None:
        raise InputError(source.path, "has no line endheader: is it a MOT or STO file?")
    pairs = (re.split(r"[=\s]+", line.strip(), maxsplit=1) for line in lines[:end])
    facts = {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}
    at = next((k for k in range(end + 1, len(lines)) if lines[k].strip()), end)
    if at == end:
        raise InputError(source.path, "ends after its header")
    heading = lines[at].strip()
    names = unique(name.strip() for name in heading.split("\t" if "\t" in heading else None))
    angles = {"yes": ", angles in degrees", "no": ", angles in radians"}
    note = f"{len(names)} columns{angles.get(facts.get('indegrees', '').lower(), '')}"
    content = read_below(source, options, lines, at + 1, names, "\t", note)
    content = _promised(content, facts.get("nrows", facts.get("datarows")), source, options)
    return with_columns(content, options, source.path)


def _is_end(line: str) -> bool:
    return line.strip().lower() == "endheader"


def read_below(
    source: Source,
    options: Options,
    lines: Sequence[str],
    at: int,
    names: Sequence[str],
    delimiter: str,
    note: str,
) -> Content:
    """Read the rows of a table below a header, with the names that the header gives them.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        Those of tables.
    lines : sequence of str
        The file's lines up to the last row.
    at : int
        How many stand before the first row.
    names : sequence of str
        Names of all the columns.
    delimiter : str
        What sets cells apart.
    note : str
        What the header says.

    Raises
    ------
    InputError
        With the line of the file, where a row is not one of as many numbers.
    """
    plain = [re.sub(r'[,;|\t"]', "_", name) for name in names]
    rows = _without_surplus(lines[at:], len(names), delimiter)
    text = "\n" * (at - 1) + "\n".join([delimiter.join(unique(plain)), *rows, ""])
    data = text.encode()
    below = replace(source, size=len(data), piped=data, head=data[:1])
    given = replace(options, header=True, encoding="utf-8", columns=None, transpose=False)
    content = read_table(below, given, None)
    left_out = (n for n in content.notes if n.startswith("columns left out"))
    return replace(content, notes=(note, *left_out))


def _without_surplus(rows: Sequence[str], n_columns: int, delimiter: str) -> Sequence[str]:
    """Leave out delimiters beyond the last column, if they end every row alike."""
    surplus = {row.count(delimiter) + 1 - n_columns for row in rows if row.strip()}
    n = surplus.pop() if len(surplus) == 1 else 0
    if n < 1 or not all(row.endswith(delimiter * n) for row in rows if row.strip()):
        return rows
    return [row[:-n] if row.strip() else row for row in rows]


def _promised(content: Content, frames: str | None, source: Source, options: Options) -> Content:
    """Return the content, if it has the frames that the header promises, or may have fewer."""
    n_frames = int(frames) if frames and re.fullmatch(r"[0-9]{1,15}", frames) else 0
    if len(content.values) >= n_frames:
        return content
    what = f"header promises {n_frames} frames, file holds {len(content.values)}"
    if not options.allow_truncated:
        hint = "allow-truncated=true reads what is there"
        raise InputError(source.path, f"truncated: {what}", hint)
    return replace(content, warnings=(*content.warnings, f"{source.path}: {what}"))
