"""From which data epochs a rank draws in a log window: found while the window is trained, where it holds much."""

import contextlib
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger import IndexEpochs
from paddle_epoch_guard.ledger.losses import EpochSlots
from paddle_epoch_guard.order.schedule import Trained
from paddle_epoch_guard.session.background import Later

Int64Array = npt.NDArray[np.int64]

MANY = 1 << 15
"""Samples; fewer are looked up in less time than it takes to hand them to a thread."""
_BLOCK = 1 << 15  # positions looked up at a time: intermediate results fit a core's cache


class _Ahead(NamedTuple):
    source: IndexEpochs
    steps: tuple[int, int]
    slots: Later[Int64Array]


class SlotLookup:
    """Looks up the slots of a window's samples; while a window is trained, those of one of its length.

    Args:
        rank: the data rank of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._ahead: _Ahead | None = None

    def of(self, source: IndexEpochs, slots: EpochSlots, steps: tuple[int, int], positions: Int64Array) -> Int64Array:
        """The slot of the data epoch that each position draws from, ``[n]``.

        Args:
            source: says from which data epoch a position's sample comes.
            slots: of all its data epochs.
            steps: the first and the last step of the window.
            positions: ``[n]``: those that the rank draws in it, in order.
        """
        ahead, self._ahead = self._ahead, None
        found = None
        if ahead is not None and ahead.source is source and ahead.steps == steps:
            with contextlib.suppress(Exception):  # what is wrong shows again below
                found = ahead.slots.result()
        if found is None or len(found) != len(positions):
            found = slots_at(source, slots, positions)
        if len(positions) >= MANY:
            first, last = steps
            following = last + 1, 2 * last + 1 - first
            with contextlib.suppress(RuntimeError):  # without a thread, it is looked up when it is needed
                self._ahead = _Ahead(source, following, Later(partial(self._look_up, source, slots, following)))
        return found

    def _look_up(self, source: IndexEpochs, slots: EpochSlots, steps: tuple[int, int]) -> Int64Array:
        runs = runs_of(list(source.schedule.trained(*steps)))
        return slots_at(source, slots, np.concatenate([one for one, _ in positions_of(source, runs, self._rank)]))


def runs_of(trained: list[Trained]) -> list[tuple[int, int]]:
    """Runs of trained steps, first and last, of which each draws a position at most once.

    A step that draws leftover microbatches is a run of its own: if the data is read again, a later one draws them too.
    """
    runs = []
    for segment, first, last in trained:
        if segment.leftover_microbatches and first == segment.first_step:
            runs.append((first, first))
            first += 1
        if first <= last:
            runs.append((first, last))
    return runs


def positions_of(source: IndexEpochs, runs: list[tuple[int, int]], rank: int) -> list[tuple[Int64Array, Int64Array]]:
    """What a rank draws in each run of steps: the positions ``[n]``, and how many of them each step draws."""
    return [source.schedule.positions_of_steps(first, last, rank) for first, last in runs]


def slots_at(source: IndexEpochs, slots: EpochSlots, positions: Int64Array) -> Int64Array:
    """The slot of the data epoch that each position draws from, ``[n]``."""
    found = np.empty_like(positions)
    for at in range(0, len(positions), _BLOCK):
        block = slice(at, at + _BLOCK)
        found[block] = slots.of(*source.index.locate(source.positions.base(positions[block])))
    return found
