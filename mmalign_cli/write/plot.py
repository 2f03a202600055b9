"""The picture of an alignment: the path over its cost matrix, the streams before and after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_cli.errors import UsageError, printable
from mmalign_cli.model import Alignment, Array, Float64Array, IntArray, Stream
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.path import ending_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
MATRIX_SIDE = 900
"""Frames of each stream that the cost matrix of a picture samples, at most."""

_STRIP_COLUMNS = 1200
_LINES_UP_TO = 6
_MARKS = 12
_MOST_ROWS = 6
_LONGEST_LABEL = 44
_PATH_COLOUR, _MARK_COLOUR = "#ff5a36", "#ff5a36"
_LINE_COLOURS = ("#1f4e79", "#2a9d8f", "#e9a23b", "#8e5ea2", "#6b705c", "#c44536")


def require_matplotlib() -> None:
    """Refuse to plot where matplotlib is missing, before any work."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(
            "--plot", "needs matplotlib, which is not installed", "pip install 'mmalign[plot]'"
        )


def plot_ending(target: str) -> str:
    """Check the name of a picture file."""
    return ending_of(target, ENDINGS, "--plot")


def sampled_frames(stream: Stream) -> IntArray:
    """Return the frames of a stream that the picture's cost matrix shows, evenly spread."""
    count = min(stream.n_frames, MATRIX_SIDE)
    return np.unique(np.linspace(0, stream.n_frames - 1, count).round().astype(np.int64))


def write_plot(
    outputs: Outputs,
    target: str,
    alignment: Alignment,
    streams: list[Stream],
    local: Float64Array,
) -> None:
    """Draw an alignment: of many streams the matrix of the first two, and the first six themselves.

    Parameters
    ----------
    outputs : Outputs
        Where it goes.
    target : str
        File ending in png, svg or pdf.
    alignment : Alignment
        With its path, or at least its time maps.
    streams : list of Stream
        As they were aligned, reference first.
    local : ndarray, shape (n_sampled, m_sampled)
        Local costs between `sampled_frames` of the two.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {
        "font.size": 9,
        "text.parse_math": False,
        "svg.hashsalt": "mmalign",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(13.5, 6.4), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, alignment, streams, local)
        with outputs.open(target) as file:
            kind = plot_ending(target)[1:]
            dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
            figure.savefig(file, format=kind, metadata={dated: None} if dated else None)


def _draw(figure: Figure, alignment: Alignment, streams: list[Stream], local: Float64Array) -> None:
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.15))
    left, right = parts
    _draw_matrix(left, alignment, streams, local)
    (_draw_strips if len(streams) == 2 else _draw_many)(right, alignment, streams)
    figure.suptitle(_title(alignment), fontsize=10.5)


def _title(alignment: Alignment) -> str:
    more = len(alignment.streams) - 2
    names = (", " if more else " and ").join(_label(s.name) for s in alignment.streams[:2])
    names += f" and {more} more" if more else ""
    parameters = alignment.parameters
    how = ", ".join(_label(str(parameters[k])) for k in ("metric", "step") if k in parameters)
    cost = f"mean cost {alignment.cost.mean:.4g}"
    return f"{names}   ·   {_label(alignment.method)} ({how})   ·   {cost}"


def _label(name: str) -> str:
    """Return a stream's name as it fits beside an axis."""
    text = printable(name)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 3]}..."


def _draw_matrix(
    figure: Any, alignment: Alignment, streams: list[Stream], local: Float64Array
) -> None:
    reference, query = streams[:2]
    axes = figure.subplots(
        2, 2, width_ratios=(1, 7), height_ratios=(1, 7), sharex="col", sharey="row"
    )
    axes[0, 0].axis("off")
    main: Axes = axes[1, 1]
    extent = (*_edges(reference), *_edges(query))
    top = float(np.quantile(local, 0.99)) or None
    main.imshow(
        local.T, origin="lower", aspect="auto", extent=extent, cmap="bone", vmin=0, vmax=top
    )
    main.plot(*_path_seconds(alignment), color=_PATH_COLOUR, linewidth=1.6)
    for match in alignment.matches or ():
        main.axvspan(match.start_s, match.end_s, color=_PATH_COLOUR, alpha=0.25, lw=0)
    main.set_xlim(*_edges(reference))
    main.set_ylim(*_edges(query))
    main.set_xlabel(f"{_label(reference.name)} (s)")
    main.tick_params(labelleft=False)
    _strip(axes[0, 1], reference, reference.times)
    axes[0, 1].tick_params(labelbottom=False, bottom=False)
    _strip(axes[1, 0], query, query.times, upright=True)
    axes[1, 0].set_ylabel(f"{_label(query.name)} (s)")


