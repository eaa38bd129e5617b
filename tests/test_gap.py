import math

import numpy as np
import pytest

from paddle_epoch_guard.ledger import LossWindow
from paddle_epoch_guard.ledger.intervals import Interval, OpenInterval, sides_of
from paddle_epoch_guard.statistics.gap import estimate_gap, find_gaps, gap_before


def series(count: int, each: int, phi: float = 0.0, seed: int = 3) -> np.ndarray:
    """Gaps of ``count`` runs, each with ``each`` intervals on both sides, of unit noise."""
    noise = np.random.default_rng(seed).standard_normal((count, 2 * each))
    for at in range(1, 2 * each):
        noise[:, at] = phi * noise[:, at - 1] + math.sqrt(1 - phi**2) * noise[:, at]
    return noise


@pytest.mark.parametrize("each", [3, 4, 5, 6])
@pytest.mark.parametrize("phi", [0.0, 0.25])
def test_size(each, phi):
    assert find_gaps(series(4000, each, phi)).significant.mean() < 0.06


@pytest.mark.parametrize("each", [3, 4, 5, 6])
def test_interval_covers_the_shift(each):
    gaps = find_gaps(series(4000, each) - 2.0 * (np.arange(2 * each) >= each))
    assert ((gaps.low < -2) & (gaps.high > -2)).mean() > 0.93


def test_power():
    after = np.arange(12) >= 6
    past = np.random.default_rng(9).standard_normal((2000, 12))
    assert find_gaps(series(2000, 6) - 3.0 * after, earlier=past).significant.mean() > 0.85
    built_up = 3.0 * np.clip((np.arange(12) - 5) / 3, 0, 1)
    assert find_gaps(series(2000, 6) - built_up, earlier=past).significant.mean() > 0.6


@pytest.mark.parametrize("each", [3, 4, 6])
@pytest.mark.parametrize("earlier", [0, 6, 18])
def test_a_drift_that_goes_on_is_no_shift(each, earlier):
    noise = series(2000, each + earlier)[:, : 2 * each + earlier]
    drifting = noise - 1.0 * np.arange(noise.shape[1])
    gaps = find_gaps(drifting[:, earlier:], earlier=drifting[:, :earlier])
    assert gaps.significant.mean() < 0.13


def test_the_past_shows_the_drift():
    before = [interval(1 + 100 * at, -0.1 * at + 0.01 * (-1) ** at) for at in range(12)]
    after = [interval(1201 + 100 * at, -1.2 - 0.1 * at + 0.01 * (-1) ** at) for at in range(6)]
    assert not estimate_gap([*before, *after], 1200, 1201, 3.0).significant
    fallen = [interval(1201 + 100 * at, -2.2 - 0.1 * at + 0.01 * (-1) ** at) for at in range(6)]
    assert estimate_gap([*before, *fallen], 1200, 1201, 3.0).significant


def test_too_small_to_matter():
    shift = np.where(np.arange(12) >= 6, -0.1, 0.0)
    gaps = 0.001 * series(100, 6) + shift
    assert not find_gaps(gaps, level=30.0).significant.any()
    assert find_gaps(gaps, level=3.0).significant.all()


def interval(first_step: int, gap: float, length: int = 100, evaluation: float = 3.0) -> Interval:
    return Interval(first_step, first_step + length - 1, evaluation + gap, evaluation, evaluation)


def test_estimate_of_a_run():
    before = [interval(1 + 100 * at, 0.1 + 0.01 * (-1) ** at) for at in range(4)]
    after = [interval(401 + 100 * at, -0.4 + 0.01 * (-1) ** at) for at in range(8)]
    jump = estimate_gap([*before, *after], 400, 401, 3.0)
    assert jump is not None
    assert (jump.before, jump.after, jump.bandwidth) == (4, 4, 400.0)
    assert jump.value == pytest.approx(-0.5)
    assert jump.significant
    usual = gap_before([*before, *after], 400, 401)
    assert usual is not None
    assert usual.value == pytest.approx(0.1)
    assert estimate_gap([*before[:2], *after], 400, 401, 3.0) is None
    assert gap_before([*before[:2], *after], 400, 401) is None


def window(first_step: int, last_step: int, loss: float) -> LossWindow:
    return LossWindow(first_step, last_step, loss, 4 * (last_step - first_step + 1))


def test_an_interval_is_what_lies_between_two_evaluations():
    opened = OpenInterval(20, 3.0)
    opened.take(window(11, 30, 5.0))  # half of it
    opened.take(window(31, 40, 4.0))
    assert opened.closed(40, 2.0) == Interval(21, 40, 4.5, 3.0, 2.0)
    assert opened.closed(40, 2.0).gap == pytest.approx(2.0)
    assert OpenInterval(20, 3.0).closed(20, 3.0) is None


def test_an_interval_reaches_across_no_change_point_but_its_boundary_step():
    opened = OpenInterval(20, 3.0)
    opened.take(window(21, 30, 5.0))
    opened.cut(31)
    opened.take(window(31, 31, 1.0))
    assert opened.closed(31, 3.0) == Interval(21, 31, 5.0, 3.0, 3.0)
    assert opened.closed(32, 3.0) is None
    behind = OpenInterval(30, 3.0)
    behind.cut(31)  # it begins there
    behind.take(window(31, 40, 1.0))
    assert behind.closed(40, 3.0) == Interval(31, 40, 1.0, 3.0, 3.0)


def test_sides_are_of_one_length_and_nearest():
    intervals = [interval(1 + 10 * at, 0.0, 10) for at in range(20)]
    before, after = sides_of(intervals, 80, 81)
    assert [each.first_step for each in before] == [21, 31, 41, 51, 61, 71]
    assert [each.first_step for each in after] == [81, 91, 101, 111, 121, 131]
    assert [len(side) for side in sides_of(intervals, 20, 21)] == [2, 2]
    # Of two change points at one step, only one of them mixed: an evaluation after the step beyond it.
    crossing = [*intervals[:2], interval(21, 0.0, 12), interval(33, 0.0, 10)]
    assert [len(side) for side in sides_of(crossing, 30, 32)] == [1, 1]
    assert [each.first_step for each in sides_of(crossing, 30, 32)[0]] == [21]
    assert [each.first_step for each in sides_of(crossing, 30, 31)[0]] == [11]
