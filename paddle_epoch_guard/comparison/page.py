"""The page of a comparison: a single HTML file that works offline. Scripts and the network are forbidden in it."""

import html
from datetime import datetime, timezone
from pathlib import Path

from paddle_epoch_guard.comparison import texts
from paddle_epoch_guard.comparison.figures import comparison_figure, figure_text
from paddle_epoch_guard.comparison.findings import Findings
from paddle_epoch_guard.comparison.judging import Verdict
from paddle_epoch_guard.comparison.notebook import html_image, html_table
from paddle_epoch_guard.errors import ReportError, cause_of
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.provenance import package_versions
from paddle_epoch_guard.report.drawing import NARROW, WIDE, as_svg, write_figure
from paddle_epoch_guard.report.page import data_url, escaping_environment, style
from paddle_epoch_guard.terminal import joined, paragraph

_CLASSES: dict[Verdict, str] = {
    "better": "improvement",
    "worse": "artefact",
    "no difference": "none",
    "not comparable": "undecided",
}
"""The style of each verdict."""
_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_page(path: Path, findings: Findings) -> Path:
    """Writes the page atomically.

    Raises:
        ReportError: the folder is missing, or cannot be written.
    """
    content = render(findings).encode("utf-8", "replace")
    try:
        with atomic_write(path) as stream:
            stream.write(content)
    except OSError as cause:
        raise _unwritable(path, cause) from cause
    return path


def write_png(path: Path, findings: Findings) -> Path:
    """Writes the figure as PNG, atomically.

    Raises:
        ReportError: the folder is missing, or cannot be written.
    """
    try:
        write_figure(path, comparison_figure(findings))
    except OSError as cause:
        raise _unwritable(path, cause) from cause
    return path


def _unwritable(path: Path, cause: OSError) -> ReportError:
    why = cause_of(cause)
    return ReportError(
        tr("{path}: cannot be written ({cause}). Name a file in a folder that exists", path=path, cause=why)
    )


def notebook_html(findings: Findings) -> str:
    """What a notebook shows: the verdicts, the tables and the figure."""
    sentences = [texts.headline(findings), texts.place_sentence(findings)]
    return "".join(
        [
            *(f"<p>{html.escape(sentence)}</p>" for sentence in sentences),
            html_table(texts.run_head(), texts.run_rows(findings)),
            f"<p>{html.escape(texts.run_legend())}</p>",
            f"<p>{html.escape(texts.pair_title())}</p>",
            html_table(texts.pair_head(), texts.pair_rows(findings)),
            html_image(
                as_svg(comparison_figure(findings)), paragraph([texts.headline(findings), figure_text(findings)])
            ),
            *(f"<p>{html.escape(note)}</p>" for note in texts.notes(findings)),
        ]
    )


def _title(findings: Findings) -> str:
    if len(findings.runs) == 2:
        one, other = findings.runs
        return tr("{one} against {other}", one=one.name, other=other.name)
    return tr("{n} runs compared", n=len(findings.runs))


def render(findings: Findings) -> str:
    """The page's HTML."""
    template = escaping_environment().from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        style=style(),
        title=_title(findings),
        headline=texts.headline(findings),
        verdicts={tr(texts.VERDICTS[verdict]): look for verdict, look in _CLASSES.items()},
        place=texts.place_sentence(findings),
        run_head=texts.run_head(),
        run_rows=texts.run_rows(findings),
        pair_head=texts.pair_head(),
        pair_rows=texts.pair_rows(findings),
        pairs=[
            (joined([pair.one.name, pair.other.name]), texts.verdict_sentence(pair), texts.relation_sentence(pair))
            for pair in findings.pairs
        ],
        notes=texts.notes(findings),
        faults=[fault for run in findings.runs for fault in run.faults],
        wide=data_url(as_svg(comparison_figure(findings, WIDE))),
        narrow=data_url(as_svg(comparison_figure(findings, NARROW))),
        figure_text=figure_text(findings),
        folders=[(run.name, str(run.logging_dir)) for run in findings.runs],
        versions=list(package_versions().items()),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
