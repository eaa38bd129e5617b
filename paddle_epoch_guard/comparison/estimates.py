"""By how much the losses of two runs differ at a place, measured in every way that their records allow."""

import math
from dataclasses import dataclass, replace

import numpy as np

from paddle_epoch_guard.comparison.adjustment import FreshDifference, fresh_curve, fresh_difference, gap_of
from paddle_epoch_guard.comparison.alignment import Aligned, Bins, Place, aligned_evaluations
from paddle_epoch_guard.comparison.relation import Relation
from paddle_epoch_guard.comparison.run import Floats, Run
from paddle_epoch_guard.statistics.difference import (
    FEW_EVALUATIONS_AUTOCORRELATION,
    LossDifference,
    LossDifferences,
    estimate_difference,
)

FEWEST_EVALUATIONS = 4
"""Evaluations of both runs that a difference of evaluation losses needs."""
EVALUATIONS = 6
"""Evaluations up to the place's end that are used, where the place itself holds fewer."""
OTHER_ORDER_AUTOCORRELATION = 0.9
"""The least autocorrelation of differences of evaluation losses between runs in another order. What one run has drawn
lately, and the other has not, keeps them apart for long: with less, two equal runs under other seeds differ
(``benchmarks/real_comparisons.py``)."""
_FEWEST_FOR_VARIANCE = 6
_TINY = 1e-300


@dataclass(frozen=True)
class Estimates:
    """Differences of two runs at a place: the first run minus the second, nats per token; None if unknown."""

    raw: LossDifference | None = None
    """Of the training losses as they were logged."""
    fresh: LossDifference | None = None
    """Of the training losses on fresh samples."""
    evaluation: LossDifference | None = None
    """Of the evaluation losses."""
    inferred: LossDifference | None = None
    """Of the fresh losses, if one is inferred from evaluation and the gap before the last change of the order."""
    pairing: float | None = None
    """Variance of the paired difference, divided by that of an unpaired one; None unless the draws are the same."""
    level: float = math.nan
    """The mean training loss of both runs."""
    by_dataset: bool = True
    """Whether the losses of fresh samples are known by dataset, or there is only one."""
    evaluation_level: float = math.nan
    """The mean evaluation loss of both."""


@dataclass(frozen=True, eq=False)
class Curves:
    """The differences along the runs, for figures."""

    tokens: Floats
    """``[n]``: the middle of each bin, in tokens drawn."""
    raw: Floats
    """``[n]``: nats per token."""
    fresh: FreshDifference | None
    """All along the runs, where both draw fresh samples."""
    evaluation_tokens: Floats
    evaluation: Floats


def estimates_of(
    runs: tuple[Run, Run], pair: Aligned, place: Place, relation: Relation, paired: bool
) -> tuple[Estimates, Curves]:
    """All differences of two runs at a place.

    Args:
        runs: the two.
        pair: on common bins.
        place: what is compared.
        relation: how they are related; it says which losses can be compared.
        paired: whether both draw the same samples there.
    """
    within = (place.start, place.stop)
    difference = pair.one.loss - pair.other.loss
    # Without losses by dataset, a shift of the mixture looks like progress.
    by_dataset = pair.one.drawn.shape[1] > 1
    comparable = relation.comparable and (by_dataset or relation.data != "other_mixture")
    fresh = fresh_difference(pair, place) if comparable else None
    evaluation_tokens, evaluation = aligned_evaluations(*runs)
    is_one_set = relation.evaluation == "same"
    least = FEW_EVALUATIONS_AUTOCORRELATION if relation.same_order else OTHER_ORDER_AUTOCORRELATION
    estimates = Estimates(
        raw=estimate_difference(pair.middle, difference, within),
        fresh=None if fresh is None else _on_fresh(fresh, place),
        evaluation=_evaluation(evaluation_tokens, evaluation, place, least) if is_one_set else None,
        inferred=_inferred(runs, pair, place) if comparable and fresh is None else None,
        pairing=_pairing(pair, place) if paired else None,
        level=_level(pair, place),
        by_dataset=comparable or not relation.comparable,
        evaluation_level=_evaluation_level(runs, place),
    )
    curve = fresh_curve(pair, place) if comparable else None
    return estimates, Curves(pair.middle, difference, curve, evaluation_tokens, evaluation)


