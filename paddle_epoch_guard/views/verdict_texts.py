"""Verdicts as sentences, and what to do about them."""

from collections.abc import Iterable
from dataclasses import dataclass

from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.host_changes import HostChange
from paddle_epoch_guard.statistics.judging import Part, Reason, VerdictKind
from paddle_epoch_guard.statistics.verdicts import ChangeReport, Counterfactual

REASONS = {
    "too_few_steps": mark("too few steps"),
    "no_jump": mark("no jump beyond trend and noise"),
    "jump_possible": mark("no jump found, and none excluded"),
    "among_many": mark("among so many tests, noise alone shows such a jump"),
    "host_changes": mark("learning rate or batch changes here too"),
    "evaluation_confirms": mark("confirmed by evaluation"),
    "evaluation_rises": mark("evaluation rises too: the model got worse"),
    "evaluation_shares_most": mark("evaluation shares the larger part"),
    "evaluation_shares_part": mark("evaluation shares a part of it"),
    "evaluation_shares_little": mark("evaluation shares the smaller part"),
    "evaluation_flat": mark("evaluation does not jump with it"),
    "no_evaluation": mark("not confirmed by evaluation"),
    "evaluation_uncertain": mark("evaluation is too uncertain to tell"),
    "evaluation_overlaps": mark("evaluation jumps too, but on data that is trained on"),
    "evaluation_unchecked": mark("evaluation jumps too, but whether its data is trained on is unknown"),
    "exposure_unknown": mark("exposure is not known"),
    "exposure_flat": mark("exposure does not jump: learning-rate schedule, or another change"),
    "exposure_opposes": mark("what was seen more often is not known better: another change"),
}
"""The reason of a verdict, by :data:`~paddle_epoch_guard.statistics.judging.Reason`."""


def verdict(report: ChangeReport, naming: Naming) -> str:
    """The verdict at a change point, and the numbers behind it."""
    numbers = tr("; ").join(_numbers(report, naming)) or tr("nothing is known")
    values = {
        "place": _place(report, naming),
        "verdict": report.verdict,
        "reason": tr(REASONS[report.reason]),
        "numbers": f"{numbers[0].upper()}{numbers[1:]}",
    }
    if report.final:
        return tr("Verdict at {place}: {verdict} ({reason}). {numbers}.", **values)
    return tr("Verdict so far at {place}: {verdict} ({reason}). {numbers}.", **values)


def jump_text(jump: Jump | None) -> str:
    """A jump and its 95 % interval; its standard error where only that is known; empty if unknown."""
    if jump is None:
        return ""
    if jump.low is None or jump.high is None:
        return f"{jump.value:+.3f} \u00b1 {jump.error:.3f}"
    return tr("{value:+.3f} ({low:+.3f} to {high:+.3f})", value=jump.value, low=jump.low, high=jump.high)


def interval_text(jump: Jump) -> str:
    """The 95 % interval of a jump, in brackets; empty if unknown."""
    if jump.low is None or jump.high is None:
        return ""
    return tr("({low:+.3f} to {high:+.3f})", low=jump.low, high=jump.high)


def counterfactual_text(counterfactual: Counterfactual) -> str:
    """The loss without the repetition."""
    values = {"step": counterfactual.step, "loss": counterfactual.loss, "error": counterfactual.error}
    if counterfactual.by == "evaluation":
        return tr(
            "without the repetition the loss at step {step} would be {loss:.3f} \u00b1 {error:.3f} (by evaluation and "
            "the gap before)",
            **values,
        )
    return tr(
        "without the repetition the loss at step {step} would be {loss:.3f} \u00b1 {error:.3f} (by the loss less its "
        "jump)",
        **values,
    )


def epoch_name(epoch: int, dataset: int, naming: Naming) -> str:
    """What an epoch is called in a sentence."""
    name = tr("trainer epoch {epoch}", epoch=epoch) if naming.trainer else tr("data epoch {epoch}", epoch=epoch)
    return (
        name if len(naming.datasets) < 2 else tr("{epoch} of {dataset}", epoch=name, dataset=naming.datasets[dataset])
    )


def _place(report: ChangeReport, naming: Naming) -> str:
    step, boundary = report.change.step, report.change.boundary
    if boundary is None:
        return tr("step {step}", step=step)
    epoch = epoch_name(boundary.to_epoch, boundary.dataset, naming)
    return tr("the start of {epoch} (step {step})", epoch=epoch, step=step)


