"""``mmalign info``."""

from __future__ import annotations

import json
from typing import Any

import click

from mmalign_cli.commands.options import (
    StreamCommand,
    parse_streams,
    run_options,
    stream_options,
    take_run,
)


@click.command(cls=StreamCommand, short_help="What a stream or an alignment holds.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@run_options
@stream_options
def info(file: str, as_json: bool, **parameters: Any) -> None:
    """Say what FILE, a stream or an alignment document, holds.

    Of a stream: its frames, rate and times, as it would be aligned, and what aligning it to
    another of its length would take.
    """
    run = take_run(parameters)

    from mmalign_cli.streams.folder import open_input
    from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES
    from mmalign_cli.write.document import is_document

    specs = parse_streams([file], parameters)
    is_piped = specs[0].path == "-"
    if not is_piped and is_document(open_input(specs[0].path, DEFAULT_MAX_BYTES).head):
        _document(specs[0].path, as_json)
        return

    from mmalign_cli.pipeline.dtw import describe
    from mmalign_cli.pipeline.streams import load_streams

    loaded = load_streams(specs)[0]
    run.note([loaded.stream])
    run.warn(loaded.stream.warnings)
    facts = describe(loaded)
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def _document(path: str, as_json: bool) -> None:
    from mmalign_cli.write.document import read_document, to_document, to_line
    from mmalign_cli.write.summary import summary

    alignment = read_document(path)
    if as_json:
        click.echo(to_line(to_document(alignment, with_path=False)))
    else:
        click.echo(summary(alignment))
        for warning in alignment.warnings:
            click.echo(f"warning: {warning}")


def _text(value: Any) -> str:
    from mmalign_cli.errors import printable

    if isinstance(value, list):
        more = f", ... {len(value)} in all" if len(value) > 12 else ""
        return printable(", ".join(map(str, value[:12]))) + more
    if isinstance(value, float):
        return f"{value:.10g}"
    return "none" if value is None else printable(str(value))
