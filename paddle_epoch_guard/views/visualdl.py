"""The guard's own VisualDL log, beside the trainer's.

VisualDL 2.5.3 shows one file per directory, the newest, and draws the same tag of several directories in one chart. So
the guard never writes into the trainer's directory, gives each line its own directory, and always uses one file name,
to which a resumed run appends.

The records are VisualDL's, but its ``LogWriter`` is not used. It writes each file from a thread: on a full disk or in
a missing folder, that thread loses the record and only prints a message. It also appends to a truncated record, which
makes everything after it unreadable.
"""

import contextlib
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paddle_epoch_guard.files import append_whole, atomic_write, keep_aside
from paddle_epoch_guard.resume import SIDECAR_NAME
from paddle_epoch_guard.views.logfile import sound_length
from paddle_epoch_guard.views.sink import Sink
from paddle_epoch_guard.views.visualdl_package import components, figure_to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_NAME = "vdlrecords.epoch_guard.log"
FIGURES = "figures"
"""The directory of pictures, and of nothing else."""
_FLUSHED_EVERY = 1.0  # seconds


class EpochGuardLog:
    """Writes points and texts under ``<logging_dir>/epoch_guard/``, and passes them to a sink.

    Args:
        logging_dir: the trainer's log folder.
        also: the sink, such as `Sinks`; it must not raise.
    """

    def __init__(self, logging_dir: str | Path, also: Sink | None = None) -> None:
        self.root = Path(logging_dir) / "epoch_guard"
        self._also = also
        self._waiting: dict[str, list[bytes]] = {}
        """Records to write, by directory."""
        self._paths: dict[str, str] = {}
        """The files that are there and end with a whole record, by directory."""
        self._flushed = -math.inf

    def exists(self, directory: str) -> bool:
        """Whether this run or an earlier one has written in ``directory``."""
        return directory in self._waiting or (self.root / directory / FILE_NAME).is_file()

    def set_aside(self, directory: str = ".") -> None:
        """Hides the files of earlier runs in ``directory`` and below.

        They are renamed, so that VisualDL does not read them.
        """
        self._write()
        self._paths = {}
        keep_aside(self.root / directory, FILE_NAME, "epoch_guard.log")
        keep_aside(self.root / directory, SIDECAR_NAME, SIDECAR_NAME)
        if self._also is not None:
            self._also.set_aside(directory)

    def scalar(self, tag: str, value: float, step: int, directory: str = ".", alone: bool = False) -> None:
        """Adds a point.

        Args:
            tag: lines of one tag share a chart.
            value: on the y axis.
            step: on the x axis.
            directory: below ``epoch_guard/``; each has its own line.
            alone: keeps the point from the sink, whose logger gets it from the trainer.
        """
        self._add(directory, components.scalar(_tag(tag), float(value), int(step), _now()))
        if self._also is not None and not alone:
            self._also.scalar(tag, float(value), int(step), directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text, which VisualDL shows unformatted. Points must not use its tag."""
        self._add(directory, components.text(_tag(tag), text, int(step), _now()))
        if self._also is not None:
            self._also.text(tag, text, int(step), directory)

    def figure(self, tag: str, figure: "Figure", step: int) -> None:
        """Adds a picture of a matplotlib figure, to VisualDL alone.

        VisualDL opens on the oldest image of a tag. So the pictures have a file of their own, which the next `flush`
        replaces: what an earlier part of the run drew goes with it.

        Args:
            tag: points and texts must not use it.
            figure: rendered by VisualDL at the figure's own dpi, without a window.
            step: the step at which it was drawn.
        """
        self._add(FIGURES, components.image(_tag(tag), figure_to_image(figure), int(step), _now()))

    def flush(self, at_once: bool = True) -> None:
        """Writes everything, so that a reader sees it.

        Args:
            at_once: if false, at most once a second, because it would slow down steps of a few milliseconds.

        Raises:
            OSError: a folder cannot be written. Its records are dropped.
        """
        now = time.monotonic()
        if at_once or now >= self._flushed + _FLUSHED_EVERY:
            self._flushed = now
            self._write()
        if self._also is not None:
            self._also.flush()

    def close(self) -> None:
        """Writes everything and closes the sink. Later calls append."""
        self._write()
        if self._also is not None:
            self._also.close()

    def _add(self, directory: str, record: components.Record) -> None:
        self._waiting.setdefault(directory, []).append(_framed(record))

    def _write(self) -> None:
        while self._waiting:
            directory, records = self._waiting.popitem()
            if directory in self._paths:
                with contextlib.suppress(FileNotFoundError):  # somebody has removed it: again, from the start
                    append_whole(self._paths[directory], b"".join(records), is_new=False)
                    continue
            path = self.root / directory / FILE_NAME
            path.parent.mkdir(parents=True, exist_ok=True)
            if directory == FIGURES:
                records.insert(0, _framed(components.meta_data(walltime=_now())))
                with atomic_write(path) as stream:
                    stream.write(b"".join(records))
                continue
            _end_with_a_whole_record(path)
            if not path.exists() or not path.stat().st_size:  # a full disk may have left it empty
                records.insert(0, _framed(components.meta_data(walltime=_now())))
            append_whole(path, b"".join(records))
            self._paths[directory] = str(path)


def _framed(record: components.Record) -> bytes:
    """A record with its length in front (``visualdl/writer/record_writer.py``, 2.5.3)."""
    content: bytes = record.SerializeToString()
    return len(content).to_bytes(8, "little") + content


def _now() -> int:
    return round(time.time() * 1000)


def _end_with_a_whole_record(path: Path) -> None:
    """Removes a truncated record, left by an interruption, from the end of a file; sets a damaged file aside."""
    if not path.exists():
        return
    length, is_damaged = sound_length(path)
    if is_damaged:
        keep_aside(path.parent, path.name, "epoch_guard.log")
    elif length < path.stat().st_size:
        os.truncate(path, length)


def _tag(name: str) -> str:
    """Without ``%``, which corpus names may contain and VisualDL refuses."""
    return name.replace("%", "_")
