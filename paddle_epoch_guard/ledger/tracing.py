"""At which positions of a run the same tokens are drawn: a random sample of the corpus, followed through the index.

A token is a place in the corpus: an offset in a document of the index's split. Each data epoch of each part of an
index (a chain has several) holds it once, at a place ``t`` of that part's stream, which is its documents one after
the other in the order of ``doc_idx``. It is drawn with sample ``t // L``: of the L + 1 tokens of a sample the last
counts for the next sample, whose first it is. Behind the last sample of a part some tokens are left over, which are
not drawn. The sample's position in the base order follows from ``shuffle_idx`` and, of a blend, from its two arrays;
the position of the run from the reorders. Schedules come later: see :mod:`paddle_epoch_guard.ledger.exposure`.

Each array is read once, from its beginning to its end, in blocks. Nothing of the size of the data is built but a bit
for each sample, a byte for each document. The datasets of a blend are counted apart, even if two name one corpus.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, EpochSampledIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.fingerprint import read_rows
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.order import PositionMap
from paddle_epoch_guard.order.seeds import TRACE

Int64Array = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.integer[Any]]

TRACED_TOKENS = 20_000
_EVENLY = 0.1  # of the traced tokens, so that a dataset of which the run draws little is not left out
_NEAR_BITS = 20
_BLOCK = 1 << 16  # entries; what is computed from a block stays in the cache of a core


@dataclass(frozen=True, eq=False)
class Trace:
    """Where the traced tokens are drawn, whatever the schedule."""

    token: npt.NDArray[np.int32]
    """``[n]``: which token; those of each dataset of a blend are numbered on from the dataset before."""
    position: Int64Array
    """``[n]``: where it is drawn, as a position of the run; ascending."""
    traced: tuple[int, ...]
    """Tokens traced of each dataset."""
    tokens: tuple[int, ...]
    """Tokens that each dataset has, in one data epoch."""
    cuts: Int64Array
    """Positions where exposure may jump: boundaries that no reorder has dissolved, both ends of the reorders."""

    @property
    def complete(self) -> bool:
        """Whether every token of the data is traced, so that what follows from it is exact."""
        return self.traced == self.tokens


def trace(
    index: SampleIndex,
    positions: PositionMap,
    tokens: int = TRACED_TOKENS,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Picks tokens at random and follows them to the positions that draw them.

    Of a blend, each dataset gets tokens in proportion to the samples that are drawn of it.

    Args:
        index: the data. Each dataset must have been built from its arrays.
        positions: the reorders, taken to hold wherever the run reads: what it read before a reorder began lies before
            the reorder's start, unless data is drawn again.
        tokens: how many to trace, from 1 on; all, where the data has no more.
        seed: from 0 on; the same seed picks the same tokens.
        progress: told the share of the work done, from 0 to 1, after each block read.

    Raises:
        IndexMismatchError: a dataset has no arrays to follow, or the index is of an unknown kind.
    """
    run, index = index, index.inner if isinstance(index, EpochSampledIndex) else index
    datasets = _datasets_of(index)
    sizes = tuple(one.parts[0].layout.tokens_per_epoch for one in datasets)
    traced = _allotted(tokens, sizes, index)
    reader = _Reader(datasets, index, progress)
    found = []
    for at, (dataset, size, count) in enumerate(zip(datasets, sizes, traced, strict=True)):
        token, place = _drawn_at(reader, dataset, _picked(count, size, (seed, TRACE, at)))
        found.append((token + sum(traced[:at]), place + sum(len(one) for one in datasets[:at])))
    token, place = (np.concatenate(each) for each in zip(*found, strict=True))
    if isinstance(index, BlendIndex):
        token, place = _blended(reader, index, datasets, token, place)
    if isinstance(run, EpochSampledIndex):
        which, place = run.drawn_at(place)
        token = token[which]
    place = positions.drawn(place)
    in_order = np.lexsort((token, place))
    seams = [one.position for one in run.boundaries if not positions.dissolves(one.position)]
    seams += [end for one in positions.reorders for end in (one.start, one.stop)]
    cuts = np.unique(np.array(seams, dtype=np.int64))
    return Trace(token[in_order].astype(np.int32), place[in_order], traced, sizes, cuts)


