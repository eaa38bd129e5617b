from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.order import MIXES, PositionMap, Reorder
from paddle_epoch_guard.order.mixes import KNOTS, RampMix, UniformMix

KEY = (5, 1, 0)
COUNTS = [(1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (1500, 1500), (100, 2000), (2000, 100), (999, 1050), (3, 1021)]
LARGE = [
    (10**9, 10**9),
    (10**9, 3),
    (3, 10**9),
    (10**9 + 1, 10**8 + 3),
    (10**7, 10**9 + 9),
    (2**40 - 1, 2**40 + 1),
    (2**40 + 1, 2**40 - 1),
    (2**40, 1),
    (1, 2**40),
    (2**41 - 1, 1),
    (1, 2**41 - 1),
]


def ramp(early, late, start=0, key=KEY):
    return Reorder(start, start + early + late, "ramp", key, start + early)


def uniform(early, late, start=0, key=KEY):
    return Reorder(start, start + early + late, "uniform", key)


def mix_of(reorder):
    return MIXES[reorder.mix](reorder)


def late_among(first, early, late):
    """c(j) as its formula says, without rounding."""
    size = early + late
    if late <= early:
        return late * Fraction(first, size) ** 2
    if first <= 2 * early:
        return Fraction(first**2, 4 * early)
    return Fraction(first - early)


def knots(size):
    steps = min(KNOTS, size)
    return [size * knot // steps for knot in range(steps + 1)]


def late_counts(early, late, **more):
    """How many late samples are among the first 0, 1, 2, ... drawn of the range."""
    reorder = ramp(early, late, **more)
    source = RampMix(reorder).source(np.arange(reorder.start, reorder.stop))
    return np.concatenate([[0], np.cumsum(source >= reorder.boundary)])


def reorders(largest):
    count = st.one_of(st.just(1), st.integers(1, 40), st.integers(1, largest))
    start = st.one_of(st.just(0), st.integers(0, 10**12))
    key = st.tuples(st.integers(0, 2**40))
    return st.builds(lambda make, *numbers: make(*numbers), st.sampled_from([ramp, uniform]), count, count, start, key)


def assert_draws_every_sample_once(reorder):
    mix = mix_of(reorder)
    positions = np.arange(reorder.start, reorder.stop)
    source = mix.source(positions)
    assert source.dtype == np.int64
    drawn = np.zeros(len(positions), int)
    np.add.at(drawn, source - reorder.start, 1)
    assert drawn.tolist() == [1] * len(positions)
    assert np.array_equal(mix.target(source), positions)
    assert np.array_equal(mix.source(mix.target(positions)), positions)


@settings(deadline=None)
@given(reorders(1500))
def test_every_sample_of_the_range_is_drawn_exactly_once(reorder):
    assert_draws_every_sample_once(reorder)


@pytest.mark.parametrize("make", [ramp, uniform])
@pytest.mark.parametrize(("early", "late"), COUNTS)
def test_unequal_and_extreme_counts_are_drawn_exactly_once(make, early, late):
    assert_draws_every_sample_once(make(early, late, start=17))


@pytest.mark.parametrize("make", [ramp, uniform])
def test_all_small_ranges_are_drawn_exactly_once(make):
    for early in range(1, 26):
        for late in range(1, 26):
            assert_draws_every_sample_once(make(early, late, start=early % 3))


@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("early", [1, 2, 300, 511, 512, 513, 1022])
def test_ranges_as_long_as_there_are_knots(early, beside):
    assert_draws_every_sample_once(ramp(early, KNOTS + beside - early))
    assert_draws_every_sample_once(ramp(early, 2 * KNOTS + beside - early))


def sampled(start, stop, boundary):
    ends = [np.arange(300), np.arange(-300, 300) + (boundary - start), np.arange(-300, 0) + (stop - start)]
    random = np.random.default_rng(0).integers(0, stop - start, 5000)
    near_knots = np.array(knots(stop - start))[:, None] + [-1, 0, 1]
    chosen = np.concatenate([*ends, random, near_knots.ravel()])
    return start + chosen[(chosen >= 0) & (chosen < stop - start)]


@pytest.mark.parametrize("make", [ramp, uniform])
@pytest.mark.parametrize(("early", "late"), LARGE)
@pytest.mark.parametrize("start", [0, 10**15 + 7])
def test_large_ranges_are_undone_by_the_inverse(make, early, late, start):
    reorder = make(early, late, start=start)
    mix = mix_of(reorder)
    positions = sampled(reorder.start, reorder.stop, start + early)
    for first, second in ((mix.source, mix.target), (mix.target, mix.source)):
        moved = first(positions)
        assert moved.min() >= reorder.start
        assert moved.max() < reorder.stop
        assert np.array_equal(second(moved), positions)
        assert len(np.unique(moved)) == len(np.unique(positions))


@pytest.mark.parametrize("make", [ramp, uniform])
def test_the_positions_asked_for_are_left_as_they_are_and_may_be_none(make):
    mix = mix_of(make(50, 60, start=5))
    for move in (mix.source, mix.target):
        positions = np.arange(114, 4, -1)
        move(positions)
        assert positions.tolist() == list(range(114, 4, -1))
        assert move(np.empty(0, np.int64)).tolist() == []
        assert move(positions.reshape(10, 11)).tolist() == move(positions).reshape(10, 11).tolist()


@settings(deadline=None)
@given(early=st.integers(1, 3000), late=st.integers(1, 3000))
def test_at_the_knots_the_ramp_has_drawn_the_late_samples_of_its_formula(early, late):
    counts = late_counts(early, late)
    for j in knots(early + late):
        assert counts[j] == floor(late_among(j, early, late))


@settings(deadline=None)
@given(early=st.integers(1, 3000), late=st.integers(1, 3000))
def test_between_the_knots_the_ramp_runs_evenly(early, late):
    counts = late_counts(early, late)
    at = np.array(knots(early + late))
    line = np.interp(np.arange(len(counts)), at, counts[at])
    assert (counts <= line + 1e-9).all()
    assert (counts > line - 1).all()


@pytest.mark.parametrize(("early", "late"), COUNTS)
def test_everywhere_the_ramp_is_near_its_formula(early, late):
    # The straight lines between knots are within c'' * step**2 / 8 of the curve, and both are rounded down.
    for j, count in enumerate(late_counts(early, late)):
        assert abs(count - late_among(j, early, late)) < 2


@pytest.mark.parametrize(("early", "late"), [n for n in LARGE if min(n) > 3])
def test_large_ramps_follow_the_formula_too(early, late):
    mix = RampMix(ramp(early, late))
    checked = 0
    for knot in knots(early + late)[::31]:
        after = np.arange(knot, min(knot + 5000, early + late))
        source = mix.source(after)
        if (source < early).any():
            # Early samples keep their order, so the first one after the knot counts those before it.
            first = int(np.argmax(source < early))
            assert knot - source[first] == floor(late_among(knot, early, late))
            checked += 1
    assert checked


@pytest.mark.parametrize(("early", "late"), [(20_000, 20_000), (30_000, 4000), (4000, 30_000), (9000, 20_000)])
def test_the_share_of_late_samples_never_falls(early, late):
    at = np.array(knots(early + late)[::16])
    widths = np.diff(at)
    shares = np.diff(late_counts(early, late)[at]) / widths
    assert (np.diff(shares) > -2 / widths.min()).all()  # the counts at both ends are rounded
    assert shares[-1] == pytest.approx(min(1, 2 * late / (early + late)), abs=0.02)


@pytest.mark.parametrize(("early", "late"), [(20_000, 20_000), (30_000, 4000), (4000, 30_000), (9000, 20_000)])
def test_the_share_of_late_samples_rises_from_zero(early, late):
    counts = late_counts(early, late)
    for first in ((early + late) // part for part in (200, 100, 50, 20, 10)):
        # c(j) / j grows in proportion to j: nothing where the range begins.
        assert counts[first] / first == pytest.approx(float(late_among(first, early, late)) / first, abs=2 / first)
    assert counts[(early + late) // 100] < 0.03 * ((early + late) // 100)


def test_with_few_early_samples_left_the_late_ones_run_alone_after_them():
    counts = late_counts(500, 4000)
    assert counts[1000] == 500
    assert np.diff(counts[1000 + 5 :]).all()  # within one knot of the formula's corner


@settings(deadline=None)
@given(early=st.integers(1, 2000), late=st.integers(1, 2000), start=st.integers(0, 100))
def test_early_samples_keep_their_order(early, late, start):
    source = RampMix(ramp(early, late, start)).source(np.arange(start, start + early + late))
    assert source[0] == start
    assert source[source < start + early].tolist() == list(range(start, start + early))


def test_late_samples_are_permuted():
    source = RampMix(ramp(2000, 2000)).source(np.arange(4000))
    late = source[source >= 2000] - 2000
    assert abs(np.corrcoef(np.arange(2000), late)[0, 1]) < 5 / 2000**0.5
    assert (late == np.arange(2000)).sum() < 10
    assert 900 < (np.diff(late) > 0).sum() < 1100


@pytest.mark.parametrize("make", [ramp, uniform])
def test_another_key_draws_another_order(make):
    positions = np.arange(4000)
    first, again, other = (mix_of(make(2000, 2000, key=(k, 1, 0))).source(positions) for k in (1, 1, 2))
    assert first.tolist() == again.tolist()
    late = first >= 2000
    assert (first[late] == other[late]).sum() < 10


def test_a_uniform_mix_spreads_late_samples_evenly():
    early, late = 30_000, 10_000
    positions = np.arange(early + late)
    for seed in range(5):
        source = UniformMix(uniform(early, late, key=(seed, 1, 0))).source(positions)
        in_windows = (source >= early).reshape(40, 1000).sum(1)
        spread = (1000 * 0.25 * 0.75) ** 0.5
        assert np.abs(in_windows - 250).max() < 5 * spread
        assert 0.5 * spread < in_windows.std() < 1.6 * spread  # random, not dealt out in turn
        assert abs(np.corrcoef(positions, source)[0, 1]) < 5 / len(positions) ** 0.5


def test_a_uniform_mix_does_not_depend_on_where_its_range_lies():
    at_zero = UniformMix(uniform(70, 80)).source(np.arange(150))
    shifted = UniformMix(uniform(70, 80, start=1000)).source(np.arange(1000, 1150))
    assert (shifted - 1000).tolist() == at_zero.tolist()


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 10, "gentle", KEY), "the mix 'gentle'; expected one of uniform, ramp"),
        ((0, 10, "", KEY), "the mix ''; expected one of uniform, ramp"),
        ((10, 10, "uniform", KEY), "positions 10 to 10; expected 0 <= start < stop"),
        ((11, 10, "uniform", KEY), "positions 11 to 10; expected 0 <= start < stop"),
        ((-1, 10, "uniform", KEY), "positions -1 to 10; expected 0 <= start < stop"),
        ((-1, 10, "ramp", KEY, 5), "positions -1 to 10; expected 0 <= start < stop"),
        ((2, 10, "ramp", KEY), "boundary None; expected the boundary between them"),
        ((2, 10, "ramp", KEY, 2), "boundary 2; expected the boundary between them"),
        ((2, 10, "ramp", KEY, 10), "boundary 10; expected the boundary between them"),
        ((2, 10, "ramp", KEY, 1), "boundary 1; expected the boundary between them"),
        ((2, 10, "ramp", KEY, 11), "boundary 11; expected the boundary between them"),
        ((1, 2**41 + 2, "ramp", KEY, 5), r"2199023255553 positions; expected at most 2\*\*41. Use uniform"),
    ],
)
def test_reorders_that_make_no_sense_are_refused(numbers, said):
    with pytest.raises(OrderError, match=said):
        Reorder(*numbers)


