"""How an error of the program is shown."""

import sys
from collections.abc import Callable, Collection
from types import CodeType, TracebackType
from typing import Any

from paddle_epoch_guard.errors import EpochGuardError
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.terminal import plain

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def without_our_frames(hook: ExceptHook, ours: Collection[CodeType] = ()) -> ExceptHook:
    """An exception hook that hides the frames below the program's own.

    Of an error that the user can act on, it shows the message and the program's line: the frames between are the
    trainer's and the guard's.

    Args:
        hook: shows all other errors.
        ours: the guard's functions that run the program; none if Python runs it.
    """

    def show(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        own = _above(trace, ours)
        if isinstance(value, EpochGuardError) and own is not None:
            message = plain(" ".join(str(value).split()))
            place = tr("  stopped at {place}", place=plain(_last_line_of(own)))
            print(f"paddle-epoch-guard: {message}\n{place}", file=sys.stderr)
        else:
            hook(kind, value.with_traceback(own), own)

    return show


def _last_line_of(trace: TracebackType) -> str:
    """The innermost line of the file in which a traceback begins, before it leaves that file."""
    inner, path = trace, trace.tb_frame.f_code.co_filename
    while inner.tb_next is not None and inner.tb_next.tb_frame.f_code.co_filename == path:
        inner = inner.tb_next
    values = {"path": path, "line": inner.tb_lineno, "function": inner.tb_frame.f_code.co_name}
    return tr("{path}, line {line}, in {function}", **values)


def _above(trace: TracebackType | None, ours: Collection[CodeType]) -> TracebackType | None:
    inner = trace
    while inner is not None and inner.tb_frame.f_code not in ours:
        inner = inner.tb_next
    inner = trace if inner is None else inner.tb_next  # not from within the program, or Python runs it
    while inner is not None and inner.tb_frame.f_globals.get("__name__") == "runpy":
        inner = inner.tb_next
    return inner
