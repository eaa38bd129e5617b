"""The VisualDL logs of a run, in one log folder or in several: the trainer's own, and the guard's beside it."""

import ast
import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle_epoch_guard.record.naming import EVALUATION_TAG, LOSS_TAG, Naming
from paddle_epoch_guard.record.provenance import shown_arguments
from paddle_epoch_guard.record.run_file import read_run_file
from paddle_epoch_guard.report.run_data import Part, Series
from paddle_epoch_guard.views.logfile import LogFile, read_log_file
from paddle_epoch_guard.views.visualdl import FILE_NAME

_ARGUMENTS_BYTES = 1 << 20


@dataclass
class LogFolder:
    """The log files of one logging_dir."""

    path: Path
    trainer: list[LogFile]
    """The trainer's own, oldest first."""

    @classmethod
    def read(cls, path: Path) -> "LogFolder":
        """Reads the trainer's log files; the guard's are read on demand."""
        tags = (LOSS_TAG, EVALUATION_TAG, "args")
        files = [read_log_file(file, tags) for file in sorted(path.glob("vdlrecords*.log"))]
        return cls(path, sorted(files, key=lambda file: file.began))

    @functools.cached_property
    def guard(self) -> dict[str, LogFile]:
        """The guard's log files, by folder below ``epoch_guard``."""
        root = self.path / "epoch_guard"
        return {
            file.parent.relative_to(root).as_posix(): read_log_file(file) for file in sorted(root.rglob(FILE_NAME))
        }

    @property
    def files(self) -> list[LogFile]:
        """All log files."""
        return [*self.trainer, *self.guard.values()]

    @property
    def began(self) -> int:
        """When its first record was written, in milliseconds since 1970; 0 if unknown."""
        return min((file.began for file in self.files), default=0)

    @property
    def first_logged(self) -> int | None:
        """The first step in any log."""
        firsts = [part_of(file).first_logged for file in self.trainer]
        root = self.guard.get(".")
        epochs = [] if root is None else root.scalars.get(Naming().epoch_tag, [])
        return min([*(step for step in firsts if step), *(step for step, _ in epochs)], default=None)


def folders_of(logs: Path, output: Path | None) -> list[LogFolder]:
    """The log folders of a run, oldest first.

    By default, the host creates a new one for each part, ``<output_dir>/runs/<time>_<host>``: then the folders of
    earlier parts belong to the run.
    """
    named = LogFolder.read(logs)
    if not has_siblings(logs, output):
        return [named]
    others = [LogFolder.read(folder) for folder in siblings_of(logs)]
    earlier = [folder for folder in others if folder.files and folder.began < named.began]
    folders = [*sorted(earlier, key=lambda folder: folder.began), named]
    counts = counting([folder.first_logged for folder in folders])
    return [folder for folder, count in zip(folders, counts, strict=True) if count]


def has_siblings(logs: Path, output: Path | None) -> bool:
    """Whether a log folder is one of the host's default folders, which hold one part of a run each."""
    return output is not None and logs.parent.resolve() == (output / "runs").resolve()


def folders_beside(logs: Path, output: Path | None) -> list[Path]:
    """The other folders that may hold the record of earlier parts of a run: siblings, and those that the run noted.

    Args:
        logs: the log folder.
        output: the folder with the run's checkpoints, or whatever folder was named to find the log; None without one.
    """
    if output is None:
        return []
    noted = read_run_file(output)
    folders = siblings_of(logs) if has_siblings(logs, logs.parent.parent) else []
    folders += [] if noted is None else noted.folders(output)
    return list({folder.resolve(): folder for folder in folders if folder.resolve() != logs.resolve()}.values())


def siblings_of(logs: Path) -> list[Path]:
    """The other folders beside a log folder."""
    return [
        folder for folder in sorted(logs.parent.iterdir()) if folder.is_dir() and folder.resolve() != logs.resolve()
    ]


def counting(firsts: Sequence[int | None]) -> list[bool]:
    """Which parts are valid, by their first logged steps: not those that a later part trained again from the start."""
    counts, least = [], math.inf
    for first in reversed(firsts):
        counts.append(first is None or first < least)
        least = least if first is None else min(least, first)
    return counts[::-1]


def trainer_files(folders: Sequence[LogFolder]) -> list[LogFile]:
    """The trainer's log files of the valid parts, oldest first."""
    files = [file for folder in folders for file in folder.trainer]
    counts = counting([part_of(file).first_logged for file in files])
    return [file for file, count in zip(files, counts, strict=True) if count]


def trainer_series(files: Sequence[LogFile], tag: str) -> Series:
    """A curve of the trainer. Earlier parts end where a later one begins."""
    points: list[tuple[int, float]] = []
    for file in files:
        first = part_of(file).first_logged
        if first is not None:
            points = [point for point in points if point[0] < first]
        points += file.scalars.get(tag, ())
    return Series.of(points)


def part_of(file: LogFile) -> Part:
    """The part of the run that wrote one of the trainer's log files."""
    steps = [step for tag in (LOSS_TAG, EVALUATION_TAG) for step, _ in file.scalars.get(tag, ())]
    texts = file.texts.get("args")
    arguments = parsed_arguments(texts[-1][1]) if texts else {}
    return Part(file.began, min(steps, default=None), max(steps, default=None), arguments)


def parsed_arguments(text: str) -> dict[str, Any]:
    """The trainer's arguments from its log: the text of a dictionary of plain values, as a JSON string.

    Written by PaddleNLP's ``TrainingArguments.to_json_string`` (3.0.0b4). Nothing in it is executed.

    Returns:
        The plain ones that decide the order of the data; empty if the text has another form.
    """
    if len(text) > _ARGUMENTS_BYTES:
        return {}
    try:
        arguments = json.loads(text)
        arguments = ast.literal_eval(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
    return shown_arguments(arguments) if isinstance(arguments, dict) else {}
