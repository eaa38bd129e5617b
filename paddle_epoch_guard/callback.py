"""The callback: Trainer events in, calls to the session out."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paddle_epoch_guard import host, language
from paddle_epoch_guard.arguments import EpochGuardArguments, from_training_arguments
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.host import TrainerControl, TrainerState, TrainingArguments
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import Event
from paddle_epoch_guard.session.pipeline import prepare
from paddle_epoch_guard.session.session import Session
from paddle_epoch_guard.session.unguarded import leave_order_behind
from paddle_epoch_guard.views.listener import Listener

_SHOWN = 60  # characters


def _follows(event: Callable[..., None]) -> Callable[..., None]:
    """Hands an event to the session, unless the training that calls is another one, nested in a callback."""

    @functools.wraps(event)
    def shielded(self: "EpochGuardCallback", args: TrainingArguments, *event_args: Any, **kwargs: Any) -> None:
        if (session := self.session) is not None:
            try:
                if self._training is host.current_training():
                    event(self, session, *event_args, **kwargs)
            except Exception as cause:
                session.switch_off(event.__name__, cause)

    return shielded


def _shown(value: object) -> str:
    """A value of the user's, short enough for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"


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
        on_event: a function that gets each event of the record (`paddle_epoch_guard.record.events`), such as
            ``ChangeReached`` and ``ChangeJudged``, and ``Refused`` if the guard refuses to start. It is called on the
            first rank, in a thread of its own. What it raises leads to one warning and stops nothing; the end of
            training waits at most 5 seconds for it.

    Attributes:
        arguments: as above; read when training begins.
        resume_from_checkpoint: as above; read when training begins.
        on_event: as above; read when training begins.

    Raises:
        ArgumentsError: an argument is of another type.
    """

    def __init__(
        self,
        arguments: EpochGuardArguments | None = None,
        resume_from_checkpoint: str | Path | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self.arguments = arguments
        self.resume_from_checkpoint = resume_from_checkpoint
        self.on_event = on_event
        self._check()
        self.session: Session | None = None
        """The run that is followed; None outside training, and if the guard is off."""
        self._training: host.Training | None = None
        self._listener: Listener | None = None
        host.watch_trainings()

    def __getstate__(self) -> dict[str, Any]:
        """Copied or pickled, it is its configuration, without the run that it follows."""
        return {name: getattr(self, name) for name in ("arguments", "resume_from_checkpoint", "on_event")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _check(self) -> None:
        """Refuses a configuration of other types: else the first event, or the first flag, would fail.

        Raises:
            ArgumentsError: it has one.
        """
        if self.on_event is not None and not callable(self.on_event):
            raise ArgumentsError(
                tr(
                    "EpochGuardCallback(on_event={found}): cannot be called; expected a function that takes an event, "
                    "or None",
                    found=_shown(self.on_event),
                )
            )
        if self.arguments is not None and not isinstance(self.arguments, EpochGuardArguments):
            raise ArgumentsError(
                tr(
                    "EpochGuardCallback(arguments={found}): expected EpochGuardArguments, or None for the flags among "
                    "the training arguments",
                    found=_shown(self.arguments),
                )
            )

    def flags(self, args: TrainingArguments) -> EpochGuardArguments:
        """The flags in force: those that it was given, or those of the training arguments.

        Raises:
            ArgumentsError: a flag has a value that it does not take.
        """
        return self.arguments or from_training_arguments(args)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Derives what each step will draw, lets all ranks agree, and installs the order, before workers fork.

        Raises:
            EpochGuardError: the order of the data is in doubt.
        """
        training = host.current_training()
        if self._stands_down(training):
            return
        self._check()  # again: attributes may have been set since
        self._let_go()
        self._training = training
        dataloader: Any = kwargs.get("train_dataloader")
        host.take_over(getattr(dataloader, "dataset", None), training)
        flags, checkpoint = self.flags(args), self._checkpoint(args, training)
        if flags.epoch_guard_lang != "auto":
            language.use(flags.epoch_guard_lang)
        is_off = flags.epoch_guard == "off"
        if not is_off and self.on_event is not None and state.is_world_process_zero:
            self._listener = Listener(self.on_event, host.warn)
        try:
            plan = None if is_off else prepare(flags, args, state, dataloader, checkpoint, self._listener)
        except BaseException:
            self._let_go()
            raise
        if plan is None:
            leave_order_behind(state, is_in_doubt=not is_off)
            self._let_go()
            return
        try:
            plan.install(dataloader)
        except BaseException:
            host.release(plan.loader.dataset)
            self._let_go()
            raise
        if plan.schedule is not None:
            host.write_stamp(state, plan.stamp)
        self.session = Session(plan, args, state, flags, self._listener)
        if training is not None:
            training.at_end.append(self._let_go)
            training.own(plan.loader.dataset, restores_at_end=plan.drawn.is_live)
        weights = checkpoint or args.resume_from_checkpoint
        self.session.begin(state, kwargs.get("model"), weights, kwargs.get("eval_dataloader"))

    def _stands_down(self, training: host.Training | None) -> bool:
        """Whether another guard follows this training, or this one follows another that is not over."""
        if training is None:
            return False
        busy = self._training is not None and self._training.is_running and self._training is not training
        if not busy and training.guard in (None, self):
            training.guard = self
            return False
        if busy:
            why = tr(
                "the callback of this Trainer follows another run that is not over; here it does nothing. Give each "
                "Trainer one EpochGuardCallback of its own"
            )
        else:
            why = tr(
                "the callback of this Trainer is there twice; here it does nothing. Give each Trainer one "
                "EpochGuardCallback of its own"
            )
        host.warn(f"epoch guard: {why}")
        return True

    def _let_go(self) -> None:
        """Training has ended, perhaps in an exception: keeps neither hooks nor plan nor dataset."""
        if self.session is not None:
            self.session.let_go()
        if self._listener is not None:
            self._listener.close()
        self.session = self._training = self._listener = None

    def _checkpoint(self, args: TrainingArguments, training: host.Training | None) -> str | Path | None:
        """The folder that the trainer resumes from, where the user named it or ``Trainer.train`` was told."""
        told = None if training is None else training.resume_from_checkpoint
        return self.resume_from_checkpoint or (told if isinstance(told, (str, Path)) else None)

    @_follows
    def on_epoch_begin(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Notices where the trainer starts to read the data again."""
        session.begin_epoch(state, kwargs.get("train_dataloader"))

    @_follows
    def on_load_data_end(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Counts the batches that the loader delivered."""
        session.epochs.batches += 1

    @_follows
    def on_step_end(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Closes the log window before a boundary and before a checkpoint, on every rank alike; asks to evaluate."""
        session.extra.settle()
        session.stamp_step(state)
        session.check_draws(state)  # at each step: a later callback may ask for a checkpoint
        if control.should_save or state.global_step in session.plan.closing:
            control.should_log = True
        session.ask_to_evaluate(state, control)

    @_follows
    def on_epoch_end(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Closes the log window at the end of a trainer epoch, where that is what is followed."""
        session.extra.settle()
        session.stamp_step(state)  # the last steps may have been skipped
        session.check_draws(state, is_within_epoch=False)
        session.end_epoch(state, control)

    @_follows
    def on_log(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Takes the training loss of the window that ends at this step."""
        logs = kwargs.get("logs") or {}
        if "loss" in logs:
            session.log(logs["loss"], logs.get("learning_rate"), state, control.should_save)

    @_follows
    def on_evaluate(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Takes the evaluation loss, which says whether a fall of the training loss is progress."""
        session.extra.end()
        metrics = kwargs.get("metrics") or {}
        if "eval_loss" in metrics:
            session.evaluate(metrics["eval_loss"], state)

    @_follows
    def on_save(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes the sidecar into the checkpoint."""
        session.save(state)

    @_follows
    def on_train_end(self, session: Session, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes summary and report, gives the dataset back, and lets go of the run."""
        session.end(state)
        self.session = None
