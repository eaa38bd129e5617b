"""Checks the three arrays of a sample index against its description and its corpus.

Small indices are checked whole, which proves that they are permutations; of large ones the ends and evenly spaced
blocks are read, so that the cost is bounded. An index that was shuffled under another seed passes, because detecting
that would mean repeating the shuffle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.fingerprint import read_rows
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.language import counted, tr

IntArray = npt.NDArray[np.integer[Any]]
Int64Array = npt.NDArray[np.int64]

WHOLE_UP_TO = 1 << 24
"""The most entries of an array that is read whole."""
_BLOCK = 1 << 18
_ROWS = 1 << 13  # of sample_idx at a time: each may span many documents
_SPACED = 64  # blocks read of an array that is not read whole


@dataclass(frozen=True)
class IndexArrays:
    """The arrays of a sample index, and the document sizes of its corpus."""

    doc_idx: IntArray
    """``[E * documents]``: document ids, each once per data epoch."""
    sample_idx: IntArray
    """``[S + 1, 2]``: entry of ``doc_idx`` and token offset at which each sample starts."""
    shuffle_idx: IntArray
    """``[S]``: position -> sample."""
    sizes: IntArray
    """``[all documents]``: tokens of each document of the corpus."""
    sources: dict[str, str]
    """The name of each array in errors: a path, or an attribute of a live dataset."""


def verify(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks the arrays against description and corpus.

    Args:
        arrays: the arrays and the document sizes.
        layout: the layout that follows from description and corpus.
        documents: the documents ``[start, stop)`` of the split.

    Raises:
        IndexMismatchError: the arrays differ from what is expected.
    """
    check_shapes(arrays, layout, documents)
    check_documents(arrays, layout, documents)
    _check_samples(arrays, layout, documents)
    check_shuffle(arrays, layout)


def fail(arrays: IndexArrays, which: str, found: str, expected: str) -> None:
    """Raises an IndexMismatchError: what was found in an array, what was expected, and what to do."""
    raise IndexMismatchError(
        tr(
            "{source}: {found}; expected {expected}. Delete these files and let the host rebuild the index, or "
            "restore the corpus it was built from",
            source=arrays.sources[which],
            found=found,
            expected=expected,
        )
    )


