"""Whether the three arrays of a sample index are what its description and its corpus say.

Small indices are checked whole, which proves the permutation property; of large ones the ends and evenly
spaced blocks are read, so that the cost is bounded whatever the size. A valid index of the same corpus that was
shuffled under another seed passes: only shuffling anew could tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.fingerprint import read_rows
from paddle_epoch_guard.index.layout import IndexLayout

IntArray = npt.NDArray[np.integer[Any]]
Int64Array = npt.NDArray[np.int64]

WHOLE_UP_TO = 1 << 24
"""Entries up to which an array is read whole; above, blocks of it."""
_BLOCK = 1 << 18
_ROWS = 1 << 13  # rows of sample_idx at a time: each may span many documents
_SPACED = 64  # blocks read of an array that is not read whole
_REBUILD = "Delete these files and let the host build the index anew, or restore the corpus it was built from"
_NOTE = "If 'rebuild' wrote this index, its note (<md5>.epoch_guard.json) must lie beside it"


@dataclass(frozen=True)
class IndexArrays:
    """The arrays of one sample index, and the corpus they point into.

    ``sources`` names each array for errors: paths of a cache, or attributes of a live dataset.
    """

    doc_idx: IntArray
    """``[E * documents]``: document ids, each once per epoch."""
    sample_idx: IntArray
    """``[S + 1, 2]``: index into ``doc_idx`` and token offset where each sample starts."""
    shuffle_idx: IntArray
    """``[S]``: position drawn -> sample."""
    sizes: IntArray
    """``[all documents]``: tokens of each document of the corpus."""
    sources: dict[str, str]


def verify(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks the arrays against what the description and the corpus imply.

    Args:
        arrays: the index and the document sizes.
        layout: what follows from the description and the corpus.
        documents: the split's documents ``[start, stop)``.

    Raises:
        IndexMismatchError: something differs; the message names the file, the finding and the expectation.
    """
    check_shapes(arrays, layout, documents)
    check_documents(arrays, layout, documents)
    _check_samples(arrays, layout, documents)
    check_shuffle(arrays, layout)


def fail(arrays: IndexArrays, which: str, found: str, expected: str) -> None:
    """Raises the IndexMismatchError of an array, with what was found, what was expected, and what to do."""
    raise IndexMismatchError(f"{arrays.sources[which]}: {found}; expected {expected}. {_REBUILD}")


