"""MATLAB files up to version 7, through scipy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.bundle import Member, check_dtype, choose_array, with_companions
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_ITEM_BYTES = {"int8": 1, "uint8": 1, "logical": 1, "int16": 2, "uint16": 2, "int32": 4}
_ITEM_BYTES |= {"uint32": 4, "single": 4, "int64": 8, "uint64": 8, "double": 8, "sparse": 8}
_ITEM_BYTES |= {"char": 4}


def read_mat(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read one matrix of a MAT file, with times and rate beside it, as for npz.

    Raises
    ------
    InputError
        If the file is damaged, or no single numeric matrix can be chosen.
    LimitError
        If the matrix unpacks to more than ``max-bytes=``.
    """
    import scipy.io

    try:
        with source.open() as file:
            listing = scipy.io.whosmat(file)
    except Exception as error:  # noqa: BLE001 - scipy lets anything through on damaged files
        raise InputError(source.path, f"damaged MAT file: {error}") from None
    classes = {name: matlab_class for name, _, matlab_class in listing}
    members = {name: Member(shape, _kind(classes[name])) for name, shape, _ in listing}
    name = choose_array(members, options.key, source)
    if members[name].kind == "O":
        raise InputError(f"{source.path}: {name}", f"is a {classes[name]} array, not numbers")

    def load(key: str) -> Array:
        n_bytes = _ITEM_BYTES[classes[key]] * math.prod(members[key].shape)
        if n_bytes > options.max_bytes:
            what = f"holds {format_size(n_bytes)}, the limit is {format_size(options.max_bytes)}"
            raise LimitError(f"{source.path}: {key}", what, "raise it with max-bytes=")
        try:
            with source.open() as file:
                array = scipy.io.loadmat(file, variable_names=[key])[key]
        except Exception as error:  # noqa: BLE001
            raise InputError(source.path, f"damaged MAT file: {error}") from None
        dense: Array = array.toarray() if hasattr(array, "toarray") else np.asarray(array)
        return dense

    values = load(name)
    check_dtype(values.dtype, f"{source.path}: {name}")
    if values.ndim == 2 and values.shape[0] == 1 and not options.transpose:
        values = values.T  # MATLAB knows no vectors: a row of numbers is a sequence
    return with_companions(values, members, load, options, source)


def _kind(matlab_class: str) -> str:
    """Return numpy's letter for a MATLAB class."""
    if matlab_class == "char":
        return "U"
    return "f" if matlab_class in _ITEM_BYTES else "O"