def check_shapes(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks dtypes and shapes; raises IndexMismatchError."""
    expected = {
        "doc_idx": (layout.num_epochs * (documents[1] - documents[0]),),
        "sample_idx": (layout.samples_built + 1, 2),
        "shuffle_idx": (layout.samples_built,),
    }
    for which, shape in expected.items():
        array: IntArray = getattr(arrays, which)
        if array.dtype.kind not in "iu":
            fail(arrays, which, f"dtype {array.dtype}", tr("integers"))
        if array.shape != shape:
            expectation = tr(
                "{shape}: {epochs} data epochs of {documents:,} documents and {tokens:,} tokens, for {samples:,} "
                "samples of length {length}. The index was built from another corpus, or for another run",
                shape=list(shape),
                epochs=layout.num_epochs,
                documents=documents[1] - documents[0],
                tokens=layout.tokens_per_epoch,
                samples=layout.samples_requested,
                length=layout.seq_length,
            )
            fail(arrays, which, tr("shape {shape}", shape=list(array.shape)), expectation)


def blocks(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields ranges that cover ``[start, stop)`` if it is small, else its ends and evenly spaced blocks."""
    count = -(-(stop - start) // size)
    if stop - start <= WHOLE_UP_TO:
        chosen: IntArray = np.arange(count)
    else:
        chosen = np.unique(np.linspace(0, count - 1, _SPACED).astype(np.int64))
    for block in chosen.tolist():
        yield start + block * size, min(start + (block + 1) * size, stop)


def read_block(array: IntArray, start: int, stop: int) -> npt.NDArray[np.int64]:
    """The rows ``[start, stop)`` as int64."""
    return read_rows(array, start, stop).reshape(-1, *array.shape[1:]).astype(np.int64)


def check_documents(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks that each group holds each document once per data epoch; raises IndexMismatchError."""
    low, high = documents
    start = 0
    for epochs in layout.epoch_groups:
        stop = start + epochs * (high - low)
        whole = stop - start <= WHOLE_UP_TO
        # A histogram has one entry per document, so it is taken over at least as many entries at once. In a single
        # epoch, which has as many entries as documents, it is enough that every document occurs.
        seen = np.zeros(high - low if whole and epochs == 1 else 0, dtype=bool)
        counts = np.zeros(high - low if whole and epochs > 1 else 0, dtype=np.int64)
        for first, last in blocks(start, stop, max(_BLOCK, len(counts))):
            block = read_block(arrays.doc_idx, first, last)
            _check_ids(arrays, block, documents)
            if seen.size:
                seen[block - low] = True
            elif counts.size:
                counts += np.bincount(block - low, minlength=high - low)
        if not seen.all() or (counts != epochs).any():
            counts = np.bincount(np.asarray(arrays.doc_idx[start:stop], dtype=np.int64) - low, minlength=high - low)
            odd = int(np.argmax(counts != epochs))
            fail(
                arrays,
                "doc_idx",
                tr(
                    "document {document} occurs {count} times in entries {start} to {stop}",
                    document=low + odd,
                    count=counts[odd],
                    start=start,
                    stop=stop,
                ),
                counted(
                    "every document {n} time, once per data epoch of the group",
                    "every document {n} times, once per data epoch of the group",
                    epochs,
                ),
            )
        start = stop


def _check_ids(arrays: IndexArrays, ids: IntArray, documents: tuple[int, int]) -> None:
    low, high = documents
    if int(ids.min()) < low or int(ids.max()) >= high:
        fail(
            arrays,
            "doc_idx",
            tr("document ids from {first} to {last}", first=ids.min(), last=ids.max()),
            f"[{low}, {high})",
        )


def rows_of_samples(
    arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]
) -> Iterator[tuple[int, int, Int64Array, Int64Array, Int64Array]]:
    """Reads ``sample_idx`` in blocks, and the sizes of the documents that its rows point to.

    Yields:
        The first row of a block and the one after its last. For each row, and the row before the block: its token
        offset, and the size of its document, in tokens. The number of tokens from each of these rows to the next.

    Raises:
        IndexMismatchError: the first row is not [0, 0], or a row points outside ``doc_idx`` or the split.
    """
    rows = layout.samples_built + 1
    if np.asarray(arrays.sample_idx[0]).any():
        fail(arrays, "sample_idx", tr("first row {row}", row=arrays.sample_idx[0].tolist()), "[0, 0]")
    for first, last in blocks(0, rows, _ROWS):
        # One row of overlap, to check the step from block to block.
        block = read_block(arrays.sample_idx, max(first - 1, 0), last)
        entry, offset = block[:, 0], block[:, 1]
        if int(entry.min()) < 0 or int(entry.max()) >= len(arrays.doc_idx) or (np.diff(entry) < 0).any():
            fail(
                arrays,
                "sample_idx",
                tr(
                    "rows {first} to {last} point to entries {low} to {high} of doc_idx",
                    first=first,
                    last=last,
                    low=entry.min(),
                    high=entry.max(),
                ),
                tr("ascending entries within [0, {length})", length=len(arrays.doc_idx)),
            )
        ids = read_block(arrays.doc_idx, int(entry[0]), int(entry[-1]) + 1)
        _check_ids(arrays, ids, documents)
        spanned = arrays.sizes[ids].astype(np.int64)
        starts = np.concatenate(([0], np.cumsum(spanned)))
        row = entry - entry[0]
        yield first, last, offset, spanned[row], np.diff(starts[row] + offset)


def _check_samples(arrays: IndexArrays, layout: IndexLayout, documents: tuple[int, int]) -> None:
    """Checks that samples start L tokens apart, and that the last row leaves the expected number of tokens."""
    for first, last, offset, spanned, steps in rows_of_samples(arrays, layout, documents):
        if (offset < 0).any() or (offset >= np.maximum(spanned, 1)).any():
            found = tr("rows {first} to {last} start outside their documents", first=first, last=last)
            fail(arrays, "sample_idx", found, tr("offsets within them"))
        if (steps != layout.seq_length).any():
            row = int(np.argmax(steps != layout.seq_length))
            sample = max(first - 1, 0) + row
            found = tr("sample {sample} has {tokens} tokens in this corpus", sample=sample, tokens=steps[row])
            fail(arrays, "sample_idx", found, f"{layout.seq_length}")
    last_entry, last_offset = (int(value) for value in arrays.sample_idx[-1])
    ids = read_block(arrays.doc_idx, last_entry, len(arrays.doc_idx))
    _check_ids(arrays, ids, documents)
    left = int(arrays.sizes[ids].sum(dtype=np.int64)) - last_offset
    expected = layout.num_epochs * layout.tokens_per_epoch - layout.samples_built * layout.seq_length
    if left != expected:
        fail(arrays, "sample_idx", tr("{tokens} tokens follow the last row", tokens=left), f"{expected}")


def check_shuffle(arrays: IndexArrays, layout: IndexLayout) -> None:
    """Checks that each group of samples is shuffled separately; raises IndexMismatchError."""
    for low, high in layout.sample_groups:
        whole = high - low <= WHOLE_UP_TO
        seen = np.zeros(high - low if whole else 0, dtype=bool)
        for first, last in blocks(low, high, _BLOCK):
            block = read_block(arrays.shuffle_idx, first, last)
            if int(block.min()) < low or int(block.max()) >= high:
                drawn = tr(
                    "positions {first:,} to {last:,} draw samples {lowest:,} to {highest:,}",
                    first=first,
                    last=last,
                    lowest=block.min(),
                    highest=block.max(),
                )
                fail(arrays, "shuffle_idx", drawn, _expected_samples(low, high, layout.separated))
            if whole:
                seen[block - low] = True
        if whole and not seen.all():
            missing = tr(
                "sample {sample:,} is not drawn by positions {low:,} to {high:,}",
                sample=low + int(np.argmin(seen)),
                low=low,
                high=high,
            )
            fail(arrays, "shuffle_idx", missing, tr("each sample once"))


def _expected_samples(low: int, high: int, separated: bool) -> str:
    if not separated:
        return tr("samples within [{low:,}, {high:,})", low=low, high=high)
    return tr(
        "samples within [{low:,}, {high:,}), as the last data epoch is shuffled separately. If 'rebuild' wrote this "
        "index, its note (<md5>.epoch_guard.json) must lie beside it",
        low=low,
        high=high,
    )
