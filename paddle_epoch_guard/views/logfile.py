"""VisualDL log files, read back whole: the server shows a sample of them, and stops at what it cannot read.

A file is a run of records, each behind its length in 8 bytes (``visualdl/writer/record_writer.py``, 2.5.3). VisualDL's
own ``LogReader`` takes a length as it comes: a damaged one makes it ask for any amount of memory.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError
from visualdl.proto.record_pb2 import Record

_LARGEST_RECORD = 1 << 26  # a picture of 64 MiB; nothing that this package or the trainer writes comes near
_LATEST_STEP = 1 << 53


@dataclass
class LogFile:
    """What was read of one file."""

    path: Path
    began: int = 0
    """When its first record was written, in milliseconds since 1970; 0 where that is not known."""
    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """By tag: step and value, as they were written."""
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """By tag: step and text."""
    fault: str | None = None
    """Why it was not read to its end."""


def read_log_file(path: Path, tags: Iterable[str] = ()) -> LogFile:
    """Reads a file as far as it is sound. A run that is still writing may leave half a record at its end.

    Args:
        path: the file.
        tags: those that are wanted; all by default.
    """
    found = LogFile(path)
    wanted = tuple(tags)
    needles = tuple(tag.encode() for tag in wanted)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise OSError("it is no regular file")
        with path.open("rb") as stream:
            while header := stream.read(8):
                length = int.from_bytes(header, "little")
                if len(header) == 8 and not 0 < length <= _LARGEST_RECORD:
                    found.fault = "damaged; read up to there"
                    break
                content = stream.read(length) if len(header) == 8 else b""
                if len(content) < length or not content:
                    found.fault = "ends in the middle of a record"
                    break
                # Parsing is slow, and most of what the trainer logs is not asked for.
                if not needles or not found.began or any(needle in content for needle in needles):
                    _take(found, Record.FromString(content), wanted)
    except OSError as cause:
        found.fault = f"cannot be read: {cause.strerror or cause}"
    except DecodeError:
        found.fault = "damaged; read up to there"
    return found


def sound_length(path: Path) -> tuple[int, bool]:
    """How far a file is a run of whole records, by their lengths alone.

    Returns:
        The bytes of its whole records, and whether something else than half a record comes behind them.

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


def _take(found: LogFile, record: Record, wanted: tuple[str, ...]) -> None:
    for value in record.values:
        if not found.began:
            found.began = value.timestamp
        tag, step = value.tag, value.id
        if (wanted and tag not in wanted) or not 0 <= step < _LATEST_STEP:
            continue
        kind = value.WhichOneof("one_value")
        if kind == "value":
            points = found.scalars.get(tag)
            if points is None:
                points = found.scalars[tag] = []
            points.append((step, value.value))
        elif kind == "text":
            found.texts.setdefault(tag, []).append((step, value.text.encoded_text_string))
