"""What `mmalign sync` is made of: correlation of windows, lines, chains, activities, verdicts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import combinations, pairwise, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign_cli.align import activity, correlate, lines, offsets
from mmalign_cli.align.correlate import COARSE_RATE, RATE, Candidates
from mmalign_cli.evidence.relation import NOTHING, Agreement, relation
from mmalign_cli.model import Stream


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def naive_lags(there, here, n_lags):
    """The whitened cross-correlation, as its definition reads, a lag at a time."""
    size = correlate.scipy.fft.next_fast_len(len(there), real=True)
    white = []
    for part in (there, here):
        spectrum = np.fft.fft(np.asarray(correlate._tapered(part), dtype=np.float64), size)
        hz = np.abs(np.fft.fftfreq(size, 1 / RATE))
        magnitude = np.abs(spectrum)
        spectrum = np.where(magnitude > 0, spectrum / np.maximum(magnitude, 1e-30) ** 0.85, 0)
        spectrum[hz < 100] = 0
        white.append(np.fft.ifft(spectrum).real)
    x, y = white
    return [sum(x[(k + lag) % size] * y[k] for k in range(size)) for lag in range(n_lags)]


def test_correlation_is_its_definition():
    there, here = noise(700, 1), noise(600, 2)
    found = correlate._correlation(there, here, 40)
    np.testing.assert_allclose(found, naive_lags(there, here, 40), atol=2e-4 * np.abs(found).max())


@settings(max_examples=25, deadline=None)
@given(
    shift=st.integers(-2000, 2000),
    sign=st.sampled_from([1, -1]),
    gain=st.floats(1e-3, 10),
    level=st.floats(-0.5, 0.5),
)
def test_a_window_finds_its_place(shift, sign, gain, level):
    """Whatever the gain, the polarity and the DC level are."""
    sound = noise(6 * RATE, 3)
    recording = np.float32(sign * gain) * sound[RATE:-RATE] + np.float32(level)
    lag = correlate.window_lag(sound, recording, 2.0, 1.0 + shift / RATE, 0.0, 2.0, 0.3)
    assert lag.offset_s == pytest.approx(1.0, abs=1e-6)
    assert lag.height > 20


def test_a_peak_between_samples():
    sound = noise(8 * RATE, 4)
    fine = correlate.scipy.signal.resample(sound, 4 * len(sound))
    quarter = fine[1::4].astype(np.float32)
    lag = correlate.window_lag(sound, quarter, 4.0, 0.0, 0.0, 4.0, 0.1)
    assert lag.offset_s * RATE == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("middle", [-1.0, 0.5, 5.6, 99.0])
def test_a_window_beyond_the_ends_is_none(middle):
    sound = noise(6 * RATE)
    assert correlate.window_lag(sound, sound, middle, 0.0, 0.0, 2.0, 0.3) is None


def test_silence_has_no_lag():
    silent = np.zeros(6 * RATE, dtype=np.float32)
    assert correlate.window_lag(noise(6 * RATE), silent, 3.0, 0.0, 0.0, 2.0, 0.3) is None
    assert offsets.search(noise(6 * RATE), silent) is None


# --- lines -----------------------------------------------------------------------------------


def windows(offset, n=200, wrong=0.2, seed=0, sigma=2e-5):
    """Offsets at a window a second, a share of them anywhere within reach."""
    rng = np.random.default_rng(seed)
    t = 2.0 + np.arange(n)
    d = offset(t) + sigma * rng.standard_normal(n)
    bad = rng.random(n) < wrong
    d[bad] += rng.uniform(-0.3, 0.3, bad.sum())
    return lines.Windows(t, d, 4.0, 0.3), ~bad


@settings(max_examples=30, deadline=None)
@given(
    start=st.floats(-60, 60),
    ppm=st.floats(-1000, 1000).filter(lambda p: abs(p) > 5),
    wrong=st.floats(0, 0.4),
    seed=st.integers(0, 99),
)
def test_a_drift_is_found_among_wrong_windows(start, ppm, wrong, seed):
    found = lines.fit(windows(lambda t: start + 1e-6 * ppm * t, wrong=wrong, seed=seed)[0])
    assert found.model == "drift"
    assert 1e6 * found.stretch == pytest.approx(ppm, abs=0.3)
    assert found.intercepts[0] == pytest.approx(start, abs=5e-5)


@settings(max_examples=30, deadline=None)
@given(start=st.floats(-60, 60), wrong=st.floats(0, 0.4), seed=st.integers(0, 99))
def test_no_drift_and_no_break_where_there_is_none(start, wrong, seed):
    """The criterion errs in few: none of these seeds shows more than a tenth of a ppm."""
    found = lines.fit(windows(lambda t: start + 0 * t, wrong=wrong, seed=seed)[0])
    assert len(found.intercepts) == 1
    assert abs(found.stretch) < 5e-7


@settings(max_examples=30, deadline=None)
@given(
    ppm=st.floats(-300, 300),
    jumps=st.lists(
        st.floats(0.01, 5).flatmap(lambda j: st.sampled_from([j, -j])), min_size=1, max_size=3
    ),
    seed=st.integers(0, 99),
)
def test_breaks_are_found_where_they_are(ppm, jumps, seed):
    at = np.arange(1, len(jumps) + 1) * 200 / (len(jumps) + 1)

    def offset(t):
        return 3 + 1e-6 * ppm * t + sum((t > a) * j for a, j in zip(at, jumps, strict=True))

    found = lines.fit(windows(offset, wrong=0.1, seed=seed)[0])
    np.testing.assert_allclose(np.diff(found.intercepts), jumps, atol=2e-4)
    changes = np.flatnonzero(np.diff(found.piece)) + 2.5
    np.testing.assert_allclose(changes, at, atol=4)


def test_the_line_is_that_of_least_squares():
    points, good = windows(lambda t: 3 + 4e-5 * t, seed=5)
    found = lines.fit(points, "drift")
    assert (found.agrees & ~good).sum() <= 2
    t, d = points.middle_s[found.agrees], points.offset_s[found.agrees]
    slope, start = np.polyfit(t, d, 1)
    assert found.stretch == pytest.approx(slope, rel=1e-6)
    assert found.intercepts[0] == pytest.approx(start, abs=1e-9)


def test_standard_errors_are_the_textbook_s_times_the_overlap():
    points, _ = windows(lambda t: 3 + 4e-5 * t, wrong=0, seed=6, sigma=3e-4)
    found = lines.fit(points, "drift")
    book = scipy.stats.linregress(points.middle_s, points.offset_s)
    start, stretch = lines.standard_errors(points, found, 0.0)
    assert stretch == pytest.approx(2 * book.stderr, rel=0.02)  # sqrt of an overlap of 4
    assert start == pytest.approx(2 * book.intercept_stderr, rel=0.02)


@pytest.mark.parametrize("model", ["offset", "drift", "piecewise"])
def test_a_model_can_be_forced(model):
    points, _ = windows(lambda t: 3 + 4e-5 * t + 0.2 * (t > 90), wrong=0)
    found = lines.fit(points, model)
    assert found.model == model
    assert (found.stretch == 0) == (model == "offset")
    assert len(found.intercepts) == (2 if model == "piecewise" else 1)


def test_one_window_is_an_offset():
    found = lines.fit(lines.Windows(np.array([2.0]), np.array([0.25]), 1.0, 0.3))
    assert (found.model, found.intercepts[0], found.share) == ("offset", 0.25, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.02, 0.5]), min_size=1, max_size=7))
def test_runs_of_levels_are_the_cheapest(e):
    """Against all ways to give every value a level."""
    levels, change = sorted(set(e)), 2 * 0.5 + 1

    def cost(way):
        changes = sum(a != b for a, b in pairwise(way))
        return sum(v != w for v, w in zip(e, way, strict=True)) + change * changes

    best = min(cost(way) for way in product(levels, repeat=len(e)))
    runs = lines._path_of_levels(np.array(e), 0.5)
    options = product(levels, repeat=int(runs.max()) + 1)
    assert min(cost([option[r] for r in runs]) for option in options) == pytest.approx(best)


# --- chains ----------------------------------------------------------------------------------


def chain_worth(x, y, height, chosen):
    worth = sum(height[k] - 4 for k in chosen)
    for a, b in pairwise(chosen):
        if not (x[b] > x[a] and y[b] > y[a]):
            return -np.inf
        smooth = abs((y[b] - x[b]) - (y[a] - x[a])) <= 0.006 + 4e-4 * (x[b] - x[a])
        worth -= 0 if smooth else 6
    return worth


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9))
def test_the_chain_is_the_best_of_all(seed, n):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.integers(0, 5, n)).astype(float)
    y = x + rng.choice([0.0, 0.001, 0.2, 3.0, -2.0], n)
    height = rng.uniform(3, 15, n)
    chain = offsets.chain_of(Candidates(x, y, height), 0.0)
    chosen = [
        int(np.flatnonzero((x == a) & (y == b))[np.argmax(height[(x == a) & (y == b)])])
        for a, b in zip(chain.recording_s, chain.reference_s, strict=True)
    ]
    all_chains = (c for k in range(1, n + 1) for c in combinations(range(n), k))
    best = max(chain_worth(x, y, height, c) for c in all_chains)
    assert chain_worth(x, y, height, chosen) == pytest.approx(best)


def test_nothing_makes_no_chain():
    none = np.zeros(0)
    assert offsets.chain_of(Candidates(none, none, none), 0.0) is None


# --- activities ------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 40), m=st.integers(3, 40), seed=st.integers(0, 99))
def test_correlations_over_overlaps_are_those_of_numpy(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(n), rng.standard_normal(m)
    lags = np.arange(3 - m, n - 2)
    found, lengths = activity._correlations(x, y, lags)
    for lag, r, length in zip(lags, found, lengths, strict=True):
        a, b = x[max(lag, 0) : min(n, m + lag)], y[max(-lag, 0) : min(m, n - lag)]
        assert length == len(a) == len(b)
        assert r == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.73])
def test_activities_meet_where_they_belong(shift):
    rng = np.random.default_rng(8)
    curve = np.convolve(rng.standard_normal(3000) ** 2, np.hanning(20), mode="same")
    t = np.arange(3000) / 100
    at = np.arange(200, 2500, 4)
    other = curve[at] + 0.3 * curve.std() * rng.standard_normal(len(at))
    found = activity.shift_of(t, curve, t[at] - shift, other, None)
    assert abs(found.offset_s - shift) <= max(found.error_s, 0.01)
    assert found.error_s < 0.1
    assert found.p_value < 1e-6


def test_what_does_not_happen_has_no_offset():
    t = np.arange(100) / 10
    assert activity.shift_of(t, np.ones(100), t, np.sin(t), None) is None
    assert activity.shift_of(t, np.cos(t), t + 50, np.sin(t), 1.0) is None


# --- verdicts --------------------------------------------------------------------------------


@given(n=st.integers(1, 200), k=st.integers(1, 200), chance=st.floats(0.02, 0.5))
def test_p_is_the_binomial_tail(n, k, chance):
    k = min(k, n)
    found = Agreement((k + 1) / (n + 1), n + 1, float(n + 1), 1)
    null = Agreement(chance, 50, 50.0, 0)
    expected = scipy.stats.binom.sf(k - 1, n + 1, chance)
    assert relation(found, null)["p_value"] == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_few_windows_support_nothing():
    assert not relation(Agreement(1.0, 1, 1.0, 1), NOTHING)["supported"]
    assert not relation(Agreement(0.3, 400, 100.0, 2), NOTHING)["supported"]
    assert relation(Agreement(0.9, 29, 8.0, 2), NOTHING)["supported"]


# --- the coarse search -----------------------------------------------------------------------


@settings(deadline=None)
@given(n=st.integers(1, 5000), width=st.integers(1, 900))
def test_chunks_half_overlap_and_cover_a_signal(n, width):
    starts = correlate.chunk_starts(n, width, 10_000)
    assert starts[0] == 0
    assert starts[-1] == max(n - width, 0)
    steps = len(starts) - 1
    assert steps == next(k for k in range(2 * n) if 2 * (n - width) <= k * width)
    assert len(correlate.chunk_starts(n, width, 7)) == min(7, steps + 1)
    if steps:
        np.testing.assert_allclose(np.diff(starts), (n - width) / steps, atol=1)


@pytest.mark.parametrize("n", [20_001, 4096])
def test_without_whitening_coarse_samples_are_every_other_one(n, monkeypatch):
    """Frames and windows leave no trace: not of the seams, nor of the time they stand at."""
    monkeypatch.setattr(correlate, "WHITENING", 0.0)
    t = np.arange(n) / RATE
    sound = np.sin(2 * np.pi * 310.3 * t) + 0.5 * np.cos(2 * np.pi * 1203.7 * t)
    found = correlate.coarse(sound.astype(np.float32))
    assert found.dtype == np.float32
    assert len(found) == -(-n // 2)
    inner = slice(500, len(found) - 500)
    gain = float(found[inner] @ sound[::2][inner] / (sound[::2][inner] ** 2).sum())
    np.testing.assert_allclose(found[inner], gain * sound[::2][inner], atol=0.01 * gain)


def test_whitened_spectra_keep_their_phase_and_little_of_their_level():
    spectrum = np.array([5.0, 3.0, 8.0j, -0.5, 2 + 2j], dtype=np.complex128)
    white = correlate.whitened(spectrum, 50.0)
    np.testing.assert_array_equal(white[:2], 0)
    np.testing.assert_allclose(white[2:], spectrum[2:] / np.abs(spectrum[2:]) ** 0.85, rtol=1e-6)


def naive_candidates(long, short, start, width):
    """Heights over all lags of one chunk, by numpy: the lag of each, its height."""
    lags = np.abs(np.correlate(long, short[start : start + width], mode="full"))
    return np.arange(1 - width, len(long)), lags


@pytest.mark.parametrize("swapped", [False, True])
def test_candidates_are_the_highest_peaks_of_each_chunk(swapped, monkeypatch):
    monkeypatch.setattr(correlate, "CHUNK_S", 0.25)
    monkeypatch.setattr(correlate, "COARSE_RATE", 4000)
    long = noise(9000, 5)
    short = long[3000:5600] + 0.5 * noise(2600, 6)
    width = 1000
    pair = (short, long) if swapped else (long, short)
    found = correlate.candidates(*pair, 3)
    here, there = found.recording_s, found.reference_s
    if swapped:
        here, there = there, here
    assert len(found) == 4 * 3
    for k, start in enumerate((0, 800, 1600)):
        rows = slice(4 * k, 4 * k + 4)
        np.testing.assert_allclose(here[rows], (start + width / 2) / 4000)
        lag = np.rint((there[rows] - here[rows]) * 4000).astype(int) + start
        at, height = naive_candidates(long, short, start, width)
        spread = np.sqrt((height**2).sum() / (len(long) + width))
        assert lag[0] == 3000 + start
        expected = []
        for _ in range(4):
            peak = int(height.argmax())
            expected.append((at[peak], height[peak] / spread))
            height[np.abs(at - at[peak]) <= 20] = 0
        np.testing.assert_array_equal(lag, [e[0] for e in expected])
        np.testing.assert_allclose(found.height[rows], [e[1] for e in expected], rtol=1e-3)


@pytest.mark.parametrize("swapped", [False, True])
def test_candidates_stay_within_the_largest_offset(swapped):
    long = noise(30_000, 7)
    short = long[9000:14_000]
    pair = (short, long) if swapped else (long, short)
    near = correlate.candidates(*pair, 2, max_offset_s=2.0)
    offset = near.reference_s - near.recording_s
    assert len(near) == 4
    assert (np.abs(offset) <= 2.0 + 1 / COARSE_RATE).all()
    within = correlate.candidates(*pair, 2, max_offset_s=2.25)
    best = within.height.argmax()
    offset = within.reference_s - within.recording_s
    assert offset[best] == pytest.approx(-2.25 if swapped else 2.25)
    assert within.height[best] > 2 * near.height.max()


def test_a_stretched_chunk_meets_a_faster_clock():
    fast = noise(24_000, 8)
    slow = correlate.scipy.signal.resample(fast, 24_024)
    plain = correlate.candidates(slow, fast, 1)
    stretched = correlate.candidates(slow, fast, 1, stretch_ppm=1000.0)
    back = correlate.candidates(fast, slow, 1, stretch_ppm=-1000.0)
    assert stretched.height[0] > 1.5 * plain.height[0]
    assert back.height[0] > 1.5 * plain.height[0]
    assert stretched.reference_s[0] == pytest.approx(3.003, abs=1 / COARSE_RATE)


@settings(deadline=None)
@given(
    n=st.integers(100, 400_000),
    m=st.integers(100, 400_000),
    low=st.floats(-60, 60),
    more=st.sampled_from([0.0, 0.3]),
)
def test_windows_fill_what_both_hold(n, m, low, more):
    at, width = offsets.middles(n, m, low, low + more)
    begin, end = max(0.0, -low - more), min(m / RATE, n / RATE - low)
    if len(at) == 0:
        assert end - begin < 0.125
        return
    assert 0.125 <= width <= 4.0
    hop = width / 4
    np.testing.assert_allclose(np.diff(at), hop)
    assert at[0] - width / 2 == pytest.approx(begin)
    assert at[-1] + width / 2 <= end + 1e-6
    assert at[-1] + width / 2 + hop > end - 1e-6
    if end - begin >= 32:
        assert width == 4.0
    elif end - begin >= 2:
        assert width == pytest.approx((end - begin) / 8)
    else:
        assert width == pytest.approx(min(0.25, end - begin))


# --- shifts ----------------------------------------------------------------------------------


def naive_memory(x, y):
    """Bartlett's sum, lag by lag, as long as the products are positive."""
    x, y = x - x.mean(), y - y.mean()
    total = 1.0
    for lag in range(1, min(len(x), len(y))):
        rx, ry = (float(v[:-lag] @ v[lag:]) / float(v @ v) for v in (x, y))
        if rx * ry <= 0:
            break
        total += 2 * rx * ry
    return total