def _datasets_of(index: SampleIndex) -> tuple[ConcatenatedIndex, ...]:
    """The datasets of an index, each as a chain: of one part, where it was not extended."""
    found = []
    for one in index.datasets if isinstance(index, BlendIndex) else (index,):
        if not isinstance(one, GPTIndex | ConcatenatedIndex):
            raise IndexMismatchError(f"tokens of a {type(one).__name__} cannot be traced; expected a GPT sample index")
        found.append(one if isinstance(one, ConcatenatedIndex) else ConcatenatedIndex((one,)))
    return tuple(found)


def _allotted(tokens: int, sizes: tuple[int, ...], index: SampleIndex) -> tuple[int, ...]:
    """How many tokens to trace of each dataset, of which ``sizes`` are there."""
    if sum(sizes) <= tokens:
        return sizes
    if not isinstance(index, BlendIndex):
        return (tokens,)
    drawn = index.drawn_of_each(len(index))
    shares = (1 - _EVENLY) * drawn / max(int(drawn.sum()), 1) + _EVENLY / len(sizes)
    return tuple(min(max(int(tokens * share), 1), size) for share, size in zip(shares, sizes, strict=True))


def _picked(count: int, size: int, key: tuple[int, ...]) -> Int64Array:
    """``[count]``: different numbers from ``[0, size)``, ascending; all where there are no more."""
    if count == size:
        return np.arange(size, dtype=np.int64)
    random = np.random.default_rng(np.random.SeedSequence(key))
    return np.sort(random.choice(size, count, replace=False, shuffle=False))


class _Reader:
    """Reads arrays block by block, and tells how much of all that there is to read it has read."""

    def __init__(
        self, datasets: tuple[ConcatenatedIndex, ...], index: SampleIndex, progress: Callable[[float], None] | None
    ) -> None:
        self._progress = progress
        self._read = 0
        self._entries = sum(_documents_of(one)[1] - _documents_of(one)[0] for one in datasets)
        self._entries += sum(len(each.doc_idx) + len(each.shuffle_idx) for one in datasets for each in one.arrays)
        self._entries += 2 * len(index) if isinstance(index, BlendIndex) else 0

    def blocks(self, array: IntArray, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, IntArray]]:
        """The entries ``[start, stop)`` in blocks, and where each block starts."""
        stop = len(array) if stop is None else stop
        for at in range(start, stop, _BLOCK):
            block = read_rows(array, at, min(at + _BLOCK, stop))
            yield at, block
            self._read += len(block)
            if self._progress is not None:
                self._progress(self._read / self._entries)


def _documents_of(dataset: ConcatenatedIndex) -> tuple[int, int]:
    description = dataset.parts[0].description
    return split_documents(description.split, description.name, len(dataset.arrays[0].sizes))


