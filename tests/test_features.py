"""Features against what is known by construction, or by an independent formula."""

from __future__ import annotations

from fractions import Fraction

import librosa
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmalign_cli.errors import InputError, UsageError
from mmalign_cli.features import audio, filters
from mmalign_cli.features.compute import compute, decode_rate
from mmalign_cli.features.motion import points_of
from mmalign_cli.features.registry import FEATURES
from mmalign_cli.model import Stream, frame_times
from mmalign_cli.streams.spec import parse_spec

HOP = Fraction(1, 100)
RATE = Fraction(16000)
AUDIO = [name for name, f in FEATURES.items() if "audio" in f.takes and name != "raw"]


def options(**keys):
    return parse_spec("x.csv", keys).options()


def sound(samples, rate=RATE, start_s=0.0):
    values = np.asarray(samples, dtype=np.float32)[:, np.newaxis]
    times = frame_times(len(values), rate, start_s)
    return Stream("s", values, times, rate, kind="audio", source="s.wav")


def table(values, times=None, columns=()):
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    times = np.arange(len(values)) / 100 if times is None else times
    return Stream("t", values, times, Fraction(100), kind="table", columns=columns, source="t.csv")


def audio_rate(name, hop=HOP):
    return FEATURES[name].decode_rate(hop)


def music(rate, seconds=2.0, seed=0):
    """Decaying tones of a scale, one every quarter second, over soft noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / float(rate)
    out = 1e-3 * rng.normal(size=len(t))
    for k, pitch in enumerate([60, 64, 67, 72, 71, 67, 65, 62]):
        since = t - k / 4
        on = since >= 0
        out[on] += np.exp(-5 * since[on]) * np.sin(
            2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * since[on]
        )
    return out


@pytest.mark.parametrize("name", AUDIO)
def test_row_k_is_at_k_hops(name):
    rate = audio_rate(name)
    computed = compute(sound(music(rate), rate, start_s=3.0), options(features=name))
    n = int(2.0 * rate)
    assert computed.n_frames == 1 + n // int(rate * HOP)
    np.testing.assert_allclose(computed.times, 3.0 + np.arange(computed.n_frames) / 100, atol=1e-12)
    assert np.isfinite(computed.values).all()
    assert computed.features == name


@pytest.mark.parametrize("name", ["logmel", "mfcc", "rms"])
def test_windows_are_centred_on_their_time(name):
    """A burst that is symmetric in time gives features that are: no bias to either side."""
    rate = audio_rate(name)
    rng = np.random.default_rng(0)
    half = rng.normal(size=rate // 2)
    samples = np.concatenate([half[::-1], [1.0], half]) * np.hanning(rate // 2 * 2 + 1)
    values = compute(sound(samples, rate), options(features=name)).values
    half_of_dims = values.shape[1] // 2 if name != "rms" else 1
    np.testing.assert_allclose(values[:, :half_of_dims], values[::-1, :half_of_dims], atol=2e-3)


@pytest.mark.parametrize("name", AUDIO)
def test_the_recording_gain_does_not_matter(name):
    rate = audio_rate(name)
    loud = compute(sound(music(rate), rate), options(features=name)).values
    soft = compute(sound(music(rate) * 0.125, rate), options(features=name)).values
    np.testing.assert_allclose(soft, loud, atol=1e-4)


@pytest.mark.parametrize("name", AUDIO)
def test_chunks_do_not_matter(name, monkeypatch):
    rate = audio_rate(name)
    whole = compute(sound(music(rate), rate), options(features=name)).values
    monkeypatch.setattr(audio, "_SAMPLES_A_CHUNK", 2**13)
    pieces = compute(sound(music(rate), rate), options(features=name)).values
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


@pytest.mark.parametrize("name", AUDIO)
def test_silence_gives_numbers(name):
    rate = audio_rate(name)
    values = compute(sound(np.zeros(int(rate)), rate), options(features=name)).values
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", AUDIO)
def test_shorter_than_a_window(name):
    rate = audio_rate(name)
    with pytest.raises(InputError, match="shorter than one frame"):
        compute(sound(np.ones(100), rate), options(features=name))


@pytest.mark.parametrize("hop", [Fraction(1, 100), Fraction(1, 30), Fraction(1001, 30000)])
@pytest.mark.parametrize("name", AUDIO)
def test_a_hop_is_a_whole_number_of_samples(name, hop):
    """Whatever the hop, the decoding rate makes it whole: frames cannot drift."""
    rate = decode_rate(options(features=name, hop=str(hop)))
    assert (rate * hop).denominator == 1
    assert rate >= FEATURES[name].audio_rate


def test_chroma_of_a_tone_is_its_pitch_class():
    rate = audio_rate("chroma")
    for pitch in (60, 69, 75):
        t = np.arange(int(rate)) / float(rate)
        tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t)
        values = compute(sound(tone, rate), options(features="chroma")).values
        assert (values[20:-20].argmax(axis=1) == pitch % 12).all()


def test_onsets_stand_where_notes_start():
    rate = audio_rate("onset")
    strength = compute(sound(music(rate), rate), options(features="onset")).values[:, 0]
    for k in range(1, 8):
        around = slice(25 * k - 8, 25 * k + 9)
        assert abs(int(strength[around].argmax()) - 8) <= 3


def roll_of_music(rate=50, keys=88):
    roll = np.zeros((2 * rate, keys))
    lowest = {88: 21, 128: 0}[keys]
    for k, pitch in enumerate([60, 64, 67, 72, 71, 67, 65, 62]):
        roll[k * rate // 4 : (k + 1) * rate // 4, pitch - lowest] = 64
    return roll


@pytest.mark.parametrize("keys", [88, 128])
def test_a_roll_meets_its_sound(keys):
    """Frames of the sound are nearest to those of the roll at the same time."""
    rate = audio_rate("chroma-onset")
    heard = compute(sound(music(rate), rate), options(features="chroma-onset")).values
    roll = Stream(
        "r", roll_of_music(keys=keys), frame_times(100, Fraction(50)), Fraction(50), source="r.npy"
    )
    read = compute(roll, options(features="chroma-onset"))
    assert read.rate == 100
    n = min(len(heard), read.n_frames)
    from mmalign_cli.align.dtw import dtw

    path = dtw(heard[:n], read.values[:n], metric="euclidean").frames
    assert np.abs(path[:, 0] - path[:, 1]).max() <= 4


def test_a_roll_has_88_or_128_columns():
    with pytest.raises(InputError, match="88 or 128"):
        compute(table(np.ones((5, 12))), options(features="chroma"))


def test_velocity_is_the_derivative():
    t = np.sort(np.random.default_rng(0).uniform(0, 1, 400))
    stream = table(np.column_stack([np.sin(3 * t), t**2]), t)
    velocity = compute(stream, options(features="velocity")).values
    np.testing.assert_allclose(velocity[1:-1, 0], 3 * np.cos(3 * t[1:-1]), atol=2e-3)
    np.testing.assert_allclose(velocity[1:-1, 1], 2 * t[1:-1], atol=1e-9)


def test_derivative_is_repeated_central_differences():
    t = np.arange(200) / 100
    stream = table(np.sin(2 * t)[:, None], t)
    twice = compute(stream, options(derivative="2")).values[:, 0]
    np.testing.assert_allclose(twice[5:-5], -4 * np.sin(2 * t[5:-5]), atol=2e-3)


def test_speed_and_norm_group_columns_by_point():
    columns = ("hand_x", "hand_y", "hand_z", "foot.X", "foot.Y", "foot.Z")
    assert points_of(columns, 6) == {"hand": [0, 1, 2], "foot": [3, 4, 5]}
    assert points_of(("a", "b"), 2) == {"": [0, 1]}
    t = np.arange(100) / 100
    values = np.column_stack([3 * t, 4 * t, 0 * t, t, 2 * t, 2 * t])
    stream = table(values, t, columns)
    speed = compute(stream, options(features="speed"))
    np.testing.assert_allclose(speed.values, np.tile([5.0, 3.0], (100, 1)), atol=1e-9)
    assert speed.columns == ("hand_speed", "foot_speed")
    norm = compute(stream, options(features="norm")).values
    np.testing.assert_allclose(norm, np.column_stack([5 * t, 3 * t]), atol=1e-12)


def test_energy_is_the_mean_square_about_the_mean():
    values = np.random.default_rng(0).normal(3, 1, (50, 4))
    energy = compute(table(values), options(features="energy")).values[:, 0]
    np.testing.assert_allclose(energy, np.var(values, axis=0)[None].mean() + energy - energy.mean())
    np.testing.assert_allclose(energy.mean(), values.var(axis=0).mean())


def pictures(stack, rate=25):
    flat = np.asarray(stack, dtype=np.float32).reshape(len(stack), -1)
    return Stream(
        "v", flat, np.arange(len(stack)) / rate, Fraction(rate), kind="images",
        frame_shape=np.shape(stack)[1:], source="v.npy",
    )  # fmt: skip


def test_gray_averages_the_pixels_under_each_cell():
    stack = np.random.default_rng(0).integers(0, 256, (3, 48, 72))
    gray = compute(pictures(stack), options(features="gray")).values
    expected = stack.reshape(3, 24, 2, 24, 3).mean(axis=(2, 4)).reshape(3, -1)
    np.testing.assert_allclose(gray, expected, rtol=1e-5)


def test_gray_keeps_small_pictures_and_averages_channels():
    stack = np.random.default_rng(0).random((4, 5, 6, 3))
    gray = compute(pictures(stack), options(features="gray")).values
    np.testing.assert_allclose(gray, stack.mean(axis=3).reshape(4, -1), rtol=1e-5)


def test_motion_stands_at_its_own_time():
    """One picture differs from the others: motion is the same before and after it, per second."""
    stack = np.zeros((9, 8, 8))
    stack[4] = 10.0
    motion = compute(pictures(stack), options(features="motion")).values
    np.testing.assert_allclose(motion[4], 10 * 25)
    np.testing.assert_allclose(motion[3], motion[5])
    np.testing.assert_allclose(motion[[0, 1, 2, 6, 7, 8]], 0)


def test_pictures_need_a_feature():
    with pytest.raises(InputError, match="pictures"):
        compute(pictures(np.zeros((3, 4, 4))), options())


@pytest.mark.parametrize(("how", "low", "high"), [("minmax", 0, 1), ("zscore", None, None)])
def test_normalize(how, low, high):
    values = np.random.default_rng(0).normal(5, [1, 1e-3, 1e6], (100, 3))
    scaled = compute(table(values), options(normalize=how)).values
    if how == "minmax":
        np.testing.assert_allclose(
            [scaled.min(axis=0), scaled.max(axis=0)], [[low] * 3, [high] * 3]
        )
    else:
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(scaled.std(axis=0), 1)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_normalize_extreme_values(scale):
    values = np.random.default_rng(0).normal(size=(100, 2))
    scaled = compute(table(values * scale), options(normalize="zscore")).values
    np.testing.assert_allclose(scaled, compute(table(values), options(normalize="zscore")).values)


def test_constant_columns_become_zero_with_a_warning():
    values = np.column_stack([np.full(50, 7.1), np.arange(50)])
    scaled = compute(table(values, columns=("still", "moving")), options(normalize="zscore"))
    assert (scaled.values[:, 0] == 0).all()
    assert "still" in scaled.warnings[0]
    with pytest.raises(InputError, match="constant"):
        compute(table(np.full((50, 2), 7.1)), options(normalize="zscore"))


def test_unknown_feature_and_wrong_kind():
    with pytest.raises(UsageError, match="not a feature"):
        compute(table(np.zeros((3, 1))), options(features="logmell"))
    with pytest.raises(InputError, match="is for audio"):
        compute(table(np.zeros((3, 1))), options(features="logmel"))


def test_the_registry_leads_to_functions():
    from mmalign_cli.features.registry import compute_of

    for name, feature in FEATURES.items():
        for kind in feature.takes:
            assert callable(compute_of(name, kind, "x"))


@pytest.mark.parametrize("n_frames", [1, 3, 200])
def test_slopes_are_those_of_librosa(n_frames):
    block = np.random.default_rng(0).normal(size=(n_frames, 5))
    both = audio._with_slopes(block.copy(), HOP)
    centred = block - block.mean(axis=0)
    for part, ours in ((centred, both[:, :5]), (
        librosa.feature.delta(centred, width=5, axis=0, mode="nearest"), both[:, 5:]
    )):  # fmt: skip
        length = np.linalg.norm(part) / np.sqrt(n_frames)
        np.testing.assert_allclose(ours, part / (length or 1.0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("window_s", "n_fft"), [(0.025, 512), (0.046, 2048), (0.093, 1488)])
def test_spectra_are_those_of_librosa(window_s, n_fft):
    samples = music(RATE)
    step, length = int(RATE * HOP), round(window_s * float(RATE))
    expected = librosa.stft(
        samples.astype(np.float32).astype(float), n_fft=n_fft, hop_length=step, win_length=length
    )
    found = np.concatenate(
        [part for _, part in audio._spectra(sound(samples), HOP, window_s, n_fft)], axis=1
    )
    # librosa has its first windows begin with mirrored samples, or with zeros, as its version is
    inside = slice(n_fft // step, -n_fft // step)
    np.testing.assert_allclose(found[:, inside], np.abs(expected)[:, inside], atol=1e-12)


def test_filters_are_those_of_librosa():
    rate = 22050.0
    expected = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=40, fmin=60.0, dtype=np.float64)
    np.testing.assert_array_equal(filters.mel(rate, 1024, 40, 60.0), expected)
    expected = librosa.filters.chroma(sr=rate, n_fft=4096, tuning=0.0, dtype=np.float64)
    np.testing.assert_array_equal(filters.chroma(rate, 4096), expected)


@pytest.fixture
def unloaded(monkeypatch, tmp_path):
    """No filter is in memory, and what is kept on disk is kept in a folder of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    filters.mel.cache_clear()
    yield tmp_path
    filters.mel.cache_clear()


