"""The report page: a single HTML file that works offline.

It shows what happened in a run, the figures, and how to draw the same data in the same order again. Texts come from
log files and corpus names, so each is escaped. A policy in the page itself forbids the network, and any script but the
one that it names by its hash.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.language import counted, current, mark, tr
from paddle_epoch_guard.record.provenance import package_versions
from paddle_epoch_guard.report.curves import charts, texts
from paddle_epoch_guard.report.drawing import NARROW, WIDE, as_svg
from paddle_epoch_guard.report.figures import add_figures, pictures
from paddle_epoch_guard.report.reading import read_run
from paddle_epoch_guard.report.run_data import RunData
from paddle_epoch_guard.report.settings import settings, stages
from paddle_epoch_guard.report.texts import (
    advice_of,
    count_text,
    epoch_row,
    headline,
    moment_text,
    next_ahead,
    pair_text,
    summary,
)
from paddle_epoch_guard.resume import Sidecar, write_sidecar
from paddle_epoch_guard.terminal import paragraph
from paddle_epoch_guard.views.verdict_texts import interval_text, jump_text
from paddle_epoch_guard.views.visualdl import EpochGuardLog

if TYPE_CHECKING:
    from jinja2 import Environment

_T = TypeVar("_T")
PAGE_NAME = "epoch_guard_report.html"
VERDICTS = {
    "artefact": mark("The training loss jumps with the data that is drawn, not because the model has changed."),
    "mixed": mark("A part of the jump is an artefact, and the evaluation loss shares the rest."),
    "improvement": mark("The training loss falls, and the evaluation loss with it."),
    "unexplained": mark("The training loss jumps, and the data does not explain it."),
    "undecided": mark("The losses do not tell whether the training loss jumps, or why."),
    "none": mark("The training loss does not jump by 1 % or more."),
    "unknown": mark("There are too few steps on one side."),
}
"""The meaning of each verdict, in the order of the page."""

_CODE = re.compile(r"--[a-z]\w+|paddle-epoch-guard [a-z]+", re.ASCII)
_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_TEXT_AT_MOST, _NOTES_AT_MOST, _FINDINGS_AT_MOST = 20_000, 200, 50
_ROWS_AT_MOST, _TABLES_AT_MOST, _FAULTS_AT_MOST = 200, 60, 50


@dataclass(frozen=True)
class _Image:
    """A figure of the page, as data URLs for desktop and phone."""

    name: str
    title: str
    text: str
    found: str
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
        state: the state of the run at its end, as a checkpoint would hold it. It is written beside the guard's log,
            for later reports.
        names: the names of a blend's datasets, in its order, if available.
        log: gets the figures too.

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
        raise ReportError(
            tr("{path}: the report cannot be written: {cause}. Name a writable folder", path=target, cause=cause)
        ) from cause
    return target


def write_page(path: Path, run: RunData) -> None:
    """Writes the page atomically.

    Args:
        path: in an existing folder.
        run: the run.

    Raises:
        OSError: the folder cannot be written.
    """
    content = render(run).encode("utf-8", "replace")
    with atomic_write(path) as stream:
        stream.write(content)


def render(run: RunData) -> str:
    """The page's HTML."""
    environment = escaping_environment()
    environment.filters |= {
        "jump": jump_text,
        "interval": interval_text,
        "pair": pair_text,
        "count": count_text,
        "moment": moment_text,
        "code": _with_code,
    }
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    script, curves = _script(), _curves(run)
    return template.render(
        style=style() + _read("uplot/uPlot.min.css"),
        script=script,
        script_hash=_hash_of(script),
        curves=curves,
        run=run,
        title=_title(run),
        sentences=summary(run),
        headline=headline(run),
        advice=advice_of(run),
        ahead=next_ahead(run),
        images=_images(run),
        epochs=[epoch_row(epoch) for epoch in _ends(run.epochs, _ROWS_AT_MOST)],
        parts=_ends(run.parts, _ROWS_AT_MOST),
        faults=run.faults[:_FAULTS_AT_MOST],
        left_out=_left_out(run),
        totals_step=_totals_step(run),
        counts_samples=any(epoch.total is not None for epoch in run.epochs),
        outdated=run.sidecar is not None and run.sidecar.step < run.last_step,
        cuts=_ends(run.cuts, _ROWS_AT_MOST),
        meanings={verdict: tr(meaning) for verdict, meaning in VERDICTS.items()},
        notes=[
            (note.step, note.text.strip("\n")[:_TEXT_AT_MOST], note.findings[:_FINDINGS_AT_MOST])
            for note in run.notes[-_NOTES_AT_MOST:]
        ],
        settings=settings(run)[:_TABLES_AT_MOST],
        stages=_ends(stages(run), _TABLES_AT_MOST),
        versions=list(package_versions().items()),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def escaping_environment() -> "Environment":
    """In which all pages are rendered: every text is escaped, a missing value is an error, and texts are in the
    language of the process.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {
        "tr": tr,
        "counted": counted,
        "paragraph": paragraph,
        "language": "zh-CN" if current() == "zh" else "en",
    }
    return environment


def style() -> str:
    """The style sheet of all pages, as text that is not escaped."""
    return _read("page.css")


def _read(name: str) -> str:
    """A file of this package, as text that is not escaped."""
    from markupsafe import Markup

    return Markup((_TEMPLATE.parent / name).read_text(encoding="utf-8"))


def _with_code(sentence: str) -> str:
    """A sentence with its flags and commands in code font; everything else in it is escaped."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\g<0></code>", str(escape(sentence))))


def _script() -> str:
    """The chart library and what draws with it, as one script that is not escaped."""
    return _read("uplot/uPlot.iife.min.js") + _read("interactive.js")


def _hash_of(script: str) -> str:
    """The only script that the page's own policy allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _curves(run: RunData) -> str:
    """The values of the charts as JSON that cannot end the element in which it stands."""
    from markupsafe import Markup

    values = json.dumps({"charts": charts(run), "texts": texts()}, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        values = values.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(values)


def data_url(svg: bytes) -> str:
    """An SVG as the address of an image."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _ends(items: Sequence[_T], most: int) -> Sequence[_T]:
    """The first and the last of some items, at most so many together."""
    return items if len(items) <= most else [*items[: most // 2], *items[-(most - most // 2) :]]


def _left_out(run: RunData) -> dict[str, int]:
    """How many rows or tables of each kind the page leaves out."""
    counts = {
        "cuts": (len(run.cuts), _ROWS_AT_MOST),
        "epochs": (len(run.epochs), _ROWS_AT_MOST),
        "parts": (len(run.parts), _ROWS_AT_MOST),
        "faults": (len(run.faults), _FAULTS_AT_MOST),
        "notes": (len(run.notes), _NOTES_AT_MOST),
        "settings": (len(settings(run)), _TABLES_AT_MOST),
    }
    return {kind: max(count - most, 0) for kind, (count, most) in counts.items()}


def _title(run: RunData) -> str:
    folder = run.output_dir if run.output_dir is not None else run.logging_dir
    return folder.resolve().name or tr("run")


def _images(run: RunData) -> list[_Image]:
    return [
        _Image(
            wide.name,
            wide.title,
            wide.text,
            wide.found,
            data_url(as_svg(wide.figure)),
            data_url(as_svg(narrow.figure)),
        )
        for wide, narrow in zip(pictures(run, WIDE), pictures(run, NARROW), strict=True)
    ]


def _totals_step(run: RunData) -> int | None:
    """The step up to which samples are counted, if that is not the last one."""
    return None if run.totals_step is None or run.totals_step >= run.last_step else run.totals_step
