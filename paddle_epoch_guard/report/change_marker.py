"""The places where the order changes: a line in the loss chart for each, and a verdict on what the loss did there."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.change_points import FIT_STEPS, Point
from paddle_epoch_guard.report.markers import BoundaryLine
from paddle_epoch_guard.report.verdicts import ChangeReport, ExposureOfSteps, report_on
from paddle_epoch_guard.report.visualdl import EpochGuardLog
from paddle_epoch_guard.report.words import Words
from paddle_epoch_guard.resume import VerdictRecord

_HISTORY = 2 * FIT_STEPS
"""Windows, and evaluations, that are kept: both sides of a cut, for a later part of the run to go on with."""


class ChangeMarker:
    """Marks cuts as they are reached, and judges them once enough of their far side is known.

    Args:
        log: where lines and texts go.
        words: names of directories and tags, and sentences.
        say: takes a sentence for the trainer's log.
        marked: cuts that an earlier part of the run has marked; they are not marked again.
    """

    def __init__(
        self, log: EpochGuardLog, words: Words, say: Callable[[str], None], marked: Iterable[str] = ()
    ) -> None:
        self.exposure: ExposureOfSteps | None = None
        self.marked = list(marked)
        self.verdicts: dict[str, VerdictRecord] = {}
        """By the name of the cut."""
        self.windows: deque[LossWindow] = deque(maxlen=_HISTORY)
        self.evaluations: deque[Point] = deque(maxlen=_HISTORY)
        self.loss_range: tuple[float, float] | None = None
        """The lowest and the highest loss so far."""
        self._log = log
        self._words = words
        self._say = say
        self._watches: list[ChangePointBuffer] = []
        self._lines: list[BoundaryLine] = []
        self._last_cut = 0

    def go_on(self, behind: Iterable[ChangePoint]) -> None:
        """Takes up the cuts that an earlier part of the run has passed, whose windows it has left."""
        for cut in behind:
            self._lines.append(BoundaryLine(self._log, cut.name, cut.step, self.loss_range))
            self._watch(cut)
        for watch in self._watches:
            for window in self.windows:
                watch.take(window)
        self._conclude()

    def reach(self, cut: ChangePoint, sentence: str) -> None:
        """The run has come to a cut: marks it, unless an earlier part of the run has."""
        self._watch(cut)
        if self._mark(cut):
            self.tell(cut, sentence)

    def _mark(self, cut: ChangePoint) -> bool:
        """Begins a line at a cut; False where a part of the run that came before has drawn it."""
        if cut.name in self.marked or self._log.exists(cut.name):
            return False
        self.marked.append(cut.name)
        self._lines.append(BoundaryLine(self._log, cut.name, cut.step))
        return True

    def tell(self, cut: ChangePoint, sentence: str) -> None:
        """Keeps a sentence about a cut in the log, and says it."""
        tag = cut.name.rsplit("/", 1)[-1]
        self._log.text(f"epoch_guard/{tag}", sentence, cut.step, cut.name)
        self._say(f"epoch guard: {sentence}")

    def take(self, window: LossWindow) -> None:
        """Takes the losses of a log window."""
        low, high = self.loss_range or (window.loss, window.loss)
        self.loss_range = min(low, window.loss), max(high, window.loss)
        for line in self._lines:
            line.cover(*self.loss_range)
        for watch in self._watches:
            watch.take(window)
        self.windows.append(window)
        self._conclude()

    def evaluate(self, step: int, loss: float) -> None:
        """Takes an evaluation after ``step``; one that is not a finite number says nothing."""
        if not math.isfinite(loss):
            return
        self.evaluations.append((step, loss))
        for watch in self._watches:
            watch.evaluate(step, loss)
        self._conclude()

    def end(self) -> None:
        """The run ends here, or a cut beyond which no other may look: what is open is judged by what there is."""
        for watch in self._watches:
            watch.ended = True
        self._conclude()

    def _watch(self, cut: ChangePoint) -> None:
        if not any(watch.cut.step == cut.step for watch in self._watches):
            self.end()
        known = self.verdicts.get(cut.name)
        if known is not None and known.final:
            return
        watch = ChangePointBuffer(cut, self._last_cut, told=known is not None)
        watch.begin(self.windows, self.evaluations)
        self._watches.append(watch)
        self._last_cut = max(self._last_cut, cut.first_after)

    def _conclude(self) -> None:
        """Judges what can be judged. An evaluation that comes later may confirm it, or not."""
        for watch in list(self._watches):
            if not watch.is_known:
                continue
            if not watch.told or watch.is_evaluated:
                self._judge(watch)
            elif watch.ended:
                known = self.verdicts[watch.cut.name]
                self.verdicts[watch.cut.name] = replace(known, final=True)
            if watch.ended or watch.is_evaluated:
                self._watches.remove(watch)

    def _judge(self, watch: ChangePointBuffer) -> None:
        found: ChangeReport = report_on(watch, self.exposure)
        watch.told = True
        sentence = self._words.verdict_sentence(found, watch.cut.crossing)
        final = watch.ended or watch.is_evaluated
        self.verdicts[found.name] = VerdictRecord(found.name, found.step, found.verdict, sentence, final)
        if found.mean_before is not None and found.mean_after is not None:
            self.tell(watch.cut, sentence)


def change_points_of(crossings: Iterable[BoundaryStep], words: Words) -> list[ChangePoint]:
    """The cuts of boundaries."""
    return [ChangePoint.at(crossing, words.boundary_directory(crossing)) for crossing in crossings]
