"""The data epochs of a window's samples, looked up ahead: always those that a look now would give."""

import threading

import numpy as np
import pytest

from paddle_epoch_guard.ledger import IndexEpochs
from paddle_epoch_guard.ledger.losses import EpochSlots
from paddle_epoch_guard.order import Schedule, Segment
from paddle_epoch_guard.session import slot_lookup
from paddle_epoch_guard.session.slot_lookup import SlotLookup, positions_of, runs_of, slots_at


class Index:
    """Three data epochs of 100 samples, drawn in order; says in which threads it was asked."""

    epochs = (3,)

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 300

    def locate(self, positions):
        self.asked.append(threading.current_thread() is threading.main_thread())
        return np.zeros_like(positions), positions // 100 + 1


def new_source():
    return IndexEpochs(Index(), Schedule((Segment(1, 0, 4, 1, 2, stop=280),)))


@pytest.fixture
def source():
    return new_source()


@pytest.fixture(autouse=True)
def eight_are_many(monkeypatch):
    monkeypatch.setattr(slot_lookup, "MANY", 8)


def look_up(lookup, source, first, last, rank=1):
    runs = runs_of(list(source.schedule.trained(first, last)))
    positions = np.concatenate([one for one, _ in positions_of(source, runs, rank)])
    slots = EpochSlots(source.index.epochs)
    found = lookup.of(source, slots, (first, last), positions)
    # In another source: the thread may ask this one at any time, and what it is asked is counted.
    np.testing.assert_array_equal(found, slots_at(new_source(), slots, positions))
    return found


def settle(lookup):
    lookup._ahead.slots._thread.join()


def test_a_window_is_looked_up_while_it_is_trained(source):
    lookup = SlotLookup(1)
    for first in range(1, 30, 3):
        look_up(lookup, source, first, first + 2)
        settle(lookup)
    assert source.index.asked.count(True) == 1  # the first; all others were there


def test_a_window_of_another_length_is_looked_up_now(source):
    lookup = SlotLookup(1)
    for first, last in ((1, 3), (4, 5), (6, 10), (11, 15), (16, 16), (17, 21)):
        look_up(lookup, source, first, last)
    assert source.index.asked.count(True) == 5


def test_small_windows_begin_no_thread(source):
    lookup = SlotLookup(1)
    look_up(lookup, source, 1, 1)
    assert lookup._ahead is None


def test_of_another_source_nothing_is_taken_over(source):
    lookup = SlotLookup(1)
    look_up(lookup, source, 1, 3)
    settle(lookup)
    other = new_source()
    look_up(lookup, other, 4, 6)
    assert other.index.asked[0] is True


def test_a_fault_shows_where_it_is_looked_up_again(source, monkeypatch):
    lookup = SlotLookup(1)
    look_up(lookup, source, 1, 3)
    settle(lookup)

    def fail(positions):
        raise OSError("the file is gone")

    monkeypatch.setattr(source.index, "locate", fail)
    look = lookup.of(source, EpochSlots((3,)), (4, 6), np.arange(12))
    assert len(look) == 12  # it was found before
    settle(lookup)
    with pytest.raises(OSError, match="gone"):
        lookup.of(source, EpochSlots((3,)), (7, 9), np.arange(12))


def test_without_a_thread_it_is_looked_up_when_it_is_needed(source, monkeypatch):
    def refuse(_work):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(slot_lookup, "Later", refuse)
    lookup = SlotLookup(1)
    for first in (1, 4, 7):
        look_up(lookup, source, first, first + 2)
    assert source.index.asked.count(True) == 3
