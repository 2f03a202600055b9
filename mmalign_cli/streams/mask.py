"""Boolean masks for ``--window FILE.npy``."""

from __future__ import annotations

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import BoolArray
from mmalign_cli.streams.arrays import read_npy
from mmalign_cli.streams.source import open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES, Options


def load_mask(path: str) -> BoolArray:
    """Read a mask, (n, m): True, or 1, where a cell may be used.

    Raises
    ------
    InputError
        If it is not a 2-D array of truth values.
    """
    content = read_npy(open_source(path, DEFAULT_MAX_BYTES), Options(), None)
    values = content.values
    if values.ndim != 2:
        raise InputError(path, f"a mask is (n, m), not {values.shape}")
    if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
        raise InputError(path, f"a mask holds true and false, not {values.dtype}")
    return values.astype(np.bool_)
