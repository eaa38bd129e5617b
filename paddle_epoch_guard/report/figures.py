"""Figures of a run: pure functions from what was read to matplotlib figures, for files, VisualDL and the report page.

Lines differ in dash and lightness as well as in colour. Nothing here knows pyplot, or a screen: importing this module
does not import matplotlib, drawing does.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.report.run_data import ChangeSummary, EpochSummary, RunData, Series
from paddle_epoch_guard.statistics.smoothing import trend
from paddle_epoch_guard.views.visualdl import EpochGuardLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 9.6, 4.2
"""Widths in inches: of a figure for a desk, and for a phone. Letters are as large in both."""
LOSS, EPOCH_LOSS = "training loss\n(nats per token)", "training loss (nats per token)"
EXPOSURE = "exposure (times\ndrawn before)"

LOOK: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.35",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.87",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a name with a dollar in it is a name
    "svg.fonttype": "none",  # letters stay letters: small files, and any script that the reader's fonts have
    "svg.hashsalt": "paddle_epoch_guard",
}
"""The same everywhere, whatever the user's matplotlibrc says."""
RAW: dict[str, Any] = {"color": "0.72", "linewidth": 0.7}
TREND: dict[str, Any] = {"color": "black", "linestyle": "-"}
HELD_OUT: dict[str, Any] = {"color": "#0969b0", "linestyle": (0, (5, 2)), "linewidth": 1.6}
FRESH: dict[str, Any] = {"color": "black", "linestyle": "-"}
REPEAT: dict[str, Any] = {"color": "#d1661a", "linestyle": (0, (5, 1.5, 1.2, 1.5))}
BOUNDARY: dict[str, Any] = {"color": "#b3122f", "linestyle": (0, (1.2, 1.6)), "linewidth": 1.5}
UNIFIED: dict[str, Any] = {"color": "#3c6e00", "linestyle": (0, (6, 2)), "linewidth": 1.3}

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)))
_LIGHTEST = 0.72  # the first epoch's line; the last one is black
_LEGEND_AT_MOST = 12
_PANELS_AT_MOST = 12
_LABELS_IN_WORDS = 4
_POINTS_PER_INCH = 60  # drawn, of a raw curve: two for each bucket
_TREND_POINTS = 400
_SPIKE = 12.0  # median residuals beyond the trend's ends, 8 standard deviations: the rest is told, not drawn


@dataclass(frozen=True)
class Picture:
    """A figure of a run, with what it is called."""

    name: str
    title: str
    text: str
    """What it shows, for one who does not see it, too."""
    figure: "Figure"


