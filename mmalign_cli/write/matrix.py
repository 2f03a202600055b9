"""Costs of many pairs as files, and as a document and lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmalign_cli import __version__
from mmalign_cli.errors import printable
from mmalign_cli.model import Float64Array, IntArray, StreamInfo
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_arrays
from mmalign_cli.write.path import ending_of

FORMAT = "mmalign.pairwise/1"


def check_target(target: str, with_neighbours: bool) -> None:
    """Check the name of the file: a matrix is .npy, neighbours are .npz."""
    ending_of(target, (".npz",) if with_neighbours else (".npy",), "--output")


def write_costs(outputs: Outputs, target: str, costs: Float64Array) -> None:
    """Write a square or condensed matrix, float64."""
    with outputs.open(target) as file:
        np.save(file, costs, allow_pickle=False)


def write_neighbours(
    outputs: Outputs, target: str, indices: IntArray, costs: Float64Array, names: Sequence[str]
) -> None:
    """Write ``indices`` and ``costs`` (n_series, k) and ``names`` (n_series,)."""
    arrays = {"indices": indices, "costs": costs, "streams": np.array(names)}
    write_arrays(outputs, target, arrays)


def pairwise_document(
    streams: Sequence[StreamInfo],
    parameters: Mapping[str, Any],
    output: str,
    figures: Mapping[str, Any],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "format": FORMAT,
        "tool": {"name": "mmalign", "version": __version__},
        "method": "dtw",
        "parameters": dict(parameters),
        "streams": [
            {"name": s.name, "source": s.source, "frames": s.frames, "dims": s.dims}
            for s in streams
        ],
        "output": output,
        "summary": dict(figures),
        "warnings": list(warnings),
    }


def figures_of(costs: Float64Array) -> dict[str, Any]:
    """Return count, extremes and median of the costs that are finite; null where none is."""
    finite = costs[np.isfinite(costs)]
    values = (finite.min(), np.median(finite), finite.max()) if len(finite) else (None,) * 3
    least, median, largest = (None if v is None else float(v) for v in values)
    without = int(costs.size - finite.size)
    return {
        "pairs": int(costs.size),
        "without_path": without,
        "least": least,
        "median": median,
        "largest": largest,
    }


def pairwise_summary(document: Mapping[str, Any]) -> str:
    """Return the lines for people."""
    figures, parameters = document["summary"], document["parameters"]
    lines = [f"dtw of {figures['pairs']} pairs of {len(document['streams'])} streams"]
    if figures["least"] is not None:
        extremes = f"least {figures['least']:.6g}, largest {figures['largest']:.6g}"
        how = f"{parameters['metric']}, {parameters['step']}"
        lines.append(f"cost   median {figures['median']:.6g}, {extremes} ({how})")
    if "swept" in figures:
        lines.append(
            f"search {figures['swept']} pairs computed, {figures['abandoned']} given up on the way"
        )
    lines.append(f"output {printable(str(document['output']))}")
    return "\n".join(lines)
