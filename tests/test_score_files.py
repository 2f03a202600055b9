"""Scores as piano rolls, labels and subtitles as streams."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.errors import InputError, LimitError, MmalignError, UsageError
from mmalign_cli.streams import extras
from mmalign_cli.streams.load import load
from mmalign_cli.streams.score import KEYS
from mmalign_cli.streams.spec import parse_spec

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
ASAP, MOZART = DATA / "music_asap", DATA / "music_audio_score_mozart"
PROMO = DATA / "speech_promo_pairs"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(folder):
    pass


def read(argument):
    return load(parse_spec(str(argument)), "s")


def refused(argument, pattern):
    with pytest.raises(InputError, match=pattern):
        read(argument)


def midi(name, *tracks, per_quarter=480):
    """Write a MIDI file of messages ``(ticks, kind, values)``."""
    import mido

    file = mido.MidiFile(ticks_per_beat=per_quarter)
    for messages in tracks:
        track = mido.MidiTrack()
        for ticks, kind, values in messages:
            make = mido.MetaMessage if kind == "set_tempo" else mido.Message
            track.append(make(kind, time=ticks, **values))
        file.tracks.append(track)
    file.save(name)


def on(key, velocity=80, channel=0):
    return {"note": key, "velocity": velocity, "channel": channel}


def test_a_roll_with_a_change_of_tempo():
    """Half a second at 120, then a quarter note a second; the drums are no keys."""
    tempo = [(0, "set_tempo", {"tempo": 500_000}), (480, "set_tempo", {"tempo": 1_000_000})]
    notes = [
        (0, "note_on", on(60, 70)),
        (240, "note_on", on(60, 0)),
        (240, "note_on", on(64, 90)),
        (480, "note_off", on(64)),
        (0, "note_on", on(36, 99, channel=9)),
    ]
    midi("a.mid", tempo, notes)
    stream = read("a.mid,rate=20")
    roll = np.zeros((30, 128))
    roll[0:5, 60] = 70
    roll[10:30, 64] = 90
    assert np.array_equal(stream.values, roll)
    assert stream.columns[60] == "C4"
    assert stream.rate == 20
    assert stream.notes == ("2 notes on 2 tracks; 1 drum notes left out",)
    assert read("a.mid").rate == 100


def test_a_key_struck_again_is_seen():
    midi(
        "a.mid",
        [(480 * (k > 0), "note_on", on(60)) for k in range(3)] + [(480, "note_off", on(60))],
    )
    held = read("a.mid,rate=20").values[:, 60] > 0
    assert np.flatnonzero(~held).tolist() == [9, 19]


@needs_data
@pytest.mark.parametrize(
    "take", ["Bach_Prelude_bwv_848/Lee01M", "Beethoven_Piano_Sonatas_31-2/ADIG05M"]
)
def test_performances_equal_their_own_rolls(take):
    """But for a frame at either end of a note, where a time rounded to 10 us falls on a tie."""
    roll = read(f"{ASAP / take}.mid,rate=50").values
    with np.load(ASAP / f"{take}_roll50hz.npz") as archive:
        given = archive["roll"].astype(float)
    n = len(roll)
    assert roll[:, :21].sum() + roll[:, 109:].sum() + given[n:].sum() == 0
    differ = roll[:, 21:109] != given[:n]
    assert differ.sum() <= 0.01 * (given > 0).sum()
    near = differ[1:-1] & (given[2:n] == given[: n - 2])
    assert near.sum() <= 3
    with open(ASAP / f"{take}_notes.csv", encoding="ascii") as file:
        notes = list(csv.DictReader(file))
    for note in notes[::7]:
        frame, key = round(float(note["onset_s"]) * 50), int(note["pitch"])
        assert roll[frame - 1 : frame + 2, key].max() == float(note["velocity"])


SCORE = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="3.1"><part-list><score-part id="P1"><part-name>P</part-name>
</score-part></part-list><part id="P1"><measure number="1"><attributes><divisions>2</divisions>
<time><beats>2</beats><beat-type>4</beat-type></time></attributes>
<direction><sound tempo="60"/></direction>
<note><pitch><step>C</step><octave>4</octave></pitch><duration>2</duration></note>
<note><pitch><step>E</step><octave>4</octave></pitch><duration>2</duration></note>
<note><chord/><pitch><step>G</step><octave>4</octave></pitch><duration>2</duration></note>
<barline location="right"><repeat direction="backward"/></barline></measure>
<measure number="2"><direction><sound tempo="120"/></direction>
<note><pitch><step>B</step><octave>3</octave></pitch><duration>4</duration></note></measure>
</part></score-partwise>
"""


