"""Reading a container: its sound, or its pictures where a feature of pictures is asked for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mmalign_cli.streams.container import Media, open_media
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.pictures import read_pictures
from mmalign_cli.streams.soundtrack import read_soundtrack
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

PICTURE_SIDES = {"gray": 24, "motion": 48}
"""The features that mean the pictures, and the cells along each side that they are given.

For ``gray`` those of the feature itself. For ``motion``, which sums up what moves within its 4 x 4
cells, a size at which it follows the sound of talking faces as closely as at full size.
"""


def read_media(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read one track of a container.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``features`` decides between sound and pictures; ``track`` chooses among several.
    decode_rate : Fraction or None
        Samples per second to decode sound at; None keeps the track's own.

    Returns
    -------
    Content
        Kind ``audio``, or ``images`` with the times of their presentation.

    Raises
    ------
    UsageError
        If PyAV is not installed.
    InputError
        If the file is damaged or lacks what is asked for.
    LimitError
        If it holds more than ``max-bytes=``.
    """
    with open_media(source, options) as media:
        side = PICTURE_SIDES.get(options.features or "")
        if side is not None:
            return read_pictures(media, side)
        return read_soundtrack(media, decode_rate)


def media_contents(source: Source, options: Options) -> list[dict[str, Any]]:
    """Return what there is to know of each track without decoding it."""
    with open_media(source, options) as media:
        counts: dict[str, int] = {}
        found = []
        for stream in media.container.streams:
            number = counts.get(stream.type, 0)
            counts[stream.type] = number + 1
            found.append({"track": f"{stream.type} {number}", **_facts(stream, media)})
        return found


def _facts(stream: Any, media: Media) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {} if context is None else {"codec": context.name}
    if stream.type == "audio" and context is not None:
        facts |= {"rate": context.sample_rate, "channels": context.layout.nb_channels}
    if stream.type == "video" and context is not None:
        rate = stream.average_rate
        facts |= {"width": context.width, "height": context.height}
        facts |= {} if rate is None else {"mean_rate": float(rate)}
    if stream.start_time is not None:
        facts["start"] = float(stream.start_time * stream.time_base - media.origin)
    if stream.duration is not None:
        facts["duration"] = float(stream.duration * stream.time_base)
    if stream.language not in (None, "und"):
        facts["language"] = stream.language
    return facts
