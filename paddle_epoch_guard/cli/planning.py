"""What a run will draw, from the corpus alone: the index that the host would build, and lengths without a cliff."""

import functools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from paddle_epoch_guard.cli.dataset_facts import dataset_facts_of, step_of, unified_exposure
from paddle_epoch_guard.errors import ArgumentsError, CorpusError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.index.blend_lookup import BlendPosition, blend_position
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.description import shares_of, split_documents
from paddle_epoch_guard.index.layout import SEPARATION_THRESHOLD

_MARGIN, _SPARE = 1.005, 20  # `get_datasets_weights_and_num_samples` in paddlenlp/data/causal_dataset.py (3.0.0b4)
_MOST_SAMPLES = 1 << 62
_MOST_TRIED = 10_000  # a blend's numbers of steps, of which each has a dataset with a cliff


@dataclass(frozen=True)
class Part:
    """One dataset of the run."""

    prefix: str
    weight: float
    """As the user gave it."""
    tokens: int
    """T, of the train split."""


@dataclass(frozen=True)
class Run:
    """What decides on the index that the host builds."""

    parts: tuple[Part, ...]
    seq_length: int
    global_batch: int

    @property
    def blended(self) -> bool:
        """Whether it draws from several datasets."""
        return len(self.parts) > 1

    @functools.cached_property
    def shares(self) -> tuple[float, ...]:
        """The weights, normalised in the order of the host's sum: Python 3.12's ``sum`` rounds otherwise."""
        total = functools.reduce(operator.add, (part.weight for part in self.parts))
        return tuple(part.weight / total for part in self.parts)

    def layout(self, at: int, steps: int) -> IndexLayout:
        """The index of a dataset that the host builds for a run of so many steps."""
        samples = steps * self.global_batch
        if self.blended:
            samples = math.ceil(samples * self.shares[at] * _MARGIN) + _SPARE
        return IndexLayout.of(self.parts[at].tokens, self.seq_length, samples)

    def drawn(self, at: int, steps: int) -> int:
        """Samples that the run draws of a dataset; of a blend at most so many, and seldom fewer."""
        return math.ceil(steps * self.global_batch * self.shares[at]) if self.blended else steps * self.global_batch

    def boundary(self, at: int, steps: int) -> BlendPosition | None:
        """Where the run comes to the separated epoch of a dataset; None where it does not."""
        inner = self.layout(at, steps).boundary_position
        if inner is None or not self.blended:
            return None if inner is None else BlendPosition(inner, exact=True)
        samples = steps * self.global_batch
        if inner >= samples * self.shares[at] + 1:  # a blend's dataset is never a whole sample ahead
            return None
        found = blend_position([part.weight for part in self.parts], at, inner)
        return found if found.position < samples else None


def run_of(data: Sequence[str], split: str, seq_length: int, global_batch: int, max_steps: int) -> Run:
    """The run that a call describes.

    Args:
        data: one prefix; or weight, prefix, weight, prefix and so on.
        split: shares of train, valid and test.
        seq_length: L.
        global_batch: B.
        max_steps: of the run.

    Raises:
        ArgumentsError: the call is of no run that can be.
        CorpusError: a corpus is missing, unreadable or empty.
    """
    _refuse_absurd(seq_length, global_batch, max_steps)
    try:
        shares_of(split)
    except CorpusError as wrong:
        raise ArgumentsError(f"--split: {wrong}") from wrong
    return Run(_parts(data, split), seq_length, global_batch)


def _refuse_absurd(seq_length: int, global_batch: int, max_steps: int) -> None:
    tokens = seq_length * global_batch * max_steps
    if tokens > _MOST_SAMPLES:
        raise ArgumentsError(
            f"--seq-length x --global-batch x --max-steps is {tokens:.3g} tokens; expected at most 2**62. "
            "Name the numbers of a run that can be"
        )


