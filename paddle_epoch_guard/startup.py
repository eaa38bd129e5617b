"""What is derived before the first step, and agreed upon by all ranks."""

import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.agreement import TrackingError, compare, the_one, together
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import (
    ArgumentsError,
    EpochGuardError,
    RankMismatchError,
    ResumeMismatchError,
    SidecarError,
)
from paddle_epoch_guard.files import waited_for
from paddle_epoch_guard.index import BlendIndex, ChainIndex, Description, GPTIndex, PassesIndex, SampleIndex
from paddle_epoch_guard.index.cache import index_files, load_index
from paddle_epoch_guard.index.folder import PADDLE, IndexFiles
from paddle_epoch_guard.ledger import (
    IndexEpochs,
    TrainerEpochs,
    closing_steps,
    crossings_of,
)
from paddle_epoch_guard.order import Piece, PositionMap, Reorder, Schedule
from paddle_epoch_guard.order.materialise import host_order, written_in
from paddle_epoch_guard.report import Words
from paddle_epoch_guard.resume import (
    BlendRecord,
    DatasetRecord,
    Decision,
    Finding,
    Now,
    Sidecar,
    UnifyOptions,
    audit,
    decide_order,
    extend_parts,
    first_guarded_position,
    in_force,
    needed_positions,
    open_blend,
    read_sidecar,
    refuse,
    same_parts,
    write_blend,
)
from paddle_epoch_guard.runplan import RunPlan


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
        sidecar = _agreed_sidecar(args, state, stamp, candidates)
        if state.global_step > 0:
            _check_stamp(stamp, state.global_step, sidecar, candidates)
        # A fault in tracking may be passed over; where another order was begun or is asked for it may not.
        at_stake = arguments.epoch_guard == "unified" or (sidecar is not None and bool(sidecar.reorders))
        read = together(lambda: _read(arguments, args, state, dataloader, sidecar, candidates), must_succeed=at_stake)
        # The first process of each machine builds what is not there; then all of them read it. Every rank takes part,
        # wanted or not: they must all count the same rounds.
        together(lambda: _build_blend(read), must_succeed=True)
        start = together(lambda: _extended(read), must_succeed=at_stake)
        wanted = start.parts_wanted()
        together(lambda: _build_missing(start, wanted), must_succeed=True)
        plan = together(lambda: _plan(start, _open_parts(start, wanted)), must_succeed=at_stake)
        plan = plan.follow(compare(plan.agreed))
        part = host.told_by(0, uuid.uuid4().hex)
        repaired = plan.repaired or (stamp is not None and stamp.repaired)
        return replace(plan, run=part if stamp is None else stamp.run, part=part, repaired=repaired)
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


def _agreed_sidecar(args: Any, state: Any, stamp: host.Stamp | None, candidates: Sequence[Any]) -> Sidecar | None:
    """The sidecar of the checkpoint that all ranks resume from; None where there is none. Collective.

    Where the run cannot go on without one it is waited for: a file system may show it late.

    Raises:
        RankMismatchError: the ranks resume at different steps, or from different sidecars.
        ResumeMismatchError: the trainer may begin anew from the weights of half a checkpoint.
        SidecarError: the sidecar found is damaged, of an unknown version, or of another step.
    """
    step = state.global_step
    is_needed = step > 0 and stamp is not None and stamp.repaired

    def look() -> Sidecar | None:
        if step == 0:
            _refuse_half_a_checkpoint(args, candidates)
            return None
        checkpoint = host.find_checkpoint(candidates)
        return None if checkpoint is None else read_sidecar(checkpoint, step)

    def look_together() -> tuple[Sidecar | None] | None:
        found = together(look, must_succeed=True)
        by_rank = host.gather_numbers([step, is_needed])
        steps = sorted(set(by_rank[:, 0].tolist()))
        if len(steps) > 1:
            raise RankMismatchError(
                f"the ranks resume at different steps: {', '.join(map(str, steps))}. Give all the same checkpoint"
            )
        sidecar = the_one(found)
        return None if sidecar is None and by_rank[:, 1].any() else (sidecar,)

    found = waited_for(look_together)
    return None if found is None else found[0]


