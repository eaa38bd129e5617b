"""Write a file atomically; wait for a file that another process writes."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from paddle_epoch_guard.language import tr

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
def atomic_write(path: Path, replaces: bool = True) -> Iterator[BinaryIO]:
    """Yields a stream to a temporary file, which is flushed to disk and then renamed to ``path``.

    Args:
        path: in an existing folder. An existing file is replaced, and keeps its mode; of a link, the file that it
            names. A new file has the mode that the umask leaves.
        replaces: whether an existing file is replaced. If not, it is an error, also if it appears meanwhile.

    Raises:
        OSError: the file cannot be written, or something else is in its place, such as a device or a pipe. What
            exists is left unchanged.
    """
    path = Path(os.path.realpath(path))
    mode = _mode_of(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(handle, "wb") as stream, _telling_space(path, stream):
            yield stream
            stream.flush()
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if replaces:
            _mode_of(path)  # again: something may have been put there meanwhile
            os.replace(temporary, path)
        else:
            move_new(temporary, path)
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


@contextlib.contextmanager
def _telling_space(path: Path, stream: BinaryIO) -> Iterator[None]:
    """Lets an error of a full disk name the file, and how much it needs."""
    try:
        yield
    except OSError as cause:
        if cause.errno not in (errno.ENOSPC, errno.EDQUOT) or cause.filename is not None:
            raise
        free = shutil.disk_usage(path.parent).free
        what = tr(
            "{cause}: more than {needed:,} bytes are needed, {free:,} are free",
            cause=tr(os.strerror(cause.errno)),
            needed=stream.tell(),
            free=free,
        )
        raise OSError(cause.errno, what, str(path)) from cause


def move_new(path: Path, target: Path) -> None:
    """Renames a file; what is at ``target`` is never replaced, even if it appears meanwhile.

    Raises:
        FileExistsError: something is there.
        OSError: the file cannot be renamed.
    """
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, or another one: the host's own rename says which
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        path.rename(target)
    else:
        path.unlink()


def _mode_of(path: Path) -> int | None:
    """The permissions of a file; None if there is none.

    Raises:
        OSError: it is no regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    _refuse_irregular(path, mode)
    return stat.S_IMODE(mode)


def _refuse_irregular(path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, tr("is a folder"), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, tr("is no regular file, and is left as it is"), str(path))


def append_whole(path: str | Path, content: bytes, is_new: bool = True) -> None:
    """Appends to a file, all or nothing.

    Args:
        path: of the file.
        content: what is appended.
        is_new: whether the file is made if there is none.

    Raises:
        FileNotFoundError: there is no folder, or no file and none is to be made.
        OSError: it cannot be written, or is no regular file; it is then as it was.
    """
    try:
        _refuse_irregular(path, os.stat(path).st_mode)  # opening a pipe would wait for a reader
    except FileNotFoundError:
        if not is_new:
            raise
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if is_new else 0), 0o666)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, content) < len(content):  # the disk is full; what the system says of it comes next
                os.write(descriptor, content[-1:])
                raise OSError(tr("{path}: written in part", path=path))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def keep_aside(folder: Path, pattern: str, ending: str) -> None:
    """Renames the files below a folder that match a pattern to ``kept-<n>.<ending>``; none is written over."""
    for path in sorted(folder.rglob(pattern)):
        number = 1
        while (kept := path.with_name(f"kept-{number}.{ending}")).exists():
            number += 1
        path.rename(kept)
