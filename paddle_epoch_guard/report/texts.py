"""Numbers and sentences about a run, for the report page and the command line."""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.language import counted, mark, tr
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.report.drawing import trend_of
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData, Series
from paddle_epoch_guard.terminal import joined, paragraph
from paddle_epoch_guard.views.messages import repeated_against_fresh
from paddle_epoch_guard.views.verdict_texts import Situation, advice, advice_ahead, counterfactual_text, jump_text

_VERDICT_COUNTS = {
    "artefact": mark("at {n} the training loss jumps because of the data that is drawn (artefact; {steps})"),
    "mixed": mark(
        "at {n} a part of the jump is an artefact, and the evaluation loss shares the rest (mixed; {steps})"
    ),
    "unexplained": mark("at {n} the training loss jumps, and the data does not explain it (unexplained; {steps})"),
    "improvement": mark("at {n} the training loss falls, and the evaluation loss with it (improvement; {steps})"),
    "undecided": mark("at {n} the losses cannot tell (undecided; {steps})"),
    "none": mark("at {n} it does not jump"),
    "unknown": mark("at {n} too little is known ({steps})"),
}
"""For several change points: a text for each verdict, with the number of change points and their steps."""
_VERDICTS = {
    "artefact": mark(
        "The fall of the training loss at step {step} ({title}) is an artefact of the data, not progress: {clause}."
    ),
    "mixed": mark("The fall of the training loss at step {step} ({title}) is an artefact in part: {clause}."),
    "undecided": mark("What the training loss does at step {step} ({title}) is undecided: {clause}."),
    "improvement": mark("The fall of the training loss at step {step} ({title}) is an improvement: {clause}."),
    "unexplained": mark(
        "The fall of the training loss at step {step} ({title}) is not explained by the data: {clause}."
    ),
    "none": mark("At step {step} ({title}) the training loss does not jump."),
    "unknown": mark("Whether the training loss jumps at step {step} ({title}) is not known: {clause}."),
    "": mark("Whether the training loss jumps at step {step} ({title}) is not known."),
}
"""For one change point: a text for each verdict."""
_VERDICTS_ON_RISES = {
    "artefact": mark(
        "The rise of the training loss at step {step} ({title}) is an artefact of the data, not progress: {clause}."
    ),
    "mixed": mark("The rise of the training loss at step {step} ({title}) is an artefact in part: {clause}."),
    "unexplained": mark(
        "The rise of the training loss at step {step} ({title}) is not explained by the data: {clause}."
    ),
}
"""The same where the training loss rises; the others do not say."""
_STEPS_LISTED = 5
_CHANGES_TOLD, _EPOCHS_TOLD = 3, 4
_UNKNOWN = "\u2013"


class EpochRow(NamedTuple):
    """A row of the table of epochs."""

    title: str
    samples: str
    steps: str
    loss: str


def epoch_row(epoch: EpochSummary) -> EpochRow:
    """The row of an epoch, with dashes for unknown values."""
    total, loss = epoch.total, epoch.mean_loss
    return EpochRow(
        epoch.title,
        _UNKNOWN if total is None else count_text(total.samples),
        _UNKNOWN if total is None else span_text(total.first_step, total.last_step),
        _UNKNOWN if loss is None or math.isnan(loss) else f"{loss:.4f}",
    )


class AdviceGroup(NamedTuple):
    """What to do at the change points of one verdict."""

    verdict: str
    """Empty without a verdict."""
    changes: tuple[ChangeSummary, ...]
    sentences: list[str]
    """About the first of them."""

    @property
    def others(self) -> str:
        """The steps of the other change points, as a sentence; empty without others."""
        steps = _steps_text(self.changes[1:]) if len(self.changes) > 1 else ""
        return tr("The same applies at {steps}.", steps=steps) if steps else ""


def advice_of(run: RunData) -> list[AdviceGroup]:
    """What to do now, by verdict, in the order of :data:`_VERDICT_COUNTS`. A start of the run needs no advice."""
    groups = []
    for verdict in (*_VERDICT_COUNTS, ""):
        changes = tuple(change for change in run.cuts if change.verdict == verdict and change.step > 1)
        if changes:
            groups.append(AdviceGroup(verdict, changes, advice_at(changes[0], run)))
    return groups