def _refuse_half_a_checkpoint(args: Any, candidates: Sequence[Any]) -> None:
    """Whether the trainer may have loaded weights that have seen data, and begin at step 0 all the same.

    It does so where a checkpoint has no record of the trainer's state (`_inner_training_loop` in
    paddlenlp/trainer/trainer.py, 3.0.0b4): saving it was interrupted.

    Raises:
        ResumeMismatchError: there is such a checkpoint, and it is the one that would be resumed from.
    """
    if args.ignore_load_lr_and_optim:
        return
    named = next((Path(one) for one in candidates[:2] if isinstance(one, (str, Path)) and Path(one).is_dir()), None)
    folder = named or (None if args.overwrite_output_dir else host.newest_checkpoint(args))
    if folder is not None and host.find_checkpoint([folder]) is None:
        raise ResumeMismatchError(
            f"{folder}: no record of the trainer's state in it: saving it was interrupted. Resumed from it, the "
            "trainer begins at step 0 with the weights in it, and draws what these have seen again. Resume from an "
            "earlier checkpoint. If the run is to begin anew, move this folder away, or set --overwrite_output_dir"
        )


def _check_stamp(stamp: host.Stamp | None, step: int, sidecar: Sidecar | None, candidates: Sequence[Any]) -> None:
    """Whether the sidecar that was found belongs to the checkpoint that the trainer loaded.

    Raises:
        SidecarError: it is of another run, part or checkpoint, or the run cannot go on without one.
    """
    looked = ", ".join(str(one) for one in candidates if one)
    name_it = (
        f"It was looked for in: {looked}. Name the checkpoint that the trainer loads: "
        "EpochGuardCallback(resume_from_checkpoint=...)"
    )
    if sidecar is None:
        if stamp is not None and stamp.repaired:
            what = "has drawn otherwise than the host would by itself"
            if stamp.unified_from is not None:
                what = f"began a unified order at position {stamp.unified_from}"
            raise SidecarError(
                f"the run {what}, and no epoch_guard.json of its checkpoint was found: without it samples would be "
                f"drawn twice and others lost. {name_it}"
            )
    elif stamp is None:
        raise SidecarError(
            "the trainer loaded a checkpoint that was saved without the guard; the epoch_guard.json that was found "
            f"is another's. {name_it}"
        )
    elif stamp.run != sidecar.run:
        raise SidecarError(f"the epoch_guard.json that was found is not of the run that the trainer loaded. {name_it}")
    elif (stamp.part, stamp.step) != (sidecar.part, step):
        raise SidecarError(
            "the epoch_guard.json that was found is older than the checkpoint that the trainer loaded, or of another: "
            "the checkpoint was written by a part of the run in which the guard was off, or was interrupted before "
            f"its own was written. {name_it}. Or resume from an earlier checkpoint"
        )


def _constituents(index: SampleIndex | None) -> tuple[GPTIndex | ChainIndex, ...]:
    if isinstance(index, BlendIndex):
        return index.datasets
    return (index,) if isinstance(index, (GPTIndex, ChainIndex)) else ()


def _written(index: SampleIndex) -> tuple[Reorder, ...]:
    """The reorders in which 'rebuild' wrote the index that is drawn from; none where it is the host's own."""
    if isinstance(index, BlendIndex):
        return written_in(index.dataset_index)
    return written_in(index.shuffle_idx) if isinstance(index, GPTIndex) else ()


