"""Figures of a comparison: pure functions from a `Comparison` to matplotlib figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from paddle_epoch_guard.comparison.adjustment import FEWEST_BINS
from paddle_epoch_guard.comparison.alignment import Place
from paddle_epoch_guard.comparison.curves import (
    COLORS,
    Scale,
    dots_of,
    draw_exposure,
    draw_fresh,
    draw_losses,
    series_of,
    sides_of,
    style_of,
)
from paddle_epoch_guard.comparison.estimates import Curves
from paddle_epoch_guard.comparison.findings import Findings, Pair
from paddle_epoch_guard.comparison.run import Floats, Run
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.report.drawing import WIDE, legend, limit, look, new_figure
from paddle_epoch_guard.report.run_data import Series
from paddle_epoch_guard.statistics.difference import estimate_difference
from paddle_epoch_guard.terminal import paragraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RUNS = 8
"""Runs that a figure draws, at most: the best ones."""
_BAND_POINTS = 40


@look()
def comparison_figure(findings: Findings, width: float = WIDE) -> "Figure":
    """Both losses of all runs, raw and on fresh samples, their differences with a band, and the exposure beneath.

    Args:
        findings: of which the best :data:`MOST_RUNS` runs are drawn.
        width: in inches.
    """
    runs = _drawn(findings)
    scale = _scale_of(findings)
    figure = new_figure(width, 8.6)
    panels = list(figure.subplots(4, 1, sharex=True, squeeze=False, height_ratios=(2, 2, 2, 1.2))[:, 0])
    draw_losses(panels[0], runs, scale, width, tr("training loss,\nraw"))
    draw_fresh(panels[1], runs, scale, width)
    _draw_differences(panels[2], findings, scale, width)
    draw_exposure(panels[3], runs, scale, width)
    for panel in panels:
        _mark(panel, findings.place, runs, scale)
    panels[-1].set_xlabel(scale.label)
    figure.align_ylabels(panels)
    return figure


def figure_text(findings: Findings) -> str:
    """Describes the figure, also to readers who cannot see it."""
    drawn = [run.name for _, run in _drawn(findings)]
    described = tr(
        "From above: the training losses as they were logged ({runs}); those of fresh samples (lines) and the "
        "evaluation losses (dots); the differences, {sign}: of the raw losses (thin), on fresh samples (thick) with "
        "95 % bands, both as means over stretches as long as the grey part, and of the evaluation losses (dots); and "
        "how often the tokens drawn had been drawn before. Grey: the part that is compared. Vertical lines: where the "
        "order of a run changes.",
        runs=tr(", ").join(drawn),
        sign=_told_sign(findings),
    )
    if len(drawn) == len(findings.runs):
        return described
    only = tr("Only {drawn} of {n} runs are drawn, the best.", drawn=len(drawn), n=len(findings.runs))
    return paragraph([described, only])


def _told_sign(findings: Findings) -> str:
    """Which runs are subtracted in the figure, and what the sign means."""
    if len(findings.runs) == 2:
        one, other = findings.runs
        return tr("{one} less {other} (below zero: the loss of {one} is lower)", one=one.name, other=other.name)
    best = findings.runs[_reference(findings)].name
    return tr("each other run less {best} (below zero: a lower loss than {best})", best=best)


def _reference(findings: Findings) -> int:
    """The run from which the others differ in the figure: the best, or the first drawn."""
    return findings.ranking[0].run if findings.ranking else _drawn(findings)[0][0]


def _drawn(findings: Findings) -> list[tuple[int, Run]]:
    """The runs to draw with their numbers, by their numbers: the best, if there are many."""
    best = [each.run for each in findings.ranking] or list(range(len(findings.runs)))
    rest = [number for number in range(len(findings.runs)) if number not in best]
    return [(number, findings.runs[number]) for number in sorted([*best, *rest][:MOST_RUNS])]


def _scale_of(findings: Findings) -> Scale:
    in_steps = all(pair.relation.same_schedule for pair in findings.pairs)
    return Scale(findings.runs[0], in_steps)


def _draw_differences(axes: "Axes", findings: Findings, scale: Scale, width: float) -> None:
    """The difference of each pair with the best run, or with the first one."""
    numbers = {run.name: number for number, run in enumerate(findings.runs)}
    axes.axhline(0, color="0.35", linewidth=0.8)
    shown = [number for number, _ in _drawn(findings)]
    best = _reference(findings)
    pairs = [pair for pair in findings.pairs if findings.runs[best] in (pair.one, pair.other)]
    curves = []
    for pair in pairs:
        number = numbers[(pair.other if pair.one is findings.runs[best] else pair.one).name]
        if number not in shown:
            continue
        sign = 1 if number == numbers[pair.one.name] or len(findings.runs) == 2 else -1
        label = (
            f"{pair.one.name} \u2212 {pair.other.name}" if sign > 0 else f"{pair.other.name} \u2212 {pair.one.name}"
        )
        curves.append(_draw_difference(axes, pair, findings.place, scale, (sign, label, number)))
    axes.set_ylabel(tr("difference,\n95 % band"))
    legend(axes, width)
    known = [curve for curve in curves if len(curve)]
    if known:
        limit(axes, [(curve, ()) for curve in known])


def _draw_difference(axes: "Axes", pair: Pair, place: Place, scale: Scale, of: tuple[int, str, int]) -> Series:
    """Draws the raw difference, that on fresh samples with its band, and the evaluations'; returns the raw one."""
    sign, label, number = of
    curves, style = pair.curves, style_of(number)
    raw, fresh = bands_of(curves, place)
    axes.plot(
        scale.of(raw.tokens), sign * raw.value, label=tr("{runs}, raw", runs=label), **{**style, "linewidth": 0.8}
    )
    if fresh is not None:
        at = scale.of(fresh.tokens)
        axes.plot(at, sign * fresh.value, label=tr("{runs}, fresh", runs=label), **style)
        axes.fill_between(at, sign * fresh.low, sign * fresh.high, color=style["color"], alpha=0.15, linewidth=0)
    if len(curves.evaluation) and pair.relation.evaluation == "same":
        at, evaluation = scale.of(curves.evaluation_tokens), sign * curves.evaluation
        axes.plot(at, evaluation, label=tr("{runs}, evaluation", runs=label), **dots_of(number))
    return series_of(scale, raw.tokens, sign * raw.value)


