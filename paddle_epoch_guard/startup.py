"""What is derived before the first step, and agreed upon by all ranks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, RankMismatchError
from paddle_epoch_guard.index import BlendIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.ledger import (
    Crossing,
    EpochSource,
    IndexEpochs,
    TrainerEpochs,
    closing_steps,
    crossings_of,
)
from paddle_epoch_guard.order import PositionMap, Schedule
from paddle_epoch_guard.report import Words
from paddle_epoch_guard.resume import (
    DatasetRecord,
    Decision,
    Sidecar,
    UnifyOptions,
    check_resume,
    decide_order,
    find_sidecar,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class RunPlan:
    """What the run will draw, and what the guard will do about it."""

    loader: host.Loader
    index: SampleIndex | None
    source: EpochSource
    words: Words
    schedule: Schedule | None
    """None where positions are not known, and the trainer's epochs are followed."""
    decision: Decision
    crossings: tuple[Crossing, ...]
    closing: frozenset[int]
    """Steps at whose end the log window is closed."""
    sidecar: Sidecar | None
    """Of the checkpoint that the run resumes from."""

    @property
    def agreed(self) -> Any:
        """What must be the same on every rank."""
        return self.words, self.crossings, sorted(self.closing), self.schedule, self.decision.reorders

    @property
    def datasets(self) -> tuple[DatasetRecord, ...]:
        """What the live indices were built from."""
        return tuple(DatasetRecord.of(index) for index in _constituents(self.index))

    def read_again(self, schedule: Schedule, max_steps: int, after_step: int) -> "RunPlan":
        """The plan under a schedule in which the trainer reads the index once more."""
        assert isinstance(self.source, IndexEpochs)
        self.source.schedule = schedule
        crossings = crossings_of(self.source, after_step)
        return replace(
            self,
            schedule=schedule,
            crossings=tuple(crossings),
            closing=closing_steps(crossings, schedule, max_steps),
        )


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
    sidecar = None
    try:
        if state.global_step > 0:
            _, found = _together(lambda: find_sidecar(state.global_step, candidates), must_succeed=True)
            sidecar = _the_one_sidecar(found)
        # A fault in tracking may be passed over; where another order was begun or is asked for it may not.
        order_at_stake = arguments.epoch_guard == "unified" or (sidecar is not None and bool(sidecar.reorders))
        plan, agreed = _together(
            lambda: _plan(arguments, args, state, dataloader, sidecar),
            must_succeed=order_at_stake,
            share=lambda plan: plan.agreed,
        )
        _compare(agreed)
    except ArgumentsError:
        raise
    except EpochGuardError as doubt:
        if arguments.epoch_guard_on_mismatch == "error":
            raise
        host.logger.warning(f"epoch guard: switched off for this run, as --epoch_guard_on_mismatch warn asks: {doubt}")
        return None
    except _TrackingError as fault:
        host.logger.warning(f"epoch guard: switched off for this run: {fault}")
        return None
    return plan


class _TrackingError(Exception):
    """Something of ours failed that does not touch the order."""


def _together(
    work: Callable[[], _T], must_succeed: bool, share: Callable[[_T], Any] = lambda result: result
) -> tuple[_T, list[Any]]:
    """Does the work on every rank, and raises on all of them what any of them raised. Collective.

    Args:
        work: what to do.
        must_succeed: whether an unexpected exception is an error, rather than a fault to be passed over.
        share: what of the result to show the other ranks.

    Returns:
        This rank's result, and what each rank shared, by rank.

    Raises:
        EpochGuardError: of this rank, or of another; an ArgumentsError of any rank takes precedence on all.
        _TrackingError: anything else, where it may be passed over.
    """
    result: Any = None
    doubt: EpochGuardError | None = None
    fault: str | None = None
    try:
        result = work()
    except EpochGuardError as found:
        doubt = found
    except Exception as found:
        fault = f"{type(found).__name__}: {found}"
    shared = share(result) if doubt is None and fault is None else None
    gathered = host.gather((shared, None if doubt is None else (type(doubt), str(doubt)), fault))
    doubts = [(rank, *found) for rank, (_, found, _) in enumerate(gathered) if found is not None]
    doubts.sort(key=lambda one: not issubclass(one[1], ArgumentsError))  # the same first one on every rank
    if doubts:
        rank, kind, why = doubts[0]
        if doubt is not None and (type(doubt), str(doubt)) == (kind, why):
            raise doubt
        error = ArgumentsError if issubclass(kind, ArgumentsError) else RankMismatchError
        raise error(f"rank {rank} stopped: {why}")
    for rank, (_, _, why) in enumerate(gathered):
        if why is not None:
            where = f"rank {rank}: " if len(gathered) > 1 else ""
            if not must_succeed:
                raise _TrackingError(f"{where}{why}")
            raise EpochGuardError(
                f"the guard failed before the first step, while the order of the data depends on it: {where}{why}. "
                "This is a fault of paddle-epoch-guard; please report it. --epoch_guard off trains without it"
            )
    return result, [found for found, _, _ in gathered]


