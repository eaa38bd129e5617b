"""Exposure: how many times a run has drawn the same token of the same document before.

Time is the number of samples drawn so far, in the order of the schedule. Within a segment that is the order of
positions. Where segments overlap, because data is drawn again, each draws the position once. Skipped steps draw
nothing. The exposure of a draw is its number among the draws of its token, from 0 by time. Padding that ranks draw
again at the end of the data counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.sample_shares import (
    LEVELS,
    NOT_DRAWN,
    UNIFORM,
    UNKNOWN,
    SampleShares,
    TracedDraws,
    levels_of,
    recencies_of,
    table_of_pairs,
)
from paddle_epoch_guard.ledger.tracing import Int64Array, Trace
from paddle_epoch_guard.order import Schedule

ENOUGH = 200
"""The fewest traced draws to average: the standard error of a share is then at most 0.035."""
_FAR = 12
_LINE = 20  # samples through which a line is laid


@dataclass(frozen=True)
class Estimate:
    """The mean exposure of the tokens drawn in some steps."""

    mean: float
    error: float
    """Standard error of the mean; 0 if every token is traced."""
    draws: int = 0
    """The number of traced draws averaged."""


@dataclass(frozen=True)
class _Read:
    """Positions ``[start, stop)``, drawn in order from ``time`` on by trained steps of one segment."""

    first_step: int
    batch: int
    start: int
    stop: int
    time: int
    segment: int
    """The segment's first step."""
    lead: int = 0
    """Leftover samples of the previous segment, which ``first_step`` draws before these."""


@dataclass(frozen=True)
class EarlierReads:
    """Steps that drew from other data of a trace."""

    of: int
    """Which: a number in ``Trace.earlier``."""
    schedule: Schedule
    last_step: int
    shift: int = 0
    """What is added to its steps to count them among those of the run."""


@dataclass(frozen=True, eq=False)
class _Draws:
    """Traced draws of a run: all, or those of one dataset of a blend."""

    time: Int64Array
    """``[n]``, ascending."""
    token: Int64Array
    """``[n]``"""
    prior: Int64Array
    """``[n]``: the exposure of each draw."""
    jumps: Int64Array
    """``[m]``: the times at which exposure may jump, with the first and the last time; ascending."""


