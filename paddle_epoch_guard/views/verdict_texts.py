"""Verdicts as sentences, and what to do about them, in English. Another language would be another module like this."""

from collections.abc import Iterable
from dataclasses import dataclass

from paddle_epoch_guard.ledger import BoundaryStep
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.host_changes import HostChange
from paddle_epoch_guard.statistics.judging import Part, Reason, VerdictKind
from paddle_epoch_guard.statistics.verdicts import ChangeReport, Counterfactual

REASONS = {
    "too_few_steps": "too few steps",
    "no_jump": "no jump beyond trend and noise",
    "jump_possible": "no jump found, and none excluded",
    "among_many": "among so many tests, noise alone shows such a jump",
    "host_changes": "learning rate or batch changes here too",
    "evaluation_confirms": "confirmed by evaluation",
    "evaluation_rises": "evaluation rises too: the model got worse",
    "evaluation_shares_most": "evaluation shares the larger part",
    "evaluation_shares_part": "evaluation shares a part of it",
    "evaluation_shares_little": "evaluation shares the smaller part",
    "evaluation_flat": "evaluation does not jump with it",
    "no_evaluation": "not confirmed by evaluation",
    "evaluation_uncertain": "evaluation is too uncertain to tell",
    "evaluation_overlaps": "evaluation jumps too, but on data that is trained on",
    "evaluation_unchecked": "evaluation jumps too, but whether its data is trained on is unknown",
    "exposure_unknown": "exposure is not known",
    "exposure_flat": "exposure does not jump: learning-rate schedule, or another change",
    "exposure_opposes": "what was seen more often is not known better: another change",
}
"""The reason of a verdict, by :data:`~paddle_epoch_guard.statistics.judging.Reason`."""


def verdict(report: ChangeReport, naming: Naming) -> str:
    """The verdict at a change point, and the numbers behind it."""
    so_far = "" if report.final else " so far"
    numbers = "; ".join(_numbers(report, naming)) or "nothing is known"
    return (
        f"Verdict{so_far} at {_place(report, naming)}: {report.verdict} ({REASONS[report.reason]}). "
        f"{numbers[0].upper()}{numbers[1:]}."
    )


def jump_text(jump: Jump | None) -> str:
    """A jump and its 95 % interval; its standard error where only that is known; empty if unknown."""
    if jump is None:
        return ""
    interval = interval_text(jump)
    return f"{jump.value:+.3f} {interval}" if interval else f"{jump.value:+.3f} \u00b1 {jump.error:.3f}"


def interval_text(jump: Jump) -> str:
    """The 95 % interval of a jump, in brackets; empty if unknown."""
    return "" if jump.low is None or jump.high is None else f"({jump.low:+.3f} to {jump.high:+.3f})"


def counterfactual_text(counterfactual: Counterfactual) -> str:
    """The loss without the repetition."""
    by = "evaluation and the gap before" if counterfactual.by == "evaluation" else "the loss less its jump"
    return (
        f"without the repetition the loss at step {counterfactual.step} would be "
        f"{counterfactual.loss:.3f} \u00b1 {counterfactual.error:.3f} (by {by})"
    )


def _place(report: ChangeReport, naming: Naming) -> str:
    where, boundary = f"step {report.change.step}", report.change.boundary
    if boundary is None:
        return where
    kind = "trainer epoch" if naming.trainer else "data epoch"
    return f"the start of {kind} {boundary.to_epoch}{_of_dataset(boundary, naming)} ({where})"


def _of_dataset(boundary: BoundaryStep, naming: Naming) -> str:
    return "" if len(naming.datasets) < 2 else f" of {naming.datasets[boundary.dataset]}"


def _numbers(report: ChangeReport, naming: Naming) -> Iterable[str]:
    boundary = report.change.boundary
    own = f"the loss of {naming.datasets[boundary.dataset]}" if report.is_own and boundary is not None else ""
    if report.training is not None:
        yield _jump(report.training, own or "training loss", report)
    if report.whole is not None:
        yield f"the loss of all samples {_estimate(report.whole)}"
    if report.means is not None:
        before, after = report.means
        yield f"means over up to {SIDE} steps: {before:.4f} before, {after:.4f} after, ordinary learning included"
    if report.exposure_before is not None and report.exposure_after is not None:
        yield f"exposure {_about(report.exposure_before)} before and {_about(report.exposure_after)} after"
    if report.evaluation is not None:
        yield f"evaluation loss {_estimate(report.evaluation)}"
    if report.gap is not None:
        yield (
            f"against evaluation, training gains {_interval(report.gap)} over {report.gap.before} intervals on each "
            f"side{'' if report.gap.significant else ', which noise may explain'}"
        )
    if report.verdict in ("artefact", "improvement", "mixed") and report.shared is not None:
        assert report.alone is not None
        yield f"{_part(report.shared)} shared by evaluation, {_part(report.alone)} by training alone"
    for change in report.host_changes:
        yield _host_change(change)
    if report.counterfactual is not None:
        yield counterfactual_text(report.counterfactual)


