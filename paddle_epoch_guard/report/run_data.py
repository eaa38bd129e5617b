"""The data of a run: curves, epochs, change points, parts and notes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, Contrast, EpochLoss
from paddle_epoch_guard.resume import Finding, Sidecar
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.verdicts import ChangeReport, Counterfactual
from paddle_epoch_guard.views.verdict_texts import REASONS


def epoch_name(epoch: int, trainer: bool) -> str:
    """What an epoch is called."""
    return tr("trainer epoch {epoch}", epoch=epoch) if trainer else tr("data epoch {epoch}", epoch=epoch)


@dataclass(frozen=True, eq=False)
class Series:
    """Finite values against strictly ascending steps."""

    steps: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> "Series":
        """A series from points in the order of writing: a point replaces earlier ones at its step or later."""
        kept: list[tuple[int, float]] = []
        for step, value in points:
            while kept and kept[-1][0] >= step:
                kept.pop()
            kept.append((step, value))
        steps = np.array([step for step, _ in kept], np.int64)
        values = np.array([value for _, value in kept], np.float64)
        finite = np.isfinite(values)
        return cls(steps[finite], values[finite])

    def __len__(self) -> int:
        return len(self.steps)

    def completed_by(self, other: "Series") -> "Series":
        """This series, completed by the points of another one at missing steps."""
        missing = ~np.isin(other.steps, self.steps)
        if not missing.any():
            return self
        steps = np.concatenate([self.steps, other.steps[missing]])
        order = np.argsort(steps)
        return Series(steps[order], np.concatenate([self.values, other.values[missing]])[order])

    def at(self, step: int) -> float | None:
        """The value at a step; None without one."""
        place = int(np.searchsorted(self.steps, step))
        return float(self.values[place]) if place < len(self) and self.steps[place] == step else None

    def mean(self) -> float:
        """The mean of all values; NaN without values."""
        return float(self.values.mean()) if len(self) else math.nan


@dataclass(frozen=True)
class ChangeSummary:
    """A change point, and what happened there."""

    change: ChangePoint
    dataset: str = ""
    """Its dataset in a blend, by folder name; empty without a blend."""
    epochs: tuple[int, int] | None = None
    """The epochs on both sides; None if a unified order begins here."""
    trainer: bool = False
    """Whether these are the trainer's epochs."""
    sentences: tuple[str, ...] = ()
    """What the guard logged when the run reached it."""
    report: ChangeReport | None = None
    """Its verdict and numbers; None without a verdict so far."""
    verdict_sentence: str = ""

    @property
    def name(self) -> str:
        """Its folder in the log."""
        return self.change.name

    @property
    def step(self) -> int:
        """The first step that draws from beyond it."""
        return self.change.step

    @property
    def title(self) -> str:
        """What changes here."""
        if self.epochs is None:
            return self.label
        before, after = self.epochs
        name = (
            tr("trainer epoch {before} to {after}", before=before, after=after)
            if self.trainer
            else tr("data epoch {before} to {after}", before=before, after=after)
        )
        return tr("{epoch} of {dataset}", epoch=name, dataset=self.dataset) if self.dataset else name

    @property
    def label(self) -> str:
        """What begins here."""
        if self.epochs is None:
            return tr("a unified order begins")
        name = epoch_name(self.epochs[1], self.trainer)
        epoch = tr("{epoch} of {dataset}", epoch=name, dataset=self.dataset) if self.dataset else name
        return tr("{epoch} begins", epoch=epoch)

    @property
    def verdict(self) -> str:
        """Its verdict; empty without one."""
        return "" if self.report is None else self.report.verdict

    @property
    def no_verdict(self) -> str:
        """What is said where there is no verdict."""
        return tr("not given") if self.step > 1 else tr("begins with the run")

    @property
    def clause(self) -> str:
        """The reason for the verdict, or its certainty."""
        return "" if self.report is None else tr(REASONS[self.report.reason])

    @property
    def training(self) -> Jump | None:
        """The jump of the training loss."""
        return None if self.report is None else self.report.training

    @property
    def evaluation(self) -> Jump | None:
        """The jump of the evaluation loss."""
        return None if self.report is None else self.report.evaluation

    @property
    def gap(self) -> Jump | None:
        """What training gains and evaluation does not."""
        return None if self.report is None else self.report.gap

    @property
    def counterfactual(self) -> Counterfactual | None:
        """The loss without the repetition."""
        return None if self.report is None else self.report.counterfactual

    @property
    def means(self) -> tuple[float, float] | None:
        """Mean training loss on both sides."""
        return None if self.report is None else self.report.means

    @property
    def exposures(self) -> tuple[float, float] | None:
        """Mean exposure on both sides."""
        return None if self.report is None else self.report.exposures


