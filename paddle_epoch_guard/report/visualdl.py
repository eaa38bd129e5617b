"""The guard's own VisualDL log, beside the trainer's.

VisualDL 2.5.3 shows one file per directory, the newest, and draws the same tag of several directories in one
chart. So the guard never writes into the trainer's directory, gives each line a directory of its own, and
always uses one file name, to which a resumed run appends.
"""

import contextlib
import io
from collections import OrderedDict
from pathlib import Path

from visualdl import LogWriter

FILE_NAME = "vdlrecords.epoch_guard.log"
_OPEN_AT_MOST = 16  # each open writer holds a file and a thread


class EpochGuardLog:
    """Writes scalars and texts under ``<logging_dir>/epoch_guard/``.

    Args:
        logging_dir: the trainer's log folder.
    """

    def __init__(self, logging_dir: str | Path) -> None:
        self.root = Path(logging_dir) / "epoch_guard"
        self._writers: OrderedDict[str, LogWriter] = OrderedDict()

    def exists(self, directory: str) -> bool:
        """Whether a log was ever written in ``directory``, by this run or an earlier one."""
        return (self.root / directory / FILE_NAME).is_file()

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote in ``directory`` and below out of VisualDL's sight.

        The files stay where they are, under names that VisualDL does not read.
        """
        self.close()
        for path in sorted((self.root / directory).rglob(FILE_NAME)):
            number = 1
            while (kept := path.with_name(f"kept-{number}.epoch_guard.log")).exists():
                number += 1
            path.rename(kept)

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds one point.

        Args:
            tag: VisualDL's tag; lines of one tag share a chart.
            value: the point's value.
            step: its place on the x axis; a whole number.
            directory: below ``epoch_guard/``; each is a line of its own.

        Raises:
            OSError: the folder cannot be written.
        """
        self._writer(directory).add_scalar(tag=_tag(tag), value=float(value), step=int(step))

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text; VisualDL shows it plain. The tag must not be a scalar's too."""
        self._writer(directory).add_text(tag=_tag(tag), text_string=text, step=int(step))

    def flush(self) -> None:
        """Hands everything to the file system, so that a reader sees it."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes all files. Writing again afterwards opens them again, to append."""
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


def _tag(name: str) -> str:
    """VisualDL refuses ``%`` in a tag; corpus names may hold one."""
    return name.replace("%", "_")
