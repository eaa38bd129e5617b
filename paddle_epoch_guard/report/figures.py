"""Figures of a run, for files, VisualDL and the report page: pure functions from `RunData` to matplotlib figures.

Lines differ in dash and lightness as well as in colour. Nothing here uses pyplot or a screen. Drawing imports
matplotlib; importing this module does not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.report.drawing import (
    LOOK,
    NARROW,
    TREND,
    WIDE,
    draw_raw,
    draw_trend,
    legend,
    limit,
    look,
    new_figure,
    write_figure,
)
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData
from paddle_epoch_guard.report.texts import epochs_found, fresh_found, losses_found
from paddle_epoch_guard.terminal import paragraph
from paddle_epoch_guard.views.visualdl import EpochGuardLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_T = TypeVar("_T")
HELD_OUT: dict[str, Any] = {"color": "#0969b0", "linestyle": (0, (5, 2)), "linewidth": 1.6}
FRESH: dict[str, Any] = {"color": "black", "linestyle": "-"}
REPEAT: dict[str, Any] = {"color": "#d1661a", "linestyle": (0, (5, 1.5, 1.2, 1.5))}
BOUNDARY: dict[str, Any] = {"color": "#b3122f", "linestyle": (0, (1.2, 1.6)), "linewidth": 1.5}
UNIFIED: dict[str, Any] = {"color": "#3c6e00", "linestyle": (0, (6, 2)), "linewidth": 1.3}

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)))
_LIGHTEST = 0.72  # the first epoch's line; the last one is black
_LEGEND_AT_MOST = 12
_PANELS_AT_MOST = 12
_LINES_AT_MOST = 24  # epochs in a panel
_CHANGES_AT_MOST = 200  # vertical lines
_LABELS_IN_WORDS = 4
_LABEL_WIDTH = 0.6  # inches of two steps


@dataclass(frozen=True)
class Picture:
    """A figure of a run with its texts."""

    name: str
    title: str
    text: str
    """How to read the figure."""
    found: str
    """What it shows, for readers who cannot see it."""
    figure: "Figure"


def pictures(run: RunData, width: float = WIDE) -> list[Picture]:
    """All figures for which the run has data.

    Args:
        run: the run.
        width: in inches.
    """
    drawn = []
    if len(run.loss):
        title = tr("Training loss, and how often the data was seen before")
        drawn.append(Picture("loss", title, _loss_text(run), losses_found(run), loss_figure(run, width)))
    if any(len(epoch.loss) for epoch in run.epochs):
        text = [tr("The loss of each epoch's samples against the step within the epoch, one line per epoch.")]
        if len(run.epochs) > _LINES_AT_MOST:
            text += [tr("Of more than {n} epochs, that many are drawn, at equal distances.", n=_LINES_AT_MOST)]
        title, found = tr("Training loss by epoch"), epochs_found(run)
        drawn.append(Picture("loss_by_epoch", title, paragraph(text), found, epoch_figure(run, width)))
    if len(run.loss_fresh) or len(run.loss_repeat):
        described = tr(
            "Training loss of samples drawn for the first time (solid), and of repeated samples (dash-dotted). "
            "The model has seen the repeated samples before; the solid line shows its progress. Means over the run do "
            "not compare them, because fresh samples come early, when the loss is high."
        )
        title, found = tr("Fresh against repeated samples"), fresh_found(run)
        drawn.append(Picture("fresh_and_repeat", title, described, found, fresh_figure(run, width)))
    return drawn


def _loss_text(run: RunData) -> str:
    text = [tr("Thin: the training loss of each log window. Thick: its trend, separately between change points.")]
    if len(run.evaluation):
        text = [
            tr(
                "Thin: the training loss of each log window. Thick: its trend, separately between change points; "
                "dashed: the evaluation loss."
            )
        ]
    if len(run.cuts) > _CHANGES_AT_MOST:
        lines = tr(
            "Vertical lines: where the order of the data changes ({drawn} of {n:,}).",
            drawn=_CHANGES_AT_MOST,
            n=len(run.cuts),
        )
        text.append(lines)
    elif any(change.step > 1 for change in run.cuts):
        text.append(tr("Vertical lines: where the order of the data changes."))
    if len(run.exposure):
        text.append(tr("Below: exposure, how often the tokens drawn had been drawn before."))
    return paragraph(text)


@look()
def loss_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Training loss with trend and change points, evaluation loss, and below it the exposure or the data epoch."""
    has_below = len(run.exposure) > 0 or len(run.data_epoch) > 0
    figure = new_figure(width, 4.5 if has_below else 3.0)
    ratios = (2.8, 1.4) if has_below else (2.8,)
    axes = list(figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0])
    beyond = _draw_losses(axes[0], run, width)
    if has_below:
        _draw_exposure(axes[1], run, width)
    axes[-1].set_xlabel("\n".join([tr("step"), *beyond]))
    figure.align_ylabels(axes)
    _mark_changes(axes, run.cuts, width)
    return figure


