"""Canonical correlation analysis: identities, an independent program, held-out gains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from sklearn.cross_decomposition import CCA

from mmalign_cli.align.cca import (
    _gains,
    along,
    cca,
    dims_of_energy,
    folds_of,
    held_out_gains,
    principal,
    under,
    whitening,
)
from mmalign_cli.align.coupling import Coupling, whole


def straight(n):
    return np.column_stack([np.arange(n)] * 2)


def related(rng, n=300, dims=(4, 5), shared=2, noise=0.3):
    """Two sets that share `shared` latents, under random maps."""
    latent = rng.normal(size=(n, shared))
    return [latent @ rng.normal(size=(shared, d)) + noise * rng.normal(size=(n, d)) for d in dims]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 0.1]))
def test_variates_are_white_and_cross_diagonal(seed, d_x, d_y, ridge):
    x, y = related(np.random.default_rng(seed), 80, (d_x, d_y))
    moments = along([x, y], straight(80))
    found = cca(moments, ridge)
    k = min(d_x, d_y)
    a, b = moments.blocks
    for f, block in zip(found.maps, (a, b), strict=True):
        s = moments.covariance[block, block]
        s = s + ridge * np.trace(s) / len(s) * np.eye(len(s))
        np.testing.assert_allclose(f.weights.T @ s @ f.weights, np.eye(k), atol=1e-8)
    cross = found.maps[0].weights.T @ moments.covariance[a, b] @ found.maps[1].weights
    np.testing.assert_allclose(cross, np.diag(found.correlations), atol=1e-8)
    assert (np.diff(found.correlations) <= 1e-12).all()


def test_correlations_are_those_of_scikit_learn():
    x, y = related(np.random.default_rng(3))
    found = cca(along([x, y], straight(300)))
    other = CCA(n_components=2, scale=False, max_iter=5000, tol=1e-12).fit(x, y)
    u, v = other.transform(x, y)
    theirs = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(2)]
    np.testing.assert_allclose(found.correlations[:2], theirs, atol=1e-6)
    ours = found.maps[0](x)[:, 0]
    assert abs(np.corrcoef(ours, u[:, 0])[0, 1]) == pytest.approx(1.0, abs=1e-6)


def test_three_sets_solve_the_generalised_problem():
    sets = related(np.random.default_rng(4), dims=(3, 4, 5))
    moments = along(sets, np.column_stack([np.arange(300)] * 3))
    found = cca(moments)
    v = np.concatenate([f.weights for f in found.maps])
    diagonal = np.zeros_like(moments.covariance)
    for b in moments.blocks:
        diagonal[b, b] = moments.covariance[b, b]
    off = moments.covariance - diagonal
    np.testing.assert_allclose(off @ v, diagonal @ v * found.correlations * 2, atol=1e-8)
    np.testing.assert_allclose(v.T @ diagonal @ v, 3 * np.eye(3), atol=1e-8)


def test_rank_two_in_five_columns_is_two_directions():
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(100, 2)) @ rng.normal(size=(2, 5))).astype(np.float32)
    assert whitening(along([x.astype(float)], np.arange(100)[:, None]).covariance).shape == (5, 2)
    found = cca(along([x.astype(float), rng.normal(size=(100, 4))], straight(100)))
    assert len(found.correlations) == 2
    assert np.abs(found.maps[0].weights).max() < 1e3


def test_constant_columns_weigh_nothing():
    x, y = related(np.random.default_rng(6))
    wide = np.hstack([x, np.full((300, 1), 7.0)])
    found = cca(along([wide, y], straight(300)))
    assert not found.maps[0].weights[-1].any()
    plain = cca(along([x, y], straight(300)))
    np.testing.assert_allclose(found.correlations, plain.correlations, atol=1e-9)


def test_signs_do_not_depend_on_the_order_of_frames():
    x, y = related(np.random.default_rng(7))
    a = cca(along([x, y], straight(300)))
    b = cca(along([x, y], straight(300)[::-1]))
    np.testing.assert_allclose(a.maps[0].weights, b.maps[0].weights, atol=1e-7)
    scaled = a.maps[0].weights * x.std(axis=0)[:, None]
    assert (scaled[np.abs(scaled).argmax(axis=0), range(4)] > 0).all()


def test_moments_add_up_and_weigh():
    rng = np.random.default_rng(8)
    x, y = related(rng)
    path = straight(300)
    both = along([x, y], path[:100]) + along([x, y], path[100:])
    whole_path = along([x, y], path)
    np.testing.assert_allclose(both.covariance, whole_path.covariance, atol=1e-12)
    np.testing.assert_allclose(both.mean, whole_path.mean, atol=1e-12)
    times = rng.integers(1, 4, 300)
    weighted = along([x, y], path, times.astype(float))
    repeated = along([x, y], np.repeat(path, times, axis=0))
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, atol=1e-12)
    assert weighted.weight == repeated.weight == times.sum()


def test_a_soft_coupling_weighs_every_match():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(9, 2)) + 100.0
    w = rng.random((12, 9))
    i, j = (g.ravel() for g in np.mgrid[:12, :9])
    every = along([x, y], np.column_stack([i, j]), w.ravel())
    soft = under(x, y, Coupling(whole(12, 9), w))
    np.testing.assert_allclose(soft.covariance, every.covariance, atol=1e-9)
    np.testing.assert_allclose(soft.mean, every.mean, atol=1e-9)


def test_gains_are_the_mutual_information_where_there_is_any():
    rng = np.random.default_rng(10)
    rho = 0.9
    x = rng.normal(size=(20_000, 2))
    y = np.column_stack(
        [rho * x[:, 0] + np.sqrt(1 - rho**2) * rng.normal(size=20_000), rng.normal(size=20_000)]
    )
    gains = held_out_gains(folds_of([x, y], straight(20_000)))
    assert gains[0] == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.03)
    assert abs(gains[1]) < 1e-3


def test_gains_of_chance_are_negative():
    rng = np.random.default_rng(11)
    means = [
        held_out_gains(folds_of([rng.normal(size=(60, 8)), rng.normal(size=(60, 8))], straight(60)))
        for _ in range(10)
    ]
    assert np.mean([g[0] for g in means]) < 0


def test_energy_rule():
    assert dims_of_energy(np.array([1.0, 1.0, 0.05]), 0.95) == 2
    assert dims_of_energy(np.array([1.0, 0.9, 0.5]), 0.95) == 3
    assert dims_of_energy(np.array([1.0]), 0.95) == 1


def test_principal_components_keep_what_varies():
    rng = np.random.default_rng(12)
    wide = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 200)) + 5.0
    base = principal(wide, 40)
    assert base.weights.shape == (200, 3)
    rebuilt = base(wide) @ np.linalg.pinv(base.weights) + base.mean
    np.testing.assert_allclose(rebuilt, wide, atol=1e-8)
    narrow = rng.normal(size=(50, 3)) * 1e-170
    assert 0.1 < np.abs(principal(narrow, 40)(narrow)).max() <= 1.0


def test_maps_after_a_base_are_maps_of_the_frames():
    x, y = related(np.random.default_rng(13), dims=(60, 5), noise=0.01)
    bases = [principal(v, 40) for v in (x, y)]
    inner = cca(along([b(v) for b, v in zip(bases, (x, y), strict=True)], straight(300)))
    outer = inner.after(bases)
    for f, g, b, v in zip(outer.maps, inner.maps, bases, (x, y), strict=True):
        np.testing.assert_allclose(f(v), g(b(v)), atol=1e-8)


def test_gains_on_other_samples_are_log_likelihood_ratios():
    """Of normals fitted to the rest, mean over pairs of sets; the held-out mean is not fitted."""
    r = np.random.default_rng(5)
    shared = r.normal(size=(300, 2)) @ [[1.0, 0.4], [0.0, 1.0]]
    sets = [shared @ r.normal(size=(2, 2)) + 0.7 * r.normal(size=(300, 2)) for _ in range(3)]
    rest, held = (
        along(sets, np.repeat(np.arange(a, b)[:, np.newaxis], 3, axis=1))
        for a, b in ((0, 220), (220, 300))
    )
    fit = cca(rest, 0.0)
    found = _gains(fit, rest, held)
    expected = np.zeros(2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for k in range(2):
            u, v = (
                (sets[s] - sets[s][:220].mean(axis=0)) @ fit.maps[s].weights[:, k] for s in (i, j)
            )
            u, v = u / u[:220].std(), v / v[:220].std()
            rho = float(np.mean(u[:220] * v[:220]))
            pairs = np.column_stack([u, v])[220:]
            joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).logpdf(pairs)
            expected[k] += (joint - norm.logpdf(pairs).sum(axis=1)).mean() / 3
    np.testing.assert_allclose(found, expected, rtol=1e-6)
