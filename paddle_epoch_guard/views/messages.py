"""Events as sentences, in English. A second language is one more module like this."""

from collections.abc import Callable, Iterable, Sequence

from paddle_epoch_guard.ledger import BoundaryStep, EpochLoss, Weighted
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.events import Message, PartBegan, TokensTraced
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.verdicts import ChangeReport

_USE = "Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of the library that trains"
_BUILD_MORE = "Build the dataset for at least max_steps x global batch samples"

REASONS = {
    "too_few_steps": "too few steps",
    "no_jump": "no jump beyond trend and noise",
    "evaluation_confirms": "confirmed by evaluation",
    "evaluation_rises": "evaluation rises too: the model got worse",
    "exposure_unknown": "exposure is not known",
    "exposure_flat": "exposure does not jump: learning-rate schedule, or another change",
    "exposure_opposes": "what was seen more often is not known better: another change",
    "no_evaluation": "not confirmed by evaluation",
    "evaluation_uncertain": "not confirmed by evaluation, which is too uncertain to tell",
    "evaluation_flat": "evaluation does not jump with it",
}
"""Why a verdict is what it is, by :data:`~paddle_epoch_guard.statistics.discontinuity.Reason`."""

_MIXES = {"uniform": "mixed evenly", "ramp": "the share of the last data epoch rising from zero"}

_BY_SHARE = "each log window's loss goes to its data epochs by share, for "

