"""Which positions each optimizer step draws.

The rule is that of ``paddlenlp.utils.batch_sampler.DistributedBatchSampler`` (3.0.0b4): microbatch ``m``,
counted from where the sampler starts, gives rank ``r`` the positions ``start + m*b*D + r*b + [0, b)``; what is
left over at the end goes, where ``drop_last`` is off, to *every* rank.

Steps are 1-based and mean "the step that completes as ``global_step``".
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import ScheduleError


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
class Piece:
    """Consecutive steps in which the sampler reads on without a gap, under one global batch."""

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
    keeps_tail: bool = False
    """Whether an incomplete last microbatch is drawn, then by every rank whole (``drop_last`` off)."""

    @property
    def global_batch(self) -> int:
        """B = b * A * D, samples per step."""
        return self.micro_batch * self.accumulation * self.world_size

    @property
    def steps(self) -> int:
        """Whole steps that the sampler can deliver."""
        full, tail = divmod(max(self.stop - self.start, 0), self.micro_batch * self.world_size)
        return (full + (self.keeps_tail and tail > 0)) // self.accumulation

    def draws(self, first_step: int, last_step: int) -> list[Draw]:
        """The positions of the steps ``first_step`` to ``last_step``, both within this piece."""
        start = self.start + (first_step - self.first_step) * self.global_batch
        stop = self.start + (last_step - self.first_step + 1) * self.global_batch
        if stop <= self.stop:
            return [Draw(start, stop)]
        # Only the very last step of a piece can reach the tail.
        tail = (self.stop - self.start) % (self.micro_batch * self.world_size)
        ranges = [Draw(start, self.stop - tail), Draw(self.stop - tail, self.stop, times=self.world_size)]
        return [draw for draw in ranges if draw.stop > draw.start]


@dataclass(frozen=True)
class Schedule:
    """The map from steps to positions, piece by piece: it changes where the reading does."""

    pieces: tuple[Piece, ...]
    skipped: tuple[tuple[int, int], ...] = field(default=())
    """Inclusive ranges of steps that advance the position without training (``skip_data_intervals``)."""

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ScheduleError("a schedule has no pieces; expected at least one")
        for piece in self.pieces:
            sizes = (piece.micro_batch, piece.accumulation, piece.world_size, piece.first_step)
            if min(sizes) < 1 or piece.start < 0:
                raise ScheduleError(
                    f"{piece}: expected positive batch, accumulation, world size and step, and a start from 0 on"
                )
        starts = [piece.first_step for piece in self.pieces]
        if starts != sorted(set(starts)):
            raise ScheduleError(f"pieces start at steps {starts}; expected ascending steps")
        for first, last in self.skipped:
            if not 1 <= first <= last:
                raise ScheduleError(f"skipped steps {first} to {last}; expected 1 <= first <= last")

    def then(self, piece: Piece) -> "Schedule":
        """This schedule with ``piece`` in force from its first step on.

        A piece that only goes on with the one before adds nothing: a run may be interrupted any number of times.
        """
        kept = tuple(old for old in self.pieces if old.first_step < piece.first_step)
        if kept:
            last = kept[-1]
            reached = last.start + (piece.first_step - last.first_step) * last.global_batch
            if replace(last, first_step=piece.first_step, start=reached) == piece:
                return replace(self, pieces=kept)
        return replace(self, pieces=(*kept, piece))

    def trains(self, step: int) -> bool:
        """Whether the step trains, rather than passing over its data."""
        return not any(first <= step <= last for first, last in self.skipped)

    def last_trained(self, step: int) -> int:
        """The last step up to and including ``step`` that trains; 0 where none does."""
        for first, last in sorted(self.skipped, reverse=True):
            if first <= step <= last:
                step = first - 1
        return step

    def draws(self, first_step: int, last_step: int) -> list[Draw]:
        """What the trained steps from ``first_step`` to ``last_step`` draw, over all ranks.

        Raises:
            ScheduleError: a step before the first piece, or past what the sampler can deliver.
        """
        found: list[Draw] = []
        for first, last in self._trained_runs(first_step, last_step):
            at = first
            while at <= last:
                piece, end = self._piece_at(at)
                upto = min(last, end)
                found += piece.draws(at, upto)
                at = upto + 1
        return found

    def samples(self, first_step: int, last_step: int) -> int:
        """Samples that the trained steps draw, over all ranks."""
        return sum(draw.samples for draw in self.draws(first_step, last_step))

    def position_after(self, step: int) -> int:
        """The position that the step after ``step`` draws first.

        Raises:
            ScheduleError: the sampler cannot deliver ``step``.
        """
        piece, _ = self._piece_at(step)
        return min(piece.start + (step - piece.first_step + 1) * piece.global_batch, piece.stop)

    def positions(self, step: int, rank: int) -> npt.NDArray[np.int64]:
        """The positions that one rank draws in one step, in order, whether it trains or not.

        Args:
            step: 1-based.
            rank: data-parallel rank, ``0 <= rank < world_size``.

        Returns:
            int64 array, ``[b * A]`` but for a step that draws the tail.

        Raises:
            ScheduleError: the sampler cannot deliver this step, or there is no such rank.
        """
        piece, _ = self._piece_at(step)
        if not 0 <= rank < piece.world_size:
            raise ScheduleError(f"rank {rank}; the schedule has {piece.world_size} ranks")
        stride = piece.micro_batch * piece.world_size
        batches = []
        for micro in range(piece.accumulation):
            start = piece.start + (step - piece.first_step) * piece.global_batch + micro * stride
            if start + stride <= piece.stop:
                start += rank * piece.micro_batch
                batches.append(np.arange(start, start + piece.micro_batch, dtype=np.int64))
            else:
                batches.append(np.arange(start, piece.stop, dtype=np.int64))
        return np.concatenate(batches)

    def crossings(self, position: int) -> list[tuple[int, bool]]:
        """The steps that first draw ``position`` or a later one, one for each piece that passes over it.

        Returns:
            ``(step, mixed)`` for each: ``mixed`` where the step also draws positions before ``position``.
        """
        found = []
        for piece, last in self._last_steps():
            steps, offset = divmod(position - piece.start, piece.global_batch)
            step = piece.first_step + steps
            if position >= piece.start and step <= last:
                found.append((step, offset > 0))
        return found

    def runs(self, last_step: int) -> list[tuple[Piece, int, int]]:
        """The runs of trained steps up to ``last_step``, each within one piece: the piece, first and last step.

        A piece is read until the next one begins, or its sampler ends.
        """
        found = []
        for piece, last in self._last_steps():
            found += [(piece, *run) for run in self._trained_runs(piece.first_step, min(last, last_step))]
        return found

    def _last_steps(self) -> Iterable[tuple[Piece, int]]:
        """Each piece, and the last step for which it is in force: the next one begins, or its sampler ends."""
        for piece, following in zip_longest(self.pieces, self.pieces[1:]):
            last = piece.first_step + piece.steps - 1
            yield piece, last if following is None else min(last, following.first_step - 1)

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

    def _piece_at(self, step: int) -> tuple[Piece, int]:
        """The piece in force at ``step``, and the last step for which it is."""
        end: int | None = None
        for piece in reversed(self.pieces):
            if piece.first_step <= step:
                last = piece.first_step + piece.steps - 1
                if step > last:
                    raise ScheduleError(
                        f"step {step}: the sampler that starts at step {piece.first_step}, position {piece.start} "
                        f"ends after step {last}, at position {piece.stop}"
                    )
                return piece, last if end is None else min(last, end)
            end = piece.first_step - 1
        raise ScheduleError(f"step {step}; the schedule starts at step {self.pieces[0].first_step}")
