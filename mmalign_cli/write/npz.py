"""Arrays by name as one file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from mmalign_cli.model import Array
from mmalign_cli.write.atomic import Outputs


def write_npz(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays as a compressed npz file.

    Where that fails, `numpy.savez_compressed` may leave its archive to be closed by whoever
    collects it, after its file: Python then complains on standard error.

    Raises
    ------
    ValueError
        If one is of Python objects.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def write_arrays(outputs: Outputs, target: str, arrays: Mapping[str, Array]) -> None:
    """Write arrays as an npz file of their own."""
    with outputs.open(target) as file:
        write_npz(file, arrays)
