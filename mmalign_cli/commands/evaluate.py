"""``mmalign evaluate``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.commands.options import run_options, take_run
from mmalign_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mmalign_cli.evidence.metrics import Errors

_LIMIT = re.compile(r"(\d+(?:\.\d+)?)(s|ms|)")


@click.command(short_help="Errors against a known answer.")
@click.argument("alignment")
@click.argument("truth")
@click.option("--json", "as_json", is_flag=True, help="The errors as JSON.")
@click.option(
    "--max-error",
    metavar="E",
    help="Exit with 1 if the error is larger: 2 (frames) or 50ms (median).",
)
@run_options
def evaluate(alignment: str, truth: str, as_json: bool, max_error: str | None, **run: Any) -> int:
    """Compare ALIGNMENT, a document, with TRUTH.

    TRUTH is a path in frames (csv or npy), a csv of matching seconds with one column a stream,
    or another alignment document.
    """
    take_run(run)
    limit = None if max_error is None else _parse_limit(max_error)

    from mmalign_cli.pipeline.evaluate import evaluate_files
    from mmalign_cli.write.summary import errors_text

    errors = evaluate_files(alignment, truth)
    click.echo(json.dumps(vars(errors)) if as_json else errors_text(errors))
    if limit is not None and _error_in(errors, limit[1]) > limit[0]:
        return ExitCode.FAULT
    return ExitCode.OK


def _parse_limit(text: str) -> tuple[float, str]:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError("--max-error", f"{text!r} is not a limit", "write 2 (frames) or 50ms")
    value, unit = float(match[1]), match[2]
    return (value / 1000, "s") if unit == "ms" else (value, unit)


def _error_in(errors: Errors, unit: str) -> float:
    if unit == "s":
        return errors.median_abs_seconds
    in_frames = errors.path_difference
    return errors.mean_abs_frames if in_frames is None else in_frames
