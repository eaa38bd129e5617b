"""Which run an output folder holds, and where its logs are: ``<output_dir>/epoch_guard_run.json``.

A run's logs may lie anywhere, and a checkpoint does not say where. Each part of the run adds itself to this file once
the output folder holds something of it: some scripts refuse to start in a folder that is not empty.
"""

import os
from pathlib import Path

import msgspec

from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index.mapped import open_regular

RUN_FILE_NAME = "epoch_guard_run.json"
_PARTS_AT_MOST = 500
_BYTES = 1 << 20


class PartLogs(msgspec.Struct, frozen=True):
    """Where a part of the run writes its logs."""

    part: str
    logging_dir: str
    """Absolute."""
    from_output_dir: str = ""
    """The same folder relative to the output folder, for a run that is moved as a whole; empty if there is no such
    path."""

    def folder(self, output_dir: Path) -> Path | None:
        """The log folder, if it exists: beside the output folder as it lies now, or else where it was."""
        places = [(output_dir / place).resolve() for place in (self.from_output_dir, self.logging_dir) if place]
        return next((place for place in places if place.is_dir()), None)


class RunFile(msgspec.Struct, frozen=True):
    """The run that an output folder holds."""

    run: str
    """Identifies the run, as its record and its checkpoints do."""
    parts: tuple[PartLogs, ...]
    """Oldest first."""

    def folders(self, output_dir: Path) -> list[Path]:
        """The existing log folders, those of the latest part first."""
        found = (part.folder(output_dir) for part in reversed(self.parts))
        return list(dict.fromkeys(folder for folder in found if folder is not None))


def add_part(output_dir: str | Path, run: str, part: str, logging_dir: str | Path) -> None:
    """Adds a part to the run of an output folder; another run's file is replaced.

    Raises:
        OSError: the folder does not exist, or cannot be written.
    """
    output = Path(output_dir).resolve()
    logs = Path(logging_dir).resolve()
    before = read_run_file(output)
    earlier = () if before is None or before.run != run else before.parts
    kept = [each for each in earlier if each.part != part][-_PARTS_AT_MOST + 1 :]
    parts = (*kept, PartLogs(part, str(logs), _relative(logs, output)))
    with atomic_write(output / RUN_FILE_NAME) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(RunFile(run, parts)), indent=2) + b"\n")


def read_run_file(output_dir: Path) -> RunFile | None:
    """The run of an output folder; None if it has no such file, or a damaged one."""
    try:
        with open_regular(output_dir / RUN_FILE_NAME) as stream:
            return msgspec.json.decode(stream.read(_BYTES), type=RunFile)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _relative(logs: Path, output: Path) -> str:
    try:
        return os.path.relpath(logs, output)
    except ValueError:  # on another drive
        return ""
