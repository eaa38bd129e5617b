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
    one length at one distance, the next block follows it. Until then a block is as long as the run has been so far,
    so that one long run is soon computed in large blocks and a short one hardly further than it goes.

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
        self._last = -1
        # First position of the present run, distance and length of the run before it, whether twice alike.
        self._run: tuple[int, int, int, bool] = (0, 0, 0, False)

    def __call__(self, position: int) -> Any:
        """The value at ``position``, which must lie in ``[0, length)``."""
        if position != self._last + 1:
            self._begin_run(position)
        self._last = position
        first, stride, run, values = self._block
        row, column = divmod(position - first, stride)
        at = row * run + column
        if column < run and 0 <= at < len(values):
            return values[at]
        return self._compute(position)

    def _begin_run(self, position: int) -> None:
        start, distance, length, _ = self._run
        found = position - start, self._last + 1 - start
        self._run = position, *found, found == (distance, length) and 0 < found[1] <= min(found[0], _BLOCK)

    def _compute(self, position: int) -> Any:
        """Computes the block that holds ``position``."""
        first, stride, run, repeats = self._run
        gone = position - first
        if repeats and 0 <= gone < run:
            rows = _BLOCK // run
        else:
            first = position
            stride = run = min(max(gone, _GUESS), _BLOCK)
            rows = 1
        positions = first + (np.arange(rows)[:, None] * stride + np.arange(run)).ravel()
        values = self._evaluate(positions[positions < self._length])
        self._block = first, stride, run, values
        return values[position - first]