def _draw_losses(axes: "Axes", run: RunData, width: float) -> list[str]:
    """Draws training and evaluation loss; returns what is to be said of losses that are cut off."""
    draw_raw(axes, run.loss, width, {"label": tr("each log window")})
    draw_trend(axes, run.loss, run.sides, {"label": tr("trend"), **TREND})
    if len(run.evaluation):
        marker = "o" if len(run.evaluation) <= 40 else None
        style = {"label": tr("evaluation"), "marker": marker, "markersize": 3, **HELD_OUT}
        draw_raw(axes, run.evaluation, width, style)
    axes.set_ylabel(
        tr("training and\nevaluation loss\n(nats per token)")
        if len(run.evaluation)
        else tr("training loss\n(nats per token)")
    )
    legend(axes, width)
    return limit(axes, [(run.loss, run.sides), (run.evaluation, run.sides)])


def _draw_exposure(axes: "Axes", run: RunData, width: float) -> None:
    """Draws the exposure, or the data epoch if the exposure is unknown."""
    series = run.exposure if len(run.exposure) else run.data_epoch
    axes.set_ylabel(tr("data epoch\n(mean)"))
    if len(run.exposure):
        axes.set_ylabel(tr("exposure (times\ndrawn before)"))
        highest = max(1.0, float(series.values.max()))
        axes.set_ylim(-0.05 * highest, 1.08 * highest)
    draw_raw(axes, series, width)
    draw_trend(axes, series, run.sides, TREND)


@look()
def epoch_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Loss against the step within the epoch: a panel for each dataset, a line for each epoch."""
    by_dataset: dict[tuple[bool, str], list[EpochSummary]] = {}
    for epoch in run.epochs:
        if len(epoch.loss):
            by_dataset.setdefault((epoch.trainer, epoch.dataset), []).append(epoch)
    shown = list(by_dataset.items())[:_PANELS_AT_MOST]
    columns = 1 if width < WIDE or len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(width, 3.2 if rows == 1 else 2.5 * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, ((_, dataset), epochs) in zip(axes, shown, strict=False):
        _draw_epochs(panel, epochs, width / columns)
        legend(panel, width / columns, (_shortened(dataset) or tr("all data")) if len(shown) > 1 else None)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    beyond = limit(axes[0], [(epoch.loss, ()) for _, epochs in shown for epoch in epochs])
    figure.supylabel(tr("training loss (nats per token)"), fontsize=LOOK["font.size"])
    for panel in axes[max(len(shown) - columns, 0) : len(shown)]:
        panel.set_xlabel("\n".join([tr("step within the epoch"), *beyond]))
    return figure


@look()
def fresh_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Loss of samples drawn for the first time, and loss of repeated samples."""
    figure = new_figure(width, 3.1)
    axes = figure.subplots()
    for series, label, style in (
        (run.loss_fresh, tr("fresh: never drawn before"), FRESH),
        (run.loss_repeat, tr("repeat: drawn before"), REPEAT),
    ):
        if len(series):
            draw_raw(axes, series, width, {"color": style["color"], "linewidth": 0.6, "alpha": 0.22})
            draw_trend(axes, series, run.sides, {"label": label, **style})
    beyond = limit(axes, [(run.loss_fresh, run.sides), (run.loss_repeat, run.sides)])
    axes.set_ylabel(tr("training loss\n(nats per token)"))
    axes.set_xlabel("\n".join([tr("step"), *beyond]))
    legend(axes, width)
    _mark_changes([axes], run.cuts, width)
    return figure


