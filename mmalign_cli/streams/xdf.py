"""XDF, the recordings of the Lab Streaming Layer: one of their streams, by pyxdf."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.extras import require_extra
from mmalign_cli.streams.library import by_library, heard
from mmalign_cli.streams.points import part_of, unique, with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options


def read_xdf(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a stream of an XDF file.

    Parameters
    ----------
    source : Source
        The file, not compressed.
    options : Options
        ``key``: the stream's name, needed where several hold numbers; ``columns``;
        ``allow_truncated``: leave out what cannot be read.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        The channels by their labels, (n_samples, n_channels). Times are those of the recording
        computer: clock offsets are honoured, and the jitter of even streams is taken out.

    Raises
    ------
    InputError
        If it is damaged, or ``key=`` is needed.
    UsageError
        If pyxdf is not installed.
    """
    require_extra("xdf", source.path)
    data = source.read(options.max_bytes)
    with by_library("XDF", source.path):
        import pyxdf

        with heard("pyxdf") as said:
            streams, _ = pyxdf.load_xdf(io.BytesIO(data), verbose=False)
        numeric = [s for s in streams if isinstance(s["time_series"], np.ndarray)]
        found = dict(zip(unique(_said(s["info"], "name") for s in numeric), numeric, strict=True))
    skipped = [text for text in said if "corrupt" in text or "Error" in text]
    if skipped and not options.allow_truncated:
        hint = "allow-truncated=true leaves out the parts that cannot be read"
        raise InputError(source.path, f"damaged or truncated: {skipped[0][:120]}", hint)
    if not found:
        raise InputError(source.path, "holds no stream of numbers")
    part = part_of(list(found), options, source.path, None)
    with by_library("XDF", source.path):
        content = _content(found[part])
    if not content.values.size:
        raise InputError(source.path, f"stream {part!r} holds no samples")
    note = f"stream {part} of {', '.join(list(found)[:5])}; {content.notes[0]}"
    warnings = tuple(f"{source.path}: {text[:120]}" for text in dict.fromkeys(skipped))[:3]
    noted = replace(content, notes=(note,), warnings=warnings)
    return with_columns(noted, options, source.path)


def _content(stream: Mapping[str, Any]) -> Content:
    info = stream["info"]
    values = np.asarray(stream["time_series"], dtype=np.float64)
    values = values.reshape(len(values), -1)
    labels = _labels(info)
    given = [*labels, *[""] * values.shape[1]][: values.shape[1]]
    columns = unique(label or f"channel{k}" for k, label in enumerate(given, 1))
    times = np.asarray(stream["time_stamps"], dtype=np.float64)
    rate, kind = _said(info, "nominal_srate"), _said(info, "type")
    note = f"{values.shape[1]} channels of {kind or 'no type'}, {rate} Hz by its own word"
    return Content(values, "table", times, None, 0.0, columns, (note,))


def _said(info: Mapping[str, Any], name: str) -> str:
    """Return a text of a stream's header; empty where it has none."""
    values = info.get(name) or [""]
    return str(values[0] or "")


def _labels(info: Mapping[str, Any]) -> list[str]:
    """Return the labels of the channels, as far as the header has them."""
    description = (info.get("desc") or [None])[0] or {}
    channels = (description.get("channels") or [None])[0] or {}
    return [_said(channel, "label") for channel in channels.get("channel") or []]
