"""What a user must know before step 1: where the training loss will drop, and when it will be known why."""

from collections.abc import Sequence

from paddle_epoch_guard import host
from paddle_epoch_guard.index import BlendIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.index.equal_corpora import Corpus, equal_corpora
from paddle_epoch_guard.ledger import BoundaryStep, IndexEpochs
from paddle_epoch_guard.ledger.change_points import FIRST, FULL, SIDE
from paddle_epoch_guard.ledger.layout_exposure import exposure_at_boundary
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.session.run_plan import RunPlan
from paddle_epoch_guard.statistics.judging import EXPOSURE_STEP
from paddle_epoch_guard.statistics.verdicts import MIN_WINDOWS, ExposureOfSteps

EVALUATIONS = 5
"""Evaluations on each side that confirm a verdict: four, and one to spare."""
_NEAR = 50  # logging_steps that are never called too many: the first verdict comes within 600 steps


def boundary_ahead(
    plan: RunPlan, args: host.TrainingArguments, exposure: ExposureOfSteps | None, max_steps: int
) -> Message | None:
    """A warning of the first boundary that lies ahead, with what avoids it; None without one.

    Where the run has not drawn its present order from the beginning, what lies behind a boundary may be as new as what
    lies before it: then exposure tells whether there is something to warn of.

    Args:
        plan: what the run will draw.
        args: the trainer's arguments.
        exposure: of the run's steps; None if unknown.
        max_steps: the last step of the run.
    """
    ahead = [boundary for boundary in plan.boundaries if boundary.step <= max_steps]
    if not ahead or plan.schedule is None:
        return None
    first = ahead[0]
    names = plan.naming.datasets
    if exposure is None:
        exposures = _planned_exposures(plan, first)
    else:
        exposures = _exposures(first, exposure, max_steps, len(names) > 1)
    before, after = exposures
    if not plan.is_whole and before is not None and after is not None and after - before < EXPOSURE_STEP:
        return None
    return Message(
        "boundary_ahead",
        {
            "step": first.step,
            "max_steps": max_steps,
            "dataset": names[first.dataset] if len(names) > 1 else "",
            "others": len(ahead) - 1,
            "exposure": exposures,
            "all_repeated": plan.is_whole,
            "can_unify": not plan.loader.reading.why_not_unified(plan.loader.sampler),
            "verdict": _verdict_facts(first, args, max_steps),
        },
    )


def _exposures(
    boundary: BoundaryStep, exposure: ExposureOfSteps, max_steps: int, is_blend: bool
) -> tuple[float | None, float | None]:
    """Of the steps before and behind a boundary, on average."""
    dataset = boundary.dataset if is_blend else None
    sides = (
        (max(boundary.last_before - SIDE + 1, 1), boundary.last_before),
        (boundary.first_after, min(boundary.first_after + SIDE - 1, max_steps)),
    )
    found = [exposure.of_steps(*side, dataset) if side[0] <= side[1] else None for side in sides]
    before, after = (None if each is None else round(each.mean, 2) for each in found)
    return before, after


def _planned_exposures(plan: RunPlan, boundary: BoundaryStep) -> tuple[float | None, float | None]:
    """The same as the layout of the index has it: tokens of large data are traced while the first steps are trained.

    Unknown unless the run draws the host's order from the beginning, and if another dataset draws the same corpus.
    """
    schedule, index = plan.schedule, plan.index
    if schedule is None or len(schedule.segments) > 1 or not plan.is_whole or schedule.segments[0].start:
        return None, None
    if not isinstance(plan.source, IndexEpochs) or plan.source.positions.reorders or plan.why_exposure_unknown:
        return None, None
    datasets = list(index.datasets) if isinstance(index, BlendIndex) else [index]
    own = datasets[boundary.dataset]
    if not isinstance(own, GPTIndex) or _is_shared(boundary.dataset, datasets):
        return None, None
    before, after = exposure_at_boundary(own.layout).values()
    return None if before is None else round(before, 2), None if after is None else round(after, 2)


def _is_shared(number: int, datasets: Sequence[SampleIndex | None]) -> bool:
    """Whether another dataset may have the corpus of this one."""
    if len(datasets) == 1:
        return False
    corpora = [
        Corpus(one.description.prefix, one.arrays.sizes)
        for one in datasets
        if isinstance(one, GPTIndex) and one.arrays is not None
    ]
    return len(corpora) < len(datasets) or equal_corpora(corpora).like(number) != (number,)


def _verdict_facts(
    boundary: BoundaryStep, args: host.TrainingArguments, max_steps: int
) -> dict[str, int | bool | None]:
    """When the verdict comes, and the settings that it needs; a setting that is fine is None."""
    every = max(int(getattr(args, "logging_steps", 1) or 1), 1)
    behind = max_steps - boundary.first_after + 1
    first = boundary.first_after - 1 + max(FIRST.steps, FIRST.windows * every)
    final = boundary.first_after - 1 + max(FULL.steps, FULL.windows * every)
    if min(behind, boundary.last_before) < MIN_WINDOWS:
        return {
            "first_verdict": None,
            "final_verdict": max_steps,
            "most_logging_steps": None,
            "evaluates": True,
            "most_eval_steps": None,
        }
    most_logging = max(min(behind, boundary.last_before) // FIRST.windows, 1)
    most_evaluating = max(min(behind, boundary.last_before) // EVALUATIONS, 1)
    evaluates_every = _evaluates_every(args)
    is_sparse = evaluates_every is None or evaluates_every > most_evaluating
    return {
        "first_verdict": min(first, max_steps) if behind // every >= MIN_WINDOWS else None,
        "final_verdict": min(final, max_steps),
        "most_logging_steps": min(most_logging, _NEAR) if every > min(most_logging, _NEAR) else None,
        "evaluates": evaluates_every is not None,
        "most_eval_steps": most_evaluating if is_sparse and not getattr(args, "epoch_guard_evaluate", False) else None,
    }


def _evaluates_every(args: host.TrainingArguments) -> int | None:
    """The steps between two evaluations by the trainer's own arguments; None without evaluations."""
    if not host.evaluates(args):
        return None
    steps = int(getattr(args, "eval_steps", 0) or 0)
    return steps if steps > 0 and host.evaluates_after(args, steps, ends_epoch=False) else 1 << 62
