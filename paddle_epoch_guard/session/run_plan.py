"""What a run will draw, and what the guard will do about it."""

from dataclasses import dataclass, field, replace

from paddle_epoch_guard import host
from paddle_epoch_guard.index import EpochSampling, SampleIndex
from paddle_epoch_guard.ledger import (
    BoundaryStep,
    EpochSource,
    IndexEpochs,
    boundary_steps_of,
    closing_steps,
    evaluation_steps,
)
from paddle_epoch_guard.order import Reorder, Schedule, Segment
from paddle_epoch_guard.reading import NoDataReading, PositionedReading
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.resume import (
    BlendRecord,
    DatasetRecord,
    Decision,
    EarlierSteps,
    Finding,
    Sidecar,
    encode_sidecar,
    follow_on,
    overlaps_earlier,
)
from paddle_epoch_guard.resume.sidecar import VERSION
from paddle_epoch_guard.session.open_indices import DrawnData

STAMPED_UP_TO = 1 << 20
"""The longest order that is kept in the trainer's own state, in characters: it is written with each checkpoint."""


@dataclass(frozen=True)
class Agreed:
    """What must be the same on every rank that reads data, and what those that read none take from them."""

    steps: "Steps | None" = None
    """None if the trainer's epochs are followed: they are the same on all ranks, data or no data."""
    reorders: tuple[Reorder, ...] = ()
    datasets: tuple[DatasetRecord, ...] = ()
    blend: BlendRecord | None = None
    sampling: EpochSampling | None = None
    repaired: bool = False
    knows_ranks: bool = True


@dataclass(frozen=True)
class Steps:
    """How the data is cut into steps."""

    schedule: Schedule
    boundaries: tuple[BoundaryStep, ...]
    """Those that lie ahead."""
    closing: tuple[int, ...]
    """Steps at whose end the log window is closed, ascending."""
    evaluating: tuple[int, ...] | None = None
    """Steps after which an evaluation is asked for, ascending; None if none is wanted."""


@dataclass(frozen=True)
class Past:
    """What the run was before."""

    sidecar: Sidecar | None = None
    """Of the checkpoint that it continues."""
    earlier: tuple[EarlierSteps, ...] = ()
    """What the weights had been trained on before the steps of the schedule, as far as it is known."""
    findings: tuple[Finding, ...] = ()
    mismatches: tuple[str, ...] = ()
    """Differences that the run accepts, because the user asked for it."""
    knows_weights: bool = True
    """Whether all that the weights have seen is known, where the run starts from those of a checkpoint."""
    why_unknown: Message | None = None
    """Why it is not known what some steps drew that came before the schedule."""
    is_of_state: bool = False
    """Whether the sidecar holds the order alone, from the trainer's own state: no fitting file was found."""


@dataclass(frozen=True)
class Identity:
    """Which part of which run this is."""

    run: str = ""
    """Names the run, through all its parts."""
    part: str = ""
    step: int = 0
    """The last step done before this part."""
    max_steps: int = 0
    """The last step of the run, as this part plans it."""


