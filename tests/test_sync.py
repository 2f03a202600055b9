"""`mmalign sync` as a user types it: noise bursts heard by two devices, and what can be wrong."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
import scipy.signal
import soundfile
from test_faults import contents, refused

from mmalign_cli.model import TimeMap
from mmalign_cli.write.ffmpeg import ffmpeg_command, stretches

RATE = 8000
SECONDS = 40


@pytest.fixture(scope="module")
def event():
    """Bursts of noise, 60 s at 8 kHz."""
    return bursts(60, 1)


def bursts(seconds, seed):
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0.02, 1, 5 * seconds) ** 2, RATE // 5)
    return 0.1 * loud * rng.standard_normal(len(loud))


def heard(event, start=0.0, seconds=SECONDS, seed=0, noise=0.01):
    """What a device takes down that starts some seconds into an event."""
    rng = np.random.default_rng([7, seed])
    sound = event[round(start * RATE) :][: round(seconds * RATE)]
    return sound + noise * rng.standard_normal(len(sound))


@pytest.fixture
def pair(folder, event):
    """``camera.wav``, and ``recorder.wav`` that starts 12.5 s later, in stereo, 24 bit."""
    soundfile.write("camera.wav", heard(event), RATE)
    recorder = heard(event, 12.5, seed=1)
    soundfile.write("recorder.wav", np.column_stack([recorder, recorder]), RATE, subtype="PCM_24")
    return folder


def found(run, *arguments):
    done = run("sync", *arguments, "--json")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def test_offset_sentence_and_document(run, pair, schema):
    done = run("sync", "camera.wav", "recorder.wav", "--alignment", "sync.json")
    assert done.code == 0, done.stderr
    first, why = done.stdout.splitlines()
    assert first.startswith("recorder starts 12.500")
    assert first.endswith(" ms after camera")
    assert why.startswith("100% of ")
    document = json.loads((pair / "sync.json").read_text())
    schema.validate(document)
    assert document == found(run, "camera.wav", "recorder.wav")
    assert document["method"] == "sync"
    assert document["parameters"]["offset"] == pytest.approx(12.5, abs=1e-5)
    assert document["confidence"]["supported"]
    [knots] = [m["knots"] for m in document["time_maps"]]
    np.testing.assert_allclose(knots, [[0, 12.5], [40, 52.5]], atol=1e-5)
    assert run("info", "sync.json").code == 0


def test_the_fixed_file(run, pair):
    assert run("sync", "camera.wav", "recorder.wav", "-o", "fixed.wav").code == 0
    info, reference = soundfile.info("fixed.wav"), soundfile.info("camera.wav")
    assert (info.frames, info.channels, info.subtype) == (reference.frames, 2, "PCM_24")
    fixed, camera = (
        soundfile.read(f"{n}.wav", always_2d=True)[0][:, 0] for n in ("fixed", "camera")
    )
    assert not fixed[: round(12.4 * RATE)].any()
    inside = slice(round(12.6 * RATE), None)
    assert np.corrcoef(fixed[inside], camera[inside])[0, 1] > 0.9
    assert run("sync", "camera.wav", "fixed.wav", "--check", "--tolerance", "1ms").code == 0


@pytest.mark.parametrize(
    ("options", "seconds"),
    [((), 40), (("--pad",), 52.5), (("--trim",), 40), (("--pad", "--trim"), 40)],
)
def test_length_of_a_late_one(run, pair, options, seconds):
    assert run("sync", "camera.wav", "recorder.wav", "-o", "fixed.wav", *options).code == 0
    assert soundfile.info("fixed.wav").frames == round(seconds * RATE)


@pytest.mark.parametrize(("options", "seconds"), [((), 40), (("--pad",), 40), (("--trim",), 27.5)])
def test_length_of_an_early_one(run, pair, options, seconds):
    assert run("sync", "recorder.wav", "camera.wav", "-o", "fixed.wav", *options).code == 0
    assert abs(soundfile.info("fixed.wav").frames - round(seconds * RATE)) <= 1


@pytest.mark.parametrize("ppm", [-1000, 60])
def test_drift(run, folder, event, ppm):
    soundfile.write("camera.wav", heard(event, 5.0), RATE)
    n = round(50 * RATE * (1 + ppm * 1e-6))
    slow = scipy.signal.resample(heard(event, 0, 50, seed=1), n)
    soundfile.write("recorder.wav", slow, RATE)
    said = found(run, "camera.wav", "recorder.wav")["parameters"]
    assert said["found"] == "drift"
    assert said["drift_ppm"] == pytest.approx(ppm, abs=2)
    assert said["offset"] == pytest.approx(-5.0, abs=2e-4)
    side = "fast" if ppm > 0 else "slow"
    assert f" ppm {side} (+- " in run("sync", "camera.wav", "recorder.wav").stdout
    assert run("sync", "camera.wav", "recorder.wav", "-o", "fixed.wav").code == 0
    again = found(run, "camera.wav", "fixed.wav")["parameters"]
    assert abs(again["drift_ppm"]) < 2
    assert abs(again["offset"]) < 2e-4


@pytest.mark.parametrize(("jump", "ppm"), [(0.2, 0), (3.0, -250), (-3.0, 0), (-3.0, 250)])
def test_a_break(run, folder, event, jump, ppm):
    """Lost: a dropped chunk, a pause. Gained: silence that the camera knows nothing of."""
    soundfile.write("camera.wav", heard(event), RATE)
    sound = heard(event, seed=1)
    sound = scipy.signal.resample(sound, round(len(sound) * (1 + ppm * 1e-6)))
    at, lost = round(17.3 * RATE), round(max(jump, 0) * RATE)
    parts = [sound[:at], np.zeros(round(max(-jump, 0) * RATE)), sound[at + lost :]]
    soundfile.write("recorder.wav", np.concatenate(parts), RATE)
    document = found(run, "camera.wav", "recorder.wav")
    [cut] = document["parameters"]["breaks"]
    assert cut["at"] == pytest.approx(17.3, abs=0.25)
    assert cut["jump"] == pytest.approx(jump, abs=2e-3)
    [knots] = [np.array(m["knots"]) for m in document["time_maps"]]
    for t in (1.0, 16.0, 22.0, 35.0):
        expected = (t + (jump if t > 20 else 0)) / (1 + ppm * 1e-6)
        assert np.interp(t, *knots.T) == pytest.approx(expected, abs=2e-4)
    what = "are missing" if jump > 0 else "are in it alone"
    assert what in run("sync", "camera.wav", "recorder.wav").stdout


@pytest.mark.parametrize("force", [False, True])
def test_unrelated(run, folder, event, force):
    soundfile.write("camera.wav", heard(event), RATE)
    soundfile.write("other.wav", heard(bursts(60, 2), seed=5), RATE)
    arguments = ["sync", "camera.wav", "other.wav", "-o", "fixed.wav", "--alignment", "a.json"]
    if not force:
        pattern = "camera.wav, other.wav: no evidence that these are recordings of one event: .*"
        refused(run, folder, arguments, 4, pattern, "--force")
        refused(run, folder, ["sync", "camera.wav", "other.wav", "--check"], 4, pattern)
        return
    done = run(*arguments, "--force")
    assert done.code == 0
    assert "warning: no evidence" in done.stderr
    assert "not to be believed" in done.stdout
    assert {"fixed.wav", "a.json"} <= {p.name for p in contents(folder)}


def test_check(run, pair):
    before = contents(pair)
    assert run("sync", "camera.wav", "camera.wav,name=again", "--check").code == 0
    assert run("sync", "camera.wav", "recorder.wav", "--check").code == 1
    assert run("sync", "camera.wav", "recorder.wav", "--check", "--tolerance", "13s").code == 0
    assert contents(pair) == before


def test_dry_run_writes_nothing(run, pair):
    before = contents(pair)
    done = run("sync", "camera.wav", "recorder.wav", "-o", "fixed.wav", "--dry-run")
    assert done.code == 0
    assert done.stdout.startswith("recorder starts 12.500")
    assert contents(pair) == before


def test_keys_cut_but_keep_the_file_s_clock(run, pair):
    said = found(run, "camera.wav,start=10", "recorder.wav,start=2,end=30")["parameters"]
    assert said["offset"] == pytest.approx(12.5, abs=1e-4)


def clip(x):
    return np.clip(4 * x, -0.1, 0.1)


@pytest.mark.parametrize(
    ("damage", "rate"),
    [
        (lambda x: -x, RATE),
        (lambda x: x + 0.3, RATE),
        (clip, RATE),
        (lambda x: np.column_stack([x, 0 * x]), RATE),
        (lambda x: scipy.signal.resample_poly(x, 441, 80), 44100),
        (lambda x: np.concatenate([x[: 20 * RATE], 0 * x[20 * RATE :]]), RATE),
        (lambda x: x[: 2 * RATE], RATE),
    ],
    ids=["upside down", "DC", "clipped", "one channel silent", "44.1 kHz", "half silent", "2 s"],
)
def test_what_devices_do_to_sound(run, folder, event, damage, rate):
    soundfile.write("camera.wav", heard(event), RATE)
    soundfile.write("recorder.wav", damage(heard(event, 12.5, seed=1)), rate)
    said = found(run, "camera.wav", "recorder.wav")["parameters"]
    assert said["offset"] == pytest.approx(12.5, abs=2e-4)


def test_max_offset_is_kept(run, pair):
    done = run("sync", "camera.wav", "recorder.wav", "--max-offset", "5s")
    assert done.code == 4
    assert (
        found(run, "camera.wav", "recorder.wav", "--max-offset", "13")["parameters"]["offset"] > 12
    )


@pytest.mark.parametrize("model", ["offset", "drift", "piecewise"])
def test_a_model_can_be_asked_for(run, pair, model):
    said = found(run, "camera.wav", "recorder.wav", "--model", model)["parameters"]
    assert said["model"] == model
    assert said["offset"] == pytest.approx(12.5, abs=1e-4)


def test_pictures_of_a_sound(run, folder, event):
    """A light that changes as much as the noise is loud, at 25 frames a second, 1.24 s late."""
    soundfile.write("sound.wav", heard(event), RATE)
    level = np.abs(event).reshape(-1, RATE // 25).mean(axis=1)
    rng = np.random.default_rng(3)
    light = np.cumsum(level[30:900] * rng.choice([-1, 1], 870))
    frames = np.tile(light[:, None, None], (1, 8, 8))
    np.savez("light.npz", frames=frames)
    said = found(run, "sound.wav", "light.npz,rate=25")["parameters"]
    assert abs(said["offset"] - 1.24) <= said["offset_error"]
    assert 0.02 <= said["offset_error"] < 0.2
    rng.shuffle(frames)
    np.savez("other.npz", frames=frames)
    assert run("sync", "sound.wav", "other.npz,rate=25").code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "pattern"),
    [
        (["--check", "-o", "x.wav"], 2, "--check: writes nothing"),
        (["-o", "x.txt"], 2, "x.txt: names no kind of sound file.*"),
        (["-o", "camera.wav"], 5, "camera.wav: is an input"),
        (["--tolerance", "a bit"], 2, "--tolerance: 'a bit' is not a duration"),
        (["--max-offset", "-3"], 2, "--max-offset: '-3' is not a duration"),
        (["--model", "cubic"], 2, "--model: .*"),
    ],
)
def test_refused(run, pair, arguments, code, pattern):
    refused(run, pair, ["sync", "camera.wav", "recorder.wav", *arguments], code, pattern)


def test_refused_inputs(run, pair):
    soundfile.write("silent.wav", np.zeros(4 * RATE), RATE)
    soundfile.write("short.wav", np.ones(100), RATE)
    (pair / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    np.savetxt("still.csv", np.ones((50, 2)), delimiter=",")
    for name, code, pattern, hint in (
        ("silent.wav", 4, "silent.wav: nothing to compare: .*", ""),
        ("short.wav", 3, "short.wav: lasts 0.0125 s, it takes at least 0.25 s", ""),
        ("clip.mp4", 3, "clip.mp4: cannot be decoded: .*", ""),
        ("still.csv,rate=10", 4, "still.csv: nothing to compare with camera: .*", ""),
        ("missing.wav", 3, "missing.wav: no such file", ""),
    ):
        refused(run, pair, ["sync", "camera.wav", name, "-q"], code, pattern, hint)


def test_command_for_a_video(run, pair):
    arguments = ["camera.wav", "recorder.wav", "-o", "fixed.wav", "--video", "my clip.mp4"]
    command = run("sync", *arguments).stdout.splitlines()[-1]
    words = shlex.split(command)
    assert words[:5] == ["ffmpeg", "-i", "my clip.mp4", "-i", "fixed.wav"]
    assert words[-1] == "my clip.synced.mp4"
    assert words[words.index("-t") + 1] == "40.000000"
    assert "tpad=start_duration=12.5000" in words[words.index("-filter_complex") + 1]


@pytest.mark.parametrize(
    "knots",
    [
        [[0, 12.5], [40, 52.5]],
        [[0, -7.25], [40, 32.746]],
        [[0, 1], [10, 11], [10.0001, 13.0001], [30, 33]],
        [[0, -2], [10, 8], [13.0001, 8.0001], [30, 25]],
    ],
)
def test_stretches_show_what_the_map_says(knots):
    time_map = TimeMap("b", "a", np.array(knots, dtype=float))
    parts = stretches(time_map, 40.0)
    assert f"concat=n={len(parts)}:" in ffmpeg_command("b.mp4", None, time_map, 40.0)
    for begin, end, there, speed in parts:
        t = np.linspace(begin, 30 if end is None else end, 9)
        np.testing.assert_allclose(there + (t - begin) * speed, time_map(t), atol=1e-3)
        assert there >= 0
    ends = [there + (end - begin) * speed for begin, end, there, speed in parts if end is not None]
    assert all(end <= part[2] + 2e-3 for end, part in zip(ends, parts[1:], strict=False))
