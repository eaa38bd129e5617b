"""A digest of an array, at a cost that does not grow with its size."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES = 1 << 14
_BLOCKS = 64  # including both ends: 1 MiB per array


def digest_array(array: npt.NDArray[Any], rows: int | None = None) -> str:
    """A digest of an array's dtype, shape, ends and evenly spaced blocks.

    An array of up to 1 MiB is read whole. The digest does not depend on the byte order.

    Args:
        array: integers of any shape, usually memory-mapped.
        rows: digest only the first ``rows`` rows; all if None.

    Returns:
        32 hexadecimal digits.
    """
    rows = len(array) if rows is None else rows
    shape = (rows, *array.shape[1:])
    digest = hashlib.blake2b(f"{array.dtype.kind}{array.dtype.itemsize}{shape}".encode(), digest_size=16)
    rows_in_block = max(_BLOCK_BYTES // max(array.dtype.itemsize * int(np.prod(array.shape[1:])), 1), 1)
    count = -(-rows // rows_in_block)
    for block in np.unique(np.linspace(0, max(count - 1, 0), min(_BLOCKS, count)).astype(np.int64)).tolist():
        # The last block ends at the last row.
        start = max(min(block * rows_in_block, rows - rows_in_block), 0)
        values = read_rows(array, start, min(start + rows_in_block, rows))
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def read_rows(array: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    """The rows ``[start, stop)``, flattened if read from a mapped file.

    The file is read rather than the map: a page fault makes the kernel read a hundred times more than requested.
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
