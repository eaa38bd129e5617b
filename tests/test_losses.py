import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_epoch_guard.ledger import EpochKey, EpochLedger, Weighted, WindowLosses
from paddle_epoch_guard.ledger.contrast import MOMENTS
from paddle_epoch_guard.ledger.losses import RULES, DrawnSamples, EpochSlots, agrees, sample_losses, sums_of, window_of
from paddle_epoch_guard.ledger.sample_shares import LEVELS, RECENCIES, UNKNOWN, SampleShares

LABELLED = RULES.index("tokens with a label")
ALL = RULES.index("all tokens")


def microbatch(*samples):
    """Rows of (sum of losses, tokens): as many tokens under every rule."""
    return np.array([[loss_sum, tokens, tokens, tokens] for loss_sum, tokens in samples], dtype=np.float64)


def losses_of(microbatches, micro_batch=2):
    rows = np.concatenate([np.empty((0, 4)), *microbatches])
    return sample_losses(rows, [len(one) for one in microbatches], micro_batch, ALL)


def test_a_microbatch_counts_by_its_size_and_its_samples_by_their_tokens():
    losses, weights = losses_of([microbatch((6.0, 2), (6.0, 6)), microbatch((8.0, 8), (0.0, 0))])
    assert losses.tolist() == [3.0, 1.0, 1.0, 0.0]
    assert weights.tolist() == [0.5, 1.5, 2.0, 0.0]
    # The trainer's loss: the mean over microbatches of the mean over tokens.
    assert np.average(losses, weights=weights) == np.mean([12 / 8, 8 / 8])


def test_where_every_token_is_masked_the_loss_is_zero_as_the_criterions_own():
    losses, weights = losses_of([microbatch((0.0, 0), (0.0, 0)), microbatch((4.0, 2), (4.0, 2))])
    assert np.average(losses, weights=weights) == 1.0
    assert losses_of([])[0].size == 0


def test_an_incomplete_last_microbatch_counts_as_much_as_a_full_one():
    losses, weights = losses_of([microbatch((2.0, 2), (2.0, 2)), microbatch((6.0, 2))])
    assert np.average(losses, weights=weights) == 2.0


def shares_of(by_exposure, by_recency):
    """From rows that may end early; all zeros in the first stand for a sample of which nothing is known."""
    levels, recencies = np.zeros((len(by_exposure), LEVELS)), np.zeros((len(by_recency), RECENCIES))
    for table, rows in ((levels, by_exposure), (recencies, by_recency)):
        for number, row in enumerate(rows):
            table[number, : len(row)] = row
    return SampleShares(levels[:, 0], levels.any(axis=1), levels, recencies, levels[:, 0] == 1)


def test_losses_go_to_their_epochs_and_to_fresh_and_repeated():
    slots = EpochSlots([2, 1])
    sums = sums_of(
        losses=np.array([1.0, 2.0, 4.0, 8.0]),
        weights=np.array([1.0, 1.0, 1.0, 2.0]),
        drawn=DrawnSamples(
            slot=slots.of(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 1])),
            step=np.zeros(4, dtype=np.int64),
            shares=shares_of([[1.0], [0, 1.0], [0.25, 0, 0, 0.25, 0, 0.5], [0.0]], [[0], [0, 1.0], [0, 0, 0.5], [0]]),
        ),
        slots=slots,
    )
    found = window_of(sums, slots)
    assert found.counts == {EpochKey(0, 1): 1, EpochKey(0, 2): 1, EpochKey(1, 1): 2}
    assert found.by_epoch == {
        EpochKey(0, 1): Weighted(1.0, 1.0),
        EpochKey(0, 2): Weighted(1.0, 2.0),
        EpochKey(1, 1): Weighted(3.0, 20.0),
    }
    assert found.fresh == Weighted(1.25, 2.0)
    assert found.repeat == Weighted(1.75, 5.0)
    assert (found.fresh_squares, found.repeat_squares) == (1 + 0.25 * 16, 4 + 0.75 * 16)
    assert found.by_exposure == {
        (0, 0): (1.0, 1.0, 1.0),
        (0, 1): (1.0, 2.0, 4.0),
        (1, 0): (0.25, 1.0, 4.0),
        (1, 3): (0.25, 1.0, 4.0),
        (1, UNKNOWN): (0.5, 2.0, 8.0),
    }
    assert found.by_recency == {1: (1.0, 2.0, 4.0), 2: (0.5, 2.0, 8.0)}
    assert found.wholly_fresh == {0: (1.0, 1.0, 1.0)}
    # The second dataset has one sample of which it is known how much of it is new.
    assert (found.contrast.strata, found.contrast.loss / found.contrast.weight) == (1, 1.0)
    assert found.mean == 23 / 5


SAMPLES = st.tuples(
    st.integers(0, 2),
    st.integers(1, 3),
    st.floats(0, 20),
    st.floats(0.01, 8),
    st.lists(st.integers(0, 9), min_size=LEVELS, max_size=LEVELS),
    st.integers(0, RECENCIES - 1),
)
"""Dataset, data epoch, loss, weight, traced tokens of each exposure level, recency of the repeated ones."""


