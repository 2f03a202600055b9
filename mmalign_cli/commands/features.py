"""``mmalign features``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.commands.options import (
    StreamCommand,
    parse_streams,
    run_options,
    stream_options,
    take_run,
)
from mmalign_cli.errors import UsageError
from mmalign_cli.features.registry import FEATURES

if TYPE_CHECKING:
    from mmalign_cli.model import Stream


@click.command(cls=StreamCommand, short_help="Write the features of a stream.")
@click.argument("stream", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the features, and stop.")
@click.option("-o", "--output", metavar="FILE", help="A .csv, .npy or .npz file [csv to stdout].")
@run_options
@stream_options
def features(stream: str | None, as_list: bool, output: str | None, **parameters: Any) -> None:
    """Compute the features of STREAM, as the aligners would see them.

    Without --output they go to standard output as csv: a time column, then one column a
    dimension.
    """
    run = take_run(parameters)
    if as_list:
        _print_list()
        return
    if stream is None:
        raise UsageError("STREAM", "is missing", "or list what there is: mmalign features --list")
    specs = parse_streams([stream], parameters)

    from mmalign_cli.write.atomic import Outputs, check_outputs
    from mmalign_cli.write.features import features_csv, features_ending, write_features

    if output is not None:
        features_ending(output)
        check_outputs([output], [specs[0].path], run.force)

    from mmalign_cli.pipeline.streams import load_streams

    with run.progress() as progress:
        loaded = load_streams(specs, progress)[0].stream
    run.note([loaded])
    run.warn(loaded.warnings)
    if output is None:
        click.echo(features_csv(loaded), nl=False)
    else:
        with Outputs(run.force) as outputs:
            write_features(outputs, output, loaded)
        _say(loaded, output)


def _say(stream: Stream, output: str) -> None:
    shape = f"{stream.n_frames} frames x {stream.n_dims}"
    click.echo(f"{shape} of {stream.features} in {output}", err=True)


def _print_list() -> None:
    """Print the registry as a table of plain text."""
    rows = [("feature", "takes", "unit", "metric", "")]
    rows += [(n, ", ".join(f.takes), f.units, f.metric, f.help) for n, f in FEATURES.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        click.echo("  ".join([*cells, row[4]]).rstrip())
