"""Recordings of the Lab Streaming Layer, written here by the format's own description."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.errors import InputError, MmalignError
from mmalign_cli.streams import extras
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import parse_spec

RNG = np.random.default_rng(8)
VALUES = RNG.normal(size=(50, 3)).astype(np.float32)
TIMES = 1000 + np.arange(50) / 100


@pytest.fixture(autouse=True)
def _in_an_empty_folder(folder):
    pass


def read(argument):
    return load(parse_spec(argument), "s")


def chunk(tag, content):
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def header(number, name, kind, rate, labels):
    channels = "".join(f"<channel><label>{label}</label></channel>" for label in labels)
    xml = (
        f"<info><name>{name}</name><type>{kind}</type><channel_count>{len(labels)}</channel_count>"
        f"<nominal_srate>{rate}</nominal_srate><channel_format>float32</channel_format>"
        f"<desc><channels>{channels}</channels></desc></info>"
    )
    return chunk(2, struct.pack("<I", number) + xml.encode())


def samples(number, times, values):
    rows = (
        b"\x08" + struct.pack("<d", t) + v.tobytes() for t, v in zip(times, values, strict=True)
    )
    head = struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(times))
    return chunk(3, head + b"".join(rows))


def recording():
    """Two streams, the clock of the first 990 s ahead of the recorder's."""
    parts = [b"XDF:", chunk(1, b"<info><version>1.0</version></info>")]
    parts += [header(1, "Tobii", "Gaze", 100, "xyz"), header(2, "Acc", "Motion", 0, "ab")]
    parts += [samples(1, TIMES, VALUES), samples(2, TIMES[::5] - 990, VALUES[::5, :2].copy())]
    parts += [chunk(4, struct.pack("<Idd", 1, 1000 + k / 10, -990.0)) for k in range(8)]
    return b"".join(parts)


def test_a_stream_by_name_on_the_recorders_clock(run):
    Path("r.xdf").write_bytes(recording())
    with pytest.raises(InputError, match="holds 2 streams: say which with key="):
        read("r.xdf")
    gaze, acc = read("r.xdf,key=Tobii"), read("r.xdf,key=Acc")
    assert np.array_equal(gaze.values, VALUES)
    assert gaze.columns == ("x", "y", "z")
    assert float(gaze.rate) == pytest.approx(100)
    np.testing.assert_allclose(gaze.times, TIMES - 990, atol=1e-6)
    np.testing.assert_allclose(acc.times, gaze.times[::5], atol=1e-6)
    assert gaze.notes[0] == "stream Tobii of Tobii, Acc; 3 channels of Gaze, 100 Hz by its own word"
    result = run("info", "r.xdf", "--key", "Tobii")
    assert result.code == 0
    assert result.stderr == ""


def test_a_recording_cut_short():
    Path("r.xdf").write_bytes(recording()[:1400])
    with pytest.raises(InputError, match="damaged or truncated"):
        read("r.xdf,key=Tobii")


def test_a_plain_install_names_the_extra(monkeypatch, run):
    Path("r.xdf").write_bytes(recording())
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    result = run("info", "r.xdf")
    assert result.code == 2
    assert "needs pyxdf (extra xdf), which is not installed" in result.stderr
    assert "hint: pip install 'mmalign[xdf]'" in result.stderr


def test_damaged_recordings_are_read_or_refused(capfd):
    rng = np.random.default_rng(6)
    outcomes = set()
    for _ in range(50):
        out = bytearray(recording())
        for at in rng.integers(0, len(out), rng.integers(1, 4)):
            out[at] = rng.integers(0, 256)
        Path("r.xdf").write_bytes(out if rng.random() < 0.8 else out[: rng.integers(1, len(out))])
        try:
            outcomes.add(type(read("r.xdf,key=Tobii,max-bytes=64M")))
        except MmalignError as error:
            outcomes.add(type(error))
    assert InputError in outcomes
    assert capfd.readouterr().err == ""