@contextlib.contextmanager
def look() -> Iterator[None]:
    """The look of all figures: drawing and saving belong in it."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update(LOOK)
        # A corpus may be named in any script; that is not worth a line in the trainer's log.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def pictures(run: RunData, width: float = WIDE) -> list[Picture]:
    """All figures for which there is something to draw.

    Args:
        run: what was read.
        width: in inches.
    """
    found = []
    if len(run.loss):
        title = "Training loss, and how often the data was seen before"
        lines = any(cut.step > 1 for cut in run.cuts)
        text = (
            "Thin: the training loss of each log window. Thick: its trend, each side of every cut by itself"
            + ("; dashed: the evaluation loss" if len(run.evaluation) else "")
            + (". Vertical lines: the cuts, by their numbers in the table" if lines else "")
            + (". Beneath: how often the tokens drawn had been drawn before." if len(run.exposure) else ".")
        )
        found.append(Picture("loss", title, text, loss_figure(run, width)))
    if any(len(one.loss) for one in run.epochs):
        title = "Training loss by epoch"
        text = "The loss of each epoch's samples against the step within the epoch, one line for each epoch."
        found.append(Picture("loss_by_epoch", title, text, epoch_figure(run, width)))
    if len(run.loss_fresh) or len(run.loss_repeat):
        title = "Fresh against repeated samples"
        text = (
            "Training loss of samples that were never drawn before (solid), and of those that were (dash-dotted): "
            "what the model has seen it knows. Progress is what the solid line shows."
        )
        found.append(Picture("fresh_and_repeat", title, text, fresh_figure(run, width)))
    return found


@look()
def loss_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Training loss with trend and cuts, evaluation loss, and beneath it the exposure."""
    beneath = run.exposure if len(run.exposure) else run.data_epoch
    rows = 2 if len(beneath) else 1
    figure = _figure(width, 3.0 + 1.5 * (rows - 1))
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=(2.8, 1.4)[:rows])[:, 0])
    above = axes[0]
    _draw_raw(above, run.loss, width, label="each log window")
    _draw_trend(above, run.loss, run.sides, label="trend", **TREND)
    if len(run.evaluation):
        few = len(run.evaluation) <= 40
        thin = _thinned(run.evaluation, int(width * _POINTS_PER_INCH / 2))
        above.plot(thin.steps, thin.values, label="evaluation", marker="o" if few else None, markersize=3, **HELD_OUT)
    beyond = _limit(above, [(run.loss, run.sides), (run.evaluation, run.sides)])
    above.set_ylabel(LOSS)
    _legend(above, width)
    if rows == 2:
        if len(run.exposure):
            axes[1].set_ylabel(EXPOSURE)
            highest = max(1.0, float(run.exposure.values.max()))
            axes[1].set_ylim(-0.05 * highest, 1.08 * highest)
        else:
            axes[1].set_ylabel("data epoch\n(mean)")
        _draw_raw(axes[1], beneath, width)
        _draw_trend(axes[1], beneath, run.sides, **TREND)
    axes[-1].set_xlabel(f"step{beyond}")
    figure.align_ylabels(axes)
    _mark(axes, run.cuts, run.last_step, width)
    return figure


