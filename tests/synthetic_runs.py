"""Runs as the trainer and the guard log them, made up in a moment: no training."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from visualdl import LogWriter

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, EpochKey, EpochLedger, Weighted, WindowLosses
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.recorder import Recorder, Remembered
from paddle_epoch_guard.report.log_folders import parsed_arguments
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData, Series
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, IndexRecord, Sidecar
from paddle_epoch_guard.resume.sidecar import VERSION
from paddle_epoch_guard.statistics.verdicts import ChangeReport
from paddle_epoch_guard.views.visualdl import EpochGuardLog
from recording import began as began_event
from recording import recorder

BATCH = 4


@dataclass
class Plan:
    """Data epochs shuffled separately, each of so many steps; of one dataset, or of several that are drawn in turn."""

    steps_in_epoch: tuple[int, ...] = (100,)
    """Of each dataset."""
    names: tuple[str, ...] = ("text",)

    def counts(self, first_step, last_step):
        found = {}
        for step in range(first_step, last_step + 1):
            for dataset, length in enumerate(self.steps_in_epoch):
                key = EpochKey(dataset, (step - 1) // length + 1)
                found[key] = found.get(key, 0) + BATCH
        return found

    def of_steps(self, first_step, last_step, dataset=None):
        return Estimate(float(np.mean([(first_step - 1) // length for length in self.steps_in_epoch])), 0.0, 100)

    def crossings(self, after, upto):
        found = [
            BoundaryStep(step, (step - 1) // length, dataset, (step - 1) * BATCH)
            for dataset, length in enumerate(self.steps_in_epoch)
            for step in range(length + 1, upto + 1, length)
            if step > after
        ]
        return sorted(found, key=lambda one: one.step)


@dataclass
class Run:
    """A run that writes as it goes."""

    folder: Path
    plan: Plan = field(default_factory=Plan)
    cliff: float = -1.0
    seed: int = 0
    trainer: bool = True
    """Whether the trainer has a VisualDL log too."""
    recorder: Recorder | None = None
    """Of the latest part."""
    run_id: str = "a" * 32
    last_part: str = ""
    """Names the latest part."""

    keeps_record = True  # of all runs: else the guard's VisualDL log is all there is, as before there was a record

    def train(
        self, first, last, *, began=1, evaluate=10, arguments=None, reorder=None, naming=None, note=None, findings=()
    ):
        """One part of the run, whose trainer's log file is named after the second in which it ``began``."""
        random = np.random.default_rng([self.seed, began])
        naming = naming or Naming(self.plan.names)
        after, self.last_part = self.last_part if first > 1 else "", f"{began:08x}{self.seed:024x}"
        names = {"run": self.run_id, "part": self.last_part, "after": after}
        part = began_event(
            first - 1, naming=naming, time=began, **names, arguments=plain(arguments), findings=tuple(findings)
        )  # fmt: skip
        if not self.keeps_record:
            part = None
            if first == 1:
                EpochGuardLog(self.folder).set_aside()
        before = self.recorder
        self.recorder = recorder(self.folder, EpochLedger(self.plan, first - 1), naming, part=part)
        if before is not None:
            windows = tuple(window for window in before.watch.windows if window.last_step < first)
            evaluations = tuple(point for point in before.watch.evaluations if point[0] < first)
            self.recorder.go_on(Remembered((), windows, evaluations, (), before.watch.loss_range))
        self.recorder.exposure = self.plan
        self.recorder.expect(self.plan.crossings(first - 1, last) if reorder is None else ())
        if note is not None:
            self.recorder.note(Message("text", {"text": note}), first - 1)
        if reorder is not None:
            self.recorder.begin_reorder(reorder, first, self.plan.crossings(first - 1, last))
        own = LogWriter(logdir=str(self.folder), file_name=f"vdlrecords.{began:010d}.log") if self.trainer else None
        if own is not None and arguments is not None:
            own.add_text("args", arguments)
        self.losses = {}
        for step in range(first, last + 1):
            epoch = (step - 1) // self.plan.steps_in_epoch[0]
            loss = float(4 + 2 * np.exp(-step / 50) + self.cliff * (epoch > 0) + 0.05 * random.standard_normal())
            self.losses[step] = loss
            evaluation = float(4.1 + 2 * np.exp(-step / 50) + 0.005 * random.standard_normal())
            if own is not None:
                own.add_scalar("train/loss", loss, step)
                own.add_scalar("train/learning_rate", 1e-3, step)
            by_epoch = {key: Weighted(n, n * loss) for key, n in self.plan.counts(step, step).items()}
            whole = Weighted(BATCH, BATCH * loss)
            none = Weighted()
            losses = WindowLosses(by_epoch, *((none, whole) if epoch else (whole, none)))
            self.recorder.record(step, loss, losses)
            if evaluate and step % evaluate == 0:
                if own is not None:
                    own.add_scalar("eval/loss", evaluation, step)
                self.recorder.evaluate(step, evaluation)
        self.recorder.finish(last, complete=True)
        if own is not None:
            own.close()
        return self

    def sidecar(self, step, **changes):
        """What a checkpoint at ``step`` remembers, if the last part of the run got there."""
        watch, ledger = self.recorder.watch, self.recorder.ledger
        values = {
            "version": VERSION,
            "run": self.run_id,
            "part": self.last_part,
            "step": step,
            "position": step * BATCH,
            "planned": 400 * BATCH,
            "max_steps": 400,
            "reorders": (Reorder(100 * BATCH, 400 * BATCH, "ramp", (7, 1, 0), 200 * BATCH),),
            "schedule": Schedule((Segment(1, 0, BATCH, 1, 1, 500 * BATCH), Segment(101, 400, 1, 2, 2, 500 * BATCH))),
            "datasets": tuple(
                DatasetRecord("train", 32, "95,5,0", 12_345 + at, f"c{at}" * 8, (IndexRecord(1600, 7, "d" * 16),))
                for at in range(len(self.plan.names))
            ),
            "blend": BlendRecord("[0.5 0.5]", 1600, "e" * 16) if len(self.plan.names) > 1 else None,
            "epoch_losses": tuple(total for _, total in sorted(ledger.totals.items())),
            "windows": tuple(window for window in watch.windows if window.last_step <= step),
            "evaluations": tuple(watch.evaluations),
            "verdicts": tuple(watch.verdicts.values()),
            "loss_range": watch.loss_range,
            "boundaries": tuple(self.recorder.reached),
        }
        return Sidecar(**{**values, **changes})


