"""Opens the data from which earlier steps drew in another order, so that its tokens can be traced. Builds no index."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import EpochGuardError
from paddle_epoch_guard.index import (
    BlendIndex,
    ConcatenatedIndex,
    Description,
    EpochSampledIndex,
    GPTIndex,
    SampleIndex,
)
from paddle_epoch_guard.index.equal_corpora import Corpus, equal_corpora
from paddle_epoch_guard.ledger import EarlierData, EarlierReads
from paddle_epoch_guard.order import PositionMap
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.resume import BlendRecord, DatasetRecord, EarlierSteps, IndexRecord
from paddle_epoch_guard.resume.blending import build_blend
from paddle_epoch_guard.session.observe import datasets_of
from paddle_epoch_guard.session.open_indices import folder_with, open_index
from paddle_epoch_guard.session.run_plan import RunPlan


@dataclass(frozen=True)
class OpenedEarlier:
    """The data of earlier steps, each once, and which of it they read."""

    data: tuple[EarlierData, ...] = ()
    reads: tuple[EarlierReads, ...] = ()
    """The oldest first."""


class _UnknownError(Exception):
    """What some steps drew is unknown: a reason, and the values that its sentence names."""

    def __init__(self, why: str, **values: Any) -> None:
        super().__init__(why)
        self.why, self.values = why, values


@dataclass(frozen=True)
class _Present:
    """A dataset that the run draws from now."""

    name: str
    indices: tuple[GPTIndex, ...]
    digest: str
    """Of its corpus."""
    folders: tuple[Path, ...]
    """Where indices of this corpus are looked for."""

    @property
    def corpus(self) -> Corpus:
        """Its corpus."""
        first = self.indices[0]
        assert first.arrays is not None
        return Corpus(first.description.prefix, first.arrays.sizes)


def open_earlier(plan: RunPlan, output_dir: Path) -> OpenedEarlier | Message:
    """The data of all earlier steps of a plan; or why what some of them drew is not known.

    Args:
        plan: its index must be there.
        output_dir: of the run; indices that it built itself may lie there.
    """
    if not plan.past.earlier:
        return OpenedEarlier()
    data: dict[object, tuple[int, EarlierData]] = {}
    reads = []
    present = _present(plan, output_dir)
    for steps in plan.past.earlier:
        stop = max(segment.stop for segment in steps.schedule.segments)
        key = (steps.datasets, steps.blend, steps.reorders, steps.epoch_sampling and (steps.epoch_sampling, stop))
        try:
            if _is_of_other_corpora(steps, present):
                continue
            if key not in data:
                data[key] = len(data), _opened(steps, stop, plan, present)
        except _UnknownError as unknown:
            return Message("earlier_unknown", {**steps.shown, "why": unknown.why, **unknown.values})
        reads.append(EarlierReads(data[key][0], steps.schedule, steps.last_step, steps.shift))
    return OpenedEarlier(tuple(opened for _, opened in data.values()), tuple(reads))


def _present(plan: RunPlan, output_dir: Path) -> tuple[_Present, ...]:
    live, drawn = host.constituents(plan.loader.dataset), plan.drawn
    live = [live[number] for number in drawn.listing] if drawn.listing else live
    return tuple(
        _Present(
            name,
            index.indices if isinstance(index, ConcatenatedIndex) else (index,),
            record.corpus_digest,
            (*host.index_folders(dataset), output_dir / "index-cache"),
        )
        for name, index, record, dataset in zip(
            plan.naming.datasets, datasets_of(drawn.index), drawn.datasets, live, strict=True
        )
    )


def _is_of_other_corpora(steps: EarlierSteps, present: Sequence[_Present]) -> bool:
    """Whether another run, whose weights this one started from, drew from none of the present corpora."""
    return steps.shift != 0 and not {one.digest for one in present} & {one.corpus_digest for one in steps.datasets}


def _opened(steps: EarlierSteps, stop: int, plan: RunPlan, present: Sequence[_Present]) -> EarlierData:
    names = steps.names if len(steps.names) == len(steps.datasets) else ("",) * len(steps.datasets)
    corpora = tuple(_corpus_of(*pair, present) for pair in zip(steps.datasets, names, strict=True))
    datasets = tuple(_dataset(record, present[number]) for record, number in zip(steps.datasets, corpora, strict=True))
    index: SampleIndex = datasets[0]
    if steps.blend is not None:
        reached = steps.schedule.reached_before(steps.last_step + 1)
        index = _blend(steps.blend, max(reached, steps.blend.positions), datasets, plan)
    if steps.epoch_sampling is not None:
        order = host.order_of_rule(steps.epoch_sampling)
        index = EpochSampledIndex(index, order, -(-stop // steps.epoch_sampling.length))
    return EarlierData(index, PositionMap(steps.reorders), corpora)


def _corpus_of(record: DatasetRecord, name: str, present: Sequence[_Present]) -> int:
    """The present dataset with the corpus of an earlier one."""
    alike = [number for number, one in enumerate(present) if one.digest == record.corpus_digest]
    if not alike:
        raise _UnknownError("other_corpus", corpus=name)
    named = [number for number in alike if present[number].name == name]
    if len(named) == 1:
        return named[0]
    is_one = len(alike) == 1 or len(equal_corpora([present[number].corpus for number in alike]).like(0)) == len(alike)
    if not is_one:
        raise _UnknownError("other_corpus", corpus=name)
    return alike[0]


def _dataset(record: DatasetRecord, present: _Present) -> GPTIndex | ConcatenatedIndex:
    indices = tuple(_index(record, one, present) for one in record.indices)
    return indices[0] if len(indices) == 1 else ConcatenatedIndex(indices)


def _index(dataset: DatasetRecord, record: IndexRecord, present: _Present) -> GPTIndex:
    """An index of an earlier dataset: one that is open already, or from a cache."""
    description = replace(
        present.indices[0].description,
        name=dataset.name,
        samples_requested=record.samples_requested,
        seq_length=dataset.seq_length,
        seed=record.seed,
        split=dataset.split,
    )
    values = {"samples": record.samples_requested, "seed": record.seed, "path": f"{description.digest}_*.npy"}
    for index in _candidates(description, present, values):
        if record.order_digest in ("", IndexRecord.of(index).order_digest):
            return index
    raise _UnknownError("index_changed", **values)


def _candidates(description: Description, present: _Present, values: dict[str, Any]) -> Iterable[GPTIndex]:
    yield from (index for index in present.indices if index.description == description)
    folder = folder_with(description, present.folders)
    if folder is None:
        raise _UnknownError("index_missing", **values)
    try:
        yield open_index(folder, description, present.corpus.sizes)
    except EpochGuardError as cause:
        raise _UnknownError("index_changed", **values) from cause


def _blend(
    record: BlendRecord, length: int, datasets: tuple[GPTIndex | ConcatenatedIndex, ...], plan: RunPlan
) -> BlendIndex:
    """The order of an earlier blend: the present one, or built again."""
    index = plan.index.inner if isinstance(plan.index, EpochSampledIndex) else plan.index
    kinds: tuple[Any, ...] = (np.uint8, np.int16)
    if isinstance(index, BlendIndex):
        kinds = (index.dataset_index.dtype,)
        goes_as_far = length == record.positions or plan.drawn.blend == record
        if len(index) >= length and goes_as_far and BlendRecord.of(index, record.positions) == record:
            return replace(index, datasets=datasets)
    for kind in kinds:
        nothing = BlendIndex(datasets, np.empty(0, kind), np.empty(0, np.int64), record.weights)
        arrays = build_blend(nothing, record, length, host.pick_datasets)
        if arrays is not None:
            return BlendIndex(datasets, *arrays, record.weights)
    raise _UnknownError("blend_lost")
