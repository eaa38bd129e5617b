"""Collects the losses on both sides of a change point, a step at which the order of the data changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from paddle_epoch_guard.ledger.boundary_steps import BoundaryStep
from paddle_epoch_guard.ledger.epochs import LossWindow
from paddle_epoch_guard.ledger.intervals import INTERVALS, Interval
from paddle_epoch_guard.ledger.losses import Weighted, total

SIDE = 30
"""Steps on each side of a change point over which losses and exposures are averaged."""
EVALUATIONS = 4
"""The fewest evaluations on each side from which the jump of the evaluation loss is estimated."""

Point = tuple[int, float]
"""Step and loss."""


@dataclass(frozen=True)
class Extent:
    """How much of the curve a side of a change point holds, at least."""

    windows: int
    steps: int

    def holds(self, windows: Sequence[LossWindow]) -> bool:
        """Whether these windows, in order, are as much."""
        return len(windows) >= self.windows and windows[-1].last_step - windows[0].first_step + 1 >= self.steps


FIRST = Extent(12, 60)
"""From this much on, there is a first, provisional verdict."""
FULL = Extent(60, 300)
"""This much is used at most, for the final verdict."""


@dataclass(frozen=True)
class ChangePoint:
    """A boundary, or a step at which a unified order begins."""

    name: str
    """Its folder in the log."""
    step: int
    last_before: int
    """The last step wholly before it."""
    first_after: int
    """The first step wholly after it."""
    boundary: BoundaryStep | None = None
    """The boundary; None at the beginning of a unified order."""

    @classmethod
    def at(cls, boundary: BoundaryStep, name: str) -> "ChangePoint":
        """The change point of a boundary."""
        return cls(name, boundary.step, boundary.last_before, boundary.first_after, boundary)


@dataclass
class ChangePointBuffer:
    """Collects the loss on both sides of one change point; neither side reaches across another.

    Windows count whole. If a window is longer than a side, the window next to the change point stands for the side.
    """

    change: ChangePoint
    since: int = 0
    """The first step after the previous change point."""
    before: list[LossWindow] = field(default_factory=list)
    after: list[LossWindow] = field(default_factory=list)
    evaluations: list[Point] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    """Evaluation intervals on both sides."""
    ended: bool = False
    """Whether the next change point, or the end of the run, has been reached."""

    def begin(
        self, history: Sequence[LossWindow], evaluations: Iterable[Point], intervals: Iterable[Interval] = ()
    ) -> None:
        """Takes what lies before the change point, the most recent last."""
        for window in reversed(history):
            if window.first_step < self.since or FULL.holds(self.before):
                break
            if window.last_step <= self.change.last_before:
                self.before.insert(0, window)
        for step, loss in evaluations:
            self.evaluate(step, loss)
        for interval in intervals:
            self.take_interval(interval)

    def take(self, window: LossWindow) -> None:
        """Takes a window after the change point."""
        if not self.ended and window.first_step >= self.change.first_after and not FULL.holds(self.after):
            self.after.append(window)

    def evaluate(self, step: int, loss: float) -> None:
        """Takes an evaluation after ``step``.

        One after the boundary step itself shows neither side: the model has learnt from one step of the new data.
        """
        is_between = self.change.last_before < step <= self.change.first_after
        if not self.ended and step >= self.since and not is_between:
            self.evaluations.append((step, loss))

    def take_interval(self, interval: Interval) -> None:
        """Takes an interval that does not reach across the change point."""
        if not self.ended and interval.first_step >= self.since:
            self.intervals.append(interval)

    @property
    def is_known(self) -> bool:
        """Whether the far side is long enough for a first estimate."""
        return self.ended or FIRST.holds(self.after)

    @property
    def is_evaluated(self) -> bool:
        """Whether both sides have enough evaluations."""
        sides = [step <= self.change.last_before for step, _ in self.evaluations]
        return min(sides.count(True), sides.count(False)) >= EVALUATIONS

    @property
    def intervals_after(self) -> int:
        """The number of intervals after the change point."""
        return sum(interval.first_step > self.change.last_before for interval in self.intervals)

    @property
    def is_complete(self) -> bool:
        """Whether later steps add nothing."""
        is_evaluated = any(step <= self.change.last_before for step, _ in self.evaluations)
        return self.ended or (FULL.holds(self.after) and (not is_evaluated or self.intervals_after >= INTERVALS))

    @property
    def windows(self) -> list[LossWindow]:
        """The windows of both sides."""
        return [*self.before, *self.after]

    @property
    def mean_before(self) -> float | None:
        """Mean loss over :data:`SIDE` steps before the change point; None without windows."""
        first = self.change.last_before - SIDE + 1
        return _mean([window for window in self.before if window.first_step >= first] or self.before[-1:])

    @property
    def mean_after(self) -> float | None:
        """Mean loss over :data:`SIDE` steps after the change point; None without windows."""
        last = self.change.first_after + SIDE - 1
        return _mean([window for window in self.after if window.first_step <= last])


def _mean(windows: Sequence[LossWindow]) -> float | None:
    loss = total(Weighted(window.samples, window.samples * window.loss) for window in windows)
    return loss.mean if loss.weight else None
