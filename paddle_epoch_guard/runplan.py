"""What a run will draw, and what the guard will do about it."""

from dataclasses import dataclass, replace
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.index import SampleIndex
from paddle_epoch_guard.ledger import Crossing, EpochSource, IndexEpochs, closing_steps, crossings_of
from paddle_epoch_guard.order import Piece, Schedule
from paddle_epoch_guard.report import Words
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, Decision, Finding, Sidecar


@dataclass(frozen=True)
class RunPlan:
    """What the run will draw, and what the guard will do about it."""

    loader: host.Loader
    index: SampleIndex | None
    """What is drawn from: the live index, or a chain that begins with what was planned."""
    source: EpochSource
    words: Words
    schedule: Schedule | None
    """None where positions are not known, and the trainer's epochs are followed."""
    piece: Piece | None
    """The steps of this part of the run."""
    decision: Decision
    crossings: tuple[Crossing, ...]
    """The boundaries that lie ahead."""
    closing: frozenset[int]
    """Steps at whose end the log window is closed."""
    datasets: tuple[DatasetRecord, ...] = ()
    blend: BlendRecord | None = None
    planned: int = 0
    """The run draws the positions before this one."""
    sidecar: Sidecar | None = None
    """Of the checkpoint that the run resumes from."""
    earlier: Sidecar | None = None
    """Of the checkpoint from whose weights alone the run begins: its data has been drawn before."""
    findings: tuple[Finding, ...] = ()
    mismatches: tuple[str, ...] = ()
    """What the run goes on in spite of, at the user's word."""
    run: str = ""
    """Names the run, through all its parts."""
    part: str = ""
    """Names this part of it."""
    step: int = 0
    """The last step done before this part."""
    is_live: bool = True
    """Whether it draws from the dataset's own arrays alone, in whatever order."""
    repaired: bool = False
    """Whether the run draws otherwise than the host would by itself."""

    @property
    def stamp(self) -> host.Stamp:
        """The mark that the trainer's own state is to carry."""
        reorders = self.decision.reorders
        return host.Stamp(self.run, self.part, self.step, reorders[-1].start if reorders else None, self.repaired)

    @property
    def agreed(self) -> Any:
        """What must be the same on every rank."""
        if self.schedule is None:  # the trainer's epochs are the same on all ranks, data or no data
            return None
        return self.crossings, sorted(self.closing), self.schedule, self.decision.reorders, self.datasets, self.blend

    @property
    def dissolved(self) -> list[Crossing]:
        """The boundaries of the host's own order that a reorder has dissolved."""
        assert isinstance(self.source, IndexEpochs)
        kept = {(one.dataset, one.from_epoch) for one in crossings_of(self.source)}
        own = crossings_of(IndexEpochs(self.source.index, self.source.schedule))
        return [one for one in own if (one.dataset, one.from_epoch) not in kept]

    def read_again(self, max_steps: int, after_step: int) -> "RunPlan":
        """The plan when the trainer starts the sampler once more, after ``after_step``."""
        assert isinstance(self.source, IndexEpochs)
        assert self.schedule is not None
        assert self.piece is not None
        schedule = self.schedule.then(replace(self.piece, first_step=after_step + 1))
        self.source.schedule = schedule
        crossings = crossings_of(self.source, after_step)
        return replace(
            self,
            schedule=schedule,
            crossings=tuple(crossings),
            closing=closing_steps(crossings, schedule, max_steps),
        )

    def install(self, dataloader: Any) -> None:
        """Lets dataset and sampler draw as planned. Before the loader forks its workers."""
        if self.piece is None or self.index is None:
            return
        host.install_order(self.loader.dataset, self.index, self.decision.reorders)
        if (self.piece.start, self.piece.stop) != (self.loader.start, self.loader.stop):
            host.start_sampler(dataloader, self.piece.start, self.piece.stop)
