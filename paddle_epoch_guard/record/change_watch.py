"""Follows a run through its change points: collects losses on both sides of each, and judges it in time."""

import math
from collections import deque
from collections.abc import Callable, Iterable

from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.change_points import FULL, Point
from paddle_epoch_guard.ledger.intervals import INTERVALS, Interval, OpenInterval
from paddle_epoch_guard.statistics.gap import FEWEST_INTERVALS
from paddle_epoch_guard.statistics.verdicts import ChangeReport, ExposureOfSteps, Surroundings, among_all, report_on

_HISTORY = 2 * FULL.steps
"""Windows to keep: both sides of a change point, which a resumed run needs to continue."""
_EVALUATIONS = 2 * FULL.windows
"""Evaluations, and intervals between them, to keep."""


class ChangeWatch:
    """Collects losses on both sides of change points, and judges each as soon as enough of its far side is known.

    The first verdict is provisional: it is given again when there are more losses or evaluations, if it changes, and
    at the end.

    Args:
        judged: called with each verdict when it is given or changes.
    """

    def __init__(self, judged: Callable[[ChangeReport], None]) -> None:
        self.exposure: ExposureOfSteps | None = None
        self.evaluation_is_apart: bool | None = None
        """Whether the evaluation data is no training data; None if unknown."""
        self.verdicts: dict[str, ChangeReport] = {}
        """Verdicts by the name of the change point."""
        self.windows: deque[LossWindow] = deque(maxlen=_HISTORY)
        self.evaluations: deque[Point] = deque(maxlen=_EVALUATIONS)
        self.intervals: deque[Interval] = deque(maxlen=_EVALUATIONS)
        self.open_interval: OpenInterval | None = None
        self.loss_range: tuple[float, float] | None = None
        """The lowest and the highest loss so far."""
        self._judged = judged
        self._open: list[ChangePointBuffer] = []
        self._seen: dict[str, tuple[bool, int]] = {}
        """By name, how much of its far side a change point was last judged by."""
        self._last_change = 0

    def go_on(self, behind: Iterable[ChangePoint]) -> None:
        """Continues with the change points that an earlier part of the run has passed, and with its windows."""
        for change in behind:
            self.begin(change)
        for buffer in self._open:
            for window in self.windows:
                buffer.take(window)
        self._conclude()

    def begin(self, change: ChangePoint) -> None:
        """The run reaches a change point. Those at earlier steps are judged by the losses so far."""
        if not any(buffer.change.step == change.step for buffer in self._open):
            self.end()
        if self.open_interval is not None and self.open_interval.step < change.first_after:
            self.open_interval.cut(change.first_after)
        since, self._last_change = self._last_change, max(self._last_change, change.first_after)
        known = self.verdicts.get(change.name)
        if known is not None and known.final:
            return
        buffer = ChangePointBuffer(change, since)
        buffer.begin(self.windows, self.evaluations, self.intervals)
        self._open.append(buffer)

    def take(self, window: LossWindow) -> None:
        """Takes the losses of a log window."""
        low, high = self.loss_range or (window.loss, window.loss)
        self.loss_range = min(low, window.loss), max(high, window.loss)
        for buffer in self._open:
            buffer.take(window)
        if self.open_interval is not None:
            self.open_interval.take(window)
        self.windows.append(window)
        self._conclude()

    def evaluate(self, step: int, loss: float) -> None:
        """Takes an evaluation after ``step``; ignores a loss that is not finite, and a second one of a step."""
        if not math.isfinite(loss) or (self.evaluations and self.evaluations[-1][0] >= step):
            return
        interval = None if self.open_interval is None else self.open_interval.closed(step, loss)
        if interval is not None:
            self.intervals.append(interval)
        self.open_interval = OpenInterval(step, loss)
        self.evaluations.append((step, loss))
        for buffer in self._open:
            buffer.evaluate(step, loss)
            if interval is not None:
                buffer.take_interval(interval)
        self._conclude()

    def end(self) -> None:
        """The run ends, or reaches another change point: judges all open change points by the losses so far."""
        for buffer in self._open:
            buffer.ended = True
        self._conclude()

    def _conclude(self) -> None:
        """Judges every change point of which enough is known, or more than when it was judged last."""
        for buffer in list(self._open):
            if not buffer.is_known:
                continue
            is_final, seen = buffer.is_complete, _amount(buffer)
            if is_final or self._seen.get(buffer.change.name) != seen:
                self._seen[buffer.change.name] = seen
                self._give(report_on(buffer, Surroundings(self.exposure, self.evaluation_is_apart), is_final))
            if is_final:
                self._open.remove(buffer)

    def _give(self, report: ChangeReport) -> None:
        """Stores a verdict, and tells of it and of those that change with it."""
        before = dict(self.verdicts)
        self.verdicts[report.change.name] = report
        for each in among_all(self.verdicts.values()):
            self.verdicts[each.change.name] = each
            if _says_more(each, before.get(each.change.name)):
                self._judged(each)


def _amount(buffer: ChangePointBuffer) -> tuple[bool, int]:
    """How much of the far side is known, as far as a new verdict may come of it."""
    intervals = buffer.intervals_after
    return FULL.holds(buffer.after), 0 if intervals < FEWEST_INTERVALS else min(intervals, INTERVALS)


def _says_more(report: ChangeReport, before: ChangeReport | None) -> bool:
    """Whether a verdict is worth telling after an earlier one of the same change point."""
    if before is None or (report.verdict, report.reason) != (before.verdict, before.reason):
        return True
    return report.final and not before.final
