"""``report``: what happened in a run, finished or running, from its logs and checkpoints."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.output import JsonFlag, print_json, print_table, print_text, say
from paddle_epoch_guard.comparison.numbers import finite
from paddle_epoch_guard.errors import ArgumentsError, ReportError, cause_of
from paddle_epoch_guard.language import tr

if TYPE_CHECKING:
    from paddle_epoch_guard.ledger import Contrast
    from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData
    from paddle_epoch_guard.statistics.discontinuity import Jump
    from paddle_epoch_guard.statistics.judging import Part

_FAULTS_LISTED = 5
_UNKNOWN = "\u2013"
_SETTINGS = ("step", "position", "planned", "max_steps", "reorders", "schedule", "datasets", "blend", "mismatches")
"""Fields of the sidecar that determine the order."""


FOUND = 4
"""The exit status with --fail-on."""


class Verdict(str, Enum):
    """The verdicts of ``statistics.judging``, whose import takes numpy."""

    artefact = "artefact"
    improvement = "improvement"
    mixed = "mixed"
    unexplained = "unexplained"
    undecided = "undecided"
    none = "none"
    unknown = "unknown"


def report(  # noqa: PLR0913 - its options
    output_dir: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT_DIR", help="Folder of the run's checkpoints (output_dir), or of its logs."),
    ],
    logging_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the run's logs; by default OUTPUT_DIR tells where it is."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page to write; by default epoch_guard_report.html in OUTPUT_DIR."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write the figures to this folder, as PNG and SVG.")
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Write no page: tables, or JSON, only.")] = False,
    fail_on: Annotated[
        list[Verdict] | None,
        typer.Option(
            "--fail-on",
            metavar="VERDICT",
            help="End with exit status 4 if a place has this verdict: artefact, mixed, improvement, unexplained, "
            "undecided, none or unknown; may be given several times. For scripts.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Show what happened in a run, finished or running, and write a page about it.

    Read the run's logs and checkpoints. Show the loss of each data epoch, the verdict at each boundary and at the
    start of a unified order, the resumes, and the settings of the data order. The page is one HTML file.

    \b
    Example:
      paddle-epoch-guard report output --output run.html
    """
    # Importing VisualDL and matplotlib takes a second.
    from paddle_epoch_guard.report.figures import write_figures
    from paddle_epoch_guard.report.page import PAGE_NAME, write_page
    from paddle_epoch_guard.report.reading import find_logging_dir, read_run

    logs = find_logging_dir(output_dir) if logging_dir is None else logging_dir
    if no_page and output is not None:
        raise ArgumentsError(tr("--no-page writes no page, and --output names one. Leave one of them out"))
    page = None if no_page else output_dir / PAGE_NAME if output is None else output
    run = read_run(logs, output_dir)
    _refuse_unwritable(page, figures)
    drawn: list[Path] = []
    at = page
    try:
        if page is not None:
            write_page(page, run)
        if figures is not None:
            at = figures
            drawn = write_figures(figures, run)
    except OSError as cause:
        values = {"path": at, "cause": cause_of(cause)}
        raise ReportError(tr("{path}: cannot be written ({cause}). Name a writable folder", **values)) from cause
    if as_json:
        print_json(facts_of_report(run, page, drawn))
    else:
        show(run, page, drawn)
    wanted = {kind.value for kind in fail_on or ()}
    return FOUND if any(change.verdict in wanted for change in run.cuts) else 0


def _refuse_unwritable(page: Path | None, figures: Path | None) -> None:
    """Creates the folder of the figures, and checks that of the page, before anything is drawn.

    Raises:
        ReportError: a folder is missing, or something else is in its place.
    """
    if page is not None and (page.is_dir() or not page.parent.is_dir()):
        raise ReportError(tr("{path}: cannot be written. Name a file in a folder that exists: --output", path=page))
    try:
        if figures is not None:
            figures.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        values = {"path": figures, "cause": cause_of(cause)}
        raise ReportError(
            tr("--figures {path}: cannot be created ({cause}). Name another folder", **values)
        ) from cause


def facts_of_report(run: "RunData", page: Path | None, drawn: list[Path]) -> dict[str, Any]:
    """The JSON object of ``report``.

    Args:
        run: what was read.
        page: the page that was written.
        drawn: the figures that were written.
    """
    from paddle_epoch_guard.report.texts import planned_steps, summary

    planned = planned_steps(run)
    return {
        "run": run.run or None,
        "logging_dir": str(run.logging_dir),
        "output_dir": str(run.output_dir),
        "last_step": run.last_step,
        "max_steps": planned,
        "finished": None if planned is None else run.last_step >= planned,
        "summary": summary(run),
        "epochs": [_epoch_facts(epoch) for epoch in run.epochs],
        "repeated_against_fresh": _contrast_facts(run.contrast),
        "cuts": [_change_facts(change, run) for change in run.cuts],
        "ahead": [
            {"step": boundary.step, "epochs": [boundary.from_epoch, boundary.to_epoch]} for boundary in run.ahead
        ],
        "resumes": [
            {"first_logged_step": part.first_logged, "began_ms": part.began, "arguments": part.arguments}
            for part in run.parts[1:]
        ],
        "settings": _settings_facts(run),
        "faults": list(run.faults),
        "page": None if page is None else str(page),
        "figures": [str(path) for path in drawn],
    }


