"""What is derived before the first step, and agreed upon by all ranks."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, ResumeMismatchError, TrackingError
from paddle_epoch_guard.index import BlendIndex, EpochSampledIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.ledger import (
    IndexEpochs,
    TrainerEpochs,
    boundary_steps_of,
    closing_steps,
)
from paddle_epoch_guard.order import PositionMap, Reorder, Schedule
from paddle_epoch_guard.order.materialise import written_in
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.resume import (
    BlendRecord,
    CurrentSetup,
    DatasetRecord,
    Decision,
    Finding,
    Sidecar,
    UnifyOptions,
    audit,
    decide_order,
    first_guarded_position,
    needed_positions,
    refuse,
    same_indices,
)
from paddle_epoch_guard.session.checkpoint import agreed_sidecar, check_stamp, earlier, trainer_record
from paddle_epoch_guard.session.consensus import require_same_plan, run_on_all_ranks
from paddle_epoch_guard.session.opening import (
    Start,
    build_blend,
    build_missing,
    constituents,
    extended,
    open_parts,
    with_blend,
)
from paddle_epoch_guard.session.run_plan import RunPlan


def prepare(
    arguments: EpochGuardArguments, args: Any, state: Any, dataloader: Any, checkpoint: str | Path | None
) -> RunPlan | None:
    """Reads index and sidecar, decides on the order, and lets all ranks agree. Collective.

    Args:
        arguments: the guard's flags.
        args: the trainer's arguments.
        state: the trainer's state; its ``global_step`` is that of the checkpoint.
        dataloader: the training dataloader.
        checkpoint: the folder that the run resumes from, where the user named it.

    Returns:
        The plan; None where the guard is switched off for this run, which has then been said.

    Raises:
        EpochGuardError: the order is in doubt, on every rank alike.
    """
    candidates = (checkpoint, args.resume_from_checkpoint, host.checkpoint_folder(args, state.global_step))
    stamp = host.read_stamp(state)
    lenient = arguments.epoch_guard_on_mismatch == "warn"
    try:
        sidecar = agreed_sidecar(args, state, stamp, candidates)
        if state.global_step > 0:
            # Machines that share no disk may have records of different parts of the run.
            run_on_all_ranks(lambda: check_stamp(stamp, state.global_step, sidecar, candidates), must_succeed=True)
        # A fault in tracking may be passed over; where another order was begun or is asked for it may not.
        at_stake = arguments.epoch_guard == "unified" or (sidecar is not None and bool(sidecar.reorders))
        read = run_on_all_ranks(
            lambda: _read(arguments, args, state, dataloader, sidecar, candidates), must_succeed=at_stake
        )
        # The first process of each machine builds what is not there; then all of them read it. Every rank takes part,
        # wanted or not: they must all count the same rounds.
        run_on_all_ranks(lambda: build_blend(read), must_succeed=True)
        start = run_on_all_ranks(lambda: extended(read), must_succeed=at_stake)
        wanted = start.parts_wanted()
        run_on_all_ranks(lambda: build_missing(start, wanted), must_succeed=True)
        plan = run_on_all_ranks(lambda: _plan(start, open_parts(start, wanted)), must_succeed=at_stake)
        plan = plan.follow(require_same_plan(plan.agreed))
        # The sidecar of an earlier run may lie on the first rank's disk alone.
        part, earlier_run = host.broadcast_from(0, (uuid.uuid4().hex, plan.earlier))
        repaired = plan.repaired or (stamp is not None and stamp.repaired)
        run = part if stamp is None else stamp.run
        return replace(plan, run=run, part=part, repaired=repaired, earlier=earlier_run)
    except ArgumentsError:
        raise
    except EpochGuardError as doubt:
        if not lenient:
            raise
        host.logger.warning(f"epoch guard: switched off for this run, as --epoch_guard_on_mismatch warn asks: {doubt}")
        return None
    except TrackingError as fault:
        host.logger.warning(f"epoch guard: switched off for this run: {fault}")
        return None


def _written(index: SampleIndex) -> tuple[Reorder, ...]:
    """The reorders in which 'rebuild' wrote the index that is drawn from; none where it is the host's own."""
    if isinstance(index, BlendIndex):
        return written_in(index.dataset_index)
    return written_in(index.shuffle_idx) if isinstance(index, GPTIndex) else ()


