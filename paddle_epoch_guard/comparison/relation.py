"""How two runs are related: what of their data, order and schedule is the same."""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

import numpy as np

from paddle_epoch_guard.comparison.run import Run
from paddle_epoch_guard.errors import ScheduleError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.order import Draw, PositionMap
from paddle_epoch_guard.resume import Sidecar

Data = Literal["same", "other_mixture", "other_length", "other", "unknown"]
"""Whether two runs draw the same tokens: the same corpora, split and sequence length, and a blend's weights."""
Evaluation = Literal["same", "other", "unknown", "none"]
"""Whether they evaluate on the same data; ``none`` if one does not evaluate."""

Obstacle = Literal["other_data", "other_length", "data_unknown"]
_OBSTACLES: dict[Data, Obstacle] = {"other": "other_data", "other_length": "other_length", "unknown": "data_unknown"}
_POSITIONS = 1 << 12  # compared, at most; two permutations that agree in as many are the same


@dataclass(frozen=True)
class Relation:
    """What two runs have in common."""

    data: Data
    same_order: bool
    """Whether the same sample lies at each position of the index and its reorders."""
    same_schedule: bool
    """Whether each step draws as many samples, in both runs."""
    evaluation: Evaluation
    by_text: bool = True
    """Whether the texts were compared; otherwise document sizes alone."""

    @property
    def obstacle(self) -> Obstacle | None:
        """Why the training losses cannot be compared; None if they can."""
        return _OBSTACLES.get(self.data)

    @property
    def comparable(self) -> bool:
        """Whether the training losses can be compared."""
        return self.obstacle is None


def relation_of(one: Run, other: Run) -> Relation:
    """How two runs are related, from what their records hold."""
    first, second = one.state, other.state
    if first is None or second is None:
        return Relation("unknown", False, False, _evaluation(one, other))
    data, by_text = _data(one, other, first, second)
    same_past = first.own_earlier == second.own_earlier
    same_order = data == "same" and same_past and _same_index(first, second) and first.reorders == second.reorders
    return Relation(data, same_order, first.schedule == second.schedule, _evaluation(one, other), by_text)


def _evaluation(one: Run, other: Run) -> Evaluation:
    if not (len(one.evaluations) and len(other.evaluations)):
        return "none"
    first, second = one.evaluation_set, other.evaluation_set
    if first is None or second is None or not (first.digest and second.digest):
        return "unknown"
    return "same" if first.digest == second.digest else "other"


def _data(one: Run, other: Run, first: Sidecar, second: Sidecar) -> tuple[Data, bool]:
    """Whether the data is the same, and whether that is known from the texts."""
    if len(first.datasets) != len(second.datasets):
        return "other", True
    by_text = True
    for number, (mine, theirs) in enumerate(zip(first.datasets, second.datasets, strict=True)):
        if (mine.corpus_digest, mine.split) != (theirs.corpus_digest, theirs.split):
            return "other", True
        texts = [run.texts[number] if number < len(run.texts) else "" for run in (one, other)]
        by_text &= all(texts)
        if all(texts) and texts[0] != texts[1]:
            return "other", True
    if any(mine.seq_length != theirs.seq_length for mine, theirs in zip(first.datasets, second.datasets, strict=True)):
        return "other_length", by_text
    weights = [None if state.blend is None else state.blend.weights for state in (first, second)]
    return ("same" if weights[0] == weights[1] else "other_mixture"), by_text


def _same_index(first: Sidecar, second: Sidecar) -> bool:
    """Whether two runs began with the same index; either may have been extended since."""
    if (first.blend, first.epoch_sampling) != (second.blend, second.epoch_sampling):
        return False
    pairs = zip(first.datasets, second.datasets, strict=True)
    return all(mine.indices[:1] == theirs.indices[:1] for mine, theirs in pairs)


def same_draws(one: Run, other: Run, relation: Relation, first_step: int, last_step: int) -> bool:
    """Whether each step from ``first_step`` to ``last_step`` draws the same samples in both runs.

    Exact for the ranges of positions; of the samples at these positions, up to 4,096 are compared.
    """
    first, second = one.state, other.state
    if first is None or second is None or relation.data != "same" or not _same_index(first, second):
        return False
    try:
        draws = [_merged(state.schedule.draws(first_step, last_step)) for state in (first, second)]
        edges = [_steps_of(state, first_step, last_step) for state in (first, second)]
    except ScheduleError:  # one of them has no such steps
        return False
    if draws[0] != draws[1] or edges[0] != edges[1]:
        return False
    last = max((draw.stop for draw in draws[0]), default=0)
    if last > min(_first_index(first), _first_index(second)) and not _same_extension(first, second):
        return False
    maps = [PositionMap(state.reorders) for state in (first, second)]
    for draw in draws[0]:
        count = min(draw.stop - draw.start, _POSITIONS)
        positions = np.linspace(draw.start, draw.stop - 1, count).round().astype(np.int64)
        if not np.array_equal(maps[0].base(positions), maps[1].base(positions)):
            return False
    return True


def _merged(draws: list[Draw]) -> list[Draw]:
    """Adjoining ranges as one: runs may have been interrupted at other steps."""
    merged: list[Draw] = []
    for draw in draws:
        if merged and merged[-1].stop == draw.start and merged[-1].times == draw.times:
            merged[-1] = replace(merged[-1], stop=draw.stop)
        else:
            merged.append(draw)
    return merged


def _steps_of(state: Sidecar, first_step: int, last_step: int) -> list[tuple[int, int]]:
    """Where the global batch changes: step and new batch."""
    batches = [(first, segment.global_batch) for segment, first, _ in state.schedule.trained(first_step, last_step)]
    changed: list[tuple[int, int]] = []
    for step, batch in batches:
        if not changed or changed[-1][1] != batch:
            changed.append((step, batch))
    return changed


def _first_index(state: Sidecar) -> int:
    """The number of positions of the index that a run began with; no limit if a sampler reads it again and again."""
    if state.epoch_sampling is not None:
        return 1 << 62
    if state.blend is not None:
        return state.blend.positions
    (dataset,) = state.datasets
    requested = dataset.indices[0].samples_requested
    return IndexLayout.of(dataset.tokens_per_epoch, dataset.seq_length, requested).samples_built


def _same_extension(first: Sidecar, second: Sidecar) -> bool:
    """Whether two runs were extended alike, up to where the shorter one ends."""
    for mine, theirs in zip(first.datasets, second.datasets, strict=True):
        same = list(takewhile(lambda pair: pair[0] == pair[1], zip(mine.indices, theirs.indices, strict=False)))
        if len(same) < min(len(mine.indices), len(theirs.indices)):
            return False
    return True
