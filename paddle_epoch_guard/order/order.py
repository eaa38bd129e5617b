"""An order: a base order and a list of reorders, in the shape of an array."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.order.lookahead import Lookahead
from paddle_epoch_guard.order.mixes import MIXES, Int64Array, Mix, Reorder

Move = Callable[[Int64Array], Int64Array]
_CHUNK = 1 << 16
"""Positions moved at a time: what is computed on the way stays in the cache of a core."""


class PositionMap:
    """Where each position of a reordered run finds its sample in the base order.

    Args:
        reorders: oldest first; each acts on the order that those before it made.
    """

    def __init__(self, reorders: Sequence[Reorder] = ()) -> None:
        self.reorders = tuple(reorders)
        self._mixes: tuple[tuple[Reorder, Mix], ...] = tuple((one, MIXES[one.mix](one)) for one in reorders)

    def base(self, positions: npt.ArrayLike) -> Int64Array:
        """The positions of the base order whose samples are drawn at ``positions`` (``[n]``, both)."""
        return _moved(positions, [(reorder, mix.source) for reorder, mix in reversed(self._mixes)])

    def drawn(self, base_positions: npt.ArrayLike) -> Int64Array:
        """The inverse of :meth:`base`: at which positions the samples of the base order are drawn."""
        return _moved(base_positions, [(reorder, mix.target) for reorder, mix in self._mixes])

    def dissolves(self, boundary: int) -> bool:
        """Whether a reorder mixes the samples on both sides of a boundary of the base order.

        Right as long as every reorder spans all that is left of the plan, as those of this package do.
        """
        return any(reorder.start < boundary < reorder.stop for reorder in self.reorders)


def _moved(positions: npt.ArrayLike, moves: Sequence[tuple[Reorder, Move]]) -> Int64Array:
    """Positions moved, one after the other, by what acts on the range of each reorder."""
    found = np.array(positions, dtype=np.int64, order="C")
    flat = found.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        _move(flat[start : start + _CHUNK], moves)
    return found


def _move(positions: Int64Array, moves: Sequence[tuple[Reorder, Move]]) -> None:
    """Moves them in place; there is at least one."""
    # All positions lie in [low, high]. A run that was extended a hundred times has a hundred reorders, most of which
    # lie behind: these cost a comparison of two numbers.
    low, high = int(positions.min()), int(positions.max())
    for reorder, move in moves:
        if high < reorder.start or low >= reorder.stop:
            continue
        if reorder.start <= low and high < reorder.stop:
            positions[...] = move(positions)
            low, high = int(positions.min()), int(positions.max())
            continue
        inside = (positions >= reorder.start) & (positions < reorder.stop)
        count = int(np.count_nonzero(inside))
        if 2 * count > len(positions):  # to move some more in vain costs less than to pick them out
            moved = move(np.clip(positions, reorder.start, reorder.stop - 1))
            np.copyto(positions, moved, where=inside)
        elif count:
            positions[inside] = move(positions[inside])
        low, high = min(low, reorder.start), max(high, reorder.stop - 1)


class Order:
    """A one-dimensional array that is the base array in another order, computed as it is asked for.

    It stands in for ``shuffle_idx`` of a live dataset, and answers whatever the base array answers: integers,
    slices and arrays of positions, ``len``, ``dtype``, ``numpy.asarray``. Positions outside all reorders, such as
    those past the planned samples, are the base's own. Integers are served from blocks computed ahead.

    Pickled, it names the file of a memory-mapped base rather than carrying its data.

    Args:
        base: ``[n]``, usually memory-mapped; anything that takes an array of positions and has ``dtype``,
            ``shape`` and ``ndim``.
        reorders: oldest first.

    Raises:
        OrderError: the base is not one-dimensional, or shorter than a reorder.
    """

    ndim = 1

    def __init__(self, base: Any, reorders: Sequence[Reorder]) -> None:
        if base.ndim != 1:
            raise OrderError(f"a base order of shape {base.shape}; expected one dimension")
        for reorder in reorders:
            if reorder.stop > len(base):
                raise OrderError(f"a reorder up to position {reorder.stop} of a base order of {len(base)} positions")
        self.base = base
        self.positions = PositionMap(reorders)
        self._lookahead = Lookahead(self._values, len(base))

    @property
    def reorders(self) -> tuple[Reorder, ...]:
        """The reorders, oldest first."""
        return self.positions.reorders

    @property
    def dtype(self) -> np.dtype[Any]:
        """The base's dtype."""
        found: np.dtype[Any] = self.base.dtype
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """The base's shape."""
        return (len(self.base),)

    @property
    def size(self) -> int:
        """The number of positions."""
        return len(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def __repr__(self) -> str:
        return f"Order(of {len(self)} {self.dtype} positions, {len(self.reorders)} reorders)"

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, (int, np.integer)):
            position = int(at)
            if position < 0:
                position += len(self.base)
            if not 0 <= position < len(self.base):
                raise IndexError(f"position {int(at)} of an order of {len(self.base)} positions")
            return self._lookahead(position)
        if isinstance(at, slice):
            return self._values(np.arange(*at.indices(len(self.base)), dtype=np.int64))
        chosen = np.asarray(at)
        if chosen.dtype == bool:
            if chosen.shape != self.shape:
                raise IndexError(f"a mask of shape {chosen.shape} over an order of {len(self.base)} positions")
            return self._values(np.flatnonzero(chosen))
        if chosen.size and chosen.dtype.kind not in "iu":
            raise IndexError(f"positions of type {chosen.dtype}; expected integers")
        if chosen.ndim == 0:
            return self[int(chosen)]
        low, high = (int(chosen.min()), int(chosen.max())) if chosen.size else (0, 0)
        if low < -len(self.base) or high >= max(len(self.base), 1):
            raise IndexError(f"positions from {low} to {high} of an order of {len(self.base)} positions")
        chosen = chosen.astype(np.int64)
        return self._values(chosen if low >= 0 else np.where(chosen < 0, chosen + len(self.base), chosen))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("an order is computed; it cannot be had as an array without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        base = self.base
        # A view of a memory map keeps its class but not its place in the file.
        if isinstance(base, np.memmap) and base.filename is not None and base.base is getattr(base, "_mmap", None):
            return _reopened, (str(base.filename), base.dtype.str, base.offset, len(base), self.reorders)
        return Order, (base, self.reorders)

    def _values(self, positions: Int64Array) -> npt.NDArray[Any]:
        return np.asarray(self.base[self.positions.base(positions)])


def _reopened(filename: str, dtype: str, offset: int, length: int, reorders: tuple[Reorder, ...]) -> Order:
    base: npt.NDArray[Any] = np.memmap(filename, np.dtype(dtype), "r", offset=offset, shape=(length,))
    return Order(base, reorders)