def _read(
    arguments: EpochGuardArguments,
    args: Any,
    state: Any,
    dataloader: Any,
    sidecar: Sidecar | None,
    candidates: tuple[Any, ...],
) -> Start:
    """Reads the live index, audits the resume, and says which parts the run draws from."""
    loader = host.describe_loader(args, dataloader, state)
    index = host.read_dataset(loader.dataset) if loader.has_data else None
    if index is not None and loader.passes is not None and _written(index):
        why = "'paddle-epoch-guard rebuild' has written the sample index, for the pretraining sampler"
        loader = replace(loader, start=None, passes=None, unknown=why)
    step = state.global_step
    skipped = host.skipped_steps(args)
    options = UnifyOptions(
        unified=arguments.epoch_guard == "unified",
        mix=arguments.epoch_guard_mix,
        pool=arguments.epoch_guard_pool,
        seed=args.seed if arguments.epoch_guard_seed is None else arguments.epoch_guard_seed,
    )
    batch = loader.micro_batch * loader.accumulation * loader.world_size
    if loader.has_data:
        _refuse_to_unify(arguments, sidecar, loader, index)
    if index is None or loader.start is None:
        if loader.has_data and sidecar is not None:
            raise _unknown_from_here(sidecar, loader, index)
        return Start(
            options, loader, index, (), (), None, (), skipped, step, state.max_steps, batch, 0, None, (), ()
        )  # fmt: skip
    segment, *later = host.segments_ahead(loader, step, state.max_steps)
    live = tuple(DatasetRecord.of(one) for one in constituents(index))
    datasets = live
    findings: tuple[Finding, ...] = ()
    mismatches: tuple[str, ...] = ()
    if sidecar is not None:
        blend = _record_of(index, sidecar.blend)
        begun = all(same_indices(*(one.parts for one in both)) for both in zip(live, sidecar.datasets, strict=False))
        now = CurrentSetup(
            live,
            blend,
            segment,
            state.max_steps,
            options.unified,
            bool(args.ignore_data_skip),
            loader.passes,
            written=_written(index) if begun else (),
        )
        findings = audit(sidecar, now)
        mismatches = sidecar.mismatches
        try:
            refuse(step, findings)
        except ResumeMismatchError as doubt:
            if arguments.epoch_guard_on_mismatch == "error":
                raise
            # The user's word: go on in the host's present order, and say so from now on.
            mismatches, sidecar = (*mismatches, f"at step {step}: {doubt}"), None
        else:
            datasets = sidecar.datasets
            if not now.starts_anew and loader.passes is None:
                segment = replace(segment, start=sidecar.position)
    elif step > 0 and not args.ignore_data_skip:
        start = first_guarded_position(
            step, state.max_steps, loader.start, arguments.epoch_guard_position, trainer_record(candidates),
            consumed=step * batch,
        )  # fmt: skip
        is_stated = arguments.epoch_guard_position is not None
        if loader.passes is None and not is_stated and step >= loader.steps_per_epoch > 0:
            start = step % loader.steps_per_epoch * batch
            why = "in a later trainer epoch the trainer counts on from the first one: the loader would run dry"
            findings = (Finding("start of the sampler", str(loader.start), str(start), "repair", why),)
        segment = replace(segment, start=start)
    if loader.passes is not None and segment.start != loader.start:
        raise ArgumentsError(
            f"--epoch_guard_position {segment.start}: the sampler {loader.sampler} cannot be set to a position, and "
            f"goes on at {loader.start}. State that, or resume with the values of the interrupted run"
        )
    if segment.start % segment.world_size:
        raise ArgumentsError(
            f"the run is to go on at position {segment.start}, and the host's sampler starts only at multiples of the "
            f"world size, {segment.world_size}. Check --epoch_guard_position"
        )
    planned = needed_positions(segment.start, step, state.max_steps, segment)
    if loader.passes is not None:
        last = (segment, *later)[-1]
        planned = min(needed_positions(last.start, last.first_step - 1, state.max_steps, last), last.stop)
    found = Start(
        options, loader, index, live, datasets, segment, tuple(later), skipped, step, state.max_steps, batch, planned,
        sidecar, findings, mismatches,
        earlier=earlier(live, loader, candidates) if step == 0 and args.ignore_load_lr_and_optim else None,
    )  # fmt: skip
    return with_blend(found, index) if isinstance(index, BlendIndex) else found


