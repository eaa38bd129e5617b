"""Assembles a run from its record: the events of all valid parts become curves, epochs and change points.

Parts are ordered by the checkpoints that they resume from, and in a file by their position in it; never by a clock.
When a part begins, the events of earlier parts about later steps are dropped: those steps were trained again.
"""

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paddle_epoch_guard.ledger import BoundaryStep, Contrast, EpochKey, EpochLoss, Weighted
from paddle_epoch_guard.record.events import (
    ChangeJudged,
    ChangeReached,
    EpochEnded,
    Evaluated,
    Event,
    Noted,
    PartBegan,
    PartEnded,
    WindowLogged,
    step_of,
)
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import PART_DIGITS
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, Note, Part, RunData, Series
from paddle_epoch_guard.statistics.verdicts import ChangeReport
from paddle_epoch_guard.views import messages
from paddle_epoch_guard.views.audit_table import table_of
from paddle_epoch_guard.views.console import reached_sentence
from paddle_epoch_guard.views.divided_losses import PendingLoss
from paddle_epoch_guard.views.verdict_texts import verdict


def parts_that_count(own: RecordFile, others: Sequence[RecordFile]) -> list[tuple[PartBegan, float]]:
    """The valid parts of a record's run, oldest first, each with its last valid step.

    Args:
        own: the record of the run's log folder.
        others: the records of folders beside it, which may hold earlier parts of the same run.
    """
    parts = [*_earlier_parts(own, others), *own.parts]
    counting: list[tuple[PartBegan, float]] = []
    limit = math.inf
    for part in reversed(parts):
        if part.step < limit:
            counting.append((part, limit))
            limit = part.step
    return counting[::-1]


def _earlier_parts(own: RecordFile, others: Sequence[RecordFile]) -> list[PartBegan]:
    """The parts in other files that lead up to the first one in this file."""
    first = own.parts[0]
    elsewhere = {part.part: part for record in others for part in record.parts if part.run == first.run}
    for part in own.parts:
        elsewhere.pop(part.part, None)
    earlier: list[PartBegan] = []
    at = first
    while at.step > 0 and elsewhere:
        before = elsewhere.pop(at.after, None)
        if before is None:
            if at.after:
                break
            # Resumed without a sidecar: of the parts that began before this step, the latest.
            candidates = [part for part in elsewhere.values() if part.step < at.step]
            if not candidates:
                break
            before = elsewhere.pop(max(candidates, key=lambda part: part.step).part)
        earlier.insert(0, before)
        at = before
    return earlier


def fold(own: RecordFile, others: Sequence[RecordFile], logging_dir: Path, output_dir: Path | None) -> RunData:
    """The run of a record, without its checkpoints.

    Args:
        own: the record of the run's log folder, with at least one part.
        others: the records of folders beside it.
        logging_dir: the log folder.
        output_dir: the folder with the run's checkpoints.
    """
    counting = parts_that_count(own, others)
    folded = {part.part[:PART_DIGITS]: _Folded(part, limit) for part, limit in counting}
    for record in (*others, own):
        for line in record.lines() if any(part.part[:PART_DIGITS] in folded for part in record.parts) else ():
            if line.part in folded:
                folded[line.part].take(line.event)
    last = counting[-1][0]
    naming = Naming(last.datasets, last.epochs_of == "trainer")
    return _Assembly(naming, list(folded.values())).run(logging_dir, output_dir)


