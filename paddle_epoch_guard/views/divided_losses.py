"""Losses over few samples a window, as points: of fresh and repeated samples, by exposure, and by recency."""

from collections.abc import Iterator
from typing import NamedTuple

from paddle_epoch_guard.ledger import Weighted
from paddle_epoch_guard.ledger.losses import standard_error, total
from paddle_epoch_guard.record.events import PartBegan, WindowLogged
from paddle_epoch_guard.record.naming import (
    EXPOSURE_DIRECTORIES,
    EXPOSURE_LOSS_TAG,
    RECENCY_DIRECTORIES,
    RECENCY_LOSS_TAG,
)

_FEWEST = 4.0  # samples for a point


class LossPoint(NamedTuple):
    """A point of the curve of fresh or of repeated samples."""

    step: int
    mean: float
    """Nats per token."""
    error: float | None
    """Standard error of the mean; None if the scatter of the samples is unknown."""


class PendingLoss:
    """A loss over few samples per window, gathered until there are enough samples for a point."""

    def __init__(self) -> None:
        self._pending = Weighted()
        self._squares: float | None = 0.0
        self._last_step = 0

    def add(self, loss: Weighted, squares: float | None, step: int) -> LossPoint | None:
        """Adds the loss of a window; returns a point if there are enough samples for one.

        Args:
            loss: of its samples.
            squares: their squared losses, times weight; None if unknown.
            step: the window's last.
        """
        self._last_step = step
        self._pending.add(loss)
        self._squares = None if squares is None or self._squares is None else self._squares + squares
        return self.rest() if self._pending.weight >= _FEWEST else None

    def rest(self) -> LossPoint | None:
        """A point for the remaining samples; None without any."""
        if not self._pending.weight > 0:
            return None
        point = LossPoint(self._last_step, self._pending.mean, standard_error(self._pending, self._squares))
        self._pending, self._squares = Weighted(), 0.0
        return point


class DividedLosses:
    """The losses of samples by the number of earlier draws, and of repeated ones by the steps since the last draw.

    There is nothing to divide, and so no point, while a run draws one data epoch and has repeated nothing.
    """

    def __init__(self) -> None:
        self._repeats = False
        self._by_exposure = [PendingLoss() for _ in EXPOSURE_DIRECTORIES]
        self._by_recency = [PendingLoss() for _ in RECENCY_DIRECTORIES]

    def begin(self, event: PartBegan) -> None:
        """A part of the run begins."""
        self._repeats |= max(event.data_epochs, default=0) > 1

    def points_of(self, event: WindowLogged) -> Iterator[tuple[str, str, LossPoint]]:
        """Tag, folder and point of each curve that a window completes a point of, summed over the datasets.

        Samples of which it is not known how often they were drawn are in none.
        """
        self._repeats |= bool(event.by_recency)
        for level, pending in enumerate(self._by_exposure):
            loss = total(each.loss for each in event.by_exposure if each.exposure == level)
            yield from self._drawn(EXPOSURE_LOSS_TAG, EXPOSURE_DIRECTORIES[level], pending, loss, event.last_step)
        for each in event.by_recency:
            pending, directory = self._by_recency[each.recency], RECENCY_DIRECTORIES[each.recency]
            yield from self._drawn(RECENCY_LOSS_TAG, directory, pending, each.loss, event.last_step)

    def _drawn(
        self, tag: str, directory: str, pending: PendingLoss, loss: Weighted, step: int
    ) -> Iterator[tuple[str, str, LossPoint]]:
        point = pending.add(loss, None, step)
        if point is not None and self._repeats:
            yield tag, directory, point

    def rest(self) -> Iterator[tuple[str, str, LossPoint]]:
        """The same for samples that are left over, at the end of a run."""
        for tag, directories, curves in (
            (EXPOSURE_LOSS_TAG, EXPOSURE_DIRECTORIES, self._by_exposure),
            (RECENCY_LOSS_TAG, RECENCY_DIRECTORIES, self._by_recency),
        ):
            for directory, pending in zip(directories, curves, strict=True):
                if (point := pending.rest()) is not None and self._repeats:
                    yield tag, directory, point
