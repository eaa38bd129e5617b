"""TensorBoard's event files, in the directories of the VisualDL log."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddle_epoch_guard.files import keep_aside
from paddle_epoch_guard.views.points import Points

_EVENT_FILE = "events.out.tfevents.{:010d}.epoch_guard"
_EVENT_FILES = "events.out.tfevents.*.epoch_guard"


class TensorBoardLog:
    """Event files under ``<logging_dir>/epoch_guard/``, in the directories of the VisualDL log.

    TensorBoard takes each directory for a run, and draws the same tag of several runs in one chart. The files are
    written without tensorboardX's ``SummaryWriter`` (2.6.5): that keeps a thread and a file open for each directory;
    where the thread has failed, a dozen points later ``add_scalar`` waits for ever; and a second file of the same
    second is written over the first.

    Args:
        logging_dir: the trainer's log folder.
        axes: tags whose x axis is not the global step.
        step: the last step done.
        drawn: as in `Points`.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(
        self,
        logging_dir: str | Path,
        axes: Mapping[str, str],
        step: int = 0,
        drawn: tuple[float, float] | None = None,
    ) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import masked_crc32c
        from tensorboardX.summary import text

        self.root = Path(logging_dir) / "epoch_guard"
        self._event, self._summary, self._text, self._crc = Event, Summary, text, masked_crc32c
        self._axes = axes
        self._step = step
        self._points = Points(drawn)
        self._texts: dict[tuple[str, str], tuple[int, str]] = {}
        self._new_texts: dict[tuple[str, str], None] = {}
        self._files: dict[str, Path] = {}

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds one point."""
        if tag not in self._axes:
            self._step = max(self._step, step)
        self._points.add(tag, value, step, directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text, at the step at which it is said: a second one at the same step would replace the first."""
        key, said = (directory, tag), max(self._step, step)
        last, before = self._texts.get(key, (said, ""))
        self._texts[key] = said, f"{before}\n\n{_markdown(text)}" if before and last == said else _markdown(text)
        self._new_texts[key] = None

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote in ``directory`` and below out of TensorBoard's sight."""
        self.flush()
        self._files = {}
        keep_aside(self.root / directory, _EVENT_FILES, "epoch_guard.events")

    def flush(self) -> None:
        """Writes everything.

        Raises:
            OSError: the folder cannot be written.
        """
        records: dict[str, list[bytes]] = {}
        for point in self._points.take():
            value = self._summary.Value(tag=point.tag, simple_value=point.value)
            records.setdefault(point.directory, []).append(self._record(point.step, self._summary(value=[value])))
        for directory, tag in self._new_texts:
            step, text = self._texts[directory, tag]
            summary = self._text(tag, text)
            summary.value[0].tag = tag  # tensorboardX appends "/text_summary"
            records.setdefault(directory, []).append(self._record(step, summary))
        self._new_texts = {}
        for directory, some in records.items():
            begun = directory in self._files
            with (self._files[directory] if begun else self._begin(directory)).open("ab") as file:
                file.write(b"".join(some if begun else [self._header(), *some]))

    def close(self) -> None:
        """Writes everything; no file stays open."""
        self.flush()

    def _begin(self, directory: str) -> Path:
        """A new file, whose name sorts behind all that are there: TensorBoard reads them in this order."""
        folder = self.root / directory
        folder.mkdir(parents=True, exist_ok=True)
        found = [re.search(r"tfevents\.(\d+)", path.name) for path in folder.glob(_EVENT_FILES)]
        seconds = max([int(time.time()), *(int(one[1]) + 1 for one in found if one)])
        self._files[directory] = path = folder / _EVENT_FILE.format(seconds)
        return path

    def _header(self) -> bytes:
        return self._framed(self._event(wall_time=time.time(), file_version="brain.Event:2"))

    def _record(self, step: int, summary: Any) -> bytes:
        return self._framed(self._event(wall_time=time.time(), step=step, summary=summary))

    def _framed(self, event: Any) -> bytes:
        """An event as a record: length, its checksum, the event, its checksum (tensorboardX/record_writer.py)."""
        found: bytes = event.SerializeToString()
        length = len(found).to_bytes(8, "little")
        return b"".join([length, self._checksum(length), found, self._checksum(found)])

    def _checksum(self, content: bytes) -> bytes:
        checksum: int = self._crc(content)
        return checksum.to_bytes(4, "little")


def _markdown(text: str) -> str:
    """TensorBoard shows texts as Markdown; one of several lines, such as a table, keeps them as a code block."""
    text = text.strip("\n")
    return "    " + text.replace("\n", "\n    ") if "\n" in text else text
