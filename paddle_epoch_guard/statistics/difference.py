"""By how much the losses of two runs differ at a place, with an interval that holds under autocorrelation.

The differences of the two losses are taken point by point, so what both runs share cancels, such as the difficulty of
a batch. The estimate is their weighted mean at the place. From :data:`LINE_POINTS` points on, it is the value, in the
middle of the place, of a line fitted by weighted least squares: a trend of the difference is no noise. With equal
weights and spacing, that is the mean again. The interval is about these two runs at this place. It cannot tell whether
runs with other seeds would differ alike: runs of equal settings differ too, which is what :data:`RELEVANT_DIFFERENCE`
is for.

The noise is taken for AR(1). A few points cannot tell its coefficient, so it is pooled from residuals in pieces of the
history, each scaled by its own spread, because the spread drifts. Fitting lines takes correlation out of the residuals
(Kendall, 1954; Marriott and Pope, 1954). The coefficient is the one whose expected correlation of residuals is the one
seen, so this bias is corrected; so is the bias of the residual variance. Negative coefficients are kept: without them,
the intervals were too wide on independent noise. Satterthwaite's (1946) degrees of freedom count both uncertainties,
of the variance and of the coefficient.

``benchmarks/comparison.py`` measures the coverage of the intervals, false differences and power.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.students_t import interval_of, two_sided_p

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference"]

FEWEST_POINTS = 3
"""Points that a place needs: fewer leave one residual, and an interval of 13 standard errors."""
LINE_POINTS = 30
"""Points of a place from which a line is fitted. Among fewer, the freedom it costs is dearer than what it gains."""
MOST_POINTS = 150
"""Points of a place that are used as they are; more are merged to as many."""
HISTORY = 300
"""Points (merged like those of the place) that tell the autocorrelation, at most."""
RELEVANT_DIFFERENCE = 0.005
"""Share of the loss below which two runs count as equal. Runs of equal settings differ by less, but for one in 100:
see docs/comparison-intervals.md."""
FEW_EVALUATIONS_AUTOCORRELATION = 0.3
"""The least autocorrelation to take if there are fewer than two dozen points in all, as of evaluations: so few cannot
tell it. Differences of real evaluations had at most 0.27 in 90 % of 33 folders of modded-nanogpt."""

_PIECE = 100  # points of a piece of the history, at least: shorter ones tell little about strong autocorrelation
_FEWEST_IN_PIECE = 12  # fewer tell next to nothing about any
_GRID = np.tanh(np.linspace(-0.3, 2.3, 53))  # coefficients; none below -0.29 is believed
_GRID[np.abs(_GRID) < 1e-12] = 0.0
_TINY = 1e-300


@dataclass(frozen=True)
class LossDifference:
    """The loss of run A minus the loss of run B at a place, nats per token."""

    value: float
    """The estimate."""
    error: float
    """Its standard error."""
    freedom: float
    """Degrees of freedom of the error."""
    p: float
    """Two-sided p-value of no difference."""
    low: float
    """The lower end of its 95 % interval."""
    high: float
    """The upper end."""
    points: int
    """Points in the place."""
    autocorrelation: float
    """The coefficient of neighbouring points; of merged ones, if the place has more than :data:`MOST_POINTS`."""

    def verdict(self, level: float) -> Verdict:
        """What to say of run A at a loss of ``level``: its difference counts if it is certain, and large enough."""
        is_certain = self.low > 0 or self.high < 0
        if not is_certain or abs(self.value) < RELEVANT_DIFFERENCE * level:
            return "no difference"
        return "better" if self.value < 0 else "worse"


@dataclass(frozen=True)
class LossDifferences:
    """Differences of any number of pairs of runs, all [...]; the fields are those of :class:`LossDifference`."""

    value: Floats
    error: Floats
    freedom: Floats
    autocorrelation: Floats

    @property
    def p(self) -> Floats:
        """Two-sided p-values of no difference."""
        return two_sided_p(self.value / np.maximum(self.error, _TINY), self.freedom)

    @property
    def low(self) -> Floats:
        """The lower ends of the 95 % intervals."""
        return interval_of(self.value, self.error, self.freedom)[0]

    @property
    def high(self) -> Floats:
        """The upper ends of the 95 % intervals."""
        return interval_of(self.value, self.error, self.freedom)[1]

    def counts(self, level: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether the intervals exclude 0, and the differences matter at losses of ``level``."""
        excludes_zero = (self.low > 0) | (self.high < 0)
        return excludes_zero & (np.abs(self.value) >= RELEVANT_DIFFERENCE * np.asarray(level, np.float64))

    def only(self, points: int) -> LossDifference:
        """The difference of a single pair."""
        return LossDifference(
            float(self.value), float(self.error), float(self.freedom), float(self.p), float(self.low),
            float(self.high), points, float(self.autocorrelation),
        )  # fmt: skip


