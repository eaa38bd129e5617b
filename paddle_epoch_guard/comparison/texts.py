"""A comparison as sentences and rows of tables."""

import math

from paddle_epoch_guard.comparison.adjustment import LEAST_FRESH
from paddle_epoch_guard.comparison.at_place import RunAtPlace, at_place
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.judging import SIGNIFICANT, Measure, Verdict
from paddle_epoch_guard.comparison.numbers import UNKNOWN, number_text
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.statistics.difference import LossDifference
from paddle_epoch_guard.terminal import joined, paragraph

MEASURES: dict[Measure, str] = {
    "fresh": mark("the training loss on fresh samples"),
    "evaluation": mark("the evaluation loss"),
    "inferred": mark("the fresh loss inferred from evaluation and the gap before the order changed"),
}
_EVALUATIONS = {
    "same": mark("They evaluate on the same data."),
    "other": mark("They evaluate on different data, so their evaluation losses are not comparable."),
    "unknown": mark(
        "Whether they evaluate on the same data is not recorded, so their evaluation losses do not count."
    ),
    "none": mark("They do not both evaluate."),
}
_OBSTACLES = {
    "other_data": mark("they train on different data"),
    "other_length": mark("their sequence lengths differ, so the losses are means over other contexts"),
    "data_unknown": mark("which samples they drew is not known"),
    "mixture_unknown": mark("their mixtures differ, and the losses of so many datasets are not recorded by dataset"),
    "all_repeated": mark("of one, hardly any samples are known to be fresh here, and no evaluation loss can stand in"),
    "too_few_windows": mark("too few log windows lie in this part"),
}
_IN_ANOTHER = {
    (False, True): mark("{one} and {other} draw the same data in another order: compared at equal tokens drawn."),
    (True, False): mark(
        "{one} and {other} draw the same data in another schedule (batch or steps): compared at equal tokens drawn."
    ),
    (False, False): mark(
        "{one} and {other} draw the same data in another order and another schedule (batch or steps): compared at "
        "equal tokens drawn."
    ),
    (True, True): mark(
        "{one} and {other} draw the same data in another part of the order: compared at equal tokens drawn."
    ),
}
"""Whether two runs have the same order, and the same schedule -> how they are compared."""
VERDICTS: dict[Verdict, str] = {
    "better": mark("better"),
    "worse": mark("worse"),
    "no difference": mark("no difference"),
    "not comparable": mark("not comparable"),
}


def headline(findings: Findings) -> str:
    """Which run is best, and which only looks so."""
    if len(findings.runs) == 2:
        return verdict_sentence(findings.pairs[0])
    misled = [pair for pair in findings.pairs if is_misleading(pair)]
    worst = max(misled, key=lambda pair: abs(explained_by_exposure(pair) or 0.0), default=None)
    if worst is None:
        return _best(findings)
    caution = tr(
        "By the raw training loss, {winner} looks better than {loser} by {size:.3f} nats; at equal exposure, the data "
        "does not confirm it.",
        **_by_the_raw_loss(worst),
    )
    return paragraph([_best(findings), caution])


def _best(findings: Findings) -> str:
    ranks = findings.ranking
    if not ranks:
        return tr("The runs cannot be compared.")
    first = [each for each in ranks if each.rank == 1]
    best = [findings.runs[each.run].name for each in first]
    if not best:  # each is worse than another: different measures decide
        return tr("None of the {n} runs is the best: the verdicts on their pairs contradict each other.", n=len(ranks))
    names = joined(best)
    if any(len(each.ties) < len(first) - 1 for each in first):
        return tr(
            "Of {n} runs, none is better than {names}; not all of these are comparable.", n=len(ranks), names=names
        )
    if len(best) == len(ranks):
        return tr("The data does not tell {names} apart.", names=names)
    if len(best) == 1:
        return tr("{name} is the best of {n} runs.", name=names, n=len(ranks))
    return tr("{names} are the best of {n} runs; the data does not tell them apart.", names=names, n=len(ranks))


def place_sentence(findings: Findings) -> str:
    """What is compared."""
    place = findings.place
    return tr(
        "Compared: steps {first:,} to {last:,} of {run}, {start:,} to {stop:,} tokens drawn.",
        first=place.first_step,
        last=place.last_step,
        run=findings.runs[0].name,
        start=place.start,
        stop=place.stop,
    )


def relation_sentence(pair: Pair) -> str:
    """How two runs are related, and so how they are compared."""
    return paragraph([_relation(pair), tr(_EVALUATIONS[pair.relation.evaluation])])


