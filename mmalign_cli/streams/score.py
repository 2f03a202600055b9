"""Scores as piano rolls: MIDI by mido, MusicXML by partitura."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import format_size
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.extras import require_extra
from mmalign_cli.streams.library import by_library
from mmalign_cli.streams.points import with_columns
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import DEFAULT_HOP, Options

_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(f"{_CLASSES[key % 12]}{key // 12 - 1}" for key in range(128))
"""Names of the columns: MIDI number 60 is C4."""
_SCORE_VELOCITY = 64
_DRUMS = 9
_TEMPO = 500_000  # microseconds of a quarter note, where nothing is said


@dataclass(frozen=True)
class _Note:
    """A key that is held, in seconds."""

    onset_s: float
    offset_s: float
    key: int
    velocity: int


def read_midi(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a MIDI file as a piano roll.

    Parameters
    ----------
    source : Source
        A standard MIDI file of type 0 or 1.
    options : Options
        ``rate``: frames of the roll per second, by default one a hop; ``columns``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        Velocities of all 128 keys, (n_frames, 128): a note sounds from the frame nearest to its
        onset to that before the nearest to its release. Pedals and the drums' channel are left
        out.

    Raises
    ------
    InputError
        If it is damaged, or holds no notes.
    LimitError
        If the roll would be larger than ``max_bytes``.
    UsageError
        If the extra `score` is not installed.
    """
    require_extra("score", source.path)
    data = source.read(options.max_bytes)
    with by_library("MIDI", source.path):
        import mido

        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
        if file.type == 2 or file.ticks_per_beat < 1:
            raise InputError(source.path, "MIDI of type 2, or timed by SMPTE, is not read here")
        notes, n_drums = _midi_notes(mido.merge_tracks(file.tracks), file.ticks_per_beat)
    note = f"{len(notes)} notes on {len(file.tracks)} tracks"
    left_out = f"; {n_drums} drum notes left out" if n_drums else ""
    return _roll(notes, note + left_out, source, options)


def _midi_notes(messages: Iterable[Any], per_quarter: int) -> tuple[list[_Note], int]:
    """Return the notes of a merged track, and how many drum notes it holds."""
    notes: list[_Note] = []
    now_s = 0.0
    held: dict[tuple[int, int], list[tuple[float, int]]] = {}
    elapsed, tempo, n_drums = 0, _TEMPO, 0  # in whole units, so that nothing is rounded on the way
    for message in messages:
        elapsed += message.time * tempo
        now_s = elapsed / (per_quarter * 10**6)
        if message.type == "set_tempo":
            tempo = message.tempo
        elif message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if message.channel == _DRUMS:
                n_drums += message.type == "note_on" and message.velocity > 0
            elif message.type == "note_on" and message.velocity > 0:
                held.setdefault(key, []).append((now_s, message.velocity))
            elif held.get(key):
                onset_s, velocity = held[key].pop(0)
                notes.append(_Note(onset_s, now_s, message.note, velocity))
    for (_, number), open_notes in held.items():
        notes += [_Note(onset_s, now_s, number, velocity) for onset_s, velocity in open_notes]
    return notes, n_drums


