"""Tests whether the loss jumps at a known step, and estimates by how much.

This is a regression discontinuity in time (Hausman and Rapson, 2018): a curve is fitted on each side of the change
point, and both are evaluated in the middle of the gap. Four things can look like a jump:

- *Curvature, and changes elsewhere.* No single bandwidth handles them all, so three fits must agree on a jump of one
  sign: lines over all points, lines over the nearest :data:`NARROW`, and parabolas over all. Loss curves are mixtures
  of decays, whose derivatives alternate in sign: on them, lines overestimate a jump and parabolas underestimate it.
  The narrow fit ignores what happens beyond its reach. Where lines and parabolas differ by more than their noise, the
  difference counts as an error.
- *Autocorrelation.* The fits use generalized least squares for AR(1) noise in time (Prais and Winsten, 1954). The
  coefficient is corrected for the bias from fitting a trend (Kendall, 1954; Marriott and Pope, 1954), and is not below
  a floor for means over many steps: what the data itself adds, shard by shard, is too slow to show among few points.
- *Noise that changes.* The larger of the classical and the robust error is used (HC2: MacKinnon and White, 1985; the
  larger: Angrist and Pischke, "Mostly Harmless Econometrics", section 8.1), with Welch's (1947) degrees of freedom.
- *Spikes.* Points far from a robust fit (Huber, "Robust Statistics", 1981, section 7.8) are left out.

A long side is looked at twice: its nearest :data:`WIDE` points, and all of it, merged to as many. A jump may show in
either look. ``benchmarks/discontinuity.py`` measures the rates of false and of missed jumps, and the coverage of the
intervals.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.students_t import interval_of, two_sided_p

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

MIN_POINTS = 3
"""Points that each side needs: a line through fewer leaves no residual."""
WIDE = 60
"""Points used on each side, at most; more are merged."""
MOST_POINTS = 300
"""Points on each side that are used or merged, at most."""
NARROW = 24
"""Points on each side of the narrow fit. Fewer would miss more than 10 % of jumps of two standard deviations."""
RELEVANT = 0.005
"""Share of the loss below which a jump does not matter."""
SIGNIFICANT = 0.05
"""Level at which a jump counts, two-sided."""

# Two-sided levels of the three tests. The wide one alone keeps the false positive rate on well-behaved curves. On the
# others it errs in one direction, in which the other two must agree with it: only half of their levels counts.
_LEVEL_WIDE, _LEVEL_NARROW, _LEVEL_PARABOLA = 0.03, 0.10, 0.15
# A parabola needs two residuals on each side. Among fewer than a dozen points, it cannot tell a spike next to the gap.
_PARABOLA_POINTS, _SPIKE_POINTS = 5, 12
_SPIKE = 4.0  # robust standard deviations
_HUBER, _HUBER_ROUNDS = 1.345, 8  # 95 % efficient on normal noise
_MAX_AUTOCORRELATION = 0.95
_FLOOR = 0.1  # autocorrelation of means over ten steps; means over one step have none
_DETECTED = 3.4  # standard errors; the benchmark's power for a jump of this size is 80 %
_TINY = 1e-300


@dataclass(frozen=True)
class Jump:
    """A jump of the loss at a step."""

    value: float
    """Fitted loss just after minus fitted loss just before, nats per token."""
    error: float
    """Its robust standard error."""
    significant: bool
    """Whether all fits agree on it, at 5 % two-sided or stricter, and it is large enough to matter."""
    bandwidth: float | None = None
    """Reach of the fit on each side, in steps; None in logs that do not say."""
    before: int | None = None
    """Points of the fit before the change point."""
    after: int | None = None
    """Points of the fit after it."""
    low: float | None = None
    """The lower end of its 95 % interval; None in records of earlier releases."""
    high: float | None = None
    p: float | None = None
    """The level at which the test would just reject a jump of zero."""
    detectable: float | None = None
    """The least size of a jump that the test would have detected with 80 % probability, nats per token."""
    level: float | None = None
    """The median loss, of which shares are meant."""

    def excludes(self, size: float) -> bool:
        """Whether its interval lies within ``(-size, size)``."""
        return self.low is not None and self.high is not None and max(-self.low, self.high) < size


@dataclass(frozen=True)
class Jumps:
    """Jumps of any number of curves, all [...]; the fields are those of :class:`Jump`."""

    value: Floats
    error: Floats
    freedom: Floats
    """Degrees of freedom of the error."""
    p: Floats
    level: Floats
    before: Counts
    after: Counts

    @property
    def significant(self) -> Flags:
        """Whether each counts as a jump, and is large enough to matter."""
        return (self.p < SIGNIFICANT) & (np.abs(self.value) >= RELEVANT * self.level)

    @property
    def low(self) -> Floats:
        """The lower ends of the 95 % intervals."""
        return interval_of(self.value, self.error, self.freedom)[0]

    @property
    def high(self) -> Floats:
        """The upper ends of the 95 % intervals."""
        return interval_of(self.value, self.error, self.freedom)[1]

    @property
    def detectable(self) -> Floats:
        """The least sizes that would have been detected with 80 % probability."""
        return np.maximum(_DETECTED * self.error, RELEVANT * self.level)

    def only(self, bandwidth: float | None = None) -> Jump:
        """The jump of a single curve."""
        return Jump(
            float(self.value), float(self.error), bool(self.significant), bandwidth, int(self.before), int(self.after),
            float(self.low), float(self.high), float(self.p), float(self.detectable), float(self.level),
        )  # fmt: skip


@dataclass(frozen=True)
class _Fit:
    """Jumps by one fit, their standard errors, the errors' degrees of freedom, and the points used, all [...]."""

    value: Floats
    error: Floats
    freedom: Floats
    before: Counts
    after: Counts

    @property
    def p(self) -> Floats:
        """Two-sided p-values of a jump of zero."""
        return two_sided_p(self.value / np.maximum(self.error, _TINY), self.freedom)


