"""The values: invariants, and the algebra of time maps."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings

from mmalign_cli.align.time_maps import knots_of
from mmalign_cli.model import (
    EvenTimes,
    InvalidValueError,
    Stream,
    TimeMap,
    WarpingPath,
    frame_times,
)

ROUND_TRIP_S = 1e-9


def stream(**changes):
    fields = {"name": "a", "values": np.zeros((3, 2)), "times": np.arange(3.0)}
    return Stream(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.zeros(3)},
        {"values": np.zeros((0, 2)), "times": np.zeros(0)},
        {"values": np.array([[np.nan, 0], [0, 0], [0, 0]])},
        {"values": np.zeros((3, 2), dtype=np.int64)},
        {"times": np.array([0.0, 1.0, 1.0])},
        {"times": np.array([0.0, 1.0])},
        {"times": np.array([0.0, 1.0, np.inf])},
        {"columns": ("only one",)},
    ],
)
def test_stream_checks_itself(changes):
    with pytest.raises(InvalidValueError):
        stream(**changes)


def test_arrays_are_read_only():
    made = stream()
    with pytest.raises(ValueError, match="read-only"):
        made.values[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        made.times[0] = 1


def test_the_caller_keeps_its_own_array_writable():
    mine = np.zeros((3, 2))
    stream(values=mine)
    mine[0, 0] = 1.0


@pytest.mark.parametrize("frames", [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[0.0, 0.0], [-1.0, 2.0]]])
def test_path_is_monotone_and_moves(frames):
    frames = np.array(frames)
    with pytest.raises(InvalidValueError):
        WarpingPath(frames, frames.astype(float))


def test_frame_times_begin_at_zero_or_where_they_are_told_to():
    np.testing.assert_array_equal(frame_times(3, Fraction(4)), [0.0, 0.25, 0.5])
    np.testing.assert_array_equal(frame_times(2, Fraction(4), -1.0), [-1.0, -0.75])
    even = Stream("a", np.zeros((3, 1)), EvenTimes(3, Fraction(4)), Fraction(4))
    np.testing.assert_array_equal(even.times, [0.0, 0.25, 0.5])
    assert (even.end_s, even.period_s) == (0.5, 0.25)


def test_frame_times_do_not_drift():
    """Six hours at 30000/1001 frames a second: the last frame is where exact arithmetic has it."""
    rate = Fraction(30000, 1001)
    n = 6 * 3600 * 30
    times = frame_times(n, rate)
    for k in (0, 1, n // 2, n - 1):
        assert times[k] == pytest.approx(float(Fraction(k) / rate), rel=1e-15, abs=0)


increments = st.lists(st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)), min_size=1, max_size=12)


@st.composite
def maps(draw, stream="a", to="b"):
    start = draw(st.tuples(st.floats(-100, 100), st.floats(-100, 100)))
    knots = np.cumsum(np.array([start, *draw(increments)]), axis=0)
    assume((np.diff(knots, axis=0) > 0).all())
    return TimeMap(stream, to, knots)


times_s = st.lists(st.floats(-300, 300), min_size=1, max_size=20).map(np.array)


@given(maps(), times_s)
def test_inverse_round_trip(m, t):
    np.testing.assert_allclose(m.inverse()(m(t)), t, atol=ROUND_TRIP_S)
    np.testing.assert_allclose(m(m.inverse()(t)), t, atol=ROUND_TRIP_S)


@given(maps("a", "b"), maps("b", "c"), times_s)
def test_composition_is_one_after_the_other(f, g, t):
    composed = f.then(g)
    assert (composed.stream, composed.to) == ("a", "c")
    np.testing.assert_allclose(composed(t), g(f(t)), atol=1e-6)


@given(maps(), times_s)
def test_a_map_and_its_inverse_compose_to_the_identity(m, t):
    np.testing.assert_allclose(m.then(m.inverse())(t), t, atol=ROUND_TRIP_S)


@given(maps())
def test_maps_increase_strictly(m):
    t = np.linspace(m.knots[0, 0] - 5, m.knots[-1, 0] + 5, 500)
    assert (np.diff(m(t)) > 0).all()


def test_one_knot_is_an_offset():
    offset = TimeMap("a", "b", np.array([[2.0, 5.0]]))
    np.testing.assert_array_equal(offset([0.0, 2.0, 10.0]), [3.0, 5.0, 13.0])


def test_outside_the_knots_the_clocks_run_alike():
    m = TimeMap("a", "b", np.array([[0.0, 0.0], [1.0, 2.0]]))
    np.testing.assert_allclose(m([-3.0, 0.5, 4.0]), [-3.0, 1.0, 5.0])


@pytest.mark.parametrize(
    "knots",
    [
        [[0, 0], [1, 0]],
        [[0, 0], [0, 1]],
        [[0, np.nan]],
        np.zeros((0, 2)),
        [[0, 0], [1e-300, 1e10]],
        [[0, 0], [1e10, 1e-300]],
    ],
)
def test_map_checks_its_knots(knots):
    with pytest.raises(InvalidValueError):
        TimeMap("a", "b", np.array(knots, dtype=float))


def test_composition_needs_a_common_clock():
    m = TimeMap("a", "b", np.array([[0.0, 0.0]]))
    with pytest.raises(InvalidValueError, match="cannot go"):
        m.then(m)


@st.composite
def staircases(draw):
    moves = draw(st.lists(st.sampled_from([(1, 1), (1, 0), (0, 1), (2, 1)]), max_size=40))
    frames = np.cumsum(np.array([(0, 0), *moves]), axis=0)
    return frames[:, 0] / 100, frames[:, 1] / 25


@settings(deadline=None)  # the first one loads the kernel
@given(staircases())
def test_knots_of_a_staircase(stairs):
    stream_s, reference_s = stairs
    if stream_s[-1] == stream_s[0] or reference_s[-1] == reference_s[0]:
        assert len(knots_of(stream_s, reference_s)) == 1
        return
    expected = naive.time_map_by_runs(list(stream_s), list(reference_s))
    knots = knots_of(stream_s, reference_s)
    ours, twin = TimeMap("a", "b", knots), TimeMap("a", "b", expected)
    np.testing.assert_allclose(ours(expected[:, 0]), expected[:, 1], atol=ROUND_TRIP_S)
    np.testing.assert_allclose(twin(knots[:, 0]), knots[:, 1], atol=ROUND_TRIP_S)


def test_a_straight_path_has_two_knots():
    t = np.arange(1000) / 100
    np.testing.assert_allclose(knots_of(t, t + 5), [[0, 5], [9.99, 14.99]])
