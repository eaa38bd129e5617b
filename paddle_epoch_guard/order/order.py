"""An order: a base order and a list of reorders, as an array."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import OrderError
from paddle_epoch_guard.index.mapped import map_array, open_regular
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order.lookahead import Lookahead
from paddle_epoch_guard.order.mixes import MIXES, Int64Array, Mix, Reorder
from paddle_epoch_guard.order.permutation import compose

_CHUNK = 1 << 16  # positions moved at a time: intermediate results fit a core's cache


class BaseOrder(Protocol):
    """A one-dimensional array of samples, indexed by position: a numpy array, or computed."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the samples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n,)``."""

    def __len__(self) -> int: ...
    def __getitem__(self, positions: Int64Array, /) -> npt.NDArray[Any]: ...


class PositionMap:
    """Maps positions of the reordered run to positions of the base order, and back.

    Args:
        reorders: oldest first; each acts on the order that the previous ones made.
    """

    def __init__(self, reorders: Sequence[Reorder] = ()) -> None:
        self.reorders = tuple(reorders)
        mixes = [(reorder, MIXES[reorder.mix](reorder)) for reorder in reorders]
        self._sources = _moves(mixes[::-1], inverse=False)
        self._targets = _moves(mixes, inverse=True)

    def base(self, positions: npt.ArrayLike) -> Int64Array:
        """The positions of the base order whose samples ``positions`` draw: int64 of the same shape."""
        return _moved(positions, self._sources)

    def drawn(self, base_positions: npt.ArrayLike) -> Int64Array:
        """The inverse of :meth:`base`: the positions that draw the samples of the base order."""
        return _moved(base_positions, self._targets)

    def dissolves(self, boundary: int) -> bool:
        """Whether a reorder mixes the samples on both sides of a boundary of the base order.

        This assumes that each reorder spans the rest of the planned positions, as those of this package do.
        """
        return any(reorder.start < boundary < reorder.stop for reorder in self.reorders)


@dataclass(frozen=True)
class _Move:
    """One reorder, or several compiled ones that follow each other: moves positions in ``[start, stop)``, in place."""

    start: int
    stop: int
    apply: Callable[[Int64Array], bool]
    """Returns whether any position may have moved."""


def _moves(mixes: Sequence[tuple[Reorder, Mix]], inverse: bool) -> list[_Move]:
    """The moves of mixes, in the order in which they act."""
    compiled = [(reorder, mix, mix.compiled()) for reorder, mix in mixes]
    moves = []
    for is_compiled, group in itertools.groupby(compiled, key=lambda one: one[2] is not None):
        together = list(group)
        if is_compiled:
            placed = np.concatenate([one for _, _, one in together if one is not None])
            start = min(reorder.start for reorder, _, _ in together)
            stop = max(reorder.stop for reorder, _, _ in together)
            moves.append(_Move(start, stop, partial(_compose, placed, inverse)))
        else:
            moves += [
                _Move(reorder.start, reorder.stop, partial(_move, reorder, mix.target if inverse else mix.source))
                for reorder, mix, _ in together
            ]
    return moves


def _moved(positions: npt.ArrayLike, moves: Sequence[_Move]) -> Int64Array:
    """Copies the positions and applies each move to those in its range."""
    moved = np.array(positions, dtype=np.int64, order="C")
    flat = moved.reshape(-1)
    for first in range(0, flat.size, _CHUNK):
        chunk = flat[first : first + _CHUNK]
        # All positions lie in [low, high]. A run that was extended a hundred times has a hundred reorders: those in
        # the past cost a comparison of two numbers, as soon as none of them has a position.
        low, high = int(chunk.min()), int(chunk.max())
        for move in moves:
            if high < move.start or low >= move.stop:
                continue
            if not move.apply(chunk):
                continue
            is_whole = move.start <= low and high < move.stop
            low = move.start if is_whole else min(low, move.start)
            high = move.stop - 1 if is_whole else max(high, move.stop - 1)
    return moved


def _compose(placed: npt.NDArray[np.void], inverse: bool, positions: Int64Array) -> bool:
    compose(positions, placed, inverse)
    return True


