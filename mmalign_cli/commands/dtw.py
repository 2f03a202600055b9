"""``mmalign dtw``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.align.metrics import METRICS, metric_named
from mmalign_cli.align.steps import STEP_PATTERNS, step_pattern
from mmalign_cli.commands.options import (
    Run,
    StreamCommand,
    Targets,
    listing,
    output_options,
    parse_streams,
    run_options,
    stream_options,
    take_run,
    take_targets,
)
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.model import Alignment, Array, Stream
    from mmalign_cli.pipeline.dtw import Plan
    from mmalign_cli.pipeline.streams import Loaded
    from mmalign_cli.write.atomic import Outputs


EXAMPLES = """\b
Examples:
  mmalign dtw camera.wav recorder.wav -o alignment.json --plot alignment.png
  mmalign dtw a.csv b.csv --window slanted --radius 10% --json | jq .cost.total
  cat a.csv | mmalign dtw -,format=csv b.csv --path path.csv
"""


def _finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(parameter.opts[-1], f"{value} is not a finite number from 0 up")
    return value


@click.command(
    cls=StreamCommand, short_help="Dynamic Time Warping of two streams.", epilog=EXAMPLES
)
@click.argument("reference")
@click.argument("query")
@click.option(
    "--metric", metavar="NAME", help=f"Local cost: {listing(METRICS)} [the feature's own]."
)
@click.option(
    "--step",
    metavar="NAME",
    default="symmetric1",
    help=f"Step pattern: {listing(STEP_PATTERNS)} [symmetric1].",
)
@click.option(
    "--window",
    metavar="NAME",
    default="none",
    help="Warping window: none, sakoe-chiba, slanted, itakura or a mask FILE.npy [none].",
)
@click.option("--radius", metavar="R", help="Of a band: 20 (frames), 0.5s or 10%.")
@click.option(
    "--max-slope", type=float, default=2.0, metavar="S", help="Itakura's slope limit [2]."
)
@click.option(
    "--penalty",
    type=float,
    default=0.0,
    metavar="P",
    callback=_finite,
    help="Added to each step that is not diagonal [0].",
)
@click.option("--open-begin", is_flag=True, help="QUERY may begin anywhere in REFERENCE.")
@click.option("--open-end", is_flag=True, help="QUERY may end anywhere in REFERENCE.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    expose_value=False,
    help="Taken by every aligner; nothing in dtw is random.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@output_options
@run_options
@stream_options
def dtw(reference: str, query: str, **parameters: Any) -> None:
    """Align QUERY to REFERENCE by Dynamic Time Warping.

    Both are streams, PATH[,key=value]..., with the same number of dimensions after their
    features. The result maps the query's clock to the reference's.
    """
    run, targets = take_run(parameters), take_targets(parameters)
    specs = parse_streams([reference, query], parameters)
    dry_run = parameters.pop("dry_run")
    _check(parameters)
    inputs = [spec.path for spec in specs]
    mask = [parameters["window"]] if parameters["window"].endswith(".npy") else []
    targets.check([*inputs, *mask], run.force)

    from mmalign_cli.pipeline import dtw as stages
    from mmalign_cli.pipeline.streams import load_streams

    settings = stages.DtwSettings(**parameters)
    with run.progress() as progress:
        loaded = load_streams(specs, progress)
        streams = [item.stream for item in loaded]
        run.note(streams)
        if dry_run:
            window = stages.window_of(streams, settings)
            _say_plan(stages.plan_dtw(streams, settings, window, False))
            return
        targets.check_aligned([item.original for item in loaded], inputs, run.force)
        alignment, warp = stages.align_dtw(
            streams,
            settings,
            max_memory=run.max_memory,
            keep_costs=targets.cost is not None,
            progress=progress,
        )
    run.warn(alignment.warnings)
    matrices: Mapping[str, Array] = {}
    if targets.cost is not None:
        metric = str(alignment.parameters["metric"])
        matrices = vars(stages.costs_of(streams, warp, metric))
    write_alignment(alignment, loaded, matrices, targets, run)


def _check(parameters: dict[str, Any]) -> None:
    """Refuse options that cannot mean anything, before any file is read."""
    from mmalign_cli.align.windows import check_slope, parse_radius, window_name

    if parameters["metric"] is not None:
        metric_named(parameters["metric"])
    step_pattern(parameters["step"])
    window_name(parameters["window"])
    check_slope(parameters["max_slope"])
    if parameters["radius"] is not None:
        parse_radius(parameters["radius"])


def _say_plan(plan: Plan) -> None:
    from mmalign_cli.runtime import format_size

    n, m = plan.frames
    click.echo(f"{n} x {m} frames of {plan.dims} dimensions")
    click.echo(f"{plan.cells} cells, {format_size(plan.bytes)} of memory")


def write_alignment(
    alignment: Alignment,
    loaded: list[Loaded],
    matrices: Mapping[str, Array],
    targets: Targets,
    run: Run,
    also: Sequence[Callable[[Outputs], None]] = (),
) -> None:
    """Write all that the options ask for, and what `also` writes, or nothing."""
    from mmalign_cli.write import document
    from mmalign_cli.write.aligned import write_aligned
    from mmalign_cli.write.atomic import Outputs
    from mmalign_cli.write.path import write_matrices, write_path
    from mmalign_cli.write.summary import summary

    value = document.to_document(alignment, targets.with_path)
    path = alignment.path
    with Outputs(run.force) as outputs:
        if targets.path is not None and path is not None:
            write_path(outputs, targets.path, path, [s.name for s in alignment.streams])
        if targets.cost is not None:
            write_matrices(outputs, targets.cost, matrices)
        if targets.aligned is not None and path is not None:
            originals = [item.original for item in loaded]
            write_aligned(outputs, targets.aligned, originals, path)
        if targets.plot is not None:
            draw(outputs, targets.plot, alignment, [item.stream for item in loaded])
        for write in also:
            write(outputs)
        if targets.document is not None:
            with outputs.open(targets.document) as file:
                file.write(document.to_text(value).encode())
    click.echo(document.to_line(value) if targets.as_json else summary(alignment))


def draw(outputs: Outputs, target: str, alignment: Alignment, streams: list[Stream]) -> None:
    """Draw the first two streams of an alignment."""
    from mmalign_cli.align.dtw import local_costs
    from mmalign_cli.write.plot import sampled_frames, write_plot

    frames = [
        alignment.compared(k, stream.values[sampled_frames(stream)])
        for k, stream in enumerate(streams[:2])
    ]
    local = local_costs(frames[0], frames[1], str(alignment.parameters["metric"]))
    write_plot(outputs, target, alignment, streams, local)