def read_musicxml(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read a MusicXML score as a piano roll, its repeats played.

    Parameters
    ----------
    source : Source
        The score, not compressed.
    options : Options
        ``rate``: frames of the roll per second, by default one a hop; ``columns``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        As of `read_midi`, every velocity 64. The tempo is the score's own, 120 quarter notes a
        minute until it says one.

    Raises
    ------
    InputError
        If it is damaged, or holds no notes.
    LimitError
        If the roll would be larger than ``max_bytes``.
    UsageError
        If the extra `score` is not installed.
    """
    require_extra("score", source.path)
    data = source.read(options.max_bytes)
    if b"<!ENTITY" in data:
        raise InputError(source.path, "XML that defines entities is not read here")
    with by_library("MusicXML", source.path):
        import partitura

        score = partitura.load_musicxml(io.BytesIO(data))
        notes, tempos = _score_notes(partitura, score.parts)
    said = f"{len(tempos)} tempo marks" if tempos else "no tempo in the score: 120 a minute"
    return _roll(notes, f"{len(notes)} notes in {len(score.parts)} parts; {said}", source, options)


def _score_notes(partitura: Any, parts: Sequence[Any]) -> tuple[list[_Note], dict[float, float]]:
    """Return the notes of all parts, and the seconds of a quarter note from each quarter on."""
    unfolded = [partitura.score.unfold_part_maximal(part) for part in parts]
    tempos = {
        float(part.quarter_map(tempo.start.t)): tempo.microseconds_per_quarter / 1e6
        for part in unfolded
        for tempo in part.iter_all(partitura.score.Tempo)
    }
    begin = min(float(part.quarter_map(part.first_point.t)) for part in unfolded)
    notes = []
    for part in unfolded:
        array = part.note_array()
        onsets = array["onset_quarter"].astype(np.float64)
        onsets_s = _seconds(onsets, tempos, begin)
        offsets_s = _seconds(onsets + array["duration_quarter"], tempos, begin)
        notes += [
            _Note(onset_s, offset_s, int(key), _SCORE_VELOCITY)
            for onset_s, offset_s, key in zip(onsets_s, offsets_s, array["pitch"], strict=True)
        ]
    return notes, tempos


def _seconds(quarters: Float64Array, tempos: dict[float, float], begin: float) -> Float64Array:
    """Return when quarters are played, each tempo holding from its own quarter on."""
    marks = sorted(({begin: _TEMPO / 1e6} | tempos).items())
    last = max(float(quarters.max(initial=begin)), marks[-1][0]) + 1
    at = [quarter for quarter, _ in marks] + [last]
    lasts_s = [(b - a) * tempo for (a, b), (_, tempo) in zip(pairwise(at), marks, strict=True)]
    return np.asarray(np.interp(quarters, at, np.cumsum([0.0, *lasts_s])))


def _roll(notes: Sequence[_Note], note: str, source: Source, options: Options) -> Content:
    """Return the piano roll of notes, (n_frames, 128)."""
    if not notes:
        raise InputError(source.path, "holds no notes")
    beyond = [n.key for n in notes if not 0 <= n.key < len(KEYS)]
    if beyond:
        raise InputError(source.path, f"a note of key {beyond[0]}: there are 0 to {len(KEYS) - 1}")
    rate = options.rate or 1 / (options.hop or DEFAULT_HOP)
    ends_s = max(n.offset_s for n in notes)
    if not 0 <= ends_s < np.inf:
        raise InputError(source.path, f"its last note ends at {ends_s} s")
    n_frames = max(round(ends_s * float(rate)), 1 + round(max(n.onset_s for n in notes) * rate))
    n_bytes = n_frames * len(KEYS) * np.dtype(np.float64).itemsize
    if n_bytes > options.max_bytes:
        limit = format_size(options.max_bytes)
        what = (
            f"its roll lasts {ends_s:.0f} s and takes {format_size(n_bytes)}, the limit is {limit}"
        )
        raise LimitError(source.path, what, "use a lower rate=, or raise it with max-bytes=")
    roll = np.zeros((n_frames, len(KEYS)), dtype=np.uint8)
    for n in sorted(notes, key=lambda n: (n.onset_s, n.key, n.velocity)):
        first = max(round(n.onset_s * float(rate)), 0)
        if first > 1 and roll[first - 1, n.key] == roll[first - 2, n.key] == n.velocity:
            roll[first - 1, n.key] = 0  # or else nobody could see that it is struck again
        roll[first : max(first + 1, round(n.offset_s * float(rate))), n.key] = n.velocity
    content = Content(roll, "table", None, rate, 0.0, KEYS, (note,))
    return with_columns(content, options, source.path)
