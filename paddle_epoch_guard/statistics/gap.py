"""The gap test: does training gain something at a change point that evaluation does not?

This is a difference in differences (Card and Krueger, American Economic Review 84, 1994), with evaluation as the
control. An evaluation interval has a gap: its mean training loss less the mean of the evaluations at its two ends. The
test compares the mean gap of a few intervals on each side. A change of the learning rate moves training and evaluation
alike, so it does not show; a fall that builds up over many steps does. A gap that drifts all along, because more and
more is repeated, is no shift: what goes on as before the change point is taken off.

The gaps of neighbouring intervals are correlated, because they share an evaluation and the data has its own slow
moods; a few intervals cannot show how much. So the standard error is inflated as for AR(1) noise with at least
:data:`LEAST_AUTOCORRELATION`. ``benchmarks/discontinuity.py`` measures the test's size and power.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.intervals import Interval, sides_of
from paddle_epoch_guard.ledger.students_t import two_sided_p
from paddle_epoch_guard.statistics.discontinuity import SIGNIFICANT, Floats, Jump, Jumps
from paddle_epoch_guard.statistics.judging import Part

FEWEST_INTERVALS = 3
"""Intervals that each side needs."""
LEAST_AUTOCORRELATION = 0.4
PAST = 24
"""Intervals before the change point, at most, that tell the drift."""

_MOST_AUTOCORRELATION = 0.9
_LEVEL_DRIFT = 0.25
_TINY = 1e-300


def find_gaps(series: npt.ArrayLike, level: npt.ArrayLike = 0.0, earlier: npt.ArrayLike | None = None) -> Jumps:
    """Tests the level shift of gaps, for any number of runs at once.

    Args:
        series: gaps in nats per token, [..., 2 n]; half of them before the change point.
        level: the loss, of which shares are meant, [...].
        earlier: the gaps before those, [..., k]; none by default. A drift that goes on is no shift.
    """
    gaps = np.asarray(series, np.float64)
    half = gaps.shape[-1] // 2
    sides = gaps.reshape(*gaps.shape[:-1], 2, half)
    means = sides.mean(axis=-1)
    residual = sides - means[..., None]
    # A fall that builds up after the change point is no noise.
    line = np.arange(half) - (half - 1) / 2
    residual[..., 1, :] -= (residual[..., 1, :] @ line)[..., None] * line / (line @ line)
    # Pooled: a few intervals cannot tell whether the noise changes.
    freedom = 2 * half - 3
    power = np.square(residual).sum(axis=(-1, -2))
    products = (residual[..., 1:] * residual[..., :-1]).sum(axis=(-1, -2))
    raw = products / np.maximum(power, _TINY)
    phi = np.clip((raw * half + 1) / max(half - 3, half / 4), LEAST_AUTOCORRELATION, _MOST_AUTOCORRELATION)
    variance = power / freedom * _inflation(phi, half)
    value, error = means[..., 1] - means[..., 0], np.sqrt(2 * variance / half)
    free = np.full(value.shape, float(freedom))
    p = two_sided_p(value / np.maximum(error, _TINY), free)
    past = gaps[..., :half] if earlier is None else np.concatenate([np.asarray(earlier), gaps[..., :half]], axis=-1)
    p = np.maximum(p, _p_beyond_drift(value, variance, past, half))
    count = np.full(value.shape, half)
    return Jumps(value, error, free, p, np.broadcast_to(np.asarray(level, np.float64), value.shape), count, count)


def _p_beyond_drift(value: Floats, variance: Floats, past: Floats, half: int) -> Floats:
    """The level of the whole test at which the shift beyond the drift before it would just be rejected, [...].

    A line through the gaps before the change point tells the drift. It may err, so it only has a veto: the shift
    beyond it must have the same sign, at :data:`_LEVEL_DRIFT`.

    Args:
        value: the shift.
        variance: of a gap.
        past: gaps before the change point, [..., k].
        half: intervals on each side.
    """
    count = past.shape[-1]
    line = np.arange(count) - (count - 1) / 2
    squares = float(line @ line)
    beyond = value - half * (past @ line) / squares
    error = np.sqrt(variance * (2 / half + half**2 / squares))
    p = two_sided_p(beyond / np.maximum(error, _TINY), np.full(value.shape, 2.0 * half - 3))
    return np.where(beyond * value > 0, SIGNIFICANT * p / _LEVEL_DRIFT, 1.0).clip(max=1.0)


def _inflation(phi: Floats, count: int) -> Floats:
    """The variance of the mean of ``count`` AR(1) values, divided by that of independent ones, [...].

    Relative to what the residuals show, which is less than the variance of the values.
    """
    lags = np.arange(1, count)
    shared = ((1 - lags / count) * phi[..., None] ** lags).sum(axis=-1)
    of_mean = 1 + 2 * shared
    inflation: Floats = of_mean * (count - 1) / np.maximum(count - of_mean, 0.1)
    return inflation


def estimate_gap(intervals: Sequence[Interval], last_before: int, first_after: int, level: float) -> Jump | None:
    """Estimates what training gains at a change point and evaluation does not.

    Args:
        intervals: on both sides, oldest first.
        last_before: the last step wholly before it.
        first_after: the first step wholly after it.
        level: the training loss, of which shares are meant.

    Returns:
        The shift of the gap, negative if training gains; None if a side has fewer than :data:`FEWEST_INTERVALS`.
    """
    before, after = sides_of(intervals, last_before, first_after)
    if len(before) < FEWEST_INTERVALS:
        return None
    reach = max(last_before - before[0].first_step + 1, after[-1].last_step - first_after + 1)
    past = [interval.gap for interval in intervals if interval.first_step < before[0].first_step]
    series = [interval.gap for interval in (*before, *after)]
    return find_gaps(series, level, past[max(len(past) + len(before) - PAST, 0) :]).only(float(reach))


def gap_before(intervals: Sequence[Interval], last_before: int, first_after: int) -> Part | None:
    """The mean gap before a change point, and the standard error of one later gap; None without enough intervals."""
    before, _ = sides_of(intervals, last_before, first_after)
    return mean_gap(before)


def mean_gap(intervals: Sequence[Interval]) -> Part | None:
    """The mean gap of some intervals, and the standard error of one later gap; None if there are too few."""
    if len(intervals) < FEWEST_INTERVALS:
        return None
    gaps = np.array([interval.gap for interval in intervals])
    return Part(float(gaps.mean()), float(gaps.std(ddof=1) * np.sqrt(1 + 1 / len(gaps))))
