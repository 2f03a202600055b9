"""What readers of points, joints and channels share: names, columns, parts, numbers in lines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from mmalign_cli.errors import InputError, did_you_mean
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.columns import chosen_columns, shortened
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.spec import Options

_SHOWN = 8


def axes_of(names: Iterable[str], axes: str = "xyz") -> tuple[str, ...]:
    """Return the column names of points: ``hand_x``, ``hand_y``, ``hand_z``."""
    return tuple(f"{name}_{axis}" for name in names for axis in axes)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, those met before with a number: ``a``, ``a_2``."""
    seen: dict[str, int] = {}
    out: list[str] = []
    for name in names:
        number = seen.get(name, 0) + 1
        free = name if number == 1 else f"{name}_{number}"
        while free in seen:
            number += 1
            free = f"{name}_{number}"
        seen[name] = number
        seen.setdefault(free, 1)
        out.append(free)
    return tuple(out)


def part_of(parts: Sequence[str], options: Options, subject: str, default: str | None) -> str:
    """Return the part of a file that ``key=`` names.

    Parameters
    ----------
    parts : sequence of str
        What there is.
    options : Options
        ``key``.
    subject : str
        The file, for messages.
    default : str or None
        The part where no key is given; None: the only one there is.

    Raises
    ------
    InputError
        If there is no such part, or several and none was named.
    """
    shown = f"it holds {', '.join(parts[:_SHOWN])}" + (", ..." if len(parts) > _SHOWN else "")
    if options.key is not None:
        if options.key not in parts:
            hint = did_you_mean(options.key, parts) or shown
            raise InputError(subject, f"holds no {options.key!r}", hint)
        return options.key
    if default is not None:
        return default
    if len(parts) != 1:
        raise InputError(subject, f"holds {len(parts)} streams: say which with key=", shown)
    return parts[0]


def with_columns(
    content: Content, options: Options, subject: str, hidden: Collection[str] = ()
) -> Content:
    """Keep the columns that ``columns=`` names, else all but the `hidden`.

    A note names the columns with gaps.
    """
    names = content.columns
    if options.columns is not None:
        keep = chosen_columns(options.columns, names, subject)
    else:
        keep = [c for c, name in enumerate(names) if name not in hidden]
    values = content.values[:, keep]
    columns = tuple(names[c] for c in keep)
    notes = (*content.notes, *_gaps(values, columns))
    return replace(content, values=values, columns=columns, notes=notes)


def _gaps(values: Float64Array, columns: tuple[str, ...]) -> tuple[str, ...]:
    missing = np.isnan(values).sum(axis=0)
    named = [f"{columns[c]} {missing[c]}" for c in np.flatnonzero(missing)]
    return (f"missing values: {shortened(named)}",) if named else ()


def numbers_of(cells: Sequence[str], place: str, subject: str) -> Float64Array:
    """Return cells as float64, (n_cells,).

    Raises
    ------
    InputError
        Naming the place and the first cell that is no number.
    """
    try:
        if not any("_" in cell for cell in cells):  # Python's own way to group digits
            return np.array(cells, dtype=np.float64)
    except ValueError:
        pass
    bad = next((cell for cell in cells if not _is_number(cell)), "")
    raise InputError(subject, f"{place}: {bad[:40]!r} is not a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
