"""Repeated against fresh samples: by hand, by a least squares fit to all samples at once, and by simulation."""

import math

import numpy as np
import pytest

from paddle_epoch_guard.ledger.contrast import MOMENTS, Contrast, Difference, moments_of

NOTHING = np.zeros((1, MOMENTS))


def of(losses, repeat, step=None, dataset=None, weights=None):
    """The contrast of one window."""
    count = len(losses)
    given = {"step": step, "dataset": dataset, "weights": weights}
    filled = {name: np.zeros(count, np.int64) if one is None else np.array(one) for name, one in given.items()}
    filled["weights"] = np.ones(count) if weights is None else filled["weights"]
    datasets = int(filled["dataset"].max(initial=0)) + 1
    return Contrast.of(
        moments_of(
            filled["dataset"],
            datasets,
            np.array(losses, float),
            filled["weights"],
            np.array(repeat, float),
            filled["step"],
        )
    )


def together(windows):
    whole = Contrast()
    for window in windows:
        whole = whole.plus(window)
    return whole


def fitted(losses, repeat, stratum, step):
    """Difference and cluster-robust variance by a fit with a level and a slope for each stratum."""
    strata = np.unique(stratum)
    columns = [repeat, *((stratum == one) * 1.0 for one in strata), *((stratum == one) * step for one in strata)]
    design = np.stack(columns, 1)
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    rest = losses - design @ solution
    # What is left of the share where level and slope are taken out of it (Frisch, Waugh and Lovell).
    pure = repeat - design[:, 1:] @ np.linalg.lstsq(design[:, 1:], repeat, rcond=None)[0]
    scores = np.array([(pure * rest)[stratum == one].sum() for one in strata])
    weights = np.array([(pure**2)[stratum == one].sum() for one in strata])
    correction = 1 - (weights**2).sum() / weights.sum() ** 2
    return solution[0], math.sqrt((scores**2).sum() / weights.sum() ** 2 / correction)


def test_two_kinds_in_one_window_differ_by_their_means():
    window = of([3.0, 5.0, 1.0, 2.0, 3.0], [0, 0, 1, 1, 1])
    assert (window.strata, window.weight) == (1, pytest.approx(6 / 5))
    assert window.loss / window.weight == pytest.approx(-2.0)
    assert window.difference is None  # one window says nothing of how windows scatter


def test_datasets_are_not_compared_with_each_other():
    """The dataset that repeats is the easier one: by means over all samples, repeated ones would be 5 lower."""
    windows = [of([9, 9, 8, 3, 2, 2], [0, 0, 1, 0, 1, 1], dataset=[0, 0, 0, 1, 1, 1]) for _ in range(4)]
    assert together(windows).strata == 8
    assert together(windows).difference.value == pytest.approx(-1.0)
    assert of([9, 9, 4, 4], [0, 0, 1, 1], dataset=[0, 0, 1, 1]) == Contrast()


def test_where_a_window_holds_one_kind_there_is_nothing():
    assert of([9, 8], [0, 0]) == of([9, 8], [1, 1]) == of([], []) == Contrast.of(NOTHING) == Contrast()
    assert of([9, 8, 7], [0, 1, 1], weights=[1, 0, 0]) == Contrast()  # of the others it is not known
    assert of([9, 7], [0, 1], step=[0, 1]) == Contrast()  # a step between them: it may be the slope
    assert Contrast().difference is None


