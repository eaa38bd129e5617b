"""The curves of a run: its training loss, that of its fresh samples, its evaluations and its exposure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import ChangePoint
from paddle_epoch_guard.ledger.losses import Weighted
from paddle_epoch_guard.report.drawing import WIDE, draw_raw, draw_trend, legend, limit, look, new_figure
from paddle_epoch_guard.report.run_data import Series
from paddle_epoch_guard.views.divided_losses import PendingLoss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
COLORS = ("#111111", "#d1661a", "#0969b0", "#3c6e00", "#8a3fa0", "#b3122f", "#00747c", "#7a5a00")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)))


class _Fresh(Protocol):
    @property
    def samples(self) -> Floats: ...
    @property
    def loss(self) -> Floats: ...


class RunCurves(Protocol):
    """What is drawn of a run; :class:`~paddle_epoch_guard.comparison.run.Run` says what each is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def windows(self) -> npt.NDArray[Any]:
        """A row for each log window."""

    @property
    def evaluations(self) -> npt.NDArray[Any]:
        """A row for each evaluation."""

    @property
    def fresh(self) -> _Fresh:
        """The losses of fresh samples."""

    @property
    def changes(self) -> tuple[ChangePoint, ...]:
        """Where its order changes."""

    @property
    def max_steps(self) -> int:
        """The planned last step."""

    @property
    def ended(self) -> bool:
        """Whether it has reached that."""


@dataclass(frozen=True)
class Scale:
    """The x axis: steps of the first run if all runs have its schedule, else tokens drawn."""

    first: RunCurves
    in_steps: bool

    @property
    def label(self) -> str:
        """Of the axis."""
        return tr("step") if self.in_steps else tr("tokens drawn")

    def of(self, tokens: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Where so many tokens lie, ``[n]``."""
        at = np.asarray(tokens, np.float64)
        if not self.in_steps:
            return at.round().astype(np.int64)
        windows = self.first.windows
        known = np.concatenate([windows["tokens_before"][:1], windows["tokens"]])
        steps = np.concatenate([windows["first_step"][:1] - 1, windows["step"]])
        return np.interp(at, known, steps).round().astype(np.int64)


def style_of(number: int) -> dict[str, Any]:
    """The line of a run."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": _DASHES[number % len(_DASHES)], "linewidth": 1.5}


def dots_of(number: int) -> dict[str, Any]:
    """The dots of a run's evaluations."""
    return {"color": COLORS[number % len(COLORS)], "marker": "o", "markersize": 2.2, "linestyle": "none"}


def sides_of(run: RunCurves, scale: Scale) -> list[int]:
    """Where the trend of a run must be interrupted."""
    starts = np.searchsorted(run.windows["step"], [change.first_after for change in run.changes])
    inside = starts[starts < len(run.windows)]
    return sorted(set(scale.of(run.windows["tokens"][inside]).tolist()))


def series_of(scale: Scale, tokens: npt.NDArray[Any], values: Floats) -> Series:
    """A curve of the values that are known, one for each place on the x axis."""
    known = np.isfinite(values)
    at = scale.of(tokens[known])
    kept = np.flatnonzero(np.diff(at, prepend=-1) > 0)
    return Series(at[kept], values[known][kept])


def draw_losses(axes: "Axes", runs: Sequence[tuple[int, RunCurves]], scale: Scale, width: float, label: str) -> None:
    """Draws the training losses of some runs, each with its number, and their trends."""
    curves = []
    for number, run in runs:
        series = series_of(scale, run.windows["tokens"], run.windows["loss"])
        sides = sides_of(run, scale)
        draw_raw(axes, series, width, {"color": COLORS[number % len(COLORS)], "alpha": 0.18, "linewidth": 0.6})
        draw_trend(axes, series, sides, {"label": run.name, **style_of(number)})
        curves.append((series, sides))
    axes.set_ylabel(label)
    legend(axes, width)
    if any(len(series) for series, _ in curves):
        limit(axes, curves)


def draw_fresh(axes: "Axes", runs: Sequence[tuple[int, RunCurves]], scale: Scale, width: float) -> None:
    """Draws the trends of the losses of fresh samples, and the evaluation losses as dots."""
    curves = []
    for number, run in runs:
        sides = sides_of(run, scale)
        fresh = fresh_series(run, scale)
        if len(fresh):
            draw_trend(axes, fresh, sides, style_of(number))
            curves.append((fresh, sides))
        evaluation = series_of(scale, run.evaluations["tokens"], run.evaluations["loss"])
        if len(evaluation):
            draw_raw(axes, evaluation, width, dots_of(number))
            curves.append((evaluation, sides))
    axes.set_ylabel(tr("on fresh samples\n(dots: evaluation)"))
    if curves:
        limit(axes, curves)


def fresh_series(run: RunCurves, scale: Scale) -> Series:
    """The loss of a run's fresh samples; each point stands for enough of them.

    Args:
        run: the run.
        scale: places tokens on the x axis.
    """
    pending = PendingLoss()
    points = []
    samples, losses = run.fresh.samples.sum(axis=1), run.fresh.loss.sum(axis=1)
    for tokens, weight, loss in zip(scale.of(run.windows["tokens"]), samples, losses, strict=True):
        if weight > 0:
            point = pending.add(Weighted(float(weight), float(loss)), None, int(tokens))
            points += [] if point is None else [(point.step, point.mean)]
    return Series.of(points)


def draw_exposure(axes: "Axes", runs: Sequence[tuple[int, RunCurves]], scale: Scale, width: float) -> None:
    """Draws the exposure of some runs."""
    for number, run in runs:
        series = series_of(scale, run.windows["tokens"], run.windows["exposure"])
        if len(series):
            draw_trend(axes, series, sides_of(run, scale), style_of(number))
    axes.set_ylabel(tr("exposure"))


@look()
def run_figure(run: RunCurves, width: float = WIDE) -> "Figure":
    """One run: its training loss, that of its fresh samples with the evaluation loss, and its exposure."""
    scale, runs = Scale(run, in_steps=True), [(0, run)]
    figure = new_figure(width, 5.6)
    panels = list(figure.subplots(3, 1, sharex=True, squeeze=False, height_ratios=(2, 2, 1.2))[:, 0])
    draw_losses(panels[0], runs, scale, width, tr("training loss,\nraw"))
    draw_fresh(panels[1], runs, scale, width)
    draw_exposure(panels[2], runs, scale, width)
    panels[-1].set_xlabel(scale.label)
    figure.align_ylabels(panels)
    return figure
