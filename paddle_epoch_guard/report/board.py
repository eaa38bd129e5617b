"""VisualDL's server, with a sorted run list.

VisualDL lists folders in the order of the file system (``visualdl/io/bfile.py``, 2.5.3), whatever their names.
"""

import contextlib
import errno
import functools
import math
import os
import re
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from paddle_epoch_guard.errors import ReportError, cause_of
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.views.logfile import check_record, next_record
from paddle_epoch_guard.views.visualdl_package import DecodeError, Record

_KINDS = (
    "epoch_", "trainer_epoch_", "unified_from_step_", "boundary_", "trainer_boundary_", "exposure_", "drawn_",
    "figures",
)  # fmt: skip
"""Folders of the guard, in the order of the list; any other comes before."""
_PORTS_TRIED = 20


def place_of(folder: str) -> list[Any]:
    """The sort key of a folder: a run, then its epochs, then its boundaries, each by number.

    Args:
        folder: a path.

    Returns:
        A key by which a folder sorts before its subfolders.
    """
    return [_place_of_name(name) for name in folder.split(os.sep)]


def in_order(walked: Iterable[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """What ``os.walk`` gives, sorted by :func:`place_of` its folders."""
    return sorted(walked, key=lambda walked_folder: place_of(walked_folder[0]))


def serve(logdir: str, options: Sequence[str], say: Callable[[str], object]) -> None:
    """Serves a log folder until the process is ended. It connects to no other machine.

    Args:
        logdir: a folder with logs in it or below.
        options: further options of ``visualdl``.
        say: takes a line about a log that is shown only in part.

    Raises:
        ReportError: the port is in use.
    """
    from visualdl.io import bfile
    from visualdl.reader import record_reader
    from visualdl.server import app
    from visualdl.server.args import parse_args

    sys.argv = ["visualdl", "--logdir", logdir, *options, "--disable-telemetry"]
    asked = parse_args()
    is_port_named = any(re.match(r"(--port|-p)(=|$)", option) for option in options)
    port = _free_port(asked["host"], int(asked["port"]), is_port_named)
    if port != asked["port"]:
        say(tr("port {port} is in use; this is port {other}", port=asked["port"], other=port))
        sys.argv += ["--port", str(port)]
    walk = bfile.walk
    bfile.walk = lambda top: in_order(_regular(walk(top)))
    record_reader._RecordReader = _Joined(say).open  # noqa: SLF001 - VisualDL has no other place
    # VisualDL waits in a thread for its own server: without the server, that would never end.
    app.threading = types.SimpleNamespace(Thread=functools.partial(threading.Thread, daemon=True))
    app.main()


def _free_port(host: str, port: int, is_named: bool) -> int:
    """The port, or the next one that is free if the user named none.

    Raises:
        ReportError: there is none.
    """
    for candidate in range(port, port + (1 if is_named else _PORTS_TRIED)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind((host, candidate))
            except OSError as cause:
                if cause.errno != errno.EADDRINUSE:
                    raise ReportError(
                        tr(
                            "{host}:{port}: cannot be served ({cause})",
                            host=host,
                            port=candidate,
                            cause=cause_of(cause),
                        )
                    ) from cause
                continue
            return candidate
    raise ReportError(tr("{host}:{port}: the port is in use. Name another one: --port", host=host, port=port))


def _regular(walked: Iterable[tuple[str, Any, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """What ``os.walk`` gives, without pipes and devices: opening a pipe would wait."""
    for root, folders, names in walked:
        yield root, folders, [name for name in names if os.path.isfile(os.path.join(root, name))]


class _Joined:
    """Opens the newest log of a folder as if the older ones were its beginning.

    VisualDL shows the newest log of each folder alone (``LogReader.logs``, 2.5.3), and the Trainer opens a new one
    each time it starts: of a resumed run, the curve before would be missing.

    Args:
        say: takes a line about a log that is shown only in part.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._opened: set[str] = set()
        """The server adds what it reads to what it has shown: of these logs, only a second reading is whole."""

    def open(self, filepath: str) -> "_JoinedReader":
        """A reader of a log and of those before it."""
        older = _older_logs(filepath)
        if filepath in self._opened:
            return _JoinedReader(self._say, [*older, filepath])
        fresh = [path for path in older if path not in self._opened]
        self._opened.update([filepath, *fresh])
        # From the first step of a new log on, what has been shown is of steps that the trainer repeats.
        forget = functools.partial(_forget, os.path.dirname(filepath), older) if older else None
        return _JoinedReader(self._say, [*fresh, filepath], forget)


def _forget(folder: str, logs: Sequence[str], step: float) -> None:
    """Takes points out of what the server has read of a folder.

    Args:
        folder: of the logs.
        logs: those that hold the points.
        step: the first step to take out.
    """
    from visualdl.server.data_manager import default_data_manager
    from visualdl.utils.string_util import decode_tag  # as the server names its lists

    shown = default_data_manager.get_reservoir("scalar")
    for tag in {decode_tag(tag) for path in logs for tag, _ in _points(path)}:
        if shown.exist_in_keys(folder, tag):
            points = shown.get_items(folder, tag)  # the server's own list, not a copy
            points[:] = [point for point in points if point.id < step]


def _older_logs(path: str) -> list[str]:
    """The logs of a folder that VisualDL hides behind one, the oldest first."""
    folder, name = os.path.split(path)
    try:
        names = sorted(other for other in os.listdir(folder) if "vdlrecords" in other and other < name)
    except OSError:
        return []
    return [other for other in (os.path.join(folder, each) for each in names) if os.path.isfile(other)]


class _JoinedReader:
    """Reads logs one after another.

    The trainer logs steps again that it repeats after its checkpoint: of a log, the points from the first step of a
    later log on are left out.

    Args:
        say: takes a line about a log that is shown only in part.
        paths: the logs, the oldest first.
        forget: called with the first step of the last log, before it is shown.
    """

    def __init__(
        self, say: Callable[[str], object], paths: Sequence[str], forget: Callable[[float], object] | None = None
    ) -> None:
        self._forget = forget
        self._readers = [_SoundReader(say, path) for path in paths]
        begins = [_first_step(path) for path in paths[1:]]
        self._ends = [min(begins[at:], default=math.inf) for at in range(len(paths))]
        self._at = 0

    def get_next(self) -> None:
        """Reads the next record.

        Raises:
            EOFError: there is none yet.
        """
        while True:
            try:
                self._readers[self._at].get_next()
            except EOFError:
                if self._at == len(self._readers) - 1:
                    raise
                self._at += 1
                continue
            step, end = _step_of_point(self.record(), -1), self._ends[self._at]
            if self._forget is not None and self._at == len(self._readers) - 1 and step >= 0:
                self._forget(step)
                self._forget = None
            if end == math.inf or step < end:
                return

    def record(self) -> bytes:
        """The record that was read last."""
        return self._readers[self._at].record()


def _first_step(path: str) -> float:
    """The first step of a log's points; infinite if there are none."""
    return min((step for _, step in _points(path)), default=math.inf)


def _points(path: str) -> Iterator[tuple[str, float]]:
    """Tag and step of each point of a log, as far as it is sound."""
    reader = _SoundReader(lambda _: None, path)
    with contextlib.suppress(EOFError):
        while True:
            reader.get_next()
            value = Record.FromString(reader.record()).values[0]
            if value.WhichOneof("one_value") == "value":
                yield value.tag, float(value.id)


def _step_of_point(record: bytes, otherwise: float) -> float:
    """The step of a record that holds a point; otherwise a value for others, such as texts."""
    value = Record.FromString(record).values[0]
    return float(value.id) if value.WhichOneof("one_value") == "value" else otherwise


class _SoundReader:
    """Reads the records of a log as far as they are sound, where VisualDL's own raises, or takes any memory.

    Args:
        say: takes a line where the rest of a file is left out.
        filepath: the log.
    """

    def __init__(self, say: Callable[[str], object], filepath: str) -> None:
        self._say = say
        self._path = filepath
        self._content = b""
        self._stream: BinaryIO | None = None
        try:
            self._stream = open(filepath, "rb")  # noqa: SIM115 - kept, as VisualDL keeps it
        except OSError as cause:
            say(tr("{path}: not shown: {cause}", path=filepath, cause=cause_of(cause)))

    def get_next(self) -> None:
        """Reads the next record.

        Raises:
            EOFError: there is none yet.
        """
        if self._stream is None:
            raise EOFError
        at = self._stream.tell()
        try:
            self._content = next_record(self._stream)
            check_record(self._content)
        except EOFError:
            self._stream.seek(at)  # it is being written
            raise
        except (OSError, ValueError, DecodeError) as cause:
            self._say(tr("{path}: shown up to byte {at:,}: what follows is damaged", path=self._path, at=at))
            self._stream.close()
            self._stream = None
            raise EOFError from cause

    def record(self) -> bytes:
        """The record that was read last."""
        return self._content


def _place_of_name(name: str) -> tuple[int, list[Any]]:
    kind = next((at for at, start in enumerate(_KINDS) if re.fullmatch(rf"{start}(\d.*)?", name)), -1)
    # Text and digits alternate, so that numbers are compared with numbers.
    return kind, [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