def test_a_score_with_its_repeat_and_tempi():
    Path("s.musicxml").write_text(SCORE, "utf-8")
    roll = read("s.musicxml,rate=10").values
    expected = np.zeros((50, 128))
    for start in (0, 20):
        expected[start : start + 10, 60] = 64
        expected[start + 10 : start + 20, [64, 67]] = 64
    expected[40:50, 59] = 64
    assert np.array_equal(roll, expected)


def test_a_score_without_tempo():
    Path("s.xml").write_text(SCORE.replace('<sound tempo="60"/>', "").replace("120", "90"), "utf-8")
    stream = read("s.xml,rate=10")
    assert np.flatnonzero(stream.values[:, 60]).tolist() == [*range(5), *range(10, 15)]
    Path("s.xml").write_text(SCORE.replace("<score-partwise", "<!ENTITY a 'b'><score-partwise"))
    refused("s.xml,format=musicxml", "XML that defines entities")


@needs_data
def test_a_recording_meets_its_score(run):
    """Straight from the files; published for such a pair: 18 ms, nine of ten below 48 ms."""
    wave = MOZART / "mozart_k265_var1_22k_mono.wav"
    score = MOZART / "mozart_k265_var1.musicxml"
    result = run("dtw", wave, score, "--features", "chroma-onset", "--json", "--no-path")
    assert result.code == 0, result.stderr
    knots = np.array(json.loads(result.stdout)["time_maps"][0]["knots"])
    with open(MOZART / "mozart_k265_var1_truth_notes.csv", encoding="ascii") as file:
        notes = list(csv.DictReader(file))
    played = np.array([float(note["perf_onset_s"]) for note in notes])
    beats = np.array([float(note["score_onset_beat"]) for note in notes])
    errors = np.abs(np.interp(beats / 2, knots[:, 0], knots[:, 1]) - played)
    assert np.median(errors) < 0.018
    assert np.quantile(errors, 0.9) < 0.048


def test_a_plain_install_names_the_extra(monkeypatch, run):
    midi("a.mid", [(0, "note_on", on(60)), (480, "note_off", on(60))])
    Path("s.musicxml").write_text(SCORE, "utf-8")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name in ("a.mid", "s.musicxml"):
        with pytest.raises(UsageError, match=r"needs partitura .extra score., which is not"):
            read(name)
        result = run("info", name)
        assert result.code == 2
        assert "hint: pip install 'mmalign[score]'" in result.stderr


def test_scores_that_are_too_long_or_empty():
    midi("a.mid", [(0, "note_on", on(60)), (2**27, "note_off", on(60))])
    with pytest.raises(LimitError, match=r"its roll lasts .* the limit is"):
        read("a.mid,max-bytes=64M")
    midi("b.mid", [(0, "note_off", on(60))])
    refused("b.mid", "holds no notes")
    Path("b.mid").write_bytes(Path("a.mid").read_bytes()[:30])
    refused("b.mid", "is not MIDI, or damaged")


# ---------------------------------------------------------------- labels

SRT = "1\n00:00:00,500 --> 00:00:01,000\nhello\nthere\n\n2\n00:00:01,000 --> 00:00:02,000\nyou\n"
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.2
            text = "so"
        intervals [3]:
            xmin = 1.2
            xmax = 2
            text = "and"
    item [2]:
        class = "TextTier"
        name = "beats"
        xmin = 0
        xmax = 2
        points: size = 2
        points [1]:
            number = 0.3
            mark = "b"
        points [2]:
            number = 1.9
            mark = "b"