MESSAGES: dict[str, str | Callable[..., str]] = {
    "text": "{text}",
    "shuffled_again": (
        "the sampler {sampler} shuffles the positions of the sample index, which is shuffled already, once more: its "
        "own order is undone, so that no data epoch is drawn apart, and samples beyond those asked for are drawn as "
        f"well. It is followed as it is. {_USE}"
    ),
    "sampler_unknown": lambda sampler, why: (
        f"the sampler {sampler} is not one whose positions are followed{f' ({why})' if why else ''}: data epochs are "
        f"not known in this run, and the trainer's own epochs are logged instead. {_USE}"
    ),
    "will_run_dry": (
        "the loader will run dry after step {last} of {max_steps}: it reads positions {start} to {stop}, "
        f"{{global_batch}} a step. {_BUILD_MORE}"
    ),
    "rewound": (
        "trainer epoch {epoch} is read from its beginning. By itself the trainer would begin it, and each later one, "
        "at position {position}, to which it set the sampler when the run was resumed: only the tail of the data "
        "would be drawn, again and again"
    ),
    "read_again": (
        "the loader ran dry after step {step}, at position {stop} of the sample index, before max_steps {max_steps}. "
        f"The trainer reads it again from position 0: samples are drawn a second time. {_BUILD_MORE}"
    ),
    "ran_dry": lambda step, max_steps, stop: (
        f"training stopped at step {step} of {max_steps} because the loader ran dry at the end of "
        f"{'the data' if stop is None else f'the sample index, position {stop}'}. The run is shorter than planned: "
        f"learning rate schedule and data mix were laid out for max_steps. {_BUILD_MORE}"
    ),
    "loss_is_no_number": lambda first_step, last_step, loss, is_known: (
        f"the trainer's loss of steps {first_step} to {last_step} is {loss}; under fp16 all later ones are too. "
        "Data epochs, exposure and boundaries are followed as before. "
        + ("Losses are those of the samples from here on" if is_known else "These steps have no loss")
        + "; a window whose samples have none either is left out of every mean"
    ),
    "exposure_unknown": (
        "which samples the steps before {first_step} drew is not known: they ran without the guard, or in another "
        "order. Exposure, and the losses of fresh and repeated samples, are not logged in this run"
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
        "elsewhere. The run goes on in its order, which the trainer's own state holds; the losses by epoch of the "
        "steps before are lost"
    ),
    "begins_anew": (
        "as --ignore_load_lr_and_optim asks, the run starts at step 0 from the weights of {checkpoint}: the data that "
        "these have seen is drawn again"
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
    "share_ranks_unknown": f"{_BY_SHARE}which rank draws which samples of a step is not known",
    "share_no_layer": f"{_BY_SHARE}the model has no unreduced token-loss layer, as PaddleNLP's criterions have it",
    "share_ranks_without_layer": f"{_BY_SHARE}{{ranks}} data ranks have no token-loss layer",
    "share_other_loss": (
        f"{_BY_SHARE}the mean of the tokens' losses, {{mean:.6g}}, is not the loss that the trainer logs, "
        "{logged:.6g}, which holds something else as well"
    ),
    "share_disturbed": (
        "the losses that the model computed in train mode are not those of the samples drawn: {what}. Does a "
        "callback, or other code of yours, run the model in train mode? Let it call model.eval() before and "
        "model.train() after. Until the numbers agree, each log window's loss goes to its data epochs by share"
    ),
    "share_back": "the losses of the samples agree again; they are used from the window that ends at step {step} on",
    "share_fault": f"{_BY_SHARE}{{fault}}",
}
"""Sentences by code; each is given the parameters of its message."""


def sentence_of(message: Message) -> str:
    """A message as a sentence. A code that this release does not know is shown with its parameters."""
    template = MESSAGES.get(message.code)
    if template is None:
        return f"{message.code}: {message.parameters}"
    return template.format(**message.parameters) if isinstance(template, str) else template(**message.parameters)


def outlook(began: PartBegan) -> str:
    """What lies ahead of a run, in one line."""
    if not began.has_index:
        return "the dataset has no sample index; its data epochs are the trainer's epochs"
    if not began.data_epochs:
        return "following the trainer's epochs"
    epochs = ", ".join(
        f"{name} {count} data epoch{'s' if count > 1 else ''}"
        for name, count in zip(began.datasets, began.data_epochs, strict=True)
    )
    ahead = ", ".join(f"{step.from_epoch} to {step.to_epoch} at step {step.step}" for step in began.boundaries)
    return f"following {epochs}; boundaries ahead: {ahead or 'none'}"


def traced(event: TokensTraced) -> str:
    """What the exposure of a run is known from."""
    if event.traced == event.tokens:
        return f"exposure: all {event.tokens:,} tokens of the data are traced"
    return (
        f"exposure: {event.traced:,} of {event.tokens:,} tokens are traced, picked at random; a mean over steps is "
        "off by less than 0.04 as a rule"
    )


def boundary_reached(boundary: BoundaryStep, naming: Naming) -> str:
    """What happens at a boundary, when it is reached."""
    of_dataset = _of_dataset(boundary, naming)
    if naming.trainer or boundary.position is None:
        return f"Step {boundary.step} begins {_kind(naming)} {boundary.to_epoch}{of_dataset}."
    before = "data epoch 1" if boundary.from_epoch == 1 else f"data epochs 1 to {boundary.from_epoch}"
    return (
        f"Step {boundary.step} draws the first samples, from position {boundary.position} on, of data epoch "
        f"{boundary.to_epoch}{of_dataset}, which is drawn apart from {before}. From here on the model meets again, "
        "all at once, what it has seen: a fall of the training loss here is no progress by itself."
    )


def reorder_begins(reorder: Reorder, step: int) -> str:
    """What begins where a unified order begins."""
    return (
        f"Unified from step {step} (position {reorder.start}) on: the samples up to position {reorder.stop} are drawn "
        f"in one order, {_MIXES[reorder.mix]} (seed {reorder.key[0]}), so that the last data epoch does not start all "
        "at once."
    )


def verdict(report: ChangeReport, naming: Naming) -> str:
    """What the loss did at a change point, and what that means."""
    where, boundary = f"step {report.change.step}", report.change.boundary
    if boundary is not None:
        where = f"the start of {_kind(naming)} {boundary.to_epoch}{_of_dataset(boundary, naming)} ({where})"
    numbers = []
    if report.training is not None:
        numbers.append(f"training loss {_jump(report.training)}")
    if report.means is not None:
        before, after = report.means
        numbers.append(
            f"means over up to {SIDE} steps: {before:.4f} before, {after:.4f} after, ordinary learning included"
        )
    if report.exposure_before is not None and report.exposure_after is not None:
        numbers.append(f"exposure {_about(report.exposure_before)} before and {_about(report.exposure_after)} after")
    if report.evaluation is not None:
        numbers.append(f"evaluation loss {_jump(report.evaluation)}")
    known = "; ".join(numbers) or "nothing is known"
    return f"Verdict at {where}: {report.verdict} ({REASONS[report.reason]}). {known[0].upper()}{known[1:]}."


def summary(
    totals: Sequence[EpochLoss], fresh: Weighted, repeat: Weighted, verdicts: Iterable[ChangeReport], naming: Naming
) -> str:
    """A line for each epoch: what was drawn, when, at which loss; then what happened at each change point."""
    lines = []
    for total in totals:
        name = f"{naming.datasets[total.dataset]}, " if len(naming.datasets) > 1 else ""
        lines.append(
            f"  {name}{_kind(naming)} {total.epoch}: {total.samples:,} samples, "
            f"steps {total.first_step} to {total.last_step}, mean loss {total.mean_loss:.4f}"
        )
    for kind, what, loss in (("fresh", "never drawn before", fresh), ("repeat", "drawn before", repeat)):
        if loss.weight > 0:
            lines.append(f"  {kind} ({what}): mean loss {loss.mean:.4f}")
    reports = sorted(verdicts, key=lambda report: report.change.step)
    return "\n".join([*lines, *(f"  {verdict(report, naming)}" for report in reports)])


def _kind(naming: Naming) -> str:
    return "trainer epoch" if naming.trainer else "data epoch"


def _of_dataset(boundary: BoundaryStep, naming: Naming) -> str:
    return "" if len(naming.datasets) < 2 else f" of {naming.datasets[boundary.dataset]}"


def _jump(jump: Jump) -> str:
    bound = f"{jump.value:+.4f}, standard error {jump.error:.4f}"
    return f"jumps by {bound}" if jump.significant else f"does not jump ({bound})"


def _about(exposure: Estimate) -> str:
    """A mean exposure, with its standard error where that shows."""
    error = f" \u00b1 {exposure.error:.2f}" if exposure.error >= 0.005 else ""
    return f"{exposure.mean:.2f}{error}"
