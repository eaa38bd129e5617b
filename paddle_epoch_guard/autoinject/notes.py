"""What the Pythons of a run leave for it: a file each, in a folder that is removed with the run."""

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "paddle-epoch-guard-"


@dataclass(frozen=True)
class Child:
    """A Python that a run has started."""

    pid: int
    parent: int
    """The Python that has started it, if only through a shell."""
    command: tuple[str, ...]
    is_guarded: bool
    """Whether it built a Trainer, which got the guard."""


def new_folder() -> Path:
    """A folder for the notes of a run, which this process removes at its end.

    A process that is killed, or leaves by ``os._exit``, cannot: the next run removes what it has left.
    """
    _remove_left()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if _lock(folder, wait=True):  # not at once taken for one that was left
            atexit.register(_remove, folder, os.getpid())
            return folder


def write(folder: Path, pid: int, parent: int, command: Sequence[str]) -> Path:
    """Leaves a note of a Python.

    Returns:
        The file that it makes once it has built a Trainer.

    Raises:
        OSError: the folder is not here: the run is on another machine, or has ended.
    """
    note = folder / f"{pid}.json"
    note.write_text(json.dumps({"parent": parent, "command": list(command)}))
    return note.with_suffix(".guarded")


def read(folder: Path) -> list[Child]:
    """The notes in a folder, the oldest first; without those that are being written."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime):
        with contextlib.suppress(OSError, ValueError):
            note = json.loads(path.read_text())
            guarded = path.with_suffix(".guarded").exists()
            found.append(Child(int(path.stem), note["parent"], tuple(note["command"]), guarded))
    return found


def _remove(folder: Path, pid: int) -> None:
    """Removes the notes at the end of the process that made them; a forked one leaves them."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left() -> None:
    """Removes the folders of runs that have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            held = _lock(folder, wait=False)
            if held:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _lock(folder: Path, wait: bool) -> int | None:
    """Locks a folder for as long as this process, or one that it forks, is there.

    Returns:
        The descriptor that holds the lock; None if another process holds it, or the folder is gone.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks
        return descriptor if wait else None
    if folder.exists():
        return descriptor
    os.close(descriptor)
    return None
