"""Reads a run from its record, finished or running. Nothing of the run is changed."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.comparison.run import EVALUATION, WINDOW, FreshLosses, Run, sequence_length_of, state_of
from paddle_epoch_guard.errors import ReportError, ScheduleError
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import ChangePoint, Weighted
from paddle_epoch_guard.ledger.losses import standard_error, total
from paddle_epoch_guard.ledger.sample_shares import MOST as MOST_EXPOSURE
from paddle_epoch_guard.record.events import (
    ChangeReached,
    Evaluated,
    EvaluationSet,
    Event,
    PartBegan,
    PartEnded,
    WindowLogged,
    step_of,
)
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.recorder import MOST_DATASETS
from paddle_epoch_guard.record.writer import PART_DIGITS, RECORD_NAME, record_path
from paddle_epoch_guard.report.fold import parts_that_count
from paddle_epoch_guard.report.log_folders import folders_beside
from paddle_epoch_guard.report.reading import find_logging_dir

_ALL_FRESH = 0.99  # share of fresh samples from which all are taken to be wholly fresh


def read_run(folder: str | Path) -> Run:
    """Reads a run that was trained with the guard.

    Args:
        folder: the run's ``logging_dir``, or its ``output_dir``, or a folder above its log: then the newest log below.

    Raises:
        ReportError: there is no such folder, no record of the guard in it, or no loss in the record.
    """
    named = Path(folder)
    if not named.is_dir():
        raise ReportError(tr("{folder}: no such folder. Name a run's logging_dir, or its output_dir", folder=named))
    logs = _logging_dir(named)
    record = RecordFile.open(record_path(logs))
    if not record.parts:
        raise ReportError(_no_record(logs, record))
    beside = folders_beside(logs, named)
    others = [other for other in map(RecordFile.open, map(record_path, beside)) if other.parts]
    run = _Reading(_name_of(named, logs), logs).of(record, others)
    if not len(run.windows) and not len(run.evaluations):
        raise ReportError(
            tr("{logs}: no loss in its record yet. Wait for the first log window, or name another run", logs=logs)
        )
    return run


def _no_record(logs: Path, record: RecordFile) -> str:
    values = {"logs": logs, "record": RECORD_NAME}
    if record.faults:
        return tr(
            "{logs}: no record of the guard (epoch_guard/{record}), so what this run drew is not known: it was "
            "trained without the guard, or with a release that kept none; {fault}. Train it with the guard, or name "
            "another folder",
            **values,
            fault=record.faults[0],
        )
    return tr(
        "{logs}: no record of the guard (epoch_guard/{record}), so what this run drew is not known: it was trained "
        "without the guard, or with a release that kept none. Train it with the guard, or name another folder",
        **values,
    )


def _logging_dir(named: Path) -> Path:
    if record_path(named).is_file():
        return named
    if named.name == "epoch_guard" and record_path(named.parent).is_file():
        return named.parent
    try:
        return find_logging_dir(named)
    except ReportError:
        raise ReportError(
            tr(
                "{folder}: no log of a run in it or below it. Name the folder that the run had as logging_dir",
                folder=named,
            )
        ) from None


def _name_of(named: Path, logs: Path) -> str:
    folder = named if named.name != "epoch_guard" else logs
    return folder.resolve().name or str(folder)


@dataclass
class _Reading:
    """Takes the events of all parts that count."""

    name: str
    logs: Path
    windows: list[WindowLogged] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)
    changes: dict[str, ChangePoint] = field(default_factory=dict)
    evaluation_set: EvaluationSet | None = None
    ended: bool = False

    def of(self, record: RecordFile, others: Sequence[RecordFile]) -> Run:
        counting = parts_that_count(record, others)
        events = _events_of(counting, (*others, record))
        for part, limit in counting:
            self.ended = False  # an earlier part may have been complete, before the run was extended
            for event in events[part.part[:PART_DIGITS]]:
                if step_of(event) <= limit:
                    self._take(event)
        parts = tuple(part for part, _ in counting)
        table = _Table(parts, self.windows)
        return Run(
            self.name,
            self.logs,
            table.windows(self.evaluations),
            table.evaluations(self.evaluations),
            table.fresh(),
            parts,
            tuple(sorted(self.changes.values(), key=lambda change: change.step)),
            self.evaluation_set,
            self.ended,
            tuple(fault for each in (record, *others) for fault in each.faults),
        )

    def _take(self, event: Event) -> None:
        match event:
            case WindowLogged():
                self.windows.append(event)
            case Evaluated():
                if self.evaluations and self.evaluations[-1].step >= event.step:  # the guard, too, keeps the first one
                    return
                self.evaluations.append(event)
            case ChangeReached(change=change):
                if change.step > 1:
                    self.changes[change.name] = change
            case EvaluationSet():
                self.evaluation_set = event
            case PartEnded(outcome=outcome):
                self.ended = outcome in ("complete", "ran_dry")


def _events_of(counting: Sequence[tuple[PartBegan, float]], records: Sequence[RecordFile]) -> dict[str, list[Event]]:
    """The events of each part that counts, by the first digits of its name."""
    wanted = {part.part[:PART_DIGITS] for part, _ in counting}
    events: dict[str, list[Event]] = defaultdict(list)
    for record in records:
        for line in record.lines() if any(part.part[:PART_DIGITS] in wanted for part in record.parts) else ():
            if line.part in wanted:
                events[line.part].append(line.event)
    return events


class _Table:
    """Arranges windows and evaluations as arrays."""

    def __init__(self, parts: Sequence[PartBegan], windows: Sequence[WindowLogged]) -> None:
        self._windows = windows
        datasets = len(parts[-1].datasets)
        self._datasets = datasets if 0 < datasets <= MOST_DATASETS else 1
        state = state_of(parts)
        self._schedule = None if state is None else state.schedule
        self._length = sequence_length_of(state) or _length_of(windows)
        self._samples_drawn = self._counted()

    def _counted(self) -> dict[int, int]:
        """Samples drawn up to the end of each window, by its last step."""
        counted, total, reached = {}, 0, 0
        for window in self._windows:
            if window.first_step > reached + 1:  # steps that no window tells of
                total += self._scheduled(reached + 1, window.first_step - 1)
            total += window.samples
            counted[window.last_step] = total
            reached = window.last_step
        return counted

    def _scheduled(self, first_step: int, last_step: int) -> int:
        """Samples that steps without a window draw, as far as the schedule knows them."""
        try:
            return 0 if self._schedule is None else self._schedule.samples(first_step, last_step)
        except ScheduleError:
            return 0

    def windows(self, evaluations: Sequence[Evaluated]) -> npt.NDArray[Any]:
        """``[n]`` of :data:`WINDOW`."""
        table = np.zeros(len(self._windows), WINDOW)
        for name in WINDOW.names or ():
            if table.dtype[name].kind == "f":
                table[name] = np.nan
        evaluated = {each.step: each.loss for each in evaluations}
        for row, window in zip(table, self._windows, strict=True):
            self._fill(row, window)
            row["evaluation"] = evaluated.get(window.last_step, math.nan)
        return table

    def _fill(self, row: npt.NDArray[np.void], window: WindowLogged) -> None:
        row["step"], row["first_step"], row["samples"] = window.last_step, window.first_step, window.samples
        row["tokens"] = self._samples_drawn[window.last_step] * self._length
        row["tokens_before"] = row["tokens"] - window.samples * self._length
        row["loss"] = math.nan if window.loss is None else window.loss
        for name, loss, squares in (
            ("fresh", window.fresh, window.fresh_squares),
            ("repeat", window.repeat, window.repeat_squares),
        ):
            if loss is not None:
                error = standard_error(loss, squares)
                row[name], row[f"{name}_samples"] = loss.mean, loss.weight
                row[f"{name}_error"] = math.nan if error is None else error
        row["exposure"] = math.nan if window.exposure is None else window.exposure.mean
        samples = sum(share.samples for share in window.epochs)
        if samples:
            row["data_epoch"] = sum(share.epoch * share.samples for share in window.epochs) / samples
        for level in range(1, MOST_EXPOSURE + 1):
            row[f"loss_exposure_{level}"] = _at_level(window, level).mean

    def evaluations(self, evaluations: Sequence[Evaluated]) -> npt.NDArray[Any]:
        """``[m]`` of :data:`EVALUATION`; each takes the tokens of the window in which its step lies."""
        table = np.zeros(len(evaluations), EVALUATION)
        ends = np.array([window.last_step for window in self._windows] or [0], np.int64)
        for row, each in zip(table, evaluations, strict=True):
            row["step"], row["loss"] = each.step, each.loss
            row["tokens"] = self._drawn_by(each.step, ends) * self._length
        return table

    def _drawn_by(self, step: int, ends: npt.NDArray[np.int64]) -> int:
        """Samples drawn up to the end of a step; a window's are taken to be spread evenly over its steps."""
        at = int(np.searchsorted(ends, step))
        if not self._windows or at == len(ends):
            before = self._samples_drawn[int(ends[-1])] if self._windows else 0
            return before + self._scheduled((int(ends[-1]) if self._windows else 0) + 1, step)
        window = self._windows[at]
        missing = window.last_step - step
        steps = window.last_step - window.first_step + 1
        return self._samples_drawn[window.last_step] - round(window.samples * missing / steps)

    def fresh(self) -> FreshLosses:
        """The losses of fresh samples by dataset."""
        shape = len(self._windows), self._datasets
        samples, loss, drawn = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for row, window in enumerate(self._windows):
            for share in window.epochs:
                drawn[row, share.dataset if self._datasets > 1 else 0] += share.samples
            for dataset, fresh in self._fresh_of(window):
                samples[row, dataset] += fresh.weight
                loss[row, dataset] += fresh.loss_sum
        return FreshLosses(samples, loss, drawn)

    def _fresh_of(self, window: WindowLogged) -> Iterator[tuple[int, Weighted]]:
        if window.by_exposure or window.wholly_fresh:
            for each in window.wholly_fresh:
                if self._datasets == 1:
                    yield 0, each.loss
                elif each.dataset is not None:
                    yield each.dataset, each.loss
        elif self._datasets == 1 and window.fresh is not None and _is_all_fresh(window):
            yield 0, window.fresh


def _length_of(windows: Sequence[WindowLogged]) -> int:
    """Tokens of a sample, from the windows of a run whose positions are unknown; 1 if they do not tell either."""
    lengths = {window.tokens // window.samples for window in windows if window.tokens and window.samples}
    return lengths.pop() if len(lengths) == 1 else 1


def _is_all_fresh(window: WindowLogged) -> bool:
    """Of a record of an earlier release, which does not tell what is fresh in part from what is wholly."""
    fresh, repeat = window.fresh or Weighted(), window.repeat or Weighted()
    return fresh.weight > _ALL_FRESH * (fresh.weight + repeat.weight)


def _at_level(window: WindowLogged, level: int) -> Weighted:
    """The loss of a window's samples at an exposure, over all datasets."""
    return total(each.loss for each in window.by_exposure if each.exposure == level)
