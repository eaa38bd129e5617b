"""Whether the last data epoch of an index is shuffled apart, as its arrays have it.

The hosts shuffle it apart if it is less than 80 % of an epoch. The threshold is not in the description, and a host may
have another one: the remedy that Megatron's maintainer gives for the loss drop is a threshold of 0 (Megatron-LM issue
1328). Such an index is sound. So the arrays decide, and the rule only where they are too few to tell.
"""

from dataclasses import replace

import numpy as np

from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.index.verify import WHOLE_UP_TO, IndexArrays, blocks, read_block

_FEWEST_SAMPLES = 64
"""On each side: a joint shuffle separates them by chance less than once in 2^100."""
_FEWEST_DOCUMENTS = 20
"""A joint shuffle gives each document once in the last epoch by chance less than once in 2^19."""
_BLOCK = 1 << 18


def as_shuffled(layout: IndexLayout, arrays: IndexArrays, documents: tuple[int, int]) -> IndexLayout:
    """The layout with the last data epoch shuffled apart or not, as the arrays have it.

    Args:
        layout: by the host's rule.
        arrays: of the shapes that the layout has.
        documents: the documents ``[start, stop)`` of the split.

    Returns:
        A layout. If samples are shuffled together and documents apart, as in an index that ``rebuild`` wrote, and in
        no host's, it is one that the arrays do not fit.
    """
    if layout.num_epochs < 2:
        return layout
    samples = _samples_apart(layout, arrays)
    apart = True if samples else _documents_apart(layout, arrays, documents)
    if apart is None:
        apart = layout.separated if samples is None else samples
    return replace(layout, separated=apart)


def _samples_apart(layout: IndexLayout, arrays: IndexArrays) -> bool | None:
    """Whether no position before the last data epoch draws a sample of it.

    None if there are too few to tell, or if some do, but far fewer than in a joint shuffle: a damaged array.
    """
    start = layout.start_of_last_epoch
    if start < 1 or min(start, layout.samples_built - start) < _FEWEST_SAMPLES:
        return None
    crossing = read = 0
    for first, last in blocks(0, start, _BLOCK):
        crossing += int((read_block(arrays.shuffle_idx, first, last) >= start).sum())
        read += last - first
    if not crossing:
        return True
    expected = read * (layout.samples_built - start) / layout.samples_built
    return False if crossing > expected / 2 else None


def _documents_apart(layout: IndexLayout, arrays: IndexArrays, documents: tuple[int, int]) -> bool | None:
    """Whether the last entries of ``doc_idx`` hold each document once; None if there are too few to tell."""
    count = documents[1] - documents[0]
    if count < _FEWEST_DOCUMENTS:
        return None
    start = (layout.num_epochs - 1) * count
    # A joint shuffle has a document twice in almost every block: the first one mostly tells.
    if not all(_has_no_document_twice(arrays, *block) for block in blocks(start, start + count, _BLOCK)):
        return False
    return count > WHOLE_UP_TO or _has_no_document_twice(arrays, start, start + count)


def _has_no_document_twice(arrays: IndexArrays, first: int, last: int) -> bool:
    return len(np.unique(read_block(arrays.doc_idx, first, last))) == last - first
