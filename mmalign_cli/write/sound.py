"""A recording on another clock: resampled where its speed hardly changes, else stretched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from mmalign_cli.errors import InputError, OutputError, UsageError
from mmalign_cli.model import Float64Array, TimeMap
from mmalign_cli.runtime import Progress, prepare_kernels
from mmalign_cli.streams.sound import PCM_BITS, Sound, open_sound
from mmalign_cli.write.atomic import Outputs, check_outputs
from mmalign_cli.write.pieces import is_warp
from mmalign_cli.write.render import rendered

_CONTAINERS = {
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".oga": ("OGG",),
    ".opus": ("OGG",),
}
_FALLBACKS = ("PCM_24", "PCM_16", "VORBIS")
_LOSSY_TO = "PCM_16"  # what a decoder of ogg or mp3 gives holds no more
_LONGEST_S = 30 * 86400.0  # of silence before a recording, and of what becomes of it
_WAV_BYTES = 0xF0000000  # more does not fit in a WAV


@dataclass(frozen=True)
class Written:
    """What became of a recording.

    Parameters
    ----------
    n_samples : int
        Samples of each channel that were written.
    rate : int
        Samples per second.
    subtype : str
        libsndfile's name of how they are stored.
    stretched : bool
        Whether it was stretched with its pitch kept.
    n_clipped : int
        Values beyond full scale, that were cut off.
    lost_s : float
        Seconds of the recording that lie before the output's first sample.
    warnings : tuple of str
        What was found in the recording.
    """

    n_samples: int
    rate: int
    subtype: str
    stretched: bool
    n_clipped: int
    lost_s: float
    warnings: tuple[str, ...] = ()


def is_sound_ending(path: str) -> bool:
    """Tell whether a file's name is that of a sound file that is written here."""
    return os.path.splitext(path)[1].lower() in _CONTAINERS


def sound_ending(path: str) -> str:
    """Return the ending of a sound file to write.

    Raises
    ------
    UsageError
        If no sound is written under such a name.
    """
    if not is_sound_ending(path):
        hint = "sound is written as " + ", ".join(_CONTAINERS)
        raise UsageError(path, "names no kind of sound file that is written here", hint)
    return os.path.splitext(path)[1].lower()


def write_resynced(
    outputs: Outputs,
    source: str,
    output: str,
    time_map: TimeMap,
    n_samples: int | None,
    *,
    keep_pitch: bool,
    progress: Progress,
    start_s: float = 0.0,
    allow_truncated: bool = False,
) -> Written:
    """Write a recording on the clock that a time map leads to.

    Sample k of the output is what happens at ``start_s + k / rate`` of that clock, at the
    recording's own rate, in all its channels; where the recording has nothing there is silence.
    A shift of whole samples copies them. Memory does not grow with the length.

    Parameters
    ----------
    outputs : Outputs
        Of which it is to be one.
    source, output : str
        Sound files: the output's container goes by its name, and how samples are stored is the
        source's way where the container has it.
    time_map : TimeMap
        From the recording's seconds to the other clock's.
    n_samples : int or None
        Length of the output; None reaches to where the recording ends.
    keep_pitch : bool
        Whether changes of speed of more than a percent are stretched; else they are resampled and
        change the pitch.
    progress : Progress
        Told of each block.
    start_s : float
        Time of the output's first sample.
    allow_truncated : bool
        Whether a file that ends before its header says is taken as it is.

    Raises
    ------
    InputError
        If the recording is damaged, or nothing of it lies after `start_s`.
    OutputError
        If the output exists, or cannot be written.
    UsageError
        If the output's name is not that of a sound file.
    """
    ending = sound_ending(output)
    check_outputs([output], [source], outputs.force)
    prepare_kernels()
    backward = time_map.inverse()
    with open_sound(source, allow_truncated=allow_truncated) as sound:
        end_s = float(time_map(sound.n_samples / sound.rate))
        require_near(source, float(time_map(0.0)) - start_s, end_s, time_map.to)
        length = round((end_s - start_s) * sound.rate) if n_samples is None else n_samples
        if length <= 0:
            what = f"ends at {end_s:g} s of {time_map.to}: nothing of it is left"
            raise InputError(source, what)
        stretch = keep_pitch and is_warp(backward)
        container, subtype = _stored_as(sound, ending, length)
        with outputs.open(output) as file:
            writer = _Writer(output, file.fileno(), sound, container, subtype)
            with writer:
                for block in rendered(sound, backward, start_s, length, stretch):
                    writer.write(block)
                    progress("sound", writer.n_written, length)
    lost_s = max(0.0, float(backward(start_s)))
    found = (*sound.warnings,)
    return Written(length, sound.rate, subtype, stretch, writer.n_clipped, lost_s, found)


