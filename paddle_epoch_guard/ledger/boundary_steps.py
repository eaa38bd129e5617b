"""The steps at which a run reaches the boundaries of its data."""

from collections.abc import Iterable
from dataclasses import dataclass

from paddle_epoch_guard.ledger.sources import IndexEpochs
from paddle_epoch_guard.order import Schedule


@dataclass(frozen=True)
class BoundaryStep:
    """The step that first draws from beyond a boundary."""

    step: int
    from_epoch: int
    """The last epoch before it, 1-based."""
    dataset: int = 0
    position: int | None = None
    """The boundary's position in the order; None if positions are unknown."""
    mixed: bool = False
    """Whether the step draws from both sides."""

    @property
    def to_epoch(self) -> int:
        """The epoch that starts, 1-based."""
        return self.from_epoch + 1

    @property
    def last_before(self) -> int:
        """The last step wholly before the boundary."""
        return self.step - 1

    @property
    def first_after(self) -> int:
        """The first step wholly after it."""
        return self.step + 1 if self.mixed else self.step


def boundary_steps_of(source: IndexEpochs, after_step: int = 0) -> list[BoundaryStep]:
    """The crossings of all boundaries at steps later than ``after_step``, by step.

    Boundaries that a reorder dissolves are left out.
    """
    crossings = [
        BoundaryStep(step, boundary.from_epoch, boundary.dataset, boundary.position, mixed)
        for boundary in source.index.boundaries
        if not source.positions.dissolves(boundary.position)
        for step, mixed in source.schedule.crossings(boundary.position)
        if step > after_step
    ]
    return sorted(crossings, key=lambda crossing: (crossing.step, crossing.dataset))


def ended_epochs(source: IndexEpochs, start: int) -> dict[int, int]:
    """For each dataset, the last epoch whose boundary lies before position ``start``, where a run begins."""
    return {
        boundary.dataset: boundary.from_epoch
        for boundary in source.index.boundaries
        if boundary.position < start and not source.positions.dissolves(boundary.position)
    }


def closing_steps(crossings: Iterable[BoundaryStep], schedule: Schedule, last_step: int) -> frozenset[int]:
    """The steps at whose end the log window must be closed, so that no logged loss mixes two sides.

    The last step of the run is one of them: otherwise the steps after the last log would have no loss.

    Args:
        crossings: the steps at which the run reaches boundaries.
        schedule: of the run; a skipped step cannot close a window.
        last_step: the last step of the run.
    """
    wanted = {last_step}
    # Where a segment ends before the run does, the data is read again: no window should cross that step either.
    wanted |= {segment.first_step + segment.steps - 1 for segment in schedule.segments if segment.steps}
    for crossing in crossings:
        wanted |= {crossing.step - 1, crossing.first_after - 1}
    return frozenset(schedule.last_trained(step) for step in wanted if step <= last_step) - {0}
