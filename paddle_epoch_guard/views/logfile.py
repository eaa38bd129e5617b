"""Reads VisualDL log files in full; VisualDL's server shows only a sample of the points.

A file holds records, each preceded by its length in 8 bytes (``visualdl/writer/record_writer.py``, 2.5.3). VisualDL's
own ``LogReader`` trusts the lengths: a damaged one makes it allocate any amount of memory.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from paddle_epoch_guard.errors import cause_of
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.views.visualdl_package import DecodeError, Record

_LARGEST_RECORD = 1 << 26  # 64 MiB; this package and the trainer write no such large pictures
_LATEST_STEP = 1 << 53


@dataclass
class LogFile:
    """The content of one file."""

    path: Path
    began: int = 0
    """When its first record was written, in milliseconds since 1970; 0 if unknown."""
    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Steps and values by tag, in the order in which they were written."""
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Steps and texts by tag."""
    fault: str | None = None
    """Why the file was not read to its end; None if it was."""


def read_log_file(path: Path, tags: Iterable[str] = ()) -> LogFile:
    """Reads a file up to its first damage. A run that is still writing may leave a truncated record at the end.

    Args:
        path: the file.
        tags: the tags to read; all by default.
    """
    log = LogFile(path)
    wanted = tuple(tags)
    needles = tuple(tag.encode() for tag in wanted)
    try:
        for content in _records(path):
            # Parsing is slow, and most of the trainer's records are not wanted.
            if not needles or not log.began or any(needle in content for needle in needles):
                _take(log, Record.FromString(content), wanted)
    except EOFError:
        log.fault = tr("ends in the middle of a record")
    except OSError as cause:
        log.fault = tr("cannot be read: {cause}", cause=cause_of(cause))
    except DecodeError:
        log.fault = tr("damaged; read up to there")
    return log


def _records(path: Path) -> Iterator[bytes]:
    """The content of each record.

    Raises:
        OSError: the file cannot be read.
        EOFError: it ends in the middle of a record.
        DecodeError: a length is damaged.
    """
    if path.exists() and not path.is_file():  # reading a pipe would block
        raise OSError(tr("not a regular file"))
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while stream.tell() < size:
            yield next_record(stream)


def next_record(stream: BinaryIO) -> bytes:
    """The content of the next record.

    Raises:
        OSError: the file cannot be read.
        EOFError: it ends, or does so in the middle of a record.
        DecodeError: a length is damaged.
    """
    header = stream.read(8)
    length = int.from_bytes(header, "little")
    if len(header) == 8 and not 0 < length <= _LARGEST_RECORD:
        raise DecodeError
    content = stream.read(length) if len(header) == 8 else b""
    if len(content) < length or not content:
        raise EOFError
    return content


def check_record(content: bytes) -> None:
    """Whether VisualDL can read a record.

    Raises:
        ValueError: it cannot.
    """
    try:
        record = Record.FromString(content)
    except DecodeError as cause:
        raise ValueError("damaged") from cause
    if not record.values or record.values[0].WhichOneof("one_value") is None:
        raise ValueError("it has no value")


def sound_length(path: Path) -> tuple[int, bool]:
    """Measures the whole records at the start of a file, by their lengths alone.

    Returns:
        Their bytes, and whether anything but a truncated record follows.

    Raises:
        OSError: it cannot be read.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as stream:
        while at + 8 <= size:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= _LARGEST_RECORD:
                return at, True
            if at + 8 + length > size:
                break
            at = stream.seek(length, os.SEEK_CUR)
    return at, False


def _take(log: LogFile, record: Record, wanted: tuple[str, ...]) -> None:
    for value in record.values:
        if not log.began:
            log.began = value.timestamp
        tag, step = value.tag, value.id
        if (wanted and tag not in wanted) or not 0 <= step < _LATEST_STEP:
            continue
        kind = value.WhichOneof("one_value")
        if kind == "value":
            points = log.scalars.get(tag)
            if points is None:
                points = log.scalars[tag] = []
            points.append((step, value.value))
        elif kind == "text":
            log.texts.setdefault(tag, []).append((step, value.text.encoded_text_string))
