"""The grammar of a stream argument: ``PATH[,key=value]...``. Imports nothing heavy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from mmalign_cli.errors import UsageError, did_you_mean
from mmalign_cli.runtime import parse_size

STDIN, STDIN_DEVICE = "-", "/dev/stdin"  # two names of standard input
DEFAULT_HOP = Fraction(1, 100)
DEFAULT_MAX_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class Options:
    """The keys of one stream, parsed; None where the key was not given."""

    format: str | None = None
    name: str | None = None
    rate: Fraction | None = None
    time: str | None = None
    columns: tuple[str, ...] | None = None
    key: str | None = None
    start: float | None = None
    end: float | None = None
    features: str | None = None
    hop: Fraction | None = None
    channel: int | None = None
    track: int | None = None
    normalize: str = "none"
    derivative: int = 0
    nan: str = "error"
    transpose: bool = False
    header: bool | None = None
    decimal: str = "."
    encoding: str = "utf-8-sig"
    allow_truncated: bool = False
    excess: str = "warn"
    max_bytes: int = DEFAULT_MAX_BYTES

    def feature_hop(self, is_audio: bool) -> Fraction:
        """Return the seconds between feature frames: ``hop=``, of audio also ``1 / rate=``."""
        if self.hop is None and is_audio and self.rate is not None:
            return 1 / self.rate
        return self.hop or DEFAULT_HOP


@dataclass(frozen=True)
class Key:
    """One key: how its value is written, read and explained.

    Parameters
    ----------
    parse : callable
        Text to value; raises ValueError with the end of the sentence "'x' ...".
    metavar, help : str
        For ``--help``; `help` is one line.
    choices : tuple of str
        The values allowed, where they are a list.
    is_flag : bool
        True for yes-or-no keys: their option is ``--key / --no-key``.
    is_default : bool
        True where the key is also an option for all streams.
    """

    parse: Callable[[str], Any]
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    is_flag: bool = False
    is_default: bool = True


_PLAIN_NUMBER = re.compile(r"\d{0,20}\.?\d{0,30}(?:[eE][-+]?\d{1,2})?(?:/\d{1,20})?")
_LARGEST_RATE = 10**9


def _positive_fraction(text: str) -> Fraction:
    value = Fraction(0)
    if _PLAIN_NUMBER.fullmatch(text.strip()):  # Fraction("1e999999999") would never return
        with suppress(ValueError, ZeroDivisionError):
            value = Fraction(text.strip())
    if not Fraction(1, _LARGEST_RATE) < value < _LARGEST_RATE:
        raise ValueError("is not a positive number such as 100 or 30000/1001")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("is not a time in seconds")
    return value


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
            text.lower()
        ]
    except KeyError:
        raise ValueError("is neither true nor false") from None


def _channel(text: str) -> int | None:
    if text == "mix":
        return None
    if not text.isdecimal():
        raise ValueError("is neither a channel number (0 is the first) nor mix")
    return int(text)


def _track(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is not a track number (0 is the first)")
    return int(text)


def _globs(text: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split("+") if part)
    if not names:
        raise ValueError("names no column")
    return names


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return text

    return parse


def _choice(help_line: str, *choices: str) -> Key:
    return Key(_one_of(*choices), "|".join(choices), help_line, choices)


def _order(text: str) -> int:
    return int(_one_of("0", "1", "2")(text))


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _one_character(text: str) -> str:
    if len(text) != 1 or text.isalnum():
        raise ValueError("is not one character such as ,")
    return text


KEYS: Mapping[str, Key] = {
    "format": Key(_text, "FORMAT", "Reader to use, whatever the name and the content say."),
    "name": Key(_text, "NAME", "The stream's name in every output.", is_default=False),
    "rate": Key(_positive_fraction, "HZ", "Frames per second, where the file has no times."),
    "time": Key(_text, "COLUMN", "Time column of a table; none: every column is data."),
    "columns": Key(_globs, "A+B*", "Columns to keep, names or globs joined by +."),
    "key": Key(_text, "KEY", "Part of a file: array, person, tier, positions, analog ..."),
    "start": Key(_seconds, "S", "First second to keep."),
    "end": Key(_seconds, "S", "Last second to keep."),
    "features": Key(_text, "NAME", "What to compute from the content (mmalign features --list)."),
    "hop": Key(_positive_fraction, "S", "Seconds between feature frames of audio [0.01]."),
    "channel": Key(_channel, "N|mix", "Audio channel, 0 is the first [mix]."),
    "track": Key(_track, "N", "Track of a container, of its kind, 0 is the first [0]."),
    "normalize": _choice("Scaling of each column by itself.", "none", "zscore", "minmax"),
    "derivative": Key(_order, "0|1|2", "Central differences, per second.", ("0", "1", "2")),
    "nan": _choice("What to do with missing values.", "error", "interpolate", "drop"),
    "transpose": Key(_boolean, "BOOL", "The array is (n_dims, n_frames).", is_flag=True),
    "header": Key(_boolean, "BOOL", "The table's first row holds names [found out].", is_flag=True),
    "decimal": Key(_one_character, "CHAR", "Decimal mark of a table [.]."),
    "encoding": Key(_text, "NAME", "Text encoding of a table [utf-8]."),
    "allow-truncated": Key(
        _boolean, "BOOL", "Read what is there of a file that was cut short.", is_flag=True
    ),
    "excess": _choice("What to do with bytes after the array of an npy file.", "warn", "error"),
    "max-bytes": Key(parse_size, "SIZE", "Largest array, sound or piped input to accept [4G]."),
}

_KEY_BOUNDARY = re.compile(rf",(?=(?:{'|'.join(map(re.escape, KEYS))})=)")
_LOOKS_LIKE_KEY = re.compile(r",([A-Za-z][\w-]*)=")


@dataclass(frozen=True)
class StreamSpec:
    """A stream as the user named it.

    Parameters
    ----------
    path : str
        The file; ``-`` is standard input.
    given : Mapping of str to str
        The keys as written, the stream's own before the defaults.
    """

    path: str
    given: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> Options:
        """Parse the values of the keys.

        Raises
        ------
        UsageError
            If a value cannot be read, naming the key and the value.
        """
        parsed: dict[str, Any] = {}
        for name, text in self.given.items():
            parsed[name.replace("-", "_")] = parse_value(name, text)
        options = Options(**parsed)
        if options.start is not None and options.end is not None and options.end <= options.start:
            raise UsageError("end", f"{options.end:g} s is not after start {options.start:g} s")
        return options


def parse_value(name: str, text: str) -> Any:
    """Parse the value of key `name`; UsageError says what it may be."""
    try:
        return KEYS[name].parse(text)
    except UsageError as error:
        raise UsageError(name, f"{text!r} {error.what}", error.hint) from None
    except ValueError as error:
        reason = str(error)
        if not reason.startswith(("is ", "names ")):
            reason = "is not a number"
        raise UsageError(name, f"{text!r} {reason}") from None


def parse_spec(argument: str, defaults: Mapping[str, str] | None = None) -> StreamSpec:
    """Split ``PATH[,key=value]...``.

    An argument, or its beginning up to a key, that names an existing file is that file, commas
    and all.

    Parameters
    ----------
    argument : str
        What the user typed.
    defaults : Mapping of str to str, optional
        Keys for every stream; the stream's own win.

    Returns
    -------
    StreamSpec

    Raises
    ------
    UsageError
        If a key is unknown, given twice, or its value cannot be read.
    """
    defaults = defaults or {}
    if argument != STDIN_DEVICE and os.path.lexists(argument):
        return _checked(StreamSpec(argument, dict(defaults)))
    path, pairs = _split(argument)
    _reject_unknown_key(path)
    own: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        _reject_unknown_key(value)
        if name in own:
            raise UsageError(argument, f"{name}= is given twice")
        own[name] = value
    if not path:
        raise UsageError(argument, "names no file")
    path = STDIN if path == STDIN_DEVICE else path
    return _checked(StreamSpec(path, {**defaults, **own}))


def _split(argument: str) -> tuple[str, list[str]]:
    """Split at the keys; the longest beginning that names an existing file is the path."""
    parts = _KEY_BOUNDARY.split(argument)
    for n in range(len(parts) - 1, 0, -1):
        path = ",".join(parts[:n])
        if os.path.lexists(path):
            return path, parts[n:]
    return parts[0], parts[1:]


def _checked(spec: StreamSpec) -> StreamSpec:
    options = spec.options()
    if spec.path == STDIN and options.format is None:
        raise UsageError(STDIN, "standard input needs format=", "for example -,format=csv")
    return spec


def _reject_unknown_key(text: str) -> None:
    unknown = None if os.path.lexists(text) else _LOOKS_LIKE_KEY.search(text)
    if unknown:
        hint = did_you_mean(unknown[1], KEYS) or f"keys: {', '.join(KEYS)}"
        raise UsageError(text, f"unknown key {unknown[1]}=", hint)


def unique_names(specs: Iterable[StreamSpec]) -> list[str]:
    """Name every stream: its ``name=``, else its file's stem, made unique by a number.

    Raises
    ------
    UsageError
        If two streams are given the same name.
    """
    specs = list(specs)
    taken: set[str] = set()
    for spec in specs:
        name = spec.given.get("name")
        if name in taken:
            raise UsageError("name", f"two streams are called {name!r}")
        taken |= {name} if name else set()
    return [spec.given.get("name") or _free_name(_stem(spec.path), taken) for spec in specs]


def _stem(path: str) -> str:
    if path == STDIN:
        return "stdin"
    return os.path.splitext(os.path.basename(os.path.normpath(path)))[0] or "stream"


def _free_name(stem: str, taken: set[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    taken.add(name)
    return name
