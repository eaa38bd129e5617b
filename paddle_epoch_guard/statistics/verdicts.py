"""What happened at a change point: jumps of training and evaluation loss, exposure, and the verdict on them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from paddle_epoch_guard.ledger import ChangePoint, ChangePointBuffer, LossWindow
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.ledger.losses import Weighted, total
from paddle_epoch_guard.statistics.discontinuity import SIGNIFICANT, Jump, estimate_jump
from paddle_epoch_guard.statistics.families import holm
from paddle_epoch_guard.statistics.gap import estimate_gap, gap_before
from paddle_epoch_guard.statistics.host_changes import HostChange, host_changes
from paddle_epoch_guard.statistics.judging import Evidence, Part, Reason, Test, VerdictKind, judge

MIN_WINDOWS = 6
"""Log windows that each side needs."""
REACH_SHARE, REACH_STEPS = 0.1, 1500
"""How far behind a change point its jump is taken off the training loss: this share of the steps before, at most so
many steps. Further on, what was learnt from fresh data instead is not known."""

_LATEST = 20  # windows whose mean is the training loss now


class ExposureOfSteps(Protocol):
    """Gives the exposure of steps."""

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate | None:
        """The mean exposure of the tokens that these steps draw, of one dataset or of all; None if unknown."""


@dataclass(frozen=True)
class Surroundings:
    """What is known of a run beside its losses."""

    exposure: ExposureOfSteps | None = None
    """Of its steps; None if unknown."""
    evaluation_is_apart: bool | None = None
    """Whether the evaluation data is no training data; None if unknown."""


@dataclass(frozen=True)
class Counterfactual:
    """The training loss that the run would have without the repetition."""

    step: int
    loss: float
    error: float
    """Its standard error."""
    by: Literal["evaluation", "jump"]
    """Whether it is the evaluation loss and the gap before the change point, or the training loss without the jump."""


@dataclass(frozen=True)
class ChangeReport:
    """Everything known about a change point. Sidecar, record and page hold this type."""

    change: ChangePoint
    verdict: VerdictKind
    reason: Reason
    training: Jump | None = None
    """Of the training loss; of its dataset's own loss where ``is_own``."""
    evaluation: Jump | None = None
    exposure_before: Estimate | None = None
    """Of its dataset at a boundary of a blend."""
    exposure_after: Estimate | None = None
    mean_before: float | None = None
    """Mean training loss over up to :data:`SIDE` steps before it, nats per token."""
    mean_after: float | None = None
    final: bool = False
    """Whether later steps cannot change it."""
    gap: Jump | None = None
    """What training gains and evaluation does not."""
    is_own: bool = False
    """Whether ``training`` is the jump of the loss of the boundary's dataset alone."""
    whole: Jump | None = None
    """The jump of the loss of all samples, where ``is_own``."""
    found_by: tuple[Test, ...] = ()
    """The tests that found a jump."""
    shared: Part | None = None
    """The part of the jump that evaluation shares."""
    alone: Part | None = None
    """The part that training makes alone."""
    host_changes: tuple[HostChange, ...] = ()
    """Changes of learning rate or batch within the fitted range."""
    counterfactual: Counterfactual | None = None

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

    @property
    def p(self) -> float | None:
        """The p-value of its tests together (Bonferroni); None if they are unknown."""
        known = [jump.p for jump in (self.training, self.gap) if jump is not None and jump.p is not None]
        return min(min(known) * len(known), 1.0) if known else None


def report_on(buffer: ChangePointBuffer, surroundings: Surroundings, final: bool = False) -> ChangeReport:
    """Judges a change point by the losses that its buffer holds.

    Args:
        buffer: losses on both sides.
        surroundings: what else is known.
        final: whether later steps cannot change the verdict.
    """
    change = buffer.change
    dataset = None if change.boundary is None else change.boundary.dataset
    whole = _jump_of(buffer.windows, change)
    own = None if dataset is None else _jump_of(_of_dataset(buffer.windows, dataset), change)
    training = whole if own is None else own
    evaluation = _evaluation_jump(buffer)
    changes = host_changes(_fitted(buffer, training))
    level = whole.level if whole is not None and whole.level is not None else buffer.mean_before or 0.0
    gap = estimate_gap(buffer.intervals, change.last_before, change.first_after, level)
    before, after = _exposures(change, surroundings.exposure, dataset)
    judgement = judge(Evidence(training, gap, evaluation, before, after, surroundings.evaluation_is_apart, changes))
    report = ChangeReport(
        change, judgement.verdict, judgement.reason, _storable(training), _storable(evaluation), before, after,
        buffer.mean_before, buffer.mean_after, final, _storable(gap), own is not None,
        None if own is None else _storable(whole), judgement.found_by, judgement.shared, judgement.alone, changes,
    )  # fmt: skip
    return replace(report, counterfactual=_counterfactual(buffer, report))


