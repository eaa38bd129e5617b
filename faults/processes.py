"""Real processes, forked from a warm one, that are given a time and then killed.

Paddle on a CPU survives the fork as long as nothing was computed before it (paddlepaddle 3.3.1).
"""

import contextlib
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 120.0
"""Seconds that a child may take; it takes one or two, and minutes on a machine that is very busy."""


class HungError(Exception):
    """A child did not come to an end."""


class ChildError(Exception):
    """A child failed."""


def started(work: Callable[..., None], *args: Any) -> BaseProcess:
    """A child that does some work, in a session of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.warm"])
    child = context.Process(target=_alone, args=(work, args))
    child.start()
    return child


def _alone(work: Callable[..., None], args: Sequence[Any]) -> None:
    os.setsid()
    silence()
    multiprocessing.set_start_method("fork", force=True)  # a loader's workers, as without a server
    work(*args)


def leave() -> NoReturn:
    """Ends a rank that has done its work and written what it found.

    Gloo's first rank sometimes aborts as the interpreter ends, with the guard off as well: 2 of 120 pairs, either way
    (paddlepaddle 3.3.1). A rank that failed has ended in its traceback before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def end(child: BaseProcess) -> None:
    """Kills a child, and whatever it has started."""
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            child.kill()
    child.join(30)


def in_child(work: Callable[..., Any], *args: Any, patience: float = PATIENCE, memory: int | None = None) -> Any:
    """What some work returns, done in a child.

    Args:
        work: a function of a module.
        args: its arguments.
        patience: seconds that it may take.
        memory: bytes that it may take beside what it begins with; None for as many as there are.

    Raises:
        HungError: it took too long, and was killed.
        ChildError: it raised, or died.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        child = started(_kept, work, args, str(found), memory)
        child.join(patience)
        hung = child.is_alive()
        end(child)
        if hung:
            raise HungError(f"{work.__name__} took more than {patience:.0f} s")
        if not found.is_file():
            raise ChildError(f"{work.__name__} died with {child.exitcode}")
        result, error = pickle.loads(found.read_bytes())  # our own child's
        if error is not None:
            raise ChildError(error)
        return result


def _kept(work: Callable[..., Any], args: Sequence[Any], path: str, memory: int | None) -> None:
    if memory is not None:
        limit_memory(memory)
    try:
        found = work(*args), None
    except BaseException:
        found = None, traceback.format_exc()
    temporary = Path(path).with_suffix(".part")
    temporary.write_bytes(pickle.dumps(found))
    temporary.rename(path)


def silence(log: str = os.devnull) -> None:
    """Sends what this process prints, C++ and all, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(to, 1)
    os.dup2(to, 2)
    os.close(to)


def limit_memory(more: int) -> None:
    """Lets this process have so many bytes more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true within some seconds."""
    stop = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > stop:
            return False
        time.sleep(0.005)
    return True