class BoundaryAhead(NamedTuple):
    """The next boundary, and what to do about it."""

    step: int
    sentences: list[str]


def next_ahead(run: RunData) -> BoundaryAhead | None:
    """The next boundary of the run; None if none lies ahead, or its order is unknown."""
    step = min((boundary.step for boundary in run.ahead if boundary.position is not None), default=None)
    return None if step is None else BoundaryAhead(step, advice_ahead(step))


def advice_at(change: ChangeSummary, run: RunData) -> list[str]:
    """What to do now at a change point; nothing at the start of the run."""
    return advice(_situation(change, run)) if change.step > 1 else []


def headline(run: RunData) -> str:
    """The verdict that matters most, in the order of :data:`_VERDICT_COUNTS`; empty without any."""
    found = {change.verdict for change in run.cuts if change.step > 1}
    return next((verdict for verdict in _VERDICT_COUNTS if verdict in found), "")


def _situation(change: ChangeSummary, run: RunData) -> Situation:
    knows_order = not change.trainer and len(run.data_epoch) > 0
    if change.report is None:
        return Situation(change.step, is_boundary=change.epochs is not None, can_unify=knows_order)
    situation = Situation.of(change.report, can_unify=knows_order, together=_shuffled_together(change, run))
    return replace(situation, is_boundary=change.epochs is not None)