class Exposure:
    """The exposure of the tokens that a run draws, in past and in planned steps.

    Args:
        trace: where the traced tokens are drawn.
        schedule: of the whole run; draws of earlier segments count.
        last_step: the last step of the run.
        earlier: what was read before of the other data of the trace, the oldest first. These draws count.
    """

    def __init__(self, trace: Trace, schedule: Schedule, last_step: int, earlier: Sequence[EarlierReads] = ()) -> None:
        self._trace = trace
        self._reads = _reads_of(schedule, last_step)
        before_token, before_step = _draws_before(trace, earlier)
        before = len(before_token)
        at, time, step = _draws_of_reads(trace.position, self._reads)
        token = np.concatenate((before_token, trace.token[at])).astype(np.int64)
        # Their own times do not matter, only that they come first, in their order.
        time = np.concatenate((np.arange(-before, 0), time))
        step = np.concatenate((before_step, step))
        jumps = _jump_times(self._reads, trace.discontinuities)
        prior, since = _priors(token, step)
        self._all = _Draws(time, token, prior, jumps)
        nobody = np.full(before, -1, dtype=np.int32)
        self._drawn_by: npt.NDArray[np.int32] = np.concatenate((nobody, trace.dataset[at]))
        self._of_dataset: dict[int, _Draws] = {}
        fresh_before = np.concatenate(([0], np.cumsum(prior == 0)))
        self._sizes, self._traced = np.array(trace.tokens), np.array(trace.traced)
        self._stratum: Int64Array = np.repeat(np.arange(len(self._traced)), self._traced)
        """Of each traced token."""
        # The tokens that each draw stands for, summed up.
        weight = (self._sizes / np.maximum(self._traced, 1))[self._stratum[token]]
        self._weight_before: npt.NDArray[np.float64] = np.concatenate(([0.0], np.cumsum(weight)))
        at_jumps = np.searchsorted(self._all.time, self._all.jumps)
        traced, fresh = np.diff(at_jumps), np.diff(fresh_before[at_jumps])
        # The share of new tokens from one jump to the next; -1 if the traced draws are few, or some new and some not.
        share = fresh / np.maximum(traced, 1)
        is_uniform = (traced >= ENOUGH) & ((share <= UNIFORM) | (share >= 1 - UNIFORM))
        share = np.where(is_uniform, share, -1.0)
        level = levels_of(prior)
        between = np.vstack((_levels_between(level, at_jumps, share), np.zeros(LEVELS)))
        self.traced = TracedDraws(
            time, level, recencies_of(prior, since), jumps, np.append(share, -1.0), between, trace.complete
        )
        """What the shares of the run's samples follow from."""

    def of_steps(self, first_step: int, last_step: int, dataset: int | None = None) -> Estimate | None:
        """The mean exposure of the tokens that the steps from ``first_step`` to ``last_step`` draw.

        If the steps hold few traced draws, the nearest :data:`ENOUGH` are averaged, but none from beyond a jump: a
        boundary, an end of a reorder, or a segment that does not start where the one before it ended. If the steps
        contain a jump, both sides are estimated separately and weighted by their samples.

        Args:
            first_step: the first step.
            last_step: the last step.
            dataset: count only the tokens drawn from this dataset of a blend, from 0; those drawn from all datasets
                if None. Boundaries of other datasets are no jumps then. As the draws of a rare dataset lie far apart,
                a line is laid through the nearest. Without a blend, dataset 0 is all.

        Returns:
            The mean; None if the steps draw no sample, or no traced token is near. Unless every token is traced, it is
            not known whether a few steps draw a rare dataset: they then have the exposure of the draws near them.
        """
        draws = self._draws_of(dataset)
        if draws is None:
            return None
        start, stop = self._time_at(first_step), self._time_at(last_step + 1)
        if self._trace.complete:
            first, last = np.searchsorted(draws.time, [start, stop]).tolist()
            return Estimate(float(draws.prior[first:last].mean()), 0.0, last - first) if last > first else None
        jumps = draws.jumps[(draws.jumps > start) & (draws.jumps < stop)].tolist()
        sides = [(high - low, self._between(draws, low, high)) for low, high in pairwise([start, *jumps, stop])]
        known = [(samples, side) for samples, side in sides if side is not None]
        samples = sum(count for count, _ in known)
        if not samples:
            return None
        mean = sum(count * side.mean for count, side in known) / samples
        error = sum((count * side.error) ** 2 for count, side in known) ** 0.5 / samples
        return Estimate(mean, error, sum(side.draws for _, side in known))

    def shares_of(self, step: int, positions: Int64Array) -> SampleShares:
        """How often and how long before the tokens of the samples had been drawn that a segment draws somewhere.

        Args:
            step: as of :meth:`times_of`.
            positions: likewise. All shares are 0 of one that the segment does not draw.
        """
        return self.traced.shares_at(self.times_of(step, positions))

    def times_of(self, step: int, positions: Int64Array) -> Int64Array:
        """When a segment draws the samples at some positions: `NOT_DRAWN` where it does not.

        Args:
            step: any step of the segment; its first one for leftover positions of the previous segment.
            positions: ``[n]``, in any order.
        """
        asked = np.asarray(positions, dtype=np.int64)
        segment = max((read.segment for read in self._reads if read.segment <= step), default=0)
        # Leftover positions of the previous segment need not adjoin the step's own.
        reads = sorted(
            (read for read in self._reads if read.segment == segment or (read.first_step == step == segment)),
            key=lambda read: read.start,
        )
        if not reads:
            return np.full(len(asked), NOT_DRAWN, dtype=np.int64)
        if len(reads) == 1 and asked.size and reads[0].start <= asked.min() and asked.max() < reads[0].stop:
            moved: Int64Array = asked + (reads[0].time - reads[0].start)  # nearly always
            return moved
        starts, stops, times = np.array([(read.start, read.stop, read.time) for read in reads], dtype=np.int64).T
        which = np.maximum(np.searchsorted(starts, asked, side="right") - 1, 0)
        is_drawn = (starts[which] <= asked) & (asked < stops[which])
        return np.where(is_drawn, times[which] + asked - starts[which], NOT_DRAWN)

    def _time_at(self, step: int) -> int:
        """The number of samples drawn before a step."""
        past = [read for read in self._reads if read.first_step <= step]
        if not past:
            return 0
        read = past[-1]
        if step == read.first_step:
            return read.time - read.lead
        return read.time + min((step - read.first_step) * read.batch, read.stop - read.start)

    def _draws_of(self, dataset: int | None) -> _Draws | None:
        """The traced draws of one dataset, or of all; None if there is no such dataset."""
        datasets = len(self._trace.discontinuities_of)
        if dataset is None or (dataset == 0 and datasets == 1):
            return self._all
        if not 0 <= dataset < datasets:
            return None
        if dataset not in self._of_dataset:
            own = np.flatnonzero(self._drawn_by == dataset)
            jumps = _jump_times(self._reads, self._trace.discontinuities_of[dataset])
            self._of_dataset[dataset] = _Draws(self._all.time[own], self._all.token[own], self._all.prior[own], jumps)
        return self._of_dataset[dataset]

    def _between(self, draws: _Draws, start: int, stop: int) -> Estimate | None:
        """The mean over the times ``[start, stop)``, which contain no jump, from the draws in or near them."""
        first, last = np.searchsorted(draws.time, [start, stop]).tolist()
        is_widened, is_all = last - first < ENOUGH and stop > start, draws is self._all
        if is_widened:
            low = int(draws.jumps[np.searchsorted(draws.jumps, start, side="right") - 1])
            high = int(draws.jumps[np.searchsorted(draws.jumps, stop)])
            if not is_all and first == last and _is_far(draws.time, (start, stop), (low, high)):
                return None
            first, last = _widened(draws.time, first, last, (start + stop - 1) / 2, low, high)
        if first == last:
            return None
        token, prior = draws.token[first:last], draws.prior[first:last]
        sizes, traced = self._sizes, self._traced
        stratum = self._stratum[token]
        weight = (sizes / traced)[stratum]
        mean = float(np.average(prior, weights=weight))
        influence, residual = weight / weight.sum(), prior - mean
        if is_widened and not is_all:
            # The draws of one dataset may lie far apart, and mostly on one side: its trend must not shift the mean.
            mean, influence, residual = _at(draws.time[first:last] - (start + stop - 1) / 2, prior, weight)
        by_token = np.bincount(token, influence * residual).astype(np.float64)
        variance = _variance(by_token, self._stratum, sizes, traced)
        # Equal draws do not prove that all others are equal: assume one more, whose exposure differs by one.
        variance += float(np.max(influence**2 * (1 - traced / sizes)[stratum]))
        if is_widened:
            variance += self._spread(draws, weight, (first, last), (start, stop), residual)
        return Estimate(mean, float(np.sqrt(variance)), last - first)

    def _spread(
        self,
        draws: _Draws,
        weight: npt.NDArray[np.float64],
        averaged: tuple[int, int],
        asked: tuple[int, int],
        residual: npt.NDArray[np.float64],
    ) -> float:
        """The variance of the asked samples' own mean, as they are a few of those averaged.

        It is that of a few of many samples, all of whose tokens had been drawn together before, as they mostly were.

        Args:
            draws: all draws, or those of a dataset.
            weight: ``[n]``: how many tokens each draw averaged stands for.
            averaged: the numbers of the first and behind the last draw averaged.
            asked: the first and behind the last time asked for.
            residual: ``[n]``: exposure less the mean or the trend.
        """
        since, until = draws.time[averaged[0]], draws.time[averaged[1] - 1] + 1
        scatter, share = float(np.average(residual**2, weights=weight)), 1.0
        if draws is not self._all:
            first, last = np.searchsorted(self._all.time, [min(asked[0], since), max(asked[1], until)])
            share = float(weight.sum() / (self._weight_before[last] - self._weight_before[first]))
        few, many = (max(share * samples, 1.0) for samples in (asked[1] - asked[0], until - since))
        if draws is not self._all:
            # One more sample, whose exposure differs by one: that which crosses a boundary may. Among the few of one
            # dataset it counts.
            scatter += 1 / many
        return max(1 / few - 1 / many, 0.0) * scatter


