"""Reads the document sizes of a corpus from its ``.idx`` file, without the host."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import CorpusError, UnreadableCorpusError
from paddle_epoch_guard.index.mapped import map_array, open_regular

# The memory-mapped format of paddlenlp/data/indexed_dataset.py (3.0.0b4), which is Megatron's:
# magic, version (u64), dtype code (u8), sequences (u64), documents (u64), int32 sizes, int64 pointers, ...
_MAGIC = b"MMIDIDX\x00\x00"
_HEADER_BYTES = len(_MAGIC) + 8 + 1 + 8 + 8
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 8, 7: 4, 8: 2, 9: 4, 10: 8}


def read_sizes(prefix: str | Path) -> npt.NDArray[np.int32]:
    """Tokens of each document of the corpus ``<prefix>.idx``/``<prefix>.bin``, memory-mapped.

    Args:
        prefix: path of the corpus, without ``.idx``/``.bin``.

    Returns:
        int32 array ``[documents]``, read-only.

    Raises:
        CorpusError: a file is missing, is not a memory-mapped corpus, or is truncated.
        UnreadableCorpusError: a file cannot be opened or read, and may be sound.
    """
    index_path, data_path = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    for path in (index_path, data_path):
        if not path.is_file():
            raise CorpusError(f"{path}: no such file; expected the corpus prefix, without .idx or .bin")
    try:
        with open_regular(index_path) as stream:
            return _read_sizes(stream, index_path, data_path)
    except OSError as cause:
        raise UnreadableCorpusError(
            f"{index_path}: could not be read: {cause.strerror or cause}. The file itself may be sound"
        ) from cause


def _read_sizes(stream: BinaryIO, index_path: Path, data_path: Path) -> npt.NDArray[np.int32]:
    header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise CorpusError(
            f"{index_path}: starts with {header[:9]!r}; expected {_MAGIC!r}, the memory-mapped format, "
            "the only supported one. Build the corpus again with --data_impl mmap"
        )
    version = int.from_bytes(header[9:17], "little")
    item_bytes = _ITEM_BYTES.get(header[17])
    count = int.from_bytes(header[18:26], "little")
    if version != 1 or item_bytes is None:
        raise CorpusError(
            f"{index_path}: version {version} and dtype code {header[17]}; expected version 1 and a code from 1 to 10"
        )
    needed = _HEADER_BYTES + count * (4 + 8) + int.from_bytes(header[26:34], "little") * 8
    size = os.fstat(stream.fileno()).st_size
    if size < needed:
        raise CorpusError(f"{index_path}: {size} bytes; its header's {count} documents need at least {needed}")
    if count == 0:
        return np.empty(0, dtype=np.int32)
    sizes = map_array(stream, index_path, np.int32, (count,), _HEADER_BYTES)
    stream.seek(_HEADER_BYTES + 4 * count + 8 * (count - 1))
    last_pointer = int.from_bytes(stream.read(8), "little", signed=True)
    described = last_pointer + int(sizes[-1]) * item_bytes
    if data_path.stat().st_size < described:
        raise CorpusError(
            f"{data_path}: {data_path.stat().st_size} bytes; {index_path.name} describes {described}. "
            "The data file is truncated or belongs to another index file"
        )
    return sizes


def count_tokens(sizes: npt.NDArray[np.integer[Any]], start: int, stop: int) -> int:
    """The number of tokens in the documents ``[start, stop)``, summed in blocks."""
    block = 1 << 20
    return sum(int(sizes[low : min(low + block, stop)].sum(dtype=np.int64)) for low in range(start, stop, block))