def test_it_is_the_fit_to_all_samples_with_a_level_and_a_slope_for_each_window():
    random = np.random.default_rng(3)
    windows, size = 12, 30
    stratum = np.repeat(np.arange(windows), size)
    step = np.tile(np.arange(size) // 3, windows)
    repeat = random.choice([0.0, 0.25, 0.6, 1.0], windows * size)
    losses = 9 * np.exp(-(stratum + step / 10) / 3) - 0.3 * repeat + random.normal(0, 0.5, windows * size)
    whole = together(
        of(losses[stratum == one], repeat[stratum == one], step[stratum == one]) for one in range(windows)
    )
    found = whole.difference
    assert (found.value, found.error) == pytest.approx(fitted(losses, repeat, stratum, step), rel=1e-9)
    assert 9 < found.degrees <= 11


def test_equal_windows_have_a_degree_of_freedom_less_than_their_number():
    windows = [of([0, value], [0, 1]) for value in (-1.0, -1.5, -0.5, -2.0, -0.8)]
    found = together(windows).difference
    assert found.degrees == pytest.approx(4)
    values = np.array([-1.0, -1.5, -0.5, -2.0, -0.8])
    assert (found.value, found.error) == pytest.approx((values.mean(), values.std(ddof=1) / math.sqrt(5)))
    assert together(windows[:4]).difference is None


@pytest.mark.parametrize(("degrees", "quantile"), [(4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)])
def test_the_interval_is_students(degrees, quantile):
    low, high = Difference(-1.0, 0.5, degrees).interval
    assert (-1 - low, high + 1) == pytest.approx((quantile / 2, quantile / 2), rel=2e-3)
    assert Difference(-1.0, 0.45, degrees).significant == (quantile < 1 / 0.45)


def test_losses_that_are_no_numbers_give_no_difference():
    windows = [of([0, value], [0, 1]) for value in (1, 2, math.nan, 4, 5, 6, 7)]
    assert together(windows).difference is None


def test_sums_that_were_added_in_float32_make_no_difference_where_there_is_none():
    """All samples are repeated, and masked labels give them uneven weights."""
    random = np.random.default_rng(9)
    windows, size = 300, 640
    window = np.repeat(np.arange(windows), size)
    step = np.tile(np.arange(size) // 64, windows)
    losses, weights = random.gamma(4, 1, len(window)), random.random(len(window)) * 2
    moments = moments_of(window, windows, losses, weights, np.ones(len(window)), step)
    assert Contrast.of(moments.astype(np.float32).astype(np.float64)).difference is None
    share = (random.random(len(window)) < 0.3).astype(float)
    exact = moments_of(window, windows, losses - 0.2 * share, weights, share, step)
    found, rounded = (Contrast.of(one).difference for one in (exact, exact.astype(np.float32).astype(np.float64)))
    assert abs(found.value - rounded.value) < 0.01 * found.error


def test_equal_differences_have_no_error():
    found = together([of([3, 2], [0, 1])] * 9).difference
    assert (found.value, found.error) == pytest.approx((-1.0, 0.0), abs=1e-7)


TRUTH = -0.05


def simulated(random, windows, steps, batch, datasets, spread):
    """A run in which repeated samples become more frequent and the level falls, and wanders from step to step.

    Datasets differ in level, size, scatter, and in how early they repeat; losses are skewed.
    """
    count = windows * steps * batch
    step = np.arange(count) // batch
    time = step / (windows * steps)
    wander = np.zeros(windows * steps)
    for at, shock in enumerate(random.normal(0, 0.03, len(wander) - 1), start=1):
        wander[at] = 0.95 * wander[at - 1] + shock
    share = np.array([0.6, 0.3, 0.1])[:datasets]
    dataset = random.choice(datasets, count, p=share / share.sum())
    repeat = (random.random(count) < time * (0.3 + 0.6 * dataset / max(datasets - 1, 1))).astype(float)
    scatter = 0.4 * (1 + spread * 2 * (1 - time)) * (1 + dataset) * (random.gamma(2, 1, count) - 2) / math.sqrt(2)
    losses = 2 + 4 * np.exp(-8 * time) + wander[step] - 0.3 * dataset + TRUTH * repeat + scatter
    window = step // steps
    stratum = window * datasets + dataset
    moments = moments_of(stratum, windows * datasets, losses, np.ones(count), repeat, step % steps)
    return Contrast.of(moments).difference, losses[repeat > 0].mean() - losses[repeat == 0].mean()


@pytest.mark.parametrize(
    ("windows", "steps", "batch", "datasets", "spread"),
    [(100, 1, 8, 1, 0), (100, 1, 4, 3, 1), (20, 10, 8, 1, 1), (12, 10, 4, 3, 1), (300, 1, 3, 1, 0), (40, 5, 16, 3, 1)],
)
def test_95_of_100_intervals_hold_the_truth(windows, steps, batch, datasets, spread):
    """Of 400 runs, 93 to 97 % but for chance: two standard errors of the count are 2.2 %."""
    random = np.random.default_rng(windows)
    pairs = [simulated(random, windows, steps, batch, datasets, spread) for _ in range(400)]
    found = [one for one, _ in pairs if one is not None]
    assert len(found) > 390
    held = np.mean([low <= TRUTH <= high for low, high in (one.interval for one in found)])
    assert 0.93 <= held <= 0.98
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("value", "error"))
    assert abs(values.mean() - TRUTH) < 3 * values.std() / 20
    assert math.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.15)
    assert np.mean([naive for _, naive in pairs]) < TRUTH - 0.4  # what the means over the run would say


def test_where_samples_are_as_hard_as_before_the_error_is_too_large_by_no_more_than_is_said():
    """A unified order of two data epochs, in which nothing but a sample's own difficulty scatters."""
    random = np.random.default_rng(5)
    samples, batch = 400, 8
    found = []
    for _ in range(300):
        hard = random.normal(0, 0.5, samples)
        order = random.permutation(np.repeat(np.arange(samples), 2))
        first = np.zeros(2 * samples, bool)
        first[np.unique(order, return_index=True)[1]] = True
        losses = 3 + hard[order] + TRUTH * ~first
        step = np.arange(2 * samples) // batch
        moments = moments_of(step, step[-1] + 1, losses, np.ones(len(step)), ~first * 1.0, np.zeros(len(step)))
        found.append(Contrast.of(moments).difference)
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("value", "error"))
    assert abs(values.mean() - TRUTH) < 3 * values.std() / math.sqrt(300)
    assert 1.2 < math.sqrt((errors**2).mean()) / values.std() < 1.55