def _reads_of(schedule: Schedule, last_step: int) -> tuple[_Read, ...]:
    reads = []
    time = before = 0
    for segment, first, last in schedule.runs(last_step):
        carried = schedule.carried(segment) if first == segment.first_step else []
        lead = 0
        for draws, of in ((carried, before), (segment.draws(first, last), segment.first_step)):
            if draws:
                start, stop = draws[0].start, draws[-1].stop
                reads.append(_Read(first, segment.global_batch, start, stop, time, of, lead))
                lead = stop - start
                time += lead
        before = segment.first_step
    return tuple(reads)


def _draws_before(trace: Trace, earlier: Sequence[EarlierReads]) -> tuple[Int64Array, Int64Array]:
    """``[n]`` each: the token of each earlier draw, by time, and the step that drew it."""
    tokens, steps = ([np.empty(0, np.int64)] for _ in range(2))
    for one in earlier:
        drawn = trace.earlier[one.of]
        at, _, step = _draws_of_reads(drawn.position, _reads_of(one.schedule, one.last_step))
        tokens.append(drawn.token[at].astype(np.int64))
        steps.append(step + one.shift)
    return np.concatenate(tokens), np.concatenate(steps)


def _draws_of_reads(position: Int64Array, reads: Sequence[_Read]) -> tuple[Int64Array, Int64Array, Int64Array]:
    """What some reads draw.

    Args:
        position: those that draw traced tokens, ascending.
        reads: in their order.

    Returns:
        ``[n]`` each: the number of the position, when it is drawn, and by which step.
    """
    draws, times, steps = ([np.empty(0, np.int64)] for _ in range(3))
    for read in reads:
        first, last = np.searchsorted(position, [read.start, read.stop])
        within = position[first:last] - read.start
        draws.append(np.arange(first, last))
        times.append(within + read.time)
        steps.append(within // read.batch + read.first_step)
    return np.concatenate(draws), np.concatenate(times), np.concatenate(steps)


def _priors(tokens: Int64Array, step: Int64Array) -> tuple[Int64Array, Int64Array]:
    """How often and how long before the token of each draw had been drawn.

    Args:
        tokens: ``[n]``: of each draw, by time.
        step: ``[n]``: that draws it.

    Returns:
        ``[n]``: how many earlier draws are of the same token. ``[n]``: the steps since the last of them, or 0.
    """
    by_token = np.argsort(tokens, kind="stable")
    ordered = tokens[by_token]
    is_first = np.concatenate((np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]))
    starts = np.flatnonzero(is_first)
    priors, since = np.empty_like(tokens), np.empty_like(tokens)
    priors[by_token] = np.arange(len(tokens)) - np.repeat(starts, np.diff(np.append(starts, len(tokens))))
    steps = step[by_token]
    since[by_token] = np.where(is_first, 0, np.diff(steps, prepend=0))
    return priors, since