class Band(NamedTuple):
    """A difference along the runs, over stretches as long as the place, with its 95 % intervals; ``[n]`` each."""

    tokens: Floats
    """The middle of the stretch, in tokens drawn."""
    value: Floats
    """First run minus second run, nats per token."""
    low: Floats
    high: Floats


_bands: "WeakKeyDictionary[Curves, dict[Place, tuple[Band, Band | None]]]" = WeakKeyDictionary()


def bands_of(curves: Curves, place: Place) -> tuple[Band, Band | None]:
    """The bands of the raw difference and of that on fresh samples; cached, because several figures draw them."""
    cached = _bands.setdefault(curves, {})
    if place not in cached:
        raw = _band_of(curves.tokens, curves.raw, np.ones_like(curves.raw), place)
        fresh = curves.fresh
        cached[place] = (
            raw,
            None if fresh is None else _band_of(fresh.tokens, fresh.difference, fresh.weights, place),
        )
    return cached[place]


def _band_of(tokens: Floats, difference: Floats, weights: Floats, place: Place) -> Band:
    if not len(tokens):
        return Band(*(np.empty(0),) * 4)
    half = (place.stop - place.start) / 2
    found = []
    last = max(place.stop - half, tokens[0] + half)
    for middle in np.unique(np.linspace(tokens[0] + half, last, _BAND_POINTS)):  # once, if the place is all there is
        upto = tokens <= middle + half
        if (upto & (tokens > middle - half)).sum() < FEWEST_BINS:
            continue
        within = (middle - half, middle + half)
        estimate = estimate_difference(tokens[upto], difference[upto], within, weights=weights[upto])
        if estimate is not None:
            found.append((middle, estimate.value, estimate.low, estimate.high))
    return Band(*np.array(found, np.float64).reshape(-1, 4).T)


def _mark(axes: "Axes", place: Place, runs: Sequence[tuple[int, Run]], scale: Scale) -> None:
    """Shades the place, and draws a line where the order of a run changes."""
    start, stop = scale.of([place.start, place.stop]).tolist()
    axes.axvspan(start, stop, color="0.9", zorder=0)
    for number, run in runs:
        for side in sides_of(run, scale)[:50]:
            axes.axvline(side, color=COLORS[number % len(COLORS)], linewidth=0.8, linestyle=(0, (1.2, 1.6)))
