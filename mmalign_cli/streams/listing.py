"""Lists of streams: a text file with a stream on each line."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import STDIN, StreamSpec, parse_spec

_MAX_BYTES = 64 * 1024**2


def read_list(path: str, defaults: Mapping[str, str]) -> list[StreamSpec]:
    """Read a list of streams, ``PATH[,key=value]...`` a line.

    Blank lines and lines that begin with ``#`` say nothing. A relative path starts from the
    folder of the list.

    Parameters
    ----------
    path : str
        UTF-8 text; ``-`` is standard input, whose paths start from the working folder.
    defaults : Mapping of str to str
        Keys for every stream; the stream's own win.

    Raises
    ------
    InputError
        If it cannot be read, or a line is no stream.
    """
    data = open_source(path, _MAX_BYTES).read(_MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "is not text in UTF-8", "a stream a line") from error
    folder = "" if path == STDIN else os.path.dirname(path)
    specs = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            specs.append(_stream(line.strip(), folder, defaults, f"{path}, line {number}"))
    return specs


def _stream(text: str, folder: str, defaults: Mapping[str, str], place: str) -> StreamSpec:
    try:
        spec = parse_spec(os.path.join(folder, text), defaults)
    except UsageError as error:
        raise InputError(place, f"{error.subject}: {error.what}", error.hint) from None
    if os.path.basename(spec.path) == STDIN:
        raise InputError(place, "standard input cannot be one of many")
    return spec
