"""Events as lines of the trainer's log."""

from collections.abc import Callable

from paddle_epoch_guard.language import counted, tr
from paddle_epoch_guard.record.events import (
    ChangeJudged,
    ChangeReached,
    Event,
    Noted,
    PartBegan,
    PartEnded,
    TokensTraced,
)
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.statistics.verdicts import ChangeReport
from paddle_epoch_guard.terminal import plain
from paddle_epoch_guard.views import messages
from paddle_epoch_guard.views.audit_table import table_of
from paddle_epoch_guard.views.verdict_texts import verdict

_LINE_END = "\n"
_NOTEWORTHY = ("artefact", "mixed", "improvement", "unexplained")
"""Verdicts that are said as warnings: the training loss has jumped, and who reads it must know why."""


class ConsoleView:
    """Writes events to the trainer's log.

    Args:
        naming: names of the run's epochs.
        say: logs a line.
        warn: logs a warning; ``say`` by default.
        verdicts: of an earlier part of the run, for the summary at the end.
        is_marked: whether the change point of a name has been marked already; it is not logged again.
    """

    def __init__(
        self,
        naming: Naming,
        say: Callable[[str], object],
        warn: Callable[[str], object] | None = None,
        verdicts: tuple[ChangeReport, ...] = (),
        is_marked: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._naming = naming
        self._say = say
        self._warn = warn or say
        self._is_marked = is_marked
        self._verdicts = {report.change.name: report for report in verdicts}

    def take(self, event: Event) -> None:
        """Logs an event, if it belongs in the trainer's log."""
        match event:
            case PartBegan():
                self._line(messages.outlook(event))
                if event.findings:
                    self._line("\n" + table_of(event.step, event.findings))
            case TokensTraced():
                self._line(messages.traced(event))
            case Noted():
                say = self._warn if event.is_warning else self._say
                say(_safe(messages.sentence_of(event.message)))
            case ChangeReached() if not self._is_marked(event.change.name):
                boundary = event.change.boundary
                say = self._say if boundary is None or boundary.position is None else self._warn
                say(_safe(reached_sentence(event, self._naming)))
            case ChangeJudged():
                self._verdicts[event.report.change.name] = event.report
                if event.report.means is not None:
                    say = self._warn if event.report.verdict in _NOTEWORTHY else self._say
                    say(_safe(verdict(event.report, self._naming)))
            case PartEnded(epochs=epochs) if epochs:
                summary = messages.summary(epochs, event.contrast, self._verdicts.values(), self._naming)
                steps = counted("{n} step", "{n} steps", event.step)
                self._line(f"{steps}\n{summary}")

    def flush(self, at_once: bool = True) -> None:
        """Does nothing: lines are logged at once."""

    def close(self) -> None:
        """Does nothing."""

    def _line(self, text: str) -> None:
        self._say(_safe(text))


def _safe(text: str) -> str:
    """A line of the log: names of corpora may hold anything."""
    return f"epoch guard: {plain(text, keep=_LINE_END)}"


def reached_sentence(event: ChangeReached, naming: Naming) -> str:
    """What happens when the run reaches a change point."""
    if event.change.boundary is not None:
        return messages.boundary_reached(event.change.boundary, naming, event.all_repeated)
    if event.reorder is not None:
        return messages.reorder_begins(event.reorder, event.change.step)
    return tr("Step {step}: the order of the data changes.", step=event.change.step)
