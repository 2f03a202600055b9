"""The joint aligner: its gradients, its invariances, and planted warps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from mmalign_cli.align import climb, deep_climb, warps
from mmalign_cli.align.cca import cca as cca_of
from mmalign_cli.align.cca import of_samples
from mmalign_cli.align.climb import Settings, Stage, objective
from mmalign_cli.align.correlation import (
    Linear,
    Samples,
    canonical,
    covariance,
    evidence,
    leading_correlation,
    matching_maps,
    total_correlation,
    whitening,
)
from mmalign_cli.align.joint import MATCHED, UNRELATED, align_jointly
from mmalign_cli.align.outliers import without_outliers
from mmalign_cli.align.schedule import is_chancy, plan_for
from mmalign_cli.align.starts import Alternation, bent_lines, is_new, pair_starts, stars
from mmalign_cli.align.tails import fitted
from mmalign_cli.align.takes import lay_out
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.errors import InputError
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.metrics import path_difference

BOTH = OpenEnds(begin=True, end=True)
ENDS = (CLOSED_ENDS, OpenEnds(begin=True), OpenEnds(end=True), BOTH)


def rng(seed=0):
    return np.random.default_rng(seed)


def error(path, truth):
    return path_difference(np.asarray(path, float), np.asarray(truth, float))


def spiral(seed, n_sequences=2):
    return synth.spiral(n_sequences, rng(seed))


def samples(seed=0, dims=(2, 3), n=40):
    r = rng(seed)
    weights = r.uniform(0.5, 1.5, n)
    latent = r.normal(size=(n, 1))
    return Samples(latent + r.normal(size=(n, sum(dims))), dims, weights / weights.sum())


def two_takes(n_sequences=2):
    r = rng(5)
    return lay_out(
        [
            [np.cumsum(r.normal(size=(n + 3 * i, i + 2)), axis=0) for i in range(n_sequences)]
            for n in (30, 41)
        ]
    )


def bins(pieces, ends):
    return pieces + int(ends.begin) + int(ends.end)


# -- warps


@given(st.integers(0, 10_000), st.integers(1, 20), st.sampled_from(ENDS))
@settings(deadline=None, max_examples=60)
def test_any_numbers_are_a_monotone_warp(seed, pieces, ends):
    theta = rng(seed).normal(0, 3, (2, bins(pieces, ends)))
    knots = warps.knots_of(theta, ends)
    assert knots.shape == (2, pieces + 1)
    assert (np.diff(knots) > 0).all()
    assert (knots[:, 0] > 0).all() if ends.begin else (knots[:, 0] == 0).all()
    assert (knots[:, -1] < 1).all() if ends.end else (knots[:, -1] == 1).all()


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from(ENDS))
@settings(deadline=None, max_examples=60)
def test_ramps_interpolate_the_knots(seed, pieces, ends):
    theta = rng(seed).normal(size=bins(pieces, ends))
    by_ramps = warps.ramps(50, pieces, ends) @ warps.softmax(theta)
    by_knots = warps.positions(warps.knots_of(theta, ends), np.linspace(0, 1, 50))
    np.testing.assert_allclose(by_ramps, by_knots, atol=1e-12)


@pytest.mark.parametrize("ends", ENDS)
def test_log_slopes_and_knots_are_one_thing(ends):
    knots = warps.knots_of(rng().normal(size=(3, bins(7, ends))), ends)
    np.testing.assert_allclose(warps.knots_of(warps.theta_of(knots, ends), ends), knots, atol=1e-12)


def test_gauge_keeps_relative_warps_and_makes_the_mean_straight():
    u = np.linspace(0, 1, 201)
    knots = np.stack([u**2, u**0.5, u])
    again = warps.resampled(knots, 400)
    np.testing.assert_allclose(again.mean(axis=0), np.linspace(0, 1, 401), atol=2e-3)
    at = np.linspace(0.1, 0.9, 9)
    before = warps.positions(knots[1], warps.inverse(knots[0], at))
    after = warps.positions(again[1], warps.inverse(again[0], at))
    np.testing.assert_allclose(after, before, atol=2e-3)


@given(st.integers(0, 10_000), st.lists(st.integers(2, 60), min_size=2, max_size=4))
@settings(deadline=None, max_examples=60)
def test_paths_of_warps_are_valid(seed, lengths):
    knots = warps.knots_of(rng(seed).normal(0, 2, (len(lengths), 6)))
    path = warps.to_path(knots, np.array(lengths))
    steps = np.diff(path, axis=0)
    assert (path[0] == 0).all()
    assert (path[-1] == np.array(lengths) - 1).all()
    assert ((steps == 0) | (steps == 1)).all()
    assert steps.any(axis=1).all()


def test_a_path_becomes_the_warp_through_its_middle():
    knots = warps.resampled(warps.knots_of(rng(1).normal(0, 0.5, (2, 8))), 16)
    lengths = np.array([200, 150])
    path = warps.to_path(knots, lengths)
    back = warps.from_path(path.astype(float), lengths, 16)
    assert np.abs(back - knots).max() < 0.01


# -- objective


def naive_total_correlation(one, ridge):
    mean = np.average(one.values, axis=0, weights=one.weights)
    cov = np.zeros((one.values.shape[1],) * 2)
    for value, weight in zip(one.values, one.weights, strict=True):
        cov += weight * np.outer(value - mean, value - mean)
    cov += ridge * np.eye(len(cov))
    total = -np.log(np.linalg.det(cov))
    for block in one.blocks:
        total += np.log(np.linalg.det(cov[block, block]))
    return total / 2


@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=2, max_size=4))
@settings(deadline=None, max_examples=40)
def test_total_correlation_is_what_its_formula_says(seed, dims):
    one = samples(seed, tuple(dims))
    value, _ = total_correlation(one, 0.01)
    assert value == pytest.approx(naive_total_correlation(one, 0.01), rel=1e-9, abs=1e-12)


def test_for_two_sets_it_is_the_mutual_information_of_cca():
    one = replace(samples(3), weights=np.full(40, 1 / 40))
    a, b = one.blocks
    cca = CCA(n_components=2, scale=False, max_iter=5000, tol=1e-12).fit(
        one.values[:, a], one.values[:, b]
    )
    left, right = cca.transform(one.values[:, a], one.values[:, b])
    rho = np.array([np.corrcoef(left[:, k], right[:, k])[0, 1] for k in range(2)])
    assert total_correlation(one, 0.0)[0] == pytest.approx(evidence(rho), rel=1e-6)
    np.testing.assert_allclose(canonical(covariance(one, 0.0)[0], a, b)[1], rho, rtol=1e-6)


def test_canonical_directions_are_those_of_cca():
    one = samples(2, (3, 2))
    u, rho, v = canonical(covariance(one, 0.1)[0], *one.blocks)
    found = cca_of(of_samples(one, 0.1))
    np.testing.assert_allclose(found.correlations, rho, rtol=1e-9)
    first, second = (f.weights for f in found.maps)
    sign = np.sign((first * u).sum(axis=0))
    np.testing.assert_allclose(first * sign, u, atol=1e-9)
    np.testing.assert_allclose(second * sign, v, atol=1e-9)


def by_differences(function, at, step=1e-5):
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("dims", [(2, 3), (2, 1, 3)])
@pytest.mark.parametrize("leading", [None, 1, 2])
def test_gradient_by_the_samples(dims, leading):
    one = samples(1, dims, n=15)

    def value(values):
        moved = replace(one, values=values)
        if leading is None:
            return total_correlation(moved, 0.01)
        return leading_correlation(moved, 0.01, leading)

    expected = by_differences(lambda values: value(values)[0], one.values)
    np.testing.assert_allclose(value(one.values)[1], expected, atol=1e-8)


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("smooth_speed", [False, True])
@pytest.mark.parametrize("n_sequences", [2, 3])
def test_gradient_by_the_log_slopes(ends, smooth_speed, n_sequences):
    takes = two_takes(n_sequences)
    how = Settings(smoothness=0.3, smooth_speed=smooth_speed, ends=ends)
    stage = Stage(5, 0.01, 2 if smooth_speed else None)
    theta = rng(2).normal(0, 0.3, (2, n_sequences, bins(5, ends)))
    expected = by_differences(lambda t: objective(takes, t, stage, how)[0], theta, 1e-6)
    found = objective(takes, theta, stage, how)[1]
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max() + 1e-7)


def test_t_weights_find_the_outliers():
    one = samples(0, (2, 2), n=60)
    values = one.values.copy()
    values[::10] += 30
    weights = fitted(replace(one, values=values), 1e-4).weights / one.weights
    assert weights[::10].max() < 0.1 * np.median(np.delete(weights, np.arange(0, 60, 10)))


def test_a_t_is_likelier_only_with_heavy_tails():
    plain = samples(0, (2, 2), n=400)
    assert fitted(plain, 1e-4).gain < 0
    heavy = np.sqrt(3.0 / rng(1).chisquare(3, (400, 1)))
    assert fitted(replace(plain, values=plain.values * heavy), 1e-4).gain > 0


def test_what_a_t_shares_does_not_mind_units():
    one = samples(1, (2, 3), n=200)
    scaled = replace(one, values=one.values * [1e2, 1e-1, 1.0, 3.0, 1e3])
    assert fitted(scaled, 0.0).shared == pytest.approx(fitted(one, 0.0).shared, abs=1e-8)


def test_a_t_is_as_likely_as_scipy_says():
    from scipy.stats import multivariate_normal, multivariate_t

    one = samples(1, (2, 2), n=200)
    found = fitted(one, 0.0)
    cov, centred = covariance(replace(one, weights=found.weights), 0.0)
    plain, middle = covariance(one, 0.0)
    t = one.weights @ multivariate_t(shape=cov, df=3).logpdf(centred)
    apart = sum(
        one.weights @ multivariate_t(shape=cov[b, b], df=3).logpdf(centred[:, b])
        for b in one.blocks
    )
    normal = one.weights @ multivariate_normal(cov=plain).logpdf(middle)
    assert found.gain == pytest.approx(t - normal)
    assert found.shared == pytest.approx(t - apart)


# -- linear maps


def test_whitening_drops_what_is_a_combination_of_the_rest():
    r = rng(4)
    rank_two = r.normal(size=(80, 2)) @ r.normal(size=(2, 5))
    white = whitening(np.column_stack([rank_two, np.full(80, 7.0)]))
    assert white.weights.shape == (6, 2)
    assert np.abs(white.weights).max() < 10
    values = white(np.column_stack([rank_two, np.full(80, 7.0)]))
    np.testing.assert_allclose(values.T @ values / 80, np.eye(2), atol=1e-10)


def test_whitening_does_not_mind_units():
    x = rng(4).normal(size=(80, 3))
    assert whitening(x * [1e-9, 1.0, 1e9]).weights.shape == (3, 3)


def test_maps_compose():
    r = rng(1)
    x = r.normal(size=(50, 3))
    first, second = whitening(x), Linear(r.normal(size=3), r.normal(size=(3, 2)))
    np.testing.assert_allclose(second.after(first)(x), second(first(x)), atol=1e-12)


def test_latents_of_a_match_are_close():
    one = samples(2, (3, 3), 400)
    first, second, rho = matching_maps(one, 1e-4)
    a, b = one.blocks
    left, right = first(one.values[:, a]), second(one.values[:, b])
    expected = 2 * rho / (1 + rho)  # variance of the difference: 2 (1 - rho) times rho/(1-rho^2)
    np.testing.assert_allclose(one.weights @ (left - right) ** 2, expected, rtol=0.02)


# -- starts and plans


def test_the_pool_begins_with_the_straight_line_and_is_distinct():
    lines = bent_lines()
    np.testing.assert_allclose(lines[0], np.linspace(0, 1, 17), atol=1e-12)
    assert len(lines) == 25
    assert all(is_new(line, lines[:k]) for k, line in enumerate(lines))
    assert len(pair_starts(two_takes(), BOTH)) == 75


def test_alternation_improves_a_start_and_knows_where_it_has_been():
    planted = spiral(1000)
    takes = lay_out([planted.sequences])
    alternation = Alternation(takes)
    start = pair_starts(takes, CLOSED_ENDS)[0]
    better = alternation.improved(start)

    def worth(knots):
        return total_correlation(takes.along(knots), 1e-2)[0]

    assert worth(better) > worth(start) + 0.5
    assert alternation.improved(start) is None


def test_pairs_compose_to_a_star():
    u = np.linspace(0, 1, 101)
    powers = np.array([1.0, 2.0, 0.5])
    pairs = {
        (i, j): np.stack([u ** powers[i], u ** powers[j]])[np.newaxis] for i, j in ((0, 1), (1, 2))
    }
    star = stars(pairs, 3, 1)[0]
    at = np.linspace(0.4, 0.9, 6)
    found = warps.positions(star[2], warps.inverse(star[0], at))
    np.testing.assert_allclose(found, at**0.5, atol=0.02)


def test_many_dimensions_on_few_frames_count_only_the_leading_correlations():
    r = rng(0)
    few = lay_out([[r.normal(size=(100, 20)), r.normal(size=(90, 6))]])
    many = lay_out([[r.normal(size=(2000, 20)), r.normal(size=(1900, 6))]])
    assert is_chancy(few)
    assert not is_chancy(many)
    assert plan_for(few).finish[-1].leading is None


# -- the whole


@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_recovers_the_warps_of_a_spiral(seed):
    planted = spiral(seed)
    found = align_jointly([planted.sequences])
    assert error(found.paths[0], planted.truth) < 0.4
    assert found.evidence > MATCHED


def test_three_sequences():
    planted = spiral(1003, 3)
    found = align_jointly([planted.sequences])
    assert error(found.paths[0], planted.truth) < 0.6
    assert found.knots.shape[1] == 3
    assert len(found.projections) == 3


def test_takes_share_their_maps():
    planted = synth.takes(3, True, rng(7))
    found = align_jointly([take.sequences for take in planted])
    for k, take in enumerate(planted):
        assert error(found.paths[k], take.truth) < 0.4
    frames = found.frames(1)
    assert frames.shape == (found.knots.shape[2], 2)
    assert frames[-1].tolist() == [len(x) - 1 for x in planted[1].sequences]
    first, second = (
        projection(x[path])
        for projection, x, path in zip(
            found.projections, planted[1].sequences, found.paths[1].T, strict=True
        )
    )
    assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] > 0.99
    assert found.correlations[1] > 0.99
    assert found.correlations[2] < 0.3


def test_no_take_is_left_astray_as_an_outlier():
    planted = synth.takes(8, True, rng(4))
    found = align_jointly([take.sequences for take in planted])
    errors = [error(p, take.truth) for p, take in zip(found.paths, planted, strict=True)]
    assert max(errors) < 0.4


def test_unrelated_sequences_show_no_evidence():
    smooth = [synth.takes(1, True, rng(s))[0].sequences for s in (1, 2)]
    found = align_jointly([[smooth[0][0], smooth[1][1]]])
    assert found.evidence < MATCHED
    assert UNRELATED < MATCHED


def test_invertible_linear_maps_change_nothing():
    planted = spiral(1004)
    r = rng(9)
    mapped = [x @ r.normal(size=(3, 3)) + r.normal(size=3) for x in planted.sequences]
    both = planted.sequences, mapped
    knots = warps.knots_of(r.normal(0, 0.5, (1, 2, 16)))
    worth = [
        objective(lay_out([one]), warps.theta_of(knots), Stage(16, 1e-3), Settings())[0]
        for one in both
    ]
    assert worth[1] == pytest.approx(worth[0], abs=1e-9)
    plain, turned = (align_jointly([one]) for one in both)
    assert error(turned.paths[0], plain.paths[0]) < 0.15  # where linear interpolation kinks, the
    assert turned.objective[-1] == pytest.approx(plain.objective[-1], abs=0.1)  # climb stops


@pytest.mark.parametrize("n_sequences", [2, 3])
def test_the_same_again_is_the_same(n_sequences):
    sequences = [x[::2] for x in spiral(1005, n_sequences).sequences]
    once, again = (align_jointly([sequences], seed=3) for _ in range(2))
    np.testing.assert_array_equal(once.knots, again.knots)
    assert once.objective == again.objective


def test_outlying_frames_are_kept_out():
    planted = spiral(1006)
    r = rng(2)
    spoiled = []
    for x in planted.sequences:
        bad = r.random(len(x)) < 0.2
        spoiled.append(np.where(bad[:, None], r.normal(0, 5, x.shape) * x.std(axis=0), x))
    robust, plain = align_jointly([spoiled], robust=True), align_jointly([spoiled])
    assert error(robust.paths[0], planted.truth) < 1.0
    assert error(robust.paths[0], planted.truth) < error(plain.paths[0], planted.truth)


def test_hampel_replaces_single_values_and_keeps_a_smooth_curve():
    curve = np.column_stack([np.sin(np.linspace(0, 6, 80)), np.linspace(0, 1, 80) ** 2])
    spoiled = curve.copy()
    spoiled[[9, 40, 71], [0, 1, 0]] += 5
    np.testing.assert_allclose(without_outliers(curve), curve, atol=0.02)
    assert np.abs(without_outliers(spoiled) - curve).max() < 0.2


def test_open_ends_leave_out_what_has_no_match():
    planted = synth.takes(1, True, rng(102))[0]
    x, y = planted.sequences
    cut_x, cut_y = int(0.1 * len(x)), int(0.9 * len(y))
    shared = (planted.truth[:, 0] >= cut_x) & (planted.truth[:, 1] < cut_y)
    truth = planted.truth[shared] - [cut_x, 0]
    opened = align_jointly([[x[cut_x:], y[:cut_y]]], ends=BOTH)
    closed = align_jointly([[x[cut_x:], y[:cut_y]]])
    assert error(opened.paths[0], truth) < 0.6
    assert error(opened.paths[0], truth) < 0.5 * error(closed.paths[0], truth)
    assert opened.paths[0][-1, 0] < closed.paths[0][-1, 0]
    assert opened.evidence > closed.evidence


def test_progress_can_stop_it():
    def stop(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align_jointly([spiral(1000).sequences], progress=stop)


@pytest.mark.parametrize(
    ("x", "what"), [(np.ones((20, 2)), "does not vary"), (np.eye(2), "2 frames are too few")]
)
def test_what_cannot_be_aligned_is_refused(x, what):
    with pytest.raises(InputError, match=what):
        align_jointly([[rng().normal(size=(20, 2)), x]])


def test_outliers_are_those_of_hampel():
    r = np.random.default_rng(9)
    frames = r.standard_t(2, size=(60, 3)) * [1, 10, 0.1]
    padded = np.vstack([frames[:1]] * 3 + [frames] + [frames[-1:]] * 3)
    middle = np.array([np.median(padded[k : k + 7], axis=0) for k in range(60)])
    away = np.abs(frames - middle)
    around = np.vstack([away[:1]] * 3 + [away] + [away[-1:]] * 3)
    near = np.array([np.median(around[k : k + 7], axis=0) for k in range(60)])
    deviation = 1.4826 * np.maximum(near, np.median(away, axis=0))
    expected = np.where(away > 3 * deviation, middle, frames)
    assert 0.02 < (expected != frames).mean() < 0.3
    assert ((away > 3 * deviation) != (away > 4 * deviation)).any()
    np.testing.assert_array_equal(without_outliers(frames), expected)


def test_uneven_speed_costs_its_mean_squared_log_slope():
    theta = rng(5).normal(size=(2, 3, 6))
    slope = np.log(6 * np.exp(theta) / np.exp(theta).sum(axis=-1, keepdims=True))
    cost, _ = climb._penalty(theta, Settings(smoothness=0.7))
    assert cost == pytest.approx(0.7 * (slope**2).mean())
    cost, _ = deep_climb._unevenness(theta)
    assert cost == pytest.approx(0.03 * (slope**2).mean())
    cost, _ = climb._penalty(theta, Settings(smoothness=0.7, smooth_speed=True))
    assert cost == pytest.approx(0.7 * (np.diff(slope, axis=-1) ** 2).mean())
