"""The commands, and what becomes of their errors."""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from paddle_epoch_guard.cli.doctor import doctor
from paddle_epoch_guard.cli.inspect import inspect
from paddle_epoch_guard.cli.plan import plan
from paddle_epoch_guard.cli.rebuild import rebuild
from paddle_epoch_guard.cli.run import SETTINGS
from paddle_epoch_guard.cli.run import run as run_script
from paddle_epoch_guard.cli.view import view
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError
from paddle_epoch_guard.inject import Program, execute

NAME = "paddle-epoch-guard"
WRONG_CALL = 2
REFUSED = 1
# typer has click inside from 0.20 on, and beside it before.
_CallError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name=NAME,
    help="Data epochs of LLM pretraining runs: what a run will draw, what it has drawn, and in which order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(plan)
app.command()(inspect)
app.command()(rebuild)
app.command()(doctor)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(view)
app.command("run", context_settings=SETTINGS)(run_script)


@app.callback()
def _group() -> None:
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
