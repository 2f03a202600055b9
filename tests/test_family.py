"""The papers' family of aligners: bases, steps, the loop, and what they find on made data."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import accumulate
from scipy.optimize import minimize

from mmalign_cli import runtime
from mmalign_cli.align import bases, gtw
from mmalign_cli.align.algorithms import ALGORITHMS
from mmalign_cli.align.alternate import moved_at_most
from mmalign_cli.align.cca import Canonical, cca
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.family import (
    LONGER,
    Settings,
    Start,
    at_even_steps,
    length_of,
    rounded,
    spread,
    straight_path,
)
from mmalign_cli.align.first_paths import bent_line
from mmalign_cli.align.gauss_newton import Model, minimiser, on_simplexes
from mmalign_cli.align.gtw_objective import Problem, read
from mmalign_cli.align.imw import corrected, differences, smooth
from mmalign_cli.align.procrustes import ONE_EACH, mean_along
from mmalign_cli.align.reference import RECORDINGS, REFERENCE, TOYS, _fit
from mmalign_cli.align.sets import over_dims, side_by_side
from mmalign_cli.align.warps import CLOSED_ENDS, OpenEnds
from mmalign_cli.errors import AlignmentError, InputError, UsageError
from mmalign_cli.evidence.metrics import path_difference
from mmalign_cli.evidence.synth import spiral

EVERY_KIND = [f"{kind}:4" for kind in bases.KINDS]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference"


@pytest.fixture(autouse=True)
def _one_thread():
    with runtime.one_algebra_thread():
        yield


def planted(seed=1, m=3):
    return spiral(m, np.random.default_rng(seed))


def test_lines_are_bent_by_a_power_and_rounded_to_the_nearest_frame():
    rows = bent_line(4, 9, length=7)
    np.testing.assert_array_equal(rows[:, 0], [0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(rows[:, 1], [0, 1, 3, 4, 5, 7, 8])
    np.testing.assert_array_equal(bent_line(3, 9, 2.0, length=3)[:, 1], [0, 2, 8])
    assert [len(bent_line(n, 20)) for n in (30, 400)] == [300, 440]


def test_whether_a_path_has_moved_is_told_by_the_path_difference():
    rng = np.random.default_rng(9)
    for _ in range(20):
        p, q = (np.cumsum(rng.integers(0, 2, (40, 2)), axis=0) for _ in range(2))
        apart = path_difference(p.astype(float), q.astype(float))
        assert moved_at_most(p, q, 1.001 * apart)
        assert not moved_at_most(p, q, 0.999 * apart)
    assert moved_at_most(p, p, 0.0)


def test_maps_of_the_reference_mix_what_they_norm():
    """``V' ((1 - lambda) S + lambda I) V`` is a multiple of I, S summed over the steps."""
    moments = side_by_side([np.random.default_rng(k).normal(size=(50, 3 - k)) for k in (0, 1)])
    maps = _fit(moments, Settings(ridge=0.3)).maps
    first = moments.weight * moments.covariance[:3, :3]
    product = maps[0].weights.T @ (0.7 * first + 0.3 * np.eye(3)) @ maps[0].weights
    np.testing.assert_allclose(product, product[0, 0] * np.eye(len(product)), atol=1e-10)


# Bases


@pytest.mark.parametrize("spec", [*EVERY_KIND, "pow:1", "spline:1", "spline:9:1", "pow:5,tanh:5"])
def test_bases_rise_from_first_to_last(spec):
    columns = bases.parse(spec).columns(80, CLOSED_ENDS)
    assert columns.shape[1] == sum(int(item.split(":")[1]) for item in spec.split(","))
    assert (np.diff(columns, axis=0) >= 0).all()
    np.testing.assert_array_equal(
        columns[[0, -1]], [[0.0] * len(columns.T), [1.0] * len(columns.T)]
    )


def test_parameters_are_those_of_the_papers():
    u = np.linspace(0, 1, 300)
    columns = bases.parse("pow:3:0.4,tanh:3:0.6:1").columns(300, CLOSED_ENDS)
    for k, exponent in enumerate((10**-0.4, 1.0, 10**0.4)):
        np.testing.assert_allclose(columns[:, k], u**exponent, atol=1e-12)
    for k, centre in enumerate((-1.0, 0.0, 1.0), 3):
        raw = np.tanh(0.6 * (np.linspace(-3, 3, 300) - centre))
        np.testing.assert_allclose(columns[:, k], (raw - raw[0]) / np.ptp(raw), atol=1e-12)


