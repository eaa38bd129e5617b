"""The callback: Trainer events in, calls to the rooms out."""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments, from_training_arguments
from paddle_epoch_guard.ledger import BoundaryStep, Exposure, IndexEpochs, Trace, TrainerEpochs, WindowLosses, trace
from paddle_epoch_guard.progress import progress_bar
from paddle_epoch_guard.record.events import Message, TokensTraced
from paddle_epoch_guard.record.recorder import Recorder
from paddle_epoch_guard.resume import SIDECAR_NAME, write_sidecar
from paddle_epoch_guard.session.loss_collector import LossCollector
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.session.startup import prepare
from paddle_epoch_guard.session.tracking import open_recorder, sidecar_of, start_messages
from paddle_epoch_guard.views.messages import sentence_of
from paddle_epoch_guard.views.visualdl import EpochGuardLog

_P = ParamSpec("_P")


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
    """Follows the data epochs of a pretraining run, marks their boundaries in VisualDL, and unifies their order.

    Add it to the Trainer; it reads its flags from the training arguments::

        trainer = PretrainingTrainer(..., callbacks=[EpochGuardCallback()])

    Written under ``<logging_dir>/epoch_guard/``, by the first rank only:

    - ``epoch_guard/data_epoch``: mean data epoch of the samples of each log window, fractional.
    - ``epoch_guard/exposure``: how often the tokens drawn in it were drawn before, on average.
    - ``epoch_guard/loss_fresh``, ``epoch_guard/loss_repeat``: loss of samples never, and already, drawn before.
    - ``epoch_guard/loss_by_epoch``: a line for each epoch, in ``epoch_<e>``.
    - ``epoch_guard/epoch_loss``: a point for each epoch, its mean loss.
    - ``train/loss``, in ``boundary_<e>_to_<e+1>``: a vertical line on the trainer's own loss chart.
    - ``epoch_guard/boundary_<e>_to_<e+1>``: what happened there, as text, and the verdict on it.
    - the same in ``unified_from_step_<s>``, where a unified order begins.

    At a boundary, and where a checkpoint is saved, it closes the trainer's log window: no logged loss mixes the two
    sides of a boundary, and none is lost with an interruption.

    Remembered: the order, the schedule, losses by epoch and verdicts, in ``checkpoint-<g>/epoch_guard.json``.

    Args:
        arguments: the flags, where they were parsed beside the training arguments rather than mixed in.
        resume_from_checkpoint: the folder that ``Trainer.train`` is told to resume from, where it is neither in
            ``args.resume_from_checkpoint`` nor in the output folder: the trainer does not tell its callbacks.

    Attributes:
        arguments: as above; read when training begins.
        resume_from_checkpoint: as above; read when training begins.
    """

    def __init__(
        self,
        arguments: EpochGuardArguments | None = None,
        resume_from_checkpoint: str | Path | None = None,
    ) -> None:
        self.arguments = arguments
        self.resume_from_checkpoint = resume_from_checkpoint
        self._collector: LossCollector | None = None
        self._reset()

    def _reset(self) -> None:
        self._plan: RunPlan | None = None
        self._recorder: Recorder | None = None
        self._last_logged = 0
        self._batches_in_epoch = 0
        self._first_in_epoch = 0
        self._trainer_epochs = 0
        self._epochs_before = 0
        self._ran_dry = False
        self._stopped_dry = False
        self._traced: Trace | None = None
        self._switched_off: set[str] = set()
        if self._collector is not None:
            self._collector.close()
        self._collector = None

    def flags(self, args: Any) -> EpochGuardArguments:
        """The flags in force: those that it was given, or those of the training arguments.

        Raises:
            ArgumentsError: a flag has a value that it does not take.
        """
        return self.arguments or from_training_arguments(args)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Derives what each step will draw, lets all ranks agree, and installs the order, before workers fork.

        Raises:
            EpochGuardError: the order of the data is in doubt.
        """
        self._reset()
        dataloader = kwargs.get("train_dataloader")
        # A run that ended in an exception could not give the dataset back.
        host.restore_dataset(getattr(dataloader, "dataset", None))
        arguments = self.flags(args)
        if arguments.epoch_guard == "off":
            self._leave_order_behind(state)
            return
        self._last_logged = state.global_step
        self._plan = prepare(arguments, args, state, dataloader, self.resume_from_checkpoint)
        if self._plan is None:
            self._leave_order_behind(state)
            return
        self._plan.install(dataloader)
        if self._plan.schedule is not None:
            host.write_stamp(state, self._plan.stamp)
        self._count_passes(state)
        self._warn_of_a_new_beginning(args, state)
        if state.is_world_process_zero:
            self._open_log(args, state)
        self._collect_losses(args, state, kwargs.get("model"))
        self._trace(state)

    @_shielded
    def _count_passes(self, state: Any) -> None:
        assert self._plan is not None
        steps = self._plan.loader.steps_per_epoch
        self._epochs_before = state.global_step // steps if steps else 0  # a stream has no length

    @_shielded
    def _open_log(self, args: Any, state: Any) -> None:
        plan = self._plan
        assert plan is not None
        self._recorder = recorder = open_recorder(plan, args, state, args.report_to)
        for warning in start_messages(plan, state.max_steps):
            self._warn(warning, state)
        for mismatch in plan.mismatches:
            self._warn(Message("order_changed", {"mismatch": mismatch}), state)
        decision = plan.decision
        if decision.reason:
            reason = Message("text", {"text": decision.reason})
            (self._warn if decision.is_warning else self._tell)(reason, state)
        if decision.begun is not None:
            recorder.begin_reorder(decision.begun, state.global_step + 1, plan.dissolved)

    @_shielded
    def _collect_losses(self, args: Any, state: Any, model: Any) -> None:
        """Hooks the model's token-loss layer, on every rank; says so where there is none."""
        plan = self._plan
        assert plan is not None
        if plan.schedule is None:
            return
        if not plan.loader.knows_ranks:
            self._say_by_share(Message("share_ranks_unknown"), state)
            return
        source = plan.source if isinstance(plan.source, IndexEpochs) else None
        self._collector = LossCollector(model, source, args.dataset_rank, args.dataset_world_size)
        self._say_by_share(self._collector.agree(), state)

    def _trace(self, state: Any) -> None:
        """Traces how often the data of each step was drawn before. Collective where losses are collected.

        It reads whole arrays, so the first rank does it for all: what it finds is small.
        """
        plan, collector, recorder = self._plan, self._collector, self._recorder
        collects = collector is not None and collector.is_open
        if plan is None or not (recorder or collects):
            return
        traced = self._traced_of(plan) if host.process() == 0 else None
        self._traced = host.broadcast_from(0, traced) if collects else traced
        self._say_traced()
        self._expose(plan, state)

    @_shielded
    def _say_traced(self) -> None:
        if self._traced is not None and self._recorder is not None:
            self._recorder.emit(TokensTraced(sum(self._traced.traced), sum(self._traced.tokens)))

    def _traced_of(self, plan: RunPlan) -> Trace | None:
        """The trace; None where it fails, which has then been said, and on a rank that reads no data."""
        if plan.traced_index is None or not isinstance(plan.source, IndexEpochs):
            return None
        try:
            with progress_bar("epoch guard: tracing tokens", quiet=self._recorder is None) as tell:
                traced = trace(plan.traced_index, plan.source.positions, progress=tell)
            return traced
        except Exception as cause:
            self._switch_off("_trace", cause)
            return None

    @_shielded
    def _expose(self, plan: RunPlan, state: Any) -> None:
        if self._traced is None or plan.schedule is None:
            return
        earlier = None if plan.earlier is None else (plan.earlier.schedule, plan.earlier.step)
        exposure = Exposure(self._traced, plan.schedule, state.max_steps, earlier)
        if self._collector is not None:
            self._collector.exposure = exposure
        if self._recorder is not None:
            self._recorder.exposure = exposure

    @_shielded
    def _say_by_share(self, why: Message | None, state: Any) -> None:
        if why is not None and state.is_world_process_zero:
            self._tell(why, state)

    @_shielded
    def _warn_of_a_new_beginning(self, args: Any, state: Any) -> None:
        """The trainer loads a checkpoint's weights but starts from step 0: its data is drawn again."""
        checkpoint = self.resume_from_checkpoint or args.resume_from_checkpoint
        begins_anew = state.global_step == 0 and args.ignore_load_lr_and_optim
        if begins_anew and checkpoint and state.is_world_process_zero:
            self._warn(Message("begins_anew", {"checkpoint": str(checkpoint)}), state)

    def _leave_order_behind(self, state: Any) -> None:
        """A part of the run without the guard: said where it matters, and kept in the trainer's state."""
        stamp = host.read_stamp(state)
        if stamp is None:
            return
        # No sidecar of an earlier part fits the checkpoints of this one.
        host.write_stamp(state, replace(stamp, part="without the guard"))
        if stamp.repaired and state.is_world_process_zero:
            begun = "draws otherwise than the host would by itself"
            if stamp.unified_from is not None:
                begun = f"began a unified order at position {stamp.unified_from}"
            host.logger.warning(
                f"epoch guard: off, but the run {begun}. Without the guard the host goes on in its own order: samples "
                "will be drawn twice and others lost. Resume with --epoch_guard track to stay in the order that was "
                "begun"
            )

    @_shielded
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notices where the trainer starts to read the data anew."""
        plan = self._plan
        if plan is None:
            return
        carried = self._left_over(plan, state)
        self._trainer_epochs += 1
        self._batches_in_epoch, self._first_in_epoch = 0, state.global_step + 1
        again = self._trainer_epochs > 1 and not plan.loader.reads_once
        if again:
            self._rewind(state, kwargs.get("train_dataloader"))
        if plan.schedule is not None:
            if again:
                self._read_again(plan, state, carried)
        elif isinstance(plan.source, TrainerEpochs):
            epoch = self._epochs_before + self._trainer_epochs
            plan.source.begin(epoch, state.global_step + 1, carried / plan.loader.accumulation)
            if self._trainer_epochs > 1 and self._recorder is not None:
                self._recorder.expect([BoundaryStep(state.global_step + 1, epoch - 1)])

    def _left_over(self, plan: RunPlan, state: Any) -> int:
        """Microbatches that were drawn since the last step, at the end of a trainer epoch."""
        passed_over = plan.loader.passed_over if self._trainer_epochs == 1 else 0
        steps: int = state.global_step + 1 - self._first_in_epoch
        return max(self._batches_in_epoch - passed_over - steps * plan.loader.accumulation, 0)

    def _rewind(self, state: Any, dataloader: Any) -> None:
        """Each trainer epoch reads all of the data, as in a run that was never interrupted."""
        frozen = host.rewind_sampler(dataloader)
        if not frozen:
            return
        stamp = host.read_stamp(state)
        if stamp is not None:
            host.write_stamp(state, replace(stamp, repaired=True))
        if self._trainer_epochs == 2 and state.is_world_process_zero:
            self._warn(Message("rewound", {"position": frozen, "epoch": self._epochs_before + 2}), state)

    def _read_again(self, plan: RunPlan, state: Any, carried: int) -> None:
        """A trainer epoch begins, in which the sampler reads the data once more."""
        epoch = self._epochs_before + self._trainer_epochs - 1
        self._plan = begun = plan.begin_epoch(epoch, state.global_step, carried, state.max_steps)
        if begun is plan:
            return
        if begun.index is plan.index:
            self._expose(begun, state)
        else:  # more passes than planned
            self._trace(state)
        if self._recorder is not None:
            self._recorder.expect(begun.crossings)
            if (
                plan.segment is not None
                and plan.segment.steps
                and self._trainer_epochs == 2
                and not plan.loader.passes
            ):
                self._warn(Message("read_again", {"stop": plan.segment.stop, **_steps(state)}), state)

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the batches that the loader delivered."""
        self._batches_in_epoch += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window before a boundary and before a checkpoint, on every rank alike."""
        self._stamp_step(state)
        if self._plan is not None and (control.should_save or state.global_step in self._plan.closing):
            control.should_log = True

    @_shielded
    def _stamp_step(self, state: Any) -> None:
        if self._plan is not None and self._plan.schedule is not None:
            host.stamp_step(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window at the end of a trainer epoch, where that is what is followed."""
        self._stamp_step(state)  # the last steps may have been skipped
        ended_by_itself = not (control.should_training_stop or control.should_epoch_stop)
        self._ran_dry = ended_by_itself or self._batches_in_epoch == 0
        if self._batches_in_epoch == 0:
            # Said now: paddlenlp 3.0.0b4 fails with an UnboundLocalError right after this event.
            self._say_ran_dry(state)
        if self._plan is None:
            return
        if state.global_step == self._last_logged:
            control.should_log = False  # the trainer would log a loss of 0, and lose that of what was left over
        elif self._plan.schedule is None or control.should_save:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Takes the training loss of the window that ends at this step."""
        if logs is not None and "loss" in logs:
            first_step, self._last_logged = self._last_logged + 1, state.global_step
            self._record(first_step, logs["loss"], state)
            if control.should_save:  # what was recorded is on disk before the checkpoint that a resume goes on from
                self._flush_log()

    def _losses_since(self, first_step: int, loss: Any, state: Any) -> WindowLosses | None:
        """The losses of the window's samples, added up over all ranks; where they cannot be had, all say no alike."""
        if self._collector is None or not self._collector.is_open:
            return None
        losses, why = self._collector.window(first_step, state.global_step, loss)
        self._say_by_share(why, state)
        return losses

    @_shielded
    def _record(self, first_step: int, loss: Any, state: Any) -> None:
        losses = self._losses_since(first_step, loss, state)
        if self._recorder is not None:
            surplus = self._recorder.ledger.source.surplus(first_step, state.global_step)
            self._recorder.record(state.global_step, float(loss) / surplus, losses)

    @_shielded
    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Takes the evaluation loss, which says whether a fall of the training loss is progress."""
        if self._recorder is not None and metrics and "eval_loss" in metrics:
            self._recorder.evaluate(state.global_step, float(metrics["eval_loss"]))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the sidecar into the checkpoint. Where it cannot be, the checkpoint stays, and training goes on."""
        if self._plan is None or self._plan.schedule is None or not state.is_world_process_zero:
            return
        self._flush_log()
        try:
            folder = host.checkpoint_folder(args, state.global_step)
            (folder / SIDECAR_NAME).unlink(missing_ok=True)  # of an earlier part, which wrote this checkpoint before
            write_sidecar(folder, sidecar_of(self._plan, self._recorder, state))
        except Exception as cause:
            _say(
                f"checkpoint {state.global_step} has no resume protection, its "
                f"epoch_guard.json could not be written: {type(cause).__name__}: {cause}"
            )

    @_shielded
    def _flush_log(self) -> None:
        if self._recorder is not None:
            self._recorder.flush()

    @_shielded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the summary, says so where the data ended before the run did, and gives the dataset back."""
        plan, recorder = self._plan, self._recorder
        if self._collector is not None:
            self._collector.close()
        # A loader's thread may still be fetching ahead: positions of an extended run, which the dataset's own arrays
        # do not have. That dataset is given back when the next run begins.
        if plan is not None and plan.is_live:
            host.restore_dataset(plan.loader.dataset)
        if recorder is not None:
            self._say_ran_dry(state)
            recorder.finish(state.global_step, state.global_step >= state.max_steps, self._stopped_dry)
            self._report(args, state)
        self._recorder = None

    def _report(self, args: Any, state: Any) -> None:
        """Writes figures and the report page. Where they cannot be, the logs stay, and make them at any time."""
        plan = self._plan
        assert plan is not None
        if not self.flags(args).epoch_guard_report:
            return
        log = EpochGuardLog(args.logging_dir)
        try:
            # Imported here: it draws, and a training that does not end need not have what that takes.
            from paddle_epoch_guard.report.page import report_run

            known = None if plan.schedule is None else sidecar_of(plan, self._recorder, state)
            page = report_run(args.logging_dir, args.output_dir, state=known, names=plan.naming.datasets, log=log)
            host.logger.info(f"epoch guard: report: {page}")
        except Exception as cause:
            _say(
                f"the report page could not be written: {type(cause).__name__}: {cause}. The logs are complete: "
                f"'paddle-epoch-guard report {args.output_dir}' writes it from them"
            )
        finally:
            log.close()

    @_shielded
    def _say_ran_dry(self, state: Any) -> None:
        if self._plan is not None and self._recorder is not None and self._ran_dry:
            if state.global_step < state.max_steps:
                schedule = self._plan.schedule
                stop = None if schedule is None else schedule.segments[-1].stop
                self._stopped_dry = True
                self._warn(Message("ran_dry", {"stop": stop, **_steps(state)}), state)
            self._ran_dry = False  # once

    def _tell(self, message: Message, state: Any) -> None:
        self._note(message, state, is_warning=False)

    def _warn(self, message: Message, state: Any) -> None:
        self._note(message, state, is_warning=True)

    def _note(self, message: Message, state: Any, is_warning: bool) -> None:
        """Says something of the run as a whole: in its records, or in the trainer's log alone where there are none."""
        if self._recorder is not None:
            self._recorder.note(message, state.global_step, is_warning)
        else:
            (host.logger.warning if is_warning else host.logger.info)(f"epoch guard: {sentence_of(message)}")

    def _switch_off(self, event: str, cause: Exception) -> None:
        # The steps that close a window stay, for the ranks must go on agreeing on them; so does the sidecar.
        self._recorder = None
        if event not in self._switched_off:
            self._switched_off.add(event)
            _say(f"tracking switched off, training goes on. In {event}: {type(cause).__name__}: {cause}")


def _steps(state: Any) -> dict[str, int]:
    return {"step": state.global_step, "max_steps": state.max_steps}


def _say(text: str) -> None:
    """Warns; where not even that can be done, training goes on all the same."""
    with contextlib.suppress(Exception):
        host.logger.warning(f"epoch guard: {text}")
