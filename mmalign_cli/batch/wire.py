"""Records as bytes: a line of JSON each, between processes and in ``results.ndjson``."""

from __future__ import annotations

import json
from typing import Any

import orjson


def encode(value: Any) -> bytes:
    """Return a value as a line of JSON."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # half a character in a file name
        return json.dumps(value).encode() + b"\n"


def decode(line: bytes) -> Any:
    """Return the value of a line.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line)
