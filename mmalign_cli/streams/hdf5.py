"""HDF5, and version 7.3 of MATLAB's files, which is HDF5: read by h5py, sizes checked first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.bundle import NUMBERS, Member, check_dtype, choose_array, with_companions
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.extras import require_extra
from mmalign_cli.streams.hdf5_texts import heap_texts
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import RATE_NAMES, exact_rate

if TYPE_CHECKING:
    import h5py

_MATLAB = b"MATLAB 7.3"
_MOST_OBJECTS = 10_000
_MOST_UNPACKED = 4096  # times the file: no filter packs numbers that vary more tightly
_FAULTS = (OSError, ValueError, RuntimeError, LookupError, TypeError, ArithmeticError, MemoryError)


def read_hdf5(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read one dataset of an HDF5 file, with times and rate beside it in its group, as for npz.

    A rate may also be an attribute of the dataset, its group or the file.

    Raises
    ------
    UsageError
        If h5py is not installed.
    InputError
        If the file is damaged, or no single numeric dataset can be chosen.
    LimitError
        If the dataset unpacks to more than ``max-bytes=``.
    """
    with _opened(source) as (file, is_matlab):
        datasets = _datasets(file)
        members = {name: _member(d, is_matlab) for name, d in datasets.items()}
        key = None if options.key is None else options.key.strip("/")
        name = choose_array(members, key, source)
        if members[name].kind not in NUMBERS:
            check_dtype(datasets[name].dtype, f"{source.path}: {name}")
        group = name.rpartition("/")[0]
        beside = {n: d for n, d in datasets.items() if n.rpartition("/")[0] == group}
        known = {n.rpartition("/")[2]: members[n] for n in beside}

        def load(key: str) -> Array:
            return _values(beside[f"{group}/{key}".lstrip("/")], source, options, is_matlab)

        values = load(name.rpartition("/")[2])
        if is_matlab and values.ndim == 2 and values.shape[0] == 1 and not options.transpose:
            values = values.T  # MATLAB knows no vectors: a row of numbers is a sequence
        content = with_companions(values, known, load, options, source)
        if content.rate is None and content.times is None:
            content = replace(content, rate=_stated_rate(datasets[name], file, source))
        return content


def hdf5_contents(source: Source, options: Options) -> list[dict[str, Any]]:
    """Return name, shape and type of each dataset."""
    with _opened(source) as (file, is_matlab):
        return [
            {
                "dataset": name,
                "shape": list(_member(d, is_matlab).shape),
                "type": "text" if _is_text(d) else str(d.dtype),
            }
            for name, d in _datasets(file).items()
        ]


@contextmanager
def _opened(source: Source) -> Iterator[tuple[h5py.File, bool]]:
    """Open a file; say also whether MATLAB wrote it."""
    require_extra("hdf5", source.path)
    import h5py

    try:
        with source.open() as raw, h5py.File(raw, "r") as file:
            yield file, source.head.startswith(_MATLAB)
    except _FAULTS as error:
        text = str(error).splitlines() or [type(error).__name__]
        raise InputError(source.path, f"damaged HDF5 file: {text[0]}") from None


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the datasets by their paths, those that MATLAB keeps for itself left out.

    Links to other files are not followed.
    """
    import h5py

    found: dict[str, h5py.Dataset] = {}
    seen = [0]

    def visit(name: str, thing: h5py.HLObject) -> bool | None:
        seen[0] += 1
        if isinstance(thing, h5py.Dataset) and not name.startswith("#"):
            found[name] = thing
        return True if seen[0] >= _MOST_OBJECTS else None

    file.visititems(visit)
    return found


def _is_text(dataset: h5py.Dataset) -> bool:
    import h5py

    return h5py.check_string_dtype(dataset.dtype) is not None


def _is_characters(dataset: h5py.Dataset, is_matlab: bool) -> bool:
    return is_matlab and _attribute(dataset, "MATLAB_class", "S") == b"char"


def _member(dataset: h5py.Dataset, is_matlab: bool) -> Member:
    """Return shape and kind; MATLAB's axes stand the other way round."""
    shape = dataset.shape or ()
    if _is_characters(dataset, is_matlab):
        return Member(shape[::-1][:1], "U")
    if _is_text(dataset) and (dataset.dtype.kind == "S" or dataset.id.get_offset() is not None):
        return Member(shape, "U")  # packed texts of any length are not read
    kind = "O" if dataset.dtype.hasobject else dataset.dtype.kind
    return Member(shape[::-1] if is_matlab else shape, kind)


def _values(dataset: h5py.Dataset, source: Source, options: Options, is_matlab: bool) -> Array:
    """Return the numbers, or for text its rows, once their size is known to be sound."""
    subject = f"{source.path}: {str(dataset.name).lstrip('/')}"
    _require_own_data(dataset, subject)
    _require_size(dataset, source, options.max_bytes, subject)
    if _is_text(dataset) and dataset.dtype.kind == "O":
        return heap_texts(dataset, source, subject)
    if _is_text(dataset):
        texts = np.asarray(dataset.asstr(errors="replace")[()])
        return np.array([str(text) for text in texts.ravel()])
    values = np.asarray(dataset[()])
    if _is_characters(dataset, is_matlab):
        return np.array(["".join(map(chr, row)) for row in values.T.tolist()])
    return values.T if is_matlab else values


def _attribute(holder: h5py.HLObject, name: str, kinds: str) -> Any:
    """Return the value of an attribute of one value of a type among `kinds`, else None."""
    if name not in holder.attrs:
        return None
    stored = holder.attrs.get_id(name)
    if stored.dtype.kind not in kinds or math.prod(stored.shape) != 1:
        return None
    return np.asarray(holder.attrs[name]).ravel()[0]


def _require_own_data(dataset: h5py.Dataset, subject: str) -> None:
    """Refuse data that lie in other files."""
    if dataset.external or dataset.is_virtual:
        raise InputError(subject, "its values are in another file", "copy them into this one")


def _require_size(dataset: h5py.Dataset, source: Source, most: int, subject: str) -> None:
    """Refuse what is too large, and sizes that no file of this one's length can hold."""
    item = dataset.dtype.itemsize
    n_bytes = max(math.prod(n) * item for n in (dataset.shape or (), dataset.chunks or ()))
    if n_bytes > source.size * _MOST_UNPACKED:
        what = f"promises {format_size(n_bytes)}, the file holds {format_size(source.size)}"
        raise InputError(subject, what)
    if n_bytes > most:
        what = f"holds {format_size(n_bytes)}, the limit is {format_size(most)}"
        raise LimitError(subject, what, "raise it with max-bytes=")


def _stated_rate(dataset: h5py.Dataset, file: h5py.File, source: Source) -> Fraction | None:
    """Return the rate that an attribute states, the nearest first."""
    for holder in (dataset, dataset.parent, file):
        for name in holder.attrs:
            rate = _attribute(holder, name, NUMBERS) if name.lower() in RATE_NAMES else None
            if rate is not None:
                return exact_rate(float(rate), source.path)
    return None