def _epoch_facts(epoch: "EpochSummary") -> dict[str, Any]:
    total = epoch.total
    return {
        "dataset": epoch.dataset or None,
        "epoch": epoch.epoch,
        "of": "trainer" if epoch.trainer else "data",
        "samples": total and total.samples,
        "first_step": total and total.first_step,
        "last_step": total and total.last_step,
        "mean_loss": finite(epoch.mean_loss),
    }


def _contrast_facts(contrast: "Contrast") -> dict[str, Any] | None:
    """Loss of repeated samples minus that of fresh ones; None if they cannot be compared."""
    difference = contrast.difference
    if difference is None:
        return None
    return {
        "difference": difference.value,
        "standard_error": difference.error,
        "interval_95": list(difference.interval),
        "degrees_of_freedom": difference.degrees,
    }


def _change_facts(change: "ChangeSummary", run: "RunData") -> dict[str, Any]:
    from paddle_epoch_guard.report.texts import advice_at

    report = change.report
    return {
        "name": change.name,
        "step": change.step,
        "what": change.title,
        "dataset": change.dataset or None,
        "epochs": None if change.epochs is None else list(change.epochs),
        "verdict": change.verdict or None,
        "clause": change.clause or None,
        "advice": advice_at(change, run),
        "final": None if report is None else report.final,
        "found_by": [] if report is None else list(report.found_by),
        "training": _jump_facts(change.training),
        "training_is_of_dataset": report is not None and report.is_own,
        "all_samples": None if report is None else _jump_facts(report.whole),
        "evaluation": _jump_facts(change.evaluation),
        "training_against_evaluation": _jump_facts(change.gap),
        "shared": None if report is None else _part_facts(report.shared),
        "alone": None if report is None else _part_facts(report.alone),
        "also_changes": [] if report is None else [_builtins(each) for each in report.host_changes],
        "without_repetition": None if report is None else _builtins(report.counterfactual),
        "mean_loss": _pair_facts(change.means),
        "exposure": _pair_facts(change.exposures),
    }


def _jump_facts(jump: "Jump | None") -> dict[str, Any] | None:
    if jump is None:
        return None
    return {
        "jump": finite(jump.value),
        "standard_error": finite(jump.error),
        "low": finite(jump.low),
        "high": finite(jump.high),
        "significant": jump.significant,
        "detectable": finite(jump.detectable),
    }


def _part_facts(part: "Part | None") -> dict[str, Any] | None:
    if part is None:
        return None
    return {"value": part.value, "standard_error": part.error, "low": part.low, "high": part.high}


def _builtins(value: object) -> object:
    """A record as JSON's own types."""
    import msgspec

    return msgspec.to_builtins(value)


def _pair_facts(pair: tuple[float, float] | None) -> dict[str, float | None]:
    before, after = pair or (None, None)
    return {"before": finite(before), "after": finite(after)}


def _settings_facts(run: "RunData") -> dict[str, Any] | None:
    """The settings of the order, according to the newest checkpoint."""
    if run.sidecar is None:
        return None
    settings = {name: _builtins(getattr(run.sidecar, name)) for name in _SETTINGS}
    return {"order": "unified" if run.sidecar.reorders else "the host's own", **settings}


def show(run: "RunData", page: Path | None, drawn: list[Path]) -> None:
    """Prints the summary and the tables of a run."""
    from paddle_epoch_guard.report.texts import summary

    for sentence in summary(run):
        print_text(sentence)
    for title, head, rows in _tables(run):
        if rows:
            say()
            print_table(rows, title, head)
    say()
    for fault in run.faults[:_FAULTS_LISTED]:
        say(tr("left out: {fault}", fault=fault))
    if len(run.faults) > _FAULTS_LISTED:
        say(tr("left out: {n} more; see --json", n=len(run.faults) - _FAULTS_LISTED))
    if page is not None:
        say(tr("page: {path}", path=page))
    for path in drawn:
        say(tr("figure: {path}", path=path))


def _tables(run: "RunData") -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, head and rows of each table."""
    from paddle_epoch_guard.report.settings import settings
    from paddle_epoch_guard.report.texts import epoch_row, moment_text, pair_text
    from paddle_epoch_guard.views.verdict_texts import jump_text

    epochs = [epoch_row(epoch) for epoch in run.epochs]
    changes = [
        (
            str(change.step), change.title, change.verdict or change.no_verdict,
            jump_text(change.training) or _UNKNOWN,
            jump_text(change.evaluation) or _UNKNOWN, pair_text(change.exposures, 2) or _UNKNOWN,
        )
        for change in run.cuts
    ]  # fmt: skip
    resumes = [
        (str(part.first_logged or _UNKNOWN), moment_text(part.began), str(part.arguments.get("max_steps")))
        for part in run.parts[1:]
    ]
    epoch_head = (tr("epoch"), tr("samples"), tr("steps"), tr("mean loss"))
    change_head = (
        tr("step"), tr("what changes"), tr("verdict"), tr("training loss"), tr("evaluation loss"), tr("exposure"),
    )  # fmt: skip
    return [
        (tr("epochs"), epoch_head, epochs),
        (tr("where the order changes, and by how much the losses jump"), change_head, changes),
        (tr("resumed"), (tr("first logged step"), tr("at"), "max_steps"), resumes),
        *((title, (), rows) for title, rows in settings(run)),
    ]
