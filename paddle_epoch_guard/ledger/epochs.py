"""Loss per epoch: the mean over its own samples; if that is unknown, each window's loss by share of samples."""

import math
from dataclasses import dataclass, field, replace

from paddle_epoch_guard.ledger.contrast import Contrast
from paddle_epoch_guard.ledger.losses import Weighted, WindowLosses
from paddle_epoch_guard.ledger.sources import EpochKey, EpochSource


@dataclass(frozen=True)
class LossWindow:
    """The steps whose mean loss the trainer logged at once."""

    first_step: int
    last_step: int
    loss: float
    """Mean over the trained steps, in the trainer's unit (nats per token for cross-entropy)."""
    samples: int
    """Samples drawn, over all ranks."""
    learning_rate: float | None = None
    """Of its last step; None if unknown."""
    of_datasets: tuple[Weighted, ...] = ()
    """The loss of the samples of each dataset of a blend; empty if unknown, and without a blend."""

    @property
    def middle(self) -> float:
        """The middle of its steps."""
        return (self.first_step + self.last_step) / 2

    @property
    def steps(self) -> int:
        """The number of its steps."""
        return self.last_step - self.first_step + 1


@dataclass(frozen=True)
class EpochShare:
    """What one epoch contributed to a window."""

    dataset: int
    epoch: int
    samples: int
    loss: Weighted
    """Of the window's samples from this epoch."""
    step_in_epoch: int | None
    """Steps since the epoch's first window began, from 1; None if the window adds no point to the epoch's curve."""


@dataclass(frozen=True)
class ClosedWindow:
    """A window, and the sums of the ledger for it."""

    first_step: int
    last_step: int
    samples: int
    """Samples drawn, over all ranks."""
    loss: float | None
    """Mean over the trained steps; None if neither the trainer's loss nor the samples' is finite."""
    epochs: tuple[EpochShare, ...]
    """The epochs drawn from, in order."""
    losses: WindowLosses | None = None
    """Of its samples; None if only the window's loss is known."""

    @property
    def counts(self) -> dict[EpochKey, int]:
        """Samples drawn from each epoch."""
        return {EpochKey(share.dataset, share.epoch): share.samples for share in self.epochs}


@dataclass
class EpochLoss:
    """The totals of one epoch of one dataset so far."""

    dataset: int
    epoch: int
    first_step: int
    """The first step of the first window that drew from it."""
    last_step: int
    """The last step of the last window that drew from it before its boundary."""
    samples: int = 0
    loss: Weighted = field(default_factory=Weighted)
    """Of its samples."""

    @property
    def mean_loss(self) -> float:
        """Mean over the epoch's samples; NaN if all their tokens were masked."""
        return self.loss.mean

    def copy(self) -> "EpochLoss":
        """The totals as they are now."""
        return replace(self, loss=replace(self.loss))


class EpochLedger:
    """Adds up losses by epoch, window by window.

    Args:
        source: the epochs that the samples of a step come from.
        last_step: the last step already done (0 at a fresh start): the first window begins after it.
    """

    def __init__(self, source: EpochSource, last_step: int = 0) -> None:
        self.source = source
        self.last_step = last_step
        self.totals: dict[EpochKey, EpochLoss] = {}
        self.fresh = Weighted()
        """The loss of samples drawn for the first time, over the run."""
        self.repeat = Weighted()
        """The loss of samples drawn before."""
        self.contrast = Contrast()
        """Repeated samples against fresh ones of the same windows and datasets."""
        self._ended: dict[int, int] = {}

    def close_window(self, last_step: int, loss: float, losses: WindowLosses | None = None) -> ClosedWindow | None:
        """Takes the loss that the trainer logged at ``last_step`` for the steps since the last one.

        Args:
            last_step: the window's last step.
            loss: the trainer's own, a mean over the window.
            losses: of the window's samples, if they are known. Their mean replaces a loss of the trainer that is not
                finite (under fp16 it stays so).

        Returns:
            The window; None if it holds no trained step (the trainer then logs a loss of 0).

        Raises:
            ScheduleError: the sampler could not have delivered these steps.
        """
        first_step = self.last_step + 1
        if last_step < first_step:
            return None
        # The ranks have counted what they drew. Only if they could not, the whole window is looked up here.
        counts = (losses.counts if losses is not None else None) or self.source.counts(first_step, last_step)
        self.last_step = last_step
        if not counts:
            return None
        if not math.isfinite(loss):
            loss = math.nan if losses is None else losses.mean
        if not math.isfinite(loss):
            losses = WindowLosses()  # its sums are not finite either
        shares = []
        for key, samples in sorted(counts.items()):
            by_share = Weighted(samples, samples * loss)
            share_loss = by_share if losses is None else losses.by_epoch.get(key, Weighted())
            total = self.totals.setdefault(key, EpochLoss(*key, first_step, last_step))
            is_open = key.epoch > self._ended.get(key.dataset, 0)
            if is_open:
                total.last_step = last_step
            total.samples += samples
            total.loss.add(share_loss)
            step_in_epoch = last_step - total.first_step + 1 if is_open and share_loss.weight > 0 else None
            shares.append(EpochShare(*key, samples, share_loss, step_in_epoch))
        if losses is not None:
            self.fresh.add(losses.fresh)
            self.repeat.add(losses.repeat)
            self.contrast = self.contrast.plus(losses.contrast)
        known = loss if math.isfinite(loss) else None
        return ClosedWindow(first_step, last_step, sum(counts.values()), known, tuple(shares), losses)

    def end_epochs(self, dataset: int, last_epoch: int) -> None:
        """Ends a dataset's epochs up to ``last_epoch``: the order has passed their boundary.

        One sample crosses into the next epoch's group and is drawn there. It counts in its epoch's samples and mean,
        but must not extend that epoch's steps and curve through the next epoch.
        """
        self._ended[dataset] = last_epoch
