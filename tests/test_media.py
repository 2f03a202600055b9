"""Containers of sound and pictures: what is read is what was written, at the times it has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from test_faults import refused

from mmalign_cli.errors import InputError, MmalignError
from mmalign_cli.features.compute import compute
from mmalign_cli.features.registry import FEATURES
from mmalign_cli.streams import container, extras
from mmalign_cli.streams.load import load
from mmalign_cli.streams.media import PICTURE_SIDES
from mmalign_cli.streams.spec import parse_spec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import accuracy
import mutations
import seeds

RATE = 44100
HEIGHT, WIDTH = 48, 64
TICKS = 1000
FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
B_FRAMES = {"bf": "2", "b_strategy": "0", "qmin": "1", "qmax": "2"}
UNEVEN = np.cumsum([0, *([0.04, 0.03, 0.1, 0.05, 0.021] * 8)])


def noise(seconds=2.0, seed=0, rate=RATE):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=round(seconds * rate)) * 3000).astype(np.int16)


def gray_pictures(n, seed=0):
    """Pictures that grow brighter: whatever is lost in coding, their order shows."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(30, 220, n)[:, np.newaxis, np.newaxis]
    return np.clip(ramp + rng.normal(size=(n, HEIGHT, WIDTH)) * 5, 0, 255).astype(np.uint8)


def sound_frames(samples, start_s, rate):
    """Cut samples into frames of 1024 with their times."""
    for at in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, at : at + 1024], "s16", "mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = at + round(start_s * rate)
        yield frame


