"""The callback: Trainer events in, calls to the session out."""

from pathlib import Path
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments, from_training_arguments
from paddle_epoch_guard.session.session import Session, leave_order_behind
from paddle_epoch_guard.session.startup import prepare


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
        self.session: Session | None = None
        """The run in hand; None before training, and where the guard is off."""

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
        if self.session is not None:
            self.session.close()
        self.session = None
        dataloader = kwargs.get("train_dataloader")
        # A run that ended in an exception could not give the dataset back.
        host.restore_dataset(getattr(dataloader, "dataset", None))
        flags = self.flags(args)
        is_off = flags.epoch_guard == "off"
        plan = None if is_off else prepare(flags, args, state, dataloader, self.resume_from_checkpoint)
        if plan is None:
            leave_order_behind(state)
            return
        plan.install(dataloader)
        if plan.schedule is not None:
            host.write_stamp(state, plan.stamp)
        self.session = Session(plan, args, state, flags.epoch_guard_report)
        checkpoint = self.resume_from_checkpoint or args.resume_from_checkpoint
        self.session.begin(state, kwargs.get("model"), checkpoint)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notices where the trainer starts to read the data anew."""
        if self.session is not None:
            self.session.begin_epoch(state, kwargs.get("train_dataloader"))

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the batches that the loader delivered."""
        if self.session is not None:
            self.session.epochs.batches += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window before a boundary and before a checkpoint, on every rank alike."""
        if self.session is None:
            return
        self.session.stamp_step(state)
        if control.should_save or state.global_step in self.session.plan.closing:
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the log window at the end of a trainer epoch, where that is what is followed."""
        if self.session is not None:
            self.session.stamp_step(state)  # the last steps may have been skipped
            self.session.end_epoch(state, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Takes the training loss of the window that ends at this step."""
        if self.session is not None and logs is not None and "loss" in logs:
            self.session.log(logs["loss"], state, control.should_save)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Takes the evaluation loss, which says whether a fall of the training loss is progress."""
        if self.session is not None and metrics and "eval_loss" in metrics:
            self.session.evaluate(metrics["eval_loss"], state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes the sidecar into the checkpoint."""
        if self.session is not None:
            self.session.save(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes summary and report, and gives the dataset back."""
        if self.session is not None:
            self.session.end(state)
