"""The sound of a container in the way that libsndfile gives that of a file: read, and seek."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Array, FloatArray
from mmalign_cli.streams.container import open_media
from mmalign_cli.streams.soundtrack import (
    LONGEST_GAP_S,
    Track,
    described,
    laid_out,
    silent_blocks,
)
from mmalign_cli.streams.source import Source, open_source
from mmalign_cli.streams.spec import DEFAULT_MAX_BYTES, Options

_WHOLE = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "u8": "PCM_U8"}
_LOSSY = "MPEG_LAYER_III"  # libsndfile's name of a code that it does not write to a WAV


class Reel:
    """The first track of sound of a container, from second 0 of the container's clock on.

    What lies before second 0, as an encoder puts there to warm up, is left out; until the sound
    begins there is silence. It is decoded twice: once to learn its length.

    Attributes
    ----------
    samplerate, frames, channels : int
        Samples per second, their number, and that of the channels.
    format, subtype : str
        As libsndfile would name them.
    warnings : list of str
        What was found on the way.
    """

    format = "CONTAINER"

    def __init__(self, source: Source, options: Options) -> None:
        self._source, self._options = source, options
        self.samplerate = self.channels = 0
        self.subtype = _LOSSY
        self.warnings: list[str] = []
        self._held = np.zeros((0, 0), dtype=np.float32)
        self._at = 0
        self._blocks = self._play()
        self.frames = sum(block.shape[1] for block in self._blocks)
        self._rewind()

    def read(self, count: int, dtype: str, always_2d: bool) -> Array:
        """Return the next `count` samples or what is left, (n, channels), as soundfile does."""
        parts = [self._held]
        while sum(part.shape[1] for part in parts) < count:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
        joined = np.concatenate(parts, axis=1)
        given: Array = joined[:, :count].T
        self._held = joined[:, count:]
        self._at += len(given)
        if dtype == "int32":
            given = np.clip(np.rint(given * 2.0**31), -(2.0**31), 2.0**31 - 1)
        return given.astype(dtype)

    def seek(self, at: int) -> None:
        """Go to a sample: back by starting again."""
        if at < self._at:
            self._rewind()
        while self._at < at and len(self.read(min(at - self._at, 1 << 16), "float32", True)):
            pass

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()

    def _rewind(self) -> None:
        self._blocks.close()
        self._blocks, self._at = self._play(), 0
        self._held = np.zeros((self.channels, 0), dtype=np.float32)

    def _play(self) -> Any:
        """Yield the channels from second 0 on, float32 (n_channels, n) a block."""
        with open_media(self._source, self._options) as media:
            wanted = media.track("audio")
            self.warnings = media.warnings
            frames = media.frames(wanted)
            first = next(frames, None)
            if first is None:
                raise InputError(self._source.path, "no audio frames")
            track = described(first, media)
            if abs(track.start) > LONGEST_GAP_S:
                what = f"its sound begins at {float(track.start):.6g} s of its clock"
                raise InputError(self._source.path, what, "write it anew with ffmpeg")
            self.samplerate, self.channels = track.rate, track.n_channels
            self.subtype = _subtype(wanted.codec_context.name)
            yield from _from_zero(laid_out(first, frames, track, media), track)


def _subtype(codec: str) -> str:
    """Return libsndfile's name of how samples are stored that are stored as numbers."""
    form = codec.removeprefix("pcm_").removesuffix("le").removesuffix("be")
    if codec in ("flac", "alac"):
        return "PCM_24"
    return _WHOLE.get(form, "FLOAT") if codec.startswith("pcm_") else _LOSSY


def _from_zero(blocks: Iterator[FloatArray], track: Track) -> Iterator[FloatArray]:
    lead = round(track.start * Fraction(track.rate))
    yield from silent_blocks(track.n_channels, max(lead, 0))
    left_out = max(-lead, 0)
    for block in blocks:
        kept = block[:, left_out:]
        left_out = max(left_out - block.shape[1], 0)
        if kept.shape[1]:
            yield kept


@contextmanager
def open_reel(path: str, *, allow_truncated: bool) -> Iterator[Reel]:
    """Open the sound of a container.

    Raises
    ------
    InputError
        If it is damaged, cut short unless that is allowed, or holds no sound.
    UsageError
        If PyAV is not installed.
    """
    options = Options(allow_truncated=allow_truncated)
    reel = Reel(open_source(path, DEFAULT_MAX_BYTES), options)
    try:
        yield reel
    finally:
        reel.close()