def naive_grid(t, values):
    """Every 10 ms the mean of four neighbours of the interpolated curve."""
    at = np.arange(t[0], t[-1] + 0.005, 0.01)
    curve = np.interp(at, t, values)
    padded = [curve[0]] * 2 + list(curve) + [curve[-1]]
    return np.array([np.mean(padded[k : k + 4]) for k in range(len(curve))])


@pytest.mark.parametrize("limit", [None, 0.455])
def test_a_shift_is_what_every_lag_says(limit):
    rng = np.random.default_rng(11)
    event = np.convolve(rng.standard_normal(400), np.hanning(9), mode="same")
    t, u = np.arange(200) * 0.02 + 3.0, np.arange(150) * 0.02 + 2.9
    reference, other = event[:200] + 0.5 * rng.standard_normal(200), event[20:170]
    found = activity.shift_of(t, reference, u, other, limit)

    x, y = naive_grid(t, reference), naive_grid(u, other)
    memory = naive_memory(x, y)
    offset, r, n, tried = [], [], [], 0
    least = min(len(x), len(y)) // 2
    for lag in range(least - len(y), len(x) - least + 1):
        if limit is not None and abs(lag * 0.01 + 0.1) > limit:
            continue
        a, b = x[max(lag, 0) : len(y) + lag], y[max(-lag, 0) : max(len(x) - lag, 0)]
        assert len(a) == len(b) >= least
        offset.append(lag * 0.01 + 0.1)
        r.append(max(np.corrcoef(a, b)[0, 1], 0))
        n.append(max(2 * len(a) / memory, 2))
        tried += 1
    offset, r, n = np.array(offset), np.array(r), np.array(n)
    nats = -n / 2 * np.log(1 - r**2)
    best = int(nats.argmax())
    assert found.offset_s == pytest.approx(offset[best])
    assert found.correlation == pytest.approx(r[best])
    assert found.independent == pytest.approx(n[best])
    assert found.nats == pytest.approx(nats[best])
    weight = np.exp(nats - nats[best])
    away = np.abs(offset - offset[best])
    error = next(e for e in sorted(away) if weight[away <= e + 1e-9].sum() >= 0.9 * weight.sum())
    assert abs(found.error_s - (error + 0.005)) < 0.0101
    assert found.error_s >= 0.005
    student = r[best] * np.sqrt((n[best] - 2) / (1 - r[best] ** 2))
    alone = scipy.stats.t.sf(student, n[best] - 2)
    assert found.p_value == pytest.approx(1 - (1 - alone) ** (2 * tried / memory), rel=1e-3)


