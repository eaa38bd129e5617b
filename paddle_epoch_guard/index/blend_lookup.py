"""Where a blend draws a given sample of a dataset, by the host's rule and without building the blend.

The rule is ``build_blending_indices`` of fast_dataindex (which PaddleNLP 3.0.0b4 uses), and Megatron's: position i
draws from the dataset with the largest deficit ``weight * max(i, 1) - drawn``; the first one wins a tie.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

SIMULATED = 1 << 18
"""The most (positions times datasets) to simulate: a tenth of a second."""


@dataclass(frozen=True)
class BlendPosition:
    """A position of a blend, exact or estimated."""

    position: int
    exact: bool
    """Whether it was simulated. An estimate may be off by up to (number of datasets) / (share of the dataset)."""


def shares_by_python(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights ``[datasets]`` divided by their sum, which is rounded at every step, in their order.

    Raises:
        ZeroDivisionError: they add up to 0.
    """
    total = functools.reduce(operator.add, weights)  # Python 3.12's `sum` does not round at every step
    return tuple(weight / total for weight in weights)


def shares_by_numpy(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights ``[datasets]`` divided by numpy's sum; of eight or more, that rounds differently."""
    values = np.array(weights, dtype=np.float64)
    return tuple((values / np.sum(values)).tolist())


def blend_position(
    weights: Sequence[float], shares: Sequence[float], dataset: int, inner: int, limit: int = SIMULATED
) -> BlendPosition:
    """The position at which a blend draws sample ``inner`` of a dataset.

    The largest deficit is never negative, so no dataset is ever a whole sample ahead: all deficits are above -1. They
    sum to zero. Where each dataset's share of the positions so far is a whole number, so are the deficits: all are
    zero, and the rule starts over. So it is enough to simulate from the last such position.

    Args:
        weights: ``[datasets]``, positive, as the user gave them.
        shares: the same, normalised as the host rounds them.
        dataset: its 0-based number.
        inner: 0-based position in the dataset.
        limit: the most (positions times datasets) to simulate; beyond it, the position is estimated.
    """
    exact = [Fraction(repr(weight)) for weight in weights]
    parts = [weight / sum(exact) for weight in exact]
    earliest = math.ceil(inner / parts[dataset])  # the first position without a negative deficit
    period = math.lcm(*(part.denominator for part in parts))
    position = earliest // period * period
    if (earliest - position) * len(parts) > limit:
        return BlendPosition(int((inner + Fraction(1, 2)) / parts[dataset]), exact=False)
    drawn = [int(part * position) for part in parts]
    for drawn_from in _draws(shares, position, drawn):
        if drawn_from == dataset and drawn[dataset] == inner:
            return BlendPosition(position, exact=True)
        drawn[drawn_from] += 1
        position += 1
    raise AssertionError  # the draws never end


def drawn_of_each(shares: Sequence[float], size: int) -> list[int]:
    """How many samples the first ``size`` positions of a blend draw of each dataset, by drawing them one by one."""
    drawn = [0] * len(shares)
    for drawn_from in itertools.islice(_draws(shares, 0, drawn), size):
        drawn[drawn_from] += 1
    return drawn


def _draws(shares: Sequence[float], position: int, drawn: Sequence[int]) -> Iterator[int]:
    """The datasets that are drawn from, from a position on.

    Args:
        shares: normalised once.
        position: the first one.
        drawn: ``[datasets]``: samples before; the caller counts on.
    """
    # Rounded twice, as the hosts do: the last bit decides between equal deficits.
    rounded: list[float] = (np.array(shares) / np.sum(shares)).tolist()
    while True:
        deficits = [weight * max(position, 1) - count for weight, count in zip(rounded, drawn, strict=True)]
        yield deficits.index(max(deficits))
        position += 1
