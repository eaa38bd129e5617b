"""What becomes of a run: where it goes on, from which indices, and what differs from the checkpoint. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paddle_epoch_guard.errors import ArgumentsError, ResumeMismatchError
from paddle_epoch_guard.index import BlendIndex, SampleIndex
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Schedule, Segment
from paddle_epoch_guard.reading import PositionedReading
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.resume import (
    BlendRecord,
    CurrentSetup,
    DatasetRecord,
    EarlierSteps,
    Finding,
    Sidecar,
    audit,
    first_guarded_position,
    needed_positions,
    refuse,
    same_indices,
)
from paddle_epoch_guard.resume.audit import skipped_later, skipped_so_far
from paddle_epoch_guard.resume.earlier import steps_up_to
from paddle_epoch_guard.session.observe import Observed, Request
from paddle_epoch_guard.session.unguarded import NOTHING_SAVED, Unguarded, why_unknown

_NAMES_LISTED = 6


@dataclass(frozen=True)
class Resolution:
    """How the run goes on."""

    schedule: Schedule
    """All steps: those so far, as far as they are known, and those ahead."""
    ahead: Segment
    """The steps that begin, from the true position on."""
    planned: int
    """The run draws the positions before this one, unless its loader runs dry."""
    datasets: tuple[DatasetRecord, ...]
    """What it draws from, with the indices that it began with."""
    sidecar: Sidecar | None = None
    """Of the checkpoint, where it is continued."""
    findings: tuple[Finding, ...] = ()
    mismatches: tuple[str, ...] = ()
    """Differences that the run accepts, because the user asked for it."""
    earlier: tuple[EarlierSteps, ...] = ()
    """The steps before the schedule, as far as what they drew is known."""
    knows_weights: bool = True
    """Whether all is known that the weights had seen with which the run began."""
    why_unknown: Message | None = None
    """Why it is not known what some of the steps before the schedule drew."""

    @property
    def needed(self) -> int:
        """Positions that the run draws, and those that the orders it has begun span."""
        return max(self.planned, 0 if self.sidecar is None else self.sidecar.reordered_to)


def reconcile(
    request: Request,
    observed: Observed,
    sidecar: Sidecar | None,
    record: Mapping[str, Any] | None,
    unguarded: Unguarded = NOTHING_SAVED,
) -> Resolution | None:
    """Audits a resume and decides where the run goes on.

    Args:
        request: what the user asks for.
        observed: the data as the host has set it up.
        sidecar: of the checkpoint that the run resumes from; None if there is none.
        record: what the trainer itself wrote of that checkpoint; None if it was not found.
        unguarded: what is known of steps that the guard has not seen, where there is no sidecar.

    Returns:
        None if positions are unknown, or this process reads no data.

    Raises:
        ArgumentsError: the order cannot be unified, or the stated position cannot be.
        ResumeMismatchError: a difference cannot be repaired, or what was drawn so far is in doubt.
    """
    loader, reading = observed.loader, observed.loader.reading
    why = reading.why_not_unified(loader.sampler)
    if why and observed.index is not None:
        why = tr(
            "{why}. Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of the library that "
            "trains, as its pretraining scripts do",
            why=why,
        )
    _refuse_to_unify(request, sidecar, why)
    if observed.index is None or not isinstance(reading, PositionedReading):
        why = reading.why_not_unified(loader.sampler)
        if sidecar is not None and why:
            raise ResumeMismatchError(
                tr(
                    "the run has drawn up to position {position} of its order, and whether it continues from there is "
                    "unknown: {why}. Resume with the dataset and the sampler of the interrupted run",
                    position=sidecar.position,
                    why=why,
                )
            )
        return None
    if sidecar is not None:
        return _continued(request, observed, reading, observed.index, sidecar)
    return _begun(request, observed, reading, record, unguarded)


def _continued(
    request: Request, observed: Observed, reading: PositionedReading, index: SampleIndex, sidecar: Sidecar
) -> Resolution:
    """A run whose checkpoint has a sidecar."""
    ahead, *later = reading.segments(request.max_steps)
    pairs = zip(observed.live, sidecar.datasets, strict=False)
    is_begun = all(same_indices(live.indices, recorded.indices) for live, recorded in pairs)
    current = CurrentSetup(
        observed.live,
        record_of(index, sidecar.blend),
        ahead,
        request.max_steps,
        request.unify.unified,
        request.ignores_data_skip,
        reading.sampling,
        observed.written if is_begun else (),
        request.skipped,
    )
    findings = (*_listing_findings(observed, index, sidecar), *audit(sidecar, current))
    try:
        refuse(request.step, findings)
    except ResumeMismatchError as doubt:
        if request.is_strict:
            raise
        # As the user asked: continue in the host's present order, and say so from now on.
        mismatches = (*sidecar.mismatches, tr("at step {step}: {cause}", step=request.step, cause=doubt))
        schedule = _schedule((ahead, *later), request.skipped)
        planned = _planned(request, ahead, later)
        earlier = sidecar.seen_after(request.step)
        return Resolution(
            schedule, ahead, planned, observed.live, None, findings, mismatches, earlier, sidecar.knows_weights
        )
    if not request.ignores_data_skip and reading.can_be_set:
        ahead = replace(ahead, start=sidecar.position)
    _check_start(ahead)
    skipped = (
        *skipped_so_far(sidecar.schedule.skipped, request.step),
        *skipped_later(request.skipped, request.step),
    )
    schedule = replace(sidecar.schedule, skipped=skipped)
    for segment in (ahead, *later):
        schedule = schedule.then(segment)
    planned = _planned(request, ahead, later)
    return Resolution(
        schedule,
        ahead,
        planned,
        sidecar.datasets,
        sidecar,
        findings,
        sidecar.mismatches,
        sidecar.earlier,
        sidecar.knows_weights,
    )


def _listing_findings(observed: Observed, index: SampleIndex, sidecar: Sidecar) -> tuple[Finding, ...]:
    """The datasets of a blend are listed in another order than when the run began, or their files were renamed."""
    names = names_of(sidecar, index)
    if names != index.names and len(names) > 1:  # the name of a single one is shown nowhere
        return (Finding("renamed", shortened(names), shortened(index.names), "repair"),)
    if not observed.listing:
        return ()
    now = [""] * len(index.names)
    for number, name in zip(observed.listing, index.names, strict=True):
        now[number] = name
    return (Finding("listing", shortened(index.names), shortened(now), "repair"),)


def _begun(
    request: Request,
    observed: Observed,
    reading: PositionedReading,
    record: Mapping[str, Any] | None,
    unguarded: Unguarded,
) -> Resolution:
    """A run that begins, or that was interrupted without the guard."""
    ahead, *later = reading.segments(request.max_steps)
    findings: tuple[Finding, ...] = ()
    past = _Past(Schedule((ahead,)))
    if request.step > 0:
        if not request.ignores_data_skip:
            ahead, findings = _start_unguarded(request, observed, reading, record, unguarded)
        past = _past_of(request, observed, reading, ahead, unguarded)
    _check_start(ahead)
    planned = _planned(request, ahead, later)
    schedule = past.schedule
    for segment in (ahead, *later):
        schedule = schedule.then(segment)
    return Resolution(
        replace(schedule, skipped=(*schedule.skipped, *skipped_later(request.skipped, request.step))),
        ahead,
        planned,
        observed.live,
        None,
        findings,
        earlier=past.earlier,
        knows_weights=past.knows_weights,
        why_unknown=past.why_unknown,
    )


def _start_unguarded(
    request: Request,
    observed: Observed,
    reading: PositionedReading,
    record: Mapping[str, Any] | None,
    unguarded: Unguarded,
) -> tuple[Segment, tuple[Finding, ...]]:
    """The steps ahead of a run that was interrupted without the guard, and what is repaired of them."""
    ahead, *_ = reading.segments(request.max_steps)
    findings: tuple[Finding, ...] = ()
    consumed = request.step * reading.global_batch
    start = first_guarded_position(
        request.step,
        request.max_steps,
        ahead.start,
        request.stated_position,
        record,
        consumed=consumed,
        seeds=unguarded.seeds(request, observed),
    )
    steps_per_epoch = observed.loader.steps_per_epoch
    is_later_epoch = request.step >= steps_per_epoch > 0
    if reading.can_be_set and request.stated_position is None and is_later_epoch:
        start = request.step % steps_per_epoch * reading.global_batch
        findings = (Finding("sampler_start_epoch", str(ahead.start), str(start), "repair"),)
    if start != ahead.start and not reading.can_be_set:
        raise ArgumentsError(
            tr(
                "--epoch_guard_position {stated}: the sampler {sampler} cannot be set to a position, and goes on "
                "at {start}. State that, or resume with the values of the interrupted run",
                stated=start,
                sampler=observed.loader.sampler,
                start=ahead.start,
            )
        )
    return replace(ahead, start=start), findings


@dataclass(frozen=True)
class _Past:
    """What is known of the steps that a run without a sidecar has done."""

    schedule: Schedule
    """Those that the present order has drawn, as it goes on; where there are none, any steps of it to be replaced."""
    earlier: tuple[EarlierSteps, ...] = ()
    knows_weights: bool = True
    why_unknown: Message | None = None


def _past_of(
    request: Request, observed: Observed, reading: PositionedReading, ahead: Segment, unguarded: Unguarded
) -> _Past:
    """What a run without a sidecar drew: in steps that the guard saw, and then in steps that it did not see."""
    nothing, guarded = Schedule((ahead,)), unguarded.guarded
    earlier = () if guarded is None else guarded.seen_after(guarded.step)
    knows_weights = guarded is None or guarded.knows_weights
    why = why_unknown(unguarded, request, observed)
    if why is not None:
        return _Past(nothing, earlier, knows_weights, why)
    before = _before(reading, ahead, request.step)
    goes_on = (
        not request.ignores_data_skip and before is not None and before.position_after(request.step) == ahead.start
    )
    if before is None or not (goes_on or request.ignores_data_skip):
        shown = {"first_step": unguarded.first_step, "last_step": request.step}
        return _Past(nothing, earlier, knows_weights, Message("earlier_unknown", {**shown, "why": "other_position"}))
    before = replace(before, skipped=unguarded.skipped)
    if goes_on and unguarded.after is None:
        return _Past(before)
    schedule = steps_up_to(before, request.step, unguarded.first_step)
    if schedule is None:  # the guard saw the last step
        return _Past(nothing, earlier, knows_weights)
    own = EarlierSteps(
        request.step,
        schedule,
        observed.live,
        observed.written,
        None if observed.index is None else record_of(observed.index),
        reading.sampling,
        () if observed.index is None else observed.index.names,
    )
    joined = None if guarded is None or not goes_on else _joined(guarded, own)
    if guarded is not None and joined is not None:
        return _Past(joined, guarded.earlier, knows_weights)
    return _Past(nothing, (*earlier, own), knows_weights)


def _joined(guarded: Sidecar, own: EarlierSteps) -> Schedule | None:
    """One schedule of the steps that the guard saw and of those since; None if they are not of one order."""
    then = (guarded.datasets, guarded.blend, guarded.epoch_sampling, guarded.reorders)
    schedule = steps_up_to(guarded.schedule, guarded.step)
    is_one = then == (own.datasets, own.blend, own.epoch_sampling, own.reorders)
    if schedule is None or not is_one or guarded.position != own.schedule.segments[0].start:
        return None
    skipped = (*schedule.skipped, *own.schedule.skipped)
    for segment in own.schedule.segments:
        schedule = schedule.then(segment)
    return replace(schedule, skipped=skipped)


def _before(reading: PositionedReading, ahead: Segment, step: int) -> Schedule | None:
    """All steps up to one, as the host does them by the present arguments; None if it cannot do that many."""
    first = replace(ahead, first_step=1, start=0, leftover_microbatches=0)
    segments = reading.again(first, 0, step)
    reached = _schedule(tuple(segment for segment in segments if segment.first_step <= step), ())
    runs = reached.runs(step)
    return None if not runs or runs[-1][2] < step else reached


def _schedule(segments: tuple[Segment, ...], skipped: tuple[tuple[int, int], ...]) -> Schedule:
    schedule = Schedule(segments[:1], skipped)
    for segment in segments[1:]:
        schedule = schedule.then(segment)
    return schedule


def _check_start(ahead: Segment) -> None:
    if ahead.start % ahead.world_size:
        raise ArgumentsError(
            tr(
                "the run is to go on at position {start}, and the host's sampler starts only at multiples of the "
                "world size, {world_size}. Check --epoch_guard_position",
                start=ahead.start,
                world_size=ahead.world_size,
            )
        )


def _planned(request: Request, ahead: Segment, later: list[Segment]) -> int:
    if not ahead.is_sampler_epoch:
        return needed_positions(ahead.start, request.step, request.max_steps, ahead)
    last = (ahead, *later)[-1]
    return min(needed_positions(last.start, last.first_step - 1, request.max_steps, last), last.stop)


def names_of(sidecar: Sidecar | None, index: SampleIndex) -> tuple[str, ...]:
    """What the charts call the datasets: as when the run began, even if their files were renamed since."""
    has_names = sidecar is not None and len(sidecar.names) == len(index.names)
    return sidecar.names if sidecar is not None and has_names else index.names


def shortened(names: Sequence[str]) -> str:
    """Names in a row; of many, the first."""
    more = f", … ({len(names)})" if len(names) > _NAMES_LISTED else ""
    return ", ".join(names[:_NAMES_LISTED]) + more


def record_of(index: SampleIndex, begun: BlendRecord | None = None) -> BlendRecord | None:
    """The record of a blend, or of as much of it as the record that it had at first covers."""
    if not isinstance(index, BlendIndex):
        return None
    return BlendRecord.of(index, None if begun is None else min(len(index), begun.positions))


def _refuse_to_unify(request: Request, sidecar: Sidecar | None, why: str) -> None:
    """Whether an order can be unified, or was begun.

    Raises:
        ArgumentsError: it is to be, and cannot.
    """
    if not why:
        return
    if request.unify.unified:
        raise ArgumentsError(tr("--epoch_guard unified cannot be: {why}. Set --epoch_guard track", why=why))
    if sidecar is not None and sidecar.reorders:
        raise ArgumentsError(tr("the run began a unified order that cannot be continued: {why}", why=why))