"""


@pytest.mark.parametrize("head", ["", "WEBVTT\n\n"])
def test_subtitles(head):
    name = "s.vtt" if head else "s.srt"
    Path(name).write_text(head + (SRT.replace(",", ".") if head else SRT), "utf-8")
    stream = read(f"{name},rate=10")
    assert stream.columns == ("any", "onset")
    assert np.flatnonzero(stream.values[:, 0]).tolist() == list(range(5, 20))
    assert np.flatnonzero(stream.values[:, 1]).tolist() == [5, 10]
    said = read(f"{name},rate=10,columns=hello there+you")
    assert np.flatnonzero(said.values[:, 0]).tolist() == list(range(5, 10))
    assert stream.notes == ("2 cues",)


def test_textgrid_tiers():
    Path("g.TextGrid").write_text(GRID, "utf-8")
    refused("g.TextGrid", "holds 2 streams: say which with key=")
    words = read("g.TextGrid,rate=10,key=words")
    assert words.columns == ("and", "so")
    assert np.flatnonzero(words.values[:, 1]).tolist() == list(range(5, 12))
    assert np.flatnonzero(words.values[:, 0]).tolist() == list(range(12, 20))
    beats = read("g.TextGrid,rate=10,key=beats,columns=onset")
    assert np.flatnonzero(beats.values[:, 0]).tolist() == [3, 19]


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("xmax = 1.2", "xmax = 0.2", "ends before it"),
        ("xmin = 0.5", "xmin = -3", "a label begins at -3 s, before 0 s"),
        ('text = "so"', "text", "a text is missing"),
        ("TextGrid", "PitchTier", "is a 'PitchTier' of Praat"),
    ],
)
def test_textgrid_refusals(old, new, pattern):
    Path("g.TextGrid").write_text(GRID.replace(old, new), "utf-8")
    refused("g.TextGrid,key=words", pattern)


@needs_data
def test_a_labelled_take_guides_another(run):
    """The words of a sentence said twice, aligned by their tiers: ends meet to a frame."""
    import praatio.textgrid

    for take in (1, 2):
        path = PROMO / f"carrots{take}.TextGrid"
        grid = praatio.textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
        stream = read(f"{path},key=words")
        for entry in grid.getTier("words").entries:
            frames = np.flatnonzero(stream.values[:, stream.columns.index(entry.label)])
            assert round(entry.start * 100) in frames
            assert round(entry.end * 100) - 1 in frames
    result = run(
        "dtw", *(PROMO / f"carrots{k}.TextGrid" for k in (1, 2)), "--key", "words", "--json"
    )
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout)["cost"]["total"] == 0


# ---------------------------------------------------------------- damaged files


@pytest.mark.parametrize("name", ["a.mid", "s.musicxml", "s.srt", "g.TextGrid"])
def test_damaged_files_are_read_or_refused(name):
    midi("a.mid", [(0, "note_on", on(60)), (480, "note_off", on(60))] * 5)
    data = {"s.musicxml": SCORE, "s.srt": SRT, "g.TextGrid": GRID}.get(name, "").encode()
    data = data or Path(name).read_bytes()
    rng = np.random.default_rng(4)
    outcomes = set()
    for _ in range(50):
        out = bytearray(data)
        for at in rng.integers(0, len(out), rng.integers(1, 4)):
            out[at : at + 1] = [b"9", b"-", b"<", b"", b"\xff", b"0"][rng.integers(6)]
        Path(name).write_bytes(out if rng.random() < 0.8 else out[: rng.integers(1, len(out))])
        try:
            outcomes.add(type(read(f"{name},rate=10,max-bytes=64M")))
        except MmalignError as error:
            outcomes.add(type(error))
    assert InputError in outcomes


def test_keys_have_names():
    assert (KEYS[21], KEYS[60], KEYS[69], KEYS[108]) == ("A0", "C4", "A4", "C8")