def test_splines_of_degree_one_are_ramps():
    columns = bases.parse("spline:5:1").columns(101, CLOSED_ENDS)
    u = np.linspace(0, 1, 101)[:, None]
    np.testing.assert_allclose(columns, np.clip(5 * u - np.arange(5), 0, 1), atol=1e-12)


def test_an_offset_opens_both_ends():
    columns = bases.parse("offset,pow:2").columns(30, CLOSED_ENDS)
    assert (columns[:, 0] == 1).all()
    assert (columns[:, -1] == 0).all()
    np.testing.assert_array_equal(columns, bases.parse("pow:2").columns(30, OpenEnds(True, True)))


@pytest.mark.parametrize(
    ("spec", "place", "hint"),
    [
        ("pow:3,tahn:2", "item 2, 'tahn:2'", "did you mean tanh?"),
        ("pow", "item 1, 'pow': 0 numbers", "pow:columns:spread"),
        ("step:3:1", "item 1, 'step:3:1': 2 numbers", "step:columns"),
        ("pow:3,tanh:3:0.6:1:4", "item 2", "tanh:columns:steepness:reach"),
        ("pow:x", "'x' columns", "pow:columns"),
        ("pow:65", "'65' columns", "pow:columns"),
        ("pow:2:nan", "spread 'nan'", "pow:columns:spread"),
        ("spline:3:0", "degree '0'", "spline:columns:degree"),
        ("offset", "no basis beside offset", "kinds: pow"),
        ("", "item 1, ''", "kinds: pow"),
    ],
)
def test_a_wrong_basis_is_named_by_its_place(spec, place, hint):
    with pytest.raises(UsageError) as caught:
        bases.parse(spec)
    assert place in str(caught.value)
    assert hint in caught.value.hint


def test_levels_grow_to_the_basis_asked_for():
    counts = [[c for _, c, _ in b.parts] for b in bases.parse("spline:24,pow:5").levels()]
    assert counts == [[3, 3], [6, 3], [12, 3], [24, 5]]
    assert len(bases.parse("pow:2").levels()) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["pow:3", "spline:6", "pow:3,tanh:3"]))
def test_the_nearest_warp_is_that_of_a_general_solver(seed, spec):
    rng = np.random.default_rng(seed)
    basis = bases.parse(spec).columns(40, CLOSED_ENDS)
    target = np.sort(rng.random(40))
    ours = bases.nearest(basis, target)
    assert (ours >= 0).all()
    assert ours.sum() == pytest.approx(1.0)
    k = basis.shape[1]
    other = minimize(
        lambda w: ((basis @ w - target) ** 2).sum(),
        np.full(k, 1 / k),
        jac=lambda w: 2 * basis.T @ (basis @ w - target),
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    assert ((basis @ ours - target) ** 2).sum() <= other.fun + 1e-7


# Quadratic programmes


def random_model(rng, m, k, rows=60):
    moves = [rng.normal(size=(rows, k)) for _ in range(m)]
    return Model(moves, rng.normal(size=(m, k)) * 20, 1.0, np.zeros((k, k)))


def full(model):
    m, k = model.gradients.shape
    side = np.hstack(model.moves)
    own = np.kron(np.eye(m), np.ones((k, k)))
    return model.scale * (m * own - 1.0) * (side.T @ side)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 5))
def test_minima_on_simplexes_fulfil_the_optimality_conditions(seed, count, k):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count * k, count * k))
    hessian, slope = root.T @ root, rng.normal(size=count * k)
    x = on_simplexes(hessian, slope, count).reshape(count, k)
    assert (x >= 0).all()
    np.testing.assert_allclose(x.sum(axis=1), 1.0)
    pull = (hessian @ x.ravel() + slope).reshape(count, k)
    least = pull.min(axis=1, keepdims=True)
    assert ((pull - least) * x).max() < 1e-6 * np.abs(pull).max()


@pytest.mark.parametrize("gives_up", [False, True])
@pytest.mark.parametrize("curvature", [0.0, 1e-300, 1e-18])
def test_models_without_curvature_lead_to_corners(curvature, gives_up, monkeypatch):
    """As of steps between which nothing happens, where DAQP may go round in a circle."""
    slope = np.array([3.0, -1.0, 2.0, 0.5, 0.7, 4.0])
    if gives_up:
        monkeypatch.setattr("daqp.solve", lambda *given: (slope, 0.0, -2, {}))
    found = on_simplexes(np.full((6, 6), curvature), slope, 2)
    np.testing.assert_allclose(found, [0, 1, 0, 1, 0, 0], atol=1e-6)


