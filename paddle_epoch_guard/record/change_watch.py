"""Follows a run through its change points: collects losses on both sides of each, and judges it in time."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.change_points import FIT_STEPS, Point
from paddle_epoch_guard.statistics.verdicts import ChangeReport, ExposureOfSteps, report_on

_HISTORY = 2 * FIT_STEPS
"""Windows, and evaluations, to keep: both sides of a change point, which a resumed run needs to continue."""


class ChangeWatch:
    """Collects losses on both sides of change points, and judges each once enough of its far side is known.

    Args:
        judged: called with each verdict when it is given or changes.
    """

    def __init__(self, judged: Callable[[ChangeReport], None]) -> None:
        self.exposure: ExposureOfSteps | None = None
        self.evaluation_is_apart: bool | None = None
        """Whether the evaluation set shares no documents with the training data; None if that is unknown. Where it
        overlaps, an evaluation loss that falls with the training loss confirms nothing."""
        self.verdicts: dict[str, ChangeReport] = {}
        """Verdicts by the name of the change point."""
        self.windows: deque[LossWindow] = deque(maxlen=_HISTORY)
        self.evaluations: deque[Point] = deque(maxlen=_HISTORY)
        self.loss_range: tuple[float, float] | None = None
        """The lowest and the highest loss so far."""
        self._judged = judged
        self._open: list[ChangePointBuffer] = []
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
        known = self.verdicts.get(change.name)
        if known is not None and known.final:
            return
        buffer = ChangePointBuffer(change, self._last_change, judged=known is not None)
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
        """Takes an evaluation after ``step``; ignores a loss that is not finite."""
        if not math.isfinite(loss):
            return
        self.evaluations.append((step, loss))
        for buffer in self._open:
            buffer.evaluate(step, loss)
        self._conclude()

    def end(self) -> None:
        """The run ends, or reaches another change point: judges all open change points by the losses so far."""
        for buffer in self._open:
            buffer.ended = True
        self._conclude()

    def _conclude(self) -> None:
        """Judges every change point with enough losses. A later evaluation may confirm the verdict or change it."""
        for buffer in list(self._open):
            if not buffer.is_known:
                continue
            is_final = buffer.ended or buffer.is_evaluated
            if not buffer.judged or buffer.is_evaluated:
                buffer.judged = True
                report = report_on(buffer, self.exposure, is_final)
                self.verdicts[buffer.change.name] = report
                self._judged(report)
            elif buffer.ended:
                self.verdicts[buffer.change.name] = replace(self.verdicts[buffer.change.name], final=True)
            if is_final:
                self._open.remove(buffer)
