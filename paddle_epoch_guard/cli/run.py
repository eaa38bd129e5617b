"""``run``: a training script that does not know the guard, with the guard."""

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from paddle_epoch_guard.autoinject import Program, arguments_of, as_tokens, split_flags
from paddle_epoch_guard.errors import ArgumentsError

_LAUNCH = "paddle.distributed.launch"
_EXPECTED = "expected: paddle-epoch-guard run SCRIPT [ARGS]…, or run -m MODULE [ARGS]…"
SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""What is behind the script is the script's."""


def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT [ARGS]…", help="The script, its arguments, and the guard's flags."),
    ] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is the name of a module, as with python -m.")] = False,
) -> Program:
    """Runs a training script as it is, with the epoch guard in its Trainers.

    \b
    Example:
      paddle-epoch-guard run run_pretrain.py config.json --epoch_guard unified

    On several devices, either of these lines; the flags reach every rank:

    \b
      paddle-epoch-guard run -m paddle.distributed.launch … run_pretrain.py …
      python -m paddle.distributed.launch … $(which paddle-epoch-guard) run run_pretrain.py …

    The guard's flags (--epoch_guard, --epoch_guard_mix and so on: see README)
    may stand anywhere among the script's arguments, as --flag value or
    --flag=value, and in the JSON or YAML file that its PdArgumentParser reads.
    The command line wins over the file; without any, --epoch_guard is track.
    They are written in full: what else begins with --epoch_guard is refused.

    The script does not see them, unless its own arguments have them
    (EpochGuardArguments). One that adds EpochGuardCallback itself keeps its
    own, with the flags that are given here.

    Reached as well: loader workers, and processes that multiprocessing or
    paddle.distributed.spawn start. Not reached: another Python that the script
    starts as a command; training without a PaddleNLP or PaddleFormers Trainer.
    Under another launcher, put the command before the script, as in the last line.
    """
    flags, rest = split_flags(command or [])
    arguments_of(flags)
    if rest[:1] == ["-m"]:
        module, rest = True, rest[1:]
    if not rest:
        raise ArgumentsError(f"no {'module' if module else 'script'} is named; {_EXPECTED}")
    target, *arguments = rest
    if target.startswith("-"):
        raise ArgumentsError(f"{target} stands before the script; {_EXPECTED}")
    if not module:
        check_script(target)
        return Program(target, arguments=tuple(arguments), flags=flags)
    if importlib.util.find_spec(target.partition(".")[0]) is None and not _is_here(target):
        raise ArgumentsError(f"no module named {target}; {_EXPECTED}")
    if target == _LAUNCH:
        passed_on = launch_arguments(arguments, flags)
        if passed_on is not None:
            return Program(target, True, tuple(passed_on), flags, launches=True)
    return Program(target, True, tuple(arguments), flags)


def check_script(path: str) -> None:
    """Whether a path is that of a script that can be read.

    Raises:
        ArgumentsError: it is not.
    """
    if os.path.isdir(path):
        raise ArgumentsError(f"{path} is a folder; expected a Python script. Name the one in it, or run -m MODULE")
    if not os.path.exists(path):
        raise ArgumentsError(f"no script {path} in {os.getcwd()}; {_EXPECTED}")
    if not os.access(path, os.R_OK):
        raise ArgumentsError(f"{path} cannot be read. Mind its permissions")


def launch_arguments(arguments: list[str], flags: dict[str, str]) -> list[str] | None:
    """The arguments of ``paddle.distributed.launch`` with the guard's command line before the script.

    Launch (3.3.1) starts ``python -u SCRIPT ARGS`` where the script's name ends in ``.py``. Otherwise it starts SCRIPT
    as a command, or, with an option that it does not know (so ``--backend``), as a Python file even then. None of its
    own options takes a value that ends so.

    Args:
        arguments: launch's own, the script, and the script's.
        flags: the guard's.

    Returns:
        The arguments; None where they name no Python script.

    Raises:
        ArgumentsError: the script cannot be read.
    """
    place = next((place for place, token in enumerate(arguments) if token.endswith(".py")), None)
    if place is None:
        return None
    check_script(arguments[place])
    ours = Path(__file__).resolve().parents[1] / "__main__.py"
    return [*arguments[:place], str(ours), "run", *as_tokens(flags), *arguments[place:]]


def _is_here(module: str) -> bool:
    name = module.partition(".")[0]
    return os.path.isdir(name) or os.path.isfile(f"{name}.py")