def check_shapes(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Integers, as many as the layout has; raises IndexMismatchError."""
    expected = {
        "doc_idx": (layout.num_epochs * (documents[1] - documents[0]),),
        "sample_idx": (layout.samples_built + 1, 2),
        "shuffle_idx": (layout.samples_built,),
    }
    for which, shape in expected.items():
        array: IntArray = getattr(arrays, which)
        if array.dtype.kind not in "iu":
            fail(arrays, which, f"dtype {array.dtype}", "integers")
        if array.shape != shape:
            fail(
                arrays,
                which,
                f"shape {list(array.shape)}",
                f"{list(shape)}: {layout.num_epochs} data epochs of {documents[1] - documents[0]:,} documents and "
                f"{layout.tokens_per_epoch:,} tokens, for {layout.samples_requested:,} samples of length "
                f"{layout.seq_length}. The index was built from another corpus, or for another run",
            )


def blocks(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges that cover ``[start, stop)`` where it is small, else its ends and evenly spaced blocks."""
    count = -(-(stop - start) // size)
    if stop - start <= WHOLE_UP_TO:
        chosen: IntArray = np.arange(count)
    else:
        chosen = np.unique(np.linspace(0, count - 1, _SPACED).astype(np.int64))
    for block in chosen.tolist():
        yield start + block * size, min(start + (block + 1) * size, stop)


def _read(array: IntArray, start: int, stop: int) -> npt.NDArray[np.int64]:
    return read_rows(array, start, stop).reshape(-1, *array.shape[1:]).astype(np.int64)


def check_documents(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Each document once for each data epoch of a group; raises IndexMismatchError."""
    low, high = documents
    at = 0
    for epochs in layout.epoch_groups:
        stop = at + epochs * (high - low)
        whole = stop - at <= WHOLE_UP_TO
        # A histogram is as long as there are documents, so it is taken of as many entries at once. Of one epoch it is
        # enough that every document stands there: there are no more entries than documents.
        seen = np.zeros(high - low if whole and epochs == 1 else 0, dtype=bool)
        counts = np.zeros(high - low if whole and epochs > 1 else 0, dtype=np.int64)
        for first, last in blocks(at, stop, max(_BLOCK, len(counts))):
            block = _read(arrays.doc_idx, first, last)
            _check_ids(arrays, block, documents)
            if seen.size:
                seen[block - low] = True
            elif counts.size:
                counts += np.bincount(block - low, minlength=high - low)
        if not seen.all() or (counts != epochs).any():
            counts = np.bincount(np.asarray(arrays.doc_idx[at:stop], dtype=np.int64) - low, minlength=high - low)
            odd = int(np.argmax(counts != epochs))
            fail(
                arrays,
                "doc_idx",
                f"document {low + odd} stands {counts[odd]} times in entries {at} to {stop}",
                f"every document {epochs} times, as many as the group has data epochs",
            )
        at = stop


def _check_ids(arrays: IndexArrays, ids: IntArray, documents: tuple[int, int]) -> None:
    low, high = documents
    if int(ids.min()) < low or int(ids.max()) >= high:
        fail(arrays, "doc_idx", f"document ids from {ids.min()} to {ids.max()}", f"[{low}, {high})")


def rows_of_samples(
    arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]
) -> Iterator[tuple[int, int, Int64Array, Int64Array, Int64Array]]:
    """Goes through ``sample_idx``, block by block, and through the documents that its rows point to.

    Yields:
        The first row and the one behind the last; for each of them, and the row before, its offset and the tokens of
        its document; and from each of these rows to the next, the tokens.

    Raises:
        IndexMismatchError: it does not begin at 0, or a row points outside ``doc_idx`` or the split.
    """
    rows = layout.samples_built + 1
    if np.asarray(arrays.sample_idx[0]).any():
        fail(arrays, "sample_idx", f"first row {arrays.sample_idx[0].tolist()}", "[0, 0]")
    for first, last in blocks(0, rows, _ROWS):
        # One row of overlap, so that the step from block to block is checked too.
        block = _read(arrays.sample_idx, max(first - 1, 0), last)
        entry, offset = block[:, 0], block[:, 1]
        if int(entry.min()) < 0 or int(entry.max()) >= len(arrays.doc_idx) or (np.diff(entry) < 0).any():
            fail(
                arrays,
                "sample_idx",
                f"rows {first} to {last} point to entries {entry.min()} to {entry.max()} of doc_idx",
                f"ascending entries within [0, {len(arrays.doc_idx)})",
            )
        ids = _read(arrays.doc_idx, int(entry[0]), int(entry[-1]) + 1)
        _check_ids(arrays, ids, documents)
        spanned = arrays.sizes[ids].astype(np.int64)
        starts = np.concatenate(([0], np.cumsum(spanned)))
        here = entry - entry[0]
        yield first, last, offset, spanned[here], np.diff(starts[here] + offset)


def _check_samples(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Each sample starts L tokens after the one before, and the last one where the corpus leaves off."""
    for first, last, offset, spanned, steps in rows_of_samples(arrays, layout, documents):
        if (offset < 0).any() or (offset >= np.maximum(spanned, 1)).any():
            fail(
                arrays,
                "sample_idx",
                f"rows {first} to {last} start outside their documents",
                "offsets within them",
            )
        if (steps != layout.seq_length).any():
            row = max(first - 1, 0) + int(np.argmax(steps != layout.seq_length))
            fail(
                arrays,
                "sample_idx",
                f"sample {row} is {steps[row - max(first - 1, 0)]} tokens long with this corpus",
                f"{layout.seq_length}",
            )
    last_entry, last_offset = (int(value) for value in arrays.sample_idx[-1])
    ids = _read(arrays.doc_idx, last_entry, len(arrays.doc_idx))
    _check_ids(arrays, ids, documents)
    left = int(arrays.sizes[ids].sum(dtype=np.int64)) - last_offset
    expected = layout.num_epochs * layout.tokens_per_epoch - layout.samples_built * layout.seq_length
    if left != expected:
        fail(arrays, "sample_idx", f"{left} tokens follow the last row", f"{expected}")


def check_shuffle(arrays: IndexArrays, layout: IndexLayout) -> None:
    """Each group of samples shuffled by itself; raises IndexMismatchError."""
    cut = layout.samples_requested - layout.last_epoch_samples
    # With 64 samples on either side, one joint shuffle keeps them apart by chance less than once in 2^100.
    if layout.num_epochs > 1 and not layout.separated and min(cut, layout.samples_built - cut) >= 64:
        highest = max(int(_read(arrays.shuffle_idx, first, last).max()) for first, last in blocks(0, cut, _BLOCK))
        if highest < cut:
            fail(
                arrays,
                "shuffle_idx",
                f"positions 0 to {cut:,} draw no sample from {cut:,} on, for the last data epoch is shuffled apart",
                f"one shuffle of all, for {layout.samples_requested:,} samples",
            )
    for low, high in layout.sample_groups:
        whole = high - low <= WHOLE_UP_TO
        seen = np.zeros(high - low if whole else 0, dtype=bool)
        for first, last in blocks(low, high, _BLOCK):
            block = _read(arrays.shuffle_idx, first, last)
            if int(block.min()) < low or int(block.max()) >= high:
                fail(
                    arrays,
                    "shuffle_idx",
                    f"positions {first:,} to {last:,} draw samples {block.min():,} to {block.max():,}",
                    f"samples within [{low:,}, {high:,})"
                    + (f", for the last data epoch is shuffled apart. {_NOTE}" if layout.separated else ""),
                )
            if whole:
                seen[block - low] = True
        if whole and not seen.all():
            fail(
                arrays,
                "shuffle_idx",
                f"sample {low + int(np.argmin(seen)):,} is drawn at none of the positions {low:,} to {high:,}",
                "each sample once",
            )
