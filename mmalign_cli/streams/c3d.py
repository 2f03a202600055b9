"""C3D: markers in space and analog channels, by a reader that believes no size before it fits."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array, Float64Array
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.points import axes_of, part_of, unique, with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options
from mmalign_cli.streams.times import exact_rate

_BLOCK = 512
_ORDERS = {84: "<", 86: ">"}  # Intel, SGI; 85 is DEC, whose floats are of their own kind
_KEY = 0x50
_WORD, _MOST = 2**16, 2**16 - 1
PARTS = ("markers", "analog")


@dataclass(frozen=True)
class _Layout:
    """What the header says.

    Parameters
    ----------
    order : str
        Byte order, as of `struct`.
    n_points, n_analog : int
        Points in a frame, and analog values in it.
    first, last : int
        Numbers of the frames.
    scale : float
        Negative where values are floats, else what whole numbers are multiplied by.
    start : int
        Block of the first frame, from 1.
    per_frame : int
        Analog samples in a frame.
    rate : float
        Frames per second.
    """

    order: str
    n_points: int
    n_analog: int
    first: int
    last: int
    scale: float
    start: int
    per_frame: int
    rate: float


@dataclass
class _Parameters:
    """The parameters by ``GROUP:NAME``."""

    values: dict[str, Any] = field(default_factory=dict)

    def texts(self, name: str) -> list[str]:
        """Return a parameter of texts, with those that go on under ``NAME2``, ``NAME3``."""
        texts: list[str] = []
        for suffix in ("", *map(str, range(2, 100))):
            more = self.values.get(name + suffix)
            if not isinstance(more, list):
                break
            texts += more
        return texts

    def numbers(self, name: str) -> Float64Array:
        """Return a parameter of numbers, (n,); empty where there is none."""
        value = self.values.get(name)
        return np.zeros(0) if value is None or isinstance(value, list) else value.ravel()


def read_c3d(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a C3D file.

    Parameters
    ----------
    source : Source
        The file, of Intel's or SGI's byte order.
    options : Options
        ``key``: ``markers`` or ``analog``; without it the markers, if there are any; ``columns``
        and ``allow_truncated``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        ``marker_x``, ``marker_y``, ``marker_z``, (n_frames, 3 * n_markers), NaN where a marker
        was not seen; or the analog channels in their units, (n_samples, n_channels). Frame 1 is
        second 0.

    Raises
    ------
    InputError
        If it is damaged, cut short, or of DEC's byte order.
    """
    data = source.read(options.max_bytes)
    parameters, order = _read_parameters(data, source.path)
    layout = _read_layout(data, order, parameters, source.path)
    default = "markers" if layout.n_points else "analog"
    part = part_of(PARTS, options, source.path, default)
    frames, warnings = _frames(data, layout, source, options)
    read = _markers if part == "markers" else _analog
    with np.errstate(all="ignore"):
        rate = exact_rate(float(str(np.float32(layout.rate))), source.path)
        values, names, units = read(frames, layout, parameters, source.path)
    start_s = float((layout.first - 1) / rate)
    rate *= 1 if part == "markers" else layout.per_frame
    n_channels = layout.n_analog // max(layout.per_frame, 1)
    note = f"{layout.n_points} points, {n_channels} analog channels; {part} in {units or '?'}"
    content = Content(values, "table", None, rate, start_s, names, (note,), warnings)
    return with_columns(content, options, source.path)


def _read_parameters(data: bytes, subject: str) -> tuple[_Parameters, str]:
    """Return the parameters and the byte order."""
    at = (data[0] - 1) * _BLOCK if data else -1
    if len(data) < _BLOCK or data[1] != _KEY or at < 0 or at + 4 > len(data):
        raise InputError(subject, "is not C3D, or cut short in its header")
    order = _ORDERS.get(data[at + 3])
    if order is None:
        what = f"processor type {data[at + 3]} is not read here, only Intel (84) and SGI (86)"
        raise InputError(subject, what)
    end = min(len(data), at + max(data[at + 2], 1) * _BLOCK)
    return _Walk(data[: max(end, at + 4)], order, subject).read(at + 4), order


@dataclass
class _Walk:
    """A walk through the records of groups and parameters."""

    data: bytes
    order: str
    subject: str
    groups: dict[int, str] = field(default_factory=dict)
    found: list[tuple[int, str, Any]] = field(default_factory=list)

    def read(self, at: int) -> _Parameters:
        """Return the parameters of the records from `at` on."""
        while at + 2 < len(self.data):
            n_name, group = struct.unpack_from("<bb", self.data, at)
            n_name = abs(n_name)
            after = at + 2 + n_name
            if n_name == 0 or group == 0 or after + 2 > len(self.data):
                break
            name = _text(self.data[at + 2 : after]).upper()
            (step,) = struct.unpack_from(f"{self.order}H", self.data, after)
            if group < 0:
                self.groups[-group] = name
            else:
                self.found.append((group, name, self._value(after + 2)))
            if step == 0:
                break
            at = after + step
        named = {f"{self.groups.get(g, g)}:{name}": value for g, name, value in self.found}
        return _Parameters({k: v for k, v in named.items() if v is not None})

    def _value(self, at: int) -> Any:
        """Return texts, or numbers; None for what is empty or does not fit."""
        head = self.data[at : at + 2]
        if len(head) < 2:
            return None
        (kind,) = struct.unpack_from("<b", head)
        dims = tuple(self.data[at + 2 : at + 2 + head[1]])
        n_items, start = prod(dims), at + 2 + head[1]
        n_bytes = n_items * abs(kind)
        if len(dims) < head[1] or n_items == 0 or start + n_bytes > len(self.data):
            return None
        raw = self.data[start : start + n_bytes]
        if kind == -1:
            width = dims[0] if dims else 1
            return [_text(raw[k : k + width]) for k in range(0, len(raw), width)]
        code = {1: "u1", 2: "i2", 4: "f4"}.get(kind)
        return None if code is None else np.frombuffer(raw, self.order + code).astype(np.float64)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip("\0 ")


