"""The guard's own VisualDL log, beside the trainer's.

VisualDL 2.5.3 shows one file per directory, the newest, and draws the same tag of several directories in one
chart. So the guard never writes into the trainer's directory, gives each line a directory of its own, and
always uses one file name, to which a resumed run appends.

The records are VisualDL's; its ``LogWriter`` is not used. That writes from a thread for each file, where a full disk
or a folder that is gone costs the record and is said on the screen alone; and it appends behind half a record,
whereafter nothing that follows can be read.
"""

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visualdl.component import base_component as components
from visualdl.utils.figure_util import figure_to_image

from paddle_epoch_guard.files import append_whole, keep_aside
from paddle_epoch_guard.resume import SIDECAR_NAME
from paddle_epoch_guard.views.logfile import sound_length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_NAME = "vdlrecords.epoch_guard.log"
_FLUSHED_EVERY = 1.0  # seconds


class Sink(Protocol):
    """A further logger: it is told everything that `EpochGuardLog` is told."""

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds one point."""

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text."""

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote in ``directory`` and below out of sight, as far as there is any."""

    def flush(self) -> None:
        """Hands everything over, so that a reader sees it."""

    def close(self) -> None:
        """Hands everything over; writing again afterwards is allowed."""


class EpochGuardLog:
    """Writes scalars and texts under ``<logging_dir>/epoch_guard/``, and tells them to further loggers.

    Args:
        logging_dir: the trainer's log folder.
        also: further loggers, which must not raise.
    """

    def __init__(self, logging_dir: str | Path, also: Sink | None = None) -> None:
        self.root = Path(logging_dir) / "epoch_guard"
        self._also = also
        self._waiting: dict[str, list[bytes]] = {}
        """By directory: records that are not in its file yet."""
        self._checked: set[str] = set()
        """Directories whose file was found to end with a whole record."""
        self._flushed = -math.inf

    def exists(self, directory: str) -> bool:
        """Whether a log was ever written in ``directory``, by this run or an earlier one."""
        return directory in self._waiting or (self.root / directory / FILE_NAME).is_file()

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote in ``directory`` and below out of VisualDL's sight.

        The files stay where they are, under names that VisualDL does not read.
        """
        self._write()
        self._checked = set()
        keep_aside(self.root / directory, FILE_NAME, "epoch_guard.log")
        keep_aside(self.root / directory, SIDECAR_NAME, SIDECAR_NAME)
        if self._also is not None:
            self._also.set_aside(directory)

    def scalar(self, tag: str, value: float, step: int, directory: str = ".", alone: bool = False) -> None:
        """Adds one point.

        Args:
            tag: VisualDL's tag; lines of one tag share a chart.
            value: the point's value.
            step: its place on the x axis; a whole number.
            directory: below ``epoch_guard/``; each is a line of its own.
            alone: whether it goes to VisualDL alone, for the further loggers have it from the trainer.
        """
        self._add(directory, components.scalar(_tag(tag), float(value), int(step), _now()))
        if self._also is not None and not alone:
            self._also.scalar(tag, float(value), int(step), directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text; VisualDL shows it plain. The tag must not be a scalar's too."""
        self._add(directory, components.text(_tag(tag), text, int(step), _now()))
        if self._also is not None:
            self._also.text(tag, text, int(step), directory)

    def figure(self, tag: str, figure: "Figure", step: int, directory: str = ".") -> None:
        """Adds a picture of a matplotlib figure, to VisualDL alone. The tag must not be a scalar's or a text's too.

        Args:
            tag: VisualDL's tag.
            figure: drawn anew by VisualDL, at the figure's own dpi. It needs no window.
            step: the step at which the picture was made.
            directory: below ``epoch_guard/``.
        """
        self._add(directory, components.image(_tag(tag), figure_to_image(figure), int(step), _now()))

    def flush(self, at_once: bool = True) -> None:
        """Hands everything to the file system, so that a reader sees it.

        Args:
            at_once: otherwise only where the last time is a second ago: steps that are over in milliseconds would feel
                it.

        Raises:
            OSError: a folder cannot be written. What it was to hold is given up.
        """
        now = time.monotonic()
        if at_once or now >= self._flushed + _FLUSHED_EVERY:
            self._flushed = now
            self._write()
        if self._also is not None:
            self._also.flush()

    def close(self) -> None:
        """Hands everything over; no file stays open. Writing again afterwards appends."""
        self._write()
        if self._also is not None:
            self._also.close()

    def _add(self, directory: str, record: components.Record) -> None:
        self._waiting.setdefault(directory, []).append(_framed(record))

    def _write(self) -> None:
        while self._waiting:
            directory, records = self._waiting.popitem()
            path = self.root / directory / FILE_NAME
            path.parent.mkdir(parents=True, exist_ok=True)
            if directory not in self._checked:
                _end_with_a_whole_record(path)
                self._checked.add(directory)
            if not path.exists():
                records.insert(0, _framed(components.meta_data(walltime=_now())))
            append_whole(path, b"".join(records))


def _framed(record: components.Record) -> bytes:
    """A record behind its length (``visualdl/writer/record_writer.py``, 2.5.3)."""
    content: bytes = record.SerializeToString()
    return len(content).to_bytes(8, "little") + content


def _now() -> int:
    return round(time.time() * 1000)


def _end_with_a_whole_record(path: Path) -> None:
    """Cuts off half a record at the end of a file, as an interruption leaves it; sets a damaged file aside."""
    if not path.exists():
        return
    length, is_damaged = sound_length(path)
    if is_damaged:
        keep_aside(path.parent, path.name, "epoch_guard.log")
    elif length < path.stat().st_size:
        os.truncate(path, length)


def _tag(name: str) -> str:
    """VisualDL refuses ``%`` in a tag; corpus names may hold one."""
    return name.replace("%", "_")