def _jump(jump: Jump, of: str, report: ChangeReport) -> str:
    if report.reason == "jump_possible" and jump.low is not None and jump.high is not None:
        return (
            f"a jump of {of} between {jump.low:+.4f} and {jump.high:+.4f} is possible; "
            f"the least that would have been found is {jump.detectable:.4f}"
        )
    is_small = jump.significant and jump.detectable is not None and abs(jump.value) < jump.detectable
    warning = ", likely too large: noise helps to find so small a jump" if is_small else ""
    return f"{of} {_estimate(jump)}{warning}"


def _estimate(jump: Jump) -> str:
    """What a loss does."""
    bound = _interval(jump)
    return f"jumps by {bound}" if jump.significant else f"does not jump: {bound}"


def _interval(jump: Jump) -> str:
    """A jump, its interval, and its share of the loss."""
    if jump.low is None or jump.high is None:
        return f"{jump.value:+.4f}, standard error {jump.error:.4f}"
    share = f"; {jump.value / jump.level:+.1%} of the loss" if jump.level else ""
    return f"{jump.value:+.4f} nats (95 %: {jump.low:+.4f} to {jump.high:+.4f}{share})"


def _part(part: Part) -> str:
    return f"{part.value:+.4f} (95 %: {part.low:+.4f} to {part.high:+.4f})"


def _host_change(change: HostChange) -> str:
    if change.setting == "batch":
        return f"the batch changes at step {change.step}, from {change.before:g} to {change.after:g} samples a step"
    return f"the learning rate changes at step {change.step}, from {change.before:.3g} to {change.after:.3g}"


def _about(exposure: Estimate) -> str:
    """A mean exposure, with its standard error unless that rounds to zero."""
    error = f" \u00b1 {exposure.error:.2f}" if exposure.error >= 0.005 else ""
    return f"{exposure.mean:.2f}{error}"


@dataclass(frozen=True)
class Situation:
    """What the advice at a change point depends on."""

    step: int
    verdict: VerdictKind | None = None
    """None without a verdict so far."""
    reason: Reason | None = None
    is_final: bool = True
    """Whether later steps cannot change the verdict."""
    is_boundary: bool = True
    """Whether a data epoch begins here; otherwise a unified order does."""
    can_unify: bool = True
    """Whether the run's data epochs and positions are known, so that its order can be changed."""
    rises: bool = False
    """Whether the training loss rises."""
    shared: float | None = None
    """The part of the jump that evaluation shares, in nats per token; None if unknown."""
    together: tuple[int, int] | None = None
    """The fewest and the most steps of a run whose last data epoch is shuffled with the others; None if unknown."""

    @classmethod
    def of(
        cls, report: ChangeReport, *, can_unify: bool = True, together: tuple[int, int] | None = None
    ) -> "Situation":
        """The situation at a change point that was judged."""
        return cls(
            step=report.change.step,
            verdict=report.verdict,
            reason=report.reason,
            is_final=report.final,
            is_boundary=report.change.boundary is not None,
            can_unify=can_unify,
            rises=report.training is not None and report.training.value > 0,
            shared=None if report.shared is None else report.shared.value,
            together=together,
        )


def advice(situation: Situation) -> list[str]:
    """What to do now at a change point, as whole sentences; the first is the most important."""
    sentences = _advice_by_verdict(situation)
    if situation.verdict is not None and situation.verdict != "unknown" and not situation.is_final:
        sentences.append("This verdict is provisional: later steps may change it.")
    return sentences


def advice_ahead(step: int) -> list[str]:
    """What to do now where a boundary lies ahead, in a run whose order can be changed.

    Args:
        step: the first step that draws from beyond it.
    """
    return [
        f"The training loss will probably fall at step {step:,}, where data begins to repeat: that is no progress.",
        f"To avoid it, resume with --epoch_guard unified from a checkpoint that was saved before step {step:,}.",
        "For a verdict on it, evaluate at least four times on each side: set --evaluation_strategy steps, or "
        "--epoch_guard_evaluate.",
    ]


