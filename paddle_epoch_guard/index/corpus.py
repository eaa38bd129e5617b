"""Reads the document sizes of a corpus from its ``.idx`` file, without the host.

The hosts read a document from where its pointer says, so a run draws other text if the pointers are wrong. Every
writer puts each document where the one before it ends: Megatron's, PaddleNLP's, PaddleFormers'. So pointers must be
the sizes, summed up. A merge with int32 numbers breaks them from 2 GiB on (Megatron-LM issue 1672).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from paddle_epoch_guard.errors import CorpusError, CorpusPointerError, UnreadableCorpusError, cause_of
from paddle_epoch_guard.index.mapped import map_array, open_regular
from paddle_epoch_guard.index.verify import blocks
from paddle_epoch_guard.language import mark, tr

# The memory-mapped format of paddlenlp/data/indexed_dataset.py (3.0.0b4), which is Megatron's:
# magic, version (u64), dtype code (u8), sequences (u64), documents (u64), int32 sizes, int64 pointers,
# int64 document_indices: the sequence at which each document starts, and their number
_MAGIC = b"MMIDIDX\x00\x00"
_HEADER_BYTES = len(_MAGIC) + 8 + 1 + 8 + 8
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 8, 7: 4, 8: 2, 9: 4, 10: 8}
_BLOCK = 1 << 18
_POINTERS = mark(
    "A run draws other text there, or its loader dies and the run waits forever. Build or merge the corpus again with "
    "64-bit pointers"
)


@dataclass(frozen=True)
class _IndexFile:
    """The arrays of an ``.idx`` file."""

    path: Path
    item_bytes: int
    """Bytes of a token."""
    sizes: npt.NDArray[np.int32]
    """``[documents]``: tokens of each."""
    pointers: npt.NDArray[np.int64]
    """``[documents]``: the byte of the ``.bin`` file at which each starts."""
    listed: int
    """What the document list ends with; the number of documents in a file that Megatron opens."""


def read_sizes(prefix: str | Path, *, needs_text: bool = True) -> npt.NDArray[np.int32]:
    """Tokens of each document of the corpus ``<prefix>.idx``/``<prefix>.bin``, memory-mapped.

    Pointers of up to 16 million documents are checked whole, more at the ends and in evenly spaced blocks.

    Args:
        prefix: path of the corpus, without ``.idx``/``.bin``.
        needs_text: whether the ``.bin`` file must be there. It may lie in object storage; the sizes do not need it.

    Returns:
        int32 array ``[documents]``, read-only.

    Raises:
        CorpusError: a file is missing, or is not a memory-mapped corpus.
        CorpusPointerError: a pointer is wrong, or the ``.bin`` file is too short.
        UnreadableCorpusError: a file cannot be opened or read, and may be sound.
    """
    index_path, data_path = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    for path in (index_path, data_path) if needs_text else (index_path,):
        if not path.is_file():
            raise CorpusError(_missing(path))
    index = _open_index(index_path)
    _check_pointers(index, data_path)
    return index.sizes


def check_live_corpus(prefix: str) -> None:
    """Checks the pointers of the corpus that a run reads.

    Does nothing if there is no memory-mapped corpus of this prefix: the host has formats of its own.

    Raises:
        CorpusPointerError: a pointer is wrong, or the ``.bin`` file is too short.
        UnreadableCorpusError: the ``.idx`` file cannot be opened or read.
    """
    index_path, data_path = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    if index_path.is_file() and data_path.is_file() and _is_mapped(index_path):
        _check_pointers(_open_index(index_path), data_path)


def _is_mapped(path: Path) -> bool:
    try:
        with open_regular(path) as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return True  # `_open_index` then raises the error


def fault_of_document_list(prefix: str | Path) -> str:
    """What is wrong with the list of documents of an ``.idx`` file, which PaddleNLP does not read.

    Returns:
        A sentence without an end; empty if the list is sound.

    Raises:
        CorpusError: the file is missing, or is not a memory-mapped corpus.
        UnreadableCorpusError: it cannot be opened or read.
    """
    index = _open_index(Path(f"{prefix}.idx"))
    if index.listed == len(index.sizes):
        return ""
    return tr(
        "{path}: its document list ends at {end:,}; expected {sequences:,}, its sequences",
        path=index.path,
        end=index.listed,
        sequences=len(index.sizes),
    )


def _open_index(path: Path) -> _IndexFile:
    try:
        with open_regular(path) as stream:
            return _read_index(stream, path)
    except FileNotFoundError as cause:
        raise CorpusError(_missing(path)) from cause
    except OSError as cause:
        raise UnreadableCorpusError(
            tr(
                "{path}: could not be read: {cause}. The file itself may be sound",
                path=path,
                cause=cause_of(cause),
            )
        ) from cause


def _missing(path: Path) -> str:
    return tr("{path}: no such file; expected the corpus prefix, without .idx or .bin", path=path)


def _read_index(stream: BinaryIO, path: Path) -> _IndexFile:
    header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise CorpusError(
            tr(
                "{path}: starts with {found!r}; expected {magic!r}, the memory-mapped format, the only supported one. "
                "Build the corpus again with --data_impl mmap",
                path=path,
                found=header[:9],
                magic=_MAGIC,
            )
        )
    version = int.from_bytes(header[9:17], "little")
    item_bytes = _ITEM_BYTES.get(header[17])
    count, listed = (int.from_bytes(header[start : start + 8], "little") for start in (18, 26))
    if version != 1 or item_bytes is None:
        raise CorpusError(
            tr(
                "{path}: version {version} and dtype code {code}; expected version 1 and a code from 1 to 10",
                path=path,
                version=version,
                code=header[17],
            )
        )
    needed = _HEADER_BYTES + count * (4 + 8) + listed * 8
    size = os.fstat(stream.fileno()).st_size
    if size < needed:
        values = {"path": path, "size": size, "count": count, "needed": needed}
        raise CorpusError(tr("{path}: {size} bytes; its header's {count} documents need at least {needed}", **values))
    if count == 0:
        return _IndexFile(path, item_bytes, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), 0)
    after_sizes = _HEADER_BYTES + 4 * count
    stream.seek(needed - 8)
    return _IndexFile(
        path,
        item_bytes,
        map_array(stream, path, np.int32, (count,), _HEADER_BYTES),
        map_array(stream, path, np.int64, (count,), after_sizes),
        int.from_bytes(stream.read(8), "little", signed=True) if listed else 0,
    )


def _check_pointers(index: _IndexFile, data_path: Path) -> None:
    """Checks that each document starts where the one before it ends, and that the ``.bin`` file holds them all.

    The file need not be there.

    Raises:
        CorpusPointerError: a check failed.
    """
    end = checked = 0
    for first, last in blocks(0, len(index.sizes), _BLOCK):
        end += count_tokens(index.sizes, checked, first) * index.item_bytes
        lengths = index.sizes[first:last].astype(np.int64) * index.item_bytes
        if (lengths < 0).any():
            at = int(np.argmax(lengths < 0))
            raise CorpusPointerError(
                tr(
                    "{path}: document {document:,} has {found:,} tokens; expected 0 or more. The index file is "
                    "damaged: build the corpus again",
                    path=index.path,
                    document=first + at,
                    found=int(index.sizes[first + at]),
                )
            )
        ends = np.cumsum(lengths) + end
        wrong = index.pointers[first:last] != ends - lengths
        if wrong.any():
            at = int(np.argmax(wrong))
            raise CorpusPointerError(
                tr(
                    "{path}: document {document:,} starts at byte {found:,} of {data}; expected {expected:,}, where "
                    "the documents before it end. {next_move}",
                    path=index.path,
                    document=first + at,
                    found=index.pointers[first + at],
                    data=data_path.name,
                    expected=int(ends[at] - lengths[at]),
                    next_move=tr(_POINTERS),
                )
            )
        end, checked = int(ends[-1]), last
    size = data_path.stat().st_size if data_path.is_file() else end
    if size < end:
        raise CorpusPointerError(
            tr(
                "{path}: {size} bytes; {index} describes {end}. The data file is truncated or belongs to another "
                "index file",
                path=data_path,
                size=size,
                index=index.path.name,
                end=end,
            )
        )


def count_tokens(sizes: npt.NDArray[np.integer[Any]], start: int, stop: int) -> int:
    """The number of tokens in the documents ``[start, stop)``, summed in blocks."""
    block = 1 << 20
    return sum(int(sizes[low : min(low + block, stop)].sum(dtype=np.int64)) for low in range(start, stop, block))
