"""A run made longer than planned: which indices follow the ones it began with."""

from collections.abc import Sequence

import numpy as np

from paddle_epoch_guard.errors import ResumeMismatchError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.resume.sidecar import DatasetRecord, IndexRecord

PURPOSE = 2
"""Seeds of appended indices come from ``(seed, PURPOSE, ordinal)``, as those of unified orders from purpose 1."""
_MOST_PARTS = 1_000


def extend_indices(dataset: DatasetRecord, needed: int) -> tuple[IndexRecord, ...]:
    """The parts of a dataset that draw at least ``needed`` samples.

    The parts that are there stay, and are drawn to their end: that completes the data epoch in which the plan ended.
    Then follow whole data epochs, each an index of its own, so that each is drawn in a fresh order.

    Args:
        dataset: its parts so far.
        needed: samples to be drawn in all.

    Returns:
        The parts, those so far first.

    Raises:
        ResumeMismatchError: that would take more than 1,000 parts.
    """
    parts = list(dataset.parts)
    built = sum(part_length(dataset, part) for part in parts)
    whole_epoch = max((dataset.tokens_per_epoch - 1) // dataset.seq_length, 1)
    while built < needed:
        if len(parts) >= _MOST_PARTS:
            raise ResumeMismatchError(
                f"the run is to be extended to {needed} samples, by more than {_MOST_PARTS} data epochs of "
                f"{whole_epoch}. Start a run of that length anew"
            )
        words = np.random.SeedSequence((max(parts[0].seed, 0), PURPOSE, len(parts))).generate_state(1, np.uint32)
        parts.append(IndexRecord(whole_epoch, int(words[0])))
        built += part_length(dataset, parts[-1])
    return tuple(parts)


def part_length(dataset: DatasetRecord, part: IndexRecord) -> int:
    """The samples that the host builds for a part."""
    return IndexLayout.of(dataset.tokens_per_epoch, dataset.seq_length, part.samples_requested).samples_built


def same_indices(one: Sequence[IndexRecord], other: Sequence[IndexRecord]) -> bool:
    """Whether two lists of parts were built from the same numbers."""
    return [(part.samples_requested, part.seed) for part in one] == [
        (part.samples_requested, part.seed) for part in other
    ]
