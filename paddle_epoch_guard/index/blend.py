"""A blend: several GPT indices, drawn from by fixed weights."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.index.concatenated import ConcatenatedIndex
from paddle_epoch_guard.index.gpt import Boundary, GPTIndex, Int64Array
from paddle_epoch_guard.index.verify import blocks
from paddle_epoch_guard.language import mark, tr

_BLOCK = 1 << 20
_REBUILD = mark(
    "Move the blend's files away and let the host rebuild them; or, if 'rebuild' wrote them, its note "
    "(<md5>.epoch_guard.json) must lie beside them"
)


@dataclass(frozen=True)
class BlendIndex:
    """Maps a position to a dataset and a position in it, as the host's ``BlendableDataset`` does."""

    datasets: tuple[GPTIndex | ConcatenatedIndex, ...]
    dataset_index: npt.NDArray[np.integer[Any]]
    """``[N]``: the dataset that each position draws from."""
    dataset_sample_index: npt.NDArray[np.integer[Any]]
    """``[N]``: the position in that dataset."""
    weights: str = ""
    """The normalised weights, as the host's description of the blend gives them; empty if unknown."""

    def __post_init__(self) -> None:
        shapes = self.dataset_index.shape, self.dataset_sample_index.shape
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise IndexMismatchError(
                tr(
                    "the blend's dataset_index and dataset_sample_index have shapes {first} and {second}; expected "
                    "two vectors of equal length. Delete the blend's cache files and let the host rebuild them",
                    first=shapes[0],
                    second=shapes[1],
                )
            )

    def __len__(self) -> int:
        return len(self.dataset_index)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The corpora's file names; repeated names get the dataset's number in the blend."""
        plain = [dataset.names[0] for dataset in self.datasets]
        numbered = tuple(f"{name}-{number}" for number, name in enumerate(plain))
        counts = Counter(plain)
        names = tuple(name if counts[name] == 1 else longer for name, longer in zip(plain, numbered, strict=True))
        return names if len(set(names)) == len(names) else numbered

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of data epochs of each dataset."""
        return tuple(dataset.epochs[0] for dataset in self.datasets)

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Where the blend first draws beyond each boundary of each dataset, without boundaries that it never reaches.

        Raises:
            IndexMismatchError: ``dataset_index`` holds an unknown dataset.
        """
        never = np.iinfo(np.int64).max
        ahead = [[*dataset.boundaries] for dataset in self.datasets]
        starts = np.array([boundaries[0].position if boundaries else never for boundaries in ahead])
        reached_boundaries: list[Boundary] = []
        for start in range(0, len(self), _BLOCK):
            if (starts == never).all():
                break
            which = np.asarray(self.dataset_index[start : start + _BLOCK], dtype=np.int64)
            inner = np.asarray(self.dataset_sample_index[start : start + _BLOCK])
            self._check_datasets(which)
            reached = np.flatnonzero(inner >= starts[which])
            while reached.size:
                crossed, first = np.unique(which[reached], return_index=True)
                for dataset, offset in zip(crossed.tolist(), reached[first].tolist(), strict=True):
                    boundary = ahead[dataset].pop(0)
                    reached_boundaries.append(Boundary(start + offset, boundary.from_epoch, dataset))
                    starts[dataset] = ahead[dataset][0].position if ahead[dataset] else never
                # An extended dataset has several boundaries.
                reached = reached[inner[reached] >= starts[which[reached]]]
        return tuple(sorted(reached_boundaries))

    def _check_datasets(self, which: Int64Array) -> None:
        unknown = which[(which < 0) | (which >= len(self.datasets))]
        if unknown.size:
            raise IndexMismatchError(
                tr(
                    "the blend points to dataset {number}; it has {count}. Delete the blend's cache files and let the "
                    "host rebuild them",
                    number=unknown[0],
                    count=len(self.datasets),
                )
            )

    def drawn_of_each(self, stop: int) -> Int64Array:
        """``[datasets]``: how many samples of each dataset the positions before ``stop`` draw.

        Raises:
            IndexMismatchError: ``dataset_index`` holds an unknown dataset.
        """
        counts = np.zeros(len(self.datasets), dtype=np.int64)
        for start in range(0, stop, _BLOCK):
            which = np.asarray(self.dataset_index[start : min(start + _BLOCK, stop)], dtype=np.int64)
            self._check_datasets(which)
            counts += np.bincount(which, minlength=len(self.datasets))
        return counts

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """The dataset (0-based) of each position, and its data epoch (1-based) in that dataset.

        Args:
            positions: integers ``[n]`` in ``[0, len)``; other shapes are flattened.

        Returns:
            Two int64 arrays ``[n]``.

        Raises:
            IndexMismatchError: a position is outside the blend, or its entry is outside its dataset.
        """
        asked = np.asarray(positions, dtype=np.int64).reshape(-1)
        if asked.size and (int(asked.min()) < 0 or int(asked.max()) >= len(self)):
            values = {"first": asked.min(), "last": asked.max(), "length": len(self)}
            raise IndexMismatchError(tr("positions from {first} to {last}; the blend has [0, {length})", **values))
        which = np.asarray(self.dataset_index[asked], dtype=np.int64)
        inner = np.asarray(self.dataset_sample_index[asked], dtype=np.int64)
        epochs = np.empty_like(which)
        by_dataset = np.argsort(which, kind="stable")
        self._check_datasets(which)
        present, counts = np.unique(which, return_counts=True)
        ends = np.cumsum(counts)
        for dataset, end, count in zip(present.tolist(), ends.tolist(), counts.tolist(), strict=True):
            rows = by_dataset[end - count : end]
            epochs[rows] = self.datasets[dataset].epoch_of(inner[rows])
        return which, epochs


def verify_blend(blend: BlendIndex, size: int, source: str) -> None:
    """Checks that each position draws an existing sample, and that each dataset is drawn in order, from position 0.

    A blend of up to 16 million positions is checked whole, a larger one at its ends and in evenly spaced blocks.

    Args:
        blend: in the host's own order.
        size: the expected number of positions.
        source: names the blend in errors.

    Raises:
        IndexMismatchError: a check failed.
    """
    for array in (blend.dataset_index, blend.dataset_sample_index):
        if array.dtype.kind not in "iu":
            values = {"source": source, "dtype": array.dtype, "next_move": tr(_REBUILD)}
            raise IndexMismatchError(tr("{source}: dtype {dtype}; expected integers. {next_move}", **values))
    if len(blend) != size:
        values = {"source": source, "found": len(blend), "size": size, "next_move": tr(_REBUILD)}
        raise IndexMismatchError(tr("{source}: {found} positions; expected {size}. {next_move}", **values))
    lengths: Int64Array = np.array([len(dataset) for dataset in blend.datasets], dtype=np.int64)
    drawn = np.zeros(len(lengths), dtype=np.int64)
    checked = 0
    for start, stop in blocks(0, size, _BLOCK):
        which = np.asarray(blend.dataset_index[start:stop], dtype=np.int64)
        inner = np.asarray(blend.dataset_sample_index[start:stop], dtype=np.int64)
        if int(which.min()) < 0 or int(which.max()) >= len(lengths):
            raise IndexMismatchError(
                tr(
                    "{source}: positions from {start:,} on draw from datasets {first} to {last}; expected [0, "
                    "{count}). {next_move}",
                    source=source,
                    start=start,
                    first=which.min(),
                    last=which.max(),
                    count=len(lengths),
                    next_move=tr(_REBUILD),
                )
            )
        if start != checked:  # after a gap, take each dataset's first position as given
            present, first = np.unique(which, return_index=True)
            drawn[present] = inner[first]
        expected = _expected_inner(which, drawn)
        wrong = (inner < 0) | (inner >= lengths[which]) | (inner != expected)
        if wrong.any():
            first_wrong = int(np.argmax(wrong))
            dataset = int(which[first_wrong])
            raise IndexMismatchError(
                tr(
                    "{source}: position {position:,} draws position {found:,} of dataset {dataset}; expected "
                    "{expected:,} of {length:,}, the next in order. {next_move}",
                    source=source,
                    position=start + first_wrong,
                    found=inner[first_wrong],
                    dataset=dataset,
                    expected=expected[first_wrong],
                    length=lengths[dataset],
                    next_move=tr(_REBUILD),
                )
            )
        drawn += np.bincount(which, minlength=len(drawn))
        checked = stop


def _expected_inner(which: Int64Array, drawn: Int64Array) -> Int64Array:
    """``[n]``: the position in its dataset that each position of a block should draw.

    Args:
        which: ``[n]``: the dataset of each position.
        drawn: ``[datasets]``: how many samples of each were drawn before the block.
    """
    by_dataset = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=len(drawn))
    firsts = np.repeat(np.cumsum(counts) - counts - drawn, counts)
    expected = np.empty_like(which)
    expected[by_dataset] = np.arange(len(which)) - firsts
    return expected
