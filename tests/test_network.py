"""Networks, what their latents share, and all gradients against central differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmalign_cli.align import deep_alternation, deep_climb, network
from mmalign_cli.align.correlation import Samples, total_correlation
from mmalign_cli.align.deep_climb import Deep, Stage
from mmalign_cli.align.deep_correlation import Damping, damped_correlation
from mmalign_cli.align.held_out import folds, held_out, information
from mmalign_cli.align.network import Network, Shape, in_context
from mmalign_cli.align.takes import lay_out
from mmalign_cli.align.trace_norm import couple, trace_norm
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds

STEP = 1e-5
CLOSE = {"rtol": 1e-7, "atol": 1e-7}


def rng(seed):
    return np.random.default_rng(seed)


def by_differences(function, at, places):
    """The derivative of a function of a flat array, by central differences, at some places."""
    found = []
    for k in places:
        ahead, behind = at.copy(), at.copy()
        ahead.flat[k] += STEP
        behind.flat[k] -= STEP
        found.append((function(ahead) - function(behind)) / (2 * STEP))
    return np.array(found)


def some(size, r, count=25):
    return r.choice(size, min(count, size), replace=False)


def correlations(x, y, coupling):
    """Canonical correlations of frames that are laid side by side as often as they are coupled."""
    rows, columns = np.nonzero(coupling)
    times = np.repeat(np.arange(len(rows)), coupling[rows, columns].astype(int))
    a, b = x[rows[times]], y[columns[times]]
    q, _ = np.linalg.qr(a - a.mean(0))
    p, _ = np.linalg.qr(b - b.mean(0))
    return np.linalg.svd(q.T @ p, compute_uv=False)


# -- the network


@pytest.mark.parametrize("widths", [(3, 4, 2), (5, 7, 6, 3), (4, 2)])
def test_a_network_is_layers_of_tanh_and_a_plain_one(widths):
    r = rng(1)
    shape = Shape(widths)
    weights = shape.random(r)
    frames = r.normal(size=(11, widths[0]))
    values, at = frames, 0
    for number, (n_in, n_out) in enumerate(itertools.pairwise(widths), 1):
        values = values @ weights[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        if number < len(widths) - 1:
            values = np.tanh(values + weights[at : at + n_out])
            at += n_out
    assert at == len(weights) == shape.size
    np.testing.assert_allclose(Network(shape, weights).forward(frames)[0], values, rtol=1e-12)


@pytest.mark.parametrize("widths", [(3, 4, 2), (5, 7, 6, 3), (4, 2)])
def test_the_way_back_through_a_network(widths):
    r = rng(2)
    shape = Shape(widths)
    weights, frames = shape.random(r), r.normal(size=(9, widths[0]))
    pull = r.normal(size=(9, widths[-1]))

    def value(flat, x):
        return float((Network(shape, flat).forward(x)[0] * pull).sum())

    network = Network(shape, weights)
    by_weights, by_frames = network.back(frames, network.forward(frames)[1], pull.copy())
    at = some(len(weights), r)
    expected = by_differences(lambda w: value(w, frames), weights, at)
    np.testing.assert_allclose(by_weights[at], expected, **CLOSE)
    at = some(frames.size, r)
    expected = by_differences(lambda x: value(weights, x), frames, at)
    np.testing.assert_allclose(by_frames.flat[at], expected, **CLOSE)


def test_a_frame_sees_its_neighbours():
    frames = np.array([[1.0, 10], [2, 20], [3, 30]])
    expected = [[1, 10, 1, 10, 2, 20], [1, 10, 2, 20, 3, 30], [2, 20, 3, 30, 3, 30]]
    np.testing.assert_array_equal(in_context(frames, 3), expected)
    assert in_context(frames, 1) is frames


# -- what latents share


def coupling(n, m, r, soft):
    return r.random((n, m)) if soft else (r.random((n, m)) < 0.2).astype(float)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dims", [(2, 2), (3, 2), (1, 4)])
def test_the_gradient_of_the_trace_norm(dims, soft):
    r = rng(3)
    x, y = r.normal(size=(13, dims[0])), r.normal(size=(17, dims[1]))
    by = couple(sparse.csr_array(coupling(13, 17, r, soft)))
    value, by_first, by_second = trace_norm(x, y, by)
    assert 0 < value < min(dims)
    for found, around, other in (
        (by_first, x, lambda z: trace_norm(z, y, by)[0]),
        (by_second, y, lambda z: trace_norm(x, z, by)[0]),
    ):
        expected = by_differences(other, around, range(around.size))
        np.testing.assert_allclose(found.ravel(), expected, **CLOSE)


def test_the_trace_norm_is_the_sum_of_canonical_correlations():
    r = rng(4)
    shared = r.normal(size=(200, 2))
    x = 100 * np.hstack([shared, r.normal(size=(200, 1))]) @ r.normal(size=(3, 3))
    y = 100 * (shared + 0.3 * r.normal(size=(200, 2)))
    matrix = np.eye(200) + np.eye(200, k=1)
    value, _, _ = trace_norm(x, y, couple(sparse.csr_array(matrix)))
    assert value == pytest.approx(correlations(x, y, matrix).sum(), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(-6, 6), st.integers(1, 4), st.integers(1, 4))
def test_the_trace_norm_is_never_above_the_least_dimension(seed, exponent, k, d):
    # the published program adds its ridge to every entry, and forgets a transpose: 339 for 10
    r = rng(seed)
    x = r.normal(size=(12, k)) * 10.0**exponent
    y = (x @ r.normal(size=(k, d))) if seed % 2 else r.normal(size=(12, d))
    by = couple(sparse.csr_array(np.eye(12) if seed % 3 else r.random((12, 12))))
    value, by_first, by_second = trace_norm(x, y, by)
    assert -1e-9 <= value <= min(k, d) + 1e-9
    assert np.isfinite(by_first).all()
    assert np.isfinite(by_second).all()


@pytest.mark.parametrize("dims", [(2, 2), (3, 1, 2)])
@pytest.mark.parametrize("damping", [Damping(0.9), Damping(0.7, 0.1, 0.02)])
def test_the_gradient_of_the_damped_correlation(dims, damping):
    r = rng(5)
    values = r.normal(size=(24, sum(dims)))
    values[:, -1] += values[:, 0]
    # Several takes of one weight each, as they are laid out; the blur stays within a take.
    weights = np.repeat([0.5, 0.3, 0.2], 8) / 8
    found = damped_correlation(Samples(values, dims, weights), 3, damping)[1]

    def value(z):
        return damped_correlation(Samples(z, dims, weights), 3, damping)[0]

    expected = by_differences(value, values, range(values.size))
    np.testing.assert_allclose(found.ravel(), expected, **CLOSE)


def test_without_damping_it_is_the_total_correlation():
    r = rng(6)
    dims, weights = (2, 3, 2), np.full(50, 0.02)
    values = r.normal(size=(50, 7)) @ r.normal(size=(7, 7))
    samples = Samples(values, dims, weights)
    value, slope = damped_correlation(samples, 1, Damping(1.0, ridge=1e-3))
    expected, by_samples = total_correlation(samples, 1e-3)
    assert value == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(slope, by_samples, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("kappa", [0.5, 0.999])
def test_damping_bounds_what_a_correlation_is_worth(kappa):
    z = rng(7).normal(size=(300, 1))
    samples = Samples(np.hstack([z, z]), (1, 1), np.full(300, 1 / 300))
    value, _ = damped_correlation(samples, 1, Damping(kappa, ridge=0.0))
    assert value == pytest.approx(-0.5 * np.log(1 - kappa), rel=1e-9)


# -- the whole objectives


def deep(n_streams, r, labelled=False, ends=CLOSED_ENDS):
    """Two takes of streams of 2, 3, ... columns, and networks of unequal widths."""
    lengths = [(20, 14, 17), (11, 16, 13)]
    takes = lay_out(
        [[r.normal(size=(take[k], k + 2)) for k in range(n_streams)] for take in lengths]
    )
    shapes = [Shape((2, 4, 2)), Shape((3, 3, 5, 2)), Shape((4, 2, 3))][:n_streams]
    tracks, warp_of = takes.tracks, tuple(range(n_streams))
    if labelled:
        classes = [
            [np.eye(3)[r.integers(0, 3, take[k])] for k in range(n_streams)] for take in lengths
        ]
        tracks, warp_of = (*tracks, *lay_out(classes).tracks), (*warp_of, *warp_of)
    return Deep(tracks, tuple(shapes), warp_of, takes.n_samples, takes.weights, ends)


@pytest.mark.parametrize("n_streams", [2, 3])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("ends", [CLOSED_ENDS, OpenEnds(begin=True, end=True)])
def test_the_gradient_by_weights_and_by_warps(n_streams, labelled, ends):
    r = rng(8)
    problem = deep(n_streams, r, labelled, ends)
    weights = np.concatenate([shape.random(r) for shape in problem.shapes])
    stage = Stage(4, Damping(0.9, 0.05), 2.0)
    n_bins = 4 + ends.begin + ends.end
    theta = r.normal(0, 0.3, (2, n_streams, n_bins)) - 2.0 * (np.arange(n_bins) % n_bins == 0)
    _, by_weights, by_theta = deep_climb.objective(problem, weights, theta, stage)
    at = some(len(weights), r)
    expected = by_differences(
        lambda w: deep_climb.objective(problem, w, theta, stage)[0], weights, at
    )
    np.testing.assert_allclose(by_weights[at], expected, **CLOSE)
    # Samples move over the kinks between frames: none lies within a step of one here.
    expected = by_differences(
        lambda t: deep_climb.objective(problem, weights, t, stage)[0], theta, range(theta.size)
    )
    np.testing.assert_allclose(by_theta.ravel(), expected, **CLOSE)


def test_what_is_not_kept_is_made_again(monkeypatch):
    r = rng(9)
    problem = deep(3, r)
    weights = np.concatenate([shape.random(r) for shape in problem.shapes])
    theta = r.normal(0, 0.3, (2, 3, 5))
    stage = Stage(5, Damping(0.9), 1.0)
    whole = deep_climb.objective(problem, weights, theta, stage)
    monkeypatch.setattr(deep_climb, "FRAMES_AT_ONCE", 1)
    monkeypatch.setattr(deep_climb, "KEPT_BYTES", 0)
    parts = deep_climb.objective(problem, weights, theta, stage)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_streams", [2, 3])
@pytest.mark.parametrize("labelled", [False, True])
def test_the_gradient_of_the_papers_objective(n_streams, labelled):
    r = rng(10)
    problem = deep(n_streams, r, labelled)
    start = np.tile(np.linspace(0, 1, 5), (2, n_streams, 1))
    couples = deep_alternation._first(problem, start)
    weights = np.concatenate([shape.random(r) for shape in problem.shapes])
    value, gradient = deep_alternation.objective(problem, weights, couples)
    pairs = n_streams * (n_streams - 1) // 2
    assert value <= 2 * (pairs + (n_streams if labelled else 0))
    at = some(len(weights), r)
    expected = by_differences(
        lambda w: deep_alternation.objective(problem, w, couples)[0], weights, at
    )
    np.testing.assert_allclose(gradient[at], expected, **CLOSE)


def test_a_pass_in_blocks_is_a_pass_at_once(monkeypatch):
    r = rng(12)
    shape = Shape((3, 5, 4, 2))
    one, frames, pull = (
        Network(shape, shape.random(r)),
        r.normal(size=(50, 3)),
        r.normal(size=(50, 2)),
    )
    whole, hidden = one.forward(frames)
    expected = one.back(frames, hidden, pull.copy())[0]
    monkeypatch.setattr(network, "FRAMES_AT_ONCE", 7)
    monkeypatch.setattr(network, "KEPT_BYTES", 1500)  # of three blocks
    parts = network.Pass(one, frames)
    np.testing.assert_allclose(parts.latents, whole, rtol=1e-12)
    np.testing.assert_allclose(parts.back(pull), expected, rtol=1e-10)


# -- held-out evidence


def test_information_is_what_two_normals_share():
    np.testing.assert_allclose(information(np.array([0.0, 0.6])), [0.0, -0.5 * np.log(0.64)])
    assert information(np.array([-0.6])) == -information(np.array([0.6]))
    assert np.isfinite(information(np.array([1.0])))


@pytest.mark.parametrize(("n_takes", "whole"), [(1, False), (4, False), (5, True), (12, True)])
def test_every_sample_is_held_out_once(n_takes, whole):
    found = folds(np.full((n_takes, 60), 1 / (60 * n_takes)))
    np.testing.assert_array_equal(np.sum(found, axis=0), 1)
    assert all((fold.all(axis=1) | ~fold.any(axis=1)).all() for fold in found) == whole


def test_maps_fitted_to_chance_are_worth_nothing():
    r = rng(11)
    weights = np.full((6, 50), 1 / 300)
    shared, noise = r.normal(size=(300, 2)), r.normal(size=(300, 8))
    related = np.hstack([shared @ r.normal(size=(2, 2)), noise[:, :2], shared, noise[:, 2:4]])
    found = held_out(lambda _: related, weights, (4, 4))
    assert (found.correlations[:2] > 0.999).all()
    assert (np.abs(found.correlations[2:]) < 0.3).all()
    assert found.take_evidence is not None
    assert (found.take_evidence > 5).all()
    assert held_out(lambda _: noise, weights, (4, 4)).evidence < 0.05


def test_weights_cost_half_their_squares_a_sample():
    r = rng(6)
    takes = lay_out([[r.normal(size=(n, 2)), r.normal(size=(n, 2))] for n in (20, 15)])
    shapes = (Shape((2, 3, 2)), Shape((2, 2)))
    deep = Deep(takes.tracks, shapes, (0, 1), takes.n_samples, takes.weights)
    weights = np.concatenate([shape.random(r) for shape in shapes])
    theta = np.zeros((2, 2, 4))
    values = [
        deep_climb.objective(deep, weights, theta, Stage(4, Damping(0.9), decay))[0]
        for decay in (0.0, 3.0)
    ]
    assert takes.weights.size == 40
    assert values[0] - values[1] == pytest.approx(0.5 * 3.0 / 40 * float(weights @ weights))
    assert deep_climb._unevenness(theta)[0] == pytest.approx(0, abs=1e-15)


def test_what_agrees_wholly_is_bounded():
    r = rng(3)
    x = r.normal(size=(300, 2))
    found = held_out(lambda _: np.hstack([x, x]), np.full((6, 50), 1 / 300), (2, 2))
    np.testing.assert_allclose(found.correlations, 0.9999, atol=1e-9)
    assert found.best_dims == 2
    assert found.evidence_in(1) == pytest.approx(-0.5 * np.log1p(-(0.9999**2)), rel=1e-6)
    assert found.evidence == pytest.approx(2 * found.evidence_in(1))
