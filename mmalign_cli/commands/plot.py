"""``mmalign plot``."""

from __future__ import annotations

import os
from typing import Any

import click

from mmalign_cli.commands.options import run_options, take_run
from mmalign_cli.errors import InputError


@click.command(short_help="A picture of an alignment.")
@click.argument("alignment")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="The picture: .png, .svg or .pdf [the document's name with .png].",
)
@run_options
def plot(alignment: str, output: str | None, **parameters: Any) -> None:
    """Draw ALIGNMENT, a document: the path over its cost matrix, the streams before and after.

    The streams are read again, as the document names them, from the working folder or the
    document's own.
    """
    run = take_run(parameters)

    from mmalign_cli.commands.dtw import draw
    from mmalign_cli.write.atomic import Outputs, check_outputs
    from mmalign_cli.write.plot import plot_ending, require_matplotlib

    output = output or f"{os.path.splitext(alignment)[0]}.png"
    plot_ending(output)
    require_matplotlib()
    check_outputs([output], [alignment], run.force)

    from mmalign_cli.pipeline.streams import reload_streams
    from mmalign_cli.write.document import read_document

    found = read_document(alignment)
    if "metric" not in found.parameters:
        hint = "dtw, ctw, gtw and dctw write documents that can be drawn"
        raise InputError(alignment, "names no metric, by which streams are compared", hint)
    streams = reload_streams(found, alignment)
    with Outputs(run.force) as outputs:
        draw(outputs, output, found, streams)
