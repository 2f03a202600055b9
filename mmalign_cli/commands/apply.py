"""``mmalign apply``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.commands.options import run_options, take_run
from mmalign_cli.errors import UsageError

if TYPE_CHECKING:
    from mmalign_cli.carry.files import Carried
    from mmalign_cli.model import TimeMap
    from mmalign_cli.pipeline.apply import Request


_UNITS = {
    "times": "times",
    "interpolated": "frames, interpolated",
    "resampled": "samples, resampled",
    "stretched": "samples, stretched",
    "shown": "pictures, shown at their new times",
    "encoded": "samples, encoded",
}
"""What was counted, by what was done."""


@click.command(
    short_help="Carry a file from one clock to another.", options_metavar="[OPTIONS] -o OUT"
)
@click.argument("arguments", nargs=-1, metavar="[ALIGNMENT]... FILE")
@click.option("-o", "--output", metavar="OUT", help="The carried file, of FILE's kind.")
@click.option("--from", "start", metavar="NAME", help="The stream whose clock FILE is on.")
@click.option("--to", metavar="NAME", help="The stream whose clock it goes to [the reference].")
@click.option("--inverse", is_flag=True, help="From the reference to the other stream.")
@click.option("--map", "map_file", metavar="CSV", help="A time map in place of alignments.")
@click.option("--write-map", metavar="CSV", help="Write the time map: two columns of seconds.")
@click.option("--resample", is_flag=True, help="Let the pitch of sound change with its speed.")
@click.option("--time-columns", metavar="A,B", help="Columns of times of a table [by name].")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HZ",
    help="Frames a second: of an array [its stream's], or to resample a table to.",
)
@click.option(
    "--nearest", is_flag=True, help="Frames of arrays and tables: the nearest, none in between."
)
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON.")
@run_options
def apply(arguments: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Carry FILE, that is on the clock of one stream of ALIGNMENT, to the clock of another.

    Sound (wav, flac, ogg), video (mp4, mov, mkv, webm, m4a; or its sound alone), tables with
    columns of times (csv, tsv), arrays (npy, npz), labels and subtitles (srt, vtt, ass, TextGrid,
    eaf, Audacity's txt). In files of text nothing but the times changes, pictures of a video are
    shown at their new times and not coded anew. Several ALIGNMENTs are gone through one after the
    other.
    """
    run = take_run(options)
    request = _request(arguments, options)

    from mmalign_cli.carry.files import Settings, kind_of
    from mmalign_cli.pipeline.apply import apply as apply_all

    columns = options["time_columns"]
    settings = Settings(
        keep_pitch=not options["resample"],
        columns=tuple(columns.split(",")) if columns else (),
        rate=options["rate"],
        nearest=options["nearest"],
    )
    if request.file is not None and kind_of(request.file) in ("sound", "media"):
        run.note_first_run()
    with run.progress() as progress:
        time_map, done = apply_all(request, settings, force=run.force, progress=progress)
    run.warn(done.warnings if done else ())
    summary = _summary(request, time_map, done)
    click.echo(json.dumps(summary) if as_json else _sentence(summary))


def _request(arguments: tuple[str, ...], options: dict[str, Any]) -> Request:
    """Return what is asked for: without an output the arguments are alignments alone."""
    from mmalign_cli.pipeline.apply import Request

    output, write_map, map_file = (options[k] for k in ("output", "write_map", "map_file"))
    if output is None and write_map is None:
        raise UsageError("-o", "is missing", "where the carried file goes")
    documents = arguments if output is None else arguments[:-1]
    if output is not None and not arguments:
        raise UsageError("FILE", "is missing", "see mmalign apply --help")
    if map_file is not None and documents:
        raise UsageError("--map", f"stands in place of alignments, but there is {documents[0]}")
    if map_file is None and not documents:
        raise UsageError("ALIGNMENT", "is missing", "name a document, or a map with --map")
    return Request(
        documents=documents,
        map_file=map_file,
        file=None if output is None else arguments[-1],
        output=output,
        write_map=write_map,
        start=options["start"],
        to=options["to"],
        inverse=options["inverse"],
    )


def _summary(request: Request, time_map: TimeMap, done: Carried | None) -> dict[str, Any]:
    return {
        "from": time_map.stream,
        "to": time_map.to,
        "knots": len(time_map.knots),
        "input": request.file,
        "output": request.output,
        "map": request.write_map,
        "how": done.how if done else None,
        "count": done.count if done else None,
        "warnings": list(done.warnings) if done else [],
    }


def _sentence(summary: dict[str, Any]) -> str:
    from mmalign_cli.errors import printable

    way = f"from the clock of {summary['from']} to that of {summary['to']}"
    if summary["output"] is None:
        text = f"{summary['map']}: {way}, {summary['knots']} knots"
    else:
        unit = _UNITS[summary["how"]]
        text = f"{summary['output']}: {way}, {summary['count']} {unit}"
    return printable(text)
