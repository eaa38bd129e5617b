"""The indices that a run draws from: built where they are missing, and opened. Only this stage writes files."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.files import poll_until
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, Description, GPTIndex, SampleIndex
from paddle_epoch_guard.index.cache import index_files, load_index
from paddle_epoch_guard.index.folder import PADDLE, IndexFiles
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order.materialise import host_order
from paddle_epoch_guard.resume import (
    BlendRecord,
    DatasetRecord,
    Finding,
    IndexRecord,
    extend_indices,
    in_force,
    open_blend,
    same_indices,
    write_blend,
)
from paddle_epoch_guard.resume.blending import blend_files
from paddle_epoch_guard.session.consensus import run_on_all_ranks
from paddle_epoch_guard.session.observe import Observed, datasets_of
from paddle_epoch_guard.session.reconcile import Resolution


@dataclass(frozen=True)
class DrawnData:
    """What a run draws from."""

    index: SampleIndex | None
    """The live index, or one with the indices that the run began with and those that follow."""
    datasets: tuple[DatasetRecord, ...] = ()
    """Fingerprints of its datasets."""
    blend: BlendRecord | None = None
    """Which of the host's orders of a blend is in force."""
    is_live: bool = True
    """Whether it is the live index."""
    findings: tuple[Finding, ...] = ()
    """What had to be repaired here."""
    listing: tuple[int, ...] = ()
    """Where each dataset is in the live blend, if that lists them in another order; else empty."""


@dataclass(frozen=True)
class _Wanted:
    """What is to be opened, decided before any file is looked for."""

    blend: BlendRecord | None = None
    blend_length: int = 0
    """Positions of the blend that the guard must build; 0 if the live blend has what is drawn."""
    findings: tuple[Finding, ...] = ()


def open_indices(observed: Observed, resolution: Resolution | None, must_succeed: bool) -> DrawnData:
    """Opens what the run draws from. Collective.

    The first process of each machine builds what is missing; then all of them read it. Every rank takes part, whether
    it wants anything or not: all must count the same rounds.

    Args:
        observed: the data as the host has set it up.
        resolution: how the run goes on; None if the live index is all there is.
        must_succeed: whether an unexpected fault is an error.

    Raises:
        EpochGuardError: an index is missing, cannot be built, or is not the one that was drawn from.
    """
    wanted = run_on_all_ranks(lambda: _wanted(observed, resolution), must_succeed)
    run_on_all_ranks(lambda: _build_blend(observed, wanted), must_succeed=True)
    drawn = run_on_all_ranks(lambda: _extended(observed, resolution, wanted), must_succeed)
    missing = _descriptions(observed, drawn, resolution)
    run_on_all_ranks(lambda: _build_missing(observed, missing), must_succeed=True)
    return run_on_all_ranks(lambda: _opened(observed, drawn, missing), must_succeed)


def _wanted(observed: Observed, resolution: Resolution | None) -> _Wanted:
    """Which order of a blend is in force, and how much of it the guard must build."""
    index = observed.index
    if resolution is None or not isinstance(index, BlendIndex):
        return _Wanted()
    blend = in_force(BlendRecord.of(index), resolution.sidecar)
    needed = resolution.needed
    is_live = resolution.sidecar is None or resolution.ahead.is_sampler_epoch
    if is_live or needed <= min(len(index), blend.positions):
        return _Wanted(blend)
    length = max(needed, blend.positions)
    if observed.listing:  # which is a finding of its own
        return _Wanted(blend, length)
    return _Wanted(blend, length, (Finding("blend_positions", str(blend.positions), str(len(index)), "repair"),))


def _build_blend(observed: Observed, wanted: _Wanted) -> None:
    """Writes the order of the blend that is in force where the host has built too little of it."""
    if wanted.blend_length and host.is_first_on_its_machine():
        assert isinstance(observed.index, BlendIndex)
        assert wanted.blend is not None
        folder = _blend_folder(observed, wanted)
        try:
            write_blend(observed.index, wanted.blend, wanted.blend_length, host.pick_datasets, folder)
        except ResumeMismatchError as cause:
            if not observed.listing:
                raise
            raise ResumeMismatchError(
                tr(
                    "the datasets of the blend are listed in another order than when the run began, and its order "
                    "cannot be built again from the recorded weights. List them as then: {names}",
                    names=", ".join(observed.index.names),
                )
            ) from cause


def _extended(observed: Observed, resolution: Resolution | None, wanted: _Wanted) -> DrawnData:
    """With as many indices of each dataset as the planned positions, and the orders begun, need."""
    index = observed.index
    if resolution is None or index is None:
        return DrawnData(index)
    sidecar, datasets = resolution.sidecar, resolution.datasets
    if sidecar is None or resolution.ahead.is_sampler_epoch:
        return DrawnData(index, datasets, wanted.blend)
    counts = [resolution.planned]
    if isinstance(index, BlendIndex):
        if wanted.blend_length:
            assert wanted.blend is not None
            index = open_blend(index, wanted.blend, wanted.blend_length, _blend_folder(observed, wanted))
        counts = index.drawn_of_each(resolution.needed).tolist()
    extended = tuple(
        replace(dataset, indices=extend_indices(dataset, count))
        for dataset, count in zip(datasets, counts, strict=True)
    )
    findings = wanted.findings
    if not findings and not resolution.findings and extended != sidecar.datasets:
        before, after = (str(sum(len(dataset.indices) for dataset in each)) for each in (sidecar.datasets, extended))
        findings = (Finding("indices", before, after, "repair"),)
    return DrawnData(index, extended, wanted.blend, index is observed.index, findings, observed.listing)


