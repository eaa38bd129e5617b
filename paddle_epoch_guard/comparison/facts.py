"""A comparison as one JSON object."""

from typing import Any

from paddle_epoch_guard.comparison.at_place import at_place
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.numbers import finite
from paddle_epoch_guard.comparison.run import Run
from paddle_epoch_guard.comparison.texts import (
    explained_by_exposure,
    headline,
    notes,
    relation_sentence,
    verdict_sentence,
)
from paddle_epoch_guard.statistics.difference import LossDifference


def facts_of(findings: Findings) -> dict[str, Any]:
    """The JSON object of ``compare``."""
    place = findings.place
    return {
        "headline": headline(findings),
        "place": {
            "first_step": place.first_step, "last_step": place.last_step,
            "first_token": place.start, "last_token": place.stop,
        },
        "runs": [_run_facts(run, findings) for run in findings.runs],
        "ranking": [
            {
                "run": findings.runs[each.run].name, "rank": each.rank,
                "ties": [findings.runs[tie].name for tie in each.ties],
            }
            for each in findings.ranking
        ],
        "pairs": [_pair_facts(pair) for pair in findings.pairs],
        "notes": notes(findings),
    }  # fmt: skip


def _run_facts(run: Run, findings: Findings) -> dict[str, Any]:
    found = at_place(run, findings.place)
    return {
        "name": run.name,
        "logging_dir": str(run.logging_dir),
        "run": run.run,
        "last_step": int(run.windows["step"][-1]),
        "max_steps": run.max_steps,
        "ended": run.ended,
        "first_step": found.first_step,
        "step": found.last_step,
        "training_loss": finite(found.loss),
        "fresh_loss": finite(found.fresh),
        "fresh_share": finite(found.fresh_share),
        "exposure": finite(found.exposure),
        "evaluation_loss": finite(found.evaluation),
        "evaluation_step": found.evaluation_step,
        "faults": list(run.faults),
    }


def _pair_facts(pair: Pair) -> dict[str, Any]:
    estimates, relation, judgement = pair.estimates, pair.relation, pair.judgement
    return {
        "runs": [pair.one.name, pair.other.name],
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "measure": judgement.measure,
        "margin": judgement.margin,
        "sentence": verdict_sentence(pair),
        "relation": {
            "data": relation.data,
            "same_order": relation.same_order,
            "same_schedule": relation.same_schedule,
            "evaluation_data": relation.evaluation,
            "paired": pair.paired,
            "sentence": relation_sentence(pair),
        },
        "raw": _difference_facts(estimates.raw),
        "fresh": _difference_facts(estimates.fresh),
        "evaluation": _difference_facts(estimates.evaluation),
        "inferred": _difference_facts(estimates.inferred),
        "explained_by_exposure": explained_by_exposure(pair),
        "paired_variance": estimates.pairing,
    }


def _difference_facts(difference: LossDifference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "value": finite(difference.value),
        "standard_error": finite(difference.error),
        "low": finite(difference.low),
        "high": finite(difference.high),
        "p": finite(difference.p),
        "points": difference.points,
    }
