"""The guard's own VisualDL log, beside the trainer's.

VisualDL 2.5.3 shows one file per directory, the newest, and draws the same tag of several directories in one
chart. So the guard never writes into the trainer's directory, gives each line a directory of its own, and
always uses one file name, to which a resumed run appends.
"""

import contextlib
import io
import math
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visualdl import LogWriter

from paddle_epoch_guard.resume import SIDECAR_NAME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_NAME = "vdlrecords.epoch_guard.log"
_OPEN_AT_MOST = 16  # each open writer holds a file and a thread
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
        self._writers: OrderedDict[str, LogWriter] = OrderedDict()
        self._flushed = -math.inf

    def exists(self, directory: str) -> bool:
        """Whether a log was ever written in ``directory``, by this run or an earlier one."""
        return (self.root / directory / FILE_NAME).is_file()

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote in ``directory`` and below out of VisualDL's sight.

        The files stay where they are, under names that VisualDL does not read.
        """
        self._close()
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

        Raises:
            OSError: the folder cannot be written.
        """
        self._writer(directory).add_scalar(tag=_tag(tag), value=float(value), step=int(step))
        if self._also is not None and not alone:
            self._also.scalar(tag, float(value), int(step), directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text; VisualDL shows it plain. The tag must not be a scalar's too."""
        self._writer(directory).add_text(tag=_tag(tag), text_string=text, step=int(step))
        if self._also is not None:
            self._also.text(tag, text, int(step), directory)

    def figure(self, tag: str, figure: "Figure", step: int, directory: str = ".") -> None:
        """Adds a picture of a matplotlib figure, to VisualDL alone. The tag must not be a scalar's or a text's too.

        Args:
            tag: VisualDL's tag.
            figure: drawn anew by VisualDL, at the figure's own dpi. It needs no window.
            step: the step at which the picture was made.
            directory: below ``epoch_guard/``.

        Raises:
            OSError: the folder cannot be written.
        """
        self._writer(directory).add_figure(tag=_tag(tag), figure=figure, step=int(step))

    def flush(self, at_once: bool = True) -> None:
        """Hands everything to the file system, so that a reader sees it.

        Args:
            at_once: otherwise only where the last time is a second ago: each file's writer is waited for, which steps
                that are over in milliseconds would feel.
        """
        now = time.monotonic()
        if at_once or now >= self._flushed + _FLUSHED_EVERY:
            self._flushed = now
            for writer in self._writers.values():
                writer.flush()
        if self._also is not None:
            self._also.flush()

    def close(self) -> None:
        """Closes all files. Writing again afterwards opens them again, to append."""
        self._close()
        if self._also is not None:
            self._also.close()

    def _close(self) -> None:
        while self._writers:
            _, writer = self._writers.popitem()
            writer.close()

    def _writer(self, directory: str) -> LogWriter:
        if directory in self._writers:
            self._writers.move_to_end(directory)
            return self._writers[directory]
        while len(self._writers) >= _OPEN_AT_MOST:
            _, oldest = self._writers.popitem(last=False)
            oldest.close()
        folder = self.root / directory
        folder.mkdir(parents=True, exist_ok=True)
        # It prints a line when it appends to a file that is there, which is what is wanted here.
        with contextlib.redirect_stdout(io.StringIO()):
            writer = LogWriter(logdir=str(folder), file_name=FILE_NAME)
        self._writers[directory] = writer
        return writer


def keep_aside(folder: Path, pattern: str, ending: str) -> None:
    """Renames the files below a folder that match a pattern to ``kept-<n>.<ending>``; none is written over."""
    for path in sorted(folder.rglob(pattern)):
        number = 1
        while (kept := path.with_name(f"kept-{number}.{ending}")).exists():
            number += 1
        path.rename(kept)


def _tag(name: str) -> str:
    """VisualDL refuses ``%`` in a tag; corpus names may hold one."""
    return name.replace("%", "_")
