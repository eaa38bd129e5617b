"""Reads a run, finished or running, from its logs and its newest checkpoint.

There are three sources. The record holds what happened, as events. The trainer's own VisualDL log holds the losses of
steps without the guard. The sidecar of a checkpoint holds order, schedule and data. One log is enough.
"""

import contextlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from paddle_epoch_guard.errors import ReportError, SidecarError
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.naming import EVALUATION_TAG, LOSS_TAG, Naming
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.record.run_file import read_run_file
from paddle_epoch_guard.record.writer import PART_DIGITS, RECORD_NAME, record_path
from paddle_epoch_guard.report.fold import fold
from paddle_epoch_guard.report.legacy import folders_of_datasets, read_legacy
from paddle_epoch_guard.report.log_folders import (
    LogFolder,
    folders_beside,
    folders_of,
    part_of,
    trainer_files,
    trainer_series,
)
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData, Series
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, read_sidecar
from paddle_epoch_guard.terminal import joined
from paddle_epoch_guard.views.verdict_texts import verdict
from paddle_epoch_guard.views.visualdl import FILE_NAME

_LISTED = 5  # folders, in a message

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
        ReportError: there is no such folder, or no log in it; or the log is of another run than the checkpoints.
    """
    logs, output = Path(logging_dir), None if output_dir is None else Path(output_dir)
    for folder, what in ((logs, "logging_dir"), (output, "output_dir")):
        if folder is not None and not folder.is_dir():
            raise ReportError(tr("{folder}: no such folder. Name the run's {what}", folder=folder, what=what))
    record = RecordFile.open(record_path(logs))
    folders = folders_of(logs, output)
    if record.parts:
        others = [
            other for other in map(RecordFile.open, map(record_path, folders_beside(logs, output))) if other.parts
        ]
        if output is not None and state is None:
            _refuse_another_run([record, *others], logs, output)
        run = _from_record(record, others, folders, output)
    elif any(folder.trainer or folder.guard for folder in folders):
        run = read_legacy(folders, logs, output)
        run = replace(run, faults=(*record.faults, *run.faults))
    else:
        raise ReportError(
            tr(
                "{logs}: no VisualDL log in it, neither the trainer's (vdlrecords.*.log) nor the guard's "
                "(epoch_guard/{file}), and no record (epoch_guard/{record}). Name the folder that the run had as "
                "logging_dir",
                logs=logs,
                file=FILE_NAME,
                record=RECORD_NAME,
            )
        )
    run = _with_state(run, state) if state is not None else _with_sidecar(run)
    return _with_spans(_with_totals(run, names) if run.sidecar is not None else run)


def find_logging_dir(output_dir: str | Path) -> Path:
    """The newest log folder of the run in an output folder: below it, or where the run has noted that its logs lie.

    A log folder is found in itself.

    Raises:
        ReportError: there is none.
    """
    output = Path(output_dir)
    if not output.is_dir():
        raise ReportError(tr("{folder}: no such folder. Name the run's {what}", folder=output, what="output_dir"))
    files = [*output.rglob(RECORD_NAME), *output.rglob("vdlrecords*.log")]
    folders = {file.parent.parent if file.parent.name == "epoch_guard" else file.parent for file in files}
    folders = {folder for folder in folders if "epoch_guard" not in folder.relative_to(output).parts}
    noted = read_run_file(output)
    if noted is not None:
        folders |= {folder for folder in noted.folders(output) if _holds_run(folder, noted.run)}
    else:
        _refuse_several_runs(output, folders)
    if not folders:
        if noted is None or not noted.parts:
            raise ReportError(
                tr(
                    "{output}: no VisualDL log below it. Name the folder of the run's logs as logging_dir",
                    output=output,
                )
            )
        raise ReportError(
            tr(
                "{output}: no VisualDL log below it and none in {logs}, where it was. Name the folder of the run's "
                "logs as logging_dir",
                output=output,
                logs=noted.parts[-1].logging_dir,
            )
        )
    return max(sorted(folders), key=_written)


def _refuse_several_runs(output: Path, folders: Iterable[Path]) -> None:
    """Refuses a folder above the logs of several runs: which one is meant must not be guessed.

    Raises:
        ReportError: it is one.
    """
    newest: dict[str, Path] = {}
    for folder in sorted(folders, key=_written):
        parts = RecordFile.open(record_path(folder)).parts
        if parts:
            newest[parts[-1].run] = folder
    if len(newest) > 1:
        shown = joined([str(folder) for folder in sorted(newest.values())][:_LISTED])
        raise ReportError(
            tr(
                "{output}: holds the logs of {n} runs; expected one. Name a folder of one run, such as {folders}",
                output=output,
                n=len(newest),
                folders=shown,
            )
        )


def _written(logs: Path) -> float:
    """When a log was last written to: the trainer's own if there is one, because reports change the guard's."""
    files = [*logs.glob("vdlrecords*.log")] or [record_path(logs), *(logs / "epoch_guard").glob("vdlrecords*.log")]
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _holds_run(logs: Path, run: str) -> bool:
    return any(part.run == run for part in RecordFile.open(record_path(logs)).parts)


def _refuse_another_run(records: Sequence[RecordFile], logs: Path, output: Path) -> None:
    """Refuses an output folder in which nothing is of the run in the records.

    Raises:
        ReportError: it holds checkpoints of another run, or of other parts of the run only.
    """
    noted = read_run_file(output)
    found = set() if noted is None else {(noted.run, part.part[:PART_DIGITS]) for part in noted.parts}
    for folder in output.glob("checkpoint-*"):
        with contextlib.suppress(SidecarError):  # reported where it is left out
            sidecar = read_sidecar(folder, None)
            found |= set() if sidecar is None else {(sidecar.run, sidecar.part[:PART_DIGITS])}
    runs, own = sorted({run for run, _ in found}), records[0].parts[-1].run
    of_run = [record for record in records if any(part.run == own for part in record.parts)]
    if not found or any((own, digits) in found for record in of_run for digits in record.part_digits):
        return
    what = (
        tr("{output} holds parts of it of which this log tells nothing", output=output)
        if own in runs
        else tr("{output} holds another run, {runs}", output=output, runs=joined(runs))
    )
    if noted is None or not noted.parts:
        raise ReportError(
            tr(
                "{logs}: the log of run {own}, but {what}. Name the log folder of what {output} holds as logging_dir, "
                "or name {logs} alone",
                logs=logs,
                own=own,
                what=what,
                output=output,
            )
        )
    raise ReportError(
        tr(
            "{logs}: the log of run {own}, but {what}. Name the log folder of what {output} holds as logging_dir (it "
            "was {place}), or name {logs} alone",
            logs=logs,
            own=own,
            what=what,
            output=output,
            place=noted.parts[-1].logging_dir,
        )
    )


def _from_record(
    record: RecordFile, others: Sequence[RecordFile], folders: Sequence[LogFolder], output: Path | None
) -> RunData:
    """The run from its record; steps without the guard come from the trainer's log."""
    run = fold(record, others, folders[-1].path, output)
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
            faults.append(
                tr(
                    "{folder}: left out: it lies beyond the last step that was logged, {step}",
                    folder=folder,
                    step=run.last_step,
                )
            )
            continue
        try:
            sidecar = read_sidecar(folder, step)
        except SidecarError as cause:
            faults.append(tr("left out: {cause}", cause=cause))
            continue
        if sidecar is None:
            continue
        if run.run and sidecar.run != run.run:
            faults.append(
                tr("{path}: left out: it is of another run, {run}", path=folder / SIDECAR_NAME, run=sidecar.run)
            )
            continue
        if not _agrees(run.loss, sidecar):
            faults.append(tr("{path}: left out: its losses are not those of the log", path=folder / SIDECAR_NAME))
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
        faults.append(tr("left out: {cause}", cause=cause))
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


def _with_spans(run: RunData) -> RunData:
    """Ends each epoch at its boundary.

    One sample crosses a boundary and may be drawn at any later step. It counts in its epoch's samples and mean.
    """
    return replace(run, epochs=tuple(_spanned(epoch, run.cuts) for epoch in run.epochs))


def _spanned(epoch: EpochSummary, changes: Sequence[ChangeSummary]) -> EpochSummary:
    ends = [
        change.change.first_after - 1
        for change in changes
        if change.epochs is not None
        and (change.dataset, change.trainer) == (epoch.dataset, epoch.trainer)
        and change.epochs[0] >= epoch.epoch
    ]
    total = epoch.total
    if total is None or not ends or min(ends) >= total.last_step:
        return epoch
    return replace(epoch, total=replace(total, last_step=max(min(ends), total.first_step)))
