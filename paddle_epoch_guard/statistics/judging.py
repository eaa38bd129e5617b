"""From estimates to a verdict: what jumps, how much of it evaluation shares, and whether the data explains it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.host_changes import HostChange

VerdictKind = Literal["artefact", "improvement", "mixed", "unexplained", "undecided", "none", "unknown"]
Reason = Literal[
    "too_few_steps", "no_jump", "jump_possible", "among_many", "host_changes",
    "evaluation_confirms", "evaluation_rises", "evaluation_shares_most", "evaluation_shares_part",
    "evaluation_shares_little", "evaluation_flat", "no_evaluation", "evaluation_uncertain",
    "evaluation_overlaps", "evaluation_unchecked",
    "exposure_unknown", "exposure_flat", "exposure_opposes",
]  # fmt: skip
"""The reason for a verdict, or how certain it is."""
Test = Literal["discontinuity", "gap"]

EXCLUDED = 0.01
"""There is no jump if its interval excludes this share of the loss, in both directions."""
EXPOSURE_STEP = 0.1
"""Change of the exposure, in draws, that counts as a jump, if it is also beyond its error."""
LARGER_PART = 2 / 3
"""From this share of a jump on, a part of it gives the verdict."""

_ERRORS = 2.0  # standard errors within which a share is sought
_EXPOSURE_ERRORS = 3.0


@dataclass(frozen=True)
class Part:
    """A part of a jump, in nats per token."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """The lower end of its 95 % interval."""
        return self.value - 1.96 * self.error

    @property
    def high(self) -> float:
        """The upper end of its 95 % interval."""
        return self.value + 1.96 * self.error


@dataclass(frozen=True)
class Evidence:
    """What is known at a change point."""

    training: Jump | None = None
    """The jump of the training loss, or of the loss of the boundary's dataset; None if there are too few windows."""
    gap: Jump | None = None
    """What training gains and evaluation does not; None without enough evaluations."""
    evaluation: Jump | None = None
    """The jump of the evaluation loss; None without enough evaluations."""
    exposure_before: Estimate | None = None
    exposure_after: Estimate | None = None
    evaluation_is_apart: bool | None = True
    """Whether the evaluation data is no training data; None if unknown."""
    host_changes: Sequence[HostChange] = ()


@dataclass(frozen=True)
class Judgement:
    """A verdict, its reason, and what it rests on."""

    verdict: VerdictKind
    reason: Reason
    found_by: tuple[Test, ...] = ()
    """The tests that found a jump."""
    shared: Part | None = None
    """The part of the jump that evaluation shares; None if unknown."""
    alone: Part | None = None
    """The part that training makes alone."""


def judge(evidence: Evidence) -> Judgement:
    """Judges a change point."""
    training, gap = evidence.training, evidence.gap
    tests: tuple[tuple[Test, Jump | None], ...] = (("discontinuity", training), ("gap", gap))
    found_by = tuple(name for name, jump in tests if jump is not None and jump.significant)
    if not found_by:
        return _without_jump(training)
    parts = _parts(evidence, found_by)
    verdict, reason = _verdict(evidence, found_by, parts)
    return Judgement(verdict, reason, found_by, *(parts or (None, None)))


def _without_jump(training: Jump | None) -> Judgement:
    if training is None:
        return Judgement("unknown", "too_few_steps")
    # Records of earlier releases have no level.
    if training.level is None or training.excludes(EXCLUDED * training.level):
        return Judgement("none", "no_jump")
    return Judgement("undecided", "jump_possible")


def _parts(evidence: Evidence, found_by: Sequence[Test]) -> tuple[Part, Part] | None:
    """The parts that evaluation shares, and that training makes alone; None if evaluation is not known.

    Two estimates say how the jump divides: the jump of the evaluation loss, and the gap test. The more certain counts.
    """
    training, gap, evaluation = evidence.training, evidence.gap, evidence.evaluation
    if "discontinuity" not in found_by:
        assert gap is not None
        shared = Part(0.0, 0.0) if evaluation is None else Part(evaluation.value, evaluation.error)
        return shared, Part(gap.value, gap.error)
    assert training is not None
    if evaluation is not None and (gap is None or evaluation.error <= gap.error):
        alone = Part(training.value - evaluation.value, math.hypot(training.error, evaluation.error))
        return Part(evaluation.value, evaluation.error), alone
    if gap is not None:
        return Part(training.value - gap.value, math.hypot(training.error, gap.error)), Part(gap.value, gap.error)
    return None


