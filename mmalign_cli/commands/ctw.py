"""``mmalign ctw``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mmalign_cli.align.choices import (
    ALGORITHMS,
    ALTERNATING_ALONE,
    COUPLINGS,
    DEFAULT_ALGORITHM,
    INITS,
    LEARNING_ALONE,
    PRESETS,
)
from mmalign_cli.commands import takes
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
from mmalign_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mmalign_cli.model import Array
    from mmalign_cli.pipeline.ctw import CtwSettings, Plan
    from mmalign_cli.streams.spec import StreamSpec


EXAMPLES = """\b
Examples:
  mmalign ctw mocap.csv video.npz -o alignment.json --plot alignment.png
  mmalign ctw mocap.csv video.npz --coupling soft --samples 20 --json
  mmalign ctw a.csv b.csv --preset reference --path path.csv
  mmalign ctw --takes takes.csv -o aligned --save-model maps.npz
"""

_ADD_SOFT = "add --coupling soft"
_TABLES: Mapping[str, Mapping[str, object]] = {
    "algorithm": ALGORITHMS,
    "init": INITS,
    "coupling": COUPLINGS,
    "preset": PRESETS,
}


def _named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a name that is not in the option's table."""
    known = _TABLES[str(parameter.name)]
    if value is not None and value not in known:
        hint = did_you_mean(value, known) or f"one of {listing(known)}"
        raise UsageError(parameter.opts[-1], f"{value!r} is not known", hint)
    return value


