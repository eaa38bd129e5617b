"""Verdicts as sentences: as logs and sidecars held them before there were numbers, and as VisualDL logs still do.

Logs without a record are read through them. May be dropped at 1.0.
"""

import re
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.judging import Reason, VerdictKind
from paddle_epoch_guard.statistics.verdicts import ChangeReport

CHANGE_NAME = re.compile(r"(?:(trainer_)?boundary_(\d{1,9})_to_(\d{1,9})|unified_from_step_(\d{1,15}))")
"""The last folder of a change point's name."""

_NUMBER = r"([+-]?(?:\d+(?:\.\d+)?|inf|nan))"
_VERDICT = re.compile(
    r"Verdict(?: so far)? at (?:step \d+|the start of .* \(step \d+\)): "
    r"(artefact|improvement|mixed|unexplained|undecided|none|unknown)(?: \((.*?)\))?\.(?: |$)",
    re.DOTALL,
)
# Whichever part comes first begins with a capital; an exposure has its standard error where that shows.
_MEANS = re.compile(f"[Mm]eans over up to \\d+ steps: {_NUMBER} before, {_NUMBER} after")
_ERROR = r"(?: \u00b1 (\d+\.\d+))?"
_EXPOSURES = re.compile(f"[Ee]xposure {_NUMBER}{_ERROR} before and {_NUMBER}{_ERROR} after")
_REASONS: dict[str, Reason] = {
    "too few steps": "too_few_steps",
    "no jump beyond trend and noise": "no_jump",
    "confirmed by evaluation": "evaluation_confirms",
    "evaluation rises too: the model got worse": "evaluation_rises",
    "exposure is not known": "exposure_unknown",
    "exposure does not jump: learning-rate schedule, or another change": "exposure_flat",
    "what was seen more often is not known better: another change": "exposure_opposes",
    "not confirmed by evaluation": "no_evaluation",
    "not confirmed by evaluation, which is too uncertain to tell": "evaluation_uncertain",
    "evaluation does not jump with it": "evaluation_flat",
    "no jump found, and none excluded": "jump_possible",
    "among so many tests, noise alone shows such a jump": "among_many",
    "learning rate or batch changes here too": "host_changes",
    "evaluation shares the larger part": "evaluation_shares_most",
    "evaluation shares a part of it": "evaluation_shares_part",
    "evaluation shares the smaller part": "evaluation_shares_little",
    "evaluation is too uncertain to tell": "evaluation_uncertain",
    "evaluation jumps too, but on data that is trained on": "evaluation_overlaps",
    "evaluation jumps too, but whether its data is trained on is unknown": "evaluation_unchecked",
}


@dataclass(frozen=True)
class _Record:
    """A verdict in a sidecar of version 1 or 2."""

    name: str
    step: int
    verdict: VerdictKind
    sentence: str
    final: bool


def is_verdict(sentence: str) -> bool:
    """Whether a sentence gives a verdict."""
    return _VERDICT.match(sentence) is not None


def report_of(sentence: str, change: ChangePoint) -> ChangeReport | None:
    """The numbers in a verdict's sentence; None if it gives no verdict.

    Args:
        sentence: as written by releases up to sidecar version 2.
        change: what it is about.
    """
    match = _VERDICT.match(sentence)
    if match is None:
        return None
    rest = sentence[match.end() :]
    verdict: VerdictKind = next(kind for kind in get_args(VerdictKind) if kind == match[1])
    means, exposures = _MEANS.search(rest), _EXPOSURES.search(rest)
    before = after = None
    if exposures is not None:
        before = Estimate(float(exposures[1]), float(exposures[2] or 0))
        after = Estimate(float(exposures[3]), float(exposures[4] or 0))
    return ChangeReport(
        change,
        verdict,
        _REASONS.get(match[2] or "", "too_few_steps"),
        _jump(rest, "[Tt]raining"),
        _jump(rest, "[Ee]valuation"),
        before,
        after,
        None if means is None else float(means[1]),
        None if means is None else float(means[2]),
    )


def change_of(name: str, step: int) -> ChangePoint:
    """The change point of a folder's name, as far as the name tells: not of which dataset of a blend."""
    match = CHANGE_NAME.fullmatch(name)
    boundary = BoundaryStep(step, int(match[2])) if match is not None and match[2] else None
    return ChangePoint(name, step, step - 1, step, boundary)


def upgraded_verdict(fields: object) -> dict[str, Any]:
    """A verdict of a sidecar of version 1 or 2 as the fields of a :class:`ChangeReport`.

    Raises:
        msgspec.ValidationError: it is no verdict.
    """
    record = msgspec.convert(fields, type=_Record)
    change = change_of(record.name, record.step)
    report = report_of(record.sentence, change) or ChangeReport(change, record.verdict, "too_few_steps")
    return {**msgspec.to_builtins(report), "final": record.final}


def _jump(sentence: str, of: str) -> Jump | None:
    now = re.search(
        f"{of} loss (jumps by|does not jump:) {_NUMBER} nats \\(95 %: {_NUMBER} to {_NUMBER}"
        f"(?:; {_NUMBER}% of the loss)?\\)",
        sentence,
    )
    if now is not None:
        size, low, high = (float(number) for number in now.groups()[1:4])
        level = size / (float(now[5]) / 100) if now[5] and float(now[5]) else None
        return Jump(size, (high - low) / (2 * 1.96), now[1] == "jumps by", low=low, high=high, level=level)
    match = re.search(
        f"{of} loss (?:jumps by {_NUMBER}, standard error {_NUMBER}"
        f"|does not jump \\({_NUMBER}, standard error {_NUMBER}\\))",
        sentence,
    )
    if match is None:
        return None
    value, error = (match[1], match[2]) if match[1] else (match[3], match[4])
    return Jump(float(value), float(error), match[1] is not None)
