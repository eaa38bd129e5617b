"""From differences to a verdict: which of two runs is better, and what the verdict rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paddle_epoch_guard.comparison.estimates import Estimates
from paddle_epoch_guard.comparison.relation import Relation
from paddle_epoch_guard.statistics.difference import RELEVANT_DIFFERENCE, LossDifference
from paddle_epoch_guard.statistics.families import holm

Verdict = Literal["better", "worse", "no difference", "not comparable"]
"""Of the first run of a pair."""
Measure = Literal["fresh", "evaluation", "inferred"]
"""What a verdict rests on: the training loss on fresh samples, the evaluation loss, or the fresh loss inferred from
evaluation and the gap before the last change of the order."""
Reason = Literal[
    "differs", "agrees", "below_margin", "within_margin", "not_excluded", "measures_disagree",
    "other_data", "other_length", "data_unknown", "mixture_unknown", "all_repeated", "too_few_windows",
]  # fmt: skip
"""Why: measures agree or disagree, a difference is too small or too uncertain, or the losses are not comparable."""

SIGNIFICANT = 0.05
"""Level of a comparison, for all its pairs together."""


@dataclass(frozen=True)
class Judgement:
    """A verdict on the first run of a pair."""

    verdict: Verdict
    reason: Reason
    measure: Measure | None = None
    """The measure that the verdict rests on; None if nothing can be compared."""
    margin: float = 0.0
    """The least difference that counts, nats per token."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a pair."""

    estimates: Estimates
    relation: Relation
    evaluates_apart: bool | None = None
    """Whether the evaluation data overlaps no training data of either run; None if unknown."""

    @property
    def measures(self) -> dict[Measure, LossDifference]:
        """The differences that a verdict may rest on."""
        found: dict[Measure, LossDifference] = {}
        estimates = self.estimates
        if estimates.fresh is not None:
            found["fresh"] = estimates.fresh
        if estimates.evaluation is not None and self.evaluates_apart is not False:
            found["evaluation"] = estimates.evaluation
        if not found and estimates.inferred is not None:
            found["inferred"] = estimates.inferred
        return found

    def margin_of(self, measure: Measure) -> float:
        """The least difference that counts by default, nats per token."""
        of_evaluation = measure == "evaluation"
        return RELEVANT_DIFFERENCE * abs(self.estimates.evaluation_level if of_evaluation else self.estimates.level)

    @property
    def p(self) -> float:
        """The level at which the pair would just differ, by any of its measures (Bonferroni)."""
        measures = self.measures.values()
        return min([1.0, *(len(measures) * each.p for each in measures)])


def judge_all(pairs: Sequence[Evidence], margin: float | None = None) -> list[Judgement]:
    """Judges all pairs of a comparison together (Holm).

    Args:
        pairs: what is known of each.
        margin: the least difference that counts, nats per token; by default a share of the loss.
    """
    tested = [number for number, pair in enumerate(pairs) if pair.measures]
    rejected = holm([pairs[number].p for number in tested], SIGNIFICANT)
    differs = dict(zip(tested, rejected.tolist(), strict=True))
    return [judge(pair, differs.get(number, False), margin) for number, pair in enumerate(pairs)]


def judge(pair: Evidence, differs: bool, margin: float | None = None) -> Judgement:
    """Judges a pair.

    Args:
        pair: what is known of it.
        differs: whether it differs by any measure, after correction for all pairs of the comparison.
        margin: the least difference that counts, nats per token; by default a share of the loss.
    """
    measures = pair.measures
    if not measures:
        return Judgement("not comparable", _obstacle(pair))
    margins = {measure: pair.margin_of(measure) if margin is None else margin for measure in measures}
    certain = {measure: each for measure, each in measures.items() if differs and each.p * len(measures) < SIGNIFICANT}
    counting = {measure: each for measure, each in certain.items() if abs(each.value) >= margins[measure]}
    if len({each.value > 0 for each in counting.values()}) > 1:
        return Judgement("no difference", "measures_disagree", "fresh", margins["fresh"])
    if counting:
        measure = min(counting, key=lambda each: counting[each].p)
        reason: Reason = "agrees" if len(counting) > 1 else "differs"
        return Judgement("worse" if counting[measure].value > 0 else "better", reason, measure, margins[measure])
    measure = min(certain or measures, key=lambda each: measures[each].error)
    found, least = measures[measure], margins[measure]
    if certain:
        return Judgement("no difference", "below_margin", measure, least)
    within = max(-found.low, found.high) < least
    return Judgement("no difference", "within_margin" if within else "not_excluded", measure, least)


def _obstacle(pair: Evidence) -> Reason:
    if pair.relation.obstacle is not None:
        return pair.relation.obstacle
    if not pair.estimates.by_dataset:
        return "mixture_unknown"
    return "too_few_windows" if pair.estimates.raw is None else "all_repeated"


@dataclass(frozen=True)
class Rank:
    """A run's place among several."""

    run: int
    """Its number, from 0."""
    rank: int
    """One more than the number of runs that are better."""
    ties: tuple[int, ...]
    """Runs that the data does not tell apart from it."""


def ranking(runs: int, pairs: Sequence[tuple[int, int]], judgements: Sequence[Judgement]) -> list[Rank]:
    """Ranks runs by the verdicts on their pairs, the best first.

    Args:
        runs: how many there are.
        pairs: the numbers of the two runs of each pair.
        judgements: of each pair, about its first run.

    Returns:
        The runs that can be compared with at least one other. A rank may be shared by runs that are not comparable,
        and two runs that no verdict tells apart may have other ranks, if a third one is better than one of them only:
        ``ties`` tells.
    """
    better_than = [0] * runs
    ties: list[set[int]] = [set() for _ in range(runs)]
    is_compared = [False] * runs
    for (one, other), judgement in zip(pairs, judgements, strict=True):
        if judgement.verdict == "not comparable":
            continue
        is_compared[one] = is_compared[other] = True
        if judgement.verdict == "no difference":
            ties[one].add(other)
            ties[other].add(one)
        else:
            better_than[other if judgement.verdict == "better" else one] += 1
    ranks = [Rank(run, 1 + better_than[run], tuple(sorted(ties[run]))) for run in range(runs) if is_compared[run]]
    return sorted(ranks, key=lambda each: (each.rank, each.run))
