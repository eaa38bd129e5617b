"""The first rank's records: opened where an earlier part of the run left them, and left for the next one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from paddle_epoch_guard import host
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, EpochSampledIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.index.equal_corpora import EqualCorpora, texts_of
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import (
    BoundaryStep,
    ChangePoint,
    EpochKey,
    EpochLedger,
    IndexEpochs,
    boundary_steps_of,
    ended_epochs,
)
from paddle_epoch_guard.reading import UnknownReading
from paddle_epoch_guard.record.events import VERSION as RECORD_VERSION
from paddle_epoch_guard.record.events import Message, PartBegan
from paddle_epoch_guard.record.provenance import package_versions, shown_arguments
from paddle_epoch_guard.record.recorder import Recorder, Remembered, View
from paddle_epoch_guard.record.writer import RecordWriter
from paddle_epoch_guard.resume import Sidecar
from paddle_epoch_guard.session.keeping import Keeps
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.views.charts import ChartView
from paddle_epoch_guard.views.console import ConsoleView
from paddle_epoch_guard.views.sinks import open_sinks
from paddle_epoch_guard.views.visualdl import EpochGuardLog


def open_recorder(
    plan: RunPlan,
    args: host.TrainingArguments,
    state: host.TrainerState,
    keeps: Keeps = "all",
    listener: View | None = None,
) -> tuple[Recorder, bool]:
    """The records of a run, with what its checkpoint remembers; they tell that this part begins.

    And whether another thread than the training's may record: no logger minds.

    Args:
        plan: what the run will draw.
        args: the trainer's arguments.
        state: the trainer's state.
        keeps: what of them goes to disk; the loggers that the trainer reports to get what ``all`` means.
        listener: gets each event after the others.

    Raises:
        OSError: the folder cannot be written.
    """
    sidecar, step = plan.past.sidecar, state.global_step
    ledger = _ledger_of(plan, step)
    remembered = _remembered(plan, step)
    names = host.loggers(args.report_to)
    loss_range = None if sidecar is None else sidecar.loss_range
    sinks = open_sinks(names, args.logging_dir, plan.naming, host.warn, step, loss_range)
    views: list[View] = []
    if keeps != "nothing":
        views.append(RecordWriter(args.logging_dir, plan.identity.part, begins_anew=step == 0))
    if keeps == "all":
        log = EpochGuardLog(args.logging_dir, sinks)
        views += _views(plan, log, step, remembered, keeps_curves="visualdl" not in names)
    else:
        views.append(_console(plan, remembered))
    if listener is not None:
        views.append(listener)
    reached = () if sidecar is None else sidecar.boundaries
    recorder = Recorder(
        ledger, views, plan.naming, reached, _sequence_length(plan), plan.is_whole or plan.schedule is None
    )
    recorder.expect(plan.boundaries)
    recorder.emit(_part_began(plan, args, state))
    if remembered is not None:
        recorder.go_on(remembered)
    if step > 0 and not ledger.totals:
        recorder.begin_in_the_middle()
    return recorder, sinks.in_background


def _ledger_of(plan: RunPlan, step: int) -> EpochLedger:
    ledger, sidecar = EpochLedger(plan.source, step), plan.past.sidecar
    if sidecar is not None:
        for total in sidecar.epoch_losses:
            ledger.totals[EpochKey(total.dataset, total.epoch)] = total.copy()
        ledger.fresh.add(sidecar.fresh)
        ledger.repeat.add(sidecar.repeat)
        ledger.contrast = sidecar.contrast
    if isinstance(plan.source, IndexEpochs) and plan.segment is not None:
        for dataset, epoch in ended_epochs(plan.source, plan.segment.start).items():
            ledger.end_epochs(dataset, epoch)
    return ledger


def _remembered(plan: RunPlan, step: int) -> Remembered | None:
    """What the checkpoint remembers; None if there is none, or positions are unknown."""
    sidecar = plan.past.sidecar
    if sidecar is None or not isinstance(plan.source, IndexEpochs):
        return None
    behind = tuple(boundary for boundary in boundary_steps_of(plan.source) if boundary.step <= step)
    return Remembered(
        behind,
        sidecar.windows,
        sidecar.evaluations,
        sidecar.verdicts,
        sidecar.loss_range,
        sidecar.intervals,
        sidecar.open_interval,
    )


def _views(
    plan: RunPlan, log: EpochGuardLog, step: int, remembered: Remembered | None, keeps_curves: bool
) -> list[View]:
    loss_range = None if plan.past.sidecar is None else plan.past.sidecar.loss_range
    if step == 0:
        log.set_aside()  # of another run in the same folder
    drawn = () if remembered is None else (_change_at(plan, boundary) for boundary in remembered.behind)
    console = _console(plan, remembered, log.exists)
    charts = ChartView(log, plan.naming, keeps_curves, drawn, loss_range)
    return [console, charts]  # the console first: it says what the charts have not marked yet


def _console(
    plan: RunPlan, remembered: Remembered | None, is_marked: Callable[[str], bool] = lambda name: False
) -> ConsoleView:
    verdicts = () if remembered is None else remembered.verdicts
    return ConsoleView(plan.naming, host.say, host.warn, verdicts, is_marked)


def _change_at(plan: RunPlan, boundary: BoundaryStep) -> ChangePoint:
    return ChangePoint.at(boundary, plan.naming.boundary_directory(boundary))


def _sequence_length(plan: RunPlan) -> int | None:
    lengths = {dataset.seq_length for dataset in plan.drawn.datasets}
    return lengths.pop() if len(lengths) == 1 else None


def _part_began(plan: RunPlan, args: host.TrainingArguments, state: host.TrainerState) -> PartBegan:
    return PartBegan(
        version=RECORD_VERSION,
        run=plan.identity.run,
        part=plan.identity.part,
        step=state.global_step,
        time=time.time(),
        max_steps=state.max_steps,
        after="" if plan.past.sidecar is None else plan.past.sidecar.part,
        epochs_of="trainer" if plan.naming.trainer else "data",
        datasets=plan.naming.datasets,
        data_epochs=() if plan.index is None or plan.schedule is None else plan.index.epochs,
        has_index=plan.index is not None,
        boundaries=plan.boundaries,
        arguments=shown_arguments(args),
        versions=package_versions(),
        findings=plan.past.findings,
        state=None if plan.schedule is None else plan.order,
        texts=_texts_of(plan),
    )


def _first_indices(index: SampleIndex) -> list[GPTIndex]:
    """The index of each dataset with which the run was planned."""
    inner = index.inner if isinstance(index, EpochSampledIndex) else index
    datasets = inner.datasets if isinstance(inner, BlendIndex) else (inner,)
    firsts = [dataset.indices[0] if isinstance(dataset, ConcatenatedIndex) else dataset for dataset in datasets]
    return [first for first in firsts if isinstance(first, GPTIndex)]


def _texts_of(plan: RunPlan) -> tuple[str, ...]:
    """What tells the texts of the run's corpora apart; empty if that cannot be found out."""
    if plan.index is not None:
        with host.told_if_it_fails(tr("compare will not know whether another run has the same text")):
            return texts_of([each.description.prefix for each in _first_indices(plan.index)])
    return ()