def _shuffled_together(change: ChangeSummary, run: RunData) -> tuple[int, int] | None:
    """The fewest and the most steps of a new run that reaches this data epoch, and shuffles it with the others.

    None unless the run draws one dataset by one index, with one global batch.
    """
    state = run.sidecar
    if state is None or state.blend is not None or state.epoch_sampling is not None or change.epochs is None:
        return None
    batches = {segment.global_batch for segment in state.schedule.segments}
    if len(state.datasets) != 1 or len(state.datasets[0].indices) != 1 or len(batches) != 1:
        return None
    (dataset,), (batch,) = state.datasets, batches
    requested = dataset.indices[0].samples_requested
    layout = IndexLayout.of(dataset.tokens_per_epoch, dataset.seq_length, requested)
    fewest, most = -(-layout.joined_from() // batch), layout.samples_built // batch
    fits = layout.separated and change.epochs[1] == layout.num_epochs and fewest <= most
    return (fewest, most) if fits else None


def summary(run: RunData) -> list[str]:
    """The verdicts, the progress of the run, repeated against fresh samples where they can be compared, the order."""
    return [_verdicts_sentence(run), _progress_sentence(run), *_contrast_sentence(run), _order_sentence(run)]


def planned_steps(run: RunData) -> int | None:
    """``max_steps`` of the run; None if unknown."""
    if run.sidecar is not None and run.sidecar.step == run.last_step:
        return run.sidecar.max_steps
    logged = [part.arguments.get("max_steps") for part in run.parts]
    return next((steps for steps in reversed(logged) if isinstance(steps, int) and steps > 0), None)


def _verdicts_sentence(run: RunData) -> str:
    cuts = [cut for cut in run.cuts if cut.step > 1]
    if not cuts and run.cuts:
        return tr("All planned samples are drawn in one order from the start: no boundary makes the loss jump.")
    if not cuts and (unknown := _unknown_steps_text(run)):
        return tr(
            "The run has reached no boundary between data epochs in the known steps; {unknown} is not known.",
            unknown=unknown,
        )
    if not cuts:
        return tr("The run has reached no boundary between data epochs, so none makes the loss jump.")
    if len(cuts) == 1:
        return _verdict_sentence(cuts[0])
    counts = []
    for verdict, text in _VERDICT_COUNTS.items():
        matching = [cut for cut in cuts if (cut.verdict or "unknown") == verdict]
        if matching:
            counts.append(tr(text, n=len(matching), steps=_steps_text(matching)))
    return tr("The order of the data changes at {n} places: {places}.", n=len(cuts), places=_listed(counts))


def _listed(clauses: Sequence[str]) -> str:
    """Clauses one after another, which may have commas of their own."""
    return functools.reduce(lambda before, clause: tr("{before}, {clause}", before=before, clause=clause), clauses)


def _unknown_steps_text(run: RunData) -> str:
    """The steps that are in no record, as the subject of a sentence; empty without any."""
    ranges = [
        tr("what came after step {step}", step=first - 1)
        if last is None
        else tr("what happened from step {first} to {last}", first=first, last=last)
        for first, last in run.unknown_steps
    ]
    return joined(ranges) if ranges else ""


def _verdict_sentence(cut: ChangeSummary) -> str:
    rises = cut.training is not None and cut.training.value > 0
    text = (_VERDICTS_ON_RISES.get(cut.verdict) if rises else None) or _VERDICTS[cut.verdict]
    sentence = tr(text, step=cut.step, title=cut.title, clause=cut.clause)
    if cut.counterfactual is None or cut.verdict not in ("artefact", "mixed"):
        return sentence
    without = tr("{sentence}.", sentence=_capitalized(counterfactual_text(cut.counterfactual)))
    return paragraph([sentence, without])


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _steps_text(cuts: Sequence[ChangeSummary]) -> str:
    steps = list(dict.fromkeys(cut.step for cut in cuts))
    listed = tr(", ").join(str(step) for step in steps[:_STEPS_LISTED])
    if len(steps) > _STEPS_LISTED:
        return tr("steps {steps} and {more} more", steps=listed, more=len(steps) - _STEPS_LISTED)
    return counted("step {steps}", "steps {steps}", len(steps), steps=listed)


def _progress_sentence(run: RunData) -> str:
    planned = planned_steps(run)
    is_planned = planned is not None and planned >= run.last_step
    steps = {"step": run.last_step, "planned": planned}
    if run.unknown_steps and run.unknown_steps[-1][1] is None:
        reached = (
            tr(
                "The guard tracked the run up to step {step:,} of {planned:,}, where tracking was switched off",
                **steps,
            )
            if is_planned
            else tr(
                "The guard tracked the run up to step {step:,}, where tracking was switched off", step=run.last_step
            )
        )
    elif is_planned:
        reached = tr("The run has reached step {step:,} of {planned:,}", **steps)
    else:
        reached = tr("The run has reached step {step:,}", step=run.last_step)
    if len(run.loss):
        reached = tr("{clause}; {more}", clause=reached, more=_losses_clause(run))
    if len(run.exposure):
        reached = tr(
            "{clause}, on tokens that had been drawn {exposure:.2f} times before",
            clause=reached,
            exposure=run.exposure.values[-20:].mean(),
        )
    return tr("{sentence}.", sentence=reached)


def _losses_clause(run: RunData) -> str:
    loss = trend_of(run.loss, run.sides)[-1]
    if not len(run.evaluation):
        return tr("there the trend of the training loss is {loss:.3f} nats per token", loss=loss)
    step, evaluation = run.evaluation.steps[-1], run.evaluation.values[-1]
    if step == run.last_step:
        return tr(
            "there the trend of the training loss is {loss:.3f} and the evaluation loss {evaluation:.3f} nats per "
            "token",
            loss=loss,
            evaluation=evaluation,
        )
    return tr(
        "there the trend of the training loss is {loss:.3f} and the evaluation loss {evaluation:.3f} (step {step}) "
        "nats per token",
        loss=loss,
        evaluation=evaluation,
        step=step,
    )


def _contrast_sentence(run: RunData) -> list[str]:
    difference = run.contrast.difference
    if difference is None:
        return []
    sentence = repeated_against_fresh(difference, len(run.datasets) > 1)
    return [tr("{sentence}, in nats per token.", sentence=_capitalized(sentence))]


def _order_sentence(run: RunData) -> str:
    unified = [cut.step for cut in run.cuts if cut.epochs is None]
    if unified:
        order = tr("The order is unified from step {step} on", step=unified[0])
    elif not run.data_epoch or any(epoch.trainer for epoch in run.epochs):
        order = tr("The guard does not know the order of the data")
    else:
        order = tr("The order is the host's own")
    resumes = _resumes_clause(run)
    return tr("{sentence}.", sentence=tr("{clause}; {more}", clause=order, more=resumes) if resumes else order)


def _resumes_clause(run: RunData) -> str:
    """How often the run was resumed; empty if unknown."""
    resumed = [part for part in run.parts[1:] if part.first_logged is not None]
    if len(resumed) > 1:
        return tr("the run was resumed {n} times", n=len(resumed))
    if resumed:
        return tr(
            "the run was resumed once, and its first logged step since is {step}",
            step=resumed[0].first_logged,
        )
    if not run.parts or not len(run.loss):
        return ""
    first = int(run.loss.steps[0])
    if len(run.loss) > 1 and first > 2 * (int(run.loss.steps[1]) - first) + 1:
        return tr("no log in this folder covers the steps before {step}", step=first)
    return tr("the run was not interrupted")


def losses_found(run: RunData) -> str:
    """What the curves of the losses and the exposure show, in sentences."""
    found = [
        tr(
            "The training loss goes from {first:.2f} at step {begin:,} to {last:.2f} at step {end:,}.",
            **_course(run.loss, run.sides),
        )
    ]
    if len(run.evaluation):
        evaluation = tr(
            "The evaluation loss goes from {first:.2f} at step {begin:,} to {last:.2f} at step {end:,}.",
            **_course(run.evaluation, run.sides),
        )
        found.append(evaluation)
    changes = [change for change in run.cuts if change.step > 1]
    found += [_change_found(change) for change in changes[:_CHANGES_TOLD]]
    if len(changes) > _CHANGES_TOLD:
        more = counted(
            "The table has {n} more such place.", "The table has {n} more such places.", len(changes) - _CHANGES_TOLD
        )
        found.append(more)
    if len(run.exposure):
        first, last = run.exposure.values[[0, -1]]
        found.append(tr("Exposure goes from {first:.2f} to {last:.2f}.", first=first, last=last))
    return paragraph(found)


def epochs_found(run: RunData) -> str:
    """What the curves of the epochs show, in sentences."""
    drawn = [epoch for epoch in run.epochs if len(epoch.loss)]
    told = drawn if len(drawn) <= _EPOCHS_TOLD else [*drawn[: _EPOCHS_TOLD - 1], drawn[-1]]
    return paragraph(
        [
            tr(
                "In {epoch} the loss goes from {first:.2f} at its step {begin:,} to {last:.2f} at its step {end:,}.",
                epoch=epoch.title,
                **_course(epoch.loss),
            )
            for epoch in told
        ]
    )


def fresh_found(run: RunData) -> str:
    """What the curves of fresh and repeated samples show, in sentences."""
    found = []
    if len(run.loss_fresh):
        fresh = tr(
            "The loss of fresh samples goes from {first:.2f} at step {begin:,} to {last:.2f} at step {end:,}.",
            **_course(run.loss_fresh, run.sides),
        )
        found.append(fresh)
    if len(run.loss_repeat):
        repeated = tr(
            "The loss of repeated samples goes from {first:.2f} at step {begin:,} to {last:.2f} at step {end:,}.",
            **_course(run.loss_repeat, run.sides),
        )
        found.append(repeated)
    return paragraph([*found, *_contrast_sentence(run)])


def _course(series: Series, sides: Sequence[int] = ()) -> dict[str, float]:
    """The first and the last value of a trend, and their steps."""
    trend, steps = trend_of(series, sides), series.steps
    return {"first": trend[0], "begin": int(steps[0]), "last": trend[-1], "end": int(steps[-1])}


def _change_found(change: ChangeSummary) -> str:
    values = {
        "step": change.step,
        "label": change.label,
        "jump": jump_text(change.training),
        "verdict": change.verdict,
    }
    if change.training is None:
        return tr("At step {step:,}, where {label}, nothing is known of a jump.", **values)
    if not change.training.significant:
        return tr(
            "At step {step:,}, where {label}, the training loss does not clearly jump: {jump} ({verdict}).",
            **values,
        )
    return tr("At step {step:,}, where {label}, the training loss jumps by {jump} ({verdict}).", **values)


def pair_text(pair: tuple[float, float] | None, digits: int = 3) -> str:
    """The values before and after; empty if unknown."""
    return "" if pair is None else f"{pair[0]:.{digits}f} \u2192 {pair[1]:.{digits}f}"


def span_text(first: int, last: int) -> str:
    """From one number to another."""
    return tr("{first:,} to {last:,}", first=first, last=last)


def count_text(count: int) -> str:
    """A count with thousands separators."""
    return f"{count:,}"


def ranks_text(segment: Segment) -> str:
    """The number of data-parallel ranks of a segment."""
    return counted("{n} data-parallel rank", "{n} data-parallel ranks", segment.world_size)


def moment_text(milliseconds: int) -> str:
    """A time, given in milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return tr("at an unknown time")
