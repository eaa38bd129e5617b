"""Reads a record, skipping what is damaged."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from paddle_epoch_guard.errors import cause_of
from paddle_epoch_guard.language import counted, tr
from paddle_epoch_guard.record.events import VERSION, Event, PartBegan
from paddle_epoch_guard.record.writer import PART_DIGITS

_HEAD = len(b'{"crc":"00000000",')
_PART_AT = _HEAD + len(b'"part":"')
_EVENT_AT = _PART_AT + PART_DIGITS + len(b'","data":')
_LONGEST_LINE = 1 << 26
"""Bytes. An order of thousands of datasets fits; this package writes no longer lines."""
_LISTED = 3  # damaged lines that a fault lists


class Line(NamedTuple):
    """One event, and the part that wrote it."""

    part: str
    """The first digits of its name."""
    event: Event


class _Tag(msgspec.Struct):
    event: str = ""


@dataclass
class RecordFile:
    """The record of one log folder.

    Events are read on demand, not kept: a run may have logged a million windows.
    """

    path: Path
    parts: list[PartBegan] = field(default_factory=list)
    """In the order in which they began in this file."""
    faults: list[str] = field(default_factory=list)
    """What could not be read or is in doubt, with the consequences."""
    strays: set[str] = field(default_factory=set)
    """The first digits of parts that have lines here, and whose beginning is missing."""

    @classmethod
    def open(cls, path: Path) -> "RecordFile":
        """Finds the parts and the faults of a record. A missing file has no parts."""
        record = cls(path)
        damaged: list[int] = []
        later, unknown = 0, 0
        overlapping: set[tuple[str, str]] = set()
        known: list[str] = []
        try:
            for number, content in enumerate(_lines(path, record.faults), start=1):
                line = _sound(content)
                if line is None:
                    damaged += [number] if content.strip() else []
                    continue
                if b'"event":"part_began"' in content[_EVENT_AT : _EVENT_AT + 32]:
                    event = _decoded(line)
                    if isinstance(event, PartBegan):
                        record.parts.append(event)
                        known.append(event.part[:PART_DIGITS])
                        continue
                    later += 1
                    continue
                part = _part_of(line)
                if part not in known:
                    unknown += 1
                    record.strays.add(part)
                elif part != known[-1]:
                    overlapping.add((part, known[-1]))
                elif not _is_known(line):
                    later += 1
        except OSError as cause:
            record.faults.append(tr("{path}: cannot be read: {cause}", path=path, cause=cause_of(cause)))
        record._add_faults(damaged, later, unknown, overlapping)
        return record

    @property
    def part_digits(self) -> set[str]:
        """The first digits of all parts that have lines here."""
        return {part.part[:PART_DIGITS] for part in self.parts} | self.strays

    def lines(self) -> Iterator[Line]:
        """All sound events of parts that began in this file, in the order in which they were written."""
        known = {part.part[:PART_DIGITS] for part in self.parts}
        unreadable = 0
        try:
            for content in _lines(self.path, []):
                line = _sound(content)
                if line is None or _part_of(line) not in known:
                    continue
                event = _decoded(line)
                if event is not None:
                    yield Line(_part_of(line), event)
                elif _is_known(line):
                    unreadable += 1
        except OSError:
            return  # `open` has reported it
        if unreadable:
            self.faults.append(
                counted(
                    "{path}: {n} line left out: their fields do not fit this release. Their content is missing here",
                    "{path}: {n} lines left out: their fields do not fit this release. Their content is missing here",
                    unreadable,
                    path=self.path,
                )
            )

    def _add_faults(self, damaged: list[int], later: int, unknown: int, overlapping: set[tuple[str, str]]) -> None:
        if damaged:
            listed = ", ".join(map(str, damaged[:_LISTED])) + (", ..." if len(damaged) > _LISTED else "")
            self.faults.append(
                counted(
                    "{path}: {n} damaged line left out ({lines}). Their content is missing here",
                    "{path}: {n} damaged lines left out ({lines}). Their content is missing here",
                    len(damaged),
                    path=self.path,
                    lines=listed,
                )
            )
        if later:
            self.faults.append(
                counted(
                    "{path}: {n} line left out: a later release wrote them. Read the record with that release",
                    "{path}: {n} lines left out: a later release wrote them. Read the record with that release",
                    later,
                    path=self.path,
                )
            )
        newest = max((part.version for part in self.parts), default=VERSION)
        if newest > VERSION:
            self.faults.append(
                tr(
                    "{path}: written in version {newest} of the record; this release reads version {version}, and may "
                    "miss what is new in it",
                    path=self.path,
                    newest=newest,
                    version=VERSION,
                )
            )
        if unknown:
            self.faults.append(
                counted(
                    "{path}: {n} line left out of a part that did not begin in this file: another process wrote here "
                    "too, or the line with its beginning is damaged",
                    "{path}: {n} lines left out of a part that did not begin in this file: another process wrote here "
                    "too, or the line with its beginning is damaged",
                    unknown,
                    path=self.path,
                )
            )
        for earlier, later_part in sorted(overlapping):
            self.faults.append(
                tr(
                    "{path}: parts {earlier} and {later} of the run were written at the same time: from where it "
                    "began on, {later} counts",
                    path=self.path,
                    earlier=earlier,
                    later=later_part,
                )
            )


def _lines(path: Path, faults: list[str]) -> Iterator[bytes]:
    """The whole lines of a file, without their ends; a truncated last line is a fault.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    if not path.exists():
        return
    if not path.is_file():  # reading a pipe would block
        raise OSError(tr("not a regular file"))
    with path.open("rb") as stream:
        while content := stream.readline(_LONGEST_LINE):
            if content.endswith(b"\n"):
                yield content[:-1]
            elif len(content) < _LONGEST_LINE:
                faults.append(
                    tr("{path}: ends in the middle of a record, perhaps because the run is still writing", path=path)
                )
            else:
                yield b"too long"
                while (content := stream.readline(_LONGEST_LINE)) and not content.endswith(b"\n"):
                    pass


def _sound(line: bytes) -> bytes | None:
    """A line with a valid checksum; None otherwise."""
    if line[:8] != b'{"crc":"' or line[16:_HEAD] != b'",' or len(line) <= _EVENT_AT:
        return None
    return line if line[8:16] == b"%08x" % zlib.crc32(line[_HEAD:]) else None


def _part_of(line: bytes) -> str:
    return line[_PART_AT : _PART_AT + PART_DIGITS].decode("ascii", "replace")


_DECODER = msgspec.json.Decoder(Event)
_TAG_DECODER = msgspec.json.Decoder(_Tag)
_TAGS = frozenset(kind.__struct_config__.tag for kind in Event.__args__)


def _decoded(line: bytes) -> Event | None:
    """The event of a sound line; None if this release does not know it."""
    try:
        event: Event = _DECODER.decode(line[_EVENT_AT:-1])
        return event
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_known(line: bytes) -> bool:
    try:
        return _TAG_DECODER.decode(line[_EVENT_AT:-1]).event in _TAGS
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
