"""Traces a random sample of tokens through the index: at which positions of a run each of them is drawn.

A token is an offset in a document of the split. Each data epoch of an index holds it once, at an offset ``t`` of the
index's token stream: its documents in the order of ``doc_idx``. Sample ``t // L`` draws it: the last of a sample's
L + 1 tokens is the first of the next sample, and counts there. The tokens after the last sample are never drawn. The
sample's position in the base order follows from ``shuffle_idx`` (and a blend's two arrays), its position in the run
from the reorders. Schedules come later: see :mod:`paddle_epoch_guard.ledger.exposure`.

Each array is read once, front to back, in blocks. Memory per sample is one bit, per document one byte.

Datasets of a blend that have the same corpus share the tokens of the documents that are in the splits of both: a draw
by one is an earlier draw for the other. Tokens are picked in *strata*, ranges of documents in which all documents
belong to the same datasets. A dataset is a stratum, unless its corpus has several.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, EpochSampledIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.index.corpus import count_tokens
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.equal_corpora import Corpus, EqualCorpora, equal_corpora
from paddle_epoch_guard.index.fingerprint import read_rows
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import PositionMap
from paddle_epoch_guard.order.seeds import TRACE

Int64Array = npt.NDArray[np.int64]
Places = tuple[Int64Array, Int64Array, Int64Array]
"""Numbers of tokens, their documents, and their offsets in these."""
IntArray = npt.NDArray[np.integer[Any]]

TRACED_TOKENS = 20_000
_EVENLY = 0.1  # share of the traced tokens that is split evenly, so that rarely drawn datasets are traced too
_NEAR_BITS = 20
_BLOCK = 1 << 16  # entries; results for one block fit a core's cache


@dataclass(frozen=True, eq=False)
class EarlierData:
    """Other data that holds tokens of the run's corpora: what was drawn from it counts as drawn before."""

    index: SampleIndex
    """Each dataset must have been built from its arrays."""
    positions: PositionMap
    corpora: tuple[int, ...]
    """For each of its datasets, a dataset of the run with the same corpus. Its split may be another one."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Where an index draws the traced tokens."""

    token: npt.NDArray[np.int32]
    """``[n]``: the number of the token."""
    position: Int64Array
    """``[n]``: the position that draws it, ascending."""
    dataset: npt.NDArray[np.int32]
    """``[n]``: the dataset that draws it."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Where the traced tokens are drawn, independent of the schedule."""

    token: npt.NDArray[np.int32]
    """``[n]``: the number of the token, counted through all strata."""
    position: Int64Array
    """``[n]``: the position of the run that draws it, ascending."""
    traced: tuple[int, ...]
    """The number of tokens traced in each stratum."""
    tokens: tuple[int, ...]
    """The number of tokens of each stratum, each counted once."""
    discontinuities: Int64Array
    """``[m]``: positions where exposure may jump: boundaries that no reorder dissolves, and both ends of reorders."""
    dataset: npt.NDArray[np.int32]
    """``[n]``: the dataset that draws it."""
    discontinuities_of: tuple[Int64Array, ...]
    """For each dataset: those positions at which the exposure of its own tokens may jump."""
    corpora: EqualCorpora = field(default_factory=EqualCorpora)
    """Which datasets have the same corpus, and so share tokens."""
    earlier: tuple[Drawn, ...] = ()
    """Where other data draws the same tokens."""

    @property
    def complete(self) -> bool:
        """Whether every token of the data is traced, so that results are exact."""
        return self.traced == self.tokens


