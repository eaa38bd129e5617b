"""Into which shares the tokens of a sample fall, by how often and how long before they had been drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

MOST = 4
"""The exposure level of tokens drawn so often before, or more often."""
UNKNOWN = MOST + 1
"""The exposure level of repeated tokens of which it is not known how often they were drawn before."""
LEVELS = UNKNOWN + 1
"""The number of exposure levels: 0, 1, 2, 3, 4 or more, unknown."""
RECENCIES = 5
"""The number of classes of recency: last drawn fewer than 10, 100, 1,000 or 10,000 steps before, or earlier."""
TELLING = 4
"""Traced tokens of a sample that tell whether it is wholly fresh: half of one repeated by half would pass 1 in 16."""
UNIFORM = 0.005
"""Tolerance for the one sample that crosses a boundary, and is new there."""
NOT_DRAWN = -1
"""The time of a sample that is not drawn, or of which nothing is known."""
_RECENCY_ENDS = 10 ** np.arange(1, RECENCIES)


@dataclass(frozen=True, eq=False)
class SampleShares:
    """Of some samples: the shares of their tokens."""

    fresh: Float64Array
    """``[n]``: drawn for the first time."""
    known: npt.NDArray[np.bool_]
    """``[n]``: whether that share is known; where it is not, all shares are 0."""
    by_exposure: Float64Array
    """``[n, LEVELS]``: of each exposure level; that of level 0 is ``fresh``, and all together are 1."""
    by_recency: Float64Array
    """``[n, RECENCIES]``: of repeated tokens by the steps since their last draw, together ``1 - fresh``; all 0 if no
    token of the sample is traced."""
    wholly_fresh: npt.NDArray[np.bool_]
    """``[n]``: whether all of its traced tokens are new, and there are :data:`TELLING` or all are traced; or nearly
    all traced tokens between the two nearest jumps are new. One with fewer may hold many that were drawn before."""


@dataclass(frozen=True, eq=False)
class TracedDraws:
    """What the shares of a sample follow from, by the time at which it is drawn."""

    time: Int64Array
    """``[d]``: of each traced draw, ascending."""
    level: npt.NDArray[np.int8]
    """``[d]``: its exposure level."""
    recency: npt.NDArray[np.int8]
    """``[d]``: its class of recency; -1 if its token is new."""
    jumps: Int64Array
    """``[m]``: the times at which exposure may jump, with the first and the last time; ascending."""
    share: Float64Array
    """``[m]``: the share of new tokens from each jump to the next; -1 if the traced draws are few, or some new and
    some not. The last entry, -1, is of samples that are not drawn."""
    levels_between: Float64Array
    """``[m, LEVELS]``: into which exposure levels those tokens fall; the last row is zeros."""
    complete: bool
    """Whether every token is traced."""

    @classmethod
    def none(cls) -> "TracedDraws":
        """Nothing is traced, and nothing known."""
        nothing, small = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int8)
        return cls(nothing, small, small, nothing, np.full(1, -1.0), np.zeros((1, LEVELS)), False)

    def shares_at(self, time: Int64Array) -> SampleShares:
        """The shares of the samples that are drawn at some times, ``[n]`` in any order; see `NOT_DRAWN`.

        A sample is divided by its traced tokens. One without a traced token is divided as the traced tokens between
        the two nearest jumps are, if nearly all of these are new, or none. If none is, and they differ in their
        exposure level, that of the sample is unknown.
        """
        is_drawn = time >= 0
        first, last = (np.searchsorted(self.time, time, side=side) for side in ("left", "right"))
        interval = np.clip(np.searchsorted(self.jumps, time, side="right") - 1, 0, max(len(self.share) - 2, 0))
        traced = np.where(is_drawn, last - first, 0)
        known = is_drawn & ((traced > 0) | (self.share[interval] >= 0))
        has_none = np.flatnonzero(known & (traced == 0))
        sample = np.repeat(np.arange(len(traced)), traced)
        draw = np.arange(len(sample)) + (first - np.cumsum(traced) + traced)[sample]
        by_exposure, by_recency = (
            table_of_pairs(sample, cell.take(draw), (len(traced), cells)) / np.maximum(traced, 1)[:, None]
            for cell, cells in ((self.level, LEVELS), (self.recency, RECENCIES))
        )
        fresh = by_exposure[:, 0].copy()
        fresh[has_none] = self.share[interval[has_none]]
        by_exposure[has_none] = self.levels_between.take(interval[has_none], axis=0)
        is_told = (traced >= TELLING) | (self.complete & (traced > 0))
        wholly_fresh = known & ((is_told & (fresh == 1)) | (self.share[interval] >= 1 - UNIFORM))
        return SampleShares(fresh, known, by_exposure, by_recency, wholly_fresh)


def levels_of(prior: Int64Array) -> npt.NDArray[np.int8]:
    """The exposure level of each draw, ``[n]``, from the number of earlier draws of its token."""
    return np.minimum(prior, MOST).astype(np.int8)


def recencies_of(prior: Int64Array, since: Int64Array) -> npt.NDArray[np.int8]:
    """The class of recency of each draw, ``[n]``; -1 if its token is new.

    Args:
        prior: ``[n]``: how often its token had been drawn before.
        since: ``[n]``: the steps since the last of these draws.
    """
    recency = np.searchsorted(_RECENCY_ENDS, since, side="right").astype(np.int8)
    return np.where(prior > 0, recency, np.int8(-1))


def table_of_pairs(row: Int64Array, column: npt.NDArray[np.int8], shape: Sequence[int]) -> Int64Array:
    """A table of how often each pair of row and column occurs; a column of -1 is left out."""
    rows, columns = shape
    keys = (row * columns + column)[column >= 0]
    return np.bincount(keys, minlength=rows * columns).reshape(rows, columns)
