"""Change points as a run comes to them: the losses on both sides of each, and a verdict once enough is known."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.change_points import FIT_STEPS, Point
from paddle_epoch_guard.statistics.verdicts import ChangeReport, ExposureOfSteps, report_on

_HISTORY = 2 * FIT_STEPS
"""Windows, and evaluations, that are kept: both sides of a change point, for a later part of the run to go on with."""


class ChangeWatch:
    """Collects losses on both sides of change points, and judges each once enough of its far side is known.

    Args:
        judged: is told each verdict as it is known, or changes.
    """

    def __init__(self, judged: Callable[[ChangeReport], None]) -> None:
        self.exposure: ExposureOfSteps | None = None
        self.verdicts: dict[str, ChangeReport] = {}
        """By the name of the change point."""
        self.windows: deque[LossWindow] = deque(maxlen=_HISTORY)
        self.evaluations: deque[Point] = deque(maxlen=_HISTORY)
        self.loss_range: tuple[float, float] | None = None
        """The lowest and the highest loss so far."""
        self._judged = judged
        self._open: list[ChangePointBuffer] = []
        self._last_change = 0

    def go_on(self, behind: Iterable[ChangePoint]) -> None:
        """Takes up the change points that an earlier part of the run has passed, whose windows it has left."""
        for change in behind:
            self.begin(change)
        for buffer in self._open:
            for window in self.windows:
                buffer.take(window)
        self._conclude()

    def begin(self, change: ChangePoint) -> None:
        """The run has come to a change point. Those at earlier steps are judged by what there is."""
        if not any(buffer.change.step == change.step for buffer in self._open):
            self.end()
        known = self.verdicts.get(change.name)
        if known is not None and known.final:
            return
        buffer = ChangePointBuffer(change, self._last_change, told=known is not None)
        buffer.begin(self.windows, self.evaluations)
        self._open.append(buffer)
        self._last_change = max(self._last_change, change.first_after)

    def take(self, window: LossWindow) -> None:
        """Takes the losses of a log window."""
        low, high = self.loss_range or (window.loss, window.loss)
        self.loss_range = min(low, window.loss), max(high, window.loss)
        for buffer in self._open:
            buffer.take(window)
        self.windows.append(window)
        self._conclude()

    def evaluate(self, step: int, loss: float) -> None:
        """Takes an evaluation after ``step``; one that is not a finite number says nothing."""
        if not math.isfinite(loss):
            return
        self.evaluations.append((step, loss))
        for buffer in self._open:
            buffer.evaluate(step, loss)
        self._conclude()

    def end(self) -> None:
        """The run ends here, or comes to another change point: what is open is judged by what there is."""
        for buffer in self._open:
            buffer.ended = True
        self._conclude()

    def _conclude(self) -> None:
        """Judges what can be judged. An evaluation that comes later may confirm it, or not."""
        for buffer in list(self._open):
            if not buffer.is_known:
                continue
            is_final = buffer.ended or buffer.is_evaluated
            if not buffer.told or buffer.is_evaluated:
                buffer.told = True
                report = report_on(buffer, self.exposure, is_final)
                self.verdicts[buffer.change.name] = report
                self._judged(report)
            elif buffer.ended:
                self.verdicts[buffer.change.name] = replace(self.verdicts[buffer.change.name], final=True)
            if is_final:
                self._open.remove(buffer)