def _on_fresh(fresh: FreshDifference, place: Place) -> LossDifference | None:
    return estimate_difference(fresh.tokens, fresh.difference, (place.start, place.stop), weights=fresh.weights)


def _evaluation(tokens: Floats, difference: Floats, place: Place, least: float) -> LossDifference | None:
    """From the evaluations at the place, or from the last few up to its end, since the last change of the order."""
    known = (tokens <= place.stop) & (tokens > place.changed)
    tokens, difference = tokens[known], difference[known]
    first = min(int(np.searchsorted(tokens, place.start, side="right")), max(len(tokens) - EVALUATIONS, 0))
    if len(tokens) - first < FEWEST_EVALUATIONS:
        return None
    within = (float(tokens[first]), float(tokens[-1]))
    return estimate_difference(tokens, difference, within, least_autocorrelation=least)


def _inferred(runs: tuple[Run, Run], pair: Aligned, place: Place) -> LossDifference | None:
    """The difference of fresh losses, where at least one run's must be inferred; the errors are independent."""
    levels = [_fresh_level(run, bins, pair, place) for run, bins in zip(runs, (pair.one, pair.other), strict=True)]
    if levels[0] is None or levels[1] is None:
        return None
    (one, one_error, one_freedom), (other, other_error, other_freedom) = levels[0], levels[1]
    variances = one_error**2, other_error**2
    freedom = sum(variances) ** 2 / max(variances[0] ** 2 / one_freedom + variances[1] ** 2 / other_freedom, _TINY)
    numbers = (one - other, math.sqrt(sum(variances)), freedom, 0.0)
    return LossDifferences(*(np.array(number) for number in numbers)).only(points=0)


def _fresh_level(run: Run, bins: Bins, pair: Aligned, place: Place) -> tuple[float, float, float] | None:
    """The fresh loss of one run, its standard error and the error's degrees of freedom: measured, or inferred."""
    nothing = replace(bins, loss=np.zeros_like(bins.loss), fresh_loss=np.zeros_like(bins.fresh_loss))
    measured = fresh_difference(Aligned(pair.edges, bins, nothing), place)
    if measured is not None:
        level = _on_fresh(measured, place)
        return None if level is None else (level.value, level.error, level.freedom)
    gap = gap_of(run, place)
    tokens, losses = run.evaluations["tokens"].astype(np.float64), run.evaluations["loss"]
    evaluation = _evaluation(tokens, losses, place, OTHER_ORDER_AUTOCORRELATION)
    if gap is None or evaluation is None:
        return None
    return evaluation.value + gap.value, math.hypot(evaluation.error, gap.error), evaluation.freedom


def _pairing(pair: Aligned, place: Place) -> float | None:
    """How much of the noise is left where both runs draw the same samples."""
    inside = place.holds(pair.middle)
    if inside.sum() < _FEWEST_FOR_VARIANCE:
        return None
    tokens = pair.middle[inside]
    one, other = (_scatter(tokens, run.loss[inside]) for run in (pair.one, pair.other))
    return _scatter(tokens, (pair.one.loss - pair.other.loss)[inside]) / max(one + other, _TINY)


def _scatter(x: Floats, values: Floats) -> float:
    """The variance about a line."""
    apart, residual = x - x.mean(), values - values.mean()
    residual = residual - (apart @ residual) / (apart @ apart) * apart
    return float(residual @ residual) / (len(x) - 2)


def _level(pair: Aligned, place: Place) -> float:
    inside = place.holds(pair.middle)
    return float((pair.one.loss[inside].mean() + pair.other.loss[inside].mean()) / 2) if inside.any() else math.nan


def _evaluation_level(runs: tuple[Run, Run], place: Place) -> float:
    """The mean of both runs' last evaluation losses up to the end of the place."""
    losses = [run.evaluations["loss"][run.evaluations["tokens"] <= place.stop] for run in runs]
    return float(np.mean([each[-1] for each in losses])) if all(map(len, losses)) else math.nan
