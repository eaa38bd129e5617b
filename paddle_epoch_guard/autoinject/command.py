"""A command, such as a shell script, in a process of its own."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from paddle_epoch_guard.autoinject.children import Children, shown_command
from paddle_epoch_guard.language import tr

_LOOKED_EVERY = 0.5  # seconds
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


def run_command(words: Sequence[str], children: Children) -> int:
    """Runs a command to its end, and says so when it starts the first Python that the guard reaches.

    Args:
        words: the command and its arguments.
        children: of this run.

    Returns:
        Its exit status; 128 and the signal if one has ended it.
    """
    has_told = not children.is_outermost
    with _signals_passed_on() as started:
        process = _start(words)
        started(process)
        while True:
            try:
                status = process.wait(_LOOKED_EVERY)
            except subprocess.TimeoutExpired:
                if not has_told and (found := children.started()):
                    has_told = True
                    said = tr("the guard goes with {command}", command=shown_command(found[0].command))
                    print(f"paddle-epoch-guard: {said}", file=sys.stderr)
                continue
            return status if status >= 0 else 128 - status


def _start(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(list(words))
    except OSError as cause:
        if cause.errno != errno.ENOEXEC:
            raise
        return subprocess.Popen(["/bin/sh", *words])  # as shells do with a script that names no interpreter


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[Callable[["subprocess.Popen[bytes]"], None]]:
    """Ends the command rather than this process; a terminal sends Ctrl-C to both, and the command decides.

    Yields:
        A function to call with the command's process. It passes on the signals that came before.
    """
    processes: list[subprocess.Popen[bytes]] = []
    waiting: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        if processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(processes[0].pid, number)
        else:
            waiting.append(number)

    def started(process: "subprocess.Popen[bytes]") -> None:
        processes.append(process)
        for number in waiting:
            pass_on(number, None)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    # Not ignored: the command would inherit that.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
