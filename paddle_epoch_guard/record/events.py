"""What happened in a run, as typed events: the one thing that logs, pages and tables are views of.

An event holds numbers and codes, no sentence: sentences are rendered from it where a person reads them.
"""

from typing import Any, Literal

import msgspec

from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, EpochLoss, EpochShare, Weighted
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.resume.audit import Finding
from paddle_epoch_guard.resume.sidecar import Sidecar
from paddle_epoch_guard.statistics.verdicts import ChangeReport

VERSION = 1
"""Of the events' fields. A field that is added with a default does not change it."""


Outcome = Literal["complete", "stopped", "ran_dry", "untracked"]
"""How the trainer ended: at its planned end, before it, or because the loader had no more data."""


class Message(msgspec.Struct, frozen=True):
    """Something to say, in no language: a code, and what its sentence names."""

    code: str
    parameters: dict[str, Any] = {}


class _Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    """Base of all events."""


class PartBegan(_Event, frozen=True, tag="part_began"):
    """The trainer was started, or started again from a checkpoint."""

    version: int
    run: str
    """Names the run, through all its parts."""
    part: str
    """Names this part."""
    step: int
    """The last step done before it; 0 at a fresh start."""
    time: float
    """Seconds since 1970. For people: nothing is ordered by it."""
    max_steps: int
    after: str = ""
    """The part whose checkpoint it resumes from; empty where there is none, or it is unknown."""
    epochs_of: Literal["data", "trainer"] = "data"
    """Whose epochs are followed."""
    datasets: tuple[str, ...] = ()
    """Names of the datasets of a blend, or of the one."""
    data_epochs: tuple[int, ...] = ()
    """Data epochs that each dataset's index holds; empty where they are unknown."""
    has_index: bool = True
    """Whether the dataset has a sample index."""
    boundaries: tuple[BoundaryStep, ...] = ()
    """Those that lie ahead."""
    arguments: dict[str, Any] = {}
    """Of the trainer's arguments, those that decide the order of the data."""
    versions: dict[str, str] = {}
    """Of the packages that matter, by name."""
    findings: tuple[Finding, ...] = ()
    """What differs from the checkpoint, and what was done about it."""
    state: Sidecar | None = None
    """Order, schedule and data, as a checkpoint would hold them now; None where positions are unknown."""


class TokensTraced(_Event, frozen=True, tag="tokens_traced"):
    """From how many tokens exposure is known."""

    traced: int
    tokens: int


class WindowLogged(_Event, frozen=True, tag="window"):
    """The trainer logged the mean loss of a window."""

    first_step: int
    last_step: int
    samples: int
    """Samples drawn, over all ranks."""
    loss: float | None = None
    """Mean over the trained steps, nats per token; None if no finite number is known."""
    epochs: tuple[EpochShare, ...] = ()
    """What each epoch contributed."""
    tokens: int | None = None
    """Tokens that a loss was computed for, samples times sequence length; None where the length is unknown."""
    exposure: Estimate | None = None
    """How often its tokens had been drawn before, on average."""
    fresh: Weighted | None = None
    """The loss of its samples that were never drawn before; None where losses by sample are unknown."""
    repeat: Weighted | None = None
    """The loss of its samples that were."""


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
    """The run came to a change point."""

    change: ChangePoint
    reorder: Reorder | None = None
    """The unified order that begins here."""
    dissolved: tuple[BoundaryStep, ...] = ()
    """Boundaries of the host's order that it dissolves."""


class ChangeJudged(_Event, frozen=True, tag="change_judged"):
    """Enough is known of a change point to judge it; a later one of the same name replaces it."""

    report: ChangeReport


class Noted(_Event, frozen=True, tag="note"):
    """Something was said of the run as a whole."""

    step: int
    message: Message
    is_warning: bool = False


class PartEnded(_Event, frozen=True, tag="part_ended"):
    """The trainer ended by itself, or tracking was switched off. A part that was killed has no such event."""

    step: int
    time: float
    outcome: Outcome
    epochs: tuple[EpochLoss, ...] = ()
    """What each epoch has added up to, over all parts."""
    fresh: Weighted = msgspec.field(default_factory=Weighted)
    repeat: Weighted = msgspec.field(default_factory=Weighted)


Event = (
    PartBegan | TokensTraced | WindowLogged | Evaluated | EpochEnded | ChangeReached | ChangeJudged | Noted | PartEnded
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
