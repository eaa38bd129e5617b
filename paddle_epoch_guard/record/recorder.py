"""Turns each logged loss into events."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, ClosedWindow, EpochKey, EpochLedger, WindowLosses
from paddle_epoch_guard.ledger.change_points import Point
from paddle_epoch_guard.ledger.epochs import LossWindow
from paddle_epoch_guard.ledger.intervals import Interval, OpenInterval
from paddle_epoch_guard.ledger.losses import LossSums, Weighted, total
from paddle_epoch_guard.ledger.sample_shares import UNKNOWN
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.change_watch import ChangeWatch
from paddle_epoch_guard.record.events import (
    ChangeJudged,
    ChangeReached,
    EpochEnded,
    Evaluated,
    Event,
    ExposureLoss,
    Message,
    Noted,
    Outcome,
    PartEnded,
    RecencyLoss,
    WindowLogged,
)
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.verdicts import ChangeReport, ExposureOfSteps

MOST_DATASETS = 16
"""Datasets of a blend whose own losses are kept, in checkpoints for hundreds of windows, in the record for all."""


class View(Protocol):
    """Shows events, or stores them."""

    def take(self, event: Event) -> None:
        """Takes an event."""

    def flush(self, at_once: bool = True) -> None:
        """Writes the events taken, so that a reader sees them; unless ``at_once``, at most once a second."""

    def close(self) -> None:
        """Writes the events taken, at the end of the run."""


@dataclass(frozen=True)
class Remembered:
    """What a checkpoint records of an earlier part of the run."""

    behind: tuple[BoundaryStep, ...] = ()
    """The boundary steps that it has passed."""
    windows: tuple[LossWindow, ...] = ()
    """Its latest windows."""
    evaluations: tuple[Point, ...] = ()
    """Its latest evaluations."""
    verdicts: tuple[ChangeReport, ...] = ()
    loss_range: tuple[float, float] | None = None
    """Its lowest and highest loss."""
    intervals: tuple[Interval, ...] = ()
    """Its latest evaluation intervals."""
    open_interval: OpenInterval | None = None
    """The steps since its latest evaluation."""


class Recorder:
    """Records what happens during a run, as events.

    Args:
        ledger: adds up losses by epoch.
        views: get each event, in this order.
        naming: names of change points.
        reached: names of change points that an earlier part of the run has reached: they are not reported again.
        sequence_length: tokens of a sample that have a loss; None if unknown.
    """

    def __init__(
        self,
        ledger: EpochLedger,
        views: Sequence[View],
        naming: Naming,
        reached: Iterable[str] = (),
        sequence_length: int | None = None,
    ) -> None:
        self.ledger = ledger
        self.reached = list(reached)
        self.watch = ChangeWatch(lambda report: self.emit(ChangeJudged(report)))
        self._views = tuple(views)
        self._naming = naming
        self._sequence_length = sequence_length
        self._ahead: deque[BoundaryStep] = deque()
        self._unknown_means: set[EpochKey] | None = set()
        self._ended: set[EpochKey] = set()
        self._has_reported_lost_losses = False

    def emit(self, event: Event) -> None:
        """Passes an event to all views."""
        for view in self._views:
            view.take(event)

    @property
    def exposure(self) -> ExposureOfSteps | None:
        """Exposure of the run's steps; None while unknown."""
        return self.watch.exposure

    @exposure.setter
    def exposure(self, exposure: ExposureOfSteps) -> None:
        self.watch.exposure = exposure

    def go_on(self, remembered: Remembered) -> None:
        """Continues from an earlier part of the run."""
        self.watch.windows.extend(remembered.windows)
        self.watch.evaluations.extend(remembered.evaluations)
        self.watch.intervals.extend(remembered.intervals)
        self.watch.open_interval = remembered.open_interval
        self.watch.verdicts |= {report.change.name: report for report in remembered.verdicts}
        self.watch.loss_range = remembered.loss_range
        for boundary in remembered.behind:
            self._ended |= {key for key in self.ledger.totals if _ends_at(key, boundary)}
        self.watch.go_on(self._change_at(boundary) for boundary in remembered.behind)

    def begin_in_the_middle(self) -> None:
        """The run continues from a checkpoint without losses: the means of epochs already begun are unknown."""
        self._unknown_means = None

    def begin_reorder(self, reorder: Reorder, step: int, dissolved: Iterable[BoundaryStep]) -> None:
        """A unified order begins with ``step``.

        Args:
            reorder: the one that begins.
            step: its first step.
            dissolved: boundaries that it dissolves.
        """
        change = ChangePoint(self._naming.reorder_name(step), step, step - 1, step)
        if step > 1:
            self.watch.begin(change)
        self._reach(ChangeReached(change, reorder, tuple(dissolved)))
        self.flush()

    def expect(self, boundaries: Iterable[BoundaryStep]) -> None:
        """Replaces the boundary steps still ahead."""
        self._ahead = deque(boundaries)

    def record(
        self, step: int, loss: float, losses: WindowLosses | None = None, learning_rate: float | None = None
    ) -> None:
        """Takes the loss that the trainer logged at ``step``.

        Args:
            step: the last step of the window.
            loss: the trainer's own, a mean over the window.
            losses: of the window's samples, if they are known.
            learning_rate: as the trainer logged it; None if it did not.

        Raises:
            OSError: the log cannot be written.
            ScheduleError: the sampler could not have delivered these steps.
        """
        closed = self.ledger.close_window(step, loss, losses)
        if closed is None:
            return
        if not math.isfinite(loss) and not self._has_reported_lost_losses:
            self._has_reported_lost_losses = True
            steps = {"first_step": closed.first_step, "last_step": closed.last_step, "loss": str(loss)}
            self.note(Message("loss_is_no_number", {**steps, "is_known": closed.loss is not None}), step, True)
        if self._unknown_means is None:
            self._unknown_means = self._open_epochs(closed)
        self.emit(self._window_logged(closed))
        while self._ahead and self._ahead[0].step <= step:
            self._cross(self._ahead.popleft())
        if closed.loss is not None:
            of_datasets = _of_datasets(closed, len(self._naming.datasets))
            rate = learning_rate if learning_rate is not None and math.isfinite(learning_rate) else None
            self.watch.take(LossWindow(closed.first_step, step, closed.loss, closed.samples, rate, of_datasets))
        self.flush(at_once=False)

    def evaluate(self, step: int, loss: float) -> None:
        """Takes the evaluation loss after ``step``, in nats per token; ignores NaN and infinities."""
        if math.isfinite(loss):
            self.emit(Evaluated(step, loss))
            self.watch.evaluate(step, loss)
            self.flush()

    def note(self, message: Message, step: int, is_warning: bool = False) -> None:
        """Records a message about the run as a whole."""
        self.emit(Noted(step, message, is_warning))
        self.flush()

    def flush(self, at_once: bool = True) -> None:
        """Flushes all views; unless ``at_once``, at most once a second."""
        for view in self._views:
            view.flush(at_once)

    def finish(self, step: int, complete: bool, ran_dry: bool = False) -> None:
        """The trainer has ended: judges the open change points, and closes the views.

        Args:
            step: the last step.
            complete: whether the run has reached its planned end. Otherwise a resumed run reports the mean losses of
                the epochs that it continues.
            ran_dry: whether it ended because the loader ran out of data.
        """
        self.watch.end()
        for key in self.ledger.totals if complete else ():
            self._end_epoch(key, step)
        outcome: Outcome = "complete" if complete else "ran_dry" if ran_dry else "stopped"
        epochs = tuple(total for _, total in sorted(self.ledger.totals.items()))
        ledger = self.ledger
        self.emit(PartEnded(step, time.time(), outcome, epochs, ledger.fresh, ledger.repeat, ledger.contrast))
        for view in self._views:
            view.close()

    def abandon(self, step: int) -> None:
        """Tracking is switched off after ``step``: tells the views that still work, and closes them."""
        ended = PartEnded(step, time.time(), "untracked")
        for view in self._views:
            with contextlib.suppress(Exception):
                view.take(ended)
                view.close()

    def _window_logged(self, closed: ClosedWindow) -> WindowLogged:
        losses, exposure = closed.losses, self.exposure
        return WindowLogged(
            closed.first_step,
            closed.last_step,
            closed.samples,
            closed.loss,
            closed.epochs,
            None if self._sequence_length is None else closed.samples * self._sequence_length,
            None if exposure is None else exposure.of_steps(closed.first_step, closed.last_step),
            None if losses is None else losses.fresh,
            None if losses is None else losses.repeat,
            None if losses is None else losses.fresh_squares,
            None if losses is None else losses.repeat_squares,
            losses.contrast if losses is not None and losses.contrast.strata else None,
            () if losses is None else _by_exposure(losses, len(self._naming.datasets)),
            () if losses is None else _by_recency(losses),
            () if losses is None else _wholly_fresh(losses, len(self._naming.datasets)),
        )

    def _change_at(self, boundary: BoundaryStep) -> ChangePoint:
        return ChangePoint.at(boundary, self._naming.boundary_directory(boundary))

    def _cross(self, boundary: BoundaryStep) -> None:
        for key in self.ledger.totals:
            if _ends_at(key, boundary):
                self._end_epoch(key, boundary.step)
        self.ledger.end_epochs(boundary.dataset, boundary.from_epoch)
        change = self._change_at(boundary)
        self.watch.begin(change)
        self._reach(ChangeReached(change))

    def _reach(self, event: ChangeReached) -> None:
        if event.change.name not in self.reached:
            self.reached.append(event.change.name)
            self.emit(event)

    def _end_epoch(self, key: EpochKey, step: int) -> None:
        if key in self._ended or key in (self._unknown_means or ()):
            return
        self._ended.add(key)
        total = self.ledger.totals[key]
        if total.loss.weight > 0:
            self.emit(EpochEnded(step, total.copy()))  # a later window may reach back

    def _open_epochs(self, closed: ClosedWindow) -> set[EpochKey]:
        """The epochs that steps before a window may have drawn from: all up to the next boundary ahead."""
        ahead = {boundary.dataset: boundary.from_epoch for boundary in reversed(self._ahead)}
        most = max((share.epoch for share in closed.epochs), default=0)
        datasets = {share.dataset for share in closed.epochs} | set(ahead)
        return {EpochKey(dataset, epoch) for dataset in datasets for epoch in range(1, ahead.get(dataset, most) + 1)}


