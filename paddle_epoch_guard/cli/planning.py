"""What a run will draw, from the corpus alone: the index that the host would build, and lengths without a cliff."""

from collections.abc import Iterator, Sequence
from typing import Any

from paddle_epoch_guard.cli.corpus_draws import CorpusDraws, worth_of_blend, worth_of_dataset
from paddle_epoch_guard.cli.dataset_facts import dataset_facts_of, step_of
from paddle_epoch_guard.cli.host_rules import MARGIN
from paddle_epoch_guard.cli.planned_run import MOST_TOKENS, Run
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger.layout_exposure import unified_exposure

_MOST_TRIED = 10_000  # numbers of steps to try for a blend


def facts_of_run(run: Run, max_steps: int) -> dict[str, Any]:
    """The JSON object of ``plan``; for a blend with the facts of each dataset.

    Args:
        run: its datasets and batches.
        max_steps: of the run.
    """
    given = {
        "host": run.rules.name, "seq_length": run.seq_length, "global_batch": run.global_batch, "max_steps": max_steps
    }  # fmt: skip
    datasets = [_facts_of_dataset(run, number, max_steps) for number in range(len(run.datasets))]
    corpora = run.draws(max_steps)
    for corpus in corpora:
        for number in corpus.datasets:
            datasets[number] |= worth_of_dataset(corpus, run.drawn(number, max_steps) * run.seq_length)
    if not run.blended:
        return {**datasets[0], **given, "advice": advice(run, max_steps)}
    boundaries = [facts["boundary_position"] for facts in datasets if facts["boundary_position"] is not None]
    first = min(boundaries, default=None)
    _count_repeated(run, datasets, max_steps)
    return {
        "format": run.rules.format,
        "samples_requested": max_steps * run.global_batch,
        "samples_built": run.positions(max_steps),
        "separated": bool(boundaries),
        "boundary_position": first,
        "boundary_step": step_of(first, run.global_batch),
        "worth_as_fresh": worth_of_blend(corpora),
        **given,
        "datasets": datasets,
        "same_corpora": _same_corpora(run, corpora, max_steps),
        "advice": advice_of_blend(run, max_steps),
    }


def _facts_of_dataset(run: Run, number: int, steps: int) -> dict[str, Any]:
    layout, drawn = run.layout(number, steps), run.drawn(number, steps)
    facts = dataset_facts_of(layout, run.rules.format, run.global_batch, drawn, blended=run.blended)
    facts |= {"threshold": run.threshold, "threshold_samples": int(run.threshold * layout.samples_per_epoch)}
    facts["unified_exposure"] = None
    turn = run.boundary(number, steps)
    if turn is not None:
        # A unified order mixes the positions of the whole run: its exposure rises linearly.
        progress = turn.position / (steps * run.global_batch)
        facts["unified_exposure"] = progress * unified_exposure(layout, drawn)
    dataset = run.datasets[number]
    prefix = {"prefix": dataset.prefix, "documents": dataset.documents, "all_documents": dataset.all_documents}
    if not run.blended:
        return prefix | facts
    position = None if turn is None else turn.position
    facts |= {"boundary_position": position, "boundary_step": step_of(position, run.global_batch)}
    facts["boundary_is_exact"] = None if turn is None else turn.exact
    if turn is None:
        facts |= {"exposure": {"before": None, "after": None}, "expected_fall": None}
    return prefix | {"weight": run.shares[number], "samples_drawn": drawn} | facts


def _count_repeated(run: Run, datasets: list[dict[str, Any]], steps: int) -> None:
    """Adds what other datasets of the same corpus draw to the facts of each dataset of a blend."""
    if not run.corpora.groups:
        return
    repeated = run.repeated(steps)
    unseen = [facts["unseen_fraction"]["planned"] for facts in datasets]
    for number, facts in enumerate(datasets):
        left = repeated.never_drawn(number, unseen)
        facts["unseen_fraction"] = {"planned": left, "all": left}
        position = facts["boundary_position"]
        if position is not None:
            facts["unified_exposure"] += position / (steps * run.global_batch) * repeated.in_all(number)
            for side in facts["exposure"]:
                facts["exposure"][side] += repeated.before(number, position, beyond=side == "after")


def _same_corpora(run: Run, corpora: Sequence[CorpusDraws], steps: int) -> list[dict[str, Any]]:
    """The corpora that several datasets have, and the data epochs that they draw of it together."""
    layouts = run.layouts(steps)
    return [
        {
            "datasets": list(corpus.datasets),
            "prefixes": list(corpus.prefixes),
            "data_epochs": corpus.data_epochs,
            "same_order": len({layouts[number].epoch_groups for number in corpus.datasets if run.shares[number]}) == 1,
        }
        for corpus in corpora
        if len(corpus.datasets) > 1
    ]


