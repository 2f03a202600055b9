"""Labels and subtitles: nothing but their times changes, and other programs still read them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from mmalign_cli.carry.files import Settings, carry
from mmalign_cli.carry.labels import LABELS
from mmalign_cli.carry.spans import clock_span, number_span
from mmalign_cli.errors import InputError
from mmalign_cli.model import TimeMap
from mmalign_cli.runtime import silent
from mmalign_cli.write.atomic import Outputs

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>one</i>

2
00:00:03,250 --> 00:01:04,000 X1:5
see 00:00:09,000
"""
VTT = "WEBVTT\n\nNOTE at 00:10.000\n\n01:00.000 --> 50:59.500 align:left\n<v Ann>a <01:02.250>b\n"
ASS = """[Script Info]
; 0:00:01.00
PlayResX: 640

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\k50}one, two 0:00:01.00
Comment: 0, 0:00:03.00 ,0:00:04.25,Default,,0,0,0,,three
"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words 1.5"
        xmin = 0
        xmax = 2.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = "say ""2.0"" and
xmin = 7"
        intervals [2]:
            xmin = 1.25
            xmax = 2.5
            text = "3"
    item [2]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 0.75
            mark = "p"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
1
"IntervalTier"
"words"
0
2.5
2
0
1.25
"a 1"
1.25
2.5
""
"""
EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0" VERSION="3.0">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///x/cam.mp4" MIME_TYPE="video/mp4"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///x/b.wav" TIME_ORIGIN="500" MIME_TYPE="audio/x-wav"/>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
        <TIME_SLOT TIME_SLOT_ID="ts2"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2000"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="t" TIER_ID="T"><ANNOTATION_VALUE>1000 &lt;</ANNOTATION_VALUE></TIER>
</ANNOTATION_DOCUMENT>
"""
AUDACITY = "1.000000\t2.000000\tone 1.0\tx\n\\\t100.0\t200.0\n2,5\t3,25\n"
TEXTS = {
    "a.srt": SRT,
    "a.vtt": VTT,
    "a.ass": ASS,
    "a.ssa": ASS,
    "long.TextGrid": LONG,
    "short.TextGrid": SHORT,
    "a.eaf": EAF,
    "a.txt": AUDACITY,
    "a.csv": 'name,start_ms,end_ms\n"a, ""b""",1000,2000\nc,,\n',
}
DECIMALS_S = {"ass": 0.01, "ssa": 0.01, "TextGrid": 1e-12, "txt": 1e-6, "csv": 1e-6}


def shift(seconds):
    return TimeMap("b", "a", np.array([[0.0, seconds]]))


def move(name, time_map, output=None, **options):
    output = output or f"moved-{name}"
    with Outputs(True) as outputs:
        done = carry(outputs, name, output, time_map, Settings(**options), silent)
    return done, Path(output).read_bytes()


def skeleton(text):
    """A text with every number replaced."""
    return re.sub(r"[\d.,]+", "#", text)


def write(name, text, encoding="utf-8"):
    with open(name, "wb") as file:
        file.write(text.encode(encoding))


