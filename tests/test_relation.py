"""When an offset is believed, doubted or refused."""

import numpy as np
import pytest

from mmalign_cli.align.activity import Shift
from mmalign_cli.evidence.relation import activity_relation, doubt_of_sync, is_refused


def shift(nats, p=0.001, independent=20.0):
    return Shift(0.5, 0.1, 0.8, independent, nats, p)


@pytest.mark.parametrize(
    ("backward", "shuffled", "p", "believed", "refused"),
    [
        (2.0, 3.0, 0.001, True, False),
        (9.0, 3.0, 0.001, False, True),  # as likely backwards
        (2.0, 3.0, 0.2, False, True),  # one of many lags
        (2.0, 11.0, 0.001, False, False),  # distinct, and chance does as well
    ],
)
def test_activities(backward, shuffled, p, believed, refused):
    others = [*([shift(1.0)] * 17), None, shift(shuffled)]
    verdict = activity_relation(shift(10.0, p), shift(backward), others)
    assert verdict["supported"] is believed
    assert is_refused(verdict) is refused
    assert (doubt_of_sync(verdict) is None) is believed
    more = sum(np.array([backward, shuffled]) >= 10.0)
    assert verdict["p_value"] == pytest.approx((1 + more) / 21)


def test_chance_that_long_streams_could_tell_is_refused():
    others = [shift(1.0)] * 18
    assert is_refused(
        activity_relation(shift(10.0, independent=100.0), None, [*others, shift(11.0)])
    )
    assert not is_refused(activity_relation(shift(10.0, independent=100.0), None, [*others, None]))


def test_too_few_nulls_prove_nothing():
    assert not activity_relation(shift(10.0), None, [])["supported"]