def _numbers(report: ChangeReport, naming: Naming) -> Iterable[str]:
    if report.training is not None:
        yield _jump(report.training, _loss_name(report, naming), report)
    if report.whole is not None:
        yield _estimate(report.whole, tr("the loss of all samples"))
    if report.means is not None:
        before, after = report.means
        yield tr(
            "means over up to {steps} steps: {before:.4f} before, {after:.4f} after, ordinary learning included",
            steps=SIDE,
            before=before,
            after=after,
        )
    if report.exposure_before is not None and report.exposure_after is not None:
        exposures = {"before": _about(report.exposure_before), "after": _about(report.exposure_after)}
        yield tr("exposure {before} before and {after} after", **exposures)
    if report.evaluation is not None:
        yield _estimate(report.evaluation, tr("evaluation loss"))
    if report.gap is not None:
        yield _gain(report.gap)
    if report.verdict in ("artefact", "improvement", "mixed") and report.shared is not None:
        assert report.alone is not None
        parts = {"shared": _part(report.shared), "alone": _part(report.alone)}
        yield tr("{shared} shared by evaluation, {alone} by training alone", **parts)
    for change in report.host_changes:
        yield _host_change(change)
    if report.counterfactual is not None:
        yield counterfactual_text(report.counterfactual)


def _loss_name(report: ChangeReport, naming: Naming) -> str:
    boundary = report.change.boundary
    if report.is_own and boundary is not None:
        return tr("the loss of {dataset}", dataset=naming.datasets[boundary.dataset])
    return tr("training loss")


def _jump(jump: Jump, of: str, report: ChangeReport) -> str:
    if report.reason == "jump_possible" and jump.low is not None and jump.high is not None:
        return tr(
            "a jump of {loss} between {low:+.4f} and {high:+.4f} is possible; the least that would have been found is "
            "{detectable:.4f}",
            loss=of,
            low=jump.low,
            high=jump.high,
            detectable=jump.detectable,
        )
    is_small = jump.significant and jump.detectable is not None and abs(jump.value) < jump.detectable
    estimate = _estimate(jump, of)
    if not is_small:
        return estimate
    return tr("{estimate}, likely too large: noise helps to find so small a jump", estimate=estimate)


def _estimate(jump: Jump, of: str) -> str:
    """What a loss does."""
    if jump.significant:
        return tr("{loss} jumps by {size}", loss=of, size=_interval(jump))
    return tr("{loss} does not jump: {size}", loss=of, size=_interval(jump))


def _gain(gap: Jump) -> str:
    """What training gains that evaluation does not share."""
    values = {"size": _interval(gap), "intervals": gap.before}
    if gap.significant:
        return tr(
            "against evaluation, training gains {size} over {intervals} intervals on each side",
            **values,
        )
    return tr(
        "against evaluation, training gains {size} over {intervals} intervals on each side, which noise may explain",
        **values,
    )


def _interval(jump: Jump) -> str:
    """A jump, its interval, and its share of the loss."""
    if jump.low is None or jump.high is None:
        return tr("{value:+.4f}, standard error {error:.4f}", value=jump.value, error=jump.error)
    values = {"value": jump.value, "low": jump.low, "high": jump.high}
    if not jump.level:
        return tr("{value:+.4f} nats (95 %: {low:+.4f} to {high:+.4f})", **values)
    share = jump.value / jump.level
    return tr("{value:+.4f} nats (95 %: {low:+.4f} to {high:+.4f}; {share:+.1%} of the loss)", share=share, **values)


def _part(part: Part) -> str:
    return tr("{value:+.4f} (95 %: {low:+.4f} to {high:+.4f})", value=part.value, low=part.low, high=part.high)


def _host_change(change: HostChange) -> str:
    values = {"step": change.step, "before": change.before, "after": change.after}
    if change.setting == "batch":
        return tr("the batch changes at step {step}, from {before:g} to {after:g} samples a step", **values)
    return tr("the learning rate changes at step {step}, from {before:.3g} to {after:.3g}", **values)


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
        sentences.append(tr("This verdict is provisional: later steps may change it."))
    return sentences


def advice_ahead(step: int) -> list[str]:
    """What to do now where a boundary lies ahead, in a run whose order can be changed.

    Args:
        step: the first step that draws from beyond it.
    """
    return [
        tr(
            "The training loss will probably fall at step {step:,}, where data begins to repeat: that is no progress.",
            step=step,
        ),
        tr(
            "To avoid it, resume with --epoch_guard unified from a checkpoint that was saved before step {step:,}.",
            step=step,
        ),
        tr(
            "For a verdict on it, evaluate at least four times on each side: set --evaluation_strategy steps, or "
            "--epoch_guard_evaluate."
        ),
    ]


