"""From a Trainer that is about to train to the plan of its run: observe, audit, open, plan, agree."""

import uuid
from dataclasses import replace
from pathlib import Path

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, TrackingError
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import Refused
from paddle_epoch_guard.record.recorder import View
from paddle_epoch_guard.session.checkpoint import Recalled, earlier_run, recall
from paddle_epoch_guard.session.consensus import require_same_plan, run_on_all_ranks
from paddle_epoch_guard.session.observe import Request, observe
from paddle_epoch_guard.session.open_indices import open_indices
from paddle_epoch_guard.session.plan import plan_of
from paddle_epoch_guard.session.reconcile import reconcile
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.session.unguarded import other_index_of


def prepare(
    flags: EpochGuardArguments,
    args: host.TrainingArguments,
    state: host.TrainerState,
    dataloader: host.Dataloader,
    checkpoint: str | Path | None,
    listener: View | None = None,
) -> RunPlan | None:
    """Derives what the run will draw, and lets all ranks agree. Collective.

    Args:
        flags: the guard's.
        args: the trainer's arguments.
        state: the trainer's state; its ``global_step`` is that of the checkpoint.
        dataloader: the training dataloader.
        checkpoint: the folder that the run resumes from, where it is known.
        listener: gets a refusal as an event.

    Returns:
        The plan; None if the guard is switched off for this run, which has then been said.

    Raises:
        EpochGuardError: the order is in doubt, on every rank alike.
    """
    try:
        return _prepared(flags, args, state, dataloader, checkpoint)
    except EpochGuardError as doubt:
        goes_on = flags.epoch_guard_on_mismatch == "warn" and not isinstance(doubt, ArgumentsError)
        if listener is not None:
            listener.take(Refused(state.global_step, type(doubt).__name__, str(doubt), goes_on))
        if not goes_on:
            raise
        why = tr("switched off for this run, as --epoch_guard_on_mismatch warn asks: {cause}", cause=doubt)
        host.warn(f"epoch guard: {why}")
    except TrackingError as fault:
        host.warn(f"epoch guard: {tr('switched off for this run: {cause}', cause=fault)}")
    return None


def _prepared(
    flags: EpochGuardArguments,
    args: host.TrainingArguments,
    state: host.TrainerState,
    dataloader: host.Dataloader,
    checkpoint: str | Path | None,
) -> RunPlan:
    recalled = recall(args, state, checkpoint)
    # A fault in tracking may be passed over; where another order was begun or is asked for it may not.
    at_stake = flags.epoch_guard == "unified" or recalled.is_reordered
    request = Request.of(flags, args, state)
    observed = run_on_all_ranks(lambda: observe(args, state, dataloader).listed_as(recalled.sidecar), at_stake)
    unguarded = recalled.unguarded
    if unguarded.saved:
        other = run_on_all_ranks(lambda: other_index_of(observed, request.seed), at_stake)
        unguarded = replace(unguarded, other_index=host.broadcast_from(0, other))
    resolution = run_on_all_ranks(
        lambda: reconcile(request, observed, recalled.sidecar, recalled.record, unguarded), at_stake
    )
    drawn = open_indices(observed, resolution, at_stake)
    plan = run_on_all_ranks(lambda: plan_of(request, observed, resolution, drawn), at_stake)
    if request.step == 0 and args.ignore_load_lr_and_optim:
        earlier, knows_weights = earlier_run(plan, recalled)
        plan = replace(plan, past=replace(plan.past, earlier=earlier, knows_weights=knows_weights))
    return _agree(plan, recalled)


def _agree(plan: RunPlan, recalled: Recalled) -> RunPlan:
    """The plan that all ranks follow, with the names of the run and this part of it. Collective."""
    plan = plan.adopt(require_same_plan(plan.agreed))
    # The sidecar of an earlier run may lie on the first rank's disk alone.
    past = plan.past
    part, earlier, knows_weights = host.broadcast_from(0, (uuid.uuid4().hex, past.earlier, past.knows_weights))
    stamp = recalled.stamp
    run = part if stamp is None else stamp.run
    repaired = plan.repaired or (stamp is not None and stamp.repaired)
    identity = replace(plan.identity, run=run, part=part)
    past = replace(past, earlier=earlier, knows_weights=knows_weights, is_of_state=recalled.is_of_state)
    return replace(plan, identity=identity, repaired=repaired, past=past)
