"""Several indices of one corpus, drawn one after the other: a run that was made longer than planned.

Samples of all parts share one numbering, so that a dataset that looks samples up by number needs no change: the
rows of each part follow those of the part before, and stay memory-mapped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.gpt import Boundary, GPTIndex, Int64Array
from paddle_epoch_guard.index.verify import IndexArrays


@dataclass(frozen=True)
class ConcatenatedIndex:
    """Positions of a longer run: those of the index it began with, then of the data epochs appended to it.

    Data epochs are numbered on: the first of an appended index follows the last of the one before.
    """

    parts: tuple[GPTIndex, ...]

    def __post_init__(self) -> None:
        if not self.parts or any(part.arrays is None for part in self.parts):
            raise IndexMismatchError("a chain needs one or more indices that were built from their arrays")

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def arrays(self) -> tuple[IndexArrays, ...]:
        """The arrays of each part."""
        return tuple(part.arrays for part in self.parts if part.arrays is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The corpus's file name."""
        return self.parts[0].names

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs of all parts, as a tuple of one."""
        return (sum(part.layout.num_epochs for part in self.parts),)

    @cached_property
    def starts(self) -> Int64Array:
        """``[parts]``: the first position of each part."""
        return np.cumsum([0, *(len(part) for part in self.parts[:-1])], dtype=np.int64)

    @cached_property
    def _epochs_before(self) -> Int64Array:
        return np.cumsum([0, *(part.layout.num_epochs for part in self.parts[:-1])], dtype=np.int64)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The parts' own boundaries, and the beginning of each appended part."""
        found = []
        for start, before, part in zip(self.starts.tolist(), self._epochs_before.tolist(), self.parts, strict=True):
            if start > 0:
                found.append(Boundary(start, before))
            found += [Boundary(start + one.position, before + one.from_epoch) for one in part.boundaries]
        return tuple(found)

    def epoch_of(self, positions: npt.ArrayLike) -> Int64Array:
        """The data epoch, 1-based over all parts, of the sample that each position draws.

        Raises:
            IndexMismatchError: a position is outside the chain.
        """
        at = np.asarray(positions, dtype=np.int64)
        if at.size and (int(at.min()) < 0 or int(at.max()) >= len(self)):
            raise IndexMismatchError(f"positions from {at.min()} to {at.max()}; the chain has [0, {len(self)})")
        which = np.searchsorted(self.starts, at, side="right") - 1
        epochs = np.empty_like(at)
        for part in np.unique(which).tolist():
            chosen = which == part
            local = self.parts[part].epoch_of(at[chosen] - self.starts[part])
            epochs[chosen] = local + self._epochs_before[part]
        return epochs

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """Zeros, for the one dataset there is, and :meth:`epoch_of`."""
        epochs = self.epoch_of(positions)
        return np.zeros_like(epochs), epochs


class ChainedShuffle:
    """``shuffle_idx`` of a chain: position -> sample, numbered through all parts. Takes arrays of positions."""

    ndim = 1
    dtype = np.dtype(np.int64)

    def __init__(self, chain: ConcatenatedIndex) -> None:
        self._chain = chain
        rows = [len(arrays.sample_idx) for arrays in chain.arrays]
        # The last row of a part only ends its last sample; the next part's samples are numbered from behind it.
        self._first_sample = np.cumsum([0, *rows[:-1]], dtype=np.int64)
        self.shape = (len(chain),)

    def __len__(self) -> int:
        return len(self._chain)

    def __getitem__(self, positions: Int64Array) -> Int64Array:
        at = np.asarray(positions, dtype=np.int64)
        which = np.searchsorted(self._chain.starts, at, side="right") - 1
        samples = np.empty_like(at)
        for part in np.unique(which).tolist():
            chosen = which == part
            local = at[chosen] - self._chain.starts[part]
            samples[chosen] = self._chain.parts[part].shuffle_idx[local]
            samples[chosen] += self._first_sample[part]
        return samples


class ChainedRows:
    """``doc_idx`` or ``sample_idx`` of a chain, a row at a time.

    Args:
        arrays: of the parts, in order.
        shifts: added to the first column of each part's rows; None for ``doc_idx``, which has one column.
        length: what ``shape[0]`` says, from which the host takes the dataset's length.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]], shifts: Sequence[int] | None, length: int) -> None:
        self._arrays = list(arrays)
        self._stops = np.cumsum([len(array) for array in arrays]).tolist()
        self._shifts = shifts
        self.shape = (length, *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: Any) -> Any:
        at, start = int(row), 0
        for part, stop in enumerate(self._stops):
            if 0 <= at < stop:
                value = self._arrays[part][at - start]
                if self._shifts is None:
                    return value
                return np.array((int(value[0]) + self._shifts[part], int(value[1])), dtype=np.int64)
            start = stop
        raise IndexError(f"row {at} of {self._stops[-1]}")


def concatenated_arrays(chain: ConcatenatedIndex) -> dict[str, Any]:
    """What takes the place of a live dataset's ``doc_idx``, ``sample_idx`` and ``shuffle_idx``."""
    arrays = chain.arrays
    documents = [len(one.doc_idx) for one in arrays]
    return {
        "doc_idx": ChainedRows([one.doc_idx for one in arrays], None, sum(documents)),
        "sample_idx": ChainedRows(
            [one.sample_idx for one in arrays], np.cumsum([0, *documents[:-1]]).tolist(), len(chain) + 1
        ),
        "shuffle_idx": ChainedShuffle(chain),
    }