def _verdict(
    evidence: Evidence, found_by: Sequence[Test], parts: tuple[Part, Part] | None
) -> tuple[VerdictKind, Reason]:
    if parts is None:
        assert evidence.training is not None
        return _by_exposure(evidence, "artefact", "no_evaluation", evidence.training.value)
    shared, alone = parts
    share, error = _share(evidence, found_by, parts)
    if share >= LARGER_PART:
        if share - _ERRORS * error <= 1 - LARGER_PART:
            return "undecided", "evaluation_uncertain"
        return _shared_by_evaluation(evidence, parts)
    if share <= 1 - LARGER_PART:
        if share + _ERRORS * error >= LARGER_PART:
            return "undecided", "evaluation_uncertain"
        reason: Reason = "evaluation_shares_little" if _adds(shared, alone) else "evaluation_flat"
        return _by_exposure(evidence, "artefact", reason, alone.value)
    if share - _ERRORS * error <= 0 or share + _ERRORS * error >= 1:
        return "undecided", "evaluation_uncertain"
    if evidence.evaluation_is_apart is not True:
        return "undecided", _why_not_apart(evidence)
    return _by_exposure(evidence, "mixed", "evaluation_shares_part", alone.value)


def _share(evidence: Evidence, found_by: Sequence[Test], parts: tuple[Part, Part]) -> tuple[float, float]:
    """The share of the jump that evaluation makes, and its standard error."""
    shared, alone = parts
    if "discontinuity" not in found_by:
        # The jump is the gap; evaluation adds to it only if its own jump is certain.
        evaluation = evidence.evaluation
        if evaluation is None or not evaluation.significant or evaluation.value * alone.value < 0:
            return 0.0, 0.0
        total = shared.value + alone.value
        return shared.value / total, math.hypot(shared.error * alone.value, alone.error * shared.value) / total**2
    assert evidence.training is not None
    total = evidence.training.value
    return shared.value / total, min(shared.error, alone.error) / abs(total)


def _shared_by_evaluation(evidence: Evidence, parts: tuple[Part, Part]) -> tuple[VerdictKind, Reason]:
    shared, alone = parts
    if evidence.evaluation_is_apart is not True:
        return "undecided", _why_not_apart(evidence)
    if shared.value > 0:
        return "unexplained", "evaluation_rises"
    return "improvement", "evaluation_shares_most" if _adds(alone, shared) else "evaluation_confirms"


def _adds(part: Part, other: Part) -> bool:
    """Whether a part certainly adds to the other one."""
    return part.value * other.value > 0 and (part.high < 0 or part.low > 0)


def _why_not_apart(evidence: Evidence) -> Reason:
    return "evaluation_unchecked" if evidence.evaluation_is_apart is None else "evaluation_overlaps"


def _by_exposure(evidence: Evidence, verdict: VerdictKind, reason: Reason, alone: float) -> tuple[VerdictKind, Reason]:
    """The verdict, if the exposure explains the fall or rise ``alone`` of the training loss, and nothing else may."""
    before, after = evidence.exposure_before, evidence.exposure_after
    if before is None or after is None:
        return "unexplained", "exposure_unknown"
    change, error = after.mean - before.mean, math.hypot(before.error, after.error)
    if abs(change) < max(EXPOSURE_STEP, _EXPOSURE_ERRORS * error):
        return "unexplained", "exposure_flat"
    if change * alone > 0:
        return "unexplained", "exposure_opposes"
    if evidence.host_changes and (evidence.gap is None or not evidence.gap.significant):
        return "undecided", "host_changes"
    return verdict, reason
