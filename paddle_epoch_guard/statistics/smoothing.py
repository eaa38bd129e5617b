"""The trend of a curve, separately between change points.

This is LOESS (Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots", JASA 74, 1979): at each knot
a line is fitted to the neighbouring points with tricube weights, and refitted with bisquare weights against outliers.
Unlike a moving average or median, a line does not lag at the end of a falling curve; next to a change point, the lag
would look like part of the jump. A knot near an end has as many neighbours as any other, all on one side: with fewer,
the trend would follow the noise, and show jumps that do not exist. The start of a run is different: it is steep, and
no change point. There, neighbourhoods start small and grow with the step. Lines are fitted at :data:`KNOTS` knots and
interpolated, so that 100,000 steps take a fraction of a second.

No dependency of this package does this: pandas has moving medians; statsmodels and scipy would be new dependencies.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KNOTS = 200
"""Knots between two change points, at each of which a line is fitted."""
FEWEST = 7
"""With fewer points between two change points, the trend is their median."""
_YOUNG = 15  # points on each side of a knot, where a run begins
_ROUNDS = 3  # of refitting
_BISQUARE = 6.0  # median absolute residuals, as in 1979


def reach(points: int) -> int:
    """Neighbours on each side of a knot, for a curve of ``points`` points.

    They grow with the power 4/5, so that the errors of a local line from noise and from curvature shrink at one rate
    (Fan and Gijbels, "Local Polynomial Modelling and Its Applications", 1996, section 3.2).
    """
    return max(FEWEST // 2, round(0.25 * math.pow(points, 0.8)))


def trend(steps: npt.ArrayLike, values: npt.ArrayLike, changes: Iterable[int] = ()) -> Floats:
    """The robust trend of a curve.

    Args:
        steps: ascending, [n].
        values: finite, [n].
        changes: the first step after each change point.

    Returns:
        The trend at each step, [n].

    Raises:
        ValueError: shapes differ, or steps do not ascend.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not np.all(x[1:] > x[:-1]):
        raise ValueError(f"steps must ascend strictly, with one value each, not {x.shape} and {y.shape}")
    edges = np.unique([0, *np.searchsorted(x, sorted(changes)).tolist(), len(x)])
    smooth = np.empty(len(x))
    for start, stop in pairwise(edges.tolist()):
        smooth[start:stop] = _loess(x[start:stop], y[start:stop], begins=start == 0)
    return smooth


def _loess(x: Floats, y: Floats, begins: bool) -> Floats:
    count = len(x)
    if count < FEWEST:
        return np.full(count, np.median(y))
    knots = np.linspace(0, count - 1, min(KNOTS, count))
    if begins:
        knots = np.append(knots, np.geomspace(1, count, min(KNOTS // 3, count)) - 1)
    knots = np.unique(knots.round().astype(np.int64))
    wide = min(2 * reach(count) + 1, count)
    near = np.clip(knots - wide // 2, 0, count - wide)[:, None] + np.arange(wide)
    distance = x[near] - x[knots][:, None]
    widest = np.abs(distance).max(axis=1)
    if begins:
        grown = knots + np.maximum(knots // 2, _YOUNG)
        widest = np.where(grown < count, np.minimum(widest, x[np.minimum(grown, count - 1)] - x[knots]), widest)
    distance /= 1.001 * widest[:, None]
    closeness = _cubed(1 - _cubed(np.minimum(np.abs(distance), 1)))
    robustness = np.ones(count)
    fitted = y
    for _ in range(1 + _ROUNDS):
        fitted = np.interp(x, x[knots], _lines(distance, y[near], closeness * robustness[near]))
        residual = np.abs(y - fitted)
        spread = _BISQUARE * np.median(residual)
        if spread <= 1e-12 * np.abs(y).max():
            break
        robustness = (1 - np.minimum(residual / spread, 1) ** 2) ** 2
    return fitted


def _cubed(numbers: Floats) -> Floats:
    return numbers * numbers * numbers  # ten times as fast as numbers**3


def _lines(distance: Floats, values: Floats, weights: Floats) -> Floats:
    """Weighted least-squares lines through the rows of ``values`` [m, k], evaluated at distance 0, [m]."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    middle = (weights * distance).sum(axis=1) / total
    mean = (weights * values).sum(axis=1) / total
    away = distance - middle[:, None]
    weighted = weights * away
    power = (weighted * away).sum(axis=1)
    slope = (weighted * values).sum(axis=1) / np.where(power > 1e-9 * total, power, np.inf)
    height: Floats = mean - slope * middle
    return height
