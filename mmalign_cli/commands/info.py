"""``mmalign info``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.commands.options import (
    StreamCommand,
    parse_streams,
    run_options,
    stream_options,
    take_run,
)

if TYPE_CHECKING:
    from mmalign_cli.commands.options import Run
    from mmalign_cli.streams.spec import StreamSpec

_MOST_LINES = 100


@click.command(cls=StreamCommand, short_help="What a stream or an alignment holds.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@run_options
@stream_options
def info(file: str, as_json: bool, **parameters: Any) -> None:
    """Say what FILE, a stream or an alignment document, holds.

    Of a stream: its frames, rate and times, as it would be aligned, and what aligning it to
    another of its length would take; where values are missing, which and when. Of a container, an
    HDF5 file or a table of typed columns also the tracks, datasets or columns in it.
    """
    run = take_run(parameters)

    from mmalign_cli.errors import ChoiceError, GapsError
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

    try:
        facts = {**_described(specs[0], run), **facts}
    except GapsError as error:
        facts = {**_mended(specs[0], run), "gaps": error.gaps, **facts}
    except ChoiceError as error:
        if not facts:
            raise
        run.warn([f"{error}"])
    _print(facts, as_json)


def _described(spec: StreamSpec, run: Run) -> dict[str, Any]:
    from mmalign_cli.pipeline.dtw import describe
    from mmalign_cli.pipeline.streams import load_streams

    loaded = load_streams([spec])[0]
    run.note([loaded.stream])
    run.warn(loaded.stream.warnings)
    return describe(loaded)


def _mended(spec: StreamSpec, run: Run) -> dict[str, Any]:
    """Describe a stream with gaps as it is once they are filled, if they can be."""
    from dataclasses import replace

    from mmalign_cli.errors import InputError

    try:
        return _described(replace(spec, given={**spec.given, "nan": "interpolate"}), run)
    except InputError as error:  # a column without any value
        run.warn([f"{error}"])
        return {"source": spec.path}


def _print(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        for line in _LISTED[name](value) if name in _LISTED else [_text(value)]:
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


def _gap_lines(gaps: list[dict[str, Any]]) -> list[str]:
    """Return a line for each set of columns: what they lack, and when."""
    lines = []
    for gap in gaps[:_MOST_LINES]:
        spans = [f"{a:.6g} to {b:.6g} s" if a < b else f"{a:.6g} s" for a, b in gap["spans"]]
        lines.append(f"{_text(gap['columns'])}: {gap['missing']} frames missing, {_text(spans)}")
    return lines + [f"... {len(gaps)} in all"] * (len(gaps) > _MOST_LINES)


_LISTED: dict[str, Callable[[list[dict[str, Any]]], list[str]]] = {
    "contents": _lines,
    "gaps": _gap_lines,
}
"""What is shown as a line a thing."""


def _text(value: Any) -> str:
    from mmalign_cli.errors import printable

    if isinstance(value, list):
        more = f", ... {len(value)} in all" if len(value) > 12 else ""
        return printable(", ".join(map(str, value[:12]))) + more
    if isinstance(value, float):
        return f"{value:.10g}"
    return "none" if value is None else printable(str(value))
