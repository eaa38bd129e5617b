"""Loggers beside VisualDL: the guard's points and sentences, under the same names, wherever ``report_to`` wants them.

TensorBoard's default server (tensorboard-data-server 0.7) keeps one value of a tag for a step: a point takes the place
of every earlier one at its step or beyond. So where VisualDL draws a vertical line, these loggers get one that leans,
from the last step before a boundary to the first behind it.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle_epoch_guard.report.markers import LOSS_TAG
from paddle_epoch_guard.report.visualdl import Sink, keep_aside
from paddle_epoch_guard.report.words import Words

GLOBAL_STEP = "train/global_step"
"""The x axis of whatever has no other: PaddleNLP's WandbCallback gives it to the trainer's own curves."""

_EVENT_FILE = "events.out.tfevents.{:010d}.epoch_guard"
_EVENT_FILES = "events.out.tfevents.*.epoch_guard"


def open_sinks(
    report_to: str | Iterable[str] | None,
    logging_dir: str | Path,
    words: Words,
    warn: Callable[[str], None],
    step: int = 0,
    drawn: tuple[float, float] | None = None,
) -> "Sinks":
    """The loggers that ``report_to`` names, beside the VisualDL log, which is always written.

    Nothing is imported that is not named. A name without a logger here is said, once.

    Args:
        report_to: the trainer's: ``"tensorboard"``, ``"wandb"``, and others that are left to the trainer.
        logging_dir: the trainer's log folder.
        words: names of the epochs that are followed.
        warn: takes a sentence for the trainer's log.
        step: the last step done.
        drawn: from where to where an earlier part of the run has drawn boundary lines.
    """
    axes = {words.loss_by_epoch_tag: "epoch_guard/step_in_epoch", words.epoch_loss_tag: "epoch_guard/epoch"}
    kinds: dict[str, Callable[[], Sink]] = {
        "tensorboard": lambda: TensorBoardLog(logging_dir, axes, step, drawn),
        "wandb": lambda: WandbLog(axes, drawn),
    }
    sinks = Sinks(warn)
    for name in dict.fromkeys([report_to] if isinstance(report_to, str) else report_to or ()):
        if name in kinds:
            sinks.add(name, kinds[name])
        elif name != "visualdl":
            warn(f"epoch guard: report_to names {name}, where the guard does not write; its VisualDL log has it all")
    return sinks


class Sinks:
    """Several loggers as one. One that fails says so and is left out from there on; nothing else changes.

    Args:
        warn: takes a sentence for the trainer's log.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._sinks: dict[str, Sink] = {}

    def add(self, name: str, begin: Callable[[], Sink]) -> None:
        """Opens a logger.

        Args:
            name: what ``report_to`` calls it.
            begin: opens it; may fail.
        """
        try:
            self._sinks[name] = begin()
        except Exception as cause:
            self._leave_out(name, cause)

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds one point."""
        self._each(lambda sink: sink.scalar(tag, value, step, directory))

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text."""
        self._each(lambda sink: sink.text(tag, text, step, directory))

    def set_aside(self, directory: str = ".") -> None:
        """Takes what earlier runs wrote out of sight."""
        self._each(lambda sink: sink.set_aside(directory))

    def flush(self) -> None:
        """Hands everything over."""
        self._each(lambda sink: sink.flush())

    def close(self) -> None:
        """The run is over."""
        self._each(lambda sink: sink.close())

    def _each(self, do: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                do(sink)
            except Exception as cause:
                del self._sinks[name]
                self._leave_out(name, cause)

    def _leave_out(self, name: str, cause: Exception) -> None:
        self._warn(
            f"epoch guard: writing to {name} switched off, all else goes on, and so does the VisualDL log: "
            f"{type(cause).__name__}: {cause}"
        )


@dataclass(frozen=True)
class Point:
    """One value of a line: a tag in a directory."""

    tag: str
    value: float
    step: int
    directory: str


class Points:
    """The points since the last flush; each boundary line as its two ends, one step apart.

    Args:
        drawn: from where to where an earlier part of the run has drawn boundary lines: what lengthens one here brings
            one end only.
    """

    def __init__(self, drawn: tuple[float, float] | None = None) -> None:
        self._drawn = drawn
        self._points: list[Point] = []
        self._lines: dict[str, tuple[float, float]] = {}
        self._changed: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._points or self._changed)

    def add(self, tag: str, value: float, step: int, directory: str) -> None:
        """Takes a point."""
        if tag != LOSS_TAG:  # the guard writes no losses there, only lines
            self._points.append(Point(tag, value, step, directory))
            return
        low, high = self._lines.get(directory, self._drawn or (value, value))
        self._lines[directory] = min(low, value), max(high, value)
        self._changed[directory] = step

    def take(self) -> list[Point]:
        """What was added since the last time; of a line that was lengthened, both ends again."""
        found, self._points = self._points, []
        for directory, step in self._changed.items():
            low, high = self._lines[directory]
            # Its low end first: TensorBoard's smoothing (0.6) cuts 38 % off the other, where the loss once began.
            found += [Point(LOSS_TAG, low, step - 1, directory), Point(LOSS_TAG, high, step, directory)]
        self._changed = {}
        return found


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


