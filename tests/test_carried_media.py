"""Containers carried to another clock: what is shown when, and what is heard."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from test_media import RATE, gray_pictures, noise, read, write

from mmalign_cli.model import TimeMap

FFPROBE = pytest.mark.skipif(
    shutil.which("ffprobe") is None or shutil.which("ffmpeg") is None, reason="needs ffmpeg"
)
MAP = "clip,ref\n0,0.5\n0.8,1.2\n2,2.7\n"
BACK = "clip,ref\n0,-0.5\n2,1.5\n"
UNEVEN = np.cumsum([0, 0.04, 0.04, 0.1, 0.04, 0.2, 0.04, 0.04, 0.3, 0.04, 0.04, 0.12, 0.5])


def mapped(text, times):
    knots = np.array([row.split(",") for row in text.split()[1:]], dtype=float)
    return TimeMap("clip", "ref", knots)(times)


def shown(path):
    """When each picture is shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.fixture
def clip(folder):
    """Pictures at uneven times, and sound that begins after a quarter second."""
    (folder / "m.csv").write_text(MAP)
    (folder / "back.csv").write_text(BACK)
    pictures = gray_pictures(len(UNEVEN))
    sounds = [(noise(1.6), 0.25)]
    return write(folder / "clip.mkv", sounds, pictures, UNEVEN, "flac", "mpeg4", bf="0", g="4")


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_pictures_are_shown_when_the_map_says(run, clip, name):
    done = run("apply", "--map", "m.csv", clip, "-o", name, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["count"] == len(UNEVEN)
    expected = mapped(MAP, np.array(shown(clip)))
    np.testing.assert_allclose(shown(name), expected, atol=1e-3)
    before, after = (read(f"{p},features=gray").values for p in (clip, name))
    assert np.array_equal(before, after)  # copied: not coded once more


def test_sound_of_a_container_is_that_of_a_file(run, folder, clip):
    """Rendered as the same samples of a sound file are, silence before its begin included."""
    samples = np.concatenate([np.zeros(round(0.25 * RATE), np.int16), noise(1.6)])
    soundfile.write("plain.wav", samples, RATE)
    for source, output in ((clip, "a.wav"), ("plain.wav", "b.wav")):
        done = run("apply", "--map", "m.csv", "--resample", source, "-o", output)
        assert done.code == 0, done.stderr
    a, b = (soundfile.read(name)[0] for name in ("a.wav", "b.wav"))
    assert len(a) == len(b)
    np.testing.assert_allclose(a, b, atol=2e-4)
    assert run("apply", "--map", "m.csv", "--resample", clip, "-o", "c.mkv").code == 0
    c = read(folder / "c.mkv").values[:, 0]
    np.testing.assert_allclose(c[: len(b)], b[: len(c)], atol=2e-4)


def test_what_lies_before_second_0(run, clip):
    """An mp4 keeps and hides it; a mkv begins with the next picture that stands by itself."""
    at = mapped(BACK, np.array(shown(clip)))
    for name, is_kept in (("out.mp4", at > 0), ("out.mkv", at >= at[4::4][at[4::4] > 0][0] - 1e-6)):
        done = run("apply", "--map", "back.csv", clip, "-o", name)
        assert done.code == 0, done.stderr
        found = [t for t in shown(name) if t > 0]
        np.testing.assert_allclose(found, at[is_kept], atol=1e-3)
        assert ("are left out: write .mp4" in done.stderr) == name.endswith("mkv")


def test_sound_alone_stays_a_container(run, folder):
    write(folder / "a.m4a", [(noise(1.0), 0.0), (noise(0.5, 1), 0.0)], codec="alac")
    (folder / "m.csv").write_text("a,ref\n0,1\n")
    done = run("apply", "--map", "m.csv", "a.m4a", "-o", "b.m4a", "--json")
    assert done.code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["how"], said["count"]) == ("encoded", 2 * RATE)
    assert any("1 further tracks (audio) left out" in w for w in said["warnings"])
    heard = read(folder / "b.m4a").values[:, 0]
    assert np.abs(heard[: round(0.9 * RATE)]).max() < 1e-3
    before = noise(1.0) / 2**15
    assert np.corrcoef(heard[RATE : 2 * RATE], before)[0, 1] > 0.8  # noise, coded anew