def estimate_difference(
    x: npt.ArrayLike,
    differences: npt.ArrayLike,
    place: tuple[float, float],
    *,
    weights: npt.ArrayLike | None = None,
    least_autocorrelation: float = -1.0,
) -> LossDifference | None:
    """Estimates the difference of two runs at a place.

    Points outside the place tell the autocorrelation only. After a change point it may be another, so pass the points
    since the last change point if there are enough, or all. Differences that are not finite are left out.

    Args:
        x: the middle of each point, in steps or tokens, strictly ascending, [n].
        differences: the loss of run A minus the loss of run B, nats per token, [n].
        place: its first and its last ``x``.
        weights: how much each point weighs, such as its samples, [n]; equal by default. The variance of a point is
            taken to be inverse to its weight.
        least_autocorrelation: the coefficient is not below this; by default, it may be negative. A history of fewer
            than 12 points tells none: then this is taken, or 0 if it is negative.

    Returns:
        None if the place has fewer than :data:`FEWEST_POINTS`.

    Raises:
        ValueError: shapes differ, ``x`` does not ascend, or a weight is not positive.
    """
    at, values = np.asarray(x, np.float64), np.asarray(differences, np.float64)
    weight = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
    if at.ndim != 1 or not at.shape == values.shape == weight.shape:
        shapes = f"{at.shape}, {values.shape}, {weight.shape}"
        raise ValueError(f"x, differences and weights must be lists of one length, not {shapes}")
    if not (np.all(at[1:] > at[:-1]) and np.all((weight > 0) & (weight < np.inf))):
        raise ValueError("x must ascend strictly, and weights be positive")
    known = np.isfinite(values)
    at, values, weight = at[known], values[known], weight[known]
    start, stop = np.searchsorted(at, place[0], "left"), np.searchsorted(at, place[1], "right")
    if stop - start < FEWEST_POINTS:
        return None
    found = find_differences(at, values, weight, (int(start), int(stop)), least_autocorrelation)
    return found.only(int(stop - start))


def find_differences(
    x: Floats, differences: Floats, weights: Floats, place: tuple[int, int], least_autocorrelation: float = -1.0
) -> LossDifferences:
    """Estimates the differences of any number of pairs of runs at once.

    Args:
        x: the middle of each point, ascending, [n].
        differences: of the pairs, [..., n].
        weights: of the points, [n].
        place: its first point, and the one after its last; at least :data:`FEWEST_POINTS`.
        least_autocorrelation: the coefficients are not below this.
    """
    x, differences, weights, (start, stop) = _merged(x, differences, weights, place)
    scale = np.sqrt(weights[start:stop] / weights[start:stop].mean())
    share, basis = _line(x[start:stop], scale)
    pieces = _pieces(differences, np.sqrt(weights), start, stop)
    coefficient, uncertainty = _autocorrelation(pieces, least_autocorrelation)
    target = differences[..., start:stop] * scale
    residual = target - target @ basis @ basis.T
    ratio, freedom_of_variance = _expected(share, basis)
    variance = np.square(residual).sum(axis=-1) * np.exp(np.interp(coefficient, _GRID, np.log(ratio)))
    slope = np.interp(coefficient, _GRID, np.gradient(np.log(ratio), _GRID))
    # Satterthwaite: the relative variance of an estimated variance is 2 / freedom.
    relative = 2 / np.interp(coefficient, _GRID, freedom_of_variance) + slope**2 * uncertainty
    return LossDifferences(target @ share, np.sqrt(variance), np.maximum(2 / relative, 1.0), coefficient)


