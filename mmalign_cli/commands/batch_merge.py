"""``mmalign batch merge``."""

from __future__ import annotations

import os

import click

from mmalign_cli.commands.options import check_folder
from mmalign_cli.errors import ExitCode, UsageError

EXAMPLES = """\b
Examples:
  mmalign batch merge aligned
  mmalign batch merge node1/aligned node2/aligned -o aligned
"""


@click.command(short_help="Shards made one.", epilog=EXAMPLES)
@click.argument("folders", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FOLDER", help="Of the whole [the one folder named].")
@click.option("--parquet", is_flag=True, help="summary.parquet beside summary.csv.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def merge(
    folders: tuple[str, ...], output: str | None, parquet: bool, quiet: bool, debug: bool
) -> int:
    """Bring the shards of a batch together: one results.ndjson, summary.csv, failed.csv.

    Shards that wrote to one folder are merged in place; from several folders documents are copied
    to that of -o.
    """
    from mmalign_cli.batch.merge import merge as merged
    from mmalign_cli.batch.session import locked
    from mmalign_cli.batch.summary import require_parquet

    if output is None and len(folders) > 1:
        raise UsageError("-o", "several folders need one to be merged into", "-o FOLDER")
    if parquet:
        require_parquet()
    target = folders[0] if output is None else output
    check_folder(target)
    os.makedirs(target, exist_ok=True)
    with locked(target):
        rows, failed = merged(folders, target, parquet)
    if not quiet:
        click.echo(f"{rows - failed} rows done, {failed} failed: {target}")
    return ExitCode.BATCH if failed else ExitCode.OK
