"""Audio through libsndfile, decoded in blocks at the rate that the feature works on."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any, BinaryIO

import numpy as np
import soundfile

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import FloatArray
from mmalign_cli.runtime import format_size, libraries_hushed
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

_BLOCK_FRAMES = 1 << 18
_MOST_EXPECTED = 1 << 30  # samples to make room for at once: a header may promise anything
_MP3_SLACK = 0.05  # the length that an MP3 header gives is an estimate, and counts padding
SLACK = 1e-4
"""Of a sample: a start that falls on one keeps it."""
# Codecs of a WAV whose block is one frame: of the others, the header does not tell the frames.
_FRAME_A_BLOCK = frozenset({0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE})


def read_audio(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Decode one channel, or the mean of all, of an audio file.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``channel``, ``start``, ``end`` and ``allow_truncated`` concern audio.
    decode_rate : Fraction or None
        Samples per second to resample to; None keeps the file's own.

    Returns
    -------
    Content
        Values float32 (n_samples,), rate in samples per second.

    Raises
    ------
    InputError
        If the file is damaged, cut short, empty, or holds values that are not finite.
    LimitError
        If it decodes to more than ``max-bytes=``.
    """
    with source.open() as file:
        riff = _riff(file) if source.head[:4] == b"RIFF" else None
        if riff is not None and riff.rate == 0:
            raise InputError(source.path, "sample rate 0 Hz is not valid")
        file.seek(0)
        try:
            with libraries_hushed():
                opened = soundfile.SoundFile(_for_libsndfile(file, source), closefd=False)
            with opened as sound:
                return _decode(sound, riff, source, options, decode_rate)
        except soundfile.LibsndfileError as error:
            raise InputError(source.path, f"cannot be decoded: {error.error_string}") from None
        except (RuntimeError, TypeError) as error:
            raise InputError(source.path, f"cannot be decoded: {error}") from None


class _QuietBytes(io.BytesIO):
    """Bytes in memory that take no notice of a seek to nowhere, as damaged headers ask for."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _for_libsndfile(file: BinaryIO, source: Source) -> int | BinaryIO:
    """Return what libsndfile reads: the descriptor where there is one.

    Reading through a Python object, it prints a traceback of its own for every damaged offset.
    """
    return file.fileno() if source.piped is None else _QuietBytes(source.piped)


@dataclass(frozen=True)
class _Riff:
    """Sample rate, and the frames that the data chunk of a WAV promises and really has."""

    rate: int
    promised: int | None
    found: int


def _riff(file: IO[bytes]) -> _Riff | None:
    """Walk the chunks of a WAV file: libsndfile shortens a cut file without a word."""
    codec, rate, block_bytes = 0, -1, 1
    end = file.seek(0, 2)
    at = 12
    while at + 8 <= end:
        file.seek(at)
        tag, size = struct.unpack("<4sI", file.read(8))
        if tag == b"fmt " and at + 24 <= end:
            codec, _, rate, _, block_bytes = struct.unpack("<HHIIH", file.read(14))
        elif tag == b"data":
            found, block = end - at - 8, max(block_bytes, 1)
            known = codec in _FRAME_A_BLOCK and not _is_placeholder(size, found)
            return _Riff(rate, size // block if known else None, min(size, found) // block)
        at += 8 + size + size % 2
    return None


def cut_short(file: IO[bytes]) -> str | None:
    """Tell how much of a WAV is missing, if its header promises more than there is."""
    riff = _riff(file) if file.read(4) == b"RIFF" else None
    if riff is None or riff.promised is None or riff.found >= riff.promised:
        return None
    return _short(riff.promised, riff.found)


def _short(promised: int, found: int) -> str:
    return f"cut short: data chunk promises {promised} frames, file holds {found}"


def _is_placeholder(size: int, found: int) -> bool:
    """Tell whether a size is what a program that pipes a WAV leaves: none, or the largest."""
    return found > 0 and (size in (0, 0xFFFFFFFF) or 0x7FFFF000 <= size <= 0x7FFFFFFF)


def _decode(
    sound: Any, riff: _Riff | None, source: Source, options: Options, decode_rate: Fraction | None
) -> Content:
    rate, n_channels = Fraction(sound.samplerate), sound.channels
    if sound.frames == 0:
        raise InputError(source.path, "no audio frames")
    if options.channel is not None and options.channel >= n_channels:
        what = f"no channel {options.channel}: it has {n_channels}, the first is 0"
        raise InputError(source.path, what)
    first, last = _span(sound.frames, rate, source, options)
    with libraries_hushed():
        if sound.seekable():
            sound.seek(first)
        else:
            sound.read(first, dtype="float32")
    most = int(options.max_bytes // 4 * rate / (decode_rate or rate))
    blocks = limited(most, _blocks(sound, last - first, first, source, options), source, options)
    values, n_read = collect(blocks, last - first, rate, decode_rate)
    promised, found = last - first, n_read
    if sound.subtype.startswith("MPEG") and found > (1 - _MP3_SLACK) * promised:
        promised = found
    if riff is not None and riff.promised is not None and last == sound.frames:
        promised, found = max(promised, riff.promised - first), min(found, riff.found - first)
    warnings = _truncation(promised, found, source, options)
    notes = (
        (f"mean of {n_channels} channels",) if n_channels > 1 and options.channel is None else ()
    )
    start_s = float(Fraction(first) / rate)
    return Content(values, "audio", None, decode_rate or rate, start_s, (), notes, warnings)


def _span(n_frames: int, rate: Fraction, source: Source, options: Options) -> tuple[int, int]:
    """Return the first sample to keep and the one after the last."""
    first = 0 if options.start is None else math.ceil(options.start * rate - SLACK)
    last = n_frames if options.end is None else math.floor(options.end * rate + SLACK) + 1
    first, last = max(first, 0), min(last, n_frames)
    if first >= last:
        lasts = float(n_frames / rate)
        raise InputError(source.path, f"nothing between start and end: it lasts {lasts:g} s")
    return first, last


def _blocks(
    sound: Any, n_frames: int, first: int, source: Source, options: Options
) -> Iterator[FloatArray]:
    """Yield blocks of one channel, float32 (n,), until `n_frames` were read or the file ends."""
    done = 0
    while done < n_frames:
        n_wanted = min(_BLOCK_FRAMES, n_frames - done)
        with libraries_hushed():
            block = sound.read(n_wanted, dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        mono = mixed(block) if options.channel is None else block[:, options.channel]
        require_finite(mono, first + done, sound.samplerate, source)
        done += len(block)
        yield np.ascontiguousarray(mono)


def mixed(block: FloatArray, axis: int = 1) -> FloatArray:
    """Return the mean of the channels, which lie along `axis`; not finite where they are not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(block.mean(axis=axis))


