"""The indices of a run, as they are built where they are missing, and opened."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paddle_epoch_guard import host
from paddle_epoch_guard.errors import (
    ResumeMismatchError,
)
from paddle_epoch_guard.files import poll_until
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, Description, GPTIndex, SampleIndex
from paddle_epoch_guard.index.cache import index_files, load_index
from paddle_epoch_guard.index.folder import PADDLE, IndexFiles
from paddle_epoch_guard.order import Segment
from paddle_epoch_guard.order.materialise import host_order
from paddle_epoch_guard.resume import (
    BlendRecord,
    DatasetRecord,
    Finding,
    Sidecar,
    UnifyOptions,
    extend_indices,
    in_force,
    open_blend,
    same_indices,
    write_blend,
)


def constituents(index: SampleIndex | None) -> tuple[GPTIndex | ConcatenatedIndex, ...]:
    """The datasets of an index: those of a blend, or itself."""
    if isinstance(index, BlendIndex):
        return index.datasets
    return (index,) if isinstance(index, (GPTIndex, ConcatenatedIndex)) else ()


@dataclass(frozen=True)
class Start:
    """What is known before any index but the live ones is opened."""

    options: UnifyOptions
    loader: host.Loader
    index: SampleIndex | None
    live: tuple[DatasetRecord, ...]
    """Fingerprints of the live indices."""
    datasets: tuple[DatasetRecord, ...]
    """Fingerprints of what the run draws from: with the parts it began with, and those appended."""
    segment: Segment | None
    """The steps that begin, from the true position on."""
    later: tuple[Segment, ...]
    """Those of later trainer epochs, where the sampler reads in passes."""
    skipped: tuple[tuple[int, int], ...]
    step: int
    max_steps: int
    batch: int
    planned: int
    sidecar: Sidecar | None
    findings: tuple[Finding, ...]
    mismatches: tuple[str, ...]
    blend: BlendRecord | None = None
    """Which of the host's orders of a blend is in force."""
    blend_length: int = 0
    """Positions that the guard must build of it; 0 where the live blend has what is drawn."""
    earlier: Sidecar | None = None
    """Of the checkpoint from whose weights alone the run begins."""
    drawn: SampleIndex | None = None
    """The live index, or the blend that the guard has built, before its datasets are extended."""

    @property
    def needed(self) -> int:
        """Positions that the run draws, and those that the orders it has begun span."""
        return max(self.planned, 0 if self.sidecar is None else self.sidecar.reordered_to)

    def parts_wanted(self) -> dict[int, tuple[Description, ...]]:
        """For each dataset whose parts are not just its live index: the descriptions of the parts."""
        wanted: dict[int, tuple[Description, ...]] = {}
        if self.segment is None:
            return wanted
        for at, (record, live, index) in enumerate(
            zip(self.datasets, self.live, constituents(self.index), strict=True)
        ):
            if not same_indices(record.parts, live.parts):
                assert isinstance(index, GPTIndex)
                wanted[at] = tuple(
                    replace(index.description, samples_requested=part.samples_requested, seed=part.seed)
                    for part in record.parts
                )
        return wanted


def with_blend(start: Start, index: BlendIndex) -> Start:
    """Says which order of the blend is in force, and how much of it the guard must build."""
    blend = in_force(BlendRecord.of(index), start.sidecar)
    if start.sidecar is None or start.loader.passes is not None:
        return replace(start, blend=blend)
    if start.needed <= min(len(index), blend.positions):
        return replace(start, blend=blend)
    length = max(start.needed, blend.positions)
    why = "the host has built another blend; the one that was begun is used, and goes on by its weights"
    found = Finding("positions of the blend", str(blend.positions), str(len(index)), "repair", why)
    return replace(start, blend=blend, blend_length=length, findings=(*start.findings, found))


def build_blend(start: Start) -> None:
    """Writes the order of the blend that is in force where the host has built too little of it."""
    if start.blend_length and host.is_first_on_its_machine():
        assert isinstance(start.index, BlendIndex)
        assert start.blend is not None
        write_blend(start.index, start.blend, start.blend_length, host.pick_datasets, _blend_folder(start))


def extended(start: Start) -> Start:
    """With as many parts of each dataset as the planned positions, and the orders begun, need."""
    index, sidecar = start.index, start.sidecar
    if sidecar is None or index is None or start.loader.passes is not None:
        return replace(start, drawn=index)
    counts = [start.planned]
    if isinstance(index, BlendIndex):
        if start.blend_length:
            assert start.blend is not None
            index = open_blend(index, start.blend, start.blend_length, _blend_folder(start))
        counts = index.drawn_of_each(start.needed).tolist()
    datasets = tuple(
        replace(one, parts=extend_indices(one, count)) for one, count in zip(start.datasets, counts, strict=True)
    )
    findings = start.findings
    if not findings and datasets != sidecar.datasets:
        before, after = (str(sum(len(one.parts) for one in each)) for each in (sidecar.datasets, datasets))
        why = "the loader would run dry: whole data epochs follow, instead of the same samples in the same order"
        findings = (Finding("indices drawn from", before, after, "repair", why),)
    return replace(start, drawn=index, datasets=datasets, findings=findings)


def build_missing(start: Start, wanted: dict[int, tuple[Description, ...]]) -> None:
    """Lets the host build the parts that are nowhere."""
    datasets = host.constituents(start.loader.dataset)
    for at, descriptions in wanted.items():
        for description in descriptions:
            if _folder_of(datasets[at], description) is None:
                host.build_index(datasets[at], description)


def open_parts(start: Start, wanted: dict[int, tuple[Description, ...]]) -> SampleIndex | None:
    """The index to draw from: the live one, with a chain in the place of each dataset that needs one."""
    index = start.drawn
    if not wanted:
        return index
    datasets = host.constituents(start.loader.dataset)
    found = list(constituents(index))
    for at, descriptions in wanted.items():
        live = found[at]
        assert isinstance(live, GPTIndex)
        assert live.arrays is not None
        parts = []
        for description, record in zip(descriptions, start.datasets[at].parts, strict=True):
            found_in = poll_until(functools.partial(_folder_of, datasets[at], description))
            folder = found_in or host.index_folders(datasets[at])[-1]
            part = live
            if description != live.description:
                files = IndexFiles(folder, description.digest, PADDLE)
                part = load_index(folder, description, live.arrays.sizes, functools.partial(host_order, files))
            parts.append(part)
            digest = DatasetRecord.of(part).parts[0].order_digest
            if record.order_digest not in ("", digest):
                raise ResumeMismatchError(
                    f"{folder}: the index for {description.samples_requested} samples and seed {description.seed} is "
                    f"not the one that was drawn from (digest {digest}, was {record.order_digest}). Restore the index "
                    "files of the interrupted run"
                )
        found[at] = ConcatenatedIndex(tuple(parts))
    return replace(index, datasets=tuple(found)) if isinstance(index, BlendIndex) else found[0]


def _folder_of(dataset: Any, description: Description) -> Path | None:
    """The folder that holds all files of a description."""
    for folder in host.index_folders(dataset):
        if all(file.is_file() for file in index_files(folder, description).values()):
            return folder
    return None


def _blend_folder(start: Start) -> Path:
    return host.index_folders(host.constituents(start.loader.dataset)[0])[-1]