def start_messages(plan: RunPlan, max_steps: int) -> list[Message]:
    """What a user should know before the first step."""
    loader, schedule = plan.loader, plan.schedule
    warnings = []
    if plan.index is not None and plan.sampling is not None and plan.sampling.shuffled:
        warnings.append(Message("shuffled_again", {"sampler": loader.sampler}))
    if plan.index is not None and schedule is None:
        why = loader.reading.reason if isinstance(loader.reading, UnknownReading) else ""
        warnings.append(Message("sampler_unknown", {"sampler": loader.sampler, "why": why}))
    warnings += _grouping_messages(plan)
    if plan.past.is_of_state:
        warnings.append(Message("order_of_state", {"step": plan.identity.step}))
    if schedule is not None:
        segment = schedule.segments[-1]
        last = segment.first_step + segment.steps - 1
        if last < max_steps:
            parameters = {"last": last, "max_steps": max_steps, "start": segment.start, "stop": segment.stop}
            warnings.append(Message("will_run_dry", {**parameters, "global_batch": segment.global_batch}))
    return warnings


def _grouping_messages(plan: RunPlan) -> list[Message]:
    """The datasets whose index was built with another threshold than the hosts'."""
    if plan.index is None:
        return []
    return [
        Message("grouped_apart" if index.layout.separated else "grouped_together", {"dataset": index.names[0]})
        for index in _first_indices(plan.index)
        if not index.layout.follows_rule
    ]


def corpus_messages(corpora: EqualCorpora, names: Sequence[str]) -> list[Message]:
    """What a user should know of the corpora that exposure counts as one, and of those that may be one.

    Args:
        corpora: which datasets have the same corpus.
        names: of the datasets.
    """
    told = [("same_corpus", group) for group in corpora.groups] + [("same_sizes", pair) for pair in corpora.unsure]
    return [Message(code, {"names": [names[number] for number in numbers]}) for code, numbers in told]


def sidecar_of(plan: RunPlan, recorder: Recorder | None, state: host.TrainerState) -> Sidecar:
    """What a checkpoint is to remember.

    Args:
        plan: one whose positions are known.
        recorder: None if tracking was switched off; the order is remembered all the same.
        state: the trainer's.
    """
    order = plan.order.at_step(state.global_step)
    if recorder is None:
        return order
    ledger, watch = recorder.ledger, recorder.watch
    return replace(
        order,
        epoch_losses=tuple(total for _, total in sorted(ledger.totals.items())),
        fresh=ledger.fresh,
        repeat=ledger.repeat,
        contrast=ledger.contrast,
        windows=tuple(watch.windows),
        evaluations=tuple(watch.evaluations),
        intervals=tuple(watch.intervals),
        open_interval=watch.open_interval,
        verdicts=tuple(watch.verdicts.values()),
        loss_range=watch.loss_range,
        boundaries=tuple(recorder.reached),
    )