def _edges(stream: Stream) -> tuple[float, float]:
    half = stream.period_s / 2
    return float(stream.times[0]) - half, float(stream.times[-1]) + half


def _path_seconds(alignment: Alignment) -> tuple[Array, Array]:
    """Return reference and query seconds along the path, or along the time map's knots."""
    if alignment.path is not None:
        return alignment.path.times[:, 0], alignment.path.times[:, 1]
    knots = alignment.time_maps[0].knots
    return knots[:, 1], knots[:, 0]


def _draw_strips(figure: Any, alignment: Alignment, streams: list[Stream]) -> None:
    reference, query = streams[:2]
    to_reference = alignment.time_maps[0]
    axes = figure.subplots(3, 1, sharex=True)
    matching = _path_seconds(alignment)[0]
    marks = np.linspace(matching[0], matching[-1], _MARKS + 2)[1:-1]
    there = to_reference.inverse()(marks)
    rows = (
        (reference, reference.times, marks, f"{_label(reference.name)}"),
        (query, query.times, there, f"{_label(query.name)}, before"),
        (query, to_reference(query.times), marks, f"{_label(query.name)}, after"),
    )
    for ax, (stream, times, at, title) in zip(axes, rows, strict=True):
        _strip(ax, stream, times)
        ax.set_title(title, loc="left", fontsize=9)
        ax.vlines(at, 0, 1, transform=ax.get_xaxis_transform(), color=_MARK_COLOUR, lw=0.9)
    axes[0].set_xlim(
        min(_edges(reference)[0], _edges(query)[0]), max(_edges(reference)[1], _edges(query)[1])
    )
    axes[2].set_xlabel(f"seconds; lines mark {_MARKS} matching times")


def _draw_many(figure: Any, alignment: Alignment, streams: list[Stream]) -> None:
    """Draw each stream on its own clock, and beside it on the reference's."""
    shown = streams[:_MOST_ROWS]
    axes = figure.subplots(len(shown), 2, sharex="col", squeeze=False)
    matching = _path_seconds(alignment)[0]
    marks = np.linspace(matching[0], matching[-1], _MARKS + 2)[1:-1]
    for k, (row, stream) in enumerate(zip(axes, shown, strict=True)):
        to_reference = alignment.time_maps[k - 1] if k else None
        there = marks if to_reference is None else to_reference.inverse()(marks)
        after = stream.times if to_reference is None else to_reference(stream.times)
        for ax, times, at in zip(row, (stream.times, after), (there, marks), strict=True):
            _strip(ax, stream, times)
            ax.vlines(at, 0, 1, transform=ax.get_xaxis_transform(), color=_MARK_COLOUR, lw=0.9)
        row[0].set_title(_label(stream.name), loc="left", fontsize=9)
    left = len(streams) - len(shown)
    axes[-1, 0].set_xlabel("before (s)" if not left else f"before (s); {left} more not shown")
    axes[-1, 1].set_xlabel(f"after (s); lines mark {_MARKS} matching times")


def _strip(ax: Axes, stream: Stream, times_s: Float64Array, upright: bool = False) -> None:
    """Draw a stream over its times: few columns as lines, many as a picture."""
    count = min(_STRIP_COLUMNS, stream.n_frames)
    grid = np.linspace(times_s[0], times_s[-1], count)
    frames = np.interp(grid, times_s, np.arange(stream.n_frames)).round().astype(np.int64)
    values = _standardised(stream.values[frames])
    if values.shape[1] > _LINES_UP_TO:
        half = stream.period_s / 2
        span = (float(grid[0]) - half, float(grid[-1]) + half)
        box = (0.0, 1.0, *span) if upright else (*span, 0.0, 1.0)
        picture = values if upright else values.T
        ax.imshow(
            picture, origin="lower", aspect="auto", extent=box, cmap="viridis", vmin=-2.5, vmax=2.5
        )
    else:
        for k, line in enumerate(values.T):
            colour = _LINE_COLOURS[k % len(_LINE_COLOURS)]
            ax.plot(*((line, grid) if upright else (grid, line)), color=colour, linewidth=0.8)
        if upright:
            ax.invert_xaxis()
    (ax.set_xticks if upright else ax.set_yticks)([])


def _standardised(values: Array) -> Float64Array:
    """Scale columns to mean 0 and deviation 1, the constant ones to 0."""
    values = values.astype(np.float64)
    largest = np.abs(values).max()
    if largest > 0 and math.isfinite(largest):
        values = values / largest
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return np.asarray(scaled, dtype=np.float64)
