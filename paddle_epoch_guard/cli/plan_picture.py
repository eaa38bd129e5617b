"""Pictures of a plan: how often the data of each step was seen before, in the host's order and in a unified one."""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddle_epoch_guard.errors import ReportError, cause_of
from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger.layout_exposure import exposure_at, unified_exposure
from paddle_epoch_guard.terminal import joined, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from paddle_epoch_guard.cli.planned_run import Run

_NAMED = 3  # datasets, in the title
_SECOND_CELL = "\ue000"  # stands for the second column of a wide character; no text holds it
Curve = tuple[list[float], list[float]]


def exposures(run: "Run", facts: dict[str, Any]) -> tuple[Curve, Curve]:
    """Steps and mean exposure, in the host's order and in a unified one.

    Both are piecewise linear; the host's jumps at each boundary.

    Args:
        run: the planned run.
        facts: by ``facts_of_run``.
    """
    steps, batch = facts["max_steps"], run.global_batch
    boundaries = [dataset["boundary_position"] for dataset in facts.get("datasets", [facts])]
    layouts, repeated = run.layouts(steps), run.repeated(steps)

    def exposure_of(number: int, position: int, start: int) -> float:
        boundary, share = boundaries[number], run.shares[number]
        beyond = boundary is not None and boundary <= start
        own = exposure_at(layouts[number], position * share, beyond=beyond)
        return share * (own + repeated.before(number, position, beyond=beyond))

    ends = sorted({0, steps * batch, *(boundary for boundary in boundaries if boundary is not None)})
    host: Curve = [], []
    for start, stop in pairwise(ends):
        for position in (start, stop):
            exposure = sum(exposure_of(number, position, start) for number in range(len(layouts)))
            host[0].append(position / batch)
            host[1].append(exposure)
    end = sum(
        share * (unified_exposure(layout, run.drawn(number, steps)) + repeated.in_all(number))
        for number, (share, layout) in enumerate(zip(run.shares, layouts, strict=True))
    )
    return host, ([0.0, float(steps)], [0.0, end])


def print_plan(run: "Run", facts: dict[str, Any]) -> None:
    """Draws both curves on the terminal, at its width, without colours."""
    import plotext

    host, unified = exposures(run, facts)
    width = min(shutil.get_terminal_size().columns, 100)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, 14)
    plotext.plot(*host, label=_in_cells(tr("the host's order")), marker="hd")
    plotext.plot(*unified, label=_in_cells(tr("unified")), marker="dot")
    last, ticks = facts["max_steps"], 5 if width >= 60 else 3
    steps = sorted({round(last * tick / (ticks - 1)) for tick in range(ticks)})
    plotext.xticks(steps, [f"{step:,}" for step in steps])
    plotext.xlabel(_in_cells(tr("step")))
    print(tr("exposure: how often drawn before"))
    picture = plotext.uncolorize(plotext.build()).replace(_SECOND_CELL, "")
    print("\n".join(line.rstrip() for line in picture.splitlines()))


def _in_cells(text: str) -> str:
    """A text with a character for each column that it takes, as plotext counts them."""
    from rich.cells import cell_len

    return "".join(character + _SECOND_CELL * (cell_len(character) - 1) for character in text)


def _title(run: "Run", facts: dict[str, Any]) -> str:
    """Which run it is of: its corpora, its steps and its first boundary."""
    names = [Path(dataset.prefix).name for dataset in run.datasets]
    listed = plain(joined(names))
    what = listed if len(names) <= _NAMED else tr("a blend of {datasets} datasets", datasets=len(names))
    values = {"what": what, "max_steps": facts["max_steps"], "batch": run.global_batch}
    if facts["boundary_step"] is None:
        return tr("{what}: {max_steps:,} steps of {batch:,} samples, no boundary", **values)
    values["step"] = facts["boundary_step"]
    return tr("{what}: {max_steps:,} steps of {batch:,} samples, boundary at step {step:,}", **values)


def draw_plan(path: Path, run: "Run", facts: dict[str, Any]) -> None:
    """Writes both curves as a PNG, whole or not at all.

    Raises:
        ReportError: the file cannot be written.
    """
    from paddle_epoch_guard.report.drawing import look

    try:
        if path.is_dir():
            raise IsADirectoryError(None, tr("is a folder"))
        with look(), atomic_write(path) as stream:
            _figure(run, facts).savefig(stream, format="png")
    except OSError as cause:
        raise ReportError(
            tr(
                "--png {path}: cannot be written ({cause}). Name a file in a writable folder",
                path=path,
                cause=cause_of(cause),
            )
        ) from cause


def _figure(run: "Run", facts: dict[str, Any]) -> "Figure":
    """Both curves, with a line at each boundary."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    host, unified = exposures(run, facts)
    figure = Figure(figsize=(8, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*host, color="0.15", label=tr("the host's order"))
    axes.plot(*unified, color="tab:blue", linestyle="--", label=tr("unified"))
    axes.set_title(_title(run, facts))
    for dataset in facts.get("datasets", [facts]):
        step = dataset["boundary_step"]
        if step is not None:
            axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
            axes.annotate(
                tr("step {step:,}", step=step), (step, 0), (3, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=8, color="0.35",
            )  # fmt: skip
    axes.set_xlabel(tr("step"))
    axes.set_ylabel(tr("exposure: times drawn before"))
    axes.set_xlim(0, facts["max_steps"])
    axes.set_ylim(0, max(1.05 * max(host[1] + unified[1]), 0.1))
    axes.legend(loc="upper left")
    return figure
