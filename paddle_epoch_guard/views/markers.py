"""A boundary as a vertical line in the trainer's own loss chart."""

from paddle_epoch_guard.record.naming import LOSS_TAG
from paddle_epoch_guard.views.visualdl import EpochGuardLog

# VisualDL smooths with 0.6 by default: each repeat of a point brings the smoothed line 40 % nearer, so that
# after 12 it is within 0.3 % of the full height.
_REPEATS = 12
# The line is drawn longer when the loss has left it by this share of its height. That bounds the points.
_OVERSHOOT = 0.05


class BoundaryLine:
    """A vertical line at one step, as high as the loss curve.

    Two points of equal step are joined by a vertical line. It is drawn when the boundary is reached, over the
    losses seen so far, and made longer when the curve leaves it: the cliff comes after the boundary.

    Args:
        log: where to write.
        directory: the line's directory below ``epoch_guard/``.
        step: where it stands.
        drawn: from where to where an earlier part of the run has drawn it.
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
        """Draws the line from ``low`` to ``high``, or lengthens it where it falls short of them."""
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
