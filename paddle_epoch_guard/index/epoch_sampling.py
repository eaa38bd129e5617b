"""An index as a sampler that knows trainer epochs reads it: pass after pass, each in an order of its own if shuffled.

The rule of ``paddle.io``'s ``BatchSampler`` and ``DistributedBatchSampler`` (paddle/io/dataloader/batch_sampler.py,
paddlepaddle 3.3.1): positions of the index are listed once, and the first ones once more, so that all ranks have as
many; the list is shuffled with ``numpy.random.RandomState(epoch)``, where ``epoch`` is the trainer's, from 0. Batches
are cut from the list one after the other, rank by rank.

The rule of ``MappingBatchSampler`` and ``MappingDistributedBatchSampler`` (utils/batch_sampler.py, paddleformers
1.2.0): the last positions are left out, so that all ranks have as many; the others are put in the order of
``paddle.randperm`` under ``seed + epoch``. Of ``D`` ranks each takes every ``D``-th entry of the list.

By either rule a microbatch of all ranks is a run of the list. Positions of the run number the entries of all lists,
one after the other: position ``p`` is entry ``p % length`` of pass ``p // length``.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.gpt import Boundary, Int64Array, SampleIndex

MOST_PASSES = 1_000
"""More passes over a sample index are not followed."""


SamplerKind = Literal["paddle.io", "paddleformers"]
"""Whose sampler it is."""


def _in_order(length: int) -> npt.NDArray[Any]:
    return np.arange(length, dtype=np.uint32 if length < 1 << 32 else np.int64)


def _numpy_permutation(seed: int, length: int) -> npt.NDArray[Any]:
    listed = _in_order(length)
    # The host shuffles a list; an array is shuffled alike.
    np.random.RandomState(seed).shuffle(listed)
    return listed


PERMUTATIONS: dict[SamplerKind, Callable[[int, int], npt.NDArray[Any]]] = {"paddle.io": _numpy_permutation}
"""How each kind shuffles: seed and length -> ``[length]``. That of PaddleFormers is paddle's, which this room does not
know: the host's room puts it in here."""


@dataclass(frozen=True)
class EpochSampling:
    """How a sampler lists the positions of an index in each pass."""

    samples: int
    """n: positions of the index, ``len(dataset)``."""
    length: int
    """Entries of the list: n, made up to a multiple of the world size, or cut down to one."""
    shuffled: bool
    kind: SamplerKind = "paddle.io"
    seed: int = 0
    """A pass is shuffled under this and its number."""

    @classmethod
    def of(cls, samples: int, world_size: int, shuffled: bool) -> "EpochSampling":
        """The rule of a sampler of ``paddle.io`` that divides ``samples`` among ``world_size`` ranks."""
        return cls(samples, -(-samples // world_size) * world_size, shuffled)

    @classmethod
    def dealt(cls, samples: int, world_size: int, shuffled: bool, seed: int) -> "EpochSampling":
        """The rule of a sampler of PaddleFormers that deals ``samples`` out to ``world_size`` ranks.

        Raises:
            IndexMismatchError: there are fewer samples than ranks, so that it reads nothing.
        """
        return cls(samples, samples // world_size * world_size, shuffled, "paddleformers", seed if shuffled else 0)

    def __post_init__(self) -> None:
        if min(self.samples, self.length) < 1:
            raise IndexMismatchError(f"{self}: expected at least one sample for each rank")

    @property
    def deals(self) -> bool:
        """Whether of D ranks each takes every D-th entry of a microbatch, rather than a run of them."""
        return self.kind == "paddleformers"

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
def _places(rule: EpochSampling, number: int) -> npt.NDArray[Any]:
    shuffled = rule.shuffled
    listed = PERMUTATIONS[rule.kind](rule.seed + number, rule.length) if shuffled else _in_order(rule.length)
    listed %= rule.samples
    listed.flags.writeable = False
    return listed


@dataclass(frozen=True)
class EpochSampledIndex:
    """Positions of a run whose trainer reads an index in several passes.

    Data epochs are numbered on: those of the second pass follow the last one of the first.
    """

    inner: SampleIndex
    """The index."""
    rule: EpochSampling
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
                Boundary(start + one.position, before[one.dataset] + one.from_epoch, one.dataset)
                for one in inner
                if one.position < self.rule.length  # the last positions may never be drawn
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