def _read_layout(data: bytes, order: str, parameters: _Parameters, subject: str) -> _Layout:
    """Return what the header says; parameters that say it better count."""
    words = struct.unpack_from(f"{order}HHHHHHfHHf", data, 0)
    _, n_points, n_analog, first, last, _, scale, start, per_frame, rate = words

    def said(name: str, otherwise: float) -> float:
        values = parameters.numbers(name)
        return float(values[0]) if len(values) and np.isfinite(values[0]) else otherwise

    per_frame = max(per_frame, 1)
    if last == _MOST:  # 16 bits do not hold the frames of a long take: parameters do
        last = first - 1 + _long_take(parameters, last - first + 1)
    if not 1 <= first <= last or n_points + n_analog == 0 or n_analog % per_frame:
        raise InputError(subject, "its header promises no frames, or no points")
    start = int(said("POINT:DATA_START", start)) or start
    if start < 2:
        raise InputError(subject, f"its header says that the frames begin in block {start}")
    rate, scale = said("POINT:RATE", rate), said("POINT:SCALE", scale)
    return _Layout(order, n_points, n_analog, first, last, scale, start, per_frame, rate)


def _long_take(parameters: _Parameters, otherwise: int) -> int:
    """Return the number of frames where the header's own is full."""
    edges = [parameters.numbers(f"TRIAL:ACTUAL_{edge}_FIELD") for edge in ("START", "END")]
    if all(len(words) == 2 for words in edges):
        first, last = (int(low % _WORD + (high % _WORD) * _WORD) for low, high in edges)
        return last - first + 1
    frames = parameters.numbers("POINT:FRAMES")
    return int(frames[0]) if len(frames) and frames[0] > otherwise else otherwise


def _frames(
    data: bytes, layout: _Layout, source: Source, options: Options
) -> tuple[Array, tuple[str, ...]]:
    """Return the frames as they are stored, (n_frames, n_values), and what was odd."""
    dtype = np.dtype(layout.order + ("f4" if layout.scale < 0 else "i2"))
    n_values = 4 * layout.n_points + layout.n_analog
    n_frames, begin = layout.last - layout.first + 1, (layout.start - 1) * _BLOCK
    fits = max(len(data) - begin, 0) // (n_values * dtype.itemsize)
    warnings: tuple[str, ...] = ()
    if fits < n_frames:
        what = f"header promises {n_frames} frames, file holds {fits}"
        if not options.allow_truncated or not fits:
            hint = "allow-truncated=true reads what is there"
            raise InputError(source.path, f"truncated: {what}", hint)
        n_frames, warnings = fits, (f"{source.path}: {what}",)
    frames = np.frombuffer(data, dtype, n_frames * n_values, begin).reshape(n_frames, n_values)
    return frames, warnings


def _markers(
    frames: Array, layout: _Layout, parameters: _Parameters, subject: str
) -> tuple[Float64Array, tuple[str, ...], str]:
    """Return the places of markers, their names and unit."""
    if not layout.n_points:
        raise InputError(subject, "holds no markers", "key=analog")
    points = frames[:, : 4 * layout.n_points].reshape(len(frames), layout.n_points, 4)
    values = points[..., :3].astype(np.float64)
    if layout.scale >= 0:
        values *= layout.scale
    values[points[..., 3] < 0] = np.nan  # a negative residual: the marker was not seen
    names = _named(parameters.texts("POINT:LABELS"), "point", layout.n_points)
    units = ", ".join(parameters.texts("POINT:UNITS")[:1])
    return values.reshape(len(frames), -1), axes_of(names), units


def _analog(
    frames: Array, layout: _Layout, parameters: _Parameters, subject: str
) -> tuple[Float64Array, tuple[str, ...], str]:
    """Return analog channels in their units: ``(stored - offset) * scale * general scale``."""
    if not layout.n_analog:
        raise InputError(subject, "holds no analog channels", "key=markers")
    n_channels = layout.n_analog // layout.per_frame
    stored = frames[:, 4 * layout.n_points :].reshape(-1, n_channels)
    is_unsigned = parameters.texts("ANALOG:FORMAT")[:1] == ["UNSIGNED"]
    if is_unsigned and stored.dtype.kind == "i":
        stored = stored.view(layout.order + "u2")
    values = stored.astype(np.float64)
    offset = _each(parameters.numbers("ANALOG:OFFSET"), n_channels, 0.0)
    general = _each(parameters.numbers("ANALOG:GEN_SCALE"), 1, 1.0)
    scale = _each(parameters.numbers("ANALOG:SCALE"), n_channels, 1.0)
    values = (values - (offset % _WORD if is_unsigned else offset)) * scale * general
    names = _named(parameters.texts("ANALOG:LABELS"), "channel", n_channels)
    units = ", ".join(sorted({unit for unit in parameters.texts("ANALOG:UNITS") if unit}))
    return values, names, units


def _each(numbers: Float64Array, n: int, otherwise: float) -> Float64Array:
    """Return one number for each of n channels."""
    return np.concatenate([numbers[:n], np.full(max(n - len(numbers), 0), otherwise)])


def _named(labels: Sequence[str], kind: str, n: int) -> tuple[str, ...]:
    """Return the names of n points or channels, by number where they have none."""
    given = [*labels[:n], *[""] * (n - len(labels))]
    return unique(label or f"{kind}{k}" for k, label in enumerate(given, 1))