def trace(
    index: SampleIndex,
    positions: PositionMap,
    tokens: int = TRACED_TOKENS,
    seed: int = 0,
    earlier: Sequence[EarlierData] = (),
) -> Trace:
    """Picks tokens at random and finds the positions that draw them.

    A blend's strata share the tokens in proportion to the samples drawn from each.

    Args:
        index: the data. Each dataset must have been built from its arrays.
        positions: the reorders, applied to the whole run: all samples drawn before a reorder began lie before its
            start, unless data is drawn again.
        tokens: how many to trace, at least 1; all if the data has fewer.
        seed: at least 0; the same seed picks the same tokens.
        earlier: other data in which the same tokens are found.

    Raises:
        IndexMismatchError: a dataset has no arrays, or the index is of an unknown kind.
    """
    datasets = _datasets_of(_listed(index))
    corpora = equal_corpora([Corpus(one.indices[0].description.prefix, one.arrays[0].sizes) for one in datasets])
    strata = _strata_of(datasets, corpora)
    sizes = tuple(stratum.tokens for stratum in strata)
    traced = _allotted(tokens, strata, _listed(index))
    picked = []
    for number, (stratum, count) in enumerate(zip(strata, traced, strict=True)):
        offsets = _picked(count, stratum.tokens, (seed, TRACE, number))
        picked.append((sum(traced[:number]) + np.arange(count), *_document_offsets(stratum, offsets)))

    own = [_joined_places(picked, [number in one.datasets for one in strata]) for number in range(len(datasets))]
    drawn = _drawn(index, positions, own)
    others = []
    for other in earlier:
        firsts = [corpora.like(number)[0] for number in other.corpora]
        held = [_joined_places(picked, [one.corpus == first for one in strata]) for first in firsts]
        others.append(_drawn(other.index, other.positions, held))
    discontinuities_of = _discontinuities_of(index, positions, len(datasets))
    return Trace(
        drawn.token,
        drawn.position,
        traced,
        sizes,
        np.unique(np.concatenate(discontinuities_of)),
        drawn.dataset,
        discontinuities_of,
        corpora,
        tuple(others),
    )


def _joined_places(places: Sequence[Places], chosen: Sequence[bool]) -> Places:
    """The chosen ones of some groups of tokens of one corpus, ascending, as one group."""
    ids, documents, offsets = zip(
        *(each for each, is_chosen in zip(places, chosen, strict=True) if is_chosen), strict=True
    )
    return np.concatenate(ids), np.concatenate(documents), np.concatenate(offsets)


def _listed(index: SampleIndex) -> SampleIndex:
    """The index that a sampler lists in each sampler epoch, or the index itself."""
    return index.inner if isinstance(index, EpochSampledIndex) else index


def _drawn(run: SampleIndex, positions: PositionMap, tokens: Sequence[Places]) -> Drawn:
    """Where an index draws tokens.

    Args:
        run: the index.
        positions: its reorders.
        tokens: those of each of its datasets.
    """
    index = _listed(run)
    datasets = _datasets_of(index)
    draws = []
    for number, (own, (ids, documents, offsets)) in enumerate(zip(datasets, tokens, strict=True)):
        token, position = _draws_of(own, documents, offsets)
        draws.append((ids[token], position + sum(map(len, datasets[:number]))))
    drawn_by = np.repeat(np.arange(len(draws), dtype=np.int32), [len(token) for token, _ in draws])
    token, position = _joined(draws)
    if isinstance(index, BlendIndex):
        which, position = _blended(index, datasets, position)
        token, drawn_by = token[which], drawn_by[which]
    if isinstance(run, EpochSampledIndex):
        which, position = run.drawn_at(position)
        token, drawn_by = token[which], drawn_by[which]
    position = positions.drawn(position)
    in_order = np.lexsort((token, position))
    return Drawn(token[in_order].astype(np.int32), position[in_order], drawn_by[in_order])


def entries_to_read(index: SampleIndex) -> int:
    """About how many entries of arrays :func:`trace` reads; 0 if it cannot trace the index."""
    inner = index.inner if isinstance(index, EpochSampledIndex) else index
    arrays = [
        each
        for dataset in (inner.datasets if isinstance(inner, BlendIndex) else (inner,))
        for each in (dataset.arrays if isinstance(dataset, ConcatenatedIndex) else (getattr(dataset, "arrays", None),))
        if each is not None
    ]
    return len(inner) + sum(len(each.sizes) + len(each.doc_idx) + len(each.shuffle_idx) for each in arrays)


def _discontinuities_of(run: SampleIndex, positions: PositionMap, datasets: int) -> tuple[Int64Array, ...]:
    """For each dataset, the positions at which the exposure of its tokens may jump, ascending."""
    ends = [end for reorder in positions.reorders for end in (reorder.start, reorder.stop)]
    jumps = [list(ends) for _ in range(datasets)]
    for boundary in run.boundaries:
        if not positions.dissolves(boundary.position):
            jumps[boundary.dataset].append(boundary.position)
    return tuple(np.unique(np.array(own, dtype=np.int64)) for own in jumps)


def _joined(pairs: Sequence[tuple[Int64Array, Int64Array]]) -> tuple[Int64Array, Int64Array]:
    """Joins pairs of arrays to one pair."""
    first, second = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return first, second


