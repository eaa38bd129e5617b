"""Reads the VisualDL logs of a run back, whole (the server shows a sample of them)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from visualdl import LogReader

from paddle_epoch_guard.ledger import ChangePoint, Estimate, LossWindow
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.record.change_watch import ChangeWatch
from paddle_epoch_guard.views.verdict_texts import REASONS


@dataclass(frozen=True)
class Series:
    """Values against steps, ascending."""

    steps: np.ndarray
    values: np.ndarray

    def mean(self, first_step: int, last_step: int) -> float | None:
        """The mean of the values from ``first_step`` to ``last_step``, both included; None where there are none."""
        chosen = (self.steps >= first_step) & (self.steps <= last_step)
        return float(self.values[chosen].mean()) if chosen.any() else None

    def sides(self, last_before: int, first_after: int) -> tuple[float | None, float | None]:
        """The means over 30 steps on each side of a place."""
        return (
            self.mean(last_before - SIDE + 1, last_before),
            self.mean(first_after, first_after + SIDE - 1),
        )


def read_scalar(folder: Path, tag: str) -> Series:
    """All points of one tag in a folder.

    The trainer begins a new file whenever a run is resumed; where two files have the same step, the later counts.
    """
    points = {}
    for path in sorted(folder.glob("vdlrecords*.log")):
        points |= {record.id: record.value for record in LogReader(file_path=str(path)).get_data("scalar", tag)}
    steps = sorted(points)
    return Series(np.array(steps), np.array([points[step] for step in steps]))


class _Exposure:
    """The exposure of a run's steps, as its log has it."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate | None:
        mean = self._series.mean(first_step, last_step)
        return None if mean is None else Estimate(mean, 0.0)


def verdict_at(
    loss: Series, evaluation: Series, exposure: Series, last_before: int, first_after: int
) -> dict[str, object]:
    """What the guard would say of a place: by the losses around it, whether it has marked it or not.

    The evaluation data must be held out.
    """
    watch = ChangeWatch(lambda report: None)
    watch.exposure, watch.evaluation_is_apart = _Exposure(exposure), True
    evaluations = dict(zip(evaluation.steps.tolist(), evaluation.values.tolist(), strict=True))
    for step, value in zip(loss.steps.tolist(), loss.values.tolist(), strict=True):
        if step == last_before + 1:
            watch.begin(ChangePoint("place", step, last_before, first_after))
        watch.take(LossWindow(step, step, value, 1))
        if step in evaluations:
            watch.evaluate(step, evaluations[step])
    watch.end()
    report = watch.verdicts["place"]
    before, after = exposure.sides(last_before, first_after)
    return {
        "exposure_before": before,
        "exposure_after": after,
        "verdict": report.verdict,
        "why": REASONS[report.reason],
        "fitted_jump": None if report.training is None else report.training.value,
        "evaluation_jump": None if report.evaluation is None else report.evaluation.value,
        "gap": None if report.gap is None else report.gap.value,
    }


def jump_at(loss: Series, last_before: int, first_after: int) -> dict[str, float]:
    """Mean loss over 30 steps on each side of a place, and their difference."""
    before, after = loss.sides(last_before, first_after)
    return {"loss_before": before, "loss_after": after, "jump": after - before}
