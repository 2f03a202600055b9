"""What `mmalign sync` is made of: correlation of windows, lines, chains, activities, verdicts."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign_cli.align import activity, correlate, lines, offsets
from mmalign_cli.align.correlate import RATE, Candidates
from mmalign_cli.evidence.relation import NOTHING, Agreement, relation


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
