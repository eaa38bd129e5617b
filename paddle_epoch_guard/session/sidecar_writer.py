"""Writes the sidecars of the checkpoints that a run saves. Where that cannot be, the checkpoints stay as they are."""

import copy
from pathlib import Path

from paddle_epoch_guard import host
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, write_sidecar
from paddle_epoch_guard.session.run_plan import RunPlan

_LATE_AT_MOST = 8  # sidecars kept for checkpoints that are not there yet


class SidecarWriter:
    """Writes the sidecar of each checkpoint, at once or when another process has completed the checkpoint.

    Args:
        args: the trainer's arguments.
    """

    def __init__(self, args: host.TrainingArguments) -> None:
        self._args = args
        self._late: list[tuple[Path, Sidecar, RunPlan]] = []
        """Of checkpoints that another process writes, and has not completed."""
        self._has_told_losses_lost = False

    def save(self, sidecar: Sidecar, plan: RunPlan) -> None:
        """Writes the sidecar of a checkpoint.

        Args:
            sidecar: what a resumed run would continue from.
            plan: the run's; its order is kept where the losses cannot be.
        """
        late = host.late_checkpoint_folders(self._args, sidecar.step)
        if late:
            sidecar = copy.deepcopy(sidecar)  # the losses in it grow
            self._late += [(folder, sidecar, plan) for folder in late]
            del self._late[:-_LATE_AT_MOST]
        else:
            self._write(host.checkpoint_folder(self._args, sidecar.step), sidecar, plan)

    def save_late(self, is_last: bool = False) -> None:
        """Writes those whose checkpoints another process has completed since.

        Args:
            is_last: whether this is the last opportunity: the folder is enough then.
        """
        for folder, sidecar, plan in tuple(self._late):
            if _is_saved(folder, sidecar) or (is_last and folder.is_dir()):
                self._late.remove((folder, sidecar, plan))
                self._write(folder, sidecar, plan)

    def leave_out(self, step: int) -> None:
        """Removes what an earlier part has left in the checkpoint of a step."""
        (host.checkpoint_folder(self._args, step) / SIDECAR_NAME).unlink(missing_ok=True)

    def _write(self, folder: Path, sidecar: Sidecar, plan: RunPlan) -> None:
        try:
            (folder / SIDECAR_NAME).unlink(missing_ok=True)  # of an earlier part, which wrote this checkpoint before
            self._write_whole_or_order(folder, sidecar, plan)
        except Exception as cause:
            values = {"step": sidecar.step, "cause": f"{type(cause).__name__}: {cause}"}
            if plan.encoded_order:
                said = tr(
                    "checkpoint {step} keeps its order, but not its losses by epoch: its epoch_guard.json could not "
                    "be written: {cause}",
                    **values,
                )
            else:
                said = tr(
                    "checkpoint {step} cannot be resumed: its epoch_guard.json could not be written: {cause}", **values
                )
            host.try_to_warn(said)

    def _write_whole_or_order(self, folder: Path, sidecar: Sidecar, plan: RunPlan) -> None:
        """Writes order and losses; where the losses cannot be held, the order alone: a resume needs no more."""
        try:
            write_sidecar(folder, sidecar)
        except ValueError as cause:
            write_sidecar(folder, plan.order.at_step(sidecar.step))
            if not self._has_told_losses_lost:
                self._has_told_losses_lost = True
                values = {"step": sidecar.step, "cause": cause}
                host.try_to_warn(
                    tr("checkpoints from {step} on are kept without its losses, the order is safe: {cause}", **values)
                )


def _is_saved(folder: Path, sidecar: Sidecar) -> bool:
    """Whether the trainer's own files of a checkpoint are there: not those that an earlier part has left."""
    record = host.trainer_record(folder)
    stamp = None if record is None else host.stamp_in(record)
    if record is None or record.get("global_step") != sidecar.step:
        return False
    return stamp is None or stamp.part == sidecar.part
