"""``mmalign schema``."""

from __future__ import annotations

import click


@click.command(short_help="The JSON Schema of the documents.")
@click.argument("name", type=click.Choice(["alignment"]))
def schema(name: str) -> None:
    """Print the JSON Schema of a document that mmalign writes."""
    from mmalign_cli.write.document import schema as text_of

    click.echo(text_of(name), nl=False)