def _relation(pair: Pair) -> str:
    runs, relation = _names(pair), pair.relation
    if relation.obstacle is not None:
        return tr("{one} and {other}: {obstacle}.", **runs, obstacle=tr(_OBSTACLES[relation.obstacle]))
    if pair.paired and pair.estimates.pairing is None:
        return tr("{one} and {other} draw the same samples at each step: compared step by step.", **runs)
    if pair.paired:
        return tr(
            "{one} and {other} draw the same samples at each step: compared step by step; {left:.0%} of the variance "
            "of an unpaired difference is left.",
            **runs,
            left=pair.estimates.pairing,
        )
    if relation.data == "other_mixture" and not pair.estimates.by_dataset:
        return tr("{one} and {other} draw the same datasets in another mixture.", **runs)
    if relation.data == "other_mixture":
        return tr(
            "{one} and {other} draw the same datasets in another mixture, so they are compared dataset by dataset, "
            "at equal tokens drawn.",
            **runs,
        )
    return tr(_IN_ANOTHER[bool(relation.same_order), bool(relation.same_schedule)], **runs)


def _names(pair: Pair) -> dict[str, str]:
    return {"one": pair.one.name, "other": pair.other.name}


def verdict_sentence(pair: Pair) -> str:
    """The verdict on the first run of a pair, with what it rests on and what the raw losses say."""
    runs, judgement = _names(pair), pair.judgement
    if judgement.measure is None:
        return tr(
            "{one} and {other} are not comparable: {obstacle}.", **runs, obstacle=tr(_OBSTACLES[judgement.reason])
        )
    if judgement.reason == "measures_disagree":
        return _disagreement(pair)
    if judgement.verdict == "no difference":
        return paragraph([_no_difference(pair, judgement.measure), *_raw(pair)])
    difference = _of(pair, judgement.measure)
    values = {
        **runs,
        "measure": tr(MEASURES[judgement.measure]),
        "size": abs(difference.value),
        "interval": interval_text(difference),
    }
    clause = (
        tr("{one} is better than {other}: by {measure}, lower by {size:.3f} nats per token ({interval})", **values)
        if judgement.verdict == "better"
        else tr(
            "{one} is worse than {other}: by {measure}, higher by {size:.3f} nats per token ({interval})", **values
        )
    )
    if judgement.reason == "agrees":
        also: Measure = "evaluation" if judgement.measure == "fresh" else "fresh"
        clause = tr(
            "{clause}; {measure} agrees ({value:+.3f})",
            clause=clause,
            measure=tr(MEASURES[also]),
            value=_of(pair, also).value,
        )
    return paragraph([tr("{sentence}.", sentence=clause), *_raw(pair)])


def _disagreement(pair: Pair) -> str:
    fresh, evaluation = _of(pair, "fresh").value, _of(pair, "evaluation").value
    values = {**_names(pair), "fresh": abs(fresh), "evaluation": abs(evaluation)}
    if fresh > 0:
        return tr(
            "{one} and {other}: the measures disagree. On fresh samples, the loss of {one} is {fresh:.3f} higher; on "
            "evaluation data, it is {evaluation:.3f} lower.",
            **values,
        )
    return tr(
        "{one} and {other}: the measures disagree. On fresh samples, the loss of {one} is {fresh:.3f} lower; on "
        "evaluation data, it is {evaluation:.3f} higher.",
        **values,
    )


def _no_difference(pair: Pair, measure: Measure) -> str:
    difference = _of(pair, measure)
    values = {**_names(pair), "measure": tr(MEASURES[measure]), "low": difference.low, "high": difference.high}
    if pair.judgement.reason == "below_margin":
        return tr(
            "{one} and {other} do not differ by as much as counts: by {measure}, the difference is between {low:+.3f} "
            "and {high:+.3f} nats per token, and less than {margin:.3f} does not count (--margin).",
            **values,
            margin=pair.judgement.margin,
        )
    if pair.judgement.reason == "within_margin":
        return tr(
            "{one} and {other} do not differ: by {measure}, the difference is between {low:+.3f} and {high:+.3f} nats "
            "per token.",
            **values,
        )
    return tr(
        "The data does not tell {one} and {other} apart: by {measure}, a difference between {low:+.3f} and "
        "{high:+.3f} nats per token is possible.",
        **values,
    )


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


def _by_the_raw_loss(pair: Pair) -> dict[str, object]:
    """Which run looks better by the raw training loss, and by how much."""
    raw, one, other = pair.estimates.raw, pair.one.name, pair.other.name
    assert raw is not None
    winner, loser = (one, other) if raw.value < 0 else (other, one)
    return {"winner": winner, "loser": loser, "size": abs(raw.value)}


