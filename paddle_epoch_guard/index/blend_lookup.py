"""When a blend draws a given sample of one of its datasets: the host's rule, without building the blend.

The rule is ``build_blending_indices`` of fast_dataindex (which PaddleNLP 3.0.0b4 uses), and Megatron's: position i
draws from the dataset with the largest deficit ``weight * max(i, 1) - drawn``, of equal ones from the first.
"""

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

SIMULATED = 1 << 18
"""Positions times datasets that are gone through one by one, at most: a tenth of a second."""


@dataclass(frozen=True)
class Turn:
    """A position of a blend."""

    position: int
    exact: bool
    """Whether it was found by the rule itself; else it may be off by up to the number of datasets over its share."""


def turn_of(weights: Sequence[float], dataset: int, inner: int, most: int = SIMULATED) -> Turn:
    """The position at which a blend draws sample ``inner`` of a dataset.

    No dataset is ever a whole sample ahead, for the largest deficit is never negative: all are above -1. They sum to
    zero, and are whole numbers wherever each dataset's share of the positions so far is one: there all of them are
    zero, and the rule begins anew. So it is gone through from the last such place only.

    Args:
        weights: ``[datasets]``, positive, as the user gave them.
        dataset: which one.
        inner: 0-based.
        most: products of positions and datasets to go through.
    """
    exact = [Fraction(repr(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    earliest = math.ceil(inner / shares[dataset])  # where the deficit is not negative
    period = math.lcm(*(share.denominator for share in shares))
    position = earliest // period * period
    if (earliest - position) * len(shares) > most:
        return Turn(int((inner + Fraction(1, 2)) / shares[dataset]), exact=False)
    # Rounded twice, as the host does: equal deficits are told apart by the last bit.
    total = functools.reduce(operator.add, weights)  # Python 3.12's sum() does not round at every step
    once = np.array([weight / total for weight in weights])
    rounded: list[float] = (once / np.sum(once)).tolist()
    drawn = [int(share * position) for share in shares]
    while True:
        at = max(position, 1)
        deficits = [weight * at - count for weight, count in zip(rounded, drawn, strict=True)]
        drawing = deficits.index(max(deficits))
        if drawing == dataset and drawn[dataset] == inner:
            return Turn(position, exact=True)
        drawn[drawing] += 1
        position += 1
