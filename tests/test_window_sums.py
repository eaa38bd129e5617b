"""Sums over the samples of a window: compiled and by numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import window_sums as sums
from paddle_epoch_guard.ledger.losses import RULES, EpochSlots
from paddle_epoch_guard.ledger.sample_shares import (
    LEVELS,
    NOT_DRAWN,
    RECENCIES,
    UNIFORM,
    UNKNOWN,
    TracedDraws,
    levels_of,
    recencies_of,
)
from paddle_epoch_guard.ledger.window_sums import Drawn, summed_by_numpy, window_sums

compiled = pytest.mark.skipif(not sums.COMPILED, reason="the compiled part was not built")
SLOTS = EpochSlots([2, 1, 3])
TIMES = 60


def drawn_at_random(seed, density, is_complete):
    """Traced draws: several at some times, none at others."""
    random = np.random.default_rng(seed)
    time = np.sort(random.integers(0, TIMES, round(density * TIMES)))
    prior, since = random.integers(0, 7, len(time)), random.integers(1, 20_000, len(time))
    jumps = np.unique([0, *random.integers(0, TIMES, random.integers(0, 4)), TIMES])
    share = random.choice([-1.0, 0.0, UNIFORM / 2, 1 - UNIFORM / 2, 1.0], len(jumps))
    share[-1] = -1.0
    between = np.where((share >= 0)[:, None], np.eye(LEVELS)[random.integers(0, LEVELS, len(share))], 0.0)
    return TracedDraws(time, levels_of(prior), recencies_of(prior, since), jumps, share, between, is_complete)


def window_at_random(seed, sizes, masks):
    """Sample losses of some microbatches, and the samples: in the order of a run, with a few out of it."""
    random = np.random.default_rng(seed)
    count = sum(sizes)
    tokens = np.full((count, 3), 8.0)
    if masks:
        tokens -= np.sort(random.integers(0, 9, (count, 3)), axis=1)[:, ::-1]
    losses = random.gamma(2.0, 2.0, count) * tokens[:, 0]
    losses[random.random(count) < 0.02] = np.nan
    time = np.sort(random.integers(0, TIMES + 5, count))
    time[random.random(count) < 0.1] = NOT_DRAWN
    if random.random() < 0.5:
        random.shuffle(time)
    lengths = np.bincount(np.sort(random.integers(0, 4, count)), minlength=4)
    drawn = Drawn(random.integers(0, SLOTS.count, count), time, np.column_stack((random.integers(0, 50, 4), lengths)))
    return (np.column_stack((losses, tokens)).astype(np.float32), sizes), drawn


@compiled
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 5), max_size=12),
    st.sampled_from([0, 0.1, 1, 6]),
    st.booleans(),
    st.booleans(),
)
def test_compiled_sums_are_those_of_numpy_to_the_last_bit(seed, sizes, density, masks, is_complete):
    losses, drawn = window_at_random(seed, sizes, masks)
    given_ = losses, 3, drawn, SLOTS, drawn_at_random(seed, density, is_complete)
    assert window_sums(*given_).tobytes() == summed_by_numpy(*given_).tobytes()


@compiled
def test_a_large_window_is_summed_alike():
    losses, drawn = window_at_random(1, [512] * 64, True)
    given_ = losses, 512, drawn, SLOTS, drawn_at_random(1, 2, False)
    assert window_sums(*given_).tobytes() == summed_by_numpy(*given_).tobytes()


def test_where_nothing_is_traced_nothing_is_known_of_exposure(monkeypatch):
    losses, drawn = window_at_random(3, [4, 4], False)
    for is_compiled in (True, False):
        if not is_compiled:
            monkeypatch.setattr(sums, "_sums", None)
        (epochs, levels, recencies, fresh, moments) = SLOTS.split(
            window_sums(losses, 4, drawn, SLOTS, TracedDraws.none())[0]
        )
        assert epochs[0].sum() == 8
        assert not any(np.nan_to_num(part).any() for part in (levels, recencies, fresh, moments))


def changed(**changes):
    (rows, sizes), drawn = window_at_random(5, [3, 4], True)
    rows, sizes = changes.get("rows", rows), changes.get("sizes", sizes)
    parts = {name: changes.get(name, getattr(drawn, name)) for name in ("slot", "time", "steps")}
    return (rows, sizes), 4, Drawn(**parts), SLOTS, changes.get("traced", drawn_at_random(5, 6, True))


@compiled
@pytest.mark.parametrize(
    "changes",
    [
        {"rows": np.ones((6, 4), dtype=np.float32)},
        {"sizes": [3, 3]},
        {"sizes": [3, 5]},
        {"sizes": [-1, 8]},
        {"slot": np.full(7, SLOTS.count)},
        {"slot": np.full(7, -1)},
        {"time": np.zeros(6, dtype=np.int64)},
        {"steps": np.array([[0, 6]])},
        {"steps": np.empty((0, 2), dtype=np.int64)},
        {"traced": TracedDraws(*(np.zeros(0, dtype=kind) for kind in (int, "i1", "i1", int, float, float)), False)},
        {"time": np.zeros(7, dtype=np.int64), "traced": TracedDraws(
            np.zeros(1, dtype=np.int64), np.full(1, LEVELS, dtype=np.int8), np.zeros(1, dtype=np.int8),
            np.zeros(1, dtype=np.int64), np.full(1, -1.0), np.zeros((1, LEVELS)), False,
        )},
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match="do not fit each other"):
        window_sums(*changed(**changes))


def test_the_compiled_part_knows_the_sizes_of_its_tables():
    """They stand in C a second time."""
    assert (LEVELS, UNKNOWN, RECENCIES, len(RULES)) == (6, 5, 5, 3)
