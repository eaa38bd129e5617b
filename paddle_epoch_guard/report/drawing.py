"""What all figures share: their look, curves with trends, legends, limits.

Nothing here uses pyplot or a screen. Drawing imports matplotlib; importing this module does not.
"""

import contextlib
import functools
import io
import math
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.files import atomic_write
from paddle_epoch_guard.language import counted, current
from paddle_epoch_guard.report.run_data import Series
from paddle_epoch_guard.statistics.smoothing import trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 9.6, 4.2
"""Widths of a figure for desktop and phone, in inches. The font size is the same."""

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
    "text.parse_math": False,  # names may contain dollar signs
    "svg.fonttype": "none",  # text stays text: small files, in any script for which the reader has a font
    "svg.hashsalt": "paddle_epoch_guard",
}
"""The settings of all figures, whatever the user's matplotlibrc says."""
_CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Heiti SC",
)  # fmt: skip
"""Families with Chinese shapes, the best first; where the system has none, a part of one comes with the package."""
_OTHERS = ("Noto Sans CJK JP", "Noto Sans JP", "Noto Sans KR", "Droid Sans Fallback", "Arial Unicode MS", "Unifont")
"""Families of many scripts, for the names of datasets."""
_BUNDLED = Path(__file__).parent / "fonts" / "EpochGuardSansSC.otf"
_WIDE = 0.125  # inches of a wide character; others have 0.075
RAW: dict[str, Any] = {"color": "0.72", "linewidth": 0.7}
TREND: dict[str, Any] = {"color": "black", "linestyle": "-"}
_POINTS_PER_INCH = 60  # of a raw curve
_TREND_POINTS = 400
_SPIKE = 12.0  # median residuals (8 standard deviations) beyond the trend's extremes; values further off are cut off


@contextlib.contextmanager
def look() -> Iterator[None]:
    """The settings of all figures, in which they must be drawn and saved."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update(LOOK)
        # matplotlib falls back from family to family, but takes one font alone of a generic family's.
        if families := further_families(system_families()):
            parameters["font.family"] = [*LOOK["font.sans-serif"], *families, LOOK["font.family"]]
        # A corpus name may be in any script. A missing glyph needs no warning in the trainer's log.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def further_families(installed: AbstractSet[str]) -> list[str]:
    """The fonts for what the main font lacks: Chinese texts, and names of datasets in any script.

    Args:
        installed: the families of the system.
    """
    chinese = [family for family in _CHINESE if family in installed][:1]
    if not chinese and current() == "zh":
        chinese = [_bundled_family()]
    return [*chinese, *(family for family in _OTHERS if family in installed)]


def system_families() -> set[str]:
    """The families that matplotlib has found on this machine."""
    from matplotlib import font_manager

    return {font.name for font in font_manager.fontManager.ttflist}


@functools.cache
def _bundled_family() -> str:
    """The family of the font in this package, which matplotlib knows from now on."""
    from matplotlib import font_manager

    font_manager.fontManager.addfont(_BUNDLED)
    return str(font_manager.FontProperties(fname=_BUNDLED).get_name())


def as_svg(figure: "Figure") -> bytes:
    """A figure as SVG on a transparent background; the same figure gives the same bytes."""
    stream = io.BytesIO()
    with look():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def write_figure(path: Path, figure: "Figure") -> None:
    """Writes a figure on white, atomically, in the format that the file's ending names.

    Raises:
        OSError: the folder cannot be written.
    """
    kind = path.suffix.lstrip(".")
    with look(), atomic_write(path) as stream:
        figure.savefig(stream, format=kind, dpi=144, metadata={"Date": None} if kind == "svg" else None)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_raw(axes: "Axes", series: Series, width: float, style: Mapping[str, Any] = RAW) -> None:
    """Draws a curve, thinned to the width of the figure in inches."""
    thin = thinned(series, int(width * _POINTS_PER_INCH / 2))
    axes.plot(thin.steps, thin.values, **{**RAW, **style})


_trends: "WeakKeyDictionary[Series, dict[tuple[int, ...], npt.NDArray[np.float64]]]" = WeakKeyDictionary()


def trend_of(series: Series, sides: Sequence[int]) -> npt.NDArray[np.float64]:
    """The trend of a series, separately on each side; cached, because figures of all widths draw it."""
    cached = _trends.setdefault(series, {})
    key = tuple(sides)
    if key not in cached:
        cached[key] = trend(series.steps, series.values, key)
    return cached[key]


def draw_trend(axes: "Axes", series: Series, sides: Sequence[int], style: Mapping[str, Any]) -> None:
    """Draws the trend, with a gap at each change point."""
    smooth = trend_of(series, sides)
    edges = [0, *np.searchsorted(series.steps, sides).tolist(), len(series)]
    pieces: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    least = max(min(30, 2 * _TREND_POINTS // (len(sides) + 1)), 2)
    for start, stop in pairwise(edges):
        if stop > start:
            share = max(_TREND_POINTS * (stop - start) // len(series), least)
            at = np.unique(np.linspace(start, stop - 1, min(share, stop - start)).round().astype(np.int64))
            pieces += [(series.steps[at], smooth[at]), (series.steps[at[-1:]], np.array([np.nan]))]
    if pieces:
        x, y = (np.concatenate(column) for column in zip(*pieces, strict=True))
        axes.plot(x, y, **style)


def legend(axes: "Axes", width: float, title: str | None = None) -> None:
    """Puts the legend above the axes, where it hides no curve, in as few rows as fit."""
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        widest = 0.6 + max(map(_width_of, labels))
        columns = max(min(int((width - 0.6) / widest), len(labels), 6), 1)
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        axes.legend(title=title, alignment="left", ncols=columns, columnspacing=1.4, **place)


def _width_of(label: str) -> float:
    """About how wide a label is, in inches."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in label)
    return _WIDE * wide + 0.075 * (len(label) - wide)


