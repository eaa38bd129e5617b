"""Reads a run, finished or running, from its logs and its newest checkpoint.

There are three sources. The record holds what happened, as events. The trainer's own VisualDL log holds the losses of
steps without the guard. The sidecar of a checkpoint holds order, schedule and data. One log is enough.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paddle_epoch_guard.errors import ReportError, SidecarError
from paddle_epoch_guard.record.naming import EVALUATION_TAG, LOSS_TAG, Naming
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.writer import RECORD_NAME, record_path
from paddle_epoch_guard.report.fold import fold
from paddle_epoch_guard.report.legacy import folders_of_datasets, read_legacy
from paddle_epoch_guard.report.log_folders import (
    LogFolder,
    folders_of,
    has_siblings,
    part_of,
    siblings_of,
    trainer_files,
    trainer_series,
)
from paddle_epoch_guard.report.run_data import EpochSummary, RunData, Series
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, read_sidecar
from paddle_epoch_guard.views.verdict_texts import verdict
from paddle_epoch_guard.views.visualdl import FILE_NAME

_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")


def read_run(
    logging_dir: str | Path,
    output_dir: str | Path | None = None,
    *,
    state: Sidecar | None = None,
    names: Sequence[str] = (),
) -> RunData:
    """Reads a run.

    Anything unreadable is left out, and listed in ``faults``.

    Args:
        logging_dir: the trainer's log folder.
        output_dir: the folder with its checkpoints.
        state: the state of the run at its end, if it is known; otherwise the newest state that fits the log, from the
            checkpoints or beside the guard's log.
        names: the names of a blend's datasets, in its order, if they are known.

    Raises:
        ReportError: there is no such folder, or no log in it.
    """
    logs, output = Path(logging_dir), None if output_dir is None else Path(output_dir)
    for folder, what in ((logs, "logging_dir"), (output, "output_dir")):
        if folder is not None and not folder.is_dir():
            raise ReportError(f"{folder}: no such folder. Name the run's {what}")
    record = RecordFile.open(record_path(logs))
    folders = folders_of(logs, output)
    if record.parts:
        run = _from_record(record, folders, logs, output)
    elif any(folder.trainer or folder.guard for folder in folders):
        run = read_legacy(folders, logs, output)
        run = replace(run, faults=(*record.faults, *run.faults))
    else:
        raise ReportError(
            f"{logs}: no VisualDL log in it, neither the trainer's (vdlrecords.*.log) nor the guard's "
            f"(epoch_guard/{FILE_NAME}), and no record (epoch_guard/{RECORD_NAME}). Name the folder that the run had "
            "as logging_dir"
        )
    run = _with_state(run, state) if state is not None else _with_sidecar(run)
    return _with_totals(run, names) if run.sidecar is not None else run


def find_logging_dir(output_dir: str | Path) -> Path:
    """The newest log folder below an output folder, the trainer's default place.

    Raises:
        ReportError: there is none.
    """
    output = Path(output_dir)
    if not output.is_dir():
        raise ReportError(f"{output}: no such folder. Name the run's output_dir")
    files = [*output.rglob(RECORD_NAME), *output.rglob("vdlrecords*.log")]
    # The trainer's own log comes first, because reports are written beside the guard's.
    files = sorted(files, key=lambda file: file.parent.name != "epoch_guard")
    newest: dict[Path, float] = {}
    for file in files:
        folder = file.parent.parent if file.parent.name == "epoch_guard" else file.parent
        if "epoch_guard" not in folder.relative_to(output).parts:
            newest[folder] = file.stat().st_mtime
    if not newest:
        raise ReportError(f"{output}: no VisualDL log below it. Name the folder that the run had as logging_dir")
    return max(newest, key=lambda folder: newest[folder])


def _from_record(record: RecordFile, folders: Sequence[LogFolder], logs: Path, output: Path | None) -> RunData:
    """The run from its record; steps without the guard come from the trainer's log."""
    beside = siblings_of(logs) if has_siblings(logs, output) else []
    others = [other for other in map(RecordFile.open, map(record_path, beside)) if other.parts]
    run = fold(record, others, logs, output)
    files = trainer_files(folders)
    runs = {part.run for part in record.parts}
    of_run = [record, *(other for other in others if any(part.run in runs for part in other.parts))]
    faults = [fault for each in of_run for fault in each.faults]
    faults += [f"{file.path}: {file.fault}" for file in files if file.fault]
    first = run.parts[0].first_logged
    before = [part for part in map(part_of, files) if part.last_logged and (first is None or part.last_logged < first)]
    return replace(
        run,
        loss=run.loss.completed_by(trainer_series(files, LOSS_TAG)),
        evaluation=run.evaluation.completed_by(trainer_series(files, EVALUATION_TAG)),
        parts=(*before, *run.parts),
        faults=tuple(faults),
    )


