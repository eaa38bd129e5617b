"""A comparison as sentences, in English."""

import math

from paddle_epoch_guard.comparison.adjustment import LEAST_FRESH
from paddle_epoch_guard.comparison.at_place import RunAtPlace, at_place
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.judging import SIGNIFICANT, Measure
from paddle_epoch_guard.comparison.numbers import UNKNOWN, number_text
from paddle_epoch_guard.statistics.difference import LossDifference
from paddle_epoch_guard.terminal import joined

MEASURES: dict[Measure, str] = {
    "fresh": "the training loss on fresh samples",
    "evaluation": "the evaluation loss",
    "inferred": "the fresh loss inferred from evaluation and the gap before the order changed",
}
_EVALUATIONS = {
    "same": "They evaluate on the same data.",
    "other": "They evaluate on different data, so their evaluation losses are not comparable.",
    "unknown": "Whether they evaluate on the same data is not recorded, so their evaluation losses do not count.",
    "none": "They do not both evaluate.",
}
_OBSTACLES = {
    "other_data": "they train on different data",
    "other_length": "their sequence lengths differ, so the losses are means over other contexts",
    "data_unknown": "which samples they drew is not known",
    "mixture_unknown": "their mixtures differ, and the losses of so many datasets are not recorded by dataset",
    "all_repeated": "of one, hardly any samples are known to be fresh here, and no evaluation loss can stand in",
    "too_few_windows": "too few log windows lie in this part",
}


def headline(findings: Findings) -> str:
    """Which run is best, and which only looks so."""
    if len(findings.runs) == 2:
        return verdict_sentence(findings.pairs[0])
    misled = [pair for pair in findings.pairs if is_misleading(pair)]
    worst = max(misled, key=lambda pair: abs(explained_by_exposure(pair) or 0.0), default=None)
    caution = "" if worst is None else f" {_looks_better(worst)}; at equal exposure, the data does not confirm it."
    return f"{_best(findings)}{caution}"


def _best(findings: Findings) -> str:
    ranks = findings.ranking
    if not ranks:
        return "The runs cannot be compared."
    first = [each for each in ranks if each.rank == 1]
    best = [findings.runs[each.run].name for each in first]
    if not best:  # each is worse than another: different measures decide
        return f"None of the {len(ranks)} runs is the best: the verdicts on their pairs contradict each other."
    if any(len(each.ties) < len(first) - 1 for each in first):
        return f"Of {len(ranks)} runs, none is better than {joined(best)}; not all of these are comparable."
    if len(best) == len(ranks):
        return f"The data does not tell {joined(best)} apart."
    if len(best) == 1:
        return f"{best[0]} is the best of {len(ranks)} runs."
    return f"{joined(best)} are the best of {len(ranks)} runs; the data does not tell them apart."


def place_sentence(findings: Findings) -> str:
    """What is compared."""
    place, first = findings.place, findings.runs[0]
    tokens = f"{place.start:,} to {place.stop:,} tokens drawn"
    return f"Compared: steps {place.first_step:,} to {place.last_step:,} of {first.name}, {tokens}."


def relation_sentence(pair: Pair) -> str:
    """How two runs are related, and so how they are compared."""
    one, other, relation = pair.one.name, pair.other.name, pair.relation
    evaluation = _EVALUATIONS[relation.evaluation]
    if relation.obstacle is not None:
        return f"{one} and {other}: {_OBSTACLES[relation.obstacle]}. {evaluation}"
    if pair.paired:
        left = pair.estimates.pairing
        kept = "" if left is None else f"; {left:.0%} of the variance of an unpaired difference is left"
        return f"{one} and {other} draw the same samples at each step: compared step by step{kept}. {evaluation}"
    if relation.data == "other_mixture" and not pair.estimates.by_dataset:
        return f"{one} and {other} draw the same datasets in another mixture. {evaluation}"
    if relation.data == "other_mixture":
        return (
            f"{one} and {other} draw the same datasets in another mixture, so they are compared dataset by dataset, "
            f"at equal tokens drawn. {evaluation}"
        )
    differing = [
        what
        for what, same in (("order", relation.same_order), ("schedule (batch or steps)", relation.same_schedule))
        if not same
    ]
    what = " and another ".join(differing) or "part of the order"
    return f"{one} and {other} draw the same data in another {what}: compared at equal tokens drawn. {evaluation}"


