"""The sidecar: the guard's state in a checkpoint, ``checkpoint-<g>/epoch_guard.json``.

It lies beside the trainer's own files, so that it goes where the checkpoint goes: copied with it, and rotated
away with it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import msgspec

from paddle_epoch_guard.errors import EpochGuardError, SidecarError
from paddle_epoch_guard.files import written_whole
from paddle_epoch_guard.index import BlendIndex, ChainIndex, GPTIndex
from paddle_epoch_guard.index.fingerprint import digest_array
from paddle_epoch_guard.ledger import Weighted
from paddle_epoch_guard.order import Reorder, Schedule

SIDECAR_NAME = "epoch_guard.json"
VERSION = 1
_BYTES = 1 << 24  # thousands of datasets and epochs fit; anything larger was not written by this package


@dataclass(frozen=True)
class PartRecord:
    """One index of a dataset: the one it was planned with, or one that was appended."""

    samples_requested: int
    seed: int
    order_digest: str = ""
    """Of document, sample and shuffle index; see :func:`~paddle_epoch_guard.index.fingerprint.digest_array`."""


@dataclass(frozen=True)
class DatasetRecord:
    """The fingerprint of one dataset. The corpus's path is left out: a corpus may move."""

    name: str
    seq_length: int
    split: str
    tokens_per_epoch: int
    corpus_digest: str
    """Of the document sizes."""
    parts: tuple[PartRecord, ...]
    """Drawn one after the other."""

    @classmethod
    def of(cls, index: GPTIndex | ChainIndex) -> "DatasetRecord":
        """The fingerprint of a verified index, at a cost that does not grow with its size."""
        parts = index.parts if isinstance(index, ChainIndex) else (index,)
        first = parts[0]
        assert first.arrays is not None
        return cls(
            name=first.description.name,
            seq_length=first.description.seq_length,
            split=first.description.split,
            tokens_per_epoch=first.layout.tokens_per_epoch,
            corpus_digest=digest_array(first.arrays.sizes),
            parts=tuple(_part_record(part) for part in parts),
        )


def _part_record(part: GPTIndex) -> PartRecord:
    assert part.arrays is not None
    arrays = part.arrays.doc_idx, part.arrays.sample_idx, part.arrays.shuffle_idx
    digest = "-".join(digest_array(array)[:16] for array in arrays)
    return PartRecord(part.description.samples_requested, part.description.seed, digest)


@dataclass(frozen=True)
class BlendRecord:
    """The order of a blend as the host built it; beyond it, by the same weights, lies what was appended."""

    weights: str
    """As the host's description of the blend gives them, rounded."""
    positions: int
    digest: str
    """Of dataset and position in it."""

    @classmethod
    def of(cls, blend: BlendIndex, positions: int | None = None) -> "BlendRecord":
        """The record of a blend's first ``positions``, or of all of it."""
        count = len(blend) if positions is None else positions
        arrays = blend.dataset_index, blend.dataset_sample_index
        return cls(blend.weights, count, "-".join(digest_array(array, count)[:16] for array in arrays))


@dataclass(frozen=True)
class EpochLoss:
    """What an epoch has added up to: the ledger's ``EpochTotal``."""

    dataset: int
    epoch: int
    first_step: int
    last_step: int
    samples: int
    loss: Weighted


@dataclass(frozen=True)
class VerdictRecord:
    """What was said of a boundary, or of a step at which a unified order began."""

    name: str
    step: int
    verdict: str
    sentence: str
    final: bool
    """Whether nothing that comes later can change it."""


@dataclass(frozen=True)
class Window:
    """A log window: the ledger's ``LossWindow``, without its epochs."""

    first_step: int
    last_step: int
    loss: float
    samples: int


