"""``mmalign dtw --pairwise``: the costs of all pairs of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from mmalign_cli.commands.options import Run, Targets, take_defaults
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.pipeline.pairwise import Job, PairwisePlan
    from mmalign_cli.runtime import Progress

F = TypeVar("F", bound=Callable[..., Any])


def pairwise_options(command: F) -> F:
    """Add the options of many pairs."""
    options: tuple[Callable[[F], F], ...] = (
        click.option(
            "--nearest", type=click.IntRange(min=1), metavar="K", help="Only the K nearest of each."
        ),
        click.option("--condensed", is_flag=True, help="Of a matrix the pairs i < j alone."),
        click.option(
            "--pairwise", metavar="LIST", help="Costs of all pairs of a list of streams: -o .npy."
        ),
    )
    for option in options:
        command = option(command)
    return command


def take_pairwise(
    arguments: tuple[str | None, str | None], parameters: dict[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """Remove the options of `pairwise_options`; return the list and the shape if there is one.

    Raises
    ------
    UsageError
        If arguments and options do not fit together.
    """
    listing = parameters.pop("pairwise")
    shape = {name: parameters.pop(name) for name in ("condensed", "nearest")}
    if listing is None:
        for name, value in shape.items():
            if value:
                raise UsageError(f"--{name}", "means nothing without --pairwise")
        missing = [n for n, a in zip(("REFERENCE", "QUERY"), arguments, strict=True) if a is None]
        if missing:
            raise UsageError(missing[0], "is missing", "mmalign dtw REFERENCE QUERY")
        return None
    for argument in arguments:
        if argument is not None:
            raise UsageError(argument, "no stream beside --pairwise LIST", "add it to the list")
    if shape["condensed"] and shape["nearest"]:
        raise UsageError("--condensed", "means nothing with --nearest")
    context = click.get_current_context()
    if context.get_parameter_source("confidence") is not ParameterSource.DEFAULT:
        raise UsageError("--confidence", "means nothing with --pairwise")
    return listing, shape


def run_pairwise(
    asked: tuple[str, dict[str, Any]], parameters: dict[str, Any], run: Run, targets: Targets
) -> None:
    """Do what ``--pairwise`` asks for."""
    listing, wanted = asked
    dry_run, defaults = parameters.pop("dry_run"), take_defaults(parameters)
    _check_targets(targets, listing, wanted["nearest"] is not None, dry_run, run.force)

    from mmalign_cli.pipeline import pairwise as stages
    from mmalign_cli.pipeline.restrictions import DtwSettings

    with run.progress() as progress:
        settings = DtwSettings(**parameters)
        job = stages.prepare(listing, defaults, settings, stages.Shape(**wanted), progress)
        run.note(job.streams)
        if dry_run:
            _say_plan(stages.plan(job))
            return
        if targets.document is not None:
            _check_inputs(targets.document, job, run.force)
        stages.require_memory(job, run.max_memory)
        _compute(job, run, targets, progress)


def _check_targets(
    targets: Targets, listing: str, with_neighbours: bool, dry_run: bool, force: bool
) -> None:
    """Refuse outputs that mean nothing here or cannot be written."""
    from mmalign_cli.write.atomic import check_outputs
    from mmalign_cli.write.matrix import check_target

    for name in ("path", "cost", "aligned", "plot"):
        if getattr(targets, name) is not None:
            raise UsageError(f"--{name}", "means nothing with --pairwise")
    if not targets.with_path:
        raise UsageError("--no-path", "means nothing with --pairwise")
    if targets.document is None and not dry_run:
        ending = "npz" if with_neighbours else "npy"
        raise UsageError("--pairwise", "needs a file for the result", f"-o FILE.{ending}")
    if targets.document is not None:
        check_target(targets.document, with_neighbours)
        check_outputs([targets.document], [listing], force)


def _check_inputs(target: str, job: Job, force: bool) -> None:
    from mmalign_cli.write.atomic import check_outputs

    check_outputs([target], [stream.source for stream in job.streams], force)


def _say_plan(plan: PairwisePlan) -> None:
    from mmalign_cli.runtime import format_size

    click.echo(f"{plan.pairs} pairs of {plan.streams} streams")
    click.echo(f"{plan.cells} cells at most, {format_size(plan.bytes)} of memory")
    if plan.one_by_one:
        click.echo(f"{plan.one_by_one} pairs one by one, which is slower")


def _compute(job: Job, run: Run, targets: Targets, progress: Progress) -> None:
    """Compute, write and say what was found."""
    from mmalign_cli.pipeline import pairwise as stages
    from mmalign_cli.write import matrix
    from mmalign_cli.write.atomic import Outputs
    from mmalign_cli.write.document import to_line

    target = str(targets.document)
    names = [stream.name for stream in job.streams]
    with Outputs(run.force) as outputs:
        if job.shape.nearest is not None:
            found = stages.neighbours_of(job, progress)
            matrix.write_neighbours(outputs, target, found.indices, found.costs, names)
            figures = matrix.figures_of(found.costs)
            figures |= {"swept": found.swept, "abandoned": found.abandoned}
        else:
            costs = stages.costs_of(job, progress)
            matrix.write_costs(outputs, target, costs)
            figures = matrix.figures_of(stages.pair_costs(job, costs))
    warnings = [*job.warnings]
    if figures["without_path"]:
        warnings.append(f"{figures['without_path']} pairs have no path in the window: infinite")
    run.warn(warnings)
    infos = [stream.info() for stream in job.streams]
    document = matrix.pairwise_document(infos, job.parameters, target, figures, warnings)
    click.echo(to_line(document) if targets.as_json else matrix.pairwise_summary(document))
