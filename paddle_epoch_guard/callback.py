"""The callback: Trainer events in, calls to the rooms out."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments, from_training_arguments
from paddle_epoch_guard.errors import EpochGuardError, RankMismatchError
from paddle_epoch_guard.index import SampleIndex
from paddle_epoch_guard.ledger import (
    Crossing,
    EpochLedger,
    EpochSource,
    IndexEpochs,
    TrainerEpochs,
    closing_steps,
    crossings_of,
    ended_epochs,
)
from paddle_epoch_guard.order import Schedule
from paddle_epoch_guard.report import EpochGuardLog, EpochRecorder, Words

_P = ParamSpec("_P")


@dataclass(frozen=True)
class _Plan:
    """What a rank will act on, derived before the first step."""

    loader: host.Loader
    index: SampleIndex | None
    source: EpochSource
    words: Words
    schedule: Schedule | None
    crossings: tuple[Crossing, ...]
    closing: frozenset[int]

    @property
    def agreed(self) -> Any:
        """What must be the same on every rank."""
        return self.words, self.crossings, sorted(self.closing), self.schedule


def _shielded(event: Callable[_P, None]) -> Callable[_P, None]:
    """After the first step nothing of ours may stop a training run: a failing part switches itself off."""

    @functools.wraps(event)
    def shielded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            event(*args, **kwargs)
        except Exception as cause:
            callback = args[0]
            assert isinstance(callback, EpochGuardCallback)
            callback._switch_off(event.__name__, cause)

    return shielded


class EpochGuardCallback(host.TrainerCallback):  # type: ignore[misc]
    """Follows the data epochs of a pretraining run and marks their boundaries in VisualDL.

    Add it to the Trainer; it reads its flags from the training arguments::

        trainer = PretrainingTrainer(..., callbacks=[EpochGuardCallback()])

    Written under ``<logging_dir>/epoch_guard/``, by the first rank only:

    - ``epoch_guard/data_epoch``: mean data epoch of the samples of each log window, fractional.
    - ``epoch_guard/loss_by_epoch``: a line for each epoch, in ``epoch_<e>``.
    - ``epoch_guard/epoch_loss``: a point for each epoch, its mean loss.
    - ``train/loss``, in ``boundary_<e>_to_<e+1>``: a vertical line on the trainer's own loss chart.
    - ``epoch_guard/boundary_<e>_to_<e+1>``: what happened there, as text.

    At a boundary it closes the trainer's log window, so that no logged loss mixes the two sides.

    Args:
        arguments: the flags, where they were parsed beside the training arguments rather than mixed in.
    """

    def __init__(self, arguments: EpochGuardArguments | None = None) -> None:
        self._arguments = arguments
        self._reset()

    def _reset(self) -> None:
        self._plan: _Plan | None = None
        self._recorder: EpochRecorder | None = None
        self._last_logged = 0
        self._batches_in_epoch = 0
        self._trainer_epochs = 0
        self._ran_dry = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reads the index, derives what each step will draw, and lets all ranks agree on it.

        Raises:
            EpochGuardError: the index contradicts its description or corpus, or the ranks differ.
        """
        self._reset()
        arguments = self._arguments or from_training_arguments(args)
        if arguments.epoch_guard == "off":
            return
        self._last_logged = state.global_step
        plan, failure, error = None, None, None
        try:
            plan = _plan(args, state, kwargs.get("train_dataloader"))
        except EpochGuardError as found:
            if arguments.epoch_guard_on_mismatch == "error":
                error = found
            failure = str(found)
        except Exception as found:  # a fault of ours, not doubt about the order
            failure = f"{type(found).__name__}: {found}"
        failure = _agree(plan, failure, error)
        if failure is not None:
            host.logger.warning(f"epoch guard: switched off for this run: {failure}")
            return
        self._plan = plan
        if state.is_world_process_zero:
            self._open_log(args, state)

    @_shielded
    def _open_log(self, args: Any, state: Any) -> None:
        plan = self._plan
        assert plan is not None
        ledger = EpochLedger(plan.source, state.global_step)
        if plan.index is not None and plan.loader.start is not None:
            for dataset, epoch in ended_epochs(plan.index, plan.loader.start).items():
                ledger.end_epochs(dataset, epoch)
        self._recorder = EpochRecorder(ledger, EpochGuardLog(args.logging_dir), plan.words, host.logger.info)
        self._recorder.expect(plan.crossings)
        for warning in _warnings(plan, state):
            self._warn(warning, state)
        host.logger.info(f"epoch guard: {_outlook(plan)}")

    @_shielded
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notices where the trainer starts to read the data anew."""
        plan = self._plan
        if plan is None:
            return
        self._trainer_epochs += 1
        self._batches_in_epoch = 0
        if plan.schedule is not None:
            if self._trainer_epochs > 1:
                self._read_again(plan, plan.schedule, args, state)
        elif isinstance(plan.source, TrainerEpochs):
            # state.epoch counts whole passes when an epoch begins.
            epoch = round(state.epoch) + 1
            plan.source.begin(epoch, state.global_step + 1)
            if self._trainer_epochs > 1 and self._recorder is not None:
                self._recorder.expect([Crossing(state.global_step + 1, epoch - 1)])

    def _read_again(self, plan: _Plan, schedule: Schedule, args: Any, state: Any) -> None:
        """The pretraining sampler ended before ``max_steps``; the trainer starts it once more."""
        again = host.first_piece(plan.loader, args.gradient_accumulation_steps, state.global_step + 1)
        schedule = schedule.then(again)
        assert plan.index is not None
        assert isinstance(plan.source, IndexEpochs)
        crossings = crossings_of(plan.index, schedule, state.global_step)
        closing = closing_steps(crossings, schedule, state.max_steps)
        plan.source.schedule = schedule
        self._plan = replace(plan, schedule=schedule, crossings=tuple(crossings), closing=closing)
        if self._recorder is not None:
            self._recorder.expect(crossings)
            if again.steps and self._trainer_epochs == 2:
                self._warn(
                    f"the loader ran dry after step {state.global_step}, at position {again.stop} of the sample "
                    f"index, before max_steps {state.max_steps}. The trainer reads it again from position "
                    f"{again.start}: samples are drawn a second time. Build the dataset for at least max_steps x "
                    "global batch samples",
                    state,
                )

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the batches that the loader delivered."""
        self._batches_in_epoch += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window before a boundary, on every rank alike."""
        if self._plan is not None and state.global_step in self._plan.closing:
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window at the end of a trainer epoch, where that is what is followed."""
        ended_by_itself = not (control.should_training_stop or control.should_epoch_stop)
        self._ran_dry = ended_by_itself or self._batches_in_epoch == 0
        if self._batches_in_epoch == 0:
            # Said now: paddlenlp 3.0.0b4 fails with an UnboundLocalError right after this event.
            self._say_ran_dry(state)
        if self._plan is not None and self._plan.schedule is None and state.global_step > self._last_logged:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Takes the training loss of the window that ends at this step."""
        if logs is not None and "loss" in logs:
            self._last_logged = state.global_step
            self._record(state.global_step, logs["loss"])

    @_shielded
    def _record(self, step: int, loss: Any) -> None:
        if self._recorder is not None:
            self._recorder.record(step, float(loss))

    @_shielded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the summary; says so where the data ended before the run did."""
        if self._recorder is not None:
            self._say_ran_dry(state)
            self._recorder.finish(state.global_step)
        self._recorder = None

    def _say_ran_dry(self, state: Any) -> None:
        if self._plan is not None and self._recorder is not None and self._ran_dry:
            if state.global_step < state.max_steps:
                self._warn(_ran_dry(self._plan, state), state)
            self._ran_dry = False  # once

    def _warn(self, text: str, state: Any) -> None:
        host.logger.warning(f"epoch guard: {text}")
        if self._recorder is not None:
            self._recorder.note(text, state.global_step)

    def _switch_off(self, event: str, cause: Exception) -> None:
        # The steps that close a window stay: the ranks must go on agreeing on them.
        self._recorder = None
        host.logger.warning(
            f"epoch guard: tracking switched off, training goes on. In {event}: {type(cause).__name__}: {cause}"
        )