@dataclass(frozen=True)
class Sidecar:
    """The state of the data order, and what has been logged of it, after ``step`` steps."""

    version: int
    run: str
    """Names the run, as the stamp in the trainer's own state does."""
    part: str
    """Names the part of the run that wrote it."""
    step: int
    position: int
    """The position that the next step draws first."""
    planned: int
    """The run draws the positions before this one."""
    max_steps: int
    reorders: tuple[Reorder, ...]
    schedule: Schedule
    datasets: tuple[DatasetRecord, ...]
    blend: BlendRecord | None = None
    epoch_losses: tuple[EpochLoss, ...] = ()
    windows: tuple[Window, ...] = ()
    """The latest, for a boundary whose two sides lie on both sides of an interruption."""
    fresh: Weighted = field(default_factory=Weighted)
    """The loss of samples that were never drawn before."""
    repeat: Weighted = field(default_factory=Weighted)
    """The loss of samples that were."""
    evaluations: tuple[tuple[int, float], ...] = ()
    """The latest: step and loss."""
    verdicts: tuple[VerdictRecord, ...] = ()
    loss_range: tuple[float, float] | None = None
    """The lowest and the highest logged loss."""
    boundaries: tuple[str, ...] = ()
    """Names of the boundaries already marked in VisualDL."""
    mismatches: tuple[str, ...] = ()
    """What the run went on in spite of, at the user's word."""

    @property
    def reordered_to(self) -> int:
        """Where the furthest of the reorders ends; 0 where there is none."""
        return max((one.stop for one in self.reorders), default=0)


@dataclass(frozen=True)
class _Version:
    version: int


def write_sidecar(checkpoint: Path, sidecar: Sidecar) -> None:
    """Writes the sidecar, whole or not at all.

    Args:
        checkpoint: the checkpoint's folder, which must exist.
        sidecar: the state.

    Raises:
        OSError: the folder cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(sidecar), indent=2) + b"\n"
    with written_whole(checkpoint / SIDECAR_NAME) as stream:
        stream.write(content)


def read_sidecar(checkpoint: Path, step: int) -> Sidecar | None:
    """Reads and validates the sidecar of a checkpoint.

    Args:
        checkpoint: the checkpoint's folder.
        step: the step at which the run resumes.

    Returns:
        The state; None where the checkpoint has no sidecar.

    Raises:
        SidecarError: the file is damaged, of an unknown version, or of another step.
    """
    path = checkpoint / SIDECAR_NAME
    next_move = (
        "Resume from another checkpoint; or, to go on without it and let the order start anew as the host builds "
        "it, move this file away"
    )
    try:
        with path.open("rb") as stream:
            content = stream.read(_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise SidecarError(f"{path}: cannot be read ({cause}). {next_move}") from cause
    try:
        if len(content) > _BYTES:
            raise SidecarError(f"more than {_BYTES} bytes")
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise SidecarError(f"version {version}; this release reads version {VERSION}")
        sidecar = msgspec.json.decode(content, type=Sidecar)
    except (msgspec.MsgspecError, EpochGuardError, ValueError, RecursionError) as cause:
        raise SidecarError(f"{path}: not a sidecar that can be used: {cause}. {next_move}") from cause
    if sidecar.step != step:
        raise SidecarError(
            f"{path}: written at step {sidecar.step}; the run resumes at step {step}. It belongs to another "
            f"checkpoint. {next_move}"
        )
    return sidecar


def find_sidecar(step: int, candidates: Iterable[str | os.PathLike[str] | None]) -> Sidecar | None:
    """The sidecar of the checkpoint that a run resumes from.

    Args:
        step: the step at which the run resumes.
        candidates: folders in which the checkpoint may be, the surest first; the first that is one counts.

    Returns:
        The state; None where there is no checkpoint, or no sidecar in it.

    Raises:
        SidecarError: the sidecar found is damaged, of an unknown version, or of another step.
    """
    checkpoint = find_checkpoint(candidates)
    return None if checkpoint is None else read_sidecar(checkpoint, step)


def find_checkpoint(candidates: Iterable[str | os.PathLike[str] | None]) -> Path | None:
    """The first of some folders that is a checkpoint; None where there is none."""
    return next((Path(candidate) for candidate in candidates if _is_checkpoint(candidate)), None)


def _is_checkpoint(candidate: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether it is the path of a folder that the trainer wrote a checkpoint to."""
    return isinstance(candidate, (str, os.PathLike)) and (Path(candidate) / "trainer_state.json").is_file()