def test_groups_of_many_sequences_come_near_the_joint_minimum():
    """With 12 x 20 weights no single programme is solved: the sweeps still do most of the work."""
    rng = np.random.default_rng(2)
    model = random_model(rng, 12, 20)
    weights = np.full((12, 20), 1 / 20)
    hessian, gradient = full(model), model.gradients.ravel()

    def value(new):
        d = (new - weights).ravel()
        return gradient @ d + d @ hessian @ d / 2

    joint = on_simplexes(hessian, gradient - hessian @ weights.ravel(), 12).reshape(12, 20)
    found = minimiser(model, weights)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert value(joint) - 1e-9 <= value(found) < 0.98 * value(joint) < 0


# The objective of gtw


def problem_of(sequences, spec="spline:6", dims=2, n_steps=120, ends=CLOSED_ENDS, smoothness=0.0):
    basis = bases.parse(spec).columns(n_steps, ends)
    return Problem(sequences, basis, dims, np.zeros(len(sequences)), smoothness)


def smooth_sequences(m=3, n=90):
    """Without noise, so that reading between frames is nearly smooth."""
    u = np.linspace(0, 1, n)
    rng = np.random.default_rng(4)
    out = []
    for k in range(m):
        v = u ** (0.8 + 0.2 * k)
        latent = np.column_stack([np.sin(5 * v), np.cos(3 * v), v**2])
        out.append(latent @ rng.normal(size=(3, 3)))
    return out


@pytest.mark.parametrize(("ends", "smoothness"), [(CLOSED_ENDS, 0.0), (OpenEnds(True, True), 0.3)])
def test_the_gradient_is_that_of_the_objective(ends, smoothness):
    problem = problem_of(smooth_sequences(n=9000), ends=ends, smoothness=smoothness)
    rng = np.random.default_rng(5)
    k = problem.basis.shape[1]
    weights = rng.dirichlet(np.full(k, 5.0), size=3)
    gradient = problem.model(problem.pose(weights), weights).gradients
    for _ in range(6):
        d = rng.normal(size=(3, k))
        d -= d.mean(axis=1, keepdims=True)
        rise = [problem.pose(weights + s * 1e-5 * d).objective for s in (1, -1)]
        assert (gradient * d).sum() == pytest.approx((rise[0] - rise[1]) / 2e-5, rel=1e-3, abs=0.02)


def test_the_distance_of_the_variates_is_what_the_correlations_say():
    """The mean squared distance over steps and pairs: 2 sum (1 - correlation)."""
    problem = problem_of(planted().sequences)
    weights = np.full((3, 6), 1 / 6)
    pose = problem.pose(weights)
    expected = 2 * (1 - pose.found.correlations).sum()
    assert spread(pose.latents) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 5),
    st.sampled_from([CLOSED_ENDS, OpenEnds(True, True), OpenEnds(False, True)]),
    st.sampled_from(["spline:7", "pow:3,tanh:3", "step:3,exp:3"]),
)
def test_the_objective_never_rises(seed, m, ends, spec):
    rng = np.random.default_rng(seed)
    sequences = [rng.normal(size=(40 + 7 * k, 2 + k % 2)).cumsum(axis=0) for k in range(m)]
    problem = problem_of(sequences, spec, 2, 60, ends, smoothness=0.01)
    weights = rng.dirichlet(np.ones(problem.basis.shape[1]), size=m)
    before = problem.pose(weights).objective
    for _ in range(8):
        weights, objective = problem.step(problem.pose(weights), weights)
        assert objective <= before
        assert objective == pytest.approx(problem.pose(weights).objective, rel=1e-9)
        assert (np.diff(problem.path(weights), axis=0) > -1e-9).all()
        before = objective


def test_reading_between_frames():
    x = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0]])
    at = np.array([0.0, 0.5, 1.75, 2.0])
    np.testing.assert_allclose(read(x, at), [[0, 1], [1, 1], [3.5, 4], [4, 5]])


