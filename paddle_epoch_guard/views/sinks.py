"""Loggers beside VisualDL: they get the same points and sentences under the same names."""

from collections.abc import Callable, Iterable
from pathlib import Path

from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.views.tensorboard_log import TensorBoardLog
from paddle_epoch_guard.views.visualdl import Sink
from paddle_epoch_guard.views.wandb_log import WandbLog


def open_sinks(
    report_to: str | Iterable[str] | None,
    logging_dir: str | Path,
    naming: Naming,
    warn: Callable[[str], None],
    step: int = 0,
    drawn: tuple[float, float] | None = None,
) -> "Sinks":
    """The loggers that ``report_to`` names, beside the VisualDL log, which is always written.

    Nothing is imported that is not named. A name without a logger here is said, once.

    Args:
        report_to: the trainer's: ``"tensorboard"``, ``"wandb"``, and others that are left to the trainer.
        logging_dir: the trainer's log folder.
        naming: names of the epochs that are followed.
        warn: takes a sentence for the trainer's log.
        step: the last step done.
        drawn: from where to where an earlier part of the run has drawn boundary lines.
    """
    axes = {naming.loss_by_epoch_tag: "epoch_guard/step_in_epoch", naming.epoch_loss_tag: "epoch_guard/epoch"}
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
