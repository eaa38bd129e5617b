"""Writes an order as a plain array for hosts without the guard, and restores the base order from such an array.

Arrays are written in blocks: memory does not grow with the number of positions.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexFileError, OrderError, UnreadableIndexError, cause_of
from paddle_epoch_guard.index.folder import IndexFiles
from paddle_epoch_guard.index.mapped import open_regular
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order.mixes import Reorder
from paddle_epoch_guard.order.order import BaseOrder, Order, PositionMap

BLOCK = 1 << 18
"""Positions computed at a time."""
THREADS = 4
"""At most: it is limited by memory bandwidth, and more would not be faster."""
_NOTE_BYTES = 1 << 16
_VERSION = 1


def blocks_of(order: Order, size: int = BLOCK) -> Iterator[npt.NDArray[Any]]:
    """Yields the values of an order in blocks ``[size]``; other cores compute the next ones meanwhile."""
    threads = min(os.cpu_count() or 1, THREADS)
    ahead: deque[Future[npt.NDArray[Any]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(order), size):
            ahead.append(pool.submit(order.__getitem__, slice(start, start + size)))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def write_header(stream: BinaryIO, order: Order) -> None:
    """Writes the header of a ``.npy`` file, as ``numpy.save`` does."""
    header = {"descr": order.dtype.str, "fortran_order": False, "shape": order.shape}
    np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[no-untyped-call]


def write_order(stream: BinaryIO, order: Order, advance: Callable[[int], None] | None = None) -> None:
    """Writes an order as a ``.npy`` file.

    Args:
        stream: open for writing, at its beginning.
        order: of any length.
        advance: called with the number of bytes after each block.
    """
    write_header(stream, order)
    for block in blocks_of(order):
        stream.write(block.data)
        if advance is not None:
            advance(block.nbytes)


class RestoredOrder:
    """The base order, restored from an array that an order was written to.

    Supports slices and arrays of positions.

    Args:
        written: ``[n]``, usually memory-mapped.
        reorders: the reorders of the written order, oldest first.

    Raises:
        OrderError: the array is not one-dimensional, or shorter than a reorder.
    """

    ndim = 1

    def __init__(self, written: BaseOrder, reorders: Sequence[Reorder]) -> None:
        for reorder in reorders:
            if len(written.shape) != 1 or reorder.stop > len(written):
                values = {"stop": reorder.stop, "shape": written.shape}
                raise OrderError(tr("a reorder up to position {stop} of an array of shape {shape}", **values))
        self.written = written
        self.positions = PositionMap(reorders)
        self.dtype: np.dtype[Any] = written.dtype
        self.shape: tuple[int, ...] = written.shape

    @property
    def reorders(self) -> tuple[Reorder, ...]:
        """The reorders of the written order, oldest first."""
        return self.positions.reorders

    def __len__(self) -> int:
        return len(self.written)

    def __getitem__(self, key: slice | npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        asked = np.arange(*key.indices(len(self)), dtype=np.int64) if isinstance(key, slice) else np.asarray(key)
        return np.asarray(self.written[self.positions.drawn(asked)])


def host_order(files: IndexFiles, array: BaseOrder) -> BaseOrder:
    """An array of an index in the host's own order, even if 'rebuild' wrote it in another one.

    Args:
        files: the files of the index.
        array: the array as stored.

    Raises:
        IndexFileError: the note beside the index is damaged.
        OrderError: the note belongs to a longer array.
    """
    reorders = read_note(files.note)
    return RestoredOrder(array, reorders) if reorders else array


def written_in(array: BaseOrder) -> tuple[Reorder, ...]:
    """The reorders of an array's stored order; none if that is the host's own."""
    return array.reorders if isinstance(array, RestoredOrder) else ()


def in_order(array: BaseOrder, reorders: Sequence[Reorder]) -> BaseOrder:
    """An array in another order; if that is the stored one, the stored array.

    Args:
        array: in the host's own order: as stored, or a :class:`RestoredOrder`.
        reorders: oldest first.
    """
    base, written = array, written_in(array)
    if isinstance(array, RestoredOrder) and tuple(reorders[: len(written)]) == written:
        base, reorders = array.written, reorders[len(written) :]
    return Order(base, reorders) if reorders else base


def note_of(reorders: Sequence[Reorder]) -> str:
    """The text of the note that records the reorders of a written array."""
    listed = [{**asdict(reorder), "key": list(reorder.key)} for reorder in reorders]
    return json.dumps({"version": _VERSION, "reorders": listed}, indent=2) + "\n"


def read_note(path: Path) -> tuple[Reorder, ...]:
    """The reorders in a note of :func:`note_of`; none if the file does not exist.

    Raises:
        IndexFileError: the note is damaged, or of an unknown version.
        UnreadableIndexError: it cannot be opened or read.
    """
    wrong = tr(
        "{path}: not a note that 'rebuild' writes beside an index. Rebuild the index from the host's own", path=path
    )
    try:
        with open_regular(path) as stream:
            note = json.loads(stream.read(_NOTE_BYTES))
    except FileNotFoundError:
        return ()
    except OSError as cause:
        values = {"path": path, "cause": cause_of(cause)}
        raise UnreadableIndexError(tr("{path}: could not be read: {cause}", **values)) from cause
    except (ValueError, RecursionError) as cause:
        raise IndexFileError(tr("{fault} ({cause})", fault=wrong, cause=cause)) from cause
    if not isinstance(note, dict) or note.get("version") != _VERSION or not isinstance(note.get("reorders"), list):
        raise IndexFileError(tr("{fault} (expected version {version})", fault=wrong, version=_VERSION))
    return tuple(_reorder(fields, wrong) for fields in note["reorders"])


def _reorder(fields: object, wrong: str) -> Reorder:
    if not isinstance(fields, dict) or set(fields) != {"start", "stop", "mix", "key", "boundary"}:
        raise IndexFileError(wrong)
    key, boundary = fields["key"], fields["boundary"]
    numbers = [fields["start"], fields["stop"], *([] if boundary is None else [boundary])]
    if not isinstance(key, list) or not key or not isinstance(fields["mix"], str):
        raise IndexFileError(wrong)
    if any(type(number) is not int or not 0 <= number < 1 << 62 for number in [*numbers, *key]):
        raise IndexFileError(wrong)
    try:
        return Reorder(fields["start"], fields["stop"], fields["mix"], tuple(key), boundary)
    except OrderError as cause:
        raise IndexFileError(tr("{fault} ({cause})", fault=wrong, cause=cause)) from cause
