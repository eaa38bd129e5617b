"""Exposure: how many times the same token of the same document was drawn before, in this run.

Draws are put on one axis of time, the samples drawn so far in the order of the schedule. Within a segment of it that
is the order of positions; where segments overlap, because data is drawn again, a position is drawn once in each.
Skipped steps pass over their positions without drawing. A token's draws are numbered from 0 by time: that is the
exposure of each. What ranks draw more than once at the end of the data counts once.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.tracing import Int64Array, Trace
from paddle_epoch_guard.order import Schedule

ENOUGH = 200
"""Traced draws that a mean is taken over, at least: 0.035 is then the largest error of a share."""
_ONE_KIND = 0.005  # one sample crosses into the epochs that follow a boundary, and is new there


@dataclass(frozen=True)
class Estimate:
    """The mean exposure of the tokens drawn in some steps."""

    mean: float
    error: float
    """How far the true mean may be off (one standard deviation); 0 where every token is traced."""
    draws: int = 0
    """Traced draws that the mean was taken over."""


@dataclass(frozen=True)
class _Read:
    """Positions ``[start, stop)``, drawn one after the other from ``time`` on, by trained steps of one segment."""

    first_step: int
    batch: int
    start: int
    stop: int
    time: int
    segment: int
    """The segment's first step."""
    lead: int = 0
    """Samples drawn from ``first_step`` on before these: left over by the segment before."""


