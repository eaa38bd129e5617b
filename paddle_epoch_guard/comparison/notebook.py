"""What a notebook shows: tables and figures as HTML, and a run."""

import html
from collections.abc import Sequence

from paddle_epoch_guard.comparison.curves import RunCurves, run_figure
from paddle_epoch_guard.comparison.numbers import number_text
from paddle_epoch_guard.language import counted, tr
from paddle_epoch_guard.report.drawing import as_svg
from paddle_epoch_guard.report.page import data_url

_ROWS = 5
_COLUMNS = ("step", "tokens", "loss", "fresh", "repeat", "exposure", "data_epoch", "evaluation")


def html_of_run(run: RunCurves) -> str:
    """The run in a sentence, the last rows of its table, and its curves."""
    last = run.windows[-_ROWS:]
    rows = [[_number(row[name].item()) for name in _COLUMNS] for row in last]
    sentence = _sentence(run)
    return f"<p>{html.escape(sentence)}</p>{html_table(_COLUMNS, rows)}{html_image(as_svg(run_figure(run)), sentence)}"


def _sentence(run: RunCurves) -> str:
    if not len(run.windows):
        return tr(
            "{run} has no training loss yet, but {evaluations}.",
            run=run.name,
            evaluations=_evaluations(run),
        )
    values = {
        "run": run.name,
        "step": int(run.windows["step"][-1]),
        "max_steps": run.max_steps,
        "windows": counted("{n} log window", "{n} log windows", len(run.windows)),
        "evaluations": _evaluations(run),
    }
    if run.ended:
        return tr(
            "{run} ended: step {step:,} of {max_steps:,}, {windows}, {evaluations}.",
            **values,
        )
    return tr(
        "{run} has not ended: step {step:,} of {max_steps:,}, {windows}, {evaluations}.",
        **values,
    )


def _evaluations(run: RunCurves) -> str:
    return counted("{n} evaluation", "{n} evaluations", len(run.evaluations))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number_text(value)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def html_image(svg: bytes, text: str) -> str:
    """An image inside the page."""
    return f'<img src="{data_url(svg)}" alt="{html.escape(text)}" style="max-width: 100%; background: white">'
