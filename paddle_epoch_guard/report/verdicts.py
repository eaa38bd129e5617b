"""What happened at a cut: the jump of the training loss, of the evaluation loss, and of exposure."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from paddle_epoch_guard.ledger import ChangePointBuffer
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.report.discontinuity import Jump, Verdict, estimate_jump, judge


class ExposureOfSteps(Protocol):
    """What is asked of an exposure."""

    def of_steps(self, first_step: int, last_step: int) -> Estimate | None:
        """The mean over the tokens drawn in these steps; None where nothing can be said."""


@dataclass(frozen=True)
class ChangeReport:
    """Everything that is known of one cut."""

    name: str
    step: int
    verdict: Verdict
    clause: str
    """How sure it is, or why."""
    training: Jump | None
    evaluation: Jump | None
    exposure_before: Estimate | None
    exposure_after: Estimate | None
    mean_before: float | None
    mean_after: float | None


def report_on(watch: ChangePointBuffer, exposure: ExposureOfSteps | None) -> ChangeReport:
    """Judges a cut by what its watch has collected."""
    cut = watch.cut
    windows = watch.windows
    training = estimate_jump(
        np.array([(one.first_step + one.last_step) / 2 for one in windows]),
        np.array([one.loss for one in windows]),
        cut.last_before,
        cut.first_after,
        weights=np.array([one.last_step - one.first_step + 1.0 for one in windows]),
    )
    evaluation = None
    if watch.is_evaluated:
        steps, losses = (np.array(each, dtype=np.float64) for each in zip(*watch.evaluations, strict=True))
        evaluation = estimate_jump(steps, losses, cut.last_before, cut.first_after)
    before = after = None
    if exposure is not None:
        before = exposure.of_steps(max(cut.last_before - SIDE + 1, 1), cut.last_before)
        after = exposure.of_steps(cut.first_after, cut.first_after + SIDE - 1)
    verdict, clause = judge(
        training, evaluation, None if before is None else before.mean, None if after is None else after.mean
    )
    return ChangeReport(
        cut.name, cut.step, verdict, clause, training, evaluation, before, after, watch.mean_before, watch.mean_after
    )
