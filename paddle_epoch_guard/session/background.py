"""What training need not wait for, done in threads of its own."""

import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
_MOST_WAITING = 1000  # windows. Where writing does not keep up, training waits
_PATIENCE = 1.0  # seconds that a fork waits for what is being done

# While this process forks, as for a loader's workers, nothing is done: a lock that the thread holds then, such as that
# of a logger, would never be released in the child.
_working = threading.RLock()
_forking = threading.local()


def _before_fork() -> None:
    _forking.holds = _working.acquire(timeout=_PATIENCE)


def _after_fork() -> None:
    if _forking.holds:
        _working.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class Later(Generic[_T]):
    """A result that a thread works out.

    Args:
        work: it shares no lock with this process's other threads; a fork does not wait for it.
    """

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._found: list[_T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="epoch-guard-later", daemon=True)
        self._thread.start()

    def result(self) -> _T:
        """The result, once it is there.

        Raises:
            Exception: what the work raised.
        """
        self._thread.join()
        if isinstance(self._failure, Exception):
            raise self._failure
        if not self._found:  # such as SystemExit
            raise RuntimeError(f"{type(self._failure).__name__}: {self._failure}")
        return self._found[0]

    def _serve(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as cause:
            self._failure = cause


class Background:
    """Does one thing after the other in a thread, which begins with the first of them.

    After a failure nothing more is done: what comes next may rest on what failed.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], object] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def run(self, work: Callable[[], object]) -> None:
        """Does it once all before it is done; returns at once, unless very much is waiting.

        Args:
            work: reads only what does not change any more, or what nobody touches before :meth:`wait`.

        Raises:
            Exception: what failed before it; once.
        """
        self._raise_failure()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="epoch-guard-background", daemon=True)
            self._thread.start()
        self._waiting.put(work)

    def wait(self) -> None:
        """Returns when all is done; at once in the thread itself, and in a process that was forked from this one.

        Raises:
            Exception: what failed; once.
        """
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not thread.is_alive():
            return
        self._waiting.join()
        self._raise_failure()

    def close(self) -> None:
        """Returns when all is done, and ends the thread. A failure that nobody has asked for is dropped."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._waiting.put(None)
            thread.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._waiting.join()
            failure, self._failure = self._failure, None
            raise failure

    def _serve(self) -> None:
        while True:
            work = self._waiting.get()
            try:
                if work is None:
                    return
                if self._failure is None:
                    with _working:
                        work()
            except Exception as cause:
                self._failure = cause
            except BaseException as cause:  # such as SystemExit, which would end the thread without a word
                self._failure = RuntimeError(f"{type(cause).__name__}: {cause}")
            finally:
                self._waiting.task_done()