def verdict_sentence(pair: Pair) -> str:
    """The verdict on the first run of a pair, with what it rests on and what the raw losses say."""
    one, other, judgement = pair.one.name, pair.other.name, pair.judgement
    if judgement.measure is None:
        return f"{one} and {other} are not comparable: {_OBSTACLES[judgement.reason]}."
    difference = _of(pair, judgement.measure)
    by = MEASURES[judgement.measure]
    if judgement.reason == "measures_disagree":
        fresh, evaluation = _of(pair, "fresh"), _of(pair, "evaluation")
        return (
            f"{one} and {other}: the measures disagree. On fresh samples, the loss of {one} is {_lower(fresh.value)}; "
            f"on evaluation data, it is {_lower(evaluation.value)}."
        )
    if judgement.verdict == "no difference":
        between = f"between {difference.low:+.3f} and {difference.high:+.3f} nats per token"
        if judgement.reason == "below_margin":
            return (
                f"{one} and {other} do not differ by as much as counts: by {by}, the difference is {between}, and "
                f"less than {judgement.margin:.3f} does not count (--margin).{_raw(pair)}"
            )
        if judgement.reason == "within_margin":
            return f"{one} and {other} do not differ: by {by}, the difference is {between}.{_raw(pair)}"
        return (
            f"The data does not tell {one} and {other} apart: by {by}, a difference {between} is possible.{_raw(pair)}"
        )
    size = f"{abs(difference.value):.3f} nats per token ({interval_text(difference)})"
    also = _also(pair) if judgement.reason == "agrees" else ""
    return (
        f"{one} is {judgement.verdict} than {other}: by {by}, {_higher(difference.value)} by {size}{also}.{_raw(pair)}"
    )


def _also(pair: Pair) -> str:
    other: Measure = "evaluation" if pair.judgement.measure == "fresh" else "fresh"
    return f"; {MEASURES[other]} agrees ({_of(pair, other).value:+.3f})"


def explained_by_exposure(pair: Pair) -> float | None:
    """The raw difference less the one at equal exposure, nats per token; None if either is unknown."""
    raw, left = pair.estimates.raw, _left(pair)
    return None if raw is None or left is None else raw.value - left.value


def _left(pair: Pair) -> LossDifference | None:
    """The difference at equal exposure: that on fresh samples, else the one that decides.

    Evaluation differs from the training loss by more than exposure, so it stands in only where nothing is fresh.
    """
    measure = pair.judgement.measure
    if measure is None or not pair.relation.comparable:
        return None
    return pair.estimates.fresh or _of(pair, measure)


def _is_certain(pair: Pair) -> bool:
    """Whether exposure certainly explains a part of the raw difference: its value is not among those that are left."""
    raw, left = pair.estimates.raw, _left(pair)
    return raw is not None and left is not None and not left.low <= raw.value <= left.high


def is_misleading(pair: Pair) -> bool:
    """Whether the raw training losses certainly differ, the verdict does not say so, and exposure is why."""
    raw = pair.estimates.raw
    if raw is None or not _is_certain(pair) or raw.p >= SIGNIFICANT or abs(raw.value) < pair.judgement.margin:
        return False
    return pair.judgement.verdict != ("better" if raw.value < 0 else "worse")


def _looks_better(pair: Pair) -> str:
    raw, one, other = pair.estimates.raw, pair.one.name, pair.other.name
    assert raw is not None
    winner, loser = (one, other) if raw.value < 0 else (other, one)
    return f"By the raw training loss, {winner} looks better than {loser} by {abs(raw.value):.3f} nats"


def _raw(pair: Pair) -> str:
    """What the losses as they were logged say, if exposure certainly explains a part of it."""
    raw, left, explained = pair.estimates.raw, _left(pair), explained_by_exposure(pair)
    if raw is None or left is None or explained is None or not _is_certain(pair):
        return ""
    cause = "the mixture and exposure" if pair.relation.data == "other_mixture" else "exposure"
    measure = "fresh" if pair.estimates.fresh is not None else pair.judgement.measure
    assert measure is not None
    split = (
        f"The raw difference is {raw.value:+.3f}, that of {MEASURES[measure]} {left.value:+.3f}; "
        f"the rest, {explained:+.3f}, is put down to {cause}."
    )
    if is_misleading(pair):
        return f" {_looks_better(pair)}. {split}"
    return f" {split}" if abs(explained) > pair.judgement.margin else ""


