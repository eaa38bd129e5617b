"""TensorBoard's event files, in the directories of the VisualDL log."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddle_epoch_guard.files import keep_aside
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.views.points import Points
from paddle_epoch_guard.views.sink import Sink

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

_EVENT_FILE = "events.out.tfevents.{:010d}.epoch_guard"
_EVENT_FILES = "events.out.tfevents.*.epoch_guard"


class TensorBoardLog(Sink):
    """Event files under ``<logging_dir>/epoch_guard/``, in the directories of the VisualDL log.

    TensorBoard shows each directory as a run, and draws the same tag of several runs in one chart. tensorboardX's
    ``SummaryWriter`` (2.6.5) is not used, for three reasons: it keeps a thread and an open file for each directory; if
    the thread fails, ``add_scalar`` blocks forever a dozen points later; and a second file that is opened in the same
    second overwrites the first.

    Args:
        logging_dir: the trainer's log folder.
        axes: tags whose x axis is not the global step.
        step: the last step done.
        drawn: as in `Points`.

    Raises:
        ImportError: tensorboardX is not installed, or lacks a function that this class uses.
    """

    in_background = True

    def __init__(
        self,
        logging_dir: str | Path,
        axes: Mapping[str, str],
        step: int = 0,
        drawn: tuple[float, float] | None = None,
    ) -> None:
        self._event, self._summary, self._text_summary, self._crc = _tensorboardx()
        self.root = Path(logging_dir) / "epoch_guard"
        self._axes = axes
        self._step = step
        self._points = Points(drawn)
        self._texts: dict[tuple[str, str], tuple[int, str]] = {}
        self._new_texts: dict[tuple[str, str], None] = {}
        self._files: dict[str, Path] = {}

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds a point."""
        if tag not in self._axes:
            self._step = max(self._step, step)
        self._points.add(tag, value, step, directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text at the current step, below an existing one: TensorBoard keeps one text per step."""
        key, now = (directory, tag), max(self._step, step)
        last, before = self._texts.get(key, (now, ""))
        self._texts[key] = now, f"{before}\n\n{_markdown(text)}" if before and last == now else _markdown(text)
        self._new_texts[key] = None

    def set_aside(self, directory: str = ".") -> None:
        """Renames the files of earlier runs in ``directory`` and below, so that TensorBoard does not read them."""
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
            summary = self._text_summary(tag, text)
            summary.value[0].tag = tag  # tensorboardX appends "/text_summary"
            records.setdefault(directory, []).append(self._record(step, summary))
        self._new_texts = {}
        for directory, content in records.items():
            if directory not in self._files:
                content.insert(0, self._framed(self._event(wall_time=time.time(), file_version="brain.Event:2")))
                self._begin(directory)
            with self._files[directory].open("ab") as file:
                file.write(b"".join(content))

    def _begin(self, directory: str) -> None:
        """Names a new file, which sorts after the existing ones: TensorBoard reads files in alphabetical order."""
        folder = self.root / directory
        folder.mkdir(parents=True, exist_ok=True)
        matches = [re.search(r"tfevents\.(\d+)", path.name) for path in folder.glob(_EVENT_FILES)]
        seconds = max([int(time.time()), *(int(match[1]) + 1 for match in matches if match)])
        self._files[directory] = folder / _EVENT_FILE.format(seconds)

    def _record(self, step: int, summary: "Summary") -> bytes:
        return self._framed(self._event(wall_time=time.time(), step=step, summary=summary))

    def _framed(self, event: "Event") -> bytes:
        """An event as a record: length, its checksum, the event, its checksum (tensorboardX/record_writer.py)."""
        content: bytes = event.SerializeToString()
        length = len(content).to_bytes(8, "little")
        return b"".join([length, self._checksum(length), content, self._checksum(content)])

    def _checksum(self, content: bytes) -> bytes:
        checksum: int = self._crc(content)
        return checksum.to_bytes(4, "little")


def _tensorboardx() -> tuple[Any, Any, Any, Any]:
    """``Event``, ``Summary``, texts and checksums of tensorboardX, most of them undocumented."""
    import tensorboardX

    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import masked_crc32c
        from tensorboardX.summary import text
    except ImportError as cause:
        raise ImportError(
            tr(
                "tensorboardX {version} lacks a function that writes event files ({cause}). Install tensorboardX "
                "2.6.5",
                version=tensorboardX.__version__,
                cause=cause,
            )
        ) from cause
    return Event, Summary, text, masked_crc32c


def _markdown(text: str) -> str:
    """TensorBoard shows texts as Markdown: a code block preserves the lines of a table."""
    text = text.strip("\n")
    return "    " + text.replace("\n", "\n    ") if "\n" in text else text
