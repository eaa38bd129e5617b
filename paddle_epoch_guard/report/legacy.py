"""Reads runs of releases without a record, from VisualDL's files. May be dropped at 1.0.

These logs hold points, and sentences with numbers, but not all fields of events. So this module does not restore
events: it makes the curves and change points directly.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.naming import (
    EVALUATION_TAG,
    EXPOSURE_TAG,
    FRESH_TAG,
    LOSS_TAG,
    NOTES_TAG,
    REPEAT_TAG,
    Naming,
)
from paddle_epoch_guard.report.log_folders import LogFolder, part_of, trainer_files, trainer_series
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, Note, RunData, Series
from paddle_epoch_guard.resume.legacy_verdicts import CHANGE_NAME, change_of, is_verdict, report_of
from paddle_epoch_guard.views.logfile import LogFile

_NAMING, _TRAINER_NAMING = Naming(), Naming(trainer=True)
_EPOCH = re.compile(r"(trainer_)?epoch_(\d{1,9})")


def read_legacy(folders: Sequence[LogFolder], logging_dir: Path, output_dir: Path | None) -> RunData:
    """Reads a run from VisualDL's files alone.

    Args:
        folders: its log folders, oldest first.
        logging_dir: the newest of them.
        output_dir: the folder with its checkpoints.
    """
    faults = [f"{file.path}: {file.fault}" for folder in folders for file in folder.files if file.fault]
    logs = _GuardLogs(folders)
    files = trainer_files(folders)
    # The guard logs these curves if the trainer does not write to VisualDL.
    loss, evaluation = (
        trainer_series(files, tag).completed_by(logs.series(".", tag)) for tag in (LOSS_TAG, EVALUATION_TAG)
    )
    notes = [Note(step, text) for file in logs.of(".") for step, text in file.texts.get(NOTES_TAG, ())]
    if not logs.by_folder:
        faults.append(tr("{path}: the guard has written nothing here", path=logging_dir / "epoch_guard"))
    if not len(loss):
        faults.append(
            tr("The training loss is in no VisualDL log. The last log windows recorded in a checkpoint replace it")
        )
    run = RunData(
        logging_dir,
        output_dir,
        loss=loss,
        evaluation=evaluation,
        data_epoch=logs.series(".", _NAMING.epoch_tag, _TRAINER_NAMING.epoch_tag),
        exposure=logs.series(".", EXPOSURE_TAG),
        loss_fresh=logs.series(".", FRESH_TAG),
        loss_repeat=logs.series(".", REPEAT_TAG),
        notes=tuple(sorted(dict.fromkeys(notes), key=lambda note: note.step)),
        parts=tuple(part_of(file) for file in files),
        faults=tuple(faults),
    )
    changes = [change for change in map(logs.change, logs.by_folder) if change is not None]
    # Change points of a dropped part only: the run was resumed from an earlier step.
    stale = [change for change in changes if change.epochs and change.step > run.last_step]
    kept = sorted((change for change in changes if change not in stale), key=lambda change: (change.step, change.name))
    beyond = {change.dataset: change.epochs[0] for change in stale if change.epochs}
    epochs = [epoch for epoch in logs.epochs() if epoch.epoch <= beyond.get(epoch.dataset, epoch.epoch)]
    return replace(run, cuts=tuple(kept), epochs=tuple(epochs))


class _GuardLogs:
    """The guard's log files of a run, by folder below ``epoch_guard``."""

    def __init__(self, folders: Sequence[LogFolder]) -> None:
        self.by_folder: dict[str, list[LogFile]] = {}
        for folder in folders:
            for name, file in folder.guard.items():
                self.by_folder.setdefault(name, []).append(file)

    def of(self, folder: str) -> list[LogFile]:
        return self.by_folder.get(folder, [])

    def series(self, folder: str, *tags: str) -> Series:
        """The series of the first tag that has points."""
        for tag in tags:
            points = [point for file in self.of(folder) for point in file.scalars.get(tag, ())]
            if points:
                return Series.of(points)
        return Series()

    def epochs(self) -> list[EpochSummary]:
        epochs: dict[tuple[bool, str, int], EpochSummary] = {}
        for folder in self.by_folder:
            dataset, _, last = folder.rpartition("/")
            if (match := _EPOCH.fullmatch(last)) and "/" not in dataset:
                naming = _TRAINER_NAMING if match[1] else _NAMING
                curve = self.series(folder, naming.loss_by_epoch_tag)
                epoch = int(match[2])
                epochs[naming.trainer, dataset, epoch] = EpochSummary(dataset, epoch, naming.trainer, curve)
        for folder in self.by_folder:
            for naming in (_NAMING, _TRAINER_NAMING):
                dataset = "" if folder == "." else folder
                means = self.series(folder, naming.epoch_loss_tag)
                for epoch, mean in zip(means.steps.tolist(), means.values.tolist(), strict=True):
                    key = naming.trainer, dataset, epoch
                    epochs[key] = replace(
                        epochs.get(key, EpochSummary(dataset, epoch, naming.trainer)), mean_loss=mean
                    )
        return [epochs[key] for key in sorted(epochs)]

    def change(self, folder: str) -> ChangeSummary | None:
        dataset, _, last = folder.rpartition("/")
        match = CHANGE_NAME.fullmatch(last)
        if match is None or "/" in dataset:
            return None
        texts = [point for file in self.of(folder) for point in file.texts.get(f"epoch_guard/{last}", ())]
        steps = [step for step, _ in texts] or [
            step for file in self.of(folder) for step, _ in file.scalars.get(LOSS_TAG, ())
        ]
        step = steps[-1] if steps else int(match[4] or 0)
        if not step:
            return None
        epochs = None if match[4] else (int(match[2]), int(match[3]))
        sentences = dict.fromkeys(text for at, text in texts if at == step)
        verdicts = [text for text in sentences if is_verdict(text)]
        reached = tuple(text for text in sentences if text not in verdicts)
        summary = ChangeSummary(change_of(folder, step), dataset, epochs, match[1] is not None, reached)
        if not verdicts:
            return summary
        report = report_of(verdicts[-1], summary.change)
        return replace(summary, report=report, verdict_sentence=verdicts[-1])


def folders_of_datasets(run: RunData, names: Sequence[str]) -> tuple[str, ...]:
    """The folder of each of the sidecar's datasets; empty if they are unknown.

    A sidecar numbers datasets, and a VisualDL log names them: they are matched by the mean losses of their epochs.

    Args:
        run: a run with a sidecar.
        names: of the datasets, in the sidecar's order, if they are known.
    """
    assert run.sidecar is not None
    count = len(run.sidecar.datasets)
    if count < 2:
        return ("",)
    if len(names) == count:
        naming = Naming(tuple(names))
        return tuple(naming.dataset_directory(at) for at in range(count))
    logged = {(epoch.dataset, epoch.epoch): epoch.mean_loss for epoch in run.epochs if epoch.mean_loss is not None}
    folders: list[str] = []
    for at in range(count):
        means = {total.epoch: total.loss.mean for total in run.sidecar.epoch_losses if total.dataset == at}
        fitting = [
            folder
            for folder in run.datasets
            if (both := [(logged[folder, epoch], means[epoch]) for epoch in means if (folder, epoch) in logged])
            and all(math.isclose(*pair, rel_tol=1e-6) for pair in both)
        ]
        folders += fitting if len(fitting) == 1 else []
    return tuple(folders) if len(set(folders)) == count else ()