def _plan(args: Any, state: Any, dataloader: Any) -> _Plan:
    loader = host.follow_loader(args, dataloader)
    index = host.read_dataset(loader.dataset)
    skipped = tuple((first, last) for first, last in args.skip_data_intervals or ())
    if index is None or loader.start is None:
        words = Words(index.names if index is not None else (), trainer=index is not None)
        batch = loader.micro_batch * args.gradient_accumulation_steps * loader.world_size
        source = TrainerEpochs(batch, skipped)
        return _Plan(loader, index, source, words, None, (), frozenset({state.max_steps}))
    piece = host.first_piece(loader, args.gradient_accumulation_steps, state.global_step + 1)
    schedule = Schedule((piece,), skipped)
    crossings = tuple(crossings_of(index, schedule, state.global_step))
    closing = closing_steps(crossings, schedule, state.max_steps)
    return _Plan(loader, index, IndexEpochs(index, schedule), Words(index.names), schedule, crossings, closing)


def _agree(plan: _Plan | None, failure: str | None, error: EpochGuardError | None) -> str | None:
    """Lets all ranks reach one decision: closing a log window is collective in the trainer.

    Returns:
        Why the guard is off on all ranks; None where it is on.

    Raises:
        EpochGuardError: this rank's error, or another's.
        RankMismatchError: the ranks would act differently.
    """
    gathered = host.gather((plan.agreed if plan is not None else None, failure, error is not None))
    if error is not None:
        raise error
    for rank, (_, why, stops) in enumerate(gathered):
        if stops:
            raise RankMismatchError(f"rank {rank} stopped: {why}")
    for rank, (_, why, _) in enumerate(gathered):
        if why is not None:
            return why if len(gathered) == 1 else f"rank {rank}: {why}"
    for rank, (found, _, _) in enumerate(gathered):
        if found != gathered[0][0]:
            raise RankMismatchError(
                f"rank {rank} would follow another data order than rank 0: {found} instead of {gathered[0][0]}. "
                "Point all ranks to the same corpus and the same index cache"
            )
    return None


