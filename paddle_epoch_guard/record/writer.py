"""The record of a run: its events, one line of JSON each, in ``<logging_dir>/epoch_guard/record.jsonl``.

A line begins with a checksum of its rest and the part that wrote it, so that a reader can detect truncated and damaged
lines, and two processes that write at once. Lines are only ever appended: a resumed run continues the same file.
"""

import time
import zlib
from pathlib import Path

import msgspec

from paddle_epoch_guard.files import append_whole, keep_aside
from paddle_epoch_guard.record.events import Event

RECORD_NAME = "record.jsonl"
PART_DIGITS = 8
"""Hexadecimal digits of the part's name in each line."""
_FLUSHED_EVERY = 1.0  # seconds


def record_path(logging_dir: str | Path) -> Path:
    """The path of a run's record."""
    return Path(logging_dir) / "epoch_guard" / RECORD_NAME


class RecordWriter:
    """Appends events to the record of a run.

    Args:
        logging_dir: the trainer's log folder.
        part: the name of the part of the run that writes.
        begins_anew: whether an existing record belongs to another run, and is set aside.
    """

    def __init__(self, logging_dir: str | Path, part: str, begins_anew: bool = False) -> None:
        self.path = record_path(logging_dir)
        self._part = part[:PART_DIGITS].encode()
        self._encoder = msgspec.json.Encoder()
        self._waiting: list[bytes] = []
        self._flushed = 0.0
        self._is_checked = False
        if begins_anew and self.path.parent.is_dir():
            keep_aside(self.path.parent, RECORD_NAME, RECORD_NAME)

    def take(self, event: Event) -> None:
        """Takes an event, to be written with the next flush."""
        self._waiting.append(line_of(self._part, self._encoder.encode(event)))

    def flush(self, at_once: bool = True) -> None:
        """Writes the events taken.

        Args:
            at_once: if false, at most once a second.

        Raises:
            OSError: the folder cannot be written. The events since the last flush are lost.
        """
        now = time.monotonic()
        if not self._waiting or not (at_once or now >= self._flushed + _FLUSHED_EVERY):
            return
        self._flushed = now
        lines, self._waiting = self._waiting, []
        if not self._is_checked:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if _ends_within_a_line(self.path):
                lines.insert(0, b"\n")  # ends a line that an interruption has truncated
            self._is_checked = True
        append_whole(self.path, b"".join(lines))

    def close(self) -> None:
        """Writes the events taken; no file stays open. Later events are appended."""
        self.flush()


def line_of(part: bytes, event: bytes) -> bytes:
    """A line of the record: checksum (CRC-32), part, and the event as JSON."""
    rest = b'"part":"%b","data":%b}' % (part, event)
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(rest), rest)


def _ends_within_a_line(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read() != b"\n"
