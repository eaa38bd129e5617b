"""Turns each logged loss into points, markers and sentences."""

from collections import deque
from collections.abc import Callable, Iterable

from paddle_epoch_guard.ledger import (
    BoundaryStep,
    ChangePoint,
    EpochKey,
    EpochLedger,
    LossWindow,
    Weighted,
    WindowLosses,
)
from paddle_epoch_guard.ledger.change_points import Point
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.report.change_marker import ChangeMarker, change_points_of
from paddle_epoch_guard.report.markers import EVALUATION_TAG, LOSS_TAG
from paddle_epoch_guard.report.visualdl import EpochGuardLog
from paddle_epoch_guard.report.words import EXPOSURE_TAG, FRESH_TAG, NOTES_TAG, REPEAT_TAG, Words
from paddle_epoch_guard.resume import VerdictRecord

_FEWEST = 4.0  # samples that a point of fresh or repeated loss stands for, at least


class EpochRecorder:
    """Writes what the ledger finds, as the run goes on.

    Args:
        ledger: adds up losses by epoch.
        log: where points and texts go.
        words: names of epochs, directories and tags.
        say: takes a sentence for the trainer's log.
        marked: cuts that an earlier part of the run has marked; they are not marked again.
        keeps_curves: whether the trainer's own losses are kept too, for the trainer does not write them to VisualDL.
    """

    def __init__(
        self,
        ledger: EpochLedger,
        log: EpochGuardLog,
        words: Words,
        say: Callable[[str], None],
        marked: Iterable[str] = (),
        keeps_curves: bool = False,
    ) -> None:
        self.ledger = ledger
        self.cuts = ChangeMarker(log, words, say, marked)
        self._log = log
        self._words = words
        self._say = say
        self._keeps_curves = keeps_curves
        self._ahead: deque[BoundaryStep] = deque()
        self._unknown_means: set[EpochKey] | None = set()
        self._epoch_losses_written: set[EpochKey] = set()
        self._pending = {FRESH_TAG: Weighted(), REPEAT_TAG: Weighted()}

    def go_on(
        self,
        behind: Iterable[BoundaryStep],
        windows: Iterable[LossWindow],
        evaluations: Iterable[Point],
        verdicts: Iterable[VerdictRecord],
        loss_range: tuple[float, float] | None,
    ) -> None:
        """Takes up what an earlier part of the run has begun.

        Args:
            behind: the crossings that it has passed.
            windows: its latest windows.
            evaluations: its latest evaluations.
            verdicts: its verdicts.
            loss_range: its lowest and highest loss.
        """
        self.cuts.windows.extend(windows)
        self.cuts.evaluations.extend(evaluations)
        self.cuts.verdicts |= {one.name: one for one in verdicts}
        self.cuts.loss_range = loss_range
        for crossing in behind:
            self._epoch_losses_written |= {key for key in self.ledger.totals if _ends_with(key, crossing)}
        self.cuts.go_on(change_points_of(behind, self._words))

    def begin_in_the_middle(self) -> None:
        """The run goes on from a checkpoint that knows no losses: the mean of an epoch it has begun is not known."""
        self._unknown_means = None

    def begin_reorder(self, reorder: Reorder, step: int, dissolved: Iterable[BoundaryStep]) -> None:
        """Tells that a unified order begins with ``step``; in mid-run, marks it with a line.

        Args:
            reorder: the one that begins.
            step: its first step.
            dissolved: boundaries that are none any more. What a part of the run that does not count marked there,
                because it was resumed from before, is set aside.
        """
        for crossing in dissolved:
            self._log.set_aside(self._words.boundary_directory(crossing))
        cut = ChangePoint(self._words.reorder_name(step), step, step - 1, step)
        sentence = self._words.reorder_sentence(reorder, step)
        if step > 1:
            self.cuts.reach(cut, sentence)
        else:
            self.cuts.tell(cut, sentence)
        self._log.flush()

    def expect(self, crossings: Iterable[BoundaryStep]) -> None:
        """Replaces the crossings still ahead."""
        self._ahead = deque(crossings)

    def record(self, step: int, loss: float, losses: WindowLosses | None = None) -> None:
        """Takes the loss that the trainer logged at ``step``.

        Args:
            step: the last step of the window.
            loss: the trainer's own, a mean over the window.
            losses: of the window's samples, where they are known.

        Raises:
            OSError: the log cannot be written.
            ScheduleError: the sampler could not have delivered these steps.
        """
        window = self.ledger.close_window(step, loss, losses)
        if window is None:
            return
        if self._unknown_means is None:
            self._unknown_means = self._open_epochs(window)
        self._log.scalar(self._words.epoch_tag, window.mean_epoch, step)
        self._keep(LOSS_TAG, loss, step)
        for point in self.ledger.points(window):
            directory = self._words.epoch_directory(point.key)
            self._log.scalar(self._words.loss_by_epoch_tag, point.loss, point.step_in_epoch, directory)
        self._write_exposure(window)
        while self._ahead and self._ahead[0].step <= step:
            self._cross(self._ahead.popleft())
        self.cuts.take(window)
        self._log.flush(at_once=False)

    def flush(self) -> None:
        """Hands what was recorded to the file system, as a checkpoint is saved that goes on from it."""
        self._log.flush()

    def evaluate(self, step: int, loss: float) -> None:
        """Takes the evaluation loss after ``step``."""
        self._keep(EVALUATION_TAG, loss, step)
        self.cuts.evaluate(step, loss)
        self._log.flush()

    def finish(self, step: int, complete: bool) -> None:
        """Writes what is still open, says the summary, and closes the log.

        Args:
            step: the last step.
            complete: whether the run has come to its planned end. The mean losses of epochs that a later part of the
                run will go on with are left to that part.
        """
        self.cuts.end()
        for tag in [tag for tag, pending in self._pending.items() if pending.weight > 0]:
            self._write_pending(tag, step)
        for key in self.ledger.totals if complete else ():
            self._write_epoch_loss(key)
        if self.ledger.totals:
            self._say(f"epoch guard: {step} steps\n{self._words.summary(self.ledger, self.cuts.verdicts.values())}")
        self._log.close()

    def note(self, text: str, step: int) -> None:
        """Keeps a sentence about the whole run in the log."""
        self._log.text(NOTES_TAG, text, step)
        self._log.flush()

    def _keep(self, tag: str, value: float, step: int) -> None:
        if self._keeps_curves:
            self._log.scalar(tag, value, step, alone=True)

    def _write_exposure(self, window: LossWindow) -> None:
        if self.cuts.exposure is not None:
            found = self.cuts.exposure.of_steps(window.first_step, window.last_step)
            if found is not None:
                self._log.scalar(EXPOSURE_TAG, found.mean, window.last_step)
        if window.losses is None:
            return
        for tag, one in ((FRESH_TAG, window.losses.fresh), (REPEAT_TAG, window.losses.repeat)):
            pending = self._pending[tag]
            pending.add(one)
            if pending.weight >= _FEWEST:
                self._write_pending(tag, window.last_step)

    def _write_pending(self, tag: str, step: int) -> None:
        self._log.scalar(tag, self._pending[tag].mean, step)
        self._pending[tag] = Weighted()

    def _cross(self, crossing: BoundaryStep) -> None:
        for key in self.ledger.totals:
            if _ends_with(key, crossing):
                self._write_epoch_loss(key)
        self.ledger.end_epochs(crossing.dataset, crossing.from_epoch)
        (cut,) = change_points_of([crossing], self._words)
        self.cuts.reach(cut, self._words.boundary_sentence(crossing))

    def _write_epoch_loss(self, key: EpochKey) -> None:
        if key in self._epoch_losses_written or key in (self._unknown_means or ()):
            return
        self._epoch_losses_written.add(key)
        total = self.ledger.totals[key]
        if total.loss.weight > 0:
            directory = self._words.dataset_directory(key.dataset)
            self._log.scalar(self._words.epoch_loss_tag, total.mean_loss, key.epoch, directory)

    def _open_epochs(self, window: LossWindow) -> set[EpochKey]:
        """The epochs that may have been drawn from before ``window``: all up to the next boundary ahead."""
        ahead = {crossing.dataset: crossing.from_epoch for crossing in reversed(self._ahead)}
        most = max((key.epoch for key in window.counts), default=0)
        datasets = {key.dataset for key in window.counts} | set(ahead)
        return {EpochKey(dataset, epoch) for dataset in datasets for epoch in range(1, ahead.get(dataset, most) + 1)}


def _ends_with(key: EpochKey, crossing: BoundaryStep) -> bool:
    return key.dataset == crossing.dataset and key.epoch <= crossing.from_epoch
