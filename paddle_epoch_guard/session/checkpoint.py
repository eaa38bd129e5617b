"""The checkpoint that a run resumes from: its sidecar, and whether it is the one that the trainer loaded."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import (
    EpochGuardError,
    RankMismatchError,
    ResumeMismatchError,
    SidecarError,
)
from paddle_epoch_guard.files import poll_until
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.resume import EarlierSteps, Sidecar, decode_sidecar, follow_on, read_sidecar
from paddle_epoch_guard.session.consensus import agree_on_sidecar, run_on_all_ranks
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.session.unguarded import NOTHING_SAVED, Unguarded, unguarded_steps


@dataclass(frozen=True)
class Recalled:
    """What the checkpoint that the run resumes from holds."""

    candidates: tuple[Any, ...] = ()
    """Folders in which it was looked for, the surest first."""
    stamp: host.Stamp | None = None
    """The guard's mark in the trainer's own state; None at a fresh start and without the guard."""
    sidecar: Sidecar | None = None
    is_of_state: bool = False
    """Whether the sidecar holds the order alone, from the trainer's own state: no fitting file was found."""
    record: dict[str, Any] | None = None
    """What the trainer itself wrote of it; None if it was not found."""
    unguarded: Unguarded = NOTHING_SAVED
    """What is known of steps that the guard has not seen, where there is no sidecar."""

    @property
    def is_reordered(self) -> bool:
        """Whether the run has begun an order of its own."""
        return self.sidecar is not None and bool(self.sidecar.reorders)


def recall(args: host.TrainingArguments, state: host.TrainerState, checkpoint: str | Path | None) -> Recalled:
    """Finds and reads the checkpoint that the trainer has loaded. Collective.

    Args:
        args: the trainer's arguments.
        state: the trainer's state.
        checkpoint: the folder that the run resumes from, where it is known.

    Raises:
        EpochGuardError: it is not the one that the trainer loaded, or the ranks read different ones.
    """
    candidates = (checkpoint, args.resume_from_checkpoint, host.checkpoint_folder(args, state.global_step))
    stamp = host.read_stamp(state)
    sidecar = agreed_sidecar(args, state, stamp, candidates)
    record, is_of_state, unguarded = None, False, NOTHING_SAVED
    if state.global_step > 0:
        # The first rank's word: the ranks' own states are checked against it below.
        order = host.broadcast_from(
            0, run_on_all_ranks(lambda: _order_in(stamp, state.global_step), must_succeed=True)
        )
        if order is not None and _names(sidecar) != _names(order):
            sidecar, is_of_state = order, True
        # Machines that share no disk may have records of different parts of the run.
        run_on_all_ranks(lambda: check_stamp(stamp, state.global_step, sidecar, candidates), must_succeed=True)
        folder = host.find_checkpoint(candidates)
        record = None if folder is None else host.trainer_record(folder)
        if sidecar is None:
            # The first rank's word again: only exposure depends on it, but all must have the same schedule.
            unguarded = host.broadcast_from(
                0,
                run_on_all_ranks(lambda: unguarded_steps(candidates, stamp, state.global_step), must_succeed=True),
            )
    return Recalled(candidates, stamp, sidecar, is_of_state, record, unguarded)


def _names(sidecar: Sidecar | None) -> tuple[str, str, int] | None:
    """Of which step, of which part, of which run a sidecar is."""
    return None if sidecar is None else (sidecar.run, sidecar.part, sidecar.step)


def _order_in(stamp: host.Stamp | None, step: int) -> Sidecar | None:
    """The order in the trainer's own state; None if that holds none of this step.

    The trainer's state is written before the sidecar, and by itself: a process may be killed between the two, and a
    checkpoint may be written by another process once it has been announced.

    Raises:
        SidecarError: it is damaged.
    """
    if stamp is None or not stamp.order or stamp.step != step:
        return None
    try:
        return replace(decode_sidecar(stamp.order.encode()), part=stamp.part).at_step(step)
    except (msgspec.MsgspecError, EpochGuardError, ValueError, RecursionError) as cause:
        raise SidecarError(
            tr(
                "the order in the trainer's own state cannot be used: {cause}. Resume from another checkpoint",
                cause=cause,
            )
        ) from cause