@pytest.mark.parametrize(
    ("text", "name", "code", "message", "hint"),
    [
        ("clip,ref\n0,-9\n", "o.mp4", 3, "ends at -7.15 s of ref: nothing of it is left", ""),
        ("clip,ref\n0,-9\n", "o.wav", 3, "ends at -7.15 s of ref: nothing of it is left", ""),
        ("clip,ref\n0,1.7e9\n", "o.mkv", 3, "would begin at 1.7e+09 s of ref", "near 0 s"),
        ("clip,ref\n0,1.7e9\n", "o.wav", 3, "would begin at 1.7e+09 s of ref", "near 0 s"),
        (MAP, "o.webm", 5, "o.webm: webm holds no pictures of code mpeg4", "write .mkv"),
        (MAP, "o.csv", 2, "o.csv: names no container that is written here", "sound alone: .wav"),
    ],
)
def test_refusals(run, folder, clip, text, name, code, message, hint):
    (folder / "m.csv").write_text(text)
    done = run("apply", "--map", "m.csv", clip, "-o", name)
    assert (done.code, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr
    assert hint in done.stderr
    assert done.stderr.count("error:") == 1
    assert not [p for p in folder.iterdir() if p.name.startswith(("o.", ".mmalign"))]


def test_times_that_are_not_there(run, folder):
    """An AVI says when its pictures are decoded; its sound can be carried."""
    write(folder / "a.avi", [(noise(1.0), 0.0)], gray_pictures(20), np.arange(20) / 25)
    (folder / "m.csv").write_text("a,ref\n0,1\n")
    done = run("apply", "--map", "m.csv", "a.avi", "-o", "b.mp4")
    assert done.code == 3
    assert "does not tell when its pictures are shown" in done.stderr
    assert "ffmpeg -i a.avi a.mkv" in done.stderr
    assert run("apply", "--map", "m.csv", "a.avi", "-o", "b.wav").code == 0
    assert len(soundfile.read("b.wav")[0]) == 2 * RATE


def test_pictures_of_a_code_that_nobody_knows(run, folder, clip):
    """As a damaged header names it: they are not decoded, but some muxers take no such packets."""
    data = clip.read_bytes()
    at = data.index(b"V_MPEG4/ISO/ASP")
    (folder / "odd.mkv").write_bytes(data[:at] + b"V_MPEG4/ISO/AXX" + data[at + 15 :])
    done = run("apply", "--map", "m.csv", "odd.mkv", "-o", "new.mp4")
    assert done.code == 5
    assert "holds no pictures of code that is not known here" in done.stderr


def test_a_damaged_container_leaves_nothing(run, folder, clip):
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    done = run("apply", "--map", "m.csv", clip, "-o", "out.mp4")
    assert done.code == 3
    assert done.stderr.count("error:") == 1
    assert not (folder / "out.mp4").exists()


def test_sound_that_begins_beyond_reason(run, folder):
    """A damaged clock would make hours of silence."""
    write(folder / "a.mkv", [(noise(0.5), 700.0)], codec="flac")
    (folder / "m.csv").write_text("a,ref\n0,1\n")
    done = run("apply", "--map", "m.csv", "a.mkv", "-o", "b.wav")
    assert done.code == 3
    assert "its sound begins at 700 s of its clock" in done.stderr


@FFPROBE
def test_pictures_stored_out_of_order(run, folder):
    """B-frames, from each container, as ffprobe sees them; the clock starts with the clip."""
    (folder / "m.csv").write_text(MAP)
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2"]
    sound = ["-f", "lavfi", "-i", "sine=duration=2"]
    coded = ["-c:v", "libx264", "-bf", "2", "-g", "12", "-c:a", "aac"]
    for name in ("clip.mp4", "clip.mkv", "clip.ts"):
        command = ["ffmpeg", "-v", "error", *source, *sound, *coded, "-shortest", name]
        subprocess.run(command, check=True)
        done = run("apply", "--map", "m.csv", name, "-o", "out.mp4", "--force")
        assert done.code == 0, done.stderr
        before, after = (probed(n) for n in (name, "out.mp4"))
        origin = before[0] if name == "clip.ts" else 0.0
        expected = mapped(MAP, before - origin)
        tolerance = 0.03 if name == "clip.ts" else 2e-3  # in a ts the sound may begin first
        np.testing.assert_allclose(after, expected, atol=tolerance)


def probed(name):
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
               "frame=best_effort_timestamp_time", "-of", "json", name]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    frames = json.loads(done.stdout)["frames"]
    return np.array([float(Fraction(f["best_effort_timestamp_time"])) for f in frames])
