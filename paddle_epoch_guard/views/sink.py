"""The interface of a logger beside VisualDL."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from paddle_epoch_guard.record.naming import Naming


@dataclass(frozen=True)
class SinkContext:
    """The arguments with which a sink is opened when the trainer starts."""

    logging_dir: Path
    """The trainer's log folder."""
    naming: Naming
    """Names of the run's epochs."""
    step: int = 0
    """The last step done; 0 at a fresh start."""
    drawn: tuple[float, float] | None = None
    """The loss range over which an earlier part of the run drew its boundary lines; None without such a part."""

    @property
    def axes(self) -> dict[str, str]:
        """Tags whose x axis is not the global step, each with a name for its own axis."""
        naming = self.naming
        return {naming.loss_by_epoch_tag: "epoch_guard/step_in_epoch", naming.epoch_loss_tag: "epoch_guard/epoch"}


class Sink(ABC):
    """A logger that gets the points and texts of the guard's VisualDL log.

    A sink implements `scalar`, `text` and `flush`. If it raises an exception, it is switched off with a warning.
    """

    in_background = False
    """Whether it may be called in another thread than the training's, some time after a window has been logged. If
    all sinks may, training does not wait for what they write."""

    @abstractmethod
    def scalar(self, tag: str, value: float, step: int, directory: str = ".") -> None:
        """Adds a point; ``directory`` distinguishes lines of one tag."""

    @abstractmethod
    def text(self, tag: str, text: str, step: int, directory: str = ".") -> None:
        """Adds a text."""

    @abstractmethod
    def flush(self) -> None:
        """Writes everything, so that a reader sees it."""

    def set_aside(self, directory: str = ".") -> None:  # noqa: B027 (a default, which many sinks keep)
        """Hides what earlier runs wrote in ``directory`` and below; by default there is nothing to hide."""

    def close(self) -> None:
        """Ends the run; by default it flushes. Later calls are allowed."""
        self.flush()
