"""The trainer's state in checkpoints, and the guard's stamp in it."""

import json
import os
import pickletools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from paddle_epoch_guard.host import library
from paddle_epoch_guard.index.mapped import open_regular

_RECORDS = ("trainer_state.json", "trainer_state.bin")
"""The trainer's state file in a checkpoint: PaddleNLP's, and PaddleFormers' (1.2.0), which is a pickle."""
_LARGEST_STATE = 1 << 28
"""Bytes: a log history of a million entries fits."""
_NUMBERS = ("global_step", "max_steps", "consumed_samples")
_MEMOIZE = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
"""Pickle opcodes that store the top of the stack and push nothing."""
_PUSH_INTEGER = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")


UNGUARDED, IN_DOUBT = "without the guard", "in doubt"
"""What a stamp has in the place of a part, after steps without the guard, or if what they drew is in doubt."""


@dataclass(frozen=True)
class Stamp:
    """The guard's mark in the trainer's state, which is saved and loaded with each checkpoint.

    A callback does not learn which checkpoint the trainer loads; the stamp shows whether a sidecar belongs to it.
    It is kept in ``trial_params``, a field that the trainer uses only in hyper-parameter search.
    """

    run: str
    """Identifies the run."""
    part: str
    """Identifies the part of the run: a checkpoint folder may hold the sidecar of an earlier part."""
    step: int
    """The last step that the guard has seen; less than the checkpoint's if that was saved without the guard."""
    unified_from: int | None = None
    """The position at which the unified order starts; None without one."""
    repaired: bool = False
    """Whether the run draws other data than the host would, and so needs its order to resume."""
    order: str = ""
    """The order of the part, encoded as in a sidecar; empty if it is too long, and from earlier releases."""


def read_stamp(state: Any) -> Stamp | None:
    """The stamp of the checkpoint that the trainer loaded; None at a fresh start, or if it has no stamp."""
    return stamp_in({"trial_params": state.trial_params})


def has_stamp(state: Any) -> bool:
    """Whether the trainer's state has a stamp, at the cost of a look into it."""
    fields = (state.trial_params or {}).get("epoch_guard")
    return isinstance(fields, dict) and isinstance(fields.get("run"), str)


def stamp_in(record: dict[str, Any]) -> Stamp | None:
    """The stamp in the trainer's own record of a checkpoint; None if it has none."""
    fields = (record.get("trial_params") or {}).get("epoch_guard")
    if not isinstance(fields, dict) or not isinstance(fields.get("run"), str):
        return None
    step, unified_from = fields.get("step"), fields.get("unified_from")
    return Stamp(
        run=fields["run"],
        part=str(fields.get("part")),
        step=step if isinstance(step, int) else -1,
        unified_from=unified_from if isinstance(unified_from, int) else None,
        repaired=bool(fields.get("repaired")),
        order=order if isinstance(order := fields.get("order"), str) else "",
    )


def write_stamp(state: Any, stamp: Stamp) -> None:
    """Puts the stamp into the trainer's state; to be called on all ranks."""
    state.trial_params = {**(state.trial_params or {}), "epoch_guard": asdict(stamp)}


def stamp_step(state: Any) -> None:
    """Records in the stamp that the guard has seen the step that ends."""
    state.trial_params["epoch_guard"]["step"] = state.global_step


def find_checkpoint(candidates: Iterable[Any]) -> Path | None:
    """The first folder that holds a checkpoint of the trainer; None if there is none.

    Args:
        candidates: folders, the most likely first; other values are ignored.
    """
    for candidate in candidates:
        if isinstance(candidate, (str, os.PathLike)) and any((Path(candidate) / name).is_file() for name in _RECORDS):
            return Path(candidate)
    return None


def trainer_record(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint; None if unavailable.

    Of PaddleFormers' state, only ``global_step``, ``max_steps`` and ``consumed_samples`` are read.
    """
    for name in _RECORDS:
        try:
            with open_regular(checkpoint / name) as stream:
                if os.fstat(stream.fileno()).st_size > _LARGEST_STATE:
                    continue
                fields = json.load(stream) if name.endswith(".json") else _pickled_numbers(stream)
        except (OSError, ValueError):
            continue
        return fields if isinstance(fields, dict) else None
    return None


def _pickled_numbers(stream: IO[bytes]) -> dict[str, int]:
    """The integers in :data:`_NUMBERS`, read from a pickle without unpickling it.

    Unpickling may run any code, so the opcodes are only listed: an integer is the one pushed right after its name. The
    first occurrence counts: ``TrainerState`` (paddleformers 1.2.0) has its own fields before its log history.

    Raises:
        ValueError: the file is not a pickle.
    """
    numbers: dict[str, int] = {}
    name = ""
    for opcode, value, _ in pickletools.genops(stream):
        if "UNICODE" in opcode.name:
            name = str(value)
        elif opcode.name not in _MEMOIZE:
            if name in _NUMBERS and opcode.name in _PUSH_INTEGER and isinstance(value, int):
                numbers.setdefault(name, value)
                if len(numbers) == len(_NUMBERS):
                    break
            name = ""
    return numbers


def newest_checkpoint(args: Any) -> Path | None:
    """The checkpoint with the highest step, complete or not; None if there is none.

    ``get_last_checkpoint`` of paddlenlp/trainer/trainer_utils.py (3.0.0b4) resumes from it.
    """
    prefix = f"{library.import_host('trainer.trainer_utils').PREFIX_CHECKPOINT_DIR}-"
    folders = [folder for folder in Path(args.output_dir).glob(f"{prefix}*") if folder.is_dir()]
    steps = {int(step): folder for folder in folders if (step := folder.name.removeprefix(prefix)).isdigit()}
    return steps[max(steps)] if steps else None


def checkpoint_folder(args: Any, step: int) -> Path:
    """The folder of the checkpoint of a step (`_save_checkpoint` in trainer/trainer.py)."""
    return Path(args.output_dir) / f"{library.import_host('trainer.trainer_utils').PREFIX_CHECKPOINT_DIR}-{step}"


def late_checkpoint_folders(args: Any, step: int) -> list[Path]:
    """The folders in which another process writes the checkpoint of a step, after ``on_save``; none ordinarily.

    paddleformers 1.2.0 does so with ``enable_zero_cost_checkpoint`` (`_get_save_infos_based_on_steps` in
    trainer/utils/zero_cost_checkpoint.py): into the output folder, and into shared memory.
    """
    if not getattr(args, "enable_zero_cost_checkpoint", False):
        return []
    folder = checkpoint_folder(args, step)
    folders = [folder] if args.save_steps > 0 and step % args.save_steps == 0 else []
    flash_steps = getattr(args, "flash_device_save_steps", 0)
    if flash_steps > 0 and step % flash_steps == 0:
        folders.append(Path(library.import_host("utils.pdc_sdk").FLASH_DEVICE) / folder.name)
    return folders
