"""What a run will draw, and what the guard will do about it."""

from dataclasses import dataclass, replace
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.index import EpochSampledIndex, EpochSampling, SampleIndex
from paddle_epoch_guard.ledger import BoundaryStep, EpochSource, IndexEpochs, boundary_steps_of, closing_steps
from paddle_epoch_guard.order import Reorder, Schedule, Segment, passes_ahead
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, Decision, Finding, Sidecar


@dataclass(frozen=True)
class Agreed:
    """What must be the same on every rank that reads data, and what those that read none take from them."""

    schedule: Schedule | None = None
    """None where the trainer's epochs are followed: they are the same on all ranks, data or no data."""
    crossings: tuple[BoundaryStep, ...] = ()
    closing: tuple[int, ...] = ()
    reorders: tuple[Reorder, ...] = ()
    datasets: tuple[DatasetRecord, ...] = ()
    blend: BlendRecord | None = None
    passes: EpochSampling | None = None
    repaired: bool = False
    knows_ranks: bool = True


@dataclass(frozen=True)
class RunPlan:
    """What the run will draw, and what the guard will do about it."""

    loader: host.Loader
    index: SampleIndex | None
    """What is drawn from: the live index, or a chain that begins with what was planned."""
    source: EpochSource
    naming: Naming
    schedule: Schedule | None
    """None where positions are not known, and the trainer's epochs are followed."""
    segment: Segment | None
    """The steps of this part of the run."""
    decision: Decision
    crossings: tuple[BoundaryStep, ...]
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
    def agreed(self) -> Agreed | None:
        """What must be the same on every rank that reads data; None on one that reads none."""
        if not self.loader.has_data:
            return None
        if self.schedule is None:
            return Agreed()
        return Agreed(
            self.schedule, self.crossings, tuple(sorted(self.closing)), self.decision.reorders, self.datasets,
            self.blend, self.loader.passes, self.repaired, self.loader.knows_ranks,
        )  # fmt: skip

    def follow(self, agreed: Agreed) -> "RunPlan":
        """The plan of a rank that reads no data: that of the others, as far as it goes without an index."""
        if self.loader.has_data or agreed.schedule is None:
            return self
        return replace(
            self,
            loader=replace(self.loader, knows_ranks=agreed.knows_ranks),
            schedule=agreed.schedule,
            crossings=agreed.crossings,
            closing=frozenset(agreed.closing),
            decision=replace(self.decision, reorders=agreed.reorders),
            datasets=agreed.datasets,
            blend=agreed.blend,
            repaired=agreed.repaired,
        )

    @property
    def dissolved(self) -> list[BoundaryStep]:
        """The boundaries of the host's own order that a reorder has dissolved."""
        assert isinstance(self.source, IndexEpochs)
        kept = {(one.dataset, one.from_epoch) for one in boundary_steps_of(self.source)}
        own = boundary_steps_of(IndexEpochs(self.source.index, self.source.schedule))
        return [one for one in own if (one.dataset, one.from_epoch) not in kept]

    @property
    def traced_index(self) -> SampleIndex | None:
        """The index, with as many passes as the data that the weights have seen before was read in."""
        if self.earlier is None or not isinstance(self.index, EpochSampledIndex):
            return self.index
        passes = -(-self.earlier.position // self.index.rule.length)
        return replace(self.index, passes=max(passes, self.index.passes))

    def begin_epoch(self, epoch: int, after_step: int, carried: int, max_steps: int) -> "RunPlan":
        """The plan when the trainer begins to read the data once more.

        Args:
            epoch: the trainer's, from 0.
            after_step: the last step done.
            carried: microbatches that were drawn since, for which no step was left.
            max_steps: the last step of the run.

        Returns:
            This plan, where that was planned.
        """
        assert isinstance(self.source, IndexEpochs)
        assert self.schedule is not None
        assert self.segment is not None
        begun = replace(self.segment, first_step=after_step + 1, start=0, carries=carried)
        segments: tuple[Segment, ...] = (begun,)
        index = self.source.index
        if isinstance(index, EpochSampledIndex):
            length = index.rule.length
            begun = replace(begun, start=epoch * length, stop=(epoch + 1) * length)
            if begun in self.schedule.segments:
                return self
            segments = passes_ahead(begun, length, self.loader.trainer_epochs, max_steps)
            if segments[-1].stop > len(index):
                index = replace(index, passes=segments[-1].stop // length)
        schedule = self.schedule
        for segment in segments:
            schedule = schedule.then(segment)
        self.source.schedule, self.source.index = schedule, index
        crossings = boundary_steps_of(self.source, after_step)
        return replace(
            self,
            index=index,
            schedule=schedule,
            crossings=tuple(crossings),
            closing=closing_steps(crossings, schedule, max_steps),
        )

    def install(self, dataloader: Any) -> None:
        """Lets dataset and sampler draw as planned. Before the loader forks its workers."""
        if self.segment is None or self.index is None:
            return
        host.install_order(self.loader.dataset, self.index, self.decision.reorders)
        if (self.segment.start, self.segment.stop) != (self.loader.start, self.loader.stop):
            host.start_sampler(dataloader, self.segment.start, self.segment.stop)