def _raw(pair: Pair) -> list[str]:
    """What the losses as they were logged say, if exposure certainly explains a part of it."""
    raw, left, explained = pair.estimates.raw, _left(pair), explained_by_exposure(pair)
    if raw is None or left is None or explained is None or not _is_certain(pair):
        return []
    measure = "fresh" if pair.estimates.fresh is not None else pair.judgement.measure
    assert measure is not None
    values = {"raw": raw.value, "measure": tr(MEASURES[measure]), "left": left.value, "rest": explained}
    split = (
        tr(
            "The raw difference is {raw:+.3f}, that of {measure} {left:+.3f}; the rest, {rest:+.3f}, is put down to "
            "the mixture and exposure.",
            **values,
        )
        if pair.relation.data == "other_mixture"
        else tr(
            "The raw difference is {raw:+.3f}, that of {measure} {left:+.3f}; the rest, {rest:+.3f}, is put down to "
            "exposure.",
            **values,
        )
    )
    if is_misleading(pair):
        looks = tr(
            "By the raw training loss, {winner} looks better than {loser} by {size:.3f} nats.",
            **_by_the_raw_loss(pair),
        )
        return [looks, split]
    return [split] if abs(explained) > pair.judgement.margin else []


def _of(pair: Pair, measure: Measure) -> LossDifference:
    found = getattr(pair.estimates, measure)
    assert isinstance(found, LossDifference)
    return found


def interval_text(difference: LossDifference) -> str:
    """The 95 % interval of a difference."""
    return tr("95 %: {low:+.3f} to {high:+.3f}", low=difference.low, high=difference.high)


def difference_text(difference: LossDifference | None) -> str:
    """A difference with its interval; a dash if unknown."""
    if difference is None:
        return UNKNOWN
    return tr(
        "{value:+.3f} ({low:+.3f} to {high:+.3f})", value=difference.value, low=difference.low, high=difference.high
    )


def run_head() -> tuple[str, ...]:
    """The columns of :func:`run_rows`."""
    return tr("run"), tr("rank"), tr("steps"), tr("training loss"), tr("fresh"), tr("evaluation"), tr("exposure")


def run_legend() -> str:
    """What those columns hold."""
    return tr(
        "fresh: the loss of samples drawn for the first time, and their share; exposure: how often the tokens drawn "
        "had been drawn before; =: not told apart"
    )


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
                tr("{first:,} to {last:,}", first=place.first_step, last=place.last_step),
                number_text(place.loss), _fresh_text(place), number_text(place.evaluation),
                number_text(place.exposure, 2),
            )
        )  # fmt: skip
    return rows


def _fresh_text(place: RunAtPlace) -> str:
    if math.isnan(place.fresh_share):
        return UNKNOWN
    if place.fresh_share < LEAST_FRESH:
        return tr("hardly any")
    return tr("{loss} ({share:.0%})", loss=number_text(place.fresh), share=place.fresh_share)


def pair_title() -> str:
    """Above the rows of :func:`pair_rows`."""
    return tr(
        "differences, first run minus second, in nats per token (below 0: the first has the lower loss), with 95 % "
        "intervals"
    )


def pair_head() -> tuple[str, ...]:
    """The columns of :func:`pair_rows`."""
    return tr("pair"), tr("raw"), tr("on fresh samples"), tr("evaluation"), tr("verdict on the first")


def pair_rows(findings: Findings) -> list[tuple[str, ...]]:
    """A row for each pair."""
    return [
        (
            f"{pair.one.name} \u2212 {pair.other.name}", difference_text(pair.estimates.raw),
            difference_text(pair.estimates.fresh) if pair.estimates.inferred is None
            else tr("{difference}, inferred", difference=difference_text(pair.estimates.inferred)),
            difference_text(pair.estimates.evaluation), tr(VERDICTS[pair.judgement.verdict]),
        )
        for pair in findings.pairs
    ]  # fmt: skip


def notes(findings: Findings) -> list[str]:
    """What a reader must know besides."""
    found = []
    if any(pair.judgement.measure is not None for pair in findings.pairs):
        about = tr(
            "The intervals are about these runs. Equal runs under other seeds differ too: before a small difference "
            "decides, repeat both with another seed."
        )
        found.append(about)
    for run in findings.runs:
        if run.evaluation_set is not None and run.evaluation_set.apart is False:
            overlaps = tr(
                "{run} evaluates on data that overlaps its training data: its evaluations do not count.", run=run.name
            )
            found.append(overlaps)
        if not run.ended:
            stands = tr(
                "{run} has not ended: it stands at step {step:,} of {max_steps:,}.",
                run=run.name,
                step=int(run.windows["step"][-1]),
                max_steps=run.max_steps,
            )
            found.append(stands)
    if any(not pair.relation.by_text and pair.relation.comparable for pair in findings.pairs):
        found.append(tr("Corpora were compared by document sizes alone: a record holds no sample of their text."))
    return found