def _advice_by_verdict(situation: Situation) -> list[str]:
    match situation.verdict:
        case None:
            return [f"Wait: the first verdict needs 60 steps and 12 log windows after step {situation.step:,}."]
        case "artefact":
            return _advice_on_artefact(situation)
        case "mixed":
            return [_keep_what_is_shared(situation), _compare(situation), *_avoid(situation)]
        case "improvement":
            return _advice_on_improvement(situation)
        case "unexplained":
            return _advice_on_unexplained(situation)
        case "undecided":
            return [_what_would_decide(situation), "Until then, judge the run by its evaluation loss."]
        case "none":
            return ["Nothing needs to be done: the training loss does not jump here."]
        case "unknown":
            return [
                "Set a lower --logging_steps for the next part of the run: a verdict needs six log windows a side."
            ]


def _advice_on_artefact(situation: Situation) -> list[str]:
    if not situation.is_boundary:
        keep = "Keep the unified order: a run that leaves it draws samples twice and loses others."
    elif situation.rises:
        keep = "Keep the run: its training loss rises because of the data that is drawn, and the model is no worse."
    else:
        keep = "Keep the run, and do not count the fall as progress: the training loss falls because the data repeats."
    sentences = [keep, _compare(situation), *_avoid(situation)]
    if situation.reason == "no_evaluation":
        sentences.insert(
            1,
            "Confirm the verdict with evaluations, at least four on each side: set --evaluation_strategy steps, or "
            "--epoch_guard_evaluate.",
        )
    return sentences


def _keep_what_is_shared(situation: Situation) -> str:
    if situation.shared is None:
        return "Keep the run, and count as progress only what the evaluation loss shares."
    return (
        "Keep the run, and count as progress only what the evaluation loss shares: "
        f"{situation.shared:+.3f} nats per token."
    )


def _compare(situation: Situation) -> str:
    return (
        f"Do not compare training losses from before and after step {situation.step:,}. Compare evaluation losses, or "
        "let paddle-epoch-guard compare weigh two runs at equal exposure."
    )


def _avoid(situation: Situation) -> list[str]:
    """How to train without this jump, where that is possible."""
    if not situation.is_boundary or not situation.can_unify:
        return []
    sentences = [
        "For a curve without this jump, resume with --epoch_guard unified from a checkpoint that was saved before "
        f"step {situation.step:,}, or begin a new run with it. Later checkpoints are past the boundary."
    ]
    if situation.together is not None:
        fewest, most = situation.together
        sentences.append(
            f"Or lengthen a new run to between {fewest:,} and {most:,} steps: then its last data epoch is shuffled "
            "with the others."
        )
    return sentences


def _advice_on_improvement(situation: Situation) -> list[str]:
    sentences = ["Keep the run: the evaluation loss falls with the training loss, so the model has improved."]
    if situation.reason == "evaluation_shares_most":
        sentences.append(
            "Take the size of the progress from the evaluation loss: a part of the fall is training's own."
        )
    return sentences


def _advice_on_unexplained(situation: Situation) -> list[str]:
    if situation.reason == "evaluation_rises":
        return [
            f"Find out what made the model worse at step {situation.step:,}: look at learning rate, batch, resumes.",
            "If nothing explains it, go back to a checkpoint that was saved before.",
        ]
    if situation.reason == "exposure_unknown":
        return [
            f"Look at learning rate, batch size and data around step {situation.step:,}. How often the data was drawn "
            "before is unknown, so a repetition may be the cause too."
        ]
    return [
        f"Look at learning rate, batch size and resumes around step {situation.step:,}: how often the data was drawn "
        "before does not explain the jump."
    ]


def _what_would_decide(situation: Situation) -> str:
    match situation.reason:
        case "host_changes":
            return (
                "Evaluate on both sides of the boundary, or keep learning rate and batch constant there: two causes "
                f"meet at step {situation.step:,}."
            )
        case "evaluation_overlaps":
            return "Evaluate on documents that the run does not train on: the present evaluation set shares some."
        case "evaluation_unchecked":
            return (
                "Make sure that the evaluation set shares no document with the training data: the guard could not "
                "compare them."
            )
        case _:
            return (
                "Evaluate and log more often, at least four evaluations and twelve log windows on each side: noise "
                "leaves both answers open."
            )