class WandbLog:
    """Rows and summary texts of the W&B run that is active: the one that PaddleNLP's WandbCallback has begun.

    W&B has no directories: a line's is the last part of its name, as in ``epoch_guard/loss_by_epoch/epoch_1``. A
    line whose x axis is not the global step has a step metric of its own. ``step`` is never given to W&B: there it
    counts rows, the trainer's own among them, and must not go backwards.

    Args:
        axes: tag -> step metric, where it is not the global step.
        drawn: as in `Points`.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, axes: Mapping[str, str], drawn: tuple[float, float] | None = None) -> None:
        import wandb

        self._wandb = wandb
        self._run: Any = None
        self._axes = axes
        self._points = Points(drawn)
        self._texts: list[tuple[str, str]] = []
        self._defined: set[str] = set()

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds one point."""
        self._points.add(tag, value, step, directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text to the run's summary, below what the run said there before."""
        self._texts.append((wandb_name(tag, directory), text.strip("\n")))

    def set_aside(self, directory: str = ".") -> None:
        """Does nothing: a W&B run is not shared with earlier ones."""

    def flush(self) -> None:
        """Hands everything to the run. Texts wait for one to begin.

        Raises:
            RuntimeError: no run has begun, though the trainer has logged.
        """
        if self._run is None:
            self._run = self._wandb.run
        if self._run is None:
            if self._points:
                raise RuntimeError("no W&B run is active; PaddleNLP's WandbCallback begins one")
            return
        rows: dict[tuple[str, int], dict[str, float]] = {}
        for point in self._points.take():
            axis = self._axes.get(point.tag, GLOBAL_STEP)
            name = wandb_name(point.tag, point.directory)
            self._define(name, axis, is_line=point.tag == LOSS_TAG)
            rows.setdefault((axis, point.step), {axis: point.step})[name] = point.value
        # The latest global step comes last: W&B adds the last one seen to rows that have none.
        for row in sorted(rows):
            self._run.log(rows[row])
        texts, self._texts = self._texts, []
        for name, text in texts:
            before = self._run.summary.get(name)
            if before is None or text not in before:
                self._run.summary[name] = text if before is None else f"{before}\n{text}"

    def close(self) -> None:
        """Hands everything over; the run is the trainer's to end."""
        self.flush()

    def _define(self, name: str, axis: str, is_line: bool) -> None:
        """Gives a line its x axis, once."""
        if axis not in self._defined and axis != GLOBAL_STEP:
            self._run.define_metric(axis, hidden=True, summary="none")
        if name not in self._defined:
            self._run.define_metric(name, step_metric=axis, step_sync=False, summary="none" if is_line else None)
        self._defined |= {axis, name}


def wandb_name(tag: str, directory: str) -> str:
    """A tag in a directory as one name: its end may say once what both say."""
    head, _, last = tag.rpartition("/")
    if directory == ".":
        return tag
    return f"{head}/{directory}" if directory.rpartition("/")[2] == last else f"{tag}/{directory}"


def _markdown(text: str) -> str:
    """TensorBoard shows texts as Markdown; one of several lines, such as a table, keeps them as a code block."""
    text = text.strip("\n")
    return "    " + text.replace("\n", "\n    ") if "\n" in text else text