# Warps to the mean


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(0, 6))
def test_one_frame_for_each_step_of_the_template(seed, n, more):
    """Staying only where it is strictly cheaper: whole numbers tie often."""
    rng = np.random.default_rng(seed)
    x, template = rng.integers(0, 3, (n, 1)) * 1.0, rng.integers(0, 3, (n + more, 1)) * 1.0
    frames = dtw(template, x, step=ONE_EACH).frames
    cost = (template - x.T) ** 2
    steps = [((1, 1, 1),), ((1, 0, 1),)]
    table = accumulate(cost, steps, np.ones_like(cost, dtype=bool))
    i, j = table.shape[0] - 1, n - 1
    walk = [j]
    while i > 0:
        diagonal = table[i - 1, j - 1] if j > 0 else np.inf
        j = j if table[i - 1, j] < diagonal else j - 1
        i -= 1
        walk.append(j)
    np.testing.assert_array_equal(frames[:, 0], np.arange(n + more))
    np.testing.assert_array_equal(frames[:, 1], walk[::-1])


def test_corrections_solve_the_normal_equations():
    rng = np.random.default_rng(6)
    n = 12
    x, counts = rng.normal(size=n), rng.integers(1, 4, n).astype(float)
    target = rng.normal(size=int(counts.sum()))
    W = np.repeat(np.eye(n), counts.astype(int), axis=0)
    d = differences(n).toarray()
    np.testing.assert_allclose(d, np.gradient(np.eye(n), axis=0))
    p = np.block([[x.var() * d.T @ d, np.zeros((n, n))], [np.zeros((n, n)), d.T @ d]])
    A = np.hstack([W * x, W])
    a, b = np.split(np.linalg.solve(A.T @ A + p, A.T @ target), 2)
    np.testing.assert_allclose(corrected(x, counts, W.T @ target, smooth), a * x + b, atol=1e-6)


def test_the_mean_is_over_sequences():
    x = [np.arange(4.0)[:, None], np.arange(8.0)[:, None]]
    path = np.array([[0, 0], [1, 3], [3, 7]])
    np.testing.assert_allclose(mean_along(x, path)[:, 0], [0, 2, 5])


# What they find


def same_kind(m=3):
    """One curve on clocks of its own, for what compares frames as they are."""
    rng = np.random.default_rng(7)
    t = np.linspace(0, 1, 100)
    clocks = [t, t**1.4, t**0.7][:m]
    curve = [np.column_stack([np.sin(9 * c), np.cos(7 * c) + c]) for c in clocks]
    truth = np.stack([np.interp(t, c, np.arange(100.0)) for c in clocks], axis=1)
    return [x + 0.001 * rng.normal(size=x.shape) for x in curve], truth


def test_procrustes_dtw_of_sequences_of_one_kind():
    sequences, truth = same_kind()
    found = ALGORITHMS["pdtw"](sequences, Settings())
    straight = path_difference(straight_path([100] * 3, 300), truth)
    assert path_difference(found.path, truth) < straight / 2
    np.testing.assert_array_equal(found.path[[0, -1]], [[0] * 3, [99] * 3])
    assert set(np.unique(np.diff(found.path, axis=0))) <= {0.0, 1.0}
    assert found.objective[-1] < found.objective[0]


@pytest.mark.parametrize(("name", "same"), [("pdtw", False), ("pddtw", True), ("pimw", True)])
def test_shifts_matter_to_frames_alone(name, same):
    """Not to derivatives, nor to frames that may be shifted: on whole numbers, without rounding."""
    sequences = [np.round(64 * x) for x in same_kind()[0]]
    shifted = [x + 64.0 * k for k, x in enumerate(sequences)]
    paths = [ALGORITHMS[name](part, Settings()).path for part in (sequences, shifted)]
    assert (path_difference(*paths) < 0.01) == same


@pytest.mark.parametrize("m", [2, 3])
def test_gtw_on_spirals(m):
    for seed in range(2):
        take = planted(seed, m)
        found = ALGORITHMS["gtw"](take.sequences, Settings(own_starts=1))
        assert path_difference(np.floor(found.path + 0.5), take.truth) < 1.0
        assert (np.diff(found.objective) <= 0).all()
        assert (np.diff(found.path, axis=0) >= -1e-9).all()
        last = [len(x) - 1 for x in take.sequences]
        np.testing.assert_allclose(found.path, found.basis @ found.weights.T * last)
        np.testing.assert_allclose(found.path[[0, -1]], [[0.0] * m, last], atol=1e-9)
        read_along = [read(x, p) for x, p in zip(take.sequences, found.path.T, strict=True)]
        z = [f(x) for f, x in zip(found.projections, read_along, strict=True)]
        assert np.corrcoef(z[0][:, 0], z[1][:, 0])[0, 1] > 0.99


