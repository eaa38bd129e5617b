"""Tests whether the loss jumps at a known step, and whether the data explains the jump.

This is a regression discontinuity in time (Hausman and Rapson, 2018): a curve is fitted on each side of the change
point, and both are evaluated in the middle of the gap. Four things can look like a jump:

- *Curvature, and changes elsewhere.* No single bandwidth handles them all, so three fits must agree on a jump of one
  sign: lines over all points, lines over the nearest :data:`NARROW`, and parabolas over all. Loss curves are mixtures
  of decays, whose derivatives alternate in sign: on them, lines overestimate a jump and parabolas underestimate it.
  The narrow fit ignores what happens beyond its reach.
- *Autocorrelation.* The fits use generalized least squares for AR(1) noise in time (Prais and Winsten, 1954). The
  coefficient is corrected for the bias from fitting a trend (Kendall, 1954; Marriott and Pope, 1954).
- *Noise that changes.* The larger of the classical and the robust error is used (HC2: MacKinnon and White, 1985; the
  larger: Angrist and Pischke, "Mostly Harmless Econometrics", section 8.1), with Welch's (1947) degrees of freedom.
- *Spikes.* Points far from a robust fit (Huber, "Robust Statistics", 1981, section 7.8) are left out.

``benchmarks/discontinuity.py`` measures the rates of false and of missed jumps.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
VerdictKind = Literal["artefact", "improvement", "unexplained", "none", "unknown"]
Reason = Literal[
    "too_few_steps", "no_jump", "evaluation_confirms", "evaluation_rises", "exposure_unknown", "exposure_flat",
    "exposure_opposes", "no_evaluation", "evaluation_uncertain", "evaluation_flat",
]  # fmt: skip
"""The reason for a verdict, or how certain it is."""

MIN_POINTS = 3
"""Points that each side needs: a line through fewer leaves no residual."""
WIDE = 60
"""Points used on each side, at most."""
NARROW = 24
"""Points on each side of the narrow fit. Fewer would miss more than 10 % of jumps of two standard deviations."""
RELEVANT = 0.005
"""Share of the loss below which a jump does not matter."""
EXPOSURE_STEP = 0.1
"""Change of the exposure, in draws, that counts as a jump."""
SHARED = 1 / 3
"""The evaluation loss confirms a jump if it makes this share of it."""

# Two-sided levels of the three tests. The wide one alone keeps the false positive rate on well-behaved curves. On the
# others it errs in one direction, in which the other two must agree with it: only half of their levels counts.
_LEVEL_WIDE, _LEVEL_NARROW, _LEVEL_PARABOLA = 0.03, 0.10, 0.15
# A parabola needs two residuals on each side. Among fewer than a dozen points, it cannot tell a spike next to the gap.
_PARABOLA_POINTS, _SPIKE_POINTS = 5, 12
_SPIKE = 4.0  # robust standard deviations
_HUBER, _HUBER_ROUNDS = 1.345, 8  # 95 % efficient on normal noise
_MAX_AUTOCORRELATION = 0.95
# Midpoints of (0, 1), for integrals to four digits.
_NODES = (np.arange(128) + 0.5) / 128
_TINY = 1e-300


@dataclass(frozen=True)
class Jump:
    """A jump of the loss at a step, by the narrow fit."""

    value: float
    """Fitted loss just after minus fitted loss just before, nats per token."""
    error: float
    """Its robust standard error."""
    significant: bool
    """Whether all fits agree on it, at 5 % two-sided or stricter, and it is large enough to matter."""
    bandwidth: float | None = None
    """Reach of the narrow fit on each side, in steps; None in logs that do not say."""
    before: int | None = None
    """Points of the narrow fit before the change point."""
    after: int | None = None
    """Points of the narrow fit after it."""


@dataclass(frozen=True)
class Fit:
    """Jumps by one fit, their standard errors, the errors' degrees of freedom, and the points used, all [...]."""

    value: Floats
    error: Floats
    freedom: Floats
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    def refutes_zero(self, level: float) -> Flags:
        """Whether Student's t, two-sided, rejects a jump of zero, [...].

        With t = sqrt(freedom) tan(a), the density is proportional to cos(a) ** (freedom - 1) on (-pi/2, pi/2).
        """
        angle = np.arctan2(np.abs(self.value), self.error * np.sqrt(self.freedom))[..., None]
        rest, power = math.pi / 2 - angle, self.freedom[..., None] - 1
        inner = (angle * np.cos(angle * _NODES) ** power).sum(axis=-1)
        outer = (rest * np.cos(angle + rest * _NODES) ** power).sum(axis=-1)
        refuted: Flags = outer < level * (inner + outer)
        return refuted


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
    get as many points as the shorter one has, at most :data:`WIDE`: curvature cancels only between equal sides.

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
    count = min(len(near), len(far), WIDE)
    if count < MIN_POINTS:
        return None
    chosen = np.concatenate([near[-count:], far[:count]])
    distance = x[chosen] - (x[near[-1]] + x[far[0]]) / 2
    fit, significant = find_jumps(distance, y[chosen], w[chosen])
    bandwidth = np.abs(distance[max(count - NARROW, 0) : count + NARROW]).max()
    return Jump(
        float(fit.value), float(fit.error), bool(significant), float(bandwidth), int(fit.before), int(fit.after)
    )