@dataclass(frozen=True)
class _Start:
    """What is known before any index but the live ones is opened."""

    options: UnifyOptions
    loader: host.Loader
    index: SampleIndex | None
    live: tuple[DatasetRecord, ...]
    """Fingerprints of the live indices."""
    datasets: tuple[DatasetRecord, ...]
    """Fingerprints of what the run draws from: with the parts it began with, and those appended."""
    piece: Piece | None
    """The steps that begin, from the true position on."""
    later: tuple[Piece, ...]
    """Those of later trainer epochs, where the sampler reads in passes."""
    skipped: tuple[tuple[int, int], ...]
    step: int
    max_steps: int
    batch: int
    planned: int
    sidecar: Sidecar | None
    findings: tuple[Finding, ...]
    mismatches: tuple[str, ...]
    blend: BlendRecord | None = None
    """Which of the host's orders of a blend is in force."""
    blend_length: int = 0
    """Positions that the guard must build of it; 0 where the live blend has what is drawn."""
    earlier: Sidecar | None = None
    """Of the checkpoint from whose weights alone the run begins."""
    drawn: SampleIndex | None = None
    """The live index, or the blend that the guard has built, before its datasets are extended."""

    @property
    def needed(self) -> int:
        """Positions that the run draws, and those that the orders it has begun span."""
        return max(self.planned, 0 if self.sidecar is None else self.sidecar.reordered_to)

    def parts_wanted(self) -> dict[int, tuple[Description, ...]]:
        """For each dataset whose parts are not just its live index: the descriptions of the parts."""
        wanted: dict[int, tuple[Description, ...]] = {}
        if self.piece is None:
            return wanted
        for at, (record, live, index) in enumerate(
            zip(self.datasets, self.live, _constituents(self.index), strict=True)
        ):
            if not same_parts(record.parts, live.parts):
                assert isinstance(index, GPTIndex)
                wanted[at] = tuple(
                    replace(index.description, samples_requested=part.samples_requested, seed=part.seed)
                    for part in record.parts
                )
        return wanted


