"""The alignment document: JSON from an Alignment, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import orjson

from mmalign_cli import __version__
from mmalign_cli.errors import InputError
from mmalign_cli.model import (
    Alignment,
    Array,
    Cost,
    InvalidValueError,
    Match,
    StreamInfo,
    TimeMap,
    WarpingPath,
)
from mmalign_cli.streams.source import open_source
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.seal import check_seal, sealed

FORMAT = "mmalign.alignment"
VERSION = 1
_ROWS_A_PIECE = 4096
_MAX_BYTES = 2 * 1024**3
_FARTHEST_S = 1e20  # further than nanoseconds since 1970

T = TypeVar("T")


def schema(name: str) -> str:
    """Return the text of a JSON Schema that ships with the package."""
    return (resources.files("mmalign_cli.write") / f"{name}.schema.json").read_text("utf-8")


def to_document(alignment: Alignment, with_path: bool = True) -> dict[str, Any]:
    """Return an alignment as the value that the document's JSON holds, long lists as arrays.

    Parameters
    ----------
    alignment : Alignment
        The result.
    with_path : bool
        Whether the document holds the path; the time maps are always there.
    """
    path = alignment.path if with_path else None
    return sealed(
        {
            "format": f"{FORMAT}/{VERSION}",
            "tool": {"name": "mmalign", "version": __version__},
            "method": alignment.method,
            "parameters": dict(alignment.parameters),
            "streams": [_stream(s) for s in alignment.streams],
            "path": None if path is None else {"frames": path.frames, "times": path.times},
            "time_maps": [
                {"stream": m.stream, "to": m.to, "knots": m.knots} for m in alignment.time_maps
            ],
            "cost": vars(alignment.cost),
            "matches": None
            if alignment.matches is None
            else [_match(m) for m in alignment.matches],
            "optimizer": alignment.optimizer,
            "projections": alignment.projections,
            "confidence": alignment.confidence,
            "warnings": list(alignment.warnings),
        }
    )


def _stream(stream: StreamInfo) -> dict[str, Any]:
    return {
        "name": stream.name,
        "source": stream.source,
        "sha256": stream.sha256,
        "frames": stream.frames,
        "dims": stream.dims,
        "rate": stream.rate,
        "start": stream.start_s,
        "end": stream.end_s,
        "kind": stream.kind,
        "features": stream.features,
        "options": dict(stream.options),
    }


def _match(match: Match) -> dict[str, Any]:
    return {
        "start_frame": match.start_frame,
        "end_frame": match.end_frame,
        "start": match.start_s,
        "end": match.end_s,
        "cost": vars(match.cost),
    }


def to_line(document: Mapping[str, Any]) -> str:
    """Return a document as one line of JSON."""
    return "".join(_pieces(document))


def text_pieces(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as JSON with a line for each of its fields, some thousand rows a piece."""
    before = "{"
    for key, value in document.items():
        yield f"{before}\n  {_json(key)}: "
        yield from _pieces(value)
        before = ","
    yield "\n}\n"


def write_document(outputs: Outputs, target: str, document: Mapping[str, Any]) -> None:
    """Write a document, with a line for each of its fields."""
    with outputs.open(target) as file:
        file.writelines(piece.encode() for piece in text_pieces(document))


def _pieces(value: Any) -> Iterator[str]:
    """Yield the JSON of a value: an array of many rows never is one text as a whole."""
    try:
        yield _json(value)
    except _LongError:
        yield from _parts(value)


def _parts(value: Any) -> Iterator[str]:
    """Yield the JSON of a value that is or holds an array of many rows."""
    if isinstance(value, np.ndarray):
        firsts = range(0, len(value), _ROWS_A_PIECE)
        parts = ([_json(value[k : k + _ROWS_A_PIECE])[1:-1]] for k in firsts)
        yield from _joined("[", parts, "]")
    elif isinstance(value, Mapping):
        pairs = (chain([f"{_json(key)}:"], _pieces(item)) for key, item in value.items())
        yield from _joined("{", pairs, "}")
    else:
        yield from _joined("[", map(_pieces, value), "]")


def _joined(first: str, parts: Iterable[Iterable[str]], last: str) -> Iterator[str]:
    """Yield the pieces of parts with commas between the parts."""
    before = first
    for part in parts:
        yield before
        yield from part
        before = ","
    yield last


class _LongError(Exception):
    """A value holds an array of many rows."""


