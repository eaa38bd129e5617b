"""The training loss as it would be on fresh samples, with the datasets of a blend in one fixed mixture.

The loss on a sample that is drawn for the first time tells what the model has learnt; the loss on a repeated one also
tells what it remembers. So two runs at different exposure are compared on their fresh samples. In a blend they are
compared dataset by dataset, and the differences are averaged with the mean mixture of both runs: else a shift of the
mixture would look like progress (direct standardisation, as of mortality rates: Yule, Journal of the Royal Statistical
Society 97, 1934).

Where a run draws hardly any fresh samples, this loss cannot be read off training at all. The evaluation loss stands in
for it, and where two runs evaluate on different data, the evaluation loss and the gap between fresh training loss and
evaluation before the last change of the order. No regression of loss on exposure is used: it is off by up to 0.4 nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.comparison.alignment import Aligned, Bins, Place
from paddle_epoch_guard.comparison.run import Floats, Run
from paddle_epoch_guard.ledger.intervals import INTERVALS, Interval
from paddle_epoch_guard.statistics.gap import mean_gap
from paddle_epoch_guard.statistics.judging import Part

FEWEST_BINS = 6
"""Bins with fresh samples of both runs that a place needs."""
LEAST_FRESH = 0.01
"""Share of fresh samples below which a run draws hardly any."""
_FILLED = 0.9  # of the bins of a place must hold fresh samples of each dataset
_GROUPS = 12  # in a stretch as long as the place
_LEAST_SHARE = 0.005  # a dataset with less of the mixture is left out
_MOST_LEFT_OUT = 0.2  # of the mixture


@dataclass(frozen=True, eq=False)
class FreshDifference:
    """The difference of two runs' losses on fresh samples."""

    tokens: Floats
    """``[n]``: the middle of each bin, in tokens drawn."""
    difference: Floats
    """``[n]``: first run minus second run, nats per token."""
    weights: Floats
    """``[n]``: inverse to the variance of each, where all samples scatter alike."""
    mixture: Floats
    """``[datasets]``: the share of each dataset; 0 for one that is left out."""


def fresh_difference(pair: Aligned, place: Place) -> FreshDifference | None:
    """The difference on fresh samples; None if a run draws hardly any at the place.

    Neighbouring bins are merged until nine of ten hold fresh samples of each dataset, in both runs.
    """
    inside = _inside(pair, place)
    mixture = _mixture(pair, inside)
    if mixture is None:
        return None
    count = int(inside.sum())
    size = 1
    while count // size >= FEWEST_BINS:
        found = _merged_difference(pair, mixture, size, int(np.flatnonzero(inside)[-1]) + 1)
        if place.holds(found.tokens).sum() >= max(FEWEST_BINS, _FILLED * (count // size)):
            return found
        size *= 2
    return None


def fresh_curve(pair: Aligned, place: Place) -> FreshDifference | None:
    """The difference on fresh samples all along two runs, in groups of a twelfth of the place; None without any."""
    inside = _inside(pair, place)
    drawn = (pair.one.drawn + pair.other.drawn).sum(axis=0)
    fresh = np.minimum(pair.one.fresh_samples.sum(axis=0), pair.other.fresh_samples.sum(axis=0))
    mixture: Floats = np.where(fresh > 0, drawn, 0.0)
    if not mixture.any():
        return None
    size = max(int(inside.sum()) // _GROUPS, 1)
    found = _merged_difference(pair, mixture / mixture.sum(), size, len(pair.middle))
    return found if len(found.tokens) else None


def _inside(pair: Aligned, place: Place) -> npt.NDArray[np.bool_]:
    starts, stops = pair.edges
    inside: npt.NDArray[np.bool_] = (starts >= place.start) & (stops <= place.stop)
    return inside


def _mixture(pair: Aligned, inside: npt.NDArray[np.bool_]) -> Floats | None:
    """The share of each dataset, the mean of both runs; None if too much of it has no fresh samples."""
    if not inside.any():
        return None
    shares = []
    is_drawn = np.ones(pair.one.drawn.shape[1], dtype=bool)
    for run in (pair.one, pair.other):
        drawn, fresh = run.drawn[inside].sum(axis=0), run.fresh_samples[inside].sum(axis=0)
        shares.append(drawn / max(drawn.sum(), 1))
        is_drawn &= fresh > LEAST_FRESH * drawn
    mixture: Floats = np.mean(shares, axis=0)
    kept = is_drawn & (mixture >= _LEAST_SHARE)
    if mixture[~kept].sum() > _MOST_LEFT_OUT:
        return None
    of_kept: Floats = np.where(kept, mixture, 0.0)
    of_kept /= of_kept.sum()
    return of_kept


def _merged_difference(pair: Aligned, mixture: Floats, size: int, stop: int) -> FreshDifference:
    """The difference on groups of ``size`` bins, counted back from the bin before ``stop``."""
    first = stop % size
    groups = slice(first, first + (len(pair.middle) - first) // size * size)
    kept = mixture > 0
    sums = [_grouped(run, groups, size, kept) for run in (pair.one, pair.other)]
    is_full = np.all([(samples > 0).all(axis=1) for samples, _ in sums], axis=0)
    (one_samples, one_loss), (other_samples, other_loss) = ((a[is_full], b[is_full]) for a, b in sums)
    share = mixture[kept]
    difference = (one_loss / one_samples - other_loss / other_samples) @ share
    variance = (1 / one_samples + 1 / other_samples) @ share**2
    starts, stops = (edges[groups].reshape(-1, size) for edges in pair.edges)
    tokens = (starts[:, 0] + stops[:, -1])[is_full] / 2
    return FreshDifference(tokens, difference, 1 / variance, mixture)


def _grouped(run: Bins, groups: slice, size: int, kept: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Samples and summed loss of the datasets that are kept, in each group of bins."""
    samples, loss = (values[groups][:, kept] for values in (run.fresh_samples, run.fresh_loss))
    shape = (-1, size, samples.shape[1])
    return samples.reshape(shape).sum(axis=1), loss.reshape(shape).sum(axis=1)


def gap_of(run: Run, place: Place) -> Part | None:
    """The fresh training loss less the evaluation loss, before the last change of the order that the place follows.

    Returns:
        Its mean over up to six evaluation intervals, and the standard error of one later gap; None if there was no
        change, or fewer than three whole intervals with fresh samples before it.
    """
    at = int(np.searchsorted(run.windows["tokens"], place.start, side="right"))
    step = int(run.windows["step"][min(at, len(run.windows) - 1)])
    changes = [change for change in run.changes if change.first_after <= step]
    if not changes:
        return None
    before = [interval for interval in _intervals_of(run) if interval.last_step <= changes[-1].first_after]
    return mean_gap(before[-INTERVALS:])


def _intervals_of(run: Run) -> Sequence[Interval]:
    """The evaluation intervals of a run in which mostly fresh samples are drawn, with their fresh training loss."""
    windows, evaluations = run.windows, run.evaluations
    intervals = []
    for before, after in pairwise(evaluations):
        inside = (windows["first_step"] > before["step"]) & (windows["step"] <= after["step"])
        samples, loss = run.fresh.samples[inside].sum(), run.fresh.loss[inside].sum()
        if samples > 0.5 * windows["samples"][inside].sum():
            losses = float(loss / samples), float(before["loss"]), float(after["loss"])
            intervals.append(Interval(int(before["step"]) + 1, int(after["step"]), *losses))
    return intervals
