"""The record of a run: its events, one line of JSON each, in ``<logging_dir>/epoch_guard/record.jsonl``.

A line begins with a checksum of its rest and the part that wrote it, so that a reader can tell half a line, a damaged
one, and two processes that write at once. Lines are only ever appended: a resumed run goes on in the same file.
"""

import time
import zlib
from pathlib import Path

import msgspec

from paddle_epoch_guard.files import append_whole, keep_aside
from paddle_epoch_guard.record.events import Event

RECORD_NAME = "record.jsonl"
PART_DIGITS = 8
"""Hexadecimal digits of the part's name that each line carries."""
_HANDED_OVER_EVERY = 1.0  # seconds


def record_path(logging_dir: str | Path) -> Path:
    """Where the record of a run lies."""
    return Path(logging_dir) / "epoch_guard" / RECORD_NAME


class RecordWriter:
    """Appends events to the record of a run.

    Args:
        logging_dir: the trainer's log folder.
        part: names the part of the run that writes.
        begins_anew: whether a record that is there is another run's, and is kept aside.
    """

    def __init__(self, logging_dir: str | Path, part: str, begins_anew: bool = False) -> None:
        self.path = record_path(logging_dir)
        self._part = part[:PART_DIGITS].encode()
        self._encoder = msgspec.json.Encoder()
        self._waiting: list[bytes] = []
        self._handed_over = 0.0
        self._is_checked = False
        if begins_anew and self.path.parent.is_dir():
            keep_aside(self.path.parent, RECORD_NAME, RECORD_NAME)

    def take(self, event: Event) -> None:
        """Takes an event, to be written with the next flush."""
        self._waiting.append(line_of(self._part, self._encoder.encode(event)))

    def flush(self, at_once: bool = True) -> None:
        """Writes what was taken.

        Args:
            at_once: otherwise only where the last time is a second ago.

        Raises:
            OSError: the folder cannot be written. What was taken since the last flush is lost.
        """
        now = time.monotonic()
        if not self._waiting or not (at_once or now >= self._handed_over + _HANDED_OVER_EVERY):
            return
        self._handed_over = now
        lines, self._waiting = self._waiting, []
        if not self._is_checked:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if _ends_within_a_line(self.path):
                lines.insert(0, b"\n")  # half a line, as an interruption leaves it, stays a line of its own
            self._is_checked = True
        append_whole(self.path, b"".join(lines))

    def close(self) -> None:
        """Writes what was taken; no file stays open. Writing again afterwards appends."""
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
