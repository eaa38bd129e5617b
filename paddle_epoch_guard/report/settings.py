"""The settings that determine the order of a run's data, and the flags that reproduce it."""

import shlex
from typing import Any, NamedTuple

from paddle_epoch_guard.language import counted, tr
from paddle_epoch_guard.order import Reorder, Segment
from paddle_epoch_guard.report.run_data import Part, RunData
from paddle_epoch_guard.report.texts import count_text, moment_text, ranks_text, span_text
from paddle_epoch_guard.resume import Sidecar
from paddle_epoch_guard.resume.fingerprints import DatasetRecord

_GUARD_DEFAULTS = {"epoch_guard_mix": "auto", "epoch_guard_pool": "planned", "epoch_guard_on_mismatch": "error"}
_ALWAYS_SHOWN = ("seed", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "epoch_guard")

Rows = list[tuple[str, str]]
"""Names and values."""


class SettingsGroup(NamedTuple):
    """A table of settings."""

    title: str
    rows: Rows


class Stage(NamedTuple):
    """One call of the training."""

    title: str
    flags: str


def settings(run: RunData) -> list[SettingsGroup]:
    """The settings of the data order, from the run's sidecar; empty without one."""
    state = run.sidecar
    if state is None:
        return []
    segments = state.schedule.segments
    groups = [SettingsGroup(tr("Run, at step {step:,}", step=state.step), _run_rows(state))]
    for number, reorder in enumerate(state.reorders, start=1):
        groups.append(SettingsGroup(tr("Reorder {number}", number=number), _reorder_rows(reorder, state)))
    for number, segment in enumerate(segments, start=1):
        title = tr("Schedule, segment {number}", number=number) if len(segments) > 1 else tr("Schedule")
        groups.append(SettingsGroup(title, _segment_rows(segment)))
    for at, dataset in enumerate(state.datasets):
        groups.append(SettingsGroup(_dataset_title(at, run, len(state.datasets)), _dataset_rows(dataset)))
    if state.blend is not None:
        rows = [(tr("weights"), state.blend.weights), (tr("positions"), count_text(state.blend.positions))]
        groups.append(SettingsGroup(tr("Blend"), [*rows, (tr("order, digest"), state.blend.digest)]))
    return groups


def _dataset_title(at: int, run: RunData, datasets: int) -> str:
    if datasets == 1:
        return tr("Dataset")
    if at < len(run.folders) and run.folders[at]:
        return tr("Dataset {number}: {name}", number=at + 1, name=run.folders[at])
    return tr("Dataset {number}", number=at + 1)


def _run_rows(state: Sidecar) -> Rows:
    rows = [
        (tr("order"), tr("unified") if state.reorders else tr("the host's own")),
        (tr("next position"), count_text(state.position)),
        (tr("planned positions"), count_text(state.planned)),
        ("max_steps", count_text(state.max_steps)),
        (tr("run"), state.run),
    ]
    skipped = tr(", ").join(tr("{first} to {last}", first=first, last=last) for first, last in state.schedule.skipped)
    rows += [(tr("skipped steps"), skipped)] if skipped else []
    return rows + [(tr("despite"), mismatch) for mismatch in state.mismatches]


def _reorder_rows(reorder: Reorder, state: Sidecar) -> Rows:
    steps = [step for step, _ in state.schedule.crossings(reorder.start)]
    words = ", ".join(str(word) for word in reorder.key)
    rows = [
        (tr("positions"), span_text(reorder.start, reorder.stop)),
        (tr("from step"), count_text(steps[-1]) if steps else tr("not reached")),
        (tr("mix"), reorder.mix),
        (tr("key"), tr("{words} (seed, purpose, ordinal)", words=words)),
    ]
    if reorder.boundary is not None:
        rows.append((tr("share rises of samples from position"), count_text(reorder.boundary)))
    return rows


def _segment_rows(segment: Segment) -> Rows:
    batch = tr(
        "{samples} ({micro} per device \u00d7 {accumulation} accumulated \u00d7 {ranks})",
        samples=counted("{n} sample", "{n} samples", segment.global_batch),
        micro=segment.micro_batch,
        accumulation=segment.accumulation,
        ranks=ranks_text(segment),
    )
    return [
        (tr("from step"), count_text(segment.first_step)),
        (tr("from position"), count_text(segment.start)),
        (tr("global batch"), batch),
        (tr("sampler ends at position"), count_text(segment.stop)),
        (tr("incomplete last batch"), tr("not drawn") if segment.drop_last else tr("drawn")),
    ]