def _levels_between(
    level: npt.NDArray[np.int8], at_jumps: Int64Array, share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``[m - 1, LEVELS]``: into which exposure levels the traced draws from one jump to the next fall.

    Args:
        level: ``[n]``: of each draw, by time.
        at_jumps: ``[m]``: the number of the first draw from each jump on.
        share: ``[m - 1]``: the share of new tokens from each jump to the next; -1 if it tells nothing of one sample.
    """
    spans = np.diff(at_jumps)
    interval = np.repeat(np.arange(len(spans)), spans)
    counts = table_of_pairs(interval, level[at_jumps[0] : at_jumps[-1]], (len(spans), LEVELS))
    shares = counts / np.maximum(spans, 1)[:, None]
    unknown = np.zeros_like(shares)
    unknown[:, 0], unknown[:, UNKNOWN] = share, 1 - share
    is_uniform = shares.max(axis=1, initial=0.0) >= 1 - UNIFORM
    return np.where((share >= 0)[:, None], np.where(is_uniform[:, None], shares, unknown), 0.0)


def _jump_times(reads: tuple[_Read, ...], discontinuities: Int64Array) -> Int64Array:
    """``[m]``: the times at which exposure may jump, with the first and the last time; ascending."""
    times = {0}
    segment = reached = 0
    for read in reads:
        if read.segment != segment and read.start != reached:
            times.add(read.time)
        # Within a segment, a discontinuity may lie among skipped positions.
        since = reached if read.segment == segment else read.start
        passed = discontinuities[(discontinuities >= since) & (discontinuities < read.stop)]
        times |= {read.time + max(position - read.start, 0) for position in passed.tolist()}
        segment, reached = read.segment, read.stop
    times.add(max((read.time + read.stop - read.start for read in reads), default=0))
    return np.array(sorted(times), dtype=np.int64)


def _is_far(time: Int64Array, asked: tuple[int, int], between: tuple[int, int]) -> bool:
    """Whether the ``asked`` times, which hold no draw, are far from all draws ``between`` two jumps.

    :data:`_FAR` times the mean distance between two samples that are drawn is far: even in a random order, a gap is so
    wide with a probability of only e to the minus that.
    """
    low, high = between
    near = time[np.searchsorted(time, low) : np.searchsorted(time, high)]
    gap = np.where(near < asked[0], asked[0] - near, near - asked[1]).min(initial=high)
    return bool(len(near) and gap * len(np.unique(near)) > _FAR * (high - low))


def _at(
    time: npt.NDArray[np.float64], prior: Int64Array, weight: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The exposure at time 0 by a weighted least-squares line through draws ``[n]``, or their mean if they are few.

    Returns:
        The exposure, within the range of the draws. ``[n]``: the coefficient of each draw in it. ``[n]``: the
        residual of each draw.
    """
    mean, center = float(np.average(prior, weights=weight)), float(np.average(time, weights=weight))
    influence, residual, apart = weight / weight.sum(), prior - mean, time - center
    squares = float(weight @ apart**2)
    if len(np.unique(time)) < _LINE:
        return mean, influence, residual
    slope = float(weight @ (apart * residual)) / squares
    value = float(np.clip(mean - slope * center, prior.min(), prior.max()))
    return value, influence - weight * apart * (center / squares), residual - slope * apart


def _widened(time: Int64Array, first: int, last: int, middle: float, low: int, high: int) -> tuple[int, int]:
    """The range of the :data:`ENOUGH` draws nearest to ``middle`` among the times ``[low, high)``."""
    lowest, highest = np.searchsorted(time, [low, high]).tolist()
    lowest, highest = max(lowest, first - ENOUGH), min(highest, last + ENOUGH)
    if highest - lowest > ENOUGH:
        radius = np.partition(np.abs(time[lowest:highest] - middle), ENOUGH - 1)[ENOUGH - 1]
        lowest = max(lowest, int(np.searchsorted(time, middle - radius)))
        highest = min(highest, int(np.searchsorted(time, middle + radius, side="right")))
    return lowest, highest


def _variance(sums: npt.NDArray[np.float64], stratum: Int64Array, sizes: Int64Array, traced: Int64Array) -> float:
    """The variance of the sum of residuals over draws: a cluster sample, whose clusters are tokens.

    The formula is that for ``traced`` of ``sizes`` tokens in each stratum, picked without replacement (Cochran,
    "Sampling Techniques", 3rd ed., 5.3 and 6.3).

    Args:
        sums: ``[m]``: the residuals of each of the first tokens, summed up over its draws.
        stratum: ``[n]``: of each token, ``n >= m``.
        sizes: ``[k]``: the tokens of each stratum.
        traced: ``[k]``: those of them that are traced.
    """
    tokens = np.flatnonzero(sums != 0)  # numpy finds the zeros of floats more slowly
    drawn, of_token = sums[tokens], stratum[tokens]
    total = np.bincount(of_token, drawn, len(sizes))
    squares = np.bincount(of_token, drawn**2, len(sizes))
    variances = (1 - traced / sizes) * traced / np.maximum(traced - 1, 1) * (squares - total**2 / traced)
    return float(variances.sum())
