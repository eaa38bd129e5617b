"""What happened in a run, as typed events. Logs, pages and tables are views of these events.

An event holds numbers and codes, not sentences: each view renders its own.
"""

from typing import Any, Literal

import msgspec

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, Contrast, EpochLoss, EpochShare, Weighted
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.resume.audit import Finding
from paddle_epoch_guard.resume.sidecar import Sidecar
from paddle_epoch_guard.statistics.verdicts import ChangeReport

VERSION = 1
"""Version of the events' fields. Adding a field with a default does not change it."""


Outcome = Literal["complete", "stopped", "ran_dry", "untracked"]
"""How the trainer ended: at its planned end, before it, or because the loader had no more data."""


class Message(msgspec.Struct, frozen=True):
    """A message in no particular language: a code, and the parameters of its sentence."""

    code: str
    parameters: dict[str, Any] = {}


class ExposureLoss(msgspec.Struct, frozen=True, array_like=True):
    """The loss of those samples, or shares of samples, of a window whose tokens had been drawn equally often before.

    Over all levels but those of exposure 0 they sum to ``WindowLogged.repeat``, and those of 0 to ``fresh``.
    """

    dataset: int | None
    """From 0; None if all datasets are summed up here, as they are where there are more than 16."""
    exposure: int | None
    """The number of earlier draws; 4 stands for 4 or more. None if they are repeated, and the number is unknown."""
    weight: float
    """In samples; more than 0."""
    loss_sum: float
    """Nats per token, times weight."""
    squares: float
    """Squared losses, times weight."""

    @property
    def loss(self) -> Weighted:
        """The sum as one value."""
        return Weighted(self.weight, self.loss_sum)


class RecencyLoss(msgspec.Struct, frozen=True, array_like=True):
    """The loss of those repeated samples, or shares, of a window whose tokens were last drawn equally long before.

    Only samples that hold a traced token count: together they are at most ``WindowLogged.repeat``.
    """

    recency: int
    """By the steps since the last draw: 0 for fewer than 10, then 1, 2 and 3 for fewer than 100, 1,000 and 10,000, and
    4 for 10,000 and more."""
    weight: float
    """In samples; more than 0."""
    loss_sum: float
    """Nats per token, times weight."""
    squares: float
    """Squared losses, times weight."""

    @property
    def loss(self) -> Weighted:
        """The sum as one value."""
        return Weighted(self.weight, self.loss_sum)


class _Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    """Base of all events."""


class PartBegan(_Event, frozen=True, tag="part_began"):
    """The trainer was started, or started again from a checkpoint."""

    version: int
    run: str
    """Identifies the run, through all its parts."""
    part: str
    """Identifies this part."""
    step: int
    """The last step done before it; 0 at a fresh start."""
    time: float
    """Seconds since 1970. For display only: nothing is ordered by it."""
    max_steps: int
    after: str = ""
    """The part whose checkpoint it resumes from; empty if there is none, or it is unknown."""
    epochs_of: Literal["data", "trainer"] = "data"
    """Whether data epochs are tracked, or only the trainer's."""
    datasets: tuple[str, ...] = ()
    """Names of the datasets of a blend, or of the only dataset."""
    data_epochs: tuple[int, ...] = ()
    """The number of data epochs in each dataset's index; empty if unknown."""
    has_index: bool = True
    """Whether the dataset has a sample index."""
    boundaries: tuple[BoundaryStep, ...] = ()
    """The boundaries ahead."""
    arguments: dict[str, Any] = {}
    """The trainer's arguments that decide the order of the data."""
    versions: dict[str, str] = {}
    """Package versions by name."""
    findings: tuple[Finding, ...] = ()
    """Differences from the checkpoint, and what was done about each."""
    state: Sidecar | None = None
    """Order, schedule and data, as a checkpoint would hold them now; None if positions are unknown."""
    texts: tuple[str, ...] = ()
    """For each dataset what tells the text of its corpus apart from others, and how many blocks of it were read: equal
    strings stand for the same text. An empty string for one that cannot be read; empty if unknown."""


class TokensTraced(_Event, frozen=True, tag="tokens_traced"):
    """The number of tokens that the exposure is estimated from."""

    traced: int
    tokens: int