def divided(counts, recency):
    """The shares of samples by their traced tokens, ``[n, LEVELS]``; nothing is known of one without."""
    levels = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    ages = np.zeros((len(counts), RECENCIES))
    ages[np.arange(len(counts)), recency] = levels[:, 1:].sum(axis=1)
    return SampleShares(levels[:, 0], counts.any(axis=1), levels, ages, levels[:, 0] == 1)


@given(st.lists(SAMPLES, min_size=1, max_size=40), st.integers(1, 5))
def test_several_ranks_add_up_to_what_one_would(samples, ranks):
    datasets, epochs, losses, weights, counts, recency = (np.array(each) for each in zip(*samples, strict=True))
    slots = EpochSlots([3, 3, 3])
    values = losses, weights, slots.of(datasets, epochs), np.arange(len(samples)) // 4, counts, recency

    def sums(*mine):
        return sums_of(*mine[:2], DrawnSamples(*mine[2:4], divided(*mine[4:])), slots)

    whole = window_of(sums(*values), slots)
    together = window_of(sum(sums(*(each[rank::ranks] for each in values)) for rank in range(ranks)), slots)
    assert together.counts == whole.counts
    assert sum(whole.counts.values()) == len(samples)
    assert together.by_epoch.keys() == whole.by_epoch.keys()
    for key, one in whole.by_epoch.items():
        assert together.by_epoch[key].weight == pytest.approx(one.weight)
        assert together.by_epoch[key].loss_sum == pytest.approx(one.loss_sum)
    for name in ("by_exposure", "by_recency"):
        assert getattr(together, name).keys() == getattr(whole, name).keys()
        for key, one in getattr(whole, name).items():
            assert getattr(together, name)[key] == pytest.approx(one)
    assert astuple(together.contrast) == pytest.approx(astuple(whole.contrast))
    assert together.mean == pytest.approx(np.average(losses, weights=weights))


@given(st.lists(SAMPLES, min_size=1, max_size=40))
def test_the_levels_of_all_datasets_are_the_fresh_and_the_repeated_samples(samples):
    datasets, epochs, losses, weights, counts, recency = (np.array(each) for each in zip(*samples, strict=True))
    slots, shares = EpochSlots([3, 3, 3]), divided(counts, recency)
    drawn = DrawnSamples(slots.of(datasets, epochs), np.zeros(len(samples)), shares)
    found = window_of(sums_of(losses, weights, drawn, slots), slots)
    for share, loss, squares, levels in (
        (shares.fresh, found.fresh, found.fresh_squares, range(1)),
        (np.where(shares.known, 1 - shares.fresh, 0), found.repeat, found.repeat_squares, range(1, LEVELS)),
    ):
        expected = [float((share * weights * losses**power).sum()) for power in range(3)]
        assert [loss.weight, loss.loss_sum, squares] == pytest.approx(expected)
        cells = [one for (_, level), one in found.by_exposure.items() if level in levels]
        assert [sum(one[power] for one in cells) for power in range(3)] == pytest.approx(expected)
    assert sum(one.weight for one in found.by_recency.values()) == pytest.approx(found.repeat.weight)
    assert {dataset for dataset, _ in found.by_exposure} == set(datasets[shares.known].tolist())


def test_a_rank_without_data_adds_a_vector_of_the_same_parts():
    """It knows how many data epochs and datasets there are, and not which has how many."""
    slots, elsewhere = EpochSlots([3, 1, 2]), EpochSlots([6], 3)
    assert elsewhere.width == slots.width
    parts = [[part.shape for part in one.split(np.zeros(one.width))] for one in (slots, elsewhere)]
    assert parts[0] == parts[1] == [(3, 6), (3, 3, LEVELS), (3, RECENCIES), (3, 3), (3, MOMENTS)]


def test_a_mean_is_the_trainers_loss_up_to_rounding():
    assert agrees(3.0, 3.0001)
    assert not agrees(3.1, 3.0)
    assert agrees(0.0, 0.0)
    assert not agrees(None, 3.0)


class OneEpoch:
    def counts(self, first_step, last_step):
        return {EpochKey(0, 1): last_step - first_step + 1}


def test_the_ledger_takes_the_samples_losses_where_they_are_known():
    ledger = EpochLedger(OneEpoch())
    losses = WindowLosses({EpochKey(0, 1): Weighted(1.0, 5.0)}, fresh=Weighted(1.0, 5.0))
    window = ledger.close_window(1, 4.0, losses)
    assert [share.loss.mean for share in window.epochs] == [5.0]
    ledger.close_window(2, 4.0)
    assert ledger.totals[EpochKey(0, 1)].mean_loss == 4.5
    assert ledger.fresh == Weighted(1.0, 5.0)
    assert math.isnan(ledger.repeat.mean)


def test_an_epoch_whose_tokens_are_all_masked_has_no_point():
    ledger = EpochLedger(OneEpoch())
    window = ledger.close_window(1, 4.0, WindowLosses({EpochKey(0, 1): Weighted()}))
    assert [share.step_in_epoch for share in window.epochs] == [None]
    assert math.isnan(ledger.totals[EpochKey(0, 1)].mean_loss)
