"""``report``: what happened in a run, finished or running, from its logs and checkpoints."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paddle_epoch_guard.cli.output import JsonFlag, print_json, print_table, print_text
from paddle_epoch_guard.errors import ReportError

if TYPE_CHECKING:
    from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData
    from paddle_epoch_guard.statistics.discontinuity import Jump

_FAULTS_LISTED = 5
_UNKNOWN = "\u2013"


def report(
    output_dir: Annotated[
        Path, typer.Argument(metavar="OUTPUT_DIR", help="Folder of the run's checkpoints (output_dir).")
    ],
    logging_dir: Annotated[
        Path | None, typer.Option(help="Folder of the run's logs; by default the newest below OUTPUT_DIR.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The page to write; by default epoch_guard_report.html in OUTPUT_DIR.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write the figures, too, as PNG and SVG to this folder.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Says what happened in a run, finished or running, and writes a page about it.

    From its VisualDL logs and its checkpoints: the loss of each data epoch, the verdict at each boundary and where a
    unified order began, where it was resumed, and what its order is made of. The page is one HTML file.

    \b
    Example:
      paddle-epoch-guard report output --logging-dir output/logs --output run.html
    """
    # VisualDL and matplotlib take a second.
    from paddle_epoch_guard.report.figures import write_figures
    from paddle_epoch_guard.report.page import PAGE_NAME, write_page
    from paddle_epoch_guard.report.reading import find_logging_dir, read_run

    logs = find_logging_dir(output_dir) if logging_dir is None else logging_dir
    page = output_dir / PAGE_NAME if output is None else output
    run = read_run(logs, output_dir)
    _refuse_unwritable(page, figures)
    drawn: list[Path] = []
    at = page
    try:
        write_page(page, run)
        if figures is not None:
            at = figures
            drawn = write_figures(figures, run)
    except OSError as cause:
        raise ReportError(f"{at}: cannot be written ({cause.strerror}). Name a folder that can") from cause
    if as_json:
        print_json(facts_of_report(run, page, drawn))
    else:
        show(run, page, drawn)


def _refuse_unwritable(page: Path, figures: Path | None) -> None:
    """Refuses, before anything is drawn, what cannot be written; makes the folder of the figures.

    Raises:
        ReportError: there is no such folder, or something else is in the way.
    """
    if page.is_dir() or not page.parent.is_dir():
        raise ReportError(f"{page}: cannot be written. Name a file in a folder that exists: --output")
    try:
        if figures is not None:
            figures.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise ReportError(f"--figures {figures}: cannot be made ({cause.strerror}). Name another folder") from cause


def facts_of_report(run: "RunData", page: Path, drawn: list[Path]) -> dict[str, Any]:
    """What is known of a run.

    Args:
        run: what was read.
        page: that was written.
        drawn: the figures that were written.
    """
    from paddle_epoch_guard.report.page import planned_steps, summary

    planned = planned_steps(run)
    return {
        "logging_dir": str(run.logging_dir),
        "output_dir": str(run.output_dir),
        "last_step": run.last_step,
        "max_steps": planned,
        "finished": None if planned is None else run.last_step >= planned,
        "summary": summary(run),
        "epochs": [_epoch_told(one) for one in run.epochs],
        "cuts": [_cut_told(one) for one in run.cuts],
        "resumes": [
            {"first_logged_step": one.first_logged, "began_ms": one.began, "arguments": one.arguments}
            for one in run.parts[1:]
        ],
        "settings": _settings_told(run),
        "faults": list(run.faults),
        "page": str(page),
        "figures": [str(path) for path in drawn],
    }


def _epoch_told(one: "EpochSummary") -> dict[str, Any]:
    total = one.total
    return {
        "dataset": one.dataset or None,
        "epoch": one.epoch,
        "of": "trainer" if one.trainer else "data",
        "samples": None if total is None else total.samples,
        "first_step": None if total is None else total.first_step,
        "last_step": None if total is None else total.last_step,
        "mean_loss": _finite(one.mean_loss),
    }


def _cut_told(one: "ChangeSummary") -> dict[str, Any]:
    return {
        "name": one.name,
        "step": one.step,
        "what": one.title,
        "dataset": one.dataset or None,
        "epochs": None if one.epochs is None else list(one.epochs),
        "verdict": one.verdict or None,
        "clause": one.clause or None,
        "training": _jump_told(one.training),
        "evaluation": _jump_told(one.evaluation),
        "mean_loss": _pair_told(one.means),
        "exposure": _pair_told(one.exposures),
    }


def _jump_told(jump: "Jump | None") -> dict[str, Any] | None:
    if jump is None:
        return None
    return {"jump": _finite(jump.value), "standard_error": _finite(jump.error), "significant": jump.significant}


def _pair_told(pair: tuple[float, float] | None) -> dict[str, Any]:
    before, after = (None, None) if pair is None else pair
    return {"before": _finite(before), "after": _finite(after)}


def _finite(value: float | None) -> float | None:
    """JSON knows no others."""
    return value if value is not None and math.isfinite(value) else None


def _settings_told(run: "RunData") -> dict[str, Any] | None:
    """What the order is made of, as the newest checkpoint has it."""
    import msgspec

    if run.sidecar is None:
        return None
    names = ("step", "position", "planned", "max_steps", "reorders", "schedule", "datasets", "blend", "mismatches")
    found = {name: msgspec.to_builtins(getattr(run.sidecar, name)) for name in names}
    return {"order": "unified" if run.sidecar.reorders else "the host's own", **found}


def show(run: "RunData", page: Path, drawn: list[Path]) -> None:
    """Prints what is known of a run."""
    from paddle_epoch_guard.report.page import epoch_row, jump_text, moment_text, pair_text, settings, summary

    for sentence in summary(run):
        print_text(sentence)
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        ("epochs", ("epoch", "samples", "steps", "mean loss"), [tuple(epoch_row(one).values()) for one in run.epochs]),
        (
            "where the order changes, and by how much the losses jump",
            ("step", "what changes", "verdict", "training loss", "evaluation loss", "exposure"),
            [
                (
                    str(one.step), one.title, one.verdict or "not yet", jump_text(one.training) or _UNKNOWN,
                    jump_text(one.evaluation) or _UNKNOWN, pair_text(one.exposures, 2) or _UNKNOWN,
                )
                for one in run.cuts
            ],
        ),
        (
            "resumed",
            ("first logged step", "at", "max_steps"),
            [
                tuple(map(str, (one.first_logged or _UNKNOWN, moment_text(one.began), one.arguments.get("max_steps"))))
                for one in run.parts[1:]
            ],
        ),
    ]  # fmt: skip
    tables += [(title, (), list(values)) for title, values in settings(run)]
    for title, head, rows in tables:
        if rows:
            typer.echo()
            print_table(rows, title, head)
    typer.echo()
    for fault in run.faults[:_FAULTS_LISTED]:
        typer.echo(f"left out: {fault}")
    if len(run.faults) > _FAULTS_LISTED:
        typer.echo(f"left out: {len(run.faults) - _FAULTS_LISTED} more; see --json")
    typer.echo(f"page: {page}")
    for path in drawn:
        typer.echo(f"figure: {path}")