def plain(arguments):
    """The trainer's arguments out of the text that it logs."""
    return parsed_arguments(arguments) if arguments is not None else {}


def summarized(name, step, epochs, verdict="", reason="no_evaluation", jump=None):
    """A change point as it is read back."""
    change = ChangePoint(name, step, step - 1, step)
    report = ChangeReport(change, verdict, reason, jump) if verdict else None
    return ChangeSummary(change, "", epochs, report=report)


def long_run(steps=100_000, epochs=12):
    """A run of so many steps as it is read, without its log, which takes minutes to write."""
    random = np.random.default_rng(0)
    at = np.arange(1, steps + 1)
    epoch = (at - 1) * epochs // steps
    loss = Series(at, 3 + 8 * np.exp(-at / 20_000) - 0.2 * epoch + 0.1 * random.standard_normal(steps))
    firsts = [int(at[epoch == one][0]) for one in range(1, epochs)]
    return RunData(
        Path("logs"),
        None,
        loss=loss,
        evaluation=Series(at[::50], loss.values[::50]),
        data_epoch=Series(at, epoch + 1.0),
        exposure=Series(at, epoch.astype(float)),
        loss_fresh=Series(at[epoch == 0], loss.values[epoch == 0]),
        loss_repeat=Series(at[epoch > 0], loss.values[epoch > 0]),
        epochs=tuple(
            EpochSummary("", one + 1, loss=Series(np.arange(1, (epoch == one).sum() + 1), loss.values[epoch == one]))
            for one in range(epochs)
        ),
        cuts=tuple(
            summarized(f"boundary_{epoch}_to_{epoch + 1}", first, (epoch, epoch + 1), "artefact")
            for epoch, first in enumerate(firsts, start=1)
        ),
    )
