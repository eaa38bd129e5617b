"""Collects the losses on both sides of a change point, a step at which the order of the data changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from paddle_epoch_guard.ledger.boundary_steps import BoundaryStep
from paddle_epoch_guard.ledger.epochs import LossWindow
from paddle_epoch_guard.ledger.losses import Weighted, total

SIDE = 30
"""Steps on each side of a change point over which losses and exposures are averaged."""
FIT_STEPS = 60
"""The fewest steps on each side of a change point from which its jump is estimated."""
FIT_WINDOWS = 12
"""The fewest log windows on each side."""
EVALUATIONS = 4
"""The fewest evaluations on each side from which the jump of the evaluation loss is estimated."""

Point = tuple[int, float]
"""Step and loss."""


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
    ended: bool = False
    """Whether the next change point, or the end of the run, has been reached."""
    judged: bool = False
    """Whether the training loss has been judged, perhaps not yet confirmed by evaluations."""

    def begin(self, history: Sequence[LossWindow], evaluations: Iterable[Point]) -> None:
        """Takes the losses before the change point, the most recent last."""
        for window in reversed(history):
            if window.first_step < self.since or _enough(self.before):
                break
            if window.last_step <= self.change.last_before:
                self.before.insert(0, window)
        for step, loss in evaluations:
            self.evaluate(step, loss)

    def take(self, window: LossWindow) -> None:
        """Takes a window after the change point."""
        if not self.ended and window.first_step >= self.change.first_after and not _enough(self.after):
            self.after.append(window)

    def evaluate(self, step: int, loss: float) -> None:
        """Takes an evaluation after ``step``."""
        if not self.ended and step >= self.since:
            self.evaluations.append((step, loss))

    @property
    def is_known(self) -> bool:
        """Whether the far side is long enough for an estimate."""
        return self.ended or _enough(self.after)

    @property
    def is_evaluated(self) -> bool:
        """Whether both sides have enough evaluations."""
        sides = [step <= self.change.last_before for step, _ in self.evaluations]
        return min(sides.count(True), sides.count(False)) >= EVALUATIONS

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


def _enough(windows: Sequence[LossWindow]) -> bool:
    return len(windows) >= FIT_WINDOWS and windows[-1].last_step - windows[0].first_step + 1 >= FIT_STEPS


def _mean(windows: Sequence[LossWindow]) -> float | None:
    loss = total(Weighted(window.samples, window.samples * window.loss) for window in windows)
    return loss.mean if loss.weight else None