def write_figures(folder: Path, run: RunData, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Writes each figure as ``epoch_guard_<name>.<format>`` on white, each file atomically.

    Args:
        folder: must exist.
        run: the run.
        formats: any of matplotlib's, such as ``png``, ``svg``, ``pdf``.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for picture in pictures(run):
        for kind in formats:
            path = folder / f"epoch_guard_{picture.name}.{kind}"
            write_figure(path, picture.figure)
            written.append(path)
    return written


def add_figures(log: EpochGuardLog, run: RunData, step: int) -> None:
    """Writes each figure to the guard's VisualDL log.

    Args:
        log: the guard's VisualDL log.
        run: the run.
        step: the last step of the run so far.

    Raises:
        OSError: the folder cannot be written.
    """
    for picture in pictures(run):
        picture.figure.set_dpi(120)
        with look():
            log.figure(f"epoch_guard/figure_{picture.name}", picture.figure, step)
    log.flush()


def _draw_epochs(axes: "Axes", epochs: Sequence[EpochSummary], width: float) -> None:
    epochs = evenly(epochs, _LINES_AT_MOST)
    count = len(epochs)
    labelled = {round(place) for place in np.linspace(0, count - 1, min(count, _LEGEND_AT_MOST))}
    for at, epoch in enumerate(epochs):
        color = _tint(_LIGHTEST * (1 - (at + 1) / count))
        if count <= 3:
            draw_raw(axes, epoch.loss, width, {"color": color, "alpha": 0.2})
        label = tr("epoch {epoch}", epoch=epoch.epoch) if at in labelled else None
        style = {"color": color, "linestyle": _DASHES[at % len(_DASHES)], "linewidth": 1.6 if count <= 6 else 1.2}
        draw_trend(axes, epoch.loss, (), {"label": label, **style})


def _tint(lightness: float) -> tuple[float, float, float]:
    """A blue of this lightness; black for 0."""
    if lightness == 0:
        return 0.0, 0.0, 0.0
    return 0.85 * lightness, 0.25 + 0.75 * lightness, 0.45 + 0.55 * lightness


def _mark_changes(axes: Sequence["Axes"], changes: Sequence[ChangeSummary], width: float) -> None:
    """Draws a line at each change point, with its step; if there are few, with what begins and the verdict."""
    drawn = evenly([change for change in changes if change.step > 1], _CHANGES_AT_MOST)
    for change in drawn:
        for panel in axes:
            panel.axvline(change.step, zorder=3, **_style_of(change))
    left, right = axes[0].get_xlim()
    if len(drawn) <= _LABELS_IN_WORDS and width > NARROW:
        for row, change in enumerate(drawn):
            label = tr("step {step}", step=change.step) if change.dataset else change.label
            words = tr("{label}: {verdict}", label=label, verdict=change.verdict) if change.verdict else label
            before = change.step - left > 0.6 * (right - left)
            _label(axes[0], change, words, 0.98 - 0.1 * row, before)
    else:
        for group in _grouped(drawn, (right - left) * _LABEL_WIDTH / width):
            first, last = group[0].step, group[-1].step
            before = first - left > 0.85 * (right - left)
            _label(axes[0], group[0], f"{first}" if first == last else f"{first}\u2013{last}", before=before)
    axes[0].set_xlim(left, right)


def evenly(items: Sequence[_T], most: int) -> Sequence[_T]:
    """At most so many of some items, at equal distances, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[at] for at in np.linspace(0, len(items) - 1, most).round().astype(np.int64).tolist()]


def _style_of(change: ChangeSummary) -> dict[str, Any]:
    return UNIFIED if change.epochs is None else BOUNDARY


def _grouped(changes: Sequence[ChangeSummary], steps: float) -> list[list[ChangeSummary]]:
    """Groups change points less than ``steps`` apart, whose labels would overlap."""
    groups: list[list[ChangeSummary]] = []
    for change in changes:
        if groups and change.step - groups[-1][0].step < steps:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _label(axes: "Axes", change: ChangeSummary, label: str, height: float = 0.98, before: bool = False) -> None:
    """Writes a label after the line of a change point, or before it."""
    axes.annotate(
        label,
        (change.step, height),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if before else 4, 0),
        textcoords="offset points",
        ha="right" if before else "left",
        va="top",
        fontsize=8,
        color=_style_of(change)["color"],
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        zorder=4,
    )


def _shortened(name: str) -> str:
    """A short name without control characters, which SVG forbids."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 40 else f"{plain[:18]}\u2026{plain[-18:]}"
