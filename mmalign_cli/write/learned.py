"""Learned maps as a file, and back: npz, arrays alone, nothing that runs when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmalign_cli import __version__
from mmalign_cli.align.learned import Learned, StreamMap, arrays_of, map_of
from mmalign_cli.errors import InputError
from mmalign_cli.model import Array
from mmalign_cli.streams.arrays import read_arrays
from mmalign_cli.streams.source import open_source
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.npz import write_arrays
from mmalign_cli.write.seal import FIELD, check_seal, checksum

FORMAT = "mmalign.model/1"
_MAX_BYTES = 1024**3
_SLACK = 1e-6  # that rounding may leave beyond 1
_LARGEST = 1e100  # its square is a number too


def write_learned(
    outputs: Outputs, target: str, learned: Learned, about: Mapping[str, Any]
) -> None:
    """Write maps, and what is to be known about them, as npz."""
    meta = {"format": FORMAT, "tool": {"name": "mmalign", "version": __version__}, **about}
    arrays: dict[str, Array] = {"correlations": learned.correlations}
    for k, one in enumerate(learned.maps):
        arrays |= {f"{name}_{k}": array for name, array in arrays_of(one).items()}
    meta[FIELD] = checksum({**meta, **arrays})
    write_arrays(outputs, target, {"meta": np.array(json.dumps(meta)), **arrays})


def read_learned(path: str) -> tuple[Learned, Mapping[str, Any]]:
    """Read maps, and what is known about them.

    Raises
    ------
    InputError
        If the file is no model, contradicts itself, or is not what was written.
    """
    arrays = read_arrays(open_source(path, _MAX_BYTES), _MAX_BYTES)
    hint = "make one with --save-model"
    try:
        meta = json.loads(str(arrays["meta"]))
        if meta["format"] != FORMAT:
            raise InputError(path, f"is of format {meta['format']}, this is {FORMAT}", hint)
        count = max(2, sum(name.startswith("weights_") for name in arrays))
        maps = tuple(_map(arrays, k) for k in range(count))
        learned = Learned(maps, arrays["correlations"])
    except (ValueError, KeyError, TypeError):
        raise InputError(path, "is not a model of mmalign", hint) from None
    if not _agrees(learned):
        raise InputError(path, "contradicts itself: its arrays do not fit together", hint)
    check_seal({**meta, **{name: a for name, a in arrays.items() if name != "meta"}}, path)
    return learned, meta


def _map(arrays: Mapping[str, Array], k: int) -> StreamMap:
    own = {name.removesuffix(f"_{k}"): a for name, a in arrays.items() if name.endswith(f"_{k}")}
    return map_of(own)


def _agrees(learned: Learned) -> bool:
    """Tell whether the maps take frames to as many coordinates as there are correlations."""
    rho = learned.correlations
    if rho.dtype.kind != "f" or rho.ndim != 1 or not (np.abs(rho) < 1 + _SLACK).all():
        return False
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number is seen below
            found = [one(np.eye(2, one.n_dims)) for one in learned.maps]
    except (ValueError, TypeError, IndexError):
        return False
    shape = (2, *np.shape(learned.correlations))
    return all(
        v.shape == shape and v.dtype.kind == "f" and bool((np.abs(v) < _LARGEST).all())
        for v in found
    )
