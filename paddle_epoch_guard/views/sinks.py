"""The sinks of a run: loggers that get the points and texts of the VisualDL log, under the same names."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.sink import Sink, SinkContext
from paddle_epoch_guard.views.tensorboard_log import TensorBoardLog
from paddle_epoch_guard.views.wandb_log import WandbLog

SINKS: dict[str, Callable[[SinkContext], Sink]] = {
    "tensorboard": lambda context: TensorBoardLog(context.logging_dir, context.axes, context.step, context.drawn),
    "wandb": lambda context: WandbLog(context.axes, context.drawn),
}
"""A function that opens each sink. Add further sinks before training."""

_IF_REPORTED_TO = frozenset(SINKS)


def open_sinks(
    report_to: str | Iterable[str] | None,
    logging_dir: str | Path,
    naming: Naming,
    warn: Callable[[str], None],
    step: int = 0,
    drawn: tuple[float, float] | None = None,
) -> "Sinks":
    """Opens TensorBoard and W&B if ``report_to`` names them, and every sink that was added to `SINKS`.

    ``report_to`` cannot name an added sink: the trainer refuses names that it does not know
    (``get_reporting_integration_callbacks``, PaddleNLP 3.0.0b4). Libraries of other sinks are not imported.

    Args:
        report_to: the trainer's argument. A name without a sink, other than VisualDL's, leads to a warning.
        logging_dir: the trainer's log folder.
        naming: names of the run's epochs.
        warn: takes a sentence for the trainer's log.
        step: the last step done.
        drawn: as in `SinkContext`.
    """
    context = SinkContext(Path(logging_dir), naming, step, drawn)
    reported_to = [report_to] if isinstance(report_to, str) else report_to or ()
    sinks = Sinks(warn)
    for name in dict.fromkeys([*reported_to, *(name for name in SINKS if name not in _IF_REPORTED_TO)]):
        if name in SINKS:
            sinks.add(name, partial(SINKS[name], context))
        elif name != "visualdl":
            warn(
                "epoch guard: "
                + tr(
                    "the guard does not write to {logger}, named in report_to; its VisualDL log is complete",
                    logger=name,
                )
            )
    return sinks


class Sinks(Sink):
    """Several sinks as one. A sink that raises an exception is switched off with a warning; the others continue.

    Args:
        warn: takes a sentence for the trainer's log.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._sinks: dict[str, Sink] = {}

    @property
    def in_background(self) -> bool:  # type: ignore[override]
        """Whether all of them may be called in another thread."""
        return all(sink.in_background for sink in self._sinks.values())

    def add(self, name: str, begin: Callable[[], Sink]) -> None:
        """Opens a sink.

        Args:
            name: for warnings.
            begin: opens it; may raise.
        """
        try:
            self._sinks[name] = begin()
        except Exception as cause:
            self._switch_off(name, cause)

    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds a point."""
        self._for_each(lambda sink: sink.scalar(tag, value, step, directory))

    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text."""
        self._for_each(lambda sink: sink.text(tag, text, step, directory))

    def flush(self) -> None:
        """Flushes each sink."""
        self._for_each(lambda sink: sink.flush())

    def set_aside(self, directory: str = ".") -> None:
        """Hides what earlier runs wrote."""
        self._for_each(lambda sink: sink.set_aside(directory))

    def close(self) -> None:
        """Closes each sink."""
        self._for_each(lambda sink: sink.close())

    def _for_each(self, call: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                call(sink)
            except Exception as cause:
                self._switch_off(name, cause)

    def _switch_off(self, name: str, cause: Exception) -> None:
        self._sinks.pop(name, None)
        self._warn(
            "epoch guard: "
            + tr(
                "writing to {logger} is switched off; training and the other logs continue: {cause}",
                logger=name,
                cause=f"{type(cause).__name__}: {cause}",
            )
        )
