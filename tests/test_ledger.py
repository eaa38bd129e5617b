import math

import pytest

from paddle_epoch_guard.ledger import (
    BoundaryStep,
    EpochKey,
    EpochLedger,
    TrainerEpochs,
    Weighted,
    WindowLosses,
    closing_steps,
)
from paddle_epoch_guard.order import Schedule, Segment


class Table:
    """A source that is a table: epochs of each step's samples."""

    def __init__(self, *steps):
        self.steps = steps

    def counts(self, first_step, last_step):
        found = {}
        for step in self.steps[first_step - 1 : last_step]:
            for epoch in step:
                key = EpochKey(0, epoch)
                found[key] = found.get(key, 0) + 1
        return found


def test_a_windows_loss_goes_to_its_epochs_by_share():
    ledger = EpochLedger(Table([1, 1], [1, 2], [2, 2]))
    ledger.close_window(1, 4.0)
    window = ledger.close_window(3, 2.0)
    assert window.counts == {EpochKey(0, 1): 1, EpochKey(0, 2): 3}
    assert sum(share.epoch * share.samples for share in window.epochs) / window.samples == 1.75
    assert ledger.totals[EpochKey(0, 1)].mean_loss == pytest.approx((2 * 4.0 + 1 * 2.0) / 3)
    assert ledger.totals[EpochKey(0, 2)].mean_loss == 2.0
    assert (ledger.totals[EpochKey(0, 2)].first_step, ledger.totals[EpochKey(0, 2)].last_step) == (2, 3)


def test_windows_of_skipped_steps_count_for_nothing():
    ledger = EpochLedger(Table([], [], [1]))
    assert ledger.close_window(2, 0.0) is None
    ledger.close_window(3, 1.0)
    assert ledger.close_window(3, 1.0) is None  # nothing since the last window


@pytest.mark.parametrize("logged", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_lost_and_nothing_else_is(logged):
    key = EpochKey(0, 1)
    ledger = EpochLedger(Table([1, 1], [1, 2], [1, 1]))
    ledger.close_window(1, 4.0)
    window = ledger.close_window(2, logged)
    assert (window.loss, window.counts) == (None, {key: 1, EpochKey(0, 2): 1})
    assert [share.step_in_epoch for share in window.epochs] == [None, None]
    assert (ledger.totals[key].samples, ledger.totals[key].mean_loss) == (3, 4.0)
    # Where the samples' losses are known they take its place; where they are no numbers either, they do not.
    counts = {key: 2}
    good = WindowLosses({key: Weighted(2.0, 5.0)}, fresh=Weighted(2.0, 5.0), counts=counts)
    assert ledger.close_window(3, logged, good).loss == 2.5
    ledger = EpochLedger(Table([1, 1]))
    bad = WindowLosses({key: Weighted(2.0, logged)}, fresh=Weighted(2.0, logged), counts=counts)
    assert ledger.close_window(1, logged, bad).loss is None
    assert ledger.fresh == Weighted()


def test_a_stray_sample_beyond_the_boundary_draws_no_point_but_counts():
    ledger = EpochLedger(Table([1] * 8, [2] * 7 + [1]))
    ledger.close_window(1, 4.0)
    ledger.end_epochs(0, 1)
    window = ledger.close_window(2, 1.0)
    assert [(share.epoch, share.step_in_epoch) for share in window.epochs if share.step_in_epoch] == [(2, 1)]
    assert ledger.totals[EpochKey(0, 1)].samples == 9


def test_jointly_shuffled_epochs_each_have_a_curve():
    ledger = EpochLedger(Table([1, 2, 2, 3, 3, 1]))
    window = ledger.close_window(1, 4.0)
    assert [share.epoch for share in window.epochs if share.step_in_epoch] == [1, 2, 3]


def test_log_windows_close_before_a_boundary_after_a_mixed_step_and_at_the_end():
    schedule = Schedule((Segment(1, 0, 4, 1, 1, stop=1000),), skipped=((8, 9),))
    assert closing_steps([BoundaryStep(5, 1)], schedule, last_step=20) == {4, 20}
    assert closing_steps([BoundaryStep(5, 1, mixed=True)], schedule, last_step=20) == {4, 5, 20}
    # A skipped step cannot close a window: the one before does.
    assert closing_steps([BoundaryStep(9, 1, mixed=True)], schedule, last_step=20) == {7, 20}
    assert closing_steps([BoundaryStep(1, 1)], schedule, last_step=9) == {7}
    assert closing_steps([BoundaryStep(50, 1)], schedule, last_step=20) == {20}


def test_trainer_epochs_count_whole_batches_and_leave_skipped_steps_out():
    epochs = TrainerEpochs(global_batch=8, skipped=((4, 4),))
    epochs.begin(1, 1)
    epochs.begin(2, 3)
    epochs.begin(3, 3)  # the second epoch completed no step
    assert epochs.counts(1, 4) == {EpochKey(0, 1): 16, EpochKey(0, 3): 8}
