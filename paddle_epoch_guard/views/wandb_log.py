"""Rows and summary texts of a W&B run."""

from collections.abc import Mapping
from typing import Any

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.naming import LOSS_TAG
from paddle_epoch_guard.views.points import Points
from paddle_epoch_guard.views.sink import Sink

GLOBAL_STEP = "train/global_step"
"""The default x axis, which PaddleNLP's WandbCallback gives to the trainer's own curves."""


class WandbLog(Sink):
    """Rows and summary texts of the active W&B run, which PaddleNLP's WandbCallback has started.

    W&B has no directories: a line's name ends with its directory, as in ``epoch_guard/loss_by_epoch/epoch_1``. A line
    whose x axis is not the global step has its own step metric. W&B's own ``step`` is never set: it counts rows,
    including the trainer's, and must not go backwards.

    Args:
        axes: tag -> step metric, if it is not the global step.
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
        """Adds a point."""
        self._points.add(tag, value, step, directory)

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text to the run's summary, below earlier ones of its tag."""
        self._texts.append((wandb_name(tag, directory), text.strip("\n")))

    def flush(self) -> None:
        """Writes everything to the run. Texts wait until a run has started.

        Raises:
            RuntimeError: no run has started, although the trainer has logged.
        """
        if self._run is None:
            self._run = self._wandb.run
        if self._run is None:
            if self._points:
                raise RuntimeError(tr("no W&B run is active; PaddleNLP's WandbCallback starts one"))
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

    def _define(self, name: str, axis: str, is_line: bool) -> None:
        """Gives a line its x axis, once."""
        if axis not in self._defined and axis != GLOBAL_STEP:
            self._run.define_metric(axis, hidden=True, summary="none")
        if name not in self._defined:
            self._run.define_metric(name, step_metric=axis, step_sync=False, summary="none" if is_line else None)
        self._defined |= {axis, name}


def wandb_name(tag: str, directory: str) -> str:
    """Joins tag and directory, dropping a repeated last component."""
    head, _, last = tag.rpartition("/")
    if directory == ".":
        return tag
    return f"{head}/{directory}" if directory.rpartition("/")[2] == last else f"{tag}/{directory}"