@dataclass(frozen=True)
class RunPlan:
    """What the run will draw, and what the guard will do about it. No method changes it: changes are new plans."""

    loader: host.Loader
    naming: Naming
    source: EpochSource
    """From which epochs the samples of a step come."""
    drawn: DrawnData
    decision: Decision
    """Which reorders are in force."""
    steps: Steps | None = None
    """None if positions are unknown, and the trainer's epochs are followed."""
    segment: Segment | None = None
    """The steps of this part of the run."""
    planned: int = 0
    """The run draws the positions before this one."""
    past: Past = field(default_factory=Past)
    identity: Identity = field(default_factory=Identity)
    repaired: bool = False
    """Whether the run draws otherwise than the host would by itself."""
    other_knows_ranks: bool = True
    """On a rank without data: whether those that read know which rank draws what."""
    closing: frozenset[int] = frozenset()
    """Steps at whose end the log window is closed."""
    evaluating: frozenset[int] = frozenset()
    """Steps after which an evaluation is asked for."""

    @property
    def schedule(self) -> Schedule | None:
        """All steps; None if positions are unknown."""
        return None if self.steps is None else self.steps.schedule

    @property
    def index(self) -> SampleIndex | None:
        """What is drawn from, as positions of the run."""
        return self.source.index if isinstance(self.source, IndexEpochs) else self.drawn.index

    @property
    def boundaries(self) -> tuple[BoundaryStep, ...]:
        """The boundary steps ahead."""
        return () if self.steps is None else self.steps.boundaries

    @property
    def knows_ranks(self) -> bool:
        """Whether it is known which rank draws which samples of a step."""
        return self.loader.reading.knows_ranks and self.other_knows_ranks

    @property
    def is_whole(self) -> bool:
        """Whether the run has drawn its present order from the beginning."""
        return self.schedule is not None and self.schedule.segments[0].first_step == 1

    @property
    def why_exposure_unknown(self) -> Message | None:
        """Why it is not known what the weights had been trained on before each step; None if it is."""
        assert self.schedule is not None
        past, first_step = self.past, self.schedule.segments[0].first_step
        if not past.knows_weights:
            return Message("weights_unknown")
        if past.why_unknown is not None:
            return past.why_unknown
        if not follow_on(past.earlier, first_step):
            return Message("exposure_unknown", {"first_step": first_step})
        if overlaps_earlier(self.schedule, self.decision.reorders, self.reorder_steps):
            return Message("reorder_overlaps")
        return None

    @property
    def reorder_steps(self) -> tuple[int, ...]:
        """The first step of each reorder."""
        sidecar, reorders = self.past.sidecar, self.decision.reorders
        known = () if sidecar is None else sidecar.reorder_steps[: len(reorders)]
        return (*known, *(self._first_step_of(reorder) for reorder in reorders[len(known) :]))

    def _first_step_of(self, reorder: Reorder) -> int:
        if reorder is self.decision.begun or self.schedule is None:
            return self.identity.step + 1
        return next((step for step, _ in self.schedule.crossings(reorder.start)), 1)  # of an earlier release

    @property
    def sampling(self) -> EpochSampling | None:
        """How a sampler that knows trainer epochs lists the index; None with the pretraining sampler."""
        reading = self.loader.reading
        return reading.sampling if isinstance(reading, PositionedReading) else None

    @property
    def stamp(self) -> host.Stamp:
        """The mark that the trainer's own state is to carry."""
        reorders, identity = self.decision.reorders, self.identity
        order = "" if self.schedule is None else self.encoded_order
        begun = reorders[-1].start if reorders else None
        return host.Stamp(identity.run, identity.part, identity.step, begun, self.repaired, order)

    @property
    def order(self) -> Sidecar:
        """Order, schedule and data, as they are when this part begins; positions must be known."""
        assert self.schedule is not None
        order = Sidecar(
            version=VERSION,
            run=self.identity.run,
            part=self.identity.part,
            step=0,
            position=0,
            planned=self.planned,
            max_steps=self.identity.max_steps,
            reorders=self.decision.reorders,
            schedule=self.schedule,
            datasets=self.drawn.datasets,
            blend=self.drawn.blend,
            epoch_sampling=self.sampling,
            names=self.naming.datasets,
            reorder_steps=self.reorder_steps,
            mismatches=self.past.mismatches,
            earlier=self.past.earlier,
            knows_weights=self.past.knows_weights,
        )
        return order.at_step(self.identity.step)

    @property
    def encoded_order(self) -> str:
        """The order for the trainer's own state; empty if it is longer than :data:`STAMPED_UP_TO`."""
        encoded = encode_sidecar(self.order).decode()
        return encoded if len(encoded) <= STAMPED_UP_TO else ""

    @property
    def agreed(self) -> Agreed | None:
        """What must be the same on every rank that reads data; None on one that reads none."""
        if isinstance(self.loader.reading, NoDataReading):
            return None
        if self.steps is None:
            return Agreed()
        drawn = self.drawn
        return Agreed(
            self.steps,
            self.decision.reorders,
            drawn.datasets,
            drawn.blend,
            self.sampling,
            self.repaired,
            self.knows_ranks,
        )

    def adopt(self, agreed: Agreed) -> "RunPlan":
        """The plan of a rank that reads no data: that of the others, as far as it goes without an index."""
        if not isinstance(self.loader.reading, NoDataReading) or agreed.steps is None:
            return self
        return replace(
            self,
            steps=agreed.steps,
            closing=frozenset(agreed.steps.closing),
            evaluating=frozenset(agreed.steps.evaluating or ()),
            decision=replace(self.decision, reorders=agreed.reorders),
            drawn=replace(self.drawn, datasets=agreed.datasets, blend=agreed.blend),
            repaired=agreed.repaired,
            other_knows_ranks=agreed.knows_ranks,
        )

    @property
    def dissolved(self) -> list[BoundaryStep]:
        """The boundaries of the host's own order that a reorder has dissolved."""
        assert isinstance(self.source, IndexEpochs)
        kept = {(step.dataset, step.from_epoch) for step in boundary_steps_of(self.source)}
        own = boundary_steps_of(IndexEpochs(self.source.index, self.source.schedule))
        return [step for step in own if (step.dataset, step.from_epoch) not in kept]

    def begin_epoch(self, epoch: int, after_step: int, left_over: int, max_steps: int) -> "RunPlan":
        """The plan when the trainer begins to read the data once more.

        Args:
            epoch: the trainer's, from 0.
            after_step: the last step done.
            left_over: microbatches that were drawn since, for which no step was left.
            max_steps: the last step of the run.

        Returns:
            This plan, where that was planned.
        """
        source, reading = self.source, self.loader.reading
        assert isinstance(source, IndexEpochs)
        assert isinstance(reading, PositionedReading)
        assert self.segment is not None
        begun = replace(self.segment, first_step=after_step + 1, start=0, leftover_microbatches=left_over)
        segments = reading.again(begun, epoch, max_steps)
        if reading.sampling is not None and segments[0] in source.schedule.segments:
            return self
        schedule = source.schedule
        for segment in segments:
            schedule = schedule.then(segment)
        index = reading.index_up_to(source.index, segments[-1].stop)
        new_source = replace(source, schedule=schedule, index=index)
        steps = steps_of(new_source, after_step, max_steps)
        begun_plan = replace(self, source=new_source, steps=steps, closing=frozenset(steps.closing))
        evaluates = self.steps is not None and self.steps.evaluating is not None
        return begun_plan.evaluate_at_changes() if evaluates else begun_plan

    def evaluate_at_changes(self) -> "RunPlan":
        """This plan, with evaluations on both sides of each boundary and of each beginning of a unified order."""
        source, steps = self.source, self.steps
        assert isinstance(source, IndexEpochs)
        assert steps is not None
        changes = [(boundary.last_before, boundary.first_after) for boundary in boundary_steps_of(source)]
        changes += [(step - 1, step) for step in self.reorder_steps if step > 1]
        wanted = evaluation_steps(changes, self.identity.step, self.identity.max_steps)
        # The trainer does not end a step whose data it skips.
        evaluating = {source.schedule.last_trained(step) for step in wanted}
        evaluating = {step for step in evaluating if step > self.identity.step}
        return replace(
            self, steps=replace(steps, evaluating=tuple(sorted(evaluating))), evaluating=frozenset(evaluating)
        )

    def install(self, dataloader: host.Dataloader) -> None:
        """Lets dataset and sampler draw as planned. Before the loader forks its workers."""
        reading = self.loader.reading
        if self.segment is None or self.drawn.index is None or not isinstance(reading, PositionedReading):
            return
        if self.drawn.listing:
            host.list_datasets(self.loader.dataset, self.drawn.listing)
        host.install_order(self.loader.dataset, self.drawn.index, self.decision.reorders)
        ahead = reading.ahead
        if (self.segment.start, self.segment.stop) != (ahead.start, ahead.stop):
            host.start_sampler(dataloader, self.segment.start, self.segment.stop)


def steps_of(source: IndexEpochs, after_step: int, max_steps: int) -> Steps:
    """The boundary steps and closing steps of a schedule, from the step after ``after_step`` on."""
    boundaries = tuple(boundary_steps_of(source, after_step))
    closing = closing_steps(boundaries, source.schedule, max_steps)
    return Steps(source.schedule, boundaries, tuple(sorted(closing)))
