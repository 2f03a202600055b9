"""Recordings on another clock: exact where they can be, in time where they are stretched."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign_cli.errors import InputError, OutputError, UsageError
from mmalign_cli.kernels.sinc import interpolate, squeeze
from mmalign_cli.kernels.stretch import follow
from mmalign_cli.model import TimeMap
from mmalign_cli.runtime import silent
from mmalign_cli.write import render
from mmalign_cli.write.atomic import Outputs
from mmalign_cli.write.pieces import is_warp, pieces
from mmalign_cli.write.sound import write_resynced

RATE = 8000


def tone(hz, times_s):
    return 0.5 * np.sin(2 * np.pi * hz * times_s)


def write(path, samples, subtype="DOUBLE", rate=RATE):
    soundfile.write(path, samples, rate, subtype=subtype)


def resync(knots, n=None, source="a.wav", output="b.wav", **options):
    options = {"keep_pitch": True, "progress": silent, **options}
    knots = np.array(knots, dtype=float)
    with Outputs(True) as outputs:
        way = TimeMap("a", "b", knots)
        written = write_resynced(outputs, source, output, way, n, **options)
    return soundfile.read(output, always_2d=True)[0], written


def naive(samples, position, scale):
    """The sum of a windowed sinc, term by term."""
    reach, beta = render._REACH, render._BETA
    total = 0.0
    for k in range(len(samples)):
        u = (k - position) / scale
        if abs(u) < reach:
            window = np.i0(beta * np.sqrt(1 - (u / reach) ** 2)) / np.i0(beta)
            total += samples[k] * np.sinc(u) * window / scale
    return total


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, 1.3, 2.5, 4.0]))
def test_interpolation_is_the_sum_it_stands_for(seed, scale):
    rng = np.random.default_rng(seed)
    margin = int(render._REACH * scale) + 2
    samples = rng.standard_normal((2, 2 * margin + 20))
    positions = margin + np.sort(rng.uniform(0, 18, 7))
    positions[3] = np.round(positions[3])
    out = np.zeros((2, 7))
    if scale == 1.0:
        interpolate(samples, positions, render._table(), 1e-6, out)
    else:
        squeeze(samples, positions, np.full(7, scale), render._table(), out)
    expected = [[naive(channel, p, scale) for p in positions] for channel in samples]
    np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_a_shift_of_whole_samples_copies_them(folder, subtype):
    write("a.wav", np.random.default_rng(0).uniform(-1, 1, (5000, 2)), subtype)
    before = soundfile.read("a.wav")[0]
    after, written = resync([[0, 0.125]])
    assert (written.subtype, written.stretched, written.n_clipped) == (subtype, False, 0)
    np.testing.assert_array_equal(after[1000:], before)
    assert not after[:1000].any()


@pytest.mark.parametrize("hz", [300, 2000, 0.9 * RATE / 2])
@pytest.mark.parametrize("knots", [[[0, 0.3 / RATE]], [[0, 0.01], [100, 100.02]]])
def test_error_of_resampling_is_below_minus_90_db(folder, hz, knots):
    write("a.wav", tone(hz, np.arange(2 * RATE) / RATE))
    after, _ = resync(knots)
    at = slice(500, len(after) - 500)
    source_s = TimeMap("a", "b", np.array(knots)).inverse()(np.arange(len(after)) / RATE)
    error = np.abs(after[at, 0] - tone(hz, source_s[at])).max() / 0.5
    assert 20 * np.log10(error) < -90


def test_faster_sound_does_not_fold_back(folder):
    t = np.arange(2 * RATE) / RATE
    write("a.wav", tone(1000, t) + tone(3500, t))  # twice as fast, 3500 Hz would be heard at 1000
    after, written = resync([[0, 0], [2, 1]], keep_pitch=False)
    assert not written.stretched
    at = slice(300, len(after) - 300)
    np.testing.assert_allclose(after[at, 0], tone(2000, np.arange(RATE)[at] / RATE), atol=1e-4)


def clicks_of(f, dur_s, rate=16000):
    rng = np.random.default_rng(0)
    sound = 0.002 * rng.standard_normal(dur_s * rate)
    at_s = np.arange(0.5, dur_s - 0.5, 0.37)
    sound[np.round(at_s * rate).astype(int)] = 0.9
    write("a.wav", sound, rate=rate)
    t = np.linspace(0, dur_s, 400)
    after, written = resync(np.column_stack([t, f(t)]))
    assert written.stretched
    for c in at_s:
        middle = int(f(c) * rate)
        near = np.abs(after[middle - rate // 10 : middle + rate // 10, 0])
        yield (int(near.argmax()) - rate // 10) / rate


@pytest.mark.compiled
@pytest.mark.parametrize(
    "f",
    [lambda t: 1.1 * t, lambda t: t / 1.2, lambda t: t + 0.3 * np.sin(t / 2)],
    ids=["slower", "faster", "changing"],
)
def test_stretched_sound_stays_in_time(folder, f):
    errors = np.array(list(clicks_of(f, 60)))
    assert np.abs(errors).max() < 0.006
    assert abs(errors[-20:].mean() - errors[:20].mean()) < 0.003  # no drift


def naive_follow(mono, wanted, reach, half):
    """Every fourth place within reach, then all places around the best of them."""

    def likest(a, places, stride):
        frame = mono[a - half : a + half : stride]
        others = [mono[b - half : b + half : stride] for b in places]
        return places[int(np.argmax([frame @ o / np.sqrt(o @ o) for o in others]))]

    chosen = [wanted[0]]
    for middle in wanted[1:]:
        a, low, high = chosen[-1] + half, middle - reach, middle + reach
        if low <= a <= high:
            chosen.append(a)
        else:
            rough = likest(a, [middle, *range(low, high + 1, 4)], 4)
            near = range(max(low, rough - 4), min(high, rough + 4) + 1)
            chosen.append(likest(a, [rough, *near], 1))
    return chosen


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), speed=st.floats(0.3, 3))
def test_frames_are_near_where_they_are_wanted_and_follow_each_other(seed, speed):
    rng = np.random.default_rng(seed)
    half, reach, n = 40, 12, 25
    mono = rng.standard_normal(2000 + round(n * half * speed))
    wanted = 500 + np.rint(np.arange(n) * half * speed).astype(np.int64)
    chosen = np.empty(n, dtype=np.int64)
    follow(mono, wanted, -1, reach, half, chosen)
    assert chosen.tolist() == naive_follow(mono, wanted.tolist(), reach, half)
    assert (np.abs(chosen - wanted) <= reach).all()


def test_at_its_own_speed_stretched_sound_is_the_sound(folder):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    write("a.wav", sound)
    after, written = resync([[0, 0], [1, 1], [2, 2.5]])
    assert written.stretched
    np.testing.assert_allclose(after[: RATE - 300, 0], sound[: RATE - 300], atol=1e-12)
    np.testing.assert_allclose(written.n_samples, 3.5 * RATE)


@pytest.mark.compiled
def test_stretched_sound_keeps_its_pitch(folder):
    rate = 44100
    write("a.wav", tone(220, np.arange(4 * rate) / rate), rate=rate)
    after, _ = resync([[0, 0], [4, 5]])
    spectrum = np.abs(np.fft.rfft(after[rate // 2 : -rate // 2, 0] * np.hanning(4 * rate)))
    assert abs(spectrum.argmax() / 4 - 220) < 0.5
    around = spectrum[840:921]
    assert 10 * np.log10((around**2).sum() / ((spectrum**2).sum() - (around**2).sum())) > 30


def test_a_missing_part_is_left_silent_and_a_pause_is_left_out(folder):
    write("a.wav", 0.25 * np.ones(3 * RATE))
    # 0.2 s missing at 1 s, 0.5 s too many from 2 s on
    after, written = resync(
        [[0, 0], [1, 1], [1.0001, 1.2001], [2, 2.2], [2.5, 2.20001], [3, 2.70001]]
    )
    assert not written.stretched
    assert len(after) == round(2.70001 * RATE)
    assert not after[round(1.01 * RATE) : round(1.19 * RATE)].any()
    quiet = np.flatnonzero(after[:, 0] < 0.2)
    outside = (quiet < 0.99 * RATE) | (quiet > 1.21 * RATE)
    assert len(np.flatnonzero(outside & (quiet > 100) & (quiet < len(after) - 100))) < 0.006 * RATE


def test_jumps_alone_do_not_make_a_warp():
    jump = TimeMap("b", "a", np.array([[0, 0], [1, 1], [1.2, 1.001], [5, 4.801]]))
    assert not is_warp(jump)
    assert [(p.begin_s, p.end_s) for p in pieces(jump)] == [
        (-np.inf, pytest.approx(1.0005)),
        (pytest.approx(1.1995), np.inf),
    ]
    assert is_warp(TimeMap("b", "a", np.array([[0, 0], [1, 1.02]])))


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 3 * RATE),
    start=st.floats(-2, 2),
    offset=st.floats(-0.4, 2),
    slope=st.sampled_from([1.0, 1.0001, 1.3, 0.6]),
    keep_pitch=st.booleans(),
)
def test_length_is_what_is_asked_for(tmp_path_factory, n, start, offset, slope, keep_pitch):
    folder = tmp_path_factory.mktemp("sound")
    write(folder / "a.wav", np.zeros((RATE, 2)), "PCM_16")
    after, written = resync(
        [[0, offset], [1, offset + slope]],
        n,
        source=str(folder / "a.wav"),
        output=str(folder / "b.wav"),
        start_s=start,
        keep_pitch=keep_pitch,
    )
    assert after.shape == (n, 2)
    assert written.n_samples == n


def test_blocks_do_not_show(folder, monkeypatch):
    write("a.wav", np.random.default_rng(1).uniform(-0.5, 0.5, (RATE, 2)))
    for keep_pitch in (True, False):
        whole, _ = resync([[0, 0], [1, 1.3]], keep_pitch=keep_pitch)
        monkeypatch.setattr(render, "_BLOCK", 1000)
        pieced, _ = resync([[0, 0], [1, 1.3]], keep_pitch=keep_pitch)
        monkeypatch.undo()
        monkeypatch.chdir(folder)
        np.testing.assert_allclose(pieced, whole, atol=1e-12)


@pytest.mark.parametrize(
    ("output", "subtype", "expected"),
    [
        ("b.flac", "PCM_24", ("FLAC", "PCM_24")),
        ("b.flac", "FLOAT", ("FLAC", "PCM_24")),
        ("b.ogg", "PCM_16", ("OGG", "VORBIS")),
        ("b.wav", "PCM_16", ("WAV", "PCM_16")),
    ],
)
def test_container_goes_by_the_name_and_subtype_by_the_source(folder, output, subtype, expected):
    write("a.wav", np.zeros((RATE, 3)), subtype)
    resync([[0, 0.5]], output=output)
    info = soundfile.info(output)
    assert (info.format, info.subtype) == expected
    assert (info.channels, info.samplerate) == (3, RATE)


def test_what_is_only_decoded_becomes_whole_numbers(folder):
    soundfile.write("a.mp3", np.zeros((16000, 2)), 16000)
    resync([[0, 0.5]], source="a.mp3")
    assert soundfile.info("b.wav").subtype == "PCM_16"


def test_beyond_full_scale_is_cut_off_and_counted(folder):
    write("a.wav", np.sign(np.sin(np.arange(RATE))), "PCM_16")
    after, written = resync([[0, 0.5 / RATE]])
    assert written.n_clipped > 0
    assert np.abs(after).max() <= 1


def test_refusals(folder):
    write("a.wav", np.zeros(RATE), "FLOAT")
    with pytest.raises(UsageError, match="no kind of sound"):
        resync([[0, 0]], output="b.xyz")
    with pytest.raises(InputError, match="nothing of it is left"):
        resync([[0, -5]])
    with pytest.raises(OutputError, match="is an input"):
        resync([[0, 0]], output="a.wav")
    bad = np.zeros(RATE)
    bad[4000] = np.nan
    write("n.wav", bad, "FLOAT")
    with pytest.raises(InputError, match=r"non-finite at t = 0.50 s"):
        resync([[0, 0]], source="n.wav")
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:20000])
    with pytest.raises(InputError, match="cut short"):
        resync([[0, 0]], source="cut.wav")
    (folder / "text.wav").write_text("not sound")
    with pytest.raises(InputError, match="cannot be decoded"):
        resync([[0, 0]], source="text.wav")
    assert sorted(p.name for p in folder.iterdir()) == ["a.wav", "cut.wav", "n.wav", "text.wav"]