def test_filters_are_kept_on_disk(unloaded, monkeypatch):
    made = filters.mel(8000.0, 256, 40, 60.0)
    (file,) = unloaded.iterdir()
    assert librosa.__version__ in file.name
    monkeypatch.setattr(librosa.filters, "mel", None)  # not needed any more
    filters.mel.cache_clear()
    np.testing.assert_array_equal(filters.mel(8000.0, 256, 40, 60.0), made)


@pytest.mark.parametrize("harm", ["cut", "empty", "other", "folder"])
def test_filters_that_were_damaged_are_made_anew(unloaded, harm):
    made = filters.mel(8000.0, 256, 40, 60.0)
    (file,) = unloaded.iterdir()
    whole = file.read_bytes()
    if harm == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes({"cut": whole[:-8], "empty": b"", "other": b"\1" + whole[1:]}[harm])
    filters.mel.cache_clear()
    np.testing.assert_array_equal(filters.mel(8000.0, 256, 40, 60.0), made)
    assert harm == "folder" or file.read_bytes() == whole
    assert [path.name for path in unloaded.iterdir()] == [file.name]


PLACE = np.array([3, -2, 9])


def body(n=30, points=6, seed=3):
    """Points that move, apart from each other."""
    rng = np.random.default_rng(seed)
    base, swing = rng.normal(size=(points, 3)) * 2, rng.normal(size=(points, 3))
    return base + np.sin(np.arange(n) / 5)[:, np.newaxis, np.newaxis] * swing


