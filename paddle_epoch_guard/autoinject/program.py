"""A script or module, run as ``python SCRIPT`` or ``python -m MODULE`` runs it."""

import builtins
import io
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING

from paddle_epoch_guard.autoinject.injection import Injection
from paddle_epoch_guard.autoinject.tracebacks import without_our_frames
from paddle_epoch_guard.language import tr

if TYPE_CHECKING:
    from paddle_epoch_guard.autoinject.children import Children

_NAMED = 5  # commands, in one warning


@dataclass(frozen=True)
class Program:
    """What to run."""

    target: str
    """Path of a script or of a command, or name of a module."""
    is_module: bool = False
    arguments: tuple[str, ...] = ()
    """The program's own, without the guard's flags."""
    flags: dict[str, str] = field(default_factory=dict)
    """The guard's, from the command line."""
    launches: bool = False
    """Whether it trains in processes that it starts itself, each with the guard's command line."""
    is_command: bool = False
    """Whether it runs in a process of its own: a shell script, or the script of another Python."""


def execute(program: Program) -> None:
    """Runs a program, with the guard in every Trainer that it creates, in whatever Python it starts.

    A Python script or module runs in this process, as ``__main__``. Its exceptions, including ``SystemExit``, reach
    the interpreter, which shows them as the program's own.

    Raises:
        SystemExit: a command has ended; with its status.
    """
    # Here: other commands do not need their imports.
    from paddle_epoch_guard.autoinject.children import Children
    from paddle_epoch_guard.autoinject.hooks import install

    children = Children.expect(program.flags)
    if program.is_command:
        from paddle_epoch_guard.autoinject.command import run_command

        status = run_command([program.target, *program.arguments], children)
        _tell_what_was_guarded(Injection(program.flags), children, failed=status != 0)
        raise SystemExit(status)
    children.watch()
    # A launcher's own parser must keep the flags: they are for the processes that it starts.
    injection = Injection(program.flags) if program.launches else install(program.flags)
    if not program.launches:
        injection.warn_of_misspelt(program.arguments)
    _as_launched()
    sys.excepthook = without_our_frames(sys.excepthook, (_run_script.__code__, _run_module.__code__))
    try:
        (_run_module if program.is_module else _run_script)(program)
    except SystemExit as end:
        _tell_what_was_guarded(injection, children, failed=end.code not in (None, 0))
        raise
    _tell_what_was_guarded(injection, children, failed=False)


def _run_script(program: Program) -> None:
    path = os.path.abspath(program.target)
    sys.argv = [program.target, *program.arguments]
    _search_first(os.path.dirname(os.path.realpath(program.target)))
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=path, __builtins__=builtins, __loader__=SourceFileLoader("__main__", path), __cached__=None
    )
    sys.modules["__main__"] = main  # permanently: pickling at exit, or in a thread, looks names up there
    with open(path, "rb") as stream:
        source = stream.read()
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _run_module(program: Program) -> None:
    sys.argv = ["-m", *program.arguments]
    _search_first(os.getcwd())
    runpy.run_module(program.target, run_name="__main__", alter_sys=True)


def _search_first(folder: str) -> None:
    """Replaces the first folder of ``sys.path``, which Python has set for the guard's own command."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder


def _as_launched() -> None:
    """Writes a rank's output at once: paddle.distributed.launch (3.3.1) passes ``-u`` only to ``.py`` files."""
    if "PADDLE_TRAINER_ID" in os.environ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(write_through=True)


def _tell_what_was_guarded(injection: Injection, children: "Children", failed: bool) -> None:
    """Warns if nothing was guarded, and of the Pythons that were not; a failed program has said why itself."""
    is_off = injection.flags.get("epoch_guard") == "off"
    if failed or is_off or not children.is_outermost or os.environ.get("PADDLE_TRAINER_ID", "0") != "0":
        return
    if injection.guarded or injection.passed_on or children.is_any_guarded:
        unguarded = children.unguarded()
        if unguarded:
            _warn(tr("these Pythons built no PaddleNLP Trainer: {commands}", commands=_listed(unguarded)))
    else:
        _warn(tr("the script built no PaddleNLP Trainer: nothing was guarded"))
        started = children.unguarded()
        if started:
            _warn(tr("it started these Pythons, which built none either: {commands}", commands=_listed(started)))
    if children.unreached:
        _warn(tr("the guard did not reach: {commands}", commands=_listed(children.unreached)))


def _listed(commands: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(commands))
    left = len(distinct) - _NAMED
    return "; ".join([*distinct[:_NAMED], *([tr("and {n} more", n=left)] if left > 0 else [])])


def _warn(text: str) -> None:
    print(tr("paddle-epoch-guard: warning: {text}", text=text), file=sys.stderr)
