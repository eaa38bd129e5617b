"""The commands, and how their errors are reported."""

import contextlib
import difflib
import importlib
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from paddle_epoch_guard import language
from paddle_epoch_guard.autoinject import Program, execute
from paddle_epoch_guard.cli.wrong_calls import told
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, cause_of
from paddle_epoch_guard.language import mark, tr
from paddle_epoch_guard.terminal import replace_unprintable

NAME = "paddle-epoch-guard"
WRONG_CALL = 2
REFUSED = 1
COMMANDS = {
    "plan": mark("Show what a run will draw, before anything is built."),
    "inspect": mark("Show what a built index draws."),
    "rebuild": mark("Write a cache that draws in one unified order."),
    "report": mark("Report what happened in a run, finished or running."),
    "compare": mark("Tell which of two runs is better, the data taken out of it."),
    "doctor": mark("Find what is broken in a cache, and how to fix it."),
    "view": mark("Open VisualDL with its run list in order."),
    "run": mark("Run an unchanged training script with the guard."),
    "env": mark("Show the versions to name when you report a fault."),
}
"""Each command and its help text. The command is a function in a module of the same name."""
_ABOUT = mark("Show the data epochs of LLM pretraining runs: what a run will draw or has drawn, and in which order.")
_MORE = mark("paddle-epoch-guard COMMAND --help shows an example. With --json, a command prints one JSON object.")
_CallError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Language(str, Enum):
    """The languages of `--lang`."""

    en = "en"
    zh = "zh"


class _Command(TyperCommand):
    """Shows arguments by their names alone, as the options' sections of typer's releases differ."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or "", *(str(argument.metavar) for argument in _arguments(self))]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if language.current() == "en":
            super().format_help(ctx, formatter)
        else:
            formatter.write(_translated_help(self, ctx, formatter.width))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [(str(argument.metavar), str(argument.help)) for argument in _arguments(self)]
        options = [option.get_help_record(ctx) for option in self.get_params(ctx) if option not in _arguments(self)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _arguments(command: TyperCommand | TyperGroup) -> list[TyperArgument]:
    return [parameter for parameter in command.params if isinstance(parameter, TyperArgument)]


def _translated_help(command: TyperCommand | TyperGroup, ctx: Any, width: int) -> str:
    """The help page in another language than English."""
    from paddle_epoch_guard.cli.help_page import help_page, option_row

    arguments = [(str(argument.metavar), tr(str(argument.help))) for argument in _arguments(command)]
    options = [option for option in command.get_params(ctx) if option not in _arguments(command)]
    rows = [row for option in options for row in option_row(option.get_help_record(ctx), getattr(option, "help", ""))]
    sections = [(tr("Arguments:"), arguments), (tr("Options:"), rows)]
    if isinstance(command, TyperGroup):
        sections.append((tr("Commands:"), [(name, tr(what)) for name, what in COMMANDS.items()]))
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    return help_page(usage, str(command.help), sections, tr(command.epilog) if command.epilog else "", width)


def _with_language_first(words: Sequence[str]) -> list[str]:
    """The words of a call with ``--lang`` before the command: behind ``run`` and ``view`` it may be another's."""
    if "--lang" not in words or words[0] not in COMMANDS or words[0] in ("run", "view"):
        return list(words)
    at = words.index("--lang")
    return [*words[at : at + 2], *words[:at], *words[at + 2 :]]


class _Commands(TyperGroup):
    """Imports a command only when it is called, so that --help is fast."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = _with_language_first(args)
        language.use(self._wanted_language(ctx, args))  # first: a help page or an error is in it already
        return super().parse_args(ctx, args)

    def _wanted_language(self, ctx: Any, args: list[str]) -> str | None:
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        with contextlib.suppress(_CallError):  # told by the parser itself
            wanted = parser.parse_args(args=list(args))[0].get("lang")
            return wanted if wanted in language.LANGUAGES else None
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if language.current() == "en":
            super().format_help(ctx, formatter)
        else:
            formatter.write(_translated_help(self, ctx, formatter.width))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            if near:
                ctx.fail(tr("No such command: {name}. Did you mean {meant}?", name=name, meant=near[0]))
            choices = tr(", ").join(COMMANDS)
            ctx.fail(tr("No such command: {name}. Expected one of {choices}.", name=name, choices=choices))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.Typer(**_LOOK)
        module = importlib.import_module(f"paddle_epoch_guard.cli.{cmd_name}")
        settings = {**_LOOK["context_settings"], **getattr(module, "SETTINGS", {})}
        command.command(cls=_Command, context_settings=settings)(getattr(module, cmd_name))
        return typer.main.get_command(command)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_LOOK: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # importing its panels takes a quarter of a second
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(name=NAME, cls=_Commands, no_args_is_help=True, **_LOOK | {"add_completion": True})


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{NAME} {version(NAME)}")
        raise typer.Exit


@app.callback(help=_ABOUT, epilog=_MORE)
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    lang: Annotated[
        Language | None,
        typer.Option("--lang", metavar="en|zh", is_eager=True, help="Language; by default that of the locale."),
    ] = None,
) -> None:
    """The options of all commands. `_Commands` has read the language already."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: with 2 if called wrongly, with 1 if refused, each with one line that says why."""
    replace_unprintable()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: of the command line; None for those of the process.

    Returns:
        The exit status.
    """
    try:
        result = app(arguments, standalone_mode=False, prog_name=NAME)
    except _CallError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return WRONG_CALL
        context = getattr(error, "ctx", None)
        command = f"{NAME} {context.info_name}" if context is not None and context.parent is not None else NAME
        message = told(error.format_message())
        if language.current() == "en" and message[-1:] not in ".?!)":
            message += "."
        return _fail(tr("{message} See {command} --help", message=message, command=command), WRONG_CALL)
    except typer.Abort:
        return _fail(tr("aborted"), 130)
    except ArgumentsError as error:
        return _fail(str(error), WRONG_CALL)
    except EpochGuardError as error:
        return _fail(str(error), REFUSED)
    except OSError as error:
        return _fail(f"{error.filename or tr('a file')}: {cause_of(error)}", REFUSED)
    if isinstance(result, Program):  # outside: errors of the program are its own
        language.pass_on()
        execute(result)
    return result if isinstance(result, int) else 0


def _fail(why: str, status: int) -> int:
    from paddle_epoch_guard.cli.output import complain

    complain(why)
    return status