@pytest.mark.parametrize("name", TEXTS)
def test_only_times_change(folder, name):
    write(name, TEXTS[name])
    _, moved = move(name, shift(10.5))
    moved = moved.decode()
    assert moved != TEXTS[name]
    assert skeleton(moved) == skeleton(TEXTS[name])
    before, after = TEXTS[name].split("\n"), moved.split("\n")
    assert len(before) == len(after)
    changed = [k for k in range(len(before)) if before[k] != after[k]]
    times = {
        "a.srt": [1, 5],
        "a.vtt": [4, 5],
        "a.ass": [10, 11],
        "a.ssa": [10, 11],
        "a.eaf": [7, 9],
        "a.txt": [0, 2],
        "a.csv": [1],
    }
    if name in times:
        assert changed == times[name]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_bytes_that_are_no_times_stay(folder, name, encoding):
    text = TEXTS[name].replace("one", "önë").replace("a, ", "ä, ").replace("\n", "\r\n")
    write(name, text, encoding)
    _, there = move(name, shift(10.5))
    _, back = move(f"moved-{name}", shift(-10.5), output=f"back-{name}")
    if name == "long.TextGrid":
        assert back == text.encode(encoding)
    assert len(skeleton(back.decode(encoding))) == len(skeleton(text))
    assert skeleton(there.decode(encoding)) == skeleton(text)


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_there_and_back(tmp_path_factory, name, seed):
    rng = np.random.default_rng(seed)
    knots = np.cumsum(rng.uniform(0.5, 2, (8, 2)), axis=0)
    time_map = TimeMap("b", "a", knots + np.array([0, 5.0]))
    folder = tmp_path_factory.mktemp("labels")
    write(folder / name, TEXTS[name])
    names = [str(folder / n) for n in (name, f"there-{name}", f"back-{name}")]
    for source, output, way in zip(names, names[1:], (time_map, time_map.inverse()), strict=False):
        with Outputs(False) as outputs:
            carry(outputs, source, output, way, Settings(), silent)
    known = {n: spans_of(n) for n in names}
    there = [span.time_s for span in known[names[1]]]
    before = [span.time_s for span in known[names[0]]]
    least = DECIMALS_S.get(name.partition(".")[2], 0.001)
    assert all(np.argsort(there, kind="stable") == np.argsort(before, kind="stable"))
    np.testing.assert_allclose([s.time_s for s in known[names[2]]], before, atol=4.5 * least + 1e-9)


def spans_of(path):
    from mmalign_cli.carry.files import _spans

    with open(path, "rb") as file:
        return _spans(path, file.read().decode("latin-1"), Settings())


@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass"])
def test_subtitles_open_elsewhere(folder, name):
    write(name, TEXTS[name])
    stretch = TimeMap("b", "a", np.array([[0.0, 1.0], [4000.0, 6001.0]]))
    move(name, stretch)
    before, after = pysubs2.load(name), pysubs2.load(f"moved-{name}")
    assert [skeleton(e.text) for e in after] == [skeleton(e.text) for e in before]
    expected = [1000 + 1.5 * t for e in before for t in (e.start, e.end)]
    np.testing.assert_allclose([t for e in after for t in (e.start, e.end)], expected, atol=5)


@pytest.mark.parametrize("name", ["long.TextGrid", "short.TextGrid"])
def test_textgrids_open_elsewhere_and_still_tile(folder, name):
    write(name, TEXTS[name])
    warp = TimeMap("b", "a", np.array([[0.0, 1 / 3], [1.0, 2 / 3], [3.0, 4.1]]))
    move(name, warp)
    before, after = (
        textgrid.openTextgrid(n, includeEmptyIntervals=True, reportingMode="error")
        for n in (name, f"moved-{name}")
    )
    assert after.tierNames == before.tierNames
    assert (after.minTimestamp, after.maxTimestamp) == pytest.approx(tuple(warp([0, 2.5])))
    for tier in before.tierNames:
        old, new = before.getTier(tier).entries, after.getTier(tier).entries
        assert [e[-1] for e in new] == [e[-1] for e in old]
        np.testing.assert_allclose([e[:-1] for e in new], warp([e[:-1] for e in old]), atol=1e-14)
    words = after.getTier(after.tierNames[0]).entries
    assert [e.end for e in words[:-1]] == [e.start for e in words[1:]]
    assert (words[0].start, words[-1].end) == (after.minTimestamp, after.maxTimestamp)


def test_time_origin_of_the_recording_counts(folder):
    write("a.eaf", EAF)
    double = TimeMap("b", "a", np.array([[0.0, 0.0], [10.0, 20.0]]))
    slots = re.compile(rb'TIME_VALUE="(\d+)"')
    assert slots.findall(move("a.eaf", double, recording="b.wav")[1]) == [b"2500", b"4500"]
    assert slots.findall(move("a.eaf", double, recording="cam.mp4")[1]) == [b"2000", b"4000"]


def test_a_length_is_that_of_what_it_measures(folder):
    write("a.tsv", "onset\tduration\ttrial\n1.0\t2.0\t7\n3.5\tn/a\t8\n")
    warp = TimeMap("b", "a", np.array([[0.0, 10.0], [2.0, 12.0], [4.0, 18.0]]))
    _, moved = move("a.tsv", warp)
    assert moved == b"onset\tduration\ttrial\n11.000000\t4.000000\t7\n16.500000\tn/a\t8\n"