def _move(reorder: Reorder, move: Callable[[Int64Array], Int64Array], positions: Int64Array) -> bool:
    """Moves those of the positions that a reorder has, and says whether there are any."""
    inside = (positions >= reorder.start) & (positions < reorder.stop)
    count = int(np.count_nonzero(inside))
    if count == len(positions):
        positions[...] = move(positions)
    elif 2 * count > len(positions):  # moving some for nothing costs less than selecting them
        moved = move(np.clip(positions, reorder.start, reorder.stop - 1))
        np.copyto(positions, moved, where=inside)
    elif count:
        positions[inside] = move(positions[inside])
    return count > 0


class Order:
    """The base array in another order, computed on demand.

    It replaces ``shuffle_idx`` of a live dataset and supports what the base array does: integers, slices and arrays of
    positions, ``len``, ``dtype``, ``numpy.asarray``. Positions outside all reorders, such as those beyond the planned
    samples, are unchanged. Integers are served from blocks computed ahead.

    If the base is memory-mapped, a pickle holds the name of its file rather than its data.

    Args:
        base: ``[n]``, usually memory-mapped.
        reorders: oldest first.

    Raises:
        OrderError: the base is not one-dimensional, or shorter than a reorder.
    """

    ndim = 1

    def __init__(self, base: BaseOrder, reorders: Sequence[Reorder]) -> None:
        if len(base.shape) != 1:
            raise OrderError(tr("a base order of shape {shape}; expected one dimension", shape=base.shape))
        for reorder in reorders:
            if reorder.stop > len(base):
                values = {"stop": reorder.stop, "length": len(base)}
                raise OrderError(tr("a reorder up to position {stop} of a base order of {length} positions", **values))
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
        return self.base.dtype

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

    @overload
    def __getitem__(self, key: int) -> np.generic: ...
    @overload
    def __getitem__(self, key: slice | npt.NDArray[Any] | Sequence[int]) -> npt.NDArray[Any]: ...
    def __getitem__(self, key: int | slice | npt.ArrayLike) -> np.generic | npt.NDArray[Any]:
        if isinstance(key, (int, np.integer)):
            return self._value(int(key))
        if isinstance(key, slice):
            return self._values(np.arange(*key.indices(len(self.base)), dtype=np.int64))
        chosen = np.asarray(key)
        if chosen.dtype == bool:
            if chosen.shape != self.shape:
                raise IndexError(f"a mask of shape {chosen.shape} over an order of {len(self.base)} positions")
            return self._values(np.flatnonzero(chosen))
        if chosen.size and chosen.dtype.kind not in "iu":
            raise IndexError(f"positions of type {chosen.dtype}; expected integers")
        if chosen.ndim == 0:
            return self._value(int(chosen))
        low, high = (int(chosen.min()), int(chosen.max())) if chosen.size else (0, 0)
        if low < -len(self.base) or high >= max(len(self.base), 1):
            raise IndexError(f"positions from {low} to {high} of an order of {len(self.base)} positions")
        chosen = chosen.astype(np.int64)
        return self._values(chosen if low >= 0 else np.where(chosen < 0, chosen + len(self.base), chosen))

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("an order is computed; it cannot become an array without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        base = self.base
        # A view of a memory map has its class, but not its own offset in the file.
        if isinstance(base, np.memmap) and base.filename is not None and base.base is getattr(base, "_mmap", None):
            return _reopen, (str(base.filename), base.dtype.str, base.offset, len(base), self.reorders)
        return Order, (base, self.reorders)

    def _value(self, key: int) -> np.generic:
        position = key + len(self.base) if key < 0 else key
        if not 0 <= position < len(self.base):
            raise IndexError(f"position {key} of an order of {len(self.base)} positions")
        return self._lookahead(position)

    def _values(self, positions: Int64Array) -> npt.NDArray[Any]:
        return np.asarray(self.base[self.positions.base(positions)])


def _reopen(filename: str, dtype: str, offset: int, length: int, reorders: tuple[Reorder, ...]) -> Order:
    path = Path(filename)
    with open_regular(path) as stream:
        return Order(map_array(stream, path, dtype, (length,), offset), reorders)
