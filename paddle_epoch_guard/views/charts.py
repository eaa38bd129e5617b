"""Events as points, lines and texts of charts, for VisualDL and the other loggers."""

from collections.abc import Iterable

from paddle_epoch_guard.ledger import ChangePoint, EpochKey
from paddle_epoch_guard.record.events import (
    ChangeJudged,
    ChangeReached,
    EpochEnded,
    Evaluated,
    Event,
    Noted,
    PartBegan,
    PartEnded,
    WindowLogged,
)
from paddle_epoch_guard.record.naming import (
    EVALUATION_TAG,
    EXPOSURE_TAG,
    FRESH_ERROR_TAG,
    FRESH_TAG,
    LOSS_TAG,
    NOTES_TAG,
    REPEAT_ERROR_TAG,
    REPEAT_TAG,
    Naming,
)
from paddle_epoch_guard.views import messages
from paddle_epoch_guard.views.audit_table import table_of
from paddle_epoch_guard.views.console import reached_sentence
from paddle_epoch_guard.views.divided_losses import DividedLosses, LossPoint, PendingLoss
from paddle_epoch_guard.views.markers import BoundaryLine
from paddle_epoch_guard.views.verdict_texts import verdict
from paddle_epoch_guard.views.visualdl import EpochGuardLog

_ERROR_TAGS = {FRESH_TAG: FRESH_ERROR_TAG, REPEAT_TAG: REPEAT_ERROR_TAG}


class ChartView:
    """Draws events in the guard's VisualDL log and the loggers connected to it.

    Args:
        log: takes points and texts.
        naming: names of directories and tags.
        keeps_curves: whether to draw the trainer's own losses too, if the trainer does not write them to VisualDL.
        drawn: change points whose lines an earlier part of the run has drawn, and this part continues.
        loss_range: the lowest and the highest loss of the earlier part.
    """

    def __init__(
        self,
        log: EpochGuardLog,
        naming: Naming,
        keeps_curves: bool = False,
        drawn: Iterable[ChangePoint] = (),
        loss_range: tuple[float, float] | None = None,
    ) -> None:
        self._log = log
        self._naming = naming
        self._keeps_curves = keeps_curves
        self._loss_range = loss_range
        self._lines = [BoundaryLine(log, change.name, change.step, loss_range) for change in drawn]
        self._pending = {FRESH_TAG: PendingLoss(), REPEAT_TAG: PendingLoss()}
        self._divided = DividedLosses()
        self._last_step = 0

    def take(self, event: Event) -> None:
        """Draws an event."""
        match event:
            case WindowLogged():
                self._draw_window(event)
            case Evaluated():
                self._keep(EVALUATION_TAG, event.loss, event.step)
            case EpochEnded(total=total):
                directory = self._naming.dataset_directory(total.dataset)
                self._log.scalar(self._naming.epoch_loss_tag, total.mean_loss, total.epoch, directory)
            case ChangeReached():
                self._mark(event)
            case ChangeJudged(report=report) if report.means is not None:
                self._describe(report.change, verdict(report, self._naming))
            case Noted():
                self._log.text(NOTES_TAG, messages.sentence_of(event.message), event.step)
            case PartBegan():
                self._divided.begin(event)
                if event.findings:
                    self._log.text(NOTES_TAG, "\n" + table_of(event.step, event.findings), event.step)
            case PartEnded():
                self._draw_pending(event.step)

    def flush(self, at_once: bool = True) -> None:
        """Writes everything; unless ``at_once``, at most once a second."""
        self._log.flush(at_once)

    def close(self) -> None:
        """Writes everything; no file stays open."""
        self._log.close()

    def _draw_pending(self, step: int) -> None:
        for tag, pending in self._pending.items():
            if (point := pending.rest()) is not None:
                self._draw_loss(tag, point._replace(step=step))
        for tag, directory, point in self._divided.rest():
            self._log.scalar(tag, point.mean, step, directory)

    def _draw_loss(self, tag: str, point: LossPoint) -> None:
        self._log.scalar(tag, point.mean, point.step)
        if point.error is not None:
            self._log.scalar(_ERROR_TAGS[tag], point.error, point.step)

    def _draw_window(self, event: WindowLogged) -> None:
        step = event.last_step
        self._last_step = step
        samples = sum(share.samples for share in event.epochs)
        mean_epoch = sum(share.epoch * share.samples for share in event.epochs) / samples
        self._log.scalar(self._naming.epoch_tag, mean_epoch, step)
        for share in event.epochs:
            if share.step_in_epoch is not None:
                directory = self._naming.epoch_directory(EpochKey(share.dataset, share.epoch))
                self._log.scalar(self._naming.loss_by_epoch_tag, share.loss.mean, share.step_in_epoch, directory)
        if event.exposure is not None:
            self._log.scalar(EXPOSURE_TAG, event.exposure.mean, step)
        for tag, loss, squares in (
            (FRESH_TAG, event.fresh, event.fresh_squares),
            (REPEAT_TAG, event.repeat, event.repeat_squares),
        ):
            if loss is not None and (point := self._pending[tag].add(loss, squares, step)) is not None:
                self._draw_loss(tag, point)
        for tag, directory, point in self._divided.points_of(event):
            self._log.scalar(tag, point.mean, step, directory)
        if event.loss is not None:
            self._keep(LOSS_TAG, event.loss, step)
            low, high = self._loss_range or (event.loss, event.loss)
            self._loss_range = min(low, event.loss), max(high, event.loss)
            for line in self._lines:
                line.cover(*self._loss_range)

    def _mark(self, event: ChangeReached) -> None:
        """Begins a line at a change point and adds its text, unless an earlier part of the run has."""
        change = event.change
        for boundary in event.dissolved:
            # The mark of a part that does not count, because the run was resumed from an earlier step.
            self._log.set_aside(self._naming.boundary_directory(boundary))
        if change.step > 1:
            if self._log.exists(change.name):
                return
            line = BoundaryLine(self._log, change.name, change.step)
            self._lines.append(line)
            if self._loss_range is not None and change.step <= self._last_step:
                line.cover(*self._loss_range)
        self._describe(change, reached_sentence(event, self._naming))

    def _describe(self, change: ChangePoint, sentence: str) -> None:
        tag = change.name.rsplit("/", 1)[-1]
        self._log.text(f"epoch_guard/{tag}", sentence, change.step, change.name)

    def _keep(self, tag: str, value: float, step: int) -> None:
        if self._keeps_curves:
            self._log.scalar(tag, value, step, alone=True)