def _dataset_rows(dataset: DatasetRecord) -> Rows:
    rows = [
        (tr("split"), tr("{name} of {split}", name=dataset.name, split=dataset.split)),
        (tr("sequence length"), counted("{n} token", "{n} tokens", dataset.seq_length)),
        (tr("tokens per data epoch"), count_text(dataset.tokens_per_epoch)),
        (tr("document sizes, digest"), dataset.corpus_digest),
    ]
    for number, index in enumerate(dataset.indices, start=1):
        name = tr("index {number}", number=number) if len(dataset.indices) > 1 else tr("index")
        built = tr("built for {samples:,} samples, seed {seed}", samples=index.samples_requested, seed=index.seed)
        rows += [(name, built), (tr("{index}, digest", index=name), index.order_digest or tr("unknown"))]
    return rows


def stages(run: RunData) -> list[Stage]:
    """The calls of the training that draw the same data in the same order."""
    known = [part for part in run.parts if part.arguments]
    if known:
        return [Stage(_part_title(at, part, run.sidecar), flags_of(part.arguments)) for at, part in enumerate(known)]
    return [] if run.sidecar is None else _stages_of_schedule(run.sidecar)


def _stages_of_schedule(state: Sidecar) -> list[Stage]:
    """The stages if the trainer's arguments are unknown: one for each change of batch or ranks."""
    seeds = [index.seed for dataset in state.datasets for index in dataset.indices[:1]]
    calls: list[Stage] = []
    before: Segment | None = None
    for segment in state.schedule.segments:
        is_same_call = before is not None and segment.is_sampler_epoch and _sizes(segment) == _sizes(before)
        before = segment
        if is_same_call:  # its next trainer epoch
            continue
        reorders = [reorder for reorder in state.reorders if reorder.start <= segment.start]
        reorders = reorders or list(state.reorders[:1])
        arguments = {
            "seed": seeds[0] if seeds else None,
            "max_steps": state.max_steps,
            "per_device_train_batch_size": segment.micro_batch,
            "gradient_accumulation_steps": segment.accumulation,
            "epoch_guard": "unified" if reorders else "track",
            "epoch_guard_mix": reorders[-1].mix if reorders else "auto",
            "epoch_guard_seed": reorders[-1].key[0] if reorders else None,
        }
        title = tr("Resumed; from step {step} on", step=segment.first_step) if calls else tr("From the start")
        title = tr("{title}, on {ranks}", title=title, ranks=ranks_text(segment))
        calls.append(Stage(title, flags_of(arguments)))
    return calls


def _sizes(segment: Segment) -> tuple[int, int, int]:
    return segment.micro_batch, segment.accumulation, segment.world_size


def _part_title(at: int, part: Part, state: Sidecar | None) -> str:
    first = part.first_logged or 1
    is_first = at == 0 and first <= 1
    title = tr("From the start") if is_first else tr("Resumed; first loss logged at step {step}", step=first)
    if part.began:
        title = tr("{title}, started {moment}", title=title, moment=moment_text(part.began))
    segments = [] if state is None or state.step < first else state.schedule.segments
    before = [segment for segment in segments if segment.first_step <= first]
    return tr("{title}, on {ranks}", title=title, ranks=ranks_text(before[-1])) if before else title


def flags_of(arguments: dict[str, Any]) -> str:
    """Arguments as flags for a shell: those that decide the order, and those that are not at their defaults."""
    flags = []
    for name, value in arguments.items():
        if name.endswith("_degree"):
            is_set = isinstance(value, int) and value > 1
        else:
            is_off = value is None or value is False or value in (-1, [], "")
            is_set = not is_off and _GUARD_DEFAULTS.get(name) != value
        if name in _ALWAYS_SHOWN or (is_set and name != "resume_from_checkpoint"):
            values = value if isinstance(value, (list, tuple)) else [value]
            flags.append(" ".join([f"--{name}", *(shlex.quote(str(each)) for each in values)]))
    return " \\\n  ".join(flags)
