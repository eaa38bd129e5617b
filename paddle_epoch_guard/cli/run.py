"""``run``: runs an unchanged training script with the guard."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from paddle_epoch_guard import language
from paddle_epoch_guard.autoinject import Program, arguments_of, as_tokens, split_flags
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import tr

_LAUNCH = "paddle.distributed.launch"
SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Everything after the script belongs to the script."""


def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT [ARGS]…", help="The script, its arguments, and the guard's flags."),
    ] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is the name of a module, as with python -m.")] = False,
) -> Program:
    """Run an unchanged training script, with the epoch guard in its Trainers.

    \b
    Example:
      paddle-epoch-guard run run_pretrain.py config.json --epoch_guard unified

    On several devices, use one of these; the flags reach every rank:

    \b
      paddle-epoch-guard run paddleformers-cli train pretrain.yaml
      paddle-epoch-guard run -m paddle.distributed.launch … run_pretrain.py …
      python -m paddle.distributed.launch … $(which paddle-epoch-guard) run run_pretrain.py …

    The guard's flags (--epoch_guard, --epoch_guard_mix and so on: see README)
    may appear anywhere among the script's arguments, as --flag value or
    --flag=value, and in the JSON or YAML file that its PdArgumentParser reads.
    The command line wins over the file. The default of --epoch_guard is track.
    Write flags in full: others that begin with --epoch_guard are refused.

    The script sees the flags only if its own arguments include them
    (EpochGuardArguments). A script that adds EpochGuardCallback itself keeps
    its own callback, which gets the flags given here.

    The guard goes with loader workers, with what multiprocessing and
    paddle.distributed.spawn start, and with every Python that the program
    starts as a command. SCRIPT may be a console script (paddleformers-cli) or a
    shell script, too. A Python that is started in an environment of its own, or
    with -I, -E or -S, is not reached.
    """
    flags, rest = split_flags(command or [])
    arguments_of(flags)
    if flags.get("epoch_guard_lang") in language.LANGUAGES:
        language.use(flags["epoch_guard_lang"])
    if rest[:1] == ["-m"]:
        module, rest = True, rest[1:]
    if not rest:
        raise ArgumentsError(_and_expected(tr("no module given") if module else tr("no script given")))
    target, *arguments = rest
    if target.startswith("-"):
        raise ArgumentsError(_and_expected(tr("{argument} comes before the script", argument=target)))
    if not module:
        return program_of(target, arguments, flags)
    if importlib.util.find_spec(target.partition(".")[0]) is None and not _is_here(target):
        raise ArgumentsError(_and_expected(tr("no module named {name}", name=target)))
    if target == _LAUNCH:
        passed_on = launch_arguments(arguments, flags)
        if passed_on is not None:
            return Program(target, is_module=True, arguments=tuple(passed_on), flags=flags, launches=True)
    return Program(target, is_module=True, arguments=tuple(arguments), flags=flags)


def program_of(target: str, arguments: Sequence[str], flags: dict[str, str]) -> Program:
    """A script, by its path, or a command, by its name or its path.

    A script of this Python runs in this process, as do console scripts (``paddleformers-cli``) that are installed
    beside it. Any other command, such as a shell script, runs in a process of its own, and the guard goes with the
    Pythons that it starts.

    Args:
        target: as typed.
        arguments: of the program.
        flags: the guard's.

    Raises:
        ArgumentsError: there is no such script or command.
    """
    from paddle_epoch_guard.autoinject.children import interpreter_of

    found = target if os.path.exists(target) or "/" in target else shutil.which(target)
    if found is None:
        found = target
    interpreter = interpreter_of(found)
    if not found.endswith(".py") and not os.path.isdir(found) and not _is_of_this_python(interpreter):
        if os.access(found, os.X_OK):
            return Program(os.path.abspath(found), is_command=True, arguments=tuple(arguments), flags=flags)
        if interpreter is not None:
            raise ArgumentsError(
                tr("{path} is a script of {interpreter}, but not executable. chmod +x {path}", path=found,
                   interpreter=interpreter)
            )  # fmt: skip
    check_script(found)
    return Program(found, arguments=tuple(arguments), flags=flags)


def _is_of_this_python(interpreter: str | None) -> bool:
    """Whether a script's interpreter is this Python."""
    found = shutil.which(interpreter or "")
    is_python = found is not None and os.path.basename(found).startswith("python")
    return is_python and os.path.dirname(str(found)) == os.path.dirname(sys.executable)


def _and_expected(fault: str) -> str:
    return tr(
        "{fault}; expected: paddle-epoch-guard run SCRIPT [ARGS]…, or run -m MODULE [ARGS]…",
        fault=fault,
    )


def check_script(path: str) -> None:
    """Checks that a path is a readable script.

    Raises:
        ArgumentsError: it is not.
    """
    if os.path.isdir(path):
        raise ArgumentsError(
            tr("{path} is a folder; expected a Python script. Name the one in it, or run -m MODULE", path=path)
        )
    if not os.path.exists(path):
        raise ArgumentsError(_and_expected(tr("no script {path} in {folder}", path=path, folder=os.getcwd())))
    if not os.access(path, os.R_OK):
        raise ArgumentsError(tr("{path} cannot be read. Check its permissions", path=path))


def launch_arguments(arguments: list[str], flags: dict[str, str]) -> list[str] | None:
    """The arguments of ``paddle.distributed.launch`` with the guard's command line before the script.

    Launch (3.3.1) starts ``python -u SCRIPT ARGS`` if the script's name ends in ``.py``. Otherwise it starts SCRIPT as
    a command, or, given an option that it does not know (such as ``--backend``), as a Python file. None of its own
    options takes a value that ends in ``.py``.

    Args:
        arguments: launch's own, the script, and the script's.
        flags: the guard's.

    Returns:
        The arguments; None if they name no Python script.

    Raises:
        ArgumentsError: the script cannot be read.
    """
    script = next((place for place, token in enumerate(arguments) if token.endswith(".py")), None)
    if script is None:
        return None
    check_script(arguments[script])
    command = Path(__file__).resolve().parents[1] / "__main__.py"
    return [*arguments[:script], str(command), "run", *as_tokens(flags), *arguments[script:]]


def _is_here(module: str) -> bool:
    name = module.partition(".")[0]
    return os.path.isdir(name) or os.path.isfile(f"{name}.py")
