"""Student's t: p-values and quantiles for arrays of statistics. scipy is not a dependency of this package."""

import functools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Gauss and Legendre's nodes of (0, 1), for integrals to six digits.
_POINTS, _WEIGHTS_TWICE = np.polynomial.legendre.leggauss(96)  # type: ignore[no-untyped-call]
_NODES, _WEIGHTS = (_POINTS + 1) / 2, _WEIGHTS_TWICE / 2
CONFIDENCE = 0.95
"""Of all intervals."""
_BISECTIONS = 60
_GRID = np.linspace(0.0, 1.0, 401)  # of 1 / freedom
_MOST_FREEDOM = 1000.0  # beyond it the nodes miss the tail, and the quantiles change by 0.1 %


def two_sided_p(t: npt.ArrayLike, freedom: npt.ArrayLike) -> Floats:
    """The probability that Student's t is at least as far from 0 as ``t``, [...].

    With t = sqrt(freedom) tan(a), the density is proportional to cos(a) ** (freedom - 1) on (-pi/2, pi/2).

    Args:
        t: statistics, [...]; infinite ones have a probability of 0.
        freedom: degrees of freedom, positive; broadcast against ``t``.
    """
    most = np.minimum(np.asarray(freedom, np.float64), _MOST_FREEDOM)
    statistic, free = np.broadcast_arrays(np.abs(np.asarray(t, np.float64)), most)
    angle = np.arctan2(statistic, np.sqrt(free))[..., None]
    rest, power = math.pi / 2 - angle, free[..., None] - 1
    inner = (angle * np.cos(angle * _NODES) ** power) @ _WEIGHTS
    outer = (rest * np.cos(angle + rest * _NODES) ** power) @ _WEIGHTS
    p: Floats = outer / (inner + outer)
    return p


def t_quantile(confidence: float, freedom: npt.ArrayLike) -> Floats:
    """Half the width of a two-sided interval, in standard errors, [...].

    Args:
        confidence: of the interval, such as 0.95.
        freedom: degrees of freedom, at least 1, [...].
    """
    quantile: Floats = np.exp(np.interp(1 / np.asarray(freedom, np.float64), _GRID, _log_quantiles(confidence)))
    return quantile


def interval_of(value: npt.ArrayLike, error: npt.ArrayLike, freedom: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The lower and the upper ends of 95 % intervals, [...] each.

    Args:
        value: estimates, [...].
        error: their standard errors, [...].
        freedom: degrees of freedom of the errors, at least 1, [...].
    """
    middle, half = np.asarray(value, np.float64), t_quantile(CONFIDENCE, freedom) * np.asarray(error, np.float64)
    return middle - half, middle + half


@functools.cache
def _log_quantiles(confidence: float) -> Floats:
    """Logarithms of the quantiles on the grid, by bisection; between its points they are nearly straight."""
    free = 1 / np.maximum(_GRID, 1 / _MOST_FREEDOM)
    low, high = np.zeros_like(free), np.full_like(free, 2 / (math.pi * (1 - confidence)) + 2)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_low = two_sided_p(middle, free) > 1 - confidence
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    logarithms: Floats = np.log(high)
    return logarithms