def estimate_jump(
    steps: npt.ArrayLike,
    losses: npt.ArrayLike,
    last_before: int,
    first_after: int,
    *,
    weights: npt.ArrayLike | None = None,
) -> Jump | None:
    """Estimates the jump of the loss between two steps.

    Losses of steps between them, which draw from both sides, and losses that are not finite are left out. Both sides
    get as many points as the shorter one has, at most :data:`MOST_POINTS`: curvature cancels only between equal sides.

    Args:
        steps: the middle of each log window (so halves occur), strictly ascending, [n].
        losses: nats per token, [n].
        last_before: the last step wholly before the change point.
        first_after: the first step wholly after it.
        weights: over how many steps each loss is a mean, [n]; equal by default.

    Returns:
        None if a side has fewer than :data:`MIN_POINTS`.

    Raises:
        ValueError: shapes differ, steps do not ascend, weights are not positive, or the two steps do not.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(losses, np.float64)
    w = np.ones_like(y) if weights is None else np.asarray(weights, np.float64)
    if x.ndim != 1 or not x.shape == y.shape == w.shape:
        raise ValueError(f"steps, losses and weights must be lists of one length, not {x.shape}, {y.shape}, {w.shape}")
    if not (np.all(x[1:] > x[:-1]) and np.all((w > 0) & (w < np.inf)) and last_before < first_after):
        raise ValueError("steps must ascend strictly, weights be positive, and last_before lie before first_after")
    near, far = (np.flatnonzero(side & np.isfinite(y)) for side in (x <= last_before, x >= first_after))
    count = min(len(near), len(far), MOST_POINTS)
    if count < MIN_POINTS:
        return None
    chosen = np.concatenate([near[-count:], far[:count]])
    distance = x[chosen] - (x[near[-1]] + x[far[0]]) / 2
    jumps = find_jumps(distance, y[chosen], w[chosen])
    reach = min(int(jumps.before), count)
    return jumps.only(float(np.abs(distance[count - reach : count + reach]).max()))


def find_jumps(x: Floats, losses: Floats, weights: Floats) -> Jumps:
    """Estimates the jumps of any number of curves at once.

    Args:
        x: distance of each point from the change point, in steps, ascending, [n]; half of them before it.
        losses: the curves, [..., n].
        weights: of the points, [n].
    """
    half = len(x) // 2
    near = slice(max(half - WIDE, 0), half + WIDE)
    first = _look(x[near], losses[..., near], weights[near])
    size = half // WIDE
    if size < 2:
        return first
    return _clearer(first, _look(*_merged(x, losses, weights, size)))


def _merged(x: Floats, losses: Floats, weights: Floats, size: int) -> tuple[Floats, Floats, Floats]:
    """Means of ``size`` neighbouring points each, from the change point outwards."""
    half = len(x) // 2
    kept = half // size * size
    inner = slice(half - kept, half + kept)
    grouped = weights[inner].reshape(-1, size)
    total = grouped.sum(axis=-1)
    means = (losses[..., inner].reshape(*losses.shape[:-1], -1, size) * grouped).sum(axis=-1) / total
    return (x[inner].reshape(-1, size) * grouped).sum(axis=-1) / total, means, total


def _clearer(first: Jumps, second: Jumps) -> Jumps:
    """Of two looks, the one that shows a jump; if both do or neither, the one with the smaller error."""
    takes_second = np.where(first.significant == second.significant, second.error < first.error, second.significant)
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in Jumps.__dataclass_fields__}
    return Jumps(**{name: np.where(takes_second, theirs, ours) for name, (ours, theirs) in pairs.items()})


def _look(x: Floats, losses: Floats, weights: Floats) -> Jumps:
    """Estimates jumps from at most :data:`WIDE` points a side."""
    half = len(x) // 2
    floor = _FLOOR * math.log10(max(float(np.median(np.diff(x))), 1.0))
    x, scale = x / np.abs(x).max(), np.sqrt(weights / weights.mean())
    degree = 2 if half >= _PARABOLA_POINTS else 1
    residual, kept = _robust_residuals(x, losses, scale, degree, _HUBER_ROUNDS if half >= _SPIKE_POINTS else 0)
    fixed = np.full(losses.shape[:-1], floor)
    autocorrelation = _autocorrelation(residual * kept, floor) if degree == 2 else fixed
    near = slice(max(half - NARROW, 0), half + NARROW)
    narrow = _fit(x[near], losses[..., near], scale[near], kept[..., near], 1, autocorrelation)
    wide = _fit(x, losses, scale, kept, 1, autocorrelation)
    parabola = _fit(x, losses, scale, kept, degree, autocorrelation)
    # The level of the whole test at which each of the three would just reject.
    p = SIGNIFICANT * narrow.p / _LEVEL_NARROW
    for other, level in ((wide, _LEVEL_WIDE), (parabola, _LEVEL_PARABOLA)):
        agrees = other.value * narrow.value > 0
        p = np.maximum(p, np.where(agrees, SIGNIFICANT * other.p / level, 1.0))
    curvature = np.maximum((narrow.value - parabola.value) ** 2 - parabola.error**2, 0.0)
    error = np.sqrt(narrow.error**2 + curvature)
    level = np.abs(np.median(losses, axis=-1))
    return Jumps(narrow.value, error, narrow.freedom, np.minimum(p, 1.0), level, narrow.before, narrow.after)


def _regressors(x: Floats, degree: int) -> Floats:
    """A polynomial for all points, and one for the difference on the far side, [n, 2 (degree + 1)]."""
    powers = np.vander(x, degree + 1, increasing=True)
    return np.hstack([powers, powers * (x > 0)[:, None]])


def _robust_residuals(x: Floats, losses: Floats, scale: Floats, degree: int, rounds: int) -> tuple[Floats, Flags]:
    """Scaled residuals of a Huber fit (of least squares for 0 rounds), and which points are not spikes, [..., n].

    Fewer than half of the residuals can exceed their median by far, so at least half of each side is kept.
    """
    half = len(x) // 2
    target = losses * scale
    basis = np.linalg.qr(_regressors(x, degree) * scale[:, None])[0]
    residual: Floats = target - target @ basis @ basis.T
    spread: Floats = np.full_like(target, np.inf)
    # Huber's modified residuals: fit, pull outliers towards the fit, and fit again.
    for _ in range(rounds):
        sides = np.abs(residual).reshape(*losses.shape[:-1], 2, half)
        middle = np.partition(sides, half // 2, axis=-1)[..., half // 2]
        spread = (1.4826 * math.sqrt(half / (half - degree - 1)) * middle).repeat(half, axis=-1)
        pulled = target - residual + np.clip(residual, -_HUBER * spread, _HUBER * spread)
        residual = target - pulled @ basis @ basis.T
    # On a curve without noise, rounding errors are not spikes.
    return residual, np.abs(residual) <= _SPIKE * spread + 1e-9 * np.abs(target).max(axis=-1, keepdims=True)


def _autocorrelation(residual: Floats, floor: float) -> Floats:
    """The correlation of neighbouring points, at least a floor, from residuals [..., n] of parabolas on both sides."""
    half = residual.shape[-1] // 2
    products = residual[..., 1:] * residual[..., :-1]
    # Leave out the pair across the gap, which a jump one step late would distort.
    products[..., half - 1] = 0
    power = np.square(residual).sum(axis=-1)
    raw = products.sum(axis=-1) / np.where(power > 0, power, 1)
    # The bias is (2 + 4 r) / n after a line (Kendall), and (3 + 5 r) / n after a parabola.
    corrected: Floats = np.clip((raw * half + 3) / max(half - 5, half / 4), floor, _MAX_AUTOCORRELATION)
    return corrected


def _fit(x: Floats, losses: Floats, scale: Floats, kept: Flags, degree: int, autocorrelation: Floats) -> _Fit:
    """Fits polynomials on both sides by generalized least squares; returns the jumps between them."""
    half, jump = len(x) // 2, degree + 1
    distance = np.diff(x)
    # After a point that is left out, the AR(1) process starts again.
    carried = autocorrelation[..., None] ** (distance / np.median(distance)) * kept[..., :-1]
    table = np.empty((*losses.shape, 2 * jump + 1))
    table[..., :-1], table[..., -1] = _regressors(x, degree) * scale[:, None], losses * scale
    table[..., 1:, :] -= carried[..., None] * table[..., :-1, :].copy()
    table[..., 1:, :] /= np.sqrt(1 - carried**2)[..., None]
    table *= kept[..., None]
    basis, triangle = np.linalg.qr(table[..., :-1])
    target = table[..., -1]
    # A row of the pseudo-inverse: the weight of each point in the estimate.
    share = np.einsum("...np,...p->...n", basis, np.linalg.inv(triangle)[..., jump, :])
    residual = target - np.einsum("...np,...mp,...m->...n", basis, basis, target, optimize=True)
    robust = np.square(share * residual) / np.maximum(1 - np.square(basis).sum(axis=-1), 1e-9)
    near, far = robust[..., :half].sum(axis=-1), robust[..., half:].sum(axis=-1)
    free_near, free_far = kept[..., :half].sum(axis=-1) - jump, kept[..., half:].sum(axis=-1) - jump
    classical = np.square(residual).sum(axis=-1) / (free_near + free_far) * np.square(share).sum(axis=-1)
    # Welch. _TINY avoids 0 / 0 on curves without noise.
    freedom = ((near + far) ** 2 + _TINY) / (near**2 / free_near + far**2 / free_far + _TINY)
    error = np.sqrt(np.maximum(classical, near + far))
    return _Fit((share * target).sum(axis=-1), error, freedom, free_near + jump, free_far + jump)