def _descriptions(
    observed: Observed, drawn: DrawnData, resolution: Resolution | None
) -> dict[int, tuple[Description, ...]]:
    """For each dataset that has other indices than its live one: their descriptions."""
    if resolution is None:
        return {}
    wanted = {}
    triples = zip(drawn.datasets, observed.live, datasets_of(observed.index), strict=True)
    for number, (record, live, index) in enumerate(triples):
        if not same_indices(record.indices, live.indices):
            assert isinstance(index, GPTIndex)
            wanted[number] = tuple(
                replace(index.description, samples_requested=appended.samples_requested, seed=appended.seed)
                for appended in record.indices
            )
    return wanted


def _build_missing(observed: Observed, wanted: dict[int, tuple[Description, ...]]) -> None:
    """Lets the host build the indices that are nowhere."""
    datasets = observed.live_datasets
    for number, descriptions in wanted.items():
        for description in descriptions:
            if _folder_of(observed, datasets[number], description) is None:
                folder = host.folder_to_build_in(datasets[number], observed.run_folder)
                host.build_index(datasets[number], description, folder)


def _opened(observed: Observed, drawn: DrawnData, wanted: dict[int, tuple[Description, ...]]) -> DrawnData:
    """With a concatenated index in the place of each dataset that needs one."""
    if not wanted:
        return drawn
    live_datasets = observed.live_datasets
    opened = list(datasets_of(drawn.index))
    for number, descriptions in wanted.items():
        live = opened[number]
        assert isinstance(live, GPTIndex)
        pairs = zip(descriptions, drawn.datasets[number].indices, strict=True)
        opened[number] = ConcatenatedIndex(
            tuple(_open(observed, live_datasets[number], live, description, record) for description, record in pairs)
        )
    index: SampleIndex = opened[0]
    if isinstance(drawn.index, BlendIndex):
        index = replace(drawn.index, datasets=tuple(opened))
    records = tuple(DatasetRecord.of(dataset) for dataset in datasets_of(index))
    return replace(drawn, index=index, datasets=records, is_live=False)


def _open(
    observed: Observed, dataset: object, live: GPTIndex, description: Description, record: IndexRecord
) -> GPTIndex:
    """One index of a dataset, which must be the one that was drawn from."""
    assert live.arrays is not None
    present = poll_until(functools.partial(_folder_of, observed, dataset, description))
    folder = present or host.folder_to_build_in(dataset, observed.run_folder)
    index = live if description == live.description else open_index(folder, description, live.arrays.sizes)
    digest = IndexRecord.of(index).order_digest
    if record.order_digest not in ("", digest):
        raise ResumeMismatchError(
            tr(
                "{folder}: the index for {samples} samples and seed {seed} is not the one that was drawn from (digest "
                "{now}, was {then}). Restore the index files of the interrupted run",
                folder=folder,
                samples=description.samples_requested,
                seed=description.seed,
                now=digest,
                then=record.order_digest,
            )
        )
    return index


def _folder_of(observed: Observed, dataset: object, description: Description) -> Path | None:
    """The folder that holds all files of a description."""
    return folder_with(description, (*host.index_folders(dataset), observed.run_folder))


def folder_with(description: Description, folders: Iterable[Path]) -> Path | None:
    """The first of some folders that holds all files of a description; None if none does."""
    for folder in folders:
        if all(file.is_file() for file in index_files(folder, description).values()):
            return folder
    return None


def open_index(folder: Path, description: Description, sizes: npt.NDArray[np.integer[Any]]) -> GPTIndex:
    """The index of a description, in the host's own order.

    Args:
        folder: holds its files.
        description: what it was built from.
        sizes: ``[documents]``: tokens of each document of the corpus.

    Raises:
        EpochGuardError: a file is missing or unreadable, or does not match description and corpus.
    """
    files = IndexFiles(folder, description.digest, PADDLE)
    return load_index(folder, description, sizes, functools.partial(host_order, files))


def _blend_folder(observed: Observed, wanted: _Wanted) -> Path:
    """The folder that holds the blend's files, or in which they are to be written."""
    assert wanted.blend is not None
    first = observed.live_datasets[0]
    for folder in (*host.index_folders(first), observed.run_folder):
        if all(file.is_file() for file in blend_files(folder, wanted.blend, wanted.blend_length)):
            return folder
    return host.folder_to_build_in(first, observed.run_folder)