def test_the_widest_reorders_are_allowed():
    assert Reorder(1, 2**41 + 1, "ramp", KEY, 5).stop == 2**41 + 1
    mix, ends = UniformMix(Reorder(0, 2**62, "uniform", KEY)), np.array([0, 2**62 - 1])
    assert mix.target(mix.source(ends)).tolist() == ends.tolist()


def test_a_reorder_is_a_value():
    assert ramp(3, 4) == ramp(3, 4)
    assert len({ramp(3, 4), ramp(3, 4), ramp(4, 3)}) == 2
    with pytest.raises(AttributeError):
        ramp(3, 4).stop = 9


EPOCH = 20_000


def exposures(resumed, mix, seeds=40):
    """Mean prior exposure at each position of 1.5 epochs, when mixed from ``resumed`` on."""
    stop = EPOCH * 3 // 2
    exposure = np.zeros(stop)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        base = np.concatenate([rng.permutation(EPOCH), rng.permutation(EPOCH)[: EPOCH // 2]])
        reorder = Reorder(resumed, stop, mix, (seed, 1, 0), EPOCH if mix == "ramp" else None)
        drawn = base[PositionMap([reorder]).base(np.arange(stop))]
        by_sample = np.argsort(drawn, kind="stable")
        exposure[by_sample[1:]] += drawn[by_sample][1:] == drawn[by_sample][:-1]
    return exposure / seeds


def jump(exposure, at, window):
    return exposure[at : at + window].mean() - exposure[at - window : at].mean()


@pytest.mark.parametrize(("resumed", "of_uniform", "of_ramp"), [(0.5, 0.25, 0.0036), (0.9, 0.75, 0.044)])
def test_exposure_hardly_jumps_where_a_ramp_begins(resumed, of_uniform, of_ramp):
    at = int(EPOCH * resumed)
    window = EPOCH // 50
    uniform_jump = jump(exposures(at, "uniform"), at, window)
    ramp_exposure = exposures(at, "ramp")
    assert uniform_jump == pytest.approx(of_uniform, abs=0.02)
    assert jump(ramp_exposure, at, window) < of_ramp + 0.01
    assert jump(ramp_exposure, at, window) < uniform_jump / 10
    # What is left is the slope after it: with the window it goes to nothing, as a jump would not.
    assert jump(ramp_exposure, at, window // 4) < 0.4 * jump(ramp_exposure, at, window) + 1e-9


def test_exposure_rises_without_a_cliff_where_the_boundary_was():
    cliff = jump(exposures(EPOCH - 1, "uniform"), EPOCH, 400)  # in effect, no mix
    assert cliff == pytest.approx(1, abs=0.02)
    assert abs(jump(exposures(EPOCH // 2, "ramp"), EPOCH, 400)) < 0.05
    assert abs(jump(exposures(EPOCH // 2, "uniform"), EPOCH, 400)) < 0.05
