"""A log of 100,000 steps through 12 data epochs, as a run leaves it that was extended again and again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from visualdl import LogWriter

from paddle_epoch_guard.index import Boundary
from paddle_epoch_guard.ledger import BoundaryStep, EpochLedger, IndexEpochs, boundary_steps_of
from paddle_epoch_guard.order import Schedule, Segment
from paddle_epoch_guard.record.naming import Naming
from recording import recorder

BATCH = 4


class ManyEpochs:
    """An index of 12 epochs, each shuffled by itself."""

    names = ("text",)
    epochs = (12,)

    def __init__(self, per_epoch):
        self.per_epoch = per_epoch
        self.boundaries = tuple(Boundary(epoch * per_epoch, epoch) for epoch in range(1, 12))

    def __len__(self):
        return 12 * self.per_epoch

    def locate(self, positions):
        epochs = np.asarray(positions) // self.per_epoch + 1
        return np.zeros_like(epochs), epochs


@dataclass(frozen=True)
class LongRun:
    """What was written: a trainer's log with the guard's beside it."""

    folder: Path
    crossings: tuple[BoundaryStep, ...]
    curve: np.ndarray
    """The loss of each step, from step 1 on."""


def write_long_run(folder: Path, steps: int = 100_000, every: int = 10) -> LongRun:
    """Writes the log.

    Args:
        folder: where to.
        steps: of the run, about: all epochs are equally long.
        every: steps from one logged loss to the next.
    """
    index = ManyEpochs(per_epoch=steps * BATCH // 12)
    source = IndexEpochs(index, Schedule((Segment(1, 0, BATCH, 1, 1, stop=len(index)),)))
    crossings = boundary_steps_of(source)
    watched = recorder(folder, EpochLedger(source), Naming(index.names))
    watched.expect(crossings)
    curve = 3.0 + 8.0 * np.exp(-np.arange(1, steps + 1) * 5 / steps)
    trainer_log = LogWriter(logdir=str(folder), file_name="vdlrecords.0000000001.log")
    last = steps // 12 * 12
    for step in range(every, last + 1, every):
        trainer_log.add_scalar("train/loss", curve[step - 1], step)
        watched.record(step, curve[step - 1])
    watched.finish(last, complete=True)
    trainer_log.close()
    return LongRun(folder, tuple(crossings), curve)
