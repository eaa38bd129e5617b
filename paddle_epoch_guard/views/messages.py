"""Events as sentences, in English. Another language would be another module like this."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from paddle_epoch_guard.ledger import BoundaryStep, Contrast, Difference, EpochLoss
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.events import Message, PartBegan, TokensTraced
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.verdicts import ChangeReport
from paddle_epoch_guard.views.verdict_texts import verdict

_USE = "Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of the library that trains"
_BUILD_MORE = "Build the dataset for at least max_steps x global batch samples"

_LISTED = 12  # steps, in one message

_MIXES = {"uniform": "mixed evenly", "ramp": "the share of the last data epoch rising from zero"}

_BY_SHARE = "each log window's loss is divided among its data epochs by share of samples: "

_CONFIRMS_NOTHING = (
    "an evaluation loss that falls with the training loss may only show that the model has seen this data before"
)
_EVALUATION_UNKNOWN = {
    "no_documents": "the two are not both sample indices of PaddleNLP, so their documents cannot be compared",
    "too_short": "no document of the evaluation set is long enough to be looked up",
    "out_of_time": "there was no time to look enough documents up in the training data",
}
_EVALUATES_NOTHING = {
    "no_evaluation_set": (
        "the Trainer has no evaluation set. Give it an eval_dataset; run_pretrain.py needs --do_eval, and a share for "
        "validation in --split"
    ),
    "several_sets": "the Trainer has several evaluation sets, and no loss of all of them. Give it one eval_dataset",
    "distributed_dataloader": (
        "the evaluation loader of --distributed_dataloader may be built only once. Let the Trainer evaluate by "
        "--evaluation_strategy steps"
    ),
    "no_positions": (
        f"the guard does not know at which steps the order of the data changes. {_USE}, and a dataset with a sample "
        "index"
    ),
    "no_changes": "no change point lies ahead, or close behind",
    "evaluated_anyway": "the Trainer evaluates at all of these steps by itself",
}


def _boundary_ahead(
    step: int, max_steps: int, exposure: Sequence[float | None], verdict: dict[str, Any], **where: Any
) -> str:
    """At most six lines."""
    before, after = exposure
    dataset, others = where["dataset"], where["others"]
    whose, what = ("the training loss", "all data") if not dataset else (f"the loss of {dataset}", "all of its data")
    # The first repetition is remembered most: the loss of data seen twice hardly differs from that of data seen once.
    falls = "will probably fall" if before is None or before < 1 else "may fall a little"
    more = f" ({_count(others, 'more boundar', 'ies', 'y')} behind it)" if others else ""
    lines = [f"{whose} {falls} at step {step:,} of {max_steps:,}{more}: from there on, {what} has been seen before"]
    if before is not None and after is not None:
        share = (max_steps - step + 1) / max_steps
        lines.append(
            f"  Exposure (times drawn before, on average): {before:.2f} before it, {after:.2f} in the {share:.0%} of "
            "the run behind it"
        )
    lines.append("  Such a fall is no progress: the model meets again what it remembers")
    unified = "--epoch_guard unified, or " if where["can_unify"] else ""
    lines.append(f"  To avoid it: {unified}max_steps of at most {step - 1:,} (paddle-epoch-guard plan knows more)")
    return "\n".join([*lines, *_when_judged(**verdict)])


def _when_judged(
    first_verdict: int | None,
    final_verdict: int,
    most_logging_steps: int | None,
    evaluates: bool,
    most_eval_steps: int | None,
) -> list[str]:
    """When the verdict comes, and what stands in its way."""
    when = "  No verdict can be given: too few log windows follow"
    if first_verdict is not None:
        last = f", the final one by step {final_verdict:,}" if final_verdict > first_verdict else ""
        when = f"  A first verdict comes by step {first_verdict:,}{last}"
    wanted = [] if most_logging_steps is None else [f"logging_steps of at most {most_logging_steps:,}"]
    if most_eval_steps is not None:
        strategy = "" if evaluates else "evaluation_strategy steps, "
        wanted.append(f"{strategy}eval_steps of at most {most_eval_steps:,} (or --epoch_guard_evaluate)")
    return [when] if not wanted else [when, f"  For one that is sure, set {' and '.join(wanted)}"]


MESSAGES: dict[str, str | Callable[..., str]] = {
    "text": "{text}",
    "shuffled_again": (
        "the sampler {sampler} shuffles the positions of the sample index, which is shuffled already. That undoes "
        "the index's own order: no data epoch is drawn separately, and samples beyond those requested are drawn too. "
        f"The guard tracks the order that is drawn. {_USE}"
    ),
    "sampler_unknown": lambda sampler, why: (
        f"the sampler {sampler} is not supported{f' ({why})' if why else ''}: its data epochs are unknown, and "
        f"the guard logs the trainer's own epochs instead. {_USE}"
    ),
    "boundary_ahead": _boundary_ahead,
    "grouped_together": (
        "the index of {dataset} shuffles its last data epoch together with the others, though it is below 80% of an "
        "epoch: it was built with another threshold. There is no boundary before it"
    ),
    "grouped_apart": (
        "the index of {dataset} shuffles its last data epoch apart, though it is 80% of an epoch or more: it was "
        "built with another threshold. The boundary is where the arrays have it"
    ),
    "will_run_dry": (
        "the loader will run out of data after step {last} of {max_steps}: it reads positions {start} to {stop}, "
        f"{{global_batch}} per step. {_BUILD_MORE}"
    ),
    "rewound": (
        "trainer epoch {epoch} is read from its beginning. Without the guard, the trainer would begin this and every "
        "later trainer epoch at position {position}, to which the resume set the sampler, and draw only the tail of "
        "the data"
    ),
    "read_again": (
        "the loader ran out of data after step {step}, at position {stop} of the sample index, before max_steps "
        f"{{max_steps}}. The trainer reads the index again from position 0, and draws samples twice. {_BUILD_MORE}"
    ),
    "ran_dry": lambda step, max_steps, stop: (
        f"training stopped at step {step} of {max_steps} because the loader ran out of data at the end of "
        f"{'the dataset' if stop is None else f'the sample index, position {stop}'}. The run is shorter than planned, "
        f"but the learning-rate schedule and the data mix were made for max_steps. {_BUILD_MORE}"
    ),
    "loss_is_no_number": lambda first_step, last_step, loss, is_known: (
        f"the trainer's loss of steps {first_step} to {last_step} is {loss}; under fp16 all later ones are too. "
        "The guard still tracks data epochs, exposure and boundaries. "
        + ("From here on, losses are those of the samples" if is_known else "These steps have no loss")
        + "; means leave out windows whose samples have no loss either"
    ),
    "evaluation_overlaps": lambda ground, looked_up, matching: (
        "the evaluation set overlaps the training data: "
        + (
            "both draw from the same documents"
            if ground == "same_documents"
            else f"of {looked_up:,} of its documents that were looked up, {matching:,} are in the training data"
        )
        + f". So {_CONFIRMS_NOTHING}. Evaluate on held-out documents: give the validation split a share of its own "
        "(split 949,50,1), and remove copies from the corpus"
    ),
    "evaluation_unknown": lambda ground, fault: (
        "whether the evaluation set overlaps the training data is unknown: "
        f"{_EVALUATION_UNKNOWN.get(ground, fault)}. If it does, {_CONFIRMS_NOTHING}. Make sure that it is held out"
    ),
    "extra_evaluations": lambda steps, samples, batches: (
        f"{_count(len(steps), 'extra evaluation')}"
        + ("" if batches is None else f" of {_count(batches, 'batch', 'es')}{' each' if len(steps) > 1 else ''}")
        + f": after step{'s' if len(steps) > 1 else ''} {_listed(steps)}"
        + ("" if samples is None else f"; the evaluation set has {samples:,} samples")
        + ". --epoch_guard_evaluate False leaves them out"
    ),
    "evaluates_nothing": lambda why: f"--epoch_guard_evaluate does nothing: {_EVALUATES_NOTHING[why]}",
    "exposure_unknown": (
        "the samples that the steps before {first_step} drew are unknown: these steps ran without the guard, or in "
        "another order. This run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "weights_unknown": (
        "what the weights that this run starts from were trained on is unknown: their checkpoint holds no order that "
        "fits this data. This run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "reorder_overlaps": (
        "the unified order covers positions that were drawn before in another order, which are not traced twice. This "
        "run logs no exposure, and no losses of fresh and repeated samples"
    ),
    "same_corpus": (
        "{names} are the same corpus: a draw from one repeats what was drawn from another. Exposure, and the losses "
        "of fresh and repeated samples, count them as one. If that is not meant, list the corpus once, with the sum "
        "of the weights"
    ),
    "same_sizes": (
        "{names} have the same document sizes, but it is unknown whether they are the same corpus: the text of one, "
        "its .bin file, cannot be read. Exposure counts them as two corpora; if they are copies, it is too low. Put "
        "the .bin files where the prefixes say"
    ),
    "draws_miscounted": (
        "the loader has delivered {batches:+d} batches against the schedule at step {step}: which data the steps "
        "drew is in doubt. Checkpoints from here on keep no order, and cannot be resumed with the guard"
    ),
    "order_replaced": (
        "the training dataset no longer draws by the arrays that this run began with (seen at step {step}): something "
        "has replaced them. Checkpoints from here on keep no order, and cannot be resumed with the guard"
    ),
    "exposure_failed": (
        "exposure, and the losses of fresh and repeated samples, are not logged from here on: {fault}. Data epochs, "
        "boundaries and losses by epoch go on"
    ),
    "order_of_state": (
        "the checkpoint of step {step} has no epoch_guard.json that fits: saving it was interrupted, or it lies "
        "elsewhere. The run continues in its order, which the trainer's own state holds; the losses by epoch of the "
        "steps before are lost"
    ),
    "begins_anew": (
        "because of --ignore_load_lr_and_optim, the run starts at step 0 with the weights of {checkpoint}, and draws "
        "the data again that these were trained on"
    ),
    "order_rebuilt": "'rebuild' wrote the index in one order from position {position} on; the run draws in it",
    "order_stays": (
        "the run began a unified order at position {position}, which stays in force: leaving it now would draw "
        "samples twice and lose others. Set --epoch_guard unified to resume without this warning"
    ),
    "ends_before_boundary": (
        "nothing to unify: the run ends at position {stop}, before the boundary at {boundary}. Tracking only"
    ),
    "one_epoch": "nothing to unify: the run draws one data epoch. Tracking only",
    "shuffled_together": "nothing to unify: the host has shuffled all data epochs together already. Tracking only",
    "nothing_left": (
        "nothing left to unify: the run resumes at position {start}, and the boundary of data epochs {from_epoch} to "
        "{to_epoch} lies at position {boundary}: all that remains is of the last data epoch. The order stays"
    ),
    "order_changed": "the order was changed in mid-run, because --epoch_guard_on_mismatch is warn, {mismatch}",
    "share_ranks_unknown": f"{_BY_SHARE}which rank draws which samples of a step is unknown",
    "share_no_layer": f"{_BY_SHARE}the model has no unreduced token-loss layer like that of PaddleNLP's criteria",
    "share_ranks_without_layer": f"{_BY_SHARE}{{ranks}} data ranks have no token-loss layer",
    "share_other_loss": (
        f"{_BY_SHARE}the mean of the tokens' losses, {{mean:.6g}}, is not the loss that the trainer logs, "
        "{logged:.6g}, which includes other terms"
    ),
    "share_disturbed": (
        "the losses that the model computed in train mode are not those of the samples drawn: {what}. Does a "
        "callback, or other code of yours, run the model in train mode? Let it call model.eval() before and "
        "model.train() after. Until the numbers agree, each log window's loss goes to its data epochs by share"
    ),
    "share_back": "the losses of the samples agree again; they are used from the window that ends at step {step} on",
    "share_fault": f"{_BY_SHARE}{{fault}}",
}
"""A template by code; it takes the parameters of the message."""


def sentence_of(message: Message) -> str:
    """A message as a sentence. If this release does not know the code: the code and its parameters."""
    template = MESSAGES.get(message.code)
    if template is None:
        return f"{message.code}: {message.parameters}"
    return template.format(**message.parameters) if isinstance(template, str) else template(**message.parameters)


def outlook(began: PartBegan) -> str:
    """The data epochs and boundaries ahead of a run, in one line."""
    if not began.has_index:
        return "the dataset has no sample index; its data epochs are the trainer's epochs"
    if not began.data_epochs:
        return "tracking the trainer's epochs"
    epochs = ", ".join(
        f"{count} data epoch{'s' if count > 1 else ''} of {name}"
        for name, count in zip(began.datasets, began.data_epochs, strict=True)
    )
    ahead = ", ".join(f"{step.from_epoch} to {step.to_epoch} at step {step.step}" for step in began.boundaries)
    return f"tracking {epochs}; boundaries ahead: {ahead or 'none'}"


def traced(event: TokensTraced) -> str:
    """The number of tokens that the exposure is estimated from."""
    if event.traced == event.tokens:
        return f"exposure: all {event.tokens:,} tokens of the data are traced"
    return (
        f"exposure: {event.traced:,} of {event.tokens:,} tokens are traced, picked at random; a mean over steps is "
        "usually off by less than 0.04"
    )


def boundary_reached(boundary: BoundaryStep, naming: Naming) -> str:
    """What happens when the run reaches a boundary."""
    of_dataset = _of_dataset(boundary, naming)
    if naming.trainer or boundary.position is None:
        return f"Step {boundary.step} begins {_kind(naming)} {boundary.to_epoch}{of_dataset}."
    before = "data epoch 1" if boundary.from_epoch == 1 else f"data epochs 1 to {boundary.from_epoch}"
    return (
        f"Step {boundary.step} draws the first samples, from position {boundary.position} on, of data epoch "
        f"{boundary.to_epoch}{of_dataset}, which is shuffled separately from {before}. From here on, the model sees "
        "only data that it has seen before: a fall of the training loss here is no progress by itself."
    )


def reorder_begins(reorder: Reorder, step: int) -> str:
    """What happens when a unified order begins."""
    return (
        f"Unified from step {step} (position {reorder.start}) on: the samples up to position {reorder.stop} are drawn "
        f"in one order, {_MIXES[reorder.mix]} (seed {reorder.key[0]}), so that the last data epoch does not start "
        "abruptly."
    )


def summary(totals: Sequence[EpochLoss], contrast: Contrast, verdicts: Iterable[ChangeReport], naming: Naming) -> str:
    """A line for each epoch; one for repeated against fresh samples; then the verdict at each change point."""
    lines = []
    for total in totals:
        name = f"{naming.datasets[total.dataset]}, " if len(naming.datasets) > 1 else ""
        lines.append(
            f"  {name}{_kind(naming)} {total.epoch}: {total.samples:,} samples, "
            f"steps {total.first_step} to {total.last_step}, mean loss {total.mean_loss:.4f}"
        )
    if (difference := contrast.difference) is not None:
        lines.append(f"  {repeated_against_fresh(difference, len(naming.datasets) > 1)}")
    reports = sorted(verdicts, key=lambda report: report.change.step)
    return "\n".join([*lines, *(f"  {verdict(report, naming)}" for report in reports)])


def repeated_against_fresh(difference: Difference, is_blend: bool) -> str:
    """By how much the loss of repeated samples differs from that of fresh ones; not a whole sentence."""
    fresh = f"fresh ones of the same steps{' and dataset' if is_blend else ''}"
    if not difference.significant:
        sizes = f"{difference.value:+.4f} \u00b1 {difference.error:.4f}"
        return f"the loss of repeated samples does not differ clearly from that of {fresh} ({sizes})"
    way = "lower" if difference.value < 0 else "higher"
    return (
        f"repeated samples have a loss {way} by {abs(difference.value):.4f} \u00b1 {difference.error:.4f} than {fresh}"
    )


def _kind(naming: Naming) -> str:
    return "trainer epoch" if naming.trainer else "data epoch"


def _of_dataset(boundary: BoundaryStep, naming: Naming) -> str:
    return "" if len(naming.datasets) < 2 else f" of {naming.datasets[boundary.dataset]}"


def _count(number: int, what: str, plural: str = "s", singular: str = "") -> str:
    return f"{number:,} {what}{singular if number == 1 else plural}"


def _listed(steps: Sequence[int]) -> str:
    shown = [f"{step}" for step in steps]
    return ", ".join(shown if len(shown) <= _LISTED else [*shown[: _LISTED - 1], "...", shown[-1]])
