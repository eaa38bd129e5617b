import numpy as np
import pytest

from paddle_epoch_guard.ledger import LossWindow
from paddle_epoch_guard.statistics.host_changes import HostChange, host_changes


def windows(rates, batches=None, length=10):
    batches = [8] * len(rates) if batches is None else batches
    return [
        LossWindow(1 + at * length, (at + 1) * length, 3.0, batch * length, rate)
        for at, (rate, batch) in enumerate(zip(rates, batches, strict=True))
    ]


X = np.arange(60) / 60


@pytest.mark.parametrize(
    "rates",
    [
        np.full(60, 3e-4),
        3e-4 * (1 - 0.5 * X),  # linear decay
        3e-4 * (1 - X),  # down to nothing
        3e-4 * X,  # warmup
        1.5e-4 * (1 + np.cos(np.pi * (0.3 + 0.15 * X))),
        3e-4 / np.sqrt(1 + X),
        np.zeros(60),
    ],
    ids=["constant", "linear", "to zero", "warmup", "cosine", "inverse root", "nothing"],
)
def test_a_smooth_schedule_is_no_change(rates):
    assert host_changes(windows(rates.tolist())) == ()


def test_a_step_is_named():
    rates = [3e-4] * 30 + [1e-4] * 30
    assert host_changes(windows(rates)) == (HostChange("learning_rate", 301, 3e-4, 1e-4),)


@pytest.mark.parametrize("decay", [lambda x: 1 - np.sqrt(x), lambda x: 1 - x], ids=["root", "linear"])
def test_a_decay_that_begins_is_named(decay):
    after = decay(0.5 * np.arange(1, 31) / 30)
    (change,) = host_changes(windows([3e-4] * 30 + (3e-4 * after).tolist()))
    assert change.setting == "learning_rate"
    assert abs(change.step - 301) <= 40


def test_a_warmup_that_ends_is_named():
    (change,) = host_changes(windows((3e-4 * np.minimum(np.arange(60) / 30, 1)).tolist()))
    assert change.setting == "learning_rate"


def test_another_batch_is_named():
    assert host_changes(windows([None] * 60, [8] * 30 + [16] * 30)) == (HostChange("batch", 301, 8.0, 16.0),)
    assert host_changes(windows([None] * 60, [8] * 58 + [4] * 2)) == ()  # steps that were skipped


def test_an_unknown_rate_is_no_change():
    assert host_changes(windows([None] * 60)) == ()
    assert host_changes(windows([3e-4, None] * 30)) == ()
    assert host_changes([]) == ()
