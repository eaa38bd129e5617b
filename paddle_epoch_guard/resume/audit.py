"""The audit of a resume: what differs between the checkpoint and the present set-up, and what is done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.index import EpochSampling
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import BoundaryStep
from paddle_epoch_guard.order import Reorder, Segment
from paddle_epoch_guard.reading import traits_of
from paddle_epoch_guard.resume.extension import same_indices
from paddle_epoch_guard.resume.finding_texts import ACTIONS, FINDINGS, value_text
from paddle_epoch_guard.resume.fingerprints import BlendRecord, DatasetRecord
from paddle_epoch_guard.resume.sidecar import Sidecar

Action = Literal["repair", "warn", "refuse"]
_STEPS_LISTED = 12


@dataclass(frozen=True)
class CurrentSetup:
    """What the host has set up for the part of the run that begins."""

    datasets: tuple[DatasetRecord, ...]
    """Of the live indices, which the host built for the present arguments."""
    blend: BlendRecord | None
    """Of as much of the live blend as the checkpoint's record covers."""
    segment: Segment
    """The steps as the present batch sizes cut them, from where the host lets the sampler start."""
    max_steps: int
    unified: bool
    starts_anew: bool
    """Whether the user asked for the data to be read from its beginning (``ignore_data_skip``)."""
    sampling: EpochSampling | None = None
    """How a sampler that knows trainer epochs lists the index; None with the pretraining sampler."""
    written: tuple[Reorder, ...] = ()
    """In which 'rebuild' wrote the live index; none if the live index is not the one that was drawn from."""
    skipped: tuple[tuple[int, int], ...] = ()
    """Ranges of steps that the present arguments skip."""


@dataclass(frozen=True)
class Finding:
    """One difference, as data: codes and numbers. Its sentences are made where it is shown."""

    code: str
    recorded: str
    current: str
    action: Action
    parameters: dict[str, Any] = field(default_factory=dict)
    """What its sentences name."""
    dataset: int | None = None
    """Of a blend, the dataset that it is about."""

    @property
    def what(self) -> str:
        """What differs."""
        what = tr(FINDINGS[self.code][0])
        return what if self.dataset is None else tr("{what} of dataset {number}", what=what, number=self.dataset)

    @property
    def then(self) -> str:
        """What was recorded, as it is shown."""
        return value_text(self.recorded)

    @property
    def now(self) -> str:
        """What there is now, as it is shown."""
        return value_text(self.current)

    @property
    def measure(self) -> str:
        """What is done, as it is shown."""
        return tr(ACTIONS[self.action])

    @property
    def why(self) -> str:
        """What is done, or what the difference would do to the data already drawn."""
        return tr(FINDINGS[self.code][1], **self.parameters)


def audit(recorded: Sidecar, current: CurrentSetup) -> tuple[Finding, ...]:
    """Compares the checkpoint's record with the present set-up.

    Args:
        recorded: the checkpoint's sidecar.
        current: what the host has set up.

    Returns:
        The differences; none if the run simply goes on.
    """
    findings = [*_data_findings(recorded, current), *_sampler_findings(recorded, current)]
    findings += [*_step_findings(recorded, current), *_start_findings(recorded, current)]
    if current.written and recorded.reorders[: len(current.written)] != current.written:
        findings.append(_written_finding(recorded, current))
    if recorded.reorders and not current.unified and recorded.reorders != current.written:
        findings.append(Finding("unified", "on", "off", "warn"))
    segment = current.segment
    if not current.starts_anew and current.sampling is None and recorded.position % segment.world_size:
        findings.append(_cannot_start(recorded.position, segment))
    return tuple(findings)


def boundary_findings(
    ahead: Sequence[BoundaryStep], new_run: Sequence[BoundaryStep], planned: int, global_batch: int
) -> tuple[Finding, ...]:
    """The boundaries that an extension adds, and that a new run of the same length would not have.

    Args:
        ahead: the boundaries that the resumed run has ahead.
        new_run: those of a new run of its present length.
        planned: where the plan of the checkpoint ended, a position.
        global_batch: two boundaries are the same if they are of one dataset, and at most so many positions apart: an
            index that was appended may begin a sample earlier than the same data epoch of a larger index.
    """
    added = [
        boundary
        for boundary in ahead
        if _position(boundary) >= planned
        and not any(
            other.dataset == boundary.dataset and abs(_position(other) - _position(boundary)) <= global_batch
            for other in new_run
        )
    ]
    if not added:
        return ()
    before = [boundary for boundary in ahead if _position(boundary) < planned]
    return (Finding("boundaries_added", _steps(before), _steps(ahead), "warn", {"added": _steps(added)}),)


def _position(boundary: BoundaryStep) -> int:
    return -1 if boundary.position is None else boundary.position


def _steps(boundaries: Sequence[BoundaryStep]) -> str:
    steps = sorted({boundary.step for boundary in boundaries})
    more = f", \u2026 ({len(steps)})" if len(steps) > _STEPS_LISTED else ""
    return ", ".join(map(str, steps[:_STEPS_LISTED])) + more or "none"


