"""Where the trainer logs, and whether it was asked to."""

import re
from pathlib import Path
from typing import Any

from paddle_epoch_guard.host.protocols import TrainingArguments

_DEFAULT_FOLDER = re.compile(r"runs/[^/]*\d\d_\d\d-\d\d-\d\d_[^/]+")
"""Of the log folder that nobody named, below the output folder (``default_logdir`` in trainer/training_args.py of
paddlenlp 3.0.0b4): month, day, time and machine."""


def loggers(report_to: Any) -> list[str]:
    """The loggers that the trainer reports to.

    Args:
        report_to: the trainer's argument: a name, several, or none.
    """
    return [report_to] if isinstance(report_to, str) else list(report_to or ())


def has_log_folder(args: TrainingArguments) -> bool:
    """Whether the run's logs have a place: a folder that the user has named, or one that is there already."""
    folder, output = Path(args.logging_dir), Path(args.output_dir)
    if folder.is_dir() or not folder.is_relative_to(output):
        return True
    return _DEFAULT_FOLDER.fullmatch(folder.relative_to(output).as_posix()) is None


def saves_by(args: TrainingArguments, step: int) -> bool:
    """Whether the trainer's arguments ask for a checkpoint at a step or before (``DefaultFlowCallback``, 3.0.0b4)."""
    strategy = getattr(args, "save_strategy", "no")
    strategy = str(getattr(strategy, "value", strategy))
    every: int = getattr(args, "save_steps", None) or 0
    return strategy == "epoch" or (strategy == "steps" and 0 < every <= step)
