"""What a fault of mmalign itself leaves behind, for whoever looks into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from mmalign_cli import __version__
from mmalign_cli.errors import InternalError, OutputError
from mmalign_cli.model import Array
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_arrays


def keep_state(fault: InternalError) -> str | None:
    """Write the state of a fault as npz, here or else where temporary files go.

    Returns
    -------
    str or None
        The file; None where there is no room for one.
    """
    name = f"mmalign-fault-{os.getpid()}.npz"
    for path in (name, os.path.join(tempfile.gettempdir(), name)):
        with suppress(OutputError), Outputs(force=True) as outputs:
            write_arrays(outputs, path, _arrays(fault))
            return path
    return None


def _arrays(fault: InternalError) -> Mapping[str, Array]:
    told = {"what": fault.what, "version": __version__, **fault.state}
    return {name: _array(value) for name, value in told.items()}


def _array(value: object) -> Array:
    """Return a value as an array, or as text: objects are never stored."""
    array = np.asarray(value)
    return np.array(repr(value)) if array.dtype.hasobject else array
