"""An index that a sampler reads once per trainer epoch. Each of these sampler epochs has a shuffle of its own.

``BatchSampler`` and ``DistributedBatchSampler`` of ``paddle.io`` (paddle/io/dataloader/batch_sampler.py, paddlepaddle
3.3.1) list the positions of the index and pad the list with its own beginning to a multiple of the number of ranks.
They shuffle the list with ``numpy.random.RandomState(epoch)``, where ``epoch`` is the trainer's, from 0. Batches are
cut from the list one after the other, rank by rank.

``MappingBatchSampler`` and ``MappingDistributedBatchSampler`` (utils/batch_sampler.py, paddleformers 1.2.0) truncate
the list to a multiple of the number of ranks, and shuffle it by ``paddle.randperm`` under ``seed + epoch``. Each of
``D`` ranks takes every ``D``-th entry.

In both cases, a microbatch of all ranks is a contiguous range of the list. Positions of the run number the entries of
all lists, one after the other: position ``p`` is entry ``p % length`` of sampler epoch ``p // length``.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.gpt import Boundary, Int64Array, SampleIndex
from paddle_epoch_guard.language import tr

MAX_SAMPLER_EPOCHS = 1_000
"""The guard does not track runs with more sampler epochs over a sample index."""

SamplerKind = Literal["paddle.io", "paddleformers"]
"""The library that the sampler belongs to."""

Permute = Callable[[int, int], npt.NDArray[Any]]
"""How a sampler shuffles: seed and length -> ``[length]``, a permutation."""


def _in_order(length: int) -> npt.NDArray[Any]:
    return np.arange(length, dtype=np.uint32 if length < 1 << 32 else np.int64)


def numpy_permutation(seed: int, length: int) -> npt.NDArray[Any]:
    """The permutation of ``paddle.io``'s samplers, ``[length]``."""
    listed = _in_order(length)
    # The host shuffles a list; numpy shuffles an array in the same way.
    np.random.RandomState(seed).shuffle(listed)
    return listed


