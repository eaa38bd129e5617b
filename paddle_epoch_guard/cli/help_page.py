"""The help page of a command in Chinese: click takes each character for one column, and rich knows better."""

import inspect
import re
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from paddle_epoch_guard.cli.wide_text import WideText
from paddle_epoch_guard.language import mark, tr

_OF_TYPER = (
    mark("Show this message and exit."),
    mark("Install completion for the current shell."),
    mark("Show completion for the current shell, to copy it or customize the installation."),
)
"""Texts of options that are typer's own."""
_INDENT = (0, 0, 0, 2)
Section = tuple[str, Sequence[tuple[str, str]]]


def help_page(usage: str, text: str, sections: Iterable[Section], epilog: str, width: int) -> str:
    """A page, as click lays it out.

    Args:
        usage: the call.
        text: English paragraphs; examples in paragraphs of their own, after a line with a backspace.
        sections: title and rows of each two-column list.
        epilog: a sentence at the end; may be empty.
        width: in columns.
    """
    page: list[RenderableType] = [WideText(tr("Usage: {call}", call=usage))]
    page += [_paragraph(block) for block in inspect.cleandoc(text).split("\n\n")]
    page += [Group(WideText(title), Padding(_columns(rows), _INDENT)) for title, rows in sections if rows]
    if epilog:
        page.append(Padding(WideText(epilog), _INDENT))
    console = Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)
    with console.capture() as capture:
        for number, part in enumerate(page):
            if number:
                console.print()
            console.print(part, crop=False)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _paragraph(text: str) -> RenderableType:
    lines = text.splitlines()
    if lines[:1] != ["\b"]:
        return Padding(WideText(tr(" ".join(text.split()))), _INDENT)
    shown = (line if line.startswith(" ") else tr(line) for line in lines[1:])
    # A call stays one line of any length, to be copied.
    return Group(WideText("\n".join(f"  {line}" for line in shown), no_wrap=True, overflow="ignore"))


def _columns(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(name, WideText(text))
    return table


def option_row(record: tuple[str, str] | None, text: str) -> list[tuple[str, str]]:
    """The row of an option; none if it is hidden.

    Args:
        record: click's: names, and help with defaults and limits in brackets.
        text: the help alone.
    """
    if record is None:
        return []
    names, whole = record
    limits = re.fullmatch(r"\s*\[(.*)\]", whole.removeprefix(text))
    told = "" if limits is None else f" [{'; '.join(map(_limit, limits[1].split('; ')))}]"
    return [(names, tr(text) + told)]


def _limit(text: str) -> str:
    if text == "required":
        return tr("required")
    value = text.removeprefix("default: ")
    return text if value == text else tr("default: {value}", value=value)