def _datasets_of(index: SampleIndex) -> tuple[ConcatenatedIndex, ...]:
    """The datasets of an index; one that was not extended as a concatenation of a single index."""
    datasets = []
    for dataset in index.datasets if isinstance(index, BlendIndex) else (index,):
        if not isinstance(dataset, GPTIndex | ConcatenatedIndex):
            kind = type(dataset).__name__
            raise IndexMismatchError(tr("tokens of a {kind} cannot be traced; expected a GPT sample index", kind=kind))
        datasets.append(dataset if isinstance(dataset, ConcatenatedIndex) else ConcatenatedIndex((dataset,)))
    return tuple(datasets)


@dataclass(frozen=True)
class _Stratum:
    """A range of documents of a corpus that all belong to the same datasets."""

    sizes: IntArray
    """``[all documents]``: tokens of each document of the corpus."""
    start: int
    stop: int
    tokens: int
    """In the documents ``[start, stop)``, at least 1."""
    datasets: tuple[int, ...]
    corpus: int
    """The first dataset of this corpus."""


def _strata_of(datasets: tuple[ConcatenatedIndex, ...], corpora: EqualCorpora) -> list[_Stratum]:
    """The strata, by the first dataset of each; those of a dataset by their documents."""
    strata = []
    ranges = [_documents_of(dataset) for dataset in datasets]
    of_group = {numbers[0]: numbers for numbers in corpora.groups}
    later = {number for numbers in corpora.groups for number in numbers[1:]}
    for number, dataset in enumerate(datasets):
        if number in later:
            continue
        sizes, numbers = dataset.arrays[0].sizes, of_group.get(number, (number,))
        ends = sorted({end for one in numbers for end in ranges[one]})
        for start, stop in pairwise(ends):
            inside = tuple(one for one in numbers if ranges[one][0] <= start and stop <= ranges[one][1])
            whole = ranges[number] == (start, stop)
            tokens = dataset.indices[0].layout.tokens_per_epoch if whole else count_tokens(sizes, start, stop)
            if inside and tokens:
                strata.append(_Stratum(sizes, start, stop, tokens, inside, number))
    return strata


def _allotted(tokens: int, strata: Sequence[_Stratum], index: SampleIndex) -> tuple[int, ...]:
    """The number of tokens to trace in each stratum, at most its size."""
    sizes = tuple(stratum.tokens for stratum in strata)
    if sum(sizes) <= tokens:
        return sizes
    if not isinstance(index, BlendIndex):
        return (tokens,)
    drawn = index.drawn_of_each(len(index))
    of_dataset = np.zeros(len(drawn))
    for stratum in strata:
        of_dataset[list(stratum.datasets)] += stratum.tokens
    drawn_of_token = drawn / of_dataset
    drawn_of_stratum = [stratum.tokens * drawn_of_token[list(stratum.datasets)].sum() for stratum in strata]
    shares = (1 - _EVENLY) * np.array(drawn_of_stratum) / max(int(drawn.sum()), 1) + _EVENLY / len(sizes)
    return tuple(min(max(int(tokens * share), 1), size) for share, size in zip(shares, sizes, strict=True))


def _picked(count: int, size: int, key: tuple[int, ...]) -> Int64Array:
    """``[count]``: distinct numbers from ``[0, size)``, ascending."""
    if count == size:
        return np.arange(size, dtype=np.int64)
    random = np.random.default_rng(np.random.SeedSequence(key))
    return np.sort(random.choice(size, count, replace=False, shuffle=False))


def _blocks(array: IntArray, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, IntArray]]:
    """Yields the entries ``[start, stop)`` in blocks: the start of each, and its values."""
    stop = len(array) if stop is None else stop
    for at in range(start, stop, _BLOCK):
        yield at, read_rows(array, at, min(at + _BLOCK, stop))


def _documents_of(dataset: ConcatenatedIndex) -> tuple[int, int]:
    description = dataset.indices[0].description
    return split_documents(description.split, description.name, len(dataset.arrays[0].sizes))