@look()
def epoch_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Loss against the step within the epoch, a line for each epoch; a panel for each dataset."""
    by_dataset: dict[tuple[bool, str], list[EpochSummary]] = {}
    for one in run.epochs:
        if len(one.loss):
            by_dataset.setdefault((one.trainer, one.dataset), []).append(one)
    shown = list(by_dataset.items())[:_PANELS_AT_MOST]
    columns = 1 if width < WIDE or len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    figure = _figure(width, 3.2 if rows == 1 else 2.5 * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, (_, epochs) in zip(axes, shown, strict=False):
        _draw_epochs(panel, epochs, width / columns)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    beyond = _limit(axes[0], [(one.loss, ()) for _, epochs in shown for one in epochs])
    for panel, ((_, dataset), _) in zip(axes, shown, strict=False):
        _legend(panel, width / columns, (_shortened(dataset) or "all data") if len(shown) > 1 else None)
    figure.supylabel(EPOCH_LOSS, fontsize=LOOK["font.size"])
    for panel in axes[max(len(shown) - columns, 0) : len(shown)]:
        panel.set_xlabel(f"step within the epoch{beyond}")
    return figure


@look()
def fresh_figure(run: RunData, width: float = WIDE) -> "Figure":
    """Loss of samples never drawn before, against that of samples that were."""
    figure = _figure(width, 3.1)
    axes = figure.subplots()
    for series, label, style in (
        (run.loss_fresh, "fresh: never drawn before", FRESH),
        (run.loss_repeat, "repeat: drawn before", REPEAT),
    ):
        if len(series):
            faint = {"color": style["color"], "linewidth": 0.6, "alpha": 0.22}
            _draw_raw(axes, series, width, **faint)
            _draw_trend(axes, series, run.sides, label=label, **style)
    beyond = _limit(axes, [(run.loss_fresh, run.sides), (run.loss_repeat, run.sides)])
    axes.set_ylabel(LOSS)
    axes.set_xlabel(f"step{beyond}")
    _legend(axes, width)
    _mark([axes], run.cuts, run.last_step, width)
    return figure


def as_svg(figure: "Figure") -> bytes:
    """A figure as SVG, on no ground of its own; the same bytes for the same figure."""
    stream = io.BytesIO()
    with look():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def write_figures(folder: Path, run: RunData, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Writes each figure as files ``epoch_guard_<name>.<format>``, on white; whole or not at all.

    Args:
        folder: one that exists.
        run: what was read.
        formats: of matplotlib's: ``png``, ``svg``, ``pdf``.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for picture in pictures(run):
        for kind in formats:
            path = folder / f"epoch_guard_{picture.name}.{kind}"
            with look(), atomic_write(path) as stream:
                metadata = {"Date": None} if kind == "svg" else None
                picture.figure.savefig(stream, format=kind, dpi=144, metadata=metadata)
            written.append(path)
    return written


def add_figures(log: EpochGuardLog, run: RunData, step: int) -> None:
    """Writes each figure into the guard's VisualDL log.

    Args:
        log: where to.
        run: what was read.
        step: the last step of the run so far.

    Raises:
        OSError: the folder cannot be written.
    """
    for picture in pictures(run):
        picture.figure.set_dpi(120)
        with look():
            log.figure(f"epoch_guard/figure_{picture.name}", picture.figure, step)
    log.flush()


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_raw(axes: "Axes", series: Series, width: float, **style: Any) -> None:
    thin = _thinned(series, int(width * _POINTS_PER_INCH / 2))
    axes.plot(thin.steps, thin.values, **{**RAW, **style})


_trends: "WeakKeyDictionary[Series, dict[tuple[int, ...], npt.NDArray[np.float64]]]" = WeakKeyDictionary()


def trend_of(series: Series, sides: Sequence[int]) -> npt.NDArray[np.float64]:
    """The trend of a series, each side by itself; remembered as long as the series is: all widths draw it."""
    known = _trends.setdefault(series, {})
    key = tuple(sides)
    if key not in known:
        known[key] = trend(series.steps, series.values, key)
    return known[key]


def _draw_trend(axes: "Axes", series: Series, sides: Sequence[int], **style: Any) -> None:
    """The trend, with a gap at every cut."""
    smooth = trend_of(series, sides)
    edges = [0, *np.searchsorted(series.steps, sides).tolist(), len(series)]
    segments: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for start, stop in pairwise(edges):
        if stop > start:
            share = max(_TREND_POINTS * (stop - start) // len(series), 30)
            at = np.unique(np.linspace(start, stop - 1, min(share, stop - start)).round().astype(np.int64))
            segments += [(series.steps[at], smooth[at]), (series.steps[at[-1:]], np.array([np.nan]))]
    if segments:
        x, y = (np.concatenate(each) for each in zip(*segments, strict=True))
        axes.plot(x, y, **style)


def _draw_epochs(axes: "Axes", epochs: Sequence[EpochSummary], width: float) -> None:
    for at, one in enumerate(epochs):
        lightness = _LIGHTEST * (1 - (at + 1) / len(epochs))
        style = {"color": _tint(lightness), "linestyle": _DASHES[at % len(_DASHES)]}
        if len(epochs) <= 3:
            _draw_raw(axes, one.loss, width, color=style["color"], alpha=0.2)
        told = {round(place) for place in np.linspace(0, len(epochs) - 1, min(len(epochs), _LEGEND_AT_MOST))}
        label = f"epoch {one.epoch}" if at in told else None
        _draw_trend(axes, one.loss, (), label=label, linewidth=1.6 if len(epochs) <= 6 else 1.2, **style)


def _tint(lightness: float) -> tuple[float, float, float]:
    """A blue of some lightness, up to black."""
    if lightness == 0:
        return 0.0, 0.0, 0.0
    return 0.85 * lightness, 0.25 + 0.75 * lightness, 0.45 + 0.55 * lightness


def _legend(axes: "Axes", width: float, title: str | None = None) -> None:
    """Above the axes, where no curve can be, in as few rows as fit."""
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        widest = 0.6 + 0.075 * max(len(label) for label in labels)
        columns = max(min(int((width - 0.6) / widest), len(labels), 6), 1)
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        axes.legend(title=title, alignment="left", ncols=columns, columnspacing=1.4, **place)


def _limit(axes: "Axes", some: Sequence[tuple[Series, Sequence[int]]]) -> str:
    """Leaves out spikes that would flatten everything else; returns what is to be said of them.

    Args:
        axes: what is limited.
        some: the curves, and the first step of each of their sides.
    """
    values = np.concatenate([series.values for series, _ in some])
    bottom, top = math.inf, -math.inf
    for series, sides in some:
        if len(series):
            smooth = trend_of(series, sides)
            room = _SPIKE * float(np.median(np.abs(series.values - smooth)))
            bottom, top = min(bottom, float(smooth.min()) - room), max(top, float(smooth.max()) + room)
    bottom, top = max(bottom, float(values.min())), min(top, float(values.max()))
    margin = 0.04 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes.set_ylim(bottom - margin, top + margin)
    beyond = values[(values > top) | (values < bottom)]
    if not len(beyond):
        return ""
    farthest = float(beyond[np.argmax(np.abs(beyond))])
    return f"\n{len(beyond)} {'losses' if len(beyond) > 1 else 'loss'} off the scale, up to {farthest:.3g}"


def _mark(axes: Sequence["Axes"], cuts: Sequence[ChangeSummary], last_step: int, width: float) -> None:
    """A vertical line at each cut, and its number in the table of cuts; in words where there are few."""
    numbered = [(number, cut) for number, cut in enumerate(cuts, start=1) if cut.step > 1]
    for _, cut in numbered:
        style = UNIFIED if cut.epochs is None else BOUNDARY
        for panel in axes:
            panel.axvline(cut.step, zorder=3, **style)
    in_words = len(numbered) <= _LABELS_IN_WORDS and width > NARROW
    left, right = axes[0].get_xlim()
    groups: list[list[tuple[int, ChangeSummary]]] = []
    for one in numbered:
        if groups and not in_words and one[1].step - groups[-1][0][1].step < (right - left) * 0.28 / width:
            groups[-1].append(one)
        else:
            groups.append([one])
    for row, group in enumerate(groups):
        (first, cut), (last, _) = group[0], group[-1]
        label = f"{first}" if first == last else f"{first}\u2013{last}"
        if in_words:
            words = ["" if cut.dataset else cut.title, cut.verdict]
            label += "  " + ": ".join(word for word in words if word)
        at_right = in_words and (cut.step - left) > 0.6 * (right - left)
        axes[0].annotate(
            label,
            (cut.step, 0.98 - (0.1 * row if in_words else 0)),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if at_right else 4, 0),
            textcoords="offset points",
            ha="right" if at_right else "left",
            va="top",
            fontsize=8,
            color=(UNIFIED if cut.epochs is None else BOUNDARY)["color"],
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            zorder=4,
        )
    axes[0].set_xlim(left, right)


def _thinned(series: Series, buckets: int) -> Series:
    """The lowest and the highest point of each bucket: as dense as can be seen, with every spike."""
    if len(series) <= 2 * buckets:
        return series
    edges = np.linspace(0, len(series), buckets + 1).astype(np.int64)[:-1]
    bucket = np.searchsorted(edges, np.arange(len(series)), side="right")
    order = np.lexsort((series.values, bucket))  # within a bucket, ascending
    first = np.searchsorted(bucket[order], np.arange(1, buckets + 1))
    last = np.append(first[1:], len(series)) - 1
    at = np.unique(np.concatenate([order[first], order[last]]))
    return Series(series.steps[at], series.values[at])


def _shortened(name: str) -> str:
    """A name from a file system, for an SVG, which takes no control characters."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 40 else f"{plain[:18]}\u2026{plain[-18:]}"