@dataclass(frozen=True)
class EpochSampling:
    """How a sampler lists the positions of an index in each sampler epoch. The sidecar records it."""

    samples: int
    """n: positions of the index, ``len(dataset)``."""
    length: int
    """Entries of the list: n, padded or truncated to a multiple of the world size."""
    shuffled: bool
    kind: SamplerKind = "paddle.io"
    seed: int = 0
    """Sampler epoch ``e`` is shuffled under ``seed + e``."""

    @classmethod
    def padded(cls, samples: int, world_size: int, shuffled: bool) -> "EpochSampling":
        """The rule of a sampler of ``paddle.io`` that divides ``samples`` among ``world_size`` ranks."""
        return cls(samples, -(-samples // world_size) * world_size, shuffled)

    @classmethod
    def truncated(cls, samples: int, world_size: int, shuffled: bool, seed: int) -> "EpochSampling":
        """The rule of a sampler of PaddleFormers for ``samples`` and ``world_size`` ranks.

        Raises:
            IndexMismatchError: there are fewer samples than ranks, so the sampler reads nothing.
        """
        return cls(samples, samples // world_size * world_size, shuffled, "paddleformers", seed if shuffled else 0)

    def __post_init__(self) -> None:
        if min(self.samples, self.length) < 1:
            raise IndexMismatchError(tr("{sampling}: expected at least one sample for each rank", sampling=self))


@dataclass(frozen=True)
class SamplerOrder:
    """The positions of the index in the order of each sampler epoch. Sampler epochs count from 0 here."""

    rule: EpochSampling
    permute: Permute = numpy_permutation

    def of_epoch(self, epoch: int) -> npt.NDArray[Any]:
        """``[length]``: the positions of the index in the order of a sampler epoch."""
        return _listed(self, epoch if self.rule.shuffled else 0)

    def at(self, positions: npt.ArrayLike) -> Int64Array:
        """The positions of the index that positions of the run draw, ``[n]`` both."""
        epochs, entries = np.divmod(np.asarray(positions, dtype=np.int64), self.rule.length)
        if not self.rule.shuffled:
            return entries % self.rule.samples
        drawn = np.empty_like(entries)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            drawn[chosen] = self.of_epoch(epoch)[entries[chosen]]
        return drawn

    def drawn_at(self, places: Int64Array, epoch: int) -> tuple[Int64Array, Int64Array]:
        """Where a sampler epoch draws positions of the index: the inverse of :meth:`at`.

        Args:
            places: positions of the index, ``[k]``, in any order, with or without repeats.
            epoch: of the sampler, from 0.

        Returns:
            Two int64 arrays ``[m]``: indices into ``places``, and the positions of the run that draw them. A position
            with which the list was padded is drawn twice.
        """
        order = self.of_epoch(epoch)
        is_wanted = np.zeros(self.rule.samples, dtype=bool)
        is_wanted[places] = True
        entries = np.flatnonzero(is_wanted[order])
        by_place = np.argsort(places, kind="stable")
        first, last = (np.searchsorted(places[by_place], order[entries], side=side) for side in ("left", "right"))
        count = last - first
        which = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
        return by_place[which], epoch * self.rule.length + np.repeat(entries, count)


@functools.lru_cache(maxsize=2)  # a log window seldom spans three sampler epochs
def _listed(order: SamplerOrder, epoch: int) -> npt.NDArray[Any]:
    rule = order.rule
    listed = order.permute(rule.seed + epoch, rule.length) if rule.shuffled else _in_order(rule.length)
    listed %= rule.samples
    listed.flags.writeable = False
    return listed


@dataclass(frozen=True)
class EpochSampledIndex:
    """Positions of a run whose trainer reads an index in several sampler epochs.

    Data epochs are numbered consecutively through all sampler epochs.
    """

    inner: SampleIndex
    """The index."""
    order: SamplerOrder
    sampler_epochs: int
    """How many sampler epochs the run begins, at least 1."""

    @property
    def rule(self) -> EpochSampling:
        """How the sampler lists the positions of the index."""
        return self.order.rule

    def __len__(self) -> int:
        return self.sampler_epochs * self.rule.length

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the index's datasets."""
        return self.inner.names

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs of each dataset, over all sampler epochs."""
        return tuple(count * self.sampler_epochs for count in self.inner.epochs)

    @functools.cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The start of each sampler epoch and, unless the sampler shuffles, the index's own boundaries within it."""
        inner = () if self.rule.shuffled else self.inner.boundaries
        boundaries = []
        for number in range(self.sampler_epochs):
            start = number * self.rule.length
            before = [count * number for count in self.inner.epochs]
            if number:
                boundaries += [Boundary(start, epochs, dataset) for dataset, epochs in enumerate(before)]
            boundaries += [
                Boundary(start + own.position, before[own.dataset] + own.from_epoch, own.dataset)
                for own in inner
                if own.position < self.rule.length  # the last positions may never be drawn
            ]
        return tuple(boundaries)

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """The dataset (0-based) and the data epoch (1-based, counted through all sampler epochs) of each position."""
        positions = np.asarray(positions, dtype=np.int64)
        datasets, epochs = self.inner.locate(self.order.at(positions))
        per_sampler_epoch = np.array(self.inner.epochs, dtype=np.int64)
        return datasets, epochs + positions // self.rule.length * per_sampler_epoch[datasets]

    def drawn_at(self, places: Int64Array) -> tuple[Int64Array, Int64Array]:
        """As :meth:`SamplerOrder.drawn_at`, over all sampler epochs."""
        drawn = [self.order.drawn_at(places, epoch) for epoch in range(self.sampler_epochs)]
        return np.concatenate([which for which, _ in drawn]), np.concatenate([at for _, at in drawn])
