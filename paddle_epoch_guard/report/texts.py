"""Numbers and sentences about a run, for the report page and the command line."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.report.drawing import trend_of
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData, Series
from paddle_epoch_guard.views.messages import repeated_against_fresh
from paddle_epoch_guard.views.verdict_texts import Situation, advice, advice_ahead, counterfactual_text, jump_text

_VERDICT_COUNTS = {
    "artefact": "at {} the training loss jumps because of the data that is drawn (artefact; {})",
    "mixed": "at {} a part of the jump is an artefact, and the evaluation loss shares the rest (mixed; {})",
    "unexplained": "at {} the training loss jumps, and the data does not explain it (unexplained; {})",
    "improvement": "at {} the training loss falls, and the evaluation loss with it (improvement; {})",
    "undecided": "at {} the losses cannot tell (undecided; {})",
    "none": "at {} it does not jump",
    "unknown": "at {} too little is known ({})",
}
"""For several change points: a text for each verdict, with the number of change points and their steps."""
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
        _UNKNOWN if total is None else f"{count_text(total.first_step)} to {count_text(total.last_step)}",
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
        return f"The same applies at {steps}." if steps else ""


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
        return "All planned samples are drawn in one order from the start: no boundary makes the loss jump."
    if not cuts and (unknown := _unknown_steps_text(run)):
        return f"The run has reached no boundary between data epochs in the known steps; {unknown} is not known."
    if not cuts:
        return "The run has reached no boundary between data epochs, so none makes the loss jump."
    if len(cuts) == 1:
        return _verdict_sentence(cuts[0])
    counts = []
    for verdict, text in _VERDICT_COUNTS.items():
        matching = [cut for cut in cuts if (cut.verdict or "unknown") == verdict]
        if matching:
            counts.append(text.format(len(matching), _steps_text(matching)))
    return f"The order of the data changes at {len(cuts)} places: {', '.join(counts)}."


def _unknown_steps_text(run: RunData) -> str:
    """The steps that are in no record, as the subject of a sentence; empty without any."""
    ranges = [
        f"what came after step {first - 1}" if last is None else f"what happened from step {first} to {last}"
        for first, last in run.unknown_steps
    ]
    return " and ".join(ranges)


def _verdict_sentence(cut: ChangeSummary) -> str:
    where = f"step {cut.step} ({cut.title})"
    move = "rise" if cut.training is not None and cut.training.value > 0 else "fall"
    clause = f": {cut.clause}" if cut.clause else ""
    without = "" if cut.counterfactual is None else f" {_capitalized(counterfactual_text(cut.counterfactual))}."
    if cut.verdict == "artefact":
        return f"The {move} of the training loss at {where} is an artefact of the data, not progress{clause}.{without}"
    if cut.verdict == "mixed":
        return f"The {move} of the training loss at {where} is an artefact in part{clause}.{without}"
    if cut.verdict == "undecided":
        return f"What the training loss does at {where} is undecided{clause}."
    if cut.verdict == "improvement":
        return f"The {move} of the training loss at {where} is an improvement{clause}."
    if cut.verdict == "unexplained":
        return f"The {move} of the training loss at {where} is not explained by the data{clause}."
    if cut.verdict == "none":
        return f"At {where} the training loss does not jump."
    return f"Whether the training loss jumps at {where} is not known{clause}."


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _steps_text(cuts: Sequence[ChangeSummary]) -> str:
    steps = list(dict.fromkeys(cut.step for cut in cuts))
    listed = ", ".join(str(step) for step in steps[:_STEPS_LISTED])
    more = f" and {len(steps) - _STEPS_LISTED} more" if len(steps) > _STEPS_LISTED else ""
    return f"step{'s' if len(steps) > 1 else ''} {listed}{more}"


def _progress_sentence(run: RunData) -> str:
    planned = planned_steps(run)
    step = count_text(run.last_step)
    step += f" of {count_text(planned)}" if planned is not None and planned >= run.last_step else ""
    sentence = f"The run has reached step {step}"
    if run.unknown_steps and run.unknown_steps[-1][1] is None:
        sentence = f"The guard tracked the run up to step {step}, where tracking was switched off"
    if len(run.loss):
        sentence += f"; there the trend of the training loss is {trend_of(run.loss, run.sides)[-1]:.3f}"
        if len(run.evaluation):
            at = f" (step {run.evaluation.steps[-1]})" if run.evaluation.steps[-1] != run.last_step else ""
            sentence += f" and the evaluation loss {run.evaluation.values[-1]:.3f}{at}"
        sentence += " nats per token"
    if len(run.exposure):
        sentence += f", on tokens that had been drawn {run.exposure.values[-20:].mean():.2f} times before"
    return f"{sentence}."


def _contrast_sentence(run: RunData) -> list[str]:
    difference = run.contrast.difference
    if difference is None:
        return []
    sentence = repeated_against_fresh(difference, len(run.datasets) > 1)
    return [f"{_capitalized(sentence)}, in nats per token."]


def _order_sentence(run: RunData) -> str:
    unified = [cut.step for cut in run.cuts if cut.epochs is None]
    if unified:
        order = f"The order is unified from step {unified[0]} on"
    elif not run.data_epoch or any(epoch.trainer for epoch in run.epochs):
        order = "The guard does not know the order of the data"
    else:
        order = "The order is the host's own"
    resumed = [part for part in run.parts[1:] if part.first_logged is not None]
    if len(resumed) > 1:
        return f"{order}; the run was resumed {len(resumed)} times."
    if resumed:
        return f"{order}; the run was resumed once, and its first logged step since is {resumed[0].first_logged}."
    if not run.parts or not len(run.loss):
        return f"{order}."
    first = int(run.loss.steps[0])
    if len(run.loss) > 1 and first > 2 * (int(run.loss.steps[1]) - first) + 1:
        return f"{order}; no log in this folder covers the steps before {first}."
    return f"{order}; the run was not interrupted."


def losses_found(run: RunData) -> str:
    """What the curves of the losses and the exposure show, in sentences."""
    found = [_course("The training loss goes from {} at step {} to {} at step {}.", run.loss, run.sides)]
    if len(run.evaluation):
        found.append(
            _course("The evaluation loss goes from {} at step {} to {} at step {}.", run.evaluation, run.sides)
        )
    changes = [change for change in run.cuts if change.step > 1]
    found += [_change_found(change) for change in changes[:_CHANGES_TOLD]]
    if len(changes) > _CHANGES_TOLD:
        found.append(f"The table has {len(changes) - _CHANGES_TOLD} more such places.")
    if len(run.exposure):
        first, last = run.exposure.values[[0, -1]]
        found.append(f"Exposure goes from {first:.2f} to {last:.2f}.")
    return " ".join(found)


def epochs_found(run: RunData) -> str:
    """What the curves of the epochs show, in sentences."""
    drawn = [epoch for epoch in run.epochs if len(epoch.loss)]
    told = drawn if len(drawn) <= _EPOCHS_TOLD else [*drawn[: _EPOCHS_TOLD - 1], drawn[-1]]
    return " ".join(
        _course(
            f"In {_braceless(epoch.title)} the loss goes from {{}} at its step {{}} to {{}} at its step {{}}.",
            epoch.loss,
        )
        for epoch in told
    )


def fresh_found(run: RunData) -> str:
    """What the curves of fresh and repeated samples show, in sentences."""
    fresh = "The loss of fresh samples goes from {} at step {} to {} at step {}."
    repeated = "The loss of repeated samples goes from {} at step {} to {} at step {}."
    found = [
        _course(sentence, series, run.sides)
        for sentence, series in ((fresh, run.loss_fresh), (repeated, run.loss_repeat))
        if len(series)
    ]
    return " ".join([*found, *_contrast_sentence(run)])


def _course(sentence: str, series: Series, sides: Sequence[int] = ()) -> str:
    """A sentence with the first and the last value of a trend, and their steps."""
    trend, steps = trend_of(series, sides), series.steps
    return sentence.format(f"{trend[0]:.2f}", count_text(steps[0]), f"{trend[-1]:.2f}", count_text(steps[-1]))


def _braceless(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _change_found(change: ChangeSummary) -> str:
    where = f"At step {count_text(change.step)}, where {change.label}"
    if change.training is None:
        return f"{where}, nothing is known of a jump."
    if not change.training.significant:
        return f"{where}, the training loss does not clearly jump: {jump_text(change.training)} ({change.verdict})."
    return f"{where}, the training loss jumps by {jump_text(change.training)} ({change.verdict})."


def pair_text(pair: tuple[float, float] | None, digits: int = 3) -> str:
    """The values before and after; empty if unknown."""
    return "" if pair is None else f"{pair[0]:.{digits}f} \u2192 {pair[1]:.{digits}f}"


def count_text(count: int) -> str:
    """A count with thousands separators."""
    return f"{count:,}"


def ranks_text(segment: Segment) -> str:
    """The number of data-parallel ranks of a segment."""
    return f"{segment.world_size} data-parallel rank{'s' if segment.world_size > 1 else ''}"


def moment_text(milliseconds: int) -> str:
    """A time, given in milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