def test_gtw_of_more_sequences_than_one_programme_holds():
    take = planted(3, 7)
    found = ALGORITHMS["gtw"](take.sequences, Settings(dims=2))
    assert path_difference(np.floor(found.path + 0.5), take.truth) < 1.0


def test_gtw_begins_where_it_is_told():
    take = planted(5)
    told = Settings(own_starts=0, dims=2, starts=(Start("truth", take.truth * 1.0),))
    found = ALGORITHMS["gtw"](take.sequences, told)
    assert (found.start, found.starts) == ("truth", 1)
    assert path_difference(np.floor(found.path + 0.5), take.truth) < 0.6


def test_gtw_finds_what_an_open_end_leaves_out():
    rng = np.random.default_rng(8)
    steps = np.linspace(0, 1, 160)
    waves = rng.normal(size=(6, 3))
    latent = sum(np.sin(2 * np.pi * (k + 1) * steps[:, None] + waves[k]) for k in range(6))
    x = latent @ rng.normal(size=(3, 3))
    y = latent[16:144] @ rng.normal(size=(3, 4))
    found = ALGORITHMS["gtw"]([x, y], Settings(ends=OpenEnds(True, True), dims=2))
    np.testing.assert_allclose(found.path[0], [16, 0], atol=4)
    np.testing.assert_allclose(found.path[-1], [143, 127], atol=4)


def test_smoothness_straightens_warps():
    take = planted(6)
    bent, even = (
        ALGORITHMS["gtw"](take.sequences, Settings(own_starts=1, dims=2, smoothness=s)).path
        for s in (0.0, 1e4)
    )
    line = straight_path([len(x) for x in take.sequences], len(even))
    assert np.abs(even - line).max() < 1.0 < np.abs(bent - line).max()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_cannot_be_aligned_is_refused(name):
    good = np.random.default_rng(9).normal(size=(30, 2))
    with pytest.raises(InputError, match="sequence 2 has 3 frames"):
        ALGORITHMS[name]([good, good[:3]], Settings())
    with pytest.raises(InputError, match="every column of sequence 1 is constant"):
        ALGORITHMS[name]([np.ones((30, 2)), good], Settings())
    if name[:2] in ("pd", "pi"):
        with pytest.raises(InputError, match="2 vs 3 dimensions"):
            ALGORITHMS[name]([good, np.ones((30, 3)).cumsum(axis=0)], Settings())
    if name != "gtw":
        with pytest.raises(AlignmentError, match="30 frames do not fit"):
            ALGORITHMS[name]([good, good], Settings(length=20))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_progress_may_stop_them(name):
    def stop(*told):
        raise KeyboardInterrupt

    for aligners, told in ((ALGORITHMS, Settings()), (REFERENCE, TOYS)):
        with pytest.raises(KeyboardInterrupt):
            aligners[name](same_kind()[0], told, stop)


# The reference programs


def test_the_reference_restarts_from_the_straight_line():
    """Each of its rounds is one step from there: so two rounds of it depend on the maps alone."""
    take = planted(10)
    one, many = (REFERENCE["gtw"](take.sequences, replace(TOYS, rounds=r)) for r in (1, 25))
    again = ALGORITHMS["gtw"](take.sequences, Settings(dims=2, own_starts=1))
    errors = [path_difference(f.path, take.truth) for f in (one, many, again)]
    assert errors[2] < min(errors[:2])
    assert many.weights.shape == (3, 6)


def test_ridges_as_they_are_and_relative_to_the_variance():
    sequences = [x[:80] for x in planted(11).sequences]
    moments = side_by_side(sequences)
    variances = [moments.covariance[b, b].diagonal().mean() for b in moments.blocks]
    relative, absolute = cca(moments, 0.1), cca(moments, 0.1 * np.array(variances))
    np.testing.assert_allclose(relative.correlations, absolute.correlations)
    mixed = REFERENCE["pctw"](sequences, RECORDINGS)
    assert mixed.correlations.shape == (3,)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the reference's data are not at {SHARED}")
