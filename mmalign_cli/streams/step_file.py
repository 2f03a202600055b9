"""Step patterns for ``--step FILE.json``."""

from __future__ import annotations

import json
from typing import Any

from mmalign_cli.errors import InputError
from mmalign_cli.streams.source import open_source

_MAX_BYTES = 2**20


def load_step(path: str) -> Any:
    """Read the JSON value of a step pattern.

    Raises
    ------
    InputError
        If the file is not JSON; says where.
    """
    data = open_source(path, _MAX_BYTES).read(_MAX_BYTES)
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        what = f"line {error.lineno} column {error.colno}: not JSON: {error.msg}"
        raise InputError(path, what) from None
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not JSON: {error}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
