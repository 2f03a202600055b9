"""``mmalign dctw``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mmalign_cli.align.choices import (
    COUPLINGS,
    DCTW_ALGORITHMS,
    DCTW_COUPLING,
    DEFAULT_ALGORITHM,
    INITS,
    MOST_CONTEXT,
)
from mmalign_cli.commands import takes
from mmalign_cli.commands.ctw import dims_option, from_zero
from mmalign_cli.commands.dtw import write_alignment
from mmalign_cli.commands.options import (
    Run,
    StreamCommand,
    Targets,
    confidence_option,
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
    from mmalign_cli.pipeline.dctw import DctwSettings
    from mmalign_cli.streams.spec import StreamSpec

EXAMPLES = """\b
Examples:
  mmalign dctw --takes takes.csv -o aligned --save-model maps.npz
  mmalign dctw --takes new.csv -o aligned --model maps.npz
  mmalign dctw mocap.csv video.npz -o alignment.json --plot alignment.png
  mmalign dctw --takes takes.csv -o aligned --hidden 64,32 --context 5
"""

_MOST_UNITS = 4096
OPTIONS_OF: Mapping[str, str] = {
    "coupling": "alternating",
    "tol": "alternating",
    "open_begin": "joint",
    "open_end": "joint",
}
"""Options that mean something to one algorithm alone."""


def _hidden(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Read the units of the hidden layers."""
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        units = ()
    if not units or not all(1 <= n <= _MOST_UNITS for n in units):
        hint = "write 32, or 64,32 for two layers"
        raise UsageError("--hidden", f"{text!r} is not a number of units", hint)
    return units


def _odd(context: click.Context, parameter: click.Parameter, frames: int) -> int:
    """Refuse a window without a middle."""
    if frames % 2 == 0:
        hint = f"write {frames - 1} or {frames + 1}"
        raise UsageError("--context", f"{frames} frames have no middle one", hint)
    return frames