def _draws_of(dataset: ConcatenatedIndex, documents: Int64Array, offsets: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where a dataset draws tokens.

    Args:
        dataset: the dataset.
        documents: ``[k]``: the document of each token, ascending.
        offsets: ``[k]``: its offset in it.

    Returns:
        Two int64 arrays ``[n]``: the number of a token in ``[0, k)``, and the dataset's position that draws it.
    """
    draws = []
    for start, index, arrays in zip(dataset.starts.tolist(), dataset.indices, dataset.arrays, strict=True):
        token, stream_offset = _stream_offsets(arrays, documents, offsets)
        sample = stream_offset // index.layout.seq_length
        is_built = sample < index.layout.samples_built
        token, (wanted, which) = token[is_built], np.unique(sample[is_built], return_inverse=True)
        position = _find(_blocks(index.shuffle_idx), wanted, index.layout.samples_built)[which]
        draws.append((token[position >= 0], start + position[position >= 0]))
    return _joined(draws)


def _document_offsets(stratum: _Stratum, picked: Int64Array) -> tuple[Int64Array, Int64Array]:
    """``[k]`` each: the document of each picked token, and its offset in it.

    Args:
        stratum: the documents.
        picked: ``[k]``: offsets of tokens in these documents, joined; ascending.
    """
    documents, offsets = np.empty_like(picked), np.empty_like(picked)
    before = done = 0
    for start, sizes in _blocks(stratum.sizes, stratum.start, stratum.stop):
        ends = before + np.cumsum(sizes, dtype=np.int64)
        upto = int(np.searchsorted(picked, ends[-1]))
        # The first document that ends after the token; this skips empty documents.
        row = np.searchsorted(ends, picked[done:upto], side="right")
        documents[done:upto] = start + row
        offsets[done:upto] = picked[done:upto] - (ends[row] - sizes[row])
        before, done = int(ends[-1]), upto
    return documents, offsets


def _stream_offsets(arrays: IndexArrays, documents: Int64Array, offsets: Int64Array) -> tuple[Int64Array, Int64Array]:
    """``[n]`` each: number and stream offset of a token, once for each occurrence of its document in ``doc_idx``."""
    sizes = np.asarray(arrays.sizes)
    is_wanted = np.zeros(len(sizes), dtype=bool)
    is_wanted[documents] = True
    occurrences = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    before = 0
    for _, ids in _blocks(arrays.doc_idx):
        spanned = sizes.take(ids)
        hits = np.flatnonzero(is_wanted.take(ids))
        if hits.size:
            begins = before + np.cumsum(spanned, dtype=np.int64)[hits] - spanned[hits]
            first, last = (np.searchsorted(documents, ids[hits], side=side) for side in ("left", "right"))
            count = last - first
            token = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
            occurrences.append((token, np.repeat(begins, count) + offsets[token]))
        before += int(spanned.sum(dtype=np.int64))
    return _joined(occurrences)


def _blended(
    index: BlendIndex, datasets: tuple[ConcatenatedIndex, ...], inner: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Which of the datasets' positions, numbered through all of them, the blend reaches, and its positions there.

    A blend may be longer than the run, and name samples that its datasets do not have: the run does not draw them.
    """
    lengths = np.array([len(dataset) for dataset in datasets], dtype=np.int64)
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    arrays = zip(_blocks(index.dataset_index), _blocks(index.dataset_sample_index), strict=True)
    blocks = (
        (start, np.where(drawn < lengths.take(which), starts.take(which) + drawn, starts[-1]))
        for (start, which), (_, drawn) in arrays
    )
    wanted, which = np.unique(inner, return_inverse=True)
    position = _find(blocks, wanted, int(starts[-1]))[which]
    return np.flatnonzero(position >= 0), position[position >= 0]


def _find(blocks: Iterable[tuple[int, IntArray]], wanted: Int64Array, size: int) -> Int64Array:
    """The rows at which an array holds the wanted values.

    Args:
        blocks: the array in blocks: the first row of each, and its values in ``[0, size]``; ``size`` is never wanted.
        wanted: ``[k]``: the values, ascending.
        size: the number of possible values.

    Returns:
        int64 array ``[k]``; -1 for a value that does not occur.
    """
    # Most values are not near a wanted one; a coarse map that fits a core's cache rules them out.
    shift = max(size.bit_length() - _NEAR_BITS, 0)
    is_near = np.zeros((size >> shift) + 1, dtype=bool)
    is_near[wanted >> shift] = True
    marks = np.zeros((size >> 3) + 1, dtype=np.uint8)
    np.bitwise_or.at(marks, wanted >> 3, np.left_shift(1, wanted & 7).astype(np.uint8))
    rows = np.full(len(wanted), -1, dtype=np.int64)
    for start, values in blocks:
        near = np.flatnonzero(is_near.take(values >> shift))
        values = values[near]
        hits = np.flatnonzero(np.right_shift(marks.take(values >> 3), values & 7) & 1)
        rows[np.searchsorted(wanted, values[hits])] = start + near[hits]
    return rows