def _of_datasets(closed: ClosedWindow, datasets: int) -> tuple[Weighted, ...]:
    """The loss of each dataset of a blend; empty without a blend, of many datasets, and if unknown by sample."""
    if closed.losses is None or not 1 < datasets <= MOST_DATASETS:
        return ()
    return tuple(
        total(share.loss for share in closed.epochs if share.dataset == dataset) for dataset in range(datasets)
    )


def _by_recency(losses: WindowLosses) -> tuple[RecencyLoss, ...]:
    return tuple(RecencyLoss(recency, *sums) for recency, sums in losses.by_recency.items())


def _by_exposure(losses: WindowLosses, datasets: int) -> tuple[ExposureLoss, ...]:
    """The losses by dataset and exposure level; those of many datasets are summed up."""
    return _cells_of(losses.by_exposure, datasets)


def _wholly_fresh(losses: WindowLosses, datasets: int) -> tuple[ExposureLoss, ...]:
    """The losses of wholly fresh samples by dataset; those of many datasets are summed up."""
    return _cells_of({(dataset, 0): own for dataset, own in losses.wholly_fresh.items()}, datasets)


def _cells_of(sums_of: dict[tuple[int, int], LossSums], datasets: int) -> tuple[ExposureLoss, ...]:
    cells: dict[tuple[int | None, int], tuple[float, ...]] = {}
    for (dataset, level), own in sums_of.items():
        key = (dataset if datasets <= MOST_DATASETS else None), level
        cells[key] = tuple(map(sum, zip(cells.get(key, (0.0, 0.0, 0.0)), own, strict=True)))
    return tuple(
        ExposureLoss(dataset, None if level == UNKNOWN else level, *sums) for (dataset, level), sums in cells.items()
    )


def _ends_at(key: EpochKey, boundary: BoundaryStep) -> bool:
    return key.dataset == boundary.dataset and key.epoch <= boundary.from_epoch
