"""The audit of a resume: what differs between then and now, and what is done about it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.index import EpochSampling
from paddle_epoch_guard.order import Reorder, Segment
from paddle_epoch_guard.resume.extension import same_indices
from paddle_epoch_guard.resume.sidecar import BlendRecord, DatasetRecord, Sidecar

Action = Literal["repair", "warn", "refuse"]


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
    passes: EpochSampling | None = None
    """How the sampler reads in passes; None where the pretraining sampler does."""
    written: tuple[Reorder, ...] = ()
    """In which 'rebuild' wrote the live index; none where the live index is not the one that was drawn from."""


@dataclass(frozen=True)
class Finding:
    """One difference."""

    what: str
    then: str
    now: str
    action: Action
    why: str
    """What is done, or what the difference would do to the data already drawn."""


def audit(then: Sidecar, now: CurrentSetup) -> tuple[Finding, ...]:
    """Compares the checkpoint's record with the present set-up.

    Args:
        then: the checkpoint's sidecar.
        now: what the host has set up.

    Returns:
        The differences; none where the run simply goes on.
    """
    found = [*_data_findings(then, now), *_pass_findings(then, now)]
    before, after = then.schedule.segments[-1], now.segment
    for what, field in (
        ("batch size per device", "micro_batch"),
        ("gradient accumulation steps", "accumulation"),
        ("data-parallel world size", "world_size"),
    ):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            found.append(Finding(what, str(old), str(new), "repair", "the same order, cut into steps anew"))
    if then.max_steps != now.max_steps:
        why = "extended" if now.max_steps > then.max_steps else "the same order, cut short"
        found.append(Finding("max_steps", str(then.max_steps), str(now.max_steps), "repair", why))
    if now.starts_anew:
        why = "as --ignore_data_skip asks, data is drawn again from the beginning"
        found.append(Finding("start of the data", str(then.position), str(after.start), "warn", why))
    elif after.start != then.position and now.passes is None and then.passes is None:
        why = f"the sampler is set to position {then.position}, where the run stopped"
        found.append(Finding("start of the sampler", str(then.position), str(after.start), "repair", why))
    if now.written and then.reorders[: len(now.written)] != now.written:
        found.append(_written_finding(then, now))
    if then.reorders and not now.unified and then.reorders != now.written:
        why = "the order that was begun stays in force: leaving it would draw samples twice and lose others"
        found.append(Finding("unified", "on", "off", "warn", why))
    if not now.starts_anew and now.passes is None and then.position % after.world_size:
        found.append(_cannot_start(then.position, after))
    return tuple(found)


def _pass_findings(then: Sidecar, now: CurrentSetup) -> list[Finding]:
    """A sampler that reads in passes begins where the trainer does: the run goes on there, or not."""
    old, new = then.passes, now.passes
    if old is None and new is None:
        return []
    why = "samples would be drawn in another order: some twice, and others not at all"
    if old is None or new is None or old.kind != new.kind:
        said = ["pretraining" if one is None else one.kind for one in (old, new)]
        return [Finding("kind of sampler", said[0], said[1], "refuse", why)]
    found = [
        Finding(what, str(before), str(after), "refuse", why)
        for what, before, after in (
            ("samples of the index", old.samples, new.samples),
            ("samples that all ranks draw in a trainer epoch", old.length, new.length),
            ("shuffle of the sampler", old.shuffled, new.shuffled),
            ("seed of the sampler", old.seed, new.seed),
        )
        if before != after
    ]
    if not found and not now.starts_anew and now.segment.start != then.position:
        why = "the trainer passes over other samples than the run has drawn, and its sampler cannot be set"
        found.append(Finding("start of the sampler", str(then.position), str(now.segment.start), "refuse", why))
    return found


def _data_findings(then: Sidecar, now: CurrentSetup) -> list[Finding]:
    if len(then.datasets) != len(now.datasets):
        why = "positions would mean other samples: what was drawn would be drawn again, and other data lost"
        return [Finding("datasets", str(len(then.datasets)), str(len(now.datasets)), "refuse", why)]
    found = []
    for at, (old, new) in enumerate(zip(then.datasets, now.datasets, strict=True)):
        where = f" of dataset {at}" if len(now.datasets) > 1 else ""
        for what, before, after, why in (
            ("dataset name", old.name, new.name, "another split of the corpus would be read"),
            ("sequence length", old.seq_length, new.seq_length, "samples would be cut anew, across those drawn"),
            ("split", old.split, new.split, "other documents would be read, some of them held out until now"),
            ("seed", old.parts[0].seed, new.parts[0].seed, "everything would be shuffled anew: samples drawn twice"),
            ("tokens of the corpus", old.tokens_per_epoch, new.tokens_per_epoch, "the corpus is another one"),
            ("document sizes", old.corpus_digest, new.corpus_digest, "the corpus is another one"),
        ):
            if before != after:
                found.append(Finding(what + where, str(before), str(after), "refuse", why))
        if same_indices(old.parts, new.parts):
            if old.parts[0].order_digest != new.parts[0].order_digest and not found:
                why = "the index files are not those that were drawn from: samples would be drawn twice"
                digests = old.parts[0].order_digest[:16], new.parts[0].order_digest[:16]
                found.append(Finding(f"order of the index{where}", *digests, "refuse", why))
        elif not found:
            why = "the host built another index; the one that was begun is used"
            then_now = str(old.parts[0].samples_requested), str(new.parts[0].samples_requested)
            found.append(Finding(f"samples asked for{where}", *then_now, "repair", why))
    return found + _blend_findings(then.blend, now.blend, sure=not refused(found))


def _blend_findings(old: BlendRecord | None, new: BlendRecord | None, sure: bool) -> list[Finding]:
    why = "positions would draw from other datasets than planned"
    if old is None or new is None:
        said = ["no" if one is None else "yes" for one in (old, new)]
        return [] if old is new else [Finding("blend", said[0], said[1], "refuse", why)]
    if old.weights != new.weights:
        return [Finding("weights of the blend", old.weights, new.weights, "refuse", why)]
    if sure and old.positions == new.positions and old.digest != new.digest:
        return [Finding("order of the blend", old.digest, new.digest, "refuse", why)]
    return []


def _written_finding(then: Sidecar, now: CurrentSetup) -> Finding:
    """The index lies in an order, as 'rebuild' wrote it, that the run has not begun."""
    what, is_now = "order of the index", f"unified from position {now.written[-1].start}"
    if then.reorders:
        why = "'rebuild' wrote it in another order; the one that was begun stays in force"
        return Finding(what, f"unified from position {then.reorders[-1].start}", is_now, "repair", why)
    if now.written[0].start < then.position and not now.starts_anew:
        why = (
            f"the run has drawn {then.position} samples in the host's own order: some would be drawn again, others "
            f"lost. Rebuild from position {then.position}; or take the host's own index, and --epoch_guard unified"
        )
        return Finding(what, "the host's own", is_now, "refuse", why)
    return Finding(what, "the host's own", is_now, "repair", "as 'rebuild' wrote it; nothing drawn so far moves")


def _cannot_start(position: int, segment: Segment) -> Finding:
    fitting = [size for size in range(1, 4 * segment.world_size + 1) if position % size == 0]
    nearest = sorted(fitting, key=lambda size: (abs(size - segment.world_size), size))[:4]
    why = f"the host's sampler starts only at multiples of the world size; position {position} fits " + ", ".join(
        str(size) for size in sorted(nearest)
    )
    return Finding("world size at this position", "-", str(segment.world_size), "refuse", why)


def refused(findings: Sequence[Finding]) -> list[Finding]:
    """The differences that cannot be repaired."""
    return [one for one in findings if one.action == "refuse"]


def refuse(step: int, findings: Sequence[Finding]) -> None:
    """Stops where a difference cannot be repaired.

    Raises:
        ResumeMismatchError: with each difference, and what it would do.
    """
    each = "; ".join(f"{one.what} was {one.then}, is {one.now} ({one.why})" for one in refused(findings))
    if each:
        raise ResumeMismatchError(
            f"the run that resumes at step {step} is not the one that was interrupted: {each}. Resume with the values "
            "of the interrupted run. --epoch_guard_on_mismatch warn goes on all the same, in the host's present order"
        )


def table_of(step: int, findings: Sequence[Finding]) -> str:
    """The differences as a table of text."""
    table = Table(title=f"resuming at step {step}, what differs", title_justify="left")
    for column in ("what", "then", "now", "action", "why"):
        table.add_column(column, overflow="fold")
    for one in findings:
        table.add_row(one.what, one.then, one.now, one.action, one.why)
    stream = io.StringIO()
    Console(file=stream, width=140, color_system=None).print(table)
    return stream.getvalue().rstrip()


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


def first_guarded_position(
    step: int,
    max_steps: int,
    sampler_start: int,
    stated: int | None,
    record: Mapping[str, Any] | None,
    consumed: int | None = None,
) -> int:
    """Where a run continues that was interrupted without the guard.

    The host has rebuilt its index and set its sampler by the present arguments. Whether these are the arguments of
    the interrupted run follows from what the trainer itself recorded.

    Args:
        step: the last step done.
        max_steps: the last step of the run, now.
        sampler_start: where the host lets the sampler start.
        stated: the position that the user states by hand, which is not doubted.
        record: what the trainer itself wrote of the checkpoint; None where it was not found.
        consumed: what the trainer counts as consumed, by the present arguments; ``sampler_start`` where None.

    Raises:
        ResumeMismatchError: the record contradicts the present arguments, or is missing.
    """
    if stated is not None:
        return stated
    found = []
    if record is None:
        found.append("the trainer's own record of the checkpoint was not found")
    else:
        for what, then, now in (
            ("samples consumed", record.get("consumed_samples"), sampler_start if consumed is None else consumed),
            ("max_steps", record.get("max_steps"), max_steps),
        ):
            if then != now:
                found.append(f"{what} then: {then}, now: {now}")
    if found:
        raise ResumeMismatchError(
            f"the checkpoint of step {step} has no epoch_guard.json, and it is in doubt whether the order goes on: "
            f"{'; '.join(found)}. When max_steps, batch, accumulation or world size change, the host rebuilds its "
            "index in another order and skips positions of an order that was never drawn. Resume with the values of "
            "the interrupted run; or, if the order is known to be the same, state how many samples were drawn: "
            f"--epoch_guard_position {sampler_start}. Where the checkpoint was not found, name it: "
            "EpochGuardCallback(resume_from_checkpoint=...)"
        )
    return sampler_start
