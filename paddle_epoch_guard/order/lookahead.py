"""Single lookups, served from blocks that are computed ahead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 4096
_GUESS = 16


class Lookahead:
    """Answers one position at a time, computing many at once along the pattern in which they are asked for.

    A data-parallel rank asks for runs of positions at equal distances (its share of each microbatch), so a
    contiguous block would be computed mostly in vain. The pattern is taken from what was asked: after two runs of
    one length at one distance, the next block follows it.

    Args:
        evaluate: values of an int64 array of positions, ``[n]``.
        length: positions lie in ``[0, length)``.
    """

    def __init__(self, evaluate: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]], length: int) -> None:
        self._evaluate = evaluate
        self._length = length
        # First position, distance of runs, length of a run, values. Replaced as one, so that a reader in another
        # thread never sees half of it.
        self._block: tuple[int, int, int, npt.NDArray[Any]] = (0, 1, 1, evaluate(np.empty(0, np.int64)))
        self._follows_pattern = False
        self._run_start = self._last = 0
        self._pattern = (0, 0)

    def __call__(self, position: int) -> Any:
        """The value at ``position``, which must lie in ``[0, length)``."""
        first, stride, run, values = self._block
        row, column = divmod(position - first, stride)
        at = row * run + column
        if not (column < run and 0 <= at < len(values)):
            values = self._compute(position)
            at = 0
        self._last = position
        return values[at]

    def _compute(self, position: int) -> npt.NDArray[Any]:
        """Computes the block that begins at ``position``."""
        first, stride, run, values = self._block
        pattern = (position - self._run_start, self._last + 1 - self._run_start)
        used_up = position == first + stride * (len(values) // run)
        seen_twice = pattern == self._pattern and pattern[0] >= pattern[1] > 0
        if not (self._follows_pattern and used_up):
            stride, run = pattern if seen_twice else (_GUESS, _GUESS)
            self._follows_pattern = seen_twice
        rows = max(_BLOCK // run, 1) if self._follows_pattern else 1
        positions = position + (np.arange(rows)[:, None] * stride + np.arange(run)).ravel()
        values = self._evaluate(positions[positions < self._length])
        self._pattern, self._run_start = pattern, position
        self._block = position, stride, run, values
        return values