class Exposure:
    """The exposure of the tokens that a run draws, planned steps as well as past ones.

    Args:
        trace: where the traced tokens are drawn.
        schedule: of the whole run: what was drawn in earlier segments counts.
        last_step: the last step of the run.
        earlier: the schedule, and the last step, of another run from whose weights this one began. Its draws count,
            but it is not asked about.
    """

    def __init__(
        self, trace: Trace, schedule: Schedule, last_step: int, earlier: tuple[Schedule, int] | None = None
    ) -> None:
        self._trace = trace
        self._reads = _reads_of(schedule, last_step)
        chosen = [np.empty(0, np.int64)]
        time = [np.empty(0, np.int64)]
        for read in (*(() if earlier is None else _before_time(*earlier)), *self._reads):
            first, last = np.searchsorted(trace.position, [read.start, read.stop])
            chosen.append(np.arange(first, last))
            time.append(trace.position[first:last] - read.start + read.time)
        self._time: Int64Array = np.concatenate(time)
        self._token: Int64Array = trace.token[np.concatenate(chosen)].astype(np.int64)
        self._prior: Int64Array = _ranks(self._token)
        self._fresh_before: Int64Array = np.concatenate(([0], np.cumsum(self._prior == 0)))
        self._ends: Int64Array = np.cumsum(trace.traced)
        self._cuts = _cut_times(self._reads, trace.cuts)
        at_cuts = np.searchsorted(self._time, self._cuts)
        traced, fresh = np.diff(at_cuts), np.diff(self._fresh_before[at_cuts])
        # Between two cuts, the share of new tokens; -1 where the traced draws are few, or of both kinds.
        share = fresh / np.maximum(traced, 1)
        one_kind = (traced >= ENOUGH) & ((share <= _ONE_KIND) | (share >= 1 - _ONE_KIND))
        self._share: npt.NDArray[np.float64] = np.where(one_kind, share, -1.0)

    def of_steps(self, first_step: int, last_step: int) -> Estimate | None:
        """The mean exposure of the tokens that trained steps draw.

        Where not every token is traced, steps that hold few traced draws are judged by the :data:`ENOUGH` that lie
        nearest, on both sides alike. These never come from beyond a cut: a boundary, a reorder's end, a segment of the
        schedule that does not go on where the one before it ended. Steps on both sides of a cut are judged side by
        side, each by its share of the samples.

        Returns:
            The mean; None where no sample is drawn, or no traced token is near.
        """
        start, stop = self._time_at(first_step), self._time_at(last_step + 1)
        if self._trace.complete:
            first, last = np.searchsorted(self._time, [start, stop]).tolist()
            return Estimate(float(self._prior[first:last].mean()), 0.0, last - first) if last > first else None
        inside = self._cuts[(self._cuts > start) & (self._cuts < stop)].tolist()
        sides = [(high - low, self._between(low, high)) for low, high in pairwise([start, *inside, stop])]
        known = [(samples, side) for samples, side in sides if side is not None]
        samples = sum(count for count, _ in known)
        if not samples:
            return None
        mean = sum(count * side.mean for count, side in known) / samples
        error = sum((count * side.error) ** 2 for count, side in known) ** 0.5 / samples
        return Estimate(mean, error, sum(side.draws for _, side in known))

    def of_positions(self, step: int, positions: Int64Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Of the samples that the segment in force at ``step`` draws at some positions, the share of new tokens.

        Args:
            step: any step of the segment; its first one, where the positions are among those that it carries over.
            positions: ``[n]``, in any order.

        Returns:
            ``[n]``: the share of the sample's traced tokens that were never drawn before; where none of its tokens is
            traced, but all traced ones around it, from one cut to the next, are new, or none is, their share.
            ``[n]``: whether it is known; where not, or where the segment does not draw the position, the share is 0.
        """
        at = np.asarray(positions, dtype=np.int64)
        segment = max((read.segment for read in self._reads if read.segment <= step), default=0)
        # What a step carries over from the segment before lies apart from what it draws itself.
        reads = sorted(
            (read for read in self._reads if read.segment == segment or (read.first_step == step == segment)),
            key=lambda read: read.start,
        )
        if not reads:
            return np.zeros(len(at)), np.zeros(len(at), dtype=bool)
        starts, stops, times = np.array([(read.start, read.stop, read.time) for read in reads], dtype=np.int64).T
        which = np.maximum(np.searchsorted(starts, at, side="right") - 1, 0)
        time = times[which] + at - starts[which]
        first, last = (np.searchsorted(self._time, time, side=side) for side in ("left", "right"))
        traced = last - first
        fresh = (self._fresh_before[last] - self._fresh_before[first]) / np.maximum(traced, 1)
        segment = np.clip(np.searchsorted(self._cuts, time, side="right") - 1, 0, len(self._share) - 1)
        share = np.where(traced > 0, fresh, self._share[segment])
        known = (starts[which] <= at) & (at < stops[which]) & (share >= 0)
        return np.where(known, share, 0.0), known

    def _time_at(self, step: int) -> int:
        """The samples drawn before a step."""
        past = [read for read in self._reads if read.first_step <= step]
        if not past:
            return 0
        read = past[-1]
        if step == read.first_step:
            return read.time - read.lead
        return read.time + min((step - read.first_step) * read.batch, read.stop - read.start)

    def _between(self, start: int, stop: int) -> Estimate | None:
        """The mean over the times ``[start, stop)``, between which there is no cut, from the draws in or near them."""
        first, last = np.searchsorted(self._time, [start, stop]).tolist()
        spread = 0.0
        if last - first < ENOUGH:
            low = self._cuts[np.searchsorted(self._cuts, start, side="right") - 1]
            high = self._cuts[np.searchsorted(self._cuts, stop)]
            first, last = _widened(self._time, first, last, (start + stop - 1) / 2, low, high)
            if first == last:
                return None
            # These very samples are some of those around them, and as a mean of few they scatter: by as much as if all
            # tokens of a sample had been drawn together before, which they mostly have.
            spread = max(1 / (stop - start) - 1 / (self._time[last - 1] - self._time[first] + 1), 0.0)
        token, prior = self._token[first:last], self._prior[first:last]
        sizes, traced = np.array(self._trace.tokens), np.array(self._trace.traced)
        dataset = np.searchsorted(self._ends, token, side="right")
        weight = (sizes / traced)[dataset]
        mean = float(np.average(prior, weights=weight))
        variance = _variance(token, weight * (prior - mean), dataset, sizes, traced)
        # Draws that are all alike do not prove that all others are: one more, of one exposure more or less.
        variance += float(np.max(weight**2 * (1 - traced / sizes)[dataset]))
        variance = variance / weight.sum() ** 2 + spread * np.average((prior - mean) ** 2, weights=weight)
        return Estimate(mean, float(np.sqrt(variance)), last - first)


def _reads_of(schedule: Schedule, last_step: int) -> tuple[_Read, ...]:
    found = []
    time = 0
    before = 0
    for segment, first, last in schedule.runs(last_step):
        carried = schedule.carried(segment) if first == segment.first_step else []
        lead = 0
        for draws, of in ((carried, before), (segment.draws(first, last), segment.first_step)):
            if draws:
                start, stop = draws[0].start, draws[-1].stop
                found.append(_Read(first, segment.global_batch, start, stop, time, of, lead))
                lead = stop - start
                time += lead
        before = segment.first_step
    return tuple(found)


def _before_time(schedule: Schedule, last_step: int) -> list[_Read]:
    """The reads of an earlier run, which ends where this one's time begins."""
    reads = _reads_of(schedule, last_step)
    end = max((read.time + read.stop - read.start for read in reads), default=0)
    return [replace(read, time=read.time - end) for read in reads]


def _ranks(tokens: Int64Array) -> Int64Array:
    """``[n]``: how often each value stands further ahead in the array."""
    by_token = np.argsort(tokens, kind="stable")
    ordered = tokens[by_token]
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1])))
    ranks = np.empty_like(tokens)
    ranks[by_token] = np.arange(len(tokens)) - np.repeat(starts, np.diff(np.append(starts, len(tokens))))
    return ranks


