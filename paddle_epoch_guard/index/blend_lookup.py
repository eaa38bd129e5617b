"""Where a blend draws a given sample of a dataset, by the host's rule and without building the blend.

The rule is ``build_blending_indices`` of fast_dataindex (which PaddleNLP 3.0.0b4 uses), and Megatron's: position i
draws from the dataset with the largest deficit ``weight * max(i, 1) - drawn``; the first one wins a tie.
"""

import functools
import math
import operator
from collections.abc import Sequence
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


def blend_position(weights: Sequence[float], dataset: int, inner: int, limit: int = SIMULATED) -> BlendPosition:
    """The position at which a blend draws sample ``inner`` of a dataset.

    The largest deficit is never negative, so no dataset is ever a whole sample ahead: all deficits are above -1. They
    sum to zero. Where each dataset's share of the positions so far is a whole number, so are the deficits: all are
    zero, and the rule starts over. So it is enough to simulate from the last such position.

    Args:
        weights: ``[datasets]``, positive, as the user gave them.
        dataset: its 0-based number.
        inner: 0-based position in the dataset.
        limit: the most (positions times datasets) to simulate; beyond it, the position is estimated.
    """
    exact = [Fraction(repr(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    earliest = math.ceil(inner / shares[dataset])  # the first position without a negative deficit
    period = math.lcm(*(share.denominator for share in shares))
    position = earliest // period * period
    if (earliest - position) * len(shares) > limit:
        return BlendPosition(int((inner + Fraction(1, 2)) / shares[dataset]), exact=False)
    # Rounded twice, as the host does: the last bit decides between equal deficits.
    total = functools.reduce(operator.add, weights)  # Python 3.12's sum() does not round at every step
    once = np.array([weight / total for weight in weights])
    rounded: list[float] = (once / np.sum(once)).tolist()
    drawn = [int(share * position) for share in shares]
    while True:
        deficits = [weight * max(position, 1) - count for weight, count in zip(rounded, drawn, strict=True)]
        drawn_from = deficits.index(max(deficits))
        if drawn_from == dataset and drawn[dataset] == inner:
            return BlendPosition(position, exact=True)
        drawn[drawn_from] += 1
        position += 1
