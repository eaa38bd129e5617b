"""The values of the page's interactive charts: `RunData` -> plain values, as many as a screen can show.

The page's script draws them; `figures` draws the same curves for paper, and for readers without scripts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.report.drawing import limits_of, thinned, trend_of
from paddle_epoch_guard.report.figures import evenly
from paddle_epoch_guard.report.run_data import RunData, Series

_BUCKETS = 700
_GRID = 400
_EPOCHS_AT_MOST = 24
_MARKS_AT_MOST = 200
_DIGITS = 4
_TALL, _LOW = 300, 150  # CSS pixels
_INK, _RAW, _HELD_OUT, _REPEAT, _BOUNDARY, _UNIFIED = "#000000", "#b3b3b3", "#0969b0", "#d1661a", "#b3122f", "#3c6e00"
_EPOCH_COLORS = ("#0969b0", "#d1661a", "#3c6e00", "#8f1d8f", "#7a5c00", "#b3122f", "#00757a", "#4a4a4a")
_DASHES: tuple[list[int] | None, ...] = (None, [9, 5], [3, 4], [12, 4, 3, 4])

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axes:
    """The axes of a panel."""

    x_label: str
    y_label: str
    limits: tuple[float, float]
    """Of the values; spikes beyond them are cut off."""
    height: int = _TALL


@dataclass(frozen=True)
class Curve:
    """A curve and its look."""

    label: str
    values: _Values
    """At each step of the panel; NaN where it has none."""
    color: str = _INK
    width: float = 2
    dash: list[int] | None = None
    spans: bool = False
    """Whether its line spans steps without a value; otherwise it is interrupted there."""


def texts() -> dict[str, str]:
    """What the page's script writes."""
    return {
        "zoom_in": tr("Zoom in"),
        "zoom_out": tr("Zoom out"),
        "whole": tr("Show all"),
        "hint": tr("Drag across a chart to zoom. Click on a name to hide or show its curve."),
    }


def charts(run: RunData) -> dict[str, Any]:
    """The charts by the name of the figure that each stands for, as JSON's types."""
    found = {"loss": _losses(run), "loss_by_epoch": _epochs(run), "fresh_and_repeat": _samples(run)}
    return {name: {"panels": panels} for name, panels in found.items() if panels}


def _losses(run: RunData) -> list[dict[str, Any]]:
    if not len(run.loss):
        return []
    raw, evaluation = thinned(run.loss, _BUCKETS), thinned(run.evaluation, _BUCKETS)
    below = thinned(run.exposure if len(run.exposure) else run.data_epoch, _BUCKETS)
    steps = _union(run, raw, evaluation, below)
    curves = [
        Curve(tr("each log window"), _at(raw, steps), _RAW, 1, spans=True),
        Curve(tr("trend"), _within(run.loss, trend_of(run.loss, run.sides), run.sides, steps)),
    ]
    label = tr("training loss (nats per token)")
    if len(evaluation):
        label = tr("training and evaluation loss (nats per token)")
        curves.append(Curve(tr("evaluation"), _at(evaluation, steps), _HELD_OUT, dash=[9, 5], spans=True))
    limits = limits_of([(run.loss, run.sides), (run.evaluation, run.sides)])
    panels = [_panel(Axes(tr("step"), label, limits), steps, curves, _marks(run))]
    if len(below):
        name, label = (
            (tr("exposure"), tr("exposure (times drawn before)"))
            if len(run.exposure)
            else (tr("data epoch"), tr("data epoch"))
        )
        limits = (min(0.0, float(below.values.min())), max(1.0, float(below.values.max())))
        curves = [Curve(name, _within(below, below.values, run.sides, steps))]
        panels.append(_panel(Axes(tr("step"), label, limits, _LOW), steps, curves, _marks(run)))
    return panels