def find_jumps(x: Floats, losses: Floats, weights: Floats) -> tuple[Fit, Flags]:
    """Estimates the jumps of any number of curves at once.

    Args:
        x: distance of each point from the change point, [n]; half of them before it.
        losses: the curves, [..., n].
        weights: of the points, [n].

    Returns:
        The jumps by the narrow fit, and which of them are significant, [...].
    """
    half = len(x) // 2
    x, scale = x / np.abs(x).max(), np.sqrt(weights / weights.mean())
    degree = 2 if half >= _PARABOLA_POINTS else 1
    residual, kept = _robust_residuals(x, losses, scale, degree, _HUBER_ROUNDS if half >= _SPIKE_POINTS else 0)
    autocorrelation = _autocorrelation(residual * kept) if degree == 2 else np.zeros(losses.shape[:-1])
    near = slice(max(half - NARROW, 0), half + NARROW)
    narrow = _fit(x[near], losses[..., near], scale[near], kept[..., near], 1, autocorrelation)
    significant = narrow.refutes_zero(_LEVEL_NARROW)
    significant &= np.abs(narrow.value) >= RELEVANT * np.abs(np.median(losses, axis=-1))
    for other_degree, level in ((1, _LEVEL_WIDE), (degree, _LEVEL_PARABOLA)):
        other = _fit(x, losses, scale, kept, other_degree, autocorrelation)
        significant &= other.refutes_zero(level) & (other.value * narrow.value > 0)
    return narrow, significant


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


def _autocorrelation(residual: Floats) -> Floats:
    """The correlation of neighbouring points, at least 0, from residuals [..., n] of parabolas on both sides."""
    half = residual.shape[-1] // 2
    products = residual[..., 1:] * residual[..., :-1]
    # Leave out the pair across the gap, which a jump one step late would distort.
    products[..., half - 1] = 0
    power = np.square(residual).sum(axis=-1)
    raw = products.sum(axis=-1) / np.where(power > 0, power, 1)
    # The bias is (2 + 4 r) / n after a line (Kendall), and (3 + 5 r) / n after a parabola.
    corrected: Floats = np.clip((raw * half + 3) / max(half - 5, half / 4), 0, _MAX_AUTOCORRELATION)
    return corrected


def _fit(x: Floats, losses: Floats, scale: Floats, kept: Flags, degree: int, autocorrelation: Floats) -> Fit:
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
    return Fit((share * target).sum(axis=-1), error, freedom, free_near + jump, free_far + jump)


def judge(
    training: Jump | None, evaluation: Jump | None, exposure_before: float | None, exposure_after: float | None
) -> tuple[VerdictKind, Reason]:
    """Judges a jump: the verdict, and its reason or certainty.

    Args:
        training: the jump of the training loss; None if there are too few steps.
        evaluation: the jump of the evaluation loss there; None if unknown.
        exposure_before: mean exposure before the change point: how often the tokens had been drawn before; None if
            unknown.
        exposure_after: mean exposure after it; None if unknown.
    """
    if training is None:
        return "unknown", "too_few_steps"
    if not training.significant:
        return "none", "no_jump"
    shared = evaluation.value / training.value if evaluation is not None and evaluation.significant else 0.0
    if shared >= SHARED:
        if training.value < 0:
            return "improvement", "evaluation_confirms"
        return "unexplained", "evaluation_rises"
    if exposure_before is None or exposure_after is None:
        return "unexplained", "exposure_unknown"
    if abs(exposure_after - exposure_before) < EXPOSURE_STEP:
        return "unexplained", "exposure_flat"
    if (exposure_after - exposure_before) * training.value > 0:
        return "unexplained", "exposure_opposes"
    if evaluation is None:
        return "artefact", "no_evaluation"
    if 2 * evaluation.error > SHARED * abs(training.value):
        return "artefact", "evaluation_uncertain"
    return "artefact", "evaluation_flat"
