"""The GPT sample index: which sample a position draws, and from which data epoch."""

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import CorpusError, IndexMismatchError
from paddle_epoch_guard.index.corpus import count_tokens
from paddle_epoch_guard.index.description import Description, split_documents
from paddle_epoch_guard.index.grouping import as_shuffled
from paddle_epoch_guard.index.layout import IndexLayout
from paddle_epoch_guard.index.verify import IndexArrays, check_shapes, verify
from paddle_epoch_guard.language import tr

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Boundary:
    """Where the order passes from one separately shuffled group of data epochs to the next.

    One sample of the later group starts in the epoch before, and crosses the boundary.
    """

    position: int
    """The first position of the later group, 0-based."""
    from_epoch: int
    """The last data epoch before it, 1-based."""
    dataset: int = 0
    """The number of the dataset in a blend; 0 without a blend."""

    @property
    def to_epoch(self) -> int:
        """The data epoch that starts, 1-based."""
        return self.from_epoch + 1


class SampleIndex(Protocol):
    """The data as the rest of the package sees it: one dataset, or a blend of several."""

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each dataset."""

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs of each dataset."""

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Boundaries of all datasets, by position."""

    def __len__(self) -> int:
        """The number of positions."""

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """The dataset (0-based) and the data epoch (1-based) of the sample that each position draws.

        Args:
            positions: integers ``[n]`` in ``[0, len)``.

        Returns:
            Two int64 arrays ``[n]``.
        """


@dataclass(frozen=True)
class GPTIndex:
    """A verified GPT sample index. Build it with :meth:`from_arrays`."""

    description: Description
    layout: IndexLayout
    shuffle_idx: npt.NDArray[np.integer[Any]]
    """``[S]``: position -> sample."""
    arrays: IndexArrays | None = field(default=None, repr=False, compare=False)
    """All arrays and the document sizes, if the index was built from them."""

    @classmethod
    def from_arrays(cls, description: Description, arrays: IndexArrays) -> "GPTIndex":
        """Derives the layout from description and corpus, and verifies the arrays against it.

        Args:
            description: the fields the index was built from.
            arrays: the arrays of the index and the sizes of all documents.

        Raises:
            CorpusError: the split is empty or unreadable.
            IndexMismatchError: the arrays do not match description and corpus.
        """
        try:
            documents = split_documents(description.split, description.name, len(arrays.sizes))
            tokens = count_tokens(arrays.sizes, *documents)
            layout = IndexLayout.of(tokens, description.seq_length, description.samples_requested)
        except (CorpusError, IndexMismatchError) as cause:
            raise type(cause)(tr("the index of {corpus}: {cause}", corpus=description.prefix, cause=cause)) from cause
        check_shapes(arrays, layout, documents)
        layout = as_shuffled(layout, arrays, documents)
        verify(arrays, layout, documents)
        return cls(description, layout, arrays.shuffle_idx, arrays)

    def __len__(self) -> int:
        return self.layout.samples_built

    @property
    def names(self) -> tuple[str, ...]:
        """The corpus's file name, without folder and ending."""
        return (PurePath(self.description.prefix).name,)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs E, as a tuple of one."""
        return (self.layout.num_epochs,)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The start of the last data epoch, if it is shuffled separately."""
        boundary = self.layout.boundary_position
        return () if boundary is None else (Boundary(boundary, self.layout.num_epochs - 1),)

    def epoch_of(self, positions: npt.ArrayLike) -> Int64Array:
        """The data epoch, 1-based, of the sample that each position draws.

        A sample that crosses the end of an epoch belongs to the epoch of its first token. For jointly shuffled
        epochs the number is nominal, as their documents are mixed.

        Args:
            positions: integers in ``[0, len)``, of any shape.

        Returns:
            int64 array of that shape.

        Raises:
            IndexMismatchError: a position is outside the index.
        """
        asked = np.asarray(positions, dtype=np.int64)
        if asked.size and (int(asked.min()) < 0 or int(asked.max()) >= len(self)):
            values = {"first": asked.min(), "last": asked.max(), "length": len(self)}
            raise IndexMismatchError(tr("positions from {first} to {last}; the index has [0, {length})", **values))
        samples = np.asarray(self.shuffle_idx[asked], dtype=np.int64)
        return samples * self.layout.seq_length // self.layout.tokens_per_epoch + 1

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """Zeros, for the only dataset, and :meth:`epoch_of`."""
        epochs = self.epoch_of(positions)
        return np.zeros_like(epochs), epochs