def _record_of(index: SampleIndex, begun: BlendRecord | None = None) -> BlendRecord | None:
    """The record of a blend, or of as much of it as the record it had at first covers."""
    if not isinstance(index, BlendIndex):
        return None
    return BlendRecord.of(index, None if begun is None else min(len(index), begun.positions))


def _plan(start: Start, index: SampleIndex | None) -> RunPlan:
    """What follows for the run, once everything is open."""
    loader, sidecar = start.loader, start.sidecar
    if index is None or start.segment is None:
        naming = Naming(trainer=not host.is_plain(loader.dataset))
        source = TrainerEpochs(start.batch, start.skipped)
        return RunPlan(loader, index, source, naming, None, None, Decision(()), (), frozenset({start.max_steps}))
    segment, stop = start.segment, loader.stop
    drawn = index
    if loader.passes is not None:
        drawn = EpochSampledIndex(index, loader.passes, (segment, *start.later)[-1].stop // loader.passes.length)
    elif index is not start.index:
        # A chain: the sampler reads it to the end, in whole rounds of all ranks.
        stop = len(index) // segment.world_size * segment.world_size
    segment = replace(segment, stop=stop)
    schedule = Schedule((segment,)) if sidecar is None else sidecar.schedule
    for one in (segment, *start.later):
        schedule = schedule.then(one)
    schedule = replace(schedule, skipped=start.skipped)
    planned = start.planned
    if loader.passes is None:  # what a loader that runs dry does not reach is not planned
        planned = min(planned, segment.start + segment.steps * segment.global_batch, max(segment.stop, segment.start))
    recorded = () if sidecar is None else sidecar.reorders
    planned_before = None if sidecar is None else max(sidecar.planned, sidecar.reordered_to)
    written = _written(index)
    decision = decide_order(start.options, drawn, segment.start, planned, recorded, planned_before, written)
    source_ = IndexEpochs(drawn, schedule, PositionMap(decision.reorders))
    crossings = tuple(boundary_steps_of(source_, start.step))
    return RunPlan(
        loader=loader,
        index=drawn,
        source=source_,
        naming=Naming(index.names),
        blend=start.blend,
        schedule=schedule,
        segment=segment,
        decision=decision,
        crossings=crossings,
        closing=closing_steps(crossings, schedule, start.max_steps),
        datasets=start.live if index is start.index else tuple(DatasetRecord.of(one) for one in constituents(index)),
        planned=planned,
        sidecar=sidecar,
        earlier=start.earlier,
        findings=start.findings,
        step=start.step,
        is_live=index is start.index,
        repaired=decision.reorders != written or index is not start.index or segment.start != loader.start,
        mismatches=start.mismatches,
    )


def _unknown_positions(loader: host.Loader) -> str:
    why = f" ({loader.unknown})" if loader.unknown else ""
    return f"the sampler {loader.sampler} is not one whose positions are known{why}"


def _unknown_from_here(sidecar: Sidecar, loader: host.Loader, index: SampleIndex | None) -> ResumeMismatchError:
    """A run whose positions were known so far goes on where they are not."""
    why = "the dataset has no sample index" if index is None else _unknown_positions(loader)
    return ResumeMismatchError(
        f"the run has drawn up to position {sidecar.position} of its order, and whether it goes on from there cannot "
        f"be told: {why}. Resume with the dataset and the sampler of the interrupted run"
    )


def _refuse_to_unify(
    arguments: EpochGuardArguments, sidecar: Sidecar | None, loader: host.Loader, index: SampleIndex | None
) -> None:
    """Whether an order can be unified, or was begun.

    Raises:
        ArgumentsError: it is to be, and cannot.
    """
    if index is None:
        why = "the dataset has no sample index, so there are no data epochs to unify"
    elif loader.start is None:
        why = _unknown_positions(loader)
    elif loader.passes is None:
        return
    elif loader.passes.shuffled:
        why = f"the sampler {loader.sampler} shuffles the whole index by itself, so that no data epoch comes apart"
    else:
        why = f"the sampler {loader.sampler} begins at position 0 in each trainer epoch, and cannot be set to another"
    if index is not None:
        why += f". Use {host.library.NAME}.utils.batch_sampler.DistributedBatchSampler, as its pretraining scripts do"
    if arguments.epoch_guard == "unified":
        raise ArgumentsError(f"--epoch_guard unified cannot be: {why}. Set --epoch_guard track")
    if sidecar is not None and sidecar.reorders:
        raise ArgumentsError(f"the run began a unified order that cannot be continued: {why}")