def _advice_by_verdict(situation: Situation) -> list[str]:
    match situation.verdict:
        case None:
            return [
                tr(
                    "Wait: the first verdict needs 60 steps and 12 log windows after step {step:,}.",
                    step=situation.step,
                )
            ]
        case "artefact":
            return _advice_on_artefact(situation)
        case "mixed":
            return [_keep_what_is_shared(situation), _compare(situation), *_avoid(situation)]
        case "improvement":
            return _advice_on_improvement(situation)
        case "unexplained":
            return _advice_on_unexplained(situation)
        case "undecided":
            return [_what_would_decide(situation), tr("Until then, judge the run by its evaluation loss.")]
        case "none":
            return [tr("Nothing needs to be done: the training loss does not jump here.")]
        case "unknown":
            return [
                tr("Set a lower --logging_steps for the next part of the run: a verdict needs six log windows a side.")
            ]


def _advice_on_artefact(situation: Situation) -> list[str]:
    if not situation.is_boundary:
        keep = tr("Keep the unified order: a run that leaves it draws samples twice and loses others.")
    elif situation.rises:
        keep = tr(
            "Keep the run: its training loss rises because of the data that is drawn, and the model is no worse."
        )
    else:
        keep = tr(
            "Keep the run, and do not count the fall as progress: the training loss falls because the data repeats."
        )
    sentences = [keep, _compare(situation), *_avoid(situation)]
    if situation.reason == "no_evaluation":
        confirm = tr(
            "Confirm the verdict with evaluations, at least four on each side: set --evaluation_strategy steps, or "
            "--epoch_guard_evaluate."
        )
        sentences.insert(1, confirm)
    return sentences


def _keep_what_is_shared(situation: Situation) -> str:
    if situation.shared is None:
        return tr("Keep the run, and count as progress only what the evaluation loss shares.")
    return tr(
        "Keep the run, and count as progress only what the evaluation loss shares: {shared:+.3f} nats per token.",
        shared=situation.shared,
    )


def _compare(situation: Situation) -> str:
    return tr(
        "Do not compare training losses from before and after step {step:,}. Compare evaluation losses, or let "
        "paddle-epoch-guard compare weigh two runs at equal exposure.",
        step=situation.step,
    )


def _avoid(situation: Situation) -> list[str]:
    """How to train without this jump, where that is possible."""
    if not situation.is_boundary or not situation.can_unify:
        return []
    sentences = [
        tr(
            "For a curve without this jump, resume with --epoch_guard unified from a checkpoint that was saved before "
            "step {step:,}, or begin a new run with it. Later checkpoints are past the boundary.",
            step=situation.step,
        )
    ]
    if situation.together is not None:
        fewest, most = situation.together
        longer = tr(
            "Or lengthen a new run to between {fewest:,} and {most:,} steps: then its last data epoch is shuffled "
            "with the others.",
            fewest=fewest,
            most=most,
        )
        sentences.append(longer)
    return sentences


def _advice_on_improvement(situation: Situation) -> list[str]:
    sentences = [tr("Keep the run: the evaluation loss falls with the training loss, so the model has improved.")]
    if situation.reason == "evaluation_shares_most":
        size = tr("Take the size of the progress from the evaluation loss: a part of the fall is training's own.")
        sentences.append(size)
    return sentences


def _advice_on_unexplained(situation: Situation) -> list[str]:
    if situation.reason == "evaluation_rises":
        return [
            tr(
                "Find out what made the model worse at step {step:,}: look at learning rate, batch, resumes.",
                step=situation.step,
            ),
            tr("If nothing explains it, go back to a checkpoint that was saved before."),
        ]
    if situation.reason == "exposure_unknown":
        return [
            tr(
                "Look at learning rate, batch size and data around step {step:,}. How often the data was drawn before "
                "is unknown, so a repetition may be the cause too.",
                step=situation.step,
            )
        ]
    return [
        tr(
            "Look at learning rate, batch size and resumes around step {step:,}: how often the data was drawn before "
            "does not explain the jump.",
            step=situation.step,
        )
    ]


def _what_would_decide(situation: Situation) -> str:
    match situation.reason:
        case "host_changes":
            return tr(
                "Evaluate on both sides of the boundary, or keep learning rate and batch constant there: two causes "
                "meet at step {step:,}.",
                step=situation.step,
            )
        case "evaluation_overlaps":
            return tr("Evaluate on documents that the run does not train on: the present evaluation set shares some.")
        case "evaluation_unchecked":
            return tr(
                "Make sure that the evaluation set shares no document with the training data: the guard could not "
                "compare them."
            )
        case _:
            return tr(
                "Evaluate and log more often, at least four evaluations and twelve log windows on each side: noise "
                "leaves both answers open."
            )
