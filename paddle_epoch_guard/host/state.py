"""What the trainer keeps in a checkpoint, and the guard's mark in it."""

import json
import os
import pickletools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from paddle_epoch_guard.host import library

_RECORDS = ("trainer_state.json", "trainer_state.bin")
"""The trainer's own record in a checkpoint: PaddleNLP's, and PaddleFormers' (1.2.0), which is a pickle."""
_NUMBERS = ("global_step", "max_steps", "consumed_samples")
_REMEMBERS = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
"""Instructions of a pickle that keep what was pushed last for later, and push nothing."""
_PUSHES_NUMBER = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")


@dataclass(frozen=True)
class Stamp:
    """The guard's mark in the trainer's own state, which is saved with each checkpoint and loaded with it.

    A callback is not told which checkpoint the trainer loads; the stamp tells whether the sidecar that was found
    belongs to it. It stands in ``trial_params``, a field that the trainer saves and loads and does not use outside
    hyper-parameter search.
    """

    run: str
    """Names the run, through all its parts."""
    part: str
    """Names the part of the run, from one start to the next: a checkpoint folder may hold an older part's sidecar."""
    step: int
    """The last step that the guard has seen: less than the checkpoint's where it was written without the guard."""
    unified_from: int | None = None
    """The position at which the run began a unified order; None where it has none."""
    repaired: bool = False
    """Whether the run draws otherwise than the host would by itself: it cannot go on without its sidecar."""


def read_stamp(state: Any) -> Stamp | None:
    """The stamp of the checkpoint that the trainer loaded; None at a fresh start and without the guard."""
    found = (state.trial_params or {}).get("epoch_guard")
    if not isinstance(found, dict) or not isinstance(found.get("run"), str):
        return None
    begun = found.get("unified_from")
    return Stamp(
        run=found["run"],
        part=str(found.get("part")),
        step=step if isinstance(step := found.get("step"), int) else -1,
        unified_from=begun if isinstance(begun, int) else None,
        repaired=bool(found.get("repaired")),
    )


def write_stamp(state: Any, stamp: Stamp) -> None:
    """Marks the trainer's state, on every rank alike."""
    state.trial_params = {**(state.trial_params or {}), "epoch_guard": asdict(stamp)}


def stamp_step(state: Any) -> None:
    """Notes in the stamp that the guard has seen the step that ends."""
    state.trial_params["epoch_guard"]["step"] = state.global_step


def find_checkpoint(candidates: Iterable[Any]) -> Path | None:
    """The first of some folders that the trainer wrote a checkpoint to; None where there is none.

    Args:
        candidates: folders, the surest first; what is not a path is passed over.
    """
    for candidate in candidates:
        if isinstance(candidate, (str, os.PathLike)) and any((Path(candidate) / name).is_file() for name in _RECORDS):
            return Path(candidate)
    return None


def trainer_record(checkpoint: Path) -> dict[str, Any] | None:
    """What the trainer itself wrote of a checkpoint; None where it is not to be had.

    Of PaddleFormers' record only ``global_step``, ``max_steps`` and ``consumed_samples`` are read.
    """
    for name in _RECORDS:
        try:
            with (checkpoint / name).open("rb") as stream:
                found = json.load(stream) if name.endswith(".json") else _pickled_numbers(stream)
        except (OSError, ValueError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _pickled_numbers(stream: IO[bytes]) -> dict[str, int]:
    """Some numbers that stand under their names in a pickle, from its text: nothing is unpickled.

    A pickle may run any code when it is loaded. Here its instructions are listed, not followed: a name, remembered or
    not, with a number right behind it. Of a name that comes more than once the first counts: ``TrainerState``
    (paddleformers 1.2.0) has its own fields before the history of its logs.

    Raises:
        ValueError: it is not a pickle.
    """
    found: dict[str, int] = {}
    name = ""
    for instruction, value, _ in pickletools.genops(stream):
        if "UNICODE" in instruction.name:
            name = str(value)
        elif instruction.name not in _REMEMBERS:
            if name in _NUMBERS and instruction.name in _PUSHES_NUMBER and isinstance(value, int):
                found.setdefault(name, value)
                if len(found) == len(_NUMBERS):
                    break
            name = ""
    return found


def newest_checkpoint(args: Any) -> Path | None:
    """The checkpoint that ``get_last_checkpoint`` of paddlenlp/trainer/trainer_utils.py (3.0.0b4) resumes from.

    That is the one with the highest number, however much of it has been written.
    """
    prefix = f"{library.import_host('trainer.trainer_utils').PREFIX_CHECKPOINT_DIR}-"
    found = [one for one in Path(args.output_dir).glob(f"{prefix}*") if one.is_dir()]
    numbers = {int(one.name[len(prefix) :]): one for one in found if one.name[len(prefix) :].isdigit()}
    return numbers[max(numbers)] if numbers else None


def checkpoint_folder(args: Any, step: int) -> Path:
    """Where the trainer keeps the checkpoint of a step (`_save_checkpoint` in trainer/trainer.py)."""
    return Path(args.output_dir) / f"{library.import_host('trainer.trainer_utils').PREFIX_CHECKPOINT_DIR}-{step}"
