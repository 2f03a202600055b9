"""The features: what each takes, its unit, its default metric. Adding one is one entry.

Imports nothing heavy: ``--help`` reads this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from math import ceil
from typing import TYPE_CHECKING

from mmalign_cli.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from mmalign_cli.features.computed import Computed
    from mmalign_cli.model import Kind, Stream

    Compute = Callable[[Stream, Fraction], Computed]

_A = "mmalign_cli.features.audio:"
_R = "mmalign_cli.features.roll:"
_M = "mmalign_cli.features.motion:"
_B = "mmalign_cli.features.body:"
_I = "mmalign_cli.features.images:"


@dataclass(frozen=True)
class Feature:
    """A feature.

    Parameters
    ----------
    takes : Mapping of kind to str
        For each kind of content, ``module:function`` of ``(Stream, hop) -> Computed``.
    units : str
        Unit of its values.
    metric : str
        The metric that `mmalign dtw` takes unless told otherwise.
    help : str
        One line.
    audio_rate : int
        About the samples per second that it works on; audio is decoded at the nearest rate
        that gives a whole number of samples per hop, so that frames never drift.
    """

    takes: Mapping[Kind, str]
    units: str
    metric: str
    help: str
    audio_rate: int = 0

    def decode_rate(self, hop: Fraction) -> Fraction | None:
        """Return the samples per second to decode audio at, for a hop in seconds."""
        return ceil(self.audio_rate * hop) / hop if self.audio_rate else None


def _same(function: str) -> Mapping[Kind, str]:
    return {"table": function, "array": function}


FEATURES: dict[str, Feature] = {
    "raw": Feature(
        {"audio": _M + "raw", **_same(_M + "raw")},
        "as in the file",
        "sqeuclidean",
        "the values themselves",
    ),
    "velocity": Feature(
        _same(_M + "velocity"), "units/s", "euclidean", "central differences of each column"
    ),
    "speed": Feature(
        _same(_M + "speed"), "units/s", "euclidean", "length of the velocity of each point"
    ),
    "norm": Feature(
        _same(_M + "norm"), "as in the file", "euclidean", "length of each point's vector"
    ),
    "energy": Feature(
        _same(_M + "energy"), "units^2", "euclidean", "mean square about each column's mean"
    ),
    "root-centred": Feature(
        _same(_B + "root_centred"), "as in the file", "euclidean", "points less the body's root"
    ),
    "scale-free": Feature(
        _same(_B + "scale_free"), "body sizes", "euclidean", "the same in sizes of the body"
    ),
    "joint-angles": Feature(
        _same(_B + "joint_angles"), "rad", "euclidean", "angle of each point's two neighbours at it"
    ),
    "logmel": Feature(
        {"audio": _A + "logmel"},
        "log power",
        "euclidean",
        "log-mel bands and their slopes: speech, noise, everything (default for audio)",
        16000,
    ),
    "mfcc": Feature(
        {"audio": _A + "mfcc"}, "log power", "euclidean", "cepstra without level, and slopes", 16000
    ),
    "chroma": Feature(
        {"audio": _A + "chroma", **_same(_R + "chroma")},
        "unit norm",
        "cosine",
        "12 pitch classes; also of piano rolls (88 or 128 columns)",
        22000,
    ),
    "onset": Feature(
        {"audio": _A + "onset"}, "spectral flux", "euclidean", "onset strength", 22000
    ),
    "rms": Feature({"audio": _A + "rms"}, "dB", "euclidean", "level", 16000),
    "chroma-onset": Feature(
        {"audio": _A + "chroma_onset", **_same(_R + "chroma_onset")},
        "unit norm",
        "euclidean",
        "pitch classes and their decaying onsets: music; also of piano rolls",
        22000,
    ),
    "gray": Feature(
        {"images": _I + "gray"}, "gray level", "euclidean", "each frame as a small gray picture"
    ),
    "motion": Feature(
        {"images": _I + "motion"},
        "gray level/s",
        "euclidean",
        "change of the picture on a 4 x 4 grid",
    ),
}

DEFAULTS: Mapping[Kind, str] = {"audio": "logmel", "table": "raw", "array": "raw"}


def feature_named(name: str) -> Feature:
    """Return the feature called `name`; UsageError lists the others."""
    if name not in FEATURES:
        hint = did_you_mean(name, FEATURES) or f"features: {', '.join(FEATURES)}"
        raise UsageError("features", f"{name!r} is not a feature", hint)
    return FEATURES[name]


def default_feature(kind: Kind, subject: str) -> str:
    """Return the feature of a kind of content where the user named none."""
    if kind not in DEFAULTS:
        what = "holds pictures, expected (n_frames,) or (n_frames, n_dims)"
        raise InputError(subject, what, "say features=gray or features=motion")
    return DEFAULTS[kind]


def compute_of(name: str, kind: Kind, subject: str) -> Compute:
    """Import and return the function that computes feature `name` from a kind of content."""
    feature = feature_named(name)
    if kind not in feature.takes:
        takes = " and ".join(feature.takes)
        hint = f"for {kind}: {', '.join(n for n, f in FEATURES.items() if kind in f.takes)}"
        raise InputError(subject, f"feature {name} is for {takes}, this is {kind}", hint)
    module, _, function = feature.takes[kind].partition(":")
    compute: Compute = getattr(import_module(module), function)
    return compute
