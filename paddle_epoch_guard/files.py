"""Files that are written whole or not at all, and files that others write."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

_T = TypeVar("_T")

PATIENCE = 10.0
"""Seconds for which a file is waited for that another process has written."""
_EVERY = 0.25


def poll_until(look: Callable[[], _T | None]) -> _T | None:
    """What ``look`` finds, asked again for :data:`PATIENCE` seconds while it finds nothing.

    A file system that several machines share may show late what one of them has written. The looks are counted, not
    timed, so that all ranks look equally often.
    """
    found = look()
    for _ in range(round(PATIENCE / _EVERY)):
        if found is not None:
            break
        time.sleep(_EVERY)
        found = look()
    return found


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A stream into a temporary file, which takes the name ``path`` once it is written and on the disk.

    Args:
        path: in a folder that exists; a file that is there is replaced.

    Raises:
        OSError: the folder cannot be written; what was there stays.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would lock out whoever may read the folder
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # The rename is on the disk once the folder is; not every file system lets a folder be flushed.
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
