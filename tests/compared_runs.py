"""Runs with a known truth, as the guard records them: no training."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, EpochShare, Weighted
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.record.events import (
    ChangeReached,
    Evaluated,
    EvaluationSet,
    ExposureLoss,
    PartEnded,
    WindowLogged,
)
from paddle_epoch_guard.record.writer import RecordWriter
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, IndexRecord, Sidecar
from paddle_epoch_guard.resume.sidecar import VERSION
from recording import began

LENGTH = 32
SAMPLES_PER_EPOCH = 4_000
NOISE = 0.5
"""Standard deviation of the loss of a sample, nats per token."""


@dataclass
class Made:
    """A run to be recorded. Its loss at step s is ``level(s) + offset``, less ``memory`` on repeated samples."""

    folder: Path
    seed: int = 0
    """Of the noise that the data brings: equal in two runs that draw the same samples."""
    own_seed: int = 0
    """Of the noise that is the run's own."""
    steps: int = 600
    batch: int = 16
    logging_steps: int = 10
    offset: float = 0.0
    memory: float = 1.0
    own_noise: float = 0.05
    repeated_from: int | None = None
    """The step from which all samples are repeated, as behind a boundary."""
    repeated_share: float = 0.0
    """Of the samples before it."""
    reorders: tuple[Reorder, ...] = ()
    corpora: tuple[str, ...] = ("text",)
    texts: tuple[str, ...] = ("1 bytes a",)
    weights: tuple[float, ...] = (1.0,)
    levels: tuple[float, ...] = (0.0,)
    """What each dataset adds to the loss."""
    order: str = "order"
    sequence_length: int = LENGTH
    evaluation: str = "held-out"
    evaluation_offset: float = 0.0
    apart: bool | None = True
    eval_steps: int | None = 20
    ended: bool = True
    run: str = "a" * 32
    first_step: int = 1
    changes: dict = field(default_factory=dict)
    """Of the sidecar."""

    def level(self, samples):
        """The loss after so many samples drawn."""
        return 3.0 + 2.0 * np.exp(-samples / 3_000)

    @property
    def state(self):
        segment = Segment(1, 0, self.batch, 1, 1, self.steps * self.batch)
        datasets = tuple(
            DatasetRecord(name, self.sequence_length, "95,5,0", SAMPLES_PER_EPOCH * self.sequence_length, name, (
                IndexRecord(self.steps * self.batch, 42, self.order),
            ))
            for name in self.corpora
        )  # fmt: skip
        blend = None
        if len(self.corpora) > 1:
            blend = BlendRecord(" ".join(map(str, self.weights)), self.steps * self.batch, self.order)
        planned = self.steps * self.batch
        state = Sidecar(
            VERSION,
            self.run,
            "b" * 32,
            0,
            0,
            planned,
            self.steps,
            self.reorders,
            Schedule((segment,)),
            datasets,
            blend,
        )
        return replace(state, **self.changes)

    def write(self):
        """Records the run; returns its folder."""
        part = f"{self.first_step:08x}" + "b" * 24
        writer = RecordWriter(self.folder, part, begins_anew=self.first_step == 1)
        begun = began(
            self.first_step - 1, self.run, part, max_steps=self.steps, datasets=self.corpora, state=self.state,
            texts=self.texts,
        )  # fmt: skip
        writer.take(begun)
        if self.eval_steps:
            writer.take(EvaluationSet(0, digest=self.evaluation, apart=self.apart))
        for event in self.events():
            writer.take(event)
        if self.ended:
            writer.take(PartEnded(self.steps, 2.0, "complete"))
        writer.flush()
        writer.close()
        return self.folder

    def events(self):
        """Windows, the boundary and evaluations, in the order of steps."""
        data, own = np.random.default_rng([1, self.seed]), np.random.default_rng([2, self.own_seed])
        for last in range(self.first_step + self.logging_steps - 1, self.steps + 1, self.logging_steps):
            yield self._window(last - self.logging_steps + 1, last, data, own)
            if self.repeated_from is not None and last - self.logging_steps < self.repeated_from <= last:
                boundary = BoundaryStep(self.repeated_from, 1, 0, 0)
                yield ChangeReached(ChangePoint.at(boundary, "boundary_1_to_2"))
            if self.eval_steps and last % self.eval_steps == 0:
                loss = self.level(last * self.batch) + self.offset + 0.1 + self.evaluation_offset
                yield Evaluated(last, float(loss + 0.004 * own.standard_normal()))

    def _window(self, first, last, data, own):
        samples = (last - first + 1) * self.batch
        share = 1.0 if self.repeated_from is not None and first >= self.repeated_from else self.repeated_share
        level = self.level((first + last) / 2 * self.batch) + self.offset + self.own_noise * own.standard_normal()
        epochs, cells = [], []
        for number, weight in enumerate(self.weights):
            drawn = round(samples * weight / sum(self.weights))
            repeated = round(drawn * share)
            noise = NOISE * data.standard_normal(drawn)
            losses = level + self.levels[number] + noise
            losses[:repeated] -= self.memory
            for exposure, chosen in ((0, losses[repeated:]), (1, losses[:repeated])):
                if len(chosen):
                    cells.append((number, exposure, chosen))
            epochs.append(EpochShare(number, 1, drawn, Weighted(drawn, float(losses.sum())), None))
        every = np.concatenate([chosen for _, _, chosen in cells])
        kinds = [np.concatenate([[], *(chosen for _, at, chosen in cells if at == exposure)]) for exposure in (0, 1)]
        return WindowLogged(
            first, last, samples, float(every.mean()), tuple(epochs), samples * self.sequence_length,
            Estimate(float(len(kinds[1]) / len(every)), 0.0),
            Weighted(len(kinds[0]), float(kinds[0].sum())), Weighted(len(kinds[1]), float(kinds[1].sum())),
            float((kinds[0] ** 2).sum()), float((kinds[1] ** 2).sum()),
            by_exposure=tuple(exposure_loss(*cell) for cell in cells),
            wholly_fresh=tuple(exposure_loss(*cell) for cell in cells if cell[1] == 0),
        )  # fmt: skip


def exposure_loss(dataset, exposure, losses):
    """The event's entry for the samples of a dataset at an exposure."""
    return ExposureLoss(dataset, exposure, len(losses), float(losses.sum()), float((losses**2).sum()))