def limit(axes: "Axes", curves: Sequence[tuple[Series, Sequence[int]]]) -> list[str]:
    """Limits the y axis, so that spikes do not flatten the curves.

    Args:
        axes: the axes to limit.
        curves: each with the first steps of its sides.

    Returns:
        A line about the spikes that are cut off, if there are any.
    """
    values = np.concatenate([series.values for series, _ in curves])
    bottom, top = limits_of(curves)
    margin = 0.04 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes.set_ylim(bottom - margin, top + margin)
    beyond = values[(values > top) | (values < bottom)]
    if not len(beyond):
        return []
    farthest = float(beyond[np.argmax(np.abs(beyond))])
    told = counted(
        "{n} loss off the scale, up to {farthest:.3g}",
        "{n} losses off the scale, up to {farthest:.3g}",
        len(beyond),
        farthest=farthest,
    )
    return [told]


def limits_of(curves: Sequence[tuple[Series, Sequence[int]]]) -> tuple[float, float]:
    """The lowest and the highest value of curves, without spikes.

    Args:
        curves: each with the first steps of its sides; one of them has values.
    """
    values = np.concatenate([series.values for series, _ in curves])
    bottom, top = math.inf, -math.inf
    for series, sides in curves:
        if len(series):
            smooth = trend_of(series, sides)
            room = _SPIKE * float(np.median(np.abs(series.values - smooth)))
            bottom, top = min(bottom, float(smooth.min()) - room), max(top, float(smooth.max()) + room)
    return max(bottom, float(values.min())), min(top, float(values.max()))


def thinned(series: Series, buckets: int) -> Series:
    """The lowest and the highest point of each bucket, which keeps every spike."""
    if len(series) <= 2 * buckets:
        return series
    edges = np.linspace(0, len(series), buckets + 1).astype(np.int64)[:-1]
    bucket = np.searchsorted(edges, np.arange(len(series)), side="right")
    order = np.lexsort((series.values, bucket))  # within a bucket, ascending
    first = np.searchsorted(bucket[order], np.arange(1, buckets + 1))
    last = np.append(first[1:], len(series)) - 1
    at = np.unique(np.concatenate([order[first], order[last]]))
    return Series(series.steps[at], series.values[at])
