"""Loss per epoch: that of the samples drawn from it; where that is not known, each window's loss by share."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from paddle_epoch_guard.ledger.losses import Weighted, WindowLosses
from paddle_epoch_guard.ledger.sources import EpochKey, EpochSource


@dataclass(frozen=True)
class LossWindow:
    """The steps whose mean loss the trainer logged at once."""

    first_step: int
    last_step: int
    loss: float
    """Mean over the trained steps, in the trainer's unit (nats per token for cross-entropy)."""
    counts: dict[EpochKey, int]
    """Samples drawn from each epoch."""
    losses: WindowLosses | None = None
    """Of its samples; None where only the window's loss is known."""

    def of(self, key: EpochKey) -> Weighted:
        """The loss of the samples drawn from one epoch; by share where it is not known."""
        if self.losses is not None:
            return self.losses.by_epoch.get(key, Weighted())
        return Weighted(self.counts[key], self.counts[key] * self.loss)

    @property
    def samples(self) -> int:
        """Samples drawn, over all ranks."""
        return sum(self.counts.values())

    @property
    def mean_epoch(self) -> float:
        """Mean epoch of the samples, fractional."""
        return sum(key.epoch * samples for key, samples in self.counts.items()) / self.samples


class EpochPoint(NamedTuple):
    """A point of one epoch's loss curve."""

    key: EpochKey
    step_in_epoch: int
    """Steps since the epoch was first drawn from, from 1."""
    loss: float


@dataclass
class EpochTotal:
    """What one epoch adds up to so far."""

    first_step: int
    """The first window in which it was drawn from begins here."""
    last_step: int
    samples: int = 0
    loss: Weighted = field(default_factory=Weighted)
    """Of its samples."""

    @property
    def mean_loss(self) -> float:
        """Mean over the epoch's samples; not a number where all their tokens were masked."""
        return self.loss.mean


class EpochLedger:
    """Adds up losses by epoch, window by window.

    Args:
        source: says from which epochs the samples of a step come.
        last_step: the last step already done (0 at a fresh start): the first window begins after it.
    """

    def __init__(self, source: EpochSource, last_step: int = 0) -> None:
        self.source = source
        self.last_step = last_step
        self.totals: dict[EpochKey, EpochTotal] = {}
        self.fresh = Weighted()
        """The loss of samples that were never drawn before, over the run."""
        self.repeat = Weighted()
        """The loss of samples that were."""
        self._ended: dict[int, int] = {}

    def close_window(self, last_step: int, loss: float, losses: WindowLosses | None = None) -> LossWindow | None:
        """Takes the loss that the trainer logged at ``last_step`` for the steps since the last one.

        Args:
            last_step: the window's last step.
            loss: the trainer's own, a mean over the window.
            losses: of the window's samples, where they are known.

        Returns:
            The window; None where it holds no trained step (the trainer then logs a loss of 0), or where
            the loss is not a finite number.

        Raises:
            ScheduleError: the sampler could not have delivered these steps.
        """
        first_step = self.last_step + 1
        if last_step < first_step:
            return None
        # The ranks have looked up what they drew; only where they could not is the whole window looked up here.
        counts = (losses.counts if losses is not None else None) or self.source.counts(first_step, last_step)
        self.last_step = last_step
        if not counts or not math.isfinite(loss):
            return None
        window = LossWindow(first_step, last_step, loss, counts, losses)
        for key, samples in counts.items():
            total = self.totals.setdefault(key, EpochTotal(first_step, last_step))
            total.last_step = last_step
            total.samples += samples
            total.loss.add(window.of(key))
        if losses is not None:
            self.fresh.add(losses.fresh)
            self.repeat.add(losses.repeat)
        return window

    def end_epochs(self, dataset: int, last_epoch: int) -> None:
        """Ends the curves of a dataset's epochs up to ``last_epoch``: the order has passed their boundary.

        One sample crosses into the next epoch's group and is drawn there. It counts in its epoch's mean, but
        must not draw that epoch's curve on through the losses of the next one.
        """
        self._ended[dataset] = last_epoch

    def points(self, window: LossWindow) -> list[EpochPoint]:
        """The points that a window adds to the loss curves of its epochs."""
        return [
            EpochPoint(key, window.last_step - self.totals[key].first_step + 1, window.of(key).mean)
            for key in sorted(window.counts)
            if key.epoch > self._ended.get(key.dataset, 0) and window.of(key).weight > 0
        ]
