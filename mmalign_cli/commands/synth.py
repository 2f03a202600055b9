"""``mmalign synth``."""

from __future__ import annotations

from typing import Any

import click

from mmalign_cli.commands.options import check_folder, run_options, take_run
from mmalign_cli.errors import UsageError, did_you_mean

_OPTIONS_OF = {
    "spiral": {"sequences"},
    "curves": {"family"},
    "takes": {"takes", "linear"},
}


@click.command(short_help="Sequences with a known alignment.")
@click.argument("kind", type=click.Choice(list(_OPTIONS_OF)))
@click.option("-o", "--output", metavar="FOLDER", required=True, help="Where the files go.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of chance [0].")
@click.option(
    "--sequences",
    type=click.IntRange(2, 100),
    metavar="N",
    help="How many sequences a spiral has [2].",
)
@click.option("--family", metavar="NAME", help="Which family of curves [viviani].")
@click.option("--takes", type=click.IntRange(1, 10_000), metavar="K", help="How many takes [4].")
@click.option(
    "--linear/--nonlinear",
    default=None,
    help="What the second sensor of takes sees [linear].",
)
@run_options
def synth(kind: str, output: str, seed: int, **parameters: Any) -> None:
    """Make sequences whose alignment is known, to try an aligner on.

    KIND is spiral (affine images of a spiral beside a column of noise), curves (a curve, and its
    warped, bumped and rigidly moved image) or takes (several takes of the same two sensors).
    FOLDER gets stream1.csv, stream2.csv, ... and truth.csv; for takes a folder a take, and
    takes.csv.
    """
    run = take_run(parameters)
    given = {name: value for name, value in parameters.items() if value is not None}
    for name in given:
        if name not in _OPTIONS_OF[kind]:
            owner = next(k for k, names in _OPTIONS_OF.items() if name in names)
            raise UsageError(f"--{name}", f"means nothing for {kind}", f"it is for {owner}")
    check_folder(output)

    from mmalign_cli.evidence.synth import CURVES
    from mmalign_cli.pipeline.synth import SynthSettings, write_synth

    family = given.get("family")
    if family is not None and family not in CURVES:
        hint = did_you_mean(family, CURVES) or f"families: {', '.join(CURVES)}"
        raise UsageError("--family", f"{family!r} is not a family of curves", hint)
    files = write_synth(SynthSettings(kind, seed=seed, **given), output, run.force)
    if not run.quiet:
        click.echo(f"{len(files)} files in {output}", err=True)