def _epochs(run: RunData) -> list[dict[str, Any]]:
    epochs = evenly([epoch for epoch in run.epochs if len(epoch.loss)], _EPOCHS_AT_MOST)
    if not epochs:
        return []
    last = max(int(epoch.loss.steps[-1]) for epoch in epochs)
    steps = np.unique(np.linspace(1, last, min(last, _GRID)).round())
    curves = [
        Curve(
            epoch.title,
            _within(epoch.loss, trend_of(epoch.loss, ()), (), steps),
            _EPOCH_COLORS[at % len(_EPOCH_COLORS)],
            dash=_DASHES[at // len(_EPOCH_COLORS) % len(_DASHES)] if len(epochs) > 3 else _DASHES[at],
        )
        for at, epoch in enumerate(epochs)
    ]
    limits = limits_of([(epoch.loss, ()) for epoch in epochs])
    return [_panel(Axes(tr("step within the epoch"), tr("training loss (nats per token)"), limits), steps, curves)]


def _samples(run: RunData) -> list[dict[str, Any]]:
    both = [
        (tr("fresh"), tr("fresh, each log window"), run.loss_fresh, _INK, None),
        (tr("repeat"), tr("repeat, each log window"), run.loss_repeat, _REPEAT, [12, 4, 3, 4]),
    ]
    drawn = [each for each in both if len(each[2])]
    if not drawn:
        return []
    thin = {label: thinned(series, _BUCKETS // 2) for label, _, series, _, _ in drawn}
    steps = _union(run, *thin.values())
    curves = []
    for label, raw, series, color, dash in drawn:
        curves.append(Curve(raw, _at(thin[label], steps), f"{color}55", 1, spans=True))
        trend = _within(series, trend_of(series, run.sides), run.sides, steps)
        curves.append(Curve(label, trend, color, dash=dash))
    limits = limits_of([(series, run.sides) for _, _, series, _, _ in drawn])
    return [_panel(Axes(tr("step"), tr("training loss (nats per token)"), limits), steps, curves, _marks(run))]


def _panel(
    axes: Axes, steps: _Values, curves: Sequence[Curve], marks: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    return {
        "x_label": axes.x_label,
        "y_label": axes.y_label,
        "low": axes.limits[0],
        "high": axes.limits[1],
        "height": axes.height,
        "marks": list(marks),
        "curves": [
            {"label": each.label, "color": each.color, "width": each.width, "dash": each.dash, "spans": each.spans}
            for each in curves
        ],
        "columns": [
            [int(step) if step.is_integer() else step for step in steps.tolist()],
            *(_rounded(curve.values) for curve in curves),
        ],
    }


def _marks(run: RunData) -> list[dict[str, Any]]:
    return [
        {
            "step": change.step,
            "label": tr("{label}: {verdict}", label=change.label, verdict=change.verdict)
            if change.verdict
            else change.label,
            "short": tr("step {step}", step=change.step),
            "color": _UNIFIED if change.epochs is None else _BOUNDARY,
        }
        for change in evenly([change for change in run.cuts if change.step > 1], _MARKS_AT_MOST)
    ]


def _union(run: RunData, *curves: Series) -> _Values:
    """The steps of curves; and half a step before each side that begins within them, where lines are interrupted."""
    steps = np.unique(np.concatenate([series.steps for series in curves]))
    breaks = np.array(run.sides, dtype=np.float64) - 0.5
    return np.union1d(steps, breaks[(breaks > steps[0]) & (breaks < steps[-1])])


def _at(series: Series, steps: _Values) -> _Values:
    """The values of a series whose steps are among ``steps``; NaN elsewhere."""
    values = np.full(len(steps), math.nan)
    values[np.searchsorted(steps, series.steps)] = series.values
    return values


def _within(series: Series, values: _Values, sides: Sequence[int], steps: _Values) -> _Values:
    """Values at the steps of a series, interpolated at others on the same side; NaN between two sides and beyond."""
    found = np.full(len(steps), math.nan)
    side_of = np.searchsorted(sides, series.steps, side="right")
    for side in np.unique(side_of):
        own = side_of == side
        first, last = series.steps[own][[0, -1]]
        inside = (steps >= first) & (steps <= last)
        found[inside] = np.interp(steps[inside], series.steps[own], values[own])
    return found


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [round(float(value), _DIGITS) if math.isfinite(value) else None for value in values]
