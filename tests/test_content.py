"""Whether streams that were warped onto each other hold the same content: told from chance."""

import naive
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import cdist

from mmalign_cli.align.dtw import distance, dtw, local_costs
from mmalign_cli.align.problem import Ends
from mmalign_cli.align.reordered import distances_of_orders, nearest_costs
from mmalign_cli.evidence.confidence import shuffled_null, shuffled_orders
from mmalign_cli.evidence.content import doubt_of, judge_content
from mmalign_cli.evidence.efforts import EFFORTS

FAST = EFFORTS["fast"]


def motion(rng, n, d):
    return 6 * gaussian_filter1d(rng.standard_normal((n, d)), 8, axis=0)


def warped(rng, x, m):
    """The motion at other speeds, m frames."""
    speed = np.exp(gaussian_filter1d(rng.standard_normal(m), m / 10) * np.sqrt(m / 20))
    at = np.cumsum(speed) - speed[0]
    at *= (len(x) - 1) / at[-1]
    return np.column_stack([np.interp(at, np.arange(len(x)), column) for column in x.T])


def judged(x, y, metric="sqeuclidean", effort=FAST, **how):
    return judge_content(x, y, dtw(x, y, metric=metric, **how), metric, effort, 0)


@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_the_same_motion_is_told_from_another(d, metric):
    """Of 10 each at least 9 are told: noise of a fifth of the motion on either side."""
    right = {True: 0, False: 0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = motion(rng, 300, d)
        for related, z in ((True, x), (False, motion(rng, 300, d))):
            y = warped(rng, z, 260)
            noisy = [v + 0.2 * rng.standard_normal(v.shape) for v in (x, y)]
            right[related] += judged(*noisy, metric)["supported"] == related
    assert right[True] >= 9
    assert right[False] >= 9


def test_evidence_is_the_cost_of_a_frame_over_its_best_fit():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((70, 4)), rng.standard_normal((50, 4))
    costs = cdist(x, y, "sqeuclidean")
    path = dtw(x, y)
    best = (costs.min(axis=0).mean() + costs.min(axis=1).mean()) / 2
    expected = costs[tuple(path.frames.T)].sum() / 120 / best
    assert judged(x, y)["evidence"] == pytest.approx(expected, rel=1e-9)


def test_long_streams_are_judged_by_frames_drawn_from_them(monkeypatch):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((900, 4)), rng.standard_normal((800, 4))
    whole = judged(x, y)["evidence"]
    monkeypatch.setattr("mmalign_cli.evidence.content._VALUES", 4e5)
    drawn = judged(x, y)["evidence"]
    assert drawn != whole
    assert drawn == pytest.approx(whole, rel=0.2)


def test_p_is_the_share_of_nulls_that_cost_no_more():
    rng = np.random.default_rng(3)
    x = motion(rng, 200, 3)
    assert judged(x, warped(rng, x, 180))["p_value"] == 1 / 21
    assert judged(x, warped(rng, x, 180), effort=EFFORTS["full"])["p_value"] == 1 / 101


def test_nothing_is_said_of_few_frames_and_where_nothing_is_asked():
    rng = np.random.default_rng(4)
    assert judged(*rng.standard_normal((2, 19, 2))) is None
    assert judged(*rng.standard_normal((2, 60, 2)), effort=EFFORTS["none"]) is None
    assert doubt_of(None) is None


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_streams_are_the_same_content(value):
    same = np.full((40, 2), value)
    verdict = judged(same, same)
    assert verdict["supported"]
    assert verdict["evidence"] == 0
    assert doubt_of(verdict) is None


def test_self_similarity_is_judged_by_chance_alone():
    rng = np.random.default_rng(5)
    x = motion(rng, 80, 2)
    verdict = judged(x, warped(rng, x, 70), "selfsim")
    assert verdict["evidence"] is None
    assert verdict["supported"]


def test_only_the_part_that_the_query_meets_counts():
    """A phrase in a long recording: what lies around it does not fit it, and need not."""
    rng = np.random.default_rng(6)
    x = motion(rng, 1000, 20)
    assert judged(x, warped(rng, x[400:600], 150), ends=Ends(True, True))["supported"]
    alone = judged(x, motion(rng, 150, 20), ends=Ends(True, True))
    assert not alone["supported"]
    assert "the same content" in doubt_of(alone)


# -- many orders at once


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (9, 8, 8), (12, 13, 9), (30, 25, 17)])
@pytest.mark.parametrize("by_lanes", [True, False])
def test_all_orders_at_once_are_those_one_by_one(shape, by_lanes):
    from mmalign_cli.kernels import codes, orders
    from mmalign_cli.kernels.forms import Form

    n, m, k = shape
    rng = np.random.default_rng(n)
    costs, places = rng.random((m, n)), rng.integers(0, m, (k, m))
    found = np.empty(k)
    form = Form(codes.SQEUCLIDEAN, 0, 1, False, by_lanes and orders.BY_LANES)
    orders.least_costs(form, costs, places, found)
    steps = [[(1, 1, 1)], [(1, 0, 1)], [(0, 1, 1)]]
    for total, order in zip(found, places, strict=True):
        table = naive.accumulate(costs[order], steps, np.ones((m, n), dtype=bool))
        assert total == pytest.approx(table[-1, -1], rel=1e-12)


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine", "chebyshev", "selfsim"])
def test_distances_of_orders_are_those_of_reordered_streams(metric):
    rng = np.random.default_rng(1)
    x, y = motion(rng, 40, 3), motion(rng, 33, 3)
    orders = np.vstack([np.arange(33), shuffled_orders(33, [5, 6])])
    expected = [distance(x, y[order], metric=metric) for order in orders]
    np.testing.assert_allclose(distances_of_orders(x, y, orders, metric), expected, rtol=1e-6)


def test_the_nearest_frames_of_either_stream():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(21, 4))
    costs = local_costs(x, y, "euclidean")
    of_x, of_y = nearest_costs(x, y, "euclidean")
    np.testing.assert_array_equal(of_x, costs.min(axis=1))
    np.testing.assert_array_equal(of_y, costs.min(axis=0))


@pytest.mark.parametrize("frames", [1, 3, 8, 9, 100, 1023])
def test_shuffled_orders_hold_stretches_of_which_none_follows_its_own(frames):
    stretches = [part.tolist() for part in np.array_split(np.arange(frames), min(8, frames))]
    for seed, order in enumerate(shuffled_orders(frames, range(6))):
        left, found = list(order), []
        while left:
            found.append(next(k for k, part in enumerate(stretches) if part[0] == left[0]))
            assert left[: len(stretches[found[-1]])] == stretches[found[-1]]
            del left[: len(stretches[found[-1]])]
        assert sorted(found) == list(range(len(stretches)))
        assert len(stretches) < 4 or 1 not in np.diff(found)
        query = np.arange(2.0 * frames).reshape(frames, 2)
        np.testing.assert_array_equal(shuffled_null(query, seed), query[order])