def test_the_reference_seed_by_seed():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import gtw_reference

    name = "spiral_3_sequences"
    pattern, m, told, _ = gtw_reference.DATA[name]
    theirs = gtw_reference.reference_errors(SHARED, name)
    for number, (sequences, truth) in enumerate(gtw_reference.problems(SHARED, name, pattern, m)):
        if number == 4:
            break
        for algorithm, align in REFERENCE.items():
            error = path_difference(align(sequences, told).path, truth)
            assert error == pytest.approx(theirs[algorithm][number], abs=0.01), algorithm


# Formulae and limits


def test_bases_are_their_formulae():
    u = np.linspace(0, 1, 200)[:, None]
    grow = 10 ** np.array([-0.5, 0.0, 0.5])
    columns = bases.parse("exp:3:0.5").columns(200, CLOSED_ENDS)
    np.testing.assert_allclose(columns, np.expm1(u * grow) / np.expm1(grow), atol=1e-12)
    steep = 10 ** np.array([0.2, 2.6, 5.0]) - 1
    columns = bases.parse("log:3:0.2:5").columns(200, CLOSED_ENDS)
    np.testing.assert_allclose(columns, np.log1p(u * steep) / np.log1p(steep), atol=1e-12)
    columns = bases.parse("step:4").columns(201, CLOSED_ENDS)
    np.testing.assert_array_equal(columns.sum(axis=0), [161, 121, 81, 41])
    assert (np.diff(columns, axis=0) != 0).sum() == 4
    alone = bases.parse("pow:1,tanh:1:2:1").columns(101, CLOSED_ENDS)
    middle = np.tanh(2 * np.linspace(-3, 3, 101))
    np.testing.assert_allclose(alone[:, 1], (middle / middle[-1] + 1) / 2, atol=1e-12)


def test_cubic_splines_are_integrals_of_bumps():
    """Ramsay's I-splines: slopes are bumps over as many pieces as the degree."""
    columns = bases.parse("spline:6").columns(6001, CLOSED_ENDS)
    slope = np.diff(columns, axis=0)
    assert (slope >= -1e-12).all()
    width = (slope > 1e-12).mean(axis=0)
    np.testing.assert_allclose(width, np.array([1, 2, 3, 3, 2, 1]) / 4, atol=0.01)


@pytest.mark.parametrize("spec", ["pow:64", "pow:1:50", "spline:2:0.5"])
def test_the_largest_that_a_basis_may_have(spec):
    assert bases.parse(spec).columns(70, CLOSED_ENDS).shape[0] == 70


@pytest.mark.parametrize(
    "spec", ["pow:0", "pow:65", "pow:1:50.1", "pow:1:0", "pow:1:-1", "pow:-1", "pow:1.5"]
)
def test_more_than_a_basis_may_have(spec):
    with pytest.raises(UsageError):
        bases.parse(spec)


def canonical(*rho):
    return Canonical((), np.array(rho))


@pytest.mark.parametrize(
    ("worth", "most", "tried", "best"),
    [
        ({1: 5, 2: 4, 3: 6, 5: 6, 8: 4, 12: 9}, 40, [1, 2, 3, 5, 8], 3),
        ({1: 5, 2: 6, 3: 5, 5: 7}, 7, [1, 2, 3, 5], 5),
        ({1: 5, 2: 9}, 2, [1, 2], 2),
        ({1: 5}, 1, [1], 1),
    ],
)
def test_dimensions_are_tried_until_twice_nothing_is_gained(worth, most, tried, best):
    seen = []

    def attempt(dims):
        seen.append(dims)
        return worth[dims], dims

    assert over_dims(Settings(), most, canonical, attempt) == best
    assert seen == tried


def test_dimensions_that_are_asked_for():
    def attempt(dims):
        return 0.0, dims

    assert over_dims(Settings(dims=4), 9, canonical, attempt) == 4
    assert over_dims(Settings(dims=1), 9, canonical, attempt) == 1
    assert over_dims(Settings(dims=0.79), 9, lambda: canonical(0.8, 0.6, 0.4, 0.2), attempt) == 3


