"""Serves single lookups from blocks that are computed ahead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 4096
_GUESS = 16


class Lookahead:
    """Looks up single positions, and computes blocks of values along the access pattern.

    A data-parallel rank reads runs of positions at equal distances, its share of each microbatch; most of a contiguous
    block would be wasted. So the pattern is learned: after two runs of equal length and distance, the next block
    follows them. Until then a block is as long as the current run, so that blocks grow along a long run and waste
    little on a short one.

    Args:
        evaluate: maps an int64 array ``[n]`` of positions to their values ``[n]``.
        length: positions lie in ``[0, length)``.
    """

    def __init__(self, evaluate: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]], length: int) -> None:
        self._evaluate = evaluate
        self._length = length
        # First position, distance of runs, length of a run, values: one tuple, so that threads see it consistently.
        self._block: tuple[int, int, int, npt.NDArray[Any]] = (0, 1, 1, evaluate(np.empty(0, np.int64)))
        self._last = -1
        # First position of the current run; distance and length of the run before; whether the two before that match.
        self._run: tuple[int, int, int, bool] = (0, 0, 0, False)

    def __call__(self, position: int) -> np.generic:
        """The value at ``position``, which must lie in ``[0, length)``."""
        if position != self._last + 1:
            self._begin_run(position)
        self._last = position
        first, stride, run, values = self._block
        row, column = divmod(position - first, stride)
        place = row * run + column
        if column < run and 0 <= place < len(values):
            return values[place]  # type: ignore[no-any-return]
        return self._compute(position)

    def _begin_run(self, position: int) -> None:
        start, distance, length, _ = self._run
        stride, run = position - start, self._last + 1 - start
        self._run = position, stride, run, (stride, run) == (distance, length) and 0 < run <= min(stride, _BLOCK)

    def _compute(self, position: int) -> np.generic:
        """Computes the block that starts with the current run, or else with ``position``, and returns its value."""
        first, stride, run, repeats = self._run
        passed = position - first
        if repeats and 0 <= passed < run:
            rows = _BLOCK // run
        else:
            first = position
            stride = run = min(max(passed, _GUESS), _BLOCK)
            rows = 1
        positions = first + (np.arange(rows)[:, None] * stride + np.arange(run)).ravel()
        values = self._evaluate(positions[positions < self._length])
        self._block = first, stride, run, values
        return values[position - first]  # type: ignore[no-any-return]
