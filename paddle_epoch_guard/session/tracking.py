"""The first rank's records: opened where an earlier part of the run left them, and left for the next one."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.ledger import (
    EpochKey,
    EpochLedger,
    EpochTotal,
    IndexEpochs,
    LossWindow,
    boundary_steps_of,
    ended_epochs,
)
from paddle_epoch_guard.report import EpochGuardLog, EpochRecorder
from paddle_epoch_guard.report.loggers import open_sinks
from paddle_epoch_guard.resume import EpochLoss, Sidecar, Window
from paddle_epoch_guard.resume.sidecar import VERSION
from paddle_epoch_guard.session.run_plan import RunPlan


def open_recorder(
    plan: RunPlan, logging_dir: str, step: int, report_to: str | Iterable[str] | None = None
) -> EpochRecorder:
    """The records of a run, with what its checkpoint remembers.

    Args:
        plan: what the run will draw.
        logging_dir: the trainer's log folder.
        step: the last step done; 0 at a fresh start.
        report_to: the loggers that the trainer reports to: the guard writes there too.

    Raises:
        OSError: the folder cannot be written.
    """
    sidecar = plan.sidecar
    names = [report_to] if isinstance(report_to, str) else list(report_to or ())
    drawn = None if sidecar is None else sidecar.loss_range
    sinks = open_sinks(names, logging_dir, plan.words, host.logger.warning, step, drawn)
    log = EpochGuardLog(logging_dir, sinks)
    if step == 0:
        log.set_aside()  # of another run in the same folder
    ledger = EpochLedger(plan.source, step)
    if sidecar is not None:
        for one in sidecar.epoch_losses:
            total = EpochTotal(one.first_step, one.last_step, one.samples, one.loss)
            ledger.totals[EpochKey(one.dataset, one.epoch)] = total
        ledger.fresh.add(sidecar.fresh)
        ledger.repeat.add(sidecar.repeat)
    if isinstance(plan.source, IndexEpochs) and plan.segment is not None:
        for dataset, epoch in ended_epochs(plan.source, plan.segment.start).items():
            ledger.end_epochs(dataset, epoch)
    marked = () if sidecar is None else sidecar.boundaries
    recorder = EpochRecorder(ledger, log, plan.words, host.logger.info, marked, keeps_curves="visualdl" not in names)
    recorder.expect(plan.crossings)
    if sidecar is not None and isinstance(plan.source, IndexEpochs):
        behind = [one for one in boundary_steps_of(plan.source) if one.step <= step]
        windows = [
            LossWindow(one.first_step, one.last_step, one.loss, {EpochKey(0, 1): one.samples})
            for one in sidecar.windows
        ]
        recorder.go_on(behind, windows, sidecar.evaluations, sidecar.verdicts, sidecar.loss_range)
    elif step > 0:
        recorder.begin_in_the_middle()
    return recorder


def sidecar_of(plan: RunPlan, recorder: EpochRecorder | None, state: Any) -> Sidecar:
    """What a checkpoint is to remember.

    Args:
        plan: one whose positions are known.
        recorder: None where tracking was switched off; the order is remembered all the same.
        state: the trainer's.
    """
    assert plan.schedule is not None
    found = Sidecar(
        version=VERSION,
        run=plan.run,
        part=plan.part,
        step=state.global_step,
        position=plan.schedule.position_after(state.global_step),
        planned=plan.planned,
        max_steps=state.max_steps,
        reorders=plan.decision.reorders,
        schedule=plan.schedule,
        datasets=plan.datasets,
        blend=plan.blend,
        passes=plan.loader.passes,
        mismatches=plan.mismatches,
    )
    return found if recorder is None else _with_records(found, recorder)


def _with_records(sidecar: Sidecar, recorder: EpochRecorder) -> Sidecar:
    ledger, cuts = recorder.ledger, recorder.cuts
    return replace(
        sidecar,
        epoch_losses=tuple(
            EpochLoss(key.dataset, key.epoch, one.first_step, one.last_step, one.samples, one.loss)
            for key, one in sorted(ledger.totals.items())
        ),
        fresh=ledger.fresh,
        repeat=ledger.repeat,
        windows=tuple(Window(one.first_step, one.last_step, one.loss, one.samples) for one in cuts.windows),
        evaluations=tuple(cuts.evaluations),
        verdicts=tuple(cuts.verdicts.values()),
        loss_range=cuts.loss_range,
        boundaries=tuple(cuts.marked),
    )
