"""The trend that figures show."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.statistics.smoothing import FEWEST, trend


def noise(count, seed=0):
    return np.random.default_rng(seed).standard_normal(count)


@given(st.integers(0, 120), st.lists(st.integers(-5, 130), max_size=4), st.integers(1, 9))
@settings(deadline=None)
def test_a_straight_line_is_its_own_trend_on_every_side(count, changes, gap):
    steps = np.arange(count) * gap
    sides = np.searchsorted(steps, sorted(set(changes)))
    line = 3.0 - 0.01 * steps
    smooth = trend(steps, line, changes)
    assert smooth.shape == (count,)
    for side in np.split(np.arange(count), sides):
        if len(side) >= FEWEST:
            np.testing.assert_allclose(smooth[side], line[side], atol=1e-9)
        elif len(side):
            np.testing.assert_allclose(smooth[side], np.median(line[side]))


@given(st.floats(-50, 50), st.floats(0.1, 50), st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_units_do_not_matter(shift, scale, seed):
    steps, values = np.arange(200), noise(200, seed)
    np.testing.assert_allclose(
        trend(steps, shift + scale * values, [80]), shift + scale * trend(steps, values, [80]), atol=1e-6 * scale
    )


def test_each_side_of_a_change_point_is_smoothed_as_if_the_other_were_not_there():
    steps = np.arange(1, 401)
    values = np.where(steps < 201, 4.0, 2.0) + 0.1 * noise(400)
    smooth = trend(steps, values, [201])
    changed = np.where(steps < 201, values, 100.0)
    np.testing.assert_array_equal(trend(steps, changed, [201])[:200], smooth[:200])
    assert smooth[199] - smooth[200] == pytest.approx(2.0, abs=0.12)
    # Without the change point, the cliff would be smeared.
    assert abs(np.diff(trend(steps, values))).max() < 0.5


def test_a_steep_curve_is_met_right_next_to_a_change_point():
    """A moving average over 15 steps would lag by 0.35 there, and look like part of a jump."""
    steps = np.arange(1, 301)
    values = 10 - 0.05 * steps - 2.0 * (steps > 150)
    smooth = trend(steps, values + 0.05 * noise(300), [151])
    np.testing.assert_allclose(smooth[[149, 150]], values[[149, 150]], atol=0.06)


def test_the_steep_beginning_of_a_run_is_met():
    steps = np.arange(1, 20_001)
    values = 3 + 8 * np.exp(-steps / 300)
    smooth = trend(steps, values + 0.05 * noise(len(steps)))
    assert np.abs(smooth - values).max() < 0.15


def test_spikes_do_not_move_it():
    steps = np.arange(500)
    values = 3 + 0.1 * noise(500)
    spiked = values.copy()
    spiked[::10] += 50.0
    assert np.abs(trend(steps, spiked) - trend(steps, values)).max() < 0.06


def test_steps_may_be_apart_unevenly():
    steps = np.unique(np.random.default_rng(1).integers(0, 100_000, 400))
    values = 5 - 2e-5 * steps
    np.testing.assert_allclose(trend(steps, values, [30_000]), values, atol=1e-9)


def test_what_is_no_curve_is_refused():
    for steps, values in (([1, 1, 2], [1, 2, 3]), ([2, 1], [1, 2]), ([1, 2], [1]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="ascend strictly"):
            trend(steps, values)


def test_100_000_steps_take_about_a_second():
    steps = np.arange(100_000)
    values = 3 + 8 * np.exp(-steps / 20_000) + 0.1 * noise(100_000)
    start = time.perf_counter()
    trend(steps, values, [30_000, 60_000])
    assert time.perf_counter() - start < 3  # a quarter, on an idle machine
