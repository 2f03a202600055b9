"""Sound as it is stored: all channels, in pieces, forwards, with silence beyond its ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import soundfile

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import libraries_hushed
from mmalign_cli.streams.audio import cut_short
from mmalign_cli.streams.reel import open_reel
from mmalign_cli.streams.registry import is_container
from mmalign_cli.streams.source import reason_of

PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Subtypes that hold whole numbers: they are read and written without loss."""


class Sound:
    """An open recording.

    Attributes
    ----------
    path : str
        As the user named it.
    rate : int
        Samples per second.
    n_samples, n_channels : int
        Its size.
    container, subtype : str
        libsndfile's names of them.
    warnings : list of str
        What was found on the way.
    """

    def __init__(self, path: str, file: Any) -> None:
        self.path = path
        self.rate: int = file.samplerate
        self.n_samples: int = file.frames
        self.n_channels: int = file.channels
        self.container: str = file.format
        self.subtype: str = file.subtype
        self.warnings: list[str] = getattr(file, "warnings", [])
        self._file = file
        self._held = np.zeros((file.channels, 0))
        self._begin = 0  # of what is held

    def read(self, begin: int, end: int) -> Float64Array:
        """Return the samples from `begin` up to `end`, (n_channels, end - begin).

        Forwards it is read once, whatever overlaps; a step back seeks. Beyond the recording there
        is silence.

        Raises
        ------
        InputError
            If the file is damaged or holds a sample that is not finite.
        """
        first, last = (int(np.clip(at, 0, self.n_samples)) for at in (begin, end))
        out = np.zeros((self.n_channels, end - begin))
        if first < last:
            self._hold(first, last)
            held = self._held[:, first - self._begin : last - self._begin]
            out[:, first - begin : first - begin + held.shape[1]] = held
        return out

    def _hold(self, first: int, last: int) -> None:
        """Make `_held` the samples from `first` up to `last`, or to where the file ends."""
        held_to = self._begin + self._held.shape[1]
        if self._begin <= first <= held_to:
            kept = self._held[:, first - self._begin :]
        else:
            kept, held_to = self._held[:, :0], first
            with libraries_hushed():
                self._file.seek(first)
        if last > held_to:
            kept = np.concatenate([kept, self._decode(held_to, last - held_to)], axis=1)
        self._held, self._begin = kept, first

    def _decode(self, at: int, count: int) -> Float64Array:
        whole = self.subtype in PCM_BITS
        try:
            with libraries_hushed():
                block = self._file.read(
                    count, dtype="int32" if whole else "float64", always_2d=True
                )
        except (soundfile.SoundFileError, RuntimeError) as error:
            what = f"cannot be decoded at {at / self.rate:.2f} s: {_reason(error)}"
            raise InputError(self.path, what) from None
        block = block / 2.0**31 if whole else block
        if not np.isfinite(block).all():
            frame = at + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise InputError(self.path, f"non-finite at t = {frame / self.rate:.2f} s")
        return np.ascontiguousarray(block.T)


@contextmanager
def open_sound(path: str, *, allow_truncated: bool = False) -> Iterator[Sound]:
    """Open a recording: a sound file, or the first track of sound of a container.

    Raises
    ------
    InputError
        If it cannot be opened or decoded, holds nothing, or ends before its header says, unless
        that is allowed.
    """
    if is_container(path):
        with open_reel(path, allow_truncated=allow_truncated) as reel:
            yield Sound(path, reel)
        return
    try:
        raw = open(path, "rb", buffering=0)  # noqa: SIM115 -- the block below closes it
    except (OSError, ValueError) as error:
        raise InputError(path, reason_of(error)) from None
    with raw:
        short = cut_short(raw)  # unbuffered: libsndfile reads on from where the descriptor is
        raw.seek(0)
        try:
            with libraries_hushed():
                file = soundfile.SoundFile(raw.fileno(), closefd=False)
        except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
            raise InputError(path, f"cannot be decoded: {_reason(error)}") from None
        with file:
            if file.frames == 0:
                raise InputError(path, "no audio frames")
            if short and not allow_truncated:
                raise InputError(path, short)
            yield Sound(path, file)


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error))