def among_all(reports: Iterable[ChangeReport]) -> list[ChangeReport]:
    """The reports of a run, in which jumps that so many tests may show by chance are undecided.

    The tests of all change points are one family: by :func:`~paddle_epoch_guard.statistics.families.holm`, a run
    without any jump has a verdict of one with a probability below 5 %, as far as the p-values are right.
    """
    all_reports = list(reports)
    tested = [(at, report.p) for at, report in enumerate(all_reports) if report.p is not None]
    counts = holm([p for _, p in tested], SIGNIFICANT)
    for (at, _), is_rejected in zip(tested, counts.tolist(), strict=True):
        report = all_reports[at]
        if report.found_by and not is_rejected:
            all_reports[at] = replace(report, verdict="undecided", reason="among_many", counterfactual=None)
    return all_reports


def _jump_of(windows: Sequence[LossWindow], change: ChangePoint) -> Jump | None:
    """The jump of the windows' loss; None if a side has fewer than :data:`MIN_WINDOWS`."""
    before = sum(window.last_step <= change.last_before for window in windows)
    if min(before, len(windows) - before) < MIN_WINDOWS:
        return None
    return estimate_jump(
        np.array([window.middle for window in windows]),
        np.array([window.loss for window in windows]),
        change.last_before,
        change.first_after,
        weights=np.array([float(window.steps) for window in windows]),
    )


def _of_dataset(windows: Sequence[LossWindow], dataset: int) -> list[LossWindow]:
    """The windows with the loss of one dataset of a blend, as far as they know it."""
    losses = [(window, window.of_datasets[dataset]) for window in windows if dataset < len(window.of_datasets)]
    return [replace(window, loss=loss.mean) for window, loss in losses if loss.weight > 0]


def _fitted(buffer: ChangePointBuffer, training: Jump | None) -> list[LossWindow]:
    """The windows within reach of the fit."""
    if training is None or training.bandwidth is None:
        return buffer.windows
    middle = (buffer.change.last_before + buffer.change.first_after) / 2
    return [window for window in buffer.windows if abs(window.middle - middle) <= training.bandwidth + window.steps]


def _evaluation_jump(buffer: ChangePointBuffer) -> Jump | None:
    if not buffer.is_evaluated:
        return None
    steps, losses = (np.array(column, dtype=np.float64) for column in zip(*buffer.evaluations, strict=True))
    return estimate_jump(steps, losses, buffer.change.last_before, buffer.change.first_after)


def _exposures(
    change: ChangePoint, exposure: ExposureOfSteps | None, dataset: int | None
) -> tuple[Estimate | None, Estimate | None]:
    """The exposure on both sides, of the boundary's dataset if there is one."""
    if exposure is None:
        return None, None
    return (
        exposure.of_steps(max(change.last_before - SIDE + 1, 1), change.last_before, dataset),
        exposure.of_steps(change.first_after, change.first_after + SIDE - 1, dataset),
    )


def _counterfactual(buffer: ChangePointBuffer, report: ChangeReport) -> Counterfactual | None:
    """The loss without the repetition, at the latest step where it can be told; None without an artefact."""
    if report.verdict not in ("artefact", "mixed") or report.is_own:
        return None
    known = [each for each in (_by_jump(buffer, report), _by_evaluation(buffer)) if each is not None]
    # The later one: what the run would have come to.
    return max(known, key=lambda each: each.step, default=None)


def _by_evaluation(buffer: ChangePointBuffer) -> Counterfactual | None:
    """The latest evaluation loss, plus the gap before the change point."""
    change = buffer.change
    usual = gap_before(buffer.intervals, change.last_before, change.first_after)
    if usual is None or not buffer.evaluations or buffer.evaluations[-1][0] <= change.last_before:
        return None
    step, evaluation = buffer.evaluations[-1]
    return Counterfactual(step, evaluation + usual.value, usual.error, "evaluation")


def _by_jump(buffer: ChangePointBuffer, report: ChangeReport) -> Counterfactual | None:
    """The latest training loss within reach, less what training made alone at the change point."""
    alone = report.alone
    if alone is None and report.training is not None and report.training.significant:
        alone = Part(report.training.value, report.training.error)
    reach = min(REACH_SHARE * report.change.step, REACH_STEPS)
    windows = [window for window in buffer.after if window.last_step <= report.change.last_before + reach]
    if alone is None or not windows:
        return None
    latest = windows[-_LATEST:]
    mean = total(Weighted(window.steps, window.steps * window.loss) for window in latest).mean
    scatter = np.std([window.loss for window in latest], ddof=1) / math.sqrt(len(latest)) if len(latest) > 1 else 0.0
    return Counterfactual(latest[-1].last_step, mean - alone.value, math.hypot(alone.error, float(scatter)), "jump")


def _storable(jump: Jump | None) -> Jump | None:
    """Drops a jump that is not finite, because JSON has no infinities."""
    return jump if jump is not None and math.isfinite(jump.value) and math.isfinite(jump.error) else None