def require_near(source: str, begin_s: float, end_s: float, clock: str) -> None:
    """Refuse to write days of silence: clocks that count from 1970 are met in logs.

    Parameters
    ----------
    source : str
        The recording, for the message.
    begin_s, end_s : float
        Where it begins and ends on the other clock, after the output's begin.
    clock : str
        The name of that clock.

    Raises
    ------
    InputError
        If it begins or ends a month later.
    """
    if not max(begin_s, end_s - begin_s) < _LONGEST_S:
        what = f"would begin at {begin_s:.6g} s of {clock} and end at {end_s:.6g} s"
        raise InputError(source, what, "align streams whose times start near 0 s")


def _stored_as(sound: Sound, ending: str, length: int) -> tuple[str, str]:
    """Return container and subtype of the output."""
    containers = _CONTAINERS[ending]
    container = sound.container if sound.container in containers else containers[0]
    if container == "WAV" and length * sound.n_channels * 8 > _WAV_BYTES:
        container = "RF64"
    own = "OPUS" if ending == ".opus" else sound.subtype
    is_lossy = own not in PCM_BITS and own not in ("FLOAT", "DOUBLE")
    kept = () if own.startswith("MPEG") else (own,)  # said to fit in a WAV, but not written there
    for subtype in (*kept, *((_LOSSY_TO,) if is_lossy else ()), *_FALLBACKS):
        if soundfile.check_format(container, subtype):
            return container, subtype
    raise AssertionError(container)


class _Writer:
    """A sound file in the making."""

    def __init__(self, path: str, handle: int, sound: Sound, container: str, subtype: str) -> None:
        self.n_written = self.n_clipped = 0
        self._path, self._bits = path, PCM_BITS.get(subtype)
        settings = {"samplerate": sound.rate, "channels": sound.n_channels, "closefd": False}
        with self._told():
            self._file = soundfile.SoundFile(
                handle, "w", format=container, subtype=subtype, **settings
            )

    def write(self, block: Float64Array) -> None:
        """Append samples (n_channels, n)."""
        with self._told():
            self._file.write(np.ascontiguousarray(self._stored(block).T))
        self.n_written += block.shape[1]

    def _stored(self, block: Float64Array) -> Any:
        """Return samples as they are stored; whole numbers are rounded here, to lose nothing."""
        if self._bits is None:
            return block
        full = 2.0 ** (self._bits - 1)
        whole = np.rint(block * full)
        kept = np.clip(whole, -full, full - 1)
        self.n_clipped += int((kept != whole).sum())
        return (kept * 2.0 ** (32 - self._bits)).astype(np.int32)

    def _told(self) -> _Told:
        return _Told(self._path)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            with self._told():
                self._file.close()
        else:
            self._file.close()


class _Told:
    """Turns what libsndfile says of an output into an OutputError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, soundfile.LibsndfileError):
            raise OutputError(
                self._path, f"cannot be written: {error.error_string.rstrip('.')}"
            ) from None
        if isinstance(error, AssertionError):  # fewer samples were taken than given
            raise OutputError(self._path, "cannot be written: no space left") from None