def agreed_sidecar(
    args: host.TrainingArguments, state: host.TrainerState, stamp: host.Stamp | None, candidates: Sequence[Any]
) -> Sidecar | None:
    """The sidecar of the checkpoint that all ranks resume from; None if there is none. Collective.

    Where the run cannot go on without one it is waited for: a file system may show it late.

    Raises:
        RankMismatchError: the ranks resume at different steps, or from different sidecars.
        ResumeMismatchError: the trainer may start from step 0 with the weights of half a checkpoint.
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
        read = run_on_all_ranks(look, must_succeed=True)
        by_rank = host.all_gather_ints([step, is_needed])
        steps = sorted(set(by_rank[:, 0].tolist()))
        if len(steps) > 1:
            raise RankMismatchError(
                tr(
                    "the ranks resume at different steps: {steps}. Give all the same checkpoint",
                    steps=", ".join(map(str, steps)),
                )
            )
        sidecar = agree_on_sidecar(read)
        return None if sidecar is None and by_rank[:, 1].any() else (sidecar,)

    agreed = poll_until(look_together)
    return None if agreed is None else agreed[0]


def _refuse_half_a_checkpoint(args: host.TrainingArguments, candidates: Sequence[Any]) -> None:
    """Whether the trainer may have loaded weights that have seen data, and begin at step 0 all the same.

    It does so where a checkpoint has no record of the trainer's state (`_inner_training_loop` in
    paddlenlp/trainer/trainer.py, 3.0.0b4): saving it was interrupted.

    Raises:
        ResumeMismatchError: there is such a checkpoint, and it is the one that would be resumed from.
    """
    if args.ignore_load_lr_and_optim:
        return
    named = next(
        (Path(path) for path in candidates[:2] if isinstance(path, (str, Path)) and Path(path).is_dir()), None
    )
    folder = named or (None if args.overwrite_output_dir else host.newest_checkpoint(args))
    if folder is not None and host.find_checkpoint([folder]) is None:
        raise ResumeMismatchError(
            tr(
                "{folder}: no record of the trainer's state in it: saving it was interrupted. Resumed from it, the "
                "trainer begins at step 0 with the weights in it, and draws what these have seen again. Resume from "
                "an earlier checkpoint. To start a new run, move this folder away, or set --overwrite_output_dir",
                folder=folder,
            )
        )


def check_stamp(stamp: host.Stamp | None, step: int, sidecar: Sidecar | None, candidates: Sequence[Any]) -> None:
    """Whether the sidecar that was found belongs to the checkpoint that the trainer loaded.

    Raises:
        SidecarError: it is of another run, part or checkpoint, or the run cannot go on without one.
    """
    name_it = tr(
        "It was looked for in: {folders}. Name the checkpoint that the trainer loads: --resume_from_checkpoint FOLDER",
        folders=", ".join(_folders(candidates)),
    )
    if stamp is not None and 0 <= stamp.step < step and (stamp.repaired or sidecar is not None):
        raise SidecarError(_saved_without_the_guard(stamp, step, candidates))
    if sidecar is None:
        if stamp is not None and stamp.repaired:
            raise SidecarError(_order_is_lost(stamp, name_it, _resume_earlier(stamp, candidates)))
    elif stamp is None:
        raise SidecarError(
            tr(
                "the trainer loaded a checkpoint that was saved without the guard; the epoch_guard.json that was "
                "found is another's. {next_move}",
                next_move=name_it,
            )
        )
    elif stamp.run != sidecar.run:
        raise SidecarError(
            tr(
                "the epoch_guard.json that was found is not of the run that the trainer loaded. {next_move}",
                next_move=name_it,
            )
        )
    elif (stamp.part, stamp.step) != (sidecar.part, step):
        raise SidecarError(
            tr(
                "the epoch_guard.json that was found is older than the checkpoint that the trainer loaded, or of "
                "another: the checkpoint was written by a part of the run in which the guard was off, or was "
                "interrupted before its own was written. {next_move}. Or: {earlier}",
                next_move=name_it,
                earlier=_resume_earlier(stamp, candidates),
            )
        )


def _folders(candidates: Sequence[Any]) -> list[str]:
    """The folders among the candidates, each once, by its first name."""
    named = [str(path) for path in candidates if isinstance(path, (str, os.PathLike)) and str(path)]
    return list({os.path.realpath(path): path for path in reversed(named)}.values())[::-1]


def _resume_earlier(stamp: host.Stamp, candidates: Sequence[Any]) -> str:
    """What to resume from instead: the newest checkpoint of the run that was saved with the guard."""
    beside = [folder for path in _folders(candidates) for folder in Path(path).parent.glob("checkpoint-*")]
    guarded: dict[int, Path] = {}
    for folder in beside:
        with contextlib.suppress(EpochGuardError, OSError):
            sidecar = read_sidecar(folder, None)
            if sidecar is not None and sidecar.run == stamp.run and sidecar.step <= stamp.step:
                guarded.setdefault(sidecar.step, folder)
    if not guarded:
        return tr("Resume from a checkpoint of this run that was saved with the guard")
    return tr(
        "Resume from the last checkpoint that was saved with the guard: --resume_from_checkpoint {folder}",
        folder=guarded[max(guarded)],
    )


def _saved_without_the_guard(stamp: host.Stamp, step: int, candidates: Sequence[Any]) -> str:
    """What is said of a checkpoint of a guarded run that a part without the guard has saved."""
    values = {"step": step, "seen": stamp.step, "earlier": _resume_earlier(stamp, candidates)}
    if stamp.repaired:
        return tr(
            "the checkpoint of step {step} was saved without the guard, which has followed this run up to step "
            "{seen}. The run drew in an order of its own until then, and in the host's since: samples would be drawn "
            "twice and others lost. {earlier}",
            **values,
        )
    return tr(
        "the checkpoint of step {step} was saved without the guard, which has followed this run up to step {seen}: "
        "the epoch_guard.json that was found ({folders}) is of another checkpoint. {earlier}; or move that file away, "
        "to continue here",
        folders=", ".join(_folders(candidates)),
        **values,
    )


def _order_is_lost(stamp: host.Stamp, name_it: str, earlier: str) -> str:
    """What is said of a run that has drawn in an order of its own, which no sidecar holds."""
    if stamp.part == host.UNGUARDED:
        return tr(
            "the run has drawn otherwise than the host would by itself, and the checkpoint was saved by a part of the "
            "run in which the guard was off: its order is not kept in it. {earlier}",
            earlier=earlier,
        )
    if stamp.part == host.IN_DOUBT:
        return tr(
            "the run has drawn otherwise than the host would by itself, and what the run had drawn was in doubt when "
            "the checkpoint was saved: its order is not kept in it. {earlier}",
            earlier=earlier,
        )
    if stamp.unified_from is None:
        return tr(
            "the run has drawn otherwise than the host would by itself, and no epoch_guard.json of its checkpoint was "
            "found: without it samples would be drawn twice and others lost. {next_move}",
            next_move=name_it,
        )
    return tr(
        "the run began a unified order at position {position}, and no epoch_guard.json of its checkpoint was found: "
        "without it samples would be drawn twice and others lost. {next_move}",
        position=stamp.unified_from,
        next_move=name_it,
    )


def earlier_run(plan: RunPlan, recalled: Recalled) -> tuple[tuple[EarlierSteps, ...], bool]:
    """What the weights had seen that the run takes.

    Returns:
        The steps that are known. And whether that is all.
    """
    checkpoint = host.find_checkpoint(recalled.candidates)
    if checkpoint is None or plan.schedule is None:
        return (), True
    record = host.trainer_record(checkpoint) or {}
    try:
        step = int(record.get("global_step", -1))
        sidecar = read_sidecar(checkpoint, step) or _order_in(host.stamp_in(record), step)
    except EpochGuardError:
        return (), False  # only the exposure depends on it
    if sidecar is None:
        return (), False
    seen = sidecar.seen_after(step)
    return tuple(steps.before(step) for steps in seen), sidecar.knows_weights and follow_on(seen, step + 1)
