"""Which positions each optimizer step draws.

Microbatch ``m``, counted from where the sampler starts, gives rank ``r`` the positions
``start + m*b*D + r*b + [0, b)``. The samplers differ in the incomplete microbatch at the end, if ``drop_last`` is off:

- ``paddlenlp.utils.batch_sampler.DistributedBatchSampler`` (3.0.0b4) gives all of it to *every* rank.
- The samplers of ``paddle.io`` (3.3.1) divide it among the ranks. Their positions are numbered consecutively through
  all sampler epochs: see :mod:`paddle_epoch_guard.index.epoch_sampling`.
- The samplers of PaddleFormers' base Trainer (1.2.0) do the same, but are strided: rank ``r`` draws
  ``start + m*b*D + r + D * [0, b)``.

Microbatches that do not fill a whole step at the end of a trainer epoch are drawn all the same: their gradients go
into the first step of the next trainer epoch, and so do their positions here (paddlenlp/trainer/trainer.py,
``_inner_training_loop``).

Steps are 1-based and mean "the step that completes as ``global_step``".
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import ScheduleError
from paddle_epoch_guard.language import tr


@dataclass(frozen=True)
class Draw:
    """A contiguous range of positions that is drawn ``times`` times, over all ranks."""

    start: int
    stop: int
    times: int = 1

    @property
    def samples(self) -> int:
        """Samples drawn, repeats counted."""
        return (self.stop - self.start) * self.times


@dataclass(frozen=True)
class Segment:
    """Consecutive steps in which the sampler reads without a gap, under one global batch."""

    first_step: int
    start: int
    """The first position that ``first_step`` draws."""
    micro_batch: int
    """b: samples per device and microbatch."""
    accumulation: int
    """A: microbatches per step."""
    world_size: int
    """D: data-parallel ranks."""
    stop: int
    """The sampler ends before this position."""
    drop_last: bool = True
    """Whether an incomplete last microbatch is dropped. Otherwise every rank draws all of it."""
    is_sampler_epoch: bool = False
    """Whether this is one sampler epoch: an incomplete last microbatch is divided among the ranks, and the next
    sampler epoch follows the last whole step."""
    strided: bool = False
    """Whether each rank takes every D-th position of a microbatch, rather than b consecutive ones."""
    leftover_microbatches: int = 0
    """Leftover microbatches of the previous segment. The first step of this one draws them before its own."""

    @property
    def global_batch(self) -> int:
        """B = b * A * D, samples per step."""
        return self.micro_batch * self.accumulation * self.world_size

    @property
    def microbatches(self) -> int:
        """Microbatches that the sampler can deliver, including those that fill no whole step."""
        full, tail = divmod(max(self.stop - self.start, 0), self.micro_batch * self.world_size)
        return full + (tail > 0 and not self.drop_last)

    @property
    def steps(self) -> int:
        """Whole steps that the sampler can deliver."""
        return self.microbatches // self.accumulation

    def draws(self, first_step: int, last_step: int) -> list[Draw]:
        """The positions of the steps ``first_step`` to ``last_step``, both in this segment; without leftover ones."""
        first, last = ((step - self.first_step) * self.accumulation for step in (first_step, last_step + 1))
        return self.reads(first, last)

    def reads(self, first: int, last: int) -> list[Draw]:
        """The positions of the microbatches ``[first, last)``, counted from 0."""
        size = self.micro_batch * self.world_size
        start, stop = self.start + first * size, self.start + last * size
        if stop <= self.stop or self.is_sampler_epoch:
            return [Draw(start, min(stop, self.stop))] if last > first else []
        # Only the very last microbatch of a segment can be the tail.
        tail = (self.stop - self.start) % size
        ranges = [Draw(start, self.stop - tail), Draw(self.stop - tail, self.stop, times=self.world_size)]
        return [draw for draw in ranges if draw.stop > draw.start]

    def share(self, microbatch: int, rank: int) -> npt.NDArray[np.int64]:
        """``[b]``: the positions that one rank draws in a microbatch, counted from 0; fewer or more at the tail."""
        size = self.micro_batch * self.world_size
        start = self.start + microbatch * size
        each = self.micro_batch
        if start + size > self.stop:
            if not self.is_sampler_epoch:
                return np.arange(start, self.stop, dtype=np.int64)
            each = (self.stop - start) // self.world_size
        if self.strided:
            return np.arange(start + rank, start + each * self.world_size, self.world_size, dtype=np.int64)
        return np.arange(start + rank * each, start + (rank + 1) * each, dtype=np.int64)

    def shares(self, first: int, last: int, rank: int) -> npt.NDArray[np.int64]:
        """``[(last - first) * b]``: the positions of one rank in the microbatches ``[first, last)``, all whole."""
        inside = np.arange(self.micro_batch, dtype=np.int64) * (self.world_size if self.strided else 1)
        inside += rank if self.strided else rank * self.micro_batch
        size = self.micro_batch * self.world_size
        starts = np.arange(self.start + first * size, self.start + last * size, size, dtype=np.int64)
        positions: npt.NDArray[np.int64] = (starts[:, None] + inside).reshape(-1)
        return positions


Trained = tuple[Segment, int, int]
"""A range of trained steps in one segment: the segment, first and last step."""


def surplus_of(trained: Iterable[Trained]) -> float:
    """See :meth:`Schedule.surplus`."""
    own = carried = 0
    for segment, first, last in trained:
        own += (last - first + 1) * segment.accumulation
        carried += segment.leftover_microbatches if first == segment.first_step else 0
    return 1 + carried / own if own else 1.0


def sampler_epochs_ahead(first: Segment, length: int, last_epoch: int, max_steps: int) -> tuple[Segment, ...]:
    """A segment for each sampler epoch, up to the last step of the run.

    Args:
        first: the rest of the sampler epoch in which the run begins.
        length: positions of a sampler epoch.
        last_epoch: the sampler epoch with which the run ends, from 1.
        max_steps: the last step of the run.
    """
    segments = [first]
    while segments[-1].steps and segments[-1].stop < last_epoch * length:
        last = segments[-1]
        step = last.first_step + last.steps
        if step > max_steps:
            break
        left_over = last.microbatches % last.accumulation
        following = replace(last, first_step=step, start=last.stop, stop=last.stop + length)
        segments.append(replace(following, leftover_microbatches=left_over))
    return tuple(segments)


@dataclass(frozen=True)
class Schedule:
    """The map from steps to positions. A segment begins wherever the batch or the reading of the data changes."""

    segments: tuple[Segment, ...]
    skipped: tuple[tuple[int, int], ...] = field(default=())
    """Inclusive ranges of steps that advance the position without training (``skip_data_intervals``)."""

    def __post_init__(self) -> None:
        if not self.segments:
            raise ScheduleError(tr("a schedule has no segments; expected at least one"))
        for segment in self.segments:
            sizes = (segment.micro_batch, segment.accumulation, segment.world_size, segment.first_step)
            if min(sizes) < 1 or min(segment.start, segment.leftover_microbatches) < 0:
                raise ScheduleError(
                    tr(
                        "{segment}: expected positive batch, accumulation, world size and step, and a start from 0 on",
                        segment=segment,
                    )
                )
        if self.segments[0].leftover_microbatches:
            raise ScheduleError(
                tr(
                    "{segment}: the first segment cannot have microbatches left over before it",
                    segment=self.segments[0],
                )
            )
        starts = [segment.first_step for segment in self.segments]
        if starts != sorted(set(starts)):
            raise ScheduleError(tr("segments start at steps {steps}; expected ascending steps", steps=starts))
        for first, last in self.skipped:
            if not 1 <= first <= last:
                values = {"first": first, "last": last}
                raise ScheduleError(tr("skipped steps {first} to {last}; expected 1 <= first <= last", **values))

    def then(self, segment: Segment) -> "Schedule":
        """This schedule with ``segment`` in force from its first step on.

        A segment that only continues the previous one adds nothing: a run may be interrupted any number of times.
        """
        kept = tuple(old for old in self.segments if old.first_step < segment.first_step)
        if kept:
            last = kept[-1]
            reached = last.start + (segment.first_step - last.first_step) * last.global_batch
            if replace(last, first_step=segment.first_step, start=reached, leftover_microbatches=0) == segment:
                return replace(self, segments=kept)
        return replace(self, segments=(*kept, segment))

    def trains(self, step: int) -> bool:
        """Whether the step trains, rather than skipping its data."""
        return not any(first <= step <= last for first, last in self.skipped)

    def last_trained(self, step: int) -> int:
        """The last step up to and including ``step`` that trains; 0 if none does."""
        for first, last in sorted(self.skipped, reverse=True):
            if first <= step <= last:
                step = first - 1
        return step

    def draws(self, first_step: int, last_step: int) -> list[Draw]:
        """What the trained steps from ``first_step`` to ``last_step`` draw, over all ranks.

        Raises:
            ScheduleError: a step lies before the first segment, or the sampler cannot deliver it.
        """
        draws: list[Draw] = []
        for segment, first, last in self.trained(first_step, last_step):
            if first == segment.first_step:
                draws += self.carried(segment)
            draws += segment.draws(first, last)
        return draws

    def trained(self, first_step: int, last_step: int) -> Iterable[Trained]:
        """The ranges of trained steps between two steps, each in one segment: the segment, first and last step.

        Raises:
            ScheduleError: the sampler cannot deliver one of them.
        """
        for first, last in self._trained_runs(first_step, last_step):
            at = first
            while at <= last:
                segment, end = self._segment_at(at)
                yield segment, at, min(last, end)
                at = end + 1

    def carried(self, segment: Segment) -> list[Draw]:
        """The leftover positions of the previous segment that a segment's first step draws."""
        if not segment.leftover_microbatches:
            return []
        before, first = self._left_over(segment)
        return before.reads(first, first + segment.leftover_microbatches)

    def _left_over(self, segment: Segment) -> tuple[Segment, int]:
        """The previous segment, and the first of its microbatches after its last step."""
        before = self.segments[bisect_left(self.segments, segment.first_step, key=lambda other: other.first_step) - 1]
        return before, (segment.first_step - before.first_step) * before.accumulation

    def surplus(self, first_step: int, last_step: int) -> float:
        """Microbatches that trained steps draw, leftover ones included, divided by those that belong to the steps.

        The trainer divides the sum of all their losses by the number of the latter.
        """
        return surplus_of(self.trained(first_step, last_step))

    def samples(self, first_step: int, last_step: int) -> int:
        """Samples that the trained steps draw, over all ranks."""
        return sum(draw.samples for draw in self.draws(first_step, last_step))

    def position_after(self, step: int) -> int:
        """The position that the step after ``step`` draws first.

        Raises:
            ScheduleError: the sampler cannot deliver ``step``.
        """
        segment, last = self._segment_at(step)
        if segment.is_sampler_epoch and step == last:
            return segment.stop
        return min(segment.start + (step - segment.first_step + 1) * segment.global_batch, segment.stop)

    def reached_before(self, step: int) -> int:
        """The highest position that was drawn by a trained step before ``step``, and one; 0 if none was."""
        drawn = [draw for segment, first, last in self.runs(step - 1) for draw in segment.draws(first, last)]
        return max((draw.stop for draw in drawn), default=0)

    def positions(self, step: int, rank: int) -> npt.NDArray[np.int64]:
        """The positions that one rank draws in one step, in order, whether it trains or not.

        Args:
            step: 1-based.
            rank: data-parallel rank, ``0 <= rank < world_size``.

        Returns:
            int64 array ``[b * A]``; another length if the step draws the tail, or leftover microbatches.

        Raises:
            ScheduleError: the sampler cannot deliver this step, or there is no such rank.
        """
        segment, _ = self._segment_at(step)
        if not 0 <= rank < segment.world_size:
            raise ScheduleError(tr("rank {rank}; the schedule has {ranks} ranks", rank=rank, ranks=segment.world_size))
        shares = []
        if segment.leftover_microbatches and step == segment.first_step:
            before, left = self._left_over(segment)
            shares = [before.share(left + micro, rank) for micro in range(segment.leftover_microbatches)]
        first = (step - segment.first_step) * segment.accumulation
        shares += [segment.share(first + micro, rank) for micro in range(segment.accumulation)]
        return np.concatenate(shares)

    def positions_of_steps(
        self, first_step: int, last_step: int, rank: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """:meth:`positions` of several steps, one after the other.

        Returns:
            The positions, and how many of them each step draws.

        Raises:
            ScheduleError: as of :meth:`positions`.
        """
        segment, end = self._segment_at(first_step)
        first, last = ((step - segment.first_step) * segment.accumulation for step in (first_step, last_step + 1))
        has_own_only = not segment.leftover_microbatches or first_step > segment.first_step
        is_whole = segment.start + last * segment.micro_batch * segment.world_size <= segment.stop
        if last_step <= end and has_own_only and is_whole and 0 <= rank < segment.world_size:
            each = segment.micro_batch * segment.accumulation
            return segment.shares(first, last, rank), np.full(last_step - first_step + 1, each)
        by_step = [self.positions(step, rank) for step in range(first_step, last_step + 1)]
        return np.concatenate(by_step), np.array([len(positions) for positions in by_step], dtype=np.int64)

    def crossings(self, position: int) -> list[tuple[int, bool]]:
        """The steps that first draw ``position`` or a later one, one for each segment that contains it.

        Returns:
            ``(step, mixed)`` for each; ``mixed`` if the step also draws positions before ``position``.
        """
        crossings = []
        for segment, last in self._last_steps():
            carried = self.carried(segment)
            if carried and carried[0].start <= position < carried[-1].stop:
                crossings.append((segment.first_step, position > carried[0].start))
            steps, offset = divmod(position - segment.start, segment.global_batch)
            step = segment.first_step + steps
            if segment.start <= position < segment.stop and step <= last:
                crossings.append((step, offset > 0 or bool(carried and steps == 0)))
        return crossings

    def runs(self, last_step: int) -> list[tuple[Segment, int, int]]:
        """The ranges of trained steps up to ``last_step``, each in one segment: the segment, first and last step.

        A segment is read until the next one begins, or its sampler ends.
        """
        runs = []
        for segment, last in self._last_steps():
            runs += [(segment, *run) for run in self._trained_runs(segment.first_step, min(last, last_step))]
        return runs

    def _last_steps(self) -> Iterable[tuple[Segment, int]]:
        """Each segment, and the last step for which it is in force: the next one begins, or its sampler ends."""
        for segment, following in zip_longest(self.segments, self.segments[1:]):
            last = segment.first_step + segment.steps - 1
            yield segment, last if following is None else min(last, following.first_step - 1)

    def _trained_runs(self, first_step: int, last_step: int) -> Iterable[tuple[int, int]]:
        at = first_step
        for first, last in sorted(self.skipped):
            if last < at or first > last_step:
                continue
            if first > at:
                yield at, first - 1
            at = last + 1
        if at <= last_step:
            yield at, last_step

    def _segment_at(self, step: int) -> tuple[Segment, int]:
        """The segment in force at ``step``, and the last step for which it is."""
        end: int | None = None
        for segment in reversed(self.segments):
            if segment.first_step <= step:
                last = segment.first_step + segment.steps - 1
                if step > last:
                    raise ScheduleError(
                        tr(
                            "step {step}: the sampler that starts at step {first}, position {start} ends after step "
                            "{last}, at position {stop}",
                            step=step,
                            first=segment.first_step,
                            start=segment.start,
                            last=last,
                            stop=segment.stop,
                        )
                    )
                return segment, last if end is None else min(last, end)
            end = segment.first_step - 1
        first = self.segments[0].first_step
        raise ScheduleError(tr("step {step}; the schedule starts at step {first}", step=step, first=first))