def _parts(data: Sequence[str], split: str) -> tuple[Part, ...]:
    if len(data) == 1:
        weights, prefixes = [1.0], data
    else:
        try:
            weights, prefixes = [float(word) for word in data[::2]], data[1::2]
        except ValueError:
            weights, prefixes = [], []
        if not prefixes or len(weights) != len(prefixes):
            raise ArgumentsError(
                f"{' '.join(data)!r} is neither one prefix nor a blend; expected WEIGHT PREFIX WEIGHT PREFIX …"
            )
        for weight, prefix in zip(weights, prefixes, strict=True):
            if not 0 < weight < math.inf or not 0 < weight / sum(weights) < math.inf:
                raise ArgumentsError(
                    f"the weight {weight:g} of {prefix}; expected a positive number. Leave out what is not to be drawn"
                )
    return tuple(
        Part(prefix, weight, _tokens(prefix, split)) for weight, prefix in zip(weights, prefixes, strict=True)
    )


def _tokens(prefix: str, split: str) -> int:
    sizes = read_sizes(prefix)
    try:
        tokens = count_tokens(sizes, *split_documents(split, "train", len(sizes)))
    except CorpusError as wrong:
        raise CorpusError(f"{prefix}: {wrong}") from wrong
    if tokens < 1:
        raise CorpusError(
            f"{prefix}: {tokens} tokens in the train split of {split!r}; expected some. Check the corpus"
        )
    return tokens


def facts_of_run(run: Run, max_steps: int) -> dict[str, Any]:
    """What is known of a run; for a blend, of each dataset.

    Args:
        run: its datasets and batches.
        max_steps: of the run.
    """
    samples = max_steps * run.global_batch
    given = {"seq_length": run.seq_length, "global_batch": run.global_batch, "max_steps": max_steps}
    each = [_facts_of_part(run, at, max_steps) for at in range(len(run.parts))]
    if not run.blended:
        return {**each[0], **given, "advice": advice(run, max_steps)}
    reached = [one["boundary_position"] for one in each if one["boundary_position"] is not None]
    first = min(reached, default=None)
    return {
        "format": "paddlenlp",
        "samples_requested": samples,
        "samples_built": samples,
        "separated": bool(reached),
        "boundary_position": first,
        "boundary_step": step_of(first, run.global_batch),
        **given,
        "datasets": each,
        "advice": advice_of_blend(run, max_steps),
    }


def _facts_of_part(run: Run, at: int, steps: int) -> dict[str, Any]:
    layout, drawn = run.layout(at, steps), run.drawn(at, steps)
    facts = dataset_facts_of(layout, "paddlenlp", run.global_batch, drawn, blended=run.blended)
    facts["threshold_samples"] = int(SEPARATION_THRESHOLD * layout.samples_per_epoch)
    facts["unified_exposure"] = None
    turn = run.boundary(at, steps)
    if turn is not None:
        # A unified order mixes the positions of the whole run: its exposure rises as a line.
        gone = turn.position / (steps * run.global_batch)
        facts["unified_exposure"] = gone * unified_exposure(layout, drawn)
    if not run.blended:
        return {"prefix": run.parts[at].prefix, **facts}
    position = None if turn is None else turn.position
    facts |= {"boundary_position": position, "boundary_step": step_of(position, run.global_batch)}
    facts["boundary_is_exact"] = None if turn is None else turn.exact
    if turn is None:
        facts["exposure"] = {"before": None, "after": None}
    return {"prefix": run.parts[at].prefix, "weight": run.shares[at], "samples_drawn": drawn, **facts}


