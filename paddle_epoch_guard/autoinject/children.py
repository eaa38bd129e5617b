"""The Pythons that a program starts as commands, and those that they start: each begins with the guard's hooks.

An environment variable holds the guard's flags; a folder on ``PYTHONPATH`` holds a ``sitecustomize`` that every Python
imports at its start. Both are there for the processes of one run alone: no file of the environment changes.
"""

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paddle_epoch_guard.autoinject import notes
from paddle_epoch_guard.autoinject.hooks import install
from paddle_epoch_guard.autoinject.notes import Child
from paddle_epoch_guard.autoinject.shell import started_by
from paddle_epoch_guard.autoinject.tracebacks import without_our_frames
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.terminal import plain

VARIABLE = "PADDLE_EPOCH_GUARD_RUN"
STARTUP = Path(__file__).parent / "startup"
_NAMED = 5  # processes, in one message
_WIDTH = 100  # characters of a command, in a message
_PYTHON = re.compile(r"(.*/)?python[\d.]*$")


@dataclass
class Children:
    """What a run knows of the Pythons that it starts.

    Attributes:
        folder: they leave their notes there.
        is_outermost: whether no other run has started this one; only that one tells what became of the children.
    """

    folder: Path
    is_outermost: bool = True
    unreached: list[str] = field(default_factory=list)
    """Commands that were started without the run's environment."""
    _announced: int = 0
    _before: list[str] = field(default_factory=list)
    """The words of the last command."""

    @classmethod
    def expect(cls, flags: Mapping[str, str], environment: MutableMapping[str, str] = os.environ) -> "Children":
        """Prepares the environment that children inherit.

        Args:
            flags: the guard's.
            environment: of this process.
        """
        outer = _told(environment)
        if outer is None:
            children = cls(notes.new_folder())
            path = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join([str(STARTUP), *([path] if path else [])])
        else:
            children = cls(Path(outer["notes"]), is_outermost=False)
        environment[VARIABLE] = _telling(flags, str(children.folder))
        return children

    def watch(self) -> None:
        """Says so as soon as this process starts another Python, and whether the guard goes with it."""
        if self.is_outermost:
            sys.addaudithook(self._look)

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _STARTS:
            with contextlib.suppress(Exception):  # a fault here would be one of the program's own call
                words, environment = _STARTS[event](args)
                # subprocess starts some by os.posix_spawn.
                is_same, self._before = event == "os.posix_spawn" and words == self._before, words
                if not is_same:
                    for command, within in started_by(words, _as_text(environment)):
                        self._started(command, within)

    def _started(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        if not starts_python(words[0], words):
            return
        shown = shown_command(words)
        if reaches(environment) and not ignores_environment(words):
            said = tr("this process starts another Python; the guard goes with it: {command}", command=shown)
        else:
            self.unreached.append(shown)
            said = tr(
                "warning: this process starts another Python in an environment of its own; the guard does not reach "
                "it: {command}",
                command=shown,
            )
        self._announced += 1
        if self._announced <= _NAMED:
            print(f"paddle-epoch-guard: {said}", file=sys.stderr)

    def started(self) -> list[Child]:
        """The children so far, the oldest first."""
        return notes.read(self.folder)

    def unguarded(self) -> list[str]:
        """Commands of children of which neither they nor their children built a Trainer; not multiprocessing's own."""
        children = {child.pid: child for child in self.started()}
        busy = set()
        for child in children.values():
            at: Child | None = child if child.is_guarded else None
            while at is not None and at.pid not in busy:
                busy.add(at.pid)
                at = children.get(at.parent)
        parents = {child.parent for child in children.values()}
        return [
            shown_command(child.command)
            for child in children.values()
            if child.pid not in busy | parents and not runs_code(child.command)
        ]

    @property
    def is_any_guarded(self) -> bool:
        """Whether a child built a Trainer, which got the guard."""
        return any(child.is_guarded for child in self.started())


def begin() -> None:
    """Begins a Python that a run has started: installs the hooks, and leaves a note."""
    told = _told(os.environ)
    if told is None:
        return
    injection = install(told["flags"])
    sys.excepthook = without_our_frames(sys.excepthook)
    os.environ[VARIABLE] = _telling(told["flags"], told["notes"])
    with contextlib.suppress(OSError):  # the notes of a run on another machine are not here
        injection.note = notes.write(Path(told["notes"]), os.getpid(), told["python"], sys.orig_argv)


def starts_python(executable: str, words: Sequence[str] = ()) -> bool:
    """Whether a command is a Python, or a script that begins with one; one of ``-c`` counts as neither."""
    if _PYTHON.match(executable):
        return not runs_code(words)
    interpreter = interpreter_of(shutil.which(executable) or executable)
    return interpreter is not None and bool(_PYTHON.match(interpreter))


def runs_code(words: Sequence[str]) -> bool:
    """Whether a command of Python runs code that it holds itself, as those of multiprocessing do."""
    return "-c" in itertools.takewhile(lambda word: word.startswith("-"), words[1:])


def reaches(environment: Mapping[str, str]) -> bool:
    """Whether the guard goes with a Python that is started in an environment."""
    return VARIABLE in environment and str(STARTUP) in environment.get("PYTHONPATH", "").split(os.pathsep)


def ignores_environment(words: Sequence[str]) -> bool:
    """Whether a command of Python ignores what its environment tells, by ``-I``, ``-E`` or ``-S``."""
    options = itertools.takewhile(lambda word: re.match("-[^-]", word), words[1:])
    return any(set(option) & set("IES") for option in options if not option.startswith(("-m", "-X", "-W")))


def interpreter_of(path: str | Path) -> str | None:
    """The interpreter that a script names in its first line, behind ``env``; None if it is no script."""
    try:
        with open(path, "rb") as stream:
            first = stream.readline(512)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].decode(errors="replace").split()
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else None


def shown_command(words: Sequence[str]) -> str:
    """A command as a person types it, cut to a line."""
    text = plain(" ".join(shlex.quote(word) for word in words))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}\u2026"


def _telling(flags: Mapping[str, str], folder: str) -> str:
    """What the environment tells the Pythons that this one starts, also through a shell."""
    return json.dumps({"flags": dict(flags), "notes": folder, "python": os.getpid()})


def _told(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What an outer run has told; None if there is none."""
    try:
        told = json.loads(environment[VARIABLE])
        return {"flags": dict(told["flags"]), "notes": str(told["notes"]), "python": int(told["python"])}
    except (KeyError, TypeError, ValueError):
        return None


def _as_text(environment: Mapping[Any, Any] | None) -> dict[str, str]:
    """An environment of a command; None for that of this process."""
    return {
        os.fsdecode(key): os.fsdecode(value)
        for key, value in (os.environ if environment is None else environment).items()
    }


def _words(first: Any, words: Any) -> list[str]:
    """The words of a command, with the file that is executed as the first."""
    listed: Iterable[Any] = [words] if isinstance(words, (str, bytes, os.PathLike)) else words
    return [os.fsdecode(first), *map(os.fsdecode, itertools.islice(listed, 1, None))]


# Audit event -> the words and the environment of the command, by what the event tells.
_STARTS: Mapping[str, Callable[[tuple[Any, ...]], tuple[list[str], Mapping[Any, Any] | None]]] = {
    "subprocess.Popen": lambda args: (_words(args[0], args[1]), args[3]),
    "os.posix_spawn": lambda args: (_words(args[0], args[1]), args[2]),
    "os.exec": lambda args: (_words(args[0], args[1]), args[2]),
    "os.system": lambda args: (["sh", "-c", os.fsdecode(args[0])], None),
}