def _of(pair: Pair, measure: Measure) -> LossDifference:
    found = getattr(pair.estimates, measure)
    assert isinstance(found, LossDifference)
    return found


def _higher(value: float) -> str:
    return "higher" if value > 0 else "lower"


def _lower(value: float) -> str:
    return f"{abs(value):.3f} {_higher(value)}"


def interval_text(difference: LossDifference) -> str:
    """The 95 % interval of a difference."""
    return f"95 %: {difference.low:+.3f} to {difference.high:+.3f}"


def difference_text(difference: LossDifference | None) -> str:
    """A difference with its interval; a dash if unknown."""
    if difference is None:
        return UNKNOWN
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


RUN_HEAD = ("run", "rank", "steps", "training loss", "fresh", "evaluation", "exposure")
"""The columns of :func:`run_rows`."""
RUN_LEGEND = (
    "fresh: the loss of samples drawn for the first time, and their share; exposure: how often the tokens drawn had "
    "been drawn before; =: not told apart"
)
"""What those columns hold."""


def run_rows(findings: Findings) -> list[tuple[str, ...]]:
    """A row for each run at the place, the best first."""
    ranks = {each.run: each for each in findings.ranking}
    order = sorted(range(len(findings.runs)), key=lambda run: (ranks[run].rank if run in ranks else math.inf, run))
    rows: list[tuple[str, ...]] = []
    for number in order:
        run, place = findings.runs[number], at_place(findings.runs[number], findings.place)
        rank = ranks.get(number)
        tie = "=" if rank is not None and rank.ties else ""
        rows.append(
            (
                run.name, UNKNOWN if rank is None else f"{rank.rank}{tie}",
                f"{place.first_step:,} to {place.last_step:,}", number_text(place.loss), _fresh_text(place),
                number_text(place.evaluation), number_text(place.exposure, 2),
            )
        )  # fmt: skip
    return rows


def _fresh_text(place: RunAtPlace) -> str:
    if math.isnan(place.fresh_share):
        return UNKNOWN
    if place.fresh_share < LEAST_FRESH:
        return "hardly any"
    return f"{number_text(place.fresh)} ({place.fresh_share:.0%})"


PAIR_TITLE = (
    "differences, first run minus second, in nats per token (below 0: the first has the lower loss), with 95 % "
    "intervals"
)
"""Above the rows of :func:`pair_rows`."""
PAIR_HEAD = ("pair", "raw", "on fresh samples", "evaluation", "verdict on the first")
"""The columns of :func:`pair_rows`."""


def pair_rows(findings: Findings) -> list[tuple[str, ...]]:
    """A row for each pair."""
    return [
        (
            f"{pair.one.name} \u2212 {pair.other.name}", difference_text(pair.estimates.raw),
            difference_text(pair.estimates.fresh) if pair.estimates.inferred is None
            else f"{difference_text(pair.estimates.inferred)}, inferred",
            difference_text(pair.estimates.evaluation), pair.judgement.verdict,
        )
        for pair in findings.pairs
    ]  # fmt: skip


def notes(findings: Findings) -> list[str]:
    """What a reader must know besides."""
    found = []
    if any(pair.judgement.measure is not None for pair in findings.pairs):
        found.append(
            "The intervals are about these runs. Equal runs under other seeds differ too: before a small difference "
            "decides, repeat both with another seed."
        )
    for run in findings.runs:
        if run.evaluation_set is not None and run.evaluation_set.apart is False:
            found.append(
                f"{run.name} evaluates on data that overlaps its training data: its evaluations do not count."
            )
        if not run.ended:
            found.append(
                f"{run.name} has not ended: it stands at step {run.windows['step'][-1]:,} of {run.max_steps:,}."
            )
    if any(not pair.relation.by_text and pair.relation.comparable for pair in findings.pairs):
        found.append("Corpora were compared by document sizes alone: a record holds no sample of their text.")
    return found
