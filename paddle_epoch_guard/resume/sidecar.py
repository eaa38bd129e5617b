"""The sidecar: the guard's state in a checkpoint, ``checkpoint-<g>/epoch_guard.json``.

It lies beside the trainer's own files, so that it goes where the checkpoint goes: copied with it, and rotated
away with it. Its first line holds a digest of all the rest, so that a byte that has changed is noticed, even where the
number that it stands in still is one.
"""

import re
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import msgspec

from paddle_epoch_guard.errors import EpochGuardError, SidecarError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.index import EpochSampling
from paddle_epoch_guard.index.mapped import open_regular
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import Contrast, EpochLoss, LossWindow, Weighted
from paddle_epoch_guard.ledger.intervals import Interval, OpenInterval
from paddle_epoch_guard.order import Reorder, Schedule
from paddle_epoch_guard.resume.earlier import EarlierSteps, overlaps_earlier, steps_up_to
from paddle_epoch_guard.resume.fingerprints import BlendRecord, DatasetRecord
from paddle_epoch_guard.resume.legacy_verdicts import upgraded_verdict
from paddle_epoch_guard.statistics.verdicts import ChangeReport

SIDECAR_NAME = "epoch_guard.json"
VERSION = 3
_OLDEST = 1
"""The oldest version that is read. It had no digest."""
_BYTES = 1 << 24  # thousands of datasets and epochs fit; anything larger was not written by this package
_UP_TO = 1 << 62
_HEAD = re.compile(rb'\{\n  "digest": "([0-9a-f]{32})",')


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
    epoch_sampling: EpochSampling | None = None
    """How the sampler lists the index in each sampler epoch; None with the pretraining sampler."""
    names: tuple[str, ...] = ()
    """Of the datasets, as the charts have them from the run's start on; none in earlier releases."""
    reorder_steps: tuple[int, ...] = ()
    """The first step of each reorder; none in earlier releases."""
    epoch_losses: tuple[EpochLoss, ...] = ()
    windows: tuple[LossWindow, ...] = ()
    """The latest, for a boundary whose two sides lie on both sides of an interruption."""
    fresh: Weighted = field(default_factory=Weighted)
    """The loss of samples that were never drawn before."""
    repeat: Weighted = field(default_factory=Weighted)
    """The loss of samples that were."""
    contrast: Contrast = field(default_factory=Contrast)
    """The two compared within log windows; nothing in earlier releases."""
    evaluations: tuple[tuple[int, float], ...] = ()
    """The latest: step and loss."""
    intervals: tuple[Interval, ...] = ()
    """The latest evaluation intervals."""
    open_interval: OpenInterval | None = None
    """The steps since the latest evaluation; None without one."""
    verdicts: tuple[ChangeReport, ...] = ()
    loss_range: tuple[float, float] | None = None
    """The lowest and the highest logged loss."""
    boundaries: tuple[str, ...] = ()
    """Names of the boundaries already marked in VisualDL."""
    mismatches: tuple[str, ...] = ()
    """Differences that the run accepted, because --epoch_guard_on_mismatch is warn."""
    earlier: tuple[EarlierSteps, ...] = ()
    """What the weights had been trained on before the steps of the schedule, as far as it is known, the oldest first;
    nothing in earlier releases."""
    knows_weights: bool = True
    """Whether all that the weights had seen is known, where the run started from those of a checkpoint."""

    @property
    def own_earlier(self) -> tuple[EarlierSteps, ...]:
        """The earlier steps of this run, without those of others whose weights it began with."""
        return tuple(steps for steps in self.earlier if steps.shift == 0)

    @property
    def reordered_to(self) -> int:
        """Where the furthest of the reorders ends; 0 if there is none."""
        return max((reorder.stop for reorder in self.reorders), default=0)

    def at_step(self, step: int) -> "Sidecar":
        """The same order after another step; the position follows from the schedule."""
        starts = [segment.start for segment in self.schedule.segments if segment.first_step == step + 1]
        position = starts[0] if starts else self.schedule.position_after(step)
        return replace(self, step=step, position=position)

    def seen_after(self, step: int) -> tuple[EarlierSteps, ...]:
        """What the weights had seen after a step, the oldest first; without steps whose draws are not known."""
        schedule = steps_up_to(self.schedule, step)
        begun = tuple(
            # Of an earlier release: where the order comes to the reorder for the first time.
            next((first for first, _ in self.schedule.crossings(reorder.start)), 1)
            for reorder in self.reorders[len(self.reorder_steps) :]
        )
        first_steps = (*self.reorder_steps, *begun)[: len(self.reorders)]
        if schedule is None or overlaps_earlier(schedule, self.reorders, first_steps):
            return self.earlier
        own = EarlierSteps(
            step, schedule, self.datasets, self.reorders, self.blend, self.epoch_sampling, names=self.names
        )
        return (*self.earlier, own)


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
        ValueError: the state could not be read back.
    """
    content = encode_sidecar(sidecar, indent=2)
    decode_sidecar(content)
    with atomic_write(checkpoint / SIDECAR_NAME) as stream:
        stream.write(content)


def encode_sidecar(sidecar: Sidecar, indent: int = 0) -> bytes:
    """The state as JSON, behind a digest of it; on one line with an ``indent`` of 0."""
    body = msgspec.json.encode(sidecar)
    if indent:
        body = msgspec.json.format(body, indent=indent) + b"\n"
    return b'{\n  "digest": "' + _digest(body) + b'",' + body[1:]


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()


def decode_sidecar(content: bytes) -> Sidecar:
    """The state that :func:`encode_sidecar` encoded, in this release or an earlier one.

    Raises:
        ValueError: it holds none that can be used; also as msgspec's and this package's own errors.
    """
    if len(content) > _BYTES:
        raise ValueError(tr("more than {most} bytes", most=_BYTES))
    version = msgspec.json.decode(content, type=_Version).version
    if not _OLDEST <= version <= VERSION:
        values = {"version": version, "oldest": _OLDEST, "newest": VERSION}
        raise ValueError(tr("version {version}; this release reads versions {oldest} to {newest}", **values))
    head = _HEAD.match(content)
    if head is None and version > 1:
        raise ValueError(tr("damaged, it does not begin with its digest"))
    if head is not None and head[1] != _digest(b"{" + content[head.end() :]):
        raise ValueError(tr("damaged, its content does not have the digest that it names"))
    fields = msgspec.json.decode(content)
    _check_numbers(fields)
    return msgspec.convert(_upgraded(fields, version), type=Sidecar)


_RENAMED_IN_3 = {
    "passes": "epoch_sampling",
    "pieces": "segments",
    "parts": "indices",
    "carries": "leftover_microbatches",
    "deals": "strided",
    "is_pass": "is_sampler_epoch",
}
"""Fields of versions 1 and 2 -> their present names. A name that is listed here meant one thing in all records."""


def _upgraded(fields: object, version: int) -> object:
    """The fields of an older version under their present names."""
    if version >= 3:
        return fields
    if isinstance(fields, list):
        return [_upgraded(value, version) for value in fields]
    if not isinstance(fields, dict):
        return fields
    renamed = {_RENAMED_IN_3.get(name, name): _upgraded(value, version) for name, value in fields.items()}
    if isinstance(keeps_tail := renamed.pop("keeps_tail", None), bool):
        renamed["drop_last"] = not keeps_tail
    if isinstance(verdicts := renamed.get("verdicts"), list):
        renamed["verdicts"] = [upgraded_verdict(verdict) for verdict in verdicts]
    return renamed


def _check_numbers(value: object) -> None:
    """Whether all numbers are of a size that a run can have: arithmetic with others may take any time and memory.

    Raises:
        ValueError: one is not.
    """
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_numbers(inner)
    elif isinstance(value, (int, float)) and not abs(value) < _UP_TO:
        raise ValueError(tr("the number {number}", number=str(value)[:40]))


def read_sidecar(checkpoint: Path, step: int | None) -> Sidecar | None:
    """Reads and validates the sidecar of a checkpoint.

    Args:
        checkpoint: the checkpoint's folder.
        step: the step at which the run resumes; None for any.

    Returns:
        The state; None if the checkpoint has no sidecar.

    Raises:
        SidecarError: the file is damaged, of an unknown version, or of another step.
    """
    path = checkpoint / SIDECAR_NAME
    next_move = tr(
        "Resume from another checkpoint; or move this file away: the order is then taken from the trainer's own state "
        "in the checkpoint, where that holds it, and only the losses by epoch are lost"
    )
    try:
        with open_regular(path) as stream:
            content = stream.read(_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise SidecarError(
            tr("{path}: cannot be read ({cause}). {next_move}", path=path, cause=cause, next_move=next_move)
        ) from cause
    try:
        sidecar = decode_sidecar(content)
    except (msgspec.MsgspecError, EpochGuardError, ValueError, RecursionError) as cause:
        values = {"path": path, "cause": cause, "next_move": next_move}
        raise SidecarError(tr("{path}: not a sidecar that can be used: {cause}. {next_move}", **values)) from cause
    if step is not None and sidecar.step != step:
        raise SidecarError(
            tr(
                "{path}: written at step {written}; the run resumes at step {step}. It belongs to another checkpoint. "
                "{next_move}",
                path=path,
                written=sidecar.step,
                step=step,
                next_move=next_move,
            )
        )
    return sidecar
