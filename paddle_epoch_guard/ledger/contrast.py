"""By how much the loss of repeated samples differs from that of fresh ones, all else equal.

Means over the run do not tell: fresh samples are drawn early, when the loss is high, and a dataset that repeats may be
an easier one. So the two are compared within *strata*: the samples of one dataset in one log window. In each, the loss
is regressed on the share of the sample that was drawn before, and on the step: within a long window, too, the loss
falls while repeated samples become more frequent. The strata's differences are averaged with the weights of the least
squares fit to all of them together: for whole fresh and repeated samples of one step ``n_f n_r / (n_f + n_r)``.

The standard error comes from the scatter of the strata's differences around their mean: the cluster-robust estimate
of Liang and Zeger (Biometrika 73, 1986), made unbiased where all samples scatter alike, with the degrees of freedom
that Bell and McCaffrey (Survey Methodology 28, 2002) give it. How losses scatter within a stratum need not be known.

What is left:

- A sample that is hard when fresh is hard again when repeated, which cancels in part. The error takes the two for
  independent, and is too large: by up to 1.4 times in a unified order of two data epochs.
- Of large data only some tokens are traced, mostly one in a sample. Data epochs divide the same documents into other
  samples, so that a sample may be new in part where its traced token is not. That brings the difference nearer to
  zero. Measured on PaddleNLP's index, with 20,000 of a million tokens traced, 1.5 and 3 data epochs in one order: 0.74
  and 0.69 of it are left with documents as long as 100 samples, 0.64 and 0.57 as long as one, 0.51 and 0.42 as long as
  a third of one, 0.31 and 0.21 as long as a tenth. Where all tokens are traced, all of it is.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.ledger.students_t import interval_of

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

MOMENTS = 9
"""The length of a row of :func:`moments_of`."""
FEWEST_DEGREES = 4.0
"""Degrees of freedom below which a difference is not given: about five windows of equal weight."""
_ROUNDING = 1e-6  # relative; a smaller rest of a variance is rounding, where ranks add up in float32


def moments_of(
    dataset: Int64Array,
    datasets: int,
    losses: Float64Array,
    weights: Float64Array,
    repeat: Float64Array,
    step: npt.NDArray[Any],
) -> Float64Array:
    """Sums over the samples of a window, by dataset. Those of several ranks add up.

    Args:
        dataset: ``[n]``, from 0.
        datasets: how many there are.
        losses: ``[n]``, nats per token.
        weights: ``[n]``, samples; 0 for one of which it is not known whether it is repeated.
        repeat: ``[n]``, the share of the sample that was drawn before, 0 to 1.
        step: ``[n]``, counted from the same step on all ranks.

    Returns:
        float64 ``[datasets, MOMENTS]``.
    """
    columns = [np.ones(len(losses)), repeat, step, losses]
    pairs = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3)]
    sums = [np.bincount(dataset, weights * columns[one] * columns[other], datasets) for one, other in pairs]
    return np.stack(sums, axis=1).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """Loss of repeated samples minus that of fresh ones, nats per token."""

    value: float
    error: float
    """Standard error."""
    degrees: float
    """Degrees of freedom of the standard error, in Student's distribution."""

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the true value with a probability of 95 %."""
        low, high = interval_of(self.value, self.error, self.degrees)
        return float(low), float(high)

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class Contrast:
    """Sums over strata; with the difference ``d`` and the weight ``w`` of each."""

    strata: int = 0
    """Those that hold both fresh and repeated samples."""
    weight: float = 0.0
    """Of ``w``, in samples."""
    weight_2: float = 0.0
    """Of ``w``²."""
    weight_3: float = 0.0
    """Of ``w``³."""
    loss: float = 0.0
    """Of ``w d``."""
    loss_2: float = 0.0
    """Of ``w² d``."""
    square: float = 0.0
    """Of ``w² d²``."""

    @classmethod
    def of(cls, moments: Float64Array) -> "Contrast":
        """Of one window.

        Args:
            moments: ``[datasets, MOMENTS]``: :func:`moments_of`, added up over all ranks.
        """
        rows = moments[moments[:, 0] > 0]
        total, r, t, loss = rows[:, :4].T
        # About their means, within each stratum.
        rr, rt, rl, tt, tl = (rows[:, 4:] - np.stack([r * r, r * t, r * loss, t * t, t * loss], 1) / total[:, None]).T
        is_long = tt > _ROUNDING * total
        slope = np.where(is_long, rt / np.where(is_long, tt, 1.0), 0.0)
        weight, scored = rr - slope * rt, rl - slope * tl
        holds_both = weight > _ROUNDING * total
        weight, scored = weight[holds_both], scored[holds_both]
        sums = weight, weight**2, weight**3, scored, weight * scored, scored**2
        return cls(len(weight), *(float(one.sum()) for one in sums))

    def plus(self, other: "Contrast") -> "Contrast":
        """Both together."""
        return Contrast(
            self.strata + other.strata,
            self.weight + other.weight,
            self.weight_2 + other.weight_2,
            self.weight_3 + other.weight_3,
            self.loss + other.loss,
            self.loss_2 + other.loss_2,
            self.square + other.square,
        )

    @property
    def difference(self) -> Difference | None:
        """The weighted mean over all strata; None if too few hold both kinds, or their losses are no numbers."""
        if self.strata < 2:
            return None
        value = self.loss / self.weight
        share = self.weight_2 / self.weight  # the strata's mean weight, weighted by itself
        expected = self.weight - share
        if not (math.isfinite(value) and expected > _ROUNDING * self.weight):
            return None
        spread = self.square - 2 * value * self.loss_2 + value**2 * self.weight_2
        degrees = expected**2 / (self.weight_2 - 2 * self.weight_3 / self.weight + share**2)
        if degrees < FEWEST_DEGREES * (1 - _ROUNDING):
            return None
        return Difference(value, math.sqrt(max(spread, 0.0) / (self.weight * expected)), degrees)
