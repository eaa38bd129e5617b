"""Turns each logged loss into points, markers and sentences."""

from collections import deque
from collections.abc import Callable, Iterable

from paddle_epoch_guard.ledger import Crossing, CrossingWatch, EpochKey, EpochLedger, LossWindow
from paddle_epoch_guard.ledger.crossings import SIDE
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.report.markers import BoundaryLine
from paddle_epoch_guard.report.visualdl import EpochGuardLog
from paddle_epoch_guard.report.words import Words


class EpochRecorder:
    """Writes what the ledger finds, as the run goes on.

    Args:
        ledger: adds up losses by epoch.
        log: where points and texts go.
        words: names of epochs, directories and tags.
        say: takes a sentence for the trainer's log.
        marked: boundaries that an earlier part of the run has marked; they are not marked again.
    """

    def __init__(
        self,
        ledger: EpochLedger,
        log: EpochGuardLog,
        words: Words,
        say: Callable[[str], None],
        marked: Iterable[str] = (),
    ) -> None:
        self.ledger = ledger
        self._log = log
        self._words = words
        self._say = say
        self._ahead: deque[Crossing] = deque()
        self._watches: list[CrossingWatch] = []
        self._lines: list[BoundaryLine] = []
        # Enough for both sides of a boundary, for a later part of the run to go on with.
        self._history: deque[LossWindow] = deque(maxlen=2 * SIDE)
        self._range: tuple[float, float] | None = None
        self._marked = list(marked)
        self._unknown_means: set[EpochKey] | None = set()
        self._epoch_losses_written: set[EpochKey] = set()

    @property
    def marked(self) -> tuple[str, ...]:
        """The boundaries and reorders marked so far, by this run and its earlier parts."""
        return tuple(self._marked)

    @property
    def windows(self) -> tuple[LossWindow, ...]:
        """The latest windows: as many as a boundary's two sides need."""
        return tuple(self._history)

    @property
    def loss_range(self) -> tuple[float, float] | None:
        """The lowest and the highest loss so far."""
        return self._range

    def go_on(
        self, behind: Iterable[Crossing], windows: Iterable[LossWindow], loss_range: tuple[float, float] | None
    ) -> None:
        """Takes up what an earlier part of the run has begun.

        Args:
            behind: the crossings that it has passed.
            windows: its latest windows.
            loss_range: its lowest and highest loss.
        """
        self._history.extend(windows)
        self._range = loss_range
        for crossing in behind:
            self._epoch_losses_written |= {key for key in self.ledger.totals if _ends_with(key, crossing)}
            directory = self._words.boundary_directory(crossing)
            self._lines.append(BoundaryLine(self._log, directory, crossing.step, loss_range))
            watch = CrossingWatch(crossing)
            watch.begin(self._history)
            concluded = False
            for window in self._history:
                concluded = watch.take(window) or concluded
            if not concluded:
                self._watches.append(watch)

    def begin_in_the_middle(self) -> None:
        """The run goes on from a checkpoint that knows no losses: the mean of an epoch it has begun is not known."""
        self._unknown_means = None

    def begin_reorder(self, reorder: Reorder, step: int, dissolved: Iterable[Crossing]) -> None:
        """Tells that a unified order begins with ``step``; in mid-run, marks it with a line.

        Args:
            reorder: the one that begins.
            step: its first step.
            dissolved: boundaries that are none any more. What a part of the run that does not count marked there,
                because it was resumed from before, is set aside.
        """
        for crossing in dissolved:
            self._log.set_aside(self._words.boundary_directory(crossing))
        name = self._words.reorder_name(step)
        if step > 1 and not self._mark(name, step):
            return
        self._write_text(name, name, self._words.reorder_sentence(reorder, step), step)
        self._log.flush()

    def expect(self, crossings: Iterable[Crossing]) -> None:
        """Replaces the crossings still ahead."""
        self._ahead = deque(crossings)

    def record(self, step: int, loss: float) -> None:
        """Takes the loss that the trainer logged at ``step``.

        Raises:
            OSError: the log cannot be written.
            ScheduleError: the sampler could not have delivered these steps.
        """
        window = self.ledger.close_window(step, loss)
        if window is None:
            return
        if self._unknown_means is None:
            self._unknown_means = self._open_epochs(window)
        self._log.scalar(self._words.epoch_tag, window.mean_epoch, step)
        for point in self.ledger.points(window):
            directory = self._words.epoch_directory(point.key)
            self._log.scalar(self._words.loss_by_epoch_tag, point.loss, point.step_in_epoch, directory)
        low, high = self._range or (loss, loss)
        self._range = min(low, loss), max(high, loss)
        while self._ahead and self._ahead[0].step <= step:
            self._cross(self._ahead.popleft())
        for line in self._lines:
            line.cover(*self._range)
        for watch in [watch for watch in self._watches if watch.take(window)]:
            self._conclude(watch)
        self._history.append(window)
        self._log.flush()

    def finish(self, step: int, complete: bool) -> None:
        """Writes what is still open, says the summary, and closes the log.

        Args:
            step: the last step.
            complete: whether the run has come to its planned end. The mean losses of epochs that a later part of the
                run will go on with are left to that part.
        """
        for watch in list(self._watches):
            self._conclude(watch)
        for key in self.ledger.totals if complete else ():
            self._write_epoch_loss(key)
        if self.ledger.totals:
            self._say(f"epoch guard: {step} steps\n{self._words.summary(self.ledger.totals)}")
        self._log.close()

    def note(self, text: str, step: int) -> None:
        """Keeps a sentence about the whole run in the log."""
        self._log.text("epoch_guard/notes", text, step)
        self._log.flush()

    def _cross(self, crossing: Crossing) -> None:
        directory = self._words.boundary_directory(crossing)
        watch = CrossingWatch(crossing)
        watch.begin(self._history)
        self._watches.append(watch)
        for key in self.ledger.totals:
            if _ends_with(key, crossing):
                self._write_epoch_loss(key)
        self.ledger.end_epochs(crossing.dataset, crossing.from_epoch)
        if self._mark(directory, crossing.step):
            self._write_crossing(crossing, self._words.boundary_sentence(crossing))

    def _conclude(self, watch: CrossingWatch) -> None:
        self._watches.remove(watch)
        sentence = self._words.jump_sentence(watch)
        if sentence is not None:
            self._write_crossing(watch.crossing, sentence)

    def _mark(self, directory: str, step: int) -> bool:
        """Begins a line at ``step``; False where a part of the run that came before has drawn it."""
        if directory in self._marked or self._log.exists(directory):
            return False
        self._marked.append(directory)
        self._lines.append(BoundaryLine(self._log, directory, step))
        return True

    def _write_crossing(self, crossing: Crossing, text: str) -> None:
        directory = self._words.boundary_directory(crossing)
        self._write_text(self._words.boundary_name(crossing), directory, text, crossing.step)

    def _write_text(self, name: str, directory: str, text: str, step: int) -> None:
        self._log.text(f"epoch_guard/{name}", text, step, directory)
        self._say(f"epoch guard: {text}")

    def _write_epoch_loss(self, key: EpochKey) -> None:
        if key in self._epoch_losses_written or key in (self._unknown_means or ()):
            return
        self._epoch_losses_written.add(key)
        mean_loss = self.ledger.totals[key].mean_loss
        self._log.scalar(self._words.epoch_loss_tag, mean_loss, key.epoch, self._words.dataset_directory(key.dataset))

    def _open_epochs(self, window: LossWindow) -> set[EpochKey]:
        """The epochs that may have been drawn from before ``window``: all up to the next boundary ahead."""
        ahead = {crossing.dataset: crossing.from_epoch for crossing in reversed(self._ahead)}
        most = max((key.epoch for key in window.counts), default=0)
        datasets = {key.dataset for key in window.counts} | set(ahead)
        return {EpochKey(dataset, epoch) for dataset in datasets for epoch in range(1, ahead.get(dataset, most) + 1)}


def _ends_with(key: EpochKey, crossing: Crossing) -> bool:
    return key.dataset == crossing.dataset and key.epoch <= crossing.from_epoch