@dataclass
class _Folded:
    """The valid events of one part."""

    began: PartBegan
    limit: float
    """The last valid step."""
    loss: list[tuple[int, float]] = field(default_factory=list)
    evaluation: list[tuple[int, float]] = field(default_factory=list)
    data_epoch: list[tuple[int, float]] = field(default_factory=list)
    exposure: list[tuple[int, float]] = field(default_factory=list)
    fresh: list[tuple[int, Weighted]] = field(default_factory=list)
    repeat: list[tuple[int, Weighted]] = field(default_factory=list)
    contrast: Contrast = field(default_factory=Contrast)
    curves: dict[EpochKey, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    totals: dict[EpochKey, EpochLoss] = field(default_factory=dict)
    means: dict[EpochKey, float] = field(default_factory=dict)
    reached: dict[str, ChangeReached] = field(default_factory=dict)
    judged: dict[str, ChangeReport] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    window_end: int = 0
    """The last step of its windows."""
    is_untracked: bool = False
    """Whether tracking was switched off."""
    first_logged: int | None = None
    """The first logged step, valid or not."""
    last_logged: int | None = None

    def take(self, event: Event) -> None:
        step = step_of(event)
        if isinstance(event, (WindowLogged, Evaluated)):
            self.first_logged = min(step, self.first_logged or step)
            self.last_logged = max(step, self.last_logged or step)
        if step <= self.limit:
            self._take_counting(event)

    def _take_counting(self, event: Event) -> None:
        match event:
            case WindowLogged():
                self._take_window(event)
            case Evaluated():
                self.evaluation.append((event.step, event.loss))
            case EpochEnded(total=total):
                self.means[EpochKey(total.dataset, total.epoch)] = total.mean_loss
            case PartEnded(outcome=outcome):
                self.is_untracked = outcome == "untracked"
            case ChangeReached():
                self.reached[event.change.name] = event
            case ChangeJudged():
                self.judged[event.report.change.name] = event.report
            case Noted():
                self.notes.append(Note(event.step, messages.sentence_of(event.message)))
            case PartBegan() if event.findings:
                self.notes.append(Note(event.step, table_of(event.step, event.findings), tuple(event.findings)))

    def _take_window(self, event: WindowLogged) -> None:
        self.window_end = step = event.last_step
        if event.loss is not None:
            self.loss.append((step, event.loss))
        samples = sum(share.samples for share in event.epochs)
        if samples:
            self.data_epoch.append((step, sum(share.epoch * share.samples for share in event.epochs) / samples))
        if event.exposure is not None:
            self.exposure.append((step, event.exposure.mean))
        for losses, loss in ((self.fresh, event.fresh), (self.repeat, event.repeat)):
            if loss is not None:
                losses.append((step, loss))
        if event.contrast is not None:
            self.contrast = self.contrast.plus(event.contrast)
        for share in event.epochs:
            key = EpochKey(share.dataset, share.epoch)
            if share.step_in_epoch is not None:
                self.curves[key].append((share.step_in_epoch, share.loss.mean))
            total = self.totals.setdefault(key, EpochLoss(*key, event.first_step, step))
            total.last_step = step
            total.samples += share.samples
            total.loss.add(share.loss)

    @property
    def logged(self) -> Part:
        return Part(round(self.began.time * 1000), self.first_logged, self.last_logged, self.began.arguments)


class _Assembly:
    """Assembles parts into a run."""

    def __init__(self, naming: Naming, parts: Sequence[_Folded]) -> None:
        self._naming = naming
        self._parts = parts

    def run(self, logging_dir: Path, output_dir: Path | None) -> RunData:
        parts = self._parts
        notes = [note for part in parts for note in part.notes]
        return RunData(
            logging_dir,
            output_dir,
            run=parts[-1].began.run,
            loss=Series.of(point for part in parts for point in part.loss),
            evaluation=Series.of(point for part in parts for point in part.evaluation),
            data_epoch=Series.of(point for part in parts for point in part.data_epoch),
            exposure=Series.of(point for part in parts for point in part.exposure),
            loss_fresh=_gathered(part.fresh for part in parts),
            loss_repeat=_gathered(part.repeat for part in parts),
            contrast=functools.reduce(Contrast.plus, (part.contrast for part in parts), Contrast()),
            epochs=tuple(self._epochs()),
            cuts=tuple(sorted(self._changes(), key=lambda change: (change.step, change.name))),
            notes=tuple(sorted(dict.fromkeys(notes), key=lambda note: note.step)),
            parts=tuple(part.logged for part in parts),
            ahead=tuple(self._ahead()),
            unknown_steps=tuple(self._unknown_steps()),
            sidecar=next((part.began.state for part in reversed(parts) if part.began.state is not None), None),
            folders=tuple(self._folder(at) for at in range(max(len(self._naming.datasets), 1))),
        )

    def _ahead(self) -> Iterable[BoundaryStep]:
        """The boundaries of the last part that lie behind its last step and before its planned end."""
        last = self._parts[-1]
        done = max(last.began.step, last.window_end)
        dissolved = {boundary for event in last.reached.values() for boundary in event.dissolved}
        for boundary in last.began.boundaries:
            if done < boundary.step <= last.began.max_steps and boundary not in dissolved:
                yield boundary

    def _unknown_steps(self) -> Iterable[tuple[int, int | None]]:
        """Before the first part, and from where a part was killed or not tracked to where the next one begins."""
        done = 0
        for part in self._parts:
            if part.began.step > done:
                yield done + 1, part.began.step
            done = max(done, part.began.step, part.window_end)
        if self._parts[-1].is_untracked:
            yield done + 1, None

    def _folder(self, dataset: int) -> str:
        directory = self._naming.dataset_directory(dataset)
        return "" if directory == "." else directory

    def _epochs(self) -> Iterable[EpochSummary]:
        is_whole = self._parts[0].began.step == 0
        keys = {key for part in self._parts for key in part.totals}
        for key in sorted(keys, key=lambda key: (self._folder(key.dataset), key.epoch)):
            totals = [part.totals[key] for part in self._parts if key in part.totals]
            total = EpochLoss(*key, totals[0].first_step, totals[-1].last_step)
            for part_total in totals:
                total.samples += part_total.samples
                total.loss.add(part_total.loss)
            means = [part.means[key] for part in self._parts if key in part.means]
            yield EpochSummary(
                self._folder(key.dataset),
                key.epoch,
                self._naming.trainer,
                Series.of(point for part in self._parts for point in part.curves.get(key, ())),
                means[-1] if means else None,
                total if is_whole and not self._naming.trainer else None,
            )

    def _changes(self) -> Iterable[ChangeSummary]:
        reached = {name: event for part in self._parts for name, event in part.reached.items()}
        judged = {name: report for part in self._parts for name, report in part.judged.items()}
        dissolved = {
            self._naming.boundary_directory(boundary) for event in reached.values() for boundary in event.dissolved
        }
        for name, event in reached.items():
            if name in dissolved:
                continue
            boundary, report = event.change.boundary, judged.get(name)
            yield ChangeSummary(
                event.change,
                "" if boundary is None else self._folder(boundary.dataset),
                None if boundary is None else (boundary.from_epoch, boundary.to_epoch),
                self._naming.trainer,
                (reached_sentence(event, self._naming),),
                report,
                "" if report is None else verdict(report, self._naming),
            )


def _gathered(parts: Iterable[list[tuple[int, Weighted]]]) -> Series:
    """A curve from losses over few samples per window; each point stands for enough samples."""
    points: list[tuple[int, float]] = []
    for losses in parts:
        pending = PendingLoss()
        gathered = [pending.add(loss, None, step) for step, loss in losses]
        points += [(point.step, point.mean) for point in (*gathered, pending.rest()) if point is not None]
    return Series.of(points)