def skipped_so_far(skipped: Sequence[tuple[int, int]], step: int) -> tuple[tuple[int, int], ...]:
    """Of ranges of skipped steps, what lies at ``step`` or before."""
    return tuple((first, min(last, step)) for first, last in skipped if first <= step)


def skipped_later(skipped: Sequence[tuple[int, int]], step: int) -> tuple[tuple[int, int], ...]:
    """Of ranges of skipped steps, what lies after ``step``."""
    return tuple((max(first, step + 1), last) for first, last in skipped if last > step)


def _step_findings(recorded: Sidecar, current: CurrentSetup) -> list[Finding]:
    """How the order is cut into steps, and how many there are."""
    findings = []
    before, after = recorded.schedule.segments[-1], current.segment
    for name in ("micro_batch", "accumulation", "world_size"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            findings.append(Finding(name, str(old), str(new), "repair"))
    if recorded.max_steps != current.max_steps:
        end = recorded.planned
        new_end = needed_positions(recorded.position, recorded.step, current.max_steps, after)
        code = "same" if new_end == end else "longer" if new_end > end else "shorter"
        ends = {"recorded": end, "current": new_end}
        steps = str(recorded.max_steps), str(current.max_steps)
        findings.append(Finding(f"max_steps_{code}", *steps, "repair", ends))
    old_skips, new_skips = (
        skipped_so_far(each, recorded.step) for each in (recorded.schedule.skipped, current.skipped)
    )
    if old_skips != new_skips:
        findings.append(Finding("skipped_steps", _ranges(old_skips), _ranges(new_skips), "repair"))
    return findings


def _start_findings(recorded: Sidecar, current: CurrentSetup) -> list[Finding]:
    """Where the data begins."""
    start = current.segment.start
    positions = str(recorded.position), str(start)
    if current.starts_anew:
        return [Finding("starts_anew", *positions, "warn")]
    if start != recorded.position and current.sampling is None and recorded.epoch_sampling is None:
        return [Finding("sampler_start", *positions, "repair", {"position": recorded.position})]
    return []


def _sampler_findings(recorded: Sidecar, current: CurrentSetup) -> list[Finding]:
    """A sampler that knows trainer epochs begins where the trainer does: the run goes on there, or not."""
    old, new = traits_of(recorded.epoch_sampling), traits_of(current.sampling)
    kind = "sampler_kind"
    if old[kind] != new[kind]:
        return [Finding(kind, old[kind], new[kind], "refuse")]
    findings = [Finding(code, old[code], new[code], "refuse") for code in old if old[code] != new[code]]
    if current.sampling is not None and not findings and not current.starts_anew:
        positions = str(recorded.position), str(current.segment.start)
        if current.segment.start != recorded.position:
            findings.append(Finding("sampler_start_unset", *positions, "refuse"))
    return findings


def _data_findings(recorded: Sidecar, current: CurrentSetup) -> list[Finding]:
    counts = len(recorded.datasets), len(current.datasets)
    if counts[0] != counts[1]:
        return [Finding("datasets", str(counts[0]), str(counts[1]), "refuse")]
    findings: list[Finding] = []
    for number, (old, new) in enumerate(zip(recorded.datasets, current.datasets, strict=True)):
        dataset = number if len(current.datasets) > 1 else None
        differences = [
            ("dataset_name", old.name, new.name),
            ("sequence_length", old.seq_length, new.seq_length),
            ("split", old.split, new.split),
            ("seed", old.indices[0].seed, new.indices[0].seed),
            (
                "corpus_tokens" if old.split == new.split else "split_tokens",
                old.tokens_per_epoch,
                new.tokens_per_epoch,
            ),
            ("document_sizes", old.corpus_digest, new.corpus_digest),
        ]
        findings += [
            Finding(code, str(before), str(after), "refuse", dataset=dataset)
            for code, before, after in differences
            if before != after
        ]
        if not findings:
            findings += _index_findings(old, new, dataset)
    return findings + _blend_findings(recorded.blend, current.blend, sure=not refused(findings))


def _index_findings(old: DatasetRecord, new: DatasetRecord, dataset: int | None) -> list[Finding]:
    before, after = old.indices[0], new.indices[0]
    if not same_indices(old.indices, new.indices):
        samples = str(before.samples_requested), str(after.samples_requested)
        return [Finding("index_samples", *samples, "repair", dataset=dataset)]
    if before.order_digest != after.order_digest:
        digests = before.order_digest[:16], after.order_digest[:16]
        return [Finding("index_order", *digests, "refuse", dataset=dataset)]
    return []


def _blend_findings(old: BlendRecord | None, new: BlendRecord | None, sure: bool) -> list[Finding]:
    if old is None or new is None:
        is_blend = ["no" if record is None else "yes" for record in (old, new)]
        return [] if old is new else [Finding("blend", is_blend[0], is_blend[1], "refuse")]
    if old.weights != new.weights:
        return [Finding("blend_weights", old.weights, new.weights, "refuse")]
    if sure and old.positions == new.positions and old.digest != new.digest:
        return [Finding("blend_order", old.digest, new.digest, "refuse")]
    return []


def _written_finding(recorded: Sidecar, current: CurrentSetup) -> Finding:
    """The index lies in an order, as 'rebuild' wrote it, that the run has not begun."""
    now = f"unified from position {current.written[-1].start}"
    if recorded.reorders:
        return Finding("written_other", f"unified from position {recorded.reorders[-1].start}", now, "repair")
    if current.written[0].start < recorded.position and not current.starts_anew:
        return Finding("written_late", "the host's own", now, "refuse", {"position": recorded.position})
    return Finding("written", "the host's own", now, "repair")


def _cannot_start(position: int, segment: Segment) -> Finding:
    fitting = [size for size in range(1, 4 * segment.world_size + 1) if position % size == 0]
    nearest = sorted(fitting, key=lambda size: (abs(size - segment.world_size), size))[:4]
    parameters = {"position": position, "sizes": ", ".join(str(size) for size in sorted(nearest))}
    return Finding("cannot_start", "-", str(segment.world_size), "refuse", parameters)


def _ranges(skipped: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first} to {last}" for first, last in skipped) or "none"


def refused(findings: Sequence[Finding]) -> list[Finding]:
    """The differences that cannot be repaired."""
    return [finding for finding in findings if finding.action == "refuse"]


def refuse(step: int, findings: Sequence[Finding]) -> None:
    """Stops where a difference cannot be repaired.

    Raises:
        ResumeMismatchError: with each difference, and what it would do.
    """
    each = tr("; ").join(
        tr(
            "{what} was {then}, is {now} ({why})",
            what=finding.what,
            then=finding.then,
            now=finding.now,
            why=finding.why,
        )
        for finding in refused(findings)
    )
    if each:
        raise ResumeMismatchError(
            tr(
                "the run that resumes at step {step} is not the one that was interrupted: {differences}. Resume with "
                "the values of the interrupted run. --epoch_guard_on_mismatch warn goes on all the same, in the "
                "host's present order",
                step=step,
                differences=each,
            )
        )


def needed_positions(start: int, step: int, max_steps: int, segment: Segment) -> int:
    """Positions that the run draws in all: those so far, and the steps that are left.

    Args:
        start: the position that the next step draws first.
        step: the last step done.
        max_steps: the last step of the run.
        segment: gives the global batch.
    """
    # The trainer does one more step even where the run is already at its end.
    return start + max(max_steps - step, 1) * segment.global_batch


def first_guarded_position(  # noqa: PLR0913 - each is a fact of another origin
    step: int,
    max_steps: int,
    sampler_start: int,
    stated: int | None,
    record: Mapping[str, Any] | None,
    consumed: int | None = None,
    seeds: tuple[int, int] | None = None,
) -> int:
    """Where a run continues that was interrupted without the guard.

    The host has rebuilt its index and set its sampler by the present arguments. Whether these are the arguments of
    the interrupted run follows from what the trainer itself recorded.

    Args:
        step: the last step done.
        max_steps: the last step of the run, now.
        sampler_start: where the host lets the sampler start.
        stated: the position that the user states by hand, which is not doubted.
        record: what the trainer itself wrote of the checkpoint; None if it was not found.
        consumed: what the trainer counts as consumed, by the present arguments; ``sampler_start`` where None.
        seeds: of the data, as the trainer saved it and now; None if that is not known.

    Raises:
        ResumeMismatchError: the record contradicts the present arguments, or is missing.
    """
    if stated is not None:
        return stated
    if record is None:
        raise ResumeMismatchError(
            tr(
                "the checkpoint of step {step} has no epoch_guard.json, and it is in doubt whether the order goes on: "
                "the trainer's own record of the checkpoint was not found. Name the checkpoint: "
                "--resume_from_checkpoint FOLDER; or, if the order is known to be the same, state how many samples "
                "were drawn so far, over all ranks: --epoch_guard_position N",
                step=step,
            )
        )
    drawn = record.get("consumed_samples")
    compared = {
        tr("samples consumed"): (drawn, sampler_start if consumed is None else consumed),
        "max_steps": (record.get("max_steps"), max_steps),
        **({} if seeds is None else {tr("seed"): seeds}),
    }
    changed = [
        tr("{what} then: {then}, now: {now}", what=what, then=then, now=now)
        for what, (then, now) in compared.items()
        if then != now
    ]
    if changed:
        raise ResumeMismatchError(
            tr(
                "the checkpoint of step {step} has no epoch_guard.json, and it is in doubt whether the order goes on: "
                "{differences}. When max_steps, batch, accumulation, world size or seed change, the host rebuilds "
                "its index in another order and skips positions of an order that was never drawn. Resume with the "
                "values of the interrupted run; or, if the order is known to be the same, state how many samples were "
                "drawn so far, over all ranks: --epoch_guard_position {drawn}",
                step=step,
                differences=tr("; ").join(changed),
                drawn=drawn if isinstance(drawn, int) else "N",
            )
        )
    return sampler_start
