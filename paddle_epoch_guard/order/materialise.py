"""An order written out as a plain array, for hosts that know nothing of it; and the way back.

Written and read in blocks: memory does not grow with the number of positions.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import IndexFileError, OrderError
from paddle_epoch_guard.index.folder import IndexFiles
from paddle_epoch_guard.order.mixes import Reorder
from paddle_epoch_guard.order.order import Order, PositionMap

BLOCK = 1 << 18
"""Positions computed at a time."""
_THREADS = 4  # they wait for memory, which more would not bring sooner
_NOTE_BYTES = 1 << 16
_VERSION = 1


def blocks_of(order: Order, size: int = BLOCK) -> Iterator[npt.NDArray[Any]]:
    """The values of an order, ``size`` at a time; the next ones are computed on other cores meanwhile."""
    threads = min(os.cpu_count() or 1, _THREADS)
    ahead: deque[Future[npt.NDArray[Any]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(order), size):
            ahead.append(pool.submit(order.__getitem__, slice(start, start + size)))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def write_header(stream: BinaryIO, order: Order) -> None:
    """Writes what precedes the values in a ``.npy`` file, as ``numpy.save`` does."""
    described = {"descr": order.dtype.str, "fortran_order": False, "shape": order.shape}
    np.lib.format.write_array_header_1_0(stream, described)  # type: ignore[no-untyped-call]


def write_order(stream: BinaryIO, order: Order, advance: Callable[[int], None] | None = None) -> None:
    """Writes an order as a ``.npy`` file.

    Args:
        stream: open for writing, at its beginning.
        order: of any length.
        advance: is told the bytes of values written since the last time.
    """
    write_header(stream, order)
    for block in blocks_of(order):
        stream.write(block.data)
        if advance is not None:
            advance(block.nbytes)


class Undone:
    """The base order, from the array into which an order was written out.

    Takes slices and arrays of positions.

    Args:
        written: ``[n]``, usually memory-mapped.
        reorders: of the order, oldest first.
    """

    ndim = 1

    def __init__(self, written: Any, reorders: Sequence[Reorder]) -> None:
        for reorder in reorders:
            if written.ndim != 1 or reorder.stop > len(written):
                raise OrderError(f"a reorder up to position {reorder.stop} of an array of shape {written.shape}")
        self.written = written
        self.positions = PositionMap(reorders)
        self.dtype: np.dtype[Any] = written.dtype
        self.shape: tuple[int, ...] = written.shape

    @property
    def reorders(self) -> tuple[Reorder, ...]:
        """Those that the array was written out in, oldest first."""
        return self.positions.reorders

    def __len__(self) -> int:
        return len(self.written)

    def __getitem__(self, at: Any) -> npt.NDArray[Any]:
        wanted = np.arange(*at.indices(len(self)), dtype=np.int64) if isinstance(at, slice) else np.asarray(at)
        return np.asarray(self.written[self.positions.drawn(wanted)])


def host_order(files: IndexFiles, array: Any) -> Any:
    """An array of an index in the host's own order, whether or not another one was written out.

    Raises:
        IndexFileError: the note beside the index is damaged.
        OrderError: the note is of a longer array.
    """
    reorders = read_note(files.note)
    return Undone(array, reorders) if reorders else array


def written_in(array: Any) -> tuple[Reorder, ...]:
    """The reorders in which an array lies on disk, beyond the host's own order that it gives."""
    return array.reorders if isinstance(array, Undone) else ()


def in_order(array: Any, reorders: Sequence[Reorder]) -> Any:
    """An array in another order, which may be the very one in which it lies on disk.

    Args:
        array: in the host's own order: as it lies on disk, or :class:`Undone`.
        reorders: oldest first.
    """
    written = written_in(array)
    if written and tuple(reorders[: len(written)]) == written:
        array, reorders = array.written, reorders[len(written) :]
    return Order(array, reorders) if reorders else array


def note_of(reorders: Sequence[Reorder]) -> str:
    """The text that says in which order an array was written out."""
    listed = [
        {"start": one.start, "stop": one.stop, "mix": one.mix, "key": list(one.key), "boundary": one.boundary}
        for one in reorders
    ]
    return json.dumps({"version": _VERSION, "reorders": listed}, indent=2) + "\n"


def read_note(path: Path) -> tuple[Reorder, ...]:
    """The reorders of :func:`note_of`; none where there is no such file.

    Raises:
        IndexFileError: it is damaged, or of an unknown version.
    """
    if not path.is_file():
        return ()
    wrong = f"{path}: not what 'rebuild' writes beside an index. Rebuild the index from the host's own"
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_NOTE_BYTES))
    except (OSError, ValueError, RecursionError) as cause:
        raise IndexFileError(f"{wrong} ({cause})") from cause
    if not isinstance(found, dict) or found.get("version") != _VERSION or not isinstance(found.get("reorders"), list):
        raise IndexFileError(f"{wrong} (version {_VERSION} is read)")
    return tuple(_reorder(one, wrong) for one in found["reorders"])


def _reorder(found: Any, wrong: str) -> Reorder:
    if not isinstance(found, dict) or set(found) != {"start", "stop", "mix", "key", "boundary"}:
        raise IndexFileError(wrong)
    key, boundary = found["key"], found["boundary"]
    numbers = [found["start"], found["stop"], *([] if boundary is None else [boundary])]
    if not isinstance(key, list) or not key or not isinstance(found["mix"], str):
        raise IndexFileError(wrong)
    if any(type(number) is not int or not 0 <= number < 1 << 62 for number in [*numbers, *key]):
        raise IndexFileError(wrong)
    try:
        return Reorder(found["start"], found["stop"], found["mix"], tuple(key), boundary)
    except OrderError as cause:
        raise IndexFileError(f"{wrong} ({cause})") from cause
