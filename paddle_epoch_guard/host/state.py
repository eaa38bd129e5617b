"""What the trainer keeps in a checkpoint, and the guard's mark in it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paddlenlp.trainer.trainer_utils import PREFIX_CHECKPOINT_DIR


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


def trainer_record(checkpoint: Path) -> dict[str, Any] | None:
    """What the trainer itself wrote of a checkpoint (``trainer_state.json``); None where it is not to be had."""
    try:
        with (checkpoint / "trainer_state.json").open("rb") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def newest_checkpoint(args: Any) -> Path | None:
    """The checkpoint that ``get_last_checkpoint`` of paddlenlp/trainer/trainer_utils.py (3.0.0b4) resumes from.

    That is the one with the highest number, however much of it has been written.
    """
    folder = Path(args.output_dir)
    found = [one for one in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if one.is_dir() and one.name[11:].isdigit()]
    return max(found, key=lambda one: int(one.name[11:]), default=None)


def checkpoint_folder(args: Any, step: int) -> Path:
    """Where the trainer keeps the checkpoint of a step (`_save_checkpoint` in paddlenlp/trainer/trainer.py)."""
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"
