"""The trend of a curve, each side of every cut by itself.

LOESS (Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots", JASA 74, 1979): at each place a line
is fitted to its neighbours, the nearest counting most (tricube), and fitted again with less weight on what stands out
(bisquare). A line, unlike a moving average or median, is not dragged along where a falling curve ends: next to a cut
that would look like a part of the jump. Next to an end a place has as many neighbours as elsewhere, on one side: with
fewer, the trend would follow the noise there, and show jumps where there are none. But a run begins steeply, and with
no cut: there, neighbourhoods begin small and grow with the step. Lines are fitted at :data:`KNOTS` places, and their
heights joined, so that 100,000 steps take a fraction of a second.

No library that comes with this package does it: pandas has moving medians; statsmodels and scipy would be new.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KNOTS = 200
"""Places on each side of a cut at which a line is fitted."""
FEWEST = 7
"""Points of a side below which its trend is its median."""
_YOUNG = 15  # points to each side, where a run begins
_ROUNDS = 3  # robust ones
_BISQUARE = 6.0  # median absolute residuals, as in 1979


def reach(points: int) -> int:
    """Points that a neighbourhood has on each side, of a curve of so many.

    They grow with the power 4/5, at which the errors by noise and by curvature of a local line fall at one rate
    (Fan and Gijbels, "Local Polynomial Modelling and Its Applications", 1996, section 3.2).
    """
    return max(FEWEST // 2, round(0.25 * math.pow(points, 0.8)))


def trend(steps: npt.ArrayLike, values: npt.ArrayLike, cuts: Iterable[int] = ()) -> Floats:
    """The robust trend of a curve.

    Args:
        steps: ascending, [n].
        values: finite, [n].
        cuts: steps, each the first of a side that is smoothed by itself.

    Returns:
        The trend at each step, [n].

    Raises:
        ValueError: shapes differ, or steps do not ascend.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not np.all(x[1:] > x[:-1]):
        raise ValueError(f"steps must ascend strictly, and have as many values: {x.shape}, {y.shape}")
    edges = np.unique([0, *np.searchsorted(x, sorted(cuts)).tolist(), len(x)])
    found = np.empty(len(x))
    for start, stop in pairwise(edges.tolist()):
        found[start:stop] = _loess(x[start:stop], y[start:stop], begins=start == 0)
    return found


def _loess(x: Floats, y: Floats, begins: bool) -> Floats:
    count = len(x)
    if count < FEWEST:
        return np.full(count, np.median(y))
    places = np.linspace(0, count - 1, min(KNOTS, count))
    if begins:
        places = np.append(places, np.geomspace(1, count, min(KNOTS // 3, count)) - 1)
    at = np.unique(places.round().astype(np.int64))
    wide = min(2 * reach(count) + 1, count)
    near = np.clip(at - wide // 2, 0, count - wide)[:, None] + np.arange(wide)
    distance = x[near] - x[at][:, None]
    widest = np.abs(distance).max(axis=1)
    if begins:
        grown = at + np.maximum(at // 2, _YOUNG)
        widest = np.where(grown < count, np.minimum(widest, x[np.minimum(grown, count - 1)] - x[at]), widest)
    distance /= 1.001 * widest[:, None]
    closeness = _cubed(1 - _cubed(np.minimum(np.abs(distance), 1)))
    robustness = np.ones(count)
    fitted = y
    for _ in range(1 + _ROUNDS):
        fitted = np.interp(x, x[at], _lines(distance, y[near], closeness * robustness[near]))
        residual = np.abs(y - fitted)
        spread = _BISQUARE * np.median(residual)
        if spread <= 1e-12 * np.abs(y).max():
            break
        robustness = (1 - np.minimum(residual / spread, 1) ** 2) ** 2
    return fitted


def _cubed(numbers: Floats) -> Floats:
    return numbers * numbers * numbers  # ten times as fast as numpy's power


def _lines(distance: Floats, values: Floats, weights: Floats) -> Floats:
    """Weighted least-squares lines through the rows of ``values`` [m, k], read off at distance 0, [m]."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    middle = (weights * distance).sum(axis=1) / total
    mean = (weights * values).sum(axis=1) / total
    away = distance - middle[:, None]
    weighted = weights * away
    power = (weighted * away).sum(axis=1)
    slope = (weighted * values).sum(axis=1) / np.where(power > 1e-9 * total, power, np.inf)
    found: Floats = mean - slope * middle
    return found
