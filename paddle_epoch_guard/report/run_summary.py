"""What a log tells of a run: curves, and sentences with the numbers in them."""

import ast
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.resume import EpochLoss

# Of the trainer's arguments, those that decide the order of the data: others may hold what a page must not show.
SHOWN_ARGUMENTS = (
    "seed",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dataloader_drop_last",
    "tensor_parallel_degree",
    "pipeline_parallel_degree",
    "sharding_parallel_degree",
    "ignore_data_skip",
    "ignore_load_lr_and_optim",
    "skip_data_intervals",
    "resume_from_checkpoint",
    "epoch_guard",
    "epoch_guard_mix",
    "epoch_guard_pool",
    "epoch_guard_seed",
    "epoch_guard_position",
    "epoch_guard_on_mismatch",
)
_ARGUMENTS_BYTES = 1 << 20

_NUMBER = r"([+-]?(?:\d+(?:\.\d+)?|inf|nan))"
_VERDICT = re.compile(
    r"Verdict at (?:step \d+|the start of .* \(step \d+\)): "
    r"(artefact|improvement|unexplained|none|unknown)(?: \((.*?)\))?\.(?: |$)",
    re.DOTALL,
)
# Whichever part comes first begins with a capital; an exposure has its standard error where that shows.
_MEANS = re.compile(f"[Mm]eans over up to \\d+ steps: {_NUMBER} before, {_NUMBER} after")
_ERROR = r"(?: \u00b1 \d+\.\d+)?"
_EXPOSURES = re.compile(f"[Ee]xposure {_NUMBER}{_ERROR} before and {_NUMBER}{_ERROR} after")


@dataclass(frozen=True, eq=False)
class Series:
    """Values against steps, which ascend strictly; all finite."""

    steps: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> "Series":
        """The series of points in the order in which they were written: one that goes back takes the later's place."""
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
        """This series, and of another one the points at steps that this one has not."""
        missing = ~np.isin(other.steps, self.steps)
        if not missing.any():
            return self
        steps = np.concatenate([self.steps, other.steps[missing]])
        order = np.argsort(steps)
        return Series(steps[order], np.concatenate([self.values, other.values[missing]])[order])

    def at(self, step: int) -> float | None:
        """The value at a step; None where there is none."""
        place = int(np.searchsorted(self.steps, step))
        return float(self.values[place]) if place < len(self) and self.steps[place] == step else None

    def mean(self) -> float:
        """The mean of all values; not a number where there is none."""
        return float(self.values.mean()) if len(self) else math.nan


@dataclass(frozen=True)
class JumpTold:
    """The jump of a loss at a cut, as it was told."""

    value: float
    """Nats per token."""
    error: float
    """Its standard error."""
    significant: bool


@dataclass(frozen=True)
class ChangeSummary:
    """A place where the order of the data changes, and what was said of it."""

    name: str
    """Its folder in the log."""
    step: int
    dataset: str
    """Its constituent of a blend, by the name of its folder; empty where there is one dataset."""
    epochs: tuple[int, int] | None
    """The epochs on both sides; None where a unified order begins."""
    trainer: bool = False
    """Whether these are the trainer's epochs."""
    sentences: tuple[str, ...] = ()
    """What was told when it was reached."""
    verdict: str = ""
    """Empty where none was given."""
    clause: str = ""
    """Why, or how sure it is."""
    verdict_sentence: str = ""
    training: JumpTold | None = None
    evaluation: JumpTold | None = None
    means: tuple[float, float] | None = None
    """Mean training loss on both sides."""
    exposures: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """What changes here."""
        if self.epochs is None:
            return "a unified order begins"
        kind = "trainer epoch" if self.trainer else "data epoch"
        of = f" of {self.dataset}" if self.dataset else ""
        return f"{kind} {self.epochs[0]} to {self.epochs[1]}{of}"


@dataclass(frozen=True, eq=False)
class EpochSummary:
    """One epoch of one dataset."""

    dataset: str
    """By the name of its folder; empty where there is one dataset."""
    epoch: int
    trainer: bool = False
    loss: Series = field(default_factory=Series)
    """Against the step within the epoch."""
    mean_loss: float | None = None
    """Over its samples; None while it is not known."""
    total: EpochLoss | None = None
    """What the sidecar has added up."""

    @property
    def title(self) -> str:
        """Its name."""
        of = f"{self.dataset}, " if self.dataset else ""
        return f"{of}{'trainer epoch' if self.trainer else 'data epoch'} {self.epoch}"


@dataclass(frozen=True)
class Note:
    """Something that was said of the run as a whole, at a step: audit tables among it."""

    step: int
    text: str


@dataclass(frozen=True)
class Part:
    """A part of the run, from one start of the trainer to the next."""

    began: int
    """Milliseconds since 1970."""
    first_logged: int | None
    """The first step with a loss or an evaluation; None where there is none."""
    last_logged: int | None
    arguments: dict[str, Any]
    """Of :data:`SHOWN_ARGUMENTS`, those that are known."""


def is_verdict(sentence: str) -> bool:
    """Whether a sentence gives a verdict."""
    return _VERDICT.match(sentence) is not None


def judged(cut: ChangeSummary, sentence: str) -> ChangeSummary:
    """A cut with the verdict that a sentence gives, and its numbers: the reverse of ``Words.verdict_sentence``."""
    match = _VERDICT.match(sentence)
    if match is None:
        return replace(cut, verdict_sentence=sentence)
    rest = sentence[match.end() :]
    means, exposures = _MEANS.search(rest), _EXPOSURES.search(rest)
    return replace(
        cut,
        verdict=match[1],
        clause=match[2] or "",
        verdict_sentence=sentence,
        training=_jump(rest, "[Tt]raining"),
        evaluation=_jump(rest, "[Ee]valuation"),
        means=None if means is None else (float(means[1]), float(means[2])),
        exposures=None if exposures is None else (float(exposures[1]), float(exposures[2])),
    )


def _jump(sentence: str, of: str) -> JumpTold | None:
    match = re.search(
        f"{of} loss (?:jumps by {_NUMBER}, standard error {_NUMBER}"
        f"|does not jump \\({_NUMBER}, standard error {_NUMBER}\\))",
        sentence,
    )
    if match is None:
        return None
    value, error = (match[1], match[2]) if match[1] else (match[3], match[4])
    return JumpTold(float(value), float(error), match[1] is not None)


def shown_arguments(text: str) -> dict[str, Any]:
    """The trainer's arguments out of its log: the text of a dictionary of plain values, as a JSON string.

    Written by PaddleNLP's ``TrainingArguments.to_json_string`` (3.0.0b4). Nothing in it is executed.

    Returns:
        Those of :data:`SHOWN_ARGUMENTS` that are plain; nothing where the text is of another form.
    """
    if len(text) > _ARGUMENTS_BYTES:
        return {}
    try:
        found = json.loads(text)
        found = ast.literal_eval(found) if isinstance(found, str) else found
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    plain = (bool, int, float, str, list, tuple, type(None))
    return {name: found[name] for name in SHOWN_ARGUMENTS if name in found and isinstance(found[name], plain)}
