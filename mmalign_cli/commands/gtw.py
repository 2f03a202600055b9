"""``mmalign gtw``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mmalign_cli.align.choices import (
    DEFAULT_ALGORITHM,
    GTW_ALGORITHMS,
    PAIR_STARTS,
)
from mmalign_cli.commands import takes
from mmalign_cli.commands.ctw import dims_option, from_zero
from mmalign_cli.commands.dtw import write_alignment
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
    take_defaults,
    take_run,
    take_targets,
)
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.model import Array
    from mmalign_cli.pipeline.gtw import Plan
    from mmalign_cli.streams.spec import StreamSpec

EXAMPLES = """\b
Examples:
  mmalign gtw skeleton.csv gyro.csv video.npz -o alignment.json
  mmalign gtw take1.wav take2.wav take3.wav --average mean.npz --json
  mmalign gtw a.csv b.csv c.csv --algorithm gtw --basis pow:5,tanh:5
  mmalign gtw beats/*.csv --algorithm dba --average template.csv
"""

_MAPS = {"joint", *PAIR_STARTS}
OPTIONS_OF: Mapping[str, frozenset[str]] = {
    "basis": frozenset({"gtw"}),
    "dims": frozenset(_MAPS),
    "regularization": frozenset(PAIR_STARTS),
    "init": frozenset(PAIR_STARTS),
    "starts": frozenset({"gtw"}),
    "tol": frozenset(GTW_ALGORITHMS) - {"joint", "dba"},
    "open_begin": frozenset({"joint", "gtw"}),
    "open_end": frozenset({"joint", "gtw"}),
    "preset": frozenset(GTW_ALGORITHMS) - {"joint", "dba"},
}
"""Options, and the algorithms to which they mean something; others are for all."""


@click.command(
    cls=StreamCommand,
    short_help="Generalized Time Warping: any number of streams, of any dimensions.",
    epilog=EXAMPLES,
)
@click.argument("streams", nargs=-1, metavar="STREAM STREAM [STREAM]...")
@takes.takes_options("streams")
@click.option(
    "--algorithm",
    type=click.Choice([*GTW_ALGORITHMS]),
    default=DEFAULT_ALGORITHM,
    help=f"How it is found [{DEFAULT_ALGORITHM}].",
)
@click.option(
    "--basis",
    metavar="SPEC",
    help="gtw: bases of the warps, such as pow:5,tanh:5 [chosen by measurement].",
)
@click.option("--average", metavar="FILE", help="The mean stream: .csv, .npz or .npy.")
@dims_option
@click.option(
    "--regularization",
    type=float,
    metavar="R",
    callback=from_zero,
    help="gtw, pctw: ridge, relative to each stream's mean variance [0; 0.05 with few frames].",
)
@click.option(
    "--init",
    type=click.Choice(["auto", "uniform"]),
    default="auto",
    help="gtw, pctw: from pairs and the straight line, or that alone [auto].",
)
@click.option(
    "--starts", type=click.IntRange(min=1), metavar="N", help="gtw: starts of its own [all]."
)
@click.option(
    "--max-iter",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rounds, or iterations of a stage, at most [as the algorithm needs].",
)
@click.option(
    "--tol",
    type=float,
    metavar="T",
    default=0.01,
    callback=from_zero,
    help="Frames that the path may still move in the last round [0.01].",
)
@click.option(
    "--coupling",
    type=click.Choice(["hard"]),
    default="hard",
    help="Many streams are coupled hard; two softly by mmalign ctw [hard].",
)
@click.option("--robust", is_flag=True, help="Single frames may be far off.")
@click.option("--open-begin", is_flag=True, help="Any stream may begin late.")
@click.option("--open-end", is_flag=True, help="Any stream may end early.")
@click.option(
    "--preset",
    type=click.Choice(["reference"]),
    help="reference: as the authors' programs, for comparing with them.",
)
@click.option("--strict", is_flag=True, help="Fail where the rounds do not come to an end.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, help="[0]")
@confidence_option
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@output_options
@run_options
@stream_options
@click.pass_context
def gtw(context: click.Context, /, streams: tuple[str, ...], **parameters: Any) -> None:
    """Align any number of streams to the first, by Generalized Time Warping.

    Each is PATH[,key=value]..., of any dimensions. Continuous warps bring all of them onto one
    time line; the result maps every stream's clock to that of the first.
    """
    run, targets = take_run(parameters), take_targets(parameters)
    dry_run, average = parameters.pop("dry_run"), parameters.pop("average")
    table, model, save = (parameters.pop(name) for name in ("takes", "model", "save_model"))
    check_settings(context, parameters)
    if table is not None:
        if streams:
            raise UsageError("--takes", "stands instead of streams", "name one of them")
        if average is not None:
            raise UsageError("--average", "is of one take, --takes are many")
        _align_takes(table, parameters, targets, run, save=save, model=model, dry_run=dry_run)
        return
    for option, value in (("--save-model", save), ("--model", model)):
        if value is not None:
            raise UsageError(option, "goes with --takes", "write a table of one row")
    if len(streams) < 2:
        raise UsageError("gtw", "needs two streams or more")
    specs = parse_streams(streams, parameters)
    _align(specs, parameters, targets, run, average, dry_run)


def _align_takes(
    table: str,
    parameters: dict[str, Any],
    targets: Targets,
    run: Run,
    *,
    save: str | None,
    model: str | None,
    dry_run: bool,
) -> None:
    """Align the takes of a table."""
    if parameters["algorithm"] != DEFAULT_ALGORITHM:
        what = f"--takes is for the {DEFAULT_ALGORITHM} algorithm"
        raise UsageError("--algorithm", what, "leave it out")
    defaults = take_defaults(parameters)
    takes.check(targets, {**parameters, "coupling": "hard"}, model, save)

    from mmalign_cli.pipeline import gtw_takes as stages
    from mmalign_cli.pipeline.gtw import GtwSettings

    settings = GtwSettings(**parameters)
    takes.run_takes(
        stages, table, defaults, settings, targets, run, save=save, model=model, dry_run=dry_run
    )


def check_settings(context: click.Context, parameters: dict[str, Any]) -> None:
    """Refuse options that do not fit together, before any file is read."""
    parameters.pop("coupling")
    algorithm = parameters["algorithm"]
    for name, algorithms in OPTIONS_OF.items():
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and algorithm not in algorithms:
            names = listing({a: "" for a in GTW_ALGORITHMS if a in algorithms})
            what = f"means nothing to the {algorithm} algorithm"
            raise UsageError(f"--{name.replace('_', '-')}", what, f"it is for {names}")
    if parameters["basis"] is not None:
        from mmalign_cli.align.bases import parse

        parse(parameters["basis"])


def _align(
    specs: Sequence[StreamSpec],
    parameters: Mapping[str, Any],
    targets: Targets,
    run: Run,
    average: str | None,
    dry_run: bool,
) -> None:
    inputs = [spec.path for spec in specs]
    targets.check(inputs, run.force, [] if average is None else [average])
    if average is not None:
        from mmalign_cli.write.average import average_ending

        average_ending(average)

    from mmalign_cli.pipeline import gtw as stages
    from mmalign_cli.pipeline.streams import load_streams
    from mmalign_cli.write.average import write_average

    settings = stages.GtwSettings(**parameters)
    with run.progress() as progress:
        loaded = load_streams(specs, progress)
        streams = [item.stream for item in loaded]
        run.note(streams)
        if dry_run:
            _say_plan(stages.plan_gtw(streams, settings, targets.cost is not None), settings)
            return
        run.note_first_run()
        targets.check_aligned([item.original for item in loaded], inputs, run.force)
        result = stages.align_gtw(
            streams,
            settings,
            max_memory=run.max_memory,
            keep_costs=targets.cost is not None,
            progress=progress,
        )
    run.warn(result.alignment.warnings)
    matrices: Mapping[str, Array] = {} if targets.cost is None else stages.costs_of(result)
    also = []
    if average is not None:
        mean = stages.mean_of(streams, result)
        also.append(
            partial(
                write_average, target=average, times=mean.times, mean=mean.average.mean,
                spread=mean.average.spread, columns=mean.columns,
            )
        )  # fmt: skip
    write_alignment(result.alignment, loaded, matrices, targets, run, also)


def _say_plan(plan: Plan, settings: Any) -> None:
    from mmalign_cli.runtime import format_size

    frames = " + ".join(map(str, plan.frames)) if len(plan.frames) < 9 else str(sum(plan.frames))
    dims = f"{min(plan.dims)} to {max(plan.dims)}" if len(set(plan.dims)) > 1 else plan.dims[0]
    click.echo(f"{len(plan.frames)} streams, {frames} frames of {dims} dimensions")
    click.echo(f"{settings.algorithm}; {format_size(plan.bytes)} of memory")