def advice(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps`` without a cliff, each checked against the host's rule.

    ``whole_epoch``: the most steps within a whole number of data epochs. ``threshold``: the fewest that reach the
    threshold in the last epoch of the present plan. ``one_epoch``: the most within one data epoch.
    """
    layout = run.layout(0, max_steps)
    last, batch = layout.num_epochs, run.global_batch

    def most_samples(epochs: int) -> int:
        return max(epochs * layout.tokens_per_epoch - 1, 0) // layout.seq_length

    once = tr("stays within one data epoch: no data is repeated")
    candidates = [("one_epoch", 1, most_samples(1) // batch, once)]
    for epoch in (last - 1, last):
        why = tr("ends with data epoch {epoch}", epoch=epoch)
        candidates.append(("whole_epoch", epoch, most_samples(epoch) // batch, why))
    if last > 1:
        at_threshold = layout.joined_from(run.threshold)
        why = tr("reaches {share:.0%} of data epoch {epoch}", share=run.threshold, epoch=last)
        candidates.append(("threshold", last, -(-at_threshold // batch), why))
    advised: dict[int, dict[str, Any]] = {}
    for kind, epochs, steps, why in candidates:
        if steps < 1 or steps == max_steps:
            continue
        built = run.layout(0, steps)
        if built.num_epochs == epochs and not built.separated:
            advised.setdefault(steps, {"max_steps": steps, "kind": kind, "num_epochs": epochs, "why": why})
    return [advised[steps] for steps in sorted(advised)]


def advice_of_blend(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps``, below and above, for which no dataset of a blend has a cliff.

    ``one_epoch``: the most steps for which every dataset stays within one data epoch. ``no_boundary``: no dataset
    reaches an epoch that is shuffled separately.
    """

    def has_cliff(steps: int) -> bool:
        return any(_may_reach(run, number, layout, steps) for number, layout in enumerate(run.layouts(steps)))

    drawn = [number for number, share in enumerate(run.shares) if share]

    def repeats(steps: int) -> bool:
        is_listed_twice = any(sum(number in drawn for number in group) > 1 for group in run.corpora.groups)
        epochs = (run.layout(number, steps).epoch_groups[0] for number in drawn)
        return is_listed_twice or has_cliff(steps) or any(count > 1 for count in epochs)

    samples = ((number, max(run.datasets[number].tokens - 1, 0) // run.seq_length) for number in drawn)
    most = int(min(count / run.shares[number] for number, count in samples)) // run.global_batch
    once = next((steps for steps in range(most, max(most - 3, 0), -1) if not repeats(steps)), None)
    candidates = [(once, "one_epoch", tr("every dataset stays within one data epoch: no data is repeated"))]
    if has_cliff(max_steps):
        why = tr("no dataset reaches a data epoch that is shuffled separately")
        for tries in (_steps_below(run, max_steps), _steps_above(run, max_steps)):
            candidates.append((next((steps for steps in tries if not has_cliff(steps)), None), "no_boundary", why))
    advised: dict[int, dict[str, Any]] = {}
    for steps, kind, why in candidates:
        if steps is not None and steps != max_steps:
            advised.setdefault(steps, {"max_steps": steps, "kind": kind, "why": why})
    return [advised[steps] for steps in sorted(advised)]


def _may_reach(run: Run, number: int, layout: IndexLayout, steps: int) -> bool:
    """Whether a dataset of a blend may reach its epoch that is shuffled separately."""
    return layout.boundary_position is not None and layout.boundary_position < run.drawn(number, steps)


def _steps_below(run: Run, steps: int) -> Iterator[int]:
    """Descending numbers of steps, down to the boundaries of the present plan; skips those that must have a cliff."""
    for _ in range(_MOST_TRIED):
        least = steps
        for number, layout in enumerate(run.layouts(steps)):
            if _may_reach(run, number, layout, steps):
                least = min(least, int((layout.boundary_position or 0) / run.shares[number]) // run.global_batch)
        steps = min(least, steps - 1)
        if steps < 1:
            return
        yield steps


def _steps_above(run: Run, steps: int) -> Iterator[int]:
    """Ascending numbers of steps, up to the threshold of each dataset; skips those that must have a cliff."""
    for _ in range(_MOST_TRIED):
        most = steps
        for number, layout in enumerate(run.layouts(steps)):
            if _may_reach(run, number, layout, steps):
                needed = (layout.boundary_position or 0) + int(run.threshold * layout.samples_per_epoch)
                needed -= run.rules.spare + 1
                most = max(most, int(needed / (run.shares[number] * MARGIN)) // run.global_batch)
        steps = max(most, steps + 1)
        if steps * run.global_batch * run.seq_length > MOST_TOKENS:
            return
        yield steps
