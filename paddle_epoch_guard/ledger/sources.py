"""The epochs that the samples of a range of steps come from."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from paddle_epoch_guard.index import SampleIndex
from paddle_epoch_guard.order import Draw, PositionMap, Schedule

_BLOCK = 1 << 16  # positions looked up at a time


class EpochKey(NamedTuple):
    """One epoch of one dataset: ``dataset`` from 0, ``epoch`` from 1."""

    dataset: int
    epoch: int


class EpochSource(Protocol):
    """What the ledger needs to know of a run."""

    def counts(self, first_step: int, last_step: int) -> dict[EpochKey, int]:
        """Samples that the trained steps draw from each epoch; without epochs that they do not draw from."""

    def surplus(self, first_step: int, last_step: int) -> float:
        """Microbatches that the trained steps draw, divided by those that the trainer's mean loss counts."""


@dataclass(frozen=True)
class IndexEpochs:
    """Exact data epochs, from the sample index, the order and the schedule."""

    index: SampleIndex
    schedule: Schedule
    positions: PositionMap = field(default_factory=PositionMap)
    """Maps the run's positions to the host's order."""

    def counts(self, first_step: int, last_step: int) -> dict[EpochKey, int]:
        """Samples that the trained steps draw from each data epoch."""
        counts: Counter[EpochKey] = Counter()
        for draw in self.schedule.draws(first_step, last_step):
            self._count(draw, counts)
        return dict(counts)

    def surplus(self, first_step: int, last_step: int) -> float:
        """See :meth:`Schedule.surplus`."""
        return self.schedule.surplus(first_step, last_step)

    def _count(self, draw: Draw, into: Counter[EpochKey]) -> None:
        stride = max(self.index.epochs) + 1
        for start in range(draw.start, draw.stop, _BLOCK):
            drawn = np.arange(start, min(start + _BLOCK, draw.stop))
            datasets, epochs = self.index.locate(self.positions.base(drawn))
            counts = np.bincount(datasets * stride + epochs)
            for code in np.flatnonzero(counts).tolist():
                into[EpochKey(*divmod(code, stride))] += int(counts[code]) * draw.times


@dataclass
class TrainerEpochs:
    """The trainer's own epochs, for runs whose positions are unknown."""

    global_batch: int
    skipped: tuple[tuple[int, int], ...] = ()
    _first_steps: list[int] = field(default_factory=list)
    _epochs: list[int] = field(default_factory=list)
    _left_over: dict[int, float] = field(default_factory=dict)

    def begin(self, epoch: int, first_step: int, left_over: float = 0.0) -> None:
        """The trainer starts ``epoch`` (from 1), whose first step will be ``first_step``.

        That step also trains on the microbatches left over from the epoch before: ``left_over``, as a share of a step.
        """
        self._left_over[first_step] = left_over
        if self._first_steps and self._first_steps[-1] >= first_step:
            self._first_steps.pop()  # an epoch that completed no step
            self._epochs.pop()
        self._first_steps.append(first_step)
        self._epochs.append(epoch)

    def counts(self, first_step: int, last_step: int) -> dict[EpochKey, int]:
        """Samples of the trained steps, a whole batch each, by trainer epoch."""
        counts: Counter[EpochKey] = Counter()
        for step in range(first_step, last_step + 1):
            if self._trains(step):
                at = bisect_right(self._first_steps, step) - 1
                counts[EpochKey(0, self._epochs[max(at, 0)])] += self.global_batch
        return dict(counts)

    def surplus(self, first_step: int, last_step: int) -> float:
        """Microbatches that the trained steps draw, leftover ones included, divided by those of whole steps."""
        steps = [step for step in range(first_step, last_step + 1) if self._trains(step)]
        return 1 + sum(self._left_over.get(step, 0.0) for step in steps) / len(steps) if steps else 1.0

    def _trains(self, step: int) -> bool:
        return not any(first <= step <= last for first, last in self.skipped)
