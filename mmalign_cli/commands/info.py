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

_MOST_LINES = 100


@click.command(cls=StreamCommand, short_help="What a stream or an alignment holds.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@run_options
@stream_options
def info(file: str, as_json: bool, **parameters: Any) -> None:
    """Say what FILE, a stream or an alignment document, holds.

    Of a stream: its frames, rate and times, as it would be aligned, and what aligning it to
    another of its length would take. Of a container, an HDF5 file or a table of typed columns also
    the tracks, datasets or columns in it.
    """
    run = take_run(parameters)

    from mmalign_cli.errors import ChoiceError
    from mmalign_cli.streams.folder import open_input
    from mmalign_cli.streams.registry import contents_of
    from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES
    from mmalign_cli.write.document import is_document

    specs = parse_streams([file], parameters)
    facts: dict[str, Any] = {}
    if specs[0].path != "-":
        source = open_input(specs[0].path, DEFAULT_MAX_BYTES)
        if is_document(source.head):
            _document(specs[0].path, as_json)
            return
        contents = contents_of(source, specs[0].options())
        facts = {} if contents is None else {"contents": contents}

    from mmalign_cli.pipeline.dtw import describe
    from mmalign_cli.pipeline.streams import load_streams

    try:
        loaded = load_streams(specs)[0]
        run.note([loaded.stream])
        run.warn(loaded.stream.warnings)
        facts = {**describe(loaded), **facts}
    except ChoiceError as error:
        if not facts:
            raise
        run.warn([f"{error}"])
    _print(facts, as_json)


def _print(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        for line in _lines(value) if name == "contents" else [_text(value)]:
            click.echo(f"{name.replace('_', ' '):<{width}}  {line}")


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


def _lines(contents: list[dict[str, Any]]) -> list[str]:
    """Return a line for each thing in a file: its name, then what is known of it."""
    lines = []
    for thing in contents[:_MOST_LINES]:
        name, *facts = thing.items()
        known = ", ".join(f"{key.replace('_', ' ')} {_text(value)}" for key, value in facts)
        lines.append(f"{_text(name[1])}: {known}")
    return lines + [f"... {len(contents)} in all"] * (len(contents) > _MOST_LINES)


def _text(value: Any) -> str:
    from mmalign_cli.errors import printable

    if isinstance(value, list):
        more = f", ... {len(value)} in all" if len(value) > 12 else ""
        return printable(", ".join(map(str, value[:12]))) + more
    if isinstance(value, float):
        return f"{value:.10g}"
    return "none" if value is None else printable(str(value))