def test_columns_of_times_can_be_named(folder):
    write("a.csv", "von;bis;text\n1,5;2,5;x\n")
    with pytest.raises(InputError, match="no column of its header"):
        move("a.csv", shift(1))
    _, moved = move("a.csv", shift(1), columns=("von", "bis"))
    assert moved == b"von;bis;text\n2,500000;3,500000;x\n"
    with pytest.raises(InputError, match="has no column 'vom'"):
        move("a.csv", shift(1), columns=("vom",))


def test_times_before_zero_become_zero(folder):
    write("a.srt", SRT)
    done, moved = move("a.srt", shift(-2))
    assert b"00:00:00,000 --> 00:00:00,500" in moved
    assert done.warnings == ("a.srt: 1 times lie before 0 s of a, and were set to 0",)
    write("a.txt", AUDACITY)
    done, moved = move("a.txt", shift(-2))
    assert moved.startswith(b"-1.000000\t0.000000\t")
    assert not done.warnings


@pytest.mark.parametrize(
    ("written", "seconds", "expected"),
    [
        ("00:00:01,000", 3661.5, "01:01:01,500"),
        ("59:59.500", 3600.0, "01:00:00.000"),
        ("0:00:01.00", 36000.004, "10:00:00.00"),
        ("00:59.999", 59.9996, "01:00.000"),
        ("1:02", 61.4, "01:01"),
    ],
)
def test_clock_times_are_spelled_alike(written, seconds, expected):
    assert clock_span(written, 0, len(written)).spell(seconds) == expected


@given(st.floats(0, 1e5), st.integers(0, 3))
def test_a_clock_time_says_what_it_was_given(seconds, decimals):
    written = "0:00:00" + ("." + "0" * decimals if decimals else "")
    shown = clock_span(written, 0, len(written)).spell(seconds)
    assert abs(clock_span(shown, 0, len(shown)).time_s - seconds) <= 0.5001 * 10**-decimals


@given(st.floats(-1e5, 1e5))
def test_a_number_says_what_it_was_given(seconds):
    shown = number_span("1", 0, 1).spell(seconds)
    assert "e" not in shown
    assert float(shown) == pytest.approx(seconds, rel=1e-14, abs=1e-17)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,500\nx\n\n2\n00:0x:03 --> 00:00:04,0\n", None),
        ("b.srt", SRT.replace("00:00:03,250 -->", "00:00:03,2,50 -->"), "line 6: is not a time"),
        ("c.srt", "hello\n", "line 1: does not begin as SubRip does"),
        ("d.vtt", "WEBVTT\n\nnothing\n", "holds no times"),
        ("e.ass", ASS.replace("0:00:02.50", "later"), "line 11: 'later' is not a time"),
        ("f.TextGrid", SHORT.replace('"a 1"', ""), "line 16: a text is missing"),
        ("g.TextGrid", SHORT[:-20], "line 14: ends where a text is missing"),
        ("h.TextGrid", LONG.replace("TextGrid", "PitchTier", 1), "not a TextGrid"),
        ("i.eaf", EAF.replace('"2000"', '"2.5"'), "line 10: time slot '2.5' is not a whole"),
        ("j.eaf", EAF.replace("milliseconds", "PAL-frames"), "time units 'PAL-frames'"),
        ("k.txt", AUDACITY + "x\t1\n", "line 4: is not a label"),
        ("l.csv", "time,x\n1.0,a\nsoon,b\n", "line 3: 'soon' is not a time"),
        ("m.csv", "a,b\n1,2\n", "no column of its header is one of times"),
        ("n.xyz", "?", "unknown kind of file"),
        ("o.srt", "\0\0", "is not text"),
    ],
)
def test_broken_files_are_named_with_the_line(folder, name, text, what):
    write(name, text)
    if what is None:  # a line of text, for all that one can tell
        assert move(name, shift(1))[0].count == 2
        return
    with pytest.raises(InputError, match=re.escape(what)):
        move(name, shift(1))
    assert [p.name for p in folder.iterdir()] == [name]


def test_every_format_has_an_example():
    endings = {name.partition(".")[2].lower() for name in TEXTS}
    assert all(f.extensions[0][1:] in endings for f in LABELS.values())
