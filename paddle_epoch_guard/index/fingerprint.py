"""A digest of a sample index and of the corpus behind it, at a cost that does not grow with their size."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES = 1 << 14
_BLOCKS = 64  # with both ends among them: 1 MiB an array


def digest_array(array: npt.NDArray[Any], rows: int | None = None) -> str:
    """A digest of an array's dtype, shape, ends and evenly spaced blocks.

    An array of up to 1 MiB is read whole. Values count, not bytes: the same numbers on a machine of the other byte
    order have the same digest.

    Args:
        array: integers of any shape, usually memory-mapped.
        rows: how many of its rows count, from the first on; all where None.

    Returns:
        32 hexadecimal digits.
    """
    rows = len(array) if rows is None else rows
    shape = (rows, *array.shape[1:])
    found = hashlib.blake2b(f"{array.dtype.kind}{array.dtype.itemsize}{shape}".encode(), digest_size=16)
    rows_in_block = max(_BLOCK_BYTES // max(array.dtype.itemsize * int(np.prod(array.shape[1:])), 1), 1)
    count = -(-rows // rows_in_block)
    for block in np.unique(np.linspace(0, max(count - 1, 0), min(_BLOCKS, count)).astype(np.int64)).tolist():
        # The last block reaches to the very end, rather than beginning at a multiple.
        start = max(min(block * rows_in_block, rows - rows_in_block), 0)
        values = read_rows(array, start, min(start + rows_in_block, rows))
        found.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return found.hexdigest()


def read_rows(array: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    """Some rows of an array, one after the other; of a mapped file they are read, and do not stay in memory.

    Touching a page of a cold map makes the kernel read far around it: a hundred times what is asked for.
    """
    mapped = (
        isinstance(array, np.memmap) and array.filename is not None and array.base is getattr(array, "_mmap", None)
    )
    if not mapped or not array.flags.c_contiguous:
        return np.ascontiguousarray(array[start:stop])
    assert isinstance(array, np.memmap)
    width = int(np.prod(array.shape[1:]))
    offset = array.offset + start * width * array.dtype.itemsize
    return np.fromfile(str(array.filename), array.dtype, (stop - start) * width, offset=offset)
