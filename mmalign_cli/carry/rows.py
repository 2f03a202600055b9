"""A table as evenly spaced rows on another clock."""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from mmalign_cli.carry.arrays import between, grid
from mmalign_cli.carry.tables import Frames
from mmalign_cli.model import Float64Array, TimeMap
from mmalign_cli.streams.marks import NUMBER

_WHOLE = r"[-+]?\d+"


def even_rows(
    frames: Frames, time_map: TimeMap, rate: float, nearest: bool, delimiter: str
) -> tuple[str, int]:
    """Return a table with a row at each k / rate of the other clock, and how many there are.

    Columns of numbers are interpolated linearly. Those of whole numbers, of texts, or with gaps
    are labels: the row nearest in time says what they hold, as of all columns with `nearest`.

    Parameters
    ----------
    frames : Frames
        The table.
    time_map : TimeMap
        From its clock to the other.
    rate : float
        Rows per second.
    nearest : bool
        Interpolate nothing.
    delimiter : str
        Between cells.
    """
    at = np.array(frames.times_s)
    ends = time_map(at[[0, -1]])
    wanted_s = grid(float(ends[0]), float(ends[1]), rate)
    positions = np.interp(time_map.inverse()(wanted_s), at, np.arange(len(at)))
    columns: list[list[str]] = []
    for k in range(len(frames.header)):
        cells = [row[k] for row in frames.cells]
        if k == frames.time_column:
            columns.append([f"{t:.10g}" for t in (wanted_s * frames.per_second).tolist()])
        else:
            columns.append(_column(cells, positions, nearest))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(frames.header)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue(), len(wanted_s)


def _column(cells: list[str], positions: Float64Array, nearest: bool) -> list[str]:
    """Return the cells of a column at fractional rows (m,)."""
    is_measured = all(re.fullmatch(NUMBER, cell.strip(), re.ASCII) for cell in cells)
    is_measured = is_measured and not all(re.fullmatch(_WHOLE, cell.strip()) for cell in cells)
    if nearest or not is_measured:
        return [cells[k] for k in np.floor(positions + 0.5).astype(int).tolist()]
    mark = "," if any("," in cell for cell in cells) else "."
    values = np.array([float(cell.replace(",", ".")) for cell in cells])
    return [f"{v:.10g}".replace(".", mark) for v in between(values, positions, False).tolist()]
