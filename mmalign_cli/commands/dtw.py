"""``mmalign dtw``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.align.metrics import METRICS, metric_named
from mmalign_cli.align.steps import STEP_PATTERNS, is_step_file, step_pattern
from mmalign_cli.commands.options import (
    Run,
    StreamCommand,
    Targets,
    confidence_option,
    listing,
    output_options,
    parse_streams,
    run_options,
    stream_options,
    take_run,
    take_targets,
)
from mmalign_cli.commands.pairwise import pairwise_options, run_pairwise, take_pairwise
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.align.plan import Plan
    from mmalign_cli.model import Alignment, Array, Stream
    from mmalign_cli.pipeline.streams import Loaded
    from mmalign_cli.write.atomic import Outputs


EXAMPLES = """\b
Examples:
  mmalign dtw camera.wav recorder.wav -o alignment.json --plot alignment.png
  mmalign dtw a.csv b.csv --window slanted --radius 10% --json | jq .cost.total
  mmalign dtw song.wav phrase.wav --subsequence --top 3
  cat a.csv | mmalign dtw -,format=csv b.csv --path path.csv
  mmalign dtw --pairwise list.txt -o matrix.npy
"""


def _finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(parameter.opts[-1], f"{value} is not a finite number from 0 up")
    return value


@click.command(
    cls=StreamCommand, short_help="Dynamic Time Warping of two streams.", epilog=EXAMPLES
)
@click.argument("reference", required=False)
@click.argument("query", required=False)
@click.option(
    "--metric", metavar="NAME", help=f"Local cost: {listing(METRICS)} [the feature's own]."
)
@click.option(
    "--step",
    metavar="NAME",
    default="symmetric1",
    help=f"Step pattern: {listing(STEP_PATTERNS)}, or a FILE.json of your own [symmetric1].",
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
@click.option("--subsequence", is_flag=True, help="Both: find where in REFERENCE QUERY occurs.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    help="With --subsequence: the K best occurrences that share no frame of REFERENCE [1].",
)
@click.option(
    "--anchors", metavar="FILE", help="CSV of times that must meet: a row each, a column a stream."
)
@click.option(
    "--approximate/--exact",
    default=None,
    help="Search a band round a coarse path (--radius R) / all cells [exact up to a minute].",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Of the nulls that --confidence compares with [0].",
)
@confidence_option
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@pairwise_options
@output_options
@run_options
@stream_options
def dtw(reference: str, query: str, **parameters: Any) -> None:
    """Align QUERY to REFERENCE by Dynamic Time Warping.

    Both are streams, PATH[,key=value]..., with the same number of dimensions after their
    features. The result maps the query's clock to the reference's. With --pairwise LIST the
    costs of all pairs of a list of streams go to a file.
    """
    run, targets = take_run(parameters), take_targets(parameters)
    many = take_pairwise((reference, query), parameters)
    if many is not None:
        _check(parameters)
        run_pairwise(many, parameters, run, targets)
        return
    specs = parse_streams([reference, query], parameters)
    dry_run = parameters.pop("dry_run")
    _check(parameters)
    if parameters["approximate"] and targets.cost is not None:
        raise UsageError("--cost", "needs the whole table", "leave out --approximate or --cost")
    inputs = [spec.path for spec in specs]
    targets.check([*inputs, *_named_files(parameters)], run.force)

    from mmalign_cli.pipeline import dtw as stages
    from mmalign_cli.pipeline.restrictions import DtwSettings
    from mmalign_cli.pipeline.streams import load_streams

    settings = DtwSettings(**parameters)
    with run.progress() as progress:
        loaded = load_streams(specs, progress)
        streams = [item.stream for item in loaded]
        run.note(streams)
        if dry_run:
            _say_plan(stages.plan_of(streams, settings, targets.cost is not None), targets.as_json)
            return
        run.note_first_run()
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


def check_settings(context: click.Context, parameters: dict[str, Any]) -> None:
    """Refuse options that cannot mean anything; the form in which a batch asks for it."""
    _check(parameters)


def _check(parameters: dict[str, Any]) -> None:
    """Refuse options that cannot mean anything, before any file is read."""
    from mmalign_cli.align.windows import check_slope, parse_radius, window_name

    if parameters["metric"] is not None:
        metric_named(parameters["metric"])
    if not is_step_file(parameters["step"]):
        step_pattern(parameters["step"])
    window_name(parameters["window"])
    _check_subsequence(parameters)
    if parameters["anchors"] == "-":
        raise UsageError("--anchors", "names a file, standard input can be a stream only")
    check_slope(parameters["max_slope"])
    if parameters["radius"] is not None:
        parse_radius(parameters["radius"])
    if parameters["approximate"]:
        _check_approximate(parameters)


def _check_approximate(parameters: dict[str, Any]) -> None:
    """Refuse what an approximate search does not do."""
    if parameters["window"] != "none":
        what = f"has a band of its own: no --window {parameters['window']}"
        raise UsageError("--approximate", what)
    if parameters["metric"] is not None and METRICS[parameters["metric"]].table is not None:
        what = f"--metric {parameters['metric']} compares whole streams"
        raise UsageError("--approximate", what, "use another metric")
    for name in ("subsequence", "anchors"):
        if parameters[name]:
            raise UsageError("--approximate", f"does not do --{name}", "leave out one of them")


def _check_subsequence(parameters: dict[str, Any]) -> None:
    """Refuse what means nothing where the query is looked for anywhere in the reference."""
    from mmalign_cli.align.windows import WINDOWS

    top, window = parameters.pop("top"), parameters["window"]
    if top is not None and not parameters["subsequence"]:
        raise UsageError("--top", "means nothing without --subsequence")
    if parameters["subsequence"] and window in WINDOWS[1:]:
        hint = "limit the slope instead, for example --step symmetricP1, or use a mask"
        raise UsageError("--subsequence", f"window {window} joins the corners of both", hint)
    if top is not None and top > 1 and parameters["anchors"] is not None:
        what = f"{top} matches cannot all meet the times of --anchors"
        raise UsageError("--top", what, "use --top 1")
    parameters["top"] = top or 1


def _named_files(parameters: dict[str, Any]) -> list[str]:
    """Return the inputs that options name."""
    values = ((name, parameters[name]) for name in ("window", "step", "anchors"))
    return [value for name, value in values if value is not None and names_file(name, value)]


def names_file(option: str, value: str) -> bool:
    """Tell whether the value of an option is the name of a file to read."""
    if option == "window":
        return value.lower().endswith(".npy")
    return option == "anchors" or (option == "step" and is_step_file(value))


def _say_plan(plan: Plan, as_json: bool) -> None:
    from mmalign_cli.align.plan import ROADS
    from mmalign_cli.pipeline.dtw import format_seconds
    from mmalign_cli.runtime import format_size

    if as_json:
        click.echo(json.dumps(vars(plan)))
        return
    n, m = plan.frames
    click.echo(f"{n} x {m} frames of {plan.dims} dimensions")
    click.echo(f"{plan.road}: {ROADS[plan.road].help}")
    seconds = format_seconds(plan.seconds)
    click.echo(f"{plan.cells} cells, {format_size(plan.bytes)} of memory, about {seconds}")
    if not plan.is_exact:
        click.echo(f"an exact search takes about {format_seconds(plan.exact_seconds)}: --exact")


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
            document.write_document(outputs, targets.document, value)
    click.echo(document.to_line(value) if targets.as_json else summary(alignment))


def draw(outputs: Outputs, target: str, alignment: Alignment, streams: list[Stream]) -> None:
    """Draw an alignment."""
    from mmalign_cli.align.dtw import local_costs
    from mmalign_cli.align.learned import as_compared
    from mmalign_cli.write.plot import sampled_frames, write_plot

    frames = [
        as_compared(alignment, k, stream.values)[sampled_frames(stream)]
        for k, stream in enumerate(streams[:2])
    ]
    local = local_costs(frames[0], frames[1], str(alignment.parameters["metric"]))
    write_plot(outputs, target, alignment, streams, local)
