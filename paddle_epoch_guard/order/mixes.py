"""Reorders: deliberate changes of an order on a range, as invertible functions of a position."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order.permutation import Permutation

Int64Array = npt.NDArray[np.int64]

KNOTS = 1024
"""The number of intervals in which a ramp rises."""
_LONGEST_RAMP = 1 << 41  # products of two interval sizes must fit 63 bits


@dataclass(frozen=True)
class Reorder:
    """A change of an order on the positions ``[start, stop)``.

    Raises:
        OrderError: the range, the boundary or ``mix`` is invalid.
    """

    start: int
    stop: int
    mix: str
    """``uniform`` or ``ramp``."""
    key: tuple[int, ...]
    """The key of the permutation."""
    boundary: int | None = None
    """For a ramp: the first position of the *late* samples, ``start < boundary < stop``."""

    def __post_init__(self) -> None:
        if self.mix not in MIXES:
            raise OrderError(tr("the mix {mix!r}; expected one of {mixes}", mix=self.mix, mixes=tr(", ").join(MIXES)))
        values = {"start": self.start, "stop": self.stop}
        if not 0 <= self.start < self.stop:
            raise OrderError(tr("a reorder of positions {start} to {stop}; expected 0 <= start < stop", **values))
        if self.mix == "ramp" and (self.boundary is None or not self.start < self.boundary < self.stop):
            raise OrderError(
                tr(
                    "a ramp of positions {start} to {stop} with the boundary {boundary}; expected the boundary "
                    "between them",
                    boundary=self.boundary,
                    **values,
                )
            )
        if self.mix == "ramp" and self.stop - self.start > _LONGEST_RAMP:
            length = self.stop - self.start
            raise OrderError(tr("a ramp over {length} positions; expected at most 2**41. Use uniform", length=length))


class Mix(Protocol):
    """A bijection of ``[start, stop)`` onto itself."""

    def source(self, positions: Int64Array) -> Int64Array:
        """Maps positions ``[n]`` of the new order to those ``[n]`` of the old order whose samples they draw."""

    def target(self, positions: Int64Array) -> Int64Array:
        """The inverse: maps positions of the old order to those of the new one."""

    def compiled(self) -> npt.NDArray[np.void] | None:
        """The whole mix as one compiled permutation, ``[1]`` of ``PLACED``; None if it is more, or not compiled."""


class UniformMix:
    """Each sample of the range is equally likely at each position of the range."""

    def __init__(self, reorder: Reorder) -> None:
        self._start = reorder.start
        self._permutation = Permutation(reorder.stop - reorder.start, reorder.key)

    def source(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        return self._permutation(positions - self._start) + self._start

    def target(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        return self._permutation.inverse(positions - self._start) + self._start

    def compiled(self) -> npt.NDArray[np.void] | None:
        """See :class:`Mix`."""
        return self._permutation.placed(self._start)


class RampMix:
    """The share of late samples rises from zero, so that exposure is continuous at the start of the range.

    Of R1 early and R2 late samples, the first j of R = R1 + R2 positions draw c(j) late ones. If R2 <= R1,
    ``c(j) = R2 * (j / R)**2``. Otherwise the share reaches one as the early samples run out:
    ``c(j) = j**2 / (4 * R1)`` up to ``j = 2 * R1``, and ``j - R1`` after. This starts as gently as possible:
    c'(0) = 0, and c'' is constant while the share rises.

    c is computed at 1,024 knots in exact integers and is linear between them: no position depends on floating-point
    rounding. Early samples keep their order; late ones are permuted.
    """

    def __init__(self, reorder: Reorder) -> None:
        assert reorder.boundary is not None
        self._start, self._boundary = reorder.start, reorder.boundary
        size = reorder.stop - reorder.start
        early, late = reorder.boundary - reorder.start, reorder.stop - reorder.boundary
        self._permutation = Permutation(late, reorder.key)
        steps = min(KNOTS, size)
        places = [size * knot // steps for knot in range(steps + 1)]
        self._whole = size
        self._knots: Int64Array = np.array(places, np.int64)
        self._late_before: Int64Array = np.array([_late_among(place, early, late) for place in places], np.int64)
        self._early_before: Int64Array = self._knots - self._late_before
        self._size: Int64Array = np.diff(self._knots)
        self._late: Int64Array = np.diff(self._late_before)
        self._early: Int64Array = self._size - self._late

    def source(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        place: Int64Array = positions - self._start
        # The last knot at or before the place: the largest k with k * R // steps <= place.
        knot = ((place + 1) * len(self._size) - 1) // self._whole
        inside = place - self._knots[knot]
        late, size = self._late[knot], self._size[knot]
        product = inside * late
        drawn = product // size
        before = self._late_before[knot] + drawn
        is_late = product - drawn * size + late >= size  # this place draws one more late sample
        source: Int64Array = self._start + place - before
        source[is_late] = self._boundary + self._permutation(before[is_late])
        return source

    def target(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        is_late = positions >= self._boundary
        target = np.empty_like(positions)
        number = self._permutation.inverse(positions[is_late] - self._boundary)
        knot = np.searchsorted(self._late_before, number, side="right") - 1
        inside = number - self._late_before[knot]
        # The place that draws late sample `inside` of this interval.
        target[is_late] = self._knots[knot] + _ceil_div((inside + 1) * self._size[knot], self._late[knot]) - 1
        number = positions[~is_late] - self._start
        knot = np.searchsorted(self._early_before, number, side="right") - 1
        inside = number - self._early_before[knot]
        target[~is_late] = self._knots[knot] + inside * self._size[knot] // self._early[knot]
        target += self._start
        return target

    def compiled(self) -> npt.NDArray[np.void] | None:
        """See :class:`Mix`."""
        return None


def _ceil_div(values: Int64Array, divisors: Int64Array) -> Int64Array:
    rounded: Int64Array = -(-values // divisors)
    return rounded


def _late_among(first: int, early: int, late: int) -> int:
    """c(j) of :class:`RampMix`, rounded down, for j = ``first``; in exact integers."""
    size = early + late
    if late <= early:
        return late * first * first // (size * size)
    if first <= 2 * early:
        return first * first // (4 * early)
    return first - early


MIXES: dict[str, Callable[[Reorder], Mix]] = {"uniform": UniformMix, "ramp": RampMix}
"""The mixes by name, as used in flags and sidecars."""