def _drawn_at(reader: _Reader, dataset: ConcatenatedIndex, picked: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where picked tokens are drawn.

    Args:
        reader: of the arrays.
        dataset: the index.
        picked: ``[k]``: tokens, ascending, counted through the documents of the split.

    Returns:
        Two int64 arrays ``[n]``: numbers of picked tokens, and the dataset's positions that draw them.
    """
    documents, offsets = _places_in_documents(reader, dataset, picked)
    found = []
    for start, part, arrays in zip(dataset.starts.tolist(), dataset.parts, dataset.arrays, strict=True):
        token, place = _places_in_stream(reader, arrays, documents, offsets)
        sample = place // part.layout.seq_length
        token, sample = (each[sample < part.layout.samples_built] for each in (token, sample))
        wanted, which = np.unique(sample, return_inverse=True)
        position = _find(reader.blocks(part.shuffle_idx), wanted, part.layout.samples_built)[which]
        found.append((token[position >= 0], start + position[position >= 0]))
    token, position = (np.concatenate(each) for each in zip(*found, strict=True))
    return token, position


def _places_in_documents(
    reader: _Reader, dataset: ConcatenatedIndex, picked: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """The document of each picked token, and its offset there."""
    documents, offsets = np.empty_like(picked), np.empty_like(picked)
    before = done = 0
    for start, sizes in reader.blocks(dataset.arrays[0].sizes, *_documents_of(dataset)):
        ends = before + np.cumsum(sizes, dtype=np.int64)
        upto = int(np.searchsorted(picked, ends[-1]))
        # The first document that ends behind the token: documents without a token are passed over.
        at = np.searchsorted(ends, picked[done:upto], side="right")
        documents[done:upto] = start + at
        offsets[done:upto] = picked[done:upto] - (ends[at] - sizes[at])
        before, done = int(ends[-1]), upto
    return documents, offsets


def _places_in_stream(
    reader: _Reader, arrays: IndexArrays, documents: Int64Array, offsets: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Number and stream place of each token, once for every time that its document stands in ``doc_idx``."""
    sizes = np.asarray(arrays.sizes)
    is_wanted = np.zeros(len(sizes), dtype=bool)
    is_wanted[documents] = True
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    before = 0
    for _, ids in reader.blocks(arrays.doc_idx):
        spanned = sizes.take(ids)
        hits = np.flatnonzero(is_wanted.take(ids))
        if hits.size:
            begins = before + np.cumsum(spanned, dtype=np.int64)[hits] - spanned[hits]
            first, last = (np.searchsorted(documents, ids[hits], side=side) for side in ("left", "right"))
            count = last - first
            token = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
            found.append((token, np.repeat(begins, count) + offsets[token]))
        before += int(spanned.sum(dtype=np.int64))
    token, place = (np.concatenate(each) for each in zip(*found, strict=True))
    return token, place


def _blended(
    reader: _Reader, index: BlendIndex, datasets: tuple[ConcatenatedIndex, ...], token: Int64Array, place: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """From positions of the datasets, numbered through all of them, to those of the blend that it reaches."""
    starts = np.cumsum([0, *(len(one) for one in datasets)], dtype=np.int64)
    both = zip(reader.blocks(index.dataset_index), reader.blocks(index.dataset_sample_index), strict=True)
    places = ((start, starts.take(which) + inner) for (start, which), (_, inner) in both)
    wanted, each = np.unique(place, return_inverse=True)
    position = _find(places, wanted, int(starts[-1]))[each]
    return token[position >= 0], position[position >= 0]


def _find(blocks: Iterable[tuple[int, IntArray]], wanted: Int64Array, size: int) -> Int64Array:
    """Where values stand in an array.

    Args:
        blocks: the array, of values in ``[0, size)``.
        wanted: ``[k]``: the values, ascending.
        size: says how many bits are needed to mark them.

    Returns:
        int64 array ``[k]``; -1 where the value does not occur.
    """
    # Most values are not near a wanted one, and the map that says so fits the cache of a core.
    shift = max(size.bit_length() - _NEAR_BITS, 0)
    is_near = np.zeros((size >> shift) + 1, dtype=bool)
    is_near[wanted >> shift] = True
    marks = np.zeros((size >> 3) + 1, dtype=np.uint8)
    np.bitwise_or.at(marks, wanted >> 3, np.left_shift(1, wanted & 7).astype(np.uint8))
    found = np.full(len(wanted), -1, dtype=np.int64)
    for start, values in blocks:
        near = np.flatnonzero(is_near.take(values >> shift))
        values = values[near]
        hits = np.flatnonzero(np.right_shift(marks.take(values >> 3), values & 7) & 1)
        found[np.searchsorted(wanted, values[hits])] = start + near[hits]
    return found
