"""Steps that came before those of a run's present schedule, in another order: what the weights had seen by then. Pure.

A run may have changed its order because a flag allowed it, trained without the guard for a while, or started from the
weights of another run. What was drawn then counts as drawn before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from paddle_epoch_guard.index import EpochSampling
from paddle_epoch_guard.order import Reorder, Schedule
from paddle_epoch_guard.resume.fingerprints import BlendRecord, DatasetRecord


@dataclass(frozen=True)
class EarlierSteps:
    """Some steps that the weights were trained by, the order in which they drew, and what from."""

    last_step: int
    schedule: Schedule
    """Up to that step; its first segment begins with the first of these steps."""
    datasets: tuple[DatasetRecord, ...]
    reorders: tuple[Reorder, ...] = ()
    blend: BlendRecord | None = None
    epoch_sampling: EpochSampling | None = None
    names: tuple[str, ...] = ()
    """Of the datasets, for messages."""
    shift: int = 0
    """What is added to a step to count it among those of the present run. Steps of another run, whose weights this
    one started from, end at 0 or below."""

    @property
    def first_step(self) -> int:
        """The first of these steps, as their own run counted."""
        return self.schedule.segments[0].first_step

    @property
    def shown(self) -> dict[str, int]:
        """First and last step, for a message."""
        return {"first_step": self.first_step, "last_step": self.last_step}

    def before(self, steps: int) -> "EarlierSteps":
        """These steps, as a run counts them that started from the weights which they and ``steps`` in all led to."""
        return replace(self, shift=self.shift - steps)


def steps_up_to(schedule: Schedule, last_step: int, first_step: int = 1) -> Schedule | None:
    """The part of a schedule from one step to another; None if it has none of these steps."""
    segments = []
    for segment, following in zip(schedule.segments, (*schedule.segments[1:], None), strict=True):
        ends_before = following is not None and following.first_step <= first_step
        if segment.first_step > last_step or ends_before:
            continue
        passed = first_step - segment.first_step
        if passed > 0:
            start = segment.start + passed * segment.global_batch
            segment = replace(segment, first_step=first_step, start=start, leftover_microbatches=0)
        segments.append(segment)
    if not segments:
        return None
    segments[0] = replace(segments[0], leftover_microbatches=0)
    skipped = tuple((max(first, first_step), min(last, last_step)) for first, last in schedule.skipped)
    return Schedule(tuple(segments), tuple(each for each in skipped if each[0] <= each[1]))


def overlaps_earlier(schedule: Schedule, reorders: Sequence[Reorder], first_steps: Sequence[int]) -> bool:
    """Whether a reorder covers positions that the schedule had drawn before it began, in another order.

    A reorder counts for what is drawn from its first step on: what was drawn before must lie before its start.
    """
    starts = zip(first_steps, reorders, strict=True)
    return any(schedule.reached_before(step) > reorder.start for step, reorder in starts)


def follow_on(earlier: Sequence[EarlierSteps], first_step: int) -> bool:
    """Whether earlier steps follow on each other without a gap, from the first step of a run up to ``first_step``."""
    expected: int | None = None
    for steps in earlier:
        begins = steps.first_step == 1 if expected is None else steps.first_step + steps.shift == expected
        if not begins:
            return False
        expected = steps.last_step + steps.shift + 1
    return first_step == (1 if expected is None else expected)