def picture_frames(pictures, times):
    for picture, seconds in zip(pictures, times, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.time_base, frame.pts = Fraction(1, TICKS), round(seconds * TICKS)
        yield frame


def write(path, sounds=(), pictures=None, times=None, codec="pcm_s16le", video="mpeg4", rate=RATE,
          **options):  # fmt: skip
    """Write tracks of sound, (samples, start) each, beside pictures at their times."""
    with av.open(str(path), "w", format={"m4a": "ipod"}.get(path.suffix[1:])) as out:
        work = []
        if pictures is not None:
            stream = out.add_stream(video, rate=25, options=options)
            stream.width, stream.height = pictures.shape[2], pictures.shape[1]
            stream.pix_fmt = "gray" if video == "ffv1" else "yuv420p"
            stream.codec_context.time_base = Fraction(1, 25 if video == "mpeg2video" else 1000)
            work.append((stream, picture_frames(pictures, times)))
        for samples, start_s in sounds:
            stream = out.add_stream(codec, rate=rate, layout="mono")
            work.append((stream, sound_frames(samples, start_s, rate)))
        for stream, frames in work:
            for frame in frames:
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def read(argument):
    return load(parse_spec(str(argument)), "x")


@pytest.mark.parametrize(
    ("name", "codec"), [("x.mov", "pcm_s16le"), ("x.mkv", "flac"), ("x.m4a", "alac"), ("x.avi", "")]
)
def test_sound_is_what_was_written(folder, name, codec):
    samples = noise()
    stream = read(write(folder / name, [(samples, 0)], codec=codec or "pcm_s16le"))
    assert np.array_equal(stream.values[:, 0], samples / np.float32(32768))
    assert (stream.kind, stream.rate, stream.start_s) == ("audio", RATE, 0)


def test_sound_starts_where_the_container_says(folder):
    """A track that begins later, by an edit list in mov and mp4, by its times in mkv."""
    samples, pictures = noise(), gray_pictures(50)
    for name, codec, within in (("x.mov", "pcm_s16le", 1e-9), ("x.mkv", "flac", 5e-4)):
        path = write(folder / name, [(samples, 0.5)], pictures, np.arange(50) / 25, codec=codec)
        stream = read(path)
        assert abs(stream.start_s - 0.5) <= within
        assert np.array_equal(stream.values[:, 0], samples / np.float32(32768))
        assert read(f"{path},features=motion").times[0] == 0


def test_seconds_to_keep(folder):
    samples = noise()
    path = write(folder / "x.mov", [(samples, 0.5)], gray_pictures(50), np.arange(50) / 25)
    cut = read(f"{path},start=1,end=1.5")
    assert (cut.start_s, cut.n_frames) == (1, RATE // 2 + 1)
    assert np.array_equal(cut.values[:, 0] * 32768, samples[RATE // 2 : RATE + 1])
    pictures = read(f"{path},features=gray,start=1,end=1.2")
    assert np.allclose(pictures.times, [1, 1.04, 1.08, 1.12, 1.16, 1.2])
    for keys in ("start=9", "features=motion,start=9"):
        with pytest.raises(InputError, match=r"nothing between|no picture there"):
            read(f"{path},{keys}")


@FFMPEG
@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.mp4", "aac"), ("x.mkv", "libopus"), ("x.mpg", "mp2"), ("x.avi", "mp3"), ("x.aac", "aac")],
)
def test_sound_is_what_ffmpeg_decodes(folder, name, codec):
    with_pictures = {} if name == "x.aac" else {"pictures": gray_pictures(50)}
    path = write(folder / name, [(noise(), 0)], times=np.arange(50) / 25, codec=codec,
                 rate=48000 if codec == "libopus" else RATE,
                 video="mpeg2video" if name == "x.mpg" else "mpeg4", **with_pictures)  # fmt: skip
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    theirs = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<f4")
    ours = read(path).values[:, 0]
    unpadded = len(noise()) if codec == "aac" else len(theirs)  # FFmpeg 8 leaves out its padding
    assert len(ours) in (len(theirs), unpadded)
    assert np.abs(ours - theirs[: len(ours)]).max() < 1e-6


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_uneven_pictures_keep_their_times(folder, name):
    """Stored out of order, as B-frames are, and at no rate."""
    pictures = gray_pictures(len(UNEVEN))
    path = write(folder / name, pictures=pictures, times=UNEVEN, **B_FRAMES)
    with av.open(str(path)) as stored:
        order = [p.pts for p in stored.demux(video=0) if p.pts is not None]
    assert order != sorted(order)
    stream = read(f"{path},features=motion")
    assert np.abs(stream.times - UNEVEN).max() < 1e-3
    assert stream.rate is None
    means = stream.values.mean(axis=1)
    assert np.abs(means - pictures.mean(axis=(1, 2))).max() < 4


def test_pictures_of_an_avi_follow_one_another(folder):
    """It has decoding times alone: those of B-frames must not fold back."""
    pictures = gray_pictures(40)
    path = write(folder / "x.avi", pictures=pictures, times=np.arange(40) / 25, **B_FRAMES)
    stream = read(f"{path},features=gray")
    assert stream.n_frames == 40
    assert (np.diff(stream.values.mean(axis=1)) > 0).all()
    assert np.allclose(np.diff(stream.times), 0.04)


def test_a_transport_stream_starts_at_second_0(run, folder):
    """Its clock starts anywhere: its first track is where time begins."""
    write(folder / "x.ts", [(noise(2.0), 0.0)], gray_pictures(50), np.arange(50) / 25, "mp2",
          "mpeg2video")  # fmt: skip
    assert run("info", "x.ts").code == 0
    pictures, sound = read("x.ts,features=gray"), read("x.ts")
    assert min(pictures.start_s, sound.start_s) == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(np.diff(pictures.times), 1 / 25, atol=1e-3)
    assert sound.end_s == pytest.approx(2.0, abs=0.1)


def test_gray_is_the_mean_of_the_pixels(folder):
    pictures = gray_pictures(5)
    path = write(folder / "x.mkv", pictures=pictures, times=np.arange(5) / 25, video="ffv1")
    spec = parse_spec(f"{path},features=gray")
    ours = compute(load(spec, "x"), spec.options()).values
    np.savez("x.npz", values=pictures, rate=25)
    spec = parse_spec("x.npz,features=gray")
    theirs = compute(load(spec, "x"), spec.options()).values
    assert np.allclose(ours, theirs, atol=1e-3)


def test_features_of_pictures_are_known():
    assert set(PICTURE_SIDES) == {name for name, f in FEATURES.items() if "images" in f.takes}


def test_two_tracks_and_what_info_says(run, folder):
    tracks = [noise(seed=1), noise(1.0, seed=2)]
    path = write(folder / "x.mkv", [(s, 0) for s in tracks], gray_pictures(50),
                 np.arange(50) / 25, codec="flac")  # fmt: skip
    first, second = read(path), read("x.mkv,track=1")
    assert [s.n_frames for s in (first, second)] == [len(s) for s in tracks]
    assert np.array_equal(second.values[:, 0], tracks[1] / np.float32(32768))
    assert first.warnings == (f"{path}: 2 tracks of sound, the first is taken (track=)",)
    assert second.warnings == ()
    done = run("info", "x.mkv,track=1", "--json")
    contents = json.loads(done.stdout)["contents"]
    assert [c["track"] for c in contents] == ["video 0", "audio 0", "audio 1"]
    assert (contents[0]["width"], contents[0]["height"], contents[0]["mean_rate"]) == (64, 48, 25)
    assert (contents[2]["codec"], contents[2]["rate"], contents[2]["channels"]) == ("flac", RATE, 1)
    assert "contents     audio 1: codec flac, rate 44100" in run("info", "x.mkv,track=1").stdout
    refused(run, folder, ["info", "x.mkv,track=2"], 3,
            "x.mkv: no track 2 of sound: it has 2, the first is 0")  # fmt: skip
    refused(run, folder, ["info", "x.mkv,track=one"], 2, "track: 'one' is not a track number .*")


def test_a_gap_is_silent(folder):
    samples = noise(1.0)
    path = folder / "x.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start_s in (0, 2.0):
            for frame in sound_frames(samples, start_s, RATE):
                out.mux(stream.encode(frame))
    sound = read(path)
    values = sound.values[:, 0] * 32768
    assert np.array_equal(values[:RATE], samples)
    assert abs(len(values) - 3 * RATE) < RATE / 1000
    assert not values[RATE : 2 * RATE - 50].any()
    assert "a gap of 1 s at 1.00 s: taken as silence" in sound.warnings[0]


def test_a_clock_that_jumps_is_refused(folder):
    with av.open("x.mkv", "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start_s in (0, 7200):
            for frame in sound_frames(noise(0.5), start_s, RATE):
                out.mux(stream.encode(frame))
    with pytest.raises(InputError, match=r"the clock of its sound jumps by 7199\.5 s at 0\.50 s"):
        read("x.mkv")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small mp4 with its index in front, where a cut end leaves it."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write(path, [(noise(), 0)], gray_pictures(50), np.arange(50) / 25, codec="aac")


def test_cut_short(run, folder, clip):
    whole = write(folder / "whole.mkv", [(noise(), 0)], codec="flac")
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    pattern = r"cut\.mkv: (cut short: ends after .*|damaged after .*)"
    refused(run, folder, ["info", "cut.mkv"], 3, pattern, "--allow-truncated")
    part = read("cut.mkv,allow-truncated=true")
    assert 0.7 * RATE < part.n_frames < 1.3 * RATE
    assert len(part.warnings) == 1
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:4000])
    refused(run, folder, ["info", "cut.mp4"], 3, r"cut\.mp4: cannot be decoded: .*")


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("x.mp4", b"", "file is empty"),
        ("x.mp4", b"\0\0\0\x18ftypmp42" + bytes(100), "cannot be decoded: .*"),
        ("x.webm", b"\x1aE\xdf\xa3" + bytes(100), "cannot be decoded: .*"),
        ("x.mpg", b"\0\0\1\xba" + bytes(100), "(cannot be decoded: .*|holds no sound)"),
        ("x.avi", b"RIFF\0\0\0\0AVI LIST", "cannot be decoded: .*"),
        ("x.aac", b"\xff\xf1" + bytes(100), "(cannot be decoded: .*|no audio frames)"),
        ("x.mkv", b"\0\0\0\x18ftypmp42", "content is MP4, name says Matroska"),
        ("x.mp4", b"1,2\n3,4\n", "content is text, name says MP4"),
        ("x.mp4,format=mp4", b"#EXTM3U\n#EXTINF:1,\nother.ts\n", "cannot be decoded: .*"),
        ("x.mp4,format=mp4", b"ffconcat version 1.0\nfile other.wav\n", "cannot be decoded: .*"),
    ],
)
def test_no_container(run, folder, name, content, pattern):
    path = name.partition(",")[0]
    (folder / path).write_bytes(content)
    soundfile.write("other.wav", np.ones(8000), 8000)
    refused(run, folder, ["info", name], 3, f"{path}: {pattern}")