def _with_state(run: RunData, state: Sidecar, path: Path | None = None) -> RunData:
    """Adds the contents of a sidecar to the run."""
    naming = Naming(trainer=any(change.trainer for change in run.cuts))
    reports = {report.change.name: report for report in state.verdicts}
    cuts = tuple(
        replace(change, report=reports[change.name], verdict_sentence=verdict(reports[change.name], naming))
        if not change.verdict and change.name in reports
        else change
        for change in run.cuts
    )
    loss = run.loss if len(run.loss) else Series.of((window.last_step, window.loss) for window in state.windows)
    evaluation = run.evaluation if len(run.evaluation) else Series.of(state.evaluations)
    contrast = run.contrast if run.contrast.strata else state.contrast
    return replace(
        run, cuts=cuts, loss=loss, evaluation=evaluation, contrast=contrast, sidecar=state, sidecar_path=path
    )


def _with_sidecar(run: RunData) -> RunData:
    """Adds the newest sidecar to the run: that of a checkpoint, or the one written at the end of the run."""
    faults = list(run.faults)
    for step, folder in _sidecar_folders(run, faults):
        if run.last_step and step > run.last_step:
            faults.append(f"{folder}: left out: it lies beyond the last step that was logged, {run.last_step}")
            continue
        try:
            sidecar = read_sidecar(folder, step)
        except SidecarError as cause:
            faults.append(f"left out: {cause}")
            continue
        if sidecar is None:
            continue
        if not _agrees(run.loss, sidecar):
            faults.append(f"{folder / SIDECAR_NAME}: left out: its losses are not those of the log")
            continue
        return replace(_with_state(run, sidecar, folder / SIDECAR_NAME), faults=tuple(faults))
    return replace(run, faults=tuple(faults))


def _sidecar_folders(run: RunData, faults: list[str]) -> list[tuple[int, Path]]:
    """Steps and folders of possible sidecars, the newest first."""
    candidates = []
    kept = run.logging_dir / "epoch_guard"
    try:
        sidecar = read_sidecar(kept, None)
        candidates += [] if sidecar is None else [(sidecar.step, kept)]
    except SidecarError as cause:
        faults.append(f"left out: {cause}")
    for folder in run.output_dir.glob("checkpoint-*") if run.output_dir is not None else ():
        if (match := _CHECKPOINT.fullmatch(folder.name)) and (folder / SIDECAR_NAME).exists():
            candidates.append((int(match[1]), folder))
    return sorted(candidates, key=lambda candidate: (-candidate[0], candidate[1] != kept))


def _agrees(loss: Series, sidecar: Sidecar) -> bool:
    """Whether a sidecar's losses match the log: the folder may hold another run's sidecar."""
    pairs = [(window.loss, loss.at(window.last_step)) for window in sidecar.windows]
    return all(
        math.isclose(remembered, logged, rel_tol=1e-4, abs_tol=1e-6)
        for remembered, logged in pairs
        if logged is not None
    )


def _with_totals(run: RunData, names: Sequence[str]) -> RunData:
    """Adds the sidecar's totals for epochs whose totals the log does not hold."""
    assert run.sidecar is not None
    folders = run.folders or folders_of_datasets(run, names)
    epochs = {(epoch.dataset, epoch.epoch): epoch for epoch in run.epochs if not epoch.trainer}
    totals_step = None
    for total in run.sidecar.epoch_losses if folders else ():
        if total.dataset >= len(folders):
            continue
        key = folders[total.dataset], total.epoch
        epoch = epochs.get(key, EpochSummary(*key))
        if epoch.total is None:
            totals_step = run.sidecar.step
            mean = epoch.mean_loss
            if mean is None and total.loss.weight > 0:
                mean = total.loss.mean
            epochs[key] = replace(epoch, total=total, mean_loss=mean)
    others = [epoch for epoch in run.epochs if epoch.trainer]
    ordered = *(epochs[key] for key in sorted(epochs)), *others
    return replace(run, epochs=ordered, folders=folders, totals_step=totals_step)
