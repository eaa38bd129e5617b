"""An index as the samplers of ``paddle.io`` read it: pass after pass, each in an order of its own where they shuffle.

The rule is that of ``BatchSampler`` and ``DistributedBatchSampler`` (paddle/io/dataloader/batch_sampler.py,
paddlepaddle 3.3.1). Positions of the index are listed once, and the first ones once more, so that all ranks have as
many; the list is shuffled with ``numpy.random.RandomState(epoch)``, where ``epoch`` is the trainer's, from 0. Batches
are cut from the list one after the other, rank by rank. Positions of the run number the entries of all lists, one
after the other: position ``p`` is entry ``p % length`` of pass ``p // length``.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.gpt import Boundary, Int64Array, SampleIndex

MOST_PASSES = 1_000
"""More passes over a sample index are not followed."""


@dataclass(frozen=True)
class PassRule:
    """How a sampler of ``paddle.io`` lists the positions of an index in each pass."""

    samples: int
    """n: positions of the index, ``len(dataset)``."""
    length: int
    """Entries of the list: n, made up to a multiple of the world size."""
    shuffled: bool

    @classmethod
    def of(cls, samples: int, world_size: int, shuffled: bool) -> "PassRule":
        """The rule of a sampler that divides ``samples`` among ``world_size`` ranks."""
        return cls(samples, -(-samples // world_size) * world_size, shuffled)

    def __post_init__(self) -> None:
        if not 0 < self.samples <= self.length:
            raise IndexMismatchError(f"{self}: expected 0 < samples <= length")

    def places(self, number: int) -> npt.NDArray[Any]:
        """``[length]``: the positions of the index in the order of a pass, counted from 0."""
        return _places(self, number if self.shuffled else 0)

    def place_of(self, positions: npt.ArrayLike) -> Int64Array:
        """The positions of the index that positions of the run draw, ``[n]`` both."""
        passes, at = np.divmod(np.asarray(positions, dtype=np.int64), self.length)
        if not self.shuffled:
            return at % self.samples
        found = np.empty_like(at)
        for number in np.unique(passes).tolist():
            chosen = passes == number
            found[chosen] = self.places(number)[at[chosen]]
        return found

    def drawn_at(self, places: Int64Array, number: int) -> tuple[Int64Array, Int64Array]:
        """Where a pass draws positions of the index.

        Args:
            places: ``[k]``, in any order, any of them more than once.
            number: of the pass, from 0.

        Returns:
            Two int64 arrays ``[m]``: numbers into ``places``, and the positions of the run that draw them. What the
            list was made up with is drawn twice.
        """
        order = self.places(number)
        is_wanted = np.zeros(self.samples, dtype=bool)
        is_wanted[places] = True
        at = np.flatnonzero(is_wanted[order])
        by_place = np.argsort(places, kind="stable")
        first, last = (np.searchsorted(places[by_place], order[at], side=side) for side in ("left", "right"))
        count = last - first
        which = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
        return by_place[which], number * self.length + np.repeat(at, count)


@functools.lru_cache(maxsize=2)  # a log window seldom reaches from one pass into a third
def _places(rule: PassRule, number: int) -> npt.NDArray[Any]:
    listed: npt.NDArray[Any] = np.arange(rule.length, dtype=np.uint32 if rule.length < 1 << 32 else np.int64)
    listed %= rule.samples
    if rule.shuffled:
        # The host shuffles a list; an array is shuffled alike.
        np.random.RandomState(number).shuffle(listed)
    listed.flags.writeable = False
    return listed


@dataclass(frozen=True)
class PassesIndex:
    """Positions of a run whose trainer reads an index in several passes.

    Data epochs are numbered on: those of the second pass follow the last one of the first.
    """

    inner: SampleIndex
    """The index."""
    rule: PassRule
    passes: int
    """As many as the run begins, from 1 on."""

    def __len__(self) -> int:
        return self.passes * self.rule.length

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the index."""
        return self.inner.names

    @property
    def epochs(self) -> tuple[int, ...]:
        """Data epochs of each dataset, those of all passes together."""
        return tuple(count * self.passes for count in self.inner.epochs)

    @functools.cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Where each pass begins; within a pass, the index's own boundaries, unless a shuffle undoes its order."""
        inner = () if self.rule.shuffled else self.inner.boundaries
        found = []
        for number in range(self.passes):
            start = number * self.rule.length
            before = [count * number for count in self.inner.epochs]
            if number:
                found += [Boundary(start, epochs, dataset) for dataset, epochs in enumerate(before)]
            found += [
                Boundary(start + one.position, before[one.dataset] + one.from_epoch, one.dataset) for one in inner
            ]
        return tuple(found)

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """The dataset (0-based) and the data epoch (1-based, counted through all passes) of each position."""
        at = np.asarray(positions, dtype=np.int64)
        datasets, epochs = self.inner.locate(self.rule.place_of(at))
        each = np.array(self.inner.epochs, dtype=np.int64)
        return datasets, epochs + at // self.rule.length * each[datasets]

    def drawn_at(self, places: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Numbers into ``places``, positions of the index, and where all passes draw them."""
        found = [self.rule.drawn_at(places, number) for number in range(self.passes)]
        return np.concatenate([which for which, _ in found]), np.concatenate([at for _, at in found])