@dataclass(frozen=True, eq=False)
class EpochSummary:
    """One epoch of one dataset."""

    dataset: str
    """Its folder name; empty without a blend."""
    epoch: int
    trainer: bool = False
    loss: Series = field(default_factory=Series)
    """Against the step within the epoch."""
    mean_loss: float | None = None
    """Mean over its samples; None while unknown."""
    total: EpochLoss | None = None
    """Its totals; None if unknown."""

    @property
    def title(self) -> str:
        """Its name."""
        name = epoch_name(self.epoch, self.trainer)
        return tr("{dataset}, {epoch}", dataset=self.dataset, epoch=name) if self.dataset else name


@dataclass(frozen=True)
class Note:
    """A message about the run as a whole, or what an audit found."""

    step: int
    text: str
    findings: tuple[Finding, ...] = field(default=(), compare=False)
    """Of an audit, whose table is the text; empty for a message, and in a log without a record."""


@dataclass(frozen=True)
class Part:
    """A part of the run, from one start of the trainer to the next."""

    began: int
    """Milliseconds since 1970."""
    first_logged: int | None
    """The first step with a loss or an evaluation; None without one."""
    last_logged: int | None
    arguments: dict[str, Any]
    """The trainer's known arguments that decide the order of the data."""


@dataclass(frozen=True, eq=False)
class RunData:
    """A run so far."""

    logging_dir: Path
    output_dir: Path | None
    run: str = ""
    """Identifies it; empty without a record."""
    loss: Series = field(default_factory=Series)
    """Training loss at the last step of each log window, nats per token."""
    evaluation: Series = field(default_factory=Series)
    data_epoch: Series = field(default_factory=Series)
    exposure: Series = field(default_factory=Series)
    loss_fresh: Series = field(default_factory=Series)
    loss_repeat: Series = field(default_factory=Series)
    contrast: Contrast = field(default_factory=Contrast)
    """Repeated samples against fresh ones of the same log windows and datasets."""
    epochs: tuple[EpochSummary, ...] = ()
    cuts: tuple[ChangeSummary, ...] = ()
    notes: tuple[Note, ...] = ()
    parts: tuple[Part, ...] = ()
    """The known parts, oldest first."""
    ahead: tuple[BoundaryStep, ...] = ()
    """The boundaries that the run has not reached; empty if unknown."""
    sidecar: Sidecar | None = None
    """Order, schedule and data at a step: of the newest checkpoint, or from the record."""
    sidecar_path: Path | None = None
    folders: tuple[str, ...] = ()
    """The folders of the sidecar's datasets, in its order; empty if unknown."""
    totals_step: int | None = None
    """The step up to which a checkpoint has counted the epochs' samples; None if the record counts them."""
    unknown_steps: tuple[tuple[int, int | None], ...] = ()
    """Steps that no record tells of, first and last; a last one of None is an unknown one."""
    faults: tuple[str, ...] = ()
    """What could not be read or was left out, and why."""

    @property
    def last_step(self) -> int:
        """The last step in any source."""
        ends = [int(series.steps[-1]) for series in (self.loss, self.data_epoch, self.evaluation) if len(series)]
        return max([*ends, 0 if self.sidecar is None else self.sidecar.step])

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets of a blend, by folder name; one empty name without a blend."""
        names = sorted(
            {epoch.dataset for epoch in self.epochs} | {change.dataset for change in self.cuts if change.epochs}
        )
        return tuple(names) or ("",)

    @property
    def tested(self) -> int:
        """The number of change points at which a jump was tested."""
        return sum(change.report is not None and change.report.p is not None for change in self.cuts)

    @property
    def sides(self) -> tuple[int, ...]:
        """The first step of each side of each change point, where a trend must be interrupted.

        A mixed step is a side of its own.
        """
        firsts = set()
        for change in self.cuts:
            firsts.add(change.step)
            epoch = self.data_epoch.at(change.step)
            if change.epochs is None or change.dataset or epoch is None:
                continue
            if self.data_epoch.at(change.step - 1) is not None and epoch < change.epochs[1] - 0.01:
                firsts.add(change.step + 1)
        return tuple(sorted(firsts))