def limited(
    most: int, blocks: Iterator[FloatArray], source: Source, options: Options
) -> Iterator[FloatArray]:
    """Yield blocks of `most` samples in all: a small file of silence may hold days of it.

    Raises
    ------
    LimitError
        If there are more.
    """
    done = 0
    for block in blocks:
        done += len(block)
        if done > most:
            what = f"its sound holds more than the limit of {format_size(options.max_bytes)}"
            raise LimitError(source.path, what, "raise it with max-bytes=, or use start= and end=")
        yield block


def require_finite(mono: FloatArray, at: int, rate: int, source: Source) -> None:
    """Refuse samples (n,), the first of which is sample `at` of the file, that are not finite.

    Raises
    ------
    InputError
        Naming the first.
    """
    bad = np.flatnonzero(~np.isfinite(mono))
    if len(bad):
        frame = at + int(bad[0])
        what = f"non-finite at t = {frame / rate:.2f} s (frame {frame}), {len(bad)} values"
        raise InputError(source.path, what)


class Joined:
    """Blocks of samples, one after the other in an array that grows where it must."""

    def __init__(self, expected: int) -> None:
        self._samples = np.empty(min(expected, _MOST_EXPECTED), dtype=np.float32)
        self._n = 0

    def add(self, block: FloatArray) -> None:
        """Append a block, (n,)."""
        past = self._n + len(block)
        if past > len(self._samples):
            self._samples.resize(max(past, len(self._samples) * 5 // 4), refcheck=False)
        self._samples[self._n : past] = block
        self._n = past

    def samples(self) -> FloatArray:
        """Return all of them, float32 (n,); nothing may be added after that."""
        self._samples.resize(self._n, refcheck=False)
        return self._samples


def collect(
    blocks: Iterator[FloatArray], expected: int, rate: Fraction, decode_rate: Fraction | None
) -> tuple[FloatArray, int]:
    """Join blocks of one channel, resampled on the way.

    Parameters
    ----------
    blocks : iterator of ndarray, shape (n,)
        float32.
    expected : int
        How many samples they hold, about: room is made for as many.
    rate, decode_rate : Fraction
        Samples per second of the blocks, and of the result; None keeps the rate.

    Returns
    -------
    samples : ndarray, shape (m,)
        float32.
    n_read : int
        Samples of the blocks.
    """
    import soxr

    n_read = 0
    decode_rate = decode_rate or rate
    joined = Joined(math.ceil(expected * decode_rate / rate) + 1)
    resampler = soxr.ResampleStream(float(rate), float(decode_rate), 1, dtype="float32")
    same = decode_rate == rate
    for block in blocks:
        n_read += len(block)
        joined.add(block if same else resampler.resample_chunk(block))
    if not same:
        joined.add(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    return joined.samples(), n_read


def _truncation(promised: int, found: int, source: Source, options: Options) -> tuple[str, ...]:
    """Refuse a recording that is shorter than its header says, unless the user allows it."""
    if found >= promised:
        return ()
    what = _short(promised, found)
    if not options.allow_truncated:
        raise InputError(source.path, what, "to align what is there: --allow-truncated")
    return (f"{source.path}: {what}",)
