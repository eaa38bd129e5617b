"""The report page: one HTML file that needs nothing else, and nothing but a browser.

It names its data, says what happened, shows the figures, and tells how to draw the same data in the same order again.
Texts come from log files and corpus names, so each is escaped; a policy in the page itself forbids scripts and the
network.
"""

import base64
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.order import Reorder, Segment
from paddle_epoch_guard.record.provenance import package_versions
from paddle_epoch_guard.report.figures import NARROW, WIDE, add_figures, as_svg, pictures, trend_of
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, Part, RunData
from paddle_epoch_guard.resume import Sidecar, write_sidecar
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.views.visualdl import EpochGuardLog

_T = TypeVar("_T")
PAGE_NAME = "epoch_guard_report.html"
VERDICTS = {
    "artefact": "the training loss jumps with the data that is drawn, not because the model has changed",
    "improvement": "the training loss falls, and the evaluation loss with it",
    "unexplained": "the training loss jumps, and the data does not explain it: look at the learning rate",
    "none": "the training loss does not jump",
    "unknown": "too few steps on a side to tell",
}
"""In the order in which they are told."""

_AT_SEVERAL = {
    "artefact": "at {} the training loss jumps because of the data that is drawn (artefact; {})",
    "improvement": "at {} the training loss falls, and the evaluation loss with it (improvement; {})",
    "unexplained": "at {} the training loss jumps, and the data does not explain it (unexplained; {})",
    "none": "at {} it does not jump",
    "unknown": "of {} too little is known ({})",
}
_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_GUARD_DEFAULTS = {"epoch_guard_mix": "auto", "epoch_guard_pool": "planned", "epoch_guard_on_mismatch": "error"}
_ALWAYS_SHOWN = ("seed", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "epoch_guard")
_STEPS_LISTED = 5
_TEXT_AT_MOST, _NOTES_AT_MOST = 20_000, 200
_ROWS_AT_MOST, _TABLES_AT_MOST, _FAULTS_AT_MOST = 200, 60, 50


@dataclass(frozen=True)
class _Image:
    """A figure in the page, drawn for a desk and for a phone."""

    title: str
    text: str
    wide: str
    narrow: str


def report_run(
    logging_dir: str | Path,
    output_dir: str | Path,
    *,
    path: str | Path | None = None,
    state: Sidecar | None = None,
    names: Sequence[str] = (),
    log: EpochGuardLog | None = None,
) -> Path:
    """Writes the report page of a run, finished or not.

    Args:
        logging_dir: the trainer's log folder.
        output_dir: the folder with its checkpoints.
        path: the page to write; :data:`PAGE_NAME` in ``output_dir`` by default.
        state: the state of the run at its end, as a checkpoint would hold it. It is kept beside the guard's log, so
            that a later report knows it too.
        names: the names of a blend's datasets, in its order, if they are known.
        log: gets the figures as well.

    Returns:
        The page.

    Raises:
        ReportError: there is no run to report, or the page cannot be written.
    """
    target = Path(output_dir) / PAGE_NAME if path is None else Path(path)
    run = read_run(logging_dir, output_dir, state=state, names=names)
    try:
        if state is not None:
            (run.logging_dir / "epoch_guard").mkdir(exist_ok=True)
            write_sidecar(run.logging_dir / "epoch_guard", state)
        if log is not None:
            add_figures(log, run, run.last_step)
        write_page(target, run)
    except OSError as cause:
        raise ReportError(f"{target}: the report cannot be written: {cause}. Name a folder that can be") from cause
    return target


