"""Steps that the guard has not seen: what their checkpoints hold of them, and whether that tells what they drew.

No file holds the order of such steps. It is the host's own, and follows from its arguments and its index. The trainer
saves its arguments in each checkpoint, and those of the data not at all. So the order is known if the arguments were
the present ones in each checkpoint that is left, and if the cache holds no other index that the steps could have drawn
from.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import EpochGuardError
from paddle_epoch_guard.index import BlendIndex, Description, GPTIndex
from paddle_epoch_guard.index.cache import read_text
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.resume import Sidecar, decode_sidecar, read_sidecar
from paddle_epoch_guard.resume.audit import skipped_so_far
from paddle_epoch_guard.session.observe import Observed, Request, datasets_of

_DESCRIPTION_BYTES = 1 << 16


@dataclass(frozen=True)
class SavedPart:
    """What the trainer saved in a checkpoint of the part that wrote it; a value is None if it is not there."""

    step: int
    consumed: int | None = None
    max_steps: int | None = None
    seed: int | None = None
    skipped: tuple[tuple[int, int], ...] = ()
    """Ranges of steps."""
    ignored_data_skip: bool | None = None

    @classmethod
    def read(cls, checkpoint: Path, step: int) -> "SavedPart":
        """From the files of a checkpoint."""
        record, arguments = host.trainer_record(checkpoint) or {}, host.saved_arguments(checkpoint)
        consumed, max_steps = _number(record, "consumed_samples"), _number(record, "max_steps")
        if arguments is None:
            return cls(step, consumed, max_steps)
        skipped = tuple((int(first), int(last)) for first, last in arguments.get("skip_data_intervals") or ())
        ignored = arguments.get("ignore_data_skip")
        return cls(step, consumed, max_steps, _number(arguments, "seed"), skipped, ignored is True)


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) else None


@dataclass(frozen=True)
class Unguarded:
    """What is known of the steps up to a checkpoint that the guard has not seen."""

    after: int | None = None
    """The last step that the guard saw; None if it saw none."""
    guarded: Sidecar | None = None
    """The order up to that step; None if it was not kept."""
    saved: tuple[SavedPart, ...] = ()
    """Of the checkpoint, and of those beside it since then."""
    other_index: str = ""
    """The description of another index that they may have drawn from; empty if there is none."""

    @property
    def first_step(self) -> int:
        """The first of these steps."""
        return 1 if self.after is None else self.after + 1

    @property
    def skipped(self) -> tuple[tuple[int, int], ...]:
        """The ranges of these steps, and of those before, that were skipped."""
        return skipped_so_far(self.saved[-1].skipped, self.saved[-1].step) if self.saved else ()

    def seeds(self, request: Request, observed: Observed) -> tuple[int, int] | None:
        """The seed of the data as the trainer saved it, and the present one; None if these are not known."""
        then = self.saved[-1].seed if self.saved else None
        follows = all(record.indices[0].seed == request.seed for record in observed.live)
        return None if then is None or not follows else (then, request.seed)


NOTHING_SAVED = Unguarded()
"""Nothing is known of the steps before, if there were any."""


def unguarded_steps(candidates: Sequence[Any], stamp: host.Stamp | None, step: int) -> Unguarded:
    """Reads what the checkpoint and those beside it hold of steps that the guard has not seen."""
    checkpoint = host.find_checkpoint(candidates)
    after = None if stamp is None else stamp.step
    if checkpoint is None:
        return Unguarded(after)
    beside = host.checkpoints_beside(checkpoint)
    since = {at: folder for at, folder in beside.items() if (after or 0) < at < step}
    saved = tuple(SavedPart.read(folder, at) for at, folder in sorted({**since, step: checkpoint}.items()))
    return Unguarded(after, None if stamp is None else _order_of(stamp, beside.get(stamp.step)), saved)


def _order_of(stamp: host.Stamp, checkpoint: Path | None) -> Sidecar | None:
    """The order up to the last step that the guard saw: from the trainer's state, or that step's checkpoint."""
    try:
        if stamp.order:
            return decode_sidecar(stamp.order.encode()).at_step(stamp.step)
        sidecar = None if checkpoint is None else read_sidecar(checkpoint, stamp.step)
    except (msgspec.MsgspecError, EpochGuardError, ValueError, RecursionError):
        return None  # only exposure depends on it
    return sidecar if sidecar is not None and sidecar.run == stamp.run else None


def other_index_of(observed: Observed, seed: int) -> str:
    """The description of an index beside the live one that other arguments of the data lead to; empty without one.

    Args:
        observed: the data as the host has set it up.
        seed: the trainer's. Where the data is shuffled by another one, the trainer's tells nothing of it.
    """
    if observed.index is None:
        return ""
    for dataset, index in zip(observed.live_datasets, datasets_of(observed.index), strict=True):
        if isinstance(index, GPTIndex):
            for folder in host.index_folders(dataset):
                for path in sorted(folder.glob("*.dsc")):
                    if _is_other(path, index.description, seed):
                        return str(path)
    return ""


def _is_other(path: Path, live: Description, seed: int) -> bool:
    try:
        found = Description.parse(read_text(path, _DESCRIPTION_BYTES), str(path))
    except EpochGuardError:  # of a blend, or damaged
        return False
    same = (found.prefix, found.name, found.samples_requested) == (live.prefix, live.name, live.samples_requested)
    # A seed of the data that is the trainer's was the trainer's then: the saved arguments tell it.
    return same and found != live and (found.seed == live.seed or live.seed != seed)


def why_unknown(unguarded: Unguarded, request: Request, observed: Observed) -> Message | None:
    """Why what unguarded steps drew does not follow from the present arguments; None if it does. Pure.

    Args:
        unguarded: what is known of them.
        request: has the present arguments.
        observed: has the present global batch.
    """
    shown = {"first_step": unguarded.first_step, "last_step": request.step}
    if not unguarded.saved:
        return Message("earlier_unknown", {**shown, "why": "no_arguments", "checkpoint": request.step})
    for saved in unguarded.saved:
        if saved.seed is None or saved.consumed is None:
            return Message("earlier_unknown", {**shown, "why": "no_arguments", "checkpoint": saved.step})
        skipped = skipped_so_far(unguarded.skipped, saved.step)
        compared = {
            "consumed_samples": (saved.consumed, saved.step * observed.loader.reading.global_batch),
            "max_steps": (saved.max_steps, request.max_steps),
            "seed": (saved.seed, request.seed),
            "skip_data_intervals": (skipped_so_far(saved.skipped, saved.step), skipped),
            "ignore_data_skip": (saved.ignored_data_skip, False),
        }
        for what, (then, now) in compared.items():
            if then != now:
                values = {"what": what, "then": str(then), "now": str(now), "checkpoint": saved.step}
                return Message("earlier_unknown", {**shown, "why": "other_arguments", **values})
    guarded, index = unguarded.guarded, observed.index
    if guarded is not None and index is not None:
        weights = [
            guarded.blend.weights if guarded.blend else "",
            index.weights if isinstance(index, BlendIndex) else "",
        ]
        if weights[0] != weights[1] or len(guarded.datasets) != len(observed.live):
            return Message("earlier_unknown", {**shown, "why": "other_blend"})
    if unguarded.other_index:
        return Message("earlier_unknown", {**shown, "why": "other_index", "path": unguarded.other_index})
    return None


def leave_order_behind(state: host.TrainerState, is_in_doubt: bool = False) -> None:
    """A part of the run without the guard: said where it matters, and kept in the trainer's state.

    Args:
        state: the trainer's.
        is_in_doubt: whether what was drawn so far is in doubt: a later part must not take it for known.
    """
    stamp = host.read_stamp(state)
    if is_in_doubt and state.global_step > 0:
        stamp = replace(stamp or host.Stamp(uuid.uuid4().hex, host.UNGUARDED, 0), step=state.global_step, order="")
    if stamp is None:
        return
    # No sidecar of an earlier part fits the checkpoints of this one. The order stays: it tells what was drawn so far.
    host.write_stamp(state, replace(stamp, part=host.UNGUARDED))
    if stamp.repaired and state.is_world_process_zero:
        if stamp.unified_from is None:
            said = tr(
                "off, but the run draws otherwise than the host would by itself. Without the guard the host continues "
                "in its own order: samples will be drawn twice and others lost. Resume with --epoch_guard track to "
                "stay in that order"
            )
        else:
            said = tr(
                "off, but the run began a unified order at position {position}. Without the guard the host continues "
                "in its own order: samples will be drawn twice and others lost. Resume with --epoch_guard track to "
                "stay in that order",
                position=stamp.unified_from,
            )
        host.warn(f"epoch guard: {said}")