def _warnings(plan: _Plan, state: Any) -> list[str]:
    found = []
    if plan.index is not None and plan.schedule is None:
        found.append(
            f"the sampler {plan.loader.sampler} is not one whose positions are followed: data epochs are not known "
            "in this run, and the trainer's own epochs are logged instead. Use "
            "paddlenlp.utils.batch_sampler.DistributedBatchSampler, as PaddleNLP's run_pretrain.py does"
        )
    if plan.schedule is not None:
        piece = plan.schedule.pieces[0]
        last = piece.first_step + piece.steps - 1
        if last < state.max_steps:
            found.append(
                f"the loader will run dry after step {last} of {state.max_steps}: it reads positions {piece.start} "
                f"to {piece.stop}, {piece.global_batch} a step. Build the dataset for at least max_steps x global "
                "batch samples"
            )
    return found


def _outlook(plan: _Plan) -> str:
    if plan.index is None:
        return "the dataset has no sample index; its data epochs are the trainer's epochs"
    if plan.schedule is None:
        return "following the trainer's epochs"
    epochs = ", ".join(
        f"{name} {count} data epoch{'s' if count > 1 else ''}"
        for name, count in zip(plan.index.names, plan.index.epochs, strict=True)
    )
    ahead = ", ".join(f"{c.from_epoch} to {c.to_epoch} at step {c.step}" for c in plan.crossings)
    return f"following {epochs}; boundaries ahead: {ahead or 'none'}"


def _ran_dry(plan: _Plan, state: Any) -> str:
    if plan.schedule is None:
        where = "the end of the data"
    else:
        where = f"position {plan.schedule.pieces[-1].stop}, the end of the sample index"
    return (
        f"training stopped at step {state.global_step} of {state.max_steps} because the loader ran dry at {where}. "
        "The run is shorter than planned: learning rate schedule and data mix were laid out for max_steps. Build "
        "the dataset for at least max_steps x global batch samples"
    )