def _read(
    arguments: EpochGuardArguments,
    args: Any,
    state: Any,
    dataloader: Any,
    sidecar: Sidecar | None,
    candidates: tuple[Any, ...],
) -> _Start:
    """Reads the live index, audits the resume, and says which parts the run draws from."""
    loader = host.follow_loader(args, dataloader, state)
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
        return _Start(
            options, loader, index, (), (), None, (), skipped, step, state.max_steps, batch, 0, None, (), ()
        )  # fmt: skip
    piece, *later = host.pieces_ahead(loader, step, state.max_steps)
    live = tuple(DatasetRecord.of(one) for one in _constituents(index))
    datasets = live
    findings: tuple[Finding, ...] = ()
    mismatches: tuple[str, ...] = ()
    if sidecar is not None:
        blend = _record_of(index, sidecar.blend)
        begun = all(same_parts(*(one.parts for one in both)) for both in zip(live, sidecar.datasets, strict=False))
        now = Now(
            live,
            blend,
            piece,
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
                piece = replace(piece, start=sidecar.position)
    elif step > 0 and not args.ignore_data_skip:
        start = first_guarded_position(
            step, state.max_steps, loader.start, arguments.epoch_guard_position, _trainer_record(candidates),
            consumed=step * batch,
        )  # fmt: skip
        is_stated = arguments.epoch_guard_position is not None
        if loader.passes is None and not is_stated and step >= loader.steps_per_epoch > 0:
            start = step % loader.steps_per_epoch * batch
            why = "in a later trainer epoch the trainer counts on from the first one: the loader would run dry"
            findings = (Finding("start of the sampler", str(loader.start), str(start), "repair", why),)
        piece = replace(piece, start=start)
    if loader.passes is not None and piece.start != loader.start:
        raise ArgumentsError(
            f"--epoch_guard_position {piece.start}: the sampler {loader.sampler} cannot be set to a position, and "
            f"goes on at {loader.start}. State that, or resume with the values of the interrupted run"
        )
    if piece.start % piece.world_size:
        raise ArgumentsError(
            f"the run is to go on at position {piece.start}, and the host's sampler starts only at multiples of the "
            f"world size, {piece.world_size}. Check --epoch_guard_position"
        )
    planned = needed_positions(piece.start, step, state.max_steps, piece)
    if loader.passes is not None:
        last = (piece, *later)[-1]
        planned = min(needed_positions(last.start, last.first_step - 1, state.max_steps, last), last.stop)
    found = _Start(
        options, loader, index, live, datasets, piece, tuple(later), skipped, step, state.max_steps, batch, planned,
        sidecar, findings, mismatches,
        earlier=_earlier(live, loader, candidates) if step == 0 and args.ignore_load_lr_and_optim else None,
    )  # fmt: skip
    return _with_blend(found, index) if isinstance(index, BlendIndex) else found


def _earlier(live: tuple[DatasetRecord, ...], loader: host.Loader, candidates: tuple[Any, ...]) -> Sidecar | None:
    """The record of the run whose weights are taken; None where it is not known, or drew from another index."""
    checkpoint = host.find_checkpoint(candidates)
    if checkpoint is None:
        return None
    record = host.trainer_record(checkpoint) or {}
    try:
        found = read_sidecar(checkpoint, int(record.get("global_step", -1)))
    except EpochGuardError:
        return None  # nothing but the exposure rests on it
    if found is None or (found.datasets, found.passes) != (live, loader.passes) or found.reorders:
        return None
    return found


def _record_of(index: SampleIndex, begun: BlendRecord | None = None) -> BlendRecord | None:
    """The record of a blend, or of as much of it as the record it had at first covers."""
    if not isinstance(index, BlendIndex):
        return None
    return BlendRecord.of(index, None if begun is None else min(len(index), begun.positions))


def _with_blend(start: _Start, index: BlendIndex) -> _Start:
    """Says which order of the blend is in force, and how much of it the guard must build."""
    blend = in_force(BlendRecord.of(index), start.sidecar)
    if start.sidecar is None or start.loader.passes is not None:
        return replace(start, blend=blend)
    if start.needed <= min(len(index), blend.positions):
        return replace(start, blend=blend)
    length = max(start.needed, blend.positions)
    why = "the host has built another blend; the one that was begun is used, and goes on by its weights"
    found = Finding("positions of the blend", str(blend.positions), str(len(index)), "repair", why)
    return replace(start, blend=blend, blend_length=length, findings=(*start.findings, found))


def _trainer_record(candidates: tuple[Any, ...]) -> dict[str, Any] | None:
    checkpoint = host.find_checkpoint(candidates)
    return None if checkpoint is None else host.trainer_record(checkpoint)


def _blend_folder(start: _Start) -> Path:
    return host.index_folders(host.constituents(start.loader.dataset)[0])[-1]


def _build_blend(start: _Start) -> None:
    if start.blend_length and host.is_first_on_its_machine():
        assert isinstance(start.index, BlendIndex)
        assert start.blend is not None
        write_blend(start.index, start.blend, start.blend_length, host.pick_datasets, _blend_folder(start))


def _extended(start: _Start) -> _Start:
    """With as many parts of each dataset as the planned positions, and the orders begun, need."""
    index, sidecar = start.index, start.sidecar
    if sidecar is None or index is None or start.loader.passes is not None:
        return replace(start, drawn=index)
    counts = [start.planned]
    if isinstance(index, BlendIndex):
        if start.blend_length:
            assert start.blend is not None
            index = open_blend(index, start.blend, start.blend_length, _blend_folder(start))
        counts = index.drawn_of_each(start.needed).tolist()
    datasets = tuple(
        replace(one, parts=extend_parts(one, count)) for one, count in zip(start.datasets, counts, strict=True)
    )
    findings = start.findings
    if not findings and datasets != sidecar.datasets:
        before, after = (str(sum(len(one.parts) for one in each)) for each in (sidecar.datasets, datasets))
        why = "the loader would run dry: whole data epochs follow, instead of the same samples in the same order"
        findings = (Finding("indices drawn from", before, after, "repair", why),)
    return replace(start, drawn=index, datasets=datasets, findings=findings)


def _build_missing(start: _Start, wanted: dict[int, tuple[Description, ...]]) -> None:
    datasets = host.constituents(start.loader.dataset)
    for at, descriptions in wanted.items():
        for description in descriptions:
            if _folder_of(datasets[at], description) is None:
                host.build_index(datasets[at], description)


def _folder_of(dataset: Any, description: Description) -> Path | None:
    """The folder that holds all files of a description."""
    for folder in host.index_folders(dataset):
        if all(file.is_file() for file in index_files(folder, description).values()):
            return folder
    return None


def _open_parts(start: _Start, wanted: dict[int, tuple[Description, ...]]) -> SampleIndex | None:
    """The index to draw from: the live one, with a chain in the place of each dataset that needs one."""
    index = start.drawn
    if not wanted:
        return index
    datasets = host.constituents(start.loader.dataset)
    found = list(_constituents(index))
    for at, descriptions in wanted.items():
        live = found[at]
        assert isinstance(live, GPTIndex)
        assert live.arrays is not None
        parts = []
        for description, record in zip(descriptions, start.datasets[at].parts, strict=True):
            found_in = waited_for(functools.partial(_folder_of, datasets[at], description))
            folder = found_in or host.index_folders(datasets[at])[-1]
            part = live
            if description != live.description:
                files = IndexFiles(folder, description.digest, PADDLE)
                part = load_index(folder, description, live.arrays.sizes, functools.partial(host_order, files))
            parts.append(part)
            digest = DatasetRecord.of(part).parts[0].order_digest
            if record.order_digest not in ("", digest):
                raise ResumeMismatchError(
                    f"{folder}: the index for {description.samples_requested} samples and seed {description.seed} is "
                    f"not the one that was drawn from (digest {digest}, was {record.order_digest}). Restore the index "
                    "files of the interrupted run"
                )
        found[at] = ChainIndex(tuple(parts))
    return replace(index, datasets=tuple(found)) if isinstance(index, BlendIndex) else found[0]


def _plan(start: _Start, index: SampleIndex | None) -> RunPlan:
    """What follows for the run, once everything is open."""
    loader, sidecar = start.loader, start.sidecar
    if index is None or start.piece is None:
        words = Words(trainer=not host.is_plain(loader.dataset))
        source = TrainerEpochs(start.batch, start.skipped)
        return RunPlan(loader, index, source, words, None, None, Decision(()), (), frozenset({start.max_steps}))
    piece, stop = start.piece, loader.stop
    drawn = index
    if loader.passes is not None:
        drawn = PassesIndex(index, loader.passes, (piece, *start.later)[-1].stop // loader.passes.length)
    elif index is not start.index:
        # A chain: the sampler reads it to the end, in whole rounds of all ranks.
        stop = len(index) // piece.world_size * piece.world_size
    piece = replace(piece, stop=stop)
    schedule = Schedule((piece,)) if sidecar is None else sidecar.schedule
    for one in (piece, *start.later):
        schedule = schedule.then(one)
    schedule = replace(schedule, skipped=start.skipped)
    planned = start.planned
    if loader.passes is None:  # what a loader that runs dry does not reach is not planned
        planned = min(planned, piece.start + piece.steps * piece.global_batch, max(piece.stop, piece.start))
    recorded = () if sidecar is None else sidecar.reorders
    planned_before = None if sidecar is None else max(sidecar.planned, sidecar.reordered_to)
    written = _written(index)
    decision = decide_order(start.options, drawn, piece.start, planned, recorded, planned_before, written)
    source_ = IndexEpochs(drawn, schedule, PositionMap(decision.reorders))
    crossings = tuple(crossings_of(source_, start.step))
    return RunPlan(
        loader=loader,
        index=drawn,
        source=source_,
        words=Words(index.names),
        blend=start.blend,
        schedule=schedule,
        piece=piece,
        decision=decision,
        crossings=crossings,
        closing=closing_steps(crossings, schedule, start.max_steps),
        datasets=start.live if index is start.index else tuple(DatasetRecord.of(one) for one in _constituents(index)),
        planned=planned,
        sidecar=sidecar,
        earlier=start.earlier,
        findings=start.findings,
        step=start.step,
        is_live=index is start.index,
        repaired=decision.reorders != written or index is not start.index or piece.start != loader.start,
        mismatches=start.mismatches,
    )


def _unknown_from_here(sidecar: Sidecar, loader: host.Loader, index: SampleIndex | None) -> ResumeMismatchError:
    """A run whose positions were known so far goes on where they are not."""
    why = f"the sampler {loader.sampler} is not one whose positions are known"
    if index is None:
        why = "the dataset has no sample index"
    elif loader.unknown:
        why = f"of the sampler {loader.sampler}, {loader.unknown}"
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
        why = f"the sampler {loader.sampler} is not one whose positions are known"
    elif loader.passes is None:
        return
    elif loader.passes.shuffled:
        why = f"the sampler {loader.sampler} shuffles the whole index by itself, so that no data epoch comes apart"
    else:
        why = f"the sampler {loader.sampler} begins at position 0 in each trainer epoch, and cannot be set to another"
    if index is not None:
        why += ". Use paddlenlp.utils.batch_sampler.DistributedBatchSampler, as PaddleNLP's run_pretrain.py does"
    if arguments.epoch_guard == "unified":
        raise ArgumentsError(f"--epoch_guard unified cannot be: {why}. Set --epoch_guard track")
    if sidecar is not None and sidecar.reorders:
        raise ArgumentsError(f"the run began a unified order that cannot be continued: {why}")
