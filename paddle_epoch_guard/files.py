"""Write a file atomically; wait for a file that another process writes."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

_T = TypeVar("_T")

PATIENCE = 10.0
"""Seconds to wait for a file that another process writes."""
_INTERVAL = 0.25  # seconds between two looks


def poll_until(look: Callable[[], _T | None]) -> _T | None:
    """Calls ``look`` until it returns something, for up to :data:`PATIENCE` seconds.

    A shared file system may show a new file late. Calls are counted, not timed, so that all ranks make equally many:
    ``look`` may be collective.

    Returns:
        The first result that is not None; None if there is none.
    """
    result = look()
    for _ in range(round(PATIENCE / _INTERVAL)):
        if result is not None:
            break
        time.sleep(_INTERVAL)
        result = look()
    return result


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yields a stream to a temporary file, which is flushed to disk and then renamed to ``path``.

    Args:
        path: in an existing folder; an existing file is replaced.

    Raises:
        OSError: the file cannot be written; an existing file is left unchanged.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would exclude others who may read the folder
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # The rename is durable once the folder is flushed, which not every file system allows.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def append_whole(path: Path, content: bytes) -> None:
    """Appends to a file, all or nothing.

    Raises:
        OSError: it cannot be written; it is then as it was.
    """
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        try:
            if stream.write(content) < len(content):  # the disk is full; what the system says of it comes next
                stream.write(content[-1:])
                raise OSError(f"{path}: written in part")
        except OSError:
            with contextlib.suppress(OSError):
                stream.truncate(before)
            raise


def keep_aside(folder: Path, pattern: str, ending: str) -> None:
    """Renames the files below a folder that match a pattern to ``kept-<n>.<ending>``; none is written over."""
    for path in sorted(folder.rglob(pattern)):
        number = 1
        while (kept := path.with_name(f"kept-{number}.{ending}")).exists():
            number += 1
        path.rename(kept)