def test_a_later_picture_that_promises_any_size(run, folder):
    """As a damaged file does: the decoder's threads would make room for 150 million pixels."""
    pictures = gray_pictures(60)
    whole = write(folder / "x.webm", pictures=pictures, times=np.arange(60) / 25, video="vp8")
    size = (pictures.shape[2]).to_bytes(2, "little") + (pictures.shape[1]).to_bytes(2, "little")
    begins = b"\x9d\x01\x2a" + size  # of a picture that needs no other
    first, *others = whole.read_bytes().split(begins)
    assert others[1:], "only the first picture needs no other"
    huge = b"\x9d\x01\x2a" + 2 * (12336).to_bytes(2, "little")
    whole.write_bytes(first + begins + others[0] + huge + begins.join(others[1:]))
    refused(run, folder, ["info", "x.webm,features=motion"], 3, r"x\.webm: damaged after .*")


def test_lacks_what_is_asked_for(run, folder):
    write(folder / "silent.mkv", pictures=gray_pictures(10), times=np.arange(10) / 25)
    write(folder / "blind.mka", [(noise(0.5), 0)])
    refused(run, folder, ["info", "silent.mkv"], 3, "silent.mkv: holds no sound", "features=motion")
    refused(run, folder, ["info", "blind.mka,features=motion"], 3, "blind.mka: holds no pictures")
    refused(run, folder, ["info", "blind.mka,channel=1"], 3, "blind.mka: no channel 1: .*")
    for name in ("silent.mkv,features=gray", "blind.mka"):
        path = name.partition(",")[0]
        refused(run, folder, ["info", f"{name},max-bytes=10k"], 4, f"{path}: its .* the limit .*")


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_without_the_extra(run, folder, monkeypatch, extra):
    """Each format names the extra that it needs, and pip's command."""
    module, package = extras.EXTRAS[extra]
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name == module else find_spec(name)
    )
    for name, head, needs in (
        ("x.mp4", b"\0\0\0\x18ftypmp42", "video"),
        ("x.aac", b"\xff\xf1", "video"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("x.mat", b"MATLAB 7.3 MAT-file", "hdf5"),
        ("x.parquet", b"PAR1", "parquet"),
        ("x.feather", b"ARROW1\0\0", "parquet"),
    ):
        if needs == extra:
            (folder / name).write_bytes(head + bytes(50))
            pattern = rf"{name}: needs {package} \(extra {extra}\), which is not installed"
            refused(run, folder, ["info", name], 2, pattern, f"pip install 'mmalign[{extra}]'")


def test_an_extra_that_is_too_old(run, folder, monkeypatch):
    """Below the version that this package asks for in its own metadata."""
    (folder / "x.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(50))
    least = dict(extras._needs("video"))["av"]
    old = rf"needs av {least} or later \(extra video\), 16.9.1 is installed"
    for found, code, pattern in (("16.9.1", 2, old), (least, 3, ".*"), ("100.0", 3, ".*")):
        monkeypatch.setattr(extras, "_installed", lambda name, found=found: found)
        hint = "--upgrade 'mmalign[video]'" if code == 2 else ""
        refused(run, folder, ["info", "x.mp4"], code, f"x.mp4: {pattern}", hint)


def test_sync_of_a_clip_and_a_recording(run, folder):
    samples = noise(4.0)
    write(folder / "clip.mov", [(samples, 0.5)], gray_pictures(100), np.arange(100) / 25)
    soundfile.write("rec.wav", samples[RATE // 2 :], RATE)
    done = run("sync", "clip.mov", "rec.wav", "--json", "-o", "fixed.wav")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["parameters"]["offset"] == pytest.approx(1.0, abs=1e-4)
    fixed, _ = soundfile.read("fixed.wav", dtype="int16")
    assert abs(len(fixed) - 4.5 * RATE) < 10
    inside = slice(RATE + 1000, 4 * RATE)
    there = np.correlate(fixed[inside].astype(float), samples[RATE // 2 :][1000 : 3 * RATE])
    assert len(there) == 1
    power = np.sum(samples[RATE // 2 :][1000 : 3 * RATE].astype(float) ** 2)
    assert there[0] > 0.95 * power
    assert run("sync", "rec.wav", "clip.mov", "--check").code == 1


def test_sync_writes_a_clip_as_a_clip(run, folder):
    samples = noise(4.0)
    write(folder / "clip.mov", [(samples, 0.5)], gray_pictures(100), np.arange(100) / 25)
    soundfile.write("rec.wav", np.concatenate([noise(0.5, seed=1), samples]), RATE)
    before = read("clip.mov,features=gray")
    done = run("sync", "rec.wav", "clip.mov", "-o", "same.mp4")
    assert done.code == 0, done.stderr
    assert run("sync", "rec.wav", "same.mp4", "--check", "--tolerance", "1ms").code == 0
    soundfile.write("late.wav", np.concatenate([noise(1.0, seed=1), samples]), RATE)
    for name in ("fixed.mp4", "fixed.wav"):
        done = run("sync", "late.wav", "clip.mov", "-o", name)
        assert done.code == 0, done.stderr
        assert run("sync", "late.wav", name, "--check", "--tolerance", "1ms").code == 0
    after = read("fixed.mp4,features=gray")
    np.testing.assert_allclose(after.times, before.times + 0.5, atol=1.1e-3)
    assert np.array_equal(after.values, before.values)
    assert soundfile.info("fixed.wav").frames == 5 * RATE
    for option in ("--pad", "--trim"):
        refused(run, folder, ["sync", "late.wav", "clip.mov", "-o", "new.mp4", option], 2,
                f"{option}: is for sound files, not for new.mp4")  # fmt: skip
    refused(run, folder, ["sync", "late.wav", "clip.mov", "-o", "new.csv"], 2,
            "new.csv: names no container .*", ".mp4")  # fmt: skip
    refused(run, folder, ["sync", "late.wav", "rec.wav", "-o", "new.mp4"], 2,
            "new.mp4: names no kind of sound file .*", ".wav")  # fmt: skip


@pytest.mark.skipif(not accuracy.DATA.is_dir(), reason="the recordings are not at hand")
def test_talking_faces(run):
    clip = accuracy.DATA / "av_grid" / "bbaf2n.mpg"
    recording = accuracy.DATA / "av_grid" / "bbaf2n.wav"
    done = run("sync", clip, recording, "--check")
    assert done.code == 0, done.stderr
    done = run("ctw", f"{clip},features=motion", recording, "--max-iter", "3", "--json")
    assert done.code == 0, done.stderr
    kinds = [(s["kind"], s["features"]) for s in json.loads(done.stdout)["streams"]]
    assert kinds == [("images", "motion"), ("audio", "logmel")]
    assert "same file" not in run("ctw", clip, f"{clip},features=motion", "--dry-run").stderr


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.mpg", "x.avi"])
def test_mutations(folder, name):
    """An answer, or one line that says why there is none."""
    path = folder / name
    seeds.write_media(path)
    whole, results = path.read_bytes(), []
    for k in range(14):
        path.write_bytes(mutations.mutate(whole, np.random.default_rng(k)))
        try:
            results.append(read(f"{path},features={'motion' if k % 2 else 'raw'}").n_frames > 0)
        except MmalignError as error:
            results.append(str(error).count("\n") == 0)
    assert len(results) == 14
    assert all(results)


def test_messages_are_one_line():
    assert container.reason(ValueError("a\nb")) == "a"
    assert container.reason(MemoryError()) == "MemoryError"