def on_body(name, places, columns=()):
    stream = table(places.reshape(len(places), -1), columns=columns)
    return compute(stream, options(features=name))


def turned(places, seed=0):
    return places @ Rotation.random(random_state=seed).as_matrix().T


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("root-centred", lambda p: p + PLACE),
        ("scale-free", lambda p: 7.5 * p + PLACE),
        ("joint-angles", lambda p: turned(0.01 * p) + PLACE),
    ],
)
def test_where_a_body_stands_does_not_matter(name, change):
    places = body()
    before, after = (on_body(name, p).values for p in (places, change(places)))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert np.ptp(before) > 0.1


@pytest.mark.parametrize("name", ["root-centred", "scale-free"])
def test_positions_turn_with_the_body(name):
    places = body()
    before = on_body(name, places).values.reshape(places.shape)
    after = on_body(name, turned(places)).values.reshape(places.shape)
    np.testing.assert_allclose(after, turned(before), atol=1e-12)


def test_a_root_is_left_out_and_anything_else_is_the_mean():
    names = ("Anna:Hips", "LeftHip", "Head")
    columns = tuple(f"{n}_{axis}" for n in names for axis in "xyz")
    places = body(points=3)
    rooted = on_body("root-centred", places, columns)
    assert rooted.columns == columns[3:]
    np.testing.assert_allclose(rooted.values, (places[:, 1:] - places[:, :1]).reshape(30, 6))
    plain = on_body("root-centred", places, tuple(c.replace("Hips", "Ear") for c in columns))
    np.testing.assert_allclose(plain.values.reshape(30, 3, 3).mean(axis=1), 0, atol=1e-12)


