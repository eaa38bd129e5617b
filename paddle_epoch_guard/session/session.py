"""One run, from ``on_train_begin`` to ``on_train_end``: its plan, the losses of its samples, and what is recorded."""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.ledger import (
    BoundaryStep,
    EpochSource,
    IndexEpochs,
    TrainerEpochs,
)
from paddle_epoch_guard.ledger.losses import SummedWindow, window_of
from paddle_epoch_guard.record.events import Message, TokensTraced
from paddle_epoch_guard.record.recorder import Recorder, View
from paddle_epoch_guard.record.run_file import add_part
from paddle_epoch_guard.session.background import Background
from paddle_epoch_guard.session.evaluation import (
    described_evaluation,
    evaluates_anyway,
    evaluation_is_apart,
    planned_evaluations,
    unknown_by_fault,
)
from paddle_epoch_guard.session.keeping import Keeps, kept_of, page_sentence, told_of
from paddle_epoch_guard.session.loss_collector import LossCollector
from paddle_epoch_guard.session.outlook import boundary_ahead
from paddle_epoch_guard.session.progress_counter import TrainerEpochCounter
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.session.run_trace import RunTrace
from paddle_epoch_guard.session.sidecar_writer import SidecarWriter
from paddle_epoch_guard.session.tracking import corpus_messages, open_recorder, sidecar_of, start_messages
from paddle_epoch_guard.views.messages import sentence_of
from paddle_epoch_guard.views.visualdl import EpochGuardLog

_P = ParamSpec("_P")
_LEAVES_TRACES = mark("an extra evaluation may leave traces in the Trainer")


def shield(part: Callable[_P, None]) -> Callable[_P, None]:
    """After the first step nothing of ours may stop a training run: a failing part switches tracking off."""

    @functools.wraps(part)
    def shielded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            part(*args, **kwargs)
        except Exception as cause:
            session = args[0]
            assert isinstance(session, Session)
            session.switch_off(part.__name__, cause)

    return shielded