def _the_one_sidecar(by_rank: list[Sidecar | None]) -> Sidecar | None:
    """What the ranks that have one read; machines that share no disk may have none."""
    found = [sidecar for sidecar in by_rank if sidecar is not None]
    if any(sidecar != found[0] for sidecar in found):
        raise RankMismatchError("the ranks read different sidecars. Give all of them the same checkpoint")
    return found[0] if found else None


def _compare(agreed: list[Any]) -> None:
    for rank, found in enumerate(agreed):
        if found != agreed[0]:
            raise RankMismatchError(
                f"rank {rank} would follow another data order than rank 0: {found} instead of {agreed[0]}. "
                "Point all ranks to the same corpus and the same index cache"
            )


def _constituents(index: SampleIndex | None) -> tuple[GPTIndex, ...]:
    if isinstance(index, BlendIndex):
        return index.datasets
    return (index,) if isinstance(index, GPTIndex) else ()


def _plan(arguments: EpochGuardArguments, args: Any, state: Any, dataloader: Any, sidecar: Sidecar | None) -> RunPlan:
    loader = host.follow_loader(args, dataloader)
    index = host.read_dataset(loader.dataset)
    skipped = tuple((first, last) for first, last in args.skip_data_intervals or ())
    if index is None or loader.start is None:
        _refuse_unknown_positions(arguments, sidecar, loader, index)
        words = Words(index.names if index is not None else (), trainer=index is not None)
        batch = loader.micro_batch * args.gradient_accumulation_steps * loader.world_size
        closing = frozenset({state.max_steps})
        return RunPlan(loader, index, TrainerEpochs(batch, skipped), words, None, Decision(()), (), closing, None)

    piece = host.first_piece(loader, args.gradient_accumulation_steps, state.global_step + 1)
    if sidecar is None:
        schedule = Schedule((piece,), skipped)
    else:
        datasets = tuple(DatasetRecord.of(one) for one in _constituents(index))
        check_resume(sidecar, datasets, None if args.ignore_data_skip else loader.start)
        schedule = replace(sidecar.schedule.then(piece), skipped=skipped)
    planned = loader.start + max(state.max_steps - state.global_step, 0) * piece.global_batch
    options = UnifyOptions(
        unified=arguments.epoch_guard == "unified",
        mix=arguments.epoch_guard_mix,
        pool=arguments.epoch_guard_pool,
        seed=args.seed if arguments.epoch_guard_seed is None else arguments.epoch_guard_seed,
    )
    recorded = () if sidecar is None else sidecar.reorders
    decision = decide_order(options, index, loader.start, min(planned, len(index)), recorded)
    source = IndexEpochs(index, schedule, PositionMap(decision.reorders))
    crossings = tuple(crossings_of(source, state.global_step))
    closing = closing_steps(crossings, schedule, state.max_steps)
    return RunPlan(loader, index, source, Words(index.names), schedule, decision, crossings, closing, sidecar)


def _refuse_unknown_positions(
    arguments: EpochGuardArguments, sidecar: Sidecar | None, loader: host.Loader, index: SampleIndex | None
) -> None:
    why = (
        "the dataset has no sample index, so there are no data epochs to unify"
        if index is None
        else f"the sampler {loader.sampler} is not one whose positions are known"
    )
    if arguments.epoch_guard == "unified":
        raise ArgumentsError(f"--epoch_guard unified cannot be: {why}. Set --epoch_guard track")
    if sidecar is not None and sidecar.reorders:
        raise ArgumentsError(f"the run began a unified order that cannot be continued: {why}")
