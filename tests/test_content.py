"""Whether streams that were warped onto each other hold the same content: told from chance."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import cdist

from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.problem import Ends
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