def stream(name, rate, values, features="raw"):
    values = np.asarray(values, dtype=np.float64)
    return Stream(name, values, np.arange(len(values)) / rate, Fraction(rate), features=features)


def test_activities_of_sound_of_pictures_and_of_anything_else():
    rng = np.random.default_rng(12)
    values = rng.standard_normal((30, 8)) * np.arange(1, 9)
    (loud,) = activity.activities(stream("a", 10, values, "logmel"))
    level, change = values[:, :4].mean(axis=1), values[:, 4:].std(axis=1)
    expected = scipy.stats.zscore(level) + 2 * scipy.stats.zscore(change)
    np.testing.assert_allclose(loud, expected)
    (moved,) = activity.activities(stream("a", 10, values**2, "motion"))
    np.testing.assert_allclose(moved**2, (values**2).max(axis=1))
    assert len(activity.activities(stream("a", 10, values))) == 2
    still = activity.activities(stream("a", 10, np.ones((30, 8)), "logmel"))
    np.testing.assert_array_equal(still, np.zeros((1, 30)))


def test_the_best_of_several_activities_pays_for_all_and_for_its_frames(monkeypatch):
    rng = np.random.default_rng(13)
    steps = np.convolve(rng.standard_normal(300), np.hanning(7), mode="same")
    pair = stream("a", 10, steps[:200, None]), stream("b", 5, steps[20:180:2, None])
    found = activity.best_shift(pair, None)
    alone = [
        activity.shift_of(pair[0].times, x, pair[1].times, y, None)
        for x, y in product(*map(activity.activities, pair))
    ]
    best = min(alone, key=lambda shift: shift.p_value)
    assert len(alone) == 4
    assert found.offset_s == best.offset_s == pytest.approx(2.0, abs=0.1)
    assert found.error_s == pytest.approx(best.error_s + 0.1)
    assert found.p_value == pytest.approx(min(4 * best.p_value, 1))
    still = stream("c", 10, np.ones((99, 1)))
    assert activity.best_shift((still, pair[1]), None) is None
    monkeypatch.setattr(activity, "shift_of", lambda *_: replace(best, p_value=0.4))
    assert activity.best_shift(pair, None).p_value == 1.0