class WindowLogged(_Event, frozen=True, tag="window"):
    """The trainer logged the mean loss of a window."""

    first_step: int
    last_step: int
    samples: int
    """Samples drawn, over all ranks."""
    loss: float | None = None
    """Mean over the trained steps, nats per token; None if neither the trainer nor the guard has a finite loss."""
    epochs: tuple[EpochShare, ...] = ()
    """What each epoch contributed."""
    tokens: int | None = None
    """Tokens with a loss: samples times sequence length; None if the length is unknown."""
    exposure: Estimate | None = None
    """How often its tokens had been drawn before, on average."""
    fresh: Weighted | None = None
    """The loss of its samples that are drawn for the first time; None if losses by sample are unknown."""
    repeat: Weighted | None = None
    """The loss of its other samples."""
    fresh_squares: float | None = None
    """Squared losses of the fresh samples, times weight; None if unknown, as in earlier releases."""
    repeat_squares: float | None = None
    contrast: Contrast | None = None
    """The two compared within datasets; None if no dataset has both in this window."""
    by_exposure: tuple[ExposureLoss, ...] = ()
    """Losses by dataset and number of earlier draws, without empty sums; empty also if unknown, and in earlier
    releases."""
    by_recency: tuple[RecencyLoss, ...] = ()
    """Losses of repeated samples by the steps since the last draw, without empty sums; likewise."""
    wholly_fresh: tuple[ExposureLoss, ...] = ()
    """Losses of samples none of whose tokens had been drawn before, by dataset; likewise. Those of ``fresh`` may have
    been in part, where few of their tokens are traced."""


class EvaluationSet(_Event, frozen=True, tag="evaluation_set"):
    """The data that the trainer evaluates on. A later event of the same part replaces this one."""

    step: int
    """The last step done when it became known."""
    digest: str = ""
    """Of the evaluated documents, their sequence length, their datasets' weights, and the number of samples that one
    evaluation reads. Evaluations with the same digest read samples of the same data, though not always the same
    samples: ``run_pretrain.py`` of PaddleNLP reads on from one evaluation to the next. Empty if unknown."""
    apart: bool | None = None
    """Whether it shares no document with the training data; None if unknown."""
    samples: int | None = None
    """In the set; None if unknown."""
    batches: int | None = None
    """That one evaluation reads; None if unknown."""


class Evaluated(_Event, frozen=True, tag="evaluation"):
    """The trainer evaluated after a step."""

    step: int
    loss: float
    """Nats per token."""


class EpochEnded(_Event, frozen=True, tag="epoch"):
    """An epoch was drawn to its end, and its mean loss is known."""

    step: int
    total: EpochLoss


class ChangeReached(_Event, frozen=True, tag="change_reached"):
    """The run reached a change point."""

    change: ChangePoint
    reorder: Reorder | None = None
    """The unified order that begins here."""
    dissolved: tuple[BoundaryStep, ...] = ()
    """Boundaries of the host's order that the unified order dissolves."""
    all_repeated: bool = True
    """Whether all data behind a boundary has been drawn before: not known where the run has drawn its present order
    only from some step on."""


class ChangeJudged(_Event, frozen=True, tag="change_judged"):
    """A change point was judged. A later event of the same name replaces this one."""

    report: ChangeReport


class Noted(_Event, frozen=True, tag="note"):
    """A message about the run as a whole."""

    step: int
    message: Message
    is_warning: bool = False


class Refused(_Event, frozen=True, tag="refused"):
    """The guard refused the run before its first step. Listeners get it; the record of the folder stays as it was."""

    step: int
    """The last step done before the start."""
    error: str
    """Name of the error's class in `paddle_epoch_guard.errors`."""
    message: str
    """The error's own."""
    goes_on: bool = False
    """Whether the run goes on without the guard, as ``--epoch_guard_on_mismatch warn`` asks."""


class PartEnded(_Event, frozen=True, tag="part_ended"):
    """The trainer ended by itself, or tracking was switched off. A part that was killed has no such event."""

    step: int
    time: float
    outcome: Outcome
    epochs: tuple[EpochLoss, ...] = ()
    """The totals of each epoch, over all parts."""
    fresh: Weighted = msgspec.field(default_factory=Weighted)
    repeat: Weighted = msgspec.field(default_factory=Weighted)
    contrast: Contrast = msgspec.field(default_factory=Contrast)
    """The two compared within log windows and datasets, over all parts."""


Event = (
    PartBegan
    | TokensTraced
    | WindowLogged
    | EvaluationSet
    | Evaluated
    | EpochEnded
    | ChangeReached
    | ChangeJudged
    | Noted
    | Refused
    | PartEnded
)


def step_of(event: Event) -> int:
    """The last step that an event is about."""
    match event:
        case WindowLogged():
            return event.last_step
        case ChangeReached():
            return event.change.step
        case ChangeJudged():
            return event.report.change.step
        case TokensTraced():
            return 0
        case _:
            return event.step