def _json(value: Any) -> str:
    """Return the JSON of a value without long arrays, in ASCII.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    try:
        data = orjson.dumps(value, default=_short)
    except TypeError as error:
        if isinstance(error.__cause__, _LongError):
            raise error.__cause__ from None
        return _plain_json(value)  # half a character in a file name, more than 64 bits of a number
    if b"null" in data:  # or is it a number that orjson has no other word for?
        _require_finite(value)
    return data.decode() if data.isascii() else _plain_json(value)


def _short(value: Any) -> Any:
    """Return an array of few rows as its JSON."""
    if isinstance(value, float):  # of numpy's own
        return float(value)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} in a document")
    if len(value) > _ROWS_A_PIECE:
        raise _LongError
    return orjson.Fragment(
        orjson.dumps(np.ascontiguousarray(value), option=orjson.OPT_SERIALIZE_NUMPY)
    )


def _plain_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=np.ndarray.tolist)


def _require_finite(value: Any) -> None:
    """Refuse a value that holds a number which is not finite: JSON has none."""
    if isinstance(value, dict):
        for item in value.values():
            _require_finite(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_finite(item)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number in a document is not finite")
    elif isinstance(value, np.ndarray) and not np.isfinite(value).all():
        raise ValueError("an array in a document is not finite")


def read_document(path: str) -> Alignment:
    """Read an alignment document.

    Raises
    ------
    InputError
        If it is not one, is of a newer version, contradicts itself (names the field), or is not
        what was written (its checksum is another).
    """
    data = open_source(path, _MAX_BYTES).read(_MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise InputError(path, "is not an alignment document: not JSON") from None
    if not isinstance(value, dict):
        raise InputError(path, "is not an alignment document: not a JSON object")
    _check_version(value, path)
    try:
        alignment = _alignment(value)
    except _FieldError as error:
        raise InputError(path, f"field {error}") from None
    except InvalidValueError as error:
        raise InputError(path, f"contradicts itself: {error}") from None
    check_seal(value, path)
    return alignment


def is_document(head: bytes) -> bool:
    """Tell whether a file that starts with `head` claims to be an alignment document."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and FORMAT.encode() in head


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _check_version(value: Mapping[str, Any], path: str) -> None:
    name, _, version = str(value.get("format", "")).partition("/")
    if name != FORMAT:
        raise InputError(path, f"is not an alignment document: no format {FORMAT}/{VERSION}")
    if version != str(VERSION):
        raise InputError(path, f"format version {version}, this is {VERSION}", "upgrade mmalign")


class _FieldError(Exception):
    """A field of a document that is missing or is not what it should be."""


def _get(value: Mapping[str, Any], name: str, convert: Callable[[Any], T]) -> T:
    if name not in value:
        raise _FieldError(f"{name} is missing")
    try:
        return convert(value[name])
    except _FieldError as error:
        raise _FieldError(f"{name}.{error}") from None
    except InvalidValueError as error:
        raise _FieldError(f"{name} contradicts itself: {error}") from None
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise _FieldError(f"{name} is not valid") from None


def _alignment(value: Mapping[str, Any]) -> Alignment:
    return Alignment(
        method=_get(value, "method", _string),
        parameters=_get(value, "parameters", _object),
        streams=_get(value, "streams", lambda v: tuple(_stream_info(_object(s)) for s in _list(v))),
        path=_get(value, "path", lambda v: None if v is None else _path(_object(v))),
        time_maps=_get(value, "time_maps", lambda v: tuple(_map(_object(m)) for m in _list(v))),
        cost=_get(value, "cost", lambda v: _cost(_object(v))),
        optimizer=value.get("optimizer"),
        projections=value.get("projections"),
        confidence=value.get("confidence"),
        warnings=_get(value, "warnings", lambda v: tuple(_string(w) for w in _list(v))),
        matches=_matches(value) if value.get("matches") is not None else None,
    )


def _matches(value: Mapping[str, Any]) -> tuple[Match, ...]:
    return _get(value, "matches", lambda v: tuple(_read_match(_object(m)) for m in _list(v)))


def _read_match(value: Mapping[str, Any]) -> Match:
    return Match(
        start_frame=_get(value, "start_frame", _index),
        end_frame=_get(value, "end_frame", _index),
        start_s=_get(value, "start", _number),
        end_s=_get(value, "end", _number),
        cost=_get(value, "cost", lambda v: _cost(_object(v))),
    )


def _stream_info(value: Mapping[str, Any]) -> StreamInfo:
    return StreamInfo(
        name=_get(value, "name", _string),
        source=_get(value, "source", _string),
        sha256=_get(value, "sha256", _string),
        frames=_get(value, "frames", _count),
        dims=_get(value, "dims", _count),
        rate=_get(value, "rate", lambda v: None if v is None else _number(v)),
        start_s=_get(value, "start", _number),
        end_s=_get(value, "end", _number),
        kind=value.get("kind", "array"),
        features=_string(value.get("features", "raw")),
        options={k: _string(v) for k, v in _object(value.get("options", {})).items()},
    )


def _path(value: Mapping[str, Any]) -> WarpingPath:
    return WarpingPath(_get(value, "frames", _frames), _get(value, "times", _seconds))


def _map(value: Mapping[str, Any]) -> TimeMap:
    return TimeMap(
        _get(value, "stream", _string), _get(value, "to", _string), _get(value, "knots", _seconds)
    )


def _cost(value: Mapping[str, Any]) -> Cost:
    return Cost(
        total=_get(value, "total", _number),
        mean=_get(value, "mean", _number),
        normalized=_get(value, "normalized", lambda v: None if v is None else _number(v)),
        penalty=_number(value.get("penalty", 0.0)),
    )


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError
    return value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _matrix(value: Any) -> Array:
    array = np.array(_list(value), dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError
    return array


def _seconds(value: Any) -> Array:
    array = _matrix(value)
    if (np.abs(array) > _FARTHEST_S).any():
        raise ValueError
    return array


def _frames(value: Any) -> Array:
    array = _matrix(value)
    if (np.abs(array) > 2**53).any():  # beyond, floats do not count frames
        raise ValueError
    whole = array.astype(np.int64)
    return whole if (whole == array).all() else array
