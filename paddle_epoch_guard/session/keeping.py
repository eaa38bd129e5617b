"""What of a run is kept on disk: where its user asked for no log, at most its record."""

from pathlib import Path
from typing import Literal

from paddle_epoch_guard import host
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import Message
from paddle_epoch_guard.record.writer import record_path
from paddle_epoch_guard.statistics.verdicts import MIN_WINDOWS
from paddle_epoch_guard.views.sinks import added_sinks

LEAST_STEPS = 2 * MIN_WINDOWS
"""A shorter run has too few log windows for a verdict, however it logs."""

Keeps = Literal["all", "record", "nothing"]
"""``all``: record, charts and report page. ``record``: the record alone, of which a page can be made at any time."""


def kept_of(args: host.TrainingArguments, first_step: int, max_steps: int) -> Keeps:
    """What is kept of a run.

    Charts and page belong where a logger is named, or a folder for logs. Without either, the record is kept in the
    trainer's own place for logs, unless there is nothing to tell: a benchmark of a few steps.

    Args:
        args: the trainer's arguments.
        first_step: the first step of this part of the run.
        max_steps: the last step.
    """
    if host.loggers(args.report_to) or added_sinks() or host.has_log_folder(args):
        return "all"
    is_short = first_step == 1 and max_steps < LEAST_STEPS
    return "nothing" if is_short and not host.saves_by(args, max_steps) else "record"


def told_of(keeps: Keeps, args: host.TrainingArguments, max_steps: int) -> Message | None:
    """What is to be said of what is not kept; None if all is."""
    if keeps == "all":
        return None
    if keeps == "nothing":
        return Message("keeps_nothing", {"steps": max_steps, "least": LEAST_STEPS})
    return Message("keeps_record", {"record": str(record_path(args.logging_dir)), "output": str(args.output_dir)})


def page_sentence(page: Path, steps: int) -> str:
    """Where the report page is; of a run that is too short for a verdict, also how to do without.

    Args:
        page: the file.
        steps: the last step of the run.
    """
    if steps >= LEAST_STEPS:
        return tr("report: {path}", path=page)
    return tr(
        "report: {path}. A verdict takes at least {least} steps; --epoch_guard_report False writes no page",
        path=page,
        least=LEAST_STEPS,
    )