@click.command(
    cls=StreamCommand,
    short_help="Deep Canonical Time Warping: two streams or more, learned maps.",
    epilog=EXAMPLES,
)
@click.argument("streams", nargs=-1, metavar="STREAM STREAM [STREAM]...")
@takes.takes_options("streams")
@click.option(
    "--algorithm",
    type=click.Choice([*DCTW_ALGORITHMS]),
    default=DEFAULT_ALGORITHM,
    help=f"How it is found [{DEFAULT_ALGORITHM}].",
)
@click.option(
    "--hidden",
    metavar="UNITS",
    default="32",
    callback=_hidden,
    help="Units of the hidden layer, or of several: 64,32 [32].",
)
@click.option(
    "--weight-decay",
    type=float,
    metavar="W",
    default=1.0,
    callback=from_zero,
    help="Of the networks, in units of the usual one [1].",
)
@click.option(
    "--context",
    type=click.IntRange(1, MOST_CONTEXT),
    metavar="N",
    default=1,
    callback=_odd,
    help="Frames that a network sees at once, odd [1].",
)
@click.option(
    "--labels",
    metavar="COLUMN",
    help="Column with the class of every frame, in each stream: latents are to tell them apart.",
)
@dims_option
@click.option(
    "--regularization",
    type=float,
    metavar="R",
    callback=from_zero,
    help="Added to the variances of the latents [0.001].",
)
@click.option(
    "--init",
    type=click.Choice([*INITS]),
    default="auto",
    help="Where half of the starts begin: auto is the alignment by linear maps; the others begin "
    "from the straight line [auto].",
)
@click.option(
    "--starts",
    type=click.IntRange(min=1),
    metavar="N",
    help="Random weights to begin from [24 with one take, else 12; alternating: 4].",
)
@click.option(
    "--max-iter",
    type=click.IntRange(min=1),
    metavar="N",
    help="Iterations of a stage, or rounds, at most [as the algorithm needs].",
)
@click.option(
    "--tol",
    type=float,
    metavar="T",
    default=0.01,
    callback=from_zero,
    help="alternating: frames that the path may still move in the last round [0.01].",
)
@click.option(
    "--coupling",
    type=click.Choice([*COUPLINGS]),
    default=DCTW_COUPLING,
    help=f"alternating: all paths by their probability, or one [{DCTW_COUPLING}].",
)
@click.option("--robust", is_flag=True, help="Single frames may be far off.")
@click.option("--open-begin", is_flag=True, help="joint: any stream may begin late.")
@click.option("--open-end", is_flag=True, help="joint: any stream may end early.")
@click.option("--strict", is_flag=True, help="Fail where the search does not come to an end.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, help="[0]")
@confidence_option
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@output_options
@run_options
@stream_options
@click.pass_context
def dctw(context: click.Context, /, streams: tuple[str, ...], **parameters: Any) -> None:
    """Align streams to the first by Deep Canonical Time Warping.

    Each is PATH[,key=value]..., of any dimensions. A small network a stream, shared by all takes,
    learns where they agree. One take tells little about a network: give many with --takes.
    """
    run, targets = take_run(parameters), take_targets(parameters)
    dry_run = parameters.pop("dry_run")
    table, model, save = (parameters.pop(name) for name in ("takes", "model", "save_model"))
    check_settings(context, parameters)
    if table is not None:
        if streams:
            raise UsageError("--takes", "stands instead of streams", "name one of them")
        _align_takes(table, parameters, targets, run, save=save, model=model, dry_run=dry_run)
        return
    for option, value in (("--save-model", save), ("--model", model)):
        if value is not None:
            raise UsageError(option, "goes with --takes", "write a table of one row")
    if len(streams) < 2:
        raise UsageError("dctw", "needs two streams or more")
    specs = parse_streams(streams, parameters)
    _align(specs, parameters, targets, run, dry_run)


def check_settings(context: click.Context, parameters: Mapping[str, Any]) -> None:
    """Refuse options that do not fit together, before any file is read."""
    for name, algorithm in OPTIONS_OF.items():
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and parameters["algorithm"] != algorithm:
            what = f"means nothing to the {parameters['algorithm']} algorithm"
            raise UsageError(f"--{name.replace('_', '-')}", what, f"it is for {algorithm}")


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
    defaults = take_defaults(parameters)
    takes.check(targets, {**parameters, "coupling": "hard"}, model, save)

    from mmalign_cli.pipeline import dctw as stages

    settings = stages.DctwSettings(**parameters)
    takes.run_takes(
        stages, table, defaults, settings, targets, run, save=save, model=model, dry_run=dry_run
    )


def _align(
    specs: Sequence[StreamSpec],
    parameters: Mapping[str, Any],
    targets: Targets,
    run: Run,
    dry_run: bool,
) -> None:
    inputs = [spec.path for spec in specs]
    targets.check(inputs, run.force)

    from mmalign_cli.pipeline import dctw as stages
    from mmalign_cli.pipeline.gtw import costs_of
    from mmalign_cli.pipeline.streams import load_streams
    from mmalign_cli.pipeline.takes import Take

    settings = stages.DctwSettings(**parameters)
    with run.progress() as progress:
        loaded = load_streams(specs, progress)
        take = Take("", tuple(item.stream for item in loaded))
        run.note(take.streams)
        if dry_run:
            _say_need(take, settings)
            return
        run.note_first_run()
        targets.check_aligned([item.original for item in loaded], inputs, run.force)
        found, _ = stages.find([take], settings, max_memory=run.max_memory, progress=progress)
    result = found[0]
    run.warn(result.alignment.warnings)
    matrices: Mapping[str, Array] = {} if targets.cost is None else costs_of(result)
    kept, _ = stages.without_labels([take], settings.labels)
    shown = [
        replace(item, stream=stream) for item, stream in zip(loaded, kept[0].streams, strict=True)
    ]
    write_alignment(result.alignment, shown, matrices, targets, run)


def _say_need(take: Any, settings: DctwSettings) -> None:
    from mmalign_cli.pipeline.dctw import bytes_needed
    from mmalign_cli.runtime import format_size

    frames = " + ".join(str(s.n_frames) for s in take.streams)
    dims = " and ".join(str(s.n_dims) for s in take.streams)
    click.echo(f"{len(take.streams)} streams, {frames} frames of {dims} dimensions")
    need = format_size(bytes_needed([take], settings, None))
    click.echo(f"{settings.algorithm}; {need} of memory")