class Session:
    """Owns the plan, the collector and the recorder of a run, and passes changes of the plan to them.

    Args:
        plan: what the run will draw; installed already.
        args: the trainer's arguments.
        state: the trainer's state.
        flags: the guard's.
        listener: gets each event, on the first rank.
    """

    def __init__(
        self,
        plan: RunPlan,
        args: host.TrainingArguments,
        state: host.TrainerState,
        flags: EpochGuardArguments,
        listener: View | None = None,
    ) -> None:
        self.plan = plan
        self._listener = listener
        self.collector: LossCollector | None = None
        self._recorder: Recorder | None = None
        self._records_elsewhere = False
        """Whether all loggers bear another thread than the training's."""
        self._background = Background()
        """Records the windows. Whatever else is done with the recorder waits for it."""
        self._args = args
        self._training = host.current_training()
        self._is_in_doubt = False
        self._stamp = plan.stamp
        self._writes_report = flags.epoch_guard_report
        self._keeps: Keeps = "all"
        self._asks_to_evaluate = flags.epoch_guard_evaluate
        self._last_logged: int = state.global_step
        steps = plan.loader.steps_per_epoch
        self.epochs = TrainerEpochCounter(
            state.global_step // steps if steps else 0,  # a stream has no length
            plan.loader.accumulation,
            plan.loader.passed_over,
        )
        self._stopped_dry = False
        self._has_noted_run = False
        self._trace = RunTrace(args.output_dir, self._say_exposure_unknown, self._lose_exposure)
        self._switched_off: set[str] = set()
        self.extra = host.ExtraEvaluation(self._training)
        self._of_evaluation: Message | None = None
        """What is to be said of the evaluation set, if it is used."""
        self._sidecars = SidecarWriter(args)

    @property
    def recorder(self) -> Recorder | None:
        """On the first rank, while tracking is on; all windows so far are recorded, or tracking is switched off."""
        try:
            self._background.wait()
        except Exception as cause:
            self.switch_off("_record", cause)
        return self._recorder

    @recorder.setter
    def recorder(self, recorder: Recorder | None) -> None:
        self._recorder = recorder

    def begin(
        self, state: host.TrainerState, model: object, checkpoint: str | Path | None, eval_dataloader: object = None
    ) -> None:
        """Opens records, hooks and trace. Collective.

        Args:
            state: the trainer's.
            model: the trainer's.
            checkpoint: the folder whose weights the trainer loads, where one is named.
            eval_dataloader: the trainer's; None until it has evaluated.
        """
        self._warn_of_a_new_beginning(state, checkpoint)
        if state.is_world_process_zero:
            self._open_records(state)
            self._examine_evaluation(eval_dataloader, state)
        self._collect_losses(state, model)
        self._trace_tokens(state)
        if state.is_world_process_zero:
            self._warn_of_boundaries(state)

    @shield
    def begin_epoch(self, state: host.TrainerState, dataloader: host.Dataloader | None) -> None:
        """Notices where the trainer starts to read the data again."""
        plan, recorder = self.plan, self.recorder
        left_over = self.epochs.begin(state.global_step)
        again = self.epochs.begun > 1 and not plan.loader.reads_once
        if again:
            self._rewind(state, dataloader)
        if plan.schedule is not None:
            if again:
                self._read_again(plan, state, left_over)
        elif isinstance(plan.source, TrainerEpochs):
            plan.source.begin(self.epochs.epoch, state.global_step + 1, left_over / plan.loader.accumulation)
            if self.epochs.begun > 1 and recorder is not None:
                recorder.expect([BoundaryStep(state.global_step + 1, self.epochs.epoch - 1)])

    @shield
    def end_epoch(self, state: host.TrainerState, control: host.TrainerControl) -> None:
        """Closes the log window at the end of a trainer epoch, where that is what is followed."""
        ended_by_itself = not (control.should_training_stop or control.should_epoch_stop)
        self.epochs.loader_ended = ended_by_itself or self.epochs.batches == 0
        if self.epochs.batches == 0:
            # Said now: paddlenlp 3.0.0b4 fails with an UnboundLocalError right after this event.
            self._say_ran_dry(state)
        if state.global_step == self._last_logged:
            control.should_log = False  # the trainer would log a loss of 0, and lose that of what was left over
        elif self.plan.schedule is None or control.should_save:
            control.should_log = True

    @shield
    def stamp_step(self, state: host.TrainerState) -> None:
        """Notes in the trainer's state that the guard has seen the step that ends."""
        if self.plan.schedule is None:
            return
        if not host.has_stamp(state):  # other code has replaced the trainer's field
            self._write_stamp(state)
        host.stamp_step(state)

    def _write_stamp(self, state: host.TrainerState, **changes: Any) -> None:
        """Changes the stamp in the trainer's state."""
        self._stamp = replace(host.read_stamp(state) or self._stamp, **changes)
        host.write_stamp(state, self._stamp)

    @shield
    def check_draws(self, state: host.TrainerState, is_within_epoch: bool = True) -> None:
        """Before a checkpoint: if other data was drawn than planned, no order is kept as if it had been drawn.

        Compares two independent counts, batches that the loader delivered and steps, and the arrays of the dataset
        with those that were installed. At the end of a trainer epoch, batches may be left over.
        """
        if self.plan.schedule is None or self._is_in_doubt:
            return
        surplus = self.epochs.surplus(state.global_step) if is_within_epoch else 0
        if surplus:
            self._doubt_draws(Message("draws_miscounted", {"batches": surplus, "step": state.global_step}), state)
        elif self._training is not None and not self._training.has_its_order:
            self._doubt_draws(Message("order_replaced", {"step": state.global_step}), state)

    def _doubt_draws(self, why: Message, state: host.TrainerState) -> None:
        self._is_in_doubt = True
        self._write_stamp(state, part=host.IN_DOUBT, order="", repaired=True)
        if state.is_world_process_zero:
            self._note(why, state, is_warning=True)

    @shield
    def log(self, loss: float, learning_rate: float | None, state: host.TrainerState, is_saving: bool) -> None:
        """Takes the training loss of the window that ends at this step. Collective.

        Args:
            loss: as the trainer logged it.
            learning_rate: as the trainer logged it; None if it did not.
            state: the trainer's.
            is_saving: whether a checkpoint is saved next: a resume from it must find what was recorded.
        """
        first_step, self._last_logged = self._last_logged + 1, state.global_step
        self._record(first_step, loss, learning_rate, state)
        if is_saving:
            self._flush()
        self.save_late()

    def ask_to_evaluate(self, state: host.TrainerState, control: host.TrainerControl) -> None:
        """Asks for an evaluation where one is planned, on every rank alike, and closes the log window before it."""
        step = state.global_step
        if step not in self.plan.evaluating:
            return
        control.should_log = True
        if control.should_evaluate or evaluates_anyway(self.plan, self._args, step):
            return
        if control.should_save and getattr(self._args, "metric_for_best_model", None):
            return  # the checkpoint would count as an evaluated one
        control.should_evaluate = True
        with host.told_if_it_fails(tr(_LEAVES_TRACES)):
            self.extra.begin()

    @shield
    def evaluate(self, loss: float, state: host.TrainerState) -> None:
        """Takes the evaluation loss after a step."""
        self._say_of_evaluation(state)
        if self.recorder is not None:
            self.recorder.evaluate(state.global_step, float(loss))

    @shield
    def save(self, state: host.TrainerState) -> None:
        """Writes the sidecar into the checkpoint. Where it cannot be, the checkpoint stays, and training goes on."""
        self._note_run(state)
        if self.plan.schedule is None or not state.is_world_process_zero:
            return
        self._flush()
        self.check_draws(state, is_within_epoch=False)
        if self._is_in_doubt:
            self._sidecars.leave_out(state.global_step)
            return
        self._sidecars.save(sidecar_of(self.plan, self.recorder, state), self.plan)

    def _note_run(self, state: host.TrainerState) -> None:
        """Notes in the output folder which run it holds and where the logs are, once; a report can do without."""
        if self._has_noted_run or self.recorder is None or not state.is_world_process_zero:
            return
        if self._keeps == "nothing":
            return
        self._has_noted_run = True
        identity = self.plan.identity
        consequence = tr("the output folder does not say where the logs of this run are; report needs --logging-dir")
        with host.told_if_it_fails(consequence):
            add_part(self._args.output_dir, identity.run, identity.part, self._args.logging_dir)

    @shield
    def save_late(self, is_last: bool = False) -> None:
        """Writes sidecars into checkpoints that another process has completed since they were saved."""
        self._sidecars.save_late(is_last)

    @shield
    def end(self, state: host.TrainerState) -> None:
        """Closes the records, says so where the data ended before the run did, and gives the dataset back."""
        self.close()
        if not self.epochs.loader_ended:
            self.check_draws(state)
        self.save_late(is_last=True)
        # A loader's thread may still be fetching ahead: positions of an extended run, which the dataset's own arrays
        # do not have. That dataset is given back when the next run begins.
        if self.plan.drawn.is_live:
            host.release(self.plan.loader.dataset)
        recorder = self.recorder
        if recorder is not None:
            self._say_ran_dry(state)
            recorder.finish(state.global_step, state.global_step >= state.max_steps, self._stopped_dry)
            self._note_run(state)
            if self._writes_report and self._keeps == "all":
                self._report(state)
        self.recorder = None
        self._background.close()

    def close(self) -> None:
        """Takes the hooks off the model."""
        with host.told_if_it_fails(tr(_LEAVES_TRACES)):
            self.extra.settle()
        if self.collector is not None:
            self.collector.close()

    def let_go(self) -> None:
        """Training has ended, perhaps in an exception: keeps neither hooks nor a thread, and writes what it knows."""
        self.close()
        with contextlib.suppress(Exception):
            if self.recorder is not None:
                self.recorder.flush()
        self._background.close()

    def switch_off(self, part: str, cause: Exception) -> None:
        """Ends tracking, and says so once for each part that fails."""
        # The steps that close a window stay, for the ranks must go on agreeing on them; so does the sidecar.
        self._background.close()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with contextlib.suppress(Exception):
                recorder.abandon(self._last_logged)
        if part not in self._switched_off:
            self._switched_off.add(part)
            fault = f"{type(cause).__name__}: {cause}"
            host.try_to_warn(tr("tracking switched off, training goes on. In {part}: {cause}", part=part, cause=fault))

    @shield
    def _open_records(self, state: host.TrainerState) -> None:
        plan = self.plan
        self._keeps = kept_of(self._args, state.global_step + 1, state.max_steps)
        opened = open_recorder(plan, self._args, state, self._keeps, self._listener)
        self.recorder, self._records_elsewhere = opened
        recorder = opened[0]
        kept = told_of(self._keeps, self._args, state.max_steps)
        if kept is not None:
            self._note(kept, state)
        for warning in start_messages(plan, state.max_steps):
            self._note(warning, state, is_warning=True)
        for mismatch in plan.past.mismatches:
            self._note(Message("order_changed", {"mismatch": mismatch}), state, is_warning=True)
        decision = plan.decision
        if decision.code:
            self._note(Message(decision.code, dict(decision.parameters)), state, decision.is_warning)
        if decision.begun is not None:
            recorder.begin_reorder(decision.begun, state.global_step + 1, plan.dissolved)

    @shield
    def _examine_evaluation(self, eval_dataloader: object, state: host.TrainerState) -> None:
        """Compares the evaluation set with the training data. The first rank does it, in a few seconds."""
        if self.recorder is None:
            return
        evaluation, fault = None, None
        try:
            evaluation = host.evaluation_set(self._training, eval_dataloader)
        except Exception as cause:
            fault = cause
        if self._asks_to_evaluate:
            message = planned_evaluations(self.plan, self._args, self._training, evaluation)
            self._note(message, state, is_warning=message.code == "evaluates_nothing")
        if evaluation is None and not host.evaluates(self._args):
            return
        training = self.plan.loader.dataset
        found = evaluation_is_apart(training, evaluation) if fault is None else unknown_by_fault(fault)
        apart, self._of_evaluation = found
        self.recorder.watch.evaluation_is_apart = apart
        described = described_evaluation(self._args, evaluation, apart, state.global_step)
        if described is not None:
            self.recorder.emit(described)
        if host.evaluates(self._args) or self.plan.evaluating:
            self._say_of_evaluation(state)

    def _say_of_evaluation(self, state: host.TrainerState) -> None:
        """Says once that evaluations confirm nothing: where they are planned at the start, else at the first one."""
        message, self._of_evaluation = self._of_evaluation, None
        if message is not None and self.recorder is not None:
            self._note(message, state, is_warning=message.code == "evaluation_overlaps")

    @shield
    def _collect_losses(self, state: host.TrainerState, model: object) -> None:
        """Hooks the model's token-loss layer, on every rank; says so where there is none."""
        plan = self.plan
        if plan.schedule is None:
            return
        if not plan.knows_ranks:
            self._say_by_share(Message("share_ranks_unknown"), state)
            return
        source = plan.source if isinstance(plan.source, IndexEpochs) else None
        self.collector = LossCollector(model, source, self._args.dataset_rank, self._args.dataset_world_size)
        self._say_by_share(self.collector.agree(), state)

    def _trace_tokens(self, state: host.TrainerState) -> None:
        """Traces how often the data of each step was drawn before. Collective where losses are collected."""
        self._trace.drop()
        collects = self.collector is not None and self.collector.is_open
        if not (self.recorder or collects):
            return
        why = None if self.plan.schedule is None else self.plan.why_exposure_unknown
        if why is not None:
            self._say_exposure_unknown(why)
        elif not self._trace.begin(self.plan, collects):
            self._settle_trace(state)

    @shield
    def _settle_trace(self, state: host.TrainerState) -> None:
        """Waits for the trace, if one has begun. Collective where losses are collected."""
        if self._trace.settle():
            self._say_traced(state)
            self._expose(state)

    def _lose_exposure(self, cause: Exception) -> None:
        """Says once that exposure is not logged; on a rank without records in the trainer's log."""
        if "exposure" not in self._switched_off:
            self._switched_off.add("exposure")
            fault = f"{type(cause).__name__}: {cause}"
            if self.recorder is not None:
                self.recorder.note(Message("exposure_failed", {"fault": fault}), self._last_logged, is_warning=True)
            else:
                host.try_to_warn(sentence_of(Message("exposure_failed", {"fault": fault})))

    @shield
    def _say_traced(self, state: host.TrainerState) -> None:
        trace = self._trace.found
        if trace is not None and self.recorder is not None:
            self.recorder.emit(TokensTraced(sum(trace.traced), sum(trace.tokens)))
            for message in corpus_messages(trace.corpora, self.plan.naming.datasets):
                self._note(message, state, is_warning=True)

    @shield
    def _say_exposure_unknown(self, why: Message) -> None:
        if self.recorder is not None:
            self.recorder.note(why, self._last_logged, is_warning=True)

    @shield
    def _expose(self, state: host.TrainerState) -> None:
        schedule = self.plan.schedule
        exposure = None if schedule is None else self._trace.exposure(schedule, state.max_steps)
        if exposure is None:
            return
        if self.collector is not None:
            self.collector.exposure = exposure
        if self.recorder is not None:
            self.recorder.exposure = exposure

    @shield
    def _say_by_share(self, why: Message | None, state: host.TrainerState) -> None:
        if why is not None and state.is_world_process_zero:
            self._note(why, state)

    @shield
    def _warn_of_boundaries(self, state: host.TrainerState) -> None:
        """Says before the first step where the loss will drop: a user who reads of it afterwards has tuned on it."""
        if self.recorder is None:
            return
        message = boundary_ahead(self.plan, self._args, self.recorder.exposure, state.max_steps)
        if message is not None:
            self._note(message, state, is_warning=True)

    @shield
    def _warn_of_a_new_beginning(self, state: host.TrainerState, checkpoint: str | Path | None) -> None:
        """The trainer loads a checkpoint's weights but starts from step 0: its data is drawn again."""
        begins_anew = state.global_step == 0 and self._args.ignore_load_lr_and_optim
        if begins_anew and checkpoint and state.is_world_process_zero:
            self._note(Message("begins_anew", {"checkpoint": str(checkpoint)}), state, is_warning=True)

    def _rewind(self, state: host.TrainerState, dataloader: host.Dataloader | None) -> None:
        """Each trainer epoch reads all of the data, as in a run that was never interrupted."""
        position = host.rewind_sampler(dataloader)
        if not position:
            return
        if self.plan.schedule is not None:
            self._write_stamp(state, repaired=True)
        if self.epochs.begun == 2 and state.is_world_process_zero:
            message = Message("rewound", {"position": position, "epoch": self.epochs.epoch})
            self._note(message, state, is_warning=True)

    def _read_again(self, plan: RunPlan, state: host.TrainerState, left_over: int) -> None:
        """A trainer epoch begins, in which the sampler reads the data once more."""
        self.plan = begun = plan.begin_epoch(self.epochs.epoch - 1, state.global_step, left_over, state.max_steps)
        if begun is plan:
            return
        self._write_stamp(state, order=begun.encoded_order)
        self._follow(begun.source)
        if begun.index is plan.index:
            self._expose(state)
        else:  # more sampler epochs than planned
            self._trace_tokens(state)
        if self.recorder is not None:
            self.recorder.expect(begun.boundaries)
            ended = plan.segment
            if ended is not None and ended.steps and self.epochs.begun == 2 and plan.sampling is None:
                self._note(Message("read_again", {"stop": ended.stop, **_steps(state)}), state, is_warning=True)

    def _follow(self, source: EpochSource) -> None:
        """Lets ledger and collector look up in another source from here on."""
        if self.recorder is not None:
            self.recorder.ledger.source = source
        if self.collector is not None and isinstance(source, IndexEpochs):
            self.collector.source = source

    @shield
    def _record(self, first_step: int, loss: float, learning_rate: float | None, state: host.TrainerState) -> None:
        self._settle_trace(state)
        losses = self._losses_since(first_step, loss, state)
        recorder = self._recorder
        if recorder is not None:
            rate = None if learning_rate is None else float(learning_rate)
            step, source, logged = state.global_step, self.plan.source, float(loss)

            def record() -> None:
                known = None if losses is None else window_of(*losses)
                recorder.record(step, logged / source.surplus(first_step, step), known, rate)

            if self._records_elsewhere:
                self._background.run(record)
            else:
                record()

    def _losses_since(self, first_step: int, loss: float, state: host.TrainerState) -> SummedWindow | None:
        """The sums over the window's samples, over all ranks too; None on all ranks if they are unknown."""
        if self.collector is None or not self.collector.is_open:
            return None
        losses, why = self.collector.window(first_step, state.global_step, loss)
        self._say_by_share(why, state)
        return losses

    @shield
    def _flush(self) -> None:
        if (recorder := self.recorder) is not None:
            recorder.flush()

    def _report(self, state: host.TrainerState) -> None:
        """Writes figures and the report page. Where they cannot be, the logs stay, and make them at any time."""
        args, plan = self._args, self.plan
        log = EpochGuardLog(args.logging_dir)
        try:
            # Imported here: it draws, and a training that does not end need not have what that takes.
            from paddle_epoch_guard.report.page import report_run

            known = None if plan.schedule is None else sidecar_of(plan, self.recorder, state)
            page = report_run(args.logging_dir, args.output_dir, state=known, names=plan.naming.datasets, log=log)
            host.say(f"epoch guard: {page_sentence(page, state.global_step)}")
        except Exception as cause:
            host.try_to_warn(
                tr(
                    "the report page could not be written: {cause}. The logs are complete: 'paddle-epoch-guard report "
                    "{folder}' writes it from them",
                    cause=f"{type(cause).__name__}: {cause}",
                    folder=args.output_dir,
                )
            )
        finally:
            log.close()

    @shield
    def _say_ran_dry(self, state: host.TrainerState) -> None:
        if not self.epochs.loader_ended or self.recorder is None:
            return
        if state.global_step < state.max_steps:
            self._stopped_dry = True
            schedule = self.plan.schedule
            stop = None if schedule is None else schedule.segments[-1].stop
            self._note(Message("ran_dry", {"stop": stop, **_steps(state)}), state, is_warning=True)
        self.epochs.loader_ended = False  # once

    def _note(self, message: Message, state: host.TrainerState, is_warning: bool = False) -> None:
        """Says something of the run as a whole: in its records, or in the trainer's log alone where there are none."""
        if self.recorder is not None:
            self.recorder.note(message, state.global_step, is_warning)
        else:
            (host.warn if is_warning else host.say)(f"epoch guard: {sentence_of(message)}")


def _steps(state: host.TrainerState) -> dict[str, int]:
    return {"step": state.global_step, "max_steps": state.max_steps}
