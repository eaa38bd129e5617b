"""Reorders: deliberate changes of an order on a range of positions, as invertible functions of a position."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.order.permutation import Permutation

Int64Array = npt.NDArray[np.int64]

KNOTS = 1024
"""Steps in which a ramp rises."""
_RAMP_UP_TO = 1 << 41  # products of two segment sizes must fit 63 bits


@dataclass(frozen=True)
class Reorder:
    """One change of an order on ``[start, stop)``: four numbers and a name, whatever the size of the run.

    Raises:
        OrderError: the numbers do not describe a range, or ``mix`` is unknown.
    """

    start: int
    stop: int
    mix: str
    """``uniform`` or ``ramp``."""
    key: tuple[int, ...]
    """Of the permutation."""
    boundary: int | None = None
    """For a ramp: the position from which on the range's *late* samples lie, ``start < boundary < stop``."""

    def __post_init__(self) -> None:
        if self.mix not in MIXES:
            raise OrderError(f"the mix {self.mix!r}; expected one of {', '.join(MIXES)}")
        if not 0 <= self.start < self.stop:
            raise OrderError(f"a reorder of positions {self.start} to {self.stop}; expected 0 <= start < stop")
        if self.mix == "ramp" and (self.boundary is None or not self.start < self.boundary < self.stop):
            raise OrderError(
                f"a ramp of positions {self.start} to {self.stop} with the boundary {self.boundary}; "
                "expected the boundary between them"
            )
        if self.mix == "ramp" and self.stop - self.start > _RAMP_UP_TO:
            raise OrderError(f"a ramp over {self.stop - self.start} positions; expected at most 2**41. Use uniform")


class Mix(Protocol):
    """A bijection of ``[start, stop)`` onto itself."""

    def source(self, positions: Int64Array) -> Int64Array:
        """For positions ``[n]`` of the new order, the positions of the old one whose samples are drawn there."""

    def target(self, positions: Int64Array) -> Int64Array:
        """The inverse: where the samples of these old positions are drawn now."""


class UniformMix:
    """Every sample of the range is drawn at any position of it alike."""

    def __init__(self, reorder: Reorder) -> None:
        self._start = reorder.start
        self._permutation = Permutation(reorder.stop - reorder.start, reorder.key)

    def source(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        return self._permutation(positions - self._start) + self._start

    def target(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        return self._permutation.inverse(positions - self._start) + self._start


class RampMix:
    """The share of late samples rises from zero, so that exposure is continuous where the range begins.

    Of the first j of R positions, c(j) draw late samples, R1 early and R2 late ones in all. Where there are no
    more late than early ones, ``c(j) = R2 * (j / R)**2``; else the share rises at the pace at which it reaches one
    when the early samples are used up, ``c(j) = j**2 / (4 * R1)`` up to ``j = 2 * R1`` and ``j - R1`` after. That is
    the gentlest start among curves of this kind: c'(0) = 0 and c'' constant while it rises.

    c is taken at 1,024 knots, in exact integers, and runs evenly between them: a position is never a matter of
    floating-point rounding. Early samples keep their order; late ones are permuted.
    """

    def __init__(self, reorder: Reorder) -> None:
        assert reorder.boundary is not None
        self._start, self._boundary = reorder.start, reorder.boundary
        size = reorder.stop - reorder.start
        early, late = reorder.boundary - reorder.start, reorder.stop - reorder.boundary
        self._permutation = Permutation(late, reorder.key)
        steps = min(KNOTS, size)
        at = [size * knot // steps for knot in range(steps + 1)]
        self._whole = size
        self._at: Int64Array = np.array(at, np.int64)
        self._late_before: Int64Array = np.array([_late_among(j, early, late) for j in at], np.int64)
        self._early_before: Int64Array = self._at - self._late_before
        self._size: Int64Array = np.diff(self._at)
        self._late: Int64Array = np.diff(self._late_before)
        self._early: Int64Array = self._size - self._late

    def source(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        place: Int64Array = positions - self._start
        # The last knot at or before the place: the largest k with k * R // steps <= place.
        knot = ((place + 1) * len(self._size) - 1) // self._whole
        inside = place - self._at[knot]
        late, size = self._late[knot], self._size[knot]
        product = inside * late
        drawn = product // size
        before = self._late_before[knot] + drawn
        is_late = product - drawn * size + late >= size  # one more is drawn at this place
        found: Int64Array = self._start + place - before
        found[is_late] = self._boundary + self._permutation(before[is_late])
        return found

    def target(self, positions: Int64Array) -> Int64Array:
        """See :class:`Mix`."""
        is_late = positions >= self._boundary
        found = np.empty_like(positions)
        number = self._permutation.inverse(positions[is_late] - self._boundary)
        knot = np.searchsorted(self._late_before, number, side="right") - 1
        inside = number - self._late_before[knot]
        # The first place at which more than `inside` late samples of this knot have been drawn, less one.
        found[is_late] = self._at[knot] + _ceil_div((inside + 1) * self._size[knot], self._late[knot]) - 1
        number = positions[~is_late] - self._start
        knot = np.searchsorted(self._early_before, number, side="right") - 1
        inside = number - self._early_before[knot]
        found[~is_late] = self._at[knot] + inside * self._size[knot] // self._early[knot]
        found += self._start
        return found


def _ceil_div(values: Int64Array, divisors: Int64Array) -> Int64Array:
    rounded: Int64Array = -(-values // divisors)
    return rounded


def _late_among(first: int, early: int, late: int) -> int:
    """c(j) of :class:`RampMix`, rounded down, in Python's exact integers."""
    size = early + late
    if late <= early:
        return late * first * first // (size * size)
    if first <= 2 * early:
        return first * first // (4 * early)
    return first - early


MIXES: dict[str, Callable[[Reorder], Mix]] = {"uniform": UniformMix, "ramp": RampMix}
"""Every mix by its name, as flags and sidecars know it."""
