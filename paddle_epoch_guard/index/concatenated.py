"""Several indices of one corpus, drawn one after the other: the data of an extended run.

Samples of all indices share one numbering: the rows of an index follow those of the index before. So a dataset that
looks up samples by number needs no change. The arrays stay memory-mapped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.gpt import Boundary, GPTIndex, Int64Array
from paddle_epoch_guard.index.verify import IndexArrays
from paddle_epoch_guard.language import tr


@dataclass(frozen=True)
class ConcatenatedIndex:
    """The index that a run began with, followed by the appended ones.

    Positions and data epochs are numbered through all indices.

    Raises:
        IndexMismatchError: there is no index, or one without its arrays.
    """

    indices: tuple[GPTIndex, ...]

    def __post_init__(self) -> None:
        if not self.indices or any(index.arrays is None for index in self.indices):
            raise IndexMismatchError(tr("a concatenated index needs indices that were built from their arrays"))

    def __len__(self) -> int:
        return sum(len(index) for index in self.indices)

    @property
    def arrays(self) -> tuple[IndexArrays, ...]:
        """The arrays of each index."""
        return tuple(index.arrays for index in self.indices if index.arrays is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The corpus's file name."""
        return self.indices[0].names

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs of all indices together, as a tuple of one."""
        return (sum(index.layout.num_epochs for index in self.indices),)

    @cached_property
    def starts(self) -> Int64Array:
        """``[indices]``: the first position of each index."""
        return np.cumsum([0, *(len(index) for index in self.indices[:-1])], dtype=np.int64)

    @cached_property
    def _epochs_before(self) -> Int64Array:
        return np.cumsum([0, *(index.layout.num_epochs for index in self.indices[:-1])], dtype=np.int64)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The start of each appended index, and the boundaries within each."""
        boundaries = []
        for start, before, index in zip(self.starts.tolist(), self._epochs_before.tolist(), self.indices, strict=True):
            if start > 0:
                boundaries.append(Boundary(start, before))
            boundaries += [Boundary(start + inner.position, before + inner.from_epoch) for inner in index.boundaries]
        return tuple(boundaries)

    def epoch_of(self, positions: npt.ArrayLike) -> Int64Array:
        """The data epoch, 1-based through all indices, of the sample that each position draws.

        Args:
            positions: integers in ``[0, len)``, of any shape.

        Returns:
            int64 array of that shape.

        Raises:
            IndexMismatchError: a position is outside the index.
        """
        asked = np.asarray(positions, dtype=np.int64)
        if asked.size and (int(asked.min()) < 0 or int(asked.max()) >= len(self)):
            raise IndexMismatchError(
                tr(
                    "positions from {first} to {last}; the concatenated index has [0, {length})",
                    first=asked.min(),
                    last=asked.max(),
                    length=len(self),
                )
            )
        epochs = np.empty_like(asked)
        for number, chosen, inner in self.split(asked):
            epochs[chosen] = self.indices[number].epoch_of(inner) + self._epochs_before[number]
        return epochs

    def split(self, positions: Int64Array) -> Iterator[tuple[int, npt.NDArray[np.bool_], Int64Array]]:
        """Divides positions among the indices.

        Yields:
            The number of an index, a mask of its positions, and these positions counted from its start.
        """
        which = np.searchsorted(self.starts, positions, side="right") - 1
        for number in np.unique(which).tolist():
            chosen = which == number
            yield number, chosen, positions[chosen] - self.starts[number]

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """Zeros, for the only dataset, and :meth:`epoch_of`."""
        epochs = self.epoch_of(positions)
        return np.zeros_like(epochs), epochs


class ConcatenatedShuffle:
    """``shuffle_idx`` of a concatenated index: maps an array of positions to samples, numbered through all indices."""

    ndim = 1
    dtype = np.dtype(np.int64)

    def __init__(self, index: ConcatenatedIndex) -> None:
        self._index = index
        rows = [len(arrays.sample_idx) for arrays in index.arrays]
        # The last row of an index only ends its last sample; the samples of the next one are numbered from after it.
        self._first_sample = np.cumsum([0, *rows[:-1]], dtype=np.int64)
        self.shape = (len(index),)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, positions: Int64Array) -> Int64Array:
        asked = np.asarray(positions, dtype=np.int64)
        samples = np.empty_like(asked)
        for number, chosen, inner in self._index.split(asked):
            samples[chosen] = self._index.indices[number].shuffle_idx[inner]
            samples[chosen] += self._first_sample[number]
        return samples


class ConcatenatedRows:
    """``doc_idx`` or ``sample_idx`` of a concatenated index, one row at a time.

    Args:
        arrays: of the indices, in order.
        shifts: added to the first column of each index's rows; None for ``doc_idx``, which has one column.
        length: ``shape[0]``, from which the host takes the dataset's length.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]], shifts: Sequence[int] | None, length: int) -> None:
        self._arrays = list(arrays)
        self._stops = np.cumsum([len(array) for array in arrays]).tolist()
        self._shifts = shifts
        self.shape = (length, *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: SupportsIndex) -> npt.NDArray[np.int64] | np.integer[Any]:
        asked, start = int(row), 0
        for number, stop in enumerate(self._stops):
            if 0 <= asked < stop:
                value = self._arrays[number][asked - start]
                if self._shifts is None:
                    return value  # type: ignore[no-any-return]
                return np.array((int(value[0]) + self._shifts[number], int(value[1])), dtype=np.int64)
            start = stop
        raise IndexError(f"row {asked} of {self._stops[-1]}")


def concatenated_arrays(index: ConcatenatedIndex) -> dict[str, Any]:
    """The replacements for a live dataset's ``doc_idx``, ``sample_idx`` and ``shuffle_idx``, by name."""
    entries = [len(arrays.doc_idx) for arrays in index.arrays]
    shifts = np.cumsum([0, *entries[:-1]]).tolist()
    return {
        "doc_idx": ConcatenatedRows([arrays.doc_idx for arrays in index.arrays], None, sum(entries)),
        "sample_idx": ConcatenatedRows([arrays.sample_idx for arrays in index.arrays], shifts, len(index) + 1),
        "shuffle_idx": ConcatenatedShuffle(index),
    }