def advice(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps`` without a cliff: each is checked against the host's rule before it is told.

    ``whole_epoch``: the most steps within so many data epochs. ``threshold``: the fewest that reach the threshold in
    the last epoch of the present plan. ``one_epoch``: the most within one data epoch.
    """
    layout = run.layout(0, max_steps)
    last, batch = layout.num_epochs, run.global_batch

    def within(epochs: int) -> int:
        return max(epochs * layout.tokens_per_epoch - 1, 0) // layout.seq_length // batch

    at_threshold = max((last - 1) * layout.tokens_per_epoch - 1, 0) // layout.seq_length
    at_threshold += int(SEPARATION_THRESHOLD * layout.samples_per_epoch)
    wanted = [("one_epoch", 1, within(1), "stays within one data epoch: no data is repeated")]
    wanted += [("whole_epoch", epoch, within(epoch), f"ends with data epoch {epoch}") for epoch in (last - 1, last)]
    why = f"reaches {SEPARATION_THRESHOLD:.0%} of data epoch {last}"
    wanted += [("threshold", last, -(-at_threshold // batch), why)] if last > 1 else []
    found: dict[int, dict[str, Any]] = {}
    for kind, epochs, steps, why in wanted:
        if steps < 1 or steps == max_steps:
            continue
        there = run.layout(0, steps)
        if there.num_epochs == epochs and not there.separated:
            found.setdefault(steps, {"max_steps": steps, "kind": kind, "num_epochs": epochs, "why": why})
    return [found[steps] for steps in sorted(found)]


def advice_of_blend(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps`` of a blend, below and above, of which no dataset has a cliff.

    ``one_epoch``: the most steps for which every dataset stays within one data epoch. ``no_boundary``: no dataset
    comes to an epoch that is shuffled apart.
    """
    all_of = range(len(run.parts))

    def cliff(steps: int) -> bool:
        return any(_may_reach(run, at, steps) for at in all_of)

    def repeats(steps: int) -> bool:
        return cliff(steps) or any(run.layout(at, steps).epoch_groups[0] > 1 for at in all_of)

    single = (max(part.tokens - 1, 0) // run.seq_length for part in run.parts)
    most = int(min(samples / share for samples, share in zip(single, run.shares, strict=True))) // run.global_batch
    once = next((steps for steps in range(most, max(most - 3, 0), -1) if not repeats(steps)), None)
    wanted = [(once, "one_epoch", "every dataset stays within one data epoch: no data is repeated")]
    if cliff(max_steps):
        why = "no dataset comes to a data epoch that is shuffled apart"
        for some in (_steps_below(run, max_steps), _steps_above(run, max_steps)):
            wanted.append((next((steps for steps in some if not cliff(steps)), None), "no_boundary", why))
    found: dict[int, dict[str, Any]] = {}
    for steps, kind, why in wanted:
        if steps is not None and steps != max_steps:
            found.setdefault(steps, {"max_steps": steps, "kind": kind, "why": why})
    return [found[steps] for steps in sorted(found)]


def _may_reach(run: Run, at: int, steps: int) -> bool:
    """Whether a dataset of a blend may come to an epoch that is shuffled apart."""
    inner = run.layout(at, steps).boundary_position
    return inner is not None and inner < run.drawn(at, steps)


def _steps_below(run: Run, steps: int) -> Iterator[int]:
    """Fewer steps, each the most that may have no cliff where the ones before have: down to the epoch before."""
    for _ in range(_MOST_TRIED):
        least = steps
        for at, share in enumerate(run.shares):
            if _may_reach(run, at, steps):
                inner = run.layout(at, steps).boundary_position or 0
                least = min(least, int(inner / share) // run.global_batch)
        steps = min(least, steps - 1)
        if steps < 1:
            return
        yield steps


def _steps_above(run: Run, steps: int) -> Iterator[int]:
    """More steps, each the fewest that may have no cliff where the ones before have: up to the threshold."""
    for _ in range(_MOST_TRIED):
        most = steps
        for at, share in enumerate(run.shares):
            layout = run.layout(at, steps)
            if _may_reach(run, at, steps):
                asked = (layout.boundary_position or 0) + int(SEPARATION_THRESHOLD * layout.samples_per_epoch)
                most = max(most, int((asked - _SPARE - 1) / (share * _MARGIN)) // run.global_batch)
        steps = max(most, steps + 1)
        if steps * run.global_batch * run.seq_length > _MOST_SAMPLES:
            return
        yield steps
