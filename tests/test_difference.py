"""The difference of two runs at a place: exact values, what it is invariant to, and the coverage of its interval."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.statistics.difference import (
    FEWEST_POINTS,
    LINE_POINTS,
    MOST_POINTS,
    RELEVANT_DIFFERENCE,
    estimate_difference,
    find_differences,
)

SEEDS = st.integers(0, 2**31)


def estimated(differences, points, **options):
    """The difference at the last points of a history with one point a step."""
    x = np.arange(len(differences)) + 0.5
    return estimate_difference(x, differences, (len(differences) - points, len(differences)), **options)


def autoregressive(rng, shape, phi):
    """AR(1) noise of variance 1, [curves, points]."""
    noise = rng.standard_normal(shape)
    for at in range(1, shape[1]):
        noise[:, at] = phi * noise[:, at - 1] + np.sqrt(1 - phi**2) * noise[:, at]
    return noise


@pytest.mark.parametrize("points", [LINE_POINTS, 200, 301])
def test_a_line_without_noise(points):
    x = np.arange(400) * 10.0 + 5
    found = estimate_difference(x, 0.7 - 0.0001 * x, (x[-points], x[-1]))
    assert found.points == points
    assert found.value == pytest.approx(0.7 - 0.0001 * (x[-points] + x[-1]) / 2, abs=1e-12)
    assert found.error < 1e-12
    assert found.low == pytest.approx(found.high)
    assert found.p == pytest.approx(0, abs=1e-6)


def test_equal_runs_do_not_differ():
    found = estimated(np.zeros(50), 20)
    assert (found.value, found.error, found.low, found.high, found.p) == (0, 0, 0, 0, 1)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from([5, 12, 160]), st.floats(-3, 3), st.floats(0.01, 100))
def test_shift_scale_and_sign(seed, points, shift, factor):
    noise = np.random.default_rng(seed).standard_normal(330)
    plain, moved = estimated(noise, points), estimated(shift + factor * noise, points)
    assert moved.value == pytest.approx(shift + factor * plain.value, abs=1e-6)
    assert moved.error == pytest.approx(factor * plain.error)
    assert moved.freedom == pytest.approx(plain.freedom)
    swapped = estimated(-noise, points)
    assert (swapped.low, swapped.high) == pytest.approx((-plain.high, -plain.low))
    assert swapped.p == pytest.approx(plain.p)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.5, 1000))
def test_the_unit_of_the_place_does_not_matter(seed, unit):
    noise = np.random.default_rng(seed).standard_normal(100)
    x = np.arange(100.0)
    steps, tokens = (
        estimate_difference(x, noise, (70, 90)),
        estimate_difference(x * unit, noise, (70 * unit, 90 * unit)),
    )
    assert steps.points == 21
    assert dataclasses.astuple(tokens) == pytest.approx(dataclasses.astuple(steps))


@pytest.mark.parametrize("points", [3, 12, 30, 150])
def test_as_the_paired_t_test_on_independent_noise(points):
    differences = np.random.default_rng(8).standard_normal((300, 600))
    found = find_differences(np.arange(600.0), differences, np.ones(600), (600 - points, 600))
    place = differences[:, -points:]
    assert found.value == pytest.approx(place.mean(axis=1))
    ratio = found.error / (place.std(axis=1, ddof=1) / np.sqrt(points))
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.quantile(ratio, [0.05, 0.95]) == pytest.approx(1, abs=0.15)


def test_without_a_history_a_few_points_are_as_the_paired_t_test():
    differences = np.random.default_rng(9).standard_normal(10)
    found = estimated(differences, 10)
    assert found.error == pytest.approx(differences.std(ddof=1) / np.sqrt(10))
    assert found.freedom == pytest.approx(9)
    assert found.autocorrelation == 0


def test_the_estimate_is_the_weighted_mean_where_weights_are_symmetric():
    rng = np.random.default_rng(3)
    weights, differences = rng.integers(1, 5, 20).astype(float), rng.standard_normal(40)
    weights = np.concatenate([weights, weights[::-1]])
    found = estimated(differences, 40, weights=weights)
    assert found.value == pytest.approx(np.average(differences, weights=weights))
    assert dataclasses.astuple(estimated(differences, 40, weights=7 * weights)) == pytest.approx(
        dataclasses.astuple(found)
    )


def test_a_point_of_small_weight_hardly_counts():
    differences, weights = np.random.default_rng(0).standard_normal(60), np.ones(60)
    differences[50], weights[50] = 100.0, 1e-9
    assert estimated(differences, 20, weights=weights).value == pytest.approx(0, abs=1)
    assert estimated(differences, 20).value > 4


def test_too_few_points():
    noise = np.random.default_rng(0).standard_normal(50)
    assert estimated(noise, FEWEST_POINTS - 1) is None
    assert estimated(noise, FEWEST_POINTS).points == FEWEST_POINTS
    noise[-2] = np.nan
    assert estimated(noise, FEWEST_POINTS) is None
    assert estimated(noise, FEWEST_POINTS + 1).points == FEWEST_POINTS
    assert estimate_difference([], [], (0, 1)) is None


@pytest.mark.parametrize(
    ("x", "differences", "weights"),
    [([1, 2], [1, 2, 3], None), ([2, 1], [1, 2], None), ([1, 2], [1, 2], [1, 0]), ([[1]], [[1]], None)],
)
def test_what_makes_no_sense_is_refused(x, differences, weights):
    with pytest.raises(ValueError, match="must"):
        estimate_difference(x, differences, (0, 9), weights=weights)


def test_the_rest_of_the_history_tells_the_autocorrelation_only():
    noise = autoregressive(np.random.default_rng(5), (1, 300), 0.8)[0]
    alone, within = estimated(noise[-11:], 11), estimated(noise, 11)
    assert within.value == pytest.approx(alone.value)
    assert within.autocorrelation == pytest.approx(0.8, abs=0.1)
    assert within.error > alone.error
    far = np.concatenate([1e6 * np.random.default_rng(6).standard_normal(500), noise])
    assert estimated(far, 11) == within
    assert estimated(noise, 11, least_autocorrelation=0.95).error > within.error


def test_a_long_place_is_merged():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(20 * MOST_POINTS + 7)
    found = estimated(noise, len(noise) - 100)
    assert found.value == pytest.approx(noise[100:].mean(), abs=1e-3)
    assert found.error == pytest.approx(1 / np.sqrt(len(noise)), rel=0.25)


@pytest.mark.parametrize(("phi", "points"), [(0.0, 12), (0.5, 30), (0.8, 60)])
def test_the_interval_covers(phi, points):
    noise = autoregressive(np.random.default_rng(11), (1500, 300), phi)
    found = find_differences(np.arange(300.0), noise, np.ones(300), (300 - points, 300))
    assert 0.925 < np.mean((found.low <= 0) & (found.high >= 0)) < 0.975


def test_many_at_once_are_as_one_by_one():
    noise = np.random.default_rng(2).standard_normal((5, 400))
    together = find_differences(np.arange(400) + 0.5, noise, np.ones(400), (200, 400))
    singly = [estimated(each, 200) for each in noise]
    for name in ("value", "error", "freedom", "p", "low", "high", "autocorrelation"):
        assert getattr(together, name) == pytest.approx([getattr(each, name) for each in singly])


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [(-0.02, 0.001, "better"), (0.02, 0.001, "worse"), (0.005, 0.001, "no difference"), (0.02, 0.5, "no difference")],
)
def test_the_verdict_needs_certainty_and_size(shift, noise, verdict):
    differences = shift + noise * np.random.default_rng(1).standard_normal(300)
    assert estimated(differences, 60).verdict(3.3) == verdict
    found = find_differences(np.arange(300.0), differences[None], np.ones(300), (240, 300))
    assert found.counts(3.3).tolist() == [verdict != "no difference"]


def test_a_difference_of_the_least_relevant_size_counts():
    exact = estimated(np.full(50, -0.25), 20)
    assert exact.verdict(0.25 / RELEVANT_DIFFERENCE * 0.999) == "better"
    assert exact.verdict(0.25 / RELEVANT_DIFFERENCE * 1.001) == "no difference"


def test_few_evaluations_take_the_given_autocorrelation():
    noise = np.random.default_rng(7).standard_normal(6)
    free, given_one = estimated(noise, 6), estimated(noise, 6, least_autocorrelation=0.3)
    assert (free.autocorrelation, given_one.autocorrelation) == (0, 0.3)
    assert given_one.value == free.value
    # The variance of the mean of six values of AR(1) noise, by that of their residuals, both written out.
    lags = np.subtract.outer(np.arange(6), np.arange(6))
    of_mean = (0.3 ** np.abs(lags)).mean()
    assert given_one.error == pytest.approx(np.sqrt(noise.var() * of_mean / (1 - of_mean)), rel=0.01)