def test_starts_bend_each_sequence_by_itself():
    rows = gtw.bends_of(3)
    assert rows.shape == (13, 3)
    np.testing.assert_array_equal(rows[0], 1)
    assert ((rows[1:] != 1).sum(axis=1) == 1).all()
    np.testing.assert_allclose(sorted(np.log(rows[1:]).sum(axis=1))[::3], [-0.8, -0.4, 0.4, 0.8])
    assert gtw.bends_of(6).shape == (25, 6)
    assert gtw.bends_of(7).shape == (1, 7)
    sequences = [np.zeros((n, 1)) for n in (20, 31)]
    given = Start("mine", np.array([[0, 0], [19, 30.0]]))
    asked = Settings(own_starts=2, starts=[given], ends=OpenEnds(True, False))
    starts = gtw.starts_of(sequences, asked)
    assert [s.name for s in starts[:3]] == ["mine", "uniform", "power 1.49 of 1"]
    assert [s.name for s in starts[3:]] == [f"{s.name}, cut" for s in starts[:3]]
    u = np.linspace(0, 1, 300)
    np.testing.assert_allclose(starts[0].shares, np.column_stack([u, u]))
    np.testing.assert_allclose(starts[2].shares, np.column_stack([u ** np.exp(0.4), u]))
    np.testing.assert_allclose(starts[5].shares, 0.1 + 0.9 * starts[2].shares)
    end = gtw.starts_of(sequences, replace(asked, ends=OpenEnds(False, True)))[-1]
    np.testing.assert_allclose(end.shares, 0.9 * starts[2].shares)


def test_the_common_time_line_is_a_tenth_longer_than_the_longest():
    sequences = [np.zeros((n, 1)) for n in (20, 31)]
    assert length_of(sequences, Settings()) == 34
    assert length_of(sequences, Settings(), 300) == 300
    assert length_of(sequences, Settings(length=9), 300) == 9
    assert LONGER == 1.1
    np.testing.assert_array_equal(rounded(np.array([0.4, 0.5, 1.5, 2.49])), [0, 1, 2, 2])
    path = np.array([[0.0, 0.0], [2.0, 1.0], [2.0, 5.0]])
    np.testing.assert_allclose(at_even_steps(path, 5), [[0, 0], [1, 0.5], [2, 1], [2, 3], [2, 5]])


def test_smoothness_weighs_the_squared_speed_beyond_the_straight_one_s():
    r = np.random.default_rng(3)
    values = [r.normal(size=(n, 2)).cumsum(axis=0) for n in (30, 45)]
    basis = bases.parse("pow:4").columns(300, CLOSED_ENDS)
    weights = r.dirichlet(np.ones(4), size=2)
    plain, smooth = (Problem(values, basis, 1, np.zeros(2), s) for s in (0.0, 0.8))
    speed = np.gradient(basis @ weights.T, 1 / 299, axis=0)
    rough = smooth.pose(weights).objective - plain.pose(weights).objective
    assert rough == pytest.approx(0.8 * ((speed**2).mean() - 1))
    moved = weights[::-1]
    apart = (basis @ (moved - weights).T) * [29, 44]
    mean = np.linalg.norm(apart, axis=1).mean()
    assert plain.moved_at_most(weights, moved, mean * 1.001)
    assert not plain.moved_at_most(weights, moved, mean * 0.999)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_stiff_models_are_minimised_too(scale):
    r = np.random.default_rng(7)
    root = r.normal(size=(4, 4))
    stiffness = 40 * root.T @ root
    moves = [r.normal(size=(50, 4)) for _ in range(3)]
    model = Model(moves, r.normal(size=(3, 4)) * 20, scale, stiffness)
    weights = r.dirichlet(np.ones(4), size=3)
    side = np.hstack(moves)
    hessian = scale * (3 * np.kron(np.eye(3), np.ones((4, 4))) - 1) * (side.T @ side)
    hessian += np.kron(np.eye(3), stiffness)
    found = minimiser(model, weights)
    pull = (hessian @ (found - weights).ravel() + model.gradients.ravel()).reshape(3, 4)
    least = pull.min(axis=1, keepdims=True)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert ((pull - least) * found).max() < 1e-6 * np.abs(pull).max()


def test_gtw_goes_from_few_bases_to_many_in_the_dimensions_asked_for(monkeypatch):
    seen = []

    def spied(values, basis, dims, *more):
        seen.append((basis.shape[1], dims))
        return Problem(values, basis, dims, *more)

    monkeypatch.setattr(gtw, "Problem", spied)
    sequences = spiral(2, np.random.default_rng(6)).sequences
    gtw.gtw(sequences, Settings(dims=1, basis="spline:24:1", own_starts=1, rounds=1))
    assert seen == [(3, 1), (6, 1), (12, 1), (24, 1)]