def test_angles_of_a_pose_are_at_its_joints():
    """A right angle at the elbow that opens to a straight arm, in a plane and in space."""
    names = ("left_hip", "left_wrist", "left_shoulder", "left_elbow")
    planar = np.array([[[0, -1], [1, 1], [0, 0], [1, 0]], [[0, -1], [2, 0], [0, 0], [1, 0]]], float)
    columns = tuple(f"{n}_{axis}" for n in names for axis in "xy")
    found = on_body("joint-angles", planar, columns)
    assert found.columns == ("left_shoulder_angle", "left_elbow_angle")
    np.testing.assert_allclose(found.values, [[np.pi / 2, np.pi / 2], [np.pi / 2, np.pi]])
    chain = on_body("joint-angles", body(points=4))
    assert chain.columns == ("point2_angle", "point3_angle")


@pytest.mark.parametrize(
    ("places", "columns", "message"),
    [
        (np.ones((4, 4)), (), "4 columns are not points"),
        (np.ones((4, 6)), tuple("abcdef"), "6 columns are not points"),
        (np.ones((4, 3)), (), "3 columns are not points"),
        (np.ones((4, 4)), ("a_x", "a_y", "b_x", "c_x"), "4 columns are not points"),
    ],
)
@pytest.mark.parametrize("name", ["root-centred", "scale-free", "joint-angles"])
def test_what_is_no_body(places, columns, message, name):
    with pytest.raises(InputError, match=message):
        on_body(name, places, columns)


def test_a_body_of_one_place_and_joints_of_two_points():
    with pytest.raises(InputError, match="have no size"):
        on_body("scale-free", np.ones((4, 2, 3)))
    with pytest.raises(InputError, match="2 points have no joint"):
        on_body("joint-angles", body(points=2))
    assert (on_body("joint-angles", np.ones((4, 3, 3))).values == 0).all()
