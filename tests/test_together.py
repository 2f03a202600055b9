"""Many sequences at once: what they share, what pairs agree on, and which road is taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmalign_cli import runtime
from mmalign_cli.align import consensus, together, warps
from mmalign_cli.align.average import average_of
from mmalign_cli.align.cca import cca, folds_of, held_out_gains
from mmalign_cli.align.climb import Settings, Stage
from mmalign_cli.align.consensus import (
    _median_of_stars,
    agree,
    averaged,
    brought_even,
    shape_of,
)
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.family import Found, same
from mmalign_cli.align.sets import side_by_side
from mmalign_cli.align.takes import lay_out
from mmalign_cli.align.template import refine, shared_curve
from mmalign_cli.align.together import Ask, align_together, by_averaging
from mmalign_cli.align.warps import OpenEnds
from mmalign_cli.errors import InputError
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import spiral


@pytest.fixture(autouse=True)
def _one_thread():
    with runtime.one_algebra_thread():
        yield


def curve(u):
    return np.column_stack([np.sin(9 * u), np.cos(14 * u) + u])


def bent(m, seed=0, noise=0.02, n=120):
    """Return m recordings of one curve, each by a bent clock, and these clocks (m, n)."""
    rng = np.random.default_rng(seed)
    exponents = np.exp(rng.uniform(-0.4, 0.4, (m, 2)))
    lengths = rng.integers(n - 20, n + 20, m)
    clocks = [
        1 - (1 - np.linspace(0, 1, k) ** a) ** b
        for k, (a, b) in zip(lengths, exponents, strict=True)
    ]
    return [curve(c) + noise * rng.normal(size=(len(c), 2)) for c in clocks], clocks


def clock_errors(line, clocks):
    """Return how far apart the clocks of all sequences are along a line, in frames of 120."""
    seen = np.stack(
        [np.interp(p, np.arange(len(c)), c) for p, c in zip(line.T, clocks, strict=True)]
    )
    return 120 * np.abs(seen - seen.mean(axis=0)).mean()


# What sequences share


@pytest.mark.parametrize("dims", [(3, 3), (2, 4, 3), (3, 1, 5, 4)])
def test_the_shared_curve_is_the_first_eigenvectors_of_the_mean_projection(dims):
    rng = np.random.default_rng(sum(dims))
    common = rng.normal(size=(200, min(dims)))
    parts = [
        np.hstack([common, np.zeros((200, d - min(dims)))]) @ rng.normal(size=(d, d))
        + rng.normal(size=(200, d))
        for d in dims
    ]
    found = shared_curve(parts)
    centred = [z - z.mean(axis=0) for z in parts]
    mean = sum(z @ np.linalg.pinv(z) for z in centred) / len(dims)
    size = np.linalg.eigvalsh(mean)[::-1][: min(dims)]
    m = len(dims)
    np.testing.assert_allclose(
        found.correlations, np.clip((m * size - 1) / (m - 1), 0, 1), atol=1e-5
    )
    for z, f, v in zip(parts, found.maps, found.variates, strict=True):
        np.testing.assert_allclose(f(z), v, atol=1e-9)


def test_of_two_sequences_it_is_canonical_correlation_analysis():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 3))
    y = x @ rng.normal(size=(3, 4)) + rng.normal(size=(300, 4))
    expected = cca(side_by_side([x, y])).correlations
    np.testing.assert_allclose(shared_curve([x, y]).correlations, expected, atol=1e-5)


def test_the_curve_of_the_others_leaves_one_out():
    rng = np.random.default_rng(4)
    found = shared_curve([rng.normal(size=(50, 2)) for _ in range(4)])
    np.testing.assert_allclose(
        found.without(1), (found.variates[0] + found.variates[2] + found.variates[3]) / 3
    )


def test_gains_of_many_sets_are_finite_where_variates_differ_in_size():
    """The joint normalisation of many sets gives each variate a variance of its own."""
    rng = np.random.default_rng(5)
    common = rng.normal(size=(400, 2))
    sets = [common @ rng.normal(size=(2, 2)) + 0.02 * rng.normal(size=(400, 2)) for _ in range(12)]
    path = np.repeat(np.arange(400)[:, np.newaxis], 12, axis=1)
    gains = held_out_gains(folds_of(sets, path))
    assert (gains > 2).all()
    assert (gains < 20).all()


# Climbing against the others


def test_many_spirals_are_found_and_a_lost_one_is_searched_again():
    planted = spiral(6, np.random.default_rng(1))
    takes = lay_out([planted.sequences])
    lengths = takes.lengths(0)

    def error(knots):
        path = warps.to_path(knots, lengths).astype(float)
        return path_difference(path, planted.truth.astype(float)) / np.sqrt(6)

    u = np.linspace(0, 300 - 1, 25)
    true = np.stack([np.interp(u, np.arange(300), c) for c in planted.truth.T])
    near = true / (lengths[:, np.newaxis] - 1)
    near[:, 0], near[:, -1] = 0.0, 1.0
    stage = Stage(24, 1e-4, tolerance=1e-5, iterations=60)
    refined = refine(takes, near, stage, Settings())
    assert error(refined.knots) < 0.45
    lost = near.copy()
    lost[2] = np.linspace(0, 1, 25) ** 6
    values = refine(takes, lost, stage, Settings()).values
    assert values[2] < np.median(values) - 1
    found = together._rescued(takes, lost, values, Settings(), runtime.silent)
    assert error(refine(takes, found, stage, Settings()).knots) < 0.6


def test_more_than_four_take_the_road_by_a_template():
    planted = spiral(5, np.random.default_rng(2))
    found = align_together(planted.sequences, Ask(seed=1))
    assert found.road == together.TEMPLATE
    assert path_difference(found.path.astype(float), planted.truth * 1.0) / np.sqrt(5) < 0.6
    assert len(found.correlations) == 2
    assert (np.diff(found.path, axis=0) <= 1).all()
    assert (np.diff(found.line, axis=0) > 0).all()


# Consensus


@pytest.mark.parametrize("m", [2, 3, 7])
def test_recordings_of_one_curve_agree(m):
    parts, clocks = bent(m)
    found = align_together(parts, Ask(), metric="euclidean", is_raw=False)
    assert found.road == together.CONSENSUS
    assert found.correlations is None
    assert clock_errors(found.line, clocks) < 0.8


def test_level_and_gain_do_not_matter_to_shapes():
    parts, clocks = bent(4)
    other = [x[:, :1] * (1 + k) + 5 * k for k, x in enumerate(parts)]
    found = align_together(other, Ask(), metric="sqeuclidean")
    assert found.road == together.CONSENSUS
    assert clock_errors(found.line, clocks) < 1.5
    np.testing.assert_allclose(shape_of(other[3]), shape_of(parts[3][:, :1]), atol=1e-9)


def test_a_pair_that_went_astray_is_outvoted(monkeypatch):
    parts, clocks = bent(7, seed=3)
    right = _median_of_stars(brought_even(parts), "euclidean", 0.5, runtime.silent)
    lengths = len(right[0])
    even = [np.interp(np.linspace(0, 1, lengths), np.linspace(0, 1, len(c)), c) for c in clocks]
    assert clock_errors(right.T, even) < 1.5

    def astray(x, y, **how):
        found = dtw(x, y, **how)
        if (x == wrong[0]).all() and (y == wrong[1]).all():
            corner = np.column_stack([np.arange(lengths), np.minimum(np.arange(lengths), 3)])
            rest = np.column_stack([np.full(lengths - 4, lengths - 1), np.arange(4, lengths)])
            return replace(found, frames=np.vstack([corner, rest]))
        return found

    brought = brought_even(parts)
    wrong = brought[0], brought[1]
    monkeypatch.setattr(consensus, "dtw", astray)
    outvoted = _median_of_stars(brought, "euclidean", 0.5, runtime.silent)
    assert clock_errors(outvoted.T, even) < 1.5


def naive_averaging(even, mean):
    """One round of DTW barycentre averaging, frame by frame."""
    matched = [[] for _ in mean]
    for x in even:
        for i, j in dtw(mean, x).frames:
            matched[i].append(x[j])
    return np.array([np.mean(frames, axis=0) for frames in matched])


def test_averaging_is_barycentre_averaging():
    parts, _ = bent(5, seed=2)
    begun = agree(parts, "sqeuclidean", rounds=1)
    even = brought_even(parts)
    mean = begun.average(parts)
    for rounds in (1, 2, 3):
        found = averaged(parts, begun, "sqeuclidean", rounds=rounds)
        np.testing.assert_allclose(found.average(parts), naive_averaging(even, mean), atol=1e-9)
        mean = naive_averaging(even, mean)


def test_averaging_comes_nearer_to_the_sequences():
    parts, _ = bent(6, seed=4, noise=0.1)
    found = by_averaging(parts, Ask(), "sqeuclidean", True, runtime.silent)
    plain = np.mean(brought_even(parts), axis=0)
    near, far = (
        np.mean([dtw(c, x).cost.total for x in brought_even(parts)]) for c in (found.mean, plain)
    )
    assert near < far / 2


def test_an_average_is_the_mean_along_the_warps():
    rng = np.random.default_rng(6)
    parts = [rng.normal(size=(n, 2)) for n in (9, 12)]
    line = np.column_stack([np.linspace(0, 8, 40), np.linspace(0, 11, 40) ** 1.0])
    found = average_of(parts, line)
    assert found.mean.shape == (12, 2)
    first = np.column_stack([np.interp(found.line[:, 0], np.arange(9), c) for c in parts[0].T])
    second = np.column_stack([np.interp(found.line[:, 1], np.arange(12), c) for c in parts[1].T])
    np.testing.assert_allclose(found.mean, (first + second) / 2)
    np.testing.assert_allclose(found.spread, np.abs(first - second) / 2)


# Roads


def test_sequences_of_as_many_columns_may_still_need_maps():
    planted = spiral(3, np.random.default_rng(4))
    found = align_together(planted.sequences, Ask(), metric="sqeuclidean")
    assert found.road == together.TOTAL_CORRELATION
    assert path_difference(found.path.astype(float), planted.truth * 1.0) < 0.6
    assert found.evidence > 3


def test_what_is_learned_does_not_hang_on_invertible_maps():
    planted = spiral(3, np.random.default_rng(5))
    rng = np.random.default_rng(0)
    turned = [x @ rng.normal(size=(3, 3)) + 7 for x in planted.sequences]
    plain, other = (align_together(s, Ask()) for s in (planted.sequences, turned))
    assert path_difference(plain.path.astype(float), other.path.astype(float)) < 0.2


def test_three_noisy_sensors_begin_from_their_envelopes():
    rng = np.random.default_rng(7)
    u = np.linspace(0, 1, 150)
    burst = np.exp(-((u - 0.3) ** 2) / 0.005) + 0.7 * np.exp(-((u - 0.7) ** 2) / 0.01)

    def sensor(clock, d):
        level = np.interp(clock, u, burst)[:, np.newaxis]
        return level * rng.normal(size=(len(clock), d)) + 0.01 * rng.normal(size=(len(clock), d))

    clocks = [u, u**1.2, u**0.85]
    found = align_together([sensor(c, d) for c, d in zip(clocks, (12, 14, 13), strict=True)], Ask())
    assert found.road == together.SENSORS
    straight = np.linspace(0, 149, 50)[:, np.newaxis] * np.ones(3)
    assert clock_errors(found.line, clocks) < 0.7 * clock_errors(straight, clocks)


def test_open_ends_leave_out_what_only_one_has():
    planted = spiral(2, np.random.default_rng(8))
    cut = (planted.sequences[0], planted.sequences[1][:-25])
    found = align_together(cut, Ask(ends=OpenEnds(end=True)), metric="sqeuclidean")
    assert found.road == together.TOTAL_CORRELATION
    assert found.line[-1, 0] < len(cut[0]) - 5


def test_outlying_frames_are_kept_out():
    parts, clocks = bent(4, seed=9)
    rng = np.random.default_rng(0)
    broken = [x.copy() for x in parts]
    for x in broken:
        x[rng.integers(5, len(x) - 5, 6)] = 50.0
    found = align_together(broken, Ask(robust=True), metric="euclidean", is_raw=False)
    assert clock_errors(found.line, clocks) < 1.2


def test_progress_may_stop_it():
    parts, _ = bent(3)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align_together(parts, Ask(), metric="euclidean", is_raw=False, progress=stop)


def test_what_cannot_be_aligned_is_refused():
    parts, _ = bent(3)
    with pytest.raises(InputError, match="constant"):
        align_together([*parts, np.ones((50, 2))], Ask())
    with pytest.raises(InputError, match="too few"):
        align_together([*parts, parts[0][:3]], Ask())


def test_the_same_again_is_the_same():
    planted = spiral(5, np.random.default_rng(3))
    first, second = (align_together(planted.sequences, replace(Ask(), seed=2)) for _ in range(2))
    np.testing.assert_array_equal(first.line, second.line)


def test_dimensions_of_a_comparison_are_asked_for_or_those_of_most_gain():
    gains = np.array([0.5, 0.2, -0.1, 0.3, -0.4])
    assert together.dims_for(None, gains, 9) == 4
    assert together.dims_for(0.9, gains, 3) == 3
    assert together.dims_for(1, gains, 9) == 1
    assert together.dims_for(7, gains, 5) == 5
    assert together.dims_for(None, np.zeros(0), 6) == 6
    plenty, little = np.zeros((60, 6)), np.zeros((59, 6))
    assert together._ridge([plenty, plenty]) == 1e-4
    assert together._ridge([plenty, little]) == 0.05


def test_paths_of_the_family_are_steps_that_move():
    raw = np.array([[0.0, 0.0], [0.0, 0.4], [1.0 + 1e-12, 0.4], [1.2, 1.6], [2.0, 3.0]])
    parts = [np.random.default_rng(0).normal(size=(n, 2)) for n in (3, 4)]

    def of(weights):
        found = Found(raw, (same(2),) * 2, None, (1.0,), "converged", "uniform", 1, weights)
        return together.of_family(parts, "gtw", found)

    np.testing.assert_array_equal(of(None).path, [[0, 0], [1, 0], [1, 2], [2, 3]])
    assert of(None).path.dtype == np.int64
    fractions = of(np.ones((2, 3))).path
    np.testing.assert_array_equal(fractions, [[0, 0], [0, 0.4], [1, 0.4], [1.2, 1.6], [2, 3]])
    assert fractions[2, 0] == 1.0
