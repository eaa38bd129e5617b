import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.ledger.students_t import t_quantile, two_sided_p
from paddle_epoch_guard.statistics.discontinuity import (
    MIN_POINTS,
    MOST_POINTS,
    NARROW,
    Jump,
    estimate_jump,
    find_jumps,
)


def steps_around(points: int) -> np.ndarray:
    """Steps 1 - points to points: the change point lies between 0 and 1."""
    return np.arange(1.0 - points, points + 1)


def ar(rng: np.random.Generator, shape: tuple[int, int], phi: float = 0.0) -> np.ndarray:
    noise = rng.standard_normal(shape)
    for at in range(1, shape[1]):
        noise[:, at] = phi * noise[:, at - 1] + math.sqrt(1 - phi**2) * noise[:, at]
    return noise


def share_that_jumps(
    x: np.ndarray, mean: np.ndarray | float, phi: float = 0.0, sigma: np.ndarray | float = 1.0
) -> float:
    """The share of 400 curves in which a significant jump is estimated."""
    curves = mean + sigma * ar(np.random.default_rng(12), (400, len(x)), phi)
    return float(find_jumps(x - 0.5, curves, np.ones_like(x)).significant.mean())


def jump_at_zero(losses: np.ndarray, **options) -> Jump:
    jump = estimate_jump(steps_around(len(losses) // 2), losses, 0, 1, **options)
    assert jump is not None
    return jump


def noisy(points: int, fall: float = 0.0, seed: int = 0) -> np.ndarray:
    x = steps_around(points)
    return 10 - fall * (x > 0) + np.random.default_rng(seed).standard_normal(2 * points)


X = steps_around(60)
WINDOWS = (np.arange(-12, 12) + 0.5) * 10 + 0.5


class TestNoJump:
    """Rates are below 5 % (benchmarks/discontinuity.py); 400 curves leave them within 7 %."""

    @pytest.mark.parametrize("points", [60, 30, 20, 12, 6, 4, 3])
    @pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
    def test_noise(self, points, phi):
        assert share_that_jumps(steps_around(points), 10.0, phi) < 0.07

    @pytest.mark.parametrize("start", [60, 100, 200, 300])
    @pytest.mark.parametrize("sigma", [0.02, 0.1])
    def test_curvature(self, start, sigma):
        assert share_that_jumps(X, 3 + 5 * np.exp(-(X + start) / 80), sigma=sigma) < 0.07
        if start > 120:
            assert share_that_jumps(WINDOWS, 3 + 5 * np.exp(-(WINDOWS + start) / 80), sigma=sigma / 3) < 0.07

    @pytest.mark.parametrize("sigma", [np.where(X > 0, 3.0, 1.0), 1 + (X + 60) / 40, 4 - np.abs(X) / 20])
    def test_noise_that_changes(self, sigma):
        assert share_that_jumps(X, 10.0, sigma=sigma) < 0.07

    @pytest.mark.parametrize("at", [0, 1, 2])
    @pytest.mark.parametrize("height", [3.5, 10, 100])
    def test_spike(self, at, height):
        assert share_that_jumps(X, 10 + height * (at == X)) < 0.07

    @pytest.mark.parametrize("at", [-25, -10, 10, 25])
    @pytest.mark.parametrize("fall", [1, 3, 10])
    def test_level_elsewhere(self, at, fall):
        assert share_that_jumps(X, 30 - fall * (at < X)) < 0.07

    @pytest.mark.parametrize("at", [-25, 0.5, 25])
    @pytest.mark.parametrize("phi", [0.0, 0.8])
    def test_kink(self, at, phi):
        assert share_that_jumps(X, 30 - 0.2 * np.maximum(X - at, 0), phi) < 0.07

    @pytest.mark.parametrize("points", [3, 4, 5, 8, 12])
    @pytest.mark.parametrize("sigma", [0.0, 0.001, 0.02])
    def test_evaluation_curve(self, points, sigma):
        steps = (np.arange(-points, points) + 0.5) * 50
        assert share_that_jumps(steps, 3 + 2 * ((steps + 700) / 100) ** -0.5, sigma=sigma) < 0.07

    @pytest.mark.parametrize("level", [0.0, 1.0, -3.7, 1e6])
    @pytest.mark.parametrize("points", [3, 5, 12, 60])
    def test_constant(self, level, points):
        jump = jump_at_zero(np.full(2 * points, level))
        assert not jump.significant
        assert jump.value == pytest.approx(0, abs=1e-9 * (1 + abs(level)))
        assert jump.error == pytest.approx(0, abs=1e-9 * (1 + abs(level)))


class TestAJump:
    @pytest.mark.parametrize(("points", "fall", "least"), [(60, 2, 0.88), (30, 3, 0.9), (20, 4, 0.9), (12, 4, 0.8)])
    def test_is_found(self, points, fall, least):
        x = steps_around(points)
        assert share_that_jumps(x, 20.0 - fall * (x > 0)) > least
        assert share_that_jumps(x, 20.0 + fall * (x > 0)) > least

    @pytest.mark.parametrize("phi", [0.5, 0.8])
    def test_is_found_in_correlated_noise(self, phi):
        assert share_that_jumps(X, 20.0 - 4 * (X > 0), phi) > 0.9

    def test_is_found_beside_another(self):
        assert share_that_jumps(X, 20.0 - 3 * (X > 0) - 3 * (X > 25)) > 0.85

    @pytest.mark.parametrize("points", [3, 4, 5, 12, 60])
    def test_without_noise_is_exact(self, points):
        x = steps_around(points)
        jump = jump_at_zero(4 - 0.01 * x - 0.5 * (x > 0) - 0.02 * np.maximum(x - 0.5, 0))
        assert jump.significant
        assert jump.value == pytest.approx(-0.5)
        assert jump.error == pytest.approx(0, abs=1e-9)

    def test_error_is_that_of_the_estimates(self):
        x = steps_around(60)
        curves = 10 + ar(np.random.default_rng(5), (2000, 120), 0.5)
        jumps = find_jumps(x - 0.5, curves, np.ones(120))
        assert float(np.median(jumps.error)) == pytest.approx(jumps.value.std(), rel=0.15)

    def test_too_small_to_matter(self):
        x = steps_around(60)
        assert not jump_at_zero(10 - 0.04 * (x > 0)).significant
        assert jump_at_zero(10 - 0.06 * (x > 0)).significant


class TestPoints:
    @pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 10), (2, 10), (10, 2)])
    def test_too_few(self, before, after):
        steps = np.arange(1 - before, after + 1)
        assert estimate_jump(steps, np.ones(len(steps)), 0, 1) is None

    def test_just_enough(self):
        jump = jump_at_zero(noisy(MIN_POINTS))
        assert (jump.before, jump.after) == (MIN_POINTS, MIN_POINTS)
        assert jump.bandwidth == 2.5

    def test_wide_and_narrow(self):
        jump = jump_at_zero(noisy(110))
        assert (jump.before, jump.after, jump.bandwidth) == (NARROW, NARROW, NARROW - 0.5)

    def test_a_long_side_is_merged(self):
        losses = noisy(2 * MOST_POINTS)
        nearest = losses[MOST_POINTS : 3 * MOST_POINTS]
        jump = jump_at_zero(losses)
        assert jump == jump_at_zero(nearest)
        means = nearest.reshape(-1, 5).mean(axis=1)
        steps = (np.arange(-60, 60) + 0.5) * 5 + 0.5
        merged = estimate_jump(steps, means, 0, 1)
        assert (jump.value, jump.error) == pytest.approx((merged.value, merged.error), rel=0.05)

    def test_the_shorter_side_counts(self):
        losses = noisy(60)
        assert estimate_jump(X[:70], losses[:70], 0, 1) == estimate_jump(X[50:70], losses[50:70], 0, 1)

    def test_gap_is_left_out(self):
        losses = noisy(30, fall=4)
        steps = steps_around(30)
        wild = losses.copy()
        wild[29:31] = 1e6, -1e6
        assert estimate_jump(steps, wild, -1, 2) == estimate_jump(
            np.delete(steps, [29, 30]), np.delete(losses, [29, 30]), -1, 2
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_not_finite_is_left_out(self, value):
        losses, steps = noisy(30), steps_around(30)
        broken = losses.copy()
        broken[[3, 29, 30, 45]] = value
        rest = np.isfinite(broken)
        assert estimate_jump(steps, broken, 0, 1) == estimate_jump(steps[rest], losses[rest], 0, 1)
        assert estimate_jump(steps, np.full(60, value), 0, 1) is None

    @pytest.mark.parametrize("at", [59, 60])
    def test_spike_is_left_out(self, at):
        losses = noisy(60)
        plain = jump_at_zero(losses)
        losses[at] += 50
        jump = jump_at_zero(losses)
        assert jump.before + jump.after == 2 * NARROW - 1
        assert abs(jump.value - plain.value) < plain.error
        assert jump.error < 2 * plain.error

    def test_curves_at_once_are_as_one_by_one(self):
        curves = np.array([noisy(20, fall=3, seed=seed) for seed in range(20)])
        curves[::3, 20] += 30
        together = find_jumps(steps_around(20) - 0.5, curves, np.ones(40))
        jumps = [jump_at_zero(curve) for curve in curves]
        assert [jump.significant for jump in jumps] == together.significant.tolist()
        assert [jump.value for jump in jumps] == pytest.approx(together.value)
        assert [jump.error for jump in jumps] == pytest.approx(together.error)
        assert [jump.low for jump in jumps] == pytest.approx(together.low)
        assert [jump.after for jump in jumps] == together.after.tolist()

    @pytest.mark.parametrize(
        ("steps", "losses", "change", "weights"),
        [
            ([1, 2, 3], [1, 2], (1, 2), None),
            ([[1, 2]], [[1, 2]], (1, 2), None),
            ([1, 2, 3], [1, 2, 3], (1, 2), [1, 1]),
            ([1, 2, 2], [1, 2, 3], (1, 2), None),
            ([1, math.nan, 3], [1, 2, 3], (1, 2), None),
            ([3, 2, 1], [1, 2, 3], (1, 2), None),
            ([1, 2, 3], [1, 2, 3], (2, 2), None),
            ([1, 2, 3], [1, 2, 3], (1, 2), [1, 0, 1]),
            ([1, 2, 3], [1, 2, 3], (1, 2), [1, math.inf, 1]),
        ],
    )
    def test_refused(self, steps, losses, change, weights):
        with pytest.raises(ValueError, match="must"):
            estimate_jump(steps, losses, *change, weights=weights)


class TestWeights:
    def test_alike_are_none(self):
        losses = noisy(30, fall=2)
        assert jump_at_zero(losses, weights=np.full(60, 7)) == jump_at_zero(losses)

    def test_light_points_count_little(self):
        losses, weights = noisy(20), np.ones(40)
        weights[20] = 1e-6
        heavy, light = losses.copy(), losses.copy()
        light[20] += 20
        assert jump_at_zero(light, weights=weights).value == pytest.approx(
            jump_at_zero(heavy, weights=weights).value, abs=0.01
        )

    def test_short_windows_beside_long_ones(self):
        weights = np.where(np.abs(WINDOWS) < 30, 1.0, 10.0)
        curves = 10 + ar(np.random.default_rng(3), (400, 24)) / np.sqrt(weights)
        assert find_jumps(WINDOWS - 0.5, curves, weights).significant.mean() < 0.07


@st.composite
def curves(draw) -> np.ndarray:
    points = draw(st.sampled_from([3, 4, 5, 11, 12, 24, 25, 70]))
    return noisy(points, draw(st.sampled_from([0, 2, 5, -5])), draw(st.integers(0, 1000)))


class TestInvariance:
    @settings(deadline=None, max_examples=60)
    @given(curves(), st.floats(-5, 100))
    def test_constant(self, losses, constant):
        jump, moved = jump_at_zero(losses), jump_at_zero(losses + constant)
        assert (moved.value, moved.error) == pytest.approx((jump.value, jump.error), rel=1e-6, abs=1e-9)

    @settings(deadline=None, max_examples=60)
    @given(curves(), st.floats(-0.02, 0.02))
    def test_trend(self, losses, slope):
        jump, tilted = jump_at_zero(losses), jump_at_zero(losses + slope * steps_around(len(losses) // 2))
        assert (tilted.value, tilted.error) == pytest.approx((jump.value, jump.error), rel=1e-6, abs=1e-9)
        # The level, of which a jump must be a share, moves with the trend.
        if abs(jump.value) > 0.1:
            assert tilted.significant == jump.significant

    @settings(deadline=None, max_examples=60)
    @given(curves(), st.floats(0.001, 1000))
    def test_scale(self, losses, factor):
        jump, scaled = jump_at_zero(losses), jump_at_zero(factor * losses)
        assert (scaled.value, scaled.error) == pytest.approx((factor * jump.value, factor * jump.error), rel=1e-6)
        assert scaled.significant == jump.significant

    @settings(deadline=None, max_examples=60)
    @given(curves(), st.integers(-1000, 1_000_000))
    def test_shift(self, losses, shift):
        steps = steps_around(len(losses) // 2) + shift
        assert estimate_jump(steps, losses, shift, shift + 1) == jump_at_zero(losses)

    @settings(deadline=None, max_examples=60)
    @given(curves())
    def test_backwards(self, losses):
        jump, back = jump_at_zero(losses), jump_at_zero(losses[::-1])
        # The errors need not agree: which side a change between neighbours belongs to depends on the direction.
        assert back.value == pytest.approx(-jump.value, rel=1e-6, abs=1e-6)


class TestInterval:
    @pytest.mark.parametrize("points", [6, 12, 30, 60, 300])
    @pytest.mark.parametrize("phi", [0.0, 0.5])
    def test_covers_the_jump(self, points, phi):
        x = steps_around(points)
        curves = 20 - 3.0 * (x > 0) + ar(np.random.default_rng(7), (1000, 2 * points), phi)
        jumps = find_jumps(x - 0.5, curves, np.ones_like(x))
        assert 0.90 < ((jumps.low < -3) & (jumps.high > -3)).mean() <= 0.995

    def test_holds_where_curves_bend(self):
        early = 3 + 5 * np.exp(-(X + 100) / 80)
        jumps = find_jumps(X - 0.5, early + 0.05 * ar(np.random.default_rng(7), (1000, 120)), np.ones_like(X))
        assert ((jumps.low < 0) & (jumps.high > 0)).mean() > 0.90

    def test_what_is_detectable_is_found(self):
        x = steps_around(24)
        noise = ar(np.random.default_rng(8), (1000, 48))
        size = float(np.median(find_jumps(x - 0.5, 10 + noise, np.ones_like(x)).detectable))
        assert 0.7 < share_that_jumps(x, 10 + size * (x > 0)) < 0.95

    def test_excludes_what_lies_beyond_it(self):
        jump = jump_at_zero(10 + 0.01 * (noisy(60) - 10))
        assert jump.excludes(0.1)
        assert not jump.excludes(0.001)
        assert not Jump(0.0, 0.1, False).excludes(1e9)  # of an earlier release


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.7062), (2, 4.3027), (10, 2.2281), (120, 1.9799)])
def test_students_t(freedom, t):
    assert two_sided_p(t, freedom) == pytest.approx(0.05, rel=0.01)
    assert t_quantile(0.95, freedom) == pytest.approx(t, rel=1e-3)
    assert two_sided_p([-t, 0, math.inf], freedom) == pytest.approx([0.05, 1, 0], rel=0.01)