def _cut_times(reads: tuple[_Read, ...], cuts: Int64Array) -> Int64Array:
    """``[m]``: when the run comes to a cut, or jumps; with the beginning and the end of all time."""
    found = {0}
    segment = reached = 0
    for read in reads:
        if read.segment != segment and read.start != reached:
            found.add(read.time)
        # Of one segment, a cut may lie among positions that were passed over.
        since = reached if read.segment == segment else read.start
        found |= {read.time + max(cut - read.start, 0) for cut in cuts.tolist() if since <= cut < read.stop}
        segment, reached = read.segment, read.stop
    found.add(max((read.time + read.stop - read.start for read in reads), default=0))
    return np.array(sorted(found), dtype=np.int64)


def _widened(time: Int64Array, first: int, last: int, middle: float, low: int, high: int) -> tuple[int, int]:
    """The range of the :data:`ENOUGH` draws next to ``middle``, of those from ``low`` to before ``high``."""
    lowest, highest = np.searchsorted(time, [low, high]).tolist()
    lowest, highest = max(lowest, first - ENOUGH), min(highest, last + ENOUGH)
    if highest - lowest > ENOUGH:
        radius = np.partition(np.abs(time[lowest:highest] - middle), ENOUGH - 1)[ENOUGH - 1]
        lowest = max(lowest, int(np.searchsorted(time, middle - radius)))
        highest = min(highest, int(np.searchsorted(time, middle + radius, side="right")))
    return lowest, highest


def _variance(
    token: Int64Array,
    residual: npt.NDArray[np.float64],
    dataset: Int64Array,
    sizes: Int64Array,
    traced: Int64Array,
) -> float:
    """The variance of a sum over draws, of which each token's belong together: tokens are what was picked at random.

    The textbook's, for samples of ``traced`` tokens out of ``sizes`` in each dataset, drawn without replacement
    (Cochran, "Sampling Techniques", 3rd ed., 5.3 and 6.3).
    """
    tokens, which = np.unique(token, return_inverse=True)
    sums = np.bincount(which, residual)
    of_token = np.empty_like(tokens)
    of_token[which] = dataset
    total = np.bincount(of_token, sums, len(sizes))
    squares = np.bincount(of_token, sums**2, len(sizes))
    each = (1 - traced / sizes) * traced / np.maximum(traced - 1, 1) * (squares - total**2 / traced)
    return float(each.sum())
