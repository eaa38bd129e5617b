"""Which order a run draws in: the host's, the one it began, or a unified one from here on."""

from dataclasses import dataclass, field

from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.index import SampleIndex
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import PositionMap, Reorder
from paddle_epoch_guard.order.seeds import UNIFY


@dataclass(frozen=True)
class UnifyOptions:
    """What the user asked for."""

    unified: bool
    mix: str = "auto"
    """``auto``, ``uniform`` or ``ramp``."""
    pool: str = "planned"
    """``planned``: reorder the samples that the run will draw. ``all``: shuffle the whole index, then cut."""
    seed: int = 0


@dataclass(frozen=True)
class Decision:
    """The reorders in force, and why."""

    reorders: tuple[Reorder, ...]
    begun: Reorder | None = None
    """The reorder that begins with this start of the run."""
    code: str = ""
    """What is to be said of it; empty if nothing is."""
    parameters: dict[str, int] = field(default_factory=dict)
    """What its sentence names."""

    @property
    def is_warning(self) -> bool:
        """Whether the user asked for something else."""
        return self.code == "order_stays"


def decide_order(  # noqa: PLR0913 - each is a fact of another origin
    options: UnifyOptions,
    index: SampleIndex,
    start: int,
    stop: int,
    recorded: tuple[Reorder, ...] = (),
    planned_before: int | None = None,
    written: tuple[Reorder, ...] = (),
) -> Decision:
    """Decides which reorders are in force from here on.

    Args:
        options: what the user asked for.
        index: the data.
        start: the position that the next step draws first; 0 at a fresh start.
        stop: where the planned samples end: the run draws the positions before it.
        recorded: the reorders of the checkpoint's sidecar, which stay in force whatever is asked for now.
        planned_before: where the planned samples ended before; what lies beyond was appended to the run.
        written: the reorders in which 'rebuild' wrote the index, which are in force where none is recorded.

    Raises:
        ArgumentsError: the pool ``all`` is asked for in mid-run.
    """
    # The order of an index that 'rebuild' wrote begins where the run comes to it for the first time.
    begun = written[-1] if written and not recorded and written[-1].start == start else None
    recorded = recorded or written
    if recorded:
        if options.unified:
            joined = _joined(options, index, start, stop, recorded, planned_before)
            return Decision(recorded, begun) if joined is None else Decision((*recorded, joined), joined)
        if recorded == written:
            return Decision(recorded, begun, "order_rebuilt", {"position": written[-1].start})
        return Decision(recorded, code="order_stays", parameters={"position": recorded[-1].start})
    if not options.unified:
        return Decision(())
    planned = [boundary for boundary in index.boundaries if boundary.position < stop]
    if not planned:
        return _nothing_to_unify(index, stop)
    ahead = [boundary for boundary in planned if boundary.position > start]
    if not ahead:
        last = planned[-1]
        epochs = {"from_epoch": last.from_epoch, "to_epoch": last.to_epoch}
        return Decision((), code="nothing_left", parameters={"start": start, "boundary": last.position, **epochs})
    if options.pool == "all":
        if start > 0:
            raise ArgumentsError(
                tr(
                    "--epoch_guard_pool all reorders the whole index and only from position 0; the run resumes at "
                    "position {start}. Use --epoch_guard_pool planned",
                    start=start,
                )
            )
        stop = len(index)
    mix = options.mix if options.mix != "auto" else ("uniform" if start == 0 else "ramp")
    boundary = ahead[0].position if mix == "ramp" else None
    begun = Reorder(start, stop, mix, (options.seed, UNIFY, len(recorded)), boundary)
    return Decision((begun,), begun)


def _joined(
    options: UnifyOptions, index: SampleIndex, start: int, stop: int, recorded: tuple[Reorder, ...], before: int | None
) -> Reorder | None:
    """The reorder that joins the appended samples to the rest of the plan; None if there is nothing to join.

    What was appended by a part of the run that was not unified has boundaries that no reorder has dissolved.
    """
    positions = PositionMap(recorded)
    seams = [boundary.position for boundary in index.boundaries if not positions.dissolves(boundary.position)]
    seams = [seam for seam in [*seams, *([] if before is None else [before])] if start < seam < stop]
    appended = before is not None and before < stop
    if start >= stop or not (seams or appended):
        return None
    key = (options.seed, UNIFY, len(recorded))
    if options.mix == "uniform" or not seams:
        return Reorder(start, stop, "uniform", key)
    return Reorder(start, stop, "ramp", key, min(seams))


def _nothing_to_unify(index: SampleIndex, stop: int) -> Decision:
    if index.boundaries:
        return Decision(
            (), code="ends_before_boundary", parameters={"stop": stop, "boundary": index.boundaries[0].position}
        )
    return Decision((), code="one_epoch" if max(index.epochs) == 1 else "shuffled_together")
