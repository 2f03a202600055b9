"""Files of several arrays (npz, mat): which is the stream, and what the others say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from mmalign_cli.errors import ChoiceError, InputError, did_you_mean
from mmalign_cli.model import Array, Float64Array, Kind
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import RATE_NAMES, exact_rate, numeric_seconds, units_per_second

Loader: TypeAlias = Callable[[str], Array]
NUMBERS = "biuf"  # numpy's letters: truth values, integers with and without sign, floats


@dataclass(frozen=True)
class Member:
    """One array of a file: its shape and numpy's letter of its type (``O`` for anything odd)."""

    shape: tuple[int, ...]
    kind: str

    @property
    def n_axes(self) -> int:
        """Number of axes, a 1 x 1 matrix (a MATLAB number) counting as none."""
        return 0 if math.prod(self.shape) == 1 and len(self.shape) == 2 else len(self.shape)


def check_dtype(dtype: np.dtype[np.generic], subject: str) -> None:
    """Refuse arrays that are not real numbers, by name.

    Raises
    ------
    InputError
        For objects, complex numbers, text, dates and records.
    """
    if dtype.hasobject:
        raise InputError(subject, "object arrays are never loaded", "save it as a numeric array")
    if dtype.kind == "c":
        what = f"complex values ({dtype}); split into real/imag columns"
        raise InputError(subject, what)
    if dtype.kind not in NUMBERS:
        kind = {"U": "text", "S": "text", "M": "dates", "m": "durations", "V": "records"}
        raise InputError(subject, f"holds {kind.get(dtype.kind, 'no numbers')} ({dtype})")


def check_ndim(shape: Sequence[int], kind: Kind, subject: str) -> None:
    """Refuse shapes that are no sequence of frames."""
    allowed = (3, 4) if kind == "images" else (1, 2)
    if len(shape) not in allowed:
        raise InputError(
            subject, f"shape {tuple(shape)}, expected (n_frames,) or (n_frames, n_dims)"
        )
    if 0 in shape:
        raise InputError(subject, f"holds no values: shape {tuple(shape)}")


def kind_of(shape: Sequence[int]) -> Kind:
    """Return ``images`` for (frames, height, width[, channels]), else ``array``."""
    return "images" if len(shape) in (3, 4) else "array"


def oriented(values: Array, options: Options) -> Array:
    """Return a matrix with its frames in rows, as ``transpose=`` says."""
    return values.T if options.transpose and values.ndim == 2 else values


def converted_note(dtype: np.dtype[np.generic]) -> tuple[str, ...]:
    """Return the note that the numbers are not stored as native float64."""
    native = dtype == np.float64 and dtype.isnative
    return () if native else (f"values converted from {dtype.str} to float64",)


def choose_array(members: Mapping[str, Member], key: str | None, source: Source) -> str:
    """Choose the array that is the stream: ``key=``, else the only one that can be it.

    Parameters
    ----------
    members : Mapping
        The arrays of the file.
    key : str or None
        The user's choice.
    source : Source
        For messages.

    Raises
    ------
    InputError
        If `key` is missing, or several arrays or none qualify.
    """
    numeric = {k: m for k, m in members.items() if m.kind in NUMBERS}
    listing = ", ".join(f"{k} {m.shape}" for k, m in numeric.items()) or "none"
    if key is not None:
        if key not in members:
            hint = did_you_mean(key, numeric) or f"it holds: {listing}"
            raise InputError(source.path, f"no array {key!r}", hint)
        return key
    candidates = {k: m for k, m in numeric.items() if not _is_helper(k)}
    for wanted in ((2,), (3, 4), (1,)):
        found = [k for k, m in candidates.items() if m.n_axes in wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise ChoiceError(source.path, f"several arrays: {listing}", "choose one with key=")
    if len(members) == 1:
        return next(iter(members))  # to be refused for what it is
    raise InputError(source.path, f"no array of frames; numeric arrays: {listing}")


def _is_helper(name: str) -> bool:
    """Tell whether an array belongs to another one: its times, its rate, how far it spreads."""
    name = name.rpartition("/")[2]
    return name.lower() in (*RATE_NAMES, "spread") or units_per_second(name) is not None


def with_companions(
    values: Array, members: Mapping[str, Member], load: Loader, options: Options, source: Source
) -> Content:
    """Return the content of a chosen array with times, rate and names found beside it.

    Parameters
    ----------
    values : ndarray
        The chosen array.
    members : Mapping
        All arrays of the file.
    load : callable
        Returns the array of a name.
    options : Options
        ``transpose`` concerns arrays.
    source : Source
        For messages.

    Raises
    ------
    InputError
        If its shape is no sequence of frames, or the rate is not a rate.
    """
    kind = kind_of(values.shape)
    check_ndim(values.shape, kind, source.path)
    values = oriented(values, options)
    times: Float64Array | None = None
    rate: Fraction | None = None
    columns: tuple[str, ...] = ()
    warnings: list[str] = []
    for name, member in members.items():
        size = math.prod(member.shape)
        if units_per_second(name) is not None and member.kind in NUMBERS + "M" and size > 1:
            if max(member.shape) == size == len(values):
                times = numeric_seconds(load(name).ravel(), name)
            else:
                what = f"{name} {member.shape} not used: the array has {len(values)} frames"
                warnings.append(f"{source.path}: {what}")
        elif name.lower() in RATE_NAMES and size == 1 and member.kind in NUMBERS:
            rate = exact_rate(float(load(name).ravel()[0]), source.path)
        elif name.lower() == "columns" and member.kind == "U" and size == values[0].size:
            columns = tuple(str(c).strip() for c in load(name).ravel())
    notes = converted_note(values.dtype)
    return Content(values, kind, times, rate, 0.0, columns, notes, tuple(warnings))