def _merged(
    x: Floats, differences: Floats, weights: Floats, place: tuple[int, int]
) -> tuple[Floats, Floats, Floats, tuple[int, int]]:
    """Means of neighbouring points, so that the place has at most :data:`MOST_POINTS`; the place among them."""
    start, stop = place
    size = -(-(stop - start) // MOST_POINTS)
    if size == 1:
        return x, differences, weights, place
    within = -(-(stop - start) // size)
    inner = np.linspace(start, stop, within, endpoint=False).round().astype(np.int64)
    # Outside, groups are counted from the place; an incomplete group at an end is dropped.
    before, after = np.arange(start % size, start, size), np.arange(stop, len(x) - size + 1, size)
    first = int(before[0]) if len(before) else start
    last = int(after[-1]) + size if len(after) else stop
    edges = np.concatenate([before, inner, after]) - first
    kept = slice(first, last)
    total = np.add.reduceat(weights[kept], edges)
    means = np.add.reduceat(differences[..., kept] * weights[kept], edges, axis=-1) / total
    middle = np.add.reduceat(x[kept] * weights[kept], edges) / total
    return middle, means, total, (len(before), len(before) + within)


def _line(x: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """The share of each scaled point in the estimate, [n], and a basis of scaled lines, or constants, [n, 2 or 1]."""
    if len(x) < LINE_POINTS:
        return scale / np.square(scale).sum(), (scale / np.linalg.norm(scale))[:, None]
    distance = x - (x[0] + x[-1]) / 2
    regressors = np.column_stack([np.ones_like(distance), distance / distance[-1]]) * scale[:, None]
    basis, triangle = np.linalg.qr(regressors)
    share: Floats = basis @ np.linalg.inv(triangle)[0]
    return share, basis


def _correlations(points: int) -> Floats:
    """Correlations of AR(1) noise, for each coefficient of the grid, [grid, points, points]."""
    lags = np.abs(np.subtract.outer(np.arange(points), np.arange(points)))
    powers: Floats = (_GRID[:, None] ** np.arange(points))[:, lags]
    return powers


def _expected(share: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """The variance of the estimate divided by the expected sum of squared residuals, and its freedom, both [grid].

    With correlations R and residuals M y, M = 1 - B B', the sum is tr(M R) in expectation, and has a variance of
    2 tr(M R M R). Nothing is multiplied that is larger than R B.
    """
    correlations = _correlations(len(share))
    carried = correlations @ basis
    inner = basis.T @ carried
    squares = len(share) - np.trace(inner, axis1=1, axis2=2)
    of_squares = np.square(correlations).sum(axis=(1, 2)) - 2 * np.square(carried).sum(axis=(1, 2))
    freedom = squares**2 / (of_squares + np.square(inner).sum(axis=(1, 2)))
    return np.einsum("gi,i->g", correlations @ share, share) / squares, freedom


def _pieces(differences: Floats, scale: Floats, start: int, stop: int) -> Floats:
    """Scaled residuals about lines through pieces of the history, [..., pieces, points].

    Pieces are as long as the place, but at least :data:`_PIECE` points. They are counted backwards from its end, then
    forwards.
    """
    count = differences.shape[-1]
    length = min(max(stop - start, _PIECE), count)
    stop = max(stop, length)
    backwards = list(range(stop - length, max(stop - HISTORY, 0) - 1, -length))
    forwards = list(range(stop, count - length + 1, length))[: max(HISTORY // length - len(backwards), 0)]
    chosen = np.add.outer(backwards + forwards, np.arange(length))
    basis = _basis(length)
    raw = differences[..., chosen]
    residual: Floats = (raw - raw @ basis @ basis.T) * scale[chosen]
    return residual


@functools.cache
def _basis(points: int) -> Floats:
    """An orthonormal basis of the lines through so many points, [points, 2]."""
    return np.linalg.qr(np.vander(np.linspace(-1, 1, points), 2))[0]


@functools.cache
def _seen(points: int) -> tuple[Floats, Floats]:
    """The correlation of neighbouring residuals to expect for each coefficient, and its slope, both [grid]."""
    basis = _basis(points)
    carried = _correlations(points) @ basis
    inner = basis.T @ carried
    neighbours = (
        _GRID * (points - 1)
        - np.einsum("ik,gik->g", basis[:-1], carried[:, 1:])
        - np.einsum("ik,gik->g", basis[1:], carried[:, :-1])
        + np.einsum("ik,gkl,il->g", basis[:-1], inner, basis[1:])
    )
    seen = neighbours / (points - np.trace(inner, axis1=1, axis2=2))
    seen = np.maximum.accumulate(seen + np.arange(len(seen)) * 1e-9)
    return seen, np.gradient(seen, _GRID)


def _autocorrelation(pieces: Floats, least: float) -> tuple[Floats, Floats]:
    """The coefficients, and the variances of their estimates, from residuals [..., pieces, points], both [...]."""
    number, points = pieces.shape[-2:]
    if points < _FEWEST_IN_PIECE:
        nothing = np.full(pieces.shape[:-2], max(least, 0.0))
        return nothing, np.zeros_like(nothing)
    seen, slope = _seen(points)
    power = np.square(pieces).sum(axis=-1)
    raw = ((pieces[..., 1:] * pieces[..., :-1]).sum(axis=-1) / np.maximum(power, _TINY)).mean(axis=-1)
    estimate = np.interp(raw, seen, _GRID)
    uncertainty = (1 - estimate**2) / (number * (points - 2)) / np.interp(estimate, _GRID, slope) ** 2
    # A coefficient that is given is taken for known.
    return np.maximum(estimate, least), np.where(estimate < least, 0.0, uncertainty)
