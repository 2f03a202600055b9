"""A time map as a plain file, for tools in other languages."""

from __future__ import annotations

from mmalign_cli.model import TimeMap
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.path import csv_text


def write_knots(outputs: Outputs, path: str, time_map: TimeMap) -> None:
    """Write the knots of a map: the names of its two clocks, then a row of seconds a knot."""
    text = csv_text([time_map.stream, time_map.to], time_map.knots.tolist())
    with outputs.open(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
