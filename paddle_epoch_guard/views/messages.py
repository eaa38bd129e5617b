"""Events as sentences."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from paddle_epoch_guard.language import counted, mark, tr
from paddle_epoch_guard.ledger import BoundaryStep, Contrast, Difference, EpochLoss
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.events import Message, PartBegan, TokensTraced
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.verdicts import ChangeReport
from paddle_epoch_guard.terminal import joined
from paddle_epoch_guard.views.verdict_texts import epoch_name, verdict

_LISTED = 12  # steps, in one message

_EVALUATION_UNKNOWN = {
    "no_documents": mark("the two are not both sample indices of PaddleNLP, so their documents cannot be compared"),
    "too_short": mark("no document of the evaluation set is long enough to be looked up"),
    "out_of_time": mark("there was no time to look enough documents up in the training data"),
}
_EVALUATES_NOTHING = {
    "no_evaluation_set": mark(
        "the Trainer has no evaluation set. Give it an eval_dataset; run_pretrain.py needs --do_eval, and a share for "
        "validation in --split"
    ),
    "several_sets": mark(
        "the Trainer has several evaluation sets, and no loss of all of them. Give it one eval_dataset"
    ),
    "distributed_dataloader": mark(
        "the evaluation loader of --distributed_dataloader may be built only once. Let the Trainer evaluate by "
        "--evaluation_strategy steps"
    ),
    "no_positions": mark(
        "the guard does not know at which steps the order of the data changes. Use the pretraining sampler, "
        "utils.batch_sampler.DistributedBatchSampler of the library that trains, and a dataset with a sample index"
    ),
    "no_changes": mark("no change point lies ahead, or close behind"),
    "evaluated_anyway": mark("the Trainer evaluates at all of these steps by itself"),
}


def _sampler_unknown(sampler: str, why: str) -> str:
    if not why:
        return tr(
            "the sampler {sampler} is not supported: its data epochs are unknown, and the guard logs the trainer's "
            "own epochs instead. Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of the "
            "library that trains",
            sampler=sampler,
        )
    return tr(
        "the sampler {sampler} is not supported ({why}): its data epochs are unknown, and the guard logs the "
        "trainer's own epochs instead. Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of "
        "the library that trains",
        sampler=sampler,
        why=why,
    )


def _boundary_ahead(
    step: int, max_steps: int, exposure: Sequence[float | None], verdict: dict[str, Any], **where: Any
) -> str:
    """At most six lines."""
    before, after = exposure
    # The first repetition is remembered most: the loss of data seen twice hardly differs from that of data seen once.
    is_first = before is None or before < 1
    if where.get("all_repeated", True):
        lines = [_fall_ahead(step, max_steps, is_first, where["dataset"], where["others"])]
    else:
        lines = [_may_fall_ahead(step, max_steps, where["others"])]
    if before is not None and after is not None:
        lines.append(
            tr(
                "  Exposure (times drawn before, on average): {before:.2f} before it, {after:.2f} in the {share:.0%} "
                "of the run behind it",
                before=before,
                after=after,
                share=(max_steps - step + 1) / max_steps,
            )
        )
    lines.append(tr("  Such a fall is no progress: the model meets again what it remembers"))
    if where["can_unify"]:
        avoid = tr(
            "  To avoid it: --epoch_guard unified, or max_steps of at most {last:,} (paddle-epoch-guard plan knows "
            "more)",
            last=step - 1,
        )
    else:
        avoid = tr("  To avoid it: max_steps of at most {last:,} (paddle-epoch-guard plan knows more)", last=step - 1)
    return "\n".join([*lines, avoid, *_when_judged(**verdict)])


def _place_ahead(step: int, max_steps: int, others: int) -> str:
    at = tr("step {step:,} of {max_steps:,}", step=step, max_steps=max_steps)
    if not others:
        return at
    behind = counted("{n} more boundary behind it", "{n} more boundaries behind it", others)
    return tr("{place} ({remark})", place=at, remark=behind)


def _may_fall_ahead(step: int, max_steps: int, others: int) -> str:
    return tr(
        "the training loss may fall at {place}: from there on, a data epoch is drawn that is shuffled separately. The "
        "run has not drawn this order from its beginning, so some of that data may be new",
        place=_place_ahead(step, max_steps, others),
    )


def _fall_ahead(step: int, max_steps: int, is_first: bool, dataset: str, others: int) -> str:
    at = _place_ahead(step, max_steps, others)
    if dataset and is_first:
        return tr(
            "the loss of {dataset} will probably fall at {place}: from there on, all of its data has been seen before",
            dataset=dataset,
            place=at,
        )
    if dataset:
        return tr(
            "the loss of {dataset} may fall a little at {place}: from there on, all of its data has been seen before",
            dataset=dataset,
            place=at,
        )
    if is_first:
        return tr(
            "the training loss will probably fall at {place}: from there on, all data has been seen before", place=at
        )
    return tr("the training loss may fall a little at {place}: from there on, all data has been seen before", place=at)


def _when_judged(
    first_verdict: int | None,
    final_verdict: int,
    most_logging_steps: int | None,
    evaluates: bool,
    most_eval_steps: int | None,
) -> list[str]:
    """When the verdict comes, and what stands in its way."""
    if first_verdict is None:
        when = tr("  No verdict can be given: too few log windows follow")
    elif final_verdict > first_verdict:
        when = tr(
            "  A first verdict comes by step {first:,}, the final one by step {final:,}",
            first=first_verdict,
            final=final_verdict,
        )
    else:
        when = tr("  A first verdict comes by step {first:,}", first=first_verdict)
    wanted = []
    if most_logging_steps is not None:
        wanted.append(tr("logging_steps of at most {steps:,}", steps=most_logging_steps))
    if most_eval_steps is not None and evaluates:
        wanted.append(tr("eval_steps of at most {steps:,} (or --epoch_guard_evaluate)", steps=most_eval_steps))
    elif most_eval_steps is not None:
        wanted.append(
            tr(
                "evaluation_strategy steps, eval_steps of at most {steps:,} (or --epoch_guard_evaluate)",
                steps=most_eval_steps,
            )
        )
    return [when, tr("  For one that is sure, set {settings}", settings=joined(wanted))] if wanted else [when]


def _ran_dry(step: int, max_steps: int, stop: int | None) -> str:
    if stop is None:
        return tr(
            "training stopped at step {step} of {max_steps} because the loader ran out of data at the end of the "
            "dataset. The run is shorter than planned, but the learning-rate schedule and the data mix were made for "
            "max_steps. Build the dataset for at least max_steps x global batch samples",
            step=step,
            max_steps=max_steps,
        )
    return tr(
        "training stopped at step {step} of {max_steps} because the loader ran out of data at the end of the sample "
        "index, position {stop}. The run is shorter than planned, but the learning-rate schedule and the data mix "
        "were made for max_steps. Build the dataset for at least max_steps x global batch samples",
        step=step,
        max_steps=max_steps,
        stop=stop,
    )


def _loss_is_no_number(first_step: int, last_step: int, loss: object, is_known: bool) -> str:
    values = {"first": first_step, "last": last_step, "loss": loss}
    if is_known:
        return tr(
            "the trainer's loss of steps {first} to {last} is {loss}; under fp16 all later ones are too. The guard "
            "still tracks data epochs, exposure and boundaries. From here on, losses are those of the samples; means "
            "leave out windows whose samples have no loss either",
            **values,
        )
    return tr(
        "the trainer's loss of steps {first} to {last} is {loss}; under fp16 all later ones are too. The guard still "
        "tracks data epochs, exposure and boundaries. These steps have no loss; means leave out windows whose samples "
        "have no loss either",
        **values,
    )


def _evaluation_overlaps(ground: str, looked_up: int, matching: int) -> str:
    if ground == "same_documents":
        return tr(
            "the evaluation set overlaps the training data: both draw from the same documents. So an evaluation loss "
            "that falls with the training loss may only show that the model has seen this data before. Evaluate on "
            "held-out documents: give the validation split a share of its own (split 949,50,1), and remove copies "
            "from the corpus"
        )
    return tr(
        "the evaluation set overlaps the training data: of {looked_up:,} of its documents that were looked up, "
        "{matching:,} are in the training data. So an evaluation loss that falls with the training loss may only show "
        "that the model has seen this data before. Evaluate on held-out documents: give the validation split a share "
        "of its own (split 949,50,1), and remove copies from the corpus",
        looked_up=looked_up,
        matching=matching,
    )


def _evaluation_unknown(ground: str, fault: str) -> str:
    return tr(
        "whether the evaluation set overlaps the training data is unknown: {why}. If it does, an evaluation loss that "
        "falls with the training loss may only show that the model has seen this data before. Make sure that it is "
        "held out",
        why=tr(_EVALUATION_UNKNOWN[ground]) if ground in _EVALUATION_UNKNOWN else fault,
    )


def _extra_evaluations(steps: Sequence[int], samples: int | None, batches: int | None) -> str:
    n = len(steps)
    if batches is None:
        what = counted(
            "{n} extra evaluation: after step {steps}",
            "{n} extra evaluations: after steps {steps}",
            n,
            steps=_listed(steps),
        )
    else:
        size = counted("{n} batch", "{n} batches", batches)
        what = counted(
            "{n} extra evaluation of {size}: after step {steps}",
            "{n} extra evaluations of {size} each: after steps {steps}",
            n,
            size=size,
            steps=_listed(steps),
        )
    if samples is None:
        return tr("{evaluations}. --epoch_guard_evaluate False leaves them out", evaluations=what)
    return tr(
        "{evaluations}; the evaluation set has {samples:,} samples. --epoch_guard_evaluate False leaves them out",
        evaluations=what,
        samples=samples,
    )


def _evaluates_nothing(why: str) -> str:
    return tr("--epoch_guard_evaluate does nothing: {why}", why=tr(_EVALUATES_NOTHING[why]))


def _same_corpus(names: Sequence[str] | str) -> str:
    return tr(
        "{names} are the same corpus: a draw from one repeats what was drawn from another. Exposure, and the losses "
        "of fresh and repeated samples, count them as one. If that is not meant, list the corpus once, with the sum "
        "of the weights",
        names=_named(names),
    )


def _same_sizes(names: Sequence[str] | str) -> str:
    return tr(
        "{names} have the same document sizes, but it is unknown whether they are the same corpus: the text of one, "
        "its .bin file, cannot be read. Exposure counts them as two corpora; if they are copies, it is too low. Put "
        "the .bin files where the prefixes say",
        names=_named(names),
    )


_WHY_UNKNOWN = {
    "no_arguments": mark(
        "they ran without the guard, and checkpoint-{checkpoint} lacks what the trainer saves of them "
        "(training_args.bin, trainer_state.json)"
    ),
    "other_arguments": mark(
        "they ran without the guard, and by checkpoint-{checkpoint} {what} was {then} then; it is {now} now"
    ),
    "other_position": mark("they ran without the guard, and do not lead to the position at which the run goes on"),
    "other_blend": mark(
        "they ran without the guard, the datasets or weights of the blend have changed since the guard was on, and "
        "which of them these steps drew from is not recorded"
    ),
    "other_index": mark(
        "they ran without the guard, and may have drawn from another index of the same corpus for as many samples, "
        "{path}: which one is not recorded"
    ),
    "other_corpus": mark("they drew from a corpus ({corpus}) that is not one of the present ones, or has changed"),
    "index_missing": mark(
        "their index, for {samples} samples and seed {seed}, is no longer in the cache (files {path})"
    ),
    "index_changed": mark(
        "their index, for {samples} samples and seed {seed} (files {path}), is damaged, or not the one that was drawn "
        "from"
    ),
    "blend_lost": mark("the order of their blend cannot be built again: its weights are recorded only rounded"),
}
"""Why it is not known what some steps drew."""


def _earlier_unknown(first_step: int, last_step: int, why: str, **values: object) -> str:
    return tr(
        "what steps {first_step} to {last_step} drew is unknown: {why}. This run logs no exposure, and no losses of "
        "fresh and repeated samples",
        first_step=first_step,
        last_step=last_step,
        why=tr(_WHY_UNKNOWN[why], **values),
    )


def _named(names: Sequence[str] | str) -> str:
    """Names as a list in a sentence; records of earlier releases hold it as such."""
    return names if isinstance(names, str) else joined(names)


def _share_ranks_without_layer(ranks: int) -> str:
    return counted(
        "each log window's loss is divided among its data epochs by share of samples: {n} data rank has no token-loss "
        "layer",
        "each log window's loss is divided among its data epochs by share of samples: {n} data ranks have no "
        "token-loss layer",
        ranks,
    )


def _keeps_nothing(steps: int, least: int) -> str:
    return counted(
        "neither record nor report page of this run is kept: report_to names no logger, and {n} step is fewer than a "
        "verdict needs, {least}. --logging_dir FOLDER keeps both",
        "neither record nor report page of this run is kept: report_to names no logger, and {n} steps are fewer than "
        "a verdict needs, {least}. --logging_dir FOLDER keeps both",
        steps,
        least=least,
    )


MESSAGES: dict[str, str | Callable[..., str]] = {
    "text": "{text}",
    "shuffled_again": mark(
        "the sampler {sampler} shuffles the positions of the sample index, which is shuffled already. That undoes the "
        "index's own order: no data epoch is drawn separately, and samples beyond those requested are drawn too. The "
        "guard tracks the order that is drawn. Use the pretraining sampler, "
        "utils.batch_sampler.DistributedBatchSampler of the library that trains"
    ),
    "sampler_unknown": _sampler_unknown,
    "boundary_ahead": _boundary_ahead,
    "grouped_together": mark(
        "the index of {dataset} shuffles its last data epoch together with the others, though it is below 80% of an "
        "epoch: it was built with another threshold. There is no boundary before it"
    ),
    "grouped_apart": mark(
        "the index of {dataset} shuffles its last data epoch apart, though it is 80% of an epoch or more: it was "
        "built with another threshold. The boundary is where the arrays have it"
    ),
    "will_run_dry": mark(
        "the loader will run out of data after step {last} of {max_steps}: it reads positions {start} to {stop}, "
        "{global_batch} per step. Build the dataset for at least max_steps x global batch samples"
    ),
    "rewound": mark(
        "trainer epoch {epoch} is read from its beginning. Without the guard, the trainer would begin this and every "
        "later trainer epoch at position {position}, to which the resume set the sampler, and draw only the tail of "
        "the data"
    ),
    "read_again": mark(
        "the loader ran out of data after step {step}, at position {stop} of the sample index, before max_steps "
        "{max_steps}. The trainer reads the index again from position 0, and draws samples twice. Build the dataset "
        "for at least max_steps x global batch samples"
    ),
    "ran_dry": _ran_dry,
    "loss_is_no_number": _loss_is_no_number,
    "evaluation_overlaps": _evaluation_overlaps,
    "evaluation_unknown": _evaluation_unknown,
    "extra_evaluations": _extra_evaluations,
    "evaluates_nothing": _evaluates_nothing,
    "exposure_unknown": mark(
        "the samples that the steps before {first_step} drew are unknown: these steps ran without the guard, or in "
        "another order. This run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "earlier_unknown": _earlier_unknown,
    "weights_unknown": mark(
        "what the weights that this run starts from were trained on is unknown: their checkpoint holds no order that "
        "fits this data. This run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "reorder_overlaps": mark(
        "the unified order covers positions that were drawn before in another order, which are not traced twice. This "
        "run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "same_corpus": _same_corpus,
    "same_sizes": _same_sizes,
    "draws_miscounted": mark(
        "the loader has delivered {batches:+d} batches against the schedule at step {step}: which data the steps drew "
        "is in doubt. Checkpoints from here on keep no order, and cannot be resumed with the guard"
    ),
    "order_replaced": mark(
        "the training dataset no longer draws by the arrays that this run began with (seen at step {step}): something "
        "has replaced them. Checkpoints from here on keep no order, and cannot be resumed with the guard"
    ),
    "exposure_failed": mark(
        "exposure, and the losses of fresh and repeated samples, are not logged from here on: {fault}. Data epochs, "
        "boundaries and losses by epoch go on"
    ),
    "order_of_state": mark(
        "the checkpoint of step {step} has no epoch_guard.json that fits: saving it was interrupted, or it lies "
        "elsewhere. The run continues in its order, which the trainer's own state holds; the losses by epoch of the "
        "steps before are lost"
    ),
    "keeps_nothing": _keeps_nothing,
    "keeps_record": mark(
        "report_to names no logger: of this run, only the record is kept, {record}, without charts and report page. "
        "'paddle-epoch-guard report {output}' makes the page of it; --logging_dir FOLDER keeps all"
    ),
    "begins_anew": mark(
        "because of --ignore_load_lr_and_optim, the run starts at step 0 with the weights of {checkpoint}, and draws "
        "the data again that these were trained on"
    ),
    "order_rebuilt": mark("'rebuild' wrote the index in one order from position {position} on; the run draws in it"),
    "order_stays": mark(
        "the run began a unified order at position {position}, which stays in force: leaving it now would draw "
        "samples twice and lose others. Set --epoch_guard unified to resume without this warning"
    ),
    "ends_before_boundary": mark(
        "nothing to unify: the run ends at position {stop}, before the boundary at {boundary}. Tracking only"
    ),
    "one_epoch": mark("nothing to unify: the run draws one data epoch. Tracking only"),
    "shuffled_together": mark(
        "nothing to unify: the host has shuffled all data epochs together already. Tracking only"
    ),
    "nothing_left": mark(
        "nothing left to unify: the run resumes at position {start}, and the boundary of data epochs {from_epoch} to "
        "{to_epoch} lies at position {boundary}: all that remains is of the last data epoch. The order stays"
    ),
    "order_changed": mark("the order was changed in mid-run, because --epoch_guard_on_mismatch is warn, {mismatch}"),
    "share_ranks_unknown": mark(
        "each log window's loss is divided among its data epochs by share of samples: which rank draws which samples "
        "of a step is unknown"
    ),
    "share_no_layer": mark(
        "each log window's loss is divided among its data epochs by share of samples: the model has no unreduced "
        "token-loss layer like that of PaddleNLP's criteria"
    ),
    "share_ranks_without_layer": _share_ranks_without_layer,
    "share_other_loss": mark(
        "each log window's loss is divided among its data epochs by share of samples: the mean of the tokens' losses, "
        "{mean:.6g}, is not the loss that the trainer logs, {logged:.6g}, which includes other terms"
    ),
    "share_disturbed": mark(
        "the losses that the model computed in train mode are not those of the samples drawn: {what}. Does a "
        "callback, or other code of yours, run the model in train mode? Let it call model.eval() before and "
        "model.train() after. Until the numbers agree, each log window's loss goes to its data epochs by share"
    ),
    "share_back": mark(
        "the losses of the samples agree again; they are used from the window that ends at step {step} on"
    ),
    "share_fault": mark("each log window's loss is divided among its data epochs by share of samples: {fault}"),
}
"""A text by code, or a function that makes it; it takes the parameters of the message."""


def sentence_of(message: Message) -> str:
    """A message as a sentence. If this release does not know the code: the code and its parameters."""
    template = MESSAGES.get(message.code)
    if template is None:
        return f"{message.code}: {message.parameters}"
    return tr(template, **message.parameters) if isinstance(template, str) else template(**message.parameters)


def outlook(began: PartBegan) -> str:
    """The data epochs and boundaries ahead of a run, in one line."""
    if not began.has_index:
        return tr("the dataset has no sample index; its data epochs are the trainer's epochs")
    if not began.data_epochs:
        return tr("tracking the trainer's epochs")
    epochs = tr(", ").join(
        counted("{n} data epoch of {dataset}", "{n} data epochs of {dataset}", count, dataset=name)
        for name, count in zip(began.datasets, began.data_epochs, strict=True)
    )
    if not began.boundaries:
        return tr("tracking {epochs}; boundaries ahead: none", epochs=epochs)
    ahead = tr(", ").join(
        tr("{before} to {after} at step {step}", before=each.from_epoch, after=each.to_epoch, step=each.step)
        for each in began.boundaries
    )
    return tr("tracking {epochs}; boundaries ahead: {boundaries}", epochs=epochs, boundaries=ahead)


def traced(event: TokensTraced) -> str:
    """The number of tokens that the exposure is estimated from."""
    if event.traced == event.tokens:
        return tr("exposure: all {tokens:,} tokens of the data are traced", tokens=event.tokens)
    return tr(
        "exposure: {traced:,} of {tokens:,} tokens are traced, picked at random; a mean over steps is usually off by "
        "less than 0.04",
        traced=event.traced,
        tokens=event.tokens,
    )


def boundary_reached(boundary: BoundaryStep, naming: Naming, all_repeated: bool = True) -> str:
    """What happens when the run reaches a boundary.

    Args:
        boundary: the boundary.
        naming: names its data epochs.
        all_repeated: whether all data behind it has been drawn before.
    """
    epoch = epoch_name(boundary.to_epoch, boundary.dataset, naming)
    if naming.trainer or boundary.position is None:
        return tr("Step {step} begins {epoch}.", step=boundary.step, epoch=epoch)
    values = {"step": boundary.step, "position": boundary.position, "epoch": epoch}
    if not all_repeated:
        return tr(
            "Step {step} draws the first samples, from position {position} on, of {epoch}, which is shuffled "
            "separately. The run has not drawn this order from its beginning: how much of the data it has seen before "
            "is what exposure says, where it is known.",
            **values,
        )
    if boundary.from_epoch == 1:
        return tr(
            "Step {step} draws the first samples, from position {position} on, of {epoch}, which is shuffled "
            "separately from data epoch 1. From here on, the model sees only data that it has seen before: a fall of "
            "the training loss here is no progress by itself.",
            **values,
        )
    return tr(
        "Step {step} draws the first samples, from position {position} on, of {epoch}, which is shuffled separately "
        "from data epochs 1 to {last}. From here on, the model sees only data that it has seen before: a fall of the "
        "training loss here is no progress by itself.",
        last=boundary.from_epoch,
        **values,
    )


def reorder_begins(reorder: Reorder, step: int) -> str:
    """What happens when a unified order begins."""
    values = {"step": step, "start": reorder.start, "stop": reorder.stop, "seed": reorder.key[0]}
    if reorder.mix == "ramp":
        return tr(
            "Unified from step {step} (position {start}) on: the samples up to position {stop} are drawn in one "
            "order, the share of the last data epoch rising from zero (seed {seed}), so that the last data epoch does "
            "not start abruptly.",
            **values,
        )
    return tr(
        "Unified from step {step} (position {start}) on: the samples up to position {stop} are drawn in one order, "
        "mixed evenly (seed {seed}), so that the last data epoch does not start abruptly.",
        **values,
    )


def summary(totals: Sequence[EpochLoss], contrast: Contrast, verdicts: Iterable[ChangeReport], naming: Naming) -> str:
    """A line for each epoch; one for repeated against fresh samples; then the verdict at each change point."""
    lines = [f"  {_of_epoch(total, naming)}" for total in totals]
    if (difference := contrast.difference) is not None:
        lines.append(f"  {repeated_against_fresh(difference, len(naming.datasets) > 1)}")
    reports = sorted(verdicts, key=lambda report: report.change.step)
    return "\n".join([*lines, *(f"  {verdict(report, naming)}" for report in reports)])


def _of_epoch(total: EpochLoss, naming: Naming) -> str:
    epoch = tr("trainer epoch {epoch}", epoch=total.epoch)
    if not naming.trainer:
        epoch = tr("data epoch {epoch}", epoch=total.epoch)
    if len(naming.datasets) > 1:
        epoch = tr("{dataset}, {epoch}", dataset=naming.datasets[total.dataset], epoch=epoch)
    return tr(
        "{epoch}: {samples}, steps {first} to {last}, mean loss {loss:.4f}",
        epoch=epoch,
        samples=counted("{n} sample", "{n} samples", total.samples),
        first=total.first_step,
        last=total.last_step,
        loss=total.mean_loss,
    )


def repeated_against_fresh(difference: Difference, is_blend: bool) -> str:
    """By how much the loss of repeated samples differs from that of fresh ones; not a whole sentence."""
    fresh = tr("fresh ones of the same steps and dataset") if is_blend else tr("fresh ones of the same steps")
    values = {"fresh": fresh, "size": abs(difference.value), "error": difference.error}
    if not difference.significant:
        values["size"] = difference.value
        return tr(
            "the loss of repeated samples does not differ clearly from that of {fresh} ({size:+.4f} \u00b1 "
            "{error:.4f})",
            **values,
        )
    if difference.value < 0:
        return tr("repeated samples have a loss lower by {size:.4f} \u00b1 {error:.4f} than {fresh}", **values)
    return tr("repeated samples have a loss higher by {size:.4f} \u00b1 {error:.4f} than {fresh}", **values)


def _listed(steps: Sequence[int]) -> str:
    shown = [f"{step}" for step in steps]
    return ", ".join(shown if len(shown) <= _LISTED else [*shown[: _LISTED - 1], "...", shown[-1]])
