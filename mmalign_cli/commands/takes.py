"""``--takes`` and ``--model`` of the aligners with learned maps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mmalign_cli.commands.options import Run, Targets, check_folder
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.pipeline.takes import Take
    from mmalign_cli.streams.takes import TakeRow


F = TypeVar("F", bound=Callable[..., Any])


def takes_options(instead: str) -> Callable[[F], F]:
    """Return what adds ``--takes``, ``--save-model`` and ``--model``.

    Parameters
    ----------
    instead : str
        The arguments that a table of takes stands for.
    """
    options = (
        click.option("--model", metavar="FILE", help="Align under maps of --save-model."),
        click.option("--save-model", metavar="FILE", help="Keep the maps that were learned: .npz."),
        click.option(
            "--takes",
            metavar="TAKES.csv",
            help=f"Many takes under shared maps, instead of {instead}: a row a take, a column a "
            "stream; -o is then a folder.",
        ),
    )

    def add(command: F) -> F:
        for option in options:
            command = option(command)
        return command

    return add


def check(
    targets: Targets, parameters: Mapping[str, Any], model: str | None, save: str | None
) -> None:
    """Refuse options that mean nothing to many takes, before any file is read."""
    for option in ("path", "cost", "aligned", "plot"):
        if getattr(targets, option) is not None:
            hint = "take the documents of -o FOLDER to mmalign plot and others"
            raise UsageError(f"--{option}", "is for one alignment, --takes are many", hint)
    if parameters["coupling"] == "soft":
        raise UsageError("--coupling", "takes are coupled hard", "leave --coupling soft out")
    for option in ("open_begin", "open_end"):
        if parameters[option]:
            raise UsageError(f"--{option.replace('_', '-')}", "takes have closed ends")
    if save is not None and model is not None:
        raise UsageError("--save-model", "--model learns nothing to save", "leave one of them out")
    if targets.document is not None:
        check_folder(targets.document)
    if save is not None:
        from mmalign_cli.write.path import ending_of

        ending_of(save, (".npz",), "--save-model")


def run_takes(
    stages: Any,
    table: str,
    defaults: Mapping[str, str],
    settings: object,
    targets: Targets,
    run: Run,
    *,
    save: str | None,
    model: str | None,
    dry_run: bool,
) -> None:
    """Align the takes of a table, together or under a model, and write their documents.

    `stages` is the module of the aligner's own, such as `mmalign_cli.pipeline.takes`.
    """
    from mmalign_cli.streams.takes import read_takes
    from mmalign_cli.write import document
    from mmalign_cli.write.atomic import Outputs
    from mmalign_cli.write.learned import read_learned, write_learned
    from mmalign_cli.write.seal import sealed

    rows = read_takes(table, defaults, n_streams=stages.N_STREAMS)
    documents = _documents(rows, targets)
    _check_outputs(rows, documents, table, save, model, run.force)
    learned = None if model is None else read_learned(model)[0]
    with run.progress() as progress:
        takes = stages.load_takes(rows, table, progress)
        if dry_run:
            _say_need(takes, stages.bytes_needed(takes, settings, learned))
            return
        if learned is None:
            alignments, learned = stages.align_takes(
                takes, settings, max_memory=run.max_memory, progress=progress
            )
        else:
            alignments = stages.align_with(takes, learned, str(model), settings, run.max_memory)
    run.warn(_warnings(takes, [a.warnings for a in alignments]))
    values = [document.to_document(a, targets.with_path) for a in alignments]
    with Outputs(run.force) as outputs:
        if targets.document is not None:
            outputs.make_folder(targets.document)
        for target, value in zip(documents, values, strict=False):
            document.write_document(outputs, target, value)
        if save is not None:
            write_learned(outputs, save, learned, stages.about(takes, learned))
    for take, value, alignment in zip(takes, values, alignments, strict=True):
        if targets.as_json:
            click.echo(document.to_line(sealed({**value, "id": take.id})))
        else:
            mean = alignment.cost.mean
            click.echo(f"{take.id}: {alignment.streams[0].frames} frames, mean cost {mean:.4g}")


def _say_need(takes: list[Take], n_bytes: int) -> None:
    from mmalign_cli.runtime import format_size

    columns = range(len(takes[0].streams))
    frames = " and ".join(str(sum(take.streams[k].n_frames for take in takes)) for k in columns)
    dims = " and ".join(str(stream.n_dims) for stream in takes[0].streams)
    click.echo(f"{len(takes)} takes, {frames} frames of {dims} dimensions", nl=False)
    click.echo(f"; {format_size(n_bytes)} of memory")


def _documents(rows: tuple[TakeRow, ...], targets: Targets) -> list[str]:
    if targets.document is None:
        return []
    return [os.path.join(targets.document, f"{row.id}.json") for row in rows]


def _check_outputs(
    rows: tuple[TakeRow, ...],
    documents: list[str],
    table: str,
    save: str | None,
    model: str | None,
    force: bool,
) -> None:
    from mmalign_cli.write.atomic import check_outputs

    inputs = [table, *(spec.path for row in rows for spec in row.specs)]
    inputs += [] if model is None else [model]
    folder_is_there = bool(documents) and os.path.isdir(os.path.dirname(documents[0]))
    files = [*(documents if folder_is_there else ()), *(() if save is None else (save,))]
    check_outputs(files, inputs, force)


def _warnings(takes: list[Take], warnings: list[tuple[str, ...]]) -> list[str]:
    """Return each warning once, with the takes that it is about."""
    about: dict[str, list[str]] = {}
    for take, own in zip(takes, warnings, strict=True):
        for warning in own:
            about.setdefault(warning, []).append(take.id)
    return [
        text if len(ids) == len(takes) > 1 else f"{', '.join(ids)}: {text}"
        for text, ids in about.items()
    ]
