"""A run that is extended beyond its plan: which indices follow the ones it began with."""

from collections.abc import Sequence

import numpy as np

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order.seeds import EXTEND
from paddle_epoch_guard.resume.fingerprints import DatasetRecord, IndexRecord

_MOST_INDICES = 1_000


def extend_indices(dataset: DatasetRecord, needed: int) -> tuple[IndexRecord, ...]:
    """The indices of a dataset that draw at least ``needed`` samples.

    The indices that are there stay, and are drawn to their end: that completes the data epoch in which the plan ended.
    Then follow whole data epochs, each an index of its own, so that each is drawn in a fresh order.

    Args:
        dataset: its indices so far.
        needed: samples to be drawn in all.

    Returns:
        The indices, those so far first.

    Raises:
        ResumeMismatchError: that would take more than 1,000 indices.
    """
    indices = list(dataset.indices)
    built = sum(index_length(dataset, index) for index in indices)
    whole_epoch = max((dataset.tokens_per_epoch - 1) // dataset.seq_length, 1)
    while built < needed:
        if len(indices) >= _MOST_INDICES:
            raise ResumeMismatchError(
                tr(
                    "the run is to be extended to {needed} samples, by more than {most} data epochs of {whole_epoch}. "
                    "Start a new run of that length",
                    needed=needed,
                    most=_MOST_INDICES,
                    whole_epoch=whole_epoch,
                )
            )
        words = np.random.SeedSequence((max(indices[0].seed, 0), EXTEND, len(indices))).generate_state(1, np.uint32)
        indices.append(IndexRecord(whole_epoch, int(words[0])))
        built += index_length(dataset, indices[-1])
    return tuple(indices)


def index_length(dataset: DatasetRecord, index: IndexRecord) -> int:
    """The samples that the host builds for a index."""
    return IndexLayout.of(dataset.tokens_per_epoch, dataset.seq_length, index.samples_requested).samples_built


def same_indices(one: Sequence[IndexRecord], other: Sequence[IndexRecord]) -> bool:
    """Whether two lists of indices were built from the same numbers."""
    return [(index.samples_requested, index.seed) for index in one] == [
        (index.samples_requested, index.seed) for index in other
    ]
