"""What happened at a change point: the jump of the training loss, of the evaluation loss, and of exposure."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.statistics.discontinuity import Jump, Reason, VerdictKind, estimate_jump, judge


class ExposureOfSteps(Protocol):
    """Gives the exposure of steps."""

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate | None:
        """The mean exposure of the tokens drawn in these steps, all or those of one dataset; None if unknown."""


@dataclass(frozen=True)
class ChangeReport:
    """Everything known about a change point. Sidecar, record and page hold this type."""

    change: ChangePoint
    verdict: VerdictKind
    reason: Reason
    training: Jump | None = None
    evaluation: Jump | None = None
    exposure_before: Estimate | None = None
    exposure_after: Estimate | None = None
    mean_before: float | None = None
    """Mean training loss over up to :data:`SIDE` steps before it, nats per token."""
    mean_after: float | None = None
    final: bool = False
    """Whether later steps cannot change it."""

    @property
    def exposures(self) -> tuple[float, float] | None:
        """Mean exposure on both sides; None if either is unknown."""
        if self.exposure_before is None or self.exposure_after is None:
            return None
        return self.exposure_before.mean, self.exposure_after.mean

    @property
    def means(self) -> tuple[float, float] | None:
        """Mean training loss on both sides; None if either is unknown."""
        if self.mean_before is None or self.mean_after is None:
            return None
        return self.mean_before, self.mean_after


def report_on(buffer: ChangePointBuffer, exposure: ExposureOfSteps | None, final: bool = False) -> ChangeReport:
    """Judges a change point by the losses that its buffer holds.

    Args:
        buffer: losses on both sides.
        exposure: of the run's steps; None if unknown.
        final: whether later steps cannot change the verdict.
    """
    change, windows = buffer.change, buffer.windows
    training = estimate_jump(
        np.array([(window.first_step + window.last_step) / 2 for window in windows]),
        np.array([window.loss for window in windows]),
        change.last_before,
        change.first_after,
        weights=np.array([window.last_step - window.first_step + 1.0 for window in windows]),
    )
    evaluation = None
    if buffer.is_evaluated:
        steps, losses = (np.array(column, dtype=np.float64) for column in zip(*buffer.evaluations, strict=True))
        evaluation = estimate_jump(steps, losses, change.last_before, change.first_after)
    before = after = None
    if exposure is not None:
        before = exposure.of_steps(max(change.last_before - SIDE + 1, 1), change.last_before)
        after = exposure.of_steps(change.first_after, change.first_after + SIDE - 1)
    verdict, reason = judge(
        training, evaluation, None if before is None else before.mean, None if after is None else after.mean
    )
    return ChangeReport(
        change, verdict, reason, _storable(training), _storable(evaluation), before, after,
        buffer.mean_before, buffer.mean_after, final,
    )  # fmt: skip


def _storable(jump: Jump | None) -> Jump | None:
    """Drops a jump that is not finite, because JSON has no infinities."""
    return jump if jump is not None and math.isfinite(jump.value) and math.isfinite(jump.error) else None
