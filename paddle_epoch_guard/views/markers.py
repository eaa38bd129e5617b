"""A change point as a vertical line in the trainer's loss chart."""

from paddle_epoch_guard.record.naming import LOSS_TAG
from paddle_epoch_guard.views.visualdl import EpochGuardLog

# By default VisualDL smooths by 0.6: each repeat of a point brings the smoothed line 40 % nearer, to within 0.3 % of
# the full height after 12.
_REPEATS = 12
# The line is lengthened if the loss exceeds it by this share of its height. That bounds the number of points.
_OVERSHOOT = 0.05


class BoundaryLine:
    """A vertical line at one step, as high as the loss curve.

    Two points of one step make a vertical line. It spans the losses so far when the run reaches the change point, and
    is lengthened when the curve leaves that range: a loss that falls at a boundary does so afterwards.

    Args:
        log: where to write.
        directory: the line's directory below ``epoch_guard/``.
        step: its position on the x axis.
        drawn: its lowest and highest value, if an earlier part of the run drew it.
    """

    def __init__(
        self, log: EpochGuardLog, directory: str, step: int, drawn: tuple[float, float] | None = None
    ) -> None:
        self.step = step
        self._log = log
        self._directory = directory
        self._low: float | None = drawn[0] if drawn else None
        self._high: float | None = drawn[1] if drawn else None

    def cover(self, low: float, high: float) -> None:
        """Draws the line from ``low`` to ``high``, or lengthens it that far."""
        if self._low is None or self._high is None:
            self._low, self._high = low, high
            self._reach(high)
            self._reach(low)
            return
        slack = _OVERSHOOT * (self._high - self._low)
        if low < self._low - slack:
            self._low = low
            self._reach(low)
        if high > self._high + slack:
            self._high = high
            self._reach(high)

    def _reach(self, value: float) -> None:
        for _ in range(_REPEATS):
            self._log.scalar(LOSS_TAG, value, self.step, self._directory)
