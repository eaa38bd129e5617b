"""The commands, and what becomes of their errors."""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from paddle_epoch_guard.autoinject import Program, execute
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError

NAME = "paddle-epoch-guard"
WRONG_CALL = 2
REFUSED = 1
COMMANDS = {
    "plan": "What a run will draw, before anything is built.",
    "inspect": "What an index draws that is built already.",
    "rebuild": "Write a cache that draws in one unified order.",
    "report": "What happened in a run, finished or running.",
    "doctor": "What is broken in a cache, and how to mend it.",
    "view": "VisualDL, with its run list in order.",
    "run": "A training script as it is, with the guard.",
}
"""Each command, a function of that name in a module of that name, and what it is for."""
# typer has click inside from 0.20 on, and beside it before.
_CallError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class _Commands(TyperGroup):
    """Imports a command when it is called: to ask for help takes no time."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        found = typer.Typer(**_LOOK)
        module = importlib.import_module(f"paddle_epoch_guard.cli.{cmd_name}")
        settings = {**_LOOK["context_settings"], **getattr(module, "SETTINGS", {})}
        found.command(context_settings=settings)(getattr(module, cmd_name))
        return typer.main.get_command(found)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_LOOK: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # its panels take a quarter of a second to import
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(name=NAME, cls=_Commands, no_args_is_help=True, **_LOOK)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{NAME} {version(NAME)}")
        raise typer.Exit


@app.callback(
    epilog=f"{NAME} COMMAND --help says more, with an example. With --json a command prints one JSON object."
)
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Data epochs of LLM pretraining runs: what a run will draw, what it has drawn, and in which order."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; exits with 2 for a wrong call, with 1 for a refusal, each with one line that says why."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: of the command line; those of the process where None.

    Returns:
        The exit status.
    """
    try:
        found = app(arguments, standalone_mode=False, prog_name=NAME)
    except _CallError as wrong:
        if type(wrong).__name__ == "NoArgsIsHelpError":
            typer.echo(wrong.format_message())
            return WRONG_CALL
        context = getattr(wrong, "ctx", None)
        command = f"{NAME} {context.info_name}" if context is not None and context.parent is not None else NAME
        return _fail(f"{wrong.format_message()} See {command} --help", WRONG_CALL)
    except typer.Abort:
        return _fail("aborted", 130)
    except ArgumentsError as wrong:
        return _fail(str(wrong), WRONG_CALL)
    except EpochGuardError as refused:
        return _fail(str(refused), REFUSED)
    except OSError as cause:
        return _fail(f"{cause.filename or 'a file'}: {cause.strerror or cause}", REFUSED)
    if isinstance(found, Program):  # its errors are its own
        execute(found)
    return found if isinstance(found, int) else 0


def _fail(why: str, status: int) -> int:
    typer.echo(" ".join(f"{NAME}: {why}".split()), err=True)
    return status