def write_page(path: Path, run: RunData) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: in a folder that exists.
        run: what was read.

    Raises:
        OSError: the folder cannot be written.
    """
    content = render(run).encode("utf-8", "replace")
    with atomic_write(path) as stream:
        stream.write(content)


def render(run: RunData) -> str:
    """The page's HTML."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"jump": jump_text, "pair": pair_text, "count": _count_text, "moment": moment_text}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        run=run,
        title=_title(run),
        sentences=summary(run),
        images=_images(run),
        epochs=[epoch_row(epoch) for epoch in _ends(run.epochs, _ROWS_AT_MOST)],
        parts=_ends(run.parts, _ROWS_AT_MOST),
        left_out={
            "cuts": max(len(run.cuts) - _ROWS_AT_MOST, 0),
            "epochs": max(len(run.epochs) - _ROWS_AT_MOST, 0),
            "parts": max(len(run.parts) - _ROWS_AT_MOST, 0),
            "faults": max(len(run.faults) - _FAULTS_AT_MOST, 0),
            "notes": max(len(run.notes) - _NOTES_AT_MOST, 0),
            "settings": max(len(settings(run)) - _TABLES_AT_MOST, 0),
        },
        faults=run.faults[:_FAULTS_AT_MOST],
        totals_step=_totals_step(run),
        counts_samples=any(epoch.total is not None for epoch in run.epochs),
        outdated=run.sidecar is not None and run.sidecar.step < run.last_step,
        cuts=_ends(list(enumerate(run.cuts, start=1)), _ROWS_AT_MOST),
        verdicts={name: text for name, text in VERDICTS.items() if any(cut.verdict == name for cut in run.cuts)},
        notes=[(note.step, note.text.strip("\n")[:_TEXT_AT_MOST]) for note in run.notes[-_NOTES_AT_MOST:]],
        settings=settings(run)[:_TABLES_AT_MOST],
        stages=_ends(stages(run), _TABLES_AT_MOST),
        versions=list(package_versions().items()),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _ends(items: Sequence[_T], most: int) -> Sequence[_T]:
    """The first and the last of some items, at most so many together."""
    return items if len(items) <= most else [*items[: most // 2], *items[-(most - most // 2) :]]


def summary(run: RunData) -> list[str]:
    """What happened, in three sentences: the verdicts, how far the run has come, and its order."""
    return [_verdicts_sentence(run), _progress_sentence(run), _order_sentence(run)]


def settings(run: RunData) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the order of the data is made of: groups of names and values."""
    state = run.sidecar
    if state is None:
        return []
    tables = [(f"Run, at step {_count_text(state.step)}", _run_settings(state))]
    tables += [
        (f"Reorder {at}", _reorder_settings(reorder, state)) for at, reorder in enumerate(state.reorders, start=1)
    ]
    for at, segment in enumerate(state.schedule.segments, start=1):
        batch = (
            f"{segment.micro_batch} per device \u00d7 {segment.accumulation} accumulated \u00d7 {_ranks_text(segment)}"
        )
        rows = [
            ("from step", _count_text(segment.first_step)),
            ("from position", _count_text(segment.start)),
            ("global batch", f"{_count_text(segment.global_batch)} samples ({batch})"),
            ("sampler ends at position", _count_text(segment.stop)),
            ("incomplete last batch", "left out" if segment.drop_last else "drawn"),
        ]
        tables.append((f"Schedule, segment {at}" if len(state.schedule.segments) > 1 else "Schedule", rows))
    for at, dataset in enumerate(state.datasets):
        rows = [
            ("split", f"{dataset.name} of {dataset.split}"),
            ("sequence length", f"{_count_text(dataset.seq_length)} tokens"),
            ("tokens per data epoch", _count_text(dataset.tokens_per_epoch)),
            ("document sizes, digest", dataset.corpus_digest),
        ]
        for number, part in enumerate(dataset.indices, start=1):
            of = f" {number}" if len(dataset.indices) > 1 else ""
            rows.append((f"index{of}", f"built for {_count_text(part.samples_requested)} samples, seed {part.seed}"))
            rows.append((f"index{of}, digest", part.order_digest or "not known"))
        name = f": {run.folders[at]}" if at < len(run.folders) and run.folders[at] else ""
        tables.append((f"Dataset {at + 1}{name}" if len(state.datasets) > 1 else "Dataset", rows))
    if state.blend is not None:
        rows = [("weights", state.blend.weights), ("positions", _count_text(state.blend.positions))]
        tables.append(("Blend", [*rows, ("order, digest", state.blend.digest)]))
    return tables


def stages(run: RunData) -> list[tuple[str, str]]:
    """What to call the training with, to draw the same data in the same order: from where on, and the flags."""
    known = [part for part in run.parts if part.arguments]
    if known:
        return [(_stage_title(at, part, run.sidecar), flags_of(part.arguments)) for at, part in enumerate(known)]
    state = run.sidecar
    if state is None:
        return []
    commands = []
    seeds = [part.seed for dataset in state.datasets for part in dataset.indices[:1]]
    for at, segment in enumerate(state.schedule.segments):
        before = state.schedule.segments[max(at - 1, 0)]
        if (
            at
            and segment.is_sampler_epoch
            and _ranks_text(segment) == _ranks_text(before)
            and _sizes(segment) == _sizes(before)
        ):
            continue  # the next trainer epoch of the same run
        begun = [reorder for reorder in state.reorders if reorder.start <= segment.start] or list(state.reorders[:1])
        arguments = {
            "seed": seeds[0] if seeds else None,
            "max_steps": state.max_steps,
            "per_device_train_batch_size": segment.micro_batch,
            "gradient_accumulation_steps": segment.accumulation,
            "epoch_guard": "unified" if begun else "track",
            "epoch_guard_mix": begun[-1].mix if begun else "auto",
            "epoch_guard_seed": begun[-1].key[0] if begun else None,
        }
        title = "From the start" if at == 0 else f"Resumed; from step {segment.first_step} on"
        commands.append((f"{title}, on {_ranks_text(segment)}", flags_of(arguments)))
    return commands


def _sizes(segment: Segment) -> tuple[int, int]:
    return segment.micro_batch, segment.accumulation


def flags_of(arguments: dict[str, Any]) -> str:
    """Arguments as flags for a shell: those that decide the order, and those that are not at their defaults."""
    flags = []
    for name, value in arguments.items():
        if name.endswith("_degree"):
            told = isinstance(value, int) and value > 1
        else:
            off = value is None or value is False or value in (-1, [], "")
            told = not off and _GUARD_DEFAULTS.get(name) != value
        if name in _ALWAYS_SHOWN or (told and name != "resume_from_checkpoint"):
            values = value if isinstance(value, (list, tuple)) else [value]
            flags.append(" ".join([f"--{name}", *(shlex.quote(str(each)) for each in values)]))
    return " \\\n  ".join(flags)


def _title(run: RunData) -> str:
    folder = run.output_dir if run.output_dir is not None else run.logging_dir
    return folder.resolve().name or "run"


def _verdicts_sentence(run: RunData) -> str:
    cuts = [cut for cut in run.cuts if cut.step > 1]
    if not cuts:
        if run.cuts:
            return "All planned samples are drawn in one order from the start: no boundary makes the loss jump."
        unknown = _unknown_steps_text(run)
        if unknown:
            return f"No boundary of data epochs was met in the steps that are known; {unknown} is not known."
        return "No boundary of data epochs was met, so none makes the loss jump."
    if len(cuts) == 1:
        return _verdict_of(cuts[0])
    clauses = []
    for verdict, words in _AT_SEVERAL.items():
        some = [cut for cut in cuts if (cut.verdict or "unknown") == verdict]
        if some:
            clauses.append(words.format(len(some), _steps_text(some)))
    return f"The order of the data changes at {len(cuts)} places: {', '.join(clauses)}."


def _unknown_steps_text(run: RunData) -> str:
    """The steps that no record tells of, as the subject of a sentence; empty if there are none."""
    ranges = [
        f"what came after step {first - 1}" if last is None else f"what happened from step {first} to {last}"
        for first, last in run.unknown_steps
    ]
    return " and ".join(ranges)


def _verdict_of(cut: ChangeSummary) -> str:
    where = f"step {cut.step} ({cut.title})"
    moves = "rise" if cut.training is not None and cut.training.value > 0 else "fall"
    clause = f": {cut.clause}" if cut.clause else ""
    if cut.verdict == "artefact":
        return f"The {moves} of the training loss at {where} is an artefact of the data, and no progress{clause}."
    if cut.verdict == "improvement":
        return f"The {moves} of the training loss at {where} is an improvement{clause}."
    if cut.verdict == "unexplained":
        return f"The {moves} of the training loss at {where} is not explained by the data{clause}."
    if cut.verdict == "none":
        return f"At {where} the training loss does not jump."
    return f"Whether the training loss jumps at {where} is not known{clause}."


def _progress_sentence(run: RunData) -> str:
    planned = planned_steps(run)
    of = f" of {_count_text(planned)}" if planned is not None and planned >= run.last_step else ""
    sentence = f"The run has come to step {_count_text(run.last_step)}{of}"
    if run.unknown_steps and run.unknown_steps[-1][1] is None:
        sentence = (
            f"The guard followed the run to step {_count_text(run.last_step)}{of}, then tracking was switched off"
        )
    if len(run.loss):
        sentence += f"; there the trend of the training loss is {trend_of(run.loss, run.sides)[-1]:.3f}"
        if len(run.evaluation):
            at = f" (step {run.evaluation.steps[-1]})" if run.evaluation.steps[-1] != run.last_step else ""
            sentence += f" and the evaluation loss {run.evaluation.values[-1]:.3f}{at}"
        sentence += " nats per token"
    if len(run.exposure):
        sentence += f", on tokens that had been drawn {run.exposure.values[-20:].mean():.2f} times before"
    return f"{sentence}."


def _order_sentence(run: RunData) -> str:
    unified = [cut.step for cut in run.cuts if cut.epochs is None]
    if unified:
        order = f"The order is unified from step {unified[0]} on"
    elif not run.data_epoch or any(epoch.trainer for epoch in run.epochs):
        order = "The order of the data is not known to the guard"
    else:
        order = "The order is the host's own"
    resumed = [part for part in run.parts[1:] if part.first_logged is not None]
    if len(resumed) > 1:
        return f"{order}; the run was resumed {len(resumed)} times."
    if resumed:
        return f"{order}; the run was resumed once, and logs from step {resumed[0].first_logged} on since."
    if not run.parts or not len(run.loss):
        return f"{order}."
    first = int(run.loss.steps[0])
    if len(run.loss) > 1 and first > 2 * (int(run.loss.steps[1]) - first) + 1:
        return f"{order}; what was before step {first} is in no log of this folder."
    return f"{order}; the run was not interrupted."


def planned_steps(run: RunData) -> int | None:
    """``max_steps`` of the run; None where it is not known."""
    told = [part.arguments.get("max_steps") for part in run.parts]
    known = [steps for steps in told if isinstance(steps, int) and steps > 0]
    if run.sidecar is not None and run.sidecar.step == run.last_step:
        return run.sidecar.max_steps
    return known[-1] if known else None


def _steps_text(cuts: Sequence[ChangeSummary]) -> str:
    steps = list(dict.fromkeys(cut.step for cut in cuts))
    listed = ", ".join(str(step) for step in steps[:_STEPS_LISTED])
    more = f" and {len(steps) - _STEPS_LISTED} more" if len(steps) > _STEPS_LISTED else ""
    return f"step{'s' if len(steps) > 1 else ''} {listed}{more}"


def _images(run: RunData) -> list[_Image]:
    return [
        _Image(wide.title, wide.text, _data(as_svg(wide.figure)), _data(as_svg(narrow.figure)))
        for wide, narrow in zip(pictures(run, WIDE), pictures(run, NARROW), strict=True)
    ]


def _data(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def epoch_row(epoch: EpochSummary) -> dict[str, str]:
    """An epoch in words: ``title``, ``samples``, ``steps`` and ``loss``."""
    total = epoch.total
    return {
        "title": epoch.title,
        "samples": "\u2013" if total is None else _count_text(total.samples),
        "steps": "\u2013" if total is None else f"{_count_text(total.first_step)} to {_count_text(total.last_step)}",
        "loss": "\u2013" if epoch.mean_loss is None or math.isnan(epoch.mean_loss) else f"{epoch.mean_loss:.4f}",
    }


def _totals_step(run: RunData) -> int | None:
    """The step up to which samples are counted, where that is not the last one."""
    return None if run.totals_step is None or run.totals_step >= run.last_step else run.totals_step


def _run_settings(state: Sidecar) -> list[tuple[str, str]]:
    rows = [
        ("order", "unified" if state.reorders else "the host's own"),
        ("next position", _count_text(state.position)),
        ("planned positions", _count_text(state.planned)),
        ("max_steps", _count_text(state.max_steps)),
        ("run", state.run),
    ]
    skipped = ", ".join(f"{first} to {last}" for first, last in state.schedule.skipped)
    rows += [("skipped steps", skipped)] if skipped else []
    return rows + [("in spite of", mismatch) for mismatch in state.mismatches]


def _reorder_settings(reorder: Reorder, state: Sidecar) -> list[tuple[str, str]]:
    steps = [step for step, _ in state.schedule.crossings(reorder.start)]
    rows = [
        ("positions", f"{_count_text(reorder.start)} to {_count_text(reorder.stop)}"),
        ("from step", _count_text(steps[-1]) if steps else "not reached"),
        ("mix", reorder.mix),
        ("key", f"{', '.join(str(word) for word in reorder.key)} (seed, purpose, ordinal)"),
    ]
    if reorder.boundary is not None:
        rows.append(("the share rises of samples from position", _count_text(reorder.boundary)))
    return rows


def _stage_title(at: int, part: Part, state: Sidecar | None) -> str:
    first = part.first_logged or 1
    began = f", begun {moment_text(part.began)}" if part.began else ""
    segments = [] if state is None or state.step < first else state.schedule.segments
    ranks = [f", on {_ranks_text(segment)}" for segment in segments if segment.first_step <= first][-1:]
    begins = "From the start" if at == 0 and first <= 1 else f"Resumed; first loss logged at step {first}"
    return "".join([begins, began, *ranks])


def jump_text(jump: Jump | None) -> str:
    """A jump and its standard error; empty where it is not known."""
    return "" if jump is None else f"{jump.value:+.3f} \u00b1 {jump.error:.3f}"


def pair_text(pair: tuple[float, float] | None, digits: int = 3) -> str:
    """What was before, and after; empty where it is not known."""
    return "" if pair is None else f"{pair[0]:.{digits}f} \u2192 {pair[1]:.{digits}f}"


def _count_text(count: int) -> str:
    return f"{count:,}"


def _ranks_text(segment: Segment) -> str:
    return f"{segment.world_size} data-parallel rank{'s' if segment.world_size > 1 else ''}"


def moment_text(milliseconds: int) -> str:
    """A moment, of milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
