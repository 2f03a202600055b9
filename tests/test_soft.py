"""Soft couplings against an enumeration of all paths, and what is read off them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmalign_cli.align.anneal import autocorrelation_time, band_of, temperature
from mmalign_cli.align.coupling import (
    Band,
    Coupling,
    around,
    blurred,
    draw_paths,
    expect,
    posterior_of,
    whole,
)
from mmalign_cli.align.dtw import dtw
from mmalign_cli.errors import AlignmentError


def all_paths(n, m):
    """Every warping path of a small table, as lists of cells."""
    if (n, m) == (1, 1):
        return [[(0, 0)]]
    before = [(n - 1, m - 1), (n - 1, m), (n, m - 1)]
    return [[*p, (n - 1, m - 1)] for a, b in before if a > 0 and b > 0 for p in all_paths(a, b)]


def enumerated(cost, gamma, allowed):
    """Marginals, soft cost and mean cost by summing over all paths inside a window."""
    paths = [p for p in all_paths(*cost.shape) if all(allowed[c] for c in p)]
    weights = np.array([np.exp(-sum(cost[c] for c in p) / gamma) for p in paths])
    table = np.zeros_like(cost)
    for p, w in zip(paths, weights / weights.sum(), strict=True):
        for c in p:
            table[c] += w
    return table, -gamma * np.log(weights.sum()), (table * cost).sum() / table.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.3, 1, 4]))
def test_expectation_is_that_over_all_paths(seed, n, m, gamma):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    cost = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    table, soft_cost, mean = enumerated(cost, gamma, np.ones((n, m), bool))
    found = expect(x, y, gamma, whole(n, m))
    np.testing.assert_allclose(found.coupling.dense(), table, atol=1e-10)
    assert found.soft_cost == pytest.approx(soft_cost, abs=1e-9)
    assert found.mean_cost == pytest.approx(mean, abs=1e-9)


def test_a_band_leaves_cells_out():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5, 1)), rng.normal(size=(6, 1))
    band = Band(np.array([0, 0, 1, 2, 3]), 3, 6)
    allowed = np.zeros((5, 6), bool)
    for i, lo in enumerate(band.lo):
        allowed[i, lo : lo + 3] = True
    table, soft_cost, _ = enumerated((x - y.T) ** 2, 0.7, allowed)
    found = expect(x, y, 0.7, band)
    np.testing.assert_allclose(found.coupling.dense(), table, atol=1e-10)
    assert found.soft_cost == pytest.approx(soft_cost)
    with pytest.raises(AlignmentError, match="band"):
        expect(x, y, 0.7, Band(np.zeros(5, np.int64), 3, 6))


def test_cold_expectation_is_the_dtw_path():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    path = dtw(x, y).frames
    table = expect(x, y, 1e-4, whole(40, 30)).coupling.dense()
    assert table[tuple(path.T)].min() > 0.999
    assert table.sum() == pytest.approx(len(path))


def test_expectation_is_the_gradient_of_the_soft_cost():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 1)), rng.normal(size=(7, 1))
    coupling = expect(x, y, 0.5, whole(6, 7)).coupling.dense()
    by_hand = (coupling * 2 * (x - y.T)).sum(axis=1)
    step = 1e-6
    for i in range(6):
        move = np.zeros_like(x)
        move[i] = step
        costs = [expect(x + s * move, y, 0.5, whole(6, 7)).soft_cost for s in (1, -1)]
        assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(by_hand[i], abs=1e-5)


def test_drawn_paths_have_the_probabilities_of_the_coupling():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(6, 1)), rng.normal(size=(5, 1))
    found = expect(x, y, 1.0, whole(6, 5))
    counts = np.zeros((6, 5))
    paths = draw_paths(found, 4000, seed=1)
    for path in paths:
        assert (path[0] == 0).all()
        assert (path[-1] == [5, 4]).all()
        moves = np.diff(path, axis=0)
        assert ((moves == 0) | (moves == 1)).all()
        assert moves.any(axis=1).all()
        counts[tuple(path.T)] += 1
    np.testing.assert_allclose(counts / 4000, found.coupling.dense(), atol=0.04)
    again = draw_paths(found, 4000, seed=1)
    assert all((a == b).all() for a, b in zip(paths, again, strict=True))


def test_quantiles_and_entropy_of_columns():
    probability = np.zeros((4, 2))
    probability[:, 0] = [0.25, 0.25, 0.25, 0.25]
    probability[2, 1] = 1.0
    found = posterior_of(Coupling(whole(4, 2), probability), 0.5)
    np.testing.assert_allclose(found.middle, [1.5, 2.0])
    np.testing.assert_allclose(found.low, [0.5, 1.75])
    np.testing.assert_allclose(found.high, [2.5, 2.25])
    np.testing.assert_allclose(found.entropy, [np.log(4), 0.0], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 30), st.integers(0, 5))
def test_a_band_round_a_path_holds_it(seed, n, m, radius):
    rng = np.random.default_rng(seed)
    path = dtw(rng.normal(size=(n, 1)), rng.normal(size=(m, 1))).frames
    band = around(path, n, m, radius)
    k = path[:, 1] - band.lo[path[:, 0]]
    assert ((k >= 0) & (k < band.width)).all()
    assert (np.diff(band.lo) >= 0).all()
    expect(np.zeros((n, 1)), np.zeros((m, 1)), 1.0, band)


def test_large_tables_are_banded():
    path = np.column_stack([np.arange(3000)] * 2)
    assert band_of(path, 3000, 3000).width < 2000
    assert band_of(path[:100], 100, 100).width == 100


def test_a_ridge_along_a_path_is_highest_on_it():
    path = np.column_stack([np.arange(20), np.arange(20)])
    table = blurred(path, whole(20, 20), 2.0).dense()
    assert (table.argmax(axis=1) == np.arange(20)).all()
    assert table[10, 12] == pytest.approx(np.exp(-0.5))


def test_autocorrelation_time():
    rng = np.random.default_rng(5)
    assert autocorrelation_time(rng.normal(size=(4000, 1))) == pytest.approx(1.0, abs=0.3)
    series = np.zeros((20_000, 1))
    for t in range(1, len(series)):
        series[t] = 0.8 * series[t - 1] + rng.normal()
    assert autocorrelation_time(series) == pytest.approx(9.0, rel=0.25)  # (1 + a) / (1 - a)
    assert autocorrelation_time(np.zeros((50, 2))) == 1.0


def test_temperature_is_twice_the_variance_of_independent_residuals():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3000, 2))
    y = x + 0.1 * rng.normal(size=x.shape)
    path = np.column_stack([np.arange(3000)] * 2)
    assert temperature(x, y, path) == pytest.approx(0.02, rel=0.3)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Smooth latents seen through noise; the path is drawn, the maps are known."""
    held = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = 150
        u = np.linspace(0, 1, n)
        bent = u ** np.exp(rng.uniform(-0.4, 0.4))
        curve = np.column_stack([np.cos(7 * bent), np.sin(5 * bent), bent])
        there = np.column_stack([np.cos(7 * u), np.sin(5 * u), u])
        x, y = (v + 0.1 * rng.normal(size=v.shape) for v in (there, curve))
        path = dtw(x, y).frames
        found = posterior_of(expect(x, y, temperature(x, y, path), whole(n, n)).coupling)
        truth = bent * (n - 1)
        held.append(np.mean((found.low - 0.5 <= truth) & (truth <= found.high + 0.5)))
    assert 0.82 <= np.mean(held) <= 0.99