def _dims(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Read a number of dimensions, or a share of the correlation."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < 1 or (1 <= value < 1e6 and value == int(value))):
        hint = "write 2, or 0.95 for the dimensions that hold that share of the correlation"
        raise UsageError("--dims", f"{text!r} is not a number of dimensions", hint)
    return value


dims_option = click.option(
    "--dims",
    metavar="D",
    callback=_dims,
    help="Dimensions of the common space, or a share of the correlation below 1 "
    "[chosen on held-out frames].",
)


def from_zero(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    """Refuse what is not a finite number from 0 up."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise UsageError(parameter.opts[-1], f"{value} is not a finite number from 0 up")
    return value


@click.command(
    cls=StreamCommand,
    short_help="Canonical Time Warping of two streams of any dimensions.",
    epilog=EXAMPLES,
)
@click.argument("reference", required=False)
@click.argument("query", required=False)
@takes.takes_options("REFERENCE and QUERY")
@click.option(
    "--algorithm",
    metavar="NAME",
    default=DEFAULT_ALGORITHM,
    callback=_named,
    help=f"How it is found: {listing(ALGORITHMS)} [{DEFAULT_ALGORITHM}].",
)
@dims_option
@click.option(
    "--regularization",
    type=float,
    metavar="R",
    callback=from_zero,
    help="Ridge, relative to each stream's mean variance [0; 0.05 with few frames].",
)
@click.option(
    "--init",
    metavar="NAME",
    default="auto",
    callback=_named,
    help=f"Where to begin: {listing(INITS)} [auto].",
)
@click.option("--starts", type=click.IntRange(min=1), metavar="N", help="Starts at most [all].")
@click.option(
    "--max-iter",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rounds from each start at most [50]; joint: of a stage "
    "[100 while it searches, then 1000].",
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
    metavar="NAME",
    default="hard",
    callback=_named,
    help="hard: one path; soft: all paths, with an interval for every frame [hard].",
)
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    metavar="K",
    default=0,
    help="With --coupling soft: paths drawn by their probability [0].",
)
@click.option("--posterior", metavar="FILE", help="With --coupling soft: all of it, .npz.")
@click.option("--robust", is_flag=True, help="Single frames may be far off.")
@click.option("--open-begin", is_flag=True, help="QUERY may begin anywhere in REFERENCE.")
@click.option("--open-end", is_flag=True, help="QUERY may end anywhere in REFERENCE.")
@click.option(
    "--preset",
    metavar="NAME",
    callback=_named,
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
def ctw(
    context: click.Context, /, reference: str | None, query: str | None, **parameters: Any
) -> None:
    """Align QUERY to REFERENCE by Canonical Time Warping.

    Both are streams, PATH[,key=value]..., of any dimensions: linear maps bring them into a common
    space, where they are warped onto each other. The result maps the query's clock to the
    reference's.
    """
    run, targets = take_run(parameters), take_targets(parameters)
    table = parameters.pop("takes")
    dry_run, posterior = parameters.pop("dry_run"), parameters.pop("posterior")
    check_settings(context, parameters)
    _check_posterior(parameters, posterior)
    if table is not None:
        if reference is not None:
            raise UsageError("--takes", "stands instead of REFERENCE and QUERY", "name one of them")
        _align_takes(context, table, parameters, targets, run, dry_run)
        return
    if reference is None or query is None:
        raise UsageError("ctw", "needs REFERENCE and QUERY", "or --takes TAKES.csv")
    for option in ("save_model", "model"):
        if parameters.pop(option) is not None:
            hint = "write the two streams into a table with one row"
            raise UsageError(f"--{option.replace('_', '-')}", "goes with --takes", hint)
    specs = parse_streams([reference, query], parameters)
    _align_pair(specs, parameters, targets, run, posterior, dry_run)


def _align_pair(
    specs: Sequence[StreamSpec],
    parameters: Mapping[str, Any],
    targets: Targets,
    run: Run,
    posterior: str | None,
    dry_run: bool,
) -> None:
    """Align two streams."""
    inputs = [spec.path for spec in specs]
    targets.check(inputs, run.force, [] if posterior is None else [posterior])

    from mmalign_cli.pipeline import ctw as stages
    from mmalign_cli.pipeline.streams import load_streams
    from mmalign_cli.write.npz import write_arrays

    settings = stages.CtwSettings(**parameters)
    with run.progress() as progress:
        loaded = load_streams(specs, progress)
        streams = [item.stream for item in loaded]
        run.note(streams)
        if dry_run:
            _say_plan(stages.plan_ctw(streams, settings, targets.cost is not None), settings)
            return
        targets.check_aligned([item.original for item in loaded], inputs, run.force)
        result = stages.align_ctw(
            streams,
            settings,
            max_memory=run.max_memory,
            keep_costs=targets.cost is not None,
            progress=progress,
        )
    run.warn(result.alignment.warnings)
    matrices: Mapping[str, Array] = {} if targets.cost is None else stages.costs_of(result)
    also = []
    if posterior is not None and result.posterior is not None:
        arrays = stages.posterior_arrays(result.posterior)
        also.append(partial(write_arrays, target=posterior, arrays=arrays))
    write_alignment(result.alignment, loaded, matrices, targets, run, also)


def _align_takes(
    context: click.Context,
    table: str,
    parameters: dict[str, Any],
    targets: Targets,
    run: Run,
    dry_run: bool,
) -> None:
    """Align the takes of a table."""
    defaults = take_defaults(parameters)
    model, save = parameters.pop("model"), parameters.pop("save_model")
    takes.check(targets, parameters, model, save)
    if model is not None:
        for name in LEARNING_ALONE:
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(option, "means nothing with --model, which learns nothing")

    from mmalign_cli.pipeline import takes as stages
    from mmalign_cli.pipeline.ctw import CtwSettings

    settings = CtwSettings(**parameters)
    takes.run_takes(
        stages, table, defaults, settings, targets, run, save=save, model=model, dry_run=dry_run
    )


def _take_preset(context: click.Context, parameters: dict[str, Any]) -> None:
    """Set what a preset says, but for options that were given themselves."""
    preset = parameters.pop("preset")
    for name, value in PRESETS.get(preset, {}).items():
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            parameters[name] = value


def check_settings(context: click.Context, parameters: dict[str, Any]) -> None:
    """Apply a preset; refuse options that do not fit together, before any file is read."""
    _take_preset(context, parameters)
    soft = parameters["coupling"] == "soft"
    if parameters["algorithm"] == "joint":
        for name in ALTERNATING_ALONE:
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                what = "means nothing to the joint algorithm"
                raise UsageError(f"--{name}", what, "add --algorithm alternating")
    if parameters["samples"] and not soft:
        raise UsageError("--samples", "means nothing with a hard coupling", _ADD_SOFT)
    if soft and (parameters["open_begin"] or parameters["open_end"]):
        raise UsageError("--coupling", "soft has no open ends", "use --coupling hard")


def _check_posterior(parameters: Mapping[str, Any], posterior: str | None) -> None:
    if posterior is not None:
        from mmalign_cli.write.path import ending_of

        ending_of(posterior, (".npz",), "--posterior")
        if parameters["coupling"] != "soft":
            raise UsageError("--posterior", "means nothing with a hard coupling", _ADD_SOFT)


def _say_plan(plan: Plan, settings: CtwSettings) -> None:
    from mmalign_cli.runtime import format_size

    (n, m), (d_x, d_y) = plan.frames, plan.dims
    click.echo(f"{n} x {m} frames of {d_x} and {d_y} dimensions")
    click.echo(f"{settings.algorithm}, {settings.coupling}; {plan.cells} cells a pass of DTW")
    click.echo(f"{format_size(plan.bytes)} of memory")
