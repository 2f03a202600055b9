"""``mmalign batch``: its options."""

from __future__ import annotations

import re
from typing import Any

import click

from mmalign_cli.commands.batch_run import Wanted, run, write_manifest
from mmalign_cli.commands.options import size, stream_options, take_defaults
from mmalign_cli.commands.sync import seconds
from mmalign_cli.errors import ExitCode, UsageError

EXAMPLES = """\b
Examples:
  mmalign batch rows.csv -o aligned --jobs 8
  mmalign batch rows.csv -o aligned --retry failed --timeout 10m
  mmalign batch --from-folders cameras recorders --match "*.wav" -o rows.csv
  mmalign batch rows.csv -o report --audit --tolerance 20ms
  mmalign batch rows.csv -o aligned --shard 3/16
  mmalign batch merge aligned
"""
_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
ENGINES = ("local", "dask")


class BatchCommand(click.Command):
    """``batch``, of which ``merge`` as the first word is a command of its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Hand over to ``merge`` where it is asked for."""
        if args[:1] == ["merge"]:
            from mmalign_cli.commands.batch_merge import merge

            return merge.make_context("batch merge", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _shard(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _SHARD.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError("--shard", f"{text!r} is no share", "write 3/16: the third of sixteen")
    return int(match[1]), int(match[2])


def _duration(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise UsageError(parameter.opts[-1], f"{text!r} is not a duration", "write 90s, 10m or 2h")
    return float(match[1]) * _UNITS_S[match[2]]


def _pairs(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError("--option", f"{text!r} is not NAME=VALUE", "for example metric=cosine")
        pairs.append((name.removeprefix("--").replace("_", "-"), value))
    return tuple(pairs)


@click.command(cls=BatchCommand, short_help="Many alignments.", epilog=EXAMPLES)
@click.argument("manifest", required=False)
@click.option("-o", "--output", metavar="FOLDER", help="Documents, results.ndjson, summary.csv.")
@click.option("--method", metavar="NAME", default="dtw", help="Of rows that name none [dtw].")
@click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="An option of the method, for all rows that do not set it; may be repeated.",
)
@click.option(
    "--from-folders",
    nargs=2,
    metavar="REF_DIR QUERY_DIR",
    help="Write a manifest (-o FILE, or to standard output) of files with equal names.",
)
@click.option(
    "--match", multiple=True, metavar="GLOB", help="With --from-folders: names to take [*]."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Rows at a time [the processors]."
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, help="Threads of a row [1]."
)
@click.option(
    "--max-memory",
    metavar="SIZE",
    callback=size,
    help="Memory of all rows at a time together, e.g. 16G [what is free].",
)
@click.option("--timeout", metavar="T", callback=_duration, help="Of a row: 90s, 10m, 2h [none].")
@click.option(
    "--retry",
    type=click.Choice(["failed"]),
    help="failed: run again what failed, though unchanged.",
)
@click.option("--force", is_flag=True, help="Run all rows, also those that are done.")
@click.option("--strict", is_flag=True, help="Start nothing if a file of any row is missing.")
@click.option("--no-path", is_flag=True, help="Leave the path out of the documents.")
@click.option("--json", "as_json", is_flag=True, help="Results on standard output, a line a row.")
@click.option("--parquet", is_flag=True, help="summary.parquet beside summary.csv.")
@click.option(
    "--audit", is_flag=True, help="Report which pairs are out of sync or not related: by sync."
)
@click.option(
    "--tolerance",
    metavar="T",
    default="40ms",
    callback=seconds,
    help="Of --audit: the largest error in sync [40ms].",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), default="local", help="Where rows are run [local]."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of --engine dask: tcp://HOST:PORT [starts a cluster]."
)
@click.option(
    "--shard", metavar="I/N", callback=_shard, help="Run the I-th of N shares of the rows."
)
@click.option("--dry-run", is_flag=True, help="Check the manifest, say what is to do, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings, no progress.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@stream_options
def batch(manifest: str | None, **parameters: Any) -> int:
    """Run the alignments of MANIFEST, again only those that are missing or have changed.

    A row an alignment: columns id, method, reference, query (or stream1, stream2, ...), truth;
    any other is an option of that method. Comma separated values, or JSON lines. To bring shards
    together: mmalign batch merge FOLDER.
    """
    parameters.pop("debug")
    options = (*parameters.pop("options"), *take_defaults(parameters).items())
    wanted = Wanted(options=options, **parameters)
    if wanted.from_folders:
        write_manifest(manifest, wanted)
        return ExitCode.OK
    if manifest is None:
        raise UsageError("MANIFEST", "is missing", "see mmalign batch --help")
    wanted.check()
    return run(manifest, wanted)
