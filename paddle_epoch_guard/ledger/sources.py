"""From which epochs the samples of a range of steps come."""

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
    """What the ledger asks of a run."""

    def counts(self, first_step: int, last_step: int) -> dict[EpochKey, int]:
        """Samples that the trained steps draw from each epoch; epochs drawn from by none are left out."""

    def surplus(self, first_step: int, last_step: int) -> float:
        """Microbatches that the trained steps draw, for each that the trainer's mean loss is taken over."""


@dataclass(frozen=True)
class IndexEpochs:
    """Data epochs, from the sample index, the order and the schedule: exact."""

    index: SampleIndex
    schedule: Schedule
    positions: PositionMap = field(default_factory=PositionMap)
    """Where the run's positions lie in the host's order."""

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
    """The trainer's epochs: what is still true where the positions are not known."""

    global_batch: int
    skipped: tuple[tuple[int, int], ...] = ()
    _first_steps: list[int] = field(default_factory=list)
    _epochs: list[int] = field(default_factory=list)
    _left_over: dict[int, float] = field(default_factory=dict)

    def begin(self, epoch: int, first_step: int, left_over: float = 0.0) -> None:
        """The trainer starts ``epoch`` (from 1); its first step will be ``first_step``.

        That step trains on what was left over at the end of the epoch before as well: ``left_over``, as a share of a
        step.
        """
        self._left_over[first_step] = left_over
        if self._first_steps and self._first_steps[-1] >= first_step:
            self._first_steps.pop()  # an epoch that completed no step
            self._epochs.pop()
        self._first_steps.append(first_step)
        self._epochs.append(epoch)

    def counts(self, first_step: int, last_step: int) -> dict[EpochKey, int]:
        """Samples of the trained steps, a whole batch each, under the trainer epoch of each step."""
        counts: Counter[EpochKey] = Counter()
        for step in range(first_step, last_step + 1):
            if self._trains(step):
                at = bisect_right(self._first_steps, step) - 1
                counts[EpochKey(0, self._epochs[max(at, 0)])] += self.global_batch
        return dict(counts)

    def surplus(self, first_step: int, last_step: int) -> float:
        """Steps' worth of microbatches that the trained steps draw, for each of these steps."""
        steps = [step for step in range(first_step, last_step + 1) if self._trains(step)]
        return 1 + sum(self._left_over.get(step, 0.0) for step in steps) / len(steps) if steps else 1.0

    def _trains(self, step: int) -> bool:
        return not any(first <= step <= last for first, last in self.skipped)
