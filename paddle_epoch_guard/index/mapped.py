"""Arrays mapped from files, read-only and without an open descriptor: thousands of them fit the usual limit of 1,024.

Python's ``mmap`` keeps a descriptor for each map (until ``trackfd`` of 3.13), and so does ``numpy.memmap``.
"""

import contextlib
import ctypes
import math
import mmap
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from paddle_epoch_guard.language import tr

_LONGEST_HEADER = 1 << 16
"""Bytes of the header of an ``.npy`` file; numpy writes 118 for an array of integers."""


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file to be read.

    Raises:
        OSError: it cannot be opened, or is none. A pipe is not waited for.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(None, tr("it is no regular file"), str(path))
        yield stream


def map_array(
    stream: BinaryIO, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int, *, fortran: bool = False
) -> npt.NDArray[Any]:
    """Maps a part of an open file, which may be closed afterwards.

    Args:
        stream: the file.
        path: its path, kept in the array.
        dtype: of the entries.
        shape: of the array; at least one entry.
        offset: of the first entry, in bytes.
        fortran: whether the first axis runs fastest.

    Returns:
        An array that says where it comes from, as ``numpy.memmap`` does: ``filename``, ``offset``.

    Raises:
        OSError: it cannot be mapped.
        ValueError: the file is too short.
    """
    kind = np.dtype(dtype)
    end = offset + math.prod(shape) * kind.itemsize
    size = os.fstat(stream.fileno()).st_size
    if size < end:
        raise ValueError(tr("{size:,} bytes; {needed:,} are needed", size=size, needed=end))
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    buffer = _mapped(stream.fileno(), end - start, start)
    order: Any = "F" if fortran else "C"
    array: Any = np.ndarray.__new__(np.memmap, shape, kind, buffer=buffer, offset=offset - start, order=order)
    array.flags.writeable = False
    array._mmap, array.offset, array.mode, array.filename = buffer, offset, "r", path.resolve()  # noqa: SLF001
    return array  # type: ignore[no-any-return]


def map_npy(path: Path) -> npt.NDArray[Any]:
    """Maps the array of an ``.npy`` file.

    Raises:
        OSError: it cannot be opened or mapped, or is no regular file.
        ValueError: it holds no array, or only part of one; or one of Python objects.
    """
    with open_regular(path) as stream:
        version = npy.read_magic(stream)  # type: ignore[no-untyped-call]
        width = 2 if version == (1, 0) else 4
        length = int.from_bytes(stream.read(width), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(
                tr("a header of {length:,} bytes; an array of integers needs a few hundred", length=length)
            )
        stream.seek(-width, os.SEEK_CUR)
        read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=_LONGEST_HEADER)
        if dtype.hasobject:
            raise ValueError(tr("an array of Python objects, which would have to be unpickled"))
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        return map_array(stream, path, dtype, shape, stream.tell(), fortran=fortran)


def _mapped(descriptor: int, length: int, offset: int) -> Any:  # noqa: ANN401 - a buffer
    """A read-only buffer over a file, which holds no descriptor."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=offset, trackfd=False)
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
    )  # fmt: skip
    system.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    address = system.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    buffer = (ctypes.c_ubyte * length).from_address(address)
    weakref.finalize(buffer, system.munmap, address, length)
    return buffer
