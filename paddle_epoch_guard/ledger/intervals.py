"""Evaluation intervals: the steps between two evaluations, with the training loss over them.

An evaluation shows what the model has learnt; the mean training loss of an interval less the mean of the two
evaluations at its ends shows what training gains beyond it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from paddle_epoch_guard.ledger.epochs import LossWindow
from paddle_epoch_guard.ledger.losses import Weighted

INTERVALS = 6
"""The most intervals on each side of a change point that are compared."""


@dataclass(frozen=True)
class Interval:
    """The steps from the one after an evaluation to the next evaluation."""

    first_step: int
    last_step: int
    training: float
    """Mean training loss over its steps, nats per token; of an interval that a change point cuts off at its end, over
    the steps before that."""
    at_start: float
    """Evaluation loss before its first step."""
    at_end: float
    """Evaluation loss after its last step."""

    @property
    def gap(self) -> float:
        """Mean training loss less the mean of the two evaluations."""
        return self.training - (self.at_start + self.at_end) / 2


@dataclass
class OpenInterval:
    """The steps since the latest evaluation."""

    step: int
    """The step of that evaluation."""
    evaluation: float
    """Its loss."""
    training: Weighted = field(default_factory=Weighted)
    """The training loss since; weights in steps."""
    cut_before: int | None = None
    """The first step wholly after a change point that lies among these steps; None without one."""

    def take(self, window: LossWindow) -> None:
        """Adds the part of a window that lies after the evaluation, unless a change point came first."""
        if self.cut_before is None:
            steps = window.last_step - max(window.first_step - 1, self.step)
            if steps > 0:
                self.training.add(Weighted(steps, steps * window.loss))

    def cut(self, first_after: int) -> None:
        """A change point lies among the coming steps, with ``first_after`` wholly after it."""
        if self.cut_before is None and self.training.weight > 0:
            self.cut_before = first_after

    def closed(self, step: int, evaluation: float) -> Interval | None:
        """The interval that ends with an evaluation; None if it reaches across a change point, or holds no loss."""
        if not self.training.weight > 0 or (self.cut_before is not None and step > self.cut_before):
            return None
        return Interval(self.step + 1, step, self.training.mean, self.evaluation, evaluation)


def sides_of(
    intervals: Sequence[Interval], last_before: int, first_after: int
) -> tuple[list[Interval], list[Interval]]:
    """The nearest intervals on both sides of a change point, as many on one as on the other; oldest first.

    Args:
        intervals: oldest first. One that reaches across the change point, beyond its boundary step, counts on no side.
        last_before: the last step wholly before it.
        first_after: the first step wholly after it.
    """
    before = [each for each in intervals if each.first_step <= last_before and each.last_step <= first_after]
    after = [each for each in intervals if each.first_step > last_before]
    count = min(len(before), len(after), INTERVALS)
    return before[len(before) - count :], after[:count]
