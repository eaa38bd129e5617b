"""A blend: several GPT indices drawn from in fixed shares."""

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

_BLOCK = 1 << 20
_ANEW = (
    "Move the blend's files aside and let the host build them anew; or, if 'rebuild' wrote them, its note "
    "(<md5>.epoch_guard.json) must lie beside them"
)


@dataclass(frozen=True)
class BlendIndex:
    """Position -> constituent and position within it, as the host's ``BlendableDataset`` keeps it."""

    datasets: tuple[GPTIndex | ConcatenatedIndex, ...]
    dataset_index: npt.NDArray[np.integer[Any]]
    """``[N]``: the constituent that each position draws from."""
    dataset_sample_index: npt.NDArray[np.integer[Any]]
    """``[N]``: the position within that constituent."""
    weights: str = ""
    """The normalised weights, as the host's description of the blend gives them."""

    def __post_init__(self) -> None:
        shapes = self.dataset_index.shape, self.dataset_sample_index.shape
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise IndexMismatchError(
                f"the blend's dataset_index and dataset_sample_index have shapes {shapes[0]} and {shapes[1]}; "
                "expected two lists of one length. Delete the blend's cache files and let the host build them anew"
            )

    def __len__(self) -> int:
        return len(self.dataset_index)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The corpora's file names; those that would occur twice carry their place in the blend."""
        plain = [dataset.names[0] for dataset in self.datasets]
        numbered = tuple(f"{name}-{at}" for at, name in enumerate(plain))
        often = Counter(plain)
        mixed = tuple(name if often[name] == 1 else other for name, other in zip(plain, numbered, strict=True))
        return mixed if len(set(mixed)) == len(mixed) else numbered

    @property
    def epochs(self) -> tuple[int, ...]:
        """Data epochs of each constituent."""
        return tuple(dataset.epochs[0] for dataset in self.datasets)

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Where the blend first draws from beyond each boundary of each constituent.

        A boundary that the blend never reaches is none.

        Raises:
            IndexMismatchError: the blend points to a dataset that it does not have.
        """
        never = np.iinfo(np.int64).max
        waiting = [[*dataset.boundaries] for dataset in self.datasets]
        starts = np.array([one[0].position if one else never for one in waiting])
        found: list[Boundary] = []
        for start in range(0, len(self), _BLOCK):
            if (starts == never).all():
                break
            which = np.asarray(self.dataset_index[start : start + _BLOCK], dtype=np.int64)
            inner = np.asarray(self.dataset_sample_index[start : start + _BLOCK])
            self._check_datasets(which)
            reached = np.flatnonzero(inner >= starts[which])
            while reached.size:
                crossed, first = np.unique(which[reached], return_index=True)
                for dataset, at in zip(crossed.tolist(), reached[first].tolist(), strict=True):
                    boundary = waiting[dataset].pop(0)
                    found.append(Boundary(start + at, boundary.from_epoch, dataset))
                    starts[dataset] = waiting[dataset][0].position if waiting[dataset] else never
                # A constituent that was extended has more than one.
                reached = reached[inner[reached] >= starts[which[reached]]]
        return tuple(sorted(found))

    def _check_datasets(self, which: Int64Array) -> None:
        wrong = which[(which < 0) | (which >= len(self.datasets))]
        if wrong.size:
            raise IndexMismatchError(
                f"the blend points to dataset {wrong[0]}; it has {len(self.datasets)}. "
                "Delete the blend's cache files and let the host build them anew"
            )

    def drawn_of_each(self, stop: int) -> Int64Array:
        """``[datasets]``: how many samples of each constituent the positions before ``stop`` draw."""
        counts = np.zeros(len(self.datasets), dtype=np.int64)
        for start in range(0, stop, _BLOCK):
            which = np.asarray(self.dataset_index[start : min(start + _BLOCK, stop)], dtype=np.int64)
            self._check_datasets(which)
            counts += np.bincount(which, minlength=len(self.datasets))
        return counts

    def locate(self, positions: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
        """The constituent (0-based) and, within it, the data epoch (1-based) of each position.

        Args:
            positions: integers ``[n]`` in ``[0, len)``; other shapes are flattened.

        Returns:
            Two int64 arrays ``[n]``.

        Raises:
            IndexMismatchError: a position, or what the blend points to, is outside its index.
        """
        at = np.asarray(positions, dtype=np.int64).reshape(-1)
        if at.size and (int(at.min()) < 0 or int(at.max()) >= len(self)):
            raise IndexMismatchError(f"positions from {at.min()} to {at.max()}; the blend has [0, {len(self)})")
        which = np.asarray(self.dataset_index[at], dtype=np.int64)
        inner = np.asarray(self.dataset_sample_index[at], dtype=np.int64)
        epochs = np.empty_like(which)
        by_dataset = np.argsort(which, kind="stable")
        self._check_datasets(which)
        present, counts = np.unique(which, return_counts=True)
        ends = np.cumsum(counts)
        for dataset, end, count in zip(present.tolist(), ends.tolist(), counts.tolist(), strict=True):
            chosen = by_dataset[end - count : end]
            epochs[chosen] = self.datasets[dataset].epoch_of(inner[chosen])
        return which, epochs


def verify_blend(blend: BlendIndex, size: int, source: str) -> None:
    """Checks that every position of a blend draws from a dataset and a position that are there, each dataset in turn.

    Up to 16 million positions are checked whole, of more the ends and spaced blocks.

    Args:
        blend: in the host's own order.
        size: positions that it should have.
        source: names it for errors.

    Raises:
        IndexMismatchError: it does not.
    """
    found = [
        f"{which.dtype}" for which in (blend.dataset_index, blend.dataset_sample_index) if which.dtype.kind not in "iu"
    ]
    if len(blend) != size or found:
        what = f"dtype {found[0]}; expected integers" if found else f"{len(blend)} positions; expected {size}"
        raise IndexMismatchError(f"{source}: {what}. {_ANEW}")
    lengths: Int64Array = np.array([len(one) for one in blend.datasets], dtype=np.int64)
    drawn = np.zeros(len(lengths), dtype=np.int64)
    checked = 0
    for start, stop in blocks(0, size, _BLOCK):
        which = np.asarray(blend.dataset_index[start:stop], dtype=np.int64)
        inner = np.asarray(blend.dataset_sample_index[start:stop], dtype=np.int64)
        if int(which.min()) < 0 or int(which.max()) >= len(lengths):
            raise IndexMismatchError(
                f"{source}: positions from {start:,} on draw from datasets {which.min()} to {which.max()}; expected "
                f"[0, {len(lengths)}). {_ANEW}"
            )
        if start != checked:  # behind positions that were passed over, each goes on from wherever it is
            present, first = np.unique(which, return_index=True)
            drawn[present] = inner[first]
        expected = _in_turn(which, drawn)
        wrong = (inner < 0) | (inner >= lengths[which]) | (inner != expected)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise IndexMismatchError(
                f"{source}: position {start + at:,} draws position {inner[at]:,} of dataset {which[at]}; expected "
                f"{expected[at]:,} of {lengths[which[at]]:,}, for each dataset is drawn in turn. {_ANEW}"
            )
        drawn += np.bincount(which, minlength=len(drawn))
        checked = stop


def _in_turn(which: Int64Array, drawn: Int64Array) -> Int64Array:
    """The position within its dataset that each position of a block should draw.

    Args:
        which: ``[n]``: datasets.
        drawn: ``[datasets]``: how many of each were drawn before.
    """
    by_dataset = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=len(drawn))
    firsts = np.repeat(np.cumsum(counts) - counts - drawn, counts)
    expected = np.empty_like(which)
    expected[by_dataset] = np.arange(len(which)) - firsts
    return expected
